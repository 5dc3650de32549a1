//! Convolutions.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Conv, ConvTranspose, Op};
use tandem_tensor::{DType, Shape};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Conv" => conv(l, n),
        "ConvInteger" => conv_integer(l, n),
        "ConvTranspose" => conv_transpose(l, n),
        _ => return None,
    })
}

/// Window attributes that convolutions and pools share, one entry an axis.
pub(super) struct Frame {
    pub kernel: Vec<usize>,
    pub stride: Vec<usize>,
    pub dilation: Vec<usize>,
    pub pad: Vec<(usize, usize)>,
}

/// Reads the window attributes; `input` are the spatial extents, `kernel` those of the weights where there are any.
pub(super) fn frame(n: &Item<'_>, input: &[usize], kernel: Option<&[usize]>) -> Result<Frame, ImportError> {
    let rank = input.len();
    let stated = n.extents("kernel_shape")?;
    let kernel = match (stated, kernel) {
        (Some(stated), Some(real)) if stated != real => {
            return Err(n.malformed(format!("its kernel_shape {stated:?} is not that of its weights, {real:?}")));
        }
        (_, Some(real)) => real.to_vec(),
        (Some(stated), None) => stated,
        (None, None) => return Err(n.malformed("its attribute 'kernel_shape' is missing")),
    };
    let stride = n.extents("strides")?.unwrap_or_else(|| vec![1; rank]);
    let dilation = n.extents("dilations")?.unwrap_or_else(|| vec![1; rank]);
    if [&kernel, &stride, &dilation].iter().any(|v| v.len() != rank || v.contains(&0)) {
        let problem =
            format!("kernel {kernel:?}, strides {stride:?} and dilations {dilation:?} need {rank} positive entries");
        return Err(n.malformed(problem));
    }
    let auto = n.text("auto_pad").unwrap_or("NOTSET");
    let pad = match auto {
        "NOTSET" | "" => {
            let pads = n.extents("pads")?.unwrap_or_else(|| vec![0; 2 * rank]);
            if pads.len() != 2 * rank {
                return Err(n.malformed(format!("its pads {pads:?} need {} entries", 2 * rank)));
            }
            (0..rank).map(|i| (pads[i], pads[i + rank])).collect()
        }
        "VALID" => vec![(0, 0); rank],
        "SAME_UPPER" | "SAME_LOWER" => {
            let same = |i: usize| {
                let reach = extent(kernel[i], dilation[i])?;
                let needed =
                    input[i].div_ceil(stride[i]).saturating_sub(1).checked_mul(stride[i])?.checked_add(reach)?;
                let all = needed.saturating_sub(input[i]);
                let (small, large) = (all / 2, all - all / 2);
                Some(if auto == "SAME_UPPER" { (small, large) } else { (large, small) })
            };
            (0..rank)
                .map(same)
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| n.malformed("its window is absurdly large"))?
        }
        other => return Err(n.unsupported(format!("auto_pad {other:?} is not known"))),
    };
    Ok(Frame { kernel, stride, dilation, pad })
}

/// Elements that a dilated window spans.
fn extent(kernel: usize, dilation: usize) -> Option<usize> {
    kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)
}

/// Channels-first to channels-last.
pub(super) fn to_last(l: &mut Lower<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    let rank = l.shape(x).rank();
    let perm = std::iter::once(0).chain(2..rank).chain((rank > 1).then_some(1)).collect();
    l.transpose(x, perm)
}

/// Channels-last to channels-first.
pub(super) fn to_first(l: &mut Lower<'_>, x: ValueId) -> Result<ValueId, ImportError> {
    let rank = l.shape(x).rank();
    let perm = std::iter::once(0).chain((rank > 1).then(|| rank - 1)).chain(1..rank.saturating_sub(1)).collect();
    l.transpose(x, perm)
}

/// Spatial extents of operands `[n, c, spatial..]`, one to three of them.
pub(super) fn spatial<'s>(n: &Item<'_>, shape: &'s Shape) -> Result<&'s [usize], ImportError> {
    match shape.get(2..) {
        Some(s) if (1..=3).contains(&s.len()) => Ok(s),
        _ => Err(n.unsupported(format!("its operand {shape} has no batch, channels and one to three further axes"))),
    }
}

fn weights<'s>(n: &Item<'_>, x: &Shape, w: &'s Shape) -> Result<&'s [usize], ImportError> {
    match w.get(2..) {
        Some(kernel) if w.rank() == x.rank() => Ok(kernel),
        _ => Err(n.malformed(format!("its weights {w} do not go with its operand {x}"))),
    }
}

fn groups(n: &Item<'_>, parts: &[usize]) -> Result<usize, ImportError> {
    match usize::try_from(n.int("group", 1)) {
        Ok(g) if g > 0 && parts.iter().all(|p| p % g == 0) => Ok(g),
        _ => Err(n.malformed(format!("its group {} does not divide the channels {parts:?}", n.int("group", 1)))),
    }
}

fn conv(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let dtype = l.dtype(x);
    one(convolve(l, n, [x, w], n.optional(2), dtype)?)
}

/// A convolution of channels-first operands; gives a channels-first result of x's dtype.
pub(super) fn convolve(
    l: &mut Lower<'_>,
    n: &Item<'_>,
    [x, w]: [ValueId; 2],
    bias: Option<ValueId>,
    dtype: DType,
) -> Result<ValueId, ImportError> {
    let (xs, ws) = (l.shape(x), l.shape(w));
    let f = frame(n, spatial(n, &xs)?, Some(weights(n, &xs, &ws)?))?;
    let groups = groups(n, &[xs[1], ws[0]])?;
    let conv = Conv { stride: f.stride, dilation: f.dilation, pad: f.pad, groups, act: Act::None };
    let mut operands = vec![to_last(l, x)?, to_last(l, w)?];
    operands.extend(bias);
    let y = l.emit(Op::Conv(conv), &operands, dtype)?;
    to_first(l, y)
}

