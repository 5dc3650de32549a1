//! `tandem bench kernels`.

use crate::backend::{self, Backend, BackendKind, CoreOptions};
use crate::bottleneck::memory_cycles;
use crate::bounds::{self, Bound};
use crate::limits::Limits;
use crate::options::Format;
use crate::smi::{Clocks, Watch};
use crate::table::{grouped, percent, table};
use crate::{Outcome, file, stdout};
use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tandem_gpu::peak::Effort;
use tandem_gpu::{Device as Gpu, Facts, Times, Timing};
use tandem_ops::OpError;
use tandem_ops::cpu::Level;
use tandem_ops::def::{Dims, Kernel, Operation, Sample, Size, Tensors, Work, accept};
use tandem_ops::operations;
use tandem_runtime::forms::Core;
use tandem_sim::tsim::DramModel;

/// Runs of one kernel on the processor: as many as fill this time, and at least [`LEAST`].
const PATIENCE: Duration = Duration::from_millis(400);
const LEAST: usize = 5;
/// On a GPU: how many times the second-level cache the operands fill that launches take turns with.
const CACHES: u64 = 4;
/// Sets of operands at most, of which 512 of half a megabyte fill 240 MB.
const SETS: u64 = 512;

/// Options of `tandem bench kernels`.
#[derive(Args)]
pub struct Options {
    /// cpu: this processor, with SIMD; cpu-scalar: without; ptx: the PTX simulator, which counts and has no time; cuda: a GPU;
    /// tsim: the FPGA forms on the accelerator's simulated hardware, in cycles; fsim: in cycles that the functional simulator estimates.
    #[arg(long, value_enum, default_value = "cpu")]
    device: BackendKind,
    /// Measure these definitions alone, separated by commas [default: all].
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    op: Vec<String>,
    /// Measure this workload alone; with --dims, draw operands as that workload or named sample does.
    #[arg(long, value_name = "NAME", requires = "op")]
    workload: Option<String>,
    /// Extents and choices, as m=512,n=512,k=512, in the place of the usual workloads. Needs --op.
    #[arg(long, value_name = "AXIS=EXTENT,..", requires = "op")]
    dims: Option<String>,
    /// For which machine the usual workloads are: simulator, processor or gpu [default: that of the device].
    #[arg(long, value_enum)]
    size: Option<Extent>,
    /// Threads of the CPU kernels [default: one for each core].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,
    /// What the GPU can do at most, in the form of gpu/devices/h200.json [default: measured first].
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Measure and read no limits, and tell times alone.
    #[arg(long, conflicts_with = "limits")]
    no_limits: bool,
    /// Where FPGA forms run.
    #[command(flatten)]
    core: CoreOptions,
    /// Chooses the operands, and the order of events on the PTX simulator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write times beside limits as a picture.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Sizes of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Extent {
    /// A million operations.
    Simulator,
    /// A thousand million.
    Processor,
    /// A million million.
    Gpu,
}

impl Extent {
    /// The machine that definitions have workloads for.
    pub fn size(self) -> Size {
        match self {
            Extent::Simulator => Size::Simulator,
            Extent::Processor => Size::Processor,
            Extent::Gpu => Size::Gpu,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Extent::Simulator => "simulator",
            Extent::Processor => "processor",
            Extent::Gpu => "gpu",
        }
    }

    /// How launches on a GPU are timed.
    pub fn timing(self) -> Timing {
        if self == Extent::Simulator { Timing::SHORT } else { Timing::USUAL }
    }

    /// How much is done to find a GPU's peaks.
    pub fn effort(self, facts: &Facts) -> Effort {
        if self == Extent::Simulator { Effort::short() } else { Effort::usual(facts) }
    }
}

impl Options {
    fn extent(&self) -> Extent {
        self.size.unwrap_or(match self.device {
            BackendKind::CpuScalar | BackendKind::CpuSimd => Extent::Processor,
            BackendKind::Ptx | BackendKind::Fsim | BackendKind::Tsim => Extent::Simulator,
            BackendKind::Cuda => Extent::Gpu,
        })
    }

    /// Whether it counts and has no time.
    fn counts(&self) -> bool {
        self.device == BackendKind::Ptx || self.device.is_core()
    }

    fn is_cpu(&self) -> bool {
        matches!(self.device, BackendKind::CpuScalar | BackendKind::CpuSimd)
    }

