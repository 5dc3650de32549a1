//! Transpositions meet and vanish.
//!
//! The lowering puts a transposition on either side of every channels-last operator. Here each old value becomes a view,
//! a new value and a permutation not yet carried out. Operators that do not care about the order of axes work on the new
//! values and hand the permutation on; a permutation that meets its inverse is gone; one that reaches an operator which
//! does care is carried out, by a reshape where it only moves axes of extent 1.

use super::rewrite::Rewrite;
use crate::ImportError;
use std::collections::HashMap;
use tandem_graph::permute::{inverse, is_identity, moves_units_only, reordered, turned};
use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{Op, UnaryKind};
use tandem_tensor::{QuantParams, Shape};

/// `old` is `base` with axis i taken from axis `perm[i]`.
#[derive(Clone)]
struct View {
    base: ValueId,
    perm: Vec<usize>,
}

struct LayOut<'g> {
    rewrite: Rewrite<'g>,
    /// Views of old values that are not the plain new value.
    views: HashMap<ValueId, View>,
    /// Views carried out already.
    done: HashMap<(ValueId, Vec<usize>), ValueId>,
    /// What a reshape reshapes.
    reshaped: HashMap<ValueId, ValueId>,
}

pub(super) fn lay_out(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let rewrite = Rewrite::new(graph, budget);
    let mut pass = LayOut { rewrite, views: HashMap::new(), done: HashMap::new(), reshaped: HashMap::new() };
    for node in &graph.nodes {
        pass.node(node)?;
    }
    for &id in &graph.outputs {
        let new = pass.carry_out(id)?;
        pass.rewrite.bind(id, new);
    }
    pass.rewrite.finish()
}

