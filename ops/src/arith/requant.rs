//! Rounding primitives and the requantiser.

/// How a 32-bit accumulator becomes an output code, before the zero point is added and the code is clamped.
///
/// These are the four modes of the accelerator's REQUANT instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Requant {
    /// Family A: a saturating rounding doubling high multiply, then a rounding shift. A positive shift goes left, before
    /// the multiplication; a negative one right, after it.
    DoubleRounding {
        /// Factor in 2^-31.
        multiplier: i32,
        /// Exponent of two.
        shift: i32,
    },
    /// `(acc * multiplier + 2^(shift - 1)) >> shift`: nearest, half up. Shift 0 rounds nothing.
    SingleRounding {
        /// Factor.
        multiplier: i32,
        /// Right shift, 0 to 62.
        shift: u32,
    },
    /// As [`Requant::SingleRounding`] on the magnitude, with the sign restored: nearest, half away from zero.
    HalfAway {
        /// Factor.
        multiplier: i32,
        /// Right shift, 0 to 62.
        shift: u32,
    },
    /// The accumulator as binary32, times the scale, to the nearest integer, half to even; saturates to 32 bits.
    Float {
        /// Factor.
        scale: f32,
    },
}

impl Requant {
    /// The requantised accumulator. Modes with a 64-bit intermediate keep its low 32 bits.
    #[inline(always)]
    pub fn apply(&self, acc: i32) -> i32 {
        match *self {
            Requant::DoubleRounding { multiplier, shift } => multiply_by_quantized_multiplier(acc, multiplier, shift),
            Requant::SingleRounding { multiplier, shift } => single_rounding(acc, multiplier, shift) as i32,
            Requant::HalfAway { multiplier, shift } => half_away(acc, multiplier, shift) as i32,
            Requant::Float { scale } => (acc as f32 * scale).round_ties_even() as i32,
        }
    }

    /// The code of an accumulator: requantised in full width, moved by the zero point and clamped to `lo..=hi`.
    #[inline(always)]
    pub fn code(&self, acc: i32, zero_point: i32, lo: i32, hi: i32) -> i32 {
        let wide = match *self {
            Requant::SingleRounding { multiplier, shift } => single_rounding(acc, multiplier, shift),
            Requant::HalfAway { multiplier, shift } => half_away(acc, multiplier, shift),
            _ => return self.apply(acc).saturating_add(zero_point).max(lo).min(hi),
        };
        (wide + i64::from(zero_point)).max(i64::from(lo)).min(i64::from(hi)) as i32
    }
}

/// Saturating rounding doubling high multiply: `2ab / 2^32` rounded to nearest.
///
/// Ties go up in magnitude for a positive product and down for a negative one, because the nudge of a negative product is
/// one short of a half and the division truncates.
///
/// # Source
/// gemmlowp `SaturatingRoundingDoublingHighMul`.
#[inline(always)]
pub fn srdhm(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1i64 << 30 } else { 1 - (1i64 << 30) };
    ((product + nudge) / (1i64 << 31)) as i32
}

/// `x / 2^exponent` rounded to nearest, half away from zero. Exponents beyond 31 act as 31.
///
/// # Source
/// gemmlowp `RoundingDivideByPOT`.
#[inline(always)]
pub fn rounding_divide_by_pot(x: i32, exponent: u32) -> i32 {
    let exponent = exponent.min(31);
    let mask = ((1i64 << exponent) - 1) as i32;
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    (x >> exponent) + i32::from(remainder > threshold)
}

/// A positive real as `multiplier * 2^(shift - 31)`, multiplier in 2^30..2^31. Zero, reals below 2^-32 and what is not a
/// number give (0, 0).
///
/// # Source
/// TFLite `QuantizeMultiplier`.
pub fn quantize_multiplier(real: f64) -> (i32, i32) {
    if real == 0.0 || !real.is_finite() {
        return (0, 0);
    }
    let (fraction, mut shift) = split(real);
    let mut multiplier = (fraction * (1i64 << 31) as f64).round() as i64;
    if multiplier == 1 << 31 {
        multiplier /= 2;
        shift += 1;
    }
    if shift < -31 {
        return (0, 0);
    }
    (multiplier as i32, shift)
}

/// `x * multiplier * 2^(shift - 31)` with two roundings. Bits that a left shift pushes out of the word are lost; shifts
/// beyond 31 act as 31.
///
/// # Source
/// TFLite `MultiplyByQuantizedMultiplier`, the variant with double rounding.
#[inline(always)]
pub fn multiply_by_quantized_multiplier(x: i32, multiplier: i32, shift: i32) -> i32 {
    let left = shift.clamp(0, 31) as u32;
    let right = shift.min(0).unsigned_abs();
    rounding_divide_by_pot(srdhm(x.wrapping_shl(left), multiplier), right)
}

#[inline(always)]
fn single_rounding(acc: i32, multiplier: i32, shift: u32) -> i64 {
    let product = i64::from(acc) * i64::from(multiplier);
    let shift = shift.min(62);
    let half = (1i64 << shift) >> 1;
    (product + half) >> shift
}

