//! ONNX protobufs, read and written.
//!
//! The nodes that the outputs need are lowered one by one, in ONNX's channels-first order, with a transposition on
//! either side of every operator that Tandem knows channels-last only. Then passes over the graph, one a file, bring it
//! to the common form: transpositions meet and vanish, bias and activation join their operator, and what stands between
//! a dequantisation and a quantisation becomes the integer operator.

mod affine;
mod dense;
mod gates;
mod lay_out;
mod lower;
mod model;
mod proto;
mod quantized;
mod rewrite;
mod spread;
mod tensor;
#[cfg(test)]
mod tests;
mod write;

pub use write::{Notes, WriteError, write};

use crate::{ImportError, ImportOptions};
use prost::Message;
use tandem_graph::Graph;
use tandem_ops::Arith;
use tandem_tensor::Tensor;

/// A graph to a better one, with what folding may allocate.
type Pass = fn(&Graph, usize) -> Result<Graph, ImportError>;

/// Reads an ONNX file: opset 7 to the current one, float graphs and both quantised forms (QDQ and QLinear).
///
/// # Errors
/// [`ImportError`] naming the place in the file and the problem.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let model = decode(bytes)?;
    let arith = options.arith.unwrap_or(Arith::Xnnpack);
    let mut graph = model::lower(&model, options, arith, budget(bytes))?;
    spread::spread(&mut graph);
    let passes: [Pass; 5] = [lay_out::lay_out, gates::recognise, affine::join, quantized::fuse, dense::absorb];
    for pass in passes {
        graph.prune();
        graph = pass(&graph, budget(bytes))?;
    }
    graph.prune();
    graph.verify()?;
    Ok(graph)
}

/// Reads a lone `TensorProto`, the form in which the ONNX project publishes test data: its name and its elements.
///
/// Integers of 2 and 4 bits come as bytes, floats of at most 8 bits as their codes.
///
/// # Errors
/// [`ImportError`] when the bytes are no such message or the element type has no counterpart.
pub fn read_tensor_proto(bytes: &[u8]) -> Result<(String, Tensor), ImportError> {
    let message = proto::TensorProto::decode(bytes).map_err(|e| ImportError::NotAModel(e.to_string()))?;
    let (tensor, _) = tensor::tensor(&message, &format!("tensor '{}'", message.name))?;
    Ok((message.name, tensor))
}

fn decode(bytes: &[u8]) -> Result<proto::ModelProto, ImportError> {
    let mut model = match proto::ModelProto::decode(bytes) {
        Ok(model) => model,
        Err(error) => {
            // A flipped byte looks like a truncation too; only a file that begins like a model is worth that remedy.
            let begins_like_a_model = bytes.first() == Some(&0x08);
            return Err(match proto::truncation(bytes).filter(|_| begins_like_a_model) {
                Some((offset, what)) => ImportError::Truncated { offset, len: bytes.len(), what: what.to_owned() },
                None => ImportError::NotAModel(format!("read as ONNX: {error}")),
            });
        }
    };
    let Some(graph) = &mut model.graph else {
        return Err(ImportError::NotAModel("read as ONNX it has no graph".into()));
    };
    graph.names().for_each(make_printable);
    Ok(model)
}

/// Messages and the text form are made of lines, so that a name must not break them.
fn make_printable(name: &mut String) {
    if name.contains(char::is_control) {
        *name = name.escape_debug().to_string();
    }
}

/// What constant folding may allocate: a file justifies some multiple of its own size.
fn budget(bytes: &[u8]) -> usize {
    bytes.len().saturating_mul(8).saturating_add(16 << 20)
}
