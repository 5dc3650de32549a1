//! Depthwise sums with AVX-512 VNNI: four taps of sixteen channels at once.
//!
//! Activations are bytes without sign in a copy of the image with its padding around it, in which the columns that a stride leads
//! to lie side by side. The bytes of four taps under 64 channels are interleaved to four vectors of sums, whose order the packing
//! of codes undoes. Where channels are few, the 64 lanes are of several pixels.
#![allow(unsafe_code)]

use crate::cpu::conv::Geometry;
use crate::cpu::int8::{Aligned, Codes, SMALL, Twice, interleaved};
use crate::cpu::shared::Shared;
use crate::cpu::vectorised::{Vectorised, vectorised};
use crate::infer::Window;
use crate::quantized::stage::{Scale, Stage};
use rayon::prelude::*;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Codes of a chunk.
const WIDE: usize = 64;

/// Sixty-four constants in the order of the sums.
type List<T> = [Aligned<[T; 16]>; 4];

/// Weights and constants of 64 lanes.
struct Block {
    /// By group of four taps, then by vector.
    weights: Vec<Aligned<[i8; WIDE]>>,
    /// What weights of nine bits have beside these; empty where all have eight.
    more: Vec<Aligned<[i8; WIDE]>>,
    bias: List<i32>,
    scale: Factors,
}

#[expect(clippy::large_enum_variant, reason = "a block has one, which its loops read")]
enum Factors {
    Double([Twice; 4]),
    Float(List<f32>),
}

/// A depthwise convolution along two axes with its weights in the order in which the loops read them.
pub(crate) struct Quads {
    geometry: Geometry,
    blocks: Vec<Block>,
    /// Where each tap begins, from the first element of a line of results in the copy; whole groups.
    offsets: Vec<usize>,
    /// The zero point of the input, counted from the smallest code.
    zero: u8,
    zero_point: i16,
    lo: i32,
    hi: i32,
}

