//! Operators that move elements.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{BinaryKind, Op, PadMode};
use tandem_tensor::{DType, Shape, Tensor};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Transpose" => transpose(l, n),
        "Slice" => slice(l, n),
        "Pad" => pad(l, n),
        "Concat" => concat(l, n),
        "Split" => split(l, n),
        "Gather" => gather(l, n),
        "SpaceToDepth" => space_to_depth(l, n),
        "DepthToSpace" => depth_to_space(l, n),
        "Trilu" => trilu(l, n),
        "OneHot" => one_hot(l, n),
        _ => return None,
    })
}

fn transpose(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let rank = l.shape(x).rank();
    let perm = match n.ints("perm") {
        Some(list) => l.axes(n, list, rank)?,
        None => (0..rank).rev().collect(),
    };
    if perm.len() != rank {
        return Err(n.malformed(format!("its permutation {perm:?} does not go with {}", l.shape(x))));
    }
    one(l.transpose(x, perm)?)
}

fn slice(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let rank = from.rank();
    let attributes = l.opset < 10;
    let list = |l: &Lower<'_>, index: usize, name: &'static str| match attributes {
        true => Ok(n.ints(name).map(<[i64]>::to_vec)),
        false => l.known_integers(n, index, name),
    };
    let missing = |name: &str| n.malformed(format!("its '{name}' are missing"));
    let starts = list(l, 1, "starts")?.ok_or_else(|| missing("starts"))?;
    let ends = list(l, 2, "ends")?.ok_or_else(|| missing("ends"))?;
    let axes = match list(l, 3, "axes")? {
        Some(list) => l.axes(n, &list, rank)?,
        None => (0..starts.len()).collect(),
    };
    let steps = if attributes { None } else { l.known_integers(n, 4, "steps")? };
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if axes.iter().any(|&a| a >= rank) || [starts.len(), ends.len(), steps.len()].iter().any(|&c| c != axes.len()) {
        return Err(n.malformed("its starts, ends, axes and steps do not go together"));
    }
    let (mut begin, mut size, mut step) = (vec![0usize; rank], from.0.clone(), vec![1i64; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let extent = from[axis] as i64;
        if steps[i] == 0 || steps[i] == i64::MIN {
            return Err(n.malformed(format!("its step {} is not possible", steps[i])));
        }
        let forward = steps[i] > 0;
        let place = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        // Going back, the end lies one before the first element at most.
        let (first, last) = match forward {
            true => (place(starts[i]).clamp(0, extent), place(ends[i]).clamp(0, extent)),
            false => (place(starts[i]).clamp(-1, extent - 1), place(ends[i]).clamp(-1, extent - 1)),
        };
        let distance = if forward { last - first } else { first - last };
        let count = if distance <= 0 { 0 } else { (distance - 1) / steps[i].abs() + 1 };
        begin[axis] = if count == 0 { 0 } else { first as usize };
        size[axis] = count as usize;
        step[axis] = if count == 0 { 1 } else { steps[i] };
    }
    if size == from.0 && step.iter().all(|&s| s == 1) {
        return one(x);
    }
    let dtype = l.dtype(x);
    one(l.emit(Op::Slice { begin, size, step }, &[x], dtype)?)
}

fn pad(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let rank = l.shape(x).rank();
    let dtype = l.dtype(x);
    let pads = match n.ints("pads") {
        Some(list) => list.to_vec(),
        None => l.known_integers(n, 1, "pads")?.ok_or_else(|| n.malformed("its pads are missing"))?,
    };
    let axes = match l.known_integers(n, 3, "axes")? {
        Some(list) => l.axes(n, &list, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(n.malformed(format!("it has {} pads for {} axes", pads.len(), axes.len())));
    }
    let mut amount = vec![(0, 0); rank];
    for (i, &axis) in axes.iter().enumerate() {
        amount[axis] = (pads[i], pads[i + axes.len()]);
    }
    let mode = match n.text("mode").unwrap_or("constant") {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return Err(n.unsupported(format!("mode {other:?} is not known"))),
    };
    let mut operands = vec![x];
    if mode == PadMode::Constant {
        let value = match n.optional(2) {
            Some(value) => value,
            None => l.scalar(dtype, n.float("value", 0.0).into())?,
        };
        operands.push(l.reshape(value, Shape::default())?);
    }
    if amount.iter().all(|&a| a == (0, 0)) {
        return one(x);
    }
    let quant = l.builder.graph.ty(x).quant.clone().filter(|q| q.is_per_tensor());
    let y = l.emit(Op::Pad { amount, mode }, &operands, dtype)?;
    if let Some(value) = l.builder.graph.values.get_mut(y.0) {
        value.ty.quant = quant;
    }
    one(y)
}

fn concat(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let mut parts = Vec::with_capacity(n.inputs.len());
    for i in 0..n.inputs.len() {
        parts.push(n.input(i)?);
    }
    let first = n.input(0)?;
    let axis = l.axis(n, n.int("axis", 0), l.shape(first).rank())?;
    one(if parts.len() == 1 { first } else { l.concat(&parts, axis)? })
}

fn split(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let axis = l.axis(n, n.int("axis", 0), from.rank())?;
    let extent = from[axis];
    let stated = match n.ints("split") {
        Some(list) => Some(list.to_vec()),
        None => l.known_integers(n, 1, "split")?,
    };
    let sizes: Vec<usize> = match stated {
        Some(list) => {
            let sizes: Result<Vec<usize>, _> = list.iter().map(|&s| usize::try_from(s)).collect();
            sizes.map_err(|_| n.malformed("a part has a negative size"))?
        }
        None => {
            let parts = n.int("num_outputs", n.node.output.len() as i64);
            let parts = usize::try_from(parts).ok().filter(|&p| p > 0 && p <= 1 << 16);
            let parts = parts.ok_or_else(|| n.malformed("its number of parts is not possible"))?;
            let size = extent.div_ceil(parts);
            (0..parts).map(|i| size.min(extent.saturating_sub(i.saturating_mul(size)))).collect()
        }
    };
    if sizes.iter().try_fold(0usize, |a, &s| a.checked_add(s)) != Some(extent) {
        return Err(n.malformed(format!("its parts {sizes:?} do not make up the extent {extent}")));
    }
    let mut begin = 0;
    let mut results = Vec::with_capacity(sizes.len());
    for (i, &size) in sizes.iter().enumerate() {
        results.push(if n.wants(i) { Some(l.slice(x, axis, begin, size)?) } else { None });
        begin += size;
    }
    Ok(results)
}

fn gather(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, index) = (n.input(0)?, n.input(1)?);
    let axis = l.axis(n, n.int("axis", 0), l.shape(x).rank())?;
    let dtype = l.dtype(x);
    let quant = l.builder.graph.ty(x).quant.clone().filter(|q| q.is_per_tensor());
    let y = l.emit(Op::Gather { axis }, &[x, index], dtype)?;
    if let Some(value) = l.builder.graph.values.get_mut(y.0) {
        value.ty.quant = quant;
    }
    one(y)
}

fn block(n: &Item<'_>) -> Result<usize, ImportError> {
    let size = usize::try_from(n.int("blocksize", 0)).ok().filter(|&b| (1..=1 << 15).contains(&b));
    size.ok_or_else(|| n.malformed("its blocksize is not possible"))
}

fn planes(l: &Lower<'_>, n: &Item<'_>, x: ValueId) -> Result<[usize; 4], ImportError> {
    let shape = l.shape(x);
    <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| n.malformed(format!("its operand {shape} has not four axes")))
}

