//! `tandem partition`: the best split of a model between devices, with the reasons.

use crate::measuring::{self, Cycles, Runs};
use crate::options::{DeviceOptions, Format, ModelOptions};
use crate::placing::{Costs, Placed, Source, beside, shortened, shown};
use crate::request::{Aim, PlaceOptions};
use crate::session::Session;
use crate::table::table;
use crate::{Outcome, drawing, file, model, placing, report, stdout};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use tandem_graph::Graph;
use tandem_import::onnx;
use tandem_plan::Device;
use tandem_plan::place::{self, Price};

/// Samples whose cycles are counted on simulated hardware, which is slow, and samples of a measurement.
const COUNTED: usize = 4;
const SAMPLES: usize = 40;
/// Characters of a node's name in a table; the JSON has all.
const NAME: usize = 28;

/// Options of `tandem partition`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    place: PlaceOptions,
    /// List every node with what it takes on each device and what another choice would have cost.
    #[arg(long)]
    explain: bool,
    /// Run the plan and compare the time with the prediction.
    #[arg(long)]
    measure: bool,
    /// Draw the plan.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Write the model as ONNX, each node with its device, predicted time, cycles and reason as metadata, for Netron and other viewers.
    #[arg(long, value_name = "OUT.onnx")]
    onnx: Option<PathBuf>,
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

/// What runs of the plan took, a sample, in seconds: medians.
struct Measured {
    samples: usize,
    /// From the inputs to the outputs of a sample.
    latency: f64,
    /// Computing on the CPU, computing elsewhere, and copies.
    cpu: f64,
    elsewhere: f64,
    copies: f64,
    /// Between the results of many samples under way; measured where that is what is to be small.
    period: Option<f64>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let costs = Costs::of(&graph, &options.device, &options.place)?;
    let placed = costs.place(&graph, &options.place.request())?;
    let measured = if options.measure { Some(measure(&graph, options, &placed, &costs)?) } else { None };
    if let Some(path) = &options.plot {
        file::write(path, drawing::svg(&title(options), &placed, &costs).as_bytes())?;
    }
    if let Some(path) = &options.onnx {
        let model = onnx::write(&graph, &notes(&placed, &costs, options.device.clock_hz()));
        file::write(path, &model.map_err(|e| anyhow!("--onnx {}: {e}", path.display()))?)?;
    }
    if let Some(path) = &options.problem {
        file::write(path, placed.problem.to_json().as_bytes())?;
    }
    if let Some(path) = &options.save {
        file::write(path, placed.plan.to_json().as_bytes())?;
    }
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", json(&graph, &placed, &costs, measured.as_ref(), options.device.clock_hz())),
        Format::Table => text(&title(options), &placed, &costs, measured.as_ref(), options.explain),
    })?;
    Ok(Outcome::Good)
}

