//! Factors that round twice, with AVX-512.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// A rounding doubling high multiply, then a rounding shift to the right, as registers.
///
/// The shift adds half of what it divides by, less 1 for a negative number. That half goes into what rounds the product, in its
/// upper 32 bits. A number that the product has rounded from below 0 to 0 may be taken for a negative one: half less 1 is not
/// negative either, and less than what the shift divides by.
#[derive(Clone, Copy)]
pub(crate) struct Factor {
    /// Of even and of odd lanes.
    multipliers: [__m512i; 2],
    /// What rounds the products of even and of odd lanes.
    nudges: [__m512i; 2],
    /// Leaves the sign bit of a number; nothing of it without a shift, where there is no half.
    sign: __m512i,
    shift: __m512i,
}

impl Factor {
    /// Factors that are not negative, and shifts from 0 to 31.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(crate) fn new(multiplier: __m512i, shift: __m512i) -> Factor {
        let one = _mm512_set1_epi32(1);
        let half = _mm512_srli_epi32::<1>(_mm512_sllv_epi32(one, shift));
        let round = _mm512_set1_epi64(1 << 31);
        Factor {
            multipliers: [multiplier, _mm512_srli_epi64::<32>(multiplier)],
            nudges: [_mm512_or_si512(_mm512_slli_epi64::<32>(half), round), _mm512_mask_mov_epi32(round, 0xaaaa, half)],
            sign: _mm512_sub_epi32(_mm512_set1_epi32(32), _mm512_min_epi32(shift, one)),
            shift,
        }
    }

    /// Of sums below 2^30 in magnitude.
    ///
    /// # Safety
    /// The processor has AVX-512; what calls it is compiled for it. It is inlined whatever its size: sums would go through memory.
    #[inline(always)]
    pub(crate) unsafe fn apply(&self, acc: __m512i) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            let doubled = _mm512_slli_epi32::<1>(acc);
            let even = _mm512_add_epi64(_mm512_mul_epi32(doubled, self.multipliers[0]), self.nudges[0]);
            let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(doubled), self.multipliers[1]);
            let odd = _mm512_add_epi64(odd, self.nudges[1]);
            // The upper half of each product.
            let high = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
            _mm512_srav_epi32(_mm512_sub_epi32(high, _mm512_srlv_epi32(acc, self.sign)), self.shift)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::Requant;
    use crate::cpu::Level;
    use crate::def::Random;

    #[test]
    fn factors_are_those_of_the_requantiser_near_every_half_and_every_limit() {
        if !Level::Avx512.available() {
            return;
        }
        let mut random = Random::new(3);
        for round in 0..20_000 {
            let multiplier = [1 << 30, i32::MAX, 0, 1, (1 << 30) | (random.bits() as i32 & 0x3fff_ffff)][round % 5];
            let shift = round as i32 / 5 % 32;
            let limit = (1 << 30) - 1;
            // Sums of every magnitude, and those whose products are near half of what the shift divides by.
            let half = (1i64 << shift >> 1 << 31) / i64::from(multiplier.max(1));
            let sums: [i32; 16] = std::array::from_fn(|lane| {
                let bits = random.bits() as i32 >> (2 + random.bits() as u32 % 30);
                let near = half.saturating_mul(1 + lane as i64 / 4).min(i64::from(limit)) as i32 + bits % 3;
                let sum = [bits, near, -near, lane as i32 - 8][lane % 4];
                sum.clamp(-limit, limit)
            });
            // SAFETY: the processor has the features; both types are 64 bytes of plain integers.
            let found: [i32; 16] = unsafe {
                let factor = Factor::new(_mm512_set1_epi32(multiplier), _mm512_set1_epi32(shift));
                std::mem::transmute(factor.apply(_mm512_loadu_si512(sums.as_ptr().cast())))
            };
            let requant = Requant::DoubleRounding { multiplier, shift: -shift };
            let expected = sums.map(|sum| requant.apply(sum));
            assert_eq!(found, expected, "{sums:?} times {multiplier} shifted by {shift}");
        }
    }
}
