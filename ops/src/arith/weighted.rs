//! Constants of the kernels that sum: convolution, dense, matrix product, average pool.

use super::requant::{Requant, quantize_multiplier, split};
use crate::{Arith, Op, OpError};
use tandem_tensor::{DType, TensorType};

/// The largest number below a half. Added to a real in its direction before the fraction is dropped, it rounds to the nearest, halves
/// away from zero.
pub(crate) const BELOW_HALF: f64 = 0.499_999_999_999_999_94;

/// Requantiser of one output channel of an int8 convolution, depthwise or transposed included.
pub fn conv_requant(arith: Arith, input_scale: f32, weight_scale: f32, output_scale: f32) -> Requant {
    match arith {
        Arith::TfliteRef => double_rounding(f64::from(input_scale) * f64::from(weight_scale) / f64::from(output_scale)),
        Arith::Xnnpack => Requant::Float { scale: input_scale * weight_scale / output_scale },
    }
}

/// Requantiser of a matrix product of two activations, and of uint8 convolutions with one weight scale.
/// Unlike [`conv_requant`], family A rounds the product of the scales to binary32 first.
pub fn matmul_requant(arith: Arith, a_scale: f32, b_scale: f32, output_scale: f32) -> Requant {
    match arith {
        Arith::TfliteRef => double_rounding(f64::from(a_scale * b_scale) / f64::from(output_scale)),
        Arith::Xnnpack => Requant::Float { scale: a_scale * b_scale / output_scale },
    }
}

/// Family A's requantiser of a dense layer: the accumulator times a binary64 scale, rounded half away from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseScale {
    /// Input scale times weight scale by output scale.
    pub scale: f64,
}

impl DenseScale {
    /// The scale of one output channel.
    pub fn new(input_scale: f32, weight_scale: f32, output_scale: f32) -> Self {
        Self { scale: f64::from(input_scale) * f64::from(weight_scale) / f64::from(output_scale) }
    }

    /// The requantised accumulator; saturates to 32 bits.
    #[inline(always)]
    pub fn apply(&self, acc: i32) -> i32 {
        // To the nearest without a call: the conversion drops the fraction.
        let real = f64::from(acc) * self.scale;
        (real + BELOW_HALF.copysign(real)) as i32
    }

    /// An integer requantiser that gives the same code for every accumulator, whatever the 8-bit zero point and range.
    ///
    /// Codes differ by at most 255 from the zero point, so only the accumulators at which the result steps from k - 1 to k
    /// for k up to 256 matter; every one of them bounds the multiplier from both sides. `None` in the rare case that no
    /// 31-bit multiplier lies between the bounds.
    pub fn requant(&self) -> Option<Requant> {
        if !(self.scale.is_finite() && self.scale >= 0.0) {
            return None;
        }
        let shift = 31 - split(self.scale).1;
        if self.scale == 0.0 || shift > 62 {
            // No accumulator reaches a half.
            return Some(Requant::HalfAway { multiplier: 0, shift: 0 });
        }
        let shift = u32::try_from(shift).ok().filter(|&s| s > 0)?;
        let (mut least, mut most) = (0i128, i128::from(i32::MAX));
        for k in 1..=256i32 {
            let step = self.first_reaching(k);
            let target = i128::from(2 * k - 1) << (shift - 1);
            if let Some(step) = step {
                least = least.max((target + i128::from(step) - 1) / i128::from(step));
            }
            let below = step.map_or(i128::from(i32::MAX), |s| i128::from(s) - 1);
            if below > 0 {
                most = most.min((target - 1) / below);
            }
        }
        // Of the multipliers between the bounds, the one nearest to the scale.
        let ideal = i128::from((split(self.scale).0 * (1i64 << 31) as f64).round() as i64);
        (least <= most).then(|| Requant::HalfAway { multiplier: ideal.clamp(least, most) as i32, shift })
    }

    /// The smallest accumulator whose result is at least `k`, for `k` above 0.
    fn first_reaching(&self, k: i32) -> Option<i32> {
        let (mut low, mut high) = (1i64, i64::from(i32::MAX) + 1);
        while low < high {
            let middle = (low + high) / 2;
            if self.apply(middle as i32) >= k { high = middle } else { low = middle + 1 }
        }
        i32::try_from(low).ok()
    }
}

/// Requantiser of every output channel of a convolution, transposed convolution, dense layer or matrix product of these
/// types: what an accelerator needs to equal the reference kernel.
///
/// # Errors
/// [`OpError::Unsupported`] for another operator, for types without quantisation, and for a dense layer of family A whose
/// scale has no integer equivalent (see [`DenseScale::requant`]).
pub fn weight_requants(
    op: &Op,
    arith: Arith,
    x: &TensorType,
    w: &TensorType,
    y: &TensorType,
) -> Result<Vec<Requant>, OpError> {
    let (Some(xq), Some(wq), Some(yq)) = (&x.quant, &w.quant, &y.quant) else {
        return Err(OpError::unsupported(format!("{} needs quantised operands and result", op.name())));
    };
    let channels = match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } => w.shape.first().copied().unwrap_or(0),
        Op::MatMul { .. } => 1,
        _ => return Err(OpError::unsupported(format!("{} has no weights", op.name()))),
    };
    let (input, output) = (xq.scale(), yq.scale());
    (0..channels)
        .map(|channel| {
            let weight = wq.at(channel).0;
            match op {
                Op::MatMul { .. } => Ok(matmul_requant(arith, input, weight, output)),
                Op::Dense { .. } if arith == Arith::TfliteRef => {
                    DenseScale::new(input, weight, output).requant().ok_or_else(|| {
                        OpError::unsupported(format!("no integer multiplier equals the scale of output {channel}"))
                    })
                }
                _ if x.dtype == DType::U8 && wq.is_per_tensor() => Ok(matmul_requant(arith, input, weight, output)),
                _ => Ok(conv_requant(arith, input, weight, output)),
            }
        })
        .collect()
}

