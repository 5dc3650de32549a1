//! GEMM kernels for x86-64 and the vectors of everything else, chosen at run time.
//!
//! A kernel computes a tile: it keeps the sums of a few rows of ACC in registers and goes through all products that they take,
//! reading each vector of weights once. Everything unsafe here relies on two facts: the host has the features of the kernel, and
//! every index of the call lies inside its scratchpad.

use std::arch::x86_64::*;

use crate::gemm::{Form, GemmCall, Kernel, Work};
use crate::sums::{Start, Sums, Target, Term};

/// Whether this host runs [`Kernel::Avx2`].
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether this host runs [`Kernel::Vnni`].
pub(crate) fn has_vnni() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Does work with the vectors of a kernel, where the host has them.
pub(crate) fn run(kernel: Kernel, work: impl Work) {
    #[target_feature(enable = "avx2")]
    fn avx2(work: impl Work) {
        work.run();
    }
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn vnni(work: impl Work) {
        work.run();
    }
    match kernel {
        // SAFETY: the host has the features.
        Kernel::Vnni if has_vnni() => unsafe { vnni(work) },
        // SAFETY: as above.
        Kernel::Avx2 if has_avx2() => unsafe { avx2(work) },
        _ => work.run(),
    }
}

/// Packs elements of WGT as `Form::Quads` has them, with their corrections, where the host has the kernel.
pub(crate) fn pack_quads(wgt: &[u8], blocks: [usize; 2], weights: &mut [u8], corrections: &mut [i32]) {
    let elements = wgt.len() / (blocks[0] * blocks[1]);
    if has_vnni() && weights.len() == wgt.len() && corrections.len() == elements * blocks[1] {
        // SAFETY: the host has the features, and the lengths are those of so many elements.
        unsafe { vnni::pack(wgt, elements, blocks, weights, corrections) };
    }
}

/// What a kernel reads, in words of 32 bits: a few inputs, and as many weights of one output lane.
#[derive(Clone, Copy)]
struct Operands {
    acc: *mut i32,
    inputs: *const i32,
    weights: *const i32,
    /// Added with each product: one word for each output lane of an element of WGT.
    corrections: *const i32,
    /// Words in a row of inputs.
    words: usize,
}

/// Adds the sums of a call where `kernel` is one of this file and the host has it; false otherwise.
///
/// The caller has checked with `GemmCall::in_range` that all indices are inside the scratchpads.
pub(crate) fn gemm(call: &mut GemmCall, kernel: Kernel, block_in: usize, block_out: usize) -> bool {
    let acc = call.acc.as_mut_ptr();
    match (kernel, &call.packed.form) {
        (Kernel::Vnni, Form::Quads { weights, corrections, inputs }) if has_vnni() => {
            let (inputs, weights) = (inputs.as_ptr().cast(), weights.as_ptr().cast());
            let corrections = corrections.as_ptr();
            let operands = Operands { acc, inputs, weights, corrections, words: block_in / 4 };
            // SAFETY: the host has the features, the caller has checked every index, and a word is four inputs.
            unsafe {
                match block_out {
                    4 => vnni::lanes4::<4>(call.sums, operands),
                    8 => vnni::lanes8::<8>(call.sums, operands),
                    16 => vnni::lanes16::<16>(call.sums, operands),
                    32 => vnni::lanes32::<32>(call.sums, operands),
                    _ => return false,
                }
            }
            true
        }
        (Kernel::Avx2, Form::Pairs { weights, inputs }) if has_avx2() => {
            let (inputs, weights) = (inputs.as_ptr().cast(), weights.as_ptr().cast());
            let operands = Operands { acc, inputs, weights, corrections: std::ptr::null(), words: block_in / 2 };
            // SAFETY: as above, but a word is two inputs.
            unsafe {
                match block_out {
                    4 => avx2::lanes4::<4>(call.sums, operands),
                    8 => avx2::lanes8::<8>(call.sums, operands),
                    16 => avx2::lanes16::<16>(call.sums, operands),
                    32 => avx2::lanes16::<32>(call.sums, operands),
                    _ => return false,
                }
            }
            true
        }
        _ => false,
    }
}

