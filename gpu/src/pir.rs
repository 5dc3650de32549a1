//! Private information retrieval: a pass over a database that answers a batch of requests.
//!
//! # Against the limits
//! Memory limits it: the database is read once for all requests of a block, and every other byte is few beside it. 4.3 TB/s of an
//! H200 are 19 bytes a cycle of each of 132 multiprocessors at 1.75 GHz, and ask for 23 kB on their way to each. Sectors and
//! instructions below are counts of the simulator or of the source, all rates are projected, and nothing was timed.
//!
//! *A few requests* are summed with masks. 16 bytes of a bucket and a request take four three-operand instructions, of which a
//! multiprocessor starts two warps' worth a cycle, and a quarter of a load of masks: with 14 requests, 18 bytes a cycle, so that
//! arithmetic catches up with memory there. Two blocks of 256 threads share a multiprocessor, each thread with eight loads of 16
//! bytes under way (four with more than eight requests): 64 kB and 32 kB. For buckets of 1 KiB sectors are 1.00 times the bytes of
//! operands and results with one request, 1.09 with 8 and 1.27 with 14; what is more than once are requests, from the first-level
//! cache.
//!
//! *More requests* are a product over GF(2) for tensor instructions: m16n8k256 counts the buckets whose bit is set in a row of the
//! database and in a request, and the count is odd where the exclusive or is 1. A block goes through 64 bytes of the buckets of a
//! chunk, 256 buckets a step, in four slots of asynchronous copies, three of which are under way: 48 kB. The database is stored
//! with a bucket's bits together, the product wants the buckets of a bit together: matrix loads turn columns of 16 bits, and 56
//! instructions of a warp turn 8 bytes of 128 buckets in registers, 7 for 128 bytes of the database. With 64 requests a step of
//! 16 kB takes a warp 156 instructions, 112 of which are for the transposition; the eight warps of a block, with 128 sums a thread,
//! start them in 350 cycles, and the arithmetic of 32-bit integers takes 450. Memory takes 880. 256 products a step are 512
//! cycles at the rate of such products that an A100 has; Hopper's is not published, so that this path has yet to be measured.
//! Sectors are 1.06 and 1.12 times the bytes with 32 and 64 requests, and matrix loads have no conflicts of banks. More than 64
//! requests read the database once for every 64.
//!
//! Both paths leave a sum for every chunk of buckets, of which a second kernel makes the result: there are at most twice as many
//! blocks as run at once, and their sums are less than a hundredth of the database where that is large.

use crate::device::{Args, Buffer, Device, Launch};
use crate::elementwise::spread;
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use crate::planned::{Operands, Planned, Steps};
use tandem_ops::def::Dims;
use tandem_tensor::DType;

pub(crate) static PIR: Source = Source { name: "pir.cu", text: include_str!("../kernels/pir.cu") };

pub(crate) const PLANS: &[Planned] = &[Planned { name: "pir_scan.u64", least: Arch::Sm80, steps: scan }];

const THREADS: usize = 256;
/// Requests that a block of the path with masks has sums for; memory limits it up to the largest.
const MASKED: [usize; 5] = [1, 2, 4, 8, 14];
/// Those of the path with products.
const PRODUCTS: [usize; 2] = [32, 64];
/// Bytes of a bucket that a block of that path sums, buckets of a step, and steps under way.
const STRIPE: usize = 64;
const STEP: usize = 256;
const STAGES: usize = 4;
/// Buckets whose masks are made at a time.
const TILE: usize = 64;
/// Blocks there are at most, in turns of those that run at once: one more would take a whole turn.
const TURNS: usize = 2;
/// The largest number of chunks that a grid has.
const MOST_CHUNKS: usize = 65_535;

/// How the work is cut: plain data of extents and multiprocessors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    path: Path,
    /// Requests of a block.
    queries: usize,
    /// Bytes of a load or copy.
    width: usize,
    /// Blocks along a bucket.
    columns: usize,
    /// Buckets of a chunk, and chunks.
    chunk: usize,
    chunks: usize,
    /// Blocks of requests.
    batches: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// With this many threads along a bucket.
    Masks {
        threads: usize,
    },
    Products,
}

impl Plan {
    fn of([buckets, words, queries]: [usize; 3], multiprocessors: usize) -> Plan {
        // A row begins at a multiple of 16 bytes where all of them are whole.
        let width = if words.is_multiple_of(2) { 16 } else { 8 };
        let masked = MASKED.into_iter().find(|&most| queries <= most);
        let (path, most, columns, step, least) = match masked {
            Some(most) => {
                let vectors = words * 8 / width;
                let threads = vectors.next_power_of_two().clamp(4, THREADS);
                (Path::Masks { threads }, most, vectors.div_ceil(threads), TILE, 2)
            }
            None => {
                let most = if queries <= PRODUCTS[0] { PRODUCTS[0] } else { PRODUCTS[1] };
                (Path::Products, most, (words * 8).div_ceil(STRIPE), STEP, STAGES)
            }
        };
        let batches = queries.div_ceil(most).max(1);
        // What the registers of a block leave room for.
        let alone = masked.is_none() && (most > PRODUCTS[0] || width == 8);
        let resident = if alone { multiprocessors } else { 2 * multiprocessors };
        let steps = buckets.div_ceil(step).max(1);
        let wanted = TURNS * resident / (columns.max(1) * batches);
        let chunks = wanted.min(steps.div_ceil(least)).clamp(1, MOST_CHUNKS);
        let chunk = steps.div_ceil(chunks) * step;
        Plan { path, queries: most, width, columns, chunk, chunks: buckets.div_ceil(chunk).max(1), batches }
    }

