//! Kernels that slide a window over codes: convolutions, depthwise ones, pools.
//!
//! # Against the limits
//! Rates are projected from the design; sectors, wavefronts and instructions are counts of the simulator. Memory of 4.3 TB/s and
//! a latency of some 0.7 us ask for 23 kB on their way to each multiprocessor, and move 1 kB in the time of 214 instructions.
//!
//! A convolution is limited by arithmetic from some tens of channels on, and mma.sync has some 62 % of the rate of wgmma. Of the
//! narrow tile three blocks share a multiprocessor, with 166 registers of 128 threads and 73 kB each, and 48 kB of each are on
//! their way; of the wide tile there is one, with 96 kB. Pixels are copied once a tap, for the most part from the caches: at 28 x
//! 28 pixels, 64 to 64 channels and 3 x 3 taps 5.0 times the bytes of operands and results, 8.5 sectors a request. Channels that
//! 16 does not divide are copied 8 or 4 bytes at a time (24 channels: 6.1 times, 20: 10.1 times, with requests of 7.6 sectors and
//! more). Those that 4 does not divide are padded first, by a kernel that reads and writes the image once: 3 channels become 4
//! (4.3 times in all), 30 become 32 (6.6 times). Every convolution is then of asynchronous copies alone.
//!
//! The depthwise kernel reads rows into a ring once a band: 1.03 times the bytes of operands and results at 112 x 112 x 32 in one
//! image of four bands, 1.09 at 56 x 56 x 128, 1.14 at 28 x 28 x 64 with a stride of 2; bands of four rows, the least there are,
//! read the input 1.5 times. Two rows are on their way in each block; at 56 x 56 x 128 these are 15 kB, and three blocks with 80
//! registers of 224 threads share a multiprocessor: 45 kB. An access to shared memory takes 1.4 cycles of the banks. Of 149
//! instructions of PTX for 128 outputs 12 multiply, 15 permute bytes and 21 are moves that the assembler drops; some 75 are left,
//! where memory allows 54: issue is the limit, at some 70 % of that of memory.
//!
//! Pools are limited by memory. A thread takes 16 channels, so that requests have 15 to 16 sectors of 16; bytes are those of
//! operands and results where windows do not overlap, and 1.9 times them, the rest from the first-level cache, for 3 x 3 taps and
//! a stride of 2. Of the largest code's kernel six blocks share a multiprocessor, of the mean's five: 24 and 20 kB on their way
//! with one load a thread, so that the mean is somewhat short of the limit where its loop of taps is not unrolled.

use crate::device::{Args, Buffer, Device, Launch};
use crate::elementwise::spread;
use crate::error::{GpuError, Result};
use crate::gemm::{self, Factors, Finish, Problem, Requant, Wish};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;
use tandem_tensor::DType;

pub(crate) static CONV: Source = Source { name: "conv.cu", text: include_str!("../kernels/conv.cu") };
pub(crate) static DEPTHWISE: Source = Source { name: "depthwise.cu", text: include_str!("../kernels/depthwise.cu") };
static POOL: Source = Source { name: "pool.cu", text: include_str!("../kernels/pool.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "conv2d.i8", least: Arch::Sm80, steps: conv },
    Planned { name: "depthwise.i8", least: Arch::Sm80, steps: depthwise },
    Planned { name: "max_pool.i8", least: pool_needs(false), steps: pool },
    Planned { name: "average_pool.i8", least: pool_needs(true), steps: pool },
];

/// Output pixels of a tile.
const TILE_M: usize = 128;
/// Bytes along the sum of a slot.
const TILE_K: usize = 128;
/// Extents of the results along both axes.
fn outputs(dims: &Dims) -> Result<[usize; 2]> {
    tandem_ops::window_outputs(dims).ok_or_else(|| GpuError::Invalid(format!("no window fits for {dims}")))
}

/// The structures `Window` of both axes.
fn windows(dims: &Dims, [high, wide]: [usize; 2]) -> Args {
    let axes = [
        (["h", "kh", "stride_h", "dilation_h", "pad_top"], high),
        (["w", "kw", "stride_w", "dilation_w", "pad_left"], wide),
    ];
    axes.into_iter().fold(Args::new(), |args, (names, output)| {
        names.into_iter().fold(args, |args, name| args.i32(dims[name] as i32)).i32(output as i32)
    })
}

/// How sums become codes.
fn requant<'a>(dims: &Dims, operands: &'a Operands) -> Result<Requant<'a>> {
    let [zero_point, lo, hi] = ["zero_point", "lo", "hi"].map(|name| operands.scalar(name));
    Requant::new(dims, operands, [zero_point?, lo?, hi?])
}