    /// Refuses what means nothing on the device.
    fn check(&self) -> Result<()> {
        let name = self.device.name();
        self.core.check(&[self.device])?;
        if self.limits.is_some() && self.device != BackendKind::Cuda {
            bail!("--limits: they are those of a GPU, and --device is {name}; the peaks of a processor are measured");
        }
        if self.op.len() > 1 && (self.workload.is_some() || self.dims.is_some()) {
            bail!("--op: --workload and --dims are of one definition, and {} are named", self.op.len());
        }
        if self.plot.is_some() && (self.no_limits || self.counts()) {
            bail!(
                "--plot: it shows times beside limits, and there are none of {}",
                if self.no_limits { "--no-limits" } else { name }
            );
        }
        if self.threads.is_some() && !self.is_cpu() {
            bail!("--threads: they are those of the CPU kernels, and --device is {name}");
        }
        Ok(())
    }
}

/// A kernel on a workload.
#[derive(Serialize)]
struct Row {
    kernel: &'static str,
    workload: &'static str,
    dims: Dims,
    /// Positions of each request, of attention.
    lengths: Option<Vec<i64>>,
    /// Rows of queries of each request, where a request may have several.
    rows: Option<Vec<i64>>,
    work: Work,
    /// Median time of a run, and how many there were.
    #[serde(flatten)]
    time: Option<Time>,
    /// What the simulator counted.
    counts: Option<Counts>,
    /// What the accelerator counted.
    core: Option<CoreCounts>,
    /// Why there is no figure.
    error: Option<String>,
}

#[derive(Serialize)]
struct Time {
    median_us: f64,
    best_us: f64,
    runs: usize,
    /// Of a GPU: launches of each run, and bytes of the operands and results that these take turns with.
    launches: Option<usize>,
    rotated_bytes: Option<u64>,
    /// What the machine needs at least, and what is then the bottleneck.
    limit_us: Option<f64>,
    bound: Option<&'static str>,
    fraction_of_limit: Option<f64>,
    /// Of a GPU, where `nvidia-smi` is there.
    clocks: Option<Clocks>,
}

/// What the simulator counts.
#[derive(Serialize)]
struct Counts {
    warp_instructions: u64,
    /// Sectors of 32 bytes for each request to global memory.
    sectors_per_request: f64,
    /// Bytes of the sectors over the bytes of the work.
    traffic_over_work: f64,
    /// Wavefronts for each request to shared memory; 1 is free of bank conflicts for 4-byte accesses.
    wavefronts_per_request: f64,
}

/// What an accelerator counts.
#[derive(Serialize)]
struct CoreCounts {
    cycles: u64,
    /// Whether the functional simulator estimates them.
    estimated: bool,
    /// What the work needs at least: products of the definition on the array, or bytes of memory; and which of them.
    limit_cycles: f64,
    bound: &'static str,
    fraction_of_limit: f64,
    /// Products of bytes for one of the definition, with those of lanes that nothing fills.
    products_over_work: f64,
    /// Bytes loaded and stored over those of the work.
    traffic_over_work: f64,
}

/// A kernel with what it is to be run on.
struct Job<'a> {
    kernel: &'a dyn Kernel,
    operation: &'static dyn Operation,
    sample: Sample,
}

