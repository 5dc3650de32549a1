//! Sums with AVX2 and FMA, and with AVX-512 and its BF16 instructions.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::pack::{Bf16, F32, LANES};
use super::{Form, Tiles};
use crate::cpu::int8::{by_height, heights};
use std::arch::x86_64::*;

/// All tiles of a panel by a function for each number of rows and vectors. The tile heights are those of which sums, weights and one
/// element fill the 32 registers.
macro_rules! by_vectors {
    ($tiles:ident, $tile:ident) => {
        match $tiles.panel.vectors {
            1 => {
                for (begin, height) in heights($tiles.count, 12) {
                    by_height!(height, $tile::<_, 1>($tiles, begin), 1 2 3 4 5 6 7 8 9 10 11 12);
                }
            }
            2 => {
                for (begin, height) in heights($tiles.count, 12) {
                    by_height!(height, $tile::<_, 2>($tiles, begin), 1 2 3 4 5 6 7 8 9 10 11 12);
                }
            }
            3 => {
                for (begin, height) in heights($tiles.count, 8) {
                    by_height!(height, $tile::<_, 3>($tiles, begin), 1 2 3 4 5 6 7 8);
                }
            }
            4 => {
                for (begin, height) in heights($tiles.count, 6) {
                    by_height!(height, $tile::<_, 4>($tiles, begin), 1 2 3 4 5 6);
                }
            }
            more => unreachable!("a panel of {more} vectors"),
        }
    };
}

/// All tiles of a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn f32_avx512(tiles: &Tiles<'_, F32>) {
    by_vectors!(tiles, f32_tile);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn f32_tile<const ROWS: usize, const VECTORS: usize>(tiles: &Tiles<'_, F32>, begin: usize) {
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let mut line: *const f32 = tiles.lines.as_ptr().cast();
    let steps = tiles.steps.len();
    // SAFETY: `Tiles::check` has seen that rows and lines of all steps are inside their slices.
    unsafe {
        let rows: [*const f32; ROWS] = opaque(std::array::from_fn(|r| {
            tiles.rows.as_ptr().add((tiles.begin + begin + r) * tiles.pitch + tiles.steps.start)
        }));
        for step in 0..steps {
            let weights: [__m512; VECTORS] = std::array::from_fn(|v| _mm512_load_ps(line.add(v * LANES)));
            line = line.add(VECTORS * LANES);
            for r in 0..ROWS {
                let x = _mm512_set1_ps(*rows[r].add(step));
                for v in 0..VECTORS {
                    acc[r][v] = _mm512_fmadd_ps(x, weights[v], acc[r][v]);
                }
            }
        }
    }
    write(tiles, begin, acc);
}

/// The sums of the passes before.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn partial(sums: &[f32]) -> __m512 {
    // SAFETY: the numbers of the mask are there.
    unsafe { _mm512_maskz_loadu_ps(mask(sums.len()), sums.as_ptr()) }
}

/// Pointers of which the compiler does not know that they lie at equal distances: it would keep one of them and add distances to it
/// in every step, on units that multiply.
#[inline(always)]
fn opaque<T, const ROWS: usize>(rows: [*const T; ROWS]) -> [*const T; ROWS] {
    std::hint::black_box(rows)
}

