//! Arithmetic in f32 that loops over lanes are made of, without branches, so that compilers vectorise it.

use half::bf16;

/// Partial sums and maxima side by side.
pub(super) const LANES: usize = 16;

/// A bfloat16 as f32.
#[inline(always)]
pub(super) fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// To the nearest bfloat16, ties to even; a NaN stays one.
#[inline(always)]
pub(super) fn narrow(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16)
}

/// e^x to about two units in the last place; 0 below and infinite above the range of f32, and a NaN stays one.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // ln 2 in two parts, of which the first has so few bits that its product with an exponent is exact.
    #[expect(clippy::excessive_precision, reason = "decimal expansions of binary numbers")]
    const LN_2: [f32; 2] = [0.693359375, -2.12194440e-4];
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > 88.8 { 88.8 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let whole = shifted - ROUND;
    let r = (x - whole * LN_2[0]) - whole * LN_2[1];
    // The Taylor series; r is at most ln 2 / 2, where its next term is below 2^-27.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    // In two steps, each of which is a power of two that f32 has.
    let half = exponent >> 1;
    let power = |exponent: i32| f32::from_bits((exponent.wrapping_add(127) as u32) << 23);
    p * power(half) * power(exponent.wrapping_sub(half))
}

/// The sum of `f` of all elements.
#[inline(always)]
pub(super) fn sum_of(list: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = list.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for block in blocks {
        for i in 0..LANES {
            sums[i] += f(block[i]);
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        sums[i] += f(x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The largest element that is a number; -inf of none.
#[inline(always)]
pub(super) fn max_of(list: &[f32]) -> f32 {
    let (blocks, rest) = list.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut tops = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for i in 0..LANES {
            tops[i] = larger(tops[i], block[i]);
        }
    }
    tops.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bfloat16_comes_back_and_halves_go_to_even() {
        for bits in 0..=u16::MAX {
            let x = bf16::from_bits(bits);
            let back = narrow(widen(x));
            assert!(back.to_bits() == bits || x.is_nan() && back.is_nan(), "{bits:#x}");
            assert!(widen(x) == x.to_f32() || x.is_nan() && widen(x).is_nan(), "{bits:#x}");
        }
        for bits in (0..u32::MAX - 77_777).step_by(77_777) {
            let x = f32::from_bits(bits);
            assert!(narrow(x) == bf16::from_f32(x) || x.is_nan() && narrow(x).is_nan(), "{x}");
        }
    }

    #[test]
    fn the_exponential_is_right_everywhere() {
        let mut worst = 0f64;
        for step in -1_030_000..890_000 {
            let x = step as f32 * 1e-4;
            let (found, exact) = (f64::from(exp(x)), f64::from(x).exp());
            if exact < f64::from(f32::MAX) {
                worst = worst.max((found - exact).abs() / exact.max(1e-38));
            }
        }
        assert!(worst < 2.5e-7, "{worst}");
        assert_eq!([exp(f32::NEG_INFINITY), exp(-1e30), exp(f32::INFINITY), exp(0.0)], [0.0, 0.0, f32::INFINITY, 1.0]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_take_every_element_once() {
        for len in 0..70 {
            let list: Vec<f32> = (0..len).map(|i| i as f32 - 40.0).collect();
            assert_eq!(sum_of(&list, |x| 2.0 * x), list.iter().map(|x| 2.0 * x).sum::<f32>(), "{len}");
            assert_eq!(max_of(&list), list.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{len}");
        }
        assert_eq!(max_of(&[f32::NAN, -3.0, f32::NAN]), -3.0);
    }
}