    fn instance(&self) -> Instance {
        let kernel = match self.path {
            Path::Masks { .. } => "pir_scan",
            Path::Products => "pir_matrix",
        };
        instance(kernel, self.queries, self.width)
    }

    /// The launch that leaves the sums of every chunk.
    fn launch(&self, args: Args) -> Launch {
        let grid = [self.columns as u32, self.chunks as u32, self.batches as u32];
        let args = args.i32(self.chunk as i32);
        let block = [THREADS as u32, 1, 1];
        match self.path {
            Path::Masks { threads } => Launch::new(grid, block, args.i32(threads as i32)),
            Path::Products => {
                let slot = STEP * STRIPE + self.queries * STEP / 8;
                Launch::new(grid, block, args).shared((STAGES * slot) as u32)
            }
        }
    }
}

fn instance(kernel: &'static str, queries: usize, width: usize) -> Instance {
    Instance::new(&PIR, kernel, Arch::Sm80).define("QUERIES", queries).define("WIDTH", width)
}

fn scan(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    let [buckets, words, queries] = ["buckets", "words", "queries"].map(|axis| dims[axis]);
    let plan = Plan::of([buckets, words, queries], device.facts().shares());
    let out = operands.buffer("out")?;
    let partials = if plan.chunks > 1 { Some(partials(device, &plan, out)?) } else { None };
    let args = Args::new().buffer(operands.buffer("db")?).buffer(operands.buffer("requests")?);
    let args = args.buffer(partials.as_ref().unwrap_or(out));
    let args = args.i32(buckets as i32).i32(words as i32).i32(queries as i32);
    let mut steps = Steps::none();
    steps.step(device, &plan.instance(), plan.launch(args))?;
    if let Some(partials) = partials {
        let len = out.len();
        let args = Args::new().address(steps.keep(partials)).buffer(out).u64(len as u64).i32(plan.chunks as i32);
        steps.step(device, &fold(), spread(device, len, args))?;
    }
    Ok(steps)
}

/// Room for the sums of all chunks.
fn partials(device: &Device, plan: &Plan, out: &Buffer) -> Result<Buffer> {
    let elements = plan.chunks.checked_mul(out.len());
    let elements = elements.ok_or_else(|| GpuError::Exhausted("the sums of all chunks fit no device".into()))?;
    device.alloc(DType::U64, elements)
}

fn fold() -> Instance {
    Instance::new(&PIR, "pir_fold", Arch::Sm80)
}

pub(crate) fn instances() -> Vec<Instance> {
    let masked = MASKED.map(|queries| ("pir_scan", queries));
    let products = PRODUCTS.map(|queries| ("pir_matrix", queries));
    let all = masked.into_iter().chain(products);
    let all = all.flat_map(|(kernel, queries)| [8, 16].map(|width| instance(kernel, queries, width)));
    all.chain([fold()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::def::Random;

    #[test]
    fn chunks_cover_all_buckets_and_none_is_empty() {
        let mut random = Random::new(1);
        for _ in 0..2000 {
            let mut draw = |limits: &[usize]| {
                let most = limits[random.within(0, limits.len())];
                random.within(1, most)
            };
            let buckets = draw(&[100, 10_000, 1 << 30]);
            let (words, queries) = (draw(&[20, 3000]), draw(&[20, 2000]));
            let plan = Plan::of([buckets, words, queries], draw(&[4, 133]));
            assert!(plan.chunk * plan.chunks >= buckets && plan.chunk * (plan.chunks - 1) < buckets, "{plan:?}");
            assert!(plan.chunks <= MOST_CHUNKS && plan.queries * plan.batches >= queries, "{plan:?}");
            // The kernels count buckets in 32 bits, those of the steps that are copied ahead too.
            assert!(buckets + plan.chunk.min(buckets) + STAGES * STEP < i32::MAX as usize, "{plan:?}");
            match plan.path {
                Path::Masks { threads } => {
                    assert!(threads * plan.columns * plan.width >= words * 8 && THREADS.is_multiple_of(threads));
                    assert!(plan.batches == 1 && plan.chunk.is_multiple_of(TILE), "{plan:?}");
                }
                Path::Products => assert!(plan.chunk.is_multiple_of(STEP) && plan.columns * STRIPE >= words * 8),
            }
        }
    }

    #[test]
    fn tensor_instructions_are_for_more_requests_than_memory_limits_masks_for() {
        let path = |queries| Plan::of([1 << 20, 128, queries], 132);
        for queries in 1..=14 {
            let plan = path(queries);
            assert_eq!((plan.path, plan.columns), (Path::Masks { threads: 64 }, 1));
            assert!(plan.queries >= queries && plan.queries <= (2 * queries).min(14));
        }
        assert_eq!((path(15).path, path(15).queries, path(32).queries), (Path::Products, 32, 32));
        assert_eq!((path(33).queries, path(64).batches, path(65).batches), (64, 1, 2));
        // Twice the 132 and 264 blocks that run at once, or a little less.
        assert_eq!((path(64).columns * path(64).chunks, path(1).chunks), (256, 512));
        // The sums of all chunks beside the database.
        for queries in [1, 14, 15, 64] {
            let plan = path(queries);
            assert!(100 * plan.chunks * queries < 1 << 20, "{plan:?}");
        }
    }
}
