//! Schedules of a whole segment by predicted cycles.
//!
//! The formula of `tile.rs` compares the tiles of a layer that is alone, and knows a memory by the width of its bus. Here tiles become
//! programs, whose cycles are predicted event by event with the memory that is told ([`tandem_isa::timing`]), in two phases:
//!
//! 1. *Layers alone*, each geometry once: the formula's best of each kind of tile, so that they differ, and then what differs in one
//!    knob from the fastest. The fastest of all make a short list.
//! 2. *Layers between their neighbours*, as what a layer hides of those before it and behind it depends on their tiles too. Each layer
//!    in turn tries its short list and what differs in one knob from the tile it has, among its neighbours alone; what is fastest there
//!    is kept where it makes the whole segment faster. So round after round until nothing changes, once from the compiler's own choice
//!    and once from the fastest tiles of layers that are alone.
//!
//! Nothing is random and no clock is read: equal arguments have equal results.

use crate::layout::Geometry;
use crate::tile::{self, Demand, Tile};
use crate::tune::Space;
use crate::{JitError, Lowered, Options};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_isa::timing::{Setup, predict_within};

/// Nodes that are predicted with a layer: those before it, whose stores its loads wait for, and those behind it.
const BEFORE: usize = 2;
const BEHIND: usize = 1;
/// Tiles that differ in one knob from another one and are looked at, the best by the formula first.
const NEAR: usize = 16;
/// Tiles that are fastest between the neighbours and are tried in the whole segment.
const WHOLE: usize = 3;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Tiles of each geometry that are predicted alone.
    pub tiles: usize,
    /// The fastest of them, which are tried between the neighbours.
    pub list: usize,
    /// Most rounds over all layers, from each start.
    pub rounds: usize,
}

impl Default for Effort {
    /// Some five seconds for a network of thirty layers on a machine of 256 MACs.
    fn default() -> Effort {
        Effort { tiles: 256, list: 24, rounds: 5 }
    }
}

/// The schedule by which a segment is predicted to be fastest, of those that were tried: never slower than by `from`, whose tiles stay.
/// Tiles that are the compiler's own choice are not named in the result.
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
    let contexts = if from.serial { 1 } else { tile::contexts(config) };
    let mut options = from.clone();
    let mut layers = Vec::new();
    for (index, demand) in lowered.demands().into_iter().enumerate() {
        let name = &graph.nodes[index].name;
        if let Some(demand) = demand.filter(|_| !from.tiles.contains_key(name)) {
            let tile = tile::choose(config, &demand, contexts);
            options.tiles.insert(name.clone(), tile);
            layers.push(Free { index, demand, default: tile });
        }
    }
    let known = HashMap::new();
    let mut search = Search { graph, lowered, setup: setup.into(), options, known, effort: *effort };
    let Some(default) = search.cycles(search.whole(), u64::MAX)? else { return Ok(from.clone()) };
    let mut candidates: BTreeMap<Demand, Candidates> = BTreeMap::new();
    for layer in &layers {
        if let Entry::Vacant(vacant) = candidates.entry(layer.demand) {
            vacant.insert(search.candidates(layer)?);
        }
    }
    let mut best = (default, search.options.clone());
    for alone in [false, true] {
        for layer in &layers {
            let fastest = candidates[&layer.demand].list.first().filter(|_| alone);
            search.set(layer.index, fastest.copied().unwrap_or(layer.default));
        }
        let cycles = search.descend(&layers, &candidates)?;
        if cycles < best.0 {
            best = (cycles, search.options.clone());
        }
    }
    let mut options = best.1;
    for layer in &layers {
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

/// What is tried for layers of a geometry.
struct Candidates {
    /// The fastest that were found of a layer alone, the fastest first.
    list: Vec<Tile>,
    /// All tiles, in the order of the formula.
    space: Space,
}

impl Candidates {
    /// What differs in one knob from a tile: the best by the formula.
    fn near(&self, tile: &Tile) -> Vec<Tile> {
        let mut points = self.space.find(tile).map_or_else(Vec::new, |point| self.space.neighbours(point));
        points.sort_unstable();
        points.into_iter().take(NEAR).map(|point| self.space.tiles()[point]).collect()
    }
}

/// What is known of a program.
#[derive(Clone, Copy)]
enum Known {
    Cycles(u64),
    MoreThan(u64),
}

/// A segment with the tiles that it has so far.
struct Search<'a> {
    graph: &'a Graph,
    lowered: Lowered<'a>,
    setup: Setup,
    options: Options,
    /// By the first of some neighbouring nodes and the tiles of all of them.
    known: HashMap<(usize, Vec<Option<Tile>>), Known>,
    effort: Effort,
}

