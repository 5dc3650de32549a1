//! Moving elements of any dtype: results as lists of source positions.

use super::Operand;
use crate::OpError;
use tandem_tensor::{Data, Shape, Tensor, TensorType};

/// Runs `$body` on the vector inside a [`Data`] and wraps the new vector in the same variant.
macro_rules! rewrap {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            Data::Bool($v) => Data::Bool($body),
            Data::I8($v) => Data::I8($body),
            Data::U8($v) => Data::U8($body),
            Data::I16($v) => Data::I16($body),
            Data::U16($v) => Data::U16($body),
            Data::I32($v) => Data::I32($body),
            Data::U32($v) => Data::U32($body),
            Data::I64($v) => Data::I64($body),
            Data::U64($v) => Data::U64($body),
            Data::F16($v) => Data::F16($body),
            Data::BF16($v) => Data::BF16($body),
            Data::F32($v) => Data::F32($body),
            Data::F64($v) => Data::F64($body),
        }
    };
}

/// The elements of `data` at `positions`, all of which lie inside.
pub(super) fn pick(data: &Data, positions: &[usize]) -> Data {
    rewrap!(data, v => positions.iter().map(|&p| v[p]).collect())
}

/// The elements of all operands one after the other.
///
/// # Errors
/// When they differ in dtype.
pub(super) fn join(op: &str, operands: &[Operand<'_>]) -> Result<Data, OpError> {
    let mut all = operands[0].tensor.data().clone();
    macro_rules! append {
        ($($variant:ident),*) => {
            for other in &operands[1..] {
                match (&mut all, other.tensor.data()) {
                    $((Data::$variant(a), Data::$variant(b)) => a.extend_from_slice(b),)*
                    (a, b) => {
                        let text = format!("{op} needs operands of one dtype but has {} and {}", a.dtype(), b.dtype());
                        return Err(OpError::Invalid(text));
                    }
                }
            }
        };
    }
    append!(Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, BF16, F32, F64);
    Ok(all)
}

/// A result of the dtype and shape that `ty` declares.
///
/// # Errors
/// When `data` has another dtype.
pub(super) fn moved(op: &str, data: Data, ty: &TensorType) -> Result<Tensor, OpError> {
    if data.dtype() != ty.dtype {
        return Err(OpError::invalid(format!(
            "{op} does not change the dtype, but it is given {} and the result is {ty}",
            data.dtype()
        )));
    }
    Ok(Tensor::new(ty.shape.clone(), data)?)
}

/// Position in an operand of every element of a result: the operand starts at `offset` and steps by `stride` (signed)
/// along each axis of `shape`. The caller guarantees that all positions lie inside the operand.
pub(super) fn strided(shape: &[usize], offset: usize, stride: &[isize]) -> Vec<usize> {
    if shape.contains(&0) {
        return Vec::new();
    }
    let mut positions = vec![offset];
    for (&extent, &step) in shape.iter().zip(stride) {
        let mut next = Vec::with_capacity(positions.len() * extent);
        for &p in &positions {
            next.extend((0..extent).map(|i| p.wrapping_add_signed(step.wrapping_mul(i as isize))));
        }
        positions = next;
    }
    positions
}

/// Position in an operand of shape `from` of every element of a result of shape `to`, to which it broadcasts.
pub(super) fn broadcasted(from: &Shape, to: &Shape) -> Vec<usize> {
    let lead = to.rank() - from.rank();
    let strides = from.strides();
    let steps: Vec<isize> = (0..to.rank())
        .map(|i| match i.checked_sub(lead) {
            Some(k) if from[k] != 1 => strides[k] as isize,
            _ => 0,
        })
        .collect();
    strided(to, 0, &steps)
}

/// Extents before an axis, of the axis, and behind it. An empty tensor may have absurd extents, so products saturate.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let product = |extents: &[usize]| extents.iter().fold(1usize, |n, &d| n.saturating_mul(d));
    (product(&shape[..axis]), shape[axis], product(&shape[axis + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_repeats_positions() {
        assert_eq!(broadcasted(&Shape::from([2, 1]), &Shape::from([2, 2, 3])), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
        assert_eq!(broadcasted(&Shape::default(), &Shape::from([3])), [0, 0, 0]);
        assert_eq!(broadcasted(&Shape::from([1]), &Shape::from([0, 2])), [0usize; 0]);
    }

    #[test]
    fn negative_strides_walk_back() {
        assert_eq!(strided(&[2, 2], 3, &[-2, 1]), [3, 4, 1, 2]);
        assert_eq!(strided(&[], 7, &[]), [7]);
    }
}
