//! Convolutions of 8-bit codes, depthwise and grouped ones included.
//!
//! A convolution is a product of which the rows of activations are windows. Windows are read where they lie in a copy of the
//! image with its padding around it; where that copy would be larger than the windows themselves, as with strides beyond the
//! window, or where windows have gaps or channels belong to groups, windows are gathered a block at a time.

use super::Level;
use super::depthwise::Depthwise;
use super::int8::{Codes, Form, Layout, Matrix, Place, Source, Weights, convert, pitch, place_product};
use super::shared;
use crate::infer::Window;
use crate::quantized::stage::Stage;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A convolution with up to three spatial axes, all brought to three.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
    pub(crate) windows: [Window; 3],
}

/// A convolution with its weights in the order in which the loops read them, and its output stage.
pub(crate) enum Convolution {
    Product(Product),
    Depthwise(Depthwise),
}

/// A convolution whose windows are rows of products.
pub(crate) struct Product {
    geometry: Geometry,
    input_zero: u8,
    order: Order,
    /// What the zero points make of the sums is folded into its bias.
    stage: Stage,
}

enum Order {
    /// Windows of one element that follow each other.
    Pointwise(Weights),
    /// Windows of one element that stand apart.
    Strided(Weights),
    /// Windows read in a padded image.
    Image(Weights),
    /// Windows gathered, one matrix for each group.
    Gathered(Vec<Weights>),
}

impl Geometry {
    fn taps(&self) -> usize {
        self.windows.iter().map(|w| w.kernel).product()
    }

    pub(crate) fn pixels(&self) -> usize {
        self.windows.iter().map(|w| w.output).product::<usize>() * self.batch
    }

    fn pointwise(&self) -> bool {
        self.groups == 1 && self.windows.iter().all(|w| w.kernel == 1 && w.before == 0 && w.after == 0)
    }

    fn strided(&self) -> bool {
        self.windows.iter().any(|w| w.stride > 1)
    }

    /// Elements along an axis that windows reach, padding included.
    pub(super) fn reach(window: &Window) -> usize {
        (window.output - 1) * window.stride + (window.kernel - 1) * window.dilation + 1
    }

    /// Whether windows are better read in a padded image than gathered.
    fn in_image(&self) -> bool {
        let [d, h, w] = self.windows;
        let flat = d.kernel == 1 && d.stride == 1 && d.before == 0 && d.after == 0;
        let (high, wide) = (self.lines(h.output), Geometry::reach(&w));
        // The lines under one line of results are in a block together.
        let block = wide.saturating_mul(h.kernel).saturating_mul(self.channels);
        flat && self.groups == 1
            && w.dilation == 1
            && (1..1 << 24).contains(&block)
            && high.saturating_mul(wide) <= 2 * h.output * w.output * h.kernel * w.kernel
    }

    /// Lines of a padded image that lie between the first ones of two lines of results, and lines under one line of results.
    /// Strides beyond the window skip lines.
    fn steps(&self) -> (usize, usize) {
        let h = self.windows[1];
        let span = (h.kernel - 1) * h.dilation + 1;
        (h.stride.min(span), span)
    }

    /// Lines of a padded image under so many lines of results.
    fn lines(&self, results: usize) -> usize {
        let (step, span) = self.steps();
        (results - 1) * step + span
    }
}

impl Convolution {
    /// Prepares `[outputs, taps.., channels / groups]` weights with a zero point for each output or one for all.
    pub(crate) fn new(
        level: Level,
        geometry: Geometry,
        codes: Codes<'_>,
        zero_points: &[i32],
        input_zero: u8,
        mut stage: Stage,
    ) -> Convolution {
        if geometry.groups == geometry.channels && geometry.groups > 1 {
            return Convolution::Depthwise(Depthwise::new(level, geometry, codes, zero_points, input_zero, stage));
        }
        let (inner, each) = (geometry.channels / geometry.groups, geometry.outputs / geometry.groups);
        let k = geometry.taps() * inner;
        let pack = |layout| Weights::new(level, codes, zero_points, geometry.outputs, layout, input_zero);
        let order = if geometry.pointwise() && geometry.strided() {
            Order::Strided(pack(Layout::plain(k)))
        } else if geometry.pointwise() {
            Order::Pointwise(pack(Layout::plain(k)))
        } else if geometry.in_image() {
            let [_, h, w] = geometry.windows;
            let pitch = Geometry::reach(&w) * inner;
            let segments = (0..h.kernel).map(|tap| tap * h.dilation * pitch).collect();
            Order::Image(pack(Layout { segments, length: w.kernel * inner }))
        } else {
            let groups = (0..geometry.groups).map(|group| {
                let codes = Codes { bytes: &codes.bytes[group * each * k..][..each * k], ..codes };
                let zero_points = zero_points.get(group * each..(group + 1) * each).unwrap_or(zero_points);
                Weights::new(level, codes, zero_points, each, Layout::plain(k), input_zero)
            });
            Order::Gathered(groups.collect())
        };
        match &order {
            Order::Pointwise(weights) | Order::Strided(weights) | Order::Image(weights) => {
                stage.fold(0, weights.fold());
            }
            Order::Gathered(groups) => {
                for (group, weights) in groups.iter().enumerate() {
                    stage.fold(group * each, weights.fold());
                }
            }
        }
        Convolution::Product(Product { geometry, input_zero, order, stage })
    }

