//! What is measured: layers of the literature, or the nodes of a model.

use crate::model;
use crate::options::ModelOptions;
use anyhow::{Result, anyhow, bail};
use std::collections::HashMap;
use std::path::Path;
use tandem_graph::workload::RESNET18;
use tandem_graph::{Graph, Node, NodeId};
use tandem_isa::HwConfig;
use tandem_ops::Op;
use tandem_plan::{Device, alone, extract, kind, partition};

/// The accelerator of a plan.
const VTA: Device = Device::Vta(0);

/// Layers with what is known of them.
#[derive(Default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// What the accelerator runs, each alone.
    pub layers: Vec<Layer>,
    /// What it does not run, and why.
    pub refused: Vec<(String, String)>,
    /// What it runs in one go where the whole network runs.
    pub segments: Vec<Layer>,
}

/// A layer, or a segment of several.
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its number among the layers, from 1 on.
    pub number: usize,
    /// Its operator.
    pub op: &'static str,
    /// How often the network has it.
    pub count: u64,
    /// It alone.
    pub graph: Graph,
    /// The numbers of the layers that a segment has.
    pub parts: Vec<usize>,
}

impl Network {
    /// The convolutions of ResNet-18.
    ///
    /// # Errors
    /// One sentence, where the machine runs none of them.
    pub fn of_literature(seed: u64, config: &HwConfig) -> Result<Network> {
        let mut network = Network { name: "resnet18".to_owned(), ..Network::default() };
        for layer in &RESNET18 {
            let graph = layer.graph(seed);
            for node in &graph.nodes {
                match tandem_jit::supports(&graph, node, config) {
                    Err(reason) => network.refused.push((layer.name.to_owned(), reason)),
                    Ok(()) => network.layers.push(Layer {
                        name: layer.name.to_owned(),
                        number: network.layers.len() + 1,
                        op: operator(&graph, node),
                        count: layer.count,
                        graph: graph.clone(),
                        parts: Vec::new(),
                    }),
                }
            }
        }
        network.checked()
    }

