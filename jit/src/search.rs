//! Schedules of a whole segment by predicted cycles.
//!
//! The formula of `tile.rs` compares tiles of a layer alone and knows the memory by the width of its bus. Here tiles become programs,
//! whose cycles are predicted event by event with the memory that is told ([`tandem_isa::timing`]), in two phases:
//!
//! 1. *Layers.* Each geometry once, as a program of its own: the formula's best of each kind of tile, so that they differ, and from the
//!    fastest of these on what differs from it in one knob. The fastest make a short list.
//! 2. *Neighbours.* What a layer hides of the one before it and behind it depends on their tiles too. So each layer in turn tries its
//!    short list between its neighbours, and keeps what is predicted to make the whole segment faster, round after round.
//!
//! Nothing is random and no clock is read: equal arguments have equal results.

use crate::layout::Geometry;
use crate::tile::{self, Demand, Tile};
use crate::tune::Space;
use crate::{JitError, Lowered, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_isa::timing::{Setup, predict_within};

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Tiles of a geometry that are predicted as programs of their own.
    pub tiles: usize,
    /// Tiles of a layer that are tried between its neighbours.
    pub list: usize,
    /// Most rounds over all layers.
    pub rounds: usize,
}

impl Default for Effort {
    /// Two to three seconds for a network of thirty layers on one core.
    fn default() -> Effort {
        Effort { tiles: 64, list: 8, rounds: 3 }
    }
}

/// The options by which a segment is predicted to be the fastest that was found, and never slower than by `from`, whose tiles stay as
/// they are. What the compiler chooses itself is not named in the result.
///
/// # Errors
/// As [`compile_with`](crate::compile_with).
pub fn search(
    graph: &Graph,
    config: &HwConfig,
    setup: impl Into<Setup>,
    from: &Options,
    effort: &Effort,
) -> Result<Options, JitError> {
    let lowered = Lowered::new(graph, config)?;
    let geometry = Geometry::new(config);
    let contexts = if from.serial { 1 } else { tile::contexts(config) };
    let mut options = from.clone();
    let mut free = Vec::new();
    for (index, demand) in lowered.demands().into_iter().enumerate() {
        let name = &graph.nodes[index].name;
        if let Some(demand) = demand.filter(|_| !from.tiles.contains_key(name)) {
            let tile = tile::choose(config, &demand, contexts);
            options.tiles.insert(name.clone(), tile);
            free.push(Free { index, demand, default: tile });
        }
    }
    let mut search = Search { graph, lowered, geometry, setup: setup.into(), options, effort: *effort };
    let whole = 0..graph.nodes.len();
    let Some(mut best) = search.cycles(whole.clone(), u64::MAX)? else { return Ok(from.clone()) };
    let mut lists: BTreeMap<Demand, Vec<Tile>> = BTreeMap::new();
    for layer in &free {
        if !lists.contains_key(&layer.demand) {
            let list = search.short_list(layer)?;
            lists.insert(layer.demand, list);
        }
    }
    for _ in 0..effort.rounds {
        let before = best;
        for layer in &free {
            let own = search.tile(layer.index);
            let Some(tile) = search.between_neighbours(layer, &lists[&layer.demand])? else { continue };
            search.set(layer.index, tile);
            match search.cycles(whole.clone(), best)? {
                Some(cycles) if cycles < best => best = cycles,
                _ => search.set(layer.index, own),
            }
        }
        if best == before {
            break;
        }
    }
    let Search { mut options, .. } = search;
    for layer in &free {
        let name = &graph.nodes[layer.index].name;
        if options.tiles.get(name) == Some(&layer.default) {
            options.tiles.remove(name);
        }
    }
    Ok(options)
}

/// A window layer whose tile is looked for.
struct Free {
    /// Of its node.
    index: usize,
    demand: Demand,
    /// What the compiler chooses itself.
    default: Tile,
}

/// A segment with the tiles that it has so far.
struct Search<'a> {
    graph: &'a Graph,
    lowered: Lowered<'a>,
    geometry: Geometry,
    setup: Setup,
    options: Options,
    effort: Effort,
}

