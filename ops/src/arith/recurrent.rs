//! The 8-bit LSTM: gates and cell in 16-bit fixed point.

use super::requant::{multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot};

/// Fraction bits of a gate before its activation.
const GATE_FRACTION_BITS: i32 = 12;
/// One as Q0.15.
const ONE: i32 = i16::MAX as i32;

/// The exponents of the cell state's scale for which the hyperbolic tangent is known.
pub const CELL_EXPONENTS: std::ops::RangeInclusive<i32> = -15..=-11;

/// A product of codes as a Q3.12 contribution to a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateScale {
    multiplier: i32,
    shift: i32,
}

impl GateScale {
    /// Constants for activations and weights of these scales.
    pub fn new(activations: f32, weights: f32) -> GateScale {
        let real = weights * activations / 2f32.powi(-GATE_FRACTION_BITS);
        let (multiplier, shift) = quantize_multiplier(f64::from(real));
        GateScale { multiplier, shift }
    }

    /// The gate after one more sum of products.
    pub fn accumulate(&self, gate: i32, acc: i32) -> i32 {
        saturate(multiply_by_quantized_multiplier(acc, self.multiplier, self.shift).saturating_add(gate))
    }
}

/// Constants of the cell and of the hidden state of an LSTM.
///
/// # Source
/// TFLite's integer LSTM with 8-bit activations and 16-bit cell, over gemmlowp's fixed-point functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmParams {
    cell_exponent: i32,
    clip: Option<i32>,
    multiplier: i32,
    shift: i32,
    zero_point: i32,
}

impl LstmParams {
    /// Constants for a cell of scale `2^cell_exponent`, clipped at the real number `cell_clip` when that is positive, and a
    /// hidden state of that scale and zero point. The exponent must be one of [`CELL_EXPONENTS`].
    pub fn new(cell_exponent: i32, cell_clip: f32, hidden_scale: f32, zero_point: i32) -> LstmParams {
        let clip = (cell_clip > 0.0).then(|| (cell_clip / 2f32.powi(cell_exponent)).min(f32::from(i16::MAX)) as i32);
        let real = (2f64.powi(-15) / f64::from(hidden_scale) * 2f64.powi(-15)) as f32;
        let (multiplier, shift) = quantize_multiplier(f64::from(real));
        LstmParams { cell_exponent, clip: clip.filter(|&c| c > 0), multiplier, shift, zero_point }
    }

    /// The next cell state from the gates before their activation.
    pub fn cell(&self, cell: i16, input: i16, forget: i16, candidate: i16) -> i16 {
        let kept = word(rounding_divide_by_pot(logistic(forget) * i32::from(cell), 15));
        let product = logistic(input) * tanh(candidate, 15 - GATE_FRACTION_BITS);
        let added = word(rounding_divide_by_pot(product, (30 + self.cell_exponent).max(0) as u32));
        let next = saturate(kept + added);
        self.clip.map_or(next, |c| next.clamp(-c, c)) as i16
    }

    /// The code of the hidden state.
    pub fn hidden(&self, cell: i16, output: i16) -> i8 {
        let product = logistic(output) * tanh(cell, 15 + self.cell_exponent);
        let code = multiply_by_quantized_multiplier(product, self.multiplier, self.shift);
        code.saturating_add(self.zero_point).clamp(-128, 127) as i8
    }
}

/// `1 / (1 + exp(-x))` of a Q3.12 number as Q0.15.
fn logistic(x: i16) -> i32 {
    if x == 0 {
        return 1 << 14;
    }
    let x = i32::from(x);
    let of_magnitude = saturate(one_over_one_plus(exp_of_negative(-x.abs(), 3)) << 1);
    if x > 0 { of_magnitude } else { ONE - of_magnitude }
}

/// `tanh(x)` of a number with that many integer bits as Q0.15.
fn tanh(x: i16, integer_bits: i32) -> i32 {
    if x == 0 {
        return 0;
    }
    let x = i32::from(x);
    // The exponential is that of 2x: the same bits, read with one more integer bit.
    let e = exp_of_negative(-x.abs(), integer_bits + 1);
    let of_magnitude = saturate((one_over_one_plus(e) - (1 << 13)) << 2);
    if x > 0 { of_magnitude } else { -of_magnitude }
}

