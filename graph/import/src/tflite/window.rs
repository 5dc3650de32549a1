//! Convolutions, pools and matrix products.

use super::lower::Ctx;
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Conv, ConvTranspose, Op, Pool, PoolKind};
use tandem_tensor::DType;

type Lowered = Result<(), ImportError>;

/// One spatial axis of a window.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
}

/// Explicit padding of the schema's `Padding` (0 SAME, 1 VALID): as much as `ceil(input / stride)` results need, the
/// odd one behind.
fn padding(ctx: &Ctx<'_, '_>, padding: i8, axes: &[Axis]) -> Result<Vec<(usize, usize)>, ImportError> {
    match padding {
        0 => Ok(axes
            .iter()
            .map(|a| {
                let reach = (a.kernel.saturating_sub(1)).saturating_mul(a.dilation).saturating_add(1);
                let steps = a.input.div_ceil(a.stride).saturating_sub(1).saturating_mul(a.stride);
                let total = steps.saturating_add(reach).saturating_sub(a.input);
                (total / 2, total - total / 2)
            })
            .collect()),
        1 => Ok(vec![(0, 0); axes.len()]),
        other => Err(ctx.malformed(format!("padding {other} is neither SAME (0) nor VALID (1)"))),
    }
}

/// Weights as reals where the activations are reals.
fn real_weights(ctx: &mut Ctx<'_, '_>, x: ValueId, w: ValueId) -> Result<ValueId, ImportError> {
    let float = ctx.ty(x).dtype == DType::F32;
    let (dtype, quantized) = (ctx.ty(w).dtype, ctx.ty(w).is_quantized());
    match dtype {
        _ if float && quantized => ctx.temp_as("weights as reals", Op::Dequantize, &[w], DType::F32, None),
        DType::F16 if float => {
            let cast = Op::Cast { to: DType::F32, saturate: true };
            ctx.temp_as("weights as reals", cast, &[w], DType::F32, None)
        }
        _ => Ok(w),
    }
}

/// Transposes weights; the quantised axis moves along.
fn transposed(ctx: &mut Ctx<'_, '_>, w: ValueId, perm: &[usize]) -> Result<ValueId, ImportError> {
    let ty = ctx.ty(w);
    let dtype = ty.dtype;
    let mut quant = ty.quant.clone();
    if let Some(q) = &mut quant
        && let Some(axis) = q.axis
    {
        q.axis = perm.iter().position(|&p| p == axis);
    }
    ctx.temp_as("weights", Op::Transpose { perm: perm.to_vec() }, &[w], dtype, quant)
}

fn with_bias(ctx: &mut Ctx<'_, '_>, x: ValueId, w: ValueId, bias: usize) -> Result<Vec<ValueId>, ImportError> {
    let mut operands = vec![x, w];
    operands.extend(ctx.optional(bias)?);
    Ok(operands)
}

pub(crate) fn conv(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let [_, h, wd, c] = ctx.dims::<4>(x)?;
    let [_, kh, kw, ci] = ctx.dims::<4>(w)?;
    if ci == 0 || c % ci != 0 {
        return Err(ctx.malformed(format!("{c} input channels are no multiple of the weights' {ci}")));
    }
    let w = real_weights(ctx, x, w)?;
    let (sw, sh) = (ctx.option_extent(1, 0, "stride_w")?, ctx.option_extent(2, 0, "stride_h")?);
    let (dw, dh) = (ctx.option_extent(4, 1, "dilation_w")?, ctx.option_extent(5, 1, "dilation_h")?);
    let axes = [
        Axis { input: h, kernel: kh, stride: sh, dilation: dh },
        Axis { input: wd, kernel: kw, stride: sw, dilation: dw },
    ];
    let pad = padding(ctx, ctx.option_i8(0, 0)?, &axes)?;
    let op = Conv { stride: vec![sh, sw], dilation: vec![dh, dw], pad, groups: c / ci, act: ctx.act(3)? };
    let operands = with_bias(ctx, x, w, 2)?;
    ctx.emit(Op::Conv(op), &operands)
}

