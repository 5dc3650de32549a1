//! Many requests with instructions for products of 8 x 8 bits: those of GFNI in vectors of AVX-512.
//!
//! Eight requests' bits of eight buckets are a matrix, and so are a byte of each of these buckets; their product over GF(2) is that
//! byte of the eight sums. An instruction makes eight such products, which is eight times what masks sum. The bytes of a bucket have
//! to be brought together with those of seven others and the matrices turned first, once for all requests.
//!
//! Sums are kept as the products leave them: a word has a byte of eight requests, words are in the order in which 24 unpacking
//! instructions put them, and [`join`] puts the bytes into their places at the end.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::{BUCKETS, Block};
use std::arch::x86_64::*;

/// Requests of a matrix.
pub(super) const GROUP: usize = 8;
/// Words of a bucket that are a vector, and the vectors that eight buckets of them become.
const VECTOR: usize = 8;

/// Whether the processor has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Words of the sums of so many requests.
pub(super) fn room(queries: usize, words: usize) -> usize {
    queries.div_ceil(GROUP) * GROUP * words.next_multiple_of(VECTOR)
}

/// Adds the sums of a block to those of all requests, which have the [`room`].
#[target_feature(enable = "gfni,avx512f,avx512bw")]
pub(super) fn sum(block: Block<'_>) {
    let Block { db, words, columns, requests, length, block, sums } = block;
    let factors: Vec<[u64; 8]> =
        requests.chunks(GROUP * length).map(|requests| factors(requests, length, block)).collect();
    let pitch = GROUP * words.next_multiple_of(VECTOR);
    assert!(columns.start.is_multiple_of(VECTOR) && sums.len() == factors.len() * pitch);
    for at in columns.clone().step_by(VECTOR) {
        let width = VECTOR.min(columns.end - at);
        let mut matrices = [[_mm512_setzero_si512(); 8]; BUCKETS / 8];
        for (matrices, db) in matrices.iter_mut().zip(db.chunks(8 * words)) {
            *matrices = turned(db, words, at, width);
        }
        for (factors, sums) in factors.iter().zip(sums.chunks_exact_mut(pitch)) {
            let sums = &mut sums[at * GROUP..][..VECTOR * GROUP];
            let mut acc = [_mm512_setzero_si512(); 8];
            for k in 0..8 {
                // SAFETY: the slice has eight vectors of eight words.
                acc[k] = unsafe { _mm512_loadu_si512(sums.as_ptr().add(8 * k).cast()) };
            }
            // Two products and a sum are joined by one instruction.
            for (matrices, factors) in matrices.chunks_exact(2).zip(factors.chunks_exact(2)) {
                let (a, b) = (_mm512_set1_epi64(factors[0].cast_signed()), _mm512_set1_epi64(factors[1].cast_signed()));
                for k in 0..8 {
                    let a = _mm512_gf2p8affine_epi64_epi8::<0>(a, matrices[0][k]);
                    let b = _mm512_gf2p8affine_epi64_epi8::<0>(b, matrices[1][k]);
                    acc[k] = _mm512_ternarylogic_epi64::<0x96>(acc[k], a, b);
                }
            }
            for k in 0..8 {
                // SAFETY: as above.
                unsafe { _mm512_storeu_si512(sums.as_mut_ptr().add(8 * k).cast(), acc[k]) };
            }
        }
    }
}

/// For every eight buckets of a block a byte of each of eight requests; absent requests ask for nothing.
fn factors(requests: &[u64], length: usize, block: usize) -> [u64; 8] {
    let mut bits = [[0u8; 8]; GROUP];
    bits.iter_mut().zip(requests.chunks_exact(length)).for_each(|(bits, request)| *bits = request[block].to_le_bytes());
    std::array::from_fn(|byte| u64::from_le_bytes(std::array::from_fn(|request| bits[request][byte])))
}

/// The matrices of up to eight buckets' words from `at` on. Word `p` of a 128-bit lane `l` of vector `k` is that of byte
/// `16 l + 2 k + p`.
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn turned(db: &[u64], words: usize, at: usize, width: usize) -> [__m512i; 8] {
    assert!((1..=VECTOR).contains(&width));
    let lanes = u8::MAX >> (VECTOR - width);
    // The instruction takes the last byte of a word as the first row of its matrix.
    let mut x = [_mm512_setzero_si512(); 8];
    for (bucket, x) in db.chunks_exact(words).zip(x.iter_mut().rev()) {
        // SAFETY: the slice has as many words as lanes that are read.
        *x = unsafe { _mm512_maskz_loadu_epi64(lanes, bucket[at..at + width].as_ptr().cast()) };
    }
    let mut y = x;
    for i in 0..4 {
        y[i] = _mm512_unpacklo_epi8(x[2 * i], x[2 * i + 1]);
        y[4 + i] = _mm512_unpackhi_epi8(x[2 * i], x[2 * i + 1]);
    }
    for half in 0..2 {
        for i in 0..2 {
            x[4 * half + i] = _mm512_unpacklo_epi16(y[4 * half + 2 * i], y[4 * half + 2 * i + 1]);
            x[4 * half + 2 + i] = _mm512_unpackhi_epi16(y[4 * half + 2 * i], y[4 * half + 2 * i + 1]);
        }
    }
    for quarter in 0..4 {
        y[2 * quarter] = _mm512_unpacklo_epi32(x[2 * quarter], x[2 * quarter + 1]);
        y[2 * quarter + 1] = _mm512_unpackhi_epi32(x[2 * quarter], x[2 * quarter + 1]);
    }
    // The product with the unit matrix, its rows in the other order, is the other matrix turned.
    let unit = _mm512_set1_epi64(0x0102_0408_1020_4080);
    for k in 0..8 {
        y[k] = _mm512_gf2p8affine_epi64_epi8::<0>(unit, y[k]);
    }
    y
}

/// Adds the sums of [`sum`] to the results, `words` of each request.
pub(super) fn join(sums: &[u64], words: usize, out: &mut [u64]) {
    let pitch = GROUP * words.next_multiple_of(VECTOR);
    for (sums, out) in sums.chunks_exact(pitch).zip(out.chunks_mut(GROUP * words)) {
        for (at, &word) in sums.iter().enumerate() {
            let (vector, place) = (at / 64, at % 64);
            let byte = 64 * vector + place % 8 / 2 * 16 + place / 8 * 2 + place % 2;
            let column = byte / 8;
            for (out, bits) in out.chunks_exact_mut(words).zip(word.to_le_bytes()) {
                if let Some(out) = out.get_mut(column) {
                    *out ^= u64::from(bits) << (8 * (byte % 8));
                }
            }
        }
    }
}
