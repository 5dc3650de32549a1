//! Quantised operators, all in one form: dequantise, compute in reals, quantise.
//!
//! A later pass makes one integer operator of each such group. Parameters that are only known at run time are computed
//! with explicitly.

use super::conv::convolve;
use super::linear::product;
use super::{Item, Lower, Results, one, pool};
use crate::ImportError;
use crate::builder::ResultSpec;
use crate::onnx::tensor::Elem;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op, ReduceKind, UnaryKind};
use tandem_tensor::{DType, QuantParams};

/// Scale and zero point of a value, as operands of its node.
struct Params {
    scale: ValueId,
    zero: Option<ValueId>,
    /// The axis that a list of scales goes with.
    axis: usize,
    /// Elements of that axis that share a scale; 0 when every index has its own.
    block: usize,
}

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "QuantizeLinear" => quantize_linear(l, n),
        "DequantizeLinear" => dequantize_linear(l, n),
        "DynamicQuantizeLinear" => dynamic_quantize(l, n),
        "QLinearConv" => qlinear_conv(l, n),
        "QLinearMatMul" => qlinear_matmul(l, n),
        "QLinearAdd" | "QLinearMul" if n.is_microsoft() => qlinear_binary(l, n),
        "QLinearSigmoid" | "QLinearLeakyRelu" if n.is_microsoft() => qlinear_unary(l, n),
        "QLinearAveragePool" | "QLinearGlobalAveragePool" if n.is_microsoft() => qlinear_pool(l, n),
        "QLinearConcat" if n.is_microsoft() => qlinear_concat(l, n),
        "QLinearSoftmax" if n.is_microsoft() => qlinear_softmax(l, n),
        "QGemm" if n.is_microsoft() => qgemm(l, n),
        _ => return None,
    })
}

fn quantize_linear(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let params = params(l, n, x, 1, 2)?;
    let stated = i32::try_from(n.int("output_dtype", 0)).ok().filter(|&t| t != 0);
    let elem = match (params.zero, stated) {
        (Some(zero), _) => l.elem(zero),
        (None, None) => Elem::Plain(DType::U8),
        (None, Some(t)) => Elem::of(t).ok_or_else(|| n.unsupported(format!("output_dtype {t} is not supported")))?,
    };
    one(quantize(l, n, x, &params, elem)?)
}

fn dequantize_linear(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let params = params(l, n, x, 1, 2)?;
    one(dequantize(l, n, x, &params)?)
}

fn params(l: &Lower<'_>, n: &Item<'_>, x: ValueId, scale: usize, zero: usize) -> Result<Params, ImportError> {
    let scale = n.input(scale)?;
    let rank = l.shape(x).rank();
    let listed = l.shape(scale).elements() != 1;
    let axis = if listed { l.axis(n, n.int("axis", 1), rank)? } else { 0 };
    let block = usize::try_from(n.int("block_size", 0)).map_err(|_| n.malformed("its block_size is negative"))?;
    Ok(Params { scale, zero: n.optional(zero), axis, block })
}

/// Parameters at fixed operand positions of a QLinear operator; lists of scales go with `axis`.
fn pair(n: &Item<'_>, scale: usize, axis: usize) -> Result<Params, ImportError> {
    Ok(Params { scale: n.input(scale)?, zero: n.optional(scale + 1), axis, block: 0 })
}

