//! Kernels with their weights prepared once, for many runs.

use super::{codes, conv, product};
use crate::reference::MAX_ELEMENTS;
use crate::{Arith, Op, OpError, Operand, infer};
use tandem_tensor::{Tensor, TensorError, TensorType};

/// An 8-bit convolution or dense layer whose weights lie in the order in which its loops read them.
///
/// It computes what [`reference`](crate::reference()) computes; only the preparation of the weights is saved on every run.
pub struct Prepared {
    input: TensorType,
    kernel: Kernel,
}

enum Kernel {
    Conv(Box<conv::Kernel>),
    Dense(Box<product::Kernel>),
}

impl Prepared {
    /// The kernel of `op` on an input of type `x` with these weights and bias; `None` when there is no such kernel, so that
    /// [`reference`](crate::reference()) computes the operator or says what is wrong.
    pub fn new(
        op: &Op,
        arith: Arith,
        x: &TensorType,
        weights: &[Operand<'_>],
        result: &TensorType,
    ) -> Option<Prepared> {
        let types: Vec<&TensorType> = std::iter::once(x).chain(weights.iter().map(|w| w.ty)).collect();
        let whole = weights.iter().all(|w| w.tensor.dtype() == w.ty.dtype && w.tensor.shape() == &w.ty.shape);
        let all_codes = types.iter().take(2).all(|t| codes::is_codes(t)) && codes::is_codes(result);
        if !whole
            || !all_codes
            || result.elements() > MAX_ELEMENTS
            || infer(op, &types).ok()?.first() != Some(&result.shape)
        {
            return None;
        }
        let kernel = match op {
            Op::Conv(c) => Kernel::Conv(Box::new(conv::Kernel::new(op, c, arith, x, weights, result).ok()?)),
            Op::Dense { act } => {
                Kernel::Dense(Box::new(product::Kernel::new(op, *act, arith, x, weights, result).ok()?))
            }
            _ => return None,
        };
        Some(Prepared { input: x.clone(), kernel })
    }

    /// The result of the operator, in a list of one.
    ///
    /// # Errors
    /// When `x` is not of the type that was prepared for.
    pub fn run(&self, x: &Tensor) -> Result<Vec<Tensor>, OpError> {
        if x.dtype() != self.input.dtype {
            return Err(TensorError::DType { expected: self.input.dtype, found: x.dtype() }.into());
        }
        if x.shape() != &self.input.shape {
            return Err(OpError::invalid(format!("the kernel is made for {} but x is {}", self.input, x.shape())));
        }
        match &self.kernel {
            Kernel::Conv(k) => k.run(x),
            Kernel::Dense(k) => k.run(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, reference};
    use tandem_tensor::{DType, QuantParams};

    #[test]
    fn a_prepared_kernel_gives_what_the_reference_gives() {
        let q = QuantParams::per_tensor(0.1, 3);
        let ty = |shape: &[usize]| TensorType::new(DType::I8, shape).with_quant(q.clone());
        let (tx, tw, ty_) = (ty(&[5, 7]), ty(&[3, 7]), ty(&[5, 3]));
        let x = Tensor::from_vec([5, 7], (0..35).map(|i| (i * 7) as i8).collect::<Vec<i8>>()).unwrap();
        let w = Tensor::from_vec([3, 7], (0..21).map(|i| (i * 11) as i8).collect::<Vec<i8>>()).unwrap();
        let op = Op::Dense { act: Act::Relu };
        let weights = Operand { tensor: &w, ty: &tw };
        let prepared = Prepared::new(&op, Arith::Xnnpack, &tx, &[weights], &ty_).unwrap();
        let expected = reference(&op, Arith::Xnnpack, &[Operand { tensor: &x, ty: &tx }, weights], &[&ty_]).unwrap();
        assert_eq!(prepared.run(&x).unwrap(), expected);
        assert!(prepared.run(&w).is_err());
        assert!(Prepared::new(&op, Arith::Xnnpack, &tx, &[weights], &tx).is_none());
    }
}
