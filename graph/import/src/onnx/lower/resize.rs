//! Resizing.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{CoordinateMode, NearestMode, Op, Resize, ResizeMode};
use tandem_tensor::Shape;

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Resize" => resize(l, n),
        "Upsample" => upsample(l, n),
        _ => return None,
    })
}

/// The predecessor of `Resize`: the same as its first version.
fn upsample(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let scales = match n.attribute("scales") {
        Some(a) => a.floats.clone(),
        None => known_floats(l, n, 1, "scales")?.ok_or_else(|| n.malformed("its scales are missing"))?,
    };
    first_version(l, n, x, &scales)
}

fn first_version(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId, scales: &[f32]) -> Results {
    let from = l.shape(x);
    let (shape, scale) = by_scales(n, &from, &(0..from.rank()).collect::<Vec<_>>(), scales)?;
    let mode = match n.text("mode").unwrap_or("nearest") {
        "nearest" => ResizeMode::Nearest(NearestMode::Floor),
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return Err(n.unsupported(format!("mode {other:?} is not known"))),
    };
    let coordinate = CoordinateMode::Asymmetric;
    let op = Resize { shape, scale, mode, coordinate, antialias: false, roi: None, extrapolation: 0.0 };
    emit(l, x, op)
}

fn emit(l: &mut Lower<'_>, x: ValueId, op: Resize) -> Results {
    let dtype = l.dtype(x);
    one(l.emit(Op::Resize(op), &[x], dtype)?)
}

fn known_floats(l: &Lower<'_>, n: &Item<'_>, index: usize, what: &str) -> Result<Option<Vec<f32>>, ImportError> {
    let list = l.known(n, index, what)?.map(|t| t.to_f64().into_iter().map(|v| v as f32).collect::<Vec<_>>());
    // An empty list is how files before opset 13 leave an operand out.
    Ok(list.filter(|v| !v.is_empty()))
}

fn resize(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let rank = from.rank();
    if l.opset < 11 {
        let scales = known_floats(l, n, 1, "scales")?.ok_or_else(|| n.malformed("its scales are missing"))?;
        return first_version(l, n, x, &scales);
    }
    let axes = match n.ints("axes") {
        Some(list) => l.axes(n, list, rank)?,
        None => (0..rank).collect(),
    };
    let sizes = l.known_integers(n, 3, "sizes")?.filter(|s| !s.is_empty());
    let (shape, scale) = match (known_floats(l, n, 2, "scales")?, sizes) {
        (Some(scales), None) => by_scales(n, &from, &axes, &scales)?,
        (None, Some(sizes)) => by_sizes(n, &from, &axes, &sizes)?,
        _ => return Err(n.malformed("it needs either scales or sizes")),
    };
    let mode = match n.text("mode").unwrap_or("nearest") {
        "nearest" => ResizeMode::Nearest(match n.text("nearest_mode").unwrap_or("round_prefer_floor") {
            "round_prefer_floor" => NearestMode::RoundPreferFloor,
            "round_prefer_ceil" => NearestMode::RoundPreferCeil,
            "floor" => NearestMode::Floor,
            "ceil" => NearestMode::Ceil,
            other => return Err(n.unsupported(format!("nearest_mode {other:?} is not known"))),
        }),
        "linear" => ResizeMode::Linear,
        "cubic" => ResizeMode::Cubic { a: n.float("cubic_coeff_a", -0.75), exclude_outside: n.flag("exclude_outside") },
        other => return Err(n.unsupported(format!("mode {other:?} is not known"))),
    };
    let coordinate = match n.text("coordinate_transformation_mode").unwrap_or("half_pixel") {
        "half_pixel" => CoordinateMode::HalfPixel,
        "half_pixel_symmetric" => CoordinateMode::HalfPixelSymmetric,
        "pytorch_half_pixel" => CoordinateMode::PytorchHalfPixel,
        "align_corners" => CoordinateMode::AlignCorners,
        "asymmetric" => CoordinateMode::Asymmetric,
        "tf_crop_and_resize" => CoordinateMode::TfCropAndResize,
        other => return Err(n.unsupported(format!("coordinate_transformation_mode {other:?} is not known"))),
    };
    let roi = match coordinate {
        CoordinateMode::TfCropAndResize => Some(region(l, n, &axes, rank)?),
        _ => None,
    };
    let antialias = n.flag("antialias");
    let extrapolation = n.float("extrapolation_value", 0.0).into();
    emit(l, x, Resize { shape, scale, mode, coordinate, antialias, roi, extrapolation })
}

fn region(l: &Lower<'_>, n: &Item<'_>, axes: &[usize], rank: usize) -> Result<Vec<(f64, f64)>, ImportError> {
    let list = known_floats(l, n, 1, "roi")?.unwrap_or_default();
    if list.len() != 2 * axes.len() {
        return Err(n.malformed(format!("its roi has {} numbers for {} axes", list.len(), axes.len())));
    }
    let mut roi = vec![(0.0, 1.0); rank];
    for (i, &axis) in axes.iter().enumerate() {
        roi[axis] = (list[i].into(), list[i + axes.len()].into());
    }
    Ok(roi)
}

type Sizes = (Vec<usize>, Vec<f64>);

fn by_scales(n: &Item<'_>, from: &Shape, axes: &[usize], scales: &[f32]) -> Result<Sizes, ImportError> {
    if scales.len() != axes.len() {
        return Err(n.malformed(format!("it has {} scales for {} axes", scales.len(), axes.len())));
    }
    let (mut shape, mut scale) = (from.0.clone(), vec![1.0; from.rank()]);
    for (&axis, &s) in axes.iter().zip(scales) {
        if !(s.is_finite() && s > 0.0) {
            return Err(n.malformed(format!("its scale is {s}; scales must be finite and positive")));
        }
        shape[axis] = (from[axis] as f32 * s).floor() as usize;
        scale[axis] = s.into();
    }
    Ok((shape, scale))
}

fn by_sizes(n: &Item<'_>, from: &Shape, axes: &[usize], sizes: &[i64]) -> Result<Sizes, ImportError> {
    if sizes.len() != axes.len() {
        return Err(n.malformed(format!("it has {} sizes for {} axes", sizes.len(), axes.len())));
    }
    let (mut shape, mut scale) = (from.0.clone(), vec![1.0; from.rank()]);
    for (&axis, &size) in axes.iter().zip(sizes) {
        shape[axis] = usize::try_from(size).map_err(|_| n.malformed(format!("its size {size} is negative")))?;
        if from[axis] == 0 || shape[axis] == 0 {
            return Err(n.malformed(format!("it resizes {from} to an empty axis or from one")));
        }
        scale[axis] = shape[axis] as f64 / from[axis] as f64;
    }
    let of_axes = axes.iter().map(|&a| scale[a]);
    let common = match n.text("keep_aspect_ratio_policy").unwrap_or("stretch") {
        "stretch" => return Ok((shape, scale)),
        "not_larger" => of_axes.fold(f64::INFINITY, f64::min),
        "not_smaller" => of_axes.fold(0.0, f64::max),
        other => return Err(n.unsupported(format!("keep_aspect_ratio_policy {other:?} is not known"))),
    };
    for &axis in axes {
        scale[axis] = common;
        shape[axis] = (from[axis] as f64 * common).round() as usize;
    }
    Ok((shape, scale))
}
