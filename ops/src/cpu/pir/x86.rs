//! Sums with AVX2 and with AVX-512.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::{Block, Masks, QUERIES, masks};
use std::arch::x86_64::*;

/// Words of the large tile, of four vectors, and of a vector.
const TILE: usize = 32;
const VECTOR: usize = 8;

/// Sums of four requests by 32 words are 16 of the 32 registers: eight loads for 16 instructions that are `and` and exclusive or
/// in one. The tile of 64 buckets, 16 KiB, stays in the first-level cache for all requests.
#[target_feature(enable = "avx512f")]
pub(super) fn avx512(block: Block<'_>) {
    let Block { db, words, columns, requests, length, block, sums } = block;
    let mut at = columns.start;
    while at < columns.end {
        let width = match columns.end - at {
            TILE.. => TILE,
            rest => rest.min(VECTOR),
        };
        for (requests, sums) in requests.chunks(QUERIES * length).zip(sums.chunks_mut(QUERIES * words)) {
            let masks = masks(requests, length, block);
            match width {
                TILE => wide::<4>(db, words, at..at + width, &masks, sums),
                _ => wide::<1>(db, words, at..at + width, &masks, sums),
            }
        }
        at += width;
    }
}

/// `V` vectors of all buckets, of which a single one may be shorter.
#[target_feature(enable = "avx512f")]
fn wide<const V: usize>(db: &[u64], words: usize, columns: std::ops::Range<usize>, masks: &Masks, sums: &mut [u64]) {
    let width = columns.len();
    assert!(if V == 1 { (1..=VECTOR).contains(&width) } else { width == V * VECTOR });
    let lanes = u8::MAX >> (VECTOR - width.min(VECTOR));
    let mut tile = [[_mm512_setzero_si512(); V]; QUERIES];
    for (bucket, masks) in db.chunks_exact(words).zip(masks) {
        let bucket = &bucket[columns.clone()];
        let mut x = [_mm512_setzero_si512(); V];
        for v in 0..V {
            // SAFETY: the slice has V whole vectors, or at least as many words as lanes that are read.
            x[v] = unsafe { _mm512_maskz_loadu_epi64(lanes, bucket.as_ptr().add(v * VECTOR).cast()) };
        }
        for q in 0..QUERIES {
            let mask = _mm512_set1_epi64(masks[q].cast_signed());
            for v in 0..V {
                // Sum ^ (word & mask).
                tile[q][v] = _mm512_ternarylogic_epi64::<0x78>(tile[q][v], x[v], mask);
            }
        }
    }
    for (sums, tile) in sums.chunks_exact_mut(words).zip(tile) {
        let sums = &mut sums[columns.clone()];
        for v in 0..V {
            // SAFETY: as above.
            unsafe {
                let place = sums.as_mut_ptr().add(v * VECTOR).cast();
                let sum = _mm512_xor_si512(_mm512_maskz_loadu_epi64(lanes, place), tile[v]);
                _mm512_mask_storeu_epi64(place, lanes, sum);
            }
        }
    }
}

/// Words of a tile of two vectors.
const NARROW: usize = 8;

/// Sums of four requests by 8 words are 8 of the 16 registers. The last words of a bucket are summed one by one.
#[target_feature(enable = "avx2")]
pub(super) fn avx2(block: Block<'_>) {
    let Block { db, words, columns, requests, length, block, sums } = block;
    for (requests, sums) in requests.chunks(QUERIES * length).zip(sums.chunks_mut(QUERIES * words)) {
        let masks = masks(requests, length, block);
        let mut at = columns.start;
        while columns.end - at >= NARROW {
            narrow(db, words, at, &masks, sums);
            at += NARROW;
        }
        super::tiles::<1>(db, words, at, columns.end, &masks, sums);
    }
}

#[target_feature(enable = "avx2")]
fn narrow(db: &[u64], words: usize, at: usize, masks: &Masks, sums: &mut [u64]) {
    let mut tile = [[_mm256_setzero_si256(); 2]; QUERIES];
    for (bucket, masks) in db.chunks_exact(words).zip(masks) {
        let bucket = &bucket[at..at + NARROW];
        let mut x = [_mm256_setzero_si256(); 2];
        for v in 0..2 {
            // SAFETY: the slice has two vectors of four words.
            x[v] = unsafe { _mm256_loadu_si256(bucket.as_ptr().add(4 * v).cast()) };
        }
        for q in 0..QUERIES {
            let mask = _mm256_set1_epi64x(masks[q].cast_signed());
            for v in 0..2 {
                tile[q][v] = _mm256_xor_si256(tile[q][v], _mm256_and_si256(x[v], mask));
            }
        }
    }
    for (sums, tile) in sums.chunks_exact_mut(words).zip(tile) {
        let sums = &mut sums[at..at + NARROW];
        for v in 0..2 {
            // SAFETY: as above.
            unsafe {
                let place = sums.as_mut_ptr().add(4 * v).cast();
                _mm256_storeu_si256(place, _mm256_xor_si256(_mm256_loadu_si256(place), tile[v]));
            }
        }
    }
}
