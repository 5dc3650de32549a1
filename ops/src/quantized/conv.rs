//! Convolution, depthwise and grouped included.

use super::codes;
use super::gemm::{LANES, Packed};
use super::simd::{Place, Vectorised, product, vectorised};
use super::stage::Stage;
use crate::infer::Window;
use crate::{Arith, Conv, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

/// Output pixels whose patches are gathered before they are multiplied.
const TILE: usize = 32;

/// A convolution with up to three spatial axes, all brought to three.
pub(super) struct Geometry {
    batch: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    windows: [Window; 3],
}

/// One output pixel: where its window lies in the input.
#[derive(Clone, Copy)]
struct Pixel {
    image: usize,
    at: [usize; 3],
}

/// A convolution with its weights in the order in which the loops read them.
pub(super) struct Kernel {
    geometry: Geometry,
    weights: Weights,
    stage: Stage,
    input_zero_point: i32,
    result: TensorType,
}

enum Weights {
    /// One matrix for each group.
    Packed(Vec<Packed>),
    /// Of a depthwise convolution: taps outermost, then whole blocks of channels.
    ByTap(Vec<i16>),
}

impl Kernel {
    /// `clamp(requant(sum (x - zx) (w - zw) + bias) + zero_point)`; taps outside the input contribute nothing.
    pub(super) fn new(
        op: &Op,
        c: &Conv,
        arith: Arith,
        x: &TensorType,
        weights: &[Operand<'_>],
        result: &TensorType,
    ) -> Result<Kernel, OpError> {
        let w = weights[0];
        let outputs = w.ty.shape[0];
        let bias = codes::bias(op.name(), weights.get(1), outputs)?;
        let stage = Stage::new(op, arith, [x, w.ty, result], c.act, bias)?;
        let geometry = Geometry::new(c, x, w.ty)?;
        let input_zero_point = codes::whole(op.name(), x)?.zero_point();
        let rows = codes::centred_by_output(w.tensor, codes::per_output(op.name(), w.ty)?);
        let weights = if geometry.groups == geometry.channels && geometry.groups > 1 {
            Weights::ByTap(geometry.by_tap(&rows))
        } else {
            Weights::Packed(geometry.packed(&rows))
        };
        Ok(Kernel { geometry, weights, stage, input_zero_point, result: result.clone() })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Vec<Tensor>, OpError> {
        let input = codes::centred(x, self.input_zero_point);
        let mut out = vec![0u8; self.result.elements()];
        if !out.is_empty() {
            match &self.weights {
                Weights::Packed(groups) => self.geometry.grouped(&input, groups, &self.stage, &mut out),
                Weights::ByTap(weights) => self.geometry.depthwise(&input, weights, &self.stage, &mut out),
            }
        }
        Ok(vec![codes::tensor(self.result.dtype, &self.result.shape, out)?])
    }
}

impl Geometry {
    fn new(c: &Conv, x: &TensorType, w: &TensorType) -> Result<Geometry, OpError> {
        let mut windows = [Window::UNIT; 3];
        let own = Window::of_conv(c, &x.shape, &w.shape)?;
        windows[3 - own.len()..].copy_from_slice(&own);
        let channels = x.shape[x.shape.rank() - 1];
        Ok(Geometry { batch: x.shape[0], channels, outputs: w.shape[0], groups: c.groups, windows })
    }

    fn taps(&self) -> usize {
        self.windows.iter().map(|w| w.kernel).product()
    }

    fn pixels(&self) -> usize {
        self.windows.iter().map(|w| w.output).product::<usize>() * self.batch
    }

    fn pixel(&self, index: usize) -> Pixel {
        let [d, h, w] = self.windows.map(|w| w.output);
        Pixel { image: index / (d * h * w), at: [index / (h * w) % d, index / w % h, index % w] }
    }

    /// First element of the input row (all pixels along the last spatial axis) under two taps.
    fn row(&self, pixel: Pixel, taps: [usize; 2]) -> usize {
        let [d, h, w] = self.windows;
        let plane = pixel.image * d.input + d.input_at(pixel.at[0], taps[0]);
        ((plane * h.input + h.input_at(pixel.at[1], taps[1])) * w.input) * self.channels
    }

    fn packed(&self, rows: &[i16]) -> Vec<Packed> {
        let (inner, each) = (self.channels / self.groups, self.outputs / self.groups);
        let k = self.taps() * inner;
        (0..self.groups).map(|g| Packed::from_rows(&rows[g * each * k..], each, k)).collect()
    }

    fn by_tap(&self, rows: &[i16]) -> Vec<i16> {
        let (taps, width) = (self.taps(), self.outputs.next_multiple_of(LANES));
        let mut by_tap = vec![0i16; taps * width];
        for (o, row) in rows.chunks_exact(taps).enumerate() {
            for (tap, &w) in row.iter().enumerate() {
                by_tap[tap * width + o] = w;
            }
        }
        by_tap
    }

    /// Groups as matrix products of gathered patches.
    fn grouped(&self, input: &[i16], packed: &[Packed], stage: &Stage, out: &mut [u8]) {
        let (inner, each) = (self.channels / self.groups, self.outputs / self.groups);
        let k = self.taps() * inner;
        let even = k.next_multiple_of(2);
        let pointwise = self.windows.iter().all(|w| w.kernel == 1 && w.stride == 1 && w.before == 0 && w.after == 0);
        let direct = pointwise && self.groups == 1 && even == k;
        let mut patches = vec![0i16; if direct { 0 } else { TILE * even }];
        let pixels = self.pixels();
        for begin in (0..pixels).step_by(TILE) {
            let end = (begin + TILE).min(pixels);
            for (g, packed) in packed.iter().enumerate() {
                let rows = if direct {
                    &input[begin * k..end * k]
                } else {
                    for (patch, index) in patches.chunks_exact_mut(even.max(1)).zip(begin..end) {
                        self.gather(input, self.pixel(index), g * inner, &mut patch[..k]);
                    }
                    &patches[..(end - begin) * even]
                };
                let out = &mut out[begin * self.outputs..end * self.outputs];
                product(rows, packed, stage, Place { first: g * each, stride: self.outputs }, out);
            }
        }
    }

    /// The input under the window of one pixel, channels `first..` of one group; zero outside the input.
    fn gather(&self, input: &[i16], pixel: Pixel, first: usize, patch: &mut [i16]) {
        let inner = self.channels / self.groups;
        let [d, h, w] = self.windows;
        let (taps_d, taps_h, taps_w) = (d.taps(pixel.at[0]), h.taps(pixel.at[1]), w.taps(pixel.at[2]));
        let inside = taps_d.len() * taps_h.len() * taps_w.len();
        if inside < self.taps() {
            patch.fill(0);
        }
        if inside == 0 {
            return;
        }
        let column = w.input_at(pixel.at[2], taps_w.start) * self.channels + first;
        for td in taps_d {
            for th in taps_h.clone() {
                let from = self.row(pixel, [td, th]) + column;
                let to = ((td * h.kernel + th) * w.kernel + taps_w.start) * inner;
                if inner == self.channels && w.dilation == 1 {
                    let length = taps_w.len() * inner;
                    patch[to..to + length].copy_from_slice(&input[from..from + length]);
                } else {
                    for t in 0..taps_w.len() {
                        let from = from + t * w.dilation * self.channels;
                        patch[to + t * inner..][..inner].copy_from_slice(&input[from..from + inner]);
                    }
                }
            }
        }
    }

    /// One input channel for each group, and `outputs / groups` outputs from it.
    fn depthwise(&self, input: &[i16], by_tap: &[i16], stage: &Stage, out: &mut [u8]) {
        let (multiplier, width) = (self.outputs / self.groups, self.outputs.next_multiple_of(LANES));
        let mut padded: Vec<i16> = if multiplier == 1 {
            let mut own = Vec::with_capacity(input.len() + LANES);
            own.extend_from_slice(input);
            own
        } else {
            input.iter().flat_map(|&q| std::iter::repeat_n(q, multiplier)).collect()
        };
        // A block of the last pixel reaches over the end, where its weights are zero.
        padded.resize(padded.len() + LANES, 0);
        let geometry = Geometry { channels: self.outputs, ..*self };
        vectorised(Depthwise { geometry, input: &padded, by_tap, width, stage, out });
    }
}

/// A depthwise convolution with as many outputs as inputs.
struct Depthwise<'a> {
    geometry: Geometry,
    input: &'a [i16],
    by_tap: &'a [i16],
    width: usize,
    stage: &'a Stage,
    out: &'a mut [u8],
}

impl Vectorised<()> for Depthwise<'_> {
    #[inline(always)]
    fn run(self) {
        let Depthwise { geometry, input, by_tap, width, stage, out } = self;
        let channels = geometry.channels;
        let [d, h, w] = geometry.windows;
        // Where the window's taps lie: in the input and in the weights.
        let mut taps = Vec::with_capacity(geometry.taps());
        for (index, out) in out.chunks_exact_mut(channels).enumerate() {
            let pixel = geometry.pixel(index);
            taps.clear();
            for td in d.taps(pixel.at[0]) {
                for th in h.taps(pixel.at[1]) {
                    let row = geometry.row(pixel, [td, th]);
                    for tw in w.taps(pixel.at[2]) {
                        let tap = (td * h.kernel + th) * w.kernel + tw;
                        taps.push((row + w.input_at(pixel.at[2], tw) * channels, tap * width));
                    }
                }
            }
            for (block, out) in out.chunks_mut(LANES).enumerate() {
                let first = block * LANES;
                let mut acc = [0i32; LANES];
                for &(from, weights) in &taps {
                    let x = lanes(input, from + first);
                    let weights = lanes(by_tap, weights + first);
                    for i in 0..LANES {
                        acc[i] = acc[i].wrapping_add(i32::from(x[i]) * i32::from(weights[i]));
                    }
                }
                let codes = stage.block(first, &acc);
                out.copy_from_slice(&codes[..out.len()]);
            }
        }
    }
}

#[inline(always)]
fn lanes(list: &[i16], first: usize) -> &[i16; LANES] {
    &list[first..].as_chunks::<LANES>().0[0]
}
