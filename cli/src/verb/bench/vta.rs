//! `tandem bench vta`: cycles of layers and networks on the simulated hardware, beside what the hardware could do at most.

mod latency;
mod network;
mod row;

use crate::bottleneck::array;
use crate::options::Format;
use crate::schedule::ScheduleKind;
use crate::simulation::{SimulationOptions, dram, memory_json, memory_words};
use crate::solo::{Prepared, Solo};
use crate::{Outcome, backend, date, file, hardware, stdout};
use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use latency::Sweep;
use network::{Layer, Network};
use row::Row;
use serde_json::{Value, json};
use std::path::PathBuf;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::JitError;
use tandem_sim::tsim::DramModel;

/// Most cycles of latency; the watchdog of the simulated hardware waits longer.
const LATENCY: u32 = 10_000;

/// Options of `tandem bench vta`.
#[derive(Args)]
pub struct Options {
    /// Layers of the literature, with weights from --seed. resnet18: the ten convolutions behind the first one of ResNet-18 for images of
    /// 224 by 224, each as often as the network has it.
    #[arg(long, value_enum, required_unless_present = "model", conflicts_with = "model")]
    workload: Option<Workload>,
    /// A model: every node that the accelerator runs, alone, and all of them together as `tandem run` has them.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// Timing of the memory, as for --device tsim [default: zynq].
    #[arg(long, value_parser = dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    dram: Option<DramModel>,
    /// How layers are cut. search: as is predicted to be fastest with the memory; quick: by a formula, as other verbs do unless told.
    #[arg(long, value_enum, default_value = "search")]
    schedule: ScheduleKind,
    /// Loads, computation and stores follow one another: what latency hiding is compared with.
    #[arg(long)]
    serial: bool,
    /// These layers alone, by their names, or by their numbers in the table.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    layers: Vec<String>,
    /// Layers of these operators alone; pointwise are convolutions of one tap.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    ops: Vec<String>,
    /// Measure every layer with these latencies of the memory, with two contexts and serially; 0 and 1 both answer in the next cycle.
    #[arg(long, value_delimiter = ',', value_parser = latency, value_name = "CYCLES", conflicts_with = "serial")]
    latencies: Vec<u32>,
    /// Draw utilisation over latency.
    #[arg(long, value_name = "OUT.svg", requires = "latencies")]
    plot: Option<PathBuf>,
    /// Chooses weights of --workload, and inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Layers of the literature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// ResNet-18 for images of 224 by 224.
    Resnet18,
}

/// The hardware, and how layers are prepared for it.
struct Bench {
    solo: Solo,
    serial: bool,
    schedule: ScheduleKind,
    seed: u64,
}

/// A latency, for clap.
fn latency(text: &str) -> Result<u32, String> {
    let parsed = text.trim().parse().ok().filter(|latency| *latency <= LATENCY);
    parsed.ok_or_else(|| format!("give cycles, 0 to {LATENCY}, with commas between them, such as 0,20,40"))
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    let mut network = match (&options.model, options.workload) {
        (Some(path), _) => Network::of_model(path, &config)?,
        (None, Some(Workload::Resnet18)) => Network::of_literature(options.seed, &config)?,
        (None, None) => Network::default(),
    };
    network.choose(&options.layers, &options.ops)?;
    if let Some(path) = &options.plot {
        file::probe(path)?;
    }
    let simulation = SimulationOptions { dram: options.dram, ..SimulationOptions::default() };
    let solo = Solo::open(&config, &simulation)?;
    let bench = Bench { solo, serial: options.serial, schedule: options.schedule, seed: options.seed };
    if options.latencies.is_empty() { bench.measure(network, options) } else { bench.sweep(&network, options) }
}

impl Bench {
    fn config(&self) -> &HwConfig {
        self.solo.config()
    }

    /// `None` with the reason where the compiler finds that the accelerator does not run it.
    fn prepare(&self, graph: &Graph, serial: bool) -> Result<Result<Prepared, String>> {
        let from = tandem_jit::Options { serial, ..tandem_jit::Options::default() };
        let schedule = match self.schedule.options(graph, self.config(), from, *self.solo.memory()) {
            Ok(schedule) => schedule,
            Err(JitError::Unsupported { reason, .. }) => return Ok(Err(reason)),
            Err(error) => return Err(anyhow!("{}: {error}", graph.name)),
        };
        self.solo.prepare(graph, &schedule, self.seed)
    }

    fn row(&self, layer: &Layer, prepared: &Prepared, parts: Option<&[&Row]>) -> Result<Row> {
        let ran = self.solo.run(prepared).with_context(|| layer.name.clone())?;
        Ok(Row::of(layer, prepared, &ran, &self.solo, parts))
    }