/// The parameters as numbers, when they are constants that [`QuantParams`] can hold.
fn known(l: &Lower<'_>, n: &Item<'_>, p: &Params) -> Result<Option<QuantParams>, ImportError> {
    let Some(scales) = l.builder.graph.constant(p.scale) else { return Ok(None) };
    let zeros = match p.zero {
        None => None,
        Some(zero) => match l.builder.graph.constant(zero) {
            None => return Ok(None),
            Some(t) => Some(t),
        },
    };
    let scale: Vec<f32> = scales.to_f64().into_iter().map(|s| s as f32).collect();
    if let Some(bad) = scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return Err(n.malformed(format!("its scale is {bad}; scales must be finite and positive")));
    }
    if p.block != 0 || scales.shape().rank() > 1 {
        return Ok(None);
    }
    let mut zero_point: Vec<i32> = match zeros.map(|z| z.to_i64()) {
        None => vec![0; scale.len()],
        Some(None) => return Ok(None),
        Some(Some(list)) => list.into_iter().map(|z| z as i32).collect(),
    };
    if zero_point.len() == 1 && scale.len() > 1 {
        zero_point = vec![zero_point[0]; scale.len()];
    }
    if zero_point.len() != scale.len() {
        return Err(n.malformed(format!("it has {} scales but {} zero points", scale.len(), zero_point.len())));
    }
    let axis = (scale.len() != 1).then_some(p.axis);
    Ok(Some(QuantParams { scale, zero_point, axis }))
}

fn check_axis(l: &Lower<'_>, n: &Item<'_>, x: ValueId, quant: &QuantParams) -> Result<(), ImportError> {
    let shape = l.shape(x);
    match quant.axis {
        Some(axis) if shape.get(axis) != Some(&quant.scale.len()) => {
            Err(n.malformed(format!("its {} scales do not go with axis {axis} of {shape}", quant.scale.len())))
        }
        _ => Ok(()),
    }
}

fn dequantize(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, p: &Params) -> Result<ValueId, ImportError> {
    let real = l.dtype(p.scale);
    let elem = l.elem(x);
    if let Elem::Coded(code) = elem {
        // The zero point of a floating-point code is zero by definition.
        let value = super::cast::decode(l, n, x, code)?;
        let value = l.cast(value, real)?;
        let scale = spread(l, n, p.scale, x, p)?;
        return l.binary(BinaryKind::Mul, value, scale);
    }
    let Some(quant) = known(l, n, p)? else { return dequantize_dynamically(l, n, x, p) };
    check_axis(l, n, x, &quant)?;
    match l.builder.graph.ty(x).quant.clone() {
        None => {}
        Some(present) if present == quant => {}
        Some(present) if l.builder.graph.constant(x).is_none() && present.is_per_tensor() && quant.is_per_tensor() => {
            // The codes were made with other parameters: a reading of the same codes is an affine map of the first one.
            let first = plain_dequantize(l, x, real)?;
            let (s, z) = (f64::from(quant.scale()), f64::from(quant.zero_point()));
            let (s0, z0) = (f64::from(present.scale()), f64::from(present.zero_point()));
            let scaled = l.with_scalar(BinaryKind::Mul, first, s / s0)?;
            return l.with_scalar(BinaryKind::Add, scaled, s * (z0 - z));
        }
        Some(_) if l.builder.graph.constant(x).is_some() => {
            // A constant with two readings becomes two constants.
            let tensor = l.builder.graph.constant(x).map(|t| t.as_ref().clone());
            let Some(tensor) = tensor else { return Err(n.malformed("its constant is gone")) };
            l.charge(n, tensor.len().saturating_mul(tensor.dtype().bytes()))?;
            let copy = l.constant(tensor);
            set_quant(l, copy, quant);
            return plain_dequantize(l, copy, real);
        }
        Some(_) => return dequantize_dynamically(l, n, x, p),
    }
    set_quant(l, x, quant);
    plain_dequantize(l, x, real)
}

fn set_quant(l: &mut Lower<'_>, x: ValueId, quant: QuantParams) {
    if let Some(value) = l.builder.graph.values.get_mut(x.0) {
        value.ty.quant = Some(quant);
    }
}

/// A dequantisation that never folds: the integer operators want the codes.
fn plain_dequantize(l: &mut Lower<'_>, x: ValueId, real: DType) -> Result<ValueId, ImportError> {
    let shapes = l.builder.shapes(&l.current, &Op::Dequantize, &[x])?;
    let name = l.builder.unique(&format!("{}/real", l.current));
    let shape = shapes.into_iter().next().unwrap_or_default();
    let y = l.builder.graph.add_value(name, tandem_tensor::TensorType::new(real, shape));
    l.builder.graph.add_node(l.current.clone(), Op::Dequantize, [x], [y]);
    if l.is_fixed(x) {
        l.fixed.insert(y);
    }
    Ok(y)
}

