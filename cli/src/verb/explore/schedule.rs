//! The schedules of a design: for every piece of the models the one that is predicted to take the fewest cycles.
//!
//! The compiler's own choice knows the width of the bus and not the board's memory, and compares tiles by a formula.

use super::subject::{Piece, Subject};
use crate::simulation::memory_name;
use crate::tuning::meter;
use rayon::prelude::*;
use std::collections::BTreeMap;
use tandem_graph::{Graph, NodeId};
use tandem_isa::timing::predict;
use tandem_isa::{HwConfig, Program};
use tandem_jit::tune::{Oracle, Record, VERSION, Workload};
use tandem_jit::{Effort, JitError, Options, Tile, search};
use tandem_plan::{alone, extract};
use tandem_sim::tsim::DramModel;

/// Cycles of a launch of a program, predicted.
pub fn cycles(program: &Program, dram: &DramModel) -> u64 {
    predict(program, *dram).cycles
}

/// A schedule for each piece of each model on a machine, the best of so many tiles of every layer; by one tile, the compiler's own
/// choice.
///
/// # Errors
/// What the compiler refuses.
pub fn schedules(
    subjects: &[Subject],
    config: &HwConfig,
    dram: &DramModel,
    tries: usize,
) -> Result<Vec<Vec<Options>>, JitError> {
    let effort = Effort { tiles: tries, list: tries.div_ceil(4), ..Effort::default() };
    let best = |piece: &Piece| match tries {
        0 | 1 => Ok(Options::default()),
        _ => search(&piece.graph, config, *dram, &Options::default(), &effort),
    };
    subjects.iter().map(|subject| subject.pieces.par_iter().map(best).collect()).collect()
}

/// The tiles of schedules that are not the compiler's own choice, as records with the cycles of their layer alone: other verbs look a
/// layer up by its geometry.
pub fn records(subjects: &[Subject], schedules: &[Vec<Options>], config: &HwConfig, dram: &DramModel) -> Vec<Record> {
    let mut tiles: BTreeMap<(Workload, Tile), (&Graph, usize)> = BTreeMap::new();
    let pieces = subjects.iter().flat_map(|subject| &subject.pieces).zip(schedules.iter().flatten());
    for (piece, options) in pieces {
        for (n, workload) in Workload::of(&piece.graph, config).into_iter().enumerate() {
            let tile = options.tiles.get(&piece.graph.nodes[n].name);
            if let (Ok(Some(workload)), Some(&tile)) = (workload, tile) {
                tiles.entry((workload, tile)).or_insert((&piece.graph, n));
            }
        }
    }
    let record = |((workload, tile), (graph, n)): ((Workload, Tile), (&Graph, usize))| {
        let solo = extract(graph, &alone(graph, NodeId(n)));
        let cycles = meter::predict(&solo, config, *dram, &tile).ok()?;
        Some(Record {
            version: VERSION,
            workload,
            hardware: Record::hardware(config.digest()),
            dram: memory_name(dram),
            oracle: Oracle::Analytic,
            seed: 0,
            tile,
            predicted: cycles as f64,
            cycles: Some(cycles),
            error: None,
        })
    };
    tiles.into_iter().filter_map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::super::subject;
    use super::*;
    use tandem_jit::compile_with;
    use tandem_jit::tune::Tuned;

    #[test]
    fn schedules_are_never_predicted_to_be_slower_than_the_compilers_own() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite").to_owned();
        let (config, dram) = (HwConfig::preset("tiny").unwrap(), DramModel::zynq());
        let subjects = subject::load(&[path], &config, 1, 1).unwrap();
        let own = schedules(&subjects, &config, &dram, 1).unwrap();
        assert!(own.iter().flatten().all(|options| *options == Options::default()));
        let found = schedules(&subjects, &config, &dram, 8).unwrap();
        let records = records(&subjects, &found, &config, &dram);
        assert!(!records.is_empty());
        assert!(Tuned::new(&records).count(&config) > 0);
        for (piece, options) in subjects.iter().flat_map(|subject| &subject.pieces).zip(found.iter().flatten()) {
            let of = |options: &Options| cycles(&compile_with(&piece.graph, &config, options).unwrap().program, &dram);
            assert!(of(options) <= of(&Options::default()));
        }
    }
}