impl Quads {
    /// The form of this convolution for that stage; `None` where the processor or the numbers do not allow it. `weights` are
    /// centred: of `[tap, width]`.
    pub(super) fn new(geometry: &Geometry, weights: &[i16], width: usize, zero: u8, stage: &Stage) -> Option<Quads> {
        let [d, h, w] = geometry.windows;
        let channels = geometry.channels;
        let flat = d == Window::UNIT && geometry.outputs == channels;
        let bytes = weights.iter().all(|&weight| i8::try_from(weight).is_ok());
        let halves = weights.iter().all(|&weight| i8::try_from(weight - weight / 2).is_ok());
        let taps = h.kernel * w.kernel;
        let empty = taps * h.input * w.input * geometry.pixels() == 0;
        if !flat || !stage.is_narrow() || !halves || empty {
            return None;
        }
        // A copy far larger than what is read and written is not worth it.
        let copied = Geometry::reach(&h).saturating_mul(Geometry::reach(&w));
        if copied > 4 * (h.input * w.input + h.output * w.output) {
            return None;
        }
        let groups = taps.div_ceil(4);
        let sum = |channel: usize, of: fn(i16) -> i32| -> i32 {
            (0..taps).map(|tap| of(weights[tap * width + channel])).fold(0, i32::wrapping_add)
        };
        // Every sum is far from the limits of 32 bits.
        let bias = |channel: usize| -> Option<i32> {
            let most = i64::from(sum(channel, |weight| i32::from(weight).abs())) * 255;
            let bias = i64::from(stage.bias[channel]) - i64::from(zero) * i64::from(sum(channel, i32::from));
            (bias.abs() + most < 1 << 30).then_some(bias as i32)
        };
        let biases = (0..channels).map(bias).collect::<Option<Vec<i32>>>()?;
        let block = |block: usize| -> Option<Block> {
            let of = |lane: usize| {
                if together(channels) { lane % channels } else { (block * WIDE + lane).min(channels - 1) }
            };
            let part = |of_weight: fn(i16) -> i16| -> Vec<Aligned<[i8; WIDE]>> {
                let list = (0..groups * 4).map(|at| {
                    let (group, vector) = (at / 4, at % 4);
                    Aligned(std::array::from_fn(|byte| {
                        let (channel, tap) = (of(lane(vector, byte / 4)), group * 4 + byte % 4);
                        if tap < taps { of_weight(weights[tap * width + channel]) as i8 } else { 0 }
                    }))
                });
                list.collect()
            };
            let (weights, more) =
                if bytes { (part(|w| w), Vec::new()) } else { (part(|w| w / 2), part(|w| w - w / 2)) };
            let scale = match &stage.scale {
                Scale::Double { multiplier, shift } => {
                    let multiplier: List<i32> = list(|at| multiplier[of(at)]);
                    let shift: List<i32> = list(|at| shift[of(at)]);
                    // SAFETY: this form is made where the processor has the features alone.
                    let twice = |v: usize| unsafe { Twice::new(whole(&multiplier[v]), whole(&shift[v])) };
                    Factors::Double(std::array::from_fn(twice))
                }
                Scale::Float(scale) if stage.tame => Factors::Float(list(|at| scale[of(at)])),
                _ => return None,
            };
            Some(Block { weights, more, bias: list(|at| biases[of(at)]), scale })
        };
        let count = if together(channels) { 1 } else { channels.div_ceil(WIDE) };
        let blocks = (0..count).map(block).collect::<Option<Vec<Block>>>()?;
        let copy = Copy::new(geometry);
        let tap = |tap: usize| {
            let (th, tw) = (tap / w.kernel, tap % w.kernel * w.dilation);
            th * h.dilation * copy.pitch + tw % copy.phases * copy.phase + tw / copy.phases * channels
        };
        let offsets = (0..groups * 4).map(|at| tap(at.min(taps - 1))).collect();
        let Stage { lo, hi, zero_point, .. } = *stage;
        Some(Quads { geometry: *geometry, blocks, offsets, zero, zero_point: zero_point as i16, lo, hi })
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Writes all codes of the result, which has as many.
    pub(super) fn fill(&self, codes: Codes<'_>, out: &mut [MaybeUninit<u8>]) {
        let geometry = &self.geometry;
        let [_, h, w] = geometry.windows;
        let (copy, line) = (Copy::new(geometry), w.output * geometry.channels);
        let image = h.input * w.input * geometry.channels;
        with_buffer(copy.size(geometry), |to| {
            for (from, out) in codes.bytes.chunks_exact(image).zip(out.chunks_exact_mut(h.output * line)) {
                vectorised(Fill { copy: &copy, geometry, from, flip: codes.flip(), zero: self.zero, to });
                let image = &*to;
                let body = |(at, out): (usize, &mut [MaybeUninit<u8>])| {
                    self.line(&image[at * h.stride * copy.pitch..], out);
                };
                if rayon::current_num_threads() == 1 || out.len() * self.offsets.len() < SMALL {
                    out.chunks_exact_mut(line).enumerate().for_each(body);
                } else {
                    out.par_chunks_exact_mut(line).enumerate().for_each(body);
                }
            }
        });
    }

    fn line(&self, image: &[u8], out: &mut [MaybeUninit<u8>]) {
        let reach = self.offsets.iter().max().map_or(0, |offset| offset + out.len() + WIDE);
        assert!(reach <= image.len(), "a line of results reaches beyond the image");
        // SAFETY: this form is made where the processor has the features alone; every read is within the reach.
        unsafe {
            match self.offsets.len() {
                12 => self.groups::<3>(image, out),
                _ => self.groups::<0>(image, out),
            }
        }
    }

    /// One line of results, by blocks of channels; `GROUPS` of taps where their number is known.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn groups<const GROUPS: usize>(&self, image: &[u8], out: &mut [MaybeUninit<u8>]) {
        let channels = self.geometry.channels;
        let zero = _mm512_set1_epi16(self.zero_point);
        let (lo, hi) = (_mm512_set1_epi8(self.lo as i8), _mm512_set1_epi8(self.hi as i8));
        let len = out.len();
        let shared = Shared::new(out);
        for (index, block) in self.blocks.iter().enumerate() {
            let (step, most) =
                if together(channels) { (WIDE, WIDE) } else { (channels, WIDE.min(channels - index * WIDE)) };
            let mut at = index * WIDE;
            while at < len {
                let lanes = most.min(len - at);
                // SAFETY: the line's reach is inside the image.
                let sums = unsafe { self.sums::<GROUPS>(block, image.as_ptr().add(at)) };
                let sums: [__m512i; 4] = match &block.scale {
                    // SAFETY: this function is compiled for the same processor.
                    Factors::Double(twice) => std::array::from_fn(|v| unsafe { twice[v].apply(sums[v]) }),
                    Factors::Float(scale) => std::array::from_fn(|v| {
                        // SAFETY: both types are 64 bytes.
                        let scale = unsafe { _mm512_load_ps(scale[v].0.as_ptr()) };
                        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), scale))
                    }),
                };
                // SAFETY: this function is compiled for the same processor.
                let codes = unsafe {
                    if self.lo < 0 {
                        interleaved::<true>(sums, [zero, lo, hi])
                    } else {
                        interleaved::<false>(sums, [zero, lo, hi])
                    }
                };
                // SAFETY: `lanes` elements from here on are the line's.
                unsafe {
                    let to: *mut i8 = shared.pointer(at, lanes).cast();
                    if lanes == WIDE {
                        _mm512_storeu_si512(to.cast(), codes);
                    } else {
                        _mm512_mask_storeu_epi8(to, u64::MAX >> (WIDE - lanes), codes);
                    }
                }
                at += step;
            }
        }
    }

    /// The sums of 64 lanes.
    ///
    /// # Safety
    /// Behind `x` there are 64 bytes at every offset.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    #[inline]
    unsafe fn sums<const GROUPS: usize>(&self, block: &Block, x: *const u8) -> [__m512i; 4] {
        let mut acc: [__m512i; 4] = std::array::from_fn(|v| whole(&block.bias[v]));
        let mut group = |offsets: &[usize; 4], weights: &[Aligned<[i8; WIDE]>; 4], more: Option<&[_; 4]>| {
            // SAFETY: the caller's.
            let [a, b, c, d] = offsets.map(|offset| unsafe { _mm512_loadu_si512(x.add(offset).cast()) });
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let taps = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            ];
            for v in 0..4 {
                // SAFETY: 64 bytes are there.
                let weights = unsafe { _mm512_load_si512(weights[v].0.as_ptr().cast()) };
                acc[v] = _mm512_dpbusd_epi32(acc[v], taps[v], weights);
            }
            let more: &[Aligned<[i8; WIDE]>; 4] = match more {
                Some(more) => more,
                None => return,
            };
            for v in 0..4 {
                // SAFETY: 64 bytes are there.
                let more = unsafe { _mm512_load_si512(more[v].0.as_ptr().cast()) };
                acc[v] = _mm512_dpbusd_epi32(acc[v], taps[v], more);
            }
        };
        let (offsets, weights) = (self.offsets.as_chunks::<4>().0, block.weights.as_chunks::<4>().0);
        let more = block.more.as_chunks::<4>().0;
        if GROUPS > 0 {
            let (offsets, weights) = (&offsets[..GROUPS], &weights[..GROUPS]);
            for at in 0..GROUPS {
                group(&offsets[at], &weights[at], more.get(at));
            }
        } else {
            let all = offsets.iter().zip(weights).enumerate();
            all.for_each(|(at, (offsets, weights))| group(offsets, weights, more.get(at)));
        }
        acc
    }
}

