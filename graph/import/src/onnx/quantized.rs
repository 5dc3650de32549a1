//! What stands between a dequantisation and a quantisation becomes the integer operator.
//!
//! The pattern starts at a quantisation whose operand has no other reader. Its maker is computed on codes when every
//! operand is a dequantisation (or, for weights and bias, a constant) and the operator has an integer form; an operator
//! that only moves or selects codes works in the parameters of its operand and is requantised behind it where the result
//! has others. Everything else stays real between explicit conversions.

use super::rewrite::Rewrite;
use crate::ImportError;
use tandem_graph::{Graph, Node, ValueId};
use tandem_ops::{Act, BinaryKind, Op, PadMode, PoolKind, ReduceKind, ResizeMode, UnaryKind};
use tandem_tensor::{DType, Data, QuantParams, Shape, Tensor, TensorType};

pub(super) fn fuse(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let mut fuse = Fuse { rewrite: Rewrite::new(graph, budget) };
    for node in &graph.nodes {
        if !(node.op == Op::Quantize && fuse.quantize(node)?) {
            fuse.rewrite.copy(node)?;
        }
    }
    let graph = fuse.rewrite.finish()?;
    fold_constants(&graph, budget)
}

/// Dequantised constants that no integer operator took become reals.
fn fold_constants(graph: &Graph, budget: usize) -> Result<Graph, ImportError> {
    let mut graph = graph.clone();
    graph.prune();
    let mut rewrite = Rewrite::new(&graph, budget);
    for node in &graph.nodes {
        let codes = node.inputs.first().and_then(|&id| graph.constant(id));
        if let (Op::Dequantize, Some(tensor), Some(&input), &[out]) =
            (&node.op, codes, node.inputs.first(), node.outputs.as_slice())
        {
            let ty = graph.ty(out);
            let operand = tandem_ops::Operand { tensor, ty: graph.ty(input) };
            if let Ok(real) = tandem_ops::reference(&node.op, graph.arith, &[operand], &[ty])
                && let Some(real) = real.into_iter().next()
            {
                let id = rewrite.constant(&graph.value(out).name, real, None);
                rewrite.bind(out, id);
                continue;
            }
        }
        rewrite.copy(node)?;
    }
    rewrite.finish()
}

struct Fuse<'g> {
    rewrite: Rewrite<'g>,
}