    /// The codes of the result.
    #[allow(unsafe_code)]
    pub(crate) fn run(&self, codes: Codes<'_>) -> Vec<u8> {
        // SAFETY: every code is written.
        unsafe { shared::written(self.sizes()[1], |out| self.fill(codes, out)) }
    }

    /// Writes the codes of the result.
    ///
    /// # Panics
    /// When there are more or fewer codes, or places for results, than the geometry says.
    #[allow(unsafe_code)]
    pub(crate) fn write(&self, codes: Codes<'_>, out: &mut [u8]) {
        // SAFETY: codes alone are written.
        self.fill(codes, unsafe { shared::places(out) });
    }

    fn fill(&self, codes: Codes<'_>, out: &mut [MaybeUninit<u8>]) {
        assert!([codes.bytes.len(), out.len()] == self.sizes(), "an input or a result of another shape");
        match self {
            _ if out.is_empty() => {}
            Convolution::Product(product) => product.fill(codes, out),
            Convolution::Depthwise(depthwise) => depthwise.fill(codes, out),
        }
    }

    /// Codes of input and result.
    fn sizes(&self) -> [usize; 2] {
        let (geometry, channels) = match self {
            Convolution::Product(product) => (&product.geometry, product.geometry.channels),
            // Its own geometry may have as many channels as outputs.
            Convolution::Depthwise(depthwise) => (depthwise.geometry(), depthwise.geometry().groups),
        };
        let inputs = geometry.windows.iter().map(|w| w.input).product::<usize>() * geometry.batch;
        [inputs * channels, geometry.pixels() * geometry.outputs]
    }
}

impl Product {
    fn fill(&self, codes: Codes<'_>, out: &mut [MaybeUninit<u8>]) {
        let Product { geometry, input_zero: zero, ref order, ref stage } = *self;
        let place = Place { first: 0, stride: geometry.outputs };
        match order {
            Order::Pointwise(weights) => {
                let source = Matrix { codes, zero, rows: geometry.pixels(), k: geometry.channels };
                place_product(weights, &source, stage, place, out);
            }
            Order::Strided(weights) => place_product(weights, &Pixels { geometry, codes, zero }, stage, place, out),
            Order::Image(weights) => place_product(weights, &Image { geometry, codes, zero }, stage, place, out),
            Order::Gathered(groups) => {
                let each = geometry.outputs / geometry.groups;
                for (group, weights) in groups.iter().enumerate() {
                    let source = Gather { geometry, group, codes, zero };
                    place_product(weights, &source, stage, Place { first: group * each, ..place }, out);
                }
            }
        }
    }
}

/// Windows read in a padded image. A block is of lines of one image.
struct Image<'a> {
    geometry: Geometry,
    codes: Codes<'a>,
    zero: u8,
}

impl Image<'_> {
    /// Activations from one line of the padded image to the next.
    fn pitch(&self) -> usize {
        Geometry::reach(&self.geometry.windows[2]) * self.geometry.channels
    }

    /// Lines of results that a block of rows touches, counted through all images.
    fn lines(&self, rows: &Range<usize>) -> Range<usize> {
        let width = self.geometry.windows[2].output;
        rows.start / width..rows.end.div_ceil(width)
    }
}

impl Source for Image<'_> {
    fn rows(&self) -> usize {
        self.geometry.pixels()
    }

    fn block(&self, begin: usize, most: usize) -> usize {
        let [_, h, w] = self.geometry.windows;
        let image = h.output * w.output;
        (begin + most.max(1)).min((begin / image + 1) * image)
    }

    fn row_size(&self) -> usize {
        self.geometry.channels * self.geometry.steps().0 * self.geometry.windows[2].stride
    }

    fn size<F: Form>(&self, rows: Range<usize>) -> usize {
        self.geometry.lines(self.lines(&rows).len()) * self.pitch()
    }

    #[inline(always)]
    fn fill<F: Form>(&self, rows: Range<usize>, activations: &mut [F::X], bases: &mut Vec<usize>) {
        let [_, h, w] = self.geometry.windows;
        let (channels, pitch) = (self.geometry.channels, self.pitch());
        let lines = self.lines(&rows);
        let (step, _) = self.geometry.steps();
        for line in lines.clone() {
            let columns = rows.start.max(line * w.output)..rows.end.min((line + 1) * w.output);
            let first = (line - lines.start) * step * pitch;
            bases.extend(columns.map(|row| first + (row - line * w.output) * w.stride * channels));
        }
        let (image, first) = (lines.start / h.output, lines.start % h.output);
        let pad = F::activation(self.zero, self.zero);
        let before = (w.before * channels).min(pitch);
        let inside = (w.input * channels).min(pitch - before);
        let count = self.geometry.lines(lines.len());
        for (at, to) in activations.chunks_exact_mut(pitch).take(count).enumerate() {
            // Skipped lines are those behind the window of one line of results and before that of the next.
            let line = ((first + at / step) * h.stride + at % step).wrapping_sub(h.before);
            if line >= h.input {
                to.fill(pad);
                continue;
            }
            let from = (image * h.input + line) * w.input * channels;
            to[..before].fill(pad);
            convert::<F>(&mut to[before..], &self.codes.bytes[from..from + inside], self.codes.flip(), self.zero);
            to[before + inside..].fill(pad);
        }
    }
}