/// A tile of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    /// Output channels.
    columns: usize,
    stages: usize,
}

/// Bytes that a convolution copies at a time.
const COPIES: [usize; 3] = [16, 8, 4];

/// The channels that a convolution computes with: padded where no copy divides them, or a product would have unaligned rows.
fn padded(channels: usize, pointwise: bool) -> usize {
    let whole = channels.next_multiple_of(16);
    // A wider copy is worth a sum that is a quarter longer.
    match pointwise || (!channels.is_multiple_of(4) && whole * 4 <= channels * 5) {
        true => whole,
        false => channels.next_multiple_of(4),
    }
}

/// The largest of these widths that divides the channels; 1 is one of them.
fn widest(widths: impl IntoIterator<Item = usize>, channels: usize) -> usize {
    widths.into_iter().find(|width| channels.is_multiple_of(*width)).unwrap_or(1)
}

const TILES: [Tile; 2] = [Tile { columns: 64, stages: 3 }, Tile { columns: 128, stages: 4 }];

impl Tile {
    /// The wide tile reads pixels half as often; the narrow one makes twice as many blocks, three of which share a
    /// multiprocessor.
    fn of(pixels: usize, outputs: usize, multiprocessors: usize) -> Tile {
        let wide = pixels.div_ceil(TILE_M) * outputs.div_ceil(TILES[1].columns);
        let fills = outputs.is_multiple_of(128) || outputs % 128 > 64;
        TILES[usize::from(fills && wide >= multiprocessors)]
    }

    /// Blocks that share the sum of a tile: as many as keep all multiprocessors busy, each with four steps at least.
    fn splits(self, tiles: usize, length: usize, multiprocessors: usize) -> usize {
        (multiprocessors / tiles).min(length.div_ceil(TILE_K) / 4).max(1)
    }

    fn shared(self) -> usize {
        // The first slot begins at a multiple of 128.
        self.stages * (TILE_M + self.columns) * TILE_K + 128
    }

    /// The kernel that copies so many bytes at a time.
    fn instance(self, width: usize) -> Instance {
        Instance::new(&CONV, "conv_mma", Arch::Sm80)
            .define("TN", self.columns)
            .define("STAGES", self.stages)
            .define("WIDTH", width)
    }
}

/// Whether every window is one pixel and the next pixel has the next one, so that the convolution is a product.
fn pointwise(dims: &Dims) -> bool {
    let ones = ["kh", "kw", "stride_h", "stride_w"];
    let zeros = ["pad_top", "pad_bottom", "pad_left", "pad_right"];
    ones.iter().all(|axis| dims[*axis] == 1) && zeros.iter().all(|axis| dims[*axis] == 0)
}

/// The instance of a kernel of the convolution's file that has no tile.
fn beside(kernel: &'static str) -> Instance {
    let [tile, _] = TILES;
    Instance { kernel, ..tile.instance(COPIES[0]) }
}

/// The launch that copies rows of codes with the code `fill` behind them, and where it copies them to.
fn pad(device: &Device, from: &Buffer, [channels, padded]: [usize; 2], fill: i32) -> Result<(Buffer, Launch)> {
    let rows = from.len() / channels.max(1);
    let to = device.alloc(DType::I8, rows * padded)?;
    let args = Args::new().buffer(from).buffer(&to).u64(rows as u64).i32(channels as i32).i32(padded as i32).i32(fill);
    Ok((to, spread(device, rows * padded / 4, args)))
}