fn dequantize_dynamically(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, p: &Params) -> Result<ValueId, ImportError> {
    let real = l.dtype(p.scale);
    // Differences of codes fit i32; reals of half precision would round the larger ones.
    let mut value = l.cast(x, DType::I32)?;
    if let Some(zero) = p.zero {
        let zero = l.cast(zero, DType::I32)?;
        let zero = spread(l, n, zero, x, p)?;
        value = l.binary(BinaryKind::Sub, value, zero)?;
    }
    let value = l.cast(value, real)?;
    let scale = spread(l, n, p.scale, x, p)?;
    l.binary(BinaryKind::Mul, value, scale)
}

/// Parameters in a shape that broadcasts to x.
fn spread(l: &mut Lower<'_>, n: &Item<'_>, v: ValueId, x: ValueId, p: &Params) -> Result<ValueId, ImportError> {
    let (shape, xs) = (l.shape(v), l.shape(x));
    if shape.elements() == 1 {
        return l.reshape(v, tandem_tensor::Shape::default());
    }
    if p.block != 0 {
        // Every scale stands for `block` neighbours; the last ones may be cut off.
        let Some(&blocks) = shape.get(p.axis).filter(|_| shape.rank() == xs.rank()) else {
            return Err(n.malformed(format!("its blocked parameters {shape} do not go with {xs}")));
        };
        let mut split = shape.0.clone();
        split.insert(p.axis + 1, 1);
        let v = l.reshape(v, split.clone())?;
        split[p.axis + 1] = p.block;
        let v = l.expand(v, split)?;
        let mut joined = shape.0.clone();
        joined[p.axis] = blocks.checked_mul(p.block).ok_or_else(|| n.malformed("its blocks are absurdly large"))?;
        let all = joined[p.axis];
        let v = l.reshape(v, joined)?;
        let size = xs[p.axis];
        if size > all {
            return Err(n.malformed(format!("its {blocks} blocks of {} do not cover {size} elements", p.block)));
        }
        return if size < all { l.slice(v, p.axis, 0, size) } else { Ok(v) };
    }
    if shape.rank() > 1 {
        return Ok(v);
    }
    let mut wide = vec![1; xs.rank()];
    if let Some(extent) = wide.get_mut(p.axis) {
        *extent = shape.elements();
    }
    l.reshape(v, wide)
}

fn quantize(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, p: &Params, elem: Elem) -> Result<ValueId, ImportError> {
    let Some((low, high)) = elem.integer_range() else {
        return Err(n.unsupported("floats of 8 bits and fewer can be read but not made"));
    };
    let dtype = elem.dtype();
    let quant = known(l, n, p)?;
    if let (Some(quant), Elem::Plain(DType::I8 | DType::U8 | DType::I16 | DType::U16)) = (quant, elem) {
        check_axis(l, n, x, &quant)?;
        let spec = ResultSpec { name: format!("{}/codes", n.name), dtype, quant: Some(quant) };
        let ids = l.builder.node(&n.name, Op::Quantize, &[x], vec![spec])?;
        return super::first_of(&ids, &n.name);
    }
    let scale = spread(l, n, p.scale, x, p)?;
    let x = l.cast(x, l.dtype(scale))?;
    let value = l.binary(BinaryKind::Div, x, scale)?;
    let value = l.unary(UnaryKind::Round, value)?;
    // Half precision cannot hold the sum of a 16-bit code and its zero point.
    let mut value = l.cast(value, DType::F32)?;
    if let Some(zero) = p.zero {
        let zero = spread(l, n, zero, x, p)?;
        let zero = l.cast(zero, DType::F32)?;
        value = l.binary(BinaryKind::Add, value, zero)?;
    }
    let value = l.unary(UnaryKind::Clip { min: Some(low as f64), max: Some(high as f64) }, value)?;
    let codes = l.cast(value, dtype)?;
    l.set_elem(codes, elem);
    Ok(codes)
}