/// A kernel of `$columns` vectors of output lanes at once.
///
/// `$chains` is, by the number of targets, how many words are taken at once, each into sums of its own: where targets are few,
/// products would wait for those before them. Where they are many, there are no registers for more than one word.
macro_rules! kernel {
    (
        $name:ident, $features:literal, $Vector:ty, $lanes:literal, $columns:literal, $corrected:literal,
        $load:ident, $store:ident, $spread:ident, $add:ident, $dot:ident, [$($targets:literal: $chains:literal),*]
    ) => {
        /// The kernel for `LANES` output lanes.
        ///
        /// # Safety
        /// The host has the features, and all that the sums name is inside the operands.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name<const LANES: usize>(sums: &Sums, operands: Operands) {
            /// One tile, the lanes from `lane`; `CHAINS` divides the number of words.
            ///
            /// # Safety
            /// As the kernel.
            #[target_feature(enable = $features)]
            unsafe fn tile<const LANES: usize, const TARGETS: usize, const CHAINS: usize>(
                operands: Operands,
                lane: usize,
                start: Start,
                targets: &[Target; TARGETS],
                terms: &[Term],
            ) {
                let words = operands.words;
                // SAFETY: an element of WGT is `words * LANES` words, and `LANES` corrections; a row of INP is `words` words and one
                // of ACC `LANES`. All that targets and terms name is inside the operands.
                unsafe {
                    let zero = $spread(0);
                    let mut sums = [[[zero; $columns]; CHAINS]; TARGETS];
                    let mut correction = [zero; $columns];
                    let rows = targets.map(|target| operands.inputs.add((start.inp + target.inp) as usize * words));
                    for term in terms {
                        let element = (start.wgt + term.wgt) as usize * LANES;
                        let behind = term.inp as isize * words as isize;
                        for word in (0..words).step_by(CHAINS) {
                            for chain in 0..CHAINS {
                                let word = word + chain;
                                let mut weights = [zero; $columns];
                                for (column, weights) in weights.iter_mut().enumerate() {
                                    let at = element * words + word * LANES + lane + column * $lanes;
                                    *weights = $load(operands.weights.add(at).cast());
                                }
                                for (row, sums) in rows.iter().zip(&mut sums) {
                                    let inputs = $spread(row.offset(behind).add(word).read_unaligned());
                                    for (sum, weights) in sums[chain].iter_mut().zip(weights) {
                                        *sum = $dot(*sum, inputs, weights);
                                    }
                                }
                            }
                        }
                        if $corrected {
                            for (column, correction) in correction.iter_mut().enumerate() {
                                let more = operands.corrections.add(element + lane + column * $lanes);
                                *correction = $add(*correction, $load(more.cast()));
                            }
                        }
                    }
                    for (target, sums) in targets.iter().zip(&sums) {
                        let row = operands.acc.add((start.acc + target.acc) as usize * LANES + lane);
                        for (column, correction) in correction.iter().enumerate() {
                            let acc: *mut $Vector = row.add(column * $lanes).cast();
                            let mut sum = $add($load(acc.cast_const().cast()), *correction);
                            for sums in sums {
                                sum = $add(sum, sums[column]);
                            }
                            $store(acc.cast(), sum);
                        }
                    }
                }
            }
            const MOST: usize = [$($targets),*].len();
            sums.tiles(MOST, |start, targets, terms| {
                for lane in (0..LANES).step_by($columns * $lanes) {
                    match targets.len() {
                        $($targets => {
                            let Some(targets) = targets.first_chunk::<$targets>() else { return };
                            // SAFETY: as the kernel.
                            unsafe {
                                if operands.words.is_multiple_of($chains) {
                                    tile::<LANES, $targets, $chains>(operands, lane, start, targets, terms);
                                } else {
                                    tile::<LANES, $targets, 1>(operands, lane, start, targets, terms);
                                }
                            }
                        })*
                        _ => {}
                    }
                }
            });
        }
    };
}

