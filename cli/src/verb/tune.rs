//! `tandem tune`: searches for the best schedules of layers on an accelerator.

use crate::curves::{self, Curve, Shape};
use crate::errors::mean_and_worst;
use crate::options::{Format, ModelOptions};
use crate::table::{grouped, table};
use crate::tuning::crew::Crew;
use crate::tuning::job::Subject;
use crate::tuning::layer::{self, Layer, WorkloadKind};
use crate::tuning::log::{self, LogFile};
use crate::tuning::meter::predict;
use crate::tuning::options::{MeterOptions, OracleKind};
use crate::tuning::queue::Queue;
use crate::tuning::run::{Bench, Found, Plan, Setting, bar};
use crate::{Outcome, file, stdout};
use anyhow::{Result, bail};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use tandem_isa::HwConfig;
use tandem_jit::tune::{Known, Prior, Record, StrategyKind};
use tandem_sim::tsim::DramModel;

/// Characters of a layer's name in a table; the JSON has all.
const NAME: usize = 28;

/// Options of `tandem tune`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: Option<ModelOptions>,
    /// Tune layers of the literature and not those of a model.
    #[arg(long, value_enum, conflicts_with = "model", required_unless_present = "model")]
    workload: Option<WorkloadKind>,
    /// Tune these layers only; a model's have the names of its nodes.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    layers: Vec<String>,
    #[command(flatten)]
    meter: MeterOptions,
    /// How schedules are chosen: by a model that learns from those before, at random, in order, or by crossing the best.
    #[arg(long, default_value = "learned", value_name = "learned|random|grid|genetic")]
    strategy: StrategyKind,
    /// Schedules of each layer that are tried; the first is the compiler's own choice.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Schedules that are chosen together; the next ones are chosen when all of them are measured.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Equal seeds make equal searches, however many workers there are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Learn from this log of other layers on the same machine, with the same memory and oracle, before the first trial; may be
    /// repeated. Layers that are tuned in the same run are learned from in any case.
    #[arg(long, value_name = "LOG.jsonl")]
    history: Vec<PathBuf>,
    /// Keep what is measured in this file, a line a schedule; what it holds already is not measured again. `--tuned` reads it.
    #[arg(long, value_name = "LOG.jsonl")]
    log: Option<PathBuf>,
    /// Let the workers of a Redis or Valkey server measure: `tandem tune-worker --queue` on any machine that reaches it.
    #[arg(long, value_name = "redis://HOST:PORT", conflicts_with = "workers")]
    queue: Option<String>,
    /// Draw the best cycles after each trial.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let (config, dram, oracle) = (options.meter.config()?, options.meter.dram(), options.meter.oracle);
    let layers = match (&options.model, options.workload) {
        (Some(model), None) => layer::of_model(model, &config, &options.layers)?,
        (None, Some(kind)) => layer::of_workload(kind, &config, &options.layers)?,
        _ => bail!("name a model, or give --workload"),
    };
    if let Some(path) = &options.plot {
        file::probe(path)?;
    }
    let setting = options.meter.setting(&config, options.seed);
    let mut known: Vec<Known> = Vec::new();
    for path in &options.history {
        let records = log::read(path)?;
        let before = known.len();
        known.extend(records.iter().filter(|record| setting.has(record)).filter_map(Record::known));
        if known.len() == before {
            bail!(
                "--history {}: it has no measurement of machine {} with memory {} by the same oracle; leave it out",
                path.display(),
                setting.hardware,
                setting.dram
            );
        }
    }
    let log = options.log.as_deref().map(LogFile::open).transpose()?;
    let crew = crew(options, &config)?;
    let mut bench = Bench::new(setting, crew, log);
    let plan = Plan { strategy: options.strategy, trials: options.trials as usize, batch: options.batch as usize };
    let bar = bar(layers.len() * plan.trials.max(1));
    let mut all = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let subject = Subject::new(&layer.graph, &config, &dram, oracle.oracle());
        let prior = if plan.strategy == StrategyKind::Learned { Prior::learn(&config, &known) } else { None };
        let found = bench.tune(layer, &subject, plan, prior.as_ref(), &mut |default, best, trials| {
            bar.set_position((index * plan.trials + trials) as u64);
            let cycles = |cycles: Option<u64>| cycles.map_or_else(|| "-".to_owned(), grouped);
            bar.set_message(format!("{}: {} cycles, {} by default", layer.name, cycles(best), cycles(default)));
        })?;
        known.extend_from_slice(&found.learned);
        all.push(found);
    }
    bar.finish_and_clear();
    if let Some(path) = &options.plot {
        file::replace(path, plot(options, &bench.setting, &layers, &all).as_bytes())?;
    }
    let errors = match oracle {
        OracleKind::Tsim => Some(errors(&config, dram, &layers, &all)?),
        OracleKind::Analytic => None,
    };
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", report(options, &config, &bench.setting, &layers, &all, errors.as_ref())),
        Format::Table => text(options, &bench.setting, &layers, &all, errors.as_ref()),
    })?;
    Ok(tell_failures(&layers, &all))
}