    /// The nodes of a model that a machine runs.
    ///
    /// # Errors
    /// One sentence naming the file, also where it runs none of them.
    pub fn of_model(path: &Path, config: &HwConfig) -> Result<Network> {
        let options = ModelOptions { model: path.to_owned(), arith: None, cut_at: None, dim: Vec::new(), pass: None };
        let graph = model::ready(&options)?;
        let plan = partition(&graph, VTA, |node| tandem_jit::supports(&graph, node, config));
        let (mut layers, mut refused, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        for (n, (node, assigned)) in graph.nodes.iter().zip(&plan.assignments).enumerate() {
            if assigned.device != VTA {
                refused.push((node.name.clone(), assigned.reason.clone()));
                continue;
            }
            let (op, number) = (operator(&graph, node), layers.len() + 1);
            let graph = extract(&graph, &alone(&graph, NodeId(n)));
            layers.push(Layer { name: node.name.clone(), number, op, count: 1, graph, parts: Vec::new() });
            numbers.insert(NodeId(n), number);
        }
        let own = plan.segments.iter().filter(|segment| segment.device == VTA).enumerate();
        let segments = own.map(|(at, segment)| Layer {
            name: format!("segment {} ({})", at + 1, nodes(segment.nodes.len())),
            number: at + 1,
            op: "segment",
            count: 1,
            graph: extract(&graph, segment),
            parts: segment.nodes.iter().filter_map(|id| numbers.get(id).copied()).collect(),
        });
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Network { name, layers, refused, segments: segments.collect() }.checked()
    }

    /// Refuses a network of which the accelerator runs nothing.
    fn checked(self) -> Result<Network> {
        if !self.layers.is_empty() {
            return Ok(self);
        }
        let why = self.refused.first().map_or_else(String::new, |(name, reason)| format!(" ({name}: {reason})"));
        bail!("{}: the accelerator runs no node of it{why}; use another --hw", self.name)
    }

    /// Keeps the layers of these names or numbers and of these operators, each where any are given; then nothing is run in one go.
    ///
    /// # Errors
    /// One sentence naming what is not there, and what is.
    pub fn choose(&mut self, names: &[String], ops: &[String]) -> Result<()> {
        if names.is_empty() && ops.is_empty() {
            return Ok(());
        }
        let is = |layer: &Layer, word: &String| &layer.name == word || layer.number.to_string() == *word;
        let unknown = names.iter().find(|word| !self.layers.iter().any(|layer| is(layer, word)));
        if let Some(word) = unknown {
            let there: Vec<&str> = self.layers.iter().map(|layer| layer.name.as_str()).collect();
            return Err(anyhow!("--layers {word}: there is no such layer; there are {}", there.join(", ")));
        }
        let mut there: Vec<&str> = self.layers.iter().map(|layer| layer.op).collect();
        there.sort_unstable();
        there.dedup();
        if let Some(word) = ops.iter().find(|word| !there.contains(&word.as_str())) {
            bail!("--ops {word}: no layer has this operator; there are {}", there.join(", "));
        }
        self.layers.retain(|layer| {
            let named = names.is_empty() || names.iter().any(|word| is(layer, word));
            named && (ops.is_empty() || ops.iter().any(|op| op == layer.op))
        });
        if self.layers.is_empty() {
            bail!("--layers {}: none of them is of --ops {}", names.join(","), ops.join(","));
        }
        self.refused.clear();
        self.segments.clear();
        Ok(())
    }
}

fn nodes(count: usize) -> String {
    format!("{count} node{}", if count == 1 { "" } else { "s" })
}

/// The operator of a node; a convolution of one tap is pointwise.
fn operator(graph: &Graph, node: &Node) -> &'static str {
    match (&node.op, node.inputs.get(1)) {
        (Op::Conv(conv), Some(&weights)) if conv.groups == 1 => {
            // Output channels, the axes of the kernel, input channels.
            let shape = &graph.ty(weights).shape;
            let taps: usize = (1..shape.rank().saturating_sub(1)).map(|axis| shape[axis]).product();
            if taps == 1 { "pointwise" } else { kind(graph, node) }
        }
        _ => kind(graph, node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(layers: &[&str], ops: &[&str]) -> Result<Vec<String>> {
        let mut network = Network::of_literature(1, &HwConfig::preset("vta").unwrap())?;
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        network.choose(&owned(layers), &owned(ops))?;
        Ok(network.layers.into_iter().map(|layer| layer.name).collect())
    }

    #[test]
    fn a_machine_that_runs_nothing_is_refused_with_the_reason() {
        let upstream = crate::hardware::resolve("vta-0.0.2").unwrap();
        let error = Network::of_literature(1, &upstream).err().unwrap().to_string();
        assert!(error.contains("resnet18") && error.contains("C2: profile") && error.contains("--hw"), "{error}");
    }

    #[test]
    fn layers_are_chosen_by_name_by_number_and_by_operator() {
        assert_eq!(names(&[], &[]).unwrap().len(), 10);
        assert_eq!(names(&["C4", "1"], &[]).unwrap(), ["C2", "C4"]);
        assert_eq!(names(&[], &["pointwise"]).unwrap(), ["C4", "C7", "C10"]);
        assert_eq!(names(&["C2", "C4"], &["pointwise"]).unwrap(), ["C4"]);
        let error = |layers: &[&str], ops: &[&str]| names(layers, ops).unwrap_err().to_string();
        assert!(error(&["C1"], &[]).contains("--layers C1: there is no such layer; there are C2, C3"));
        assert!(error(&[], &["dense"]).contains("--ops dense: no layer has this operator; there are conv, pointwise"));
        assert!(error(&["C2"], &["pointwise"]).contains("none of them"));
    }
}
