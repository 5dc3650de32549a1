//! The 8-bit softmax of family A: exponentials and a reciprocal in fixed point.

use super::requant::{quantize_multiplier, rounding_divide_by_pot, srdhm};

/// Constants of the fixed-point softmax.
///
/// Differences of codes to the largest one become Q5.26 numbers, their exponentials Q0.31, the sum of those Q12.19.
///
/// # Source
/// TFLite's reference `SOFTMAX` for 8-bit integers, over gemmlowp's fixed-point functions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxParams {
    multiplier: i32,
    left_shift: u32,
    /// Differences below this one contribute nothing.
    least: i32,
}

impl SoftmaxParams {
    /// Constants for an input of that scale.
    pub fn new(beta: f32, input_scale: f32) -> SoftmaxParams {
        let real = (f64::from(beta) * f64::from(input_scale) * f64::from(1 << 26)).min(f64::from(i32::MAX));
        let (multiplier, shift) = quantize_multiplier(real);
        let left_shift = shift.clamp(0, 31) as u32;
        let least = -((31.0 * f64::from(1 << 26) / 2f64.powi(left_shift as i32)).floor() as i32);
        SoftmaxParams { multiplier, left_shift, least }
    }

    /// The exponential of a difference of codes, at most 0, as Q0.31; `None` when it is too small to count.
    pub fn exp(&self, difference: i32) -> Option<i32> {
        (difference >= self.least)
            .then(|| exp_of_negative(srdhm(difference.wrapping_shl(self.left_shift), self.multiplier)))
    }

    /// The codes, from 0 on, of one row of differences to the largest element. Every difference is looked up in a table of
    /// the 256 exponentials, so that a long row costs little.
    pub fn row(
        &self,
        differences: impl Iterator<Item = u8> + Clone,
        codes: &mut impl FnMut(i32),
        table: &[Option<i32>; 256],
    ) {
        let sum = differences
            .clone()
            .filter_map(|d| table[usize::from(d)])
            .fold(0i32, |sum, e| sum.wrapping_add(rounding_divide_by_pot(e, 12)));
        let (reciprocal, bits_over) = reciprocal(sum);
        let shift = (bits_over + 31 - 8).max(0) as u32;
        for d in differences {
            // With a sum of 512 and more, where the kernel of the source stops with an assertion, every code is below a half.
            let code = match table[usize::from(d)] {
                Some(e) if shift < 32 => rounding_divide_by_pot(srdhm(reciprocal, e), shift),
                _ => 0,
            };
            codes(code.clamp(0, 255));
        }
    }

    /// The exponentials of the differences 0, -1, .. -255.
    pub fn table(&self) -> [Option<i32>; 256] {
        std::array::from_fn(|d| self.exp(-(d as i32)))
    }
}

/// `1 / sum` for a positive Q12.19 sum: a Q0.31 mantissa and the number of integer bits of the sum.
fn reciprocal(sum: i32) -> (i32, i32) {
    let zeros = sum.leading_zeros();
    let mantissa = ((sum as u32).checked_shl(zeros).unwrap_or(0)).wrapping_sub(1 << 31) as i32;
    (one_over_one_plus(mantissa), 12 - zeros as i32)
}

/// `exp(x)` as Q0.31 of a Q5.26 number of at most 0: the part below 1/4 by a polynomial, the rest by factors for each bit.
fn exp_of_negative(x: i32) -> i32 {
    /// exp(-2^k) as Q0.31, of k from -2 to 4.
    const FACTORS: [i32; 7] = [1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242];
    if x == 0 {
        return i32::MAX;
    }
    let quarter = 1 << 24;
    let fraction = (x & (quarter - 1)) - quarter;
    let mut result = exp_of_fraction(saturating_left(fraction, 5));
    let rest = fraction.wrapping_sub(x);
    for (bit, factor) in FACTORS.into_iter().enumerate() {
        if rest & (1 << (24 + bit)) != 0 {
            result = srdhm(result, factor);
        }
    }
    result
}

/// `exp(x)` of a Q0.31 number in -1/4..0: the Taylor polynomial of degree 4 around -1/8.
fn exp_of_fraction(x: i32) -> i32 {
    const EXP_OF_MINUS_EIGHTH: i32 = 1895147668;
    const THIRD: i32 = 715827883;
    let x = x.wrapping_add(1 << 28);
    let square = srdhm(x, x);
    let cube = srdhm(square, x);
    let fourth = srdhm(square, square);
    let tail = srdhm(rounding_divide_by_pot(fourth, 2).wrapping_add(cube), THIRD).wrapping_add(square);
    let polynomial = x.wrapping_add(rounding_divide_by_pot(tail, 1));
    EXP_OF_MINUS_EIGHTH.wrapping_add(srdhm(EXP_OF_MINUS_EIGHTH, polynomial))
}

/// `1 / (1 + x)` of a Q0.31 number in 0..1: three Newton steps in Q2.29.
fn one_over_one_plus(x: i32) -> i32 {
    const FORTY_EIGHT_SEVENTEENTHS: i32 = 1515870810;
    const MINUS_THIRTY_TWO_SEVENTEENTHS: i32 = -1010580540;
    let half = ((i64::from(x) + i64::from(i32::MAX) + 1) / 2) as i32;
    let mut y = FORTY_EIGHT_SEVENTEENTHS.wrapping_add(srdhm(half, MINUS_THIRTY_TWO_SEVENTEENTHS));
    for _ in 0..3 {
        let error = (1i32 << 29).wrapping_sub(srdhm(half, y));
        y = y.wrapping_add(saturating_left(srdhm(y, error), 2));
    }
    saturating_left(y, 1)
}

fn saturating_left(x: i32, shift: u32) -> i32 {
    (i64::from(x) << shift).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_close_to_the_real_one() {
        for x in (-(1i64 << 31)..=0).step_by(1 << 20) {
            let exact = (x as f64 / f64::from(1 << 26)).exp();
            let fixed = f64::from(exp_of_negative(x as i32)) / 2f64.powi(31);
            // The remainder of the polynomial, (1/8)^5 / 5!.
            assert!((fixed - exact).abs() < 2.6e-7, "{x}: {fixed} {exact}");
        }
    }

    #[test]
    fn the_reciprocal_is_close_to_the_real_one() {
        for x in (0..=i32::MAX).step_by(1 << 18) {
            let exact = 1.0 / (1.0 + f64::from(x) / 2f64.powi(31));
            let fixed = f64::from(one_over_one_plus(x)) / 2f64.powi(31);
            assert!((fixed - exact).abs() < 1e-7, "{x}: {fixed} {exact}");
        }
    }

    #[test]
    fn equal_codes_share_the_whole() {
        let params = SoftmaxParams::new(1.0, 0.1);
        let table = params.table();
        for (count, code) in [(1usize, 255), (2, 128), (4, 64), (256, 1), (1024, 0)] {
            params.row(vec![0u8; count].into_iter(), &mut |c| assert_eq!(c, code), &table);
        }
    }

    #[test]
    fn distant_codes_vanish() {
        let params = SoftmaxParams::new(1.0, 1.0);
        assert_eq!((params.exp(-15).is_some(), params.exp(-16)), (true, None));
        assert_eq!(SoftmaxParams::new(f32::NAN, 1.0).exp(0), Some(i32::MAX));
    }
}