fn conv(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [high, wide] = outputs(dims)?;
    let (images, o, pixels) = (dims["n"], dims["o"], dims["n"] * high * wide);
    let channels = padded(dims["c"], pointwise(dims));
    let (x, weight) = (operands.buffer("x")?, operands.buffer("weight")?);
    let input_zero_point: i32 = operands.scalar("input_zero_point")?;
    let weight_zero_point: i32 = operands.scalar("weight_zero_point")?;
    let mut steps = Steps::none();
    // Zeros among the weights make codes between the channels count for nothing, and those of zero do so in the sums of rows.
    let widened = match [dims["c"], channels] {
        [plain, wider] if plain == wider => None,
        both => {
            let (x, copy_x) = pad(device, x, both, input_zero_point)?;
            let (weight, copy_weight) = pad(device, weight, both, 0)?;
            steps.step(device, &beside("conv_pad"), copy_x)?;
            steps.step_of_weights(device, &beside("conv_pad"), copy_weight)?;
            Some([x, weight])
        }
    };
    let [x, weight] = widened.as_ref().map_or([x, weight], |[x, weight]| [x, weight]);
    let length = dims["kh"] * dims["kw"] * channels;
    let folded = device.alloc(DType::I32, o)?;
    let args = Args::new().buffer(weight).buffer(operands.buffer("bias")?).buffer(&folded).i32(o as i32);
    // The sum of a row counts the codes of whole slots.
    let whole = length.next_multiple_of(TILE_K);
    let args = args.i32(length as i32).i32(input_zero_point).i32(weight_zero_point).i32(whole as i32);
    let launch = Launch::new([o.div_ceil(4) as u32, 1, 1], [128, 1, 1], args);
    steps.step_of_weights(device, &beside("conv_fold"), launch)?;

    let finish = Finish { bias: &folded, requant: Some(requant(dims, operands)?), act: 0 };
    let factors = Factors { a: x, b: weight, out: operands.buffer("out")?, finish };
    let problem = Problem { dtype: DType::I8, m: pixels, n: o, k: length };
    if pointwise(dims) && weight_zero_point == 0 {
        steps.extend(gemm::product(device, &problem, Wish::default(), &factors)?);
    } else {
        let multiprocessors = device.facts().shares();
        let tile = if weight_zero_point == 0 { Tile::of(pixels, o, multiprocessors) } else { TILES[0] };
        let tiles = pixels.div_ceil(TILE_M) * o.div_ceil(tile.columns);
        let splits = tile.splits(tiles, length, multiprocessors);
        let partials = if splits > 1 { Some(device.alloc(DType::I32, splits * pixels * o)?) } else { None };
        let shape = windows(dims, [high, wide]).i32(images as i32).i32(channels as i32).i32(o as i32);
        let args = Args::new().buffer(x).buffer(weight).buffer(factors.out).optional(partials.as_ref());
        let args = args.block(&finish.args()).block(&shape).i32(input_zero_point).i32(weight_zero_point);
        let launch = Launch::new([tiles as u32, splits as u32, 1], [2 * tile.columns as u32, 1, 1], args);
        let instance = tile.instance(widest(COPIES, channels));
        let instance = if weight_zero_point == 0 { instance } else { instance.define("ROW_SUMS", 1) };
        let instance = if splits > 1 { instance } else { finish.rounding(instance) };
        steps.step(device, &instance, launch.shared(tile.shared() as u32))?;
        if let Some(partials) = partials {
            gemm::reduce(device, &mut steps, &problem, partials, splits, &factors)?;
        }
    }
    widened.into_iter().flatten().chain([folded]).for_each(|buffer| {
        steps.keep(buffer);
    });
    Ok(steps)
}

/// How blocks of the depthwise kernel share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Strips {
    /// Words of four channels.
    lanes: usize,
    strips: usize,
    width: usize,
    bands: usize,
    height: usize,
    columns: usize,
    groups: usize,
    ring: usize,
    shared: usize,
}

/// Output rows whose input is on its way while one is computed.
const AHEAD: usize = 2;
/// Bytes that the ring and the weights of a block may have, so that several blocks share a multiprocessor.
const RING: usize = 44 * 1024;

impl Strips {
    /// None for windows of so many taps that the rows under a single output do not fit.
    fn of(dims: &Dims, [high, wide]: [usize; 2], multiprocessors: usize) -> Option<Strips> {
        let [stride_h, stride_w, channels] = ["stride_h", "stride_w", "c"].map(|axis| dims[axis]);
        let ring = (dims["kh"] - 1) * dims["dilation_h"] + 1 + AHEAD * stride_h;
        let groups = ((dims["kw"] - 1) * dims["dilation_w"] + 1 + stride_w).div_ceil(4);
        // The most channels of which at most an eighth is missing in the last block.
        let wasted = |lanes: usize| channels.next_multiple_of(4 * lanes) - channels;
        let lanes = [32, 16].into_iter().find(|lanes| wasted(*lanes) * 8 <= channels).unwrap_or(8);
        let pixel = if lanes == 32 { 128 } else { lanes * 6 };
        let columns = |width: usize| (width.next_multiple_of(2) - 2) * stride_w + groups * 4;
        let weights = dims["kh"] * lanes * (groups * 32 + dims["kw"] * 4);
        let shared = |width: usize| weights + ring * columns(width) * pixel;
        let strips = (1..=wide).find(|strips| shared(wide.div_ceil(*strips)) <= RING)?;
        let width = wide.div_ceil(strips);
        let strips = wide.div_ceil(width);
        // Bands of fewer than four rows would read most rows of the input twice.
        let blocks = dims["n"] * strips * channels.div_ceil(4 * lanes);
        let height = high.div_ceil((2 * multiprocessors).div_ceil(blocks)).max(high.min(4));
        let bands = high.div_ceil(height);
        Some(Strips {
            lanes,
            strips,
            width,
            bands,
            height,
            columns: columns(width),
            groups,
            ring,
            shared: shared(width),
        })
    }

