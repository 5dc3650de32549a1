//! GEMM kernels for x86-64, chosen at run time.
//!
//! A kernel keeps the weights of a micro-op in registers while the inner loop runs, and computes all output lanes of a row at
//! once. Everything unsafe here relies on one fact, which [`gemm`] is given by its caller: every index of the call lies inside
//! its scratchpad.

use std::arch::x86_64::*;

use crate::gemm::{GemmCall, Kernel, Packed};

/// Whether this host runs [`Kernel::Avx2`].
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether this host runs [`Kernel::Vnni`].
pub(crate) fn has_vnni() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Pointers and strides of one micro-op in one turn of the outer loop.
///
/// The pointers are at the first element of the inner loop; the steps are in elements of the pointed-to type.
struct Run {
    acc: *mut i32,
    acc_step: usize,
    inp: *const u8,
    inp_step: usize,
    count: usize,
    batch: usize,
}

/// Runs the call where `kernel` is one of this file and the host has it; false otherwise.
///
/// The caller has checked with `GemmCall::in_range` that all indices are inside the scratchpads.
pub(crate) fn gemm(call: &mut GemmCall, kernel: Kernel, block_in: usize, block_out: usize) -> bool {
    macro_rules! by_block {
        ($vectors:ident) => {
            match (block_in, block_out) {
                (4, 4) => $vectors::lanes4::<1, 1>(call),
                (8, 4) => $vectors::lanes4::<2, 1>(call),
                (16, 4) => $vectors::lanes4::<4, 1>(call),
                (32, 4) => $vectors::lanes4::<8, 1>(call),
                (4, 8) => $vectors::lanes8::<1, 1>(call),
                (8, 8) => $vectors::lanes8::<2, 1>(call),
                (16, 8) => $vectors::lanes8::<4, 1>(call),
                (32, 8) => $vectors::lanes8::<8, 1>(call),
                (4, 16) => $vectors::lanes16::<1, 1>(call),
                (8, 16) => $vectors::lanes16::<2, 1>(call),
                (16, 16) => $vectors::lanes16::<4, 1>(call),
                (32, 16) => $vectors::lanes16::<8, 1>(call),
                (4, 32) => $vectors::lanes16::<1, 2>(call),
                (8, 32) => $vectors::lanes16::<2, 2>(call),
                (16, 32) => $vectors::lanes16::<4, 2>(call),
                (32, 32) => $vectors::lanes16::<8, 2>(call),
                _ => return false,
            }
        };
    }
    match (kernel, call.packed) {
        (Kernel::Vnni, Packed::Quads { .. }) if has_vnni() => {
            // SAFETY: the host has the features of this family, and the caller has checked every index.
            unsafe { by_block!(vnni) };
            true
        }
        (Kernel::Avx2, Packed::Pairs { .. }) if has_avx2() => {
            // SAFETY: as above.
            unsafe { by_block!(pairs) };
            true
        }
        _ => false,
    }
}

/// Walks the loops of a call: once per micro-op with all turns of the inner loop where they share the weights, otherwise turn by
/// turn. `$body` sees a [`Run`] as `$run` and the index of the WGT element as `$wgt`.
macro_rules! walk {
    ($call:ident, $bi:expr, $bo:expr, $run:ident, $wgt:ident, $body:block) => {{
        let (outer, inner, batch) = ($call.outer, $call.inner, $call.batch);
        let (acc, inp) = ($call.acc.as_mut_ptr(), $call.inp.as_ptr());
        let (acc_elem, inp_elem) = (batch * $bo, batch * $bi);
        for y in $call.first..$call.first + outer.count {
            for uop in $call.uops {
                let dst = (uop.dst + y * outer.dst) as usize;
                let src = (uop.src + y * outer.src) as usize;
                let wgt = (uop.wgt + y * outer.wgt) as usize;
                let turns = if inner.wgt == 0 { 1 } else { inner.count as usize };
                for x in 0..turns {
                    let $run = Run {
                        // SAFETY: the element lies inside the scratchpad.
                        acc: unsafe { acc.add((dst + x * inner.dst as usize) * acc_elem) },
                        acc_step: inner.dst as usize * acc_elem,
                        // SAFETY: as above.
                        inp: unsafe { inp.add((src + x * inner.src as usize) * inp_elem) },
                        inp_step: inner.src as usize * inp_elem,
                        count: inner.count as usize / turns,
                        batch,
                    };
                    let $wgt = wgt + x * inner.wgt as usize;
                    $body
                }
            }
        }
    }};
}

/// Dot products of four bytes: inputs made unsigned by flipping their sign bit, weights signed, and a correction per weight row.
mod vnni {
    use super::*;

