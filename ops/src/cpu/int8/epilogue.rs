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

/// Writes the codes of a tile's sums with their bias, from the block's row `begin` on.
///
/// Rows are taken out of the tile one by one, so that its sums stay in registers till then.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn finish<const ROWS: usize, const VECTORS: usize>(
    tiles: &Tiles<'_, Quad>,
    begin: usize,
    acc: [[__m512i; VECTORS]; ROWS],
) {
    let stage = tiles.stage;
    let first = tiles.place.first + tiles.first;
    let write = Write::new::<VECTORS>(tiles);
    match &stage.scale {
        Scale::Float(scale) => {
            // SAFETY: sixteen factors are there.
            let load = |v| unsafe { _mm512_loadu_ps(lanes(scale, first + v * LANES).as_ptr()) };
            let scale: [__m512; VECTORS] = std::array::from_fn(load);
            // No sum times a factor below one leaves 32 bits; else the largest code is reached in reals.
            let limit = _mm512_set1_ps(0.99);
            let tame =
                scale.iter().all(|&scale| _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(scale), limit) == 0xffff);
            let most = _mm512_set1_ps((stage.hi - stage.zero_point) as f32);
            for (r, acc) in acc.into_iter().enumerate() {
                let acc = counted(tiles, begin + r, acc);
                let real: [__m512; VECTORS] =
                    std::array::from_fn(|v| _mm512_mul_ps(_mm512_cvtepi32_ps(acc[v]), scale[v]));
                let rounded: [__m512i; VECTORS] = if tame {
                    std::array::from_fn(|v| _mm512_cvtps_epi32(real[v]))
                } else {
                    std::array::from_fn(|v| _mm512_cvtps_epi32(_mm512_min_ps(real[v], most)))
                };
                write.row(tiles, begin + r, rounded);
            }
        }
        Scale::Double { multiplier, shift } => {
            for (r, acc) in acc.into_iter().enumerate() {
                let acc = counted(tiles, begin + r, acc);
                let rounded: [__m512i; VECTORS] = std::array::from_fn(|v| {
                    let at = first + v * LANES;
                    double(acc[v], load(multiplier, at), load(shift, at))
                });
                write.row(tiles, begin + r, rounded);
            }
        }
        _ => {
            for (r, acc) in acc.into_iter().enumerate() {
                for (v, acc) in counted(tiles, begin + r, acc).into_iter().enumerate() {
                    // SAFETY: both types are 64 bytes of plain integers.
                    let sums = unsafe { std::mem::transmute::<__m512i, [i32; LANES]>(acc) };
                    tiles.write(begin + r, v, &stage.codes(first + v * LANES, sums));
                }
            }
        }
    }
}

/// The sums of a row counted from the zero points of the weights.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn counted<const VECTORS: usize>(tiles: &Tiles<'_, Quad>, at: usize, acc: [__m512i; VECTORS]) -> [__m512i; VECTORS] {
    let Some(&row) = tiles.sums.get(at) else { return acc };
    let row = _mm512_set1_epi32(row);
    std::array::from_fn(|v| {
        let zeros = load(tiles.zeros, tiles.first + v * LANES);
        _mm512_sub_epi32(acc[v], _mm512_mullo_epi32(row, zeros))
    })
}

/// Moves rounded sums by the zero point, clamps and writes them. The constants are read once for a tile: the compiler cannot know
/// that writing codes leaves them as they are.
struct Write {
    /// Sixty-four codes at once: a whole panel, and a zero point that fits where sums have saturated to 16 bits.
    whole: bool,
    signed: bool,
    zero: __m512i,
    lo: __m512i,
    hi: __m512i,
    order: __m512i,
}

impl Write {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn new<const VECTORS: usize>(tiles: &Tiles<'_, Quad>) -> Write {
        let Stage { zero_point, lo, hi, .. } = *tiles.stage;
        let codes = if lo < 0 { -128..=127 } else { 0..=255 };
        let whole = VECTORS == 4
            && tiles.outputs == 4 * LANES
            && (-512..512).contains(&zero_point)
            && codes.contains(&lo)
            && codes.contains(&hi);
        // Packing works in quarters of a register: every quarter holds four outputs of each vector.
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let (zero, lo, hi) = if whole {
            (_mm512_set1_epi16(zero_point as i16), _mm512_set1_epi8(lo as i8), _mm512_set1_epi8(hi as i8))
        } else {
            let below = |limit: i32| _mm512_set1_epi32(limit.saturating_sub(zero_point));
            (_mm512_set1_epi32(zero_point), below(lo), below(hi))
        };
        Write { whole, signed: tiles.stage.lo < 0, zero, lo, hi, order }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn row<const VECTORS: usize>(&self, tiles: &Tiles<'_, Quad>, at: usize, rounded: [__m512i; VECTORS]) {
        let Write { whole, signed, zero, lo, hi, order } = *self;
        if VECTORS == 4 && whole {
            let low = _mm512_adds_epi16(_mm512_packs_epi32(rounded[0], rounded[1]), zero);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(rounded[2], rounded[3]), zero);
            let codes = if signed {
                _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), lo), hi)
            } else {
                _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), lo), hi)
            };
            let out = tiles.outputs(at, 0, 4 * LANES).as_mut_ptr().cast();
            // SAFETY: the 64 codes are 64 outputs of the row.
            unsafe { _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, codes)) }
            return;
        }
        for (v, rounded) in rounded.into_iter().enumerate() {
            let inside = _mm512_min_epi32(_mm512_max_epi32(rounded, lo), hi);
            let codes = _mm512_cvtepi32_epi8(_mm512_add_epi32(inside, zero));
            // SAFETY: both types are 16 bytes of plain integers.
            tiles.write(at, v, &unsafe { std::mem::transmute::<__m128i, [u8; LANES]>(codes) });
        }
    }
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
