//! Loading models.

use crate::file;
use crate::options::{ModelOptions, Passes};
use anyhow::{Result, anyhow};
use tandem_graph::Graph;
use tandem_graph::pass::{self, Row};
use tandem_import::ImportOptions;

/// The graph of a model file as it is shown: without dead nodes, and after the passes that were asked for.
///
/// # Errors
/// One sentence naming the file.
pub fn load(options: &ModelOptions) -> Result<Graph> {
    Ok(after_passes(options, Passes(Vec::new()))?.0)
}

/// The graph of a model file as it is planned and run: after the passes that were asked for, or those that keep every bit.
///
/// # Errors
/// One sentence naming the file.
pub fn ready(options: &ModelOptions) -> Result<Graph> {
    Ok(after_passes(options, Passes::exact())?.0)
}

/// The graph of a model file after the passes that were asked for, or these, and what each of them did.
///
/// # Errors
/// One sentence naming the file.
pub fn after_passes(options: &ModelOptions, default: Passes) -> Result<(Graph, Vec<Row>)> {
    let bytes = file::read(&options.model)?;
    let name = options.model.display();
    let graph = import(&bytes, options).map_err(|e| anyhow!("{name}: {e}"))?;
    let Passes(names) = options.pass.as_ref().unwrap_or(&default);
    pass::run(&graph, names.iter().copied())
        .map_err(|e| anyhow!("{name}: {e}; --pass none leaves the graph as the file has it"))
}

fn import(bytes: &[u8], options: &ModelOptions) -> Result<Graph> {
    let import = ImportOptions {
        arith: options.arith,
        dims: options.dim.iter().cloned().collect(),
        cut_at: options.cut_at.clone(),
        ..ImportOptions::default()
    };
    // Messages of the libraries contain their sources already, so the chain is not kept.
    let mut graph = match tandem_import::import(bytes, &import) {
        Ok(graph) => graph,
        Err(error) => return Err(cut_error(bytes, &import).unwrap_or_else(|| anyhow!("{error}"))),
    };
    graph.prune();
    Ok(graph)
}

/// The error of a name behind `--cut-at` that the model does not have, where the model is fine otherwise.
fn cut_error(bytes: &[u8], import: &ImportOptions) -> Option<anyhow::Error> {
    let name = import.cut_at.as_ref()?;
    let whole = tandem_import::import(bytes, &ImportOptions { cut_at: None, ..import.clone() }).ok()?;
    if whole.find(name).is_some() {
        return None;
    }
    let outputs: Vec<&str> = whole.outputs.iter().map(|&id| whole.value(id).name.as_str()).collect();
    Some(anyhow!(
        "--cut-at {name}: the model has no tensor of this name; its outputs are {}, and `tandem graph show` lists all",
        outputs.join(", ")
    ))
}
