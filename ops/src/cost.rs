//! What an operator costs, whatever runs it.

use crate::{Op, OpError, infer};
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
    /// Bytes of the results, counted at the dtype of the first operand.
    pub bytes_written: u64,
}

/// Cost of `op` on operands of these types.
///
/// # Errors
/// When the shape rule refuses the operands.
pub fn cost(op: &Op, operands: &[&TensorType]) -> Result<Cost, OpError> {
    let results = infer(op, operands)?;
    let out: u64 = results.iter().map(|s| s.elements() as u64).sum();
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
        (Op::Pool(p), _) => (0, out.saturating_mul(p.kernel.iter().product::<usize>() as u64)),
        (Op::Reduce { .. } | Op::ArgMax { .. }, [x, ..]) => (0, x.elements() as u64),
        (Op::Reshape { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Concat { .. } | Op::Expand { .. }, _) => {
            (0, 0)
        }
        _ => (0, out),
    };
    Ok(Cost {
        macs,
        element_ops,
        bytes_read: operands.iter().map(|t| t.bytes() as u64).sum(),
        bytes_written: out.saturating_mul(dtype_bytes),
    })
}