/// What kernels are measured with.
struct Bench<'a> {
    backend: &'a Backend,
    limits: Option<Limits>,
    extent: Extent,
    watch: Option<Watch>,
    seed: u64,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    options.check()?;
    let samples = samples(options)?;
    if let Some(path) = &options.plot {
        file::probe(path)?;
    }
    let backend = backend::open(options.device, options.seed, &options.core)?;
    let kernel = |(operation, sample): (&'static dyn Operation, Sample)| {
        Some(Job { kernel: backend.kernel(operation.def().name)?, operation, sample })
    };
    let jobs: Vec<Job<'_>> = samples.into_iter().filter_map(kernel).collect();
    if jobs.is_empty() {
        bail!("{} has no kernel for it; `tandem kernels` lists them", backend.kind.name());
    }
    let level = if options.device == BackendKind::CpuScalar { Level::Portable } else { Level::best() };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or(cores, |threads| threads as usize);
    let extent = options.extent();
    let details = backend.device().map(|device| device.details()).transpose()?.flatten();
    let watch = details.and_then(|details| Watch::start(&details.pci));
    let limits = match (&options.limits, backend.device()) {
        _ if options.no_limits || options.counts() => None,
        (Some(file), _) => Some(Limits::of_file(file)?),
        (None, Some(device)) => Some(Limits::of_gpu(device, extent.effort(device.facts()), options.seed)?),
        (None, None) => Some(Limits::of_processor(level, threads)?),
    };
    let bench = Bench { backend: &backend, limits, extent, watch, seed: options.seed };
    let bar =
        ProgressBar::new(jobs.len() as u64).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut rows = Vec::new();
    for job in &jobs {
        bar.set_message(format!("{} {}", job.operation.def().name, job.sample.name));
        rows.push(pool.install(|| bench.measure(job)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let failed = rows.iter().any(|row| row.error.is_some());
    let machine = backend.machine();
    let limits = bench.limits.as_ref();
    if let Some(path) = &options.plot {
        file::write(path, picture(&rows, limits, &machine, options.seed).as_bytes())?;
    }
    let text = match options.format {
        Format::Json => {
            let value = json!({
                "device": backend.kind.name(),
                "machine": machine,
                "threads": options.is_cpu().then_some(threads),
                "size": extent.name(),
                "seed": options.seed,
                "version": env!("CARGO_PKG_VERSION"),
                "limits": limits,
                "rows": rows,
            });
            format!("{value}\n")
        }
        Format::Table => as_table(&rows, limits, &machine),
    };
    stdout::emit(&text)?;
    Ok(if failed { Outcome::Negative } else { Outcome::Good })
}

/// What is to be measured.
fn samples(options: &Options) -> Result<Vec<(&'static dyn Operation, Sample)>> {
    let operations: Vec<&'static dyn Operation> = match options.op.as_slice() {
        [] => operations(),
        names => names.iter().map(|name| backend::operation(name)).collect::<Result<_>>()?,
    };
    let size = options.extent().size();
    let mut all = Vec::new();
    for operation in operations {
        let usual = operation.workloads(size);
        let of = match (&options.workload, &options.dims) {
            (None, None) => usual,
            (None, Some(text)) => vec![Sample { name: "chosen", dims: backend::dims(operation.def(), text)? }],
            (Some(name), dims) => {
                // With extents of one's own, any sample can say how operands are drawn.
                let more = if dims.is_some() { operation.samples() } else { Vec::new() };
                let names: Vec<&str> = usual.iter().map(|sample| sample.name).collect();
                let unknown = format!("--workload {name}: there is no such workload; there are {}", names.join(", "));
                let mut found = usual.into_iter().chain(more).find(|sample| sample.name == *name);
                let sample = found.take().ok_or_else(|| anyhow!(unknown))?;
                let dims = dims.as_ref().map_or(Ok(sample.dims), |text| backend::dims(operation.def(), text))?;
                vec![Sample { name: sample.name, dims }]
            }
        };
        all.extend(of.into_iter().map(|sample| (operation, sample)));
    }
    Ok(all)
}

impl Bench<'_> {
    fn measure(&self, job: &Job<'_>) -> Row {
        let Job { kernel, operation, sample } = job;
        let def = operation.def();
        let mut row = Row {
            kernel: def.name,
            workload: sample.name,
            dims: sample.dims.clone(),
            lengths: None,
            rows: None,
            work: Work::default(),
            time: None,
            counts: None,
            core: None,
            error: None,
        };
        let inputs = operation.sample(sample.name, &sample.dims, self.seed);
        let bound = inputs.and_then(|inputs| Ok((accept(*operation, &sample.dims, &inputs)?, inputs)));
        let done = bound.and_then(|(dims, inputs)| {
            row.work = operation.work(&dims, &inputs);
            row.lengths = lengths(&dims, &inputs);
            row.rows = parts(&inputs, "qo_indptr");
            row.dims = dims;
            if let Some((core, memory)) = self.backend.core() {
                row.core = Some(self.cycles(core, memory, *kernel, &row, &inputs)?);
                return Ok(());
            }
            match (self.backend.kind, self.backend.device()) {
                (BackendKind::Ptx, _) => row.counts = Some(count(*kernel, &row, &inputs, self.backend)?),
                (_, None) => {
                    let times = time(*kernel, &row.dims, &inputs)?;
                    row.time = Some(self.timed(&row.work, *operation, times));
                }
                (_, Some(device)) => row.time = Some(self.time_on(device, job, &row, inputs)?),
            }
            Ok(())
        });
        row.error = done.err().map(|error| error.to_string());
        row
    }

    fn cycles(
        &self,
        core: &Core,
        memory: &DramModel,
        kernel: &dyn Kernel,
        row: &Row,
        inputs: &Tensors,
    ) -> Result<CoreCounts, OpError> {
        core.take_counters();
        let results = kernel.run(&row.dims, inputs)?;
        let written: usize = results.iter().map(|(_, tensor)| tensor.len() * tensor.dtype().bytes()).sum();
        let (counters, config) = (core.take_counters(), core.config());
        let products = (row.work.flops + row.work.int_ops) as f64 / 2.0;
        let array = (config.batch() * config.block_in() * config.block_out()) as f64;
        let read = row.work.dram_bytes.saturating_sub(written as u64);
        let moved = memory_cycles(read, written as u64, config, memory) as f64;
        let needs = [(products / array, "arithmetic"), (moved, "memory")];
        let (limit_cycles, bound) = if needs[0].0 > needs[1].0 { needs[0] } else { needs[1] };
        Ok(CoreCounts {
            cycles: counters.cycles,
            estimated: self.backend.kind == BackendKind::Fsim,
            limit_cycles,
            bound,
            fraction_of_limit: limit_cycles / counters.cycles.max(1) as f64,
            products_over_work: counters.macs(config) as f64 / products.max(1.0),
            traffic_over_work: (counters.bytes_loaded() + counters.bytes_stored()) as f64
                / row.work.dram_bytes.max(1) as f64,
        })
    }

    /// Times on a GPU: graphs of launches, which take turns with operands that together are larger than its caches, timed by
    /// events. Copies from and to the host are not among them.
    fn time_on(&self, device: &Gpu, job: &Job<'_>, row: &Row, inputs: Tensors) -> Result<Time, OpError> {
        let Job { kernel, operation, sample } = job;
        let most = if self.extent == Extent::Simulator { 2 } else { SETS };
        let sets = (CACHES * u64::from(device.facts().l2) / row.work.dram_bytes.max(1) + 1).min(most);
        let mut recordings = Vec::new();
        let mut record = |inputs: &Tensors| -> Result<(), OpError> {
            let (done, recording) = device.recording(|| kernel.run(&row.dims, inputs));
            recordings.push(recording);
            done.map(drop)
        };
        record(&inputs)?;
        drop(inputs);
        for set in 1..sets {
            record(&operation.sample(sample.name, &sample.dims, self.seed.wrapping_add(set))?)?;
        }
        let begin = Instant::now();
        let timing = self.extent.timing().in_turns(recordings.len());
        let times = device.time(timing, |at| recordings[at % recordings.len()].replay())?;
        let clocks = self.watch.as_ref().and_then(|watch| watch.since(begin));
        let launches = Some(times.launches);
        let rotated_bytes = Some(sets * row.work.dram_bytes);
        Ok(Time { launches, rotated_bytes, clocks, ..self.timed(&row.work, *operation, times) })
    }

    fn timed(&self, work: &Work, operation: &dyn Operation, times: Times) -> Time {
        let limit = self.limits.as_ref().map(|limits| limits.seconds(work, operation.def().inputs[0].dtype));
        Time {
            median_us: times.median() * 1e6,
            best_us: times.best() * 1e6,
            runs: times.seconds.len(),
            launches: None,
            rotated_bytes: None,
            limit_us: limit.map(|(seconds, _)| seconds * 1e6),
            bound: limit.map(|(_, bound)| bound),
            fraction_of_limit: limit.map(|(seconds, _)| seconds / times.median()),
            clocks: None,
        }
    }
}

