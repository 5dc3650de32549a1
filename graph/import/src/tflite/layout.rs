//! Operators that move elements without computing on them, and resizing.

use super::lower::Ctx;
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Act, CoordinateMode, NearestMode, Op, PadMode, Resize, ResizeMode};
use tandem_tensor::{DType, Shape, Tensor};

type Lowered = Result<(), ImportError>;
/// Amounts (before, after), one pair an axis.
type Pairs = Vec<(i64, i64)>;

/// More copies than this are never asked of a tile.
const MAX_COPIES: usize = 1 << 12;

/// A shape with at most one -1, which takes the rest of the elements.
fn resolve(ctx: &Ctx<'_, '_>, x: ValueId, wanted: &[i64]) -> Result<Vec<usize>, ImportError> {
    let elements = ctx.ty(x).elements();
    let bad = || ctx.malformed(format!("shape {wanted:?} does not fit the {elements} elements of its operand"));
    let mut known = 1usize;
    let mut open = 0;
    for &d in wanted {
        match usize::try_from(d) {
            Ok(d) => known = known.checked_mul(d).ok_or_else(bad)?,
            Err(_) if d == -1 => open += 1,
            Err(_) => return Err(bad()),
        }
    }
    let rest = match open {
        0 => 0,
        1 if known > 0 && elements.is_multiple_of(known) => elements / known,
        _ => return Err(bad()),
    };
    Ok(wanted.iter().map(|&d| usize::try_from(d).unwrap_or(rest)).collect())
}

pub(crate) fn reshape(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let given = ctx.optional(1)?;
    let constant = given.is_none_or(|id| ctx.constant(id).is_some());
    let options = ctx.option_i32s(0)?;
    let shape = if constant && let Some(wanted) = ctx.optional_ints(1)? {
        resolve(ctx, x, &wanted)?
    } else if !options.is_empty() {
        resolve(ctx, x, &options.iter().map(|&d| i64::from(d)).collect::<Vec<_>>())?
    } else if let (_, _, Some(declared)) = ctx.declared(0)? {
        declared.0
    } else if ctx.ty(x).elements() == 1 {
        Vec::new()
    } else {
        return Err(ctx.refuse("its shape is computed while the model runs; export the model with fixed extents"));
    };
    ctx.emit(Op::Reshape { shape }, &[x])
}

pub(crate) fn squeeze(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x).shape.clone();
    let mut drop = Vec::new();
    for d in ctx.option_i32s(0)? {
        drop.push(ctx.axis(x, i64::from(d))?);
    }
    let all = drop.is_empty();
    let mut kept = Vec::new();
    for (i, &d) in shape.iter().enumerate() {
        match (all && d == 1) || drop.contains(&i) {
            true if d != 1 => return Err(ctx.malformed(format!("axis {i} of shape {shape} is not 1"))),
            true => {}
            false => kept.push(d),
        }
    }
    ctx.emit(Op::Reshape { shape: kept }, &[x])
}

pub(crate) fn expand_dims(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let mut shape = ctx.ty(x).shape.0.clone();
    let axis = ctx.ints(1)?;
    let rank = shape.len() as i64 + 1;
    let at = match axis.as_slice() {
        &[a] if (-rank..rank).contains(&a) => a.rem_euclid(rank) as usize,
        _ => return Err(ctx.malformed(format!("axis {axis:?} is not one of the {rank} axes of its result"))),
    };
    shape.insert(at, 1);
    ctx.emit(Op::Reshape { shape }, &[x])
}

pub(crate) fn transpose(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let mut perm = Vec::new();
    for p in ctx.ints(1)? {
        perm.push(ctx.axis(x, p)?);
    }
    ctx.emit(Op::Transpose { perm }, &[x])
}

pub(crate) fn concatenation(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let mut operands = Vec::new();
    for i in 0..ctx.inputs() {
        operands.push(ctx.input(i)?);
    }
    let Some(&first) = operands.first() else { return Err(ctx.malformed("it has no operands")) };
    let axis = ctx.axis(first, i64::from(ctx.option_i32(0, 0)?))?;
    let act = ctx.act(1)?;
    ctx.emit(Op::Concat { axis, act }, &operands)
}

/// The op that takes `size` elements from `begin` along one axis and everything along the others.
fn part(shape: &Shape, axis: usize, begin: usize, size: usize) -> Op {
    let mut begins = vec![0; shape.rank()];
    let mut sizes = shape.0.clone();
    if let (Some(b), Some(s)) = (begins.get_mut(axis), sizes.get_mut(axis)) {
        (*b, *s) = (begin, size);
    }
    Op::Slice { begin: begins, size: sizes, step: vec![1; shape.rank()] }
}

