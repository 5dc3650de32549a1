//! Between reals and codes.

use super::number::{Numbers, from_ints};
use super::position::around;
use super::{Operand, no_kernel};
use crate::{Arith, OpError};
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// Codes of reals: a division in `f32`, rounded half away from zero (family A, as TFLite) or half to even (family B, as
/// ONNX), then the zero point, then saturation.
pub(super) fn quantize(arith: Arith, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let reals: Vec<f32> = match Numbers::of(operands[0].tensor) {
        Numbers::Real(v) => v.iter().map(|&x| x as f32).collect(),
        Numbers::Int(v) if operands[0].ty.quant.is_none() => v.iter().map(|&x| x as f32).collect(),
        Numbers::Int(_) => return Err(no_kernel("quantize", operands, result)),
    };
    encode(arith, &reals, result)
}

/// Reals of codes: `(code - zero_point) * scale` in `f32`.
pub(super) fn dequantize(operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    if !result.dtype.is_float() {
        return Err(no_kernel("dequantize", operands, result));
    }
    let reals: Vec<f64> = decode("dequantize", operands)?.into_iter().map(f64::from).collect();
    Ok(Tensor::from_f64(result.dtype, result.shape.clone(), &reals)?)
}

/// Codes to codes by way of `f32`, as a dequantisation followed by a quantisation of ONNX.
pub(super) fn requantize(operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    encode(Arith::Xnnpack, &decode("requantize", operands)?, result)
}

fn decode(op: &str, operands: &[Operand<'_>]) -> Result<Vec<f32>, OpError> {
    let x = operands[0];
    let (Numbers::Int(codes), Some(quant)) = (Numbers::of(x.tensor), &x.ty.quant) else {
        return Err(OpError::invalid(format!(
            "{op} needs quantised codes but the operand is {} without a scale",
            x.ty
        )));
    };
    let lane = Lane::new(op, quant, x.ty)?;
    Ok(codes
        .iter()
        .enumerate()
        .map(|(i, &code)| {
            let (scale, zero) = quant.at(lane.index(i));
            (code - i128::from(zero)) as f32 * scale
        })
        .collect())
}

fn encode(arith: Arith, reals: &[f32], result: &TensorType) -> Result<Tensor, OpError> {
    let (Some(quant), Some((low, high))) = (&result.quant, result.dtype.integer_range()) else {
        return Err(OpError::invalid(format!("quantize needs an integer result with a scale but it is {result}")));
    };
    let lane = Lane::new("quantize", quant, result)?;
    let codes: Vec<i128> = reals
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let (scale, zero) = quant.at(lane.index(i));
            let steps = match arith {
                Arith::TfliteRef => (x / scale).round(),
                Arith::Xnnpack => (x / scale).round_ties_even(),
            };
            // The cast saturates, so that an infinite real becomes the last code.
            (i128::from(steps as i64) + i128::from(zero)).clamp(low, high)
        })
        .collect();
    Ok(from_ints(result.dtype, &result.shape, &codes)?)
}

/// Which pair of scale and zero point belongs to an element.
struct Lane {
    inner: usize,
    extent: usize,
}

impl Lane {
    fn new(op: &str, quant: &QuantParams, ty: &TensorType) -> Result<Lane, OpError> {
        let Some(axis) = quant.axis else {
            return Ok(Lane { inner: 1, extent: 1 });
        };
        if axis >= ty.shape.rank() || quant.scale.len() != ty.shape[axis] || quant.zero_point.len() != ty.shape[axis] {
            return Err(OpError::invalid(format!(
                "{op} needs a scale and a zero point for each index of axis {axis} of {ty} but has {} and {}",
                quant.scale.len(),
                quant.zero_point.len()
            )));
        }
        let (_, extent, inner) = around(&ty.shape, axis);
        Ok(Lane { inner: inner.max(1), extent: extent.max(1) })
    }

    fn index(&self, element: usize) -> usize {
        element / self.inner % self.extent
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run_family, run_typed, values};
    use crate::{Arith, Op};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn the_families_differ_on_ties() {
        let x = floats([6], &[0.25, 0.75, -0.25, -0.75, 1e30, -1e30]);
        let q = QuantParams::per_tensor(0.5, 10);
        let of = |arith| {
            let y = run_family(&Op::Quantize, arith, &[(&x, None)], DType::I8, Some(&q)).unwrap();
            y.as_slice::<i8>().unwrap().to_vec()
        };
        assert_eq!(of(Arith::TfliteRef), [11, 12, 9, 8, 127, -128]);
        assert_eq!(of(Arith::Xnnpack), [10, 12, 10, 8, 127, -128]);
    }

    #[test]
    fn each_channel_has_its_own_scale() {
        let x = floats([2, 2], &[1.0, 1.0, -2.0, -2.0]);
        let q = QuantParams { scale: vec![0.5, 0.25], zero_point: vec![0, 100], axis: Some(1) };
        let y = run_typed(&Op::Quantize, &[(&x, None)], DType::U8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<u8>().unwrap(), [2, 104, 0, 92]);
        let back = run_typed(&Op::Dequantize, &[(&y, Some(&q))], DType::F32, None).unwrap();
        assert_eq!(values(&back), [1.0, 1.0, 0.0, -2.0]);
    }

    #[test]
    fn a_quantisation_that_does_not_fit_its_axis_is_refused() {
        let x = floats([2], &[1.0, 1.0]);
        let q = QuantParams { scale: vec![0.5], zero_point: vec![0], axis: Some(0) };
        let error = run_typed(&Op::Quantize, &[(&x, None)], DType::I8, Some(&q)).unwrap_err().to_string();
        assert!(error.contains("each index of axis 0"), "{error}");
        assert!(run_typed(&Op::Quantize, &[(&x, None)], DType::I8, None).is_err());
        assert!(run_typed(&Op::Dequantize, &[(&x, None)], DType::F32, None).is_err());
    }

    #[test]
    fn wide_codes_have_reals_too() {
        let x = Tensor::from_vec([1], vec![1000i32]).unwrap();
        let q = QuantParams::per_tensor(0.5, 0);
        assert_eq!(values(&run_typed(&Op::Dequantize, &[(&x, Some(&q))], DType::F32, None).unwrap()), [500.0]);
    }
}
