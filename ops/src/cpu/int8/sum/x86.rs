//! With AVX-512.
#![allow(unsafe_code)]

use super::{Doubled, Factor, Side};
use crate::cpu::int8::Codes;
use crate::cpu::int8::epilogue::interleaved;
use crate::cpu::int8::factor;
use std::arch::x86_64::*;

/// A sum as a linear function of the ranks, which decides the code unless it is nearly half way between two codes.
struct Linear {
    factors: [f32; 2],
    /// What the zero points add.
    constant: f32,
    /// The distance from the nearest code up to which that is the code.
    sure: f32,
}

impl Linear {
    /// `None` where too many sums would be nearly half way.
    fn new(sum: &Doubled) -> Option<Linear> {
        let codes = if sum.lo < 0 { -128..=127 } else { 0..=255 };
        if !codes.contains(&sum.lo) || !codes.contains(&sum.hi) {
            return None;
        }
        let output = sum.output.real();
        let [a, b] = sum.sides.map(|side| f64::from(1u32 << side.pre_shift) * side.factor.real() * output);
        let b = if sum.subtract { -b } else { b };
        let constant = f64::from(sum.zero_point) - f64::from(sum.sides[0].zero) * a - f64::from(sum.sides[1].zero) * b;
        // Each operand is rounded twice, by less than 1 in all, and the high product of their sum once, by half of what the
        // output's shift takes to 1. Each of the five roundings to binary32 is below 2^-24 of the largest magnitude.
        let rounded = 2.0 * output + 0.5 * sum.output.shifted();
        let largest = 255.0 * (a.abs() + b.abs()) + constant.abs();
        let off = rounded + largest / f64::from(1 << 21);
        let sure = 0.5 - off - f64::from(f32::EPSILON);
        (off < 1.0 / 1024.0).then_some(Linear {
            factors: [a as f32, b as f32],
            constant: constant as f32,
            sure: sure as f32,
        })
    }
}

impl Factor {
    /// What it multiplies by, but for its roundings.
    fn real(self) -> f64 {
        f64::from(self.multiplier) / f64::from(1u32 << 31) * self.shifted()
    }

    /// The same as registers.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn wide(self) -> factor::Factor {
        factor::Factor::new(_mm512_set1_epi32(self.multiplier), _mm512_set1_epi32(self.shift as i32))
    }

    /// What its shift multiplies by.
    fn shifted(self) -> f64 {
        1.0 / f64::from(1u32 << self.shift)
    }
}