fn split_into(ctx: &mut Ctx<'_, '_>, x: ValueId, axis: usize, sizes: &[usize]) -> Lowered {
    let shape = ctx.ty(x).shape.clone();
    let mut begin = 0usize;
    for (k, &size) in sizes.iter().enumerate() {
        ctx.emit_to(k, part(&shape, axis, begin, size), &[x])?;
        begin = begin.saturating_add(size);
    }
    Ok(())
}

fn one_axis(ctx: &mut Ctx<'_, '_>, operand: usize, x: ValueId) -> Result<usize, ImportError> {
    match ctx.ints(operand)?.as_slice() {
        &[axis] => ctx.axis(x, axis),
        other => Err(ctx.malformed(format!("it needs one axis but has {}", other.len()))),
    }
}

pub(crate) fn split(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(1)?;
    let axis = one_axis(ctx, 0, x)?;
    let extent = ctx.ty(x).shape.get(axis).copied().unwrap_or(0);
    let parts = ctx.outputs();
    if parts == 0 || !extent.is_multiple_of(parts) {
        return Err(ctx.malformed(format!("extent {extent} does not divide into {parts} parts")));
    }
    split_into(ctx, x, axis, &vec![extent / parts; parts])
}

pub(crate) fn split_v(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let wanted = ctx.ints(1)?;
    let axis = one_axis(ctx, 2, x)?;
    let extent = ctx.ty(x).shape.get(axis).copied().unwrap_or(0);
    let bad = || ctx.malformed(format!("extent {extent} does not divide into parts of {wanted:?}"));
    let known = wanted.iter().filter_map(|&s| usize::try_from(s).ok()).fold(0usize, usize::saturating_add);
    let rest = extent.checked_sub(known).ok_or_else(bad)?;
    let open = wanted.iter().filter(|&&s| s < 0).count();
    if wanted.len() != ctx.outputs() || open > 1 || (open == 0 && rest != 0) {
        return Err(bad());
    }
    let sizes: Vec<usize> = wanted.iter().map(|&s| usize::try_from(s).unwrap_or(rest)).collect();
    split_into(ctx, x, axis, &sizes)
}

pub(crate) fn unpack(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x).shape.clone();
    let axis = ctx.axis(x, i64::from(ctx.option_i32(1, 0)?))?;
    if shape.get(axis) != Some(&ctx.outputs()) {
        return Err(ctx.malformed(format!("{} results do not fit axis {axis} of shape {shape}", ctx.outputs())));
    }
    let mut kept = shape.0.clone();
    kept.remove(axis);
    for k in 0..ctx.outputs() {
        let row = ctx.temp(&format!("part {k}"), part(&shape, axis, k, 1), &[x], x)?;
        ctx.emit_to(k, Op::Reshape { shape: kept.clone() }, &[row])?;
    }
    Ok(())
}

pub(crate) fn pack(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let first = ctx.input(0)?;
    let mut shape = ctx.ty(first).shape.0.clone();
    let rank = shape.len() as i64 + 1;
    let stated = i64::from(ctx.option_i32(1, 0)?);
    if !(-rank..rank).contains(&stated) {
        return Err(ctx.malformed(format!("axis {stated} is not one of the {rank} axes of its result")));
    }
    let axis = stated.rem_euclid(rank) as usize;
    shape.insert(axis, 1);
    let mut parts = Vec::new();
    for i in 0..ctx.inputs() {
        let x = ctx.input(i)?;
        parts.push(ctx.temp(&format!("part {i}"), Op::Reshape { shape: shape.clone() }, &[x], x)?);
    }
    ctx.emit(Op::Concat { axis, act: Act::None }, &parts)
}

pub(crate) fn slice(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x).shape.clone();
    let (begins, sizes) = (ctx.ints(1)?, ctx.ints(2)?);
    let bad = || ctx.malformed(format!("begin {begins:?} and size {sizes:?} do not fit shape {shape}"));
    if begins.len() != shape.rank() || sizes.len() != shape.rank() {
        return Err(bad());
    }
    let (mut begin, mut size) = (Vec::new(), Vec::new());
    for ((&b, &s), &d) in begins.iter().zip(&sizes).zip(shape.iter()) {
        let b = usize::try_from(b).ok().filter(|&b| b <= d).ok_or_else(bad)?;
        let s = if s == -1 { d - b } else { usize::try_from(s).map_err(|_| bad())? };
        begin.push(b);
        size.push(s);
    }
    ctx.emit(Op::Slice { begin, size, step: vec![1; shape.rank()] }, &[x])
}

