//! What to look at next: many designs cheaply, the promising ones closely.
//!
//! ```text
//!  draws, board's own --> Screen ---> all designs, best first ---> Measure (some of the budget)
//!                           ^               |  ^                        |
//!                           |  children <---+  +---- correction <-------+
//!                           +---------+                                     four rounds, then Done
//! ```
//!
//! Designs are screened generation by generation: children of the best so far, by rank and by room on their front, and a few
//! fresh draws. In each round a quarter of the budget is measured, the best first. What is foretold of the others is then
//! corrected by how far measurements were from what had been foretold, so that both stand in one order.

use std::collections::HashMap;

use tandem_isa::HwConfig;

use super::{Random, Space, front};

/// Rounds of screening and measuring.
const ROUNDS: usize = 4;
/// Generations of a round.
const GENERATIONS: usize = 2;
/// A fresh draw among so many children.
const FRESH: usize = 6;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Designs that are measured.
    pub budget: usize,
    /// Designs that are screened.
    pub screened: usize,
    /// Determines every draw.
    pub seed: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Foretell what these take, and tell [`Search::screened`].
    Screen(Vec<HwConfig>),
    /// Measure what these take, and tell [`Search::measured`].
    Measure(Vec<HwConfig>),
    /// The budget is spent, or there is nothing more to look at.
    Done,
}

/// What is known of a design: `None` where nobody has told, and an empty list where it cannot be.
#[derive(Clone, Debug, Default)]
struct Known {
    screened: Option<Vec<f64>>,
    measured: Option<Vec<f64>>,
}

/// A search under way. It is a function of its settings and of what it is told.
#[derive(Clone, Debug)]
pub struct Search {
    space: Space,
    settings: Settings,
    random: Random,
    round: usize,
    designs: Vec<(HwConfig, Known)>,
    index: HashMap<HwConfig, usize>,
    exhausted: bool,
}

impl Search {
    /// A search that looks at these designs first.
    pub fn new(space: Space, first: impl IntoIterator<Item = HwConfig>, settings: Settings) -> Search {
        let random = Random::new(settings.seed);
        let (designs, index) = (Vec::new(), HashMap::new());
        let mut search = Search { space, settings, random, round: 0, designs, index, exhausted: false };
        for config in first {
            search.add(config);
        }
        search
    }

    /// What to do next; designs that `fits` refuses are not proposed.
    pub fn next(&mut self, fits: &dyn Fn(&HwConfig) -> bool) -> Step {
        loop {
            let waiting: Vec<HwConfig> = self
                .designs
                .iter()
                .filter(|(_, known)| known.screened.is_none())
                .map(|(config, _)| config.clone())
                .collect();
            if !waiting.is_empty() {
                return Step::Screen(waiting);
            }
            if self.round >= ROUNDS {
                return Step::Done;
            }
            let part = |whole: usize| (whole * (self.round + 1)).div_ceil(ROUNDS);
            let wanted = part(self.settings.screened).saturating_sub(self.designs.len());
            if wanted > 0 && !self.exhausted {
                let generation = self.settings.screened.div_ceil(ROUNDS * GENERATIONS).max(4);
                self.grow(generation.min(wanted), fits);
                continue;
            }
            let measured = self.designs.iter().filter(|(_, known)| is_possible(&known.measured)).count();
            let wanted = part(self.settings.budget).saturating_sub(measured);
            let order = self.order();
            let unmeasured = order.into_iter().filter(|&at| self.designs[at].1.measured.is_none());
            let chosen: Vec<HwConfig> = unmeasured.take(wanted).map(|at| self.designs[at].0.clone()).collect();
            if !chosen.is_empty() {
                return Step::Measure(chosen);
            }
            self.round += 1;
        }
    }

    /// What is foretold of a design, in each objective; `None` where it cannot be.
    pub fn screened(&mut self, config: &HwConfig, values: Option<Vec<f64>>) {
        if let Some(&at) = self.index.get(config) {
            self.designs[at].1.screened = Some(values.unwrap_or_default());
        }
    }

