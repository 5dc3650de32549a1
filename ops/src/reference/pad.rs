//! Padding.

use super::Operand;
use super::layout::zero_code;
use super::position::{join, moved, pick};
use crate::{OpError, PadMode};
use tandem_tensor::{Tensor, TensorType};

pub(super) fn pad(
    amount: &[(i64, i64)],
    mode: PadMode,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let x = operands[0];
    let zero = zero_code(x.ty)?;
    let value = operands.get(1).copied().unwrap_or(Operand { tensor: &zero, ty: x.ty });
    let all = join("pad", &[x, value])?;
    if result.elements() == 0 {
        return moved("pad", pick(&all, &[]), result);
    }
    let outside = x.tensor.len();
    let strides = x.tensor.shape().strides();
    let mut positions = vec![Some(0usize)];
    for (axis, &(before, after)) in amount.iter().enumerate() {
        let extent = x.tensor.shape()[axis];
        let cut = before.min(0).unsigned_abs() as usize;
        let left = extent - cut - after.min(0).unsigned_abs() as usize;
        let sources: Vec<Option<usize>> = (0..result.shape[axis])
            .map(|i| source(i as i128 - i128::from(before.max(0)), left as i128, mode).map(|s| s + cut))
            .collect();
        let mut next = Vec::with_capacity(positions.len() * sources.len());
        for p in &positions {
            next.extend(sources.iter().map(|s| Some((*p)? + (*s)? * strides[axis])));
        }
        positions = next;
    }
    let positions: Vec<usize> = positions.into_iter().map(|p| p.unwrap_or(outside)).collect();
    moved("pad", pick(&all, &positions), result)
}

/// The element of an axis of extent `n` that stands at coordinate `i`, which may lie outside; `None` for the padding value.
fn source(i: i128, n: i128, mode: PadMode) -> Option<usize> {
    if n == 0 {
        return None;
    }
    let folded = match mode {
        PadMode::Constant => return (0..n).contains(&i).then_some(i as usize),
        PadMode::Edge => i.clamp(0, n - 1),
        PadMode::Wrap => i.rem_euclid(n),
        PadMode::Reflect if n == 1 => 0,
        PadMode::Reflect => {
            let period = 2 * (n - 1);
            let r = i.rem_euclid(period);
            r.min(period - r)
        }
        PadMode::Symmetric => {
            let r = i.rem_euclid(2 * n);
            r.min(2 * n - 1 - r)
        }
    };
    Some(folded as usize)
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{run, run_typed};
    use crate::{Op, PadMode};
    use tandem_tensor::{DType, QuantParams, Tensor};

    fn padded(amount: (i64, i64), mode: PadMode) -> Vec<i32> {
        let x = Tensor::from_vec([3], vec![1, 2, 3]).unwrap();
        run(&Op::Pad { amount: vec![amount], mode }, &[&x], DType::I32).as_slice::<i32>().unwrap().to_vec()
    }

    #[test]
    fn every_mode_continues_the_axis_in_its_own_way() {
        assert_eq!(padded((2, 3), PadMode::Constant), [0, 0, 1, 2, 3, 0, 0, 0]);
        assert_eq!(padded((2, 3), PadMode::Edge), [1, 1, 1, 2, 3, 3, 3, 3]);
        assert_eq!(padded((2, 3), PadMode::Wrap), [2, 3, 1, 2, 3, 1, 2, 3]);
        assert_eq!(padded((2, 3), PadMode::Reflect), [3, 2, 1, 2, 3, 2, 1, 2]);
        assert_eq!(padded((2, 3), PadMode::Symmetric), [2, 1, 1, 2, 3, 3, 2, 1]);
    }

    #[test]
    fn negative_amounts_cut_before_the_rest_is_repeated() {
        assert_eq!(padded((-1, 2), PadMode::Constant), [2, 3, 0, 0]);
        assert_eq!(padded((-1, 2), PadMode::Reflect), [2, 3, 2, 3]);
        assert_eq!(padded((1, -1), PadMode::Edge), [1, 1, 2]);
    }

    #[test]
    fn the_value_is_an_operand_or_the_zero_point() {
        let x = Tensor::from_vec([1, 1], vec![5i8]).unwrap();
        let op = Op::Pad { amount: vec![(0, 1), (1, 0)], mode: PadMode::Constant };
        let q = QuantParams::per_tensor(0.1, 4);
        let y = run_typed(&op, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), [4, 5, 4, 4]);
        let y = run(&op, &[&x, &Tensor::scalar(9i8)], DType::I8);
        assert_eq!(y.as_slice::<i8>().unwrap(), [9, 5, 9, 9]);
    }
}
