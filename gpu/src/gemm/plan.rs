//! How a product is computed, from extents and facts of the device alone.
//!
//! # The argument for the tiles
//! A step of a tile of 128 x TN brings `128 (128 + TN)` bytes along 128 bytes of the sum and multiplies them for `2 * 128 * TN *
//! 64` operations on 16-bit elements. With TN = 256 these are 85 operations a byte of shared memory and, as long as the
//! second-level cache has what neighbouring tiles share, far fewer bytes of memory: a group of 8 x c tiles reads `8 + 2 c` strips
//! of 128 rows for `16 c` tiles' worth of work. Arithmetic is then the limit, for which two consumer warpgroups are enough: each
//! keeps one group of wgmma in flight while it waits for the next slot.
//!
//! To hide the latency of memory, 4.3 TB/s for some 0.7 us have to be in flight: 3 MB, or 23 kB for each of 132 multiprocessors.
//! A block keeps [`Plan::bytes_in_flight`] on their way, four to six times that. One block fills a multiprocessor: its
//! accumulators take `2 * 128 * TN / 2` registers and its slots most of the shared memory.
//!
//! # Against the limits
//! The goals are 700 TFLOP/s on 16-bit elements and 1300 TOPS on codes, of 989 and 1979 in the data sheet; what follows is
//! projected from the design, with counts of the simulator where it says so. At 1.83 GHz a wgmma of 64 x 256 takes the tensor
//! cores 128 cycles whatever the dtype, and a step of a tile of 128 x 256 eight of them: 1024 cycles, for 48 kB, or 32 kB where
//! two blocks share the columns. That is 32 bytes a cycle and multiprocessor, 7.7 TB/s from the second-level cache at the data
//! sheet's rate and 5.5 or 5.1 at the goals. The simulator counts 19.5 thousand warp instructions for a tile of eight steps of
//! bfloat16, and 23.5 thousand for one of four steps of codes, nearly all of them the epilogue's: 5 and 6 thousand cycles of four
//! schedulers, during which the next tile's slots fill but nothing is multiplied. A sum of 8192 terms takes 131 thousand cycles,
//! or 66 thousand of codes, so that this costs 4 and 9 %.
//!
//! `gemm_mma` is for what TMA cannot copy; mma.sync reaches some 62 % of wgmma's rate. A tile of 128 x 128 takes 126 registers of
//! 256 threads and 96 kB, so two blocks share a multiprocessor, each with two slots of 32 kB on their way. Its matrix loads take
//! 4.0 cycles of the banks (simulated), which is the least. Rows that are not aligned are put together from five words for each
//! 16 bytes, without copies on their way: 8.8 times the bytes of the operands and results of a product of 250 x 250 x 252, most
//! of them from the first-level cache (simulated). `gemm_f32` reads eight words of shared memory for 16 multiply-adds, which
//! bounds it to half of the 67 TFLOP/s. For up to four rows a warp takes a column instead, so that weights are read once: memory is
//! the limit, with 16 bytes of each lane on their way, 20 kB of five blocks of a multiprocessor.
//!
//! Where rows of tiles are few, the sum is split so that all multiprocessors have work; partial products are added in the order
//! of the splits, so that results do not depend on timing.

use crate::device::Facts;
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use tandem_tensor::DType;

/// The kernels of Hopper.
pub(crate) static HOPPER: Source = Source { name: "gemm.cu", text: include_str!("../../kernels/gemm.cu") };
/// The others.
pub(crate) static MMA: Source = Source { name: "gemm_mma.cu", text: include_str!("../../kernels/gemm_mma.cu") };

/// Bytes along the sum of one step.
const STEP_BYTES: usize = 128;
/// Shared memory of the chunks of results on their way out, and the slack for alignment to 1024.
const CHUNKS_BYTES: usize = 4 * 64 * 128;
const ALIGN_BYTES: usize = 1024;

/// Rows that a warp of `gemv_f32` multiplies with its column, and the warps of a block.
const FEW: usize = 4;
const COLUMNS: usize = 8;

/// A product of `[m, k]` and `[n, k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of both operands and the result.
    pub dtype: DType,
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Length of a sum.
    pub k: usize,
}

