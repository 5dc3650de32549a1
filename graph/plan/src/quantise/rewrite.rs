//! The graph of integers, node by node.

use super::form::Form;
use super::scale::{self, activation};
use super::{Choice, Ends, FloatNode, QuantiseError, Quantised};
use std::collections::HashMap;
use tandem_graph::{Graph, Names, Node, ValueId};
use tandem_ops::Op;
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// Builds the quantised graph of a folded float graph.
pub(super) struct Rewriter<'g> {
    old: &'g Graph,
    new: Graph,
    /// Quantisation of each old value.
    quants: &'g [Option<QuantParams>],
    /// The value as codes, in the new graph.
    codes: Vec<Option<ValueId>>,
    /// The value as it was.
    reals: Vec<Option<ValueId>>,
    /// Whether the plain name of an old value belongs to its codes.
    named_by_codes: Vec<bool>,
    names: Names,
    /// Old values and their codes.
    pairs: Vec<(ValueId, ValueId)>,
}

/// The whole rewriting.
pub(super) fn rewrite(
    old: &Graph,
    choices: &[Choice],
    quants: &[Option<QuantParams>],
    ends: Ends,
) -> Result<Quantised, QuantiseError> {
    let mut named_by_codes = vec![false; old.values.len()];
    for (node, choice) in old.nodes.iter().zip(choices) {
        for &y in &node.outputs {
            named_by_codes[y.0] = matches!(choice, Ok(form) if *form != Form::Index);
        }
    }
    for &x in &old.inputs {
        named_by_codes[x.0] = quants[x.0].is_some();
    }
    if ends == Ends::Float {
        old.inputs.iter().chain(&old.outputs).for_each(|id| named_by_codes[id.0] = false);
    }
    let count = old.values.len();
    let mut rewriter = Rewriter {
        old,
        new: Graph::new(old.name.clone(), old.arith),
        quants,
        codes: vec![None; count],
        reals: vec![None; count],
        named_by_codes,
        names: Names::of(old),
        pairs: Vec::new(),
    };
    rewriter.inputs();
    let mut float_nodes = Vec::new();
    for (node, choice) in old.nodes.iter().zip(choices) {
        match choice {
            Ok(form) => rewriter.integer(node, form)?,
            Err(reason) => {
                rewriter.float(node)?;
                let (node, op) = (node.name.clone(), node.op.name().to_owned());
                float_nodes.push(FloatNode { node, op, reason: reason.clone() });
            }
        }
    }
    rewriter.outputs(ends)?;
    let mut graph = rewriter.new;
    // Pruning renumbers values, and their names stay.
    let pairs = rewriter.pairs.into_iter().map(|(old, new)| (old, graph.value(new).name.clone())).collect::<Vec<_>>();
    graph.prune();
    graph.verify()?;
    let at: HashMap<&str, usize> = graph.values.iter().enumerate().map(|(i, v)| (v.name.as_str(), i)).collect();
    let codes = pairs.iter().filter_map(|(old, name)| Some((*old, ValueId(*at.get(name.as_str())?)))).collect();
    Ok(Quantised { codes, float_nodes, graph })
}