pub(crate) fn depthwise_conv(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let [_, h, wd, c] = ctx.dims::<4>(x)?;
    let [one, kh, kw, out] = ctx.dims::<4>(w)?;
    // The stated depth multiplier is redundant, and old converters left it 0.
    if one != 1 || c == 0 || out % c != 0 {
        return Err(ctx.malformed(format!("weights of {one} x {out} channels do not fit {c} input channels")));
    }
    let w = real_weights(ctx, x, w)?;
    let w = transposed(ctx, w, &[3, 1, 2, 0])?;
    let (sw, sh) = (ctx.option_extent(1, 0, "stride_w")?, ctx.option_extent(2, 0, "stride_h")?);
    let (dw, dh) = (ctx.option_extent(5, 1, "dilation_w")?, ctx.option_extent(6, 1, "dilation_h")?);
    let axes = [
        Axis { input: h, kernel: kh, stride: sh, dilation: dh },
        Axis { input: wd, kernel: kw, stride: sw, dilation: dw },
    ];
    let pad = padding(ctx, ctx.option_i8(0, 0)?, &axes)?;
    let op = Conv { stride: vec![sh, sw], dilation: vec![dh, dw], pad, groups: c, act: ctx.act(4)? };
    let operands = with_bias(ctx, x, w, 2)?;
    ctx.emit(Op::Conv(op), &operands)
}

pub(crate) fn conv_3d(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (x, w) = (ctx.input(0)?, ctx.input(1)?);
    let [_, d, h, wd, c] = ctx.dims::<5>(x)?;
    let [kd, kh, kw, ci, _] = ctx.dims::<5>(w)?;
    if ci == 0 || c % ci != 0 {
        return Err(ctx.malformed(format!("{c} input channels are no multiple of the weights' {ci}")));
    }
    let w = real_weights(ctx, x, w)?;
    let w = transposed(ctx, w, &[4, 0, 1, 2, 3])?;
    let (sd, sw, sh) = (
        ctx.option_extent(1, 0, "stride_d")?,
        ctx.option_extent(2, 0, "stride_w")?,
        ctx.option_extent(3, 0, "stride_h")?,
    );
    let (dd, dw, dh) = (
        ctx.option_extent(5, 1, "dilation_d")?,
        ctx.option_extent(6, 1, "dilation_w")?,
        ctx.option_extent(7, 1, "dilation_h")?,
    );
    let axes = [
        Axis { input: d, kernel: kd, stride: sd, dilation: dd },
        Axis { input: h, kernel: kh, stride: sh, dilation: dh },
        Axis { input: wd, kernel: kw, stride: sw, dilation: dw },
    ];
    let pad = padding(ctx, ctx.option_i8(0, 0)?, &axes)?;
    let op = Conv { stride: vec![sd, sh, sw], dilation: vec![dd, dh, dw], pad, groups: c / ci, act: ctx.act(4)? };
    let operands = with_bias(ctx, x, w, 2)?;
    ctx.emit(Op::Conv(op), &operands)
}

