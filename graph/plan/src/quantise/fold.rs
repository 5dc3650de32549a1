//! A float graph with fewer and larger operators: what a quantised layer can take in is taken in.
//!
//! - An activation behind an operator that has one becomes its activation.
//! - A product with, and a sum with, a constant for each channel (what a batch normalisation leaves) goes into the weights of the
//!   layer before it, else into those of the layer after it, else it becomes a 1 by 1 depthwise convolution, which an
//!   accelerator runs.
//!
//! The result computes the same reals up to rounding.

use std::sync::Arc;
use tandem_graph::{Graph, NodeId, Value, ValueId};
use tandem_ops::{Act, BinaryKind, Conv, Op, UnaryKind};
use tandem_tensor::{DType, Tensor, TensorType};

/// Folds until nothing is left to fold.
pub fn fold(graph: &Graph) -> Graph {
    let mut folder = Folder { graph: graph.clone(), makers: Vec::new(), readers: Vec::new(), made: 0 };
    folder.look();
    while folder.step() {
        folder.look();
    }
    folder.graph
}

struct Folder {
    graph: Graph,
    /// The node that makes each value.
    makers: Vec<Option<NodeId>>,
    /// The node that reads each value, where it is the only reader and reads it once.
    readers: Vec<Option<usize>>,
    /// Constants made, for their names.
    made: usize,
}

/// `x * factor + term` for each channel, the last axis.
struct Affine {
    x: ValueId,
    factor: Vec<f32>,
    term: Vec<f32>,
    act: Act,
}

impl Folder {
    /// Leaves out what nothing needs any more, and sees who makes and who reads what.
    fn look(&mut self) {
        self.graph.prune();
        self.makers = self.graph.producers();
        let mut reads: Vec<(usize, Option<usize>)> = vec![(0, None); self.graph.values.len()];
        let inner =
            self.graph.nodes.iter().enumerate().flat_map(|(n, node)| node.inputs.iter().map(move |&id| (id, Some(n))));
        for (id, reader) in inner.chain(self.graph.outputs.iter().map(|&id| (id, None))) {
            reads[id.0] = (reads[id.0].0 + 1, reader);
        }
        self.readers = reads.into_iter().map(|(count, reader)| reader.filter(|_| count == 1)).collect();
    }

    /// Folds one node, if there is one. What was seen of the graph is then out of date.
    fn step(&mut self) -> bool {
        (0..self.graph.nodes.len()).any(|n| self.activation(n) || self.backward(n) || self.forward(n))
            || (0..self.graph.nodes.len()).any(|n| self.depthwise(n))
    }

    /// Node n is an activation behind an operator without one.
    fn activation(&mut self, n: usize) -> bool {
        let Some(act) = activation_of(&self.graph.nodes[n].op) else { return false };
        let (Some(&x), Some(&y)) = (self.graph.nodes[n].inputs.first(), self.graph.nodes[n].outputs.first()) else {
            return false;
        };
        let Some(maker) = self.sole_maker(x) else { return false };
        let before = &mut self.graph.nodes[maker];
        match act_of(&mut before.op) {
            Some(own) if *own == Act::None && before.outputs.len() == 1 => *own = act,
            _ => return false,
        }
        before.outputs = vec![y];
        self.graph.nodes.remove(n);
        true
    }

    /// Node n is affine and the layer before it takes it.
    fn backward(&mut self, n: usize) -> bool {
        let Some(affine) = self.affine(n) else { return false };
        let Some(m) = self.sole_maker(affine.x) else { return false };
        let node = &self.graph.nodes[m];
        let plain = matches!(&node.op, Op::Conv(Conv { act: Act::None, .. }) | Op::Dense { act: Act::None })
            || matches!(&node.op, Op::ConvTranspose(c) if c.act == Act::None);
        let Some((weights, bias)) = self.weights(m).filter(|_| plain) else { return false };
        let each = (weights.len() / affine.factor.len().max(1)).max(1);
        let scaled = weights.iter().enumerate().map(|(i, w)| w * affine.factor[i / each]).collect();
        let moved = bias.iter().zip(&affine.factor).zip(&affine.term).map(|((b, f), t)| b * f + t).collect();
        let output = self.graph.nodes[n].outputs.clone();
        self.set_weights(m, scaled, moved);
        let node = &mut self.graph.nodes[m];
        node.outputs = output;
        if let Some(act) = act_of(&mut node.op) {
            *act = affine.act;
        }
        self.graph.nodes.remove(n);
        true
    }

