//! Operators about shapes, and constants.

use super::{Item, Lower, Results, one};
use crate::onnx::tensor::tensor;
use crate::{ImportError, MAX_TENSOR_BYTES};
use tandem_tensor::{DType, Shape, Tensor};

/// The longest list of `Range`.
const MAX_RANGE: f64 = 1e6;

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    Some(match n.op() {
        "Reshape" => reshape(l, n),
        "Flatten" => flatten(l, n),
        "Squeeze" => squeeze(l, n),
        "Unsqueeze" => unsqueeze(l, n),
        "Shape" => shape(l, n),
        "Size" => size(l, n),
        "Constant" => constant(l, n),
        "ConstantOfShape" => constant_of_shape(l, n),
        "Range" => range(l, n),
        "Expand" => expand(l, n),
        "Tile" => tile(l, n),
        _ => return None,
    })
}

fn reshape(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let wanted = l.known_integers(n, 1, "shape")?.ok_or_else(|| n.malformed("its operand 'shape' is missing"))?;
    let keeps_zero = n.flag("allowzero");
    let mut to: Vec<Option<usize>> = Vec::with_capacity(wanted.len());
    for (i, &v) in wanted.iter().enumerate() {
        to.push(match v {
            0 if !keeps_zero => match from.get(i) {
                Some(&d) => Some(d),
                None => return Err(n.malformed(format!("it copies axis {i}, which {from} does not have"))),
            },
            -1 => None,
            v => Some(usize::try_from(v).map_err(|_| n.malformed(format!("its extent {v} is negative")))?),
        });
    }
    let open = to.iter().filter(|d| d.is_none()).count();
    let known = to.iter().flatten().try_fold(1usize, |p, &d| p.checked_mul(d));
    let fits = match (open, known) {
        (0, Some(k)) => k == from.elements(),
        (1, Some(k)) => k > 0 && from.elements().is_multiple_of(k),
        _ => false,
    };
    if !fits {
        return Err(n.malformed(format!("{from} cannot take the shape {wanted:?}")));
    }
    let rest = known.filter(|&k| k > 0).map_or(0, |k| from.elements() / k);
    let to: Vec<usize> = to.into_iter().map(|d| d.unwrap_or(rest)).collect();
    one(l.reshape(x, to)?)
}

fn flatten(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let rank = from.rank();
    let axis = n.int("axis", 1);
    // One past the last axis is legal: everything then is one row.
    let axis = if axis == rank as i64 { rank } else { l.axis(n, axis, rank)? };
    let product = |part: &[usize]| Shape(part.to_vec()).elements();
    one(l.reshape(x, [product(&from[..axis]), product(&from[axis..])])?)
}

/// Axes from the attribute of older opsets or from an operand.
fn axes(l: &Lower<'_>, n: &Item<'_>) -> Result<Option<Vec<i64>>, ImportError> {
    match n.ints("axes") {
        Some(list) => Ok(Some(list.to_vec())),
        None => l.known_integers(n, 1, "axes"),
    }
}

fn squeeze(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let drop = match axes(l, n)? {
        Some(list) => l.axes(n, &list, from.rank())?,
        None => (0..from.rank()).filter(|&i| from[i] == 1).collect(),
    };
    if let Some(&bad) = drop.iter().find(|&&a| from[a] != 1) {
        return Err(n.malformed(format!("it drops axis {bad} of {from}, whose extent is not 1")));
    }
    let to: Vec<usize> = (0..from.rank()).filter(|i| !drop.contains(i)).map(|i| from[i]).collect();
    one(l.reshape(x, to)?)
}

fn unsqueeze(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let list = axes(l, n)?.ok_or_else(|| n.malformed("its axes are missing"))?;
    let rank = from.rank() + list.len().min(64);
    let new = l.axes(n, &list, rank)?;
    let mut rest = from.iter().copied();
    let to: Vec<usize> = (0..rank).map(|i| if new.contains(&i) { 1 } else { rest.next().unwrap_or(1) }).collect();
    one(l.reshape(x, to)?)
}

fn shape(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let from = l.shape(n.input(0)?);
    let rank = from.rank() as i64;
    let place = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (begin, end) = (place(n.int("start", 0)), place(n.int("end", rank)));
    let part: Vec<i64> = from.get(begin..end).unwrap_or(&[]).iter().map(|&d| d as i64).collect();
    one(l.integers([part.len()], part)?)
}

fn size(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let count = l.shape(n.input(0)?).elements();
    one(l.integers(Shape::default(), vec![count as i64])?)
}

