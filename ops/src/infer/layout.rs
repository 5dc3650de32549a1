//! Shapes of operators that move, select or reduce elements.

use super::invalid;
use crate::{CoordinateMode, Op, OpError, PadMode, Resize};
use tandem_tensor::{Shape, TensorType, broadcast};

pub(super) fn reduced(op: &Op, x: &Shape, axes: &[usize], keep_dims: bool) -> Result<Shape, OpError> {
    if axes.iter().any(|&a| a >= x.rank()) || axes.windows(2).any(|p| p[0] >= p[1]) {
        return invalid(format!("{} needs ascending axes below {} but has {axes:?} (x is {x})", op.name(), x.rank()));
    }
    let extents = x.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
        false => Some(d),
        true if keep_dims => Some(1),
        true => None,
    });
    Ok(Shape(extents.collect()))
}

pub(super) fn pad(
    x: &Shape,
    amount: &[(i64, i64)],
    mode: PadMode,
    value: Option<&TensorType>,
) -> Result<Shape, OpError> {
    if amount.len() != x.rank() {
        return invalid(format!("pad needs an amount for each of {} axes but has {}", x.rank(), amount.len()));
    }
    if let Some(v) = value
        && v.elements() != 1
    {
        return invalid(format!("pad needs one value but the operand is {v}"));
    }
    let mut shape = Vec::with_capacity(x.rank());
    for (&extent, &(before, after)) in x.iter().zip(amount) {
        let absurd = || OpError::invalid(format!("pad cannot add {before} and {after} to an axis of extent {extent}"));
        let cut = |n: i64| n.checked_neg().map(|n| n.max(0));
        let n = i64::try_from(extent).map_err(|_| absurd())?;
        // What is left of the axis after negative amounts have cut it is the source of all modes.
        let left = cut(before)
            .and_then(|b| n.checked_sub(b)?.checked_sub(cut(after)?))
            .filter(|&left| left >= 0)
            .ok_or_else(absurd)?;
        let sum = left.checked_add(before.max(0)).and_then(|s| s.checked_add(after.max(0))).ok_or_else(absurd)?;
        if left == 0 && sum > 0 && mode != PadMode::Constant {
            return invalid(format!(
                "pad has nothing to repeat: axis of extent {extent}, amounts {before} and {after}"
            ));
        }
        shape.push(usize::try_from(sum).map_err(|_| absurd())?);
    }
    Ok(Shape(shape))
}

pub(super) fn concat(operands: &[&TensorType], axis: usize) -> Result<Shape, OpError> {
    let mut shape = operands[0].shape.clone();
    if axis >= shape.rank() {
        return invalid(format!("concat along axis {axis} but the first operand is {shape}"));
    }
    for other in &operands[1..] {
        let fits = other.shape.rank() == shape.rank()
            && other.shape.iter().zip(shape.iter()).enumerate().all(|(i, (a, b))| i == axis || a == b);
        if !fits {
            return invalid(format!(
                "concat along axis {axis} needs operands that differ in no other axis but has {} and {}",
                operands[0].shape, other.shape
            ));
        }
        shape[axis] = shape[axis]
            .checked_add(other.shape[axis])
            .ok_or_else(|| OpError::invalid(format!("concat along axis {axis} overflows")))?;
    }
    Ok(shape)
}

pub(super) fn slice(x: &Shape, begin: &[usize], size: &[usize], step: &[i64]) -> Result<Shape, OpError> {
    if begin.len() != x.rank() || size.len() != x.rank() || step.len() != x.rank() {
        return invalid(format!(
            "slice needs begin, size and step for each of {} axes but has {}, {} and {}",
            x.rank(),
            begin.len(),
            size.len(),
            step.len()
        ));
    }
    for axis in 0..x.rank() {
        let (b, n, s) = (begin[axis], size[axis], step[axis]);
        if s == 0 {
            return invalid(format!("slice has step 0 on axis {axis}"));
        }
        let last = (n as i128 - 1) * i128::from(s) + b as i128;
        let inside = |i: i128| (0..x[axis] as i128).contains(&i);
        if n > 0 && !(inside(b as i128) && inside(last)) {
            return invalid(format!(
                "slice of axis {axis} from {b}, size {n}, step {s} leaves the operand of extent {}",
                x[axis]
            ));
        }
    }
    Ok(Shape::from(size))
}