    /// Node n is affine and the layer after it takes it: one without padding, whose zeros the sum would change.
    fn forward(&mut self, n: usize) -> bool {
        let Some(affine) = self.affine(n).filter(|a| a.act == Act::None) else { return false };
        let Some(&y) = self.graph.nodes[n].outputs.first() else { return false };
        let channels = affine.factor.len();
        // Flattening keeps the channel the fastest axis, so that it is found in the index of a weight.
        let (mut at, mut reshaped) = (y, None);
        if let Some(r) = self.sole_reader(y)
            && let Op::Reshape { shape } = &self.graph.nodes[r].op
            && shape.last().is_some_and(|&k| k % channels.max(1) == 0)
            && let Some(&flat) = self.graph.nodes[r].outputs.first()
        {
            (at, reshaped) = (flat, Some(r));
        }
        let Some(m) = self.sole_reader(at) else { return false };
        let node = &self.graph.nodes[m];
        let takes = node.inputs.first() == Some(&at)
            && match &node.op {
                Op::Dense { .. } => true,
                Op::Conv(c) => c.groups == 1 && c.pad.iter().all(|&p| p == (0, 0)) && reshaped.is_none(),
                _ => false,
            };
        let Some((mut weights, mut bias)) = self.weights(m).filter(|_| takes) else { return false };
        let each = weights.len() / bias.len().max(1);
        for (row, bias) in weights.chunks_exact_mut(each.max(1)).zip(&mut bias) {
            let mut sum = f64::from(*bias);
            for (k, w) in row.iter_mut().enumerate() {
                sum += f64::from(*w) * f64::from(affine.term[k % channels]);
                *w *= affine.factor[k % channels];
            }
            *bias = sum as f32;
        }
        self.set_weights(m, weights, bias);
        let reader = reshaped.unwrap_or(m);
        if let Some(x) = self.graph.nodes[reader].inputs.first_mut() {
            *x = affine.x;
        }
        self.graph.nodes.remove(n);
        true
    }

    /// Node n is affine, and no layer is near: it becomes a layer.
    fn depthwise(&mut self, n: usize) -> bool {
        let Some(mut affine) = self.affine(n) else { return false };
        // A pair becomes one layer.
        let before = self.sole_maker(affine.x).and_then(|m| Some((m, self.affine(m).filter(|a| a.act == Act::None)?)));
        if let Some((_, first)) = &before {
            for c in 0..affine.factor.len() {
                affine.term[c] += first.term[c] * affine.factor[c];
                affine.factor[c] *= first.factor[c];
            }
            affine.x = first.x;
        }
        // The first of a pair waits for the second.
        let paired = self.graph.nodes[n]
            .outputs
            .first()
            .and_then(|&y| self.sole_reader(y))
            .is_some_and(|r| affine.act == Act::None && self.affine(r).is_some());
        let spatial = self.graph.ty(affine.x).shape.rank().saturating_sub(2);
        if paired || !(1..=2).contains(&spatial) {
            return false;
        }
        let channels = affine.factor.len();
        let mut shape = vec![1; spatial + 2];
        shape[0] = channels;
        let weights = self.constant(shape, affine.factor);
        let bias = self.constant(vec![channels], affine.term);
        let node = &mut self.graph.nodes[n];
        node.op = Op::Conv(Conv {
            stride: vec![1; spatial],
            dilation: vec![1; spatial],
            pad: vec![(0, 0); spatial],
            groups: channels,
            act: affine.act,
        });
        node.inputs = vec![affine.x, weights, bias];
        if let Some((m, _)) = before {
            self.graph.nodes.remove(m);
        }
        true
    }

