//! A search as a state machine: it asks for schedules to be measured, and is told what they took.

use super::baseline::{Genetic, Grid, Uniform};
use super::learned::{Analytic, Learned};
use super::{Prior, Space, Task};
use crate::tile::Tile;
use std::fmt;
use std::str::FromStr;
use tandem_ops::def::Random;

/// How a search chooses what to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyKind {
    /// By a model that learns from what was measured.
    Learned,
    /// At random.
    Random,
    /// In the order of the space.
    Grid,
    /// By crossing and mutating the best.
    Genetic,
}

/// How a search runs.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// How it chooses.
    pub strategy: StrategyKind,
    /// Schedules that are asked for together.
    pub batch: usize,
    /// Equal seeds and equal answers make equal searches.
    pub seed: u64,
    /// Predicts the cycles of a schedule, for the strategy that learns.
    pub analytic: Analytic<'a>,
    /// What other layers say, for the strategy that learns.
    pub prior: Option<&'a Prior>,
}

/// A search for the best schedule of a layer.
pub struct Search<'a> {
    space: &'a Space,
    strategy: Box<dyn Strategy + 'a>,
    batch: usize,
    random: Random,
    seen: Vec<bool>,
    best: Option<(u64, usize)>,
    /// The best cycles after each answer.
    curve: Vec<Option<u64>>,
}

/// How a search chooses points.
pub(super) trait Strategy {
    /// Up to so many points that were not seen; fewer where the space has no others.
    fn propose(&mut self, space: &Space, seen: &[bool], count: usize, random: &mut Random) -> Vec<usize>;

    /// Learns what points took; `None` for those that failed.
    fn learn(&mut self, space: &Space, results: &[(usize, Option<u64>)]);
}

impl StrategyKind {
    /// All of them.
    pub const ALL: [StrategyKind; 4] =
        [StrategyKind::Learned, StrategyKind::Random, StrategyKind::Grid, StrategyKind::Genetic];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            StrategyKind::Learned => "learned",
            StrategyKind::Random => "random",
            StrategyKind::Grid => "grid",
            StrategyKind::Genetic => "genetic",
        }
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StrategyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<StrategyKind, String> {
        let names = StrategyKind::ALL.map(StrategyKind::name).join(", ");
        StrategyKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("use {names}"))
    }
}

impl<'a> Search<'a> {
    /// A search that begins.
    pub fn new(task: &'a Task, settings: Settings<'a>) -> Search<'a> {
        let strategy: Box<dyn Strategy + 'a> = match settings.strategy {
            StrategyKind::Learned => Box::new(Learned::new(task, settings.analytic, settings.prior)),
            StrategyKind::Random => Box::new(Uniform),
            StrategyKind::Grid => Box::new(Grid::default()),
            StrategyKind::Genetic => Box::new(Genetic::default()),
        };
        Search {
            space: task.space(),
            strategy,
            batch: settings.batch.max(1),
            random: Random::new(settings.seed),
            seen: vec![false; task.space().len()],
            best: None,
            curve: Vec::new(),
        }
    }

    /// Up to `most` schedules to measure next; none where all were measured. They must be told before the next ones are asked for.
    pub fn next_batch(&mut self, most: usize) -> Vec<Tile> {
        let count = self.batch.min(most);
        if self.space.is_empty() || count == 0 {
            return Vec::new();
        }
        let batch = self.strategy.propose(self.space, &self.seen, count, &mut self.random);
        for &point in &batch {
            self.seen[point] = true;
        }
        batch.into_iter().map(|point| self.space.tiles()[point]).collect()
    }

    /// Tells what schedules took, in the order in which they were asked for; `None` for one that failed.
    pub fn tell(&mut self, results: &[(Tile, Option<u64>)]) {
        let mut points = Vec::with_capacity(results.len());
        for (tile, cycles) in results {
            let Some(point) = self.space.find(tile) else { continue };
            self.seen[point] = true;
            if let Some(cycles) = *cycles
                && self.best.is_none_or(|(best, _)| cycles < best)
            {
                self.best = Some((cycles, point));
            }
            self.curve.push(self.best.map(|(cycles, _)| cycles));
            points.push((point, *cycles));
        }
        self.strategy.learn(self.space, &points);
    }

    /// The best schedule so far, and its cycles.
    pub fn best(&self) -> Option<(Tile, u64)> {
        self.best.map(|(cycles, point)| (self.space.tiles()[point], cycles))
    }

    /// The best cycles after each answer; `None` before the first that did not fail.
    pub fn curve(&self) -> &[Option<u64>] {
        &self.curve
    }
}

/// A point at random that neither was seen nor is in the batch; `None` where there is none.
pub(super) fn unseen(space: &Space, seen: &[bool], batch: &[usize], random: &mut Random) -> Option<usize> {
    let free = |point: &usize| !seen[*point] && !batch.contains(point);
    let drawn = (0..16).map(|_| random.within(0, space.len())).find(free);
    drawn.or_else(|| {
        let all: Vec<usize> = (0..space.len()).filter(free).collect();
        (!all.is_empty()).then(|| all[random.within(0, all.len())])
    })
}