fn space_to_depth(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let (b, [batch, channels, rows, columns]) = (block(n)?, planes(l, n, x)?);
    if rows % b != 0 || columns % b != 0 {
        return Err(n.malformed(format!("blocks of {b} do not tile {}", l.shape(x))));
    }
    let x = l.reshape(x, [batch, channels, rows / b, b, columns / b, b])?;
    let perm = match n.text("mode") {
        Some("CRD") => vec![0, 1, 3, 5, 2, 4],
        _ => vec![0, 3, 5, 1, 2, 4],
    };
    let x = l.transpose(x, perm)?;
    one(l.reshape(x, [batch, channels * b * b, rows / b, columns / b])?)
}

fn depth_to_space(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let (b, [batch, channels, rows, columns]) = (block(n)?, planes(l, n, x)?);
    if channels % (b * b) != 0 {
        return Err(n.malformed(format!("{channels} channels do not make blocks of {b} by {b}")));
    }
    let deep = channels / (b * b);
    let (split, perm) = match n.text("mode") {
        Some("CRD") => ([batch, deep, b, b, rows, columns], vec![0, 1, 4, 2, 5, 3]),
        _ => ([batch, b, b, deep, rows, columns], vec![0, 3, 4, 1, 5, 2]),
    };
    let x = l.reshape(x, split)?;
    let x = l.transpose(x, perm)?;
    one(l.reshape(x, [batch, deep, rows * b, columns * b])?)
}

fn trilu(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let k = l.known_integers(n, 1, "k")?.and_then(|v| v.first().copied()).unwrap_or(0);
    let upper = n.int("upper", 1) != 0;
    let dtype = l.dtype(x);
    one(l.emit(Op::Trilu { k, upper }, &[x], dtype)?)
}

/// Compares indices with the positions of a new axis.
fn one_hot(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (index, values) = (n.input(0)?, n.input(2)?);
    let depth = l.known(n, 1, "depth")?.and_then(|t| t.to_f64().first().copied());
    let depth = depth.filter(|d| (1.0..=65536.0).contains(d)).map(|d| d as usize);
    let depth = depth.ok_or_else(|| n.malformed("its depth is not between 1 and 65536"))?;
    let from = l.shape(index);
    let axis = l.axis(n, n.int("axis", -1), from.rank() + 1)?;
    let index = l.cast(index, DType::I64)?;
    let negative = l.scalar(DType::I64, 0.0)?;
    let negative = l.binary(BinaryKind::Less, index, negative)?;
    let wrapped = l.with_scalar(BinaryKind::Add, index, depth as f64)?;
    let index = l.select(negative, wrapped, index)?;
    let mut wide = from.0;
    wide.insert(axis, 1);
    let index = l.reshape(index, wide.clone())?;
    let mut line = vec![1; wide.len()];
    line[axis] = depth;
    l.charge(n, depth.saturating_mul(8))?;
    let positions = n.tensor(Tensor::from_vec(line, (0..depth as i64).collect::<Vec<_>>()))?;
    let positions = l.constant(positions);
    let hit = l.binary(BinaryKind::Equal, index, positions)?;
    let off = l.slice(values, 0, 0, 1)?;
    let off = l.reshape(off, Shape::default())?;
    let on = l.slice(values, 0, 1, 1)?;
    let on = l.reshape(on, Shape::default())?;
    one(l.select(hit, on, off)?)
}
