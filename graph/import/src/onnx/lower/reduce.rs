//! Reductions, softmax and running sums.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{BinaryKind, Op, ReduceKind, UnaryKind};
use tandem_tensor::{DType, Shape};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    let kind = match n.op() {
        "ReduceSum" | "ReduceLogSum" => ReduceKind::Sum,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Prod,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceLogSumExp" => ReduceKind::LogSumExp,
        "ArgMax" | "ArgMin" => return Some(arg_max(l, n)),
        "Softmax" | "LogSoftmax" => return Some(softmax(l, n)),
        "CumSum" => return Some(cumsum(l, n)),
        _ => return None,
    };
    Some(reduce(l, n, kind))
}

fn reduce(l: &mut Lower<'_>, n: &Item<'_>, kind: ReduceKind) -> Results {
    let x = n.input(0)?;
    let rank = l.shape(x).rank();
    let stated = match n.ints("axes") {
        Some(list) => Some(list.to_vec()),
        None => l.known_integers(n, 1, "axes")?,
    };
    let mut axes = match stated.filter(|list| !list.is_empty()) {
        Some(list) => l.axes(n, &list, rank)?,
        None if n.flag("noop_with_empty_axes") => Vec::new(),
        None => (0..rank).collect(),
    };
    axes.sort_unstable();
    let keep_dims = n.int("keepdims", 1) != 0;
    // A boolean maximum is that of the numbers 0 and 1; the one over nothing is false, the smallest of them.
    let dtype = l.dtype(x);
    let value = if dtype == DType::Bool { l.cast(x, DType::U8)? } else { x };
    let y = if axes.is_empty() { elements(l, kind, value)? } else { l.reduce(kind, value, axes, keep_dims)? };
    let y = if n.op() == "ReduceLogSum" { l.unary(UnaryKind::Log, y)? } else { y };
    one(l.cast(y, dtype)?)
}

/// The reduction of every element alone.
fn elements(l: &mut Lower<'_>, kind: ReduceKind, x: ValueId) -> Result<ValueId, ImportError> {
    match kind {
        ReduceKind::L1 | ReduceKind::L2 => l.unary(UnaryKind::Abs, x),
        ReduceKind::SumSquare => l.binary(BinaryKind::Mul, x, x),
        _ => Ok(x),
    }
}

fn arg_max(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let axis = l.axis(n, n.int("axis", 0), l.shape(x).rank())?;
    let op = Op::ArgMax {
        axis,
        keep_dims: n.int("keepdims", 1) != 0,
        select_last: n.flag("select_last_index"),
        min: n.op() == "ArgMin",
        dtype: DType::I64,
    };
    one(l.emit(op, &[x], DType::I64)?)
}

fn softmax(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, joins) = (n.input(0)?, l.opset < 13);
    one(softmax_of(l, n, x, joins)?)
}

/// Before opset 13 everything from the axis on is one axis: `joins`.
pub(super) fn softmax_of(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, joins: bool) -> Result<ValueId, ImportError> {
    let from = l.shape(x);
    let axis = l.axis(n, n.int("axis", if joins { 1 } else { -1 }), from.rank())?;
    let log = n.op() == "LogSoftmax";
    let dtype = l.dtype(x);
    // Trailing axes of extent 1 change nothing.
    if !joins || from[axis + 1..].iter().all(|&d| d == 1) {
        return l.emit(Op::Softmax { axis, beta: 1.0, log }, &[x], dtype);
    }
    let product = |part: &[usize]| Shape(part.to_vec()).elements();
    let flat = l.reshape(x, [product(&from[..axis]), product(&from[axis..])])?;
    let y = l.emit(Op::Softmax { axis: 1, beta: 1.0, log }, &[flat], dtype)?;
    l.reshape(y, from)
}

fn cumsum(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let axis = l.known_integers(n, 1, "axis")?.and_then(|v| v.first().copied());
    let axis = axis.ok_or_else(|| n.malformed("its axis is missing"))?;
    let axis = l.axis(n, axis, l.shape(x).rank())?;
    let dtype = l.dtype(x);
    one(l.emit(Op::CumSum { axis, exclusive: n.flag("exclusive"), reverse: n.flag("reverse") }, &[x], dtype)?)
}
