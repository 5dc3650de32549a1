//! The output stage with AVX-512.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are named by constants, which iterators would hide")]

use super::LANES;
use super::factor::Factor;
use super::pack::{Form, Quad};
use super::tile::Tiles;
use crate::arith::BELOW_HALF;
use crate::quantized::stage::{Scale, Stage, lanes};
use std::arch::x86_64::*;

/// Sixteen constants.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(list: &[i32], first: usize) -> __m512i {
    // SAFETY: sixteen of them are there.
    unsafe { _mm512_loadu_si512(lanes(list, first).as_ptr().cast()) }
}

/// Runs a statement for every row below a constant. A loop would not be unrolled, since its body is long, and sums that are found by
/// a number would have to lie in memory.
macro_rules! for_rows {
    ($rows:ident, $r:ident, $body:expr) => {
        for_rows!($rows, $r, $body; 0 1 2 3 4 5 6 7)
    };
    ($rows:ident, $r:ident, $body:expr; $($row:literal)*) => {
        $(if $row < $rows {
            let $r = $row;
            $body
        })*
    };
}

/// Writes the codes of a tile's sums with their bias, from the block's row `begin` on.
///
/// # Safety
/// As for [`counted`].
#[inline(always)]
pub(super) unsafe fn finish<const ROWS: usize, const VECTORS: usize>(
    tiles: &Tiles<'_, Quad>,
    write: &Write,
    begin: usize,
    acc: [[__m512i; VECTORS]; ROWS],
) {
    // The lists of `for_rows`: what is beyond them would not be written.
    const { assert!(ROWS <= 8 && (ROWS * VECTORS).div_ceil(4) <= 6) };
    let stage = tiles.stage;
    let first = tiles.place.first + tiles.first;
    // SAFETY: the caller's; sixteen factors are there, and sums of a vector are 64 bytes of plain integers.
    unsafe {
        match &stage.scale {
            Scale::Float(scale) => {
                let load = |v| _mm512_loadu_ps(lanes(scale, first + v * LANES).as_ptr());
                let scale: [__m512; VECTORS] = std::array::from_fn(load);
                if let Some(run) = &write.run {
                    let round = Single { scale };
                    write.panel(tiles, run, begin, acc, round);
                    return;
                }
                for_rows!(ROWS, r, write.float(tiles, begin + r, acc[r], scale));
            }
            Scale::Double { multiplier, shift } if let Some(run) = &write.run => {
                let multiplier: [__m512i; VECTORS] = std::array::from_fn(|v| load(multiplier, first + v * LANES));
                let shift: [__m512i; VECTORS] = std::array::from_fn(|v| load(shift, first + v * LANES));
                let factor: [Factor; VECTORS] = std::array::from_fn(|v| Factor::new(multiplier[v], shift[v]));
                let round = Twice { factor };
                write.panel(tiles, run, begin, acc, round);
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
            Scale::Dense(scale) if let Some(run) = &write.run => {
                let round = Real::<VECTORS> { scale: std::array::from_fn(|v| lanes(scale, first + v * LANES)) };
                write.panel(tiles, run, begin, acc, round);
            }
            _ => {
                for (r, acc) in acc.into_iter().enumerate() {
                    for (v, acc) in counted(tiles, begin + r, acc).into_iter().enumerate() {
                        let sums = std::mem::transmute::<__m512i, [i32; LANES]>(acc);
                        tiles.write(begin + r, v, &stage.codes(first + v * LANES, sums));
                    }
                }
            }
        }
    }
}

/// The sums of a row counted from the zero points of the weights.
///
/// # Safety
/// The processor has AVX-512; what calls it is compiled for it. As all that is called for every row, it is inlined whatever its
/// size: sums would go through memory.
#[inline(always)]
unsafe fn counted<const VECTORS: usize>(
    tiles: &Tiles<'_, Quad>,
    at: usize,
    acc: [__m512i; VECTORS],
) -> [__m512i; VECTORS] {
    let Some(&row) = tiles.sums.get(at) else { return acc };
    // SAFETY: the caller's.
    std::array::from_fn(|v| unsafe {
        let zeros = load(tiles.zeros, tiles.first + v * LANES);
        _mm512_sub_epi32(acc[v], _mm512_mullo_epi32(_mm512_set1_epi32(row), zeros))
    })
}

/// Moves rounded sums by the zero point, clamps and writes them. The constants are read once for a panel: the compiler cannot know
/// that writing codes leaves them as they are.
pub(super) struct Write {
    /// Sixty-four codes at once: a whole panel, and a zero point that fits where sums have saturated to 16 bits.
    whole: bool,
    /// The places of four vectors of codes, where they follow each other.
    run: Option<Run>,
    signed: bool,
    /// No sum times its factor leaves 32 bits, or sums that are rounded twice are below 2^30; else the largest code, `most`, of
    /// real factors is reached in reals.
    tame: bool,
    most: __m512,
    zero: __m512i,
    lo: __m512i,
    hi: __m512i,
}

impl Write {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn new(tiles: &Tiles<'_, Quad>) -> Write {
        let Stage { zero_point, lo, hi, ref scale, .. } = *tiles.stage;
        let narrow = tiles.stage.is_narrow();
        let tame = tiles.stage.tame
            && match scale {
                Scale::Float(_) | Scale::Dense(_) => true,
                // A product is of 8 bits without sign and 7 bits and a sign.
                _ => tiles.offsets.len() * Quad::GROUP < 1 << (29 - 15),
            };
        let run = Run::new(tiles).filter(|_| narrow && tame && tiles.sums.is_empty());
        let whole = narrow && (tiles.outputs == 4 * LANES || run.is_some());
        let most = _mm512_set1_ps(hi.saturating_sub(zero_point) as f32);
        let (zero, least, largest) = if whole {
            (_mm512_set1_epi16(zero_point as i16), _mm512_set1_epi8(lo as i8), _mm512_set1_epi8(hi as i8))
        } else {
            let below = |limit: i32| _mm512_set1_epi32(limit.saturating_sub(zero_point));
            (_mm512_set1_epi32(zero_point), below(lo), below(hi))
        };
        Write { whole, run, signed: lo < 0, tame, most, zero, lo: least, hi: largest }
    }

    /// The codes of a row of sums that are multiplied by real factors.
    ///
    /// # Safety
    /// As for [`counted`].
    #[inline(always)]
    unsafe fn float<const VECTORS: usize>(
        &self,
        tiles: &Tiles<'_, Quad>,
        at: usize,
        acc: [__m512i; VECTORS],
        scale: [__m512; VECTORS],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let acc = counted(tiles, at, acc);
            let real: [__m512; VECTORS] = std::array::from_fn(|v| _mm512_mul_ps(_mm512_cvtepi32_ps(acc[v]), scale[v]));
            let rounded: [__m512i; VECTORS] = if self.tame {
                std::array::from_fn(|v| _mm512_cvtps_epi32(real[v]))
            } else {
                std::array::from_fn(|v| _mm512_cvtps_epi32(_mm512_min_ps(real[v], self.most)))
            };
            self.row(tiles, at, rounded);
        }
    }

    /// Four vectors of rounded sums as codes, in order.
    ///
    /// # Safety
    /// As for [`counted`].
    #[inline(always)]
    unsafe fn codes<const SIGNED: bool>(&self, rounded: [__m512i; 4], order: __m512i) -> __m512i {
        let Write { zero, lo, hi, .. } = *self;
        // SAFETY: the caller's.
        unsafe { _mm512_permutexvar_epi32(order, interleaved::<SIGNED>(rounded, [zero, lo, hi])) }
    }

    /// The codes of a tile in the usual case, four vectors at a time.
    ///
    /// # Safety
    /// As for [`counted`].
    #[inline(always)]
    unsafe fn panel<const ROWS: usize, const VECTORS: usize>(
        &self,
        tiles: &Tiles<'_, Quad>,
        run: &Run,
        begin: usize,
        acc: [[__m512i; VECTORS]; ROWS],
        round: impl Round,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if self.signed {
                self.panel_of::<_, _, true>(tiles, run, begin, acc, round);
            } else {
                self.panel_of::<_, _, false>(tiles, run, begin, acc, round);
            }
        }
    }

    /// # Safety
    /// As for [`counted`].
    #[inline(always)]
    unsafe fn panel_of<const ROWS: usize, const VECTORS: usize, const SIGNED: bool>(
        &self,
        tiles: &Tiles<'_, Quad>,
        run: &Run,
        begin: usize,
        acc: [[__m512i; VECTORS]; ROWS],
        round: impl Round,
    ) {
        let first = tiles.at(begin, 0);
        let last = tiles.at(begin + ROWS - 1, 0) + tiles.outputs;
        let out: *mut u8 = tiles.out.pointer(first, last - first).cast();
        let groups = (ROWS * VECTORS).div_ceil(4);
        // SAFETY: the caller's; the codes of each row are outputs of a panel times a block, which one task writes.
        unsafe {
            for_rows!(groups, group, {
                // One by one, since a closure might not be inlined.
                let rounded = [
                    rounded_at(&acc, &round, 4 * group, self.zero),
                    rounded_at(&acc, &round, 4 * group + 1, self.zero),
                    rounded_at(&acc, &round, 4 * group + 2, self.zero),
                    rounded_at(&acc, &round, 4 * group + 3, self.zero),
                ];
                let codes = self.codes::<SIGNED>(rounded, run.order);
                let to = out.add(group * run.step);
                if 4 * group + 4 <= ROWS * VECTORS && run.vector == LANES {
                    _mm512_storeu_si512(to.cast(), codes);
                } else {
                    let count = (ROWS * VECTORS - 4 * group).min(4) * run.vector;
                    _mm512_mask_storeu_epi8(to.cast(), u64::MAX >> (64 - count), codes);
                }
            }; 0 1 2 3 4 5);
        }
    }

    /// # Safety
    /// As for [`counted`].
    #[inline(always)]
    unsafe fn row<const VECTORS: usize>(&self, tiles: &Tiles<'_, Quad>, at: usize, rounded: [__m512i; VECTORS]) {
        let Write { whole, signed, zero, lo, hi, .. } = *self;
        // SAFETY: the caller's; the 64 codes are 64 outputs of the row, and codes of a vector are 16 bytes of plain integers.
        unsafe {
            if let Some(&rounded) = rounded.first_chunk::<4>()
                && whole
                && tiles.outputs == 4 * LANES
            {
                let order = order(4);
                let codes =
                    if signed { self.codes::<true>(rounded, order) } else { self.codes::<false>(rounded, order) };
                _mm512_storeu_si512(tiles.outputs(at, 0, 4 * LANES).as_mut_ptr().cast(), codes);
                return;
            }
            for v in 0..VECTORS {
                let inside = _mm512_min_epi32(_mm512_max_epi32(rounded[v], lo), hi);
                let codes = _mm512_cvtepi32_epi8(_mm512_add_epi32(inside, zero));
                tiles.write(at, v, &std::mem::transmute::<__m128i, [u8; LANES]>(codes));
            }
        }
    }
}