/// `exp(x)` as Q0.15 of a number below 0 with that many integer bits: the part below 1/4 by a polynomial, the rest by factors
/// for each bit.
fn exp_of_negative(x: i32, integer_bits: i32) -> i32 {
    /// exp(-2^k) as Q0.15, of k from -2 to 4.
    const FACTORS: [i32; 7] = [25520, 19875, 12055, 4435, 600, 11, 0];
    let fraction_bits = 15 - integer_bits;
    let quarter = 1 << (fraction_bits - 2);
    let fraction = (x & (quarter - 1)) - quarter;
    let rest = fraction - x;
    let mut result = exp_of_fraction(saturate(fraction << integer_bits));
    for (k, factor) in (-2..integer_bits).zip(FACTORS) {
        if rest & (1 << (fraction_bits + k)) != 0 {
            result = high_product(result, factor);
        }
    }
    result
}

/// `exp(x)` of a Q0.15 number in -1/4..0: the Taylor polynomial of degree 4 around -1/8.
fn exp_of_fraction(x: i32) -> i32 {
    const EXP_OF_MINUS_EIGHTH: i32 = 28918;
    const THIRD: i32 = 10923;
    let x = x + (1 << 12);
    let square = high_product(x, x);
    let cube = high_product(square, x);
    let fourth = high_product(square, square);
    let tail = high_product(rounding_divide_by_pot(fourth, 2) + cube, THIRD) + square;
    let polynomial = x + rounding_divide_by_pot(tail, 1);
    saturate(EXP_OF_MINUS_EIGHTH + high_product(EXP_OF_MINUS_EIGHTH, polynomial))
}

/// `2 / (1 + x)` as Q2.13 of a Q0.15 number in 0..1: three Newton steps.
fn one_over_one_plus(x: i32) -> i32 {
    const FORTY_EIGHT_SEVENTEENTHS: i32 = 23130;
    const MINUS_THIRTY_TWO_SEVENTEENTHS: i32 = -15420;
    let half = (x + ONE + 1) / 2;
    let mut y = FORTY_EIGHT_SEVENTEENTHS + high_product(half, MINUS_THIRTY_TWO_SEVENTEENTHS);
    for _ in 0..3 {
        let error = (1 << 13) - high_product(half, y);
        y = word(y + saturate(high_product(y, error) << 2));
    }
    y
}

/// Saturating rounding doubling high multiply of 16-bit numbers: the nudge of a negative product is one short of a half and
/// the division truncates.
fn high_product(a: i32, b: i32) -> i32 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    saturate((product + nudge) / (1 << 15))
}

fn saturate(x: i32) -> i32 {
    x.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// The low 16 bits.
fn word(x: i32) -> i32 {
    i32::from(x as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logistic_is_close_to_the_real_one() {
        for x in i16::MIN..=i16::MAX {
            let exact = 32768.0 / (1.0 + (-f64::from(x) / 4096.0).exp());
            assert!((f64::from(logistic(x)) - exact).abs() < 20.0, "{x}: {} {exact}", logistic(x));
        }
    }

    #[test]
    fn the_hyperbolic_tangent_is_close_to_the_real_one_and_odd() {
        for exponent in CELL_EXPONENTS {
            for x in i16::MIN..=i16::MAX {
                let exact = 32768.0 * (f64::from(x) * 2f64.powi(exponent)).tanh();
                let fixed = tanh(x, 15 + exponent);
                assert!((f64::from(fixed) - exact).abs() < 40.0, "{x} in 2^{exponent}: {fixed} {exact}");
                assert!(x == i16::MIN || tanh(-x, 15 + exponent) == -fixed);
            }
        }
    }

    #[test]
    fn the_cell_saturates_at_its_clip() {
        let free = LstmParams::new(-12, 0.0, 1.0 / 128.0, 0);
        let clipped = LstmParams::new(-12, 2.0, 1.0 / 128.0, 0);
        assert_eq!(free.cell(i16::MAX, i16::MAX, i16::MAX, i16::MAX), i16::MAX);
        assert_eq!(clipped.cell(i16::MAX, i16::MAX, i16::MAX, i16::MAX), 8192);
        assert_eq!(clipped.cell(i16::MIN, i16::MAX, i16::MAX, i16::MIN), -8192);
    }
}
