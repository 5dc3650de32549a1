//! Kernels of sampling: a token of every row of logits, and drafts verified.
//!
//! # Against the limits
//! A draw needs the maximum of its row before the first weight, so that a row is gone through twice at least. The blocks of a cluster
//! share a row and keep what they have read of it in shared memory; what does not fit there, of 64 rows of 128,256 tokens a quarter,
//! is read again, from the second-level cache: 1.25 times the bytes without filters and up to twice with them, counted by the simulator
//! for a row of which a quarter does not fit. Memory is read once.
//!
//! Memory of 4.3 TB/s moves a kB, 256 logits, in the time of 214 instructions of a multiprocessor. Of PTX, the simulator counts 440 a
//! kB without filters, 820 with top-k and 1200 with top-p, and 14 thousand to 31 thousand for a block whatever its share. So issue limits
//! and not memory: without filters at half the rate of memory, with top-k at a quarter and with top-p at a sixth, of rows that are long
//! beside the number of blocks (projected; machine code has fewer moves). A deficit and its weight are 25 of the instructions of a
//! token, at the full rate: no conversion and no product of integers. Filters compute it twice, and add each token with a weight to
//! three counters in shared memory; later digits are counted for the tokens of one bin, and are a comparison for the others.
//!
//! Rows that are all of one bin, as of equal logits, would queue for one counter: a warp whose tokens share a bin adds once. Tokens
//! without a weight, as masked ones, are not counted. What a verified draft reads is one position of target and draft, once, and
//! the probabilities of its tokens.

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;

pub(crate) static SAMPLE: Source = Source { name: "sample.cu", text: include_str!("../kernels/sample.cu") };
pub(crate) static VERIFY: Source = Source { name: "verify.cu", text: include_str!("../kernels/verify.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "sample.f32", least: Arch::Sm80, steps: sample },
    Planned { name: "speculative_verify.f32", least: Arch::Sm80, steps: verify },
];

/// Threads of a block.
const THREADS: usize = 512;
/// Tokens that the threads of a block take at a time, four each.
const ITERATION: usize = 4 * THREADS;
/// Bytes of shared memory of a block beside what it keeps of a row, and what the system takes of it.
const OTHER_SHARED: usize = 15 << 10;
/// Blocks of a multiprocessor that threads and registers leave room for.
const BLOCKS: usize = 2;

/// How rows are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Blocks of a row: a cluster.
    blocks: usize,
    /// Iterations of a block that stay in shared memory.
    cached: usize,
}

impl Plan {
    /// For `m` rows of `n` tokens: as many blocks as can run at once and have work, and no more than a cluster may have.
    fn of(device: &Device, m: usize, n: usize) -> Plan {
        let facts = device.facts();
        let clusters = facts.arch(Arch::Sm80) == Some(Arch::Sm90a);
        let slots = BLOCKS * facts.shares();
        let fits = |blocks: usize| blocks == 1 || clusters && m * blocks <= slots && blocks <= n.div_ceil(ITERATION);
        let blocks = [8, 4, 2, 1].into_iter().find(|&blocks| fits(blocks)).unwrap_or(1);
        let neighbours = if m * blocks <= facts.shares() { 1 } else { BLOCKS };
        let room = (facts.shared_per_block as usize / neighbours).saturating_sub(OTHER_SHARED);
        Plan { blocks, cached: n.div_ceil(blocks * ITERATION).min(room / (4 * ITERATION)) }
    }

    fn launch(self, m: usize, args: Args) -> Result<Launch> {
        let grid = m.checked_mul(self.blocks).and_then(|blocks| u32::try_from(blocks).ok());
        let grid = grid.ok_or_else(|| GpuError::Unsupported(format!("{m} rows are more than a grid has blocks")))?;
        let launch = Launch::new([grid, 1, 1], [THREADS as u32, 1, 1], args);
        Ok(launch.cluster([self.blocks as u32, 1, 1]))
    }
}

fn instance(source: &'static Source, kernel: &'static str) -> Instance {
    Instance::new(source, kernel, Arch::Sm80)
}

/// Whether rows are whole vectors of 16 bytes.
fn whole(n: usize) -> i32 {
    n.is_multiple_of(4).into()
}

fn sample(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (m, n) = (dims["m"], dims["n"]);
    let plan = Plan::of(device, m, n);
    let mut pointers = Args::new();
    for name in ["logits", "temperature", "top_k", "top_p", "min_p", "stream", "step", "token"] {
        pointers = pointers.buffer(operands.buffer(name)?);
    }
    let args = Args::new().block(&pointers).u64(operands.scalar("seed")?);
    let args = args.i32(n as i32).i32(whole(n)).i32(plan.cached as i32);
    let launch = plan.launch(m, args)?.shared((plan.cached * 4 * ITERATION) as u32);
    let mut steps = Steps::none();
    steps.step(device, &instance(&SAMPLE, "sample"), launch)?;
    Ok(steps)
}

fn verify(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (m, n) = (dims["m"], dims["n"]);
    let mut pointers = Args::new();
    for name in ["draft_tokens", "draft_probs", "target_probs", "stream", "step", "accepted", "tokens"] {
        pointers = pointers.buffer(operands.buffer(name)?);
    }
    let args = Args::new().block(&pointers).u64(operands.scalar("seed")?);
    let args = args.i32(dims["draft"] as i32).i32(n as i32).i32(whole(n));
    let mut steps = Steps::none();
    steps.step(device, &instance(&VERIFY, "verify"), Plan::of(device, m, n).launch(m, args)?)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    vec![instance(&SAMPLE, "sample"), instance(&VERIFY, "verify")]
}

#[cfg(test)]
mod tests {
    use crate::nvrtc::HEADERS;
    use tandem_ops::sampling::weight::{COEFFICIENTS, DEFICIT_BITS, FRACTION, LARGEST_DEFICIT};

    #[test]
    fn the_numbers_of_weights_are_those_of_the_definition() {
        let (_, text) = HEADERS.into_iter().find(|(name, _)| *name == "sampling.cuh").unwrap();
        for coefficient in COEFFICIENTS {
            assert!(text.contains(&format!("{coefficient}f")), "{coefficient}");
        }
        let numbers = [("FRACTION", FRACTION.to_string()), ("DEFICIT_BITS", DEFICIT_BITS.to_string())];
        for (name, number) in numbers.into_iter().chain([("LARGEST_DEFICIT", format!("{LARGEST_DEFICIT}.0f"))]) {
            assert!(text.contains(&format!("#define {name} {number}\n")), "{name}");
        }
    }
}