fn crew(options: &Options, config: &HwConfig) -> Result<Box<dyn Crew>> {
    Ok(match &options.queue {
        Some(url) => Box::new(Queue::connect(url)?),
        None => Box::new(options.meter.processes(config)?),
    })
}

/// Tells schedules that failed: those of a correct compiler and machine do not.
fn tell_failures(layers: &[Layer], all: &[Found]) -> Outcome {
    let mut outcome = Outcome::Good;
    for (layer, found) in layers.iter().zip(all) {
        if let Some((tile, why)) = found.failed.first() {
            let count = found.failed.len();
            stdout::complain(&format!("{}: {count} schedules failed; the first, {tile:?}: {why}", layer.name));
            outcome = Outcome::Negative;
        }
    }
    outcome
}

/// How far cycles that were told before a schedule ran were from those that the hardware took: over the latter, as a part of them.
#[derive(Serialize)]
struct Errors {
    /// Schedules that ran.
    schedules: usize,
    /// Of the analytical oracle.
    predicted: Error,
    /// Of the formula that the search learns to correct.
    formula: Error,
}

#[derive(Serialize)]
struct Error {
    mean: f64,
    worst: f64,
}

impl Error {
    fn of(parts: impl Iterator<Item = f64> + Clone) -> Error {
        let (mean, worst) = mean_and_worst(parts);
        Error { mean, worst }
    }

    fn words(&self) -> String {
        format!("{:.1} % on average and {:.1} % at worst", 100.0 * self.mean, 100.0 * self.worst)
    }
}

/// The errors of what was told of all schedules that the hardware ran.
fn errors(config: &HwConfig, dram: DramModel, layers: &[Layer], all: &[Found]) -> Result<Errors> {
    let ran: Vec<(&Layer, &Known)> = layers
        .iter()
        .zip(all)
        .flat_map(|(layer, found)| found.learned.iter().map(move |known| (layer, known)))
        .collect();
    let predicted = ran.par_iter().map(|(layer, known)| Ok(predict(&layer.graph, config, dram, &known.tile)? as f64));
    let predicted = predicted.collect::<Result<Vec<f64>>>()?;
    let off = |told: f64, known: &Known| told / known.cycles.max(1) as f64 - 1.0;
    Ok(Errors {
        schedules: ran.len(),
        predicted: Error::of(ran.iter().zip(&predicted).map(|((_, known), &told)| off(told, known))),
        formula: Error::of(ran.iter().map(|(_, known)| off(known.predicted, known))),
    })
}

/// Cycles of all layers, each as often as the model has it: by default, and tuned. `None` where a layer has none.
fn totals(layers: &[Layer], all: &[Found]) -> Option<(u64, u64)> {
    let each = layers.iter().zip(all).map(|(layer, found)| {
        Some((layer.count * found.default?, layer.count * found.best.map(|(_, cycles)| cycles)?))
    });
    each.collect::<Option<Vec<_>>>().map(|all| all.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d)))
}

