//! Shapes of recurrent layers.

use super::invalid;
use crate::OpError;
use tandem_tensor::{Shape, TensorType};

/// Operands: x `[n, t, i]`, four weights `[u, i]`, four recurrent weights `[u, u]`, four biases `[u]`.
pub(super) fn lstm(operands: &[&TensorType]) -> Result<Shape, OpError> {
    let (x, weights) = (operands[0], operands[1]);
    let (&[n, t, i], &[u, _]) = (x.shape.as_slice(), weights.shape.as_slice()) else {
        return invalid(format!(
            "lstm needs x [n, t, i] and weights [u, i] but they are {} and {}",
            x.shape, weights.shape
        ));
    };
    for (k, operand) in operands.iter().enumerate().skip(1) {
        let wanted: &[usize] = match k {
            1..5 => &[u, i],
            5..9 => &[u, u],
            _ => &[u],
        };
        if operand.shape.as_slice() != wanted {
            let wanted = Shape(wanted.to_vec());
            return invalid(format!("lstm needs an operand {k} of shape {wanted} but it is {}", operand.shape));
        }
    }
    Ok(Shape(vec![n, t, u]))
}
