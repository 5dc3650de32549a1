//! Products with weights of four bits, `gemm.w4a4`, `gemm.w4a8` and `gemm.w4a16`, and the producers of their activations.
//!
//! # Against the limits
//! With few rows a product is limited by the bytes of its weights: 8192 x 8192 of them with groups of 128 are 35 MB, 8 us at 4.3 TB/s. A
//! block has 16 output channels, and a warp a group of 128 channels of them, whose codes are read once, 16 bytes a lane, past the
//! first-level cache, and go to registers as the left operand of `mma.sync`: nothing is shared or rearranged. A thread's 32 channels
//! lie side by side, since sums do not depend on the order of channels, and activations are read in the same order; 16 rows of
//! bytes are as many bytes as the weights they meet, and come from the first-level cache, where the 8 warps of a block do not
//! share them: 57 bytes a clock of its 128 at the full rate of memory (projected).
//!
//! Codes become bytes by a mask and a shift for 8 of them, bfloat16 by a mask, a shift and a sum for 2. In `w4a4` every group of 128 ends in
//! a conversion, two products and a sum for each result, beside one `mma.sync` a lane and 128 products for four results: with many rows
//! the issue of these limits, and not the tensor instructions (projected). Weights are read again for every 64 rows, from the
//! second-level cache. For many rows it should be `wgmma` with weights in registers, which is not written.
//!
//! Producers read a row once, keep what they make of it in shared memory, and gather it from there: at random, so that 32 lanes meet in a
//! bank about 3.5 times. A row of 4096 elements is gathered twice, 900 cycles of shared memory, in which memory moves 17 kB to each
//! multiprocessor where the row's operands and results are 10.4 kB: shared memory limits, at some 60 % of memory (projected). Order and
//! gains are read again for every row, from the first-level cache: 4.6 times the bytes, counted by the simulator.

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;

pub(crate) static PRODUCT: Source = Source { name: "lowbit.cu", text: include_str!("../kernels/lowbit.cu") };
pub(crate) static PRODUCER: Source = Source { name: "quantize.cu", text: include_str!("../kernels/quantize.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned {
        name: "gemm.w4a4",
        least: Arch::Sm80,
        steps: |device, dims, operands| product(device, dims, operands, 0),
    },
    Planned {
        name: "gemm.w4a8",
        least: Arch::Sm80,
        steps: |device, dims, operands| product(device, dims, operands, 1),
    },
    Planned {
        name: "gemm.w4a16",
        least: Arch::Sm80,
        steps: |device, dims, operands| product(device, dims, operands, 2),
    },
    Planned {
        name: "reorder_quantize.bf16",
        least: Arch::Sm80,
        steps: |device, dims, operands| produce(device, dims, operands, 0),
    },
    Planned {
        name: "rms_norm_quantize.bf16",
        least: Arch::Sm80,
        steps: |device, dims, operands| produce(device, dims, operands, 1),
    },
    Planned {
        name: "silu_mul_quantize.bf16",
        least: Arch::Sm80,
        steps: |device, dims, operands| produce(device, dims, operands, 2),
    },
];

/// Output channels of a block.
const CHANNELS: usize = 16;
/// Tiles of 8 rows of activations that a block may have.
const TILES: [usize; 4] = [1, 2, 4, 8];
/// Channels of a warp's vectors.
const CHUNK: usize = 128;
/// Threads of a block of either kernel.
const THREADS: u32 = 256;
/// Bytes of shared memory of a producer's block beside the row, and what the system takes of it.
const OTHER_SHARED: usize = 4 << 10;

fn multiplier(scheme: usize, tiles: usize, whole: bool) -> Instance {
    let instance = Instance::new(&PRODUCT, "lowbit", Arch::Sm80);
    instance.define("SCHEME", scheme).define("TILES", tiles).define("WHOLE", usize::from(whole))
}

fn producer(kind: usize) -> Instance {
    Instance::new(&PRODUCER, "quantize", Arch::Sm80).define("KIND", kind)
}

fn product(device: &Device, dims: &Dims, operands: &Operands, scheme: usize) -> Result<Steps> {
    let [m, n, k, group, outliers] = ["m", "n", "k", "group", "outliers"].map(|axis| dims[axis]);
    let inner = k - outliers;
    let tiles = TILES.into_iter().find(|tiles| 8 * tiles >= m).unwrap_or(TILES[TILES.len() - 1]);
    // Vectors of codes are of 32 channels, and rows of bytes and of bfloat16 begin at multiples of 16 bytes.
    let aligned = [1, 16, 8][scheme];
    let whole = group.is_multiple_of(CHUNK) && inner.is_multiple_of(32) && k.is_multiple_of(aligned);
    let row_scale = operands.find("row_scale").or(operands.find("b8_scale"));
    let mut pointers = Args::new();
    for name in ["a", "a_scale", "a8", "a8_scale", "b", "b_scale", "b_step", "b_zero", "b8"] {
        pointers = pointers.optional(operands.find(name));
    }
    let pointers = pointers.optional(row_scale).buffer(operands.buffer("out")?);
    let args = [m, n, k, group, outliers]
        .into_iter()
        .fold(Args::new().block(&pointers), |args, extent| args.i32(extent as i32));
    let blocks = |count: usize| {
        u32::try_from(count)
            .map_err(|_| GpuError::Unsupported(format!("{m} x {n} results are more than a grid has blocks")))
    };
    let grid = [blocks(n.div_ceil(CHANNELS))?, blocks(m.div_ceil(8 * tiles))?, 1];
    let mut steps = Steps::none();
    steps.step(device, &multiplier(scheme, tiles, whole), Launch::new(grid, [THREADS, 1, 1], args))?;
    Ok(steps)
}

fn produce(device: &Device, dims: &Dims, operands: &Operands, kind: usize) -> Result<Steps> {
    let [m, k, group, outliers] = ["m", "k", "group", "outliers"].map(|axis| dims[axis]);
    let (x, other) = match kind {
        2 => (operands.buffer("gate")?, operands.find("up")),
        _ => (operands.buffer("x")?, operands.find("weight")),
    };
    let mut pointers = Args::new().buffer(x).optional(other);
    for name in ["order", "a", "a_scale", "a8", "a8_scale"] {
        pointers = pointers.buffer(operands.buffer(name)?);
    }
    let eps = if kind == 1 { operands.scalar("eps")? } else { 0.0 };
    let staged = 4 * k + OTHER_SHARED <= device.facts().shared_per_block as usize;
    let args = Args::new().block(&pointers).f32(operands.scalar("clip")?).f32(eps);
    let args = args.i32(k as i32).i32(group as i32).i32(outliers as i32);
    let args = args.i32(staged.into()).i32(k.is_multiple_of(8).into());
    let blocks =
        u32::try_from(m).map_err(|_| GpuError::Unsupported(format!("{m} rows are more than a grid has blocks")))?;
    let launch = Launch::new([blocks, 1, 1], [THREADS, 1, 1], args);
    let launch = launch.shared(if staged { 4 * k as u32 } else { 0 });
    let mut steps = Steps::none();
    steps.step(device, &producer(kind), launch)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let mut all: Vec<Instance> = (0..3).map(producer).collect();
    for scheme in 0..3 {
        all.extend(TILES.iter().flat_map(|&tiles| [true, false].map(|whole| multiplier(scheme, tiles, whole))));
    }
    all
}