impl<'g> Fuse<'g> {
    /// True when the quantisation has been replaced together with what makes its operand.
    fn quantize(&mut self, node: &Node) -> Result<bool, ImportError> {
        let (&[real], &[codes]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return Ok(false) };
        let result = self.rewrite.old.ty(codes).clone();
        let Some(quant) = result.quant.clone().filter(QuantParams::is_per_tensor) else { return Ok(false) };
        if !is_code(result.dtype) {
            return Ok(false);
        }
        let mut real = real;
        // A clip to what the codes can hold anyway is none.
        while let Some(Node { op: Op::Unary(kind), inputs, .. }) = self.rewrite.sole_maker(real)
            && let Some((low, high)) = range(kind)
            && let &[x] = inputs.as_slice()
            && covers(low, high, &quant, result.dtype)
        {
            real = x;
        }
        if let Some(source) = self.codes(real) {
            // Codes to codes without anything in between.
            let id = self.in_terms_of(&node.name, source, &result)?;
            self.rewrite.bind(codes, id);
            return Ok(true);
        }
        let Some(maker) = self.rewrite.sole_maker(real) else { return Ok(false) };
        let id = match &maker.op {
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } => self.weighted(maker, &result)?,
            Op::Binary { kind: BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul, .. } => {
                self.on_codes(maker, &result)?
            }
            Op::Binary { kind: BinaryKind::Min | BinaryKind::Max, act: Act::None } => {
                self.moved(maker, &result, true)?
            }
            Op::Concat { act: Act::None, .. } => self.concat(maker, &result)?,
            Op::Pool(p) if p.kind == PoolKind::Average => self.on_codes(maker, &result)?,
            Op::Pool(p) if p.act == Act::None && maker.outputs.len() == 1 => self.moved(maker, &result, false)?,
            Op::Reduce { kind: ReduceKind::Mean, .. } => self.on_codes(maker, &result)?,
            Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, .. } => self.moved(maker, &result, false)?,
            Op::Unary(
                UnaryKind::Relu
                | UnaryKind::Relu6
                | UnaryKind::ReluN1To1
                | UnaryKind::LeakyRelu { .. }
                | UnaryKind::HardSwish
                | UnaryKind::Sigmoid
                | UnaryKind::Tanh,
            ) => self.on_codes(maker, &result)?,
            Op::Pad { .. } => self.pad(maker, &result)?,
            Op::Resize(r) if matches!(r.mode, ResizeMode::Nearest(_)) && r.roi.is_none() => {
                self.moved(maker, &result, false)?
            }
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Expand { .. }
            | Op::Unary(UnaryKind::Identity) => self.moved(maker, &result, false)?,
            Op::Gather { .. } => self.gather(maker, &result)?,
            _ => None,
        };
        let Some(id) = id else { return Ok(false) };
        self.rewrite.bind(codes, id);
        self.take_name(id, codes);
        Ok(true)
    }

    /// The integer result goes by the name of the codes that the model made of it.
    fn take_name(&mut self, id: ValueId, codes: ValueId) {
        let name = self.rewrite.old.value(codes).name.clone();
        let unique = self.rewrite.builder.unique(&name);
        if let Some(value) = self.rewrite.builder.graph.values.get_mut(id.0) {
            value.name = unique;
        }
    }

    /// The new value of the codes behind a dequantised old value; one pair of parameters for all of them.
    fn codes(&mut self, real: ValueId) -> Option<ValueId> {
        let maker = self.rewrite.maker(real).filter(|m| m.op == Op::Dequantize)?;
        let &[codes] = maker.inputs.as_slice() else { return None };
        let ty = self.rewrite.old.ty(codes);
        let whole = ty.quant.as_ref().is_some_and(QuantParams::is_per_tensor) && is_code(ty.dtype);
        if whole { self.rewrite.value(codes).ok() } else { None }
    }

    fn all_codes(&mut self, reals: &[ValueId]) -> Option<Vec<ValueId>> {
        reals.iter().map(|&id| self.codes(id)).collect()
    }

    fn emit(&mut self, node: &Node, op: Op, inputs: &[ValueId], ty: &TensorType) -> Result<ValueId, ImportError> {
        let name = format!("{}/codes", node.name);
        self.rewrite.emit(&node.name, &name, op, inputs, ty.dtype, ty.quant.clone())
    }

    /// The same reals as codes of `result`.
    fn in_terms_of(&mut self, node: &str, codes: ValueId, result: &TensorType) -> Result<ValueId, ImportError> {
        let ty = self.rewrite.ty(codes);
        if ty.dtype == result.dtype && ty.quant == result.quant {
            return Ok(codes);
        }
        let name = format!("{node}/codes");
        self.rewrite.emit(node, &name, Op::Requantize, &[codes], result.dtype, result.quant.clone())
    }

    /// An operator whose kernel takes operands and result in parameters of their own.
    fn on_codes(&mut self, maker: &Node, result: &TensorType) -> Result<Option<ValueId>, ImportError> {
        let Some(inputs) = self.all_codes(&maker.inputs) else { return Ok(None) };
        if inputs.iter().any(|&id| self.rewrite.ty(id).dtype != result.dtype) {
            return Ok(None);
        }
        Ok(Some(self.emit(maker, maker.op.clone(), &inputs, result)?))
    }

    /// An operator that moves or selects codes.
    fn moved(&mut self, maker: &Node, result: &TensorType, all: bool) -> Result<Option<ValueId>, ImportError> {
        let Some(inputs) = self.all_codes(&maker.inputs) else { return Ok(None) };
        let Some(&first) = inputs.first() else { return Ok(None) };
        let mut ty = self.rewrite.ty(first).clone();
        if all
            && inputs.iter().any(|&id| (self.rewrite.ty(id).dtype, &self.rewrite.ty(id).quant) != (ty.dtype, &ty.quant))
        {
            return Ok(None);
        }
        ty.shape = result.shape.clone();
        let id = self.emit(maker, maker.op.clone(), &inputs, &ty)?;
        Ok(Some(self.in_terms_of(&maker.name, id, result)?))
    }

    fn gather(&mut self, maker: &Node, result: &TensorType) -> Result<Option<ValueId>, ImportError> {
        let &[x, index] = maker.inputs.as_slice() else { return Ok(None) };
        let Some(x) = self.codes(x) else { return Ok(None) };
        let index = self.rewrite.value(index)?;
        let ty = self.rewrite.ty(x).clone();
        let id = self.emit(maker, maker.op.clone(), &[x, index], &ty)?;
        Ok(Some(self.in_terms_of(&maker.name, id, result)?))
    }

    /// Every part comes in the parameters of the whole.
    fn concat(&mut self, maker: &Node, result: &TensorType) -> Result<Option<ValueId>, ImportError> {
        let Some(inputs) = self.all_codes(&maker.inputs) else { return Ok(None) };
        let mut parts = Vec::with_capacity(inputs.len());
        for id in inputs {
            parts.push(self.in_terms_of(&maker.name, id, result)?);
        }
        Ok(Some(self.emit(maker, maker.op.clone(), &parts, result)?))
    }

    fn pad(&mut self, maker: &Node, result: &TensorType) -> Result<Option<ValueId>, ImportError> {
        let Op::Pad { mode, .. } = maker.op else { return Ok(None) };
        let Some(&x) = maker.inputs.first() else { return Ok(None) };
        let Some(x) = self.codes(x) else { return Ok(None) };
        let ty = self.rewrite.ty(x).clone();
        let Some(quant) = ty.quant.clone() else { return Ok(None) };
        let mut inputs = vec![x];
        if let (PadMode::Constant, Some(&value)) = (mode, maker.inputs.get(1)) {
            let Some(value) = self.rewrite.old.constant(value) else { return Ok(None) };
            let real = value.to_f64().first().copied().unwrap_or(0.0);
            // Without the operand the kernel pads with the code of zero.
            if real != 0.0 {
                let Some(code) = encode(real, &quant, ty.dtype) else { return Ok(None) };
                inputs.push(self.rewrite.constant(&format!("{}/value", maker.name), code, None));
            }
        }
        let id = self.emit(maker, maker.op.clone(), &inputs, &ty)?;
        Ok(Some(self.in_terms_of(&maker.name, id, result)?))
    }

    /// Convolutions and dense layers: 8-bit weights, and a bias that counts in steps of the product of both scales.
    fn weighted(&mut self, maker: &Node, result: &TensorType) -> Result<Option<ValueId>, ImportError> {
        let (Some(&x), Some(&w)) = (maker.inputs.first(), maker.inputs.get(1)) else { return Ok(None) };
        let Some(x) = self.codes(x) else { return Ok(None) };
        let (w, bias) = (self.rewrite.value(w)?, maker.inputs.get(2).copied());
        let Some(w) = self.rewrite.codes_of(w) else { return Ok(None) };
        let Some(weights) = self.weights(maker, w) else { return Ok(None) };
        let (Some(from), Some(of)) = (self.rewrite.ty(x).quant.clone(), self.rewrite.ty(weights).quant.clone()) else {
            return Ok(None);
        };
        let scale: Vec<f32> = of.scale.iter().map(|s| s * from.scale()).collect();
        if !scale.iter().all(|s| s.is_normal()) {
            return Ok(None);
        }
        let mut inputs = vec![x, weights];
        if let Some(bias) = bias {
            // Layers may share weights, but each has a bias in steps of its own.
            if !self.rewrite.builder.charge(result.shape.last().map_or(0, |c| c.saturating_mul(4))) {
                return Ok(None);
            }
            let bias = self.rewrite.value(bias)?;
            let Some(codes) = self.bias_codes(bias, &scale) else { return Ok(None) };
            let axis = (scale.len() > 1).then_some(0);
            let quant = QuantParams { zero_point: vec![0; scale.len()], scale, axis };
            let tensor = Tensor::from_vec([codes.len()], codes);
            let tensor = tensor.map_err(|e| ImportError::malformed(format!("node '{}'", maker.name), e.to_string()))?;
            inputs.push(self.rewrite.constant(&format!("{}/bias", maker.name), tensor, Some(quant)));
        }
        Ok(Some(self.emit(maker, maker.op.clone(), &inputs, result)?))
    }

    /// Weights with one pair of parameters or one an output channel, as signed codes.
    fn weights(&mut self, maker: &Node, w: ValueId) -> Option<ValueId> {
        let ty = self.rewrite.ty(w).clone();
        let mut quant = ty.quant?;
        if quant.axis.is_some_and(|a| a != 0) {
            return None;
        }
        match ty.dtype {
            DType::I8 => Some(w),
            DType::U8 if self.rewrite.builder.charge(ty.shape.elements()) => {
                let tensor = self.rewrite.builder.graph.constant(w)?;
                let codes: Vec<i8> = tensor.as_slice::<u8>().ok()?.iter().map(|&c| (c ^ 0x80) as i8).collect();
                let tensor = Tensor::from_vec(ty.shape, codes).ok()?;
                quant.zero_point.iter_mut().for_each(|z| *z -= 128);
                Some(self.rewrite.constant(&format!("{}/weights", maker.name), tensor, Some(quant)))
            }
            _ => None,
        }
    }

    /// The bias in steps of `scale`: the codes of the file where they already count so.
    fn bias_codes(&self, bias: ValueId, scale: &[f32]) -> Option<Vec<i32>> {
        let at = |i: usize| scale.get(if scale.len() == 1 { 0 } else { i }).copied().unwrap_or(f32::NAN);
        let graph = &self.rewrite.builder.graph;
        if let Some(codes) = self.rewrite.codes_of(bias) {
            let (tensor, quant) = (graph.constant(codes)?, graph.ty(codes).quant.as_ref()?);
            let Data::I32(list) = tensor.data() else { return None };
            let same = |i: usize| {
                let (s, z) = quant.at(i);
                z == 0 && (f64::from(s) - f64::from(at(i))).abs() <= 1e-5 * f64::from(at(i))
            };
            if (0..list.len()).all(same) {
                return Some(list.clone());
            }
            let real = |i: usize, c: i32| {
                let (s, z) = quant.at(i);
                f64::from(s) * (f64::from(c) - f64::from(z))
            };
            return list.iter().enumerate().map(|(i, &c)| step(real(i, c), at(i))).collect();
        }
        graph.constant(bias)?.to_f64().into_iter().enumerate().map(|(i, b)| step(b, at(i))).collect()
    }
}