impl Doubled {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn avx512(&self, operands: [Codes<'_>; 2], out: &mut [u8]) {
        let flips = operands.map(|codes| codes.flip());
        let [left, right] = self.sides;
        let exact = match [left.halves(), right.halves()] {
            [true, true] => Doubled::block::<true, true>,
            [true, false] => Doubled::block::<true, false>,
            [false, true] => Doubled::block::<false, true>,
            [false, false] => Doubled::block::<false, false>,
        };
        let [a, b] = operands.map(|codes| codes.bytes);
        match Linear::new(self) {
            Some(linear) => blocks([a, b], out, |a, b, out| {
                let sure = if self.lo < 0 {
                    self.linear::<true>(&linear, a, b, flips, out)
                } else {
                    self.linear::<false>(&linear, a, b, flips, out)
                };
                if !sure {
                    exact(self, a, b, flips, out);
                }
            }),
            None => blocks([a, b], out, |a, b, out| exact(self, a, b, flips, out)),
        }
    }

    /// The codes of a block, where none of its sums is nearly half way between two codes; whether that is so.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn linear<const SIGNED: bool>(
        &self,
        linear: &Linear,
        a: &[u8; 64],
        b: &[u8; 64],
        flips: [u8; 2],
        out: &mut [u8; 64],
    ) -> bool {
        let (left, right) = (_mm512_set1_ps(linear.factors[0]), _mm512_set1_ps(linear.factors[1]));
        let constant = _mm512_set1_ps(linear.constant);
        let (a, b) = (ranks(a, flips[0]), ranks(b, flips[1]));
        let sums: [__m512; 4] =
            std::array::from_fn(|v| _mm512_fmadd_ps(a[v], left, _mm512_fmadd_ps(b[v], right, constant)));
        // What is left of each behind the nearest integer, and the larger magnitude of two.
        let rests: [__m512; 4] = std::array::from_fn(|v| _mm512_reduce_ps::<8>(sums[v]));
        let larger = |a, b| _mm512_range_ps::<0b1011>(a, b);
        let furthest = larger(larger(rests[0], rests[1]), larger(rests[2], rests[3]));
        let rounded = sums.map(|sum| _mm512_cvtps_epi32(sum));
        let limits = [_mm512_setzero_si512(), _mm512_set1_epi8(self.lo as i8), _mm512_set1_epi8(self.hi as i8)];
        // SAFETY: this function is compiled for the same processor; 64 bytes are there.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), interleaved::<SIGNED>(rounded, limits)) };
        _mm512_cmp_ps_mask::<_CMP_LE_OQ>(furthest, _mm512_set1_ps(linear.sure)) == u16::MAX
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn block<const A: bool, const B: bool>(&self, a: &[u8; 64], b: &[u8; 64], flips: [u8; 2], out: &mut [u8; 64]) {
        let output = self.output.wide();
        let sign = _mm512_set1_epi32(self.sign());
        let (zero, lo, hi) =
            (_mm512_set1_epi32(self.zero_point), _mm512_set1_epi32(self.lo), _mm512_set1_epi32(self.hi));
        for at in 0..4 {
            let left = self.sides[0].apply::<A>(&a.as_chunks::<16>().0[at], flips[0]);
            let right = self.sides[1].apply::<B>(&b.as_chunks::<16>().0[at], flips[1]);
            let right = _mm512_sub_epi32(_mm512_xor_si512(right, sign), sign);
            // SAFETY: this function is compiled for the same processor.
            let code = _mm512_add_epi32(unsafe { output.apply(_mm512_add_epi32(left, right)) }, zero);
            let code = _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(code, lo), hi));
            // SAFETY: sixteen bytes are there.
            unsafe { _mm_storeu_si128(out.as_chunks_mut::<16>().0[at].as_mut_ptr().cast(), code) };
        }
    }
}

/// The ranks of 64 codes: every quarter of a vector holds four of each sixteen codes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn ranks(codes: &[u8; 64], flip: u8) -> [__m512; 4] {
    // SAFETY: 64 bytes are there.
    let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
    let ranks = _mm512_xor_si512(codes, _mm512_set1_epi8(flip as i8));
    let zero = _mm512_setzero_si512();
    let (low, high) = (_mm512_unpacklo_epi8(ranks, zero), _mm512_unpackhi_epi8(ranks, zero));
    [
        _mm512_cvtepi32_ps(_mm512_unpacklo_epi16(low, zero)),
        _mm512_cvtepi32_ps(_mm512_unpackhi_epi16(low, zero)),
        _mm512_cvtepi32_ps(_mm512_unpacklo_epi16(high, zero)),
        _mm512_cvtepi32_ps(_mm512_unpackhi_epi16(high, zero)),
    ]
}

/// Calls `block` for every 64 elements; the last ones are filled up.
#[inline(always)]
fn blocks([a, b]: [&[u8]; 2], out: &mut [u8], mut block: impl FnMut(&[u8; 64], &[u8; 64], &mut [u8; 64])) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    let (whole, rest) = out.as_chunks_mut::<64>();
    for ((out, a), b) in whole.iter_mut().zip(a).zip(b) {
        block(a, b, out);
    }
    if !rest.is_empty() {
        let (mut a, mut b, mut out) = ([0; 64], [0; 64], [0; 64]);
        a[..rest.len()].copy_from_slice(a_rest);
        b[..rest.len()].copy_from_slice(b_rest);
        block(&a, &b, &mut out);
        rest.copy_from_slice(&out[..rest.len()]);
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
        // SAFETY: this function is compiled for the same processor.
        if HALVES { shifted } else { unsafe { self.factor.wide().apply(shifted) } }
    }
}
