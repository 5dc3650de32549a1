//! Which definition an operator of a graph is an instance of.

use super::{activation, operation};
use crate::def::OpDef;
use crate::{Act, BinaryKind, Op, PoolKind};
use tandem_tensor::{DType, TensorType};

/// The definition that `op` on operands of these types computes with its extents, choices and scalars; `None` where there is
/// none, as for convolutions of floats or in groups.
///
/// Codes have to be `i8`, with weights whose zero points are 0, and the arithmetic is that of
/// [`Arith::Xnnpack`](crate::Arith::Xnnpack). Leading axes count as rows, and a missing spatial axis as an extent of 1.
pub fn definition(op: &Op, operands: &[&TensorType]) -> Option<&'static OpDef> {
    let (&x, more) = operands.split_first()?;
    let codes = is_codes(x);
    let name =
        match op {
            Op::Conv(conv) if codes && x.shape.rank() <= 4 => {
                let channels = *x.shape.last()?;
                centred(more.first()?).then_some(())?;
                match conv.groups {
                    1 => "conv2d.i8",
                    groups if groups == channels => "depthwise.i8",
                    _ => return None,
                }
            }
            // The sums of codes in gemm.i8 are of codes with zero point 0; with another one the bias has to carry it.
            Op::Dense { act } if codes && matches!(act, Act::None | Act::Relu) => {
                centred(more.first()?).then_some("gemm.i8")?
            }
            Op::Dense { act: Act::None | Act::Relu } => gemm(x, more)?,
            Op::MatMul { transpose_a: false, .. } if x.shape.rank() == 2 && more.first()?.shape.rank() == 2 => {
                if codes { centred(more.first()?).then_some("gemm.i8")? } else { gemm(x, more)? }
            }
            Op::Pool(pool) if codes && x.shape.rank() <= 4 => match pool.kind {
                PoolKind::Max => "max_pool.i8",
                PoolKind::Average => "average_pool.i8",
            },
            Op::Binary { kind: BinaryKind::Add, .. } if codes => {
                let b = more.first()?;
                (is_codes(b) && b.shape == x.shape).then_some("add.i8")?
            }
            Op::Softmax { axis, .. } if axis + 1 == x.shape.rank() && x.quant.is_none() => match x.dtype {
                DType::F32 => "softmax.f32",
                DType::BF16 => "softmax.bf16",
                _ => return None,
            },
            Op::Unary(kind) if x.dtype == DType::BF16 && activation::KINDS.contains(kind) => "activation.bf16",
            _ => return None,
        };
    operation(name).map(|operation| operation.def())
}

fn is_codes(ty: &TensorType) -> bool {
    ty.dtype == DType::I8 && ty.quant.as_ref().is_some_and(|quant| quant.is_per_tensor())
}

/// Whether these are codes of weights that all have zero point 0.
fn centred(weights: &TensorType) -> bool {
    let outer = |axis: Option<usize>| axis.is_none_or(|axis| axis == 0);
    weights.dtype == DType::I8
        && weights
            .quant
            .as_ref()
            .is_some_and(|quant| quant.zero_point.iter().all(|&zero| zero == 0) && outer(quant.axis))
}

fn gemm(x: &TensorType, more: &[&TensorType]) -> Option<&'static str> {
    let plain = |ty: &TensorType| ty.quant.is_none() && ty.dtype == x.dtype;
    let name = match x.dtype {
        DType::BF16 => "gemm.bf16",
        DType::F16 => "gemm.f16",
        DType::F32 => "gemm.f32",
        _ => return None,
    };
    (plain(x) && plain(more.first()?)).then_some(name)
}
