//! With AVX-512.
#![allow(unsafe_code)]

use super::{Doubled, Factor, Side};
use crate::cpu::int8::Codes;
use crate::cpu::int8::epilogue::{half_of, rounded_twice};
use std::arch::x86_64::*;

/// A factor as registers.
#[derive(Clone, Copy)]
struct Wide {
    multiplier: __m512i,
    half: __m512i,
    shift: __m512i,
}

impl Doubled {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn avx512(&self, [a, b]: [Codes<'_>; 2], out: &mut [u8]) {
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
        let output = Wide::new(self.output);
        let sign = _mm512_set1_epi32(self.sign());
        let (zero, lo, hi) =
            (_mm512_set1_epi32(self.zero_point), _mm512_set1_epi32(self.lo), _mm512_set1_epi32(self.hi));
        for at in 0..4 {
            let left = self.sides[0].apply::<A>(&a.as_chunks::<16>().0[at], flips[0]);
            let right = self.sides[1].apply::<B>(&b.as_chunks::<16>().0[at], flips[1]);
            let right = _mm512_sub_epi32(_mm512_xor_si512(right, sign), sign);
            let code = _mm512_add_epi32(output.apply(_mm512_add_epi32(left, right)), zero);
            let code = _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(code, lo), hi));
            // SAFETY: sixteen bytes are there.
            unsafe { _mm_storeu_si128(out.as_chunks_mut::<16>().0[at].as_mut_ptr().cast(), code) };
        }
    }
}

impl Side {
    /// Whether the factor is a half, as that of the operand with the larger scale: a shifted difference is halved exactly.
    fn halves(&self) -> bool {
        self.factor == Factor { multiplier: 1 << 30, shift: 0 } && self.pre_shift > 0
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
        if HALVES { shifted } else { Wide::new(self.factor).apply(shifted) }
    }
}

impl Wide {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn new(factor: Factor) -> Wide {
        let shift = _mm512_set1_epi32(factor.shift as i32);
        Wide { multiplier: _mm512_set1_epi32(factor.multiplier), half: half_of(shift), shift }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn apply(self, x: __m512i) -> __m512i {
        // SAFETY: this function is compiled for the same processor.
        unsafe { rounded_twice(x, self.multiplier, self.half, self.shift) }
    }
}
