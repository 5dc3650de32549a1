//! Normalisations.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{BinaryKind, ReduceKind, UnaryKind};
use tandem_tensor::DType;

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "BatchNormalization" => batch(l, n),
        "LayerNormalization" => layer(l, n),
        "RMSNormalization" => rms(l, n),
        "InstanceNormalization" => instance(l, n),
        "GroupNormalization" => group(l, n),
        "LpNormalization" => lp(l, n),
        _ => return None,
    })
}

/// A list of one element a channel, to broadcast to `[n, c, ..]`.
fn per_channel(l: &mut Lower<'_>, v: ValueId, rank: usize) -> Result<ValueId, ImportError> {
    let count = l.shape(v).elements();
    let mut shape = vec![1; rank.saturating_sub(1).max(1)];
    shape[0] = count;
    l.reshape(v, shape)
}

/// One multiplication and one addition a channel; both operands fold for a trained model.
fn batch(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    if n.flag("training_mode") || (1..5).any(|i| n.wants(i)) {
        return Err(n.unsupported("training is not supported; export the model for inference"));
    }
    let x = n.input(0)?;
    let (scale, bias, mean, variance) = (n.input(1)?, n.input(2)?, n.input(3)?, n.input(4)?);
    let rank = l.shape(x).rank();
    let dtype = l.dtype(x);
    let stable = l.with_scalar(BinaryKind::Add, variance, n.float("epsilon", 1e-5).into())?;
    let root = l.unary(UnaryKind::Sqrt, stable)?;
    let scale = l.cast(scale, l.dtype(root))?;
    let factor = l.binary(BinaryKind::Div, scale, root)?;
    let shift = l.binary(BinaryKind::Mul, mean, factor)?;
    let bias = l.cast(bias, l.dtype(shift))?;
    let offset = l.binary(BinaryKind::Sub, bias, shift)?;
    let factor = l.cast(factor, dtype)?;
    let offset = l.cast(offset, dtype)?;
    let factor = per_channel(l, factor, rank)?;
    let offset = per_channel(l, offset, rank)?;
    let y = l.binary(BinaryKind::Mul, x, factor)?;
    one(l.binary(BinaryKind::Add, y, offset)?)
}

/// Deviation from the mean, mean and inverse standard deviation over some axes.
fn standardise(
    l: &mut Lower<'_>,
    x: ValueId,
    axes: &[usize],
    epsilon: f64,
) -> Result<(ValueId, ValueId, ValueId), ImportError> {
    let mean = l.reduce(ReduceKind::Mean, x, axes.to_vec(), true)?;
    let deviation = l.binary(BinaryKind::Sub, x, mean)?;
    let inverse = inverse_root_mean_square(l, deviation, axes, epsilon)?;
    Ok((deviation, mean, inverse))
}

fn inverse_root_mean_square(
    l: &mut Lower<'_>,
    x: ValueId,
    axes: &[usize],
    epsilon: f64,
) -> Result<ValueId, ImportError> {
    let square = l.binary(BinaryKind::Mul, x, x)?;
    let mean = l.reduce(ReduceKind::Mean, square, axes.to_vec(), true)?;
    let stable = l.with_scalar(BinaryKind::Add, mean, epsilon)?;
    l.unary(UnaryKind::Rsqrt, stable)
}

/// Axes from the attribute `axis` to the last one.
fn trailing(l: &Lower<'_>, n: &Item<'_>, x: ValueId) -> Result<Vec<usize>, ImportError> {
    let rank = l.shape(x).rank();
    Ok((l.axis(n, n.int("axis", -1), rank)?..rank).collect())
}

/// The dtype in which the statistics are computed.
fn stash(n: &Item<'_>, own: DType) -> DType {
    if n.int("stash_type", 1) == 1 && own != DType::F64 { DType::F32 } else { own }
}

fn layer(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, scale) = (n.input(0)?, n.input(1)?);
    let axes = trailing(l, n, x)?;
    let dtype = l.dtype(x);
    let wide = l.cast(x, stash(n, dtype))?;
    let (deviation, mean, inverse) = standardise(l, wide, &axes, n.float("epsilon", 1e-5).into())?;
    let y = l.binary(BinaryKind::Mul, deviation, inverse)?;
    let y = l.cast(y, dtype)?;
    let mut y = l.binary(BinaryKind::Mul, y, scale)?;
    if let Some(bias) = n.optional(2) {
        y = l.binary(BinaryKind::Add, y, bias)?;
    }
    Ok(vec![Some(y), Some(mean), Some(inverse)])
}

fn rms(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, scale) = (n.input(0)?, n.input(1)?);
    let axes = trailing(l, n, x)?;
    let dtype = l.dtype(x);
    let wide = l.cast(x, stash(n, dtype))?;
    let inverse = inverse_root_mean_square(l, wide, &axes, n.float("epsilon", 1e-5).into())?;
    let y = l.binary(BinaryKind::Mul, wide, inverse)?;
    let y = l.cast(y, dtype)?;
    one(l.binary(BinaryKind::Mul, y, scale)?)
}

fn scale_and_shift(l: &mut Lower<'_>, n: &Item<'_>, y: ValueId) -> Results {
    let rank = l.shape(y).rank();
    let (scale, bias) = (n.input(1)?, n.input(2)?);
    let scale = per_channel(l, scale, rank)?;
    let bias = per_channel(l, bias, rank)?;
    let y = l.binary(BinaryKind::Mul, y, scale)?;
    one(l.binary(BinaryKind::Add, y, bias)?)
}

fn instance(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let rank = l.shape(x).rank();
    if rank < 3 {
        return Err(n.malformed(format!("its operand {} has no spatial axes", l.shape(x))));
    }
    let axes: Vec<usize> = (2..rank).collect();
    let (deviation, _, inverse) = standardise(l, x, &axes, n.float("epsilon", 1e-5).into())?;
    let y = l.binary(BinaryKind::Mul, deviation, inverse)?;
    scale_and_shift(l, n, y)
}

fn group(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let shape = l.shape(x);
    let groups = usize::try_from(n.int("num_groups", 0)).unwrap_or(0);
    let (Some(&batch), Some(&channels)) = (shape.first(), shape.get(1)) else {
        return Err(n.malformed(format!("its operand {shape} has no channels")));
    };
    if groups == 0 || channels % groups != 0 {
        return Err(n.malformed(format!("{groups} groups do not divide {channels} channels")));
    }
    let inner = shape.elements().checked_div(batch).unwrap_or(0) / groups;
    let flat = l.reshape(x, [batch, groups, inner])?;
    let (deviation, _, inverse) = standardise(l, flat, &[2], n.float("epsilon", 1e-5).into())?;
    let y = l.binary(BinaryKind::Mul, deviation, inverse)?;
    let scales = l.shape(n.input(1)?).elements();
    if scales == groups && scales != channels {
        // Before opset 21 there is one scale a group.
        let y = scale_and_shift(l, n, y)?;
        let Some(&Some(y)) = y.first() else { return Ok(y) };
        return one(l.reshape(y, shape)?);
    }
    let y = l.reshape(y, shape)?;
    scale_and_shift(l, n, y)
}

fn lp(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let axis = l.axis(n, n.int("axis", -1), l.shape(x).rank())?;
    let kind = match n.int("p", 2) {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        p => return Err(n.unsupported(format!("p {p} is not known; 1 and 2 are"))),
    };
    let norm = l.reduce(kind, x, vec![axis], true)?;
    one(l.binary(BinaryKind::Div, x, norm)?)
}