/// Four vectors of rounded sums as codes: moved by a zero point in 16 bits, clamped to codes of eight bits. Every quarter of the
/// register holds four codes of each vector.
///
/// # Safety
/// As for [`counted`].
#[inline(always)]
pub(crate) unsafe fn interleaved<const SIGNED: bool>(rounded: [__m512i; 4], [zero, lo, hi]: [__m512i; 3]) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        let low = _mm512_adds_epi16(_mm512_packs_epi32(rounded[0], rounded[1]), zero);
        let high = _mm512_adds_epi16(_mm512_packs_epi32(rounded[2], rounded[3]), zero);
        if SIGNED {
            _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), lo), hi)
        } else {
            _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), lo), hi)
        }
    }
}

/// How a vector of sums becomes one of codes counted from the zero point.
pub(super) trait Round {
    /// # Safety
    /// As for [`counted`].
    unsafe fn round(&self, acc: __m512i, vector: usize) -> __m512i;
}

pub(super) struct Single<const VECTORS: usize> {
    pub(super) scale: [__m512; VECTORS],
}

pub(super) struct Twice<const VECTORS: usize> {
    pub(super) factor: [Factor; VECTORS],
}

pub(super) struct Real<'a, const VECTORS: usize> {
    pub(super) scale: [&'a [f64; LANES]; VECTORS],
}