/// Quantises to the element type of the zero point.
fn requantize(l: &mut Lower<'_>, n: &Item<'_>, y: ValueId, p: &Params, default: DType) -> Results {
    let elem = p.zero.map_or(Elem::Plain(default), |z| l.elem(z));
    one(quantize(l, n, y, p, elem)?)
}

/// Scale and zero point of what comes, for 8 bits without sign.
fn dynamic_quantize(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let axes: Vec<usize> = (0..l.shape(x).rank()).collect();
    let zero = l.scalar(DType::F32, 0.0)?;
    let low = l.reduce(ReduceKind::Min, x, axes.clone(), false)?;
    let low = l.binary(BinaryKind::Min, low, zero)?;
    let high = l.reduce(ReduceKind::Max, x, axes, false)?;
    let high = l.binary(BinaryKind::Max, high, zero)?;
    let span = l.binary(BinaryKind::Sub, high, low)?;
    let scale = l.with_scalar(BinaryKind::Div, span, 255.0)?;
    let start = l.binary(BinaryKind::Div, low, scale)?;
    let start = l.unary(UnaryKind::Neg, start)?;
    let start = l.unary(UnaryKind::Clip { min: Some(0.0), max: Some(255.0) }, start)?;
    let start = l.unary(UnaryKind::Round, start)?;
    let point = l.cast(start, DType::U8)?;
    let p = Params { scale, zero: Some(point), axis: 0, block: 0 };
    let y = quantize(l, n, x, &p, Elem::Plain(DType::U8))?;
    Ok(vec![Some(y), Some(scale), Some(point)])
}

fn qlinear_conv(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, w) = (n.input(0)?, n.input(3)?);
    let code = l.dtype(x);
    let (px, pw, py) = (pair(n, 1, 1)?, pair(n, 4, 0)?, pair(n, 6, 1)?);
    let bias = match n.optional(8) {
        None => None,
        Some(bias) => Some(real_bias(l, n, bias, &px, &pw)?),
    };
    let x = dequantize(l, n, x, &px)?;
    let w = dequantize(l, n, w, &pw)?;
    let dtype = l.dtype(x);
    let y = convolve(l, n, [x, w], bias, dtype)?;
    requantize(l, n, y, &py, code)
}

/// The bias of a QLinear operator counts in steps of the product of both scales.
fn real_bias(l: &mut Lower<'_>, n: &Item<'_>, bias: ValueId, px: &Params, pw: &Params) -> Result<ValueId, ImportError> {
    if let (Some(x), Some(w)) = (known(l, n, px)?, known(l, n, pw)?)
        && let Some(tensor) = l.builder.graph.constant(bias).cloned()
    {
        let scale: Vec<f32> = w.scale.iter().map(|s| s * x.scale()).collect();
        let axis = (scale.len() > 1).then_some(0);
        if scale.iter().all(|s| s.is_finite() && *s > 0.0) {
            let quant = QuantParams { zero_point: vec![0; scale.len()], scale, axis };
            check_axis(l, n, bias, &quant)?;
            // Two layers may share a bias and read it with different scales.
            l.charge(n, tensor.len().saturating_mul(4))?;
            let copy = l.constant(tensor.as_ref().clone());
            set_quant(l, copy, quant);
            return plain_dequantize(l, copy, DType::F32);
        }
    }
    let x = l.cast(px.scale, DType::F32)?;
    let w = l.cast(pw.scale, DType::F32)?;
    let scale = l.binary(BinaryKind::Mul, x, w)?;
    let scale = if l.shape(scale).elements() == 1 { l.reshape(scale, tandem_tensor::Shape::default())? } else { scale };
    let bias = l.cast(bias, DType::F32)?;
    l.binary(BinaryKind::Mul, bias, scale)
}

fn qlinear_matmul(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(3)?);
    let code = l.dtype(a);
    let rows = l.shape(a).rank().saturating_sub(2);
    let columns = l.shape(b).rank().saturating_sub(1);
    let a = dequantize_wide(l, n, a, &pair(n, 1, rows)?)?;
    let b = dequantize_wide(l, n, b, &pair(n, 4, columns)?)?;
    let y = product(l, a, b)?;
    requantize(l, n, y, &pair(n, 6, 0)?, code)
}

