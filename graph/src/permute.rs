//! Operators under a permutation of their axes.
//!
//! A value may stand for another whose axes are in a different order. An operator that does not care about the order works on what
//! stands for its operand and hands the permutation on to its result; the others have it carried out first. The importers and the
//! layout pass both decide by this file.

use tandem_ops::Op;
use tandem_tensor::{QuantParams, Shape};

/// The operator on an operand whose axis i is axis `perm[i]` of what stands for it, and the permutation that its result then needs;
/// `None` for one that cares about the order. `rank` is that of the operands that are permuted.
pub fn reordered(op: &Op, perm: &[usize], rank: usize) -> Option<(Op, Vec<usize>)> {
    fn turn<T: Clone>(list: &[T], perm: &[usize]) -> Option<Vec<T>> {
        let mut out = list.to_vec();
        for (item, &p) in list.iter().zip(perm) {
            *out.get_mut(p)? = item.clone();
        }
        Some(out)
    }
    let same = perm.to_vec();
    Some(match op.clone() {
        op @ (Op::Unary(_)
        | Op::Binary { .. }
        | Op::Where
        | Op::Cast { .. }
        | Op::Quantize
        | Op::Dequantize
        | Op::Requantize) => (op, same),
        Op::Softmax { axis, beta, log } => (Op::Softmax { axis: *perm.get(axis)?, beta, log }, same),
        Op::CumSum { axis, exclusive, reverse } => (Op::CumSum { axis: *perm.get(axis)?, exclusive, reverse }, same),
        Op::Concat { axis, act } => (Op::Concat { axis: *perm.get(axis)?, act }, same),
        Op::Pad { amount, mode } => (Op::Pad { amount: turn(&amount, perm)?, mode }, same),
        Op::Slice { begin, size, step } => {
            (Op::Slice { begin: turn(&begin, perm)?, size: turn(&size, perm)?, step: turn(&step, perm)? }, same)
        }
        Op::Expand { shape } if shape.len() == rank => (Op::Expand { shape: turn(&shape, perm)? }, same),
        Op::Resize(mut r) => {
            r.shape = turn(&r.shape, perm)?;
            r.scale = turn(&r.scale, perm)?;
            r.roi = match r.roi {
                Some(roi) => Some(turn(&roi, perm)?),
                None => None,
            };
            (Op::Resize(r), same)
        }
        Op::Reduce { kind, axes, keep_dims } => {
            let mut turned: Vec<usize> = axes.iter().filter_map(|&a| perm.get(a).copied()).collect();
            turned.sort_unstable();
            let result = if keep_dims { same } else { without(perm, &axes) };
            (Op::Reduce { kind, axes: turned, keep_dims }, result)
        }
        Op::ArgMax { axis, keep_dims, select_last, min, dtype } => {
            let result = if keep_dims { same } else { without(perm, &[axis]) };
            (Op::ArgMax { axis: *perm.get(axis)?, keep_dims, select_last, min, dtype }, result)
        }
        _ => return None,
    })
}

/// The permutation of the axes that remain when some are dropped.
fn without(perm: &[usize], axes: &[usize]) -> Vec<usize> {
    let kept: Vec<usize> = (0..perm.len()).filter(|i| !axes.contains(i)).map(|i| perm[i]).collect();
    kept.iter().map(|&p| kept.iter().filter(|&&q| q < p).count()).collect()
}

/// True when every axis stays where it is.
pub fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// The permutation that undoes this one.
pub fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        if let Some(slot) = inverse.get_mut(p) {
            *slot = i;
        }
    }
    inverse
}

/// True when the axes that are longer than 1 keep their order.
pub fn moves_units_only(perm: &[usize], shape: &Shape) -> bool {
    let real: Vec<usize> = perm.iter().copied().filter(|&p| shape.get(p) != Some(&1)).collect();
    real.is_sorted()
}

/// Parameters whose axis has moved.
pub fn turned(quant: Option<QuantParams>, place: impl Fn(usize) -> Option<usize>) -> Option<QuantParams> {
    let mut quant = quant?;
    if let Some(axis) = quant.axis {
        quant.axis = place(axis);
    }
    Some(quant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::ReduceKind;

    #[test]
    fn a_permutation_and_its_inverse_cancel() {
        let perm = [2, 0, 3, 1];
        let back = inverse(&perm);
        assert!(is_identity(&perm.map(|axis| back[axis])));
        assert!(!is_identity(&perm));
    }

    #[test]
    fn a_reduction_counts_its_axes_in_the_other_order_and_drops_them_from_the_permutation() {
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims: false };
        // Channels-first reals that stand channels-last.
        let (op, left) = reordered(&mean, &[0, 3, 1, 2], 4).unwrap();
        assert_eq!(op, Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false });
        assert!(is_identity(&left));
    }

    #[test]
    fn axes_of_extent_1_may_go_anywhere() {
        assert!(moves_units_only(&[0, 3, 1, 2], &[5, 4, 6, 1].into()));
        assert!(!moves_units_only(&[0, 3, 1, 2], &[5, 4, 6, 2].into()));
    }
}
