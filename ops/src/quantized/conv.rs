//! Convolution, depthwise and grouped included.

use super::codes;
use super::gemm::{LANES, Packed};
use super::simd::{Place, Vectorised, product, vectorised};
use super::stage::Stage;
use crate::infer::Window;
use crate::{Arith, Conv, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

/// Elements of patches that are gathered before they are multiplied: what stays in the first cache beside a block of weights.
const TILE: usize = 16 * 1024;

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

/// A row of a window: its first element in the input, column 0, and its first tap.
#[derive(Clone, Copy)]
struct Row {
    from: usize,
    tap: usize,
}

/// The columns of a window inside the input: the first element relative to the row, the first tap, their number.
#[derive(Clone, Copy)]
struct Column {
    from: usize,
    tap: usize,
    taps: usize,
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
        let mut input = codes::centred(x, self.input_zero_point);
        // Whole blocks are read at the end too.
        input.resize(input.len() + LANES, 0);
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

    /// The rows of a pixel's window that lie inside the input.
    fn rows(&self, pixel: Pixel, rows: &mut Vec<Row>) {
        let [d, h, w] = self.windows;
        rows.clear();
        for td in d.taps(pixel.at[0]) {
            let plane = (pixel.image * d.input + d.input_at(pixel.at[0], td)) * h.input;
            for th in h.taps(pixel.at[1]) {
                let from = (plane + h.input_at(pixel.at[1], th)) * w.input * self.channels;
                rows.push(Row { from, tap: (td * h.kernel + th) * w.kernel });
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        let w = self.windows[2];
        (0..w.output)
            .map(|at| {
                let taps = w.taps(at);
                let from = if taps.is_empty() { 0 } else { w.input_at(at, taps.start) * self.channels };
                Column { from, tap: taps.start, taps: taps.len() }
            })
            .collect()
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
        let tile = (TILE / even.max(1)).next_multiple_of(8).clamp(32, 256);
        let mut patches = vec![0i16; if direct { 0 } else { tile * even + LANES }];
        let (pixels, columns) = (self.pixels(), self.columns());
        let mut window = Vec::with_capacity(self.windows[0].kernel * self.windows[1].kernel);
        for begin in (0..pixels).step_by(tile) {
            let end = (begin + tile).min(pixels);
            for (g, packed) in packed.iter().enumerate() {
                let rows = if direct {
                    &input[begin * k..end * k]
                } else {
                    let mut pixel = self.pixel(begin);
                    self.rows(pixel, &mut window);
                    for at in 0..end - begin {
                        let column = columns[pixel.at[2]];
                        self.gather(&input[g * inner..], &window, column, &mut patches[at * even..]);
                        self.advance(&mut pixel);
                        if pixel.at[2] == 0 {
                            self.rows(pixel, &mut window);
                        }
                    }
                    &patches[..(end - begin) * even]
                };
                let out = &mut out[begin * self.outputs..end * self.outputs];
                product(rows, packed, stage, Place { first: g * each, stride: self.outputs }, out);
            }
        }
    }

    /// The input under a window, channels of one group; zero outside the input. The patch is the front of the slice; what
    /// follows it may be overwritten.
    fn gather(&self, input: &[i16], rows: &[Row], column: Column, patch: &mut [i16]) {
        let inner = self.channels / self.groups;
        let [d, h, w] = self.windows;
        let whole = rows.len() == d.kernel * h.kernel && column.taps == w.kernel;
        if !whole {
            patch[..self.taps() * inner].fill(0);
        }
        if column.taps == 0 {
            // The window lies beside the input: `column.from` may be behind its end.
            return;
        }
        for row in rows {
            let (from, to) = (row.from + column.from, (row.tap + column.tap) * inner);
            if inner == self.channels && w.dilation == 1 {
                let length = column.taps * inner;
                if whole {
                    // What a block writes too much is written again by the next row or patch.
                    for at in (0..length).step_by(LANES) {
                        *lanes_mut(patch, to + at) = *lanes(input, from + at);
                    }
                } else {
                    patch[to..to + length].copy_from_slice(&input[from..from + length]);
                }
            } else {
                for t in 0..column.taps {
                    let from = from + t * w.dilation * self.channels;
                    patch[to + t * inner..][..inner].copy_from_slice(&input[from..from + inner]);
                }
            }
        }
    }

    /// One input channel for each group, and `outputs / groups` outputs from it.
    fn depthwise(&self, input: &[i16], by_tap: &[i16], stage: &Stage, out: &mut [u8]) {
        let (multiplier, width) = (self.outputs / self.groups, self.outputs.next_multiple_of(LANES));
        let repeated: Vec<i16>;
        let input = if multiplier == 1 {
            input
        } else {
            repeated = input.iter().flat_map(|&q| std::iter::repeat_n(q, multiplier)).collect();
            &repeated
        };
        let geometry = Geometry { channels: self.outputs, ..*self };
        vectorised(Depthwise { geometry, input, by_tap, width, stage, out });
    }

    /// The next pixel in the order of the output.
    #[inline(always)]
    fn advance(&self, pixel: &mut Pixel) {
        for axis in (0..3).rev() {
            pixel.at[axis] += 1;
            if pixel.at[axis] < self.windows[axis].output {
                return;
            }
            pixel.at[axis] = 0;
        }
        pixel.image += 1;
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
        let columns = geometry.columns();
        let mut rows = Vec::with_capacity(d.kernel * h.kernel);
        let mut pixel = Pixel { image: 0, at: [0; 3] };
        let step = w.dilation * channels;
        for out in out.chunks_exact_mut(w.output * channels) {
            geometry.rows(pixel, &mut rows);
            for (column, out) in columns.iter().zip(out.chunks_exact_mut(channels)) {
                for (block, out) in out.chunks_mut(LANES).enumerate() {
                    let first = block * LANES;
                    let mut acc = [0i32; LANES];
                    for row in &rows {
                        let mut x_at = row.from + column.from + first;
                        let mut w_at = (row.tap + column.tap) * width + first;
                        for _ in 0..column.taps {
                            let (x, weights) = (lanes(input, x_at), lanes(by_tap, w_at));
                            for i in 0..LANES {
                                acc[i] = acc[i].wrapping_add(i32::from(x[i]) * i32::from(weights[i]));
                            }
                            x_at += step;
                            w_at += width;
                        }
                    }
                    let codes = stage.block(first, &acc);
                    match out.as_mut_array::<LANES>() {
                        Some(out) => *out = codes,
                        None => out.copy_from_slice(&codes[..out.len()]),
                    }
                }
            }
            pixel.at[2] = w.output - 1;
            geometry.advance(&mut pixel);
        }
    }
}

#[inline(always)]
fn lanes_mut(list: &mut [i16], first: usize) -> &mut [i16; LANES] {
    &mut list[first..].as_chunks_mut::<LANES>().0[0]
}

#[inline(always)]
fn lanes(list: &[i16], first: usize) -> &[i16; LANES] {
    &list[first..].as_chunks::<LANES>().0[0]
}