    /// What was measured of a design; `None` where it cannot be.
    pub fn measured(&mut self, config: &HwConfig, values: Option<Vec<f64>>) {
        if let Some(&at) = self.index.get(config) {
            self.designs[at].1.measured = Some(values.unwrap_or_default());
        }
    }

    /// Designs that were screened, and that can be.
    pub fn possible(&self) -> usize {
        self.designs.iter().filter(|(_, known)| is_possible(&known.screened)).count()
    }

    /// All designs that can be, the best first.
    fn order(&self) -> Vec<usize> {
        let correction = self.correction();
        let value = |known: &Known| match (&known.measured, &known.screened) {
            (Some(measured), _) => measured.clone(),
            (None, Some(screened)) => screened.iter().zip(&correction).map(|(value, ratio)| value * ratio).collect(),
            (None, None) => Vec::new(),
        };
        let (members, points): (Vec<usize>, Vec<Vec<f64>>) = (0..self.designs.len())
            .map(|at| (at, value(&self.designs[at].1)))
            .filter(|(_, values)| !values.is_empty())
            .unzip();
        front::order(&points).into_iter().map(|at| members[at]).collect()
    }

    /// What measurements are of what was foretold, in each objective: the geometric mean.
    fn correction(&self) -> Vec<f64> {
        let (mut logs, mut count): (Vec<f64>, usize) = (Vec::new(), 0);
        for (_, known) in &self.designs {
            let (Some(screened), Some(measured)) = (&known.screened, &known.measured) else { continue };
            logs.resize(logs.len().max(screened.len()), 0.0);
            if measured.is_empty() || screened.iter().chain(measured).any(|value| *value <= 0.0) {
                continue;
            }
            count += 1;
            logs.iter_mut().zip(measured.iter().zip(screened)).for_each(|(sum, (m, s))| *sum += (m / s).ln());
        }
        let most =
            self.designs.iter().filter_map(|(_, known)| known.screened.as_ref().map(Vec::len)).max().unwrap_or(0);
        logs.resize(most, 0.0);
        logs.into_iter().map(|sum| (sum / count.max(1) as f64).exp()).collect()
    }

    /// Adds a generation: children of the best, and fresh draws.
    fn grow(&mut self, count: usize, fits: &dyn Fn(&HwConfig) -> bool) {
        let order = self.order();
        let parents: Vec<usize> = order.into_iter().take(count.max(4)).collect();
        for _ in 0..count {
            let fresh = parents.len() < 2 || self.random.one_in(FRESH);
            let index = &self.index;
            let new = |config: &HwConfig| !index.contains_key(config) && fits(config);
            let child = if fresh {
                self.space.draw(&mut self.random, &new)
            } else {
                let [one, other] = [0; 2].map(|_| tournament(&parents, &mut self.random));
                self.space.cross(&self.designs[one].0, &self.designs[other].0, &mut self.random, &new)
            };
            // Where the neighbourhood is known, there may be something elsewhere.
            match child.or_else(|| self.space.draw(&mut self.random, &new)) {
                Some(config) => self.add(config),
                None => {
                    self.exhausted = true;
                    return;
                }
            }
        }
    }

    fn add(&mut self, config: HwConfig) {
        if !self.index.contains_key(&config) {
            self.index.insert(config.clone(), self.designs.len());
            self.designs.push((config, Known::default()));
        }
    }
}

/// The better one of two; parents stand in order.
fn tournament(parents: &[usize], random: &mut Random) -> usize {
    let [a, b] = [0; 2].map(|_| random.below(parents.len()));
    parents[a.min(b)]
}

