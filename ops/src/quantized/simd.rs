//! The inner loops compiled for what the processor at hand offers.
//!
//! Every entry runs one safe, portable body. On x86-64 the body is compiled again with AVX2 and with AVX-512 and VNNI enabled,
//! with sums of products by intrinsics, and the best variant is chosen at run time.
#![allow(unsafe_code)]

use super::gemm::{LANES, Packed, product_by, sums};
use super::stage::Stage;

/// The place of a product's results: row r goes to `out[r * stride + first..]`.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) first: usize,
    pub(super) stride: usize,
}

/// Rows of length `packed.k` times packed weights, through the output stage.
pub(super) fn product(rows: &[i16], packed: &Packed, stage: &Stage, place: Place, out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    match x86::level() {
        // SAFETY: the processor has the features that the function is compiled for.
        x86::Level::Avx512 => return unsafe { x86::product_avx512(rows, packed, stage, place, out) },
        // SAFETY: as above.
        x86::Level::Avx2 => return unsafe { x86::product_avx2(rows, packed, stage, place, out) },
        x86::Level::Portable => {}
    }
    product_by::<4>(rows, packed, stage, place, out, sums::<4>);
}

/// Runs a body whose loops vectorise better with the features of this processor. The body is inlined into each variant.
pub(super) fn vectorised<T>(body: impl Vectorised<T>) -> T {
    #[cfg(target_arch = "x86_64")]
    match x86::level() {
        // SAFETY: the processor has the features that the function is compiled for.
        x86::Level::Avx512 => return unsafe { x86::run_avx512(body) },
        // SAFETY: as above.
        x86::Level::Avx2 => return unsafe { x86::run_avx2(body) },
        x86::Level::Portable => {}
    }
    body.run()
}

/// A body for [`vectorised`]; `run` is marked `#[inline(always)]`.
pub(super) trait Vectorised<T> {
    fn run(self) -> T;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Packed, Place, Stage, Vectorised, product_by};
    use std::arch::x86_64::*;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) enum Level {
        Portable,
        Avx2,
        Avx512,
    }

    pub(super) fn level() -> Level {
        // The detection keeps its result, so that asking is one load.
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            Level::Avx512
        } else if is_x86_feature_detected!("avx2") {
            Level::Avx2
        } else {
            Level::Portable
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn product_avx512(rows: &[i16], packed: &Packed, stage: &Stage, place: Place, out: &mut [u8]) {
        product_by::<8>(rows, packed, stage, place, out, |rows, block| sums_avx512(rows, block));
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn product_avx2(rows: &[i16], packed: &Packed, stage: &Stage, place: Place, out: &mut [u8]) {
        product_by::<4>(rows, packed, stage, place, out, |rows, block| sums_avx2(rows, block));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn run_avx512<T>(body: impl Vectorised<T>) -> T {
        body.run()
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn run_avx2<T>(body: impl Vectorised<T>) -> T {
        body.run()
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    fn sums_avx512<const M: usize>(rows: [&[i16]; M], block: &[[i16; 2 * LANES]]) -> [[i32; LANES]; M] {
        let rows = rows.map(|r| &r.as_chunks::<2>().0[..block.len()]);
        let mut acc = [_mm512_setzero_si512(); M];
        for (k, weights) in block.iter().enumerate() {
            // SAFETY: both types are 64 bytes of plain integers.
            let weights = unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) };
            for (acc, row) in acc.iter_mut().zip(&rows) {
                *acc = _mm512_dpwssd_epi32(*acc, _mm512_set1_epi32(pair(row[k])), weights);
            }
        }
        // SAFETY: as above.
        acc.map(|a| unsafe { std::mem::transmute::<__m512i, [i32; LANES]>(a) })
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn sums_avx2<const M: usize>(rows: [&[i16]; M], block: &[[i16; 2 * LANES]]) -> [[i32; LANES]; M] {
        let rows = rows.map(|r| &r.as_chunks::<2>().0[..block.len()]);
        let mut acc = [[_mm256_setzero_si256(); 2]; M];
        for (k, weights) in block.iter().enumerate() {
            let from: *const __m256i = weights.as_ptr().cast();
            // SAFETY: the block's 64 bytes are two vectors of 32.
            let (low, high) = unsafe { (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))) };
            for (acc, row) in acc.iter_mut().zip(&rows) {
                let x = _mm256_set1_epi32(pair(row[k]));
                acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(x, low));
                acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(x, high));
            }
        }
        // SAFETY: both types are 64 bytes of plain integers.
        acc.map(|a| unsafe { std::mem::transmute::<[__m256i; 2], [i32; LANES]>(a) })
    }

    #[inline(always)]
    fn pair([low, high]: [i16; 2]) -> i32 {
        i32::from(low as u16) | i32::from(high) << 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::Requant;
    use tandem_tensor::QuantParams;

    /// Portable sums against whatever this processor runs, through the output stage.
    #[test]
    fn every_variant_gives_the_same_codes() {
        let output = QuantParams::per_tensor(1.0, 3);
        let modes = [
            Requant::DoubleRounding { multiplier: 1_518_500_250, shift: -12 },
            Requant::Float { scale: 0.00013 },
            Requant::HalfAway { multiplier: 1_518_500_250, shift: 43 },
        ];
        for (n, k, rows) in [(1, 2, 1), (16, 6, 8), (17, 9, 11), (40, 33, 5), (5, 0, 3)] {
            let weights: Vec<i16> = (0..n * k).map(|i| (i * 8191 % 511) as i16 - 255).collect();
            let packed = Packed::from_rows(&weights, n, k);
            let x: Vec<i16> = (0..rows * packed.k).map(|i| (i * 7919 % 511) as i16 - 255).collect();
            for requant in modes {
                let stage = Stage::without_bias(vec![requant; n], &output, (-120, 110));
                let place = Place { first: 0, stride: n };
                let (mut best, mut portable) = (vec![0u8; rows * n], vec![0u8; rows * n]);
                product(&x, &packed, &stage, place, &mut best);
                product_by::<4>(&x, &packed, &stage, place, &mut portable, sums::<4>);
                assert_eq!(best, portable, "{n} {k} {rows} {requant:?}");
                #[cfg(target_arch = "x86_64")]
                if x86::level() != x86::Level::Portable {
                    let mut narrow = vec![0u8; rows * n];
                    // SAFETY: every level but the portable one has AVX2.
                    unsafe { x86::product_avx2(&x, &packed, &stage, place, &mut narrow) };
                    assert_eq!(narrow, portable);
                }
            }
        }
    }
}
