//! Sums of codes that are rounded twice, with AVX-512.
#![allow(unsafe_code)]

use super::Codes;
use super::epilogue::{half_of, rounded_twice};
use std::arch::x86_64::*;

/// `clamp(output(a + b) + zero_point, lo, hi)` of codes a and b brought to a common scale. All sums are below 2^30 in magnitude.
pub(crate) struct Doubled {
    pub(crate) sides: [DoubledSide; 2],
    /// Multiplier and right shift.
    pub(crate) output: (i32, u32),
    pub(crate) zero_point: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
}

/// `factor(rank - zero)`, negated where the operand is subtracted.
#[derive(Clone, Copy)]
pub(crate) struct DoubledSide {
    /// Zero point, counted from the smallest code.
    pub(crate) zero: i32,
    pub(crate) pre_shift: u32,
    /// Multiplier and right shift.
    pub(crate) factor: (i32, u32),
    pub(crate) negative: bool,
}

/// A multiplier and a right shift as registers.
#[derive(Clone, Copy)]
struct Factor {
    multiplier: __m512i,
    half: __m512i,
    shift: __m512i,
}

impl Doubled {
    /// The low bytes of the codes of all elements; `false` where the processor cannot.
    pub(crate) fn run(&self, a: Codes<'_>, b: Codes<'_>, out: &mut [u8]) -> bool {
        if !crate::cpu::Level::Avx512.available() {
            return false;
        }
        // SAFETY: the processor has the features.
        unsafe { self.pass([a, b], out) };
        true
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn pass(&self, [a, b]: [Codes<'_>; 2], out: &mut [u8]) {
        let [left, right] = self.sides;
        match [left.halves(), right.halves()] {
            [true, true] => self.blocks::<true, true>([a, b], out),
            [true, false] => self.blocks::<true, false>([a, b], out),
            [false, true] => self.blocks::<false, true>([a, b], out),
            [false, false] => self.blocks::<false, false>([a, b], out),
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn blocks<const A: bool, const B: bool>(&self, [a, b]: [Codes<'_>; 2], out: &mut [u8]) {
        let flips = [a.flip(), b.flip()];
        let ((a, a_rest), (b, b_rest)) = (a.bytes.as_chunks::<64>(), b.bytes.as_chunks::<64>());
        let (blocks, rest) = out.as_chunks_mut::<64>();
        for ((out, a), b) in blocks.iter_mut().zip(a).zip(b) {
            self.block::<A, B>(a, b, flips, out);
        }
        if !rest.is_empty() {
            let (mut a, mut b, mut out) = ([0; 64], [0; 64], [0; 64]);
            a[..rest.len()].copy_from_slice(a_rest);
            b[..rest.len()].copy_from_slice(b_rest);
            self.block::<A, B>(&a, &b, flips, &mut out);
            rest.copy_from_slice(&out[..rest.len()]);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn block<const A: bool, const B: bool>(&self, a: &[u8; 64], b: &[u8; 64], flips: [u8; 2], out: &mut [u8; 64]) {
        let output = factor(self.output);
        let (zero, lo, hi) =
            (_mm512_set1_epi32(self.zero_point), _mm512_set1_epi32(self.lo), _mm512_set1_epi32(self.hi));
        for at in 0..4 {
            let left = self.sides[0].apply::<A>(&a.as_chunks::<16>().0[at], flips[0]);
            let right = self.sides[1].apply::<B>(&b.as_chunks::<16>().0[at], flips[1]);
            let sum = _mm512_add_epi32(left, right);
            // SAFETY: this function is compiled for the same processor.
            let rounded = unsafe { rounded_twice(sum, output.multiplier, output.half, output.shift) };
            let code = _mm512_add_epi32(rounded, zero);
            let code = _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(code, lo), hi));
            // SAFETY: sixteen bytes are there.
            unsafe { _mm_storeu_si128(out.as_chunks_mut::<16>().0[at].as_mut_ptr().cast(), code) };
        }
    }
}

impl DoubledSide {
    /// Whether the factor is a half, as that of the operand with the larger scale: a shifted difference is halved exactly.
    fn halves(&self) -> bool {
        self.factor == (1 << 30, 0) && self.pre_shift > 0
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn apply<const HALVES: bool>(&self, codes: &[u8; 16], flip: u8) -> __m512i {
        // SAFETY: sixteen bytes are there.
        let codes = unsafe { _mm_loadu_si128(codes.as_ptr().cast()) };
        let ranks = _mm512_cvtepu8_epi32(_mm_xor_si128(codes, _mm_set1_epi8(flip as i8)));
        let difference = _mm512_sub_epi32(ranks, _mm512_set1_epi32(self.zero));
        let count = self.pre_shift - u32::from(HALVES);
        let shifted = _mm512_sllv_epi32(difference, _mm512_set1_epi32(count as i32));
        let scaled = if HALVES {
            shifted
        } else {
            let factor = factor(self.factor);
            // SAFETY: this function is compiled for the same processor.
            unsafe { rounded_twice(shifted, factor.multiplier, factor.half, factor.shift) }
        };
        let sign = _mm512_set1_epi32(-i32::from(self.negative));
        _mm512_sub_epi32(_mm512_xor_si512(scaled, sign), sign)
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn factor((multiplier, shift): (i32, u32)) -> Factor {
    let shift = _mm512_set1_epi32(shift as i32);
    Factor { multiplier: _mm512_set1_epi32(multiplier), half: half_of(shift), shift }
}
