//! Codes of four and of eight bits.

use crate::operation::real::widen;
use half::bf16;

/// The code of the low half of a byte and that of the high half, in two's complement.
#[inline(always)]
pub fn signed(byte: u8) -> [i8; 2] {
    [(byte << 4) as i8 >> 4, byte as i8 >> 4]
}

/// The same without a sign.
#[inline(always)]
pub fn unsigned(byte: u8) -> [u8; 2] {
    [byte & 15, byte >> 4]
}

/// Two codes a byte, of which the low four bits count.
///
/// # Panics
/// Where the number of codes is odd.
pub fn pack(codes: &[i8]) -> Vec<u8> {
    let (pairs, rest) = codes.as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of codes");
    pairs.iter().map(|&[low, high]| low as u8 & 15 | (high as u8) << 4).collect()
}

/// The codes of a list of bytes, in two's complement.
pub fn nibbles(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().flat_map(|&byte| signed(byte)).collect()
}

/// How a list of numbers becomes signed codes with one scale: `scale = largest clip / most`, and a code is the number times `1 / scale`,
/// halves to even, at least `-most - 1` and at most `most`. Every step is an operation of binary32, rounded by itself.
///
/// Where the largest is 0, scale and codes are 0. Where it is infinite, finite numbers have code 0 and infinite ones too, and the scale
/// says that they are worth nothing; so it does where one is a NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Symmetric {
    /// What a code of 1 is worth.
    pub scale: f32,
    inverse: f32,
    most: f32,
}

impl Symmetric {
    /// The scale for numbers of at most this magnitude; codes are of `bits` bits.
    #[inline(always)]
    pub fn new(largest: f32, clip: f32, bits: u32) -> Symmetric {
        let most = ((1 << (bits - 1)) - 1) as f32;
        let scale = largest * clip / most;
        // A NaN has many forms, of which this is the one.
        let scale = if scale.is_nan() { f32::NAN } else { scale };
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        Symmetric { scale, inverse, most }
    }

    /// The code of a number.
    #[inline(always)]
    pub fn code(&self, x: f32) -> i8 {
        let x = x * self.inverse;
        let x = if x > -self.most - 1.0 { x } else { -self.most - 1.0 };
        let x = if x < self.most { x } else { self.most };
        let code = ((x + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) as i8;
        if self.inverse.is_finite() && self.scale.is_finite() { code } else { 0 }
    }
}

/// How a list of bfloat16 becomes codes from 0 to 15 with one scale and one zero. A code stands for `code scale - zero`, see [`stand_for`].
///
/// `zero` is the smallest number with the other sign, and `scale = (high / 2 - low / 2) / 7.5`, rounded to bfloat16, halves to even. A code
/// is `(x / 2 - low / 2) (2 / scale)`, halves to even, at least 0 and at most 15. Every step is an operation of binary32, rounded by
/// itself; halves, since a difference of two bfloat16 may be beyond them all. Where all numbers are the same, or so near to each other
/// that `2 / scale` is infinite, scale and codes are 0. Where one is a NaN or infinite, the scale is a NaN and zero and codes are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asymmetric {
    /// What a code of 1 is worth.
    pub scale: bf16,
    /// What is taken from all of them.
    pub zero: bf16,
    /// Half of the smallest number.
    half: f32,
    /// That of half the scale.
    inverse: f32,
}

impl Asymmetric {
    /// The most that a code is.
    pub const STEPS: f32 = 15.0;

    /// The scale and the zero for numbers with these as the smallest and the largest, see [`ends`].
    #[inline(always)]
    pub fn new([low, high]: [bf16; 2]) -> Asymmetric {
        if !(low.is_finite() && high.is_finite()) {
            return Asymmetric { scale: bf16::NAN, zero: bf16::ZERO, half: 0.0, inverse: 0.0 };
        }
        let half = low.to_f32() * 0.5;
        let scale = bf16::from_f32((high.to_f32() * 0.5 - half) / (Self::STEPS * 0.5));
        let inverse = 2.0 / scale.to_f32();
        let (scale, inverse) = if inverse.is_finite() { (scale, inverse) } else { (bf16::ZERO, 0.0) };
        Asymmetric { scale, zero: -low, half, inverse }
    }

    /// Makes the codes of a list, two a byte, the first one in the low half.
    #[inline(always)]
    pub fn quantize(list: &[bf16], codes: &mut [u8]) -> Asymmetric {
        let form = Asymmetric::new(ends(list));
        for (byte, &[even, odd]) in codes.iter_mut().zip(list.as_chunks::<2>().0) {
            *byte = form.code(widen(even)) | form.code(widen(odd)) << 4;
        }
        form
    }