/// Which kernel computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// There is no result to compute.
    Nothing,
    /// `gemm_tma`: TMA and wgmma.
    Tma,
    /// `gemm_mma`: cp.async and mma.sync.
    Mma,
    /// `gemm_mma` with plain loads, for rows that are not aligned.
    Ragged,
    /// `gemm_f32`: plain arithmetic.
    Simt,
    /// `gemv_f32`: the same for few rows, by a warp a column.
    Vector,
}

/// How it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// The kernel.
    pub path: Path,
    /// Rows of a tile.
    pub tile_m: usize,
    /// Columns of a tile.
    pub tile_n: usize,
    /// Slots of shared memory.
    pub stages: usize,
    /// Parts that the sum is split into.
    pub splits: usize,
    /// Blocks that share the columns of a tile.
    pub cluster: usize,
    /// Tiles times splits.
    pub items: usize,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
}

/// What may be asked for instead of what the plan would choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The kernel.
    pub path: Option<Path>,
    /// Columns of a tile.
    pub tile_n: Option<usize>,
    /// Parts that the sum is split into.
    pub splits: Option<usize>,
    /// Blocks that share the columns of a tile.
    pub cluster: Option<usize>,
}

impl Plan {
    /// The plan for a problem.
    ///
    /// # Errors
    /// Unsupported: extents beyond 2^31 - 1, or a dtype that no kernel multiplies.
    pub fn new(problem: &Problem, facts: &Facts) -> Result<Plan> {
        Plan::with(problem, facts, Wish::default())
    }

    /// The plan for a problem that follows a wish.
    ///
    /// # Errors
    /// As [`Plan::new`]; Invalid for a wish that the problem or the device does not allow.
    pub fn with(problem: &Problem, facts: &Facts, wish: Wish) -> Result<Plan> {
        let Problem { dtype, m, n, k } = *problem;
        if !matches!(dtype, DType::BF16 | DType::F16 | DType::I8 | DType::F32) {
            return Err(GpuError::Unsupported(format!("no kernel multiplies matrices of {dtype}")));
        }
        if [m, n, k].iter().any(|&extent| extent > i32::MAX as usize - 512) {
            return Err(GpuError::Unsupported(format!("a product of {m} x {n} x {k} is beyond 31 bits")));
        }
        let size = dtype.bytes();
        let aligned = (k * size).is_multiple_of(16);
        let hopper = facts.arch(Arch::Sm90a).is_some() && aligned && (n * size).is_multiple_of(16) && k > 0;
        let allowed: &[Path] = match dtype {
            _ if m == 0 || n == 0 => &[Path::Nothing],
            DType::F32 if m <= FEW => &[Path::Vector, Path::Simt],
            DType::F32 => &[Path::Simt],
            _ if hopper => &[Path::Tma, Path::Mma, Path::Ragged],
            _ if aligned => &[Path::Mma, Path::Ragged],
            _ => &[Path::Ragged],
        };
        let path = wish.path.unwrap_or(allowed[0]);
        if !allowed.contains(&path) {
            return Err(GpuError::Invalid(format!("{path:?} does not compute {problem:?} on {}", facts.name)));
        }
        match path {
            Path::Nothing => Ok(Plan {
                path,
                tile_m: 0,
                tile_n: 0,
                stages: 0,
                splits: 1,
                cluster: 1,
                items: 0,
                grid: [0; 3],
                threads: 0,
                shared: 0,
            }),
            Path::Simt => {
                let tiles = [n.div_ceil(64), m.div_ceil(64)];
                let plan = Plan {
                    path,
                    tile_m: 64,
                    tile_n: 64,
                    stages: 1,
                    splits: 1,
                    cluster: 1,
                    items: tiles[0] * tiles[1],
                    grid: [tiles[0] as u32, tiles[1] as u32, 1],
                    threads: 256,
                    shared: 0,
                };
                plan.in_grid()
            }
            Path::Vector => {
                let tiles = [n.div_ceil(COLUMNS), m.div_ceil(FEW)];
                let plan = Plan {
                    path,
                    tile_m: FEW,
                    tile_n: COLUMNS,
                    stages: 1,
                    splits: 1,
                    cluster: 1,
                    items: tiles[0] * tiles[1],
                    grid: [tiles[0] as u32, tiles[1] as u32, 1],
                    threads: 32 * COLUMNS as u32,
                    shared: 0,
                };
                plan.in_grid()
            }
            Path::Tma => Plan::tma(problem, facts, wish),
            Path::Mma | Path::Ragged => Plan::mma(problem, facts, wish, path)?.in_grid(),
        }
    }

