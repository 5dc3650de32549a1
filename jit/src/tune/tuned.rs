//! The best schedules of logs, for the compiler.

use super::{Oracle, Record, Workload};
use crate::Options;
use crate::tile::Tile;
use std::collections::BTreeMap;
use tandem_graph::{Graph, Node};
use tandem_isa::HwConfig;

/// The best known schedule of each layer on each machine.
///
/// Measurements count before predictions. Of several memories that a layer was measured with, the one of its last record counts:
/// cycles with different memories are not compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuned {
    best: BTreeMap<(Workload, String), Best>,
}

#[derive(Clone, Debug, PartialEq)]
struct Best {
    oracle: Oracle,
    dram: String,
    cycles: u64,
    tile: Tile,
}

impl Tuned {
    /// The best schedules of these records.
    pub fn new(records: &[Record]) -> Tuned {
        let key = |record: &Record| (record.workload, record.hardware.clone());
        let mut groups: BTreeMap<(Workload, String), (Oracle, &str)> = BTreeMap::new();
        for record in records.iter().filter(|record| record.cycles.is_some()) {
            let group = groups.entry(key(record)).or_insert((record.oracle, &record.dram));
            if record.oracle >= group.0 {
                *group = (record.oracle, &record.dram);
            }
        }
        let mut best: BTreeMap<(Workload, String), Best> = BTreeMap::new();
        for record in records {
            let Some(cycles) = record.cycles else { continue };
            let key = key(record);
            if groups.get(&key) != Some(&(record.oracle, record.dram.as_str())) {
                continue;
            }
            if best.get(&key).is_none_or(|best| cycles < best.cycles) {
                let dram = record.dram.clone();
                best.insert(key, Best { oracle: record.oracle, dram, cycles, tile: record.tile });
            }
        }
        Tuned { best }
    }

    /// The best schedule of a layer on a machine, and its cycles.
    pub fn best(&self, workload: &Workload, config: &HwConfig) -> Option<(Tile, u64)> {
        let best = self.best.get(&(*workload, Record::hardware(config.digest())))?;
        Some((best.tile, best.cycles))
    }

    /// How many layers there are for a machine.
    pub fn count(&self, config: &HwConfig) -> usize {
        let hardware = Record::hardware(config.digest());
        self.best.keys().filter(|(_, other)| *other == hardware).count()
    }

    /// The schedules of those layers of a segment that are known.
    pub fn options(&self, graph: &Graph, config: &HwConfig) -> Options {
        let known = |(node, workload): (&Node, Result<Option<Workload>, String>)| {
            Some((node.name.clone(), self.best(&workload.ok()??, config)?.0))
        };
        let tiles = graph.nodes.iter().zip(Workload::of(graph, config)).filter_map(known).collect();
        Options { tiles, ..Options::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::sample;

    #[test]
    fn the_best_of_each_layer_and_machine_is_found() {
        let task = sample::task();
        let config = task.config();
        let tiles = task.space().tiles();
        let record = |point: usize, cycles: Option<u64>, oracle, dram: &str| Record {
            hardware: Record::hardware(config.digest()),
            tile: tiles[point],
            cycles,
            oracle,
            dram: dram.into(),
            ..sample::records(1).remove(0)
        };
        let best = |records: &[Record]| Tuned::new(records).best(task.workload(), config);
        let predicted = record(4, Some(1), Oracle::Analytic, "zynq");
        assert_eq!(best(std::slice::from_ref(&predicted)), Some((tiles[4], 1)));
        let mut records = vec![
            record(1, Some(500), Oracle::Tsim, "zynq"),
            predicted,
            record(2, Some(400), Oracle::Tsim, "zynq"),
            record(3, None, Oracle::Tsim, "ideal"),
            record(5, Some(400), Oracle::Tsim, "zynq"),
        ];
        assert_eq!(best(&records), Some((tiles[2], 400)));
        records.push(record(6, Some(450), Oracle::Tsim, "ideal"));
        assert_eq!(best(&records), Some((tiles[6], 450)));
        let tuned = Tuned::new(&records);
        let other = HwConfig::preset("edge").unwrap();
        assert_eq!((tuned.count(config), tuned.count(&other), tuned.best(task.workload(), &other)), (1, 0, None));
        assert_eq!(tuned.best(sample::other().workload(), config), None);
    }

    #[test]
    fn the_compiler_takes_what_was_tuned() {
        let graph = sample::graph();
        let task = sample::task();
        let config = task.config();
        let tile = task.space().tiles()[123];
        let hardware = Record::hardware(config.digest());
        let record = Record { hardware, tile, ..sample::records(1).remove(0) };
        let options = Tuned::new(&[record]).options(&graph, config);
        assert_eq!(options.tiles.into_iter().collect::<Vec<_>>(), [(graph.nodes[0].name.clone(), tile)]);
        let tuned = crate::compile_with(
            &graph,
            config,
            &Options { tiles: BTreeMap::from([(graph.nodes[0].name.clone(), tile)]), ..Options::default() },
        );
        assert_ne!(tuned.unwrap().program.insns, crate::compile(&graph, config).unwrap().program.insns);
    }
}
