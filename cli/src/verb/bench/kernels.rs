//! `tandem bench kernels`.

use crate::backend::{self, Backend, BackendKind};
use crate::options::Format;
use crate::table::{grouped, percent, table};
use crate::{Outcome, stdout};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tandem_gpu::{Device as Gpu, Recording};
use tandem_ops::OpError;
use tandem_ops::cpu::Level;
use tandem_ops::cpu::peak::Peak;
use tandem_ops::def::{Dims, Kernel, Operation, Sample, Size, Tensors, Work, accept};
use tandem_ops::operations;
use tandem_tensor::DType;

/// Runs of one kernel on the processor: as many as fill this time, and at least [`LEAST`].
const PATIENCE: Duration = Duration::from_millis(400);
const LEAST: usize = 5;
/// Time for one peak.
const PEAK_TIME: Duration = Duration::from_millis(300);
/// On a GPU: launches of a graph, graphs that are timed, and how many times the second-level cache the operands fill together.
const REPLAYS: usize = 20;
const GRAPHS: usize = 30;
const CACHES: u64 = 4;
/// Sets of operands at most.
const SETS: u64 = 16;

/// Options of `tandem bench kernels`.
#[derive(Args)]
pub struct Options {
    /// cpu: this processor, with SIMD; cpu-scalar: without; ptx: the PTX simulator, which counts and has no time; cuda: a GPU.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// Measure this definition alone [default: all].
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Extents and choices, as m=512,n=512,k=512, in the place of the usual workloads. Needs --op.
    #[arg(long, value_name = "AXIS=EXTENT,..", requires = "op")]
    dims: Option<String>,
    /// Threads of the CPU kernels [default: one for each core].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,
    /// What the GPU can do at most, in the form of gpu/devices/h200.json [default: what is known of it].
    #[arg(long, value_name = "FILE")]
    limits: Option<PathBuf>,
    /// Chooses the operands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    Cpu,
    CpuScalar,
    Ptx,
    Cuda,
}

impl Device {
    fn kind(self) -> BackendKind {
        match self {
            Device::Cpu => BackendKind::CpuSimd,
            Device::CpuScalar => BackendKind::CpuScalar,
            Device::Ptx => BackendKind::Ptx,
            Device::Cuda => BackendKind::Cuda,
        }
    }

    fn size(self) -> Size {
        match self {
            Device::Cpu | Device::CpuScalar => Size::Processor,
            Device::Ptx => Size::Simulator,
            Device::Cuda => Size::Gpu,
        }
    }
}

/// A kernel on a workload.
#[derive(Serialize)]
struct Row {
    kernel: &'static str,
    workload: &'static str,
    dims: Dims,
    work: Work,
    /// Median time of a run, and how many there were.
    #[serde(flatten)]
    time: Option<Time>,
    /// What the simulator counted.
    counts: Option<Counts>,
    /// Why there is no figure.
    error: Option<String>,
}

#[derive(Serialize)]
struct Time {
    median_us: f64,
    runs: usize,
    /// What the machine needs at least, and what is then the bottleneck.
    limit_us: f64,
    bound: &'static str,
    fraction_of_limit: f64,
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

/// What a machine can do at most, a second.
#[derive(Serialize)]
struct Limits {
    /// Where the figures are from.
    source: String,
    int8_ops: Option<f64>,
    bf16_flops: Option<f64>,
    f32_flops: f64,
    memory_bytes: f64,
}

impl Limits {
    /// Those of this processor, measured now.
    fn of_processor(level: Level, threads: usize) -> Result<Limits> {
        let peak = |peak: Peak| peak.measure(level, threads, PEAK_TIME);
        let needed = |what: Peak| peak(what).ok_or_else(|| anyhow!("this processor does not run {level} instructions"));
        Ok(Limits {
            source: format!("measured in this run, {level}, {threads} threads"),
            int8_ops: peak(Peak::Int8),
            bf16_flops: peak(Peak::Bf16),
            f32_flops: needed(Peak::F32)?,
            memory_bytes: needed(Peak::Memory)?,
        })
    }