/// A real in steps of a scale; none when it is not finite or does not fit.
fn step(real: f64, scale: f32) -> Option<i32> {
    let code = (real / f64::from(scale)).round_ties_even();
    (code.abs() <= f64::from(i32::MAX)).then_some(code as i32)
}

/// A scalar code.
fn encode(real: f64, quant: &QuantParams, dtype: DType) -> Option<Tensor> {
    let code = (real / f64::from(quant.scale())).round_ties_even() + f64::from(quant.zero_point());
    Tensor::from_f64(dtype, Shape::default(), &[code]).ok()
}

fn is_code(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8)
}

/// The range of reals that a clipping operator lets through.
fn range(kind: &UnaryKind) -> Option<(f64, f64)> {
    Some(match *kind {
        UnaryKind::Relu => (0.0, f64::INFINITY),
        UnaryKind::Relu6 => (0.0, 6.0),
        UnaryKind::ReluN1To1 => (-1.0, 1.0),
        UnaryKind::Clip { min, max } => (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY)),
        _ => return None,
    })
}

/// True when every code stands for a real inside the range.
fn covers(low: f64, high: f64, quant: &QuantParams, dtype: DType) -> bool {
    let Some((first, last)) = dtype.integer_range() else { return false };
    let real = |code: i128| f64::from(quant.scale()) * (code as f64 - f64::from(quant.zero_point()));
    low <= real(first) && real(last) <= high
}
