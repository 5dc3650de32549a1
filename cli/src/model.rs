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
    let mut graph = tandem_import::import(bytes, &import).map_err(|e| anyhow!("{e}"))?;
    graph.prune();
    Ok(graph)
}
