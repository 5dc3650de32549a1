//! An exploration under way: the driver of a search, and what became of its designs.

use super::chip::{Chip, Made, Trial, named};
use super::evaluate::{Found, Programs, Trials};
use super::goal::Goals;
use super::outcome::{How, Outcome, Tally};
use crate::stdout;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;
use tandem_boards::Board;
use tandem_boards::area::{Placed, Prediction, Predictor, Taken, budget, fits};
use tandem_boards::explore::{Search, Settings, Space, Step, front};
use tandem_isa::{HwConfig, HwFacts};
use tandem_jit::tune::Record;
use tandem_sim::tsim::BuildStep;

/// Designs that are synthesised before the front is looked at again.
const ABREAST: usize = 4;

/// An exploration of the designs of a board for models.
pub struct Exploration<'a> {
    trials: &'a Trials<'a>,
    chip: &'a Chip<'a>,
    predictor: &'a Predictor,
    goals: &'a Goals,
    points: Vec<Point>,
    tally: Tally,
}

/// A design that computed what it should.
#[derive(Clone, Debug)]
pub struct Point {
    /// The machine.
    pub config: HwConfig,
    /// Cycles of one inference of each model on the simulated hardware.
    pub cycles: Vec<u64>,
    /// What they were predicted to be.
    pub predicted_cycles: Vec<u64>,
    /// The schedules of its layers that are not the compiler's own choice; none where that is the best.
    pub schedules: Vec<Record>,
    /// What area and clock were foretold to be.
    pub predicted: Prediction,
    /// After synthesis.
    pub synthesised: Option<Taken>,
    /// After place and route.
    pub placed: Option<Placed>,
    /// Why it is out of the question.
    pub dropped: Option<String>,
}

