//! What a device can do at most, measured on it: the denominator of every "fraction of the limit".
//!
//! Each probe is a kernel that does one thing and waits for nothing else, timed as kernels are (see [`Timing`]), with operands at
//! random, since zeros cost less power and so run faster. A rate is the median of its runs: what the device sustains, by the same
//! statistic as the kernels that are held against it.

use crate::device::{Args, Buffer, Device, Facts, Function, Launch};
use crate::error::{GpuError, Result};
use crate::limits::Limits;
use crate::nvrtc::{Arch, Instance, Source};
use crate::timing::{Times, Timing};
use std::time::Instant;
use tandem_ops::def::Random;
use tandem_tensor::{DType, Tensor};

static PEAK: Source = Source { name: "peak.cu", text: include_str!("../kernels/peak.cu") };

/// Threads of the blocks that read, copy and multiply in registers, and vectors of 16 bytes that each has on its way.
const THREADS: u32 = 512;
const VECTORS: u64 = 8;
/// Tiles of operands of wgmma, and their bytes: 128 rows and 256 columns of 128 bytes.
const STAGES: usize = 4;
const STAGE_BYTES: usize = (128 + 256) * 128;
/// wgmma of a stage for each of two warpgroups, and what one multiplies: 64 rows, 256 columns, 32 bytes of the sum.
const PARTS: u64 = 4;
/// Kernels of the graph that tells what a node costs.
const NODES: usize = 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Bytes a second that are read from the device's memory.
    Read,
    /// Bytes a second that are read and written when memory is copied.
    Copy,
    /// Operations a second of wgmma on bfloat16; a multiply-accumulate is two.
    WgmmaBf16,
    /// The same on binary16.
    WgmmaF16,
    /// The same on 8-bit integers.
    WgmmaS8,
    /// Operations a second of mma.sync on bfloat16.
    MmaBf16,
    /// The same on binary16.
    MmaF16,
    /// The same on 8-bit integers.
    MmaS8,
    /// Operations a second of fused multiply-adds of binary32.
    Fma,
    /// Seconds of an empty kernel, one after the other on a stream.
    Launch,
    /// Seconds from asking for an empty kernel until the host knows that it is done.
    RoundTrip,
    /// Seconds of an empty kernel in a graph.
    GraphNode,
    /// Bytes a second from pinned memory of the host.
    ToDevice,
    /// Bytes a second to pinned memory of the host.
    FromDevice,
}

/// How much a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Bytes of the buffers that are read and copied, rounded down to whole rounds of all threads, of which there is one at least.
    pub bytes: u64,
    /// Thousandths of the rounds of arithmetic that fill about a millisecond.
    pub per_mille: u32,
    /// How launches are timed.
    pub timing: Timing,
}

impl Effort {
    /// Buffers of 16 times the second-level cache, and launches of a millisecond.
    pub fn usual(facts: &Facts) -> Effort {
        Effort { bytes: 16 * u64::from(facts.l2.max(1 << 20)), per_mille: 1000, timing: Timing::USUAL }
    }

    /// As little as shows that it works.
    pub fn short() -> Effort {
        Effort { bytes: 1, per_mille: 0, timing: Timing::SHORT }
    }

    fn rounds(self, usual: u32) -> u32 {
        (u64::from(usual) * u64::from(self.per_mille) / 1000).max(2) as u32
    }
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Figure {
    /// The median: a rate a second, or seconds.
    pub value: f64,
    /// The best run.
    pub best: f64,
    /// How many runs.
    pub runs: usize,
}

/// A kernel of a probe, ready to be launched.
pub struct Prepared {
    function: Function,
    launch: Launch,
    /// What a launch does: bytes or operations.
    pub amount: f64,
    /// What it reads.
    pub operands: Buffer,
    /// What it leaves.
    pub out: Buffer,
}

impl Prepared {
    /// Launches it; it may still be running when this returns.
    ///
    /// # Errors
    /// As [`Device::launch`].
    pub fn launch(&self, device: &Device) -> Result<()> {
        device.launch(&self.function, &self.launch)
    }
}

/// A grid that goes through memory: so many blocks for each of so many rounds.
#[derive(Clone, Copy)]
enum Grid {
    /// Blocks that stay, and take one part after another.
    Persistent,
    /// A block for each part.
    Wide,
}

impl Probe {
    /// All of them, in the order of tables.
    pub const ALL: [Probe; 14] = [
        Probe::Read,
        Probe::Copy,
        Probe::WgmmaBf16,
        Probe::WgmmaF16,
        Probe::WgmmaS8,
        Probe::MmaBf16,
        Probe::MmaF16,
        Probe::MmaS8,
        Probe::Fma,
        Probe::Launch,
        Probe::RoundTrip,
        Probe::GraphNode,
        Probe::ToDevice,
        Probe::FromDevice,
    ];