    /// Those of a GPU: of a file, or as they are known.
    fn of_gpu(name: &str, file: Option<&Path>) -> Result<Limits> {
        let known = match file {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("--limits {}", file.display()))?;
                tandem_gpu::Limits::parse(&text).with_context(|| format!("--limits {}", file.display()))?
            }
            None => tandem_gpu::Limits::of(name)?,
        };
        Ok(Limits {
            source: known.source,
            int8_ops: Some(known.int8_ops),
            bf16_flops: Some(known.bf16_flops),
            f32_flops: known.f32_flops,
            memory_bytes: known.memory_bytes,
        })
    }

    /// The shortest time for work on elements of this type, and what makes it so.
    fn seconds(&self, work: &Work, dtype: DType) -> (f64, &'static str) {
        let flops = match dtype {
            // Where instructions for pairs are slower than those for f32, widening is the better way.
            DType::BF16 | DType::F16 => self.bf16_flops.map_or(self.f32_flops, |rate| rate.max(self.f32_flops)),
            _ => self.f32_flops,
        };
        let arithmetic = work.flops as f64 / flops + work.int_ops as f64 / self.int8_ops.unwrap_or(self.f32_flops);
        let memory = work.dram_bytes as f64 / self.memory_bytes;
        if arithmetic >= memory { (arithmetic, "arithmetic") } else { (memory, "memory") }
    }
}