/// Pixels that stand apart, gathered: those between them are not read.
struct Pixels<'a> {
    geometry: Geometry,
    codes: Codes<'a>,
    zero: u8,
}

impl Source for Pixels<'_> {
    fn rows(&self) -> usize {
        self.geometry.pixels()
    }

    fn row_size(&self) -> usize {
        self.geometry.channels
    }

    fn size<F: Form>(&self, rows: Range<usize>) -> usize {
        rows.len() * pitch::<F>(self.geometry.channels)
    }

    #[inline(always)]
    fn fill<F: Form>(&self, rows: Range<usize>, activations: &mut [F::X], bases: &mut Vec<usize>) {
        let Geometry { channels, windows: [d, h, w], .. } = self.geometry;
        let whole = pitch::<F>(channels);
        bases.extend((0..rows.len()).map(|row| row * whole));
        let mut to = activations.chunks_exact_mut(whole.max(1));
        let mut row = rows.start;
        while row < rows.end {
            let (line, column) = (row / w.output, row % w.output);
            let count = (w.output - column).min(rows.end - row);
            let plane = line / h.output / d.output * d.input + line / h.output % d.output * d.stride;
            let first = (plane * h.input + line % h.output * h.stride) * w.input + column * w.stride;
            let codes = &self.codes.bytes[first * channels..];
            for (pixel, to) in codes.chunks((w.stride * channels).max(1)).zip(to.by_ref().take(count)) {
                convert::<F>(&mut to[..channels], &pixel[..channels], self.codes.flip(), self.zero);
            }
            row += count;
        }
    }
}

/// Windows of one group, gathered.
struct Gather<'a> {
    geometry: Geometry,
    group: usize,
    codes: Codes<'a>,
    zero: u8,
}

impl Gather<'_> {
    fn k(&self) -> usize {
        self.geometry.taps() * (self.geometry.channels / self.geometry.groups)
    }

    /// The input under the window of one pixel, zero outside the input.
    #[inline(always)]
    fn window<F: Form>(&self, pixel: usize, to: &mut [F::X]) {
        let Geometry { channels, groups, windows: [d, h, w], .. } = self.geometry;
        let inner = channels / groups;
        let at = [pixel / (h.output * w.output) % d.output, pixel / w.output % h.output, pixel % w.output];
        let image = pixel / (d.output * h.output * w.output);
        let (deep, high, wide) = (d.taps(at[0]), h.taps(at[1]), w.taps(at[2]));
        if deep.len() * high.len() * wide.len() < self.geometry.taps() {
            to.fill(F::activation(self.zero, self.zero));
        }
        if wide.is_empty() {
            return;
        }
        for td in deep {
            let plane = (image * d.input + d.input_at(at[0], td)) * h.input;
            for th in high.clone() {
                let line = (plane + h.input_at(at[1], th)) * w.input;
                let tap = (td * h.kernel + th) * w.kernel;
                // Taps that follow each other in the input as in the window are one run.
                let (runs, taps) = if groups == 1 && w.dilation == 1 { (1, wide.len()) } else { (wide.len(), 1) };
                for run in 0..runs {
                    let from = (line + w.input_at(at[2], wide.start + run)) * channels + self.group * inner;
                    let to = &mut to[(tap + wide.start + run) * inner..][..taps * inner];
                    convert::<F>(to, &self.codes.bytes[from..from + taps * inner], self.codes.flip(), self.zero);
                }
            }
        }
    }
}

impl Source for Gather<'_> {
    fn rows(&self) -> usize {
        self.geometry.pixels()
    }

    fn row_size(&self) -> usize {
        self.k()
    }

    fn size<F: Form>(&self, rows: Range<usize>) -> usize {
        rows.len() * pitch::<F>(self.k())
    }

    #[inline(always)]
    fn fill<F: Form>(&self, rows: Range<usize>, activations: &mut [F::X], bases: &mut Vec<usize>) {
        let (k, whole) = (self.k(), pitch::<F>(self.k()));
        bases.extend((0..rows.len()).map(|row| row * whole));
        // What stands behind a row meets weights of zero.
        for (pixel, to) in rows.zip(activations.chunks_exact_mut(whole.max(1))) {
            self.window::<F>(pixel, &mut to[..k]);
        }
    }
}
