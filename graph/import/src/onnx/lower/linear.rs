//! Matrix products.

use super::conv::less_zero;
use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op};
use tandem_tensor::{DType, Shape};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "MatMul" => n.input(0).and_then(|a| n.input(1).and_then(|b| product(l, a, b))).and_then(one),
        "MatMulInteger" => matmul_integer(l, n),
        "Gemm" => gemm(l, n),
        _ => return None,
    })
}

/// `a @ b`; weights that do not depend on the input make a dense layer.
pub(super) fn product(l: &mut Lower<'_>, a: ValueId, b: ValueId) -> Result<ValueId, ImportError> {
    let dtype = l.dtype(a);
    product_in(l, a, b, dtype)
}

/// The same with a result of this dtype.
fn product_in(l: &mut Lower<'_>, a: ValueId, b: ValueId, dtype: DType) -> Result<ValueId, ImportError> {
    if l.shape(b).rank() == 2 && l.shape(a).rank() >= 1 && l.is_fixed(b) {
        let w = l.transpose(b, vec![1, 0])?;
        return l.emit(Op::Dense { act: Act::None }, &[a, w], dtype);
    }
    l.emit(Op::MatMul { transpose_a: false, transpose_b: false }, &[a, b], dtype)
}

/// Products of integers less their zero points; that of a goes with its rows, that of b with its columns.
fn matmul_integer(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(1)?);
    let rows = l.shape(a).rank().saturating_sub(2);
    let columns = l.shape(b).rank().saturating_sub(1);
    let a = less_zero(l, a, n.optional(2), rows)?;
    let b = less_zero(l, b, n.optional(3), columns)?;
    one(product_in(l, a, b, DType::I32)?)
}

fn gemm(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(1)?);
    let (alpha, beta) = (n.float("alpha", 1.0), n.float("beta", 1.0));
    let (flip_a, flip_b) = (n.flag("transA"), n.flag("transB"));
    if l.shape(a).rank() != 2 || l.shape(b).rank() != 2 {
        return Err(n.malformed(format!("its operands {} and {} are no matrices", l.shape(a), l.shape(b))));
    }
    let dtype = l.dtype(a);
    let mut c = n.optional(2);
    let y = if l.is_fixed(b) {
        let a = if flip_a { l.transpose(a, vec![1, 0])? } else { a };
        let mut w = if flip_b { b } else { l.transpose(b, vec![1, 0])? };
        if alpha != 1.0 {
            w = l.with_scalar(BinaryKind::Mul, w, alpha.into())?;
        }
        let outer = l.shape(w).first().copied().unwrap_or(0);
        let mut operands = vec![a, w];
        // A bias of one row joins the layer; anything else is added behind it.
        let is_bias = |s: &Shape| s.last() == Some(&outer) && s.elements() == outer && s.rank() <= 2;
        if let Some(bias) = c.filter(|&c| beta == 1.0 && l.is_fixed(c) && is_bias(&l.shape(c))) {
            operands.push(l.reshape(bias, [outer])?);
            c = None;
        }
        l.emit(Op::Dense { act: Act::None }, &operands, dtype)?
    } else {
        let y = l.emit(Op::MatMul { transpose_a: flip_a, transpose_b: flip_b }, &[a, b], dtype)?;
        if alpha == 1.0 { y } else { l.with_scalar(BinaryKind::Mul, y, alpha.into())? }
    };
    let Some(c) = c.filter(|_| beta != 0.0) else { return one(y) };
    let c = if beta == 1.0 { c } else { l.with_scalar(BinaryKind::Mul, c, beta.into())? };
    one(l.binary(BinaryKind::Add, y, c)?)
}

impl Lower<'_> {
    /// True for a constant, also behind a dequantisation, which does not fold before the integer operators are made.
    pub(super) fn is_fixed(&self, id: ValueId) -> bool {
        self.builder.graph.constant(id).is_some() || self.fixed.contains(&id)
    }
}