pub(crate) fn strided_slice(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let dims = ctx.ty(x).shape.0.clone();
    let (begins, ends, strides) = (ctx.ints(1)?, ctx.ints(2)?, ctx.ints(3)?);
    let n = begins.len();
    if ends.len() != n || strides.len() != n || n > 32 {
        return Err(ctx.malformed("begin, end and strides must be equally long lists of at most 32 numbers"));
    }
    let mask = |id: usize| ctx.option_i32(id, 0).map(|m| m as u32);
    let (begin_mask, end_mask, ellipsis, new_axis, shrink) = (mask(0)?, mask(1)?, mask(2)?, mask(3)?, mask(4)?);
    let relative = ctx.option_bool(5)?;
    let bit = |mask: u32, i: usize| mask >> i & 1 == 1;
    let (mut begin, mut size, mut step, mut shape) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let consumed = (0..n).filter(|&i| !bit(ellipsis, i) && !bit(new_axis, i)).count();
    let too_many = || ctx.malformed(format!("it slices {consumed} axes of an operand that has {}", dims.len()));
    let spare = dims.len().checked_sub(consumed).ok_or_else(too_many)?;
    let mut axes = dims.iter().copied();
    let whole = |d: usize, lists: (&mut Vec<usize>, &mut Vec<usize>, &mut Vec<i64>, &mut Vec<usize>)| {
        lists.0.push(0);
        lists.1.push(d);
        lists.2.push(1);
        lists.3.push(d);
    };
    let mut seen_ellipsis = false;
    for (i, ((&b, &e), &s)) in begins.iter().zip(&ends).zip(&strides).enumerate() {
        if bit(ellipsis, i) {
            if std::mem::replace(&mut seen_ellipsis, true) {
                return Err(ctx.malformed("it has two ellipses"));
            }
            for d in axes.by_ref().take(spare) {
                whole(d, (&mut begin, &mut size, &mut step, &mut shape));
            }
        } else if bit(new_axis, i) {
            shape.push(1);
        } else {
            let d = axes.next().ok_or_else(too_many)?;
            let extent = d as i64;
            if s == 0 {
                return Err(ctx.malformed("a stride is 0"));
            }
            let wrap = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
            if bit(shrink, i) {
                let at = wrap(b);
                if !(0..extent).contains(&at) {
                    return Err(ctx.malformed(format!("index {b} lies outside extent {d}")));
                }
                begin.push(at as usize);
                size.push(1);
                step.push(1);
                continue;
            }
            let (low, high) = if s > 0 { (0, extent) } else { (-1, extent - 1) };
            let from = if bit(begin_mask, i) { if s > 0 { low } else { high } } else { wrap(b).clamp(low, high) };
            let to = if bit(end_mask, i) {
                if s > 0 { high } else { low }
            } else if relative {
                from.saturating_add(e).clamp(low, high)
            } else {
                wrap(e).clamp(low, high)
            };
            let span = if s > 0 { to - from } else { from - to };
            let count = if span > 0 { (span as u64).div_ceil(s.unsigned_abs()) as usize } else { 0 };
            begin.push(if count == 0 { 0 } else { from.max(0) as usize });
            size.push(count);
            step.push(s);
            shape.push(count);
        }
    }
    for d in axes {
        whole(d, (&mut begin, &mut size, &mut step, &mut shape));
    }
    let op = Op::Slice { begin, size: size.clone(), step };
    if size == shape {
        return ctx.emit(op, &[x]);
    }
    let part = ctx.temp("part", op, &[x], x)?;
    ctx.emit(Op::Reshape { shape }, &[part])
}

pub(crate) fn reverse(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = ctx.ty(x).shape.clone();
    let mut begin = vec![0; shape.rank()];
    let mut step = vec![1i64; shape.rank()];
    for axis in ctx.ints(1)? {
        let axis = ctx.axis(x, axis)?;
        if let (Some(b), Some(s), Some(&d)) = (begin.get_mut(axis), step.get_mut(axis), shape.get(axis)) {
            (*b, *s) = (d.saturating_sub(1), -1);
        }
    }
    ctx.emit(Op::Slice { begin, size: shape.0, step }, &[x])
}