impl<'a> Exploration<'a> {
    /// An exploration that has seen nothing yet.
    pub fn new(
        trials: &'a Trials<'a>,
        chip: &'a Chip<'a>,
        predictor: &'a Predictor,
        goals: &'a Goals,
    ) -> Exploration<'a> {
        Exploration { trials, chip, predictor, goals, points: Vec::new(), tally: Tally::default() }
    }

    /// Looks at designs until the budget is spent. Gives the first difference from the reference where a design has one; no
    /// generation was looked at behind its own.
    ///
    /// # Errors
    /// A tool that is missing or fails, a device that hangs.
    pub fn search(&mut self, settings: Settings, batch: usize) -> Result<Option<String>> {
        let board = self.trials.board;
        let predictor = self.predictor;
        let room = |config: &HwConfig| fits(board, &predictor.predict(board, config).taken);
        let space = Space::new(board, u32::try_from(batch).unwrap_or(u32::MAX));
        let mut search = Search::new(space, first(board).into_iter().filter(room), settings);
        loop {
            match search.next(&room) {
                Step::Screen(configs) => self.screen(&mut search, &configs),
                Step::Measure(configs) => {
                    let difference = self.measure(&mut search, &configs, settings.budget)?;
                    if difference.is_some() {
                        return Ok(difference);
                    }
                }
                Step::Done => return Ok(None),
            }
        }
    }

    fn screen(&mut self, search: &mut Search, configs: &[HwConfig]) {
        let bar = bar(configs.len(), "screening");
        let found: Vec<Option<Vec<f64>>> = configs
            .par_iter()
            .map(|config| {
                let programs = self.trials.compile(config);
                bar.inc(1);
                programs.ok().map(|programs| self.foretold(config, &programs.predicted))
            })
            .collect();
        bar.finish_and_clear();
        for (config, values) in configs.iter().zip(found) {
            self.tally.screened += 1;
            self.tally.impossible += usize::from(values.is_none());
            search.screened(config, values);
        }
    }

    fn measure(&mut self, search: &mut Search, configs: &[HwConfig], budget: usize) -> Result<Option<String>> {
        let bar = bar(budget, "simulating");
        bar.set_position(self.points.len() as u64);
        let simulate = |config: &HwConfig| -> Result<Option<(Programs, Found, bool)>> {
            let name = named(config);
            bar.set_message(format!("{name} is scheduled"));
            let Ok(programs) = self.trials.tune(config) else { return Ok(None) };
            let mut progress = |step: BuildStep| {
                bar.set_message(match step {
                    BuildStep::Verilate => format!("{name} is translated"),
                    BuildStep::Compile { done, total } => format!("{name} is compiled, {done} of {total}"),
                    BuildStep::Link => format!("{name} is linked"),
                    BuildStep::Ready => format!("{name} runs"),
                });
            };
            let found = self.trials.measure(config, &programs, self.chip.log, &mut progress);
            let (found, known) = found.with_context(|| name.clone())?;
            bar.inc(1);
            Ok(Some((programs, found, known)))
        };
        let simulated = self.chip.each(configs, simulate)?;
        bar.finish_and_clear();
        for (config, simulated) in configs.iter().zip(simulated) {
            let Some((programs, found, known)) = simulated else {
                search.measured(config, None);
                continue;
            };
            self.tally.from_log += usize::from(known);
            let cycles = match found {
                Found::Exact(cycles) => cycles,
                Found::Differs(what) => {
                    let name = named(config);
                    return Ok(Some(format!("{name}: {what}; its configuration is\n{}", config.to_toml())));
                }
            };
            search.measured(config, Some(self.foretold(config, &cycles)));
            self.points.push(Point {
                config: config.clone(),
                cycles,
                predicted_cycles: programs.predicted,
                schedules: programs.schedules,
                predicted: self.predictor.predict(self.trials.board, config),
                synthesised: None,
                placed: None,
                dropped: None,
            });
        }
        Ok(None)
    }

    /// Synthesises the front, the best first, until all of it is or `most` designs are. A design that turns out larger than was
    /// foretold may leave its place to another.
    ///
    /// # Errors
    /// A tool that is missing or fails.
    pub fn synthesise(&mut self, most: usize) -> Result<()> {
        let bar = bar(most, "synthesising");
        let mut left = most;
        loop {
            // So many whatever the pool has, so that it does not decide which ones are.
            let next = self.next(left.min(ABREAST), |point| point.synthesised.is_none());
            if next.is_empty() {
                break;
            }
            left -= next.len();
            let configs: Vec<HwConfig> = next.iter().map(|&at| self.points[at].config.clone()).collect();
            self.chip.synthesise(&configs, &bar, |number, made| {
                let point = &mut self.points[next[number]];
                match made {
                    Made::Made(taken) => {
                        if !fits(self.trials.board, &self.predictor.packed(&taken)) {
                            point.dropped = Some("it takes more than the part has".to_owned());
                        }
                        point.synthesised = Some(taken);
                    }
                    Made::Impossible(reason) => point.dropped = Some(reason),
                }
                bar.inc(1);
                Ok(())
            })?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Places and routes the best designs of the front that take at most this part of the look-up tables; one that cannot be leaves
    /// its place to the next.
    ///
    /// # Errors
    /// A tool that is missing, or a disk that is full.
    pub fn place(&mut self, count: usize, part: f64, trial: Trial) -> Result<()> {
        let room = (budget(self.chip.board, "LUT") as f64 * part) as u64;
        let lut = |point: &Point| {
            let taken = point.synthesised.as_ref().unwrap_or(&point.predicted.taken);
            taken.get("LUT").copied().unwrap_or(0)
        };
        let large = self.next(usize::MAX, |point| lut(point) > room);
        if count > 0 && !large.is_empty() {
            let names: Vec<String> = large.iter().map(|&at| named(&self.points[at].config)).collect();
            let (names, percent) = (names.join(", "), 100.0 * part);
            stdout::complain(&format!(
                "note: not placed, since they take more than {percent:.0} % of the look-up tables: {names}"
            ));
        }
        let bar = bar(count, "placing");
        let mut left = count;
        loop {
            let next = self.next(left, |point| point.placed.is_none() && lut(point) <= room);
            if next.is_empty() {
                break;
            }
            let configs: Vec<HwConfig> = next.iter().map(|&at| self.points[at].config.clone()).collect();
            self.chip.place(&configs, trial, &bar, |number, made| {
                let point = &mut self.points[next[number]];
                match made {
                    Made::Made(placed) => {
                        point.placed = Some(placed);
                        left -= 1;
                        bar.inc(1);
                    }
                    Made::Impossible(reason) => {
                        let name = named(&point.config);
                        bar.suspend(|| stdout::complain(&format!("note: {name} is not placed: {reason}")));
                        point.dropped = Some(reason);
                    }
                }
                Ok(())
            })?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The best designs of the front that something is still to be done with.
    fn next(&self, most: usize, open: impl Fn(&Point) -> bool) -> Vec<usize> {
        self.ranked().into_iter().filter(|&at| open(&self.points[at])).take(most).collect()
    }

    /// Everything that was found.
    ///
    /// # Errors
    /// A tool whose version cannot be told.
    pub fn outcome(&self, settings: Settings, batch: usize) -> Result<Outcome> {
        let made = self.points.iter().any(|point| point.synthesised.is_some() || point.placed.is_some());
        let tools = if made { self.chip.versions()? } else { BTreeMap::new() };
        let how = How { settings, batch_inputs: batch, tally: self.tally };
        Ok(Outcome::new(self.trials, self.goals, self.predictor, tools, &self.points, &self.ranked(), how))
    }

    /// The schedules of all designs, as lines of a log of `tandem tune`.
    pub fn schedules(&self) -> String {
        self.points.iter().flat_map(|point| &point.schedules).map(Record::line).collect()
    }

    /// The front, the best first.
    fn ranked(&self) -> Vec<usize> {
        let members: Vec<usize> = (0..self.points.len()).filter(|&at| self.points[at].dropped.is_none()).collect();
        let all: Vec<Vec<f64>> = members.iter().map(|&at| self.values(&self.points[at])).collect();
        let front = front::front(&all);
        let points: Vec<Vec<f64>> = front.iter().map(|&at| all[at].clone()).collect();
        let weights = self.goals.weights();
        let mut order: Vec<(f64, usize)> =
            (0..points.len()).map(|at| (front::score(&points, &weights, at), members[front[at]])).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order.into_iter().map(|(_, at)| at).collect()
    }

    /// What counts of a design: with its area after synthesis, where that is known, and the clock that was foretold.
    fn values(&self, point: &Point) -> Vec<f64> {
        let taken = match &point.synthesised {
            Some(synthesised) => self.predictor.packed(synthesised),
            None => point.predicted.taken.clone(),
        };
        self.goals.values(self.trials.board, &point.cycles, &taken, point.predicted.fmax_mhz)
    }

    /// What counts of a design by its predicted area and clock.
    fn foretold(&self, config: &HwConfig, cycles: &[u64]) -> Vec<f64> {
        let predicted = self.predictor.predict(self.trials.board, config);
        self.goals.values(self.trials.board, cycles, &predicted.taken, predicted.fmax_mhz)
    }
}

/// The designs to look at first: the board's own, and the presets with its addresses.
fn first(board: &Board) -> Vec<HwConfig> {
    let own = board.config.facts();
    let presets = HwConfig::presets().into_iter().filter_map(HwConfig::preset).filter(|preset| preset.batch() == 1);
    let adapted = presets.map(|preset| HwFacts {
        dram_bits: own.dram_bits,
        float_requant: own.float_requant,
        counters: own.counters,
        ..preset.facts().clone()
    });
    let all = [own.clone()].into_iter().chain(adapted);
    let mut designs: Vec<HwConfig> = Vec::new();
    for facts in all {
        if let Ok(config) = HwConfig::new(HwFacts { name: None, ..facts })
            && !designs.contains(&config)
        {
            designs.push(config);
        }
    }
    designs
}

/// A bar that counts designs.
pub fn bar(length: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    match ProgressStyle::with_template("{prefix} {msg} {wide_bar} {pos}/{len} {elapsed}") {
        Ok(style) => bar.set_style(style),
        Err(e) => stdout::complain(&format!("note: no progress bar ({e})")),
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
