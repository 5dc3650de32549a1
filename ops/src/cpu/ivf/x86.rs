//! Inner products of codes with the instructions for them.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Products of a vector with queries that are 128 more than they are as bytes without a sign, and with itself if that is asked for.
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI. Every query has as many codes as the vector, rounded up to 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn products_avx512<const Q: usize>(vector: &[i8], queries: [&[i8]; Q], own: bool) -> ([i32; Q], i32) {
    let mut sums = [_mm512_setzero_si512(); Q];
    let (mut all, mut square) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let (ones, sign) = (_mm512_set1_epi8(1), _mm512_set1_epi8(i8::MIN));
    for (at, chunk) in vector.chunks(64).enumerate() {
        // Codes beyond the end are zeros, whose products are zero whatever the query has there.
        let mask = u64::MAX >> (64 - chunk.len());
        // SAFETY: the mask leaves the codes of the chunk; a query has whole chunks of them.
        let x = unsafe { _mm512_maskz_loadu_epi8(mask, chunk.as_ptr()) };
        for (sum, query) in sums.iter_mut().zip(queries) {
            debug_assert!(query.len() >= at * 64 + 64);
            // SAFETY: as above.
            let q = unsafe { _mm512_loadu_si512(query.as_ptr().add(at * 64).cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, q, x);
        }
        all = _mm512_dpbusd_epi32(all, ones, x);
        if own {
            square = _mm512_dpbusd_epi32(square, _mm512_xor_si512(x, sign), x);
        }
    }
    let more = _mm512_reduce_add_epi32(all).wrapping_mul(128);
    let products = sums.map(|sum| _mm512_reduce_add_epi32(sum).wrapping_sub(more));
    (products, if own { _mm512_reduce_add_epi32(square).wrapping_sub(more) } else { 0 })
}

/// Products of a vector with queries, and with itself if that is asked for.
///
/// # Safety
/// The processor has AVX2. Every query has as many codes as the vector.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn products_avx2<const Q: usize>(vector: &[i8], queries: [&[i8]; Q], own: bool) -> ([i32; Q], i32) {
    let mut sums = [_mm256_setzero_si256(); Q];
    let mut square = _mm256_setzero_si256();
    let (whole, rest) = vector.as_chunks::<16>();
    for (at, chunk) in whole.iter().enumerate() {
        // SAFETY: both have 16 codes there.
        let x = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) });
        for (sum, query) in sums.iter_mut().zip(queries) {
            debug_assert!(query.len() >= at * 16 + 16);
            // SAFETY: as above.
            let q = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(query.as_ptr().add(at * 16).cast()) });
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, x));
        }
        if own {
            square = _mm256_add_epi32(square, _mm256_madd_epi16(x, x));
        }
    }
    let last = |query: &[i8]| {
        let pairs = query[whole.len() * 16..].iter().zip(rest);
        pairs.map(|(&q, &x)| i32::from(q) * i32::from(x)).sum::<i32>()
    };
    let mut products = [0; Q];
    for ((product, sum), query) in products.iter_mut().zip(sums).zip(queries) {
        *product = total(sum).wrapping_add(last(query));
    }
    (products, if own { total(square).wrapping_add(last(vector)) } else { 0 })
}

#[target_feature(enable = "avx2")]
fn total(x: __m256i) -> i32 {
    let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
    _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32::<0b00_00_00_01>(x)))
}