/// Pairs (before, after) of a padding operand of shape `[n, 2]`.
fn pairs(ctx: &mut Ctx<'_, '_>, operand: usize) -> Result<Pairs, ImportError> {
    let ints = ctx.ints(operand)?;
    if ints.len() % 2 != 0 || ints.iter().any(|&p| p < 0) {
        return Err(ctx.malformed(format!("amounts {ints:?} are not pairs of counts")));
    }
    Ok(ints.as_chunks::<2>().0.iter().map(|&[a, b]| (a, b)).collect())
}

pub(crate) fn pad(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let amount = pairs(ctx, 1)?;
    let mut operands = vec![x];
    if let Some(value) = ctx.optional(2)? {
        let value = match ctx.ty(value).shape.rank() {
            0 => value,
            _ => ctx.temp("value", Op::Reshape { shape: Vec::new() }, &[value], value)?,
        };
        operands.push(value);
    }
    ctx.emit(Op::Pad { amount, mode: PadMode::Constant }, &operands)
}

pub(crate) fn mirror_pad(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let amount = pairs(ctx, 1)?;
    let mode = match ctx.option_i8(0, 0)? {
        0 => PadMode::Reflect,
        1 => PadMode::Symmetric,
        other => return Err(ctx.malformed(format!("mode {other} is neither REFLECT (0) nor SYMMETRIC (1)"))),
    };
    ctx.emit(Op::Pad { amount, mode }, &[x])
}

fn resize(ctx: &mut Ctx<'_, '_>, mode: ResizeMode, coordinate: CoordinateMode) -> Lowered {
    let x = ctx.input(0)?;
    let [n, h, w, c] = ctx.dims::<4>(x)?;
    let size = ctx.ints(1)?;
    let extent = |i: usize| size.get(i).and_then(|&d| usize::try_from(d).ok()).filter(|&d| d > 0);
    let (Some(oh), Some(ow), 2) = (extent(0), extent(1), size.len()) else {
        return Err(ctx.malformed(format!("its size {size:?} is not two extents")));
    };
    if h == 0 || w == 0 {
        return Err(ctx.malformed("its operand has no pixels"));
    }
    let op = Resize {
        shape: vec![n, oh, ow, c],
        scale: vec![1.0, oh as f64 / h as f64, ow as f64 / w as f64, 1.0],
        mode,
        coordinate,
        antialias: false,
        roi: None,
        extrapolation: 0.0,
    };
    ctx.emit(Op::Resize(op), &[x])
}

pub(crate) fn resize_bilinear(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let coordinate = match (ctx.option_bool(2)?, ctx.option_bool(3)?) {
        (true, true) => return Err(ctx.malformed("align_corners and half_pixel_centers exclude each other")),
        (true, false) => CoordinateMode::AlignCorners,
        (false, true) => CoordinateMode::HalfPixel,
        (false, false) => CoordinateMode::Asymmetric,
    };
    resize(ctx, ResizeMode::Linear, coordinate)
}

pub(crate) fn resize_nearest(ctx: &mut Ctx<'_, '_>) -> Lowered {
    // TFLite takes floor((i + 0.5) * scale) with half-pixel centres: the nearest neighbour of the half-pixel
    // coordinate, the upper one of two equally near. With aligned corners it rounds halves up as well.
    let (coordinate, nearest) = match (ctx.option_bool(0)?, ctx.option_bool(1)?) {
        (true, true) => return Err(ctx.malformed("align_corners and half_pixel_centers exclude each other")),
        (true, false) => (CoordinateMode::AlignCorners, NearestMode::RoundPreferCeil),
        (false, true) => (CoordinateMode::HalfPixel, NearestMode::RoundPreferCeil),
        (false, false) => (CoordinateMode::Asymmetric, NearestMode::Floor),
    };
    resize(ctx, ResizeMode::Nearest(nearest), coordinate)
}

fn block_size(ctx: &Ctx<'_, '_>) -> Result<usize, ImportError> {
    ctx.option_extent(0, 0, "block_size")
}

pub(crate) fn space_to_depth(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let [n, h, w, c] = ctx.dims::<4>(x)?;
    let b = block_size(ctx)?;
    if h % b != 0 || w % b != 0 {
        return Err(ctx.malformed(format!("{h}x{w} pixels do not divide into blocks of {b}")));
    }
    let blocks = ctx.temp("blocks", Op::Reshape { shape: vec![n, h / b, b, w / b, b, c] }, &[x], x)?;
    let moved = ctx.temp("moved", Op::Transpose { perm: vec![0, 1, 3, 2, 4, 5] }, &[blocks], x)?;
    ctx.emit(Op::Reshape { shape: vec![n, h / b, w / b, b.saturating_mul(b).saturating_mul(c)] }, &[moved])
}