#[inline(always)]
fn half_away(acc: i32, multiplier: i32, shift: u32) -> i64 {
    let product = i64::from(acc) * i64::from(multiplier);
    let shift = shift.min(62);
    // The product is at most 2^62 in magnitude and the half at most 2^61.
    let magnitude = (product.abs() + ((1i64 << shift) >> 1)) >> shift;
    if product < 0 { -magnitude } else { magnitude }
}

/// `real = fraction * 2^exponent` with 0.5 <= |fraction| < 1, for a finite nonzero number.
pub(super) fn split(real: f64) -> (f64, i32) {
    let (normal, bias) = if real.abs() < f64::MIN_POSITIVE { (real * (1u64 << 54) as f64, 54) } else { (real, 0) };
    let bits = normal.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022;
    (f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52)), exponent - bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_multiply_rounds_ties_up_and_saturates_one_case() {
        assert_eq!(srdhm(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(srdhm(1 << 30, 1 << 30), 1 << 29);
        assert_eq!(srdhm(1, 1 << 30), 1);
        assert_eq!(srdhm(-1, 1 << 30), 0);
        assert_eq!(srdhm(-3, 1 << 30), -1);
        assert_eq!(srdhm(3, 1 << 30), 2);
    }

    #[test]
    fn the_rounding_shift_takes_halves_away_from_zero() {
        for (x, e, y) in [(5, 1, 3), (-5, 1, -3), (4, 3, 1), (-4, 3, -1), (3, 3, 0), (-3, 3, 0), (7, 0, 7), (-7, 0, -7)]
        {
            assert_eq!(rounding_divide_by_pot(x, e), y, "{x} / 2^{e}");
        }
        assert_eq!(rounding_divide_by_pot(i32::MIN, 31), -1);
        assert_eq!(rounding_divide_by_pot(i32::MAX, 31), 1);
        for x in -5000i32..5000 {
            for e in 0..13 {
                let exact = (f64::from(x) / f64::from(1 << e)).round() as i32;
                assert_eq!(rounding_divide_by_pot(x, e), exact);
            }
        }
    }

    #[test]
    fn a_multiplier_is_normalised_and_small_reals_vanish() {
        assert_eq!(quantize_multiplier(1.0), (1 << 30, 1));
        assert_eq!(quantize_multiplier(0.5), (1 << 30, 0));
        assert_eq!(quantize_multiplier(0.75), (3 << 29, 0));
        assert_eq!(quantize_multiplier(0.0), (0, 0));
        assert_eq!(quantize_multiplier(2f64.powi(-32)), (1 << 30, -31));
        assert_eq!(quantize_multiplier(2f64.powi(-33)), (0, 0));
        assert_eq!(quantize_multiplier(f64::NAN), (0, 0));
        // The fraction rounds up to 2^31, so that one bit moves to the shift.
        assert_eq!(quantize_multiplier(1.0 - 2f64.powi(-40)), (1 << 30, 1));
        assert_eq!(quantize_multiplier(f64::MIN_POSITIVE / 8.0), (0, 0));
    }

    #[test]
    fn two_roundings_differ_from_one() {
        // 0.25 * 1.9999999 is below a half after one rounding, but the first of two rounds it up to 2 / 4.
        let (m, s) = quantize_multiplier(0.24999999);
        let double = Requant::DoubleRounding { multiplier: m, shift: s };
        let single = Requant::SingleRounding { multiplier: m, shift: (31 - s) as u32 };
        assert_eq!((double.apply(2), single.apply(2)), (1, 0));
    }

    #[test]
    fn every_mode_rounds_ties_its_own_way() {
        let modes = [
            Requant::DoubleRounding { multiplier: 1 << 30, shift: -1 },
            Requant::SingleRounding { multiplier: 1, shift: 2 },
            Requant::HalfAway { multiplier: 1, shift: 2 },
            Requant::Float { scale: 0.25 },
        ];
        let of = |x: i32| modes.map(|m| m.apply(x));
        assert_eq!(of(2), [1, 1, 1, 0]);
        assert_eq!(of(6), [2, 2, 2, 2]);
        assert_eq!(of(-2), [-1, 0, -1, 0]);
        assert_eq!(of(-6), [-2, -1, -2, -2]);
    }

    #[test]
    fn extreme_accumulators_do_not_overflow() {
        for acc in [i32::MIN, i32::MAX] {
            let _ = Requant::HalfAway { multiplier: i32::MIN, shift: 62 }.apply(acc);
            let _ = Requant::SingleRounding { multiplier: i32::MIN, shift: 62 }.apply(acc);
            let _ = Requant::DoubleRounding { multiplier: i32::MAX, shift: 40 }.apply(acc);
        }
        assert_eq!(Requant::Float { scale: 1e30 }.apply(i32::MAX), i32::MAX);
        assert_eq!(Requant::Float { scale: f32::NAN }.apply(1), 0);
        assert_eq!(Requant::Float { scale: 1e30 }.code(-9, 3, -128, 127), -128);
    }
}
