//! Tensors by the name of their port.

use crate::OpError;
use tandem_tensor::{Element, Tensor};

/// Operands or results, by port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors(Vec<(&'static str, Tensor)>);

impl Tensors {
    /// None yet.
    pub fn new() -> Tensors {
        Tensors::default()
    }

    /// The same with a tensor more, or in the place of the one of that name.
    pub fn with(mut self, name: &'static str, tensor: Tensor) -> Tensors {
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, place)) => *place = tensor,
            None => self.0.push((name, tensor)),
        }
        self
    }

    /// The tensor of a port, if it is there.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor)
    }

    /// The tensor of a port.
    ///
    /// # Errors
    /// Invalid, with the port's name, where it is missing.
    pub fn get(&self, name: &str) -> Result<&Tensor, OpError> {
        self.find(name).ok_or_else(|| OpError::Invalid(format!("operand {name} is missing")))
    }

    /// The elements of a port's tensor.
    ///
    /// # Errors
    /// Invalid, where it is missing or of another dtype.
    pub fn slice<T: Element>(&self, name: &str) -> Result<&[T], OpError> {
        Ok(self.get(name)?.as_slice()?)
    }

    /// The one element of a port's scalar.
    ///
    /// # Errors
    /// Invalid, where it is missing, of another dtype, or empty.
    pub fn scalar<T: Element>(&self, name: &str) -> Result<T, OpError> {
        self.slice(name)?.first().copied().ok_or_else(|| OpError::Invalid(format!("operand {name} is empty")))
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (*name, tensor))
    }
}

impl FromIterator<(&'static str, Tensor)> for Tensors {
    fn from_iter<I: IntoIterator<Item = (&'static str, Tensor)>>(pairs: I) -> Tensors {
        pairs.into_iter().fold(Tensors::new(), |all, (name, tensor)| all.with(name, tensor))
    }
}
