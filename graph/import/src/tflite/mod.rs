//! TFLite flatbuffers.
//!
//! Only what the outputs need is imported. Weights that are quantised while the activations are floats (dynamic-range
//! quantised files) become floats at import; LiteRT quantises such activations on the fly instead, so results agree
//! within the error of that quantisation and not to the last bit.

mod arithmetic;
mod flatbuffer;
mod layout;
mod lower;
mod operators;
mod recurrent;
mod schema;
mod window;

use crate::builder::Builder;
use crate::{ImportError, ImportOptions};
use lower::Lowering;
use schema::Model;
use tandem_graph::Graph;
use tandem_ops::Arith;

/// Bytes that a small file may still ask for, whatever its length.
const FREE_BYTES: usize = 64 << 20;

/// Reads a TFLite file.
///
/// # Errors
/// [`ImportError`] naming the place in the file and the problem.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let model = Model::read(bytes)?;
    let budget = bytes.len().saturating_mul(16).saturating_add(FREE_BYTES);
    let name = if model.description.is_empty() { "model" } else { model.description.as_str() };
    let arith = options.arith.unwrap_or(Arith::TfliteRef);
    let builder = Builder::new(name, arith, budget);
    let mut lowering = Lowering::new(model, builder, budget);
    lowering.run(options)?;
    let mut graph = lowering.into_builder().graph;
    graph.prune();
    graph.verify()?;
    Ok(graph)
}