    /// Node n as an affine function of each channel.
    fn affine(&self, n: usize) -> Option<Affine> {
        let node = self.graph.nodes.get(n)?;
        let &Op::Binary { kind, act } = &node.op else { return None };
        let (&[a, b], &[y]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return None };
        let (x, c, swapped) = match (self.graph.constant(a), self.graph.constant(b)) {
            (None, Some(_)) => (a, b, false),
            (Some(_), None) => (b, a, true),
            _ => return None,
        };
        let (ty, shape) = (self.graph.ty(x), &self.graph.ty(c).shape);
        if ty.dtype != DType::F32
            || ty.quant.is_some()
            || ty.shape != self.graph.ty(y).shape
            || shape.rank() > ty.shape.rank()
        {
            return None;
        }
        let channels = *ty.shape.last()?;
        let values = self.graph.constant(c)?.as_slice::<f32>().ok()?;
        let along_channels = shape.iter().rev().skip(1).all(|&d| d == 1) && shape.last().is_none_or(|&d| d == channels);
        let each: Vec<f32> = match values {
            [one] => vec![*one; channels],
            _ if along_channels && values.len() == channels => values.to_vec(),
            _ => return None,
        };
        let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
        let negated = || each.iter().map(|v| -v).collect::<Vec<f32>>();
        let (factor, term) = match kind {
            BinaryKind::Mul => (each, zeros),
            BinaryKind::Add => (ones, each),
            BinaryKind::Sub if !swapped => (ones, negated()),
            BinaryKind::Sub => (vec![-1.0; channels], each),
            BinaryKind::Div if !swapped && each.iter().all(|&v| v != 0.0) => {
                (each.iter().map(|v| 1.0 / v).collect(), zeros)
            }
            _ => return None,
        };
        let finite = factor.iter().chain(&term).all(|v| v.is_finite());
        finite.then_some(Affine { x, factor, term, act })
    }

    /// The constant weights of node m and its constant bias, zeros when it has none.
    fn weights(&self, m: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let node = self.graph.nodes.get(m)?;
        let &w = node.inputs.get(1)?;
        let weights = self.graph.constant(w)?.as_slice::<f32>().ok()?.to_vec();
        let outputs = *self.graph.ty(w).shape.first()?;
        let bias = match node.inputs.get(2) {
            None => vec![0.0; outputs],
            Some(&b) => self.graph.constant(b)?.as_slice::<f32>().ok()?.to_vec(),
        };
        (bias.len() == outputs).then_some((weights, bias))
    }

    fn set_weights(&mut self, m: usize, weights: Vec<f32>, bias: Vec<f32>) {
        let shape = self.graph.ty(self.graph.nodes[m].inputs[1]).shape.clone();
        let bias = self.constant(vec![bias.len()], bias);
        let weights = self.constant(shape.0, weights);
        let inputs = &mut self.graph.nodes[m].inputs;
        inputs.truncate(1);
        inputs.extend([weights, bias]);
    }

    fn constant(&mut self, shape: Vec<usize>, elements: Vec<f32>) -> ValueId {
        let name = loop {
            self.made += 1;
            let name = format!("folded#{}", self.made);
            if self.graph.find(&name).is_none() {
                break name;
            }
        };
        let ty = TensorType::new(DType::F32, shape.clone());
        let tensor = Tensor::from_vec(shape.clone(), elements).unwrap_or_else(|_| Tensor::zeros(DType::F32, shape));
        self.graph.values.push(Value { name, ty, constant: Some(Arc::new(tensor)) });
        ValueId(self.graph.values.len() - 1)
    }

    /// The node that makes a value, where nothing else but one node reads it.
    fn sole_maker(&self, id: ValueId) -> Option<usize> {
        self.sole_reader(id)?;
        self.makers.get(id.0)?.map(|n| n.0)
    }

    /// The node that reads a value, where it is the only reader and reads it once.
    fn sole_reader(&self, id: ValueId) -> Option<usize> {
        *self.readers.get(id.0)?
    }
}

