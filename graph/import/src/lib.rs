//! TFLite and ONNX files and llama2.c checkpoints to a [`Graph`].
//!
//! All importers bring a model to the one form that the rest of Tandem knows: channels-last activations, convolution
//! weights `[out, spatial.., in / groups]`, explicit padding, fully known shapes. Whatever the bytes are, an importer
//! answers with a verified graph or with one sentence; it never panics and allocates no more than the file justifies.
#![forbid(unsafe_code)]

mod builder;
mod error;
pub mod llama2c;
pub mod onnx;
pub mod tflite;

pub use error::ImportError;

use std::collections::BTreeMap;
use std::sync::Arc;
use tandem_graph::Graph;
use tandem_ops::Arith;
use tandem_tensor::Tensor;

/// Choices of the caller.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Rounding family; by default that of the TFLite reference kernels for TFLite files and the single-rounding family
    /// for ONNX files.
    pub arith: Option<Arith>,
    /// Extents of symbolic dimensions; 1 for those that are not named. `input[axis]` names one dimension of one input of
    /// an ONNX model, with a symbol or without, and `context` the positions of a llama2.c checkpoint.
    pub dims: BTreeMap<String, usize>,
    /// Inputs that are known at import time and become constants.
    pub constants: BTreeMap<String, Tensor>,
    /// Makes this tensor the only output and leaves out what it does not need.
    pub cut_at: Option<String>,
}

/// The largest value of a graph in bytes; larger tensors are refused before anything of their size is allocated.
pub const MAX_TENSOR_BYTES: usize = 1 << 30;

/// Reads a model of any known format; the bytes tell which one it is.
///
/// # Errors
/// [`ImportError`] in one sentence: what, where, remedy.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    if bytes.get(4..8) == Some(b"TFL3") {
        tflite::import(bytes, options)
    } else if bytes.is_empty() {
        Err(ImportError::NotAModel("it is empty".into()))
    } else if bytes.starts_with(b"graph ") || bytes.starts_with(b"//") {
        text(bytes, options)
    } else if llama2c::recognise(bytes) {
        llama2c::import(bytes, options)
    } else {
        onnx::import(bytes, options)
    }
}

fn text(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| ImportError::NotAModel(format!(".graph text that is not UTF-8 at byte {}", e.valid_up_to())))?;
    let mut graph = tandem_graph::parse(text)?;
    graph.arith = options.arith.unwrap_or(graph.arith);
    graph.verify()?;
    apply(options, &mut graph)?;
    Ok(graph)
}

/// Makes constants of the inputs that are known, and the outputs those that are wanted.
fn apply(options: &ImportOptions, graph: &mut Graph) -> Result<(), ImportError> {
    for id in graph.inputs.clone() {
        let Some(value) = graph.values.get_mut(id.0) else { continue };
        if let Some(given) = options.constants.get(&value.name) {
            value.constant = Some(Arc::new(given.clone()));
            graph.inputs.retain(|&i| i != id);
        }
    }
    if let Some(name) = &options.cut_at {
        graph.cut_at(name)?;
    }
    graph.verify()?;
    Ok(())
}
