//! Retrieval: `ivf_scan.*` and `topk_merge.*`, and which lists a device should have.
//!
//! # Form
//! Persistent blocks go through the items of a [`Plan`], stretches of lists with the queries that probe them (`ivf.cu`). Every warp keeps the
//! best candidates of each query in shared memory, sorted, and lets better ones wait until there are 32, which are sorted and merged by
//! shuffles; no score is written to memory. A second kernel takes the best of what the warps kept (`topk.cu`). [`lookahead`] decides what
//! is copied to the device before a query comes, and which of its lists the device scans.
//!
//! # Against the limits
//! One query is limited by memory: 4.3 TB/s for some 0.7 us ask for 23 kB on their way to each of 132 multiprocessors, and 1 kB moves in
//! the time of 214 instructions. Registers leave room for two blocks of 256 threads, each of which has eight loads of 16 bytes on their
//! way before it uses the first: 64 kB on a multiprocessor, and 32 kB at least with several queries. Teams of four or eight threads read
//! 64 or 128 bytes of a vector, whole sectors. So 10 GB take 2.3 ms at 4.3 TB/s, of which 85 % is the target. That it is reached is a
//! projection: none of this was timed on a GPU. What follows are counts of the simulator, instructions those of PTX, for lists of 2000
//! vectors of 768 elements (384 of binary32) on the mean and `k` of 10.
//!
//! Bytes are 1.004 times those of operands and results. A kB takes 43 instructions of codes with one query and 20 more for each other
//! one, 86 and 29 of bfloat16, 53 and 20 of binary32. So memory is the limit up to some nine queries a list of codes and five of bfloat16,
//! after which arithmetic is; with short lists sooner, since what warps do at the end of a stretch is then more beside it: lists of 190
//! vectors take 66 and 100 instructions with one query. Queries beyond those of one item read the list again, as a rule from
//! the second-level cache, since equal items are handed out one after the other.
//!
//! The `k` best of a stretch change some `k (1 + ln(n / k))` times, and every 32 changes cost a sort and a merge. What a warp leaves is 8
//! bytes for each of `k` at most. Lists are as unlike as Zipf's law makes them; [`Plan`] cuts what is more than a fair share and
//! hands out the longest first.
//!
//! Merging takes 228 instructions a kB and reads whole rows of entries once: memory and issue limit it about equally. Five blocks of
//! 256 threads share a multiprocessor, each thread with four loads of a score and an id: 40 kB.

pub mod lookahead;
pub mod plan;

pub use lookahead::{Budget, Cached, Lookahead, Split, look_ahead, split};
pub use plan::{Plan, Problem, Resources};

use crate::device::{Args, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use plan::WARPS;
use tandem_ops::def::Dims;
use tandem_ops::ivf::Metric;
use tandem_tensor::{DType, Tensor};

pub(crate) static IVF: Source = Source { name: "ivf.cu", text: include_str!("../../kernels/ivf.cu") };
pub(crate) static TOPK: Source = Source { name: "topk.cu", text: include_str!("../../kernels/topk.cu") };

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "ivf_scan.i8", least: Arch::Sm80, steps: scan },
    Planned { name: "ivf_scan.bf16", least: Arch::Sm80, steps: scan },
    Planned { name: "ivf_scan.f32", least: Arch::Sm80, steps: scan },
    Planned { name: "topk_merge.i32", least: Arch::Sm80, steps: merge },
    Planned { name: "topk_merge.f32", least: Arch::Sm80, steps: merge },
];

const THREADS: u32 = (WARPS * 32) as u32;
/// Blocks of a multiprocessor that registers leave room for.
const BLOCKS: usize = 2;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    dtype: DType,
    /// Queries at a time.
    queries: usize,
    metric: Metric,
    /// Whether vectors are multiples of 16 bytes.
    whole: bool,
}

impl Form {
    /// The form for vectors of `d` elements and lists that several queries probe, or that one does.
    ///
    /// # Errors
    /// Unsupported, where not even one query fits in shared memory.
    fn new(dtype: DType, d: usize, k: usize, metric: Metric, several: bool, shared: usize) -> Result<Form> {
        let whole = (d * dtype.bytes()).is_multiple_of(16);
        let one = Form { dtype, queries: 1, metric, whole };
        let many = Form { queries: if dtype == DType::I8 { 8 } else { 3 }, ..one };
        // A multiprocessor has little more shared memory than a block may have, and it is to have two blocks.
        if several && whole && 2 * many.shared(d, k) <= shared {
            return Ok(many);
        }
        if one.shared(d, k) + one.fixed() > shared {
            let text = format!("a query of {d} elements with {k} best does not fit in {shared} bytes of shared memory");
            return Err(GpuError::Unsupported(text));
        }
        Ok(one)
    }

    /// Vectors that a warp scores at a time.
    fn rows(self) -> usize {
        if self.dtype == DType::I8 { 32 } else { 16 }
    }

    /// Bytes of dynamic shared memory: queries, and for each warp and query a queue with 32 candidates that wait.
    fn shared(self, d: usize, k: usize) -> usize {
        let (step, bytes) = if self.dtype == DType::I8 { (64, 1) } else { (32, 4) };
        let queue = (k.next_multiple_of(32) + 32) * 8;
        self.queries * (d.next_multiple_of(step) * bytes + WARPS * queue)
    }