/// Dot products of four bytes, the inputs unsigned.
mod vnni {
    use super::*;

    /// Transposes elements of groups of four bytes.
    ///
    /// # Safety
    /// The host has the features, and there are so many elements in each slice.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) unsafe fn pack(
        wgt: &[u8],
        elements: usize,
        [block_in, block_out]: [usize; 2],
        weights: &mut [u8],
        corrections: &mut [i32],
    ) {
        let (weights, corrections): (*mut i32, _) = (weights.as_mut_ptr().cast(), corrections.as_mut_ptr());
        let (zero, quads) = (_mm512_setzero_si512(), block_in / 4);
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let rows = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(block_in as i32));
        let mask = ((1u32 << block_out.min(16)) - 1) as u16;
        for row in (0..elements * block_out).step_by(block_out.min(16)) {
            let (element, lane) = (row / block_out, row % block_out);
            let mut sums = zero;
            for quad in 0..quads {
                // SAFETY: `mask` has as many rows of `block_in` bytes from `row` as there are in the element, 16 at most.
                unsafe {
                    let from = wgt.as_ptr().add(row * block_in + 4 * quad);
                    let column = _mm512_mask_i32gather_epi32::<1>(zero, mask, rows, from.cast());
                    let to = weights.add((element * quads + quad) * block_out + lane);
                    _mm512_mask_storeu_epi32(to, mask, column);
                    // The weights by 128.
                    sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(0x8080_8080u32 as i32), column);
                }
            }
            // SAFETY: as above; each row has a correction.
            unsafe { _mm512_mask_storeu_epi32(corrections.add(row), mask, _mm512_sub_epi32(zero, sums)) };
        }
    }

    macro_rules! quads {
        (
            $name:ident, $Vector:ty, $lanes:literal, $columns:literal,
            $load:ident, $store:ident, $spread:ident, $add:ident, $dot:ident
        ) => {
            kernel!(
                $name, "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", $Vector, $lanes, $columns, true,
                $load, $store, $spread, $add, $dot, [1: 4, 2: 4, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1]
            );
        };
    }

    quads!(lanes4, __m128i, 4, 1, _mm_loadu_si128, _mm_storeu_si128, _mm_set1_epi32, _mm_add_epi32, _mm_dpbusd_epi32);
    quads!(
        lanes8,
        __m256i,
        8,
        1,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_set1_epi32,
        _mm256_add_epi32,
        _mm256_dpbusd_epi32
    );
    quads!(
        lanes16,
        __m512i,
        16,
        1,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_set1_epi32,
        _mm512_add_epi32,
        _mm512_dpbusd_epi32
    );
    kernel!(
        lanes32, "avx2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", __m512i, 16, 2, true,
        _mm512_loadu_si512, _mm512_storeu_si512, _mm512_set1_epi32, _mm512_add_epi32, _mm512_dpbusd_epi32,
        [1: 4, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1]
    );
}

/// Multiply-adds of pairs of 16-bit values, at most 256 bits wide. The sums of a target wait for an addition alone.
mod avx2 {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn dot128(sums: __m128i, inputs: __m128i, weights: __m128i) -> __m128i {
        _mm_add_epi32(sums, _mm_madd_epi16(inputs, weights))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn dot256(sums: __m256i, inputs: __m256i, weights: __m256i) -> __m256i {
        _mm256_add_epi32(sums, _mm256_madd_epi16(inputs, weights))
    }

    kernel!(
        lanes4, "avx2", __m128i, 4, 1, false,
        _mm_loadu_si128, _mm_storeu_si128, _mm_set1_epi32, _mm_add_epi32, dot128,
        [1: 2, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1]
    );
    kernel!(
        lanes8, "avx2", __m256i, 8, 1, false,
        _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi32, _mm256_add_epi32, dot256,
        [1: 2, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1]
    );
    kernel!(
        lanes16, "avx2", __m256i, 8, 2, false,
        _mm256_loadu_si256, _mm256_storeu_si256, _mm256_set1_epi32, _mm256_add_epi32, dot256,
        [1: 1, 2: 1, 3: 1, 4: 1]
    );
}