/// Requantiser that divides a sum of `count` codes by `count`, rounding half away from zero; exact for every sum of
/// magnitude up to 255 * `count` for counts up to 2^20.
pub fn average_requant(count: u32) -> Requant {
    let count = u64::from(count.max(1));
    // The multiplier is 2^shift / count rounded up, in 2^30..2^31. Rounding down would push exact halves below a half; the
    // excess of rounding up, below sum / 2^shift, is far below 1 / (2 count), the distance of other sums to a half.
    let shift = 30 + count.next_power_of_two().trailing_zeros();
    let multiplier = (1u64 << shift).div_ceil(count);
    if multiplier < 1 << 31 {
        Requant::HalfAway { multiplier: multiplier as i32, shift }
    } else {
        Requant::HalfAway { multiplier: (1u64 << (shift - 1)).div_ceil(count) as i32, shift: shift - 1 }
    }
}

fn double_rounding(real: f64) -> Requant {
    let (multiplier, shift) = quantize_multiplier(real);
    Requant::DoubleRounding { multiplier, shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_tensor::QuantParams;

    #[test]
    fn division_by_a_pool_size_is_exact_for_every_sum() {
        for count in 1..=1024u32 {
            let requant = average_requant(count);
            let n = count as i32;
            for sum in 0..=255 * n {
                let exact = (sum + n / 2) / n;
                assert_eq!(requant.apply(sum), exact, "{sum} / {n}");
            }
            for sum in [-1, -n / 2, -(n + 1) / 2, -n, -127 * n - n / 2, -255 * n] {
                assert_eq!(requant.apply(sum), -((-sum + n / 2) / n), "{sum} / {n}");
            }
        }
    }

    #[test]
    fn division_by_a_huge_pool_is_exact_around_every_half() {
        for count in [1 << 20, (1 << 20) - 1, 999_983] {
            let requant = average_requant(count);
            let n = count as i32;
            for k in 0..255 {
                for sum in [k * n + n / 2 - 1, k * n + n / 2, k * n + n / 2 + 1, k * n] {
                    assert_eq!(requant.apply(sum), (sum + n / 2) / n, "{sum} / {n}");
                    assert_eq!(requant.apply(-sum), -((sum + n / 2) / n), "-{sum} / {n}");
                }
            }
        }
    }

    #[test]
    fn an_integer_requantiser_equals_the_binary64_scale_on_every_code() {
        let mut seed = 12345u64;
        let (mut found, total) = (0, 400);
        for _ in 0..total {
            let mut random = || {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (seed >> 40) as f32 / (1 << 24) as f32 + 1e-3
            };
            let scale = DenseScale::new(random(), random() * 0.02, random());
            let Some(requant) = scale.requant() else { continue };
            found += 1;
            let reach = (258.0 / scale.scale).min(3e6) as i32;
            for acc in (-reach..=reach).chain([i32::MIN, i32::MAX]) {
                assert_eq!(requant.code(acc, 0, -256, 256), scale.apply(acc).clamp(-256, 256), "{acc} {scale:?}");
            }
        }
        assert!(found * 100 >= total * 99, "{found} of {total}");
    }

    #[test]
    fn dyadic_and_extreme_scales_have_their_integer_requantiser() {
        for exponent in [-40, -33, -20, -1, 0, 1, 7] {
            let scale = DenseScale { scale: 2f64.powi(exponent) };
            let requant = scale.requant().unwrap();
            for acc in [0, 1, 2, 3, 5, 1 << 19, (1 << 19) - 1, (1 << 19) + 1, i32::MAX, -1, -(1 << 19), i32::MIN] {
                assert_eq!(requant.code(acc, 0, -256, 256), scale.apply(acc).clamp(-256, 256), "{acc} {exponent}");
            }
        }
        assert_eq!(DenseScale { scale: f64::NAN }.requant(), None);
        assert_eq!(DenseScale { scale: f64::INFINITY }.requant(), None);
    }

    #[test]
    fn the_kernel_decides_how_scales_are_multiplied() {
        let ty = |dtype, scale| TensorType::new(dtype, [1, 1, 1]).with_quant(QuantParams::per_tensor(scale, 0));
        let conv = Op::Conv(crate::Conv {
            stride: vec![1],
            dilation: vec![1],
            pad: vec![(0, 0)],
            groups: 1,
            act: crate::Act::None,
        });
        let dense = Op::Dense { act: crate::Act::None };
        let of = |op: &Op, dtype, arith| {
            weight_requants(op, arith, &ty(dtype, 0.1), &ty(dtype, 0.3), &ty(dtype, 1.0)).unwrap()[0]
        };
        let exact = double_rounding(f64::from(0.1f32) * f64::from(0.3f32));
        let rounded = double_rounding(f64::from(0.1f32 * 0.3f32));
        assert_ne!(exact, rounded);
        assert_eq!(of(&conv, DType::I8, Arith::TfliteRef), exact);
        assert_eq!(of(&conv, DType::U8, Arith::TfliteRef), rounded);
        assert_eq!(of(&conv, DType::U8, Arith::Xnnpack), Requant::Float { scale: 0.1 * 0.3 });
        assert!(matches!(of(&dense, DType::I8, Arith::TfliteRef), Requant::HalfAway { .. }));
        assert!(matches!(of(&dense, DType::U8, Arith::TfliteRef), Requant::HalfAway { .. }));
    }
}
