//! Kernels that go through memory element by element: activations, gated ones, sums of codes.
//!
//! # Against the limits
//! Memory of 4.3 TB/s with a latency of some 0.7 us asks for 23 kB on their way to each multiprocessor, and moves 1 kB in the
//! time of 214 instructions. No kernel takes more than 32 registers, so that eight blocks of 256 threads share a multiprocessor:
//! 32 kB on their way with one load of 16 bytes a thread, 64 kB where there are two operands. Counted by the simulator, requests
//! have 16 sectors, the whole of 512 bytes, and bytes are exactly those of operands and results; a kB takes 57 instructions of
//! PTX for ReLU, 81 for SiLU, 113 for GELU by its tangent form, 184 for the tangent, 96 for the gated product and 211 for sums of
//! codes. GELU by the error function takes 283 and is limited by issue, at some 75 % of memory (projected).

use crate::device::{Args, Device, Launch};
use crate::error::Result;
use crate::gemm::{Rounding, clamps};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::ACTIVATIONS;
use tandem_ops::def::Dims;

static ELEMENTWISE: Source = Source { name: "elementwise.cu", text: include_str!("../kernels/elementwise.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "activation.bf16", least: Arch::Sm80, steps: activation },
    Planned { name: "silu_mul.bf16", least: Arch::Sm80, steps: silu_mul },
    Planned { name: "add.i8", least: Arch::Sm80, steps: add },
];

const THREADS: usize = 256;
/// Blocks of a multiprocessor: what its threads and registers leave room for.
const BLOCKS: usize = 8;

/// A launch for so many items, of which every thread takes one after another.
pub(crate) fn spread(device: &Device, items: usize, args: Args) -> Launch {
    let most = BLOCKS * device.facts().shares();
    let blocks = items.div_ceil(THREADS).clamp(1, most);
    Launch::new([blocks as u32, 1, 1], [THREADS as u32, 1, 1], args)
}

fn instance(kernel: &'static str, kind: usize) -> Instance {
    Instance::new(&ELEMENTWISE, kernel, Arch::Sm80).define("KIND", kind)
}

fn activation(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let len = dims["len"];
    let args = Args::new().buffer(operands.buffer("x")?).buffer(operands.buffer("out")?).u64(len as u64);
    let mut steps = Steps::none();
    // The last elements, which fill no vector, are one for each of the first threads.
    steps.step(device, &instance("activation_bf16", dims["kind"]), spread(device, len.div_ceil(8), args))?;
    Ok(steps)
}

fn silu_mul(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (m, n) = (dims["m"], dims["n"]);
    let vectors = n.is_multiple_of(8);
    let args = Args::new().buffer(operands.buffer("x")?).buffer(operands.buffer("out")?);
    let args = args.u64(m as u64).i32(n as i32).i32(vectors.into());
    let mut steps = Steps::none();
    let items = if vectors { m * n / 8 } else { m * n };
    steps.step(device, &instance("silu_mul", 0), spread(device, items, args))?;
    Ok(steps)
}

fn add(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let mut constants = Args::new();
    let factors = ["a_multiplier", "a_shift", "b_multiplier", "b_shift", "multiplier", "shift"];
    for name in ["a_zero_point", "b_zero_point"].into_iter().chain(factors) {
        constants = constants.i32(operands.scalar(name)?);
    }
    let [zero_point, lo, hi] = ["zero_point", "lo", "hi"].map(|name| operands.scalar(name));
    let constants = constants.block(&clamps([zero_point?, lo?, hi?]).i32(0));
    let rounding = Rounding::chosen(dims);
    let args = Args::new().buffer(operands.buffer("a")?).buffer(operands.buffer("b")?);
    let args = args.buffer(operands.buffer("out")?).block(&constants).u64(dims["len"] as u64);
    let mut steps = Steps::none();
    steps.step(device, &rounding.of(instance("add_i8", 0)), spread(device, dims["len"].div_ceil(16), args))?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let activations = (0..ACTIVATIONS.len()).map(|kind| instance("activation_bf16", kind));
    let integers = instance("add_i8", 0).define("ROUNDING", 1);
    activations.chain([instance("silu_mul", 0), instance("add_i8", 0), integers]).collect()
}
