//! Products of bytes whose sums are whole, on the core.

use super::Core;
use super::operand::{Operand, products};
use crate::RuntimeError;
use std::ops::Range;
use tandem_graph::Graph;
use tandem_ops::{Act, Arith, Op, OpError};
use tandem_tensor::{DType, Tensor, TensorType};

/// Products of two bytes that 32 bits hold the sum of.
const DEEPEST: usize = 1 << 16;

/// A layer of the program: a part of the sums of a product.
struct Layer {
    product: usize,
    depth: Range<usize>,
    /// Byte rows that a sample has.
    rows: usize,
}

/// For each pair of operands the products `[rows of the first][rows of the second]`, all in one program, whose constants are the
/// second ones.
pub(super) fn multiply(core: &Core, pairs: &[(Operand, Operand)]) -> Result<Vec<Vec<f64>>, OpError> {
    let mut all: Vec<Vec<i64>> = pairs.iter().map(|(a, b)| vec![0; a.byte_rows() * b.byte_rows()]).collect();
    let samples = core.config().batch();
    let (graph, layers) = program(pairs, samples)?;
    if !layers.is_empty() {
        let input = |layer: &Layer, sample: usize| {
            let a = &pairs[layer.product].0;
            let first = sample * layer.rows;
            let mut codes = Vec::with_capacity(layer.rows * layer.depth.len());
            for row in first..(first + layer.rows).min(a.byte_rows()) {
                codes.extend_from_slice(&a.codes[row * a.depth..][layer.depth.clone()]);
            }
            codes.resize(layer.rows * layer.depth.len(), 0);
            Tensor::from_vec([1, layer.rows, layer.depth.len()], codes)
        };
        let inputs = (0..samples).map(|sample| layers.iter().map(|layer| input(layer, sample)).collect());
        let inputs = inputs.collect::<Result<Vec<Vec<Tensor>>, _>>()?;
        let results = core.run(&graph, &inputs)?;
        for (sample, results) in results.iter().enumerate() {
            for (layer, result) in layers.iter().zip(results) {
                let all = &mut all[layer.product];
                let width = pairs[layer.product].1.byte_rows();
                // The last sample may have rows that nobody asked for.
                let begin = (sample * layer.rows * width).min(all.len());
                for (sum, &part) in all[begin..].iter_mut().zip(result.as_slice::<i32>()?) {
                    *sum += i64::from(part);
                }
            }
        }
    }
    Ok(pairs.iter().zip(&all).map(|((a, b), sums)| products(a, b, sums)).collect())
}

/// A graph of a dense layer for each product that has elements, or some where it is deep.
fn program(pairs: &[(Operand, Operand)], samples: usize) -> Result<(Graph, Vec<Layer>), RuntimeError> {
    let mut graph = Graph::new("sums", Arith::default());
    let mut layers = Vec::new();
    for (product, (a, b)) in pairs.iter().enumerate().filter(|(_, (a, b))| a.rows > 0 && b.rows > 0) {
        for begin in (0..a.depth).step_by(DEEPEST) {
            let depth = begin..a.depth.min(begin + DEEPEST);
            let rows = a.byte_rows().div_ceil(samples);
            let name = |what: &str| format!("{what}{}", layers.len());
            let ty = |dtype, rows, columns| TensorType::new(dtype, [1, rows, columns]);
            let x = graph.add_value(name("a"), ty(DType::I8, rows, depth.len()));
            let codes: Vec<i8> =
                b.codes.chunks_exact(b.depth).flat_map(|row| row[depth.clone()].iter().copied()).collect();
            let shape = [b.byte_rows(), depth.len()];
            let codes = Tensor::from_vec(shape, codes).map_err(|error| RuntimeError::Invalid(error.to_string()))?;
            let w = graph.add_constant(name("b"), TensorType::new(DType::I8, shape), codes);
            let y = graph.add_value(name("out"), ty(DType::I32, rows, b.byte_rows()));
            graph.add_node(name("product"), Op::Dense { act: Act::None }, [x, w], [y]);
            graph.inputs.push(x);
            graph.outputs.push(y);
            layers.push(Layer { product, depth, rows });
        }
    }
    Ok((graph, layers))
}
