//! Weights: integers in proportion to probabilities, the same on every machine.
//!
//! A weight is 2^-x of the octaves x that a logit lies below the largest of its row, in units of 2^-31, rounded down. Octaves are counted
//! in 2^-18 ([`deficit`]), and a weight is a function of that count ([`weight`]). Both are sequences of sums and products of binary32,
//! each rounded by itself and never fused, and of operations on bits. Sums of weights are exact in 64 bits for rows of up to 2^30
//! tokens, in whatever order.

/// Octaves are counted in units of 2^-FRACTION.
pub const FRACTION: u32 = 18;

/// Bits of a deficit: 32 octaves and their fraction.
pub const DEFICIT_BITS: u32 = FRACTION + 5;

/// The largest deficit. Its weight is 0.
pub const LARGEST_DEFICIT: u32 = (1 << DEFICIT_BITS) - 1;

/// Units of a deficit in a difference of 1, at temperature 1.
const UNITS: f32 = std::f32::consts::LOG2_E * (1 << FRACTION) as f32;

/// What makes integers up to [`LARGEST_DEFICIT`] of the numbers that it is added to, halves to even: 2^23, whose bits theirs follow.
const ROUND: f32 = (1 << DEFICIT_BITS) as f32;

/// The weight of the largest logit.
pub const ONE: u32 = 1 << 31;

/// What a polynomial in the fraction f has before its powers, from the first on and with alternating signs: 1 - a f + b f^2 ... is 2^-f.
pub const COEFFICIENTS: [f32; 5] = [0.6931449, 0.24018809, 0.055313323, 0.009217712, 0.00094755366];

/// What differences of logits are multiplied by at a temperature; infinite at 0.
pub fn scale(temperature: f32) -> f32 {
    UNITS / temperature.abs()
}

/// What differences of scores are multiplied by that a softmax multiplies by `factor`.
pub fn units(factor: f32) -> f32 {
    UNITS * factor
}

/// How far a logit lies below `top`, the largest of its row, in units of 2^-18 octaves, halves to even. A NaN is as far as can be. Where
/// `top` is infinite, so is everything else.
#[inline(always)]
pub fn deficit(top: f32, logit: f32, scale: f32) -> u32 {
    let logit = if logit > f32::NEG_INFINITY { logit } else { f32::NEG_INFINITY };
    // Infinity less infinity, and 0 times infinity: at the top.
    let units = (top - logit) * scale;
    let units = if units > 0.0 { units } else { 0.0 };
    let units = if units < LARGEST_DEFICIT as f32 { units } else { LARGEST_DEFICIT as f32 };
    (units + ROUND).to_bits() - ROUND.to_bits()
}

/// The weight of a deficit; never more than that of a smaller one.
#[inline(always)]
pub fn weight(deficit: u32) -> u32 {
    const ONES: u32 = 1f32.to_bits();
    // The fraction as a number, exactly.
    let f = f32::from_bits(deficit << (23 - FRACTION) & 0x7f_ffff | ONES) - 1.0;
    let [a, b, c, d, e] = COEFFICIENTS;
    // One more than the power: its bits count in 2^-23.
    let power = 2.0 - f * (a - f * (b - f * (c - f * (d - f * e))));
    (power.to_bits() - ONES) << 8 >> (deficit >> FRACTION)
}

/// The weight of a probability, in units of 2^-31, halves to even.
#[inline(always)]
pub fn grid(probability: f32) -> u32 {
    (probability * ONE as f32).round_ties_even() as u32
}

/// The part of a mass that 64 random bits draw: 0 to `mass` - 1, and 0 of no mass.
#[inline(always)]
pub fn part(bits: u64, mass: u64) -> u64 {
    ((u128::from(bits) * u128::from(mass)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn weights_fall_with_every_deficit_and_are_powers_of_two_within_their_bound() {
        let mut before = u32::MAX;
        for deficit in 0..1 << FRACTION {
            let weight = weight(deficit);
            let exact = (31.0 - f64::from(deficit) / f64::from(1 << FRACTION)).exp2();
            assert!(weight <= before && (f64::from(weight) / exact - 1.0).abs() < 3.2e-7, "{deficit}: {weight}");
            before = weight;
        }
        // The same mantissa, shifted: an octave is halved, rounded down, and begins no higher than the last one ended.
        assert!(before >= ONE / 2);
        for (octave, fraction) in (0..32).flat_map(|octave| [0, 1, 77_777, (1 << FRACTION) - 1].map(|f| (octave, f))) {
            assert_eq!(weight(octave << FRACTION | fraction), weight(fraction) >> octave);
        }
        assert_eq!((weight(0), weight(LARGEST_DEFICIT)), (ONE, 0));
    }

    #[test]
    fn weights_of_logits_are_their_softmax() {
        let mut random = Random::new(1);
        for round in 0..200_000 {
            let temperature = [1.0, 0.1, 0.7, 3.0, 100.0][round % 5] * (0.5 + random.unit() as f32);
            let top = (random.normal() * [1.0, 30.0, 1e4][round % 3]) as f32;
            let logit = top - (random.unit() * 22.0) as f32 * temperature;
            let found = f64::from(weight(deficit(top, logit, scale(temperature)))) / f64::from(ONE);
            let exact = ((f64::from(logit) - f64::from(top)) / f64::from(temperature)).exp();
            let error = (found - exact).abs();
            assert!(error <= 6e-6 * exact + 1.0 / f64::from(ONE), "{top} {logit} {temperature}: {found}, not {exact}");
        }
    }

    #[test]
    fn what_is_no_number_lies_at_the_bottom_and_what_is_infinite_at_the_top() {
        let (inf, nan, last) = (f32::INFINITY, f32::NAN, LARGEST_DEFICIT);
        for temperature in [0.0, -0.0, 1e-45, 1.0, f32::MAX] {
            let of = |top, logit| deficit(top, logit, scale(temperature));
            assert_eq!([of(3.0, 3.0), of(inf, inf), of(0.0, -0.0)], [0; 3], "{temperature}");
            assert_eq!([of(3.0, -inf), of(3.0, nan), of(inf, nan), of(inf, -inf), of(inf, 1e38)], [last; 5]);
        }
        assert_eq!(deficit(1.0, 1.0 - f32::EPSILON, scale(0.0)), last);
    }

    #[test]
    fn parts_of_a_mass_are_below_it() {
        assert_eq!((part(u64::MAX, 7), part(0, 7), part(u64::MAX, 0)), (6, 0, 0));
        assert_eq!(part(1 << 63, 1 << 61), 1 << 60);
        assert_eq!((grid(1.0), grid(0.5), grid(0.0), grid(f32::from_bits(1))), (ONE, ONE / 2, 0, 0));
    }
}
