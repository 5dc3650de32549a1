//! Constants of the element-wise kernels.

use super::requant::{Requant, quantize_multiplier, split};
use super::{activation_range, code_range};
use crate::{Act, Arith};
use tandem_tensor::{DType, QuantParams};

/// How one operand of an addition is brought to the common scale: `requant((code - zero_point) << pre_shift)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddOperand {
    /// Subtracted from the code.
    pub zero_point: i32,
    /// Left shift of the difference.
    pub pre_shift: u32,
    /// Requantiser of the shifted difference.
    pub requant: Requant,
}

/// `clamp(output(a + b) + zero_point, lo, hi)`, or with `a - b`, where a and b are the operands at a common scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddParams {
    /// First operand.
    pub a: AddOperand,
    /// Second operand.
    pub b: AddOperand,
    /// The second operand is subtracted.
    pub subtract: bool,
    /// Requantiser of the sum.
    pub output: Requant,
    /// Added to the requantised sum.
    pub zero_point: i32,
    /// Smallest code.
    pub lo: i32,
    /// Largest code.
    pub hi: i32,
}

impl AddOperand {
    /// The operand at the common scale.
    #[inline(always)]
    pub fn apply(&self, code: i32) -> i32 {
        self.requant.apply((code - self.zero_point).wrapping_shl(self.pre_shift))
    }
}

impl AddParams {
    /// The code of the result.
    #[inline(always)]
    pub fn apply(&self, a: i32, b: i32) -> i32 {
        let (a, b) = (self.a.apply(a), self.b.apply(b));
        let sum = if self.subtract { a.wrapping_sub(b) } else { a.wrapping_add(b) };
        self.output.code(sum, self.zero_point, self.lo, self.hi)
    }
}

/// Constants of `a + b`, or of `a - b` when `subtract`; `dtype` is that of the result.
///
/// # Source
/// Family A: TFLite `ADD` and `SUB`, both operands at twice the larger scale with 20 extra bits. Family B: XNNPACK `vadd`,
/// multipliers of 21 bits and one shift; it bounds the ratios of scales to 2^-10..2^8 and leaves others to family A's kernel.
pub fn add_params(
    arith: Arith,
    a: &QuantParams,
    b: &QuantParams,
    output: &QuantParams,
    dtype: DType,
    act: Act,
    subtract: bool,
) -> AddParams {
    let (lo, hi) = activation_range(act, dtype, output);
    let (sa, sb, so) = (a.scale(), b.scale(), output.scale());
    let operand = |zero_point, pre_shift, requant| AddOperand { zero_point, pre_shift, requant };
    let known = |scale: f32| (1.0 / 1024.0..256.0).contains(&(scale / so));
    let (a, b, sum) = match arith {
        _ if arith == Arith::TfliteRef || !known(sa) || !known(sb) => {
            let twice = f64::from(2.0 * sa.max(sb));
            let at = |scale: f32| double_rounding(f64::from(scale) / twice);
            (
                operand(a.zero_point(), 20, at(sa)),
                operand(b.zero_point(), 20, at(sb)),
                double_rounding(twice / (f64::from(1u32 << 20) * f64::from(so))),
            )
        }
        _ => {
            let (ra, rb) = (f64::from(sa / so), f64::from(sb / so));
            // 21 significant bits for the larger ratio.
            let shift = 21 - split(ra.max(rb)).1;
            let at = |ratio: f64| Requant::SingleRounding {
                multiplier: (ratio * 2f64.powi(shift)).round_ties_even() as i32,
                shift: 0,
            };
            (
                operand(a.zero_point(), 0, at(ra)),
                operand(b.zero_point(), 0, at(rb)),
                Requant::SingleRounding { multiplier: 1, shift: shift as u32 },
            )
        }
    };
    AddParams { a, b, subtract, output: sum, zero_point: output.zero_point(), lo, hi }
}

/// `clamp(requant((a - a_zero_point) * (b - b_zero_point)) + zero_point, lo, hi)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MulParams {
    /// Zero point of the first operand.
    pub a_zero_point: i32,
    /// Zero point of the second operand.
    pub b_zero_point: i32,
    /// Requantiser of the product.
    pub requant: Requant,
    /// Added to the requantised product.
    pub zero_point: i32,
    /// Smallest code.
    pub lo: i32,
    /// Largest code.
    pub hi: i32,
}

impl MulParams {
    /// The code of the result.
    #[inline(always)]
    pub fn apply(&self, a: i32, b: i32) -> i32 {
        let product = (a - self.a_zero_point) * (b - self.b_zero_point);
        self.requant.code(product, self.zero_point, self.lo, self.hi)
    }
}

