//! The output stage with AVX-512.
#![allow(unsafe_code)]

use super::LANES;
use super::pack::Quad;
use super::tile::Tiles;
use crate::quantized::stage::{Scale, Stage, lanes};
use std::arch::x86_64::*;

/// Sixteen constants.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(list: &[i32], first: usize) -> __m512i {
    // SAFETY: sixteen of them are there.
    unsafe { _mm512_loadu_si512(lanes(list, first).as_ptr().cast()) }
}

/// Writes the codes of sums with their bias, in the block's row `at`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn finish<const VECTORS: usize>(tiles: &Tiles<'_, Quad>, at: usize, mut acc: [__m512i; VECTORS]) {
    let stage = tiles.stage;
    if let Some(&row) = tiles.sums.get(at) {
        let row = _mm512_set1_epi32(row);
        for (v, acc) in acc.iter_mut().enumerate() {
            *acc = _mm512_sub_epi32(*acc, _mm512_mullo_epi32(row, load(tiles.zeros, tiles.first + v * LANES)));
        }
    }
    let first = tiles.place.first + tiles.first;
    let whole = tiles.outputs == VECTORS * LANES;
    match &stage.scale {
        Scale::Float(scale) => {
            // The largest code is reached in reals, where nothing overflows; what is too small saturates on the way.
            let most = _mm512_set1_ps((stage.hi - stage.zero_point) as f32);
            for (v, acc) in acc.iter_mut().enumerate() {
                // SAFETY: sixteen factors are there.
                let scale = unsafe { _mm512_loadu_ps(lanes(scale, first + v * LANES).as_ptr()) };
                let real = _mm512_mul_ps(_mm512_cvtepi32_ps(*acc), scale);
                *acc = _mm512_cvtps_epi32(_mm512_min_ps(real, most));
            }
        }
        Scale::Double { multiplier, shift } => {
            for (v, acc) in acc.iter_mut().enumerate() {
                let at = first + v * LANES;
                *acc = double(*acc, load(multiplier, at), load(shift, at));
            }
        }
        _ => {
            for (v, acc) in acc.into_iter().enumerate() {
                // SAFETY: both types are 64 bytes of plain integers.
                let sums = unsafe { std::mem::transmute::<__m512i, [i32; LANES]>(acc) };
                tiles.write(at, v, &stage.codes(first + v * LANES, sums));
            }
            return;
        }
    }
    if VECTORS == 4 && whole && (-512..512).contains(&stage.zero_point) {
        // SAFETY: the 64 codes are 64 outputs of the row.
        unsafe {
            _mm512_storeu_si512(
                tiles.outputs(at, 0, 64).as_mut_ptr().cast(),
                narrow(stage, [acc[0], acc[1], acc[2], acc[3]]),
            )
        }
        return;
    }
    let zero = _mm512_set1_epi32(stage.zero_point);
    let (lo, hi) = (stage.lo - stage.zero_point, stage.hi - stage.zero_point);
    for (v, acc) in acc.into_iter().enumerate() {
        let inside = _mm512_min_epi32(_mm512_max_epi32(acc, _mm512_set1_epi32(lo)), _mm512_set1_epi32(hi));
        let codes = _mm512_cvtepi32_epi8(_mm512_add_epi32(inside, zero));
        // SAFETY: both types are 16 bytes of plain integers.
        tiles.write(at, v, &unsafe { std::mem::transmute::<__m128i, [u8; LANES]>(codes) });
    }
}

/// Sixty-four codes of rounded sums. Small zero points: sums saturate to 16 bits before they are moved, and to codes after.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn narrow(stage: &Stage, rounded: [__m512i; 4]) -> __m512i {
    let zero = _mm512_set1_epi16(stage.zero_point as i16);
    let low = _mm512_adds_epi16(_mm512_packs_epi32(rounded[0], rounded[1]), zero);
    let high = _mm512_adds_epi16(_mm512_packs_epi32(rounded[2], rounded[3]), zero);
    let (lo, hi) = (_mm512_set1_epi16(stage.lo as i16), _mm512_set1_epi16(stage.hi as i16));
    let clamp = |codes| _mm512_min_epi16(_mm512_max_epi16(codes, lo), hi);
    // Codes with sign and without lie in the same bytes: only the low byte of what is inside the range is kept.
    let byte = _mm512_set1_epi16(0xff);
    let codes = _mm512_packus_epi16(_mm512_and_si512(clamp(low), byte), _mm512_and_si512(clamp(high), byte));
    // Packing works in quarters of a register: every quarter holds four outputs of each vector.
    _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), codes)
}

/// The rounding doubling high multiply, then the rounding shift, of [`Scale::Double`].
#[target_feature(enable = "avx512f")]
#[inline]
fn double(acc: __m512i, multiplier: __m512i, shift: __m512i) -> __m512i {
    let nudge = _mm512_set1_epi64(1 << 30);
    let even = _mm512_add_epi64(_mm512_mul_epi32(acc, multiplier), nudge);
    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), _mm512_srli_epi64::<32>(multiplier));
    let odd = _mm512_add_epi64(odd, nudge);
    // Bits 31 to 62 of each product.
    let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<31>(even), _mm512_slli_epi64::<1>(odd));
    let one = _mm512_set1_epi32(1);
    let mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, shift), one);
    // A negative number's half is rounded down in magnitude no more: the threshold is one higher.
    let threshold = _mm512_add_epi32(_mm512_srai_epi32::<1>(mask), _mm512_srli_epi32::<31>(high));
    let up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(high, mask), threshold);
    let shifted = _mm512_srav_epi32(high, shift);
    _mm512_mask_add_epi32(shifted, up, shifted, one)
}
