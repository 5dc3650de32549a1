//! `tandem partition`: the best split of a model between devices, with the reasons.

mod drawing;

use crate::options::{DeviceOptions, Format, ModelOptions};
use crate::placing::{CLOCK_HZ, Costs, DEVICES, Placed, Source, beside, shortened, shown};
use crate::session::Session;
use crate::table::table;
use crate::{Outcome, file, model, report, stdout};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use tandem_graph::Graph;
use tandem_plan::Device;
use tandem_plan::place::{self, Objective, Price, Request};
use tandem_runtime::median;

/// Samples of a measurement on a simulator of cycles, which is slow, and on anything else.
const SAMPLES: (usize, usize) = (4, 40);
/// Characters of a node's name in a table; the JSON has all.
const NAME: usize = 28;

/// Options of `tandem partition`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    device: DeviceOptions,
    /// Clock of the accelerator, by which cycles become seconds.
    #[arg(long, value_name = "MHZ", default_value_t = CLOCK_HZ / 1e6, value_parser = positive)]
    clock_mhz: f64,
    /// Take the CPU to be so many times slower than this host: a projection for a smaller one.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    cpu_times: f64,
    /// What is to be small: the time of one input, the time between inputs of a pipeline, or the energy of one input.
    #[arg(long, value_enum, default_value = "latency")]
    objective: Aim,
    /// Run a node on a device; may be repeated.
    #[arg(long, value_name = "NODE=DEVICE", value_parser = assignment)]
    pin: Vec<(String, String)>,
    /// Run nothing on a device; may be repeated.
    #[arg(long, value_name = "DEVICE")]
    forbid: Vec<String>,
    /// Use at most so much memory of a device; may be repeated.
    #[arg(long, value_name = "DEVICE=BYTES", value_parser = limit)]
    memory: Vec<(String, u64)>,
    /// Let an input take at most so long, whatever is to be small.
    #[arg(long, value_name = "MS", value_parser = positive)]
    latency_ms: Option<f64>,
    /// Power of a device when busy and when idle, for energy; may be repeated.
    #[arg(long, value_name = "DEVICE=BUSY:IDLE", value_parser = power)]
    watts: Vec<(String, (f64, f64))>,
    /// List every node with what it takes on each device and what another choice would have cost.
    #[arg(long)]
    explain: bool,
    /// Run the plan and compare the time with the prediction.
    #[arg(long)]
    measure: bool,
    /// Draw the plan.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Write the plan.
    #[arg(long, value_name = "OUT.json")]
    save: Option<PathBuf>,
    /// Write what was measured, as the problem that was solved.
    #[arg(long, value_name = "OUT.json")]
    problem: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Objectives on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Aim {
    Latency,
    Throughput,
    Energy,
}

/// What a run of the plan took, a sample, in seconds: medians, and cycles on the mean.
struct Measured {
    samples: usize,
    cpu: f64,
    vta: f64,
    copies: f64,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let mut costs = Costs::measure(&graph, &options.device, options.clock_mhz * 1e6)?;
    costs.watts = watts(options, &costs.names)?;
    costs.cpu_times = options.cpu_times;
    let placed = costs.place(&graph, &request(options))?;
    let measured = if options.measure { Some(measure(&graph, &options.device, &placed, &costs)?) } else { None };
    if let Some(path) = &options.plot {
        file::write(path, drawing::svg(&title(options), &placed, &costs).as_bytes())?;
    }
    if let Some(path) = &options.problem {
        file::write(path, placed.problem.to_json().as_bytes())?;
    }
    if let Some(path) = &options.save {
        file::write(path, placed.plan.to_json().as_bytes())?;
    }
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", json(&graph, &placed, &costs, measured.as_ref())),
        Format::Table => text(&title(options), &placed, &costs, measured.as_ref(), options.explain),
    })?;
    Ok(Outcome::Good)
}

