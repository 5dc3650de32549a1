//! What measurements of other layers say about a layer that has none.

use super::Workload;
use super::features::features;
use super::learned::sound;
use super::model::{Boosted, CostModel};
use crate::tile::Tile;
use tandem_isa::HwConfig;

/// Trees of the model, and their depth.
const TREES: usize = 80;
const DEPTH: u16 = 5;
/// Measurements that it learns from, at most: the latest ones.
const MOST: usize = 3000;

/// A model of what analytical predictions are wrong by, learned from other layers of the same machine.
pub struct Prior(Boosted);

/// A measured schedule of some layer, with what was predicted of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The layer.
    pub workload: Workload,
    /// The schedule.
    pub tile: Tile,
    /// Cycles that were predicted.
    pub predicted: f64,
    /// Cycles that were measured.
    pub cycles: u64,
}

impl Prior {
    /// Learns from measurements on a machine; those whose tile does not fit it count for nothing. `None` where none is left.
    pub fn learn(config: &HwConfig, known: &[Known]) -> Option<Prior> {
        let fits: Vec<&Known> = known.iter().filter(|known| known.workload.takes(config, &known.tile)).collect();
        let latest = &fits[fits.len().saturating_sub(MOST)..];
        let (rows, differ): (Vec<Vec<f32>>, Vec<f32>) = latest
            .iter()
            .map(|known| {
                let predicted = sound(known.predicted);
                let curve = features(&known.workload, config, &known.tile, predicted).curve;
                (curve, (sound(known.cycles as f64) / predicted).ln() as f32)
            })
            .unzip();
        if rows.is_empty() {
            return None;
        }
        let mut model = Boosted::new(TREES, DEPTH);
        model.fit(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), &differ);
        Some(Prior(model))
    }

    /// What measured cycles are expected to differ from predictions, as logarithms, by curve features.
    pub(super) fn predict(&self, curves: &[&[f32]]) -> Vec<f32> {
        self.0.predict(curves)
    }
}
