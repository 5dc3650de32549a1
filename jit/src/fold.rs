//! First layers with few channels: neighbouring pixels become channels of one.
//!
//! A convolution of 3 channels leaves most input lanes idle. Where its input comes from the host, the host packs it so that a
//! pixel holds a block of them, and the kernel slides over blocks:
//!
//! ```text
//! image 32x32x3, kernel 3x3, 16 lanes           a block of 1x3: image 32x32x9, kernel 3x1: a third of the elements
//! image 49x10x1, kernel 10x4 by 2, 8 lanes      a block of 2x4: image 25x4x8, kernel 5x1: an eighth
//! ```
//!
//! A block begins at every position that a tap asks for, and blocks overlap; positions that no tap asks for are not packed.
//! What lies outside the image holds the code of zero, so that the layer has no padding of its own.

use crate::layout::{Dims, Geometry};
use crate::lower::{Slide, Window, WindowKind};

/// How an input is packed in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fold {
    /// The image as it is.
    pub source: Dims,
    /// The image of blocks.
    pub dims: Dims,
    /// Rows and columns of a block.
    pub block: [usize; 2],
    /// Rows and columns from one block to the next.
    pub step: [usize; 2],
    /// Rows and columns of padding before the image.
    pub pad: [usize; 2],
    /// The byte that stands for zero.
    pub pad_value: u8,
}

impl Fold {
    /// Calls `run(row, column, first channel)` with every pixel of the image that a block holds, by the block's row and column.
    pub fn each_pixel(&self, row: usize, column: usize, mut run: impl FnMut(usize, usize, usize)) {
        let at = |axis: usize, block: usize, within: usize, extent: usize| {
            (block * self.step[axis] + within).checked_sub(self.pad[axis]).filter(|&at| at < extent)
        };
        for i in 0..self.block[0] {
            let Some(y) = at(0, row, i, self.source.h) else { continue };
            for j in 0..self.block[1] {
                if let Some(x) = at(1, column, j, self.source.w) {
                    run(y, x, (i * self.block[1] + j) * self.source.c);
                }
            }
        }
    }
}

/// The cheapest blocks for the layer, where any are cheaper than pixels; the layer then slides over them.
pub(crate) fn fold(layer: &mut Window, g: &Geometry, bus_bytes: usize) -> Option<Fold> {
    let WindowKind::Gemm { weights } = &layer.kind else { return None };
    if layer.slide.dilation != [1, 1] || layer.input.c >= g.cell {
        return None;
    }
    let [kh, kw] = layer.slide.kernel;
    let plain = (cost(layer, g, bus_bytes, layer.input, [kh, kw]), [1, 1]);
    let blocks = (1..=kh).flat_map(|rows| (1..=kw).map(move |columns| [rows, columns]));
    let costs = blocks.map(|block| {
        let (dims, slide, _) = blocked(layer, block);
        (cost(layer, g, bus_bytes, dims, slide.kernel), block)
    });
    let (_, block) = costs.chain([plain]).min()?;
    if block == [1, 1] {
        return None;
    }
    let (dims, slide, step) = blocked(layer, block);
    let weights = weights.iter().map(|pass| fold_weights(pass, layer, block, slide.kernel, dims.c)).collect();
    let pad_value = layer.pad_value as i8 as u8;
    let fold = Fold { source: layer.input, dims, block, step, pad: layer.slide.pad, pad_value };
    (layer.input, layer.slide, layer.kind) = (dims, slide, WindowKind::Gemm { weights });
    Some(fold)
}

/// Cycles of the array, or of the bus where those are more.
fn cost(layer: &Window, g: &Geometry, bus_bytes: usize, dims: Dims, [rows, columns]: [usize; 2]) -> usize {
    let vectors = layer.output.h * layer.output.w * g.blocks(layer.output.c) * g.out_per_cell;
    let array = vectors * rows * columns * dims.c.div_ceil(g.block_in);
    let word = bus_bytes.min(g.batch * g.block_in);
    let load = dims.h * dims.w * g.blocks(dims.c) * g.batch * g.cell / word;
    // What is loaded costs something beside computing too.
    array.max(load) + load / 8
}