/// Writes the results of a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn write<F: Form, const ROWS: usize, const VECTORS: usize>(
    tiles: &Tiles<'_, F>,
    begin: usize,
    acc: [[__m512; VECTORS]; ROWS],
) {
    let row = tiles.begin + begin;
    if tiles.last && !tiles.epilogue.linear() {
        for (r, acc) in acc.into_iter().enumerate() {
            for (v, acc) in acc.into_iter().enumerate() {
                // SAFETY: both types are 64 bytes of plain numbers.
                let sums = unsafe { std::mem::transmute::<__m512, [f32; LANES]>(acc) };
                tiles.finish(row + r, v, sums);
            }
        }
        return;
    }
    // A sum that is no number stays one: the second operand is taken then. No sum is below the least floor.
    let least = _mm512_set1_ps(if tiles.last { tiles.epilogue.floor() } else { f32::NEG_INFINITY });
    let bias: [__m512; VECTORS] = std::array::from_fn(|v| {
        // SAFETY: sixteen numbers are there.
        let bias = unsafe { _mm512_loadu_ps(tiles.epilogue.bias(tiles.panel.first + v * LANES).as_ptr()) };
        // Adding a negative zero changes no sum.
        if tiles.last { bias } else { _mm512_set1_ps(-0.0) }
    });
    for (r, acc) in acc.into_iter().enumerate() {
        for (v, acc) in acc.into_iter().enumerate() {
            // SAFETY: the place is used here alone, and the numbers of the mask are there.
            unsafe {
                let out = tiles.outputs(row + r, v);
                let sum = if tiles.steps.start > 0 { _mm512_add_ps(partial(out), acc) } else { acc };
                let result = _mm512_max_ps(least, _mm512_add_ps(sum, bias[v]));
                _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(out.len()), result);
            }
        }
    }
}

#[inline(always)]
fn mask(len: usize) -> u16 {
    if len < LANES { (1 << len) - 1 } else { u16::MAX }
}

/// All tiles of a panel. The instruction takes denormal elements for zero and rounds a pair's products once.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) fn bf16_avx512(tiles: &Tiles<'_, Bf16>) {
    by_vectors!(tiles, bf16_tile);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
fn bf16_tile<const ROWS: usize, const VECTORS: usize>(tiles: &Tiles<'_, Bf16>, begin: usize) {
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let mut line: *const __m512i = tiles.lines.as_ptr().cast();
    let steps = tiles.steps.len();
    // SAFETY: `Tiles::check` has seen that rows and lines of all steps are inside their slices; the types of vectors are 64 bytes.
    unsafe {
        let bf16 = |bits: __m512i| std::mem::transmute::<__m512i, __m512bh>(bits);
        let rows: [*const u16; ROWS] = opaque(std::array::from_fn(|r| {
            tiles.rows.as_ptr().add((tiles.begin + begin + r) * tiles.pitch + 2 * tiles.steps.start)
        }));
        for step in 0..steps {
            let weights: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_load_si512(line.add(v)));
            line = line.add(VECTORS);
            for r in 0..ROWS {
                let x = _mm512_set1_epi32(rows[r].add(2 * step).cast::<i32>().read_unaligned());
                for v in 0..VECTORS {
                    acc[r][v] = _mm512_dpbf16_ps(acc[r][v], bf16(x), bf16(weights[v]));
                }
            }
        }
    }
    write(tiles, begin, acc);
}

/// All tiles of a panel of one vector.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn f32_avx2(tiles: &Tiles<'_, F32>) {
    for (begin, height) in heights(tiles.count, 6) {
        by_height!(height, f32_halves::<_, 1>(tiles, begin), 1 2 3 4 5 6);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn f32_halves<const ROWS: usize, const VECTORS: usize>(tiles: &Tiles<'_, F32>, begin: usize) {
    let mut acc = [[_mm256_setzero_ps(); 2]; ROWS];
    let mut line: *const f32 = tiles.lines.as_ptr().cast();
    let steps = tiles.steps.len();
    // SAFETY: as for the wider registers.
    unsafe {
        let rows: [*const f32; ROWS] = opaque(std::array::from_fn(|r| {
            tiles.rows.as_ptr().add((tiles.begin + begin + r) * tiles.pitch + tiles.steps.start)
        }));
        for step in 0..steps {
            let (low, high) = (_mm256_load_ps(line), _mm256_load_ps(line.add(8)));
            line = line.add(LANES);
            for r in 0..ROWS {
                let x = _mm256_set1_ps(*rows[r].add(step));
                acc[r][0] = _mm256_fmadd_ps(x, low, acc[r][0]);
                acc[r][1] = _mm256_fmadd_ps(x, high, acc[r][1]);
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        // SAFETY: both types are 64 bytes of plain numbers.
        let sums = unsafe { std::mem::transmute::<[__m256; 2], [f32; LANES]>(acc) };
        tiles.finish(tiles.begin + begin + r, 0, sums);
    }
}
