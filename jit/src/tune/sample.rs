//! Layers and records for the tests of this folder.

use super::{Oracle, Record, Task, VERSION};
use tandem_graph::Graph;
use tandem_graph::workload::Layer;
use tandem_isa::HwConfig;

const LAYER: Layer = Layer { name: "layer", count: 1, extent: 14, inputs: 32, outputs: 64, kernel: 3, stride: 1 };
const OTHER: Layer = Layer { name: "other", count: 1, extent: 28, inputs: 32, outputs: 64, kernel: 3, stride: 2 };

fn task_of(layer: Layer) -> Task {
    let (graph, config) = (layer.graph(1), HwConfig::preset("vta").unwrap());
    Task::new(&graph, &config).unwrap().unwrap()
}

/// A layer of more than 5,000 schedules.
pub fn task() -> Task {
    task_of(LAYER)
}

/// Another layer of the same machine.
pub fn other() -> Task {
    task_of(OTHER)
}

/// The graph of [`task`].
pub fn graph() -> Graph {
    LAYER.graph(1)
}

/// Records of the first schedules of [`task`].
pub fn records(count: usize) -> Vec<Record> {
    let task = task();
    let record = |(i, tile): (usize, &crate::Tile)| Record {
        version: VERSION,
        workload: *task.workload(),
        hardware: "0x12345678".into(),
        dram: "zynq".into(),
        oracle: Oracle::Tsim,
        seed: 1,
        tile: *tile,
        predicted: 1000.0,
        cycles: Some(1001 + i as u64),
        error: None,
    };
    task.space().tiles().iter().take(count).enumerate().map(record).collect()
}
