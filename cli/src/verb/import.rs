//! `tandem import`: a model file to a graph.

use crate::options::ModelOptions;
use crate::table::{grouped, table};
use crate::{Outcome, file, model, stdout};
use anyhow::Result;
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;
use tandem_graph::{Graph, ValueId};

/// Options of `tandem import`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Write the graph as text; - is standard output.
    #[arg(long, short, value_name = "G.graph")]
    output: Option<PathBuf>,
    /// Show every node; this is the default without -o.
    #[arg(long)]
    summary: bool,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::load(&options.model)?;
    if let Some(path) = &options.output {
        file::write(path, tandem_graph::print(&graph).as_bytes())?;
    }
    if options.summary || options.output.is_none() {
        stdout::emit(&summary(&graph))?;
    }
    Ok(Outcome::Good)
}

/// Inputs, nodes, outputs and sums of a graph.
pub fn summary(graph: &Graph) -> String {
    let describe = |ids: &[ValueId]| {
        let each = ids.iter().map(|&id| {
            let value = graph.value(id);
            let quant = match &value.ty.quant {
                Some(q) if q.is_per_tensor() => format!(" scale {} zero point {}", q.scale(), q.zero_point()),
                _ => String::new(),
            };
            format!("'{}' {}{quant}", value.name, value.ty)
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let rows = graph.nodes.iter().map(|node| {
        let weights: usize = node.inputs.iter().filter_map(|&id| graph.constant(id)).map(|t| t.len()).sum();
        let results: Vec<String> = node.outputs.iter().map(|&id| graph.ty(id).to_string()).collect();
        vec![
            node.name.clone(),
            node.op.name().to_owned(),
            results.join(", "),
            grouped(graph.macs(node)),
            grouped(weights as u64),
        ]
    });
    let mut text = format!("model '{}', arithmetic {}\n", graph.name, graph.arith.name());
    let _ = writeln!(text, "inputs: {}", describe(&graph.inputs));
    text.push_str(&table(&["node", "operator", "result", "MACs", "constants"], &[3, 4], rows));
    let _ = writeln!(text, "outputs: {}", describe(&graph.outputs));
    let macs = graph.nodes.iter().fold(0u64, |sum, n| sum.saturating_add(graph.macs(n)));
    let constants: usize = graph.values.iter().filter_map(|v| v.constant.as_ref()).map(|t| t.len()).sum();
    let _ = writeln!(
        text,
        "{} nodes, {} MACs a sample, {} constants",
        graph.nodes.len(),
        grouped(macs),
        grouped(constants as u64)
    );
    text
}