impl<const VECTORS: usize> Round for Single<VECTORS> {
    #[inline(always)]
    unsafe fn round(&self, acc: __m512i, vector: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), self.scale[vector])) }
    }
}

impl<const VECTORS: usize> Round for Twice<VECTORS> {
    #[inline(always)]
    unsafe fn round(&self, acc: __m512i, vector: usize) -> __m512i {
        // SAFETY: the caller's.
        unsafe { self.factor[vector].apply(acc) }
    }
}

impl<const VECTORS: usize> Round for Real<'_, VECTORS> {
    #[inline(always)]
    unsafe fn round(&self, acc: __m512i, vector: usize) -> __m512i {
        let scale = self.scale[vector];
        // SAFETY: the caller's.
        unsafe {
            let low = rounded_real(_mm512_castsi512_si256(acc), scale.as_ptr());
            let high = rounded_real(_mm512_extracti64x4_epi64::<1>(acc), scale[LANES / 2..].as_ptr());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
}

/// The rounded sums of a tile's vector; `rest` beyond its last one.
///
/// # Safety
/// As for [`counted`].
#[inline(always)]
unsafe fn rounded_at<const ROWS: usize, const VECTORS: usize>(
    acc: &[[__m512i; VECTORS]; ROWS],
    round: &impl Round,
    at: usize,
    rest: __m512i,
) -> __m512i {
    // SAFETY: the caller's.
    if at < ROWS * VECTORS { unsafe { round.round(acc[at / VECTORS][at % VECTORS], at % VECTORS) } } else { rest }
}

/// Where four vectors of codes go.
struct Run {
    /// Codes from four vectors to the next four.
    step: usize,
    /// Codes of a vector that are outputs.
    vector: usize,
    /// Brings packed codes to their places.
    order: __m512i,
}

impl Run {
    /// Four vectors are a row of a panel, or rows that follow each other.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn new(tiles: &Tiles<'_, Quad>) -> Option<Run> {
        let (outputs, stride) = (tiles.outputs, tiles.place.stride);
        let whole = outputs == tiles.vectors * LANES;
        let (step, vector) = match tiles.vectors {
            4 if whole => (stride, LANES),
            2 | 3 if whole && stride == outputs => (4 * LANES, LANES),
            1 if outputs.is_multiple_of(4) && stride == outputs => (4 * outputs, outputs),
            _ => return None,
        };
        Some(Run { step, vector, order: order(vector / 4) })
    }
}

/// Brings packed codes to their order. Packing works in quarters of a register: every quarter holds four outputs of each vector, of
/// which so many quarters are wanted.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn order(quarters: usize) -> __m512i {
    match quarters {
        1 => _mm512_setr_epi32(0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        2 => _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0),
        3 => _mm512_setr_epi32(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 0, 0, 0, 0),
        _ => _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
    }
}

/// Sums times real factors below 1, to the nearest, halves away from zero, by [`BELOW_HALF`].
///
/// # Safety
/// As for [`counted`]; eight factors are there.
#[inline(always)]
unsafe fn rounded_real(acc: __m256i, scale: *const f64) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let real = _mm512_mul_pd(_mm512_cvtepi32_pd(acc), _mm512_loadu_pd(scale));
        let sign = _mm512_and_pd(real, _mm512_set1_pd(-0.0));
        let addend = _mm512_or_pd(sign, _mm512_set1_pd(BELOW_HALF));
        _mm512_cvttpd_epi32(_mm512_add_pd(real, addend))
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
