//! The two kinds of sums of products: reals in `f64`, integers in wrapping `i64`.

use super::number::{activate, activate_ints, from_ints, from_reals};
use super::{Operand, no_kernel};
use crate::{Act, OpError};
use tandem_tensor::{DType, Tensor, TensorError, TensorType};

/// A number in which products are summed.
pub(super) trait Accumulator: Copy {
    const ZERO: Self;
    /// The elements of a tensor of the right class.
    fn load(tensor: &Tensor) -> Vec<Self>;
    fn add(&mut self, other: Self);
    fn add_product(&mut self, a: Self, b: Self);
    /// Activation, then the dtype of the result.
    fn store(values: Vec<Self>, act: Act, ty: &TensorType) -> Result<Tensor, TensorError>;
}

impl Accumulator for f64 {
    const ZERO: f64 = 0.0;
    fn load(tensor: &Tensor) -> Vec<f64> {
        tensor.to_f64()
    }
    fn add(&mut self, other: f64) {
        *self += other;
    }
    fn add_product(&mut self, a: f64, b: f64) {
        *self += a * b;
    }
    fn store(mut values: Vec<f64>, act: Act, ty: &TensorType) -> Result<Tensor, TensorError> {
        activate(act, &mut values);
        from_reals(ty.dtype, &ty.shape, &values)
    }
}

impl Accumulator for i64 {
    const ZERO: i64 = 0;
    fn load(tensor: &Tensor) -> Vec<i64> {
        tensor.to_i64().unwrap_or_else(|| tensor.to_f64().iter().map(|&x| x as i64).collect())
    }
    fn add(&mut self, other: i64) {
        *self = self.wrapping_add(other);
    }
    fn add_product(&mut self, a: i64, b: i64) {
        *self = self.wrapping_add(a.wrapping_mul(b));
    }
    fn store(mut values: Vec<i64>, act: Act, ty: &TensorType) -> Result<Tensor, TensorError> {
        // The low bits of the sum are those of any narrower dtype; only then does the sign mean something.
        let narrow = match ty.dtype {
            DType::I8 => |v: i64| i64::from(v as i8),
            DType::I16 => |v: i64| i64::from(v as i16),
            DType::I32 => |v: i64| i64::from(v as i32),
            _ => |v: i64| v,
        };
        if act != Act::None {
            values.iter_mut().for_each(|v| *v = narrow(*v));
            activate_ints(act, &mut values);
        }
        let wide: Vec<i128> = values.iter().map(|&v| i128::from(v)).collect();
        from_ints(ty.dtype, &ty.shape, &wide)
    }
}

/// What a sum of products over these operands computes in.
pub(super) enum Class {
    Real,
    Int,
}

/// The class of operands and result, when they agree.
pub(super) fn class(op: &str, operands: &[Operand<'_>], result: &TensorType) -> Result<Class, OpError> {
    let all = |test: fn(DType) -> bool| test(result.dtype) && operands.iter().all(|o| test(o.ty.dtype));
    if all(DType::is_float) {
        Ok(Class::Real)
    } else if all(DType::is_integer) {
        Ok(Class::Int)
    } else {
        Err(no_kernel(op, operands, result))
    }
}