    fn tma(problem: &Problem, facts: &Facts, wish: Wish) -> Result<Plan> {
        let Problem { dtype, m, n, k } = *problem;
        let multiprocessors = facts.shares();
        let rows = m.div_ceil(128);
        // The time of the last wave counts whole. A wide tile brings fewer bytes for its work, a narrow one fills more evenly.
        let time = |tile_n: usize| {
            let waves = (rows * n.div_ceil(tile_n)).div_ceil(multiprocessors);
            waves * if tile_n == 256 { 256 } else { 136 }
        };
        let tile_n = wish.tile_n.unwrap_or(if time(256) <= time(128) { 256 } else { 128 });
        if tile_n != 128 && tile_n != 256 {
            return Err(GpuError::Invalid(format!("a tile has 128 or 256 columns, not {tile_n}")));
        }
        let columns = n.div_ceil(tile_n);
        let steps = (k * dtype.bytes()).div_ceil(STEP_BYTES);
        let splits = splits(rows * columns, steps, multiprocessors, wish)?;
        let shares = multiprocessors >= 2 && rows >= 2 && splits == 1 && rows.div_ceil(2) * columns >= multiprocessors;
        let cluster = wish.cluster.unwrap_or(if shares { 2 } else { 1 });
        if !(1..=2).contains(&cluster) || cluster > multiprocessors {
            return Err(GpuError::Invalid(format!("a cluster has 1 or 2 blocks, not {cluster}")));
        }
        let items = rows.div_ceil(cluster) * columns * splits;
        if items > i32::MAX as usize {
            return Err(GpuError::Unsupported(format!("{items} tiles are beyond 31 bits")));
        }
        let stages = if tile_n == 256 { 4 } else { 6 };
        let blocks = items.min(multiprocessors / cluster) * cluster;
        let slots = stages * STEP_BYTES * (128 + tile_n);
        Ok(Plan {
            path: Path::Tma,
            tile_m: 128,
            tile_n,
            stages,
            splits,
            cluster,
            items,
            grid: [blocks as u32, 1, 1],
            threads: 384,
            shared: slots + CHUNKS_BYTES + stages * 16 + ALIGN_BYTES,
        })
    }

    fn mma(problem: &Problem, facts: &Facts, wish: Wish, path: Path) -> Result<Plan> {
        let Problem { dtype, m, n, k } = *problem;
        let multiprocessors = facts.shares();
        // Big tiles where there are enough of them.
        let big = m.div_ceil(128) * n.div_ceil(128) >= 2 * multiprocessors;
        let tile = wish.tile_n.unwrap_or(if big { 128 } else { 64 });
        if tile != 64 && tile != 128 {
            return Err(GpuError::Invalid(format!("a tile has 64 or 128 columns, not {tile}")));
        }
        let (rows, columns) = (m.div_ceil(tile), n.div_ceil(tile));
        let steps = (k * dtype.bytes()).div_ceil(STEP_BYTES);
        let splits = splits(rows * columns, steps.max(1), multiprocessors, wish)?;
        Ok(Plan {
            path,
            tile_m: tile,
            tile_n: tile,
            stages: 3,
            splits,
            cluster: 1,
            items: rows * columns * splits,
            grid: [columns as u32, rows as u32, splits as u32],
            threads: (tile / 32 * 2 * 32) as u32,
            shared: 3 * STEP_BYTES * 2 * tile + 128,
        })
    }

    fn in_grid(self) -> Result<Plan> {
        if self.grid[1] > 65535 || self.grid[2] > 65535 {
            return Err(GpuError::Unsupported(format!("a grid of {:?} blocks cannot be launched", self.grid)));
        }
        Ok(self)
    }

    /// Bytes that one block may have on their way from memory while it computes.
    pub fn bytes_in_flight(&self) -> usize {
        match self.path {
            // The consumers hold one slot, and release another when they have waited for the products before.
            Path::Tma => (self.stages - 2) * STEP_BYTES * (self.tile_m + self.tile_n),
            Path::Mma => (self.stages - 1) * STEP_BYTES * (self.tile_m + self.tile_n),
            Path::Nothing | Path::Ragged | Path::Simt | Path::Vector => 0,
        }
    }