pub(super) fn reshape(x: &Shape, shape: &[usize]) -> Result<Shape, OpError> {
    let shape = Shape::from(shape);
    if shape.elements() != x.elements() {
        return invalid(format!("reshape of {x} to {shape}: {} elements to {}", x.elements(), shape.elements()));
    }
    Ok(shape)
}

pub(super) fn transpose(x: &Shape, perm: &[usize]) -> Result<Shape, OpError> {
    let mut seen = vec![false; x.rank()];
    let fresh = |&p: &usize| seen.get_mut(p).is_some_and(|s| !std::mem::replace(s, true));
    if perm.len() != x.rank() || !perm.iter().all(fresh) {
        return invalid(format!("transpose needs a permutation of {} axes but has {perm:?}", x.rank()));
    }
    Ok(Shape(perm.iter().map(|&p| x[p]).collect()))
}

pub(super) fn resize(r: &Resize, x: &Shape) -> Result<Shape, OpError> {
    if r.shape.len() != x.rank() || r.scale.len() != x.rank() {
        return invalid(format!(
            "resize needs a size and a scale for each of {} axes but has {} and {}",
            x.rank(),
            r.shape.len(),
            r.scale.len()
        ));
    }
    if let Some(s) = r.scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return invalid(format!("resize needs finite positive scales but has {s}"));
    }
    if let Some(axis) = (0..x.rank()).find(|&i| x[i] == 0 && r.shape[i] > 0) {
        return invalid(format!("resize has nothing to repeat: axis {axis} of {x} is empty"));
    }
    match &r.roi {
        Some(roi) if roi.len() != x.rank() || roi.iter().any(|(a, b)| !(a.is_finite() && b.is_finite())) => {
            invalid(format!("resize needs a finite region for each of {} axes but has {roi:?}", x.rank()))
        }
        None if r.coordinate == CoordinateMode::TfCropAndResize => {
            invalid("resize with the coordinates of crop-and-resize needs a region")
        }
        _ => Ok(Shape::from(r.shape.as_slice())),
    }
}

pub(super) fn gather(x: &Shape, indices: &TensorType, axis: usize) -> Result<Shape, OpError> {
    if !indices.dtype.is_integer() {
        return invalid(format!("gather needs integer indices but they are {indices}"));
    }
    Ok(Shape(x[..axis].iter().chain(indices.shape.iter()).chain(&x[axis + 1..]).copied().collect()))
}