    macro_rules! kernel {
        ($name:ident, $Vector:ty, $lanes:literal, $load:ident, $store:ident, $set1:ident, $xor:ident, $add:ident, $dot:ident) => {
            /// The kernel for `$lanes * COLUMNS` output lanes and `4 * QUADS` input lanes.
            ///
            /// # Safety
            /// The host has AVX-512 F, BW, VL and VNNI, and every index of the call is inside its scratchpad.
            #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
            pub(super) unsafe fn $name<const QUADS: usize, const COLUMNS: usize>(call: &mut GemmCall) {
                let Packed::Quads { data, correction, .. } = call.packed else { return };
                let (data, correction) = (data.as_ptr(), correction.as_ptr());
                let (bi, bo) = (4 * QUADS, $lanes * COLUMNS);
                walk!(call, bi, bo, run, wgt, {
                    for column in 0..COLUMNS {
                        // SAFETY: a WGT element is `bi * bo` packed bytes and `bo` corrections; the rows of INP and ACC that the
                        // run steps over lie inside their scratchpads, `bi` bytes and `bo` words each.
                        unsafe {
                            let mut weights: [$Vector; QUADS] = [$set1(0); QUADS];
                            for (quad, weights) in weights.iter_mut().enumerate() {
                                *weights = $load(data.add(wgt * bi * bo + (quad * bo + column * $lanes) * 4).cast());
                            }
                            let correction = $load(correction.add(wgt * bo + column * $lanes).cast());
                            let flip = $set1(0x8080_8080u32 as i32);
                            for x in 0..run.count {
                                for b in 0..run.batch {
                                    let acc = run.acc.add(x * run.acc_step + b * bo + column * $lanes);
                                    let inp = run.inp.add(x * run.inp_step + b * bi).cast::<i32>();
                                    let mut sums = $add($load(acc.cast()), correction);
                                    for (quad, weights) in weights.iter().enumerate() {
                                        let inputs = $xor($set1(inp.add(quad).read_unaligned()), flip);
                                        sums = $dot(sums, inputs, *weights);
                                    }
                                    $store(acc.cast(), sums);
                                }
                            }
                        }
                    }
                });
            }
        };
    }

    kernel!(
        lanes4,
        __m128i,
        4,
        _mm_loadu_si128,
        _mm_storeu_si128,
        _mm_set1_epi32,
        _mm_xor_si128,
        _mm_add_epi32,
        _mm_dpbusd_epi32
    );
    kernel!(
        lanes8,
        __m256i,
        8,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_set1_epi32,
        _mm256_xor_si256,
        _mm256_add_epi32,
        _mm256_dpbusd_epi32
    );
    kernel!(
        lanes16,
        __m512i,
        16,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_set1_epi32,
        _mm512_xor_si512,
        _mm512_add_epi32,
        _mm512_dpbusd_epi32
    );
}

/// Multiply-adds of pairs of 16-bit values, at most 256 bits wide.
mod pairs {
    use super::*;

    macro_rules! kernel {
        ($name:ident, $Vector:ty, $lanes:literal, $load:ident, $store:ident, $spread:ident, $add:ident, $madd:ident) => {
            /// The kernel for `$lanes * COLUMNS` output lanes and `4 * QUADS` input lanes.
            ///
            /// # Safety
            /// The host has AVX2, and every index of the call is inside its scratchpad.
            #[target_feature(enable = "avx2")]
            pub(super) unsafe fn $name<const QUADS: usize, const COLUMNS: usize>(call: &mut GemmCall) {
                let Packed::Pairs { data, .. } = call.packed else { return };
                let data = data.as_ptr();
                let (bi, bo) = (4 * QUADS, $lanes * COLUMNS);
                walk!(call, bi, bo, run, wgt, {
                    for column in 0..COLUMNS {
                        // SAFETY: a WGT element is `bi * bo` packed 16-bit values; the rows of INP and ACC that the run steps
                        // over lie inside their scratchpads, `bi` bytes and `bo` words each.
                        unsafe {
                            let mut weights: [[$Vector; 2]; QUADS] = [[$spread(_mm_setzero_si128()); 2]; QUADS];
                            for (pair, weights) in weights.as_flattened_mut().iter_mut().enumerate() {
                                *weights = $load(data.add(wgt * bi * bo + (pair * bo + column * $lanes) * 2).cast());
                            }
                            for x in 0..run.count {
                                for b in 0..run.batch {
                                    let acc = run.acc.add(x * run.acc_step + b * bo + column * $lanes);
                                    let inp = run.inp.add(x * run.inp_step + b * bi).cast::<i32>();
                                    let mut sums = $load(acc.cast_const().cast());
                                    for (quad, [first, second]) in weights.iter().enumerate() {
                                        let four = _mm_cvtepi8_epi16(_mm_cvtsi32_si128(inp.add(quad).read_unaligned()));
                                        sums = $add(sums, $madd($spread(four), *first));
                                        sums = $add(sums, $madd($spread(_mm_srli_si128::<4>(four)), *second));
                                    }
                                    $store(acc.cast(), sums);
                                }
                            }
                        }
                    }
                });
            }
        };
    }

    kernel!(lanes4, __m128i, 4, _mm_loadu_si128, _mm_storeu_si128, _mm_broadcastd_epi32, _mm_add_epi32, _mm_madd_epi16);
    kernel!(
        lanes8,
        __m256i,
        8,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_broadcastd_epi32,
        _mm256_add_epi32,
        _mm256_madd_epi16
    );

    /// Sixteen lanes are two halves of eight.
    ///
    /// # Safety
    /// As [`lanes8`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn lanes16<const QUADS: usize, const COLUMNS: usize>(call: &mut GemmCall) {
        // SAFETY: passed on to the caller.
        unsafe {
            match COLUMNS {
                1 => lanes8::<QUADS, 2>(call),
                _ => lanes8::<QUADS, 4>(call),
            }
        }
    }
}