impl Rewriter<'_> {
    fn inputs(&mut self) {
        for &id in &self.old.inputs {
            let value = self.old.value(id);
            let new = match (&self.quants[id.0], self.named_by_codes[id.0]) {
                (Some(quant), true) => {
                    let ty = TensorType::new(DType::I8, value.ty.shape.clone()).with_quant(quant.clone());
                    let new = self.new.add_value(value.name.clone(), ty);
                    self.codes[id.0] = Some(new);
                    self.pairs.push((id, new));
                    new
                }
                _ => {
                    let new = self.new.add_value(value.name.clone(), value.ty.clone());
                    self.reals[id.0] = Some(new);
                    new
                }
            };
            self.new.inputs.push(new);
        }
    }

    fn outputs(&mut self, ends: Ends) -> Result<(), QuantiseError> {
        for &id in &self.old.outputs {
            let new = match (ends, self.codes[id.0]) {
                (Ends::Int8, Some(codes)) => codes,
                _ => self.real(id)?,
            };
            self.new.outputs.push(new);
        }
        Ok(())
    }

    /// A node in floats, with dequantised operands.
    fn float(&mut self, node: &Node) -> Result<(), QuantiseError> {
        let inputs = node.inputs.iter().map(|&id| self.real(id)).collect::<Result<Vec<_>, _>>()?;
        self.emit(node, inputs, |_, ty| ty.clone());
        Ok(())
    }

    /// A node on codes.
    fn integer(&mut self, node: &Node, form: &Form) -> Result<(), QuantiseError> {
        let &[y] = node.outputs.as_slice() else { return Err(self.lost(node)) };
        let quant = self.quants[y.0].clone();
        let inputs = match form {
            Form::Weighted => {
                let (&[x, ..], Some(output)) = (node.inputs.as_slice(), &quant) else { return Err(self.lost(node)) };
                let x = self.code(x)?;
                let [w, b] = self.weights(node, x, output)?;
                vec![x, w, b]
            }
            Form::Shared { operands, .. } => {
                let output = quant.clone().ok_or_else(|| self.lost(node))?;
                let shared = operands.unwrap_or(node.inputs.len());
                let mut inputs = Vec::with_capacity(node.inputs.len());
                for (k, &id) in node.inputs.iter().enumerate() {
                    inputs.push(if k < shared { self.code_as(id, &output)? } else { self.real(id)? });
                }
                inputs
            }
            Form::Any | Form::Fixed(_) | Form::Index => {
                node.inputs.iter().map(|&id| self.code(id)).collect::<Result<Vec<_>, _>>()?
            }
        };
        self.emit(node, inputs, |_, ty| match (&quant, form) {
            (_, Form::Index) | (None, _) => ty.clone(),
            (Some(quant), _) => TensorType::new(DType::I8, ty.shape.clone()).with_quant(quant.clone()),
        });
        Ok(())
    }

    fn emit(&mut self, node: &Node, inputs: Vec<ValueId>, ty: impl Fn(ValueId, &TensorType) -> TensorType) {
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for &id in &node.outputs {
            let ty = ty(id, &self.old.value(id).ty);
            let is_codes = ty.dtype == DType::I8 && self.old.ty(id).dtype == DType::F32;
            let new = self.add(id, ty, is_codes);
            outputs.push(new);
        }
        self.new.add_node(node.name.clone(), node.op.clone(), inputs, outputs);
    }

    /// A new value for an old one, as codes or as it was.
    fn add(&mut self, id: ValueId, ty: TensorType, is_codes: bool) -> ValueId {
        let name = &self.old.value(id).name;
        let name = match (is_codes, self.named_by_codes[id.0]) {
            (true, true) | (false, false) => name.clone(),
            (true, false) => self.names.unique(&format!("{name}_int8")),
            (false, true) => self.names.unique(&format!("{name}_float")),
        };
        let new = self.new.add_value(name, ty);
        let place = if is_codes { &mut self.codes } else { &mut self.reals };
        place[id.0] = Some(new);
        if is_codes {
            self.pairs.push((id, new));
        }
        new
    }

    /// The codes of a value.
    fn code(&mut self, id: ValueId) -> Result<ValueId, QuantiseError> {
        if let Some(codes) = self.codes[id.0] {
            return Ok(codes);
        }
        let value = self.old.value(id);
        if let Some(tensor) = &value.constant {
            let elements = tensor.as_slice::<f32>().map_err(|_| self.unknown(id))?;
            let finite = || elements.iter().copied().filter(|x| x.is_finite());
            let quant = activation(finite().fold(0.0, f32::min), finite().fold(0.0, f32::max));
            return self.constant_codes(id, &quant);
        }
        let quant = self.quants[id.0].clone().ok_or_else(|| self.unknown(id))?;
        let real = self.real(id)?;
        let ty = TensorType::new(DType::I8, value.ty.shape.clone()).with_quant(quant);
        let new = self.add(id, ty, true);
        let name = self.names.unique(&format!("{}/quantize", value.name));
        self.new.add_node(name, Op::Quantize, [real], [new]);
        Ok(new)
    }

    /// The codes of a value under a given quantisation.
    fn code_as(&mut self, id: ValueId, quant: &QuantParams) -> Result<ValueId, QuantiseError> {
        if self.old.constant(id).is_some() {
            return self.constant_codes(id, quant);
        }
        let codes = self.code(id)?;
        if self.new.ty(codes).quant.as_ref() == Some(quant) {
            return Ok(codes);
        }
        let value = self.old.value(id);
        let ty = TensorType::new(DType::I8, value.ty.shape.clone()).with_quant(quant.clone());
        let name = self.names.unique(&format!("{}_requantized", value.name));
        let new = self.new.add_value(name.clone(), ty);
        self.new.add_node(name, Op::Requantize, [codes], [new]);
        self.pairs.push((id, new));
        Ok(new)
    }

    fn constant_codes(&mut self, id: ValueId, quant: &QuantParams) -> Result<ValueId, QuantiseError> {
        let value = self.old.value(id);
        let elements =
            value.constant.as_ref().and_then(|t| t.as_slice::<f32>().ok()).ok_or_else(|| self.unknown(id))?;
        let codes: Vec<i8> = elements.iter().map(|&x| scale::code(x, quant)).collect();
        let tensor = Tensor::from_vec(value.ty.shape.clone(), codes).map_err(|_| self.unknown(id))?;
        let ty = TensorType::new(DType::I8, value.ty.shape.clone()).with_quant(quant.clone());
        let name = self.names.unique(&format!("{}_int8", value.name));
        Ok(self.new.add_constant(name, ty, tensor))
    }

    /// The value as it was.
    fn real(&mut self, id: ValueId) -> Result<ValueId, QuantiseError> {
        if let Some(real) = self.reals[id.0] {
            return Ok(real);
        }
        let value = self.old.value(id);
        if let Some(tensor) = &value.constant {
            let new = self.new.add_constant(value.name.clone(), value.ty.clone(), tensor.as_ref().clone());
            self.reals[id.0] = Some(new);
            return Ok(new);
        }
        let codes = self.codes[id.0].ok_or_else(|| self.unknown(id))?;
        let new = self.add(id, value.ty.clone(), false);
        let name = self.names.unique(&format!("{}/dequantize", value.name));
        self.new.add_node(name, Op::Dequantize, [codes], [new]);
        Ok(new)
    }

    /// Weights and bias of a layer as constants of the new graph.
    fn weights(&mut self, node: &Node, x: ValueId, output: &QuantParams) -> Result<[ValueId; 2], QuantiseError> {
        let input = self.new.ty(x).quant.clone().ok_or_else(|| self.lost(node))?;
        let floats = |k: usize| node.inputs.get(k).and_then(|&id| self.old.constant(id)?.as_slice::<f32>().ok());
        let (Some(&w), Some(weights)) = (node.inputs.get(1), floats(1)) else { return Err(self.lost(node)) };
        let shape = self.old.ty(w).shape.clone();
        let outputs = shape.first().copied().unwrap_or(0);
        let finite = weights.iter().chain(floats(2).unwrap_or_default()).find(|x| !x.is_finite());
        if let Some(&element) = finite {
            return Err(QuantiseError::NotFinite { value: self.old.value(w).name.clone(), element });
        }
        let q = scale::weights(&node.op, self.old.arith, (weights, floats(2)), outputs, &input, output);
        let bias_quant = QuantParams { scale: q.bias_scale, zero_point: vec![0; outputs], axis: Some(0) };
        let bias_name = match node.inputs.get(2) {
            Some(&b) => format!("{}_int32", self.old.value(b).name),
            None => format!("{}/bias", node.name),
        };
        let bias_name = self.names.unique(&bias_name);
        let weight_name = self.names.unique(&format!("{}_int8", self.old.value(w).name));
        let lost = |_| QuantiseError::Lost { node: node.name.clone() };
        let codes = Tensor::from_vec(shape.clone(), q.codes).map_err(lost)?;
        let bias = Tensor::from_vec([outputs], q.bias).map_err(lost)?;
        let w = self.new.add_constant(weight_name, TensorType::new(DType::I8, shape).with_quant(q.quant), codes);
        let b_ty = TensorType::new(DType::I32, [outputs]).with_quant(bias_quant);
        Ok([w, self.new.add_constant(bias_name, b_ty, bias)])
    }

    fn lost(&self, node: &Node) -> QuantiseError {
        QuantiseError::Lost { node: node.name.clone() }
    }

    fn unknown(&self, id: ValueId) -> QuantiseError {
        QuantiseError::Lost { node: self.old.value(id).name.clone() }
    }
}