    /// Bytes of shared memory that do not depend on operands, at most.
    fn fixed(self) -> usize {
        self.queries * (WARPS * (4 * self.rows() + 16) + 16)
    }

    fn instance(self) -> Instance {
        let dtype = match self.dtype {
            DType::I8 => 1,
            DType::F32 => 3,
            _ => 0,
        };
        Instance::new(&IVF, "ivf_scan", Arch::Sm80)
            .define("DTYPE", dtype)
            .define("QUERIES", self.queries)
            .define("L2", usize::from(self.metric == Metric::SquaredL2))
            .define("VECTORS", usize::from(self.whole))
    }
}

fn best(kernel: &'static str, integers: bool) -> Instance {
    Instance::new(&TOPK, kernel, Arch::Sm80).define("INTEGERS", usize::from(integers))
}

/// A launch of a block a query, with a queue for each of its warps.
fn block_a_query(queries: usize, k: usize, args: Args) -> Result<Launch> {
    let blocks =
        u32::try_from(queries).map_err(|_| GpuError::Unsupported(format!("{queries} queries are too many")))?;
    let queues = WARPS * (k.next_multiple_of(32) + 32) * 8;
    Ok(Launch::new([blocks, 1, 1], [THREADS, 1, 1], args).shared(queues as u32))
}

fn problem(dims: &Dims, operands: &Operands) -> Result<Problem> {
    let [lists, begins, probe] = ["list_begin", "probe_begin", "probe"].map(|port| operands.indices(port));
    let (lists, begins, probe) = (lists?, begins?, probe?);
    Ok(Problem {
        lists: lists.windows(2).map(|pair| pair[0]..pair[1]).collect(),
        probes: begins.windows(2).map(|pair| probe[pair[0]..pair[1]].to_vec()).collect(),
        k: dims["k"],
    })
}

fn scan(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let (q, d, k) = (dims["q"], dims["d"], dims["k"]);
    let (vectors, facts) = (operands.buffer("vectors")?, device.facts());
    let problem = problem(dims, operands)?;
    let mut probed = vec![false; problem.lists.len()];
    let several = problem.probes.iter().flatten().any(|&list| std::mem::replace(&mut probed[list], true));
    let metric = Metric::of(dims["metric"]);
    let form = Form::new(vectors.dtype(), d, k, metric, several, facts.shared_per_block as usize)?;
    let resources = Resources { blocks: BLOCKS * facts.shares(), queries: form.queries, rows: form.rows() };
    let plan = Plan::new(&problem, resources)?;

    let mut steps = Steps::none();
    let words = |words: Vec<i32>| -> Result<crate::device::Buffer> {
        let tensor = Tensor::from_vec([words.len()], words).map_err(|error| GpuError::Invalid(error.to_string()))?;
        device.upload(&tensor)
    };
    let offsets = |all: &[usize]| words(all.iter().map(|&number| number as i32).collect());
    let candidates = steps.keep(device.alloc(DType::U64, plan.candidates[q])?);
    if !plan.items.is_empty() {
        let args = Args::new().buffer(vectors).buffer(operands.buffer("ids")?).buffer(operands.buffer("queries")?);
        let args = args.address(steps.keep(offsets(&plan.lists)?)).address(steps.keep(words(plan.item_words())?));
        let args = args.address(steps.keep(words(plan.pair_words())?)).address(candidates);
        let args = args.i32(d as i32).i32(k as i32);
        let launch = Launch::new([resources.blocks as u32, 1, 1], [THREADS, 1, 1], args);
        steps.step(device, &form.instance(), launch.shared(form.shared(d, k) as u32))?;
    }
    let args = Args::new().address(candidates).address(steps.keep(offsets(&plan.candidates)?));
    let args = args.buffer(operands.buffer("scores")?).buffer(operands.buffer("best")?).i32(k as i32);
    let integers = vectors.dtype() == DType::I8;
    steps.step(device, &best("best_candidates", integers), block_a_query(q, k, args)?)?;
    Ok(steps)
}

fn merge(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [parts, q, m, k] = ["parts", "q", "m", "k"].map(|axis| dims[axis]);
    if parts.saturating_mul(m) > i32::MAX as usize {
        return Err(GpuError::Unsupported(format!("{parts} parts of {m} entries for a query are beyond 31 bits")));
    }
    let scores = operands.buffer("part_scores")?;
    let args = Args::new().buffer(scores).buffer(operands.buffer("part_best")?);
    let args = args.buffer(operands.buffer("scores")?).buffer(operands.buffer("best")?);
    let args = args.u64(parts as u64).i32(m as i32).i32(k as i32);
    let mut steps = Steps::none();
    steps.step(device, &best("topk_merge", scores.dtype() == DType::I32), block_a_query(q, k, args)?)?;
    Ok(steps)
}

pub(crate) fn instances() -> Vec<Instance> {
    let mut all = Vec::new();
    for dtype in [DType::I8, DType::BF16, DType::F32] {
        for metric in [Metric::InnerProduct, Metric::SquaredL2] {
            let one = Form { dtype, queries: 1, metric, whole: true };
            let many = Form { queries: if dtype == DType::I8 { 8 } else { 3 }, ..one };
            all.extend([one, Form { whole: false, ..one }, many].map(Form::instance));
        }
    }
    for integers in [false, true] {
        all.extend(["best_candidates", "topk_merge"].map(|kernel| best(kernel, integers)));
    }
    all
}
