//! Softmax and its logarithm.

use super::number::{Numbers, from_reals};
use super::position::around;
use super::{Operand, no_kernel};
use crate::OpError;
use tandem_tensor::{Tensor, TensorType};

pub(super) fn softmax(
    axis: usize,
    beta: f32,
    log: bool,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let (Numbers::Real(mut v), true) = (Numbers::of(operands[0].tensor), result.dtype.is_float()) else {
        return Err(no_kernel("softmax", operands, result));
    };
    let (outer, extent, inner) = around(&result.shape, axis);
    if v.is_empty() {
        return Ok(from_reals(result.dtype, &result.shape, &v)?);
    }
    let beta = f64::from(beta);
    for lane in (0..outer).flat_map(|o| (0..inner).map(move |i| o * extent * inner + i)) {
        let at = |k: usize| lane + k * inner;
        let mut top = f64::NEG_INFINITY;
        for k in 0..extent {
            v[at(k)] *= beta;
            top = if v[at(k)] > top { v[at(k)] } else { top };
        }
        let mut sum = 0.0;
        for k in 0..extent {
            v[at(k)] -= top;
            sum += v[at(k)].exp();
        }
        for k in 0..extent {
            v[at(k)] = if log { v[at(k)] - sum.ln() } else { v[at(k)].exp() / sum };
        }
    }
    Ok(from_reals(result.dtype, &result.shape, &v)?)
}

#[cfg(test)]
mod tests {
    use crate::Op;
    use crate::reference::tests::{floats, run, values};
    use tandem_tensor::DType;

    fn op(axis: usize, beta: f32, log: bool) -> Op {
        Op::Softmax { axis, beta, log }
    }

    #[test]
    fn probabilities_follow_the_axis() {
        let x = floats([2, 2], &[0.0, 1.0, 0.0, 2.0]);
        let y = values(&run(&op(1, 1.0, false), &[&x], DType::F32));
        let p = |d: f32| 1.0 / (1.0 + d.exp());
        for (a, b) in y.iter().zip([p(1.0), p(-1.0), p(2.0), p(-2.0)]) {
            assert!((a - b).abs() < 1e-7);
        }
        let columns = values(&run(&op(0, 2.0, false), &[&x], DType::F32));
        for (a, b) in columns.iter().zip([0.5, p(2.0), 0.5, p(-2.0)]) {
            assert!((a - b).abs() < 1e-7);
        }
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let x = floats([3], &[1e30, 1e30, -1e30]);
        assert_eq!(values(&run(&op(0, 1.0, false), &[&x], DType::F32)), [0.5, 0.5, 0.0]);
        let l = values(&run(&op(0, 1.0, true), &[&floats([2], &[1000.0, 0.0])], DType::F32));
        assert_eq!(l, [0.0, -1000.0]);
    }

    #[test]
    fn a_fully_masked_lane_is_not_a_number() {
        let x = floats([1, 2], &[f32::NEG_INFINITY; 2]);
        assert!(values(&run(&op(1, 1.0, false), &[&x], DType::F32)).iter().all(|v| v.is_nan()));
    }
}
