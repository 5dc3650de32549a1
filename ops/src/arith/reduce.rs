//! Constants of sums and means over axes.

use super::code_range;
use super::requant::{Requant, quantize_multiplier};
use crate::Arith;
use tandem_tensor::{DType, QuantParams};

/// How the sum of the codes of `count` elements becomes a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReduceParams {
    /// `clamp(requant(sum - offset) + zero_point, lo, hi)`.
    Integer {
        /// Sum of the zero points.
        offset: i64,
        /// Requantiser of the centred sum.
        requant: Requant,
        /// Added to the requantised sum.
        zero_point: i32,
        /// Smallest code.
        lo: i32,
        /// Largest code.
        hi: i32,
    },
    /// `clamp(f32(sum) * scale + bias, lo, hi)` in binary32, to the nearest integer, half to even.
    Real {
        /// Factor of the sum.
        scale: f32,
        /// Added to the product.
        bias: f32,
        /// Smallest code.
        lo: i32,
        /// Largest code.
        hi: i32,
    },
}

impl ReduceParams {
    /// The code of the result of a sum of codes.
    pub fn apply(&self, sum: i64) -> i32 {
        match *self {
            ReduceParams::Integer { offset, requant, zero_point, lo, hi } => {
                requant.code((sum - offset) as i32, zero_point, lo, hi)
            }
            ReduceParams::Real { scale, bias, lo, hi } => {
                let real = sum as i32 as f32 * scale + bias;
                real.max(lo as f32).min(hi as f32).round_ties_even() as i32
            }
        }
    }
}

/// Constants of the sum (or with `mean` the mean) of `count` elements; `dtype` is that of the result.
///
/// # Source
/// Family A: TFLite `MEAN` and `SUM`; the mean folds the division into the multiplier, with as many bits of the count as the
/// shift can carry. Family B: XNNPACK's sums.
pub fn reduce_params(
    arith: Arith,
    input: &QuantParams,
    output: &QuantParams,
    dtype: DType,
    count: usize,
    mean: bool,
) -> ReduceParams {
    let (lo, hi) = code_range(dtype);
    let count = (count.max(1) as u64).min(1 << 40);
    let offset = i64::from(input.zero_point()) * count as i64;
    match arith {
        Arith::TfliteRef => {
            let (mut multiplier, mut shift) = quantize_multiplier(f64::from(input.scale()) / f64::from(output.scale()));
            if mean {
                let bits = (count.ilog2() as i32).min(32).min(31 + shift).max(0);
                multiplier = ((i64::from(multiplier) << bits) / count as i64) as i32;
                shift -= bits;
            }
            let requant = Requant::DoubleRounding { multiplier, shift };
            ReduceParams::Integer { offset, requant, zero_point: output.zero_point(), lo, hi }
        }
        Arith::Xnnpack => {
            let ratio = input.scale() / output.scale();
            let scale = if mean { ratio * (1.0 / count as f32) } else { ratio };
            let bias = output.zero_point() as f32 - offset as f32 * scale;
            ReduceParams::Real { scale, bias, lo, hi }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_at_one_scale_is_the_rounded_mean_of_the_codes() {
        let q = QuantParams::per_tensor(0.37, -7);
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            for count in [1usize, 2, 3, 7, 49, 256] {
                let params = reduce_params(arith, &q, &q, DType::I8, count, true);
                let n = count as i64;
                for sum in (-128 * n..=127 * n).step_by(count.div_ceil(3)) {
                    let exact = sum as f64 / n as f64;
                    // Family A rounds to halves or finer first when it has folded bits of the count.
                    let limit = if arith == Arith::TfliteRef { 0.751 } else { 0.501 };
                    assert!((f64::from(params.apply(sum)) - exact).abs() <= limit, "{arith:?} {sum} / {n}");
                }
            }
        }
    }

    #[test]
    fn a_sum_saturates() {
        let q = QuantParams::per_tensor(1.0, 0);
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let params = reduce_params(arith, &q, &q, DType::U8, 1000, false);
            assert_eq!((params.apply(200), params.apply(200_000)), (200, 255));
        }
    }
}
