//! `tandem bench tuner`: how many trials searches need, on spaces all of whose schedules were measured.

mod measured;

use crate::curves::{self, Curve, Shape};
use crate::options::Format;
use crate::table::{grouped, table};
use crate::tuning::crew::Crew;
use crate::tuning::job::Subject;
use crate::tuning::layer::{self, Layer, WorkloadKind};
use crate::tuning::options::MeterOptions;
use crate::tuning::run::{Setting, bar};
use crate::{Outcome, backend, date, file, stdout};
use anyhow::{Context, Result, bail};
use clap::Args;
use measured::Measured;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tandem_isa::HwConfig;
use tandem_jit::Tile;
use tandem_jit::tune::{Known, Prior, Search, Settings, StrategyKind};

/// Schedules that are measured between two writes of a file.
const STEP: usize = 64;
/// What counts as found: cycles of the best schedule over those of the one that was found.
const GOAL: f64 = 0.95;
/// Trials of a search of another layer whose history is learned from.
const HISTORY: usize = 128;

/// Options of `tandem bench tuner`.
#[derive(Args)]
pub struct Options {
    /// Where the measured spaces are, a file a layer.
    #[arg(long, value_name = "FOLDER", default_value = "benches/spaces")]
    spaces: PathBuf,
    /// Measure what the files lack, and nothing else.
    #[arg(long)]
    measure: bool,
    /// These layers only; but all others that are measured are what their history is of.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    layers: Vec<String>,
    #[command(flatten)]
    meter: MeterOptions,
    /// Searches of each kind, with seeds from 1.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Trials after which a search gives up.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(1..))]
    trials: u32,
    /// Schedules that are chosen together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Write what was found.
    #[arg(long, short, value_name = "OUT.json")]
    output: Option<PathBuf>,
    /// Draw how near to the best searches are after each trial, the median of all seeds and layers.
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A kind of search.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    strategy: StrategyKind,
    history: bool,
}

const KINDS: [Kind; 5] = [
    Kind { strategy: StrategyKind::Learned, history: true },
    Kind { strategy: StrategyKind::Learned, history: false },
    Kind { strategy: StrategyKind::Genetic, history: false },
    Kind { strategy: StrategyKind::Random, history: false },
    Kind { strategy: StrategyKind::Grid, history: false },
];

/// A space all of whose schedules were measured.
struct Subspace {
    layer: Layer,
    cycles: Vec<u64>,
    best: u64,
}

/// The searches of one kind on one layer.
struct Runs {
    kind: Kind,
    /// Trials until the goal, a search each; `None` where it gave up.
    trials: Vec<Option<usize>>,
    /// The best cycles over those found, after each trial, a search each.
    curves: Vec<Vec<f64>>,
}

impl Kind {
    fn name(self) -> &'static str {
        match (self.strategy, self.history) {
            (StrategyKind::Learned, true) => "learned with history",
            (strategy, _) => strategy.name(),
        }
    }
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = options.meter.config()?;
    let setting = options.meter.setting(&config, 0);
    let layers = layer::of_workload(WorkloadKind::Small, &config, &[])?;
    if let Some(wrong) = options.layers.iter().find(|name| !layers.iter().any(|layer| layer.name == **name)) {
        bail!("--layers {wrong}: there are {}", layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", "));
    }
    let wanted = |layer: &Layer| options.layers.is_empty() || options.layers.contains(&layer.name);
    if options.measure {
        let layers: Vec<Layer> = layers.into_iter().filter(wanted).collect();
        return measure(options, &config, &setting, &layers);
    }
    for path in options.output.iter().chain(&options.plot) {
        file::probe(path)?;
    }
    let mut spaces = Vec::new();
    for layer in layers {
        let path = Measured::path(&options.spaces, &layer, &setting);
        if path.exists() {
            spaces.push(Subspace::read(&path, layer, &setting)?);
        }
    }
    let chosen: Vec<usize> = (0..spaces.len()).filter(|&at| wanted(&spaces[at].layer)).collect();
    if chosen.is_empty() {
        bail!(
            "{}: no space of machine {} was measured there; run `tandem bench tuner --measure` first",
            options.spaces.display(),
            setting.hardware
        );
    }
    let all: Vec<(usize, Vec<Runs>)> = chosen.into_iter().map(|at| (at, compare(options, &spaces, at))).collect();
    if let Some(path) = &options.plot {
        file::replace(path, plot(options, &setting, &all).as_bytes())?;
    }
    let report = report(options, &config, &setting, &spaces, &all);
    if let Some(path) = &options.output {
        file::replace(path, format!("{}\n", serde_json::to_string_pretty(&report)?).as_bytes())?;
    }
    stdout::emit(&match options.format {
        Format::Json => format!("{report}\n"),
        Format::Table => text(options, &setting, &spaces, &all),
    })?;
    Ok(Outcome::Good)
}

