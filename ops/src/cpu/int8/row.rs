//! One row times all panels, with AVX-512: a dense layer of one sample.
//!
//! Nothing but weights is read much here, once each. So the row is read where it lies, two panels at a time share it, and what the
//! panels have in common is found once for all.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::LANES;
use super::epilogue::{Real, Round, Single, interleaved, load, order};
use super::factor::Factor;
use super::pack::{Codes, Form, Packed, Panel, Quad};
use crate::quantized::stage::{Scale, Stage, lanes};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// What all panels have in common.
struct Row<'a> {
    packed: &'a Packed<Quad>,
    stage: &'a Stage,
    codes: &'a [u8],
    flip: __m512i,
    /// Zero point and limits of the codes.
    limits: [__m512i; 3],
}

/// Writes the codes of a row, as many as there are outputs, unless the numbers are unusual; whether they are not.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn row_avx512(codes: Codes<'_>, packed: &Packed<Quad>, stage: &Stage, out: &mut [MaybeUninit<u8>]) -> bool {
    let k = packed.layout.length;
    let plain = packed.layout.segments == [0] && codes.bytes.len() == k && k.is_multiple_of(Quad::GROUP);
    let scaled = match stage.scale {
        Scale::Float(_) | Scale::Dense(_) => true,
        // As for the sums of tiles.
        Scale::Double { .. } => k < 1 << (29 - 15),
        _ => false,
    };
    if !plain || !scaled || !packed.zeros.is_empty() || !stage.tame || !stage.is_narrow() || out.len() != packed.n {
        return false;
    }
    let limits = [
        _mm512_set1_epi16(stage.zero_point as i16),
        _mm512_set1_epi8(stage.lo as i8),
        _mm512_set1_epi8(stage.hi as i8),
    ];
    let row = Row { packed, stage, codes: codes.bytes, flip: _mm512_set1_epi8(codes.flip() as i8), limits };
    let mut panels = packed.panels.as_slice();
    while let Some((&panel, rest)) = panels.split_first() {
        panels = rest;
        match (panel.vectors, rest.split_first()) {
            (4, Some((&next, rest))) if next.vectors == 4 => {
                panels = rest;
                let [left, right] = row.two_panels([panel, next]);
                row.finish(panel, left, out);
                row.finish(next, right, out);
            }
            (1, _) => row.finish(panel, row.panel::<1>(panel), out),
            (2, _) => row.finish(panel, row.panel::<2>(panel), out),
            (3, _) => row.finish(panel, row.panel::<3>(panel), out),
            _ => row.finish(panel, row.panel::<4>(panel), out),
        }
    }
    true
}

impl Row<'_> {
    /// The biases of a panel.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn bias<const VECTORS: usize>(&self, panel: Panel) -> [__m512i; VECTORS] {
        let mut bias = [_mm512_setzero_si512(); VECTORS];
        for v in 0..VECTORS {
            bias[v] = load(&self.stage.bias, panel.first + v * LANES);
        }
        bias
    }

    /// Four activations for all lanes.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn activations(&self, codes: &[u8; 4]) -> __m512i {
        _mm512_xor_si512(_mm512_set1_epi32(i32::from_le_bytes(*codes)), self.flip)
    }

    /// The sums of a panel: those of even and of odd steps apart, since each waits for the one before it.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn panel<const VECTORS: usize>(&self, panel: Panel) -> [__m512i; VECTORS] {
        let (mut even, mut odd) = (self.bias::<VECTORS>(panel), [_mm512_setzero_si512(); VECTORS]);
        let (pairs, rest) = self.codes.as_chunks::<8>();
        let (line_pairs, last) = self.packed.lines(panel).split_at(2 * VECTORS * pairs.len());
        for (codes, lines) in pairs.iter().zip(line_pairs.chunks_exact(2 * VECTORS)) {
            let [first, second] = [&codes.as_chunks::<4>().0[0], &codes.as_chunks::<4>().0[1]];
            let (first, second) = (self.activations(first), self.activations(second));
            for v in 0..VECTORS {
                even[v] = _mm512_dpbusd_epi32(even[v], first, weights(&lines[v]));
                odd[v] = _mm512_dpbusd_epi32(odd[v], second, weights(&lines[VECTORS + v]));
            }
        }
        if let Some(codes) = rest.first_chunk() {
            let x = self.activations(codes);
            for v in 0..VECTORS {
                even[v] = _mm512_dpbusd_epi32(even[v], x, weights(&last[v]));
            }
        }
        for v in 0..VECTORS {
            even[v] = _mm512_add_epi32(even[v], odd[v]);
        }
        even
    }

    /// The sums of two panels of four vectors.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn two_panels(&self, [left, right]: [Panel; 2]) -> [[__m512i; 4]; 2] {
        let (mut left_sums, mut right_sums) = (self.bias::<4>(left), self.bias::<4>(right));
        let (left, right) = (self.packed.lines(left).as_chunks::<4>().0, self.packed.lines(right).as_chunks::<4>().0);
        for ((codes, left), right) in self.codes.as_chunks::<4>().0.iter().zip(left).zip(right) {
            let x = self.activations(codes);
            for v in 0..4 {
                left_sums[v] = _mm512_dpbusd_epi32(left_sums[v], x, weights(&left[v]));
            }
            for v in 0..4 {
                right_sums[v] = _mm512_dpbusd_epi32(right_sums[v], x, weights(&right[v]));
            }
        }
        [left_sums, right_sums]
    }

    /// Writes the codes of a panel.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn finish<const VECTORS: usize>(&self, panel: Panel, acc: [__m512i; VECTORS], out: &mut [MaybeUninit<u8>]) {
        let first = panel.first;
        let out = &mut out[first..];
        let count = out.len().min(VECTORS * LANES);
        let at = |v| first + v * LANES;
        let mut rounded = [self.limits[0]; 4];
        // SAFETY: this function is compiled for the same processor; `count` places are there.
        unsafe {
            match &self.stage.scale {
                Scale::Float(scale) => {
                    for v in 0..VECTORS {
                        let scale = _mm512_loadu_ps(lanes(scale, at(v)).as_ptr());
                        rounded[v] = Single { scale: [scale] }.round(acc[v], 0);
                    }
                }
                Scale::Double { multiplier, shift } => {
                    for v in 0..VECTORS {
                        let (multiplier, shift) = (load(multiplier, at(v)), load(shift, at(v)));
                        let twice = Factor::new(multiplier, shift);
                        rounded[v] = twice.apply(acc[v]);
                    }
                }
                Scale::Dense(scale) => {
                    for v in 0..VECTORS {
                        rounded[v] = Real { scale: [lanes(scale, at(v))] }.round(acc[v], 0);
                    }
                }
                Scale::Shift(_) | Scale::Any(_) => unreachable!("a stage that a row does not take"),
            }
            let codes = if self.stage.lo < 0 {
                interleaved::<true>(rounded, self.limits)
            } else {
                interleaved::<false>(rounded, self.limits)
            };
            let codes = _mm512_permutexvar_epi32(order(4), codes);
            _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), u64::MAX >> (64 - count), codes);
        }
    }
}

/// The weights of a step.
#[target_feature(enable = "avx512f")]
#[inline]
fn weights(line: &<Quad as Form>::Line) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}
