//! The shape rule of every operator.

mod layout;
mod product;
mod recurrent;
mod window;

pub(crate) use window::Window;

use crate::{Op, OpError};
use tandem_tensor::{Shape, TensorType, broadcast};

/// Shapes of the results of `op` on operands of these types.
///
/// Quantisation and dtype of the results are the graph's choice, so only shapes are inferred; sizes are computed with
/// checked arithmetic. A maximum pool lists its optional second result too: trailing results may be left out.
///
/// # Errors
/// [`OpError::Invalid`] when the operands do not fit the operator.
pub fn infer(op: &Op, operands: &[&TensorType]) -> Result<Vec<Shape>, OpError> {
    let (least, most) = arity(op);
    if operands.len() < least || operands.len() > most {
        let wanted = match (least, most) {
            (l, usize::MAX) => format!("at least {l}"),
            (l, m) if l == m => l.to_string(),
            (l, m) => format!("{l} to {m}"),
        };
        return invalid(format!("{} takes {wanted} operands but {} are given", op.name(), operands.len()));
    }
    let shapes = shapes(op, operands)?;
    for shape in &shapes {
        if shape.elements() > isize::MAX as usize / 8 {
            return invalid(format!("the result of {} would have the absurd shape {shape}", op.name()));
        }
    }
    Ok(shapes)
}

fn arity(op: &Op) -> (usize, usize) {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Dense { .. } => (2, 3),
        Op::MatMul { .. } | Op::Binary { .. } | Op::Gather { .. } => (2, 2),
        Op::Pad { .. } => (1, 2),
        Op::Concat { .. } => (1, usize::MAX),
        Op::Where => (3, 3),
        Op::Lstm(_) => (13, 13),
        _ => (1, 1),
    }
}

/// Called with as many operands as [`arity`] asks for.
fn shapes(op: &Op, operands: &[&TensorType]) -> Result<Vec<Shape>, OpError> {
    let x = operands[0];
    let one = |shape: Shape| Ok(vec![shape]);
    match op {
        Op::Conv(c) => one(window::conv(c, x, operands[1], operands.get(2).copied())?),
        Op::ConvTranspose(c) => one(window::conv_transpose(c, x, operands[1], operands.get(2).copied())?),
        Op::Pool(p) => window::pool(p, x),
        Op::Dense { .. } => one(product::dense(x, operands[1], operands.get(2).copied())?),
        Op::MatMul { transpose_a, transpose_b } => one(product::matmul(x, operands[1], *transpose_a, *transpose_b)?),
        Op::Binary { .. } => one(broadcast(&x.shape, &operands[1].shape)?),
        Op::Where => one(broadcast(&broadcast(&x.shape, &operands[1].shape)?, &operands[2].shape)?),
        Op::Unary(_) | Op::Cast { .. } | Op::Quantize | Op::Dequantize | Op::Requantize => one(x.shape.clone()),
        Op::Softmax { axis, .. } | Op::CumSum { axis, .. } => {
            check_axis(op, *axis, &x.shape)?;
            one(x.shape.clone())
        }
        Op::Trilu { .. } => {
            if x.shape.rank() < 2 {
                return invalid(format!("trilu needs two axes at least but x is {x}"));
            }
            one(x.shape.clone())
        }
        Op::Reduce { axes, keep_dims, .. } => one(layout::reduced(op, &x.shape, axes, *keep_dims)?),
        Op::ArgMax { axis, keep_dims, .. } => {
            check_axis(op, *axis, &x.shape)?;
            if x.shape[*axis] == 0 {
                return invalid(format!("{} over an empty axis: x is {x}, axis {axis}", op.name()));
            }
            one(layout::reduced(op, &x.shape, &[*axis], *keep_dims)?)
        }
        Op::Pad { amount, mode } => one(layout::pad(&x.shape, amount, *mode, operands.get(1).copied())?),
        Op::Concat { axis, .. } => one(layout::concat(operands, *axis)?),
        Op::Slice { begin, size, step } => one(layout::slice(&x.shape, begin, size, step)?),
        Op::Reshape { shape } => one(layout::reshape(&x.shape, shape)?),
        Op::Transpose { perm } => one(layout::transpose(&x.shape, perm)?),
        Op::Resize(r) => one(layout::resize(r, &x.shape)?),
        Op::Gather { axis } => {
            check_axis(op, *axis, &x.shape)?;
            one(layout::gather(&x.shape, operands[1], *axis)?)
        }
        Op::Expand { shape } => one(layout::expand(&x.shape, shape)?),
        Op::Lstm(_) => one(recurrent::lstm(operands)?),
    }
}

fn check_axis(op: &Op, axis: usize, shape: &Shape) -> Result<(), OpError> {
    if axis < shape.rank() {
        return Ok(());
    }
    invalid(format!("{} along axis {axis} but the operand {shape} has {} axes", op.name(), shape.rank()))
}

fn invalid<T>(text: impl Into<String>) -> Result<T, OpError> {
    Err(OpError::invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, BinaryKind};
    use tandem_tensor::DType;

    #[test]
    fn a_wrong_number_of_operands_is_named() {
        let x = TensorType::new(DType::F32, [2]);
        let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
        let error = infer(&add, &[&x]).unwrap_err().to_string();
        assert_eq!(error, "add takes 2 operands but 1 are given");
        assert!(infer(&Op::Concat { axis: 0, act: Act::None }, &[]).is_err());
        assert!(infer(&Op::Dense { act: Act::None }, &[&x, &x, &x, &x]).is_err());
    }

    #[test]
    fn an_absurd_result_is_refused() {
        let x = TensorType::new(DType::F32, [1 << 31, 1]);
        let y = TensorType::new(DType::F32, [1, 1 << 31]);
        let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
        assert!(infer(&add, &[&x, &y]).unwrap_err().to_string().contains("absurd shape [2147483648,2147483648]"));
    }

    #[test]
    fn an_axis_behind_the_last_is_refused() {
        let x = TensorType::new(DType::F32, [2, 3]);
        assert!(infer(&Op::Softmax { axis: 2, beta: 1.0, log: false }, &[&x]).is_err());
        assert!(infer(&Op::CumSum { axis: 9, exclusive: false, reverse: false }, &[&x]).is_err());
        assert!(infer(&Op::Gather { axis: 2 }, &[&x, &TensorType::new(DType::I64, [1])]).is_err());
        let scalar = TensorType::new(DType::F32, []);
        assert!(infer(&Op::Trilu { k: 0, upper: true }, &[&scalar]).is_err());
    }
}