pub(crate) fn transpose_conv(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let shape = ctx.ints(0)?;
    let (w, x) = (ctx.input(1)?, ctx.input(2)?);
    let [_, ih, iw, _] = ctx.dims::<4>(x)?;
    let [_, kh, kw, _] = ctx.dims::<4>(w)?;
    let extent = |ctx: &Ctx<'_, '_>, i: usize| {
        let stated = shape.get(i).and_then(|&d| usize::try_from(d).ok()).filter(|_| shape.len() == 4);
        stated.ok_or_else(|| ctx.malformed(format!("its output shape {shape:?} is not four extents")))
    };
    let (oh, ow) = (extent(ctx, 1)?, extent(ctx, 2)?);
    let w = real_weights(ctx, x, w)?;
    let (sw, sh) = (ctx.option_extent(1, 0, "stride_w")?, ctx.option_extent(2, 0, "stride_h")?);
    // The padding is that of the convolution from the result back to the input.
    let axes = [
        Axis { input: oh, kernel: kh, stride: sh, dilation: 1 },
        Axis { input: ow, kernel: kw, stride: sw, dilation: 1 },
    ];
    let forward = padding(ctx, ctx.option_i8(0, 0)?, &axes)?;
    let mut pad = Vec::new();
    let mut output_pad = Vec::new();
    for ((axis, (before, _)), input) in axes.iter().zip(forward).zip([ih, iw]) {
        let full = input.saturating_sub(1).saturating_mul(axis.stride).saturating_add(axis.kernel);
        let rest = full.saturating_sub(before);
        pad.push((before, rest.saturating_sub(axis.input)));
        output_pad.push(axis.input.saturating_sub(rest));
    }
    let op = ConvTranspose { stride: vec![sh, sw], dilation: vec![1, 1], pad, output_pad, groups: 1, act: ctx.act(3)? };
    let operands = with_bias(ctx, x, w, 3)?;
    ctx.emit(Op::ConvTranspose(op), &operands)
}

pub(crate) fn fully_connected(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (mut x, w) = (ctx.input(0)?, ctx.input(1)?);
    let [_, k] = ctx.dims::<2>(w)?;
    if ctx.option_i8(1, 0)? != 0 {
        return Err(ctx.refuse("its weights are shuffled (SHUFFLED4x16INT8); convert the model with plain weights"));
    }
    let w = real_weights(ctx, x, w)?;
    let shape = ctx.ty(x).shape.clone();
    let keep = ctx.option_bool(2)?;
    let plain = if keep { shape.last() == Some(&k) } else { shape.rank() == 2 && shape.last() == Some(&k) };
    if !plain {
        if k == 0 || keep || !shape.elements().is_multiple_of(k) {
            return Err(ctx.malformed(format!("an input of shape {shape} does not fit weights of {k} inputs")));
        }
        let rows = Op::Reshape { shape: vec![shape.elements() / k, k] };
        x = ctx.temp("rows", rows, &[x], x)?;
    }
    let op = Op::Dense { act: ctx.act(0)? };
    let operands = with_bias(ctx, x, w, 2)?;
    ctx.emit(op, &operands)
}

pub(crate) fn batch_matmul(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let b = real_weights(ctx, a, b)?;
    let op = Op::MatMul { transpose_a: ctx.option_bool(0)?, transpose_b: ctx.option_bool(1)? };
    ctx.emit(op, &[a, b])
}

fn pool(ctx: &mut Ctx<'_, '_>, kind: PoolKind) -> Lowered {
    let x = ctx.input(0)?;
    let [_, h, w, _] = ctx.dims::<4>(x)?;
    let (sw, sh) = (ctx.option_extent(1, 0, "stride_w")?, ctx.option_extent(2, 0, "stride_h")?);
    let (kw, kh) = (ctx.option_extent(3, 0, "filter_width")?, ctx.option_extent(4, 0, "filter_height")?);
    let axes = [
        Axis { input: h, kernel: kh, stride: sh, dilation: 1 },
        Axis { input: w, kernel: kw, stride: sw, dilation: 1 },
    ];
    let pad = padding(ctx, ctx.option_i8(0, 0)?, &axes)?;
    let op = Pool {
        kind,
        kernel: vec![kh, kw],
        stride: vec![sh, sw],
        dilation: vec![1, 1],
        pad,
        ceil: false,
        count_include_pad: false,
        act: ctx.act(5)?,
    };
    ctx.emit(Op::Pool(op), &[x])
}

pub(crate) fn average_pool(ctx: &mut Ctx<'_, '_>) -> Lowered {
    pool(ctx, PoolKind::Average)
}

pub(crate) fn max_pool(ctx: &mut Ctx<'_, '_>) -> Lowered {
    pool(ctx, PoolKind::Max)
}