    /// The share of multiprocessor time in which the grid has work, as if all tiles took the same time.
    pub fn occupancy(&self, facts: &Facts) -> f64 {
        let places = (facts.shares() / self.cluster.max(1)).max(1);
        match self.items.div_ceil(places) {
            0 => 1.0,
            waves => self.items as f64 / (waves * places) as f64,
        }
    }

    /// Elements of the partial products.
    pub fn partials(&self, problem: &Problem) -> usize {
        if self.splits > 1 { self.splits * problem.m * problem.n } else { 0 }
    }

    /// The kernel of the plan, as it is compiled; none where there is nothing to compute.
    pub fn instance(&self, dtype: DType) -> Option<Instance> {
        let dtype = number(dtype)?;
        match self.path {
            Path::Nothing => None,
            Path::Tma => Some(tma(dtype, self.tile_n, self.stages, self.cluster)),
            Path::Mma => Some(mma(dtype, self.tile_n, self.stages, true)),
            Path::Ragged => Some(mma(dtype, self.tile_n, self.stages, false)),
            Path::Simt => Some(Instance::new(&MMA, "gemm_f32", Arch::Sm80).define("DTYPE", dtype)),
            Path::Vector => Some(Instance::new(&MMA, "gemv_f32", Arch::Sm80).define("DTYPE", dtype)),
        }
    }
}

/// The kernel that adds partial products: it is in the file of the smallest tiles.
pub(crate) fn reduction(dtype: DType) -> Option<Instance> {
    Some(Instance { kernel: "gemm_reduce", ..mma(number(dtype)?, 64, 3, true) })
}

/// Parts of a sum so that tiles fill the device, and each part is long enough to be worth a start.
fn splits(tiles: usize, steps: usize, multiprocessors: usize, wish: Wish) -> Result<usize> {
    let most = steps.max(1);
    if let Some(splits) = wish.splits {
        let allowed = (1..=most.min(65535)).contains(&splits);
        return allowed
            .then_some(splits)
            .ok_or_else(|| GpuError::Invalid(format!("a sum of {steps} steps cannot be split into {splits}")));
    }
    Ok((multiprocessors / tiles.max(1)).min(steps / 8).clamp(1, 16))
}

/// A dtype as the kernels number it.
fn number(dtype: DType) -> Option<usize> {
    [DType::BF16, DType::F16, DType::I8, DType::F32].iter().position(|&other| other == dtype)
}

fn tma(dtype: usize, tile_n: usize, stages: usize, cluster: usize) -> Instance {
    Instance::new(&HOPPER, "gemm_tma", Arch::Sm90a)
        .define("DTYPE", dtype)
        .define("TN", tile_n)
        .define("STAGES", stages)
        .define("CLUSTER", cluster)
}

fn mma(dtype: usize, tile: usize, stages: usize, aligned: bool) -> Instance {
    Instance::new(&MMA, "gemm_mma", Arch::Sm80)
        .define("DTYPE", dtype)
        .define("TM", tile)
        .define("TN", tile)
        .define("STAGES", stages)
        .define("ALIGNED", usize::from(aligned))
}

/// Every instance that a plan can ask for.
pub(crate) fn instances() -> Vec<Instance> {
    let float = |kernel| Instance::new(&MMA, kernel, Arch::Sm80).define("DTYPE", 3);
    let mut all = vec![float("gemm_f32"), float("gemv_f32")];
    for dtype in 0..3 {
        for (tile_n, stages) in [(128, 6), (256, 4)] {
            all.extend([1, 2].map(|cluster| tma(dtype, tile_n, stages, cluster)));
        }
        for tile in [64, 128] {
            all.extend([true, false].map(|aligned| mma(dtype, tile, 3, aligned)));
        }
    }
    all.extend([DType::BF16, DType::F16, DType::I8].into_iter().filter_map(reduction));
    // Products of codes round by integers too, but for the tiles that leave no registers for it.
    let has = |instance: &Instance, name, value: &str| {
        instance.defines.iter().any(|define| *define == (name, value.to_owned()))
    };
    let codes = |instance: &&Instance| has(instance, "DTYPE", "2") && !has(instance, "TN", "256");
    let integers: Vec<Instance> =
        all.iter().filter(codes).map(|instance| instance.clone().define("ROUNDING", 1)).collect();
    all.extend(integers);
    all
}