/// Constants of a product; `dtype` is that of the result.
///
/// # Source
/// Family A: TFLite `MUL`, whose real multiplier is computed in binary32. Family B: XNNPACK `vmul`.
pub fn mul_params(
    arith: Arith,
    a: &QuantParams,
    b: &QuantParams,
    output: &QuantParams,
    dtype: DType,
    act: Act,
) -> MulParams {
    let (lo, hi) = activation_range(act, dtype, output);
    let scale = a.scale() * b.scale() / output.scale();
    let requant = match arith {
        Arith::Xnnpack if scale < 256.0 => Requant::Float { scale },
        _ => double_rounding(f64::from(scale)),
    };
    MulParams {
        a_zero_point: a.zero_point(),
        b_zero_point: b.zero_point(),
        requant,
        zero_point: output.zero_point(),
        lo,
        hi,
    }
}

/// `clamp(requant(code - input_zero_point) + zero_point, lo, hi)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequantizeParams {
    /// Subtracted from the code.
    pub input_zero_point: i32,
    /// Requantiser of the difference.
    pub requant: Requant,
    /// Added to the requantised difference.
    pub zero_point: i32,
    /// Smallest code.
    pub lo: i32,
    /// Largest code.
    pub hi: i32,
}

impl RequantizeParams {
    /// The code of the result.
    #[inline(always)]
    pub fn apply(&self, code: i32) -> i32 {
        self.requant.code(code - self.input_zero_point, self.zero_point, self.lo, self.hi)
    }
}

/// Constants of the conversion of codes from one quantisation to another; `dtype` is that of the result. With an activation
/// they are those of a stand-alone ReLU, which rounds twice in both families.
///
/// Family B has no kernel for ratios outside 1/256..=128; there the constants are those of family A.
///
/// # Source
/// Family A: TFLite `QUANTIZE` and the ReLU kernels. Family B: XNNPACK `vcvt`, a multiplier with 8 fractional bits.
pub fn requantize_params(
    arith: Arith,
    input: &QuantParams,
    output: &QuantParams,
    dtype: DType,
    act: Act,
) -> RequantizeParams {
    let (lo, hi) = activation_range(act, dtype, output);
    let ratio = input.scale() / output.scale();
    let requant = match (arith, act) {
        (Arith::TfliteRef, Act::None) => double_rounding(f64::from(input.scale()) / f64::from(output.scale())),
        (Arith::Xnnpack, Act::None) if has_short_multiplier(ratio) => short_multiplier(ratio),
        _ => double_rounding(f64::from(ratio)),
    };
    RequantizeParams { input_zero_point: input.zero_point(), requant, zero_point: output.zero_point(), lo, hi }
}

/// `clamp(r + zero_point, lo, hi)` of `d = code - input_zero_point`, where r is `positive(d)` or, for a negative d,
/// `negative(d)` or `-negative(d)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyReluParams {
    /// Subtracted from the code.
    pub input_zero_point: i32,
    /// Requantiser of a difference of at least 0.
    pub positive: Requant,
    /// Requantiser of a negative difference, by the magnitude of the slope in family A.
    pub negative: Requant,
    /// What `negative` gives is negated: the slope is below zero.
    pub negate: bool,
    /// Added to the requantised difference.
    pub zero_point: i32,
    /// Smallest code.
    pub lo: i32,
    /// Largest code.
    pub hi: i32,
}

impl LeakyReluParams {
    /// The code of the result.
    #[inline(always)]
    pub fn apply(&self, code: i32) -> i32 {
        let difference = code - self.input_zero_point;
        if difference >= 0 {
            return self.positive.code(difference, self.zero_point, self.lo, self.hi);
        }
        let scaled = self.negative.apply(difference);
        let scaled = if self.negate { scaled.saturating_neg() } else { scaled };
        scaled.saturating_add(self.zero_point).max(self.lo).min(self.hi)
    }
}

/// Constants of a leaky ReLU; `dtype` is that of the result.
///
/// Family B has no kernel for a ratio of scales outside 1/256..=128 or a slope of like size; there the constants are those of
/// family A.
///
/// # Source
/// Family A: TFLite `LEAKY_RELU`. Family B: XNNPACK `vlrelu`, multipliers with 8 fractional bits.
pub fn leaky_relu_params(
    arith: Arith,
    input: &QuantParams,
    output: &QuantParams,
    dtype: DType,
    alpha: f32,
) -> LeakyReluParams {
    let (lo, hi) = code_range(dtype);
    let ratio = input.scale() / output.scale();
    let slope = ratio * alpha;
    let short = arith == Arith::Xnnpack
        && has_short_multiplier(ratio)
        && (-127.996_09..=128.0).contains(&slope)
        && slope.abs() >= 1.0 / 256.0;
    let (positive, negative, negate) = if short {
        (short_multiplier(ratio), short_multiplier(slope), false)
    } else {
        let slope = f64::from(input.scale() * alpha / output.scale());
        (double_rounding(f64::from(ratio)), double_rounding(slope.abs()), slope < 0.0)
    };
    LeakyReluParams {
        input_zero_point: input.zero_point(),
        positive,
        negative,
        negate,
        zero_point: output.zero_point(),
        lo,
        hi,
    }
}