    /// What it is, in words.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Read => "device memory, read",
            Probe::Copy => "device memory, copied (read and written)",
            Probe::WgmmaBf16 => "wgmma bf16",
            Probe::WgmmaF16 => "wgmma f16",
            Probe::WgmmaS8 => "wgmma s8",
            Probe::MmaBf16 => "mma.sync bf16",
            Probe::MmaF16 => "mma.sync f16",
            Probe::MmaS8 => "mma.sync s8",
            Probe::Fma => "f32 multiply-adds",
            Probe::Launch => "empty kernel on a stream",
            Probe::RoundTrip => "empty kernel, until the host knows",
            Probe::GraphNode => "empty kernel in a graph",
            Probe::ToDevice => "link, from pinned memory",
            Probe::FromDevice => "link, to pinned memory",
        }
    }

    /// The unit of its figure.
    pub fn unit(self) -> &'static str {
        match self {
            Probe::Read | Probe::Copy | Probe::ToDevice | Probe::FromDevice => "bytes/s",
            Probe::Launch | Probe::RoundTrip | Probe::GraphNode => "s",
            _ => "operations/s",
        }
    }

    /// Measures it.
    ///
    /// # Errors
    /// Unsupported, where the device has no such instructions or is the simulator, which has no clock; the device's.
    pub fn measure(self, device: &Device, effort: Effort, seed: u64) -> Result<Figure> {
        match self {
            Probe::Read | Probe::Copy => {
                let of = |grid| self.memory(device, effort, seed, grid).and_then(|p| self.rate(device, effort, &p));
                let (one, other) = (of(Grid::Persistent)?, of(Grid::Wide)?);
                Ok(if one.value >= other.value { one } else { other })
            }
            Probe::Launch | Probe::GraphNode => self.cost_of_a_kernel(device, effort),
            Probe::RoundTrip => round_trip(device, effort),
            Probe::ToDevice | Probe::FromDevice => self.link(device, effort),
            _ => self.rate(device, effort, &self.prepare(device, effort, seed)?),
        }
    }

    /// The kernel of a probe that has one of its own.
    ///
    /// # Errors
    /// Unsupported for another probe, and where the device has no such instructions; the device's.
    pub fn prepare(self, device: &Device, effort: Effort, seed: u64) -> Result<Prepared> {
        let random = &mut Random::new(seed);
        let multiprocessors = device.facts().multiprocessors.max(1);
        match self {
            Probe::Read | Probe::Copy => self.memory(device, effort, seed, Grid::Persistent),
            Probe::WgmmaBf16 | Probe::WgmmaF16 | Probe::WgmmaS8 => {
                let operands = device.upload(&self.numbers(random, STAGES * STAGE_BYTES))?;
                let out = device.zeros(DType::U32, multiprocessors as usize * 8)?;
                let rounds = effort.rounds(400);
                let args = Args::new().buffer(&operands).buffer(&out).i32(rounds as i32).i32(1);
                let launch = Launch::new([multiprocessors, 1, 1], [256, 1, 1], args);
                // A tile of the 128-byte swizzle begins at a multiple of 1024.
                let launch = launch.shared((STAGES * STAGE_BYTES + 1024) as u32);
                let each = 2 * 64 * 256 * (32 / self.dtype().bytes() as u64);
                let count = u64::from(multiprocessors) * 2 * u64::from(rounds) * STAGES as u64 * PARTS;
                let function = device.function(&self.instance())?;
                Ok(Prepared { function, launch, amount: (each * count) as f64, operands, out })
            }
            Probe::MmaBf16 | Probe::MmaF16 | Probe::MmaS8 | Probe::Fma => {
                let operands = device.upload(&self.numbers(random, 6 * 32 * 4))?;
                let blocks = if self == Probe::Fma { 2 * multiprocessors } else { multiprocessors };
                let warps = u64::from(blocks * THREADS / 32);
                let out = device.zeros(DType::U32, warps as usize)?;
                let (rounds, each) = match self {
                    // 16 times 8 multiply-adds of each of 32 threads.
                    Probe::Fma => (effort.rounds(1600), 2 * 32 * 16 * 8),
                    // 8 products of 16 rows, 8 columns and 32 bytes of the sum.
                    _ => (effort.rounds(8000), 2 * 8 * 16 * 8 * (32 / self.dtype().bytes() as u64)),
                };
                let args = Args::new().buffer(&operands).buffer(&out).i32(rounds as i32);
                let launch = Launch::new([blocks, 1, 1], [THREADS, 1, 1], args);
                let amount = (each * warps * u64::from(rounds)) as f64;
                Ok(Prepared { function: device.function(&self.instance())?, launch, amount, operands, out })
            }
            _ => Err(GpuError::Unsupported(format!("{} has no kernel of its own", self.name()))),
        }
    }

    fn dtype(self) -> DType {
        match self {
            Probe::WgmmaS8 | Probe::MmaS8 => DType::I8,
            Probe::WgmmaF16 | Probe::MmaF16 => DType::F16,
            Probe::Fma => DType::F32,
            _ => DType::BF16,
        }
    }

    /// Operands of so many bytes.
    fn numbers(self, random: &mut Random, bytes: usize) -> Tensor {
        let elements = bytes / self.dtype().bytes();
        match self.dtype() {
            DType::I8 => random.codes([elements]),
            dtype => random.normal_tensor(dtype, [elements], 1.0),
        }
    }

    fn instance(self) -> Instance {
        let dtype = match self.dtype() {
            DType::I8 => 2,
            DType::F16 => 1,
            _ => 0,
        };
        let of = |kernel| Instance::new(&PEAK, kernel, Arch::Sm80);
        match self {
            Probe::Read => of("read_all"),
            Probe::Copy => of("copy_all"),
            Probe::Fma => of("fma_peak"),
            Probe::MmaBf16 | Probe::MmaF16 | Probe::MmaS8 => of("mma_peak").define("DTYPE", dtype),
            Probe::WgmmaBf16 | Probe::WgmmaF16 | Probe::WgmmaS8 => {
                Instance::new(&PEAK, "wgmma_peak", Arch::Sm90a).define("DTYPE", dtype).define("STAGES", STAGES)
            }
            _ => of("nothing"),
        }
    }

    /// Reading or copying a buffer of random words.
    fn memory(self, device: &Device, effort: Effort, seed: u64, grid: Grid) -> Result<Prepared> {
        let persistent = 2 * device.facts().multiprocessors.max(1);
        let part = u64::from(THREADS) * VECTORS * 16;
        let rounds = (effort.bytes / (part * u64::from(persistent))).clamp(1, 1 << 16);
        let bytes = rounds * part * u64::from(persistent);
        let (blocks, rounds) = match grid {
            Grid::Persistent => (persistent, rounds),
            Grid::Wide => (persistent * rounds as u32, 1),
        };
        let words = (bytes / 4) as usize;
        let operands = device.alloc(DType::U32, words)?;
        let fill = device.function(&Instance::new(&PEAK, "fill", Arch::Sm80))?;
        let args = Args::new().buffer(&operands).u64(words as u64).u32(seed as u32);
        device.launch(&fill, &Launch::new([persistent, 1, 1], [THREADS, 1, 1], args))?;
        let copies = self == Probe::Copy;
        let elements = if copies { words } else { (blocks * THREADS / 32) as usize };
        let out = device.zeros(DType::U32, elements)?;
        let args = Args::new().buffer(&operands).buffer(&out).u64(rounds);
        let launch = Launch::new([blocks, 1, 1], [THREADS, 1, 1], args);
        let amount = if copies { 2 * bytes } else { bytes } as f64;
        Ok(Prepared { function: device.function(&self.instance())?, launch, amount, operands, out })
    }

    fn rate(self, device: &Device, effort: Effort, prepared: &Prepared) -> Result<Figure> {
        let times = device.time(effort.timing, |_| prepared.launch(device))?;
        self.figure(prepared.amount / times.median(), prepared.amount / times.best(), times.seconds.len())
    }

    fn cost_of_a_kernel(self, device: &Device, effort: Effort) -> Result<Figure> {
        let function = device.function(&self.instance())?;
        let launch = Launch::new([1, 1, 1], [32, 1, 1], Args::new());
        let times = if self == Probe::GraphNode {
            device.time(Timing { launches: NODES, ..effort.timing }, |_| device.launch(&function, &launch))?
        } else {
            by_events(device, effort.timing.graphs, NODES, || device.launch(&function, &launch))?
        };
        self.figure(times.median(), times.best(), times.seconds.len())
    }

    fn link(self, device: &Device, effort: Effort) -> Result<Figure> {
        let bytes = (effort.bytes / 4).clamp(1 << 12, 1 << 28) as usize;
        let buffer = device.zeros(DType::U8, bytes)?;
        let pinned = device.pinned(bytes)?;
        let copy = || if self == Probe::ToDevice { pinned.copy_to(&buffer) } else { pinned.copy_from(&buffer) };
        let times = by_events(device, effort.timing.graphs, 2, copy)?;
        self.figure(bytes as f64 / times.median(), bytes as f64 / times.best(), times.seconds.len())
    }

    fn figure(self, value: f64, best: f64, runs: usize) -> Result<Figure> {
        if value.is_finite() && value > 0.0 && best.is_finite() {
            return Ok(Figure { value, best, runs });
        }
        Err(GpuError::Fault(format!("{}: the device's clock did not move while it ran", self.name())))
    }
}