/// Measures all schedules of layers, and writes a file for each.
fn measure(options: &Options, config: &HwConfig, setting: &Setting, layers: &[Layer]) -> Result<Outcome> {
    std::fs::create_dir_all(&options.spaces).with_context(|| format!("{}", options.spaces.display()))?;
    let mut crew = options.meter.processes(config)?;
    let bar = bar(layers.iter().map(|layer| layer.task.space().len()).sum());
    let mut outcome = Outcome::Good;
    for layer in layers {
        let (tiles, path) = (layer.task.space().tiles(), Measured::path(&options.spaces, layer, setting));
        let mut measured = match path.exists() {
            true => Measured::read(&path, layer, setting)?,
            false => Measured::new(layer, setting),
        };
        bar.inc(measured.cycles.len() as u64);
        bar.set_message(layer.name.clone());
        let subject = Subject::new(&layer.graph, config, &options.meter.dram(), options.meter.oracle.oracle());
        while !measured.is_whole() {
            let begin = measured.cycles.len();
            let next = &tiles[begin..tiles.len().min(begin + STEP)];
            let taken = crew.measure(&subject, next, &mut |at, taken| {
                bar.inc(1);
                if let crate::tuning::job::Taken::Failed(why) = taken {
                    outcome = Outcome::Negative;
                    bar.suspend(|| stdout::complain(&format!("{}: {:?}: {why}", layer.name, next[at])));
                }
            })?;
            measured.cycles.extend(taken.iter().map(|taken| taken.cycles().unwrap_or(0)));
            measured.write(&path)?;
        }
    }
    bar.finish_and_clear();
    Ok(outcome)
}

impl Subspace {
    fn read(path: &Path, layer: Layer, setting: &Setting) -> Result<Subspace> {
        let measured = Measured::read(path, &layer, setting)?;
        let best = measured.cycles.iter().copied().filter(|&cycles| cycles > 0).min();
        let (Some(best), true) = (best, measured.is_whole()) else {
            bail!("{}: it is not whole; go on with `tandem bench tuner --measure`", path.display());
        };
        Ok(Subspace { layer, cycles: measured.cycles, best })
    }

    fn cycles(&self, tile: &Tile) -> Option<u64> {
        self.cycles.get(self.layer.task.space().find(tile)?).copied().filter(|&cycles| cycles > 0)
    }

    /// The cycles at which a schedule counts as found.
    fn goal(&self) -> u64 {
        (self.best as f64 / GOAL) as u64
    }

    /// Searches until a schedule is found that is good enough, or so many were tried.
    fn search(&self, kind: Kind, seed: u64, batch: usize, most: usize, prior: Option<&Prior>, stop: bool) -> Searched {
        let analytic = |tile: &Tile| self.layer.task.estimate(tile) as f64;
        let settings = Settings { strategy: kind.strategy, batch, seed, analytic: &analytic, prior };
        let mut search = Search::new(&self.layer.task, settings);
        let mut known = Vec::new();
        let mut reached = None;
        while known.len() < most && !(stop && reached.is_some()) {
            let tiles = search.next_batch(most - known.len());
            if tiles.is_empty() {
                break;
            }
            let told: Vec<(Tile, Option<u64>)> = tiles.iter().map(|tile| (*tile, self.cycles(tile))).collect();
            for (tile, cycles) in &told {
                let workload = *self.layer.task.workload();
                let predicted = analytic(tile);
                known.push(cycles.map(|cycles| Known { workload, tile: *tile, predicted, cycles }));
                if cycles.is_some_and(|cycles| cycles <= self.goal()) {
                    reached = reached.or(Some(known.len()));
                }
            }
            search.tell(&told);
        }
        let curve = search.curve().iter().map(|best| best.map_or(0.0, |best| self.best as f64 / best as f64)).collect();
        Searched { reached, curve, known: known.into_iter().flatten().collect() }
    }
}

/// What a search came to.
struct Searched {
    reached: Option<usize>,
    curve: Vec<f64>,
    known: Vec<Known>,
}

/// All kinds of search with all seeds on one layer; the others are its history.
fn compare(options: &Options, spaces: &[Subspace], at: usize) -> Vec<Runs> {
    let (space, batch, most) = (&spaces[at], options.batch as usize, options.trials as usize);
    let plain = Kind { strategy: StrategyKind::Learned, history: false };
    let prior = |seed: u64| {
        let others = spaces.iter().enumerate().filter(|(other, _)| *other != at);
        let known: Vec<Known> =
            others.flat_map(|(_, other)| other.search(plain, seed, batch, HISTORY, None, false).known).collect();
        Prior::learn(space.layer.task.config(), &known)
    };
    let bar = bar(options.seeds as usize * KINDS.len());
    bar.set_message(space.layer.name.clone());
    let runs = |kind: &Kind| {
        let searched: Vec<Searched> = (1..=u64::from(options.seeds))
            .into_par_iter()
            .map(|seed| {
                let prior = if kind.history { prior(seed) } else { None };
                let searched = space.search(*kind, seed, batch, most, prior.as_ref(), true);
                bar.inc(1);
                searched
            })
            .collect();
        let trials = searched.iter().map(|searched| searched.reached).collect();
        Runs { kind: *kind, trials, curves: searched.into_iter().map(|searched| searched.curve).collect() }
    };
    let kinds = KINDS.iter().filter(|kind| !kind.history || spaces.len() > 1);
    let all = kinds.map(runs).collect();
    bar.finish_and_clear();
    all
}