impl Search<'_> {
    /// Predicted cycles of some neighbouring nodes; `None` where they are more than `limit`.
    fn cycles(&self, nodes: Range<usize>, limit: u64) -> Result<Option<u64>, JitError> {
        let program = self.lowered.program(nodes, &self.options)?;
        let predicted = predict_within(&program, self.setup, limit);
        Ok(predicted.filter(|predicted| predicted.complete).map(|predicted| predicted.cycles))
    }

    fn tile(&self, index: usize) -> Tile {
        self.options.tiles[&self.graph.nodes[index].name]
    }

    fn set(&mut self, index: usize, tile: Tile) {
        self.options.tiles.insert(self.graph.nodes[index].name.clone(), tile);
    }

    /// The fastest tiles of a layer that is alone, the fastest first.
    fn short_list(&mut self, layer: &Free) -> Result<Vec<Tile>, JitError> {
        let config = self.lowered.config;
        let estimate = |tile: &Tile| tile::estimate(config, &self.geometry, &layer.demand, tile);
        let mut tiles: Vec<(u64, Tile)> =
            tile::space(config, &layer.demand).iter().map(|tile| (estimate(tile), *tile)).collect();
        tiles.sort_unstable();
        let estimates: BTreeMap<Tile, u64> = tiles.iter().map(|&(estimate, tile)| (tile, estimate)).collect();
        let space = Space::new(tiles.iter().map(|&(_, tile)| tile).collect());
        // The best by the formula of each kind.
        let mut kinds = BTreeSet::new();
        let mut seeds = vec![layer.default];
        let differs = |tile: &Tile| kinds.insert((tile.cells, tile.height, tile.order));
        seeds.extend(tiles.iter().map(|&(_, tile)| tile).filter(differs).take(self.effort.tiles / 2));
        let mut found = Alone { layer, cycles: BTreeMap::new(), best: u64::MAX, left: self.effort.tiles };
        for tile in seeds {
            found.look(self, tile)?;
        }
        // From the fastest on, what differs from it in one knob.
        let mut expanded = BTreeSet::new();
        while found.left > 0 {
            let unexpanded = found.cycles.iter().filter(|(tile, _)| !expanded.contains(*tile));
            let Some((_, tile)) = unexpanded.map(|(&tile, &cycles)| (cycles, tile)).min() else { break };
            expanded.insert(tile);
            let Some(point) = space.find(&tile) else { continue };
            let mut near: Vec<Tile> = space.neighbours(point).iter().map(|&point| space.tiles()[point]).collect();
            near.sort_unstable_by_key(|tile| (estimates.get(tile).copied(), *tile));
            for tile in near.into_iter().take(16) {
                found.look(self, tile)?;
            }
        }
        self.set(layer.index, layer.default);
        let mut list: Vec<(u64, Tile)> = found.cycles.into_iter().map(|(tile, cycles)| (cycles, tile)).collect();
        list.sort_unstable();
        list.truncate(self.effort.list);
        Ok(list.into_iter().map(|(_, tile)| tile).collect())
    }

    /// The tile of a list by which a layer and its neighbours are fastest; `None` where that is the one it has.
    fn between_neighbours(&mut self, layer: &Free, list: &[Tile]) -> Result<Option<Tile>, JitError> {
        let nodes = self.neighbours(layer.index);
        let own = self.tile(layer.index);
        let mut best = (self.cycles(nodes.clone(), u64::MAX)?.unwrap_or(u64::MAX), None);
        for &tile in list.iter().filter(|&&tile| tile != own) {
            self.set(layer.index, tile);
            if let Some(cycles) = self.cycles(nodes.clone(), best.0)?.filter(|&cycles| cycles < best.0) {
                best = (cycles, Some(tile));
            }
        }
        self.set(layer.index, own);
        Ok(best.1)
    }

    /// A node, with one that computes before it and one behind it.
    fn neighbours(&self, index: usize) -> Range<usize> {
        let computes = |&at: &usize| self.lowered.computes(at);
        let begin = (0..index).rev().find(computes).unwrap_or(index);
        let end = (index + 1..self.graph.nodes.len()).find(computes).unwrap_or(index);
        begin..end + 1
    }
}

/// What is known of the tiles of a layer alone.
struct Alone<'a> {
    layer: &'a Free,
    cycles: BTreeMap<Tile, u64>,
    best: u64,
    /// Programs that may still be predicted.
    left: usize,
}

impl Alone<'_> {
    /// Predicts the layer with a tile, where it is not known.
    fn look(&mut self, search: &mut Search<'_>, tile: Tile) -> Result<(), JitError> {
        if self.left == 0 || self.cycles.contains_key(&tile) {
            return Ok(());
        }
        self.left -= 1;
        let index = self.layer.index;
        search.set(index, tile);
        // What is far behind the best is not of interest, and how far does not matter.
        let limit = self.best.saturating_add(self.best / 8);
        if let Some(cycles) = search.cycles(index..index + 1, limit)? {
            self.cycles.insert(tile, cycles);
            self.best = self.best.min(cycles);
        }
        Ok(())
    }
}