/// Positions of each request, of operands that have a table of pages or offsets for them.
fn lengths(dims: &Dims, inputs: &Tensors) -> Option<Vec<i64>> {
    let pages = match parts(inputs, "kv_indptr") {
        None => parts(inputs, "indptr")?,
        lengths => return lengths,
    };
    let (last, page) = (inputs.find("last_page_len")?.as_slice::<i32>().ok()?, dims.find("page")? as i64);
    Some(pages.into_iter().zip(last).map(|(pages, &last)| ((pages - 1) * page + i64::from(last)).max(0)).collect())
}

/// How long parts are that offsets mark.
fn parts(inputs: &Tensors, offsets: &str) -> Option<Vec<i64>> {
    let begins = inputs.find(offsets)?.as_slice::<i32>().ok()?;
    Some(begins.windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0])).collect())
}

/// Times on the processor; the first run, which fills caches, does not count.
fn time(kernel: &dyn Kernel, dims: &Dims, inputs: &Tensors) -> Result<Times, OpError> {
    kernel.run(dims, inputs)?;
    let (mut seconds, begin) = (Vec::new(), Instant::now());
    while seconds.len() < LEAST || begin.elapsed() < PATIENCE {
        let start = Instant::now();
        std::hint::black_box(kernel.run(dims, inputs)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Times { seconds, launches: 1 })
}

fn count(kernel: &dyn Kernel, row: &Row, inputs: &Tensors, backend: &Backend) -> Result<Counts, OpError> {
    backend.take_stats();
    kernel.run(&row.dims, inputs)?;
    let stats = backend.take_stats().unwrap_or_default();
    let ratio = |over: u64, under: u64| if under == 0 { 0.0 } else { over as f64 / under as f64 };
    Ok(Counts {
        warp_instructions: stats.warp_instructions,
        sectors_per_request: ratio(stats.global_sectors, stats.global_requests),
        traffic_over_work: ratio(32 * stats.global_sectors + stats.bulk_bytes, row.work.dram_bytes),
        wavefronts_per_request: ratio(stats.shared_wavefronts, stats.shared_requests),
    })
}

fn picture(rows: &[Row], limits: Option<&Limits>, machine: &str, seed: u64) -> String {
    let bound = |row: &Row| {
        let time = row.time.as_ref()?;
        Some(Bound {
            name: format!("{} {}", row.kernel, row.workload),
            taken: time.median_us * 1e-6,
            limit: time.limit_us? * 1e-6,
            by: time.bound?.to_owned(),
        })
    };
    let bounds: Vec<Bound> = rows.iter().filter_map(bound).collect();
    let peaks = limits.map_or_else(String::new, |limits| format!("; peaks {}", limits.source));
    bounds::svg(("Kernels beside their limits", &format!("{machine}{peaks}; operands of seed {seed}")), &bounds)
}

fn as_table(rows: &[Row], limits: Option<&Limits>, machine: &str) -> String {
    let failed = |row: &Row| row.error.as_ref().map(|error| format!("{} {}: {error}\n", row.kernel, row.workload));
    let errors: String = rows.iter().filter_map(failed).collect();
    let measured = || rows.iter().filter(|row| row.error.is_none());
    if measured().any(|row| row.counts.is_some()) {
        let cells = measured().filter_map(|row| {
            let counts = row.counts.as_ref()?;
            Some(vec![
                row.kernel.to_owned(),
                row.workload.to_owned(),
                grouped(counts.warp_instructions),
                format!("{:.2}", counts.sectors_per_request),
                format!("{:.2}", counts.traffic_over_work),
                format!("{:.2}", counts.wavefronts_per_request),
            ])
        });
        let header =
            ["kernel", "workload", "warp instructions", "sectors a request", "bytes over need", "wavefronts a request"];
        let note = format!("Counted on {machine}; a simulator has no time.\n");
        return table(&header, &[2, 3, 4, 5], cells) + &note + &errors;
    }
    if measured().any(|row| row.core.is_some()) {
        let cells = measured().filter_map(|row| {
            let core = row.core.as_ref()?;
            Some(vec![
                row.kernel.to_owned(),
                row.workload.to_owned(),
                grouped(core.cycles),
                percent(Some(core.fraction_of_limit)),
                core.bound.to_owned(),
                format!("{:.2}", core.products_over_work),
                format!("{:.2}", core.traffic_over_work),
            ])
        });
        let header = ["kernel", "workload", "cycles", "of limit", "bound by", "products over need", "bytes over need"];
        let estimated = measured().filter_map(|row| row.core.as_ref()).any(|core| core.estimated);
        let how = if estimated { "Estimated by" } else { "Cycles of" };
        let note = format!("{how} {machine}; what the host does is not among them.\n");
        return table(&header, &[2, 3, 5, 6], cells) + &note + &errors;
    }
    let cells = measured().filter_map(|row| {
        let time = row.time.as_ref()?;
        let rate = (row.work.flops + row.work.int_ops) as f64 / time.median_us / 1e3;
        Some(vec![
            row.kernel.to_owned(),
            row.workload.to_owned(),
            format!("{:.1}", time.median_us),
            format!("{rate:.1}"),
            format!("{:.2}", row.work.dram_bytes as f64 / time.median_us / 1e3),
            percent(time.fraction_of_limit),
            time.bound.unwrap_or("-").to_owned(),
        ])
    });
    let giga = |rate: f64| format!("{:.1}", rate / 1e9);
    let note = limits.map_or_else(
        || format!("{machine}. Times alone: no limits were asked for.\n"),
        |limits| {
            format!(
                "{machine}. Peaks, {}: int8 {} Gop/s, bf16 {} Gflop/s, f32 {} Gflop/s, memory {} GB/s.\n",
                limits.source,
                limits.int8_ops.map_or_else(|| "-".to_owned(), giga),
                limits.bf16_flops.map_or_else(|| "-".to_owned(), giga),
                giga(limits.f32_flops),
                giga(limits.memory_bytes)
            )
        },
    );
    let header = ["kernel", "workload", "median us", "Gop/s", "GB/s", "of limit", "bound by"];
    table(&header, &[2, 3, 4, 5], cells) + &note + &errors
}