/// The middle of the trials until the goal; searches that gave up count as more than any other.
fn median(runs: &Runs) -> Option<f64> {
    let mut trials: Vec<usize> = runs.trials.iter().map(|trials| trials.unwrap_or(usize::MAX)).collect();
    trials.sort_unstable();
    let half = trials.len() / 2;
    let (low, high) = (trials.get(trials.len().saturating_sub(1) / 2)?, trials.get(half)?);
    (*high != usize::MAX).then(|| (*low as f64 + *high as f64) / 2.0)
}

fn text(options: &Options, setting: &Setting, spaces: &[Subspace], all: &[(usize, Vec<Runs>)]) -> String {
    let mut rows = Vec::new();
    for (at, runs) in all {
        let space = &spaces[*at];
        let good = space.cycles.iter().filter(|&&cycles| cycles > 0 && cycles <= space.goal()).count();
        let default = space.cycles(&space.layer.task.workload().default_tile(space.layer.task.config()));
        for runs in runs {
            let gave_up = runs.trials.iter().filter(|trials| trials.is_none()).count();
            let middle = median(runs);
            let row = vec![
                space.layer.name.clone(),
                grouped(space.cycles.len() as u64),
                grouped(good as u64),
                default.map_or_else(|| "-".to_owned(), |cycles| format!("{:.3}", space.best as f64 / cycles as f64)),
                runs.kind.name().to_owned(),
                middle.map_or_else(|| format!("> {}", options.trials), |middle| format!("{middle:.1}")),
                gave_up.to_string(),
            ];
            rows.push(row);
        }
    }
    let header = ["layer", "schedules", "good ones", "default", "search", "trials, median", "gave up"];
    let mut text = table(&header, &[1, 2, 3, 5, 6], rows);
    let _ = writeln!(
        text,
        "trials until a schedule reaches {GOAL} of the best one's speed, {} seeds, batches of {}; default: what the compiler's own \
         choice reaches; cycles {} on {} ({}) with memory '{}'; history: {HISTORY} trials of each other layer",
        options.seeds,
        options.batch,
        options.meter.oracle.words(),
        options.meter.hw,
        setting.hardware,
        setting.dram
    );
    text
}

fn report(
    options: &Options,
    config: &HwConfig,
    setting: &Setting,
    spaces: &[Subspace],
    all: &[(usize, Vec<Runs>)],
) -> Value {
    let layers = all.iter().map(|(at, runs)| {
        let space = &spaces[*at];
        let good = space.cycles.iter().filter(|&&cycles| cycles > 0 && cycles <= space.goal()).count();
        let searches = runs.iter().map(|runs| {
            json!({
                "strategy": runs.kind.strategy.name(),
                "history": runs.kind.history,
                "median_trials": median(runs),
                "trials": runs.trials,
            })
        });
        let task = &space.layer.task;
        json!({
            "layer": space.layer.name,
            "workload": task.workload(),
            "schedules": space.cycles.len(),
            "best_cycles": space.best,
            "good_schedules": good,
            "default_cycles": space.cycles(&task.workload().default_tile(task.config())),
            "searches": searches.collect::<Vec<_>>(),
        })
    });
    json!({
        "date": date::today(),
        "version": env!("CARGO_PKG_VERSION"),
        "processor": backend::processor(),
        "hardware": setting.hardware,
        "config": config.name(),
        "dram": setting.dram,
        "oracle": setting.oracle,
        "goal": GOAL,
        "seeds": options.seeds,
        "batch": options.batch,
        "most_trials": options.trials,
        "history_trials": HISTORY,
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// For each kind of search the median over all seeds and layers of how near it is after each trial.
fn plot(options: &Options, setting: &Setting, all: &[(usize, Vec<Runs>)]) -> String {
    let mut curves = Vec::new();
    for kind in KINDS {
        let of_kind = all.iter().flat_map(|(_, runs)| runs).filter(|runs| runs.kind == kind);
        let searches: Vec<&Vec<f64>> = of_kind.flat_map(|runs| &runs.curves).collect();
        let most = searches.iter().map(|curve| curve.len()).max().unwrap_or(0);
        let points = (0..most).filter_map(|trial| {
            // A search that has found enough stays where it is.
            let at = searches.iter().filter_map(|curve| curve.get(trial).or(curve.last()).copied());
            let mut at: Vec<f64> = at.collect();
            at.sort_by(f64::total_cmp);
            Some(((trial + 1) as f64, 100.0 * at.get(at.len() / 2)?))
        });
        curves.push(Curve { name: kind.name().to_owned(), points: points.collect() });
    }
    let how = format!(
        "cycles {} on {} with memory {}; median of {} seeds and {} layers",
        options.meter.oracle.words(),
        options.meter.hw,
        setting.dram,
        options.seeds,
        all.len()
    );
    curves::svg(
        ("speed of the best schedule so far, over that of the best of all", &how),
        ("trials", "of the best"),
        Shape::Steps,
        &curves,
    )
}
