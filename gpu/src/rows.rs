//! Kernels that treat every row by itself: softmax, norms, rotary embedding.
//!
//! # Against the limits
//! All are limited by memory, whose 4.3 TB/s and latency of some 0.7 us ask for 23 kB on their way to each multiprocessor and
//! move 1 kB in the time of 214 instructions. Sectors and instructions of PTX below are counts of the simulator, the rest is
//! projected.
//!
//! Rows of up to 16,384 elements of bfloat16 are read once, whole vectors a lane, 16 sectors a request, and stay in registers:
//! the bytes of softmax are exactly those of operands and results. A longer row is read again for the results, 1.5 times the
//! bytes, the second time from the second-level cache. A thread has as many loads on their way before the first reduction as its
//! form has vectors: three blocks of 256 threads with four vectors are 48 kB on a multiprocessor. Softmax takes 171 instructions
//! a kB of binary32 and 265 a kB of bfloat16, so that the latter is limited by issue, at some 80 % of memory.
//!
//! Norms read their weights once a row, from the first-level cache, past which rows are read: 1.5 times the bytes at 4096
//! elements, 1.2 times with a residual, 2.0 times with a bias. They take 141, 117 and 262 instructions a kB; the last, layer
//! norm, is limited by issue, at some 80 % of memory.
//!
//! Rotary embedding moves 1.05 times the bytes, positions and turns being the rest. A block turns a token and computes its sines
//! once; a thread reads the angles of its vector once, without conflicts of banks but those of 8-byte words (2.2 cycles an
//! access). With 42 registers five blocks of 256 threads share a multiprocessor, each thread with two loads of 16 bytes on their
//! way: 40 kB. It takes 142 instructions a kB.

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;
use tandem_tensor::{DType, Tensor};

pub(crate) static SOFTMAX: Source = Source { name: "softmax.cu", text: include_str!("../kernels/softmax.cu") };
pub(crate) static NORM: Source = Source { name: "norm.cu", text: include_str!("../kernels/norm.cu") };
pub(crate) static ROPE: Source = Source { name: "rope.cu", text: include_str!("../kernels/rope.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "softmax.f32", least: Arch::Sm80, steps: softmax },
    Planned { name: "softmax.bf16", least: Arch::Sm80, steps: softmax },
    Planned { name: "rms_norm.bf16", least: Arch::Sm80, steps: norm },
    Planned { name: "add_rms_norm.bf16", least: Arch::Sm80, steps: norm },
    Planned { name: "layer_norm.bf16", least: Arch::Sm80, steps: norm },
    Planned { name: "rope.bf16", least: Arch::Sm80, steps: rope },
];

/// How the threads of a row keep it: the threads, and vectors of 16 bytes for each of them in registers; 0 vectors where the
/// row is longer and read again in every pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    threads: usize,
    vectors: usize,
}

/// From the shortest rows to the longest. What a thread keeps leaves room for two blocks on a multiprocessor, or for a block of
/// 512 threads.
const FORMS: [Form; 6] = [
    Form { threads: 32, vectors: 1 },
    Form { threads: 32, vectors: 4 },
    Form { threads: 256, vectors: 2 },
    Form { threads: 256, vectors: 4 },
    Form { threads: 512, vectors: 4 },
    Form { threads: 1024, vectors: 0 },
];

impl Form {
    fn of(n: usize, dtype: DType) -> Form {
        let vectors = (n * dtype.bytes()).div_ceil(16);
        let fits = |form: &Form| form.threads * form.vectors >= vectors;
        FORMS.into_iter().find(fits).unwrap_or(FORMS[FORMS.len() - 1])
    }

    /// Rows of a block: a warp takes one where rows are short.
    fn rows(self) -> usize {
        if self.threads == 32 { 4 } else { 1 }
    }

    fn define(self, source: &'static Source, kernel: &'static str, dtype: DType) -> Instance {
        Instance::new(source, kernel, Arch::Sm80)
            .define("DTYPE", if dtype == DType::F32 { 3 } else { 0 })
            .define("ROW", self.threads)
            .define("VECS", self.vectors)
    }

    fn launch(self, m: usize, args: Args) -> Result<Launch> {
        let blocks = u32::try_from(m.div_ceil(self.rows()));
        let blocks = blocks.map_err(|_| GpuError::Unsupported(format!("{m} rows are more than a grid has blocks")))?;
        Ok(Launch::new([blocks, 1, 1], [(self.threads * self.rows()) as u32, 1, 1], args))
    }
}