    /// Every layer alone, and the network together.
    fn measure(&self, network: Network, options: &Options) -> Result<Outcome> {
        let bar = bar(network.layers.len() + network.segments.len())?;
        let (mut rows, mut refused) = (Vec::new(), network.refused);
        for layer in &network.layers {
            bar.set_message(layer.name.clone());
            match self.prepare(&layer.graph, self.serial)? {
                Ok(prepared) => rows.push(self.row(layer, &prepared, None)?),
                Err(reason) => refused.push((layer.name.clone(), reason)),
            }
            bar.inc(1);
        }
        let mut together = Vec::new();
        for segment in &network.segments {
            bar.set_message(segment.name.clone());
            // What the compiler refuses of it is among the layers, with the reason.
            if let Ok(prepared) = self.prepare(&segment.graph, self.serial)? {
                let parts: Vec<&Row> = rows.iter().filter(|row| segment.parts.contains(&row.number)).collect();
                together.push(self.row(segment, &prepared, Some(&parts))?);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let sum = Row::sum(&rows);
        let text = match options.format {
            Format::Json => {
                let mut value = self.head(&network.name, options);
                value["schedule"] = json!(if self.serial { "serial" } else { "overlapped" });
                value["layers"] = rows.iter().map(|row| row.json(self.config())).collect();
                value["sum"] = sum.json(self.config());
                value["together"] = together.iter().map(|row| row.json(self.config())).collect();
                let reasons = refused.iter().map(|(name, reason)| json!({"node": name, "reason": reason}));
                value["refused"] = reasons.collect();
                format!("{value}\n")
            }
            Format::Table => {
                let mut text = row::tables(&rows, &sum, self.config());
                text += &row::together(&together, self.config());
                for (name, reason) in &refused {
                    text += &format!("Not on the accelerator: {name}: {reason}.\n");
                }
                text + &self.note(&network.name, rows.first().map_or(1, |row| row.samples))
            }
        };
        stdout::emit(&text)?;
        let all = || rows.iter().chain(&together);
        all().filter_map(Row::complaint).for_each(|complaint| stdout::complain(&complaint));
        Ok(if all().any(Row::differs) { Outcome::Negative } else { Outcome::Good })
    }

    /// Every layer with every latency, with two contexts and serially.
    fn sweep(&self, network: &Network, options: &Options) -> Result<Outcome> {
        let mut latencies = options.latencies.clone();
        latencies.sort_unstable();
        latencies.dedup();
        let bar = bar(network.layers.len() * latencies.len() * 2)?;
        let sweep = Sweep::measure(self, &network.layers, &latencies, &bar)?;
        bar.finish_and_clear();
        if let Some(path) = &options.plot {
            file::replace(path, sweep.svg(&network.name).as_bytes())?;
        }
        let text = match options.format {
            Format::Json => {
                let mut value = self.head(&network.name, options);
                value["latencies"] = sweep.json();
                format!("{value}\n")
            }
            Format::Table => sweep.text() + &self.note(&network.name, sweep.samples()),
        };
        stdout::emit(&text)?;
        sweep.complaints().iter().for_each(|complaint| stdout::complain(complaint));
        Ok(if sweep.complaints().is_empty() { Outcome::Good } else { Outcome::Negative })
    }

    /// What tells how the figures came about.
    fn head(&self, network: &str, options: &Options) -> Value {
        let config = self.config();
        json!({
            "benchmark": "vta",
            "kind": "simulated",
            "machine": "the accelerator's Verilog under Verilator",
            "host": backend::processor(),
            "date": date::today(),
            "version": env!("CARGO_PKG_VERSION"),
            "seed": self.seed,
            "network": network,
            "only": { "layers": options.layers, "ops": options.ops },
            "hw": { "name": options.hw, "digest": format!("{:#010x}", config.digest()), "config": config.to_toml() },
            "macs_per_cycle": array(config),
            "dram": memory_json(self.solo.memory()),
            "schedules_by": self.schedule.name(),
        })
    }

    /// The same for people.
    fn note(&self, network: &str, samples: usize) -> String {
        let config = self.config();
        let samples = if samples > 1 { format!(", {samples} samples a run") } else { String::new() };
        let schedule = if self.serial { ", everything serially" } else { "" };
        let by = match self.schedule {
            ScheduleKind::Quick => "schedules by a formula",
            ScheduleKind::Search => "schedules as predicted to be fastest",
        };
        format!(
            "{network} on {} ({} MACs a cycle), {}, {by}{schedule}, seed {}{samples}. Cycles are simulated: the hardware under Verilator \
             counted them. Results were compared with the functional simulator's.\n",
            config.name().unwrap_or("the configuration"),
            array(config),
            memory_words(self.solo.memory()),
            self.seed
        )
    }
}

fn bar(runs: usize) -> Result<ProgressBar> {
    Ok(ProgressBar::new(runs as u64).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_numbers_of_cycles() {
        assert_eq!((latency("0"), latency(" 40"), latency("10000")), (Ok(0), Ok(40), Ok(10_000)));
        for wrong in ["", "-1", "x", "1.5", "10001"] {
            assert!(latency(wrong).is_err(), "{wrong}");
        }
    }
}
