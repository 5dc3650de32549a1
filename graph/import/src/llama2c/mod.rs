//! Checkpoints of llama2.c, and its tokenizers.
//!
//! A checkpoint becomes the graph of one step: a token and its position go in with the keys and values of the positions before,
//! logits and the new keys and values come out. Every shape is fixed, so that one plan serves every step; [`State`] keeps what
//! goes from a step to the next.
//!
//! # Source
//! The first version of the checkpoint format of llama2.c (`run.c`, `export.py --version 0`), and its `tokenizer.bin`.

mod checkpoint;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod tokenizer;

pub use checkpoint::{Checkpoint, Config};
pub use state::State;
pub use tokenizer::{BEGIN, Tokenizer};

use crate::{ImportError, ImportOptions};
use tandem_graph::Graph;

/// The name, for [`ImportOptions::dims`], of the number of positions that a step attends to.
pub const CONTEXT: &str = "context";

/// Whether the bytes are a whole checkpoint: its header says how long the file is.
pub fn recognise(bytes: &[u8]) -> bool {
    Checkpoint::measure(bytes).is_ok_and(|(_, length)| length == bytes.len() as u128)
}

/// Reads a checkpoint: the graph of one step, for as many positions as the dimension [`CONTEXT`] says, else as the model has.
///
/// # Errors
/// [`ImportError`] naming the place in the file and the problem.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let checkpoint = Checkpoint::read(bytes)?;
    let context = options.dims.get(CONTEXT).copied().unwrap_or(checkpoint.config().context);
    let mut graph = checkpoint.step(context)?;
    graph.arith = options.arith.unwrap_or(graph.arith);
    crate::apply(options, &mut graph)?;
    Ok(graph)
}