/// The file, which tells more than the name that its exporter gave the graph.
fn title(options: &Options) -> String {
    options.model.model.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the metadata of an ONNX model tells of the plan.
fn notes(placed: &Placed, costs: &Costs, clock_hz: f64) -> onnx::Notes {
    let Placed { problem, placement, plan, .. } = placed;
    let note = |key: &str, value: String| (key.to_owned(), value);
    let objective = placement.objective;
    let model = vec![
        note("objective", objective.name().to_owned()),
        note(&format!("predicted_{}", objective.unit()), placement.value.to_string()),
        note("devices", costs.names().join(",")),
        note("clock_hz", clock_hz.to_string()),
    ];
    let nodes = plan.assignments.iter().enumerate().map(|(n, assigned)| {
        let device = placement.assignment[n];
        let mut notes = vec![
            note("device", costs.devices[device].name.clone()),
            note("segment", assigned.segment.to_string()),
            note("reason", assigned.reason.clone()),
        ];
        notes.extend(problem.cost(n, device).map(|cost| note("predicted_seconds", cost.seconds.to_string())));
        let cycles = costs.devices[device].taken[n].as_ref().ok().and_then(|taken| taken.cycles);
        notes.extend(cycles.map(|cycles| note("cycles", cycles.to_string())));
        notes
    });
    onnx::Notes { model, nodes: nodes.collect() }
}

fn measure(graph: &Graph, options: &Options, placed: &Placed, costs: &Costs) -> Result<Measured> {
    let device = &options.device;
    let zeros = |count: usize| vec![graph.zero_inputs(); count];
    // Cycles of simulated hardware beside times of a host that does not simulate it.
    let host = beside(device);
    let mut cycles = Cycles::new();
    if host.is_some() {
        let mut session = Session::planned(placed.plan.clone(), graph.clone(), device)?;
        session.run(&zeros(COUNTED.next_multiple_of(session.executor.samples())), None, 1)?;
        cycles = measuring::cycles(&session);
    }
    let session = Session::planned(placed.plan.clone(), graph.clone(), host.as_ref().unwrap_or(device))?;
    let session = session.slower(costs.cpu_times);
    let batch = session.executor.samples();
    let samples = SAMPLES.next_multiple_of(batch);
    let in_flight = if options.place.objective == Aim::Throughput { 2 * costs.devices.len() + 2 } else { 1 };
    let runs = Runs::of(session, &zeros(samples), in_flight, &cycles)?;
    Ok(Measured {
        samples,
        latency: runs.latency(),
        cpu: runs.computing(Device::Cpu),
        elsewhere: runs.median(|run| if run.device == Device::Cpu { 0.0 } else { run.compute.1 - run.compute.0 }),
        copies: runs.copying(),
        period: runs.period(),
    })
}

impl Measured {
    /// What was measured of an objective, and what was predicted of it.
    fn beside(&self, placed: &Placed) -> (f64, f64) {
        let predicted = &placed.placement.measure;
        match self.period {
            Some(period) => (period, predicted.period_seconds),
            None => (self.latency, predicted.latency_seconds),
        }
    }
}

fn json(graph: &Graph, placed: &Placed, costs: &Costs, measured: Option<&Measured>, clock_hz: f64) -> Value {
    let Placed { problem, placement, explanation, plan, .. } = placed;
    let measure = &placement.measure;
    let names = costs.names();
    let alternative = |n: usize, other: &place::Alternative| {
        let taken = costs.devices[other.device].taken[n].as_ref().ok();
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
            "times": costs.devices.iter().find(|d| d.name == device.name).map(|d| d.source().name()),
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
        placed.baselines().into_iter().map(|(device, value)| (names[device].clone(), json!(value))).collect();
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
        "measured": measured.map(|m| {
            let (found, predicted) = m.beside(placed);
            json!({
                "samples": m.samples,
                "cpu_s": m.cpu,
                "vta_s": m.elsewhere,
                "copies_s": m.copies,
                "total_s": m.latency,
                "period_s": m.period,
                "predicted_over_measured": predicted / found,
            })
        }),
        "clock_hz": clock_hz,
        "cpu_times": costs.cpu_times,
        "accelerator_cycles": costs.devices.iter().find_map(|d| d.cycles).map(|(source, _)| source.name()),
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
    let names = costs.names();
    let mut text = String::new();
    if explain {
        let mut header = vec!["node", "operator", "device"];
        header.extend(names.iter().map(String::as_str));
        header.push("why there");
        let rows = problem.order().iter().zip(&explanation.rows).map(|(&n, row)| {
            let mut cells = vec![shortened(&row.node, NAME), plan.assignments[n].op.clone(), names[row.device].clone()];
            let time = |other: &place::Alternative| other.cost.map_or("-".to_owned(), |c| shown(c.seconds, "s"));
            cells.extend(row.alternatives.iter().map(time));
            cells.push(plan.assignments[n].reason.clone());
            cells
        });
        text.push_str(&table(&header, &[3, 4], rows));
    }
    let header = ["segment", "device", "operators", "predicted", "MACs"];
    let rows = plan.rows().into_iter().zip(&plan.segments).enumerate().map(|(i, (row, segment))| {
        let index = costs.index(segment.device);
        let seconds: f64 = segment.nodes.iter().filter_map(|n| problem.cost(n.0, index)).map(|c| c.seconds).sum();
        let name = names[index].clone();
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
    for (device, value) in placed.baselines() {
        let all = if device == problem.machine().host { "everything" } else { "all that can be" };
        let value = value.map_or_else(|| "not allowed".to_owned(), |v| shown(v, unit));
        let _ = writeln!(text, "{all} on {}: {value}", names[device]);
    }
    if let Some(m) = measured {
        let (found, predicted) = m.beside(placed);
        let what = if m.period.is_some() { "between inputs under way together" } else { "an input" };
        let _ = writeln!(
            text,
            "measured over {} inputs: {} {what} (cpu {}, other devices {}, copies {}); the prediction is {:.1} % of it",
            m.samples,
            shown(found, "s"),
            shown(m.cpu, "s"),
            shown(m.elsewhere, "s"),
            shown(m.copies, "s"),
            100.0 * predicted / found
        );
    }
    let used = |measured: &&placing::Measured| plan.segments.iter().any(|s| s.device == measured.device);
    for measured in costs.devices.iter().filter(used) {
        let name = &measured.name;
        let _ = match measured.source() {
            Source::Measured => continue,
            Source::Projected => writeln!(
                text,
                "Times of {name} are projections, by what the GPU can do at most and copies over PCI Express as they are told."
            ),
            Source::Cycles(source, clock_hz) => writeln!(
                text,
                "Cycles of {name} are {}, at {} MHz; times of the CPU and of copies were measured on this host.",
                source.words(),
                clock_hz / 1e6
            ),
        };
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