impl Search<'_> {
    fn whole(&self) -> Range<usize> {
        0..self.graph.nodes.len()
    }

    fn tile(&self, index: usize) -> Option<Tile> {
        self.options.tiles.get(&self.graph.nodes[index].name).copied()
    }

    fn set(&mut self, index: usize, tile: Tile) {
        self.options.tiles.insert(self.graph.nodes[index].name.clone(), tile);
    }

    /// Predicted cycles of some neighbouring nodes; `None` where they are more than `limit`.
    fn cycles(&mut self, nodes: Range<usize>, limit: u64) -> Result<Option<u64>, JitError> {
        let key = (nodes.start, nodes.clone().map(|index| self.tile(index)).collect());
        match self.known.get(&key) {
            Some(&Known::Cycles(cycles)) => return Ok(Some(cycles).filter(|&cycles| cycles <= limit)),
            Some(&Known::MoreThan(least)) if least >= limit => return Ok(None),
            _ => {}
        }
        let program = self.lowered.program(nodes, &self.options)?;
        let predicted = predict_within(&program, self.setup, limit).filter(|predicted| predicted.complete);
        let cycles = predicted.map(|predicted| predicted.cycles);
        self.known.insert(key, cycles.map_or(Known::MoreThan(limit), Known::Cycles));
        Ok(cycles)
    }

    /// Looks at tiles of a layer that is alone.
    fn candidates(&mut self, layer: &Free) -> Result<Candidates, JitError> {
        let (config, geometry) = (self.lowered.config, Geometry::new(self.lowered.config));
        let estimate = |tile: &Tile| tile::estimate(config, &geometry, &layer.demand, tile);
        let mut tiles = tile::space(config, &layer.demand);
        tiles.sort_by_cached_key(|tile| (estimate(tile), *tile));
        // The best by the formula of each kind, and first of fewer kinds: what it gets wrong of one tile it gets wrong of all like it.
        let (mut few, mut many) = (BTreeSet::new(), BTreeSet::new());
        let of_few = tiles.iter().filter(|tile| few.insert((tile.cells, tile.order)));
        let of_many = tiles.iter().filter(|tile| many.insert((tile.cells, tile.height, tile.order)));
        let mut look: Vec<Tile> = vec![layer.default];
        look.extend(of_few.chain(of_many).take(self.effort.tiles / 2));
        let mut candidates = Candidates { list: Vec::new(), space: Space::new(tiles) };
        let (mut seen, mut found) = (BTreeSet::new(), BTreeMap::new());
        let mut best = u64::MAX;
        let mut expanded = BTreeSet::new();
        loop {
            for tile in look {
                if seen.len() < self.effort.tiles && seen.insert(tile) {
                    self.set(layer.index, tile);
                    // How far something is behind the best does not matter.
                    let limit = best.saturating_add(best / 8);
                    if let Some(cycles) = self.cycles(layer.index..layer.index + 1, limit)? {
                        found.insert(tile, cycles);
                        best = best.min(cycles);
                    }
                }
            }
            let fastest = found.iter().filter(|(tile, _)| !expanded.contains(*tile)).min_by_key(|(_, cycles)| **cycles);
            match fastest {
                Some((tile, _)) if seen.len() < self.effort.tiles => {
                    expanded.insert(*tile);
                    look = candidates.near(tile);
                }
                _ => break,
            }
        }
        self.set(layer.index, layer.default);
        let mut list: Vec<(u64, Tile)> = found.into_iter().map(|(tile, cycles)| (cycles, tile)).collect();
        list.sort_unstable();
        candidates.list = list.into_iter().take(self.effort.list).map(|(_, tile)| tile).collect();
        Ok(candidates)
    }

    /// Makes the segment faster a layer at a time, and tells its cycles.
    fn descend(&mut self, layers: &[Free], candidates: &BTreeMap<Demand, Candidates>) -> Result<u64, JitError> {
        let mut best = self.cycles(self.whole(), u64::MAX)?.unwrap_or(u64::MAX);
        for _ in 0..self.effort.rounds {
            let before = best;
            for layer in layers {
                let Some(mut taken) = self.tile(layer.index) else { continue };
                for tile in self.between_neighbours(layer.index, taken, &candidates[&layer.demand])? {
                    self.set(layer.index, tile);
                    if let Some(cycles) = self.cycles(self.whole(), best)?.filter(|&cycles| cycles < best) {
                        (best, taken) = (cycles, tile);
                        break;
                    }
                }
                self.set(layer.index, taken);
            }
            if best == before {
                break;
            }
        }
        Ok(best)
    }

    /// Tiles by which a layer and its neighbours are faster than by its own one, the fastest first.
    fn between_neighbours(&mut self, index: usize, own: Tile, candidates: &Candidates) -> Result<Vec<Tile>, JitError> {
        let nodes = self.neighbours(index);
        let limit = self.cycles(nodes.clone(), u64::MAX)?.unwrap_or(u64::MAX);
        let mut faster = BTreeSet::new();
        for tile in candidates.list.iter().copied().chain(candidates.near(&own)) {
            self.set(index, tile);
            if let Some(cycles) = self.cycles(nodes.clone(), limit)?.filter(|&cycles| cycles < limit) {
                faster.insert((cycles, tile));
            }
        }
        self.set(index, own);
        Ok(faster.into_iter().take(WHOLE).map(|(_, tile)| tile).collect())
    }

    /// A node with its neighbours, of those that compute something.
    fn neighbours(&self, index: usize) -> Range<usize> {
        let computes = |&at: &usize| self.lowered.computes(at);
        let begin = (0..index).rev().filter(computes).take(BEFORE).last().unwrap_or(index);
        let end = (index + 1..self.graph.nodes.len()).filter(computes).take(BEHIND).last().unwrap_or(index);
        begin..end + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile_with;
    use tandem_graph::workload::{Layer, RESNET18};
    use tandem_isa::timing::{DramModel, predict};

    const SMALL: Effort = Effort { tiles: 12, list: 4, rounds: 2 };

    fn layer(kernel: usize, stride: usize) -> Graph {
        Layer { name: "layer", count: 1, extent: 14, inputs: 32, outputs: 48, kernel, stride }.graph(1)
    }

    fn cycles(graph: &Graph, config: &HwConfig, memory: DramModel, options: &Options) -> u64 {
        predict(&compile_with(graph, config, options).unwrap().program, memory).cycles
    }

    #[test]
    fn what_is_found_is_never_slower_than_what_was_there_before() {
        for preset in ["tiny", "edge", "vta", "batch"] {
            let config = HwConfig::preset(preset).unwrap();
            for (graph, memory) in [(layer(3, 1), DramModel::ideal()), (layer(1, 2), DramModel::zynq())] {
                for from in [Options::default(), Options { serial: true, ..Options::default() }] {
                    let found = search(&graph, &config, memory, &from, &SMALL).unwrap();
                    let of = |options: &Options| cycles(&graph, &config, memory, options);
                    assert!(of(&found) <= of(&from), "{preset}");
                    assert_eq!(found.serial, from.serial);
                }
            }
        }
    }

    #[test]
    fn a_layer_that_the_formula_cuts_badly_becomes_faster_and_the_same_every_time() {
        let (config, memory) = (HwConfig::preset("vta").unwrap(), DramModel::zynq());
        let graph = RESNET18.iter().find(|layer| layer.name == "C4").unwrap().graph(1);
        let effort = Effort { tiles: 32, list: 4, rounds: 2 };
        let found = || search(&graph, &config, memory, &Options::default(), &effort).unwrap();
        let first = found();
        let of = |options: &Options| cycles(&graph, &config, memory, options);
        assert!(of(&first) < of(&Options::default()));
        assert_eq!(found(), first);
    }

    #[test]
    fn tiles_that_are_given_stay_and_the_compilers_own_are_not_named() {
        let (graph, config, memory) = (layer(3, 1), HwConfig::preset("vta").unwrap(), DramModel::zynq());
        let demand = Lowered::new(&graph, &config).unwrap().demands()[0].unwrap();
        let tile = tile::space(&config, &demand)[7];
        let given = Options { tiles: BTreeMap::from([(graph.nodes[0].name.clone(), tile)]), ..Options::default() };
        assert_eq!(search(&graph, &config, memory, &given, &SMALL).unwrap(), given);
        let none = Effort { tiles: 0, list: 0, rounds: 0 };
        assert_eq!(search(&graph, &config, memory, &Options::default(), &none).unwrap(), Options::default());
    }

    #[test]
    fn a_segment_that_the_accelerator_does_not_run_is_refused_as_by_the_compiler() {
        let config = HwConfig::preset("vta").unwrap();
        let mut graph = layer(3, 1);
        graph.nodes[0].op = tandem_ops::Op::Softmax { axis: 3, beta: 1.0, log: false };
        let error = search(&graph, &config, DramModel::ideal(), &Options::default(), &SMALL).unwrap_err();
        assert!(error.to_string().contains("cannot run on the VTA"), "{error}");
    }
}
