//! The exponential, and what is made of it, in binary32 without branches, so that compilers vectorise it.

/// e^x to about two units in the last place; 0 below and infinite above the range of f32, and a NaN stays
/// one. Every step is an operation of binary32 that is rounded by itself, so that it is the same on every machine.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
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

/// `x / (1 + e^-x)`, as [`exp`] the same on every machine.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