fn text(options: &Options, setting: &Setting, layers: &[Layer], all: &[Found], errors: Option<&Errors>) -> String {
    let ratio = |default: u64, tuned: u64| format!("{:.2}x", default as f64 / tuned.max(1) as f64);
    let rows = layers.iter().zip(all).map(|(layer, found)| {
        let best = found.best.map(|(_, cycles)| cycles);
        let cycles = |cycles: Option<u64>| cycles.map_or_else(|| "-".to_owned(), grouped);
        let at = found.curve.iter().position(|cycles| *cycles == best).map_or(0, |at| at + 1);
        vec![
            crate::placing::shortened(&layer.name, NAME),
            layer.count.to_string(),
            grouped(layer.task.space().len() as u64),
            cycles(found.default),
            cycles(best),
            found.default.zip(best).map_or_else(|| "-".to_owned(), |(default, tuned)| ratio(default, tuned)),
            grouped(found.curve.len() as u64),
            grouped(at as u64),
        ]
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    let total = totals(layers, all);
    if let Some((default, tuned)) = total.filter(|_| rows.len() > 1) {
        let empty = String::new;
        let sums = [grouped(default), grouped(tuned), ratio(default, tuned)];
        let [default, tuned, ratio] = sums;
        rows.push(vec!["all of them".to_owned(), empty(), empty(), default, tuned, ratio, empty(), empty()]);
    }
    let header = ["layer", "times", "schedules", "default cycles", "tuned cycles", "faster", "trials", "best after"];
    let mut text = table(&header, &[1, 2, 3, 4, 5, 6, 7], rows);
    let recalled: usize = all.iter().map(|found| found.recalled).sum();
    let _ = writeln!(
        text,
        "cycles are {} on {} ({}) with memory '{}'; strategy {}, seed {}{}",
        options.meter.oracle.words(),
        options.meter.hw,
        setting.hardware,
        setting.dram,
        options.strategy,
        setting.seed,
        if recalled > 0 { format!("; {} trials were in the log", grouped(recalled as u64)) } else { String::new() }
    );
    if let Some(errors) = errors {
        let _ = writeln!(
            text,
            "of {} schedules, predicted cycles (--oracle analytic) are off by {}, and those of the formula by {}",
            grouped(errors.schedules as u64),
            errors.predicted.words(),
            errors.formula.words()
        );
    }
    text
}

fn report(
    options: &Options,
    config: &HwConfig,
    setting: &Setting,
    layers: &[Layer],
    all: &[Found],
    errors: Option<&Errors>,
) -> Value {
    let rows = layers.iter().zip(all).map(|(layer, found)| {
        json!({
            "name": layer.name,
            "workload": layer.task.workload(),
            "count": layer.count,
            "schedules": layer.task.space().len(),
            "default_cycles": found.default,
            "tuned_cycles": found.best.map(|(_, cycles)| cycles),
            "tile": found.best.map(|(tile, _)| tile),
            "trials": found.curve.len(),
            "recalled": found.recalled,
            "failed": found.failed.len(),
            "curve": found.curve,
        })
    });
    let totals = totals(layers, all);
    json!({
        "hardware": setting.hardware,
        "config": config.name(),
        "dram": setting.dram,
        "oracle": setting.oracle,
        "strategy": options.strategy.name(),
        "seed": setting.seed,
        "layers": rows.collect::<Vec<_>>(),
        "default_cycles": totals.map(|(default, _)| default),
        "tuned_cycles": totals.map(|(_, tuned)| tuned),
        "prediction_errors": errors,
    })
}

/// Best cycles after each trial, over those of the default schedule.
fn plot(options: &Options, setting: &Setting, layers: &[Layer], all: &[Found]) -> String {
    let curve = |(layer, found): (&Layer, &Found)| {
        let default = found.default.or(found.best.map(|(_, cycles)| cycles)).unwrap_or(1).max(1) as f64;
        let points = found.curve.iter().enumerate();
        let points = points.filter_map(|(at, best)| Some(((at + 1) as f64, 100.0 * (*best)? as f64 / default)));
        Curve { name: crate::placing::shortened(&layer.name, 14), points: points.collect() }
    };
    let curves: Vec<Curve> = layers.iter().zip(all).map(curve).collect();
    let how = format!(
        "cycles {} on {} with memory {}; {} search, seed {}",
        options.meter.oracle.words(),
        options.meter.hw,
        setting.dram,
        options.strategy,
        setting.seed
    );
    let axes = ("trials", "cycles, of those of the default schedule");
    curves::svg(("best schedules so far", &how), axes, Shape::Steps, &curves)
}