    fn threads(&self) -> usize {
        // A thread takes four pairs of outputs of four channels.
        (self.lanes * self.width.div_ceil(8)).next_multiple_of(32).min(256)
    }

    fn args(&self) -> Args {
        let members = [self.strips, self.width, self.bands, self.height, self.columns, self.groups, self.ring];
        members.into_iter().fold(Args::new(), |args, member| args.i32(member as i32))
    }
}

/// A kernel of the depthwise file for blocks of so many words of four channels.
fn depthwise_instance(kernel: &'static str, lanes: usize) -> Instance {
    Instance::new(&DEPTHWISE, kernel, Arch::Sm80).define("LANES", lanes)
}

fn depthwise(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let outputs = outputs(dims)?;
    let [images, channels, multiplier] = ["n", "c", "multiplier"].map(|axis| dims[axis]);
    let shape = windows(dims, outputs).i32(images as i32).i32(channels as i32).i32(multiplier as i32);
    let mut args = Args::new();
    for name in ["x", "weight", "bias"] {
        args = args.buffer(operands.buffer(name)?);
    }
    let requant = requant(dims, operands)?;
    let args = args.block(&requant.factors()).buffer(operands.buffer("out")?).block(&shape);
    let (zero_point, weight_zero_point) =
        (operands.scalar("input_zero_point")?, operands.scalar::<i32>("weight_zero_point")?);
    let strips = (channels.is_multiple_of(4) && multiplier == 1 && weight_zero_point == 0)
        .then(|| Strips::of(dims, outputs, device.facts().shares()))
        .flatten();
    let mut steps = Steps::none();
    if let Some(strips) = strips {
        let grid = [strips.strips * strips.bands * images, channels.div_ceil(4 * strips.lanes)];
        let args = args.block(&strips.args()).block(&requant.args()).i32(zero_point);
        let launch = Launch::new([grid[0] as u32, grid[1] as u32, 1], [strips.threads() as u32, 1, 1], args);
        let instance = requant.rounding().of(depthwise_instance("depthwise", strips.lanes));
        steps.step(device, &instance, launch.shared(strips.shared as u32))?;
    } else {
        let items = outputs[0] * outputs[1] * images * channels * multiplier;
        let launch = spread(device, items, args.block(&requant.args()).i32(zero_point).i32(weight_zero_point));
        steps.step(device, &requant.rounding().of(depthwise_instance("depthwise_any", 8)), launch)?;
    }
    Ok(steps)
}

/// Channels that a thread takes: as many as go into a vector and divide them.
const WIDTHS: [usize; 3] = [16, 4, 1];

/// Maxima of pairs of 16-bit integers are an instruction of Hopper.
const fn pool_needs(average: bool) -> Arch {
    if average { Arch::Sm80 } else { Arch::Sm90a }
}

fn pool_instance(average: bool, width: usize) -> Instance {
    Instance::new(&POOL, "pool", pool_needs(average)).define("KIND", u8::from(average)).define("WIDTH", width)
}

