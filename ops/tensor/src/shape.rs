//! Shapes and broadcasting.

use crate::TensorError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Extents of a tensor, outermost axis first. A scalar has no axes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Number of elements; `usize::MAX` when the product overflows.
    pub fn elements(&self) -> usize {
        if self.0.contains(&0) {
            return 0;
        }
        self.0.iter().fold(1usize, |n, &d| n.saturating_mul(d))
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.0.len()];
        for i in (0..self.0.len().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1].saturating_mul(self.0[i + 1]);
        }
        strides
    }

    /// An axis given from the front (0, 1, ..) or from the back (-1, -2, ..), as a position from the front.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = self.0.len() as i64;
        let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
        (0..rank).contains(&axis).then_some(axis as usize)
    }
}

impl Deref for Shape {
    type Target = Vec<usize>;
    fn deref(&self) -> &Vec<usize> {
        &self.0
    }
}

impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut Vec<usize> {
        &mut self.0
    }
}

impl From<Vec<usize>> for Shape {
    fn from(v: Vec<usize>) -> Self {
        Shape(v)
    }
}

impl From<&[usize]> for Shape {
    fn from(v: &[usize]) -> Self {
        Shape(v.to_vec())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(v: [usize; N]) -> Self {
        Shape(v.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

/// The shape to which `a` and `b` broadcast under the usual trailing-axis rule.
///
/// # Errors
/// When an axis differs and neither extent is 1.
pub fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, TensorError> {
    let rank = a.rank().max(b.rank());
    let mut out = vec![1usize; rank];
    for (i, d) in out.iter_mut().enumerate() {
        let from = |s: &Shape| (i + s.rank()).checked_sub(rank).map_or(1, |k| s.0[k]);
        *d = match (from(a), from(b)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return Err(TensorError::Broadcast(a.clone(), b.clone())),
        };
    }
    Ok(Shape(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_shape_saturates_instead_of_wrapping() {
        assert_eq!(Shape(vec![1 << 31, 1 << 31, 1 << 31]).elements(), usize::MAX);
        assert_eq!(Shape(vec![usize::MAX, 0, 7]).elements(), 0);
    }

    #[test]
    fn broadcasting_aligns_trailing_axes() {
        let s = |v: &[usize]| Shape::from(v);
        assert_eq!(broadcast(&s(&[2, 1, 3]), &s(&[4, 1])).unwrap(), s(&[2, 4, 3]));
        assert!(broadcast(&s(&[2]), &s(&[3])).is_err());
    }
}