/// The activation that an operator is.
fn activation_of(op: &Op) -> Option<Act> {
    match op {
        Op::Unary(UnaryKind::Relu) => Some(Act::Relu),
        Op::Unary(UnaryKind::Relu6) => Some(Act::Relu6),
        Op::Unary(UnaryKind::ReluN1To1) => Some(Act::ReluN1To1),
        Op::Unary(UnaryKind::Clip { min, max }) => {
            match (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY)) {
                (0.0, f64::INFINITY) => Some(Act::Relu),
                (0.0, 6.0) => Some(Act::Relu6),
                (-1.0, 1.0) => Some(Act::ReluN1To1),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The fused activation of an operator that has one; a concatenation moves codes and computes nothing.
fn act_of(op: &mut Op) -> Option<&mut Act> {
    if matches!(op, Op::Concat { .. }) { None } else { op.act_mut() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::sample::Sketch;
    use tandem_graph::interpret;

    /// The folded graph, which computes what the graph computes.
    fn folded(graph: &Graph, input: &Tensor) -> Graph {
        let after = fold(graph);
        after.verify().unwrap();
        let run = |g: &Graph| interpret(g, std::slice::from_ref(input)).unwrap().remove(0).to_f64();
        for (a, b) in run(graph).iter().zip(run(&after)) {
            assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} {b}");
        }
        after
    }

    fn names(graph: &Graph) -> Vec<&'static str> {
        graph.nodes.iter().map(|n| n.op.name()).collect()
    }

    #[test]
    fn a_normalisation_and_an_activation_go_into_the_convolution_before_them() {
        let mut s = Sketch::image(5, 3);
        s.conv(4, 3, true);
        s.channels(BinaryKind::Mul);
        s.channels(BinaryKind::Add);
        s.unary(UnaryKind::Clip { min: Some(0.0), max: None });
        let input = s.input();
        let after = folded(&s.finish(), &input);
        assert_eq!(names(&after), ["conv"]);
        assert!(matches!(&after.nodes[0].op, Op::Conv(c) if c.act == Act::Relu));
    }

    #[test]
    fn a_normalisation_behind_an_activation_goes_into_the_dense_layer_after_it() {
        let mut s = Sketch::image(4, 2);
        s.conv(3, 1, false);
        s.unary(UnaryKind::Relu);
        s.channels(BinaryKind::Mul);
        s.channels(BinaryKind::Sub);
        s.flatten();
        s.dense(5);
        let input = s.input();
        assert_eq!(names(&folded(&s.finish(), &input)), ["conv", "reshape", "dense"]);
    }

    #[test]
    fn a_normalisation_between_pools_becomes_a_depthwise_convolution() {
        let mut s = Sketch::image(6, 3);
        s.max_pool(2);
        s.channels(BinaryKind::Div);
        s.channels(BinaryKind::Add);
        s.unary(UnaryKind::Relu);
        s.max_pool(2);
        let input = s.input();
        let after = folded(&s.finish(), &input);
        assert_eq!(names(&after), ["max_pool", "conv", "max_pool"]);
        assert!(matches!(&after.nodes[1].op, Op::Conv(c) if c.groups == 3 && c.act == Act::Relu));
    }

    #[test]
    fn padding_keeps_a_normalisation_out_of_the_convolution_after_it() {
        let mut s = Sketch::image(4, 2);
        s.max_pool(1);
        s.channels(BinaryKind::Add);
        s.conv(3, 3, true);
        let input = s.input();
        assert_eq!(names(&folded(&s.finish(), &input)), ["max_pool", "conv", "conv"]);
    }

    #[test]
    fn a_value_that_somebody_else_reads_keeps_its_node() {
        let mut s = Sketch::image(4, 2);
        s.conv(2, 1, false);
        s.mark_output();
        s.unary(UnaryKind::Relu);
        let input = s.input();
        assert_eq!(names(&folded(&s.finish(), &input)), ["conv", "relu"]);
    }
}