fn pool(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [high, wide] = outputs(dims)?;
    let (images, channels) = (dims["n"], dims["c"]);
    // Only the definition of the mean has the choice.
    let average = dims.find("padding").is_some();
    let counted = dims.find("padding") == Some(1);
    let zero_point: i32 = if average { operands.scalar("zero_point")? } else { 0 };
    let constants = windows(dims, [high, wide]).i32(images as i32).i32(channels as i32);
    let constants = constants.i32(operands.scalar("lo")?).i32(operands.scalar("hi")?);
    let constants = constants.i32(counted.into()).i32(zero_point);
    let least = if average && dims["codes"] == 1 { -128 } else { 0 };
    let constants = constants.i32(dims["pad_bottom"] as i32).i32(dims["pad_right"] as i32).i32(least);
    let args = Args::new().buffer(operands.buffer("x")?).buffer(operands.buffer("out")?).block(&constants);
    let width = widest(WIDTHS, channels);
    let items = images * high * wide * channels / width;
    let mut steps = Steps::none();
    steps.step(device, &pool_instance(average, width), spread(device, items, args))?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let mut rounding: Vec<Instance> =
        TILES.into_iter().flat_map(|tile| COPIES.map(|width| tile.instance(width))).collect();
    rounding.extend(COPIES.map(|width| TILES[0].instance(width).define("ROW_SUMS", 1)));
    rounding.extend([8, 16, 32].map(|lanes| depthwise_instance("depthwise", lanes)));
    rounding.push(depthwise_instance("depthwise_any", 8));
    let integers = rounding.clone().into_iter().map(|instance| instance.define("ROUNDING", 1));
    let mut all: Vec<Instance> = ["conv_fold", "conv_pad"].map(beside).into_iter().chain(integers).collect();
    all.extend(rounding);
    all.extend(WIDTHS.into_iter().flat_map(|width| [false, true].map(|average| pool_instance(average, width))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::def::Sample;

    #[test]
    fn tiles_fit_a_multiprocessor_and_wide_ones_are_full() {
        assert_eq!(Tile::of(56 * 56 * 32, 128, 132), TILES[1]);
        assert_eq!(Tile::of(56 * 56 * 32, 64, 132), TILES[0]);
        assert_eq!(Tile::of(56 * 56 * 32, 160, 132), TILES[0]);
        assert_eq!(Tile::of(7 * 7, 512, 132), TILES[0]);
        assert!(3 * (TILES[0].shared() + 1024) <= 228 * 1024 && TILES[1].shared() <= 227 * 1024);
        // A convolution of 7 x 7 pixels with 512 channels is eight tiles of 36 steps.
        assert_eq!(TILES[0].splits(8, 9 * 512, 132), 9);
        assert_eq!(TILES[0].splits(200, 9 * 512, 132), 1);
        assert_eq!(TILES[0].splits(1, 0, 132), 1);
        assert_eq!([3, 4, 20, 24, 30, 33, 64].map(|c| padded(c, false)), [4, 4, 20, 24, 32, 36, 64]);
        assert_eq!([3, 20, 64].map(|c| padded(c, true)), [16, 32, 64]);
        // A tile of codes lies where the slots were.
        assert!(TILES.iter().all(|tile| TILE_M * (tile.columns + 16) <= tile.shared() - 128));
    }
    #[test]
    fn strips_fit_shared_memory_and_bands_read_rows_about_once_where_there_are_enough() {
        let def = tandem_ops::operation("depthwise.i8").unwrap().def();
        let of = |n: usize, side: usize, c: usize, stride: usize| {
            let extents = [("n", n), ("h", side), ("w", side), ("c", c), ("stride_h", stride), ("stride_w", stride)];
            let dims = Sample::new(def, "random", &extents).dims;
            Strips::of(&dims, outputs(&dims).unwrap(), 132).unwrap()
        };
        for (n, side, c, stride) in
            [(1, 114, 32, 1), (32, 114, 64, 2), (32, 58, 128, 1), (1, 9, 1024, 1), (1, 9, 144, 1)]
        {
            let strips = of(n, side, c, stride);
            assert!(
                strips.shared <= RING && strips.threads() <= 256 && strips.height * strips.bands >= 7,
                "{strips:?}"
            );
        }
        assert_eq!([32, 64, 96, 128, 144, 960].map(|c| of(1, 9, c, 1).lanes), [8, 16, 8, 32, 8, 32]);
        // Many images: a block goes down all rows of one.
        assert_eq!((of(512, 58, 128, 1).height, of(512, 58, 128, 1).strips), (56, 1));
        // One image: bands of no fewer than four rows.
        assert_eq!(of(1, 58, 128, 1).height, 4);
        let wide = Sample::new(def, "random", &[("h", 99), ("w", 99), ("c", 128), ("kh", 99), ("kw", 99)]).dims;
        assert_eq!(Strips::of(&wide, [1, 1], 132), None);
    }
}
