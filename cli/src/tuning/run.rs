//! A search for one layer under way: what was measured before is looked up, the rest is measured and put into the log.

use super::crew::Crew;
use super::job::{Subject, Taken};
use super::layer::Layer;
use super::log::LogFile;
use crate::stdout;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use tandem_jit::Tile;
use tandem_jit::tune::{Known, Oracle, Prior, Record, Search, Settings, StrategyKind, VERSION, Workload};

/// What measurements belong to beside the layer and its schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The digest of the machine.
    pub hardware: String,
    /// The memory.
    pub dram: String,
    /// What tells cycles.
    pub oracle: Oracle,
    /// The seed of the search.
    pub seed: u64,
}

/// Measures schedules, each at most once.
pub struct Bench<'a> {
    /// What they are measured in.
    pub setting: Setting,
    /// Who measures.
    pub crew: Box<dyn Crew + 'a>,
    /// Where measurements go.
    pub log: Option<LogFile>,
    known: HashMap<(Workload, Tile), Taken>,
}

/// How a layer is tuned.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How schedules are chosen.
    pub strategy: StrategyKind,
    /// Schedules of a layer, the default one included.
    pub trials: usize,
    /// Schedules that are asked for together.
    pub batch: usize,
}

/// What a search found.
pub struct Found {
    /// Cycles of the compiler's own choice; `None` where it failed.
    pub default: Option<u64>,
    /// The best schedule, and its cycles.
    pub best: Option<(Tile, u64)>,
    /// Best cycles after each trial.
    pub curve: Vec<Option<u64>>,
    /// Trials that were looked up.
    pub recalled: usize,
    /// The first schedule that failed, and why.
    pub failed: Vec<(Tile, String)>,
    /// What models of other layers learn from this one.
    pub learned: Vec<Known>,
}

/// A bar over all trials with the layer under way; it stays hidden where stderr is no terminal.
pub fn bar(trials: usize) -> ProgressBar {
    let bar = ProgressBar::new(trials as u64);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} trials, {eta} left") {
        Ok(style) => bar.set_style(style),
        Err(e) => stdout::complain(&format!("note: no progress bar ({e})")),
    }
    bar
}

impl<'a> Bench<'a> {
    /// A bench that knows what the log holds of this setting, whatever its seed was.
    pub fn new(setting: Setting, crew: Box<dyn Crew + 'a>, log: Option<LogFile>) -> Bench<'a> {
        let records = log.iter().flat_map(|log| &log.records).filter(|record| setting.has(record));
        let taken = |record: &Record| match record.cycles {
            Some(cycles) => Taken::Cycles(cycles),
            None => Taken::Failed(record.error.clone().unwrap_or_default()),
        };
        let known = records.map(|record| ((record.workload, record.tile), taken(record))).collect();
        Bench { setting, crew, log, known }
    }

    /// Tunes a layer. `progress` is told the default cycles, the best ones, and after how many trials.
    ///
    /// # Errors
    /// One sentence, where nothing can be measured or the log cannot be written.
    pub fn tune(
        &mut self,
        layer: &Layer,
        subject: &Subject,
        plan: Plan,
        prior: Option<&Prior>,
        progress: &mut dyn FnMut(Option<u64>, Option<u64>, usize),
    ) -> Result<Found> {
        let (task, workload) = (&layer.task, layer.task.workload());
        let analytic = |tile: &Tile| task.estimate(tile) as f64;
        let (strategy, batch, seed) = (plan.strategy, plan.batch, self.setting.seed);
        let mut search = Search::new(task, Settings { strategy, batch, seed, analytic: &analytic, prior });
        let mut found = Found {
            default: None,
            best: None,
            curve: Vec::new(),
            recalled: 0,
            failed: Vec::new(),
            learned: Vec::new(),
        };
        // The first trial is the compiler's own choice, so that what is found is never worse.
        let mut tiles = vec![workload.default_tile(task.config())];
        while !tiles.is_empty() {
            let taken = self.measure(workload, subject, &tiles, &analytic, &mut found.recalled)?;
            for (&tile, taken) in tiles.iter().zip(&taken) {
                match taken {
                    Taken::Cycles(cycles) => {
                        let (predicted, cycles) = (analytic(&tile), *cycles);
                        found.learned.push(Known { workload: *workload, tile, predicted, cycles });
                        if found.best.is_none_or(|(_, best)| cycles < best) {
                            found.best = Some((tile, cycles));
                        }
                    }
                    Taken::Failed(why) => found.failed.push((tile, why.clone())),
                }
                if found.curve.is_empty() {
                    found.default = taken.cycles();
                }
                found.curve.push(found.best.map(|(_, cycles)| cycles));
            }
            search.tell(&tiles.iter().copied().zip(taken.iter().map(Taken::cycles)).collect::<Vec<_>>());
            progress(found.default, found.best.map(|(_, cycles)| cycles), found.curve.len());
            tiles = search.next_batch(plan.trials.saturating_sub(found.curve.len()));
        }
        Ok(found)
    }

    /// What schedules take: looked up, or measured and put into the log.
    fn measure(
        &mut self,
        workload: &Workload,
        subject: &Subject,
        tiles: &[Tile],
        analytic: &dyn Fn(&Tile) -> f64,
        recalled: &mut usize,
    ) -> Result<Vec<Taken>> {
        let new: Vec<Tile> =
            tiles.iter().copied().filter(|tile| !self.known.contains_key(&(*workload, *tile))).collect();
        *recalled += tiles.len() - new.len();
        let mut logged = Ok(());
        let (setting, log) = (&self.setting, &mut self.log);
        let taken = self.crew.measure(subject, &new, &mut |at, taken| {
            let record = setting.record(workload, new[at], analytic(&new[at]), taken);
            if logged.is_ok()
                && let Some(log) = log.as_mut()
            {
                logged = log.append(&record);
            }
        })?;
        logged?;
        self.known.extend(new.iter().map(|&tile| (*workload, tile)).zip(taken));
        let missing = || Taken::Failed("it was not measured".to_owned());
        Ok(tiles.iter().map(|&tile| self.known.get(&(*workload, tile)).cloned().unwrap_or_else(missing)).collect())
    }
}

impl Setting {
    /// Whether a record is of this machine with this memory, by the same oracle.
    pub fn has(&self, record: &Record) -> bool {
        record.hardware == self.hardware && record.dram == self.dram && record.oracle == self.oracle
    }

    fn record(&self, workload: &Workload, tile: Tile, predicted: f64, taken: &Taken) -> Record {
        let (cycles, error) = match taken {
            Taken::Cycles(cycles) => (Some(*cycles), None),
            Taken::Failed(why) => (None, Some(why.clone())),
        };
        Record {
            version: VERSION,
            workload: *workload,
            hardware: self.hardware.clone(),
            dram: self.dram.clone(),
            oracle: self.oracle,
            seed: self.seed,
            tile,
            predicted,
            cycles,
            error,
        }
    }
}