/// Seconds of one of `each` calls between two events, ascending, of which there are `runs` pairs.
fn by_events(device: &Device, runs: usize, each: usize, mut call: impl FnMut() -> Result<()>) -> Result<Times> {
    let mut seconds = Vec::with_capacity(runs);
    for run in 0..runs + 3 {
        let begin = device.record()?;
        (0..each).try_for_each(|_| call())?;
        let none = || GpuError::Unsupported("the simulator has no clock, so nothing can be timed on it".into());
        let milliseconds = begin.elapsed_ms(&device.record()?)?.ok_or_else(none)?;
        if run >= 3 {
            seconds.push(f64::from(milliseconds) / 1e3 / each as f64);
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Times { seconds, launches: each })
}

/// By the clock of the host, since it is the host that waits.
fn round_trip(device: &Device, effort: Effort) -> Result<Figure> {
    let function = device.function(&Probe::RoundTrip.instance())?;
    let launch = Launch::new([1, 1, 1], [32, 1, 1], Args::new());
    let mut seconds = Vec::new();
    for run in 0..10 * effort.timing.graphs + 3 {
        let begin = Instant::now();
        device.launch(&function, &launch)?;
        device.synchronise()?;
        if run >= 3 {
            seconds.push(begin.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    let times = Times { seconds, launches: 1 };
    Probe::RoundTrip.figure(times.median(), times.best(), times.seconds.len())
}

/// What every probe found on a device, or why it found nothing.
pub struct Peaks(Vec<(Probe, Result<Figure>)>);

impl Peaks {
    /// Measures all of them; `progress` hears of each before it begins. A probe that fails does not keep the others from it.
    pub fn measure(device: &Device, effort: Effort, seed: u64, mut progress: impl FnMut(Probe)) -> Peaks {
        let each = Probe::ALL.map(|probe| {
            progress(probe);
            (probe, probe.measure(device, effort, seed))
        });
        Peaks(each.into())
    }

    /// Each probe with its figure or the reason for having none.
    pub fn iter(&self) -> impl Iterator<Item = (Probe, &Result<Figure>)> {
        self.0.iter().map(|(probe, found)| (*probe, found))
    }

    /// The larger of the figures that there are.
    fn most(&self, probes: &[Probe]) -> Result<f64> {
        let of = |&wanted: &Probe| self.iter().find(|(probe, _)| *probe == wanted).map(|(_, found)| found);
        let found = probes.iter().filter_map(of);
        let values = found.clone().filter_map(|found| found.as_ref().ok()).map(|figure| figure.value);
        let none = || found.clone().find_map(|found| found.as_ref().err()).cloned();
        let none = || none().unwrap_or_else(|| GpuError::Unavailable("nothing was measured".into()));
        values.reduce(f64::max).ok_or_else(none)
    }

    /// The limits that follow: for each kind of work the fastest way that was found to do it.
    ///
    /// # Errors
    /// That of the probe, where there is no figure for a kind of work.
    pub fn limits(&self, name: &str, source: &str) -> Result<Limits> {
        Ok(Limits {
            name: name.to_owned(),
            source: source.to_owned(),
            memory_bytes: self.most(&[Probe::Read, Probe::Copy])?,
            bf16_flops: self.most(&[Probe::WgmmaBf16, Probe::MmaBf16])?,
            int8_ops: self.most(&[Probe::WgmmaS8, Probe::MmaS8])?,
            f32_flops: self.most(&[Probe::Fma])?,
        })
    }
}

pub(crate) fn instances() -> Vec<Instance> {
    let fill = Instance::new(&PEAK, "fill", Arch::Sm80);
    let kernels = Probe::ALL.iter().filter(|probe| !matches!(probe, Probe::RoundTrip | Probe::GraphNode));
    let kernels = kernels.filter(|probe| !matches!(probe, Probe::ToDevice | Probe::FromDevice));
    [fill].into_iter().chain(kernels.map(|probe| probe.instance())).collect()
}
