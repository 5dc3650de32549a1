//! Rebuilding a graph node by node: what the passes share.

use crate::ImportError;
use crate::builder::{Builder, ResultSpec};
use std::collections::{HashMap, HashSet};
use tandem_graph::{Graph, Node, Value, ValueId};
use tandem_ops::{Op, UnaryKind};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

/// A new graph that grows while a pass walks through the old one.
pub(super) struct Rewrite<'g> {
    pub old: &'g Graph,
    pub builder: Builder,
    /// New value of an old one.
    map: Vec<Option<ValueId>>,
    /// Node of the old graph that makes a value.
    makers: Vec<Option<usize>>,
    /// Readers of an old value, graph outputs included.
    uses: Vec<usize>,
    /// Node of the new graph that makes a value.
    new_makers: HashMap<ValueId, usize>,
}

impl<'g> Rewrite<'g> {
    pub fn new(old: &'g Graph, budget: usize) -> Self {
        let mut builder = Builder::new(old.name.clone(), old.arith, budget);
        let mut map = vec![None; old.values.len()];
        for &id in &old.inputs {
            let value = old.value(id);
            map[id.0] = Some(builder.input(&value.name, value.ty.clone()));
        }
        let makers = old.producers().into_iter().map(|p| p.map(|n| n.0)).collect();
        let mut uses = vec![0; old.values.len()];
        for id in old.nodes.iter().flat_map(|n| &n.inputs).chain(&old.outputs) {
            uses[id.0] += 1;
        }
        Self { old, builder, map, makers, uses, new_makers: HashMap::new() }
    }

    /// The new value of an old one; constants come over when they are first asked for.
    pub fn value(&mut self, old: ValueId) -> Result<ValueId, ImportError> {
        if let Some(id) = self.map[old.0] {
            return Ok(id);
        }
        let value = self.old.value(old);
        if value.constant.is_none() {
            let problem = "nothing before its reader makes it";
            return Err(ImportError::malformed(format!("value '{}'", value.name), problem));
        }
        let name = self.builder.unique(&value.name);
        self.builder.graph.values.push(Value { name, ty: value.ty.clone(), constant: value.constant.clone() });
        let id = ValueId(self.builder.graph.values.len() - 1);
        self.map[old.0] = Some(id);
        Ok(id)
    }

    pub fn bind(&mut self, old: ValueId, new: ValueId) {
        self.map[old.0] = Some(new);
    }