    /// Replaces numbers by what the codes of their nearest bfloat16 stand for.
    pub fn replace(list: &mut [f32]) {
        let narrow: Vec<bf16> = list.iter().map(|&x| bf16::from_f32(x)).collect();
        let form = Asymmetric::new(ends(&narrow));
        let numbers = stand_for(form.scale, form.zero);
        list.iter_mut().zip(narrow).for_each(|(x, narrow)| *x = numbers[usize::from(form.code(narrow.to_f32()))]);
    }

    /// The code of a number.
    #[inline(always)]
    pub fn code(&self, x: f32) -> u8 {
        let x = (x * 0.5 - self.half) * self.inverse;
        // A NaN becomes 0 as well.
        let x = if x > 0.0 { x } else { 0.0 };
        let x = if x < Self::STEPS { x } else { Self::STEPS };
        (x + ROUND).to_bits() as u8
    }
}

/// The smallest and the largest of a list, ordered as IEEE 754 orders them all: NaNs lie beyond the infinities, and -0 is below 0.
///
/// Of none they are NaNs.
#[inline(always)]
pub fn ends(list: &[bf16]) -> [bf16; 2] {
    // As integers of two's complement; doing it again undoes it.
    let turned = |bits: i16| bits ^ (bits >> 15 & 0x7fff);
    let (mut low, mut high) = (i16::MAX, i16::MIN);
    for x in list {
        let x = turned(x.to_bits() as i16);
        (low, high) = (low.min(x), high.max(x));
    }
    [low, high].map(|x| bf16::from_bits(turned(x) as u16))
}

/// What the codes 0 to 15 of a row stand for: `code scale - zero`, rounded once, to bfloat16, halves to even.
#[inline(always)]
pub fn stand_for(scale: bf16, zero: bf16) -> [f32; 16] {
    let zero = zero.to_f64();
    std::array::from_fn(|code| {
        // A product has 12 bits.
        let product = code as f64 * scale.to_f64();
        let exact = product - zero;
        let mut bits = exact.to_bits();
        if exact == product && zero != 0.0 && product.is_finite() {
            // The zero is below the last bit, where it still says on which side of a half the number is.
            bits = (bits - u64::from(product * zero > 0.0)) | 1;
        }
        // 21 bits, of which the last one says whether there are more: rounding them again is rounding once.
        let cut = bits & !0xffff_ffff | u64::from(bits as u32 != 0) << 32;
        bf16::from_f32(f64::from_bits(cut) as f32).to_f32()
    })
}

/// What rounds to an integer when it is added: 2^23 and half of that, whose last bit is worth 1.
const ROUND: f32 = 12_582_912.0;