/// Whether the lanes are of several pixels.
fn together(channels: usize) -> bool {
    WIDE.is_multiple_of(channels)
}

/// The channel of a lane of a vector of sums: interleaving works in quarters of a register.
fn lane(vector: usize, at: usize) -> usize {
    at / 4 * 16 + vector * 4 + at % 4
}

fn list<T>(of: impl Fn(usize) -> T) -> List<T> {
    std::array::from_fn(|vector| Aligned(std::array::from_fn(|at| of(lane(vector, at)))))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn whole(list: &Aligned<[i32; 16]>) -> __m512i {
    // SAFETY: 64 bytes are there.
    unsafe { _mm512_load_si512(list.0.as_ptr().cast()) }
}

/// The copy of an image: lines of as many phases as the stride has columns.
struct Copy {
    phases: usize,
    /// Elements of a phase of a line.
    phase: usize,
    /// Elements of a line.
    pitch: usize,
}

impl Copy {
    fn new(geometry: &Geometry) -> Copy {
        let w = geometry.windows[2];
        let reach = Geometry::reach(&w);
        let phases = w.stride.min(reach);
        let phase = reach.div_ceil(phases) * geometry.channels;
        Copy { phases, phase, pitch: phases * phase }
    }

    fn size(&self, geometry: &Geometry) -> usize {
        Geometry::reach(&geometry.windows[1]) * self.pitch + 2 * WIDE
    }

    #[inline(always)]
    fn fill(&self, geometry: &Geometry, from: &[u8], flip: u8, zero: u8, to: &mut [u8]) {
        let [_, h, w] = geometry.windows;
        let channels = geometry.channels;
        let high = Geometry::reach(&h);
        let rows = from.chunks_exact(w.input * channels);
        let (before, after) = to[..high * self.pitch].split_at_mut((h.before * self.pitch).min(high * self.pitch));
        before.fill(zero);
        let mut lines = after.chunks_exact_mut(self.pitch);
        for (from, to) in rows.zip(&mut lines) {
            if self.phases == 1 {
                let (left, to) = to.split_at_mut((w.before * channels).min(self.pitch));
                let inside = from.len().min(to.len());
                let (to, right) = to.split_at_mut(inside);
                left.fill(zero);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = from ^ flip);
                right.fill(zero);
                continue;
            }
            for (phase, to) in to.chunks_exact_mut(self.phase).enumerate() {
                // Columns of the padded line are `phase`, `phase + phases`, ..
                let before = w.before.saturating_sub(phase).div_ceil(self.phases).min(to.len() / channels);
                let (left, to) = to.split_at_mut(before * channels);
                left.fill(zero);
                let first = (before * self.phases + phase).saturating_sub(w.before);
                let inside = (w.input.saturating_sub(first)).div_ceil(self.phases).min(to.len() / channels);
                let (to, right) = to.split_at_mut(inside * channels);
                right.fill(zero);
                let from = from.get(first * channels..).unwrap_or_default();
                let step = self.phases * channels;
                match channels {
                    8 => pixels::<8>(to, from, step, flip),
                    16 => pixels::<16>(to, from, step, flip),
                    32 => pixels::<32>(to, from, step, flip),
                    _ => {
                        for (to, from) in to.chunks_exact_mut(channels).zip(from.chunks(step)) {
                            to.iter_mut().zip(from).for_each(|(to, from)| *to = from ^ flip);
                        }
                    }
                }
            }
        }
        lines.for_each(|line| line.fill(zero));
    }
}

struct Fill<'a> {
    copy: &'a Copy,
    geometry: &'a Geometry,
    from: &'a [u8],
    flip: u8,
    zero: u8,
    to: &'a mut [u8],
}

impl Vectorised<()> for Fill<'_> {
    #[inline(always)]
    fn run(self) {
        self.copy.fill(self.geometry, self.from, self.flip, self.zero, self.to);
    }
}

/// Pixels of `N` channels that lie `step` apart, side by side.
#[inline(always)]
fn pixels<const N: usize>(to: &mut [u8], from: &[u8], step: usize, flip: u8) {
    for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(from.chunks(step)) {
        if let Some(from) = from.first_chunk::<N>() {
            *to = from.map(|code| code ^ flip);
        }
    }
}

/// A buffer of this thread of at least so many bytes.
fn with_buffer<T>(size: usize, body: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    // Taken out, since a thread that waits for others may run another convolution meanwhile.
    let mut buffer = BUFFER.take();
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    let result = body(&mut buffer[..size]);
    BUFFER.set(buffer);
    result
}
