//! Sums and means of codes.

use super::codes;
use crate::arith::reduce_params;
use crate::{Arith, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

pub(super) fn reduce(
    op: &Op,
    (axes, mean): (&[usize], bool),
    arith: Arith,
    x: Operand<'_>,
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let (input, output) = (codes::whole(op.name(), x.ty)?, codes::whole(op.name(), result)?);
    let shape = &x.ty.shape;
    let count: usize = axes.iter().map(|&a| shape[a]).product();
    let params = reduce_params(arith, input, output, result.dtype, count, mean);
    // Step of each axis of the operand in the result.
    let mut steps = vec![0usize; shape.rank()];
    let mut step = 1;
    for axis in (0..shape.rank()).rev() {
        if !axes.contains(&axis) {
            steps[axis] = step;
            step *= shape[axis];
        }
    }
    let mut sums = vec![0i64; result.elements()];
    let codes_in = codes::wide(x.tensor);
    let (inner, inner_step) = match shape.last() {
        Some(&extent) => (extent, steps[shape.rank() - 1]),
        None => (1, 0),
    };
    for (row, codes) in codes_in.chunks_exact(inner.max(1)).enumerate() {
        let (mut rest, mut at) = (row, 0);
        for axis in (0..shape.rank().saturating_sub(1)).rev() {
            at += rest % shape[axis] * steps[axis];
            rest /= shape[axis];
        }
        if inner_step == 0 {
            sums[at] += codes.iter().map(|&q| i64::from(q)).sum::<i64>();
        } else {
            sums[at..at + inner].iter_mut().zip(codes).for_each(|(s, &q)| *s += i64::from(q));
        }
    }
    codes::narrow(result, sums.into_iter().map(|s| params.apply(s)))
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Arith, Op, ReduceKind};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn any_axes_may_go() {
        let x = Tensor::from_vec([2, 3, 2], vec![1i8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]).unwrap();
        let q = QuantParams::per_tensor(0.5, 1);
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let run = |kind, axes: &[usize]| {
                let op = Op::Reduce { kind, axes: axes.to_vec(), keep_dims: false };
                let y = run_family(&op, arith, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
                y.as_slice::<i8>().unwrap().to_vec()
            };
            assert_eq!(run(ReduceKind::Mean, &[1]), [3, 4, 9, 10]);
            assert_eq!(run(ReduceKind::Sum, &[0, 2]), [15, 23, 31]);
            assert_eq!(run(ReduceKind::Sum, &[0, 1, 2]), [67]);
        }
    }
}