    /// The old node that makes a value.
    pub fn maker(&self, old: ValueId) -> Option<&'g Node> {
        self.makers.get(old.0).copied().flatten().and_then(|i| self.old.nodes.get(i))
    }

    /// The old node that makes a value for one reader alone.
    pub fn sole_maker(&self, old: ValueId) -> Option<&'g Node> {
        // The reader that asks is one use, so that a graph output has two.
        if self.uses.get(old.0) == Some(&1) { self.maker(old) } else { None }
    }

    /// The new node that makes a value.
    pub fn new_maker(&self, new: ValueId) -> Option<&Node> {
        self.new_makers.get(&new).and_then(|&i| self.builder.graph.nodes.get(i))
    }

    /// The codes behind a dequantisation of a constant.
    pub fn codes_of(&self, new: ValueId) -> Option<ValueId> {
        let maker = self.new_maker(new).filter(|m| m.op == Op::Dequantize)?;
        let &[codes] = maker.inputs.as_slice() else { return None };
        self.builder.graph.constant(codes).map(|_| codes)
    }

    /// Adds a node of one result. Constants fold, except that dequantisations stay: integer operators want the codes.
    pub fn emit(
        &mut self,
        node: &str,
        name: &str,
        op: Op,
        inputs: &[ValueId],
        dtype: DType,
        quant: Option<QuantParams>,
    ) -> Result<ValueId, ImportError> {
        if op == Op::Dequantize {
            let shape = self.builder.shapes(node, &op, inputs)?.into_iter().next().unwrap_or_default();
            let name = self.builder.unique(name);
            let id = self.builder.graph.add_value(name, TensorType { dtype, shape, quant });
            self.new_makers.insert(id, self.builder.graph.nodes.len());
            self.builder.graph.add_node(node, op, inputs, [id]);
            return Ok(id);
        }
        let ids = self.emit_all(node, op, inputs, vec![ResultSpec { name: name.to_owned(), dtype, quant }])?;
        ids.first().copied().ok_or_else(|| ImportError::malformed(format!("node '{node}'"), "it has no results"))
    }

    fn emit_all(
        &mut self,
        node: &str,
        op: Op,
        inputs: &[ValueId],
        specs: Vec<ResultSpec>,
    ) -> Result<Vec<ValueId>, ImportError> {
        let before = self.builder.graph.nodes.len();
        let ids = self.builder.node(node, op, inputs, specs)?;
        if self.builder.graph.nodes.len() > before {
            for &id in &ids {
                self.new_makers.insert(id, before);
            }
        }
        Ok(ids)
    }

    /// Takes a node over with another operator and other operands, its results unchanged.
    pub fn replace(&mut self, node: &Node, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>, ImportError> {
        if let (Op::Dequantize, &[out]) = (&op, node.outputs.as_slice()) {
            let value = self.old.value(out);
            let id = self.emit(&node.name, &value.name, op, inputs, value.ty.dtype, value.ty.quant.clone())?;
            self.bind(out, id);
            return Ok(vec![id]);
        }
        let specs = node
            .outputs
            .iter()
            .map(|&id| {
                let value = self.old.value(id);
                ResultSpec { name: value.name.clone(), dtype: value.ty.dtype, quant: value.ty.quant.clone() }
            })
            .collect();
        let ids = self.emit_all(&node.name, op, inputs, specs)?;
        for (&old, &new) in node.outputs.iter().zip(&ids) {
            self.bind(old, new);
        }
        Ok(ids)
    }

    /// Takes a node over as it is.
    pub fn copy(&mut self, node: &Node) -> Result<(), ImportError> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &id in &node.inputs {
            inputs.push(self.value(id)?);
        }
        self.replace(node, node.op.clone(), &inputs)?;
        Ok(())
    }

    /// A constant made up by a pass.
    pub fn constant(&mut self, name: &str, tensor: Tensor, quant: Option<QuantParams>) -> ValueId {
        self.builder.constant(name, tensor, quant)
    }

    pub fn ty(&self, new: ValueId) -> &TensorType {
        self.builder.graph.ty(new)
    }

    pub fn shape(&self, new: ValueId) -> Shape {
        self.builder.graph.ty(new).shape.clone()
    }

    /// The new graph; every output keeps its name and has a value of its own.
    pub fn finish(mut self) -> Result<Graph, ImportError> {
        let mut outputs: Vec<ValueId> = Vec::with_capacity(self.old.outputs.len());
        let mut taken: HashSet<ValueId> = self.builder.graph.inputs.iter().copied().collect();
        for &old in &self.old.outputs {
            let mut id = self.value(old)?;
            let name = &self.old.value(old).name;
            if taken.contains(&id) {
                let ty = self.ty(id).clone();
                id = self.emit(name, name, Op::Unary(UnaryKind::Identity), &[id], ty.dtype, ty.quant)?;
            }
            taken.insert(id);
            outputs.push(id);
        }
        self.rename(&outputs);
        let mut graph = self.builder.graph;
        graph.outputs = outputs;
        Ok(graph)
    }

    /// Gives the outputs their old names; whoever has one by now takes a made-up one.
    fn rename(&mut self, outputs: &[ValueId]) {
        let owners: HashMap<String, usize> =
            self.builder.graph.values.iter().enumerate().map(|(i, v)| (v.name.clone(), i)).collect();
        let mut evicted = Vec::new();
        for (&id, &old) in outputs.iter().zip(&self.old.outputs) {
            let name = &self.old.value(old).name;
            if self.builder.graph.value(id).name == *name {
                continue;
            }
            evicted.extend(owners.get(name).copied());
            if let Some(value) = self.builder.graph.values.get_mut(id.0) {
                value.name.clone_from(name);
            }
        }
        // Only now is it known who has not got a name of an output again.
        let kept: HashSet<usize> = outputs.iter().map(|id| id.0).collect();
        for index in evicted.into_iter().filter(|i| !kept.contains(i)) {
            let spare = self.builder.unique(&self.builder.graph.values[index].name.clone());
            self.builder.graph.values[index].name = spare;
        }
    }
}