/// A kernel with what it is to be run on.
struct Job<'a> {
    kernel: &'a dyn Kernel,
    operation: &'static dyn Operation,
    sample: Sample,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let operations: Vec<&'static dyn Operation> = match &options.op {
        Some(name) => vec![backend::operation(name)?],
        None => operations(),
    };
    let mut samples = Vec::new();
    for operation in operations {
        let of = match &options.dims {
            Some(text) => vec![Sample { name: "chosen", dims: backend::dims(operation.def(), text)? }],
            None => operation.workloads(options.device.size()),
        };
        samples.extend(of.into_iter().map(|sample| (operation, sample)));
    }
    let backend = backend::open(options.device.kind(), options.seed)?;
    let kernel = |(operation, sample): (&'static dyn Operation, Sample)| {
        Some(Job { kernel: backend.kernel(operation.def().name)?, operation, sample })
    };
    let jobs: Vec<Job<'_>> = samples.into_iter().filter_map(kernel).collect();
    if jobs.is_empty() {
        bail!("{} has no kernel for it; `tandem kernels` lists them", backend.kind.name());
    }
    let level = if options.device == Device::CpuScalar { Level::Portable } else { Level::best() };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or(cores, |threads| threads as usize);
    let limits = match options.device {
        Device::Cpu | Device::CpuScalar => Some(Limits::of_processor(level, threads)?),
        Device::Ptx => None,
        Device::Cuda => Some(Limits::of_gpu(&backend.machine(), options.limits.as_deref())?),
    };
    let bar =
        ProgressBar::new(jobs.len() as u64).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut rows = Vec::new();
    for job in &jobs {
        bar.set_message(format!("{} {}", job.operation.def().name, job.sample.name));
        rows.push(pool.install(|| measure(job, &backend, limits.as_ref(), options.seed)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let failed = rows.iter().any(|row| row.error.is_some());
    let machine = backend.machine();
    let text = match options.format {
        Format::Json => {
            let value = json!({
                "device": backend.kind.name(),
                "machine": machine,
                "threads": limits.as_ref().map(|_| threads),
                "seed": options.seed,
                "version": env!("CARGO_PKG_VERSION"),
                "limits": limits,
                "rows": rows,
            });
            format!("{value}\n")
        }
        Format::Table => as_table(&rows, limits.as_ref(), &machine),
    };
    stdout::emit(&text)?;
    Ok(if failed { Outcome::Negative } else { Outcome::Good })
}

fn measure(job: &Job<'_>, backend: &Backend, limits: Option<&Limits>, seed: u64) -> Row {
    let Job { kernel, operation, sample } = job;
    let def = operation.def();
    let mut row = Row {
        kernel: def.name,
        workload: sample.name,
        dims: sample.dims.clone(),
        work: Work::default(),
        time: None,
        counts: None,
        error: None,
    };
    let inputs = operation.sample(sample.name, &sample.dims, seed);
    let bound = inputs.and_then(|inputs| Ok((accept(*operation, &sample.dims, &inputs)?, inputs)));
    let done = bound.and_then(|(dims, inputs)| {
        row.work = operation.work(&dims, &inputs);
        row.dims = dims;
        match (limits, backend.device()) {
            (None, _) => row.counts = Some(count(*kernel, &row, &inputs, backend)?),
            (Some(limits), None) => row.time = Some(row.timed(*operation, limits, time(*kernel, &row.dims, &inputs)?)),
            (Some(limits), Some(device)) => {
                let sets = (CACHES * u64::from(device.facts().l2) / row.work.dram_bytes.max(1) + 1).min(SETS);
                let more = (1..sets).map(|set| operation.sample(sample.name, &sample.dims, seed.wrapping_add(set)));
                let sets = [Ok(inputs)].into_iter().chain(more).collect::<Result<Vec<_>, _>>()?;
                row.time = Some(row.timed(*operation, limits, time_on(device, *kernel, &row.dims, &sets)?));
            }
        }
        Ok(())
    });
    row.error = done.err().map(|error| error.to_string());
    row
}

/// Seconds of runs on the processor; the first one, which fills caches, does not count.
fn time(kernel: &dyn Kernel, dims: &Dims, inputs: &Tensors) -> Result<Vec<f64>, OpError> {
    kernel.run(dims, inputs)?;
    let (mut times, begin) = (Vec::new(), Instant::now());
    while times.len() < LEAST || begin.elapsed() < PATIENCE {
        let start = Instant::now();
        std::hint::black_box(kernel.run(dims, inputs)?);
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Seconds of runs on a GPU: graphs of many launches, which take turns with operands that together are larger than its caches,
/// timed by events. Copies from and to the host are not among them.
fn time_on(device: &Gpu, kernel: &dyn Kernel, dims: &Dims, sets: &[Tensors]) -> Result<Vec<f64>, OpError> {
    let mut recordings = Vec::new();
    for inputs in sets {
        let (done, recording) = device.recording(|| kernel.run(dims, inputs));
        done?;
        recordings.push(recording);
    }
    let rounds = REPLAYS.div_ceil(sets.len());
    let graph = device.capture(|_| (0..rounds).try_for_each(|_| recordings.iter().try_for_each(Recording::replay)))?;
    let mut times = Vec::new();
    for at in 0..GRAPHS + 3 {
        let begin = device.record()?;
        graph.launch()?;
        let milliseconds = begin.elapsed_ms(&device.record()?)?.unwrap_or(f32::NAN);
        // The first ones find a GPU that was idle.
        if at >= 3 {
            times.push(f64::from(milliseconds) / 1e3 / (rounds * sets.len()) as f64);
        }
    }
    Ok(times)
}

impl Row {
    fn timed(&self, operation: &dyn Operation, limits: &Limits, mut seconds: Vec<f64>) -> Time {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let (limit, bound) = limits.seconds(&self.work, operation.def().inputs[0].dtype);
        Time {
            median_us: median * 1e6,
            runs: seconds.len(),
            limit_us: limit * 1e6,
            bound,
            fraction_of_limit: limit / median,
        }
    }
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

fn as_table(rows: &[Row], limits: Option<&Limits>, machine: &str) -> String {
    let failed = |row: &Row| row.error.as_ref().map(|error| format!("{} {}: {error}\n", row.kernel, row.workload));
    let errors: String = rows.iter().filter_map(failed).collect();
    let rows = rows.iter().filter(|row| row.error.is_none());
    let Some(limits) = limits else {
        let cells = rows.map(|row| {
            let counts = row.counts.as_ref();
            let number = |pick: fn(&Counts) -> f64| counts.map_or_else(String::new, |c| format!("{:.2}", pick(c)));
            vec![
                row.kernel.to_owned(),
                row.workload.to_owned(),
                counts.map_or_else(String::new, |c| grouped(c.warp_instructions)),
                number(|c| c.sectors_per_request),
                number(|c| c.traffic_over_work),
                number(|c| c.wavefronts_per_request),
            ]
        });
        let header =
            ["kernel", "workload", "warp instructions", "sectors a request", "bytes over need", "wavefronts a request"];
        let note = format!("Counted on {machine}; a simulator has no time.\n");
        return table(&header, &[2, 3, 4, 5], cells) + &note + &errors;
    };
    let cells = rows.filter_map(|row| {
        let time = row.time.as_ref()?;
        let rate = (row.work.flops + row.work.int_ops) as f64 / time.median_us / 1e3;
        Some(vec![
            row.kernel.to_owned(),
            row.workload.to_owned(),
            format!("{:.1}", time.median_us),
            format!("{rate:.1}"),
            format!("{:.2}", row.work.dram_bytes as f64 / time.median_us / 1e3),
            percent(Some(time.fraction_of_limit)),
            time.bound.to_owned(),
        ])
    });
    let giga = |rate: f64| format!("{:.1}", rate / 1e9);
    let note = format!(
        "{machine}. Peaks, {}: int8 {} Gop/s, bf16 {} Gflop/s, f32 {} Gflop/s, memory {} GB/s.\n",
        limits.source,
        limits.int8_ops.map_or_else(|| "-".to_owned(), giga),
        limits.bf16_flops.map_or_else(|| "-".to_owned(), giga),
        giga(limits.f32_flops),
        giga(limits.memory_bytes)
    );
    let header = ["kernel", "workload", "median us", "Gop/s", "GB/s", "of limit", "bound by"];
    table(&header, &[2, 3, 4, 5], cells) + &note + &errors
}
