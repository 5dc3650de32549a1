//! Pools.

use super::conv::{frame, spatial, to_first, to_last};
use super::{Item, Lower, Results, first_of, one};
use crate::ImportError;
use crate::builder::ResultSpec;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op, Pool, PoolKind, ReduceKind};
use tandem_tensor::DType;

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "MaxPool" => max_pool(l, n),
        "AveragePool" => n.input(0).and_then(|x| average(l, n, x)).and_then(one),
        "GlobalAveragePool" => n.input(0).and_then(|x| global(l, x, ReduceKind::Mean)).and_then(one),
        "GlobalMaxPool" => n.input(0).and_then(|x| global(l, x, ReduceKind::Max)).and_then(one),
        _ => return None,
    })
}

pub(super) fn global(l: &mut Lower<'_>, x: ValueId, kind: ReduceKind) -> Result<ValueId, ImportError> {
    let rank = l.shape(x).rank();
    l.reduce(kind, x, (2..rank).collect(), true)
}

fn pool(l: &Lower<'_>, n: &Item<'_>, x: ValueId, kind: PoolKind) -> Result<Pool, ImportError> {
    let shape = l.shape(x);
    let f = frame(n, spatial(n, &shape)?, None)?;
    Ok(Pool {
        kind,
        kernel: f.kernel,
        stride: f.stride,
        dilation: f.dilation,
        pad: f.pad,
        ceil: n.flag("ceil_mode"),
        count_include_pad: n.flag("count_include_pad"),
        act: Act::None,
    })
}

pub(super) fn average(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    let pool = pool(l, n, x, PoolKind::Average)?;
    let dtype = l.dtype(x);
    let x = to_last(l, x)?;
    let y = l.emit(Op::Pool(pool), &[x], dtype)?;
    to_first(l, y)
}

fn max_pool(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let shape = l.shape(x);
    let pool = pool(l, n, x, PoolKind::Max)?;
    let dtype = l.dtype(x);
    let quant = l.builder.graph.ty(x).quant.clone();
    let last = to_last(l, x)?;
    let spec = |what: &str, dtype| ResultSpec { name: format!("{}/{what}", n.name), dtype, quant: None };
    let mut specs = vec![ResultSpec { quant, ..spec("max", dtype) }];
    if n.wants(1) {
        specs.push(spec("position", DType::I64));
    }
    let ids = l.builder.node(&n.name, Op::Pool(pool), &[last], specs)?;
    let y = to_first(l, first_of(&ids, &n.name)?)?;
    let Some(&position) = ids.get(1) else { return one(y) };
    let mut position = to_first(l, position)?;
    if n.flag("storage_order") {
        position = column_major(l, n, position, spatial(n, &shape)?)?;
    }
    Ok(vec![Some(y), Some(position)])
}

/// Positions whose first spatial axis runs fastest.
fn column_major(l: &mut Lower<'_>, n: &Item<'_>, position: ValueId, input: &[usize]) -> Result<ValueId, ImportError> {
    let &[rows, columns] = input else {
        return Err(n.unsupported("storage_order 1 is known for two spatial axes"));
    };
    let plane = (rows * columns) as f64;
    let remainder = |l: &mut Lower<'_>, v: ValueId, by: f64| -> Result<(ValueId, ValueId), ImportError> {
        let q = l.with_scalar(BinaryKind::Div, v, by)?;
        let whole = l.with_scalar(BinaryKind::Mul, q, by)?;
        Ok((q, l.binary(BinaryKind::Sub, v, whole)?))
    };
    let (_, inside) = remainder(l, position, plane)?;
    let base = l.binary(BinaryKind::Sub, position, inside)?;
    let (row, column) = remainder(l, inside, columns as f64)?;
    let step = l.with_scalar(BinaryKind::Mul, column, rows as f64)?;
    let place = l.binary(BinaryKind::Add, row, step)?;
    l.binary(BinaryKind::Add, base, place)
}