pub(crate) fn depth_to_space(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let [n, h, w, c] = ctx.dims::<4>(x)?;
    let b = block_size(ctx)?;
    let area = b.saturating_mul(b);
    if c % area != 0 {
        return Err(ctx.malformed(format!("{c} channels do not divide into blocks of {b}x{b}")));
    }
    let blocks = ctx.temp("blocks", Op::Reshape { shape: vec![n, h, w, b, b, c / area] }, &[x], x)?;
    let moved = ctx.temp("moved", Op::Transpose { perm: vec![0, 1, 3, 2, 4, 5] }, &[blocks], x)?;
    ctx.emit(Op::Reshape { shape: vec![n, h.saturating_mul(b), w.saturating_mul(b), c / area] }, &[moved])
}

/// Block extents and (before, after) pairs of the operators that exchange space and batch.
fn blocks(ctx: &mut Ctx<'_, '_>, x: ValueId) -> Result<(Vec<usize>, Pairs), ImportError> {
    let block: Vec<usize> = ctx.ints(1)?.into_iter().map(|b| usize::try_from(b).unwrap_or(0)).collect();
    let amounts = pairs(ctx, 2)?;
    let rank = ctx.ty(x).shape.rank();
    if block.contains(&0) || amounts.len() != block.len() || rank < block.len() + 1 || rank > 5 {
        return Err(ctx.malformed(format!("blocks {block:?} and amounts {amounts:?} do not fit {rank} axes")));
    }
    Ok((block, amounts))
}

pub(crate) fn space_to_batch(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let mut x = ctx.input(0)?;
    let (block, amounts) = blocks(ctx, x)?;
    let m = block.len();
    let mut amount = vec![(0, 0)];
    amount.extend(&amounts);
    amount.resize(ctx.ty(x).shape.rank(), (0, 0));
    if amounts.iter().any(|&a| a != (0, 0)) {
        x = ctx.temp("padded", Op::Pad { amount, mode: PadMode::Constant }, &[x], x)?;
    }
    let shape = ctx.ty(x).shape.clone();
    let (&batch, space) = shape.split_first().ok_or_else(|| ctx.malformed("its operand has no axes"))?;
    if space.iter().zip(&block).any(|(d, b)| d % b != 0) {
        return Err(ctx.malformed(format!("the padded shape {shape} does not divide into blocks {block:?}")));
    }
    let (mut split, mut out) = (vec![batch], vec![batch]);
    for (&d, &b) in space.iter().zip(&block) {
        split.extend([d / b, b]);
        out[0] = out[0].saturating_mul(b);
        out.push(d / b);
    }
    split.extend(space.iter().skip(m));
    out.extend(space.iter().skip(m));
    let mut perm: Vec<usize> = (0..m).map(|i| 2 * i + 2).collect();
    perm.push(0);
    perm.extend((0..m).map(|i| 2 * i + 1));
    perm.extend(2 * m + 1..split.len());
    let cells = ctx.temp("blocks", Op::Reshape { shape: split }, &[x], x)?;
    let moved = ctx.temp("moved", Op::Transpose { perm }, &[cells], x)?;
    ctx.emit(Op::Reshape { shape: out }, &[moved])
}

pub(crate) fn batch_to_space(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let (block, crops) = blocks(ctx, x)?;
    let m = block.len();
    let shape = ctx.ty(x).shape.clone();
    let (&batch, space) = shape.split_first().ok_or_else(|| ctx.malformed("its operand has no axes"))?;
    let area = block.iter().fold(1usize, |n, &b| n.saturating_mul(b));
    if batch % area != 0 {
        return Err(ctx.malformed(format!("a batch of {batch} does not divide into blocks {block:?}")));
    }
    let mut split = block.clone();
    split.push(batch / area);
    split.extend(space);
    let mut perm = vec![m];
    let mut joined = vec![batch / area];
    for (i, (&d, &b)) in space.iter().zip(&block).enumerate() {
        perm.extend([m + 1 + i, i]);
        joined.push(d.saturating_mul(b));
    }
    perm.extend(2 * m + 1..split.len());
    joined.extend(space.iter().skip(m));
    let cells = ctx.temp("blocks", Op::Reshape { shape: split }, &[x], x)?;
    let moved = ctx.temp("moved", Op::Transpose { perm }, &[cells], x)?;
    let whole = Op::Reshape { shape: joined.clone() };
    if crops.iter().all(|&c| c == (0, 0)) {
        return ctx.emit(whole, &[moved]);
    }
    let whole = ctx.temp("whole", whole, &[moved], x)?;
    let (mut begin, mut size) = (vec![0; joined.len()], joined);
    for (i, &(before, after)) in crops.iter().enumerate() {
        if let (Some(b), Some(s)) = (begin.get_mut(i + 1), size.get_mut(i + 1)) {
            let cut = usize::try_from(before.saturating_add(after)).unwrap_or(usize::MAX);
            *s = s.checked_sub(cut).ok_or_else(|| ctx.malformed(format!("crops {crops:?} leave nothing")))?;
            *b = before as usize;
        }
    }
    let step = vec![1; size.len()];
    ctx.emit(Op::Slice { begin, size, step }, &[whole])
}