/// The image of blocks, how the layer slides over it, and the distance of blocks.
fn blocked(layer: &Window, block: [usize; 2]) -> (Dims, Slide, [usize; 2]) {
    let slide = &layer.slide;
    let kernel = [0, 1].map(|a| slide.kernel[a].div_ceil(block[a]));
    // Blocks begin where a tap of some output does.
    let step = [0, 1].map(|a| if kernel[a] == 1 { slide.stride[a] } else { common(slide.stride[a], block[a]) });
    let stride = [0, 1].map(|a| slide.stride[a] / step[a]);
    let dilation = [0, 1].map(|a| if kernel[a] == 1 { 1 } else { block[a] / step[a] });
    let outputs = [layer.output.h, layer.output.w];
    let extent = [0, 1].map(|a| (outputs[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1);
    let dims = Dims { n: layer.input.n, h: extent[0], w: extent[1], c: layer.input.c * block[0] * block[1] };
    (dims, Slide { kernel, stride, dilation, pad: [0, 0] }, step)
}

/// Weights `[o][h][w][i]` in blocks: those of taps that the kernel does not have are zero.
fn fold_weights(pass: &[i8], layer: &Window, block: [usize; 2], kernel: [usize; 2], channels: usize) -> Vec<i8> {
    let (c, [kh, kw]) = (layer.input.c, layer.slide.kernel);
    let mut folded = vec![0; layer.output.c * kernel[0] * kernel[1] * channels];
    for o in 0..layer.output.c {
        for y in 0..kh {
            for x in 0..kw {
                let tap = (o * kernel[0] + y / block[0]) * kernel[1] + x / block[1];
                let to = tap * channels + (y % block[0] * block[1] + x % block[1]) * c;
                let from = ((o * kh + y) * kw + x) * c;
                folded[to..to + c].copy_from_slice(&pass[from..from + c]);
            }
        }
    }
    folded
}

/// The greatest common divisor.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::Post;
    use tandem_isa::HwConfig;

    fn layer(input: Dims, output: Dims, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Window {
        let count = output.c * kernel[0] * kernel[1] * input.c;
        let weights = vec![(0..count).map(|n| (n * 7 % 251) as u8 as i8).collect()];
        let slide = Slide { kernel, stride, dilation: [1, 1], pad };
        let kind = WindowKind::Gemm { weights };
        Window { input, output, slide, pad_value: -3, kind, post: Post::Clamp(None) }
    }

    /// Sums of every output by definition, and by blocks.
    fn compare(mut plain: Window, config: &HwConfig) -> Option<[usize; 2]> {
        let dims = plain.input;
        let image: Vec<i32> = (0..dims.h * dims.w * dims.c).map(|n| (n * 13 % 101) as i32 - 50).collect();
        let sums = |layer: &Window, value: &dyn Fn(isize, isize, usize) -> i32| {
            let WindowKind::Gemm { weights } = &layer.kind else { return Vec::new() };
            let ([kh, kw], c, slide) = (layer.slide.kernel, layer.input.c, &layer.slide);
            let mut sums = Vec::new();
            for (y, x, o) in (0..layer.output.h)
                .flat_map(|y| (0..layer.output.w).flat_map(move |x| (0..layer.output.c).map(move |o| (y, x, o))))
            {
                let mut sum = 0;
                for (a, b, ch) in (0..kh).flat_map(|a| (0..kw).flat_map(move |b| (0..c).map(move |ch| (a, b, ch)))) {
                    let at = |axis: usize, out: usize, tap: usize| {
                        (out * slide.stride[axis] + tap * slide.dilation[axis]) as isize - slide.pad[axis] as isize
                    };
                    let weight = i32::from(weights[0][((o * kh + a) * kw + b) * c + ch]);
                    sum += weight * value(at(0, y, a), at(1, x, b), ch);
                }
                sums.push(sum);
            }
            sums
        };
        let pixel = |y: isize, x: isize, ch: usize| {
            let inside = (0..dims.h as isize).contains(&y) && (0..dims.w as isize).contains(&x);
            if inside { image[(y as usize * dims.w + x as usize) * dims.c + ch] } else { -3 }
        };
        let expected = sums(&plain, &pixel);
        let fold = fold(&mut plain, &Geometry::new(config), config.bus_bytes())?;
        let block = |y: isize, x: isize, ch: usize| {
            assert!((0..fold.dims.h as isize).contains(&y) && (0..fold.dims.w as isize).contains(&x), "no padding");
            let mut value = i32::from(fold.pad_value as i8);
            fold.each_pixel(y as usize, x as usize, |row, column, first| {
                if (first..first + dims.c).contains(&ch) {
                    value = image[(row * dims.w + column) * dims.c + ch - first];
                }
            });
            value
        };
        assert_eq!(sums(&plain, &block), expected);
        Some(fold.block)
    }

    #[test]
    fn blocks_give_the_sums_of_pixels() {
        let dims = |h, w, c| Dims { n: 1, h, w, c };
        for name in HwConfig::presets() {
            let config = HwConfig::preset(name).expect("a preset");
            compare(layer(dims(8, 8, 3), dims(8, 8, 5), [3, 3], [1, 1], [1, 1]), &config);
            compare(layer(dims(9, 9, 3), dims(5, 5, 8), [3, 3], [2, 2], [0, 0]), &config);
            compare(layer(dims(13, 10, 1), dims(7, 5, 4), [10, 4], [2, 2], [4, 1]), &config);
            compare(layer(dims(7, 6, 2), dims(3, 2, 3), [2, 3], [3, 3], [0, 0]), &config);
            compare(layer(dims(6, 5, 1), dims(6, 5, 2), [1, 1], [1, 1], [0, 0]), &config);
        }
    }

    #[test]
    fn few_channels_fill_the_lanes_and_many_stay_as_they_are() {
        let config = HwConfig::preset("vta").expect("a preset");
        let dims = |h, w, c| Dims { n: 1, h, w, c };
        let first = layer(dims(32, 32, 3), dims(32, 32, 16), [3, 3], [1, 1], [1, 1]);
        assert!(compare(first, &config).is_some_and(|[rows, columns]| rows * columns >= 3));
        assert_eq!(compare(layer(dims(8, 8, 16), dims(8, 8, 16), [3, 3], [1, 1], [1, 1]), &config), None);
    }
}
