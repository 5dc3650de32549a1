//! Conversion of numbers.

use super::number::{Numbers, from_ints, from_reals};
use super::{Operand, no_kernel};
use crate::OpError;
use tandem_tensor::{DType, Tensor, TensorType};

/// Integers keep their low bits, reals truncate toward zero (and saturate, where ONNX leaves the result open), `Bool` is
/// "not zero", floats round to nearest even.
pub(super) fn cast(to: DType, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    if to != result.dtype {
        return Err(no_kernel("cast", operands, result));
    }
    let x = operands[0].tensor;
    if x.dtype() == to {
        return Ok(x.clone());
    }
    Ok(match Numbers::of(x) {
        Numbers::Int(v) => from_ints(to, &result.shape, &v)?,
        Numbers::Real(v) => from_reals(to, &result.shape, &v)?,
    })
}

#[cfg(test)]
mod tests {
    use crate::Op;
    use crate::reference::tests::{floats, run};
    use tandem_tensor::{DType, Data, Tensor};

    fn cast(x: &Tensor, to: DType) -> Tensor {
        run(&Op::Cast { to, saturate: true }, &[x], to)
    }

    #[test]
    fn reals_truncate_and_saturate() {
        let x = floats([5], &[-1.9, 2.9, 300.0, -300.0, f32::NAN]);
        assert_eq!(cast(&x, DType::I8).as_slice::<i8>().unwrap(), [-1, 2, 127, -128, 0]);
        assert_eq!(cast(&x, DType::U8).as_slice::<u8>().unwrap(), [0, 2, 255, 0, 0]);
        assert_eq!(cast(&x, DType::Bool).data(), &Data::Bool(vec![1; 5]));
    }

    #[test]
    fn integers_keep_their_low_bits() {
        let x = Tensor::from_vec([3], vec![-1i64, 300, i64::MIN]).unwrap();
        assert_eq!(cast(&x, DType::U8).as_slice::<u8>().unwrap(), [255, 44, 0]);
        assert_eq!(cast(&x, DType::Bool).data(), &Data::Bool(vec![1; 3]));
        assert_eq!(cast(&x, DType::F32).to_f64(), [-1.0, 300.0, -(2f64.powi(63))]);
    }

    #[test]
    fn floats_round_once() {
        // Slightly above the middle of two f16 values; by way of f32 it would become the middle and fall to even.
        let x = Tensor::from_vec([1], vec![1.0 + 2f64.powi(-11) + 2f64.powi(-40)]).unwrap();
        assert_eq!(cast(&x, DType::F16).to_f64(), [1.0 + 2f64.powi(-10)]);
        let y = Tensor::from_vec([1], vec![1.0 + 2f64.powi(-8) + 2f64.powi(-40)]).unwrap();
        assert_eq!(cast(&y, DType::BF16).to_f64(), [1.0 + 2f64.powi(-7)]);
        assert_eq!(cast(&floats([2], &[1e6, 65519.0]), DType::F16).to_f64(), [f64::INFINITY, 65504.0]);
    }
}
