//! The schedules of a design: for each layer of the models the tile that is predicted to take the fewest cycles.
//!
//! The compiler's own choice knows the width of the bus and not the board's memory, and compares tiles by a formula. Here some of
//! the best by that formula become programs, whose cycles are predicted event by event with that memory.

use super::subject::{Piece, Subject};
use crate::simulation::memory_name;
use rayon::prelude::*;
use std::collections::BTreeMap;
use tandem_graph::{Graph, NodeId};
use tandem_isa::timing::predict;
use tandem_isa::{HwConfig, Program};
use tandem_jit::tune::{Oracle, Record, Task, VERSION, Workload};
use tandem_jit::{Options, Tile, compile_with};
use tandem_plan::{alone, extract};
use tandem_sim::tsim::DramModel;

/// Cycles of a launch of a program, predicted.
pub fn cycles(program: &Program, dram: &DramModel) -> u64 {
    predict(program, *dram).cycles
}

/// The best of so many schedules of every layer on a machine, the compiler's own among them; a layer of equal geometry comes once.
pub fn schedules(subjects: &[Subject], config: &HwConfig, dram: &DramModel, tries: usize) -> Vec<Record> {
    if tries < 2 {
        return Vec::new();
    }
    let mut layers: BTreeMap<Workload, (&Piece, usize)> = BTreeMap::new();
    for piece in subjects.iter().flat_map(|subject| &subject.pieces) {
        for (n, workload) in Workload::of(&piece.graph, config).into_iter().enumerate() {
            if let Ok(Some(workload)) = workload {
                layers.entry(workload).or_insert((piece, n));
            }
        }
    }
    let layers: Vec<(&Piece, usize)> = layers.into_values().collect();
    layers.par_iter().filter_map(|&(piece, n)| best(&piece.graph, n, config, dram, tries)).collect()
}

/// The best schedule of a layer; `None` where the machine does not take it.
fn best(graph: &Graph, n: usize, config: &HwConfig, dram: &DramModel, tries: usize) -> Option<Record> {
    let solo = extract(graph, &alone(graph, NodeId(n)));
    let task = Task::new(&solo, config).ok()??;
    let mut tiles: Vec<(u64, Tile)> = task.space().tiles().iter().map(|&tile| (task.estimate(&tile), tile)).collect();
    tiles.sort_unstable();
    tiles.truncate(tries - 1);
    tiles.insert(0, (0, task.workload().default_tile(config)));
    let taken = |&(_, tile): &(u64, Tile)| -> Option<(u64, Tile)> {
        let named = solo.nodes.iter().map(|node| (node.name.clone(), tile));
        let compiled = compile_with(&solo, config, &Options { tiles: named.collect(), ..Options::default() }).ok()?;
        Some((cycles(&compiled.program, dram), tile))
    };
    // Of equal ones the first: the compiler's own choice where it is among the best.
    let (cycles, tile) =
        tiles.iter().filter_map(taken).reduce(|best, next| if next.0 < best.0 { next } else { best })?;
    Some(Record {
        version: VERSION,
        workload: *task.workload(),
        hardware: Record::hardware(config.digest()),
        dram: memory_name(dram),
        oracle: Oracle::Analytic,
        seed: 0,
        tile,
        predicted: cycles as f64,
        cycles: Some(cycles),
        error: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::subject;
    use super::*;
    use tandem_jit::tune::Tuned;

    #[test]
    fn schedules_are_never_predicted_to_be_slower_than_the_compilers_own() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite").to_owned();
        let (config, dram) = (HwConfig::preset("tiny").unwrap(), DramModel::zynq());
        let subjects = subject::load(&[path], &config, 1, 1).unwrap();
        let records = schedules(&subjects, &config, &dram, 8);
        assert!(!records.is_empty() && schedules(&subjects, &config, &dram, 1).is_empty());
        let tuned = Tuned::new(&records);
        for piece in subjects.iter().flat_map(|subject| &subject.pieces) {
            for n in 0..piece.graph.nodes.len() {
                let solo = extract(&piece.graph, &alone(&piece.graph, NodeId(n)));
                let of = |options: &Options| cycles(&compile_with(&solo, &config, options).unwrap().program, &dram);
                assert!(of(&tuned.options(&solo, &config)) <= of(&Options::default()));
            }
        }
    }
}