pub(crate) fn gather(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.option_i32(1, 0)? != 0 {
        return Err(ctx.refuse("batch_dims other than 0 are not supported"));
    }
    let axis = ctx.axis(x, i64::from(ctx.option_i32(0, 0)?))?;
    ctx.emit(Op::Gather { axis }, &[x, indices])
}

pub(crate) fn embedding_lookup(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (indices, x) = (ctx.input(0)?, ctx.input(1)?);
    ctx.emit(Op::Gather { axis: 0 }, &[x, indices])
}

fn known_extents(ctx: &mut Ctx<'_, '_>, operand: usize) -> Result<Vec<usize>, ImportError> {
    let ints = ctx.ints(operand)?;
    let extents: Option<Vec<usize>> = ints.iter().map(|&d| usize::try_from(d).ok()).collect();
    extents.ok_or_else(|| ctx.malformed(format!("{ints:?} is no shape")))
}

pub(crate) fn broadcast_to(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let shape = known_extents(ctx, 1)?;
    ctx.emit(Op::Expand { shape }, &[x])
}

pub(crate) fn fill(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let shape = known_extents(ctx, 0)?;
    let value = ctx.input(1)?;
    ctx.emit(Op::Expand { shape }, &[value])
}

pub(crate) fn zeros_like(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let (dtype, shape) = (ctx.ty(x).dtype, ctx.ty(x).shape.0.clone());
    let zero = ctx.temp_constant("zero", Tensor::zeros(dtype, Shape::default()));
    ctx.emit(Op::Expand { shape }, &[zero])
}

pub(crate) fn tile(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let mut x = ctx.input(0)?;
    let copies = known_extents(ctx, 1)?;
    if copies.len() != ctx.ty(x).shape.rank() || copies.iter().any(|c| !(1..=MAX_COPIES).contains(c)) {
        return Err(ctx.refuse(format!("multiples {copies:?} must be one of 1 to {MAX_COPIES} for every axis")));
    }
    let last = copies.iter().rposition(|&c| c > 1);
    for (axis, &n) in copies.iter().enumerate() {
        if n == 1 {
            continue;
        }
        let op = Op::Concat { axis, act: Act::None };
        if Some(axis) == last {
            return ctx.emit(op, &vec![x; n]);
        }
        x = ctx.temp(&format!("axis {axis}"), op, &vec![x; n], x)?;
    }
    ctx.emit(Op::Unary(tandem_ops::UnaryKind::Identity), &[x])
}

pub(crate) fn shape(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let extents: Vec<i64> = ctx.ty(x).shape.iter().map(|&d| d as i64).collect();
    integers(ctx, vec![extents.len()], &extents)
}

pub(crate) fn rank(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let rank = ctx.ty(x).shape.rank() as i64;
    integers(ctx, Vec::new(), &[rank])
}

fn integers(ctx: &mut Ctx<'_, '_>, shape: Vec<usize>, elements: &[i64]) -> Lowered {
    let (dtype, ..) = ctx.declared(0)?;
    let made = match dtype {
        DType::I64 => Tensor::from_vec(shape, elements.to_vec()),
        DType::I32 => {
            let narrow = elements.iter().map(|&e| i32::try_from(e).unwrap_or(i32::MAX)).collect();
            Tensor::from_vec::<i32>(shape, narrow)
        }
        other => return Err(ctx.malformed(format!("its result is {other}, not I32 or I64"))),
    };
    let tensor = made.map_err(|e| ctx.malformed(e.to_string()))?;
    ctx.emit_constant(tensor)
}