/// The largest magnitude of a list, 0 of none; a NaN where there is one.
#[inline(always)]
pub(crate) fn largest(list: &[f32]) -> f32 {
    // Magnitudes are ordered as their bits are, and NaNs lie above infinity.
    f32::from_bits(list.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_packed_low_half_first_and_come_back() {
        let codes: Vec<i8> = (-8..8).collect();
        let bytes = pack(&codes);
        assert_eq!((bytes.len(), bytes[0], bytes[7]), (8, 0x98, 0x76));
        assert_eq!(nibbles(&bytes), codes);
        assert_eq!(unsigned(0xa3), [3, 10]);
    }

    #[test]
    fn a_code_is_the_nearest_one_and_ties_are_even() {
        let four = Symmetric::new(7.0, 1.0, 4);
        assert_eq!(four.scale, 1.0);
        assert_eq!([-7.0, -2.5, -1.5, -0.4, 0.5, 1.5, 6.6, 7.0].map(|x| four.code(x)), [-7, -2, -2, 0, 0, 2, 7, 7]);
        let clipped = Symmetric::new(14.0, 0.5, 4);
        assert_eq!([-14.0, -8.0, 14.0].map(|x| clipped.code(x)), [-8, -8, 7]);
        let eight = Symmetric::new(127.0, 1.0, 8);
        assert_eq!([-127.0, 126.5, 127.0].map(|x| eight.code(x)), [-127, 126, 127]);
    }

    #[test]
    fn numbers_without_a_scale_have_code_zero() {
        let zero = Symmetric::new(0.0, 0.9, 4);
        assert_eq!((zero.scale, zero.code(0.0)), (0.0, 0));
        for largest in [f32::NAN, f32::INFINITY, -f32::NAN] {
            let none = Symmetric::new(largest, 1.0, 4);
            assert!(!none.scale.is_finite() && [1.0, f32::NAN, f32::INFINITY].iter().all(|&x| none.code(x) == 0));
        }
        assert_eq!(Symmetric::new(-f32::NAN, 1.0, 4).scale.to_bits(), f32::NAN.to_bits());
        // A scale that is so small that its inverse is none.
        let tiny = Symmetric::new(1e-44, 1.0, 4);
        assert_eq!(tiny.code(1e-44), 0);
        assert!(largest(&[1.0, -f32::NAN, 3.0]).is_nan() && largest(&[]) == 0.0 && largest(&[-2.0, 1.0]) == 2.0);
    }

    fn asymmetric(list: &[f32]) -> (Asymmetric, Vec<u8>) {
        let list: Vec<bf16> = list.iter().map(|&x| bf16::from_f32(x)).collect();
        let form = Asymmetric::new(ends(&list));
        (form, list.iter().map(|x| form.code(x.to_f32())).collect())
    }

    #[test]
    fn a_range_becomes_codes_from_0_to_15_and_ties_are_even() {
        let (form, codes) = asymmetric(&[-3.0, 4.5, -2.75, -2.25, 0.0, 1.0]);
        assert_eq!((form.scale.to_f32(), form.zero.to_f32()), (0.5, 3.0));
        assert_eq!(codes, [0, 15, 0, 2, 6, 8]);
        assert_eq!(stand_for(form.scale, form.zero)[..4], [-3.0, -2.5, -2.0, -1.5]);
        // A scale that was rounded down, so that the largest would have more than 15.
        let (form, codes) = asymmetric(&[0.0, 17.0]);
        assert_eq!((form.scale.to_f32(), codes), (145.0 / 128.0, vec![0, 15]));
        // The whole of bfloat16: a difference beyond it.
        let most = bf16::MAX.to_f32();
        let (form, codes) = asymmetric(&[-most, most, 0.0]);
        assert_eq!(codes, [0, 15, 8]);
        let numbers = stand_for(form.scale, form.zero);
        assert!(numbers[0] == -most && (numbers[15] / most - 1.0).abs() < 0.01, "{numbers:?}");
    }

    #[test]
    fn rows_without_a_range_stand_for_their_number_and_those_with_none_for_none() {
        for x in [0.0, -0.0, 1.5, -3e38, 1e-40] {
            let x = bf16::from_f32(x).to_f32();
            let (form, codes) = asymmetric(&[x; 4]);
            assert_eq!((form.scale, codes), (bf16::ZERO, vec![0; 4]), "{x}");
            assert_eq!(stand_for(form.scale, form.zero), [x; 16], "{x}");
        }
        let mut list = [-2.0, 5.5, 1.1, f32::MIN_POSITIVE];
        Asymmetric::replace(&mut list);
        assert_eq!(list, [-2.0, 5.5, 1.0, 0.0]);
        let (form, codes) = asymmetric(&[0.0, 2e-38]);
        assert_eq!((form.scale, codes), (bf16::ZERO, vec![0, 0]));
        for other in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (form, codes) = asymmetric(&[1.0, other, -2.0]);
            assert_eq!((form.scale.to_bits(), form.zero.to_bits(), codes), (0x7fc0, 0, vec![0; 3]), "{other}");
            assert!(stand_for(form.scale, form.zero).iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn what_a_code_stands_for_is_rounded_once() {
        let number = |scale, zero, code: usize| stand_for(bf16::from_f32(scale), bf16::from_f32(zero))[code];
        // 3 (1 + 3/128) is 3 + 9/128, between two whose distance is 2/128.
        let scale = 1.0 + 3.0 / 128.0;
        let (below, above) = (3.0 + 8.0 / 128.0, 3.0 + 10.0 / 128.0);
        assert_eq!(number(scale, 0.0, 3), below);
        for tiny in [1e-3, 1e-8, 1e-20, 1e-30] {
            assert_eq!([number(scale, tiny, 3), number(scale, -tiny, 3)], [below, above], "{tiny}");
            assert_eq!([number(-scale, -tiny, 3), number(-scale, tiny, 3)], [-below, -above], "{tiny}");
        }
        assert_eq!(number(f32::INFINITY, 1.0, 1), f32::INFINITY);
        assert!(number(f32::INFINITY, 1.0, 0).is_nan());
        assert_eq!(number(1.0, f32::INFINITY, 7), f32::NEG_INFINITY);
    }

    #[test]
    fn numbers_come_back_within_half_a_step_and_two_roundings() {
        let mut random = crate::def::Random::new(4);
        for round in 0..200 {
            let unit = 10f64.powi(random.within(0, 41) as i32 - 20);
            let offset = random.normal() * [0.0, 1.0, 30.0][round % 3];
            let list: Vec<bf16> = (0..64).map(|_| bf16::from_f64(unit * (random.normal() + offset))).collect();
            let [low, high] = ends(&list);
            assert!(list.iter().all(|&x| low <= x && x <= high) && list.contains(&low) && list.contains(&high));
            let form = Asymmetric::new([low, high]);
            let numbers = stand_for(form.scale, form.zero);
            for x in list {
                let (found, x) = (f64::from(numbers[usize::from(form.code(x.to_f32()))]), x.to_f64());
                // The scale is off by up to 2^-8 of it, 15 times, and the number by 2^-8 of itself.
                let most = form.scale.to_f64() * (0.5 + 15.0 / 256.0) + found.abs() / 256.0;
                assert!((found - x).abs() <= 1.001 * most, "{x} became {found} with {form:?}");
            }
        }
    }
}