/// Dequantises to `f32` at least: products of half precision would round before the quantisation does.
fn dequantize_wide(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, p: &Params) -> Result<ValueId, ImportError> {
    let scale = l.cast(p.scale, DType::F32)?;
    dequantize(l, n, x, &Params { scale, zero: p.zero, axis: p.axis, block: p.block })
}

fn qlinear_binary(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(3)?);
    let code = l.dtype(a);
    let a = dequantize(l, n, a, &pair(n, 1, 0)?)?;
    let b = dequantize(l, n, b, &pair(n, 4, 0)?)?;
    let kind = if n.op() == "QLinearAdd" { BinaryKind::Add } else { BinaryKind::Mul };
    let y = l.binary(kind, a, b)?;
    requantize(l, n, y, &pair(n, 6, 0)?, code)
}

fn qlinear_unary(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let code = l.dtype(x);
    let x = dequantize(l, n, x, &pair(n, 1, 0)?)?;
    let kind = match n.op() {
        "QLinearSigmoid" => UnaryKind::Sigmoid,
        _ => UnaryKind::LeakyRelu { alpha: n.float("alpha", 0.01) },
    };
    let y = l.unary(kind, x)?;
    requantize(l, n, y, &pair(n, 3, 0)?, code)
}

fn qlinear_pool(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    if n.flag("channels_last") {
        return Err(n.unsupported("channels_last is not known; the channels-first form is"));
    }
    let x = n.input(0)?;
    let code = l.dtype(x);
    let x = dequantize(l, n, x, &pair(n, 1, 0)?)?;
    let y = match n.op() {
        "QLinearAveragePool" => pool::average(l, n, x)?,
        _ => pool::global(l, x, ReduceKind::Mean)?,
    };
    requantize(l, n, y, &pair(n, 3, 0)?, code)
}

/// Operands: the parameters of the result, then triples of a part and its parameters.
fn qlinear_concat(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let first = n.input(2)?;
    let code = l.dtype(first);
    let axis = l.axis(n, n.int("axis", 0), l.shape(first).rank())?;
    let mut parts = Vec::new();
    for i in (2..n.inputs.len()).step_by(3) {
        let part = n.input(i)?;
        parts.push(dequantize(l, n, part, &pair(n, i + 1, 0)?)?);
    }
    let y = l.concat(&parts, axis)?;
    requantize(l, n, y, &pair(n, 0, 0)?, code)
}

fn qlinear_softmax(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let code = l.dtype(x);
    let joins = n.int("opset", 13) < 13;
    let x = dequantize(l, n, x, &pair(n, 1, 0)?)?;
    let y = super::reduce::softmax_of(l, n, x, joins)?;
    requantize(l, n, y, &pair(n, 3, 0)?, code)
}

fn qgemm(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(3)?);
    let code = l.dtype(a);
    let flip_b = n.flag("transB");
    let (pa, pb) = (pair(n, 1, 0)?, pair(n, 4, if flip_b { 0 } else { 1 })?);
    if n.float("alpha", 1.0) != 1.0 || l.shape(a).rank() != 2 || l.shape(b).rank() != 2 {
        return Err(n.unsupported("only matrices and alpha 1 are known"));
    }
    let bias = match n.optional(6) {
        None => None,
        Some(bias) => Some(real_bias(l, n, bias, &pa, &pb)?),
    };
    let a = dequantize(l, n, a, &pa)?;
    let b = dequantize(l, n, b, &pb)?;
    let a = if n.flag("transA") { l.transpose(a, vec![1, 0])? } else { a };
    let w = if flip_b { b } else { l.transpose(b, vec![1, 0])? };
    let mut operands = vec![a, w];
    operands.extend(bias);
    let y = l.emit(Op::Dense { act: Act::None }, &operands, DType::F32)?;
    if n.optional(7).is_none() {
        return one(y);
    }
    requantize(l, n, y, &pair(n, 7, 0)?, code)
}