fn constant(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let value = if let Some(t) = n.attribute("value").and_then(|a| a.t.as_ref()) {
        let (value, elem) = tensor(t, &format!("node '{}'", n.name))?;
        let id = l.constant(value);
        l.set_elem(id, elem);
        return one(id);
    } else if let Some(v) = n.attribute("value_float").and_then(|a| a.f) {
        Tensor::scalar(v)
    } else if let Some(v) = n.attribute("value_int").and_then(|a| a.i) {
        Tensor::scalar(v)
    } else if let Some(a) = n.attribute("value_floats") {
        n.tensor(Tensor::from_vec([a.floats.len()], a.floats.clone()))?
    } else if let Some(a) = n.attribute("value_ints") {
        n.tensor(Tensor::from_vec([a.ints.len()], a.ints.clone()))?
    } else {
        return Err(n.unsupported("only tensors and numbers can be constants; strings and sparse tensors cannot"));
    };
    one(l.constant(value))
}

fn constant_of_shape(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let dims = l.known_integers(n, 0, "shape")?.ok_or_else(|| n.malformed("its operand is missing"))?;
    let value = match n.attribute("value").and_then(|a| a.t.as_ref()) {
        Some(t) => tensor(t, &format!("node '{}'", n.name))?.0,
        None => Tensor::scalar(0f32),
    };
    if value.len() != 1 {
        return Err(n.malformed("its value is not one element"));
    }
    let dims: Result<Vec<usize>, _> = dims.iter().map(|&d| usize::try_from(d)).collect();
    let shape = Shape(dims.map_err(|_| n.malformed("it makes a tensor of negative extent"))?);
    // An expanded scalar: it folds where somebody has to know it, and takes no memory before it is used otherwise.
    let value = n.tensor(value.reshaped(Shape::default()))?;
    let value = l.constant(value);
    one(l.expand(value, shape)?)
}

fn range(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let mut ends = [0f64; 3];
    let mut dtype = DType::I64;
    for (i, (end, what)) in ends.iter_mut().zip(["start", "limit", "delta"]).enumerate() {
        let t = l.known(n, i, what)?.ok_or_else(|| n.malformed(format!("its operand '{what}' is missing")))?;
        dtype = t.dtype();
        *end = t.to_f64().first().copied().ok_or_else(|| n.malformed(format!("its operand '{what}' is empty")))?;
    }
    let [start, limit, delta] = ends;
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() || count > MAX_RANGE {
        return Err(n.malformed(format!("it counts from {start} to {limit} by {delta}, which is no possible list")));
    }
    let count = count as usize;
    l.charge(n, count.saturating_mul(8))?;
    let values: Vec<f64> = (0..count).map(|i| start + i as f64 * delta).collect();
    let made = n.tensor(Tensor::from_f64(dtype, [count], &values))?;
    one(l.constant(made))
}

fn expand(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let dims = l.known_integers(n, 1, "shape")?.ok_or_else(|| n.malformed("its operand 'shape' is missing"))?;
    let dims: Result<Vec<usize>, _> = dims.iter().map(|&d| usize::try_from(d)).collect();
    let wanted = Shape(dims.map_err(|_| n.malformed("its shape is negative"))?);
    let to = tandem_tensor::broadcast(&l.shape(x), &wanted).map_err(|e| n.malformed(e.to_string()))?;
    one(l.expand(x, to)?)
}

/// Repeats by way of axes of extent 1 that are expanded and joined.
fn tile(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let from = l.shape(x);
    let repeats = l.known_integers(n, 1, "repeats")?.ok_or_else(|| n.malformed("its operand 'repeats' is missing"))?;
    let repeats: Result<Vec<usize>, _> = repeats.iter().map(|&r| usize::try_from(r)).collect();
    let repeats = repeats.map_err(|_| n.malformed("a repeat is negative"))?;
    if repeats.len() != from.rank() {
        return Err(n.malformed(format!("it has {} repeats for {from}", repeats.len())));
    }
    let (mut split, mut wide, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (&d, &r) in from.iter().zip(&repeats) {
        // Axes that are not repeated stay single, which keeps the number of axes low.
        if r != 1 {
            split.push(1);
            wide.push(r);
        }
        split.push(d);
        wide.push(d);
        joined.push(d.checked_mul(r).ok_or_else(|| n.malformed("its result is absurdly large"))?);
    }
    if Shape(joined.clone()).elements() > MAX_TENSOR_BYTES {
        return Err(n.malformed("its result is absurdly large"));
    }
    let x = l.reshape(x, split)?;
    let x = l.expand(x, wide)?;
    one(l.reshape(x, joined)?)
}