/// Integers less their zero points, convolved exactly.
fn conv_integer(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let x = less_zero(l, x, n.optional(2), 1)?;
    let w = less_zero(l, w, n.optional(3), 0)?;
    one(convolve(l, n, [x, w], None, DType::I32)?)
}

/// `x - zero` as i32, or x itself where that is nothing; a zero point of one axis goes with `axis` of x.
pub(super) fn less_zero(
    l: &mut Lower<'_>,
    x: ValueId,
    zero: Option<ValueId>,
    axis: usize,
) -> Result<ValueId, ImportError> {
    // Bytes with no zero point stay bytes, which an accelerator multiplies.
    let is_zero = |zero: ValueId| l.builder.graph.constant(zero).is_some_and(|t| t.to_f64().iter().all(|&x| x == 0.0));
    let Some(zero) = zero.filter(|&zero| !is_zero(zero)) else { return Ok(x) };
    let wide = l.cast(x, DType::I32)?;
    let count = l.shape(zero).elements();
    let rank = l.shape(x).rank();
    let zero = if l.shape(zero).rank() <= 1 {
        let mut shape = vec![1; if count == 1 { 0 } else { rank }];
        if let Some(s) = shape.get_mut(axis) {
            *s = count;
        }
        l.reshape(zero, shape)?
    } else {
        zero
    };
    let zero = l.cast(zero, DType::I32)?;
    l.binary(BinaryKind::Sub, wide, zero)
}

fn conv_transpose(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, w) = (n.input(0)?, n.input(1)?);
    let (xs, ws) = (l.shape(x), l.shape(w));
    let input = spatial(n, &xs)?;
    let kernel = weights(n, &xs, &ws)?;
    let rank = input.len();
    let groups = groups(n, &[ws[0]])?;
    // The paddings of this operator cut the result, so `auto_pad` has a rule of its own.
    let auto = n.text("auto_pad").unwrap_or("NOTSET");
    let f = frame_without_auto(n, input, kernel, auto)?;
    let mut output_pad = n.extents("output_padding")?.unwrap_or_else(|| vec![0; rank]);
    let stated = n.extents("output_shape")?;
    if output_pad.len() != rank {
        return Err(n.malformed(format!("its output_padding {output_pad:?} needs {rank} entries")));
    }
    let mut pad = f.pad;
    let absurd = || n.malformed("its result is absurdly large");
    let wanted: Option<Vec<usize>> = match (stated, auto) {
        // Some exporters write all axes, batch and channels too.
        (Some(s), _) if s.len() == rank + 2 => Some(s[2..].to_vec()),
        (Some(s), _) if s.len() == rank => Some(s),
        (Some(s), _) => return Err(n.malformed(format!("its output_shape {s:?} needs {rank} entries"))),
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            let same = input.iter().zip(&f.stride).map(|(i, s)| i.checked_mul(*s));
            Some(same.collect::<Option<Vec<_>>>().ok_or_else(absurd)?)
        }
        (None, _) => None,
    };
    if let Some(wanted) = wanted {
        for i in 0..rank {
            let reach = extent(kernel[i], f.dilation[i]).ok_or_else(absurd)?;
            let steps = f.stride[i].checked_mul(input[i].saturating_sub(1)).ok_or_else(absurd)?;
            let full = steps.checked_add(reach).and_then(|v| v.checked_add(output_pad[i])).ok_or_else(absurd)?;
            if wanted[i] > full {
                output_pad[i] += wanted[i] - full;
                pad[i] = (0, 0);
                continue;
            }
            let all = full - wanted[i];
            let (small, large) = (all / 2, all - all / 2);
            pad[i] = if auto == "SAME_UPPER" { (small, large) } else { (large, small) };
        }
    }
    let w = transposed_weights(l, n, w, &ws, groups)?;
    let op = ConvTranspose { stride: f.stride, dilation: f.dilation, pad, output_pad, groups, act: Act::None };
    let mut operands = vec![to_last(l, x)?, w];
    operands.extend(n.optional(2));
    let dtype = l.dtype(x);
    let y = l.emit(Op::ConvTranspose(op), &operands, dtype)?;
    one(to_first(l, y)?)
}

fn frame_without_auto(n: &Item<'_>, input: &[usize], kernel: &[usize], auto: &str) -> Result<Frame, ImportError> {
    let mut f = frame(n, input, Some(kernel))?;
    if auto.starts_with("SAME") {
        f.pad = vec![(0, 0); input.len()];
    }
    Ok(f)
}

/// `[in, out / groups, spatial..]` to `[out, spatial.., in / groups]`.
fn transposed_weights(
    l: &mut Lower<'_>,
    n: &Item<'_>,
    w: ValueId,
    shape: &Shape,
    groups: usize,
) -> Result<ValueId, ImportError> {
    let rank = shape.rank();
    if groups == 1 {
        return l.transpose(w, std::iter::once(1).chain(2..rank).chain([0]).collect());
    }
    let (inner, outer) = (shape[0] / groups, shape[1]);
    let all = outer.checked_mul(groups).ok_or_else(|| n.malformed("its weights are absurdly large"))?;
    let kernel = &shape[2..];
    let split: Vec<usize> = [groups, inner, outer].into_iter().chain(kernel.iter().copied()).collect();
    let w = l.reshape(w, split)?;
    let w = l.transpose(w, [0, 2].into_iter().chain(3..rank + 1).chain([1]).collect())?;
    l.reshape(w, std::iter::once(all).chain(kernel.iter().copied()).chain([inner]).collect::<Vec<_>>())
}