/// Whether rows of `n` elements are whole vectors of 16 bytes.
fn whole(n: usize, dtype: DType) -> i32 {
    (n * dtype.bytes()).is_multiple_of(16).into()
}

fn softmax(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (m, n, x) = (dims["m"], dims["n"], operands.buffer("x")?);
    let form = Form::of(n, x.dtype());
    let args =
        Args::new().buffer(x).buffer(operands.buffer("out")?).f32(operands.scalar("beta")?).i32(dims["log"] as i32);
    let args = args.u64(m as u64).i32(n as i32).i32(whole(n, x.dtype()));
    let mut steps = Steps::none();
    steps.step(device, &form.define(&SOFTMAX, "softmax", x.dtype()), form.launch(m, args)?)?;
    Ok(steps)
}

/// The number of a norm in its kernel.
fn kind(residual: bool, bias: bool) -> usize {
    if bias { 2 } else { residual.into() }
}

fn norm(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (m, n) = (dims["m"], dims["n"]);
    let form = Form::of(n, DType::BF16);
    // Each norm has those of these that it needs, and the kernel of its kind reads no others.
    let (residual, bias) = (operands.find("residual"), operands.find("bias"));
    let pointers = Args::new().buffer(operands.buffer("x")?).optional(residual).buffer(operands.buffer("weight")?);
    let pointers = pointers.optional(bias).optional(operands.find("sum")).buffer(operands.buffer("out")?);
    let args = Args::new().block(&pointers).f32(operands.scalar("eps")?);
    let args = args.u64(m as u64).i32(n as i32).i32(whole(n, DType::BF16));
    let kind = kind(residual.is_some(), bias.is_some());
    let mut steps = Steps::none();
    steps.step(device, &form.define(&NORM, "row_norm", DType::BF16).define("KIND", kind), form.launch(m, args)?)?;
    Ok(steps)
}

fn rope(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [m, heads, d, rotary] = ["m", "heads", "d", "rotary"].map(|axis| dims[axis]);
    let (pairs, neighbours) = (rotary / 2, dims["pairs"] == 1);
    let turns = tandem_ops::rope_turns(operands.scalar("theta")?, rotary);
    let turns = Tensor::from_vec([pairs], turns).map_err(|error| GpuError::Invalid(error.to_string()))?;
    let mut steps = Steps::none();
    let turns = steps.keep(device.upload(&turns)?);
    let vectors = d.is_multiple_of(8) && if neighbours { rotary.is_multiple_of(8) } else { pairs.is_multiple_of(8) };
    let args = Args::new().buffer(operands.buffer("x")?).buffer(operands.buffer("positions")?).address(turns);
    let args = args.buffer(operands.buffer("out")?).i32(heads as i32).i32(d as i32).i32(pairs as i32);
    let args = args.i32(neighbours.into()).i32(vectors.into());
    let blocks =
        u32::try_from(m).map_err(|_| GpuError::Unsupported(format!("{m} tokens are more than a grid has blocks")))?;
    let launch = Launch::new([blocks, 1, 1], [256, 1, 1], args).shared((pairs.next_multiple_of(8) * 8) as u32);
    steps.step(device, &Instance::new(&ROPE, "rope", Arch::Sm80), launch)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let mut all = vec![Instance::new(&ROPE, "rope", Arch::Sm80)];
    for form in FORMS {
        all.extend([DType::BF16, DType::F32].map(|dtype| form.define(&SOFTMAX, "softmax", dtype)));
        all.extend((0..3).map(|kind| form.define(&NORM, "row_norm", DType::BF16).define("KIND", kind)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_fits_the_registers_of_its_form_and_no_smaller_form() {
        for n in [1, 8, 256, 257, 1024, 1025, 4096, 4097, 8192, 8193, 16_384, 16_385, 1 << 20] {
            let form = Form::of(n, DType::BF16);
            assert!(form.vectors == 0 || form.threads * form.vectors * 8 >= n, "{n}: {form:?}");
            assert!(form.vectors > 0 || n > 16_384, "{n}: {form:?}");
        }
        assert_eq!(Form::of(256, DType::BF16), FORMS[0]);
        assert_eq!(Form::of(257, DType::BF16), FORMS[1]);
        assert_eq!(Form::of(128, DType::F32), FORMS[0]);
        assert_eq!(Form::of(129, DType::F32), FORMS[1]);
    }
}
