//! `tandem graph groups`: which nodes may be computed in one loop.

use crate::options::{Format, ModelOptions};
use crate::table::table;
use crate::{Outcome, model, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use tandem_graph::pass::groups::{Group, groups};
use tandem_graph::{Graph, Node};

/// Options of `tandem graph groups`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::load(&options.model)?;
    let found = groups(&graph);
    let text = match options.format {
        Format::Table => {
            let header = ["group", "pattern", "operators", "last node", "result"];
            let rows = found.groups.iter().enumerate().map(|(i, group)| {
                let last = nodes(&graph, group).last();
                let result =
                    last.and_then(|n| n.outputs.first()).map_or_else(String::new, |&id| graph.ty(id).to_string());
                let name = last.map_or_else(String::new, |n| n.name.clone());
                let words: Vec<&str> = nodes(&graph, group).map(|n| n.op.name()).collect();
                vec![i.to_string(), group.pattern.to_string(), words.join(", "), name, result]
            });
            let mut text = table(&header, &[0], rows);
            let _ = writeln!(text, "{} nodes in {} groups", graph.nodes.len(), found.groups.len());
            text
        }
        Format::Json => {
            let entry = |group: &Group| {
                let names: Vec<&str> = nodes(&graph, group).map(|n| n.name.as_str()).collect();
                json!({"pattern": group.pattern.name(), "nodes": names})
            };
            let all: Vec<_> = found.groups.iter().map(entry).collect();
            format!("{}\n", json!({"groups": all, "nodes": graph.nodes.len()}))
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn nodes<'g>(graph: &'g Graph, group: &'g Group) -> impl Iterator<Item = &'g Node> {
    group.nodes.iter().filter_map(|n| graph.nodes.get(n.0))
}
