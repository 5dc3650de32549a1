//! The layers of a command: those of a model that the accelerator can cut into tiles, or those of the literature.

use crate::model;
use crate::options::ModelOptions;
use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use std::collections::BTreeMap;
use tandem_graph::workload::{RESNET18, SMALL};
use tandem_graph::{Graph, NodeId, workload};
use tandem_isa::HwConfig;
use tandem_jit::tune::{Task, Workload};
use tandem_plan::{alone, extract};

/// The seed of the weights of layers of the literature.
const SEED: u64 = 1;

/// Layers of the literature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkloadKind {
    /// The convolutions of ResNet-18, C2 to C11.
    Resnet18,
    /// Small convolutions, S1 to S4, all of whose schedules can be measured.
    Small,
}

/// A layer with its schedules.
pub struct Layer {
    /// Its name.
    pub name: String,
    /// How often the model has layers of this geometry.
    pub count: u64,
    /// It alone.
    pub graph: Graph,
    /// Its schedules.
    pub task: Task,
}

impl WorkloadKind {
    /// The layers.
    pub fn layers(self) -> &'static [workload::Layer] {
        match self {
            WorkloadKind::Resnet18 => &RESNET18,
            WorkloadKind::Small => &SMALL,
        }
    }
}

/// Layers of the literature, on a machine.
///
/// # Errors
/// One sentence, where the machine does not run one.
pub fn of_workload(kind: WorkloadKind, config: &HwConfig, names: &[String]) -> Result<Vec<Layer>> {
    let layers = kind.layers().iter().map(|layer| {
        let graph = layer.graph(SEED);
        let task = Task::new(&graph, config).map_err(|e| anyhow!("{}: {e}", layer.name))?;
        let task = task.with_context(|| format!("{}: it has no tiles to choose", layer.name))?;
        Ok(Layer { name: layer.name.to_owned(), count: layer.count, graph, task })
    });
    chosen(layers.collect::<Result<Vec<_>>>()?, names)
}

/// The layers of a model that a machine cuts into tiles, one for each geometry.
///
/// # Errors
/// One sentence naming the file, or a name that no layer has.
pub fn of_model(options: &ModelOptions, config: &HwConfig, names: &[String]) -> Result<Vec<Layer>> {
    let graph = model::ready(options)?;
    let mut layers: Vec<Layer> = Vec::new();
    let mut known: BTreeMap<Workload, usize> = BTreeMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        let one = extract(&graph, &alone(&graph, NodeId(n)));
        // What the accelerator does not run has no schedule.
        let Ok(Some(task)) = Task::new(&one, config) else { continue };
        match known.get(task.workload()) {
            Some(&at) => layers[at].count += 1,
            None => {
                known.insert(*task.workload(), layers.len());
                layers.push(Layer { name: node.name.clone(), count: 1, graph: one, task });
            }
        }
    }
    if layers.is_empty() {
        bail!("{}: the accelerator runs no layer of it that could be tuned", options.model.display());
    }
    chosen(layers, names)
}

/// The layers of these names, or all where there are none.
fn chosen(layers: Vec<Layer>, names: &[String]) -> Result<Vec<Layer>> {
    if let Some(wrong) = names.iter().find(|name| !layers.iter().any(|layer| layer.name == **name)) {
        let all: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        bail!("--layers {wrong}: there is no such layer to tune; there are {}", all.join(", "));
    }
    Ok(layers.into_iter().filter(|layer| names.is_empty() || names.contains(&layer.name)).collect())
}