/// The ratios of scales that XNNPACK's kernels of one operand accept.
pub(crate) fn has_short_multiplier(ratio: f32) -> bool {
    (1.0 / 256.0..=128.0).contains(&ratio)
}

fn short_multiplier(ratio: f32) -> Requant {
    Requant::SingleRounding { multiplier: (ratio * 256.0).round_ties_even() as i32, shift: 8 }
}

fn double_rounding(real: f64) -> Requant {
    let (multiplier, shift) = quantize_multiplier(real);
    Requant::DoubleRounding { multiplier, shift }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quant(scale: f32, zero_point: i32) -> QuantParams {
        QuantParams::per_tensor(scale, zero_point)
    }

    #[test]
    fn a_sum_of_equal_scales_is_the_sum_of_the_codes() {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let q = quant(0.1, 3);
            let add = add_params(arith, &q, &q, &q, DType::I8, Act::None, false);
            let sub = add_params(arith, &q, &q, &q, DType::I8, Act::None, true);
            for a in -128..128 {
                for b in -128..128 {
                    assert_eq!(add.apply(a, b), (a + b - 3).clamp(-128, 127));
                    assert_eq!(sub.apply(a, b), (a - b + 3).clamp(-128, 127));
                }
            }
        }
    }

    #[test]
    fn every_sum_is_within_one_code_of_the_real_sum() {
        let (a, b, o) = (quant(0.0471, -11), quant(0.0093, 40), quant(0.0612, 7));
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            for subtract in [false, true] {
                let params = add_params(arith, &a, &b, &o, DType::I8, Act::Relu, subtract);
                assert_eq!(params.lo, 7);
                for qa in -128..128 {
                    for qb in -128..128 {
                        let (ra, rb) = (0.0471 * f64::from(qa + 11), 0.0093 * f64::from(qb - 40));
                        let real = if subtract { ra - rb } else { ra + rb };
                        let exact = (real / 0.0612).clamp(0.0, 120.0) + 7.0;
                        assert!((f64::from(params.apply(qa, qb)) - exact).abs() < 0.501);
                    }
                }
            }
        }
    }

    #[test]
    fn family_b_adds_with_21_bit_multipliers() {
        let params =
            add_params(Arith::Xnnpack, &quant(0.5, 0), &quant(0.25, 0), &quant(1.0, 0), DType::I8, Act::None, false);
        assert_eq!(params.a.requant, Requant::SingleRounding { multiplier: 1 << 20, shift: 0 });
        assert_eq!(params.b.requant, Requant::SingleRounding { multiplier: 1 << 19, shift: 0 });
        assert_eq!(params.output, Requant::SingleRounding { multiplier: 1, shift: 21 });
        // 1 * 0.5 is a half, which goes up; -1 * 0.5 goes up as well.
        assert_eq!((params.apply(1, 0), params.apply(-1, 0)), (1, 0));
    }

    #[test]
    fn absurd_scales_do_not_panic() {
        for scale in [0.0, f32::NAN, f32::INFINITY, -1.0, f32::MIN_POSITIVE, f32::MAX] {
            for arith in [Arith::TfliteRef, Arith::Xnnpack] {
                for (a, b, o) in [(scale, 1.0, 1.0), (1.0, scale, 1.0), (1.0, 1.0, scale)] {
                    let (a, b, o) = (quant(a, i32::MAX), quant(b, 0), quant(o, i32::MIN));
                    let _ = add_params(arith, &a, &b, &o, DType::I8, Act::Relu6, false);
                    let _ = mul_params(arith, &a, &b, &o, DType::I8, Act::Relu6);
                    let _ = requantize_params(arith, &a, &o, DType::U8, Act::ReluN1To1);
                    let _ = leaky_relu_params(arith, &a, &o, DType::U8, 0.1);
                }
            }
        }
    }

    #[test]
    fn a_leaky_relu_has_one_slope_for_each_sign() {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let params = leaky_relu_params(arith, &quant(0.1, 10), &quant(0.1, 10), DType::I8, 0.25);
            assert_eq!(params.apply(60), 60);
            assert_eq!(params.apply(-30), 0);
            let params = leaky_relu_params(arith, &quant(0.1, 10), &quant(0.1, 10), DType::I8, -0.25);
            assert_eq!(params.apply(-30), 20);
        }
    }
}
