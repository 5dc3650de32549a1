//! Codes of four and of eight bits.

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
        // What rounds to an integer when it is added: 2^23 and half of that, whose last bit is worth 1.
        const ROUND: f32 = 12_582_912.0;
        let x = x * self.inverse;
        let x = if x > -self.most - 1.0 { x } else { -self.most - 1.0 };
        let x = if x < self.most { x } else { self.most };
        let code = ((x + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) as i8;
        if self.inverse.is_finite() && self.scale.is_finite() { code } else { 0 }
    }
}

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
}
