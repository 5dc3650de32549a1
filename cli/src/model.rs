//! Loading models.

use crate::file;
use crate::options::ModelOptions;
use anyhow::{Result, anyhow};
use tandem_graph::Graph;
use tandem_import::ImportOptions;

/// The graph of a model file, without dead nodes.
///
/// # Errors
/// One sentence naming the file.
pub fn load(options: &ModelOptions) -> Result<Graph> {
    let bytes = file::read(&options.model)?;
    import(&bytes, options).map_err(|e| anyhow!("{}: {e}", options.model.display()))
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