impl LayOut<'_> {
    fn node(&mut self, node: &Node) -> Result<(), ImportError> {
        if let (&[x], &[y]) = (node.inputs.as_slice(), node.outputs.as_slice()) {
            match &node.op {
                Op::Transpose { perm } => {
                    let view = self.view(x)?;
                    let perm = perm.iter().map(|&i| view.perm.get(i).copied().unwrap_or(i)).collect();
                    self.set(y, view.base, perm);
                    return Ok(());
                }
                Op::Unary(UnaryKind::Identity) => {
                    let view = self.view(x)?;
                    self.set(y, view.base, view.perm);
                    return Ok(());
                }
                Op::Reshape { shape } => return self.reshape(node, x, y, shape),
                _ => {}
            }
        }
        let turned = node.inputs.iter().any(|id| self.views.contains_key(id));
        if turned && self.hand_on(node)? {
            return Ok(());
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &id in &node.inputs {
            inputs.push(self.carry_out(id)?);
        }
        self.rewrite.replace(node, node.op.clone(), &inputs)?;
        Ok(())
    }

    fn view(&mut self, old: ValueId) -> Result<View, ImportError> {
        if let Some(view) = self.views.get(&old) {
            return Ok(view.clone());
        }
        let base = self.rewrite.value(old)?;
        Ok(View { base, perm: (0..self.rewrite.ty(base).shape.rank()).collect() })
    }

    fn set(&mut self, old: ValueId, base: ValueId, perm: Vec<usize>) {
        if is_identity(&perm) {
            self.rewrite.bind(old, base);
        } else {
            self.views.insert(old, View { base, perm });
        }
    }

    /// The new value in the old order of axes.
    fn carry_out(&mut self, old: ValueId) -> Result<ValueId, ImportError> {
        let view = self.view(old)?;
        let name = self.rewrite.old.value(old).name.clone();
        self.permuted(&name, view.base, &view.perm)
    }

    fn permuted(&mut self, name: &str, base: ValueId, perm: &[usize]) -> Result<ValueId, ImportError> {
        if is_identity(perm) {
            return Ok(base);
        }
        if let Some(&id) = self.done.get(&(base, perm.to_vec())) {
            return Ok(id);
        }
        let ty = self.rewrite.ty(base).clone();
        let shape: Vec<usize> = perm.iter().map(|&p| ty.shape[p]).collect();
        let quant = turned(ty.quant, |axis| perm.iter().position(|&p| p == axis));
        let id = if let Some(codes) = self.dequantised(base) {
            // Codes are turned before they become reals: those of constants fold, the others are smaller.
            let codes = self.permuted(name, codes, perm)?;
            self.rewrite.emit(name, name, Op::Dequantize, &[codes], ty.dtype, None)?
        } else if moves_units_only(perm, &ty.shape) && quant.as_ref().is_none_or(QuantParams::is_per_tensor) {
            self.reshape_to(name, base, shape)?
        } else {
            self.rewrite.emit(name, name, Op::Transpose { perm: perm.to_vec() }, &[base], ty.dtype, quant)?
        };
        self.done.insert((base, perm.to_vec()), id);
        Ok(id)
    }

    /// The codes of a new value that a dequantisation makes.
    fn dequantised(&self, id: ValueId) -> Option<ValueId> {
        let maker = self.rewrite.new_maker(id).filter(|m| m.op == Op::Dequantize)?;
        maker.inputs.first().copied()
    }

    /// A reshape of a reshape is one, and one that changes nothing is none.
    fn reshape_to(&mut self, name: &str, x: ValueId, shape: Vec<usize>) -> Result<ValueId, ImportError> {
        let source = self.reshaped.get(&x).copied().unwrap_or(x);
        let ty = self.rewrite.ty(source).clone();
        if ty.shape.0 == shape {
            return Ok(source);
        }
        let whole = |id: ValueId| self.rewrite.ty(id).quant.as_ref().is_some_and(QuantParams::is_per_tensor);
        if let Some(codes) = self.dequantised(source).filter(|&codes| whole(codes)) {
            let codes = self.reshape_to(name, codes, shape)?;
            return self.rewrite.emit(name, name, Op::Dequantize, &[codes], ty.dtype, None);
        }
        let id = self.rewrite.emit(name, name, Op::Reshape { shape }, &[source], ty.dtype, ty.quant)?;
        self.reshaped.insert(id, source);
        Ok(id)
    }

    /// A reshape that only adds or drops axes of extent 1 keeps the order of the others open.
    fn reshape(&mut self, node: &Node, x: ValueId, y: ValueId, shape: &[usize]) -> Result<(), ImportError> {
        let view = self.view(x)?;
        let base_shape = self.rewrite.shape(view.base);
        let quant = &self.rewrite.old.ty(x).quant;
        let name = &node.name;
        if quant.as_ref().is_some_and(|q| !q.is_per_tensor()) {
            let x = self.carry_out(x)?;
            self.rewrite.replace(node, node.op.clone(), &[x])?;
            return Ok(());
        }
        let from: Vec<usize> = (0..view.perm.len()).filter(|&i| base_shape[view.perm[i]] != 1).collect();
        let to: Vec<usize> = (0..shape.len()).filter(|&i| shape[i] != 1).collect();
        let same = from.len() == to.len()
            && from.iter().zip(&to).all(|(&f, &t)| base_shape[view.perm[f]] == shape[t])
            && !is_identity(&view.perm);
        if !same {
            let old_name = self.rewrite.old.value(y).name.clone();
            let x = self.carry_out(x)?;
            let id = self.reshape_to(&old_name, x, shape.to_vec())?;
            self.rewrite.bind(y, id);
            return Ok(());
        }
        // New order of the result's axes: the real ones as the base has them, a unit one behind the axis before it.
        let mut keys: Vec<(usize, usize)> = Vec::with_capacity(shape.len());
        let mut last = 0;
        let mut real = from.iter();
        for (i, &extent) in shape.iter().enumerate() {
            if extent != 1 {
                last = real.next().map_or(0, |&f| view.perm[f] + 1);
            }
            keys.push((last, i));
        }
        let mut order = keys;
        order.sort_unstable();
        let mut perm = vec![0; shape.len()];
        for (place, &(_, axis)) in order.iter().enumerate() {
            perm[axis] = place;
        }
        let base: Vec<usize> = order.iter().map(|&(_, axis)| shape[axis]).collect();
        let base = self.reshape_to(name, view.base, base)?;
        self.set(y, base, perm);
        Ok(())
    }

    /// Applies an operator that does not care about the order of axes to the bases of its operands.
    fn hand_on(&mut self, node: &Node) -> Result<bool, ImportError> {
        let &[y] = node.outputs.as_slice() else { return Ok(false) };
        let old = self.rewrite.old;
        let rank = match &node.op {
            Op::Reduce { .. } | Op::ArgMax { .. } => node.inputs.first().map_or(0, |&x| old.ty(x).shape.rank()),
            _ => old.ty(y).shape.rank(),
        };
        let main = node.inputs.iter().find_map(|id| self.views.get(id).filter(|v| v.perm.len() == rank));
        let Some(perm) = main.map(|v| v.perm.clone()) else { return Ok(false) };
        let Some((op, result)) = reordered(&node.op, &perm, rank) else { return Ok(false) };
        let broadcasts = matches!(op, Op::Binary { .. } | Op::Where);
        // Nothing may be emitted before it is certain that every operand follows.
        let mut plan = Vec::with_capacity(node.inputs.len());
        for (i, &id) in node.inputs.iter().enumerate() {
            match self.follow(id, &perm, broadcasts || (i > 0 && matches!(op, Op::Pad { .. })))? {
                Some(step) => plan.push(step),
                None => return Ok(false),
            }
        }
        let mut inputs = Vec::with_capacity(plan.len());
        for (step, &id) in plan.into_iter().zip(&node.inputs) {
            let name = old.value(id).name.clone();
            inputs.push(match step {
                Step::Use(id) => id,
                Step::Turn => {
                    let whole = self.carry_out(id)?;
                    let mut wide = vec![1; rank - self.rewrite.ty(whole).shape.rank()];
                    wide.extend_from_slice(&self.rewrite.ty(whole).shape);
                    let whole = self.reshape_to(&name, whole, wide)?;
                    self.permuted(&name, whole, &inverse(&perm))?
                }
            });
        }
        let value = old.value(y);
        let quant = turned(value.ty.quant.clone(), |axis| result.get(axis).copied());
        let id = self.rewrite.emit(&node.name, &value.name, op, &inputs, value.ty.dtype, quant)?;
        self.set(y, id, result);
        Ok(true)
    }

    /// How an operand comes into the order of axes that its operator takes over from another operand.
    fn follow(&mut self, id: ValueId, perm: &[usize], broadcasts: bool) -> Result<Option<Step>, ImportError> {
        let view = self.view(id)?;
        if view.perm == perm {
            return Ok(Some(Step::Use(view.base)));
        }
        let shape = self.rewrite.old.ty(id).shape.clone();
        if shape.rank() > perm.len() || (shape.rank() < perm.len() && !broadcasts) {
            return Ok(None);
        }
        if broadcasts && shape.elements() == 1 {
            return Ok(Some(Step::Use(view.base)));
        }
        let codes = self.rewrite.codes_of(view.base);
        let fixed = self.rewrite.builder.graph.constant(view.base).is_some() || codes.is_some();
        let mut wide = vec![1; perm.len() - shape.rank()];
        wide.extend_from_slice(&shape);
        let per_tensor = |q: &Option<QuantParams>| q.as_ref().is_none_or(QuantParams::is_per_tensor);
        let whole = per_tensor(&self.rewrite.ty(view.base).quant)
            && codes.is_none_or(|c| per_tensor(&self.rewrite.ty(c).quant));
        let turns = (fixed || moves_units_only(&inverse(perm), &Shape(wide))) && whole;
        Ok(turns.then_some(Step::Turn))
    }
}

enum Step {
    /// The new value as it is.
    Use(ValueId),
    /// A constant, or a value whose turning only moves axes of extent 1.
    Turn,
}
