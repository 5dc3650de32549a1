//! The search that learns: a model of what an analytical prediction is wrong by, trained on what was measured.
//!
//! The cost of a point is the logarithm of the prediction plus what models expect measured cycles to differ from it. One model
//! has learned from other layers, by features that mean the same for all of them; another one learns what that leaves, from the
//! layer itself. Where nothing was learned the prediction stands alone.

use super::features::{Features, features};
use super::model::{Boosted, CostModel};
use super::propose::{anneal, select};
use super::search::{Strategy, unseen};
use super::{Prior, Space, Task, Workload};
use crate::tile::Tile;
use std::collections::HashMap;
use tandem_isa::HwConfig;
use tandem_ops::def::Random;

/// The part of a batch that is drawn at random.
const CURIOSITY: f64 = 0.1;
/// Measured points from which walks begin.
const STARTS: usize = 32;
/// Trees of the model of a layer, and their depth.
const TREES: usize = 50;
const DEPTH: u16 = 4;

/// Predicts the cycles of a schedule.
pub type Analytic<'a> = &'a dyn Fn(&Tile) -> f64;

pub(super) struct Learned<'a> {
    workload: Workload,
    config: HwConfig,
    analytic: Analytic<'a>,
    prior: Option<&'a Prior>,
    points: HashMap<usize, Point>,
    /// Measured cycles by point, the best first.
    measured: Vec<(u64, usize)>,
    model: Boosted,
}

/// What is known of a point before it is measured.
struct Point {
    /// The logarithm of what is expected without the layer's own model.
    expected: f32,
    own: Vec<f32>,
}

impl<'a> Learned<'a> {
    pub fn new(task: &Task, analytic: Analytic<'a>, prior: Option<&'a Prior>) -> Learned<'a> {
        Learned {
            workload: *task.workload(),
            config: task.config().clone(),
            analytic,
            prior,
            points: HashMap::new(),
            measured: Vec::new(),
            model: Boosted::new(TREES, DEPTH),
        }
    }

    /// Learns what is needed of points before a model is asked for them.
    fn look(&mut self, space: &Space, points: &[usize]) {
        let new: Vec<usize> = points.iter().copied().filter(|point| !self.points.contains_key(point)).collect();
        let mut found: Vec<(f32, Features)> = Vec::with_capacity(new.len());
        for &point in &new {
            let tile = &space.tiles()[point];
            let predicted = sound((self.analytic)(tile));
            found.push((predicted.ln() as f32, features(&self.workload, &self.config, tile, predicted)));
        }
        let curves: Vec<&[f32]> = found.iter().map(|(_, features)| features.curve.as_slice()).collect();
        let prior = self.prior.map_or_else(|| vec![0.0; new.len()], |prior| prior.predict(&curves));
        for ((point, (log, features)), prior) in new.into_iter().zip(found).zip(prior) {
            self.points.insert(point, Point { expected: log + prior, own: features.own });
        }
    }

    /// The logarithms of the cycles that points are expected to take.
    fn costs(&mut self, space: &Space, points: &[usize]) -> Vec<f32> {
        self.look(space, points);
        let known: Vec<&Point> = points.iter().filter_map(|point| self.points.get(point)).collect();
        let rows: Vec<&[f32]> = known.iter().map(|point| point.own.as_slice()).collect();
        let differ = self.model.predict(&rows);
        known.iter().zip(differ).map(|(point, differ)| point.expected + differ).collect()
    }
}

impl Strategy for Learned<'_> {
    fn propose(&mut self, space: &Space, seen: &[bool], count: usize, random: &mut Random) -> Vec<usize> {
        let starts: Vec<usize> = self.measured.iter().take(STARTS).map(|&(_, point)| point).collect();
        let mut ranked = anneal(space, &starts, random, |points| self.costs(space, points));
        ranked.retain(|&(_, point)| !seen[point]);
        let drawn = (0..count).filter(|_| random.unit() < CURIOSITY).count();
        let mut batch = select(space, &ranked, count - drawn);
        for _ in batch.len()..count {
            batch.extend(unseen(space, seen, &batch, random));
        }
        batch
    }

    fn learn(&mut self, space: &Space, results: &[(usize, Option<u64>)]) {
        self.measured.extend(results.iter().filter_map(|&(point, cycles)| Some((cycles?, point))));
        self.measured.sort_unstable();
        let points: Vec<usize> = self.measured.iter().map(|&(_, point)| point).collect();
        self.look(space, &points);
        let known = self.measured.iter().filter_map(|&(cycles, point)| Some((cycles, self.points.get(&point)?)));
        let (rows, differ): (Vec<&[f32]>, Vec<f32>) = known
            .map(|(cycles, point)| (point.own.as_slice(), sound(cycles as f64).ln() as f32 - point.expected))
            .unzip();
        self.model.fit(&rows, &differ);
    }
}

/// A number of cycles that has a logarithm.
pub(super) fn sound(cycles: f64) -> f64 {
    if cycles.is_finite() { cycles.max(1.0) } else { 1.0 }
}