fn is_possible(values: &Option<Vec<f64>>) -> bool {
    values.as_ref().is_some_and(|values| !values.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time falls with lanes and buffers, area grows with them, and with everything else that time does not need.
    fn truth(config: &HwConfig) -> Vec<f64> {
        let lanes = (config.block_in() * config.block_out()) as f64;
        let buffers = (config.inp_depth() + config.wgt_depth() + config.acc_depth()) as f64;
        let idle = 500 * config.bus_bytes() + 20 * config.insn_queue_depth().unwrap_or(0) + 300 * config.alu_lanes();
        vec![1e6 / lanes + 1e5 / buffers.sqrt(), 100.0 * lanes + buffers + idle as f64]
    }

    /// Runs a search over what `screen` foretells; gives the measured designs and how many were screened.
    fn explore(settings: Settings, screen: impl Fn(&HwConfig) -> Option<Vec<f64>>) -> (Vec<HwConfig>, usize) {
        let board = crate::find("ulx3s-85f").unwrap();
        let mut search = Search::new(Space::new(&board, 1), [board.config.clone()], settings);
        let (mut measured, mut screened) = (Vec::new(), 0);
        loop {
            match search.next(&|config| config.insn_queue_depth().is_some()) {
                Step::Screen(configs) => {
                    screened += configs.len();
                    configs.iter().for_each(|config| search.screened(config, screen(config)));
                }
                Step::Measure(configs) => {
                    configs.iter().for_each(|config| search.measured(config, Some(truth(config))));
                    measured.extend(configs);
                }
                Step::Done => return (measured, screened),
            }
        }
    }

    const SETTINGS: Settings = Settings { budget: 20, screened: 160, seed: 7 };

    #[test]
    fn a_search_measures_its_budget_of_different_designs_and_is_repeatable() {
        let screen = |config: &HwConfig| Some(truth(config).iter().map(|value| value * 0.7).collect());
        let (measured, screened) = explore(SETTINGS, screen);
        let different: std::collections::HashSet<&HwConfig> = measured.iter().collect();
        assert_eq!((different.len(), measured.len(), screened), (20, 20, 160));
        assert_eq!(explore(SETTINGS, screen).0, measured);
        assert_ne!(explore(Settings { seed: 8, ..SETTINGS }, screen).0, measured);
    }

    #[test]
    fn a_search_finds_a_better_front_than_as_many_draws() {
        let (measured, _) = explore(SETTINGS, |config| Some(truth(config)));
        let board = crate::find("ulx3s-85f").unwrap();
        let (space, mut random) = (Space::new(&board, 1), Random::new(1));
        let drawn = (0..20).filter_map(|_| space.draw(&mut random, &|config| config.insn_queue_depth().is_some()));
        let all: Vec<Vec<f64>> = measured.iter().map(truth).chain(drawn.map(|config| truth(&config))).collect();
        let front = front::front(&all);
        let ours = front.iter().filter(|&&at| at < 20).count();
        assert!(ours * 4 >= front.len() * 3 && ours >= 5, "{ours} of a front of {}", front.len());
    }

    #[test]
    fn designs_that_cannot_be_are_neither_measured_nor_parents() {
        let (measured, screened) = explore(SETTINGS, |config| (config.bus_bytes() == 8).then(|| truth(config)));
        assert!(measured.iter().all(|config| config.bus_bytes() == 8) && measured.len() == 20 && screened == 160);
        let (measured, screened) = explore(SETTINGS, |_| None);
        assert!(measured.is_empty() && screened > 0);
    }

    #[test]
    fn what_measurements_show_corrects_what_is_foretold() {
        let board = crate::find("ulx3s-85f").unwrap();
        let mut search = Search::new(Space::new(&board, 1), [board.config.clone()], SETTINGS);
        let Step::Screen(configs) = search.next(&|_| true) else { panic!("nothing to screen") };
        search.screened(&configs[0], Some(vec![10.0, 4.0]));
        assert_eq!(search.correction(), [1.0, 1.0]);
        search.measured(&configs[0], Some(vec![20.0, 1.0]));
        let correction = search.correction();
        assert!((correction[0] - 2.0).abs() < 1e-12 && (correction[1] - 0.25).abs() < 1e-12, "{correction:?}");
    }
}
