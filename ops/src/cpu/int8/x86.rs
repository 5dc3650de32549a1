//! Sums with AVX2 and with AVX-512 VNNI.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::LANES;
use super::epilogue::{self, Write};
use super::pack::{Pair, Quad};
use super::tile::{Tiles, heights};
use std::arch::x86_64::*;

/// Calls a function with its first constant, the number of rows, taken from a value.
macro_rules! by_height {
    ($height:expr, $name:ident::<_, $vectors:literal>($tiles:expr, $begin:expr), $($rows:literal)*) => {
        match $height {
            $($rows => $name::<$rows, $vectors>($tiles, $begin),)*
            _ => unreachable!("a tile of more rows than asked for"),
        }
    };
}

pub(crate) use by_height;

/// A panel times a block, with the constants of its output stage.
struct Panel<'a> {
    tiles: &'a Tiles<'a, Quad>,
    write: Write,
}

/// All tiles of a panel. The tile heights are those of which sums, weights and one activation fill the 32 vector registers,
/// or the places of rows the general ones.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn panel_avx512(tiles: &Tiles<'_, Quad>) {
    tiles.check();
    let panel = Panel { tiles, write: Write::new(tiles) };
    let rows = tiles.bases.len();
    match tiles.vectors {
        1 => {
            for (begin, height) in heights(rows, 8) {
                by_height!(height, quads::<_, 1>(&panel, begin), 1 2 3 4 5 6 7 8);
            }
        }
        2 => {
            for (begin, height) in heights(rows, 8) {
                by_height!(height, quads::<_, 2>(&panel, begin), 1 2 3 4 5 6 7 8);
            }
        }
        3 => {
            for (begin, height) in heights(rows, 8) {
                by_height!(height, quads::<_, 3>(&panel, begin), 1 2 3 4 5 6 7 8);
            }
        }
        4 => {
            for (begin, height) in heights(rows, 6) {
                by_height!(height, quads::<_, 4>(&panel, begin), 1 2 3 4 5 6);
            }
        }
        more => unreachable!("a panel of {more} vectors"),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
fn quads<const ROWS: usize, const VECTORS: usize>(panel: &Panel<'_>, begin: usize) {
    let tiles = panel.tiles;
    let bases: [usize; ROWS] = std::array::from_fn(|r| tiles.bases[begin + r]);
    let first = tiles.place.first + tiles.first;
    let bias: [__m512i; VECTORS] = std::array::from_fn(|v| epilogue::load(&tiles.stage.bias, first + v * LANES));
    let mut acc = [bias; ROWS];
    let mut line: *const __m512i = tiles.lines.as_ptr().cast();
    // SAFETY: `check` has seen that rows and lines of all steps are inside their slices.
    unsafe {
        let rows = bases.map(|base| tiles.activations.as_ptr().add(base));
        for &offset in tiles.offsets {
            let weights: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_load_si512(line.add(v)));
            line = line.add(VECTORS);
            for r in 0..ROWS {
                let x = _mm512_set1_epi32(rows[r].add(offset).cast::<i32>().read_unaligned());
                for v in 0..VECTORS {
                    acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], x, weights[v]);
                }
            }
        }
    }
    // SAFETY: this function is compiled for the same processor.
    unsafe { epilogue::finish(tiles, &panel.write, begin, acc) };
}

/// All tiles of a panel of one vector.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn panel_avx2(tiles: &Tiles<'_, Pair>) {
    tiles.check();
    for (begin, height) in heights(tiles.bases.len(), 6) {
        by_height!(height, pairs::<_, 1>(tiles, begin), 1 2 3 4 5 6);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn pairs<const ROWS: usize, const VECTORS: usize>(tiles: &Tiles<'_, Pair>, begin: usize) {
    let bases: [usize; ROWS] = std::array::from_fn(|r| tiles.bases[begin + r]);
    let mut acc = [[_mm256_setzero_si256(); 2]; ROWS];
    let mut line: *const __m256i = tiles.lines.as_ptr().cast();
    // SAFETY: as for the wider registers.
    unsafe {
        let rows = bases.map(|base| tiles.activations.as_ptr().add(base));
        for &offset in tiles.offsets {
            let (low, high) = (_mm256_load_si256(line), _mm256_load_si256(line.add(1)));
            line = line.add(2);
            for r in 0..ROWS {
                let x = _mm256_set1_epi32(rows[r].add(offset).cast::<i32>().read_unaligned());
                acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(x, low));
                acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(x, high));
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        // SAFETY: both types are 64 bytes of plain integers.
        let sums = unsafe { std::mem::transmute::<[__m256i; 2], [i32; LANES]>(acc) };
        tiles.finish(begin + r, 0, sums);
    }
}
