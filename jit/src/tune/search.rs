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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::{Known, Prior, sample};

    /// Cycles of a machine that no formula knows: it likes wide tiles and dislikes many load groups more than is predicted.
    fn cycles(task: &Task, tile: &Tile) -> u64 {
        let width = if tile.width < 7 { 1.5 } else { 1.0 };
        let depth = if tile.depth == 1 { 1.3 } else { 1.0 };
        let order = 1.0 + 0.2 * f64::from(tile.order as u8) * (tile.cells as f64 / 4.0);
        let taps = 1.0 + 0.1 * (3 - tile.tap_rows.min(3)) as f64;
        (task.estimate(tile) as f64 * width * depth * order * taps) as u64
    }

    fn search(task: &Task, strategy: StrategyKind, seed: u64, prior: Option<&Prior>) -> (Vec<(Tile, u64)>, Vec<u64>) {
        let analytic = |tile: &Tile| task.estimate(tile) as f64;
        let mut search = Search::new(task, Settings { strategy, batch: 8, seed, analytic: &analytic, prior });
        let mut asked = Vec::new();
        while asked.len() < 64 {
            let tiles = search.next_batch(64 - asked.len());
            let told: Vec<(Tile, Option<u64>)> = tiles.iter().map(|tile| (*tile, Some(cycles(task, tile)))).collect();
            search.tell(&told);
            asked.extend(told.into_iter().map(|(tile, cycles)| (tile, cycles.unwrap())));
        }
        let best = asked.iter().map(|(_, cycles)| *cycles).min();
        assert_eq!(search.best().map(|(_, cycles)| cycles), best);
        (asked, search.curve().iter().map(|best| best.unwrap()).collect())
    }

    #[test]
    fn equal_seeds_ask_for_the_same_schedules_and_for_none_twice() {
        let task = sample::task();
        for strategy in StrategyKind::ALL {
            let (asked, curve) = search(&task, strategy, 5, None);
            assert_eq!(search(&task, strategy, 5, None).0, asked, "{strategy}");
            let mut tiles: Vec<Tile> = asked.iter().map(|(tile, _)| *tile).collect();
            tiles.sort_unstable();
            tiles.dedup();
            assert_eq!(tiles.len(), 64, "{strategy}");
            assert!(curve.windows(2).all(|pair| pair[1] <= pair[0]), "{strategy}");
            assert_eq!(search(&task, strategy, 6, None).0 == asked, strategy == StrategyKind::Grid, "{strategy}");
        }
    }

    #[test]
    fn a_search_that_learns_finds_better_schedules_than_one_at_random() {
        let task = sample::task();
        let best = task.space().tiles().iter().map(|tile| cycles(&task, tile)).min().unwrap();
        let mean = |strategy: StrategyKind| {
            let seeds = 1..=5;
            seeds.map(|seed| *search(&task, strategy, seed, None).1.last().unwrap() as f64 / best as f64).sum::<f64>()
                / 5.0
        };
        let (learned, random) = (mean(StrategyKind::Learned), mean(StrategyKind::Random));
        // What is left to the best is at most half of what a random search leaves.
        assert!(learned - 1.0 < 0.5 * (random - 1.0), "{learned} and {random}");
    }

    #[test]
    fn what_another_layer_taught_is_known_from_the_first_batch() {
        let (task, other) = (sample::task(), sample::other());
        let known = |(tile, cycles): (Tile, u64)| Known {
            workload: *other.workload(),
            tile,
            predicted: other.estimate(&tile) as f64,
            cycles,
        };
        let history: Vec<Known> =
            (1..=4).flat_map(|seed| search(&other, StrategyKind::Random, seed, None).0).map(known).collect();
        let prior = Prior::learn(task.config(), &history).unwrap();
        assert!(Prior::learn(task.config(), &[]).is_none());
        let first = |prior: Option<&Prior>| -> f64 {
            let each = (1..=5).map(|seed| search(&task, StrategyKind::Learned, seed, prior).1[7] as f64);
            each.sum::<f64>() / 5.0
        };
        let (with, without) = (first(Some(&prior)), first(None));
        assert!(with < without, "{with} and {without}");
    }

    #[test]
    fn schedules_that_fail_are_not_asked_for_again_and_end_no_search() {
        let task = sample::task();
        let analytic = |tile: &Tile| task.estimate(tile) as f64;
        for strategy in StrategyKind::ALL {
            let settings = Settings { strategy, batch: 16, seed: 1, analytic: &analytic, prior: None };
            let mut search = Search::new(&task, settings);
            let mut asked = Vec::new();
            for _ in 0..3 {
                let tiles = search.next_batch(16);
                search.tell(&tiles.iter().map(|tile| (*tile, None)).collect::<Vec<_>>());
                asked.extend(tiles);
            }
            asked.sort_unstable();
            asked.dedup();
            assert_eq!((asked.len(), search.best(), search.curve()), (48, None, &[None; 48][..]), "{strategy}");
        }
    }

    #[test]
    fn a_space_that_was_measured_whole_has_nothing_more() {
        let small =
            tandem_graph::workload::Layer { extent: 2, inputs: 16, outputs: 16, ..tandem_graph::workload::SMALL[0] };
        let (graph, config) = (small.graph(1), tandem_isa::HwConfig::preset("vta").unwrap());
        let task = Task::new(&graph, &config).unwrap().unwrap();
        let analytic = |tile: &Tile| task.estimate(tile) as f64;
        for strategy in StrategyKind::ALL {
            let settings = Settings { strategy, batch: 7, seed: 1, analytic: &analytic, prior: None };
            let mut search = Search::new(&task, settings);
            let mut count = 0;
            loop {
                let tiles = search.next_batch(1000);
                if tiles.is_empty() {
                    break;
                }
                count += tiles.len();
                search.tell(&tiles.iter().map(|tile| (*tile, Some(1))).collect::<Vec<_>>());
            }
            assert_eq!(count, task.space().len(), "{strategy}");
        }
    }
}