pub(super) fn expand(x: &Shape, shape: &[usize]) -> Result<Shape, OpError> {
    let shape = Shape::from(shape);
    if broadcast(x, &shape)? != shape {
        return invalid(format!("expand of {x} to {shape}, to which it does not broadcast"));
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, ReduceKind, infer};
    use tandem_tensor::DType;

    fn of(op: Op, x: &[usize]) -> Result<Shape, OpError> {
        infer(&op, &[&TensorType::new(DType::F32, x)]).map(|mut s| s.remove(0))
    }

    #[test]
    fn reductions_keep_or_drop_axes() {
        let op = |axes: &[usize], keep_dims| Op::Reduce { kind: ReduceKind::Sum, axes: axes.to_vec(), keep_dims };
        assert_eq!(of(op(&[0, 2], true), &[2, 3, 4]).unwrap(), Shape::from([1, 3, 1]));
        assert_eq!(of(op(&[0, 2], false), &[2, 3, 4]).unwrap(), Shape::from([3]));
        assert_eq!(of(op(&[], false), &[2, 3]).unwrap(), Shape::from([2, 3]));
        assert!(of(op(&[1, 0], false), &[2, 3]).is_err());
        assert!(of(op(&[1, 1], false), &[2, 3]).is_err());
        assert!(of(op(&[2], false), &[2, 3]).is_err());
    }

    #[test]
    fn pads_may_cut_but_not_more_than_there_is() {
        let op = |a, mode| Op::Pad { amount: vec![a], mode };
        assert_eq!(of(op((2, -1), PadMode::Constant), &[4]).unwrap(), Shape::from([5]));
        assert_eq!(of(op((-2, -2), PadMode::Edge), &[4]).unwrap(), Shape::from([0]));
        assert!(of(op((-3, -2), PadMode::Constant), &[4]).is_err());
        assert!(of(op((-4, 1), PadMode::Edge), &[4]).unwrap_err().to_string().contains("nothing to repeat"));
        assert!(of(op((i64::MIN, 0), PadMode::Constant), &[4]).is_err());
        assert!(of(op((i64::MAX, i64::MAX), PadMode::Constant), &[4]).is_err());
        assert!(of(Op::Pad { amount: vec![], mode: PadMode::Wrap }, &[4]).is_err());
    }

    #[test]
    fn slices_stay_inside() {
        let op = |b, n, s| Op::Slice { begin: vec![b], size: vec![n], step: vec![s] };
        assert_eq!(of(op(3, 4, -1), &[4]).unwrap(), Shape::from([4]));
        assert_eq!(of(op(9, 0, 1), &[4]).unwrap(), Shape::from([0]));
        assert!(of(op(0, 3, 2), &[4]).is_err());
        assert!(of(op(2, 4, -1), &[4]).is_err());
        assert!(of(op(0, 2, i64::MIN), &[4]).is_err());
        assert!(of(op(0, usize::MAX, i64::MAX), &[4]).is_err());
        assert!(of(op(0, 1, 0), &[4]).unwrap_err().to_string().contains("step 0"));
    }

    #[test]
    fn only_permutations_transpose() {
        assert_eq!(of(Op::Transpose { perm: vec![2, 0, 1] }, &[2, 3, 4]).unwrap(), Shape::from([4, 2, 3]));
        assert!(of(Op::Transpose { perm: vec![0, 0] }, &[2, 3]).is_err());
        assert!(of(Op::Transpose { perm: vec![0, 2] }, &[2, 3]).is_err());
        assert!(of(Op::Transpose { perm: vec![0] }, &[2, 3]).is_err());
    }

    #[test]
    fn concatenation_adds_one_axis() {
        let ty = |s: &[usize]| TensorType::new(DType::F32, s);
        let op = |axis| Op::Concat { axis, act: Act::None };
        assert_eq!(infer(&op(1), &[&ty(&[2, 3]), &ty(&[2, 5])]).unwrap(), vec![Shape::from([2, 8])]);
        assert!(infer(&op(1), &[&ty(&[2, 3]), &ty(&[3, 5])]).is_err());
        assert!(infer(&op(1), &[&ty(&[2, 3]), &ty(&[2])]).is_err());
        assert!(infer(&op(2), &[&ty(&[2, 3])]).is_err());
        assert!(infer(&op(0), &[&ty(&[usize::MAX, 0]), &ty(&[1, 0])]).is_err());
    }

    #[test]
    fn expansion_never_shrinks() {
        assert_eq!(of(Op::Expand { shape: vec![4, 2, 3] }, &[2, 1]).unwrap(), Shape::from([4, 2, 3]));
        assert!(of(Op::Expand { shape: vec![1] }, &[3]).is_err());
        assert!(of(Op::Expand { shape: vec![3] }, &[1, 3]).is_err());
        assert!(of(Op::Reshape { shape: vec![1 << 40, 1 << 40] }, &[3]).is_err());
    }
}