/// The file, which tells more than the name that its exporter gave the graph.
fn title(options: &Options) -> String {
    options.model.model.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn request(options: &Options) -> Request {
    Request {
        objective: match options.objective {
            Aim::Latency => Objective::Latency,
            Aim::Throughput => Objective::Period,
            Aim::Energy => Objective::Energy,
        },
        pins: options.pin.iter().cloned().collect(),
        forbidden: options.forbid.iter().cloned().collect(),
        memory_bytes: options.memory.iter().cloned().collect(),
        latency_seconds: options.latency_ms.map(|ms| ms / 1e3),
    }
}

/// Powers by device. Nothing here measures power, so that energy is for powers that the user states.
fn watts(options: &Options, names: &[String]) -> Result<BTreeMap<String, (f64, f64)>> {
    let watts: BTreeMap<String, (f64, f64)> = options.watts.iter().cloned().collect();
    if let Some(name) = watts.keys().find(|name| !names.contains(name)) {
        bail!("--watts {name}: there is no such device; there are {}", names.join(", "));
    }
    match names.iter().find(|name| !watts.contains_key(*name)) {
        Some(name) if options.objective == Aim::Energy => {
            bail!("energy needs the power of every device: give --watts {name}=BUSY:IDLE")
        }
        _ => Ok(watts),
    }
}

fn measure(graph: &Graph, device: &DeviceOptions, placed: &Placed, costs: &Costs) -> Result<Measured> {
    let host = beside(device);
    let samples = if host.is_some() { SAMPLES.0 } else { SAMPLES.1 };
    let mut measured = measure_on(graph, device, placed, costs, samples)?;
    if let Some(host) = host {
        let Measured { cpu, copies, .. } = measure_on(graph, &host, placed, costs, SAMPLES.1)?;
        measured = Measured { cpu, copies, ..measured };
    }
    Ok(measured)
}

fn measure_on(
    graph: &Graph,
    device: &DeviceOptions,
    placed: &Placed,
    costs: &Costs,
    samples: usize,
) -> Result<Measured> {
    let mut session = Session::planned(placed.plan.clone(), graph.clone(), device)?;
    let samples = samples.next_multiple_of(session.executor.samples());
    let inputs = vec![graph.zero_inputs(); session.executor.samples()];
    // The first run brings programs and weights to their places.
    session.run(&inputs, None)?;
    let mut parts: [Vec<Duration>; 2] = Default::default();
    let mut cycles = 0;
    for _ in 0..samples / inputs.len() {
        let before = session.executor.profile().segments.clone();
        session.run(&inputs, None)?;
        let (mut cpu, mut copies) = (Duration::ZERO, Duration::ZERO);
        for (before, after) in before.iter().zip(&session.executor.profile().segments) {
            match (before.counters, after.counters) {
                (Some(from), Some(to)) => cycles += to.cycles - from.cycles,
                _ => cpu += after.wall - before.wall,
            }
            copies += after.copied.wall - before.copied.wall;
        }
        let each = inputs.len() as u32;
        parts.iter_mut().zip([cpu / each, copies / each]).for_each(|(all, part)| all.push(part));
    }
    let [cpu, copies] = parts.map(|all| median(all).unwrap_or_default().as_secs_f64());
    let vta = cycles as f64 / samples as f64 / costs.clock_hz;
    Ok(Measured { samples, cpu: cpu * costs.cpu_times, vta, copies: copies * costs.cpu_times })
}

impl Measured {
    fn total(&self) -> f64 {
        self.cpu + self.vta + self.copies
    }
}

/// The objective where all nodes that can be are on one device, and the rest on the host; `None` where that is not allowed.
fn baselines(placed: &Placed) -> Vec<(usize, Option<f64>)> {
    let Placed { problem, request, .. } = placed;
    let all_on = |device: usize| {
        let host = problem.machine().host;
        let choose = |n| if problem.cost(n, device).is_some() { device } else { host };
        let assignment: Vec<usize> = (0..problem.nodes().len()).map(choose).collect();
        place::check(problem, request, &assignment).ok().map(|m| m.value(request.objective))
    };
    (0..problem.devices().len()).map(|device| (device, all_on(device))).collect()
}

fn json(graph: &Graph, placed: &Placed, costs: &Costs, measured: Option<&Measured>) -> Value {
    let Placed { problem, placement, explanation, plan, .. } = placed;
    let measure = &placement.measure;
    let names = &costs.names;
    let alternative = |n: usize, other: &place::Alternative| {
        let taken = costs.taken[other.device][n].as_ref().ok();
        let (value, more, cannot) = match &other.price {
            Price::Costs { value, more } => (Some(value), Some(more), None),
            Price::Cannot(reason) => (None, None, Some(reason)),
        };
        json!({
            "device": names[other.device],
            "seconds": other.cost.map(|c| c.seconds),
            "cycles": taken.and_then(|t| t.cycles),
            "objective": value,
            "more": more,
            "cannot": cannot,
        })
    };
    let nodes = problem.order().iter().zip(&explanation.rows).map(|(&n, row)| {
        let run = &measure.runs[n];
        json!({
            "node": row.node,
            "op": plan.assignments[n].op,
            "device": names[row.device],
            "reason": plan.assignments[n].reason,
            "seconds": problem.cost(n, row.device).map(|c| c.seconds),
            "begin_s": run.begin_seconds,
            "end_s": run.end_seconds,
            "candidates": row.alternatives.iter().map(|other| alternative(n, other)).collect::<Vec<_>>(),
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    let devices = problem.devices().iter().zip(&measure.loads).map(|(device, load)| {
        json!({
            "name": device.name,
            "busy_s": load.busy_seconds,
            "needed_bytes": load.needed_bytes(),
            "memory_bytes": device.memory_bytes,
            "busy_watts": device.busy_watts,
            "idle_watts": device.idle_watts,
        })
    });
    let transfers = measure.transfers.iter().map(|t| {
        let value = &problem.values()[t.value];
        let (from, to) = (&names[t.from], &names[t.to]);
        json!({"value": value.name, "bytes": value.bytes, "from": from, "to": to, "begin_s": t.begin_seconds, "end_s": t.end_seconds})
    });
    let everything_on: serde_json::Map<String, Value> =
        baselines(placed).into_iter().map(|(device, value)| (names[device].clone(), json!(value))).collect();
    json!({
        "model": graph.name,
        "objective": placement.objective.name(),
        "value": placement.value,
        "bound": placement.bound,
        "gap": placement.gap(),
        "proof": placement.proof,
        "predicted": {
            "latency_s": measure.latency_seconds,
            "period_s": measure.period_seconds,
            "energy_j": (!costs.watts.is_empty()).then_some(measure.energy_joules),
        },
        "everything_on": everything_on,
        "measured": measured.map(|m| json!({
            "samples": m.samples,
            "cpu_s": m.cpu,
            "vta_s": m.vta,
            "copies_s": m.copies,
            "total_s": m.total(),
            "predicted_over_measured": measure.latency_seconds / m.total(),
        })),
        "clock_hz": costs.clock_hz,
        "cpu_times": costs.cpu_times,
        "accelerator_cycles": match costs.source { Source::Estimated => "estimated", Source::Counted => "counted" },
        "links": problem.machine().links,
        "devices": devices.collect::<Vec<_>>(),
        "nodes": nodes,
        "transfers": transfers.collect::<Vec<_>>(),
        "segments": report::segments_json(plan),
    })
}

fn text(title: &str, placed: &Placed, costs: &Costs, measured: Option<&Measured>, explain: bool) -> String {
    let Placed { problem, placement, explanation, plan, .. } = placed;
    let unit = placement.objective.unit();
    let mut text = String::new();
    if explain {
        let mut header = vec!["node", "operator", "device"];
        header.extend(costs.names.iter().map(String::as_str));
        header.push("why there");
        let rows = problem.order().iter().zip(&explanation.rows).map(|(&n, row)| {
            let mut cells =
                vec![shortened(&row.node, NAME), plan.assignments[n].op.clone(), costs.names[row.device].clone()];
            let time = |other: &place::Alternative| other.cost.map_or("-".to_owned(), |c| shown(c.seconds, "s"));
            cells.extend(row.alternatives.iter().map(time));
            cells.push(plan.assignments[n].reason.clone());
            cells
        });
        text.push_str(&table(&header, &[3, 4], rows));
    }
    let header = ["segment", "device", "operators", "predicted", "MACs"];
    let rows = plan.rows().into_iter().zip(&plan.segments).enumerate().map(|(i, (row, segment))| {
        let index = DEVICES.iter().position(|&d| d == segment.device).unwrap_or(0);
        let seconds: f64 = segment.nodes.iter().filter_map(|n| problem.cost(n.0, index)).map(|c| c.seconds).sum();
        let name = costs.names[index].clone();
        vec![i.to_string(), name, row.ops, shown(seconds, "s"), crate::table::grouped(row.macs)]
    });
    text.push_str(&table(&header, &[0, 3, 4], rows));
    let _ = writeln!(
        text,
        "{title}: {} {} an input, {}",
        placement.objective.name(),
        shown(placement.value, unit),
        placement.quality()
    );
    for (device, value) in baselines(placed) {
        let all = if device == problem.machine().host { "everything" } else { "all that can be" };
        let value = value.map_or_else(|| "not allowed".to_owned(), |v| shown(v, unit));
        let _ = writeln!(text, "{all} on {}: {value}", costs.names[device]);
    }
    if let Some(m) = measured {
        let _ = writeln!(
            text,
            "measured over {} inputs: {} an input (cpu {}, accelerator {}, copies {}); the prediction is {:.1} % of it",
            m.samples,
            shown(m.total(), "s"),
            shown(m.cpu, "s"),
            shown(m.vta, "s"),
            shown(m.copies, "s"),
            100.0 * placement.measure.latency_seconds / m.total()
        );
    }
    if plan.segments.iter().any(|s| s.device == Device::Vta) {
        let cycles = match costs.source {
            Source::Estimated => "cycles that the functional simulator estimates",
            Source::Counted => "cycles that the hardware counted",
        };
        let _ = writeln!(
            text,
            "The accelerator's times are {cycles}, at {} MHz; those of the CPU and of copies were measured on this host.",
            costs.clock_hz / 1e6
        );
    }
    if costs.cpu_times != 1.0 {
        let _ = writeln!(
            text,
            "Times of the CPU and of copies are {} times those of this host, a projection.",
            costs.cpu_times
        );
    }
    text
}

fn assignment(text: &str) -> Result<(String, String), String> {
    // Names of nodes may hold the sign.
    let parts = text.rsplit_once('=').filter(|(name, device)| !name.is_empty() && !device.is_empty());
    parts.map(|(name, device)| (name.to_owned(), device.to_owned())).ok_or_else(|| "write NAME=DEVICE".to_owned())
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, bytes) = assignment(text)?;
    Ok((name, bytes.parse().map_err(|_| "write DEVICE=BYTES with a whole number".to_owned())?))
}

fn power(text: &str) -> Result<(String, (f64, f64)), String> {
    let wrong = || "write DEVICE=BUSY:IDLE in watts, such as cpu=15:5".to_owned();
    let (name, powers) = assignment(text)?;
    let (busy, idle) = powers.split_once(':').ok_or_else(wrong)?;
    let watts = |text: &str| text.parse::<f64>().ok().filter(|w| w.is_finite() && *w >= 0.0).ok_or_else(wrong);
    Ok((name, (watts(busy)?, watts(idle)?)))
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "give a number above 0".to_owned())
}
