//! The cycles that `tandem_isa::timing` predicts of layers, beside those of the Verilated hardware.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tandem_driver::Device;
use tandem_graph::{Graph, NodeId};
use tandem_isa::HwConfig;
use tandem_isa::timing::{DramModel, predict};
use tandem_plan::{alone, extract};
use tandem_sim::tsim::{Model, TsimBus, TsimOptions};

/// Wall-clock time for one layer; a simulation that hangs is found out by its own watchdog.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A layer on a machine with a memory.
#[derive(Clone, Debug)]
pub struct Row {
    /// The layer's name in its model.
    pub layer: String,
    /// Cycles, predicted.
    pub predicted: u64,
    /// Cycles of the Verilated hardware.
    pub simulated: u64,
}

impl Row {
    /// The prediction less the simulation, over the simulation.
    pub fn error(&self) -> f64 {
        self.predicted as f64 / self.simulated as f64 - 1.0
    }
}

/// The nodes of a model that a machine runs, each as a graph of its own; of those that are alike in all but their weights the
/// first.
pub fn layers(graph: &Graph, config: &HwConfig) -> Vec<(String, Graph)> {
    let mut seen = BTreeSet::new();
    let mut layers = Vec::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let types: Vec<String> = node.inputs.iter().map(|&id| graph.ty(id).to_string()).collect();
        let new = seen.insert(format!("{:?} {types:?}", node.op));
        if new && tandem_jit::supports(graph, node, config).is_ok() {
            layers.push((node.name.clone(), extract(graph, &alone(graph, NodeId(n)))));
        }
    }
    layers
}

/// Compares each layer; the inputs are zeros, as time does not depend on them.
pub fn compare(layers: &[(String, Graph)], config: &HwConfig, model: &Arc<Model>, memory: DramModel) -> Vec<Row> {
    let options = TsimOptions { dram: memory, check: false, dram_limit: 1 << 30, ..TsimOptions::default() };
    let mut device = Device::open(Box::new(TsimBus::new(Arc::clone(model), options).unwrap()), config).unwrap();
    let row = |(name, graph): &(String, Graph)| {
        let program = tandem_jit::compile(graph, config).unwrap_or_else(|e| panic!("{name}: {e}")).program;
        let loaded = device.load(&program).unwrap();
        let simulated = device.run(&loaded, PATIENCE).unwrap().cycles;
        device.unload(loaded).unwrap();
        Row { layer: name.clone(), predicted: predict(&program, memory).cycles, simulated }
    };
    layers.iter().map(row).collect()
}

/// The mean and the greatest of the errors' magnitudes.
pub fn errors(rows: &[Row]) -> (f64, f64) {
    let magnitudes = || rows.iter().map(|row| row.error().abs());
    (magnitudes().sum::<f64>() / rows.len().max(1) as f64, magnitudes().fold(0.0, f64::max))
}
