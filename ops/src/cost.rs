//! What an operator costs, whatever runs it.

use crate::{Act, Op, OpError, UnaryKind, infer};
use tandem_tensor::TensorType;

/// Work and traffic of one operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// Other arithmetic operations on elements.
    pub element_ops: u64,
    /// Bytes of the operands.
    pub bytes_read: u64,
    /// Bytes of the first result, counted at the dtype of the first operand.
    pub bytes_written: u64,
}

/// Cost of `op` on operands of these types.
///
/// # Errors
/// When the shape rule refuses the operands.
pub fn cost(op: &Op, operands: &[&TensorType]) -> Result<Cost, OpError> {
    let results = infer(op, operands)?;
    // The positions of a maximum pool are optional and come for nothing, so only the first result counts.
    let out = results.first().map_or(0, |s| s.elements() as u64);
    let dtype_bytes = operands.first().map_or(4, |t| t.dtype.bytes()) as u64;
    let taps = |w: &TensorType| (w.elements() / w.shape.first().copied().unwrap_or(1).max(1)) as u64;
    let (macs, element_ops) = match (op, operands) {
        (Op::Conv(_) | Op::Dense { .. }, [_, w, ..]) => (out.saturating_mul(taps(w)), 0),
        (Op::ConvTranspose(_), [x, w, ..]) => {
            let channels = x.shape.last().copied().unwrap_or(1).max(1) as u64;
            ((x.elements() as u64 / channels).saturating_mul(w.elements() as u64), 0)
        }
        (Op::MatMul { transpose_a, .. }, [a, ..]) => {
            let rank = a.shape.rank();
            let k = if *transpose_a && rank > 1 { a.shape[rank - 2] } else { a.shape.last().copied().unwrap_or(1) };
            (out.saturating_mul(k as u64), 0)
        }
        (Op::Lstm(_), [x, w, ..]) => {
            let taps = (taps(w) + w.shape.first().copied().unwrap_or(0) as u64).saturating_mul(4);
            (out.saturating_mul(taps), if x.elements() == 0 { 0 } else { out.saturating_mul(8) })
        }
        (Op::Pool(p), _) => (0, p.kernel.iter().fold(out, |n, &k| n.saturating_mul(k as u64))),
        (Op::Reduce { .. } | Op::ArgMax { .. }, [x, ..]) => (0, x.elements() as u64),
        (
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Concat { act: Act::None, .. }
            | Op::Expand { .. }
            | Op::Gather { .. }
            | Op::Pad { .. }
            | Op::Unary(UnaryKind::Identity),
            _,
        ) => (0, 0),
        _ => (0, out),
    };
    Ok(Cost {
        macs,
        element_ops,
        bytes_read: operands.iter().fold(0, |n, t| n.saturating_add(t.bytes() as u64)),
        bytes_written: out.saturating_mul(dtype_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conv, ConvTranspose, Pool, PoolKind, ReduceKind};
    use tandem_tensor::DType;

    fn i8s<const N: usize>(shape: [usize; N]) -> TensorType {
        TensorType::new(DType::I8, shape)
    }

    #[test]
    fn a_convolution_costs_its_taps() {
        let conv = |groups| {
            Op::Conv(Conv { stride: vec![2, 2], dilation: vec![1, 1], pad: vec![(0, 1); 2], groups, act: Act::Relu })
        };
        let c =
            cost(&conv(1), &[&i8s([1, 32, 32, 16]), &i8s([32, 3, 3, 16]), &TensorType::new(DType::I32, [32])]).unwrap();
        assert_eq!(c.macs, 16 * 16 * 32 * 9 * 16);
        assert_eq!((c.bytes_read, c.bytes_written), (16384 + 4608 + 128, 8192));
        let depthwise = cost(&conv(16), &[&i8s([1, 32, 32, 16]), &i8s([16, 3, 3, 1])]).unwrap();
        assert_eq!(depthwise.macs, 16 * 16 * 16 * 9);
        let up = Op::ConvTranspose(ConvTranspose {
            stride: vec![2, 2],
            dilation: vec![1, 1],
            pad: vec![(0, 0); 2],
            output_pad: vec![0, 0],
            groups: 1,
            act: Act::None,
        });
        assert_eq!(cost(&up, &[&i8s([1, 4, 4, 8]), &i8s([6, 2, 2, 8])]).unwrap().macs, 16 * 4 * 8 * 6);
    }

    #[test]
    fn products_cost_their_inner_extent() {
        let dense = Op::Dense { act: Act::None };
        assert_eq!(cost(&dense, &[&i8s([3, 64]), &i8s([10, 64])]).unwrap().macs, 3 * 64 * 10);
        let matmul = Op::MatMul { transpose_a: true, transpose_b: false };
        assert_eq!(cost(&matmul, &[&i8s([5, 4, 7]), &i8s([4, 9])]).unwrap().macs, 5 * 7 * 9 * 4);
    }

    #[test]
    fn reductions_cost_what_they_read_and_moves_nothing() {
        let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false };
        assert_eq!(cost(&mean, &[&i8s([1, 8, 8, 4])]).unwrap().element_ops, 256);
        let moved = cost(&Op::Transpose { perm: vec![1, 0] }, &[&i8s([2, 3])]).unwrap();
        assert_eq!((moved.macs, moved.element_ops, moved.bytes_read, moved.bytes_written), (0, 0, 6, 6));
    }

    #[test]
    fn absurd_windows_saturate() {
        let huge = isize::MAX as usize - 1;
        let pool = Op::Pool(Pool {
            kind: PoolKind::Max,
            kernel: vec![huge; 3],
            stride: vec![1; 3],
            dilation: vec![1; 3],
            pad: vec![(huge, 0); 3],
            ceil: false,
            count_include_pad: false,
            act: Act::None,
        });
        assert_eq!(cost(&pool, &[&i8s([1, 1, 1, 1, 1])]).unwrap().element_ops, u64::MAX);
    }
}
