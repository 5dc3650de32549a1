//! Recurrent layers.

use super::lower::Ctx;
use crate::ImportError;
use tandem_ops::{Lstm, Op};
use tandem_tensor::{DType, QuantParams};

/// The number of `TANH` among the fused activations.
const TANH: i8 = 4;

/// # Source
/// `UnidirectionalSequenceLSTMOptions` in `tensorflow/lite/schema/schema.fbs` and the operand order of the TFLite kernel.
pub(crate) fn unidirectional_sequence_lstm(ctx: &mut Ctx<'_, '_>) -> Result<(), ImportError> {
    let (act, cell_clip) = (ctx.option_i8(0, 0)?, ctx.option_f32(1)?);
    if act != TANH {
        return Err(ctx.refuse(format!("its activation {act} is not TANH")));
    }
    if ctx.option_bool(3)? {
        return Err(ctx.refuse("its sequences run along the first axis; convert the model with time_major=False"));
    }
    for (operands, what) in [(9..12, "peepholes"), (16..18, "a projection"), (20..24, "layer normalisation")] {
        if operands.into_iter().any(|i| ctx.op.inputs.get(i).is_some_and(|&t| t != -1)) {
            return Err(ctx.refuse(format!("it has {what}; only the plain form is supported")));
        }
    }
    if ctx.op.inputs.get(1) == Some(&-1) {
        return Err(ctx.refuse("its input and forget gates are coupled; only the plain form is supported"));
    }
    let mut operands = Vec::with_capacity(13);
    for i in [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15] {
        operands.push(ctx.input(i)?);
    }
    let x = ctx.ty(operands[0]).clone();
    let (dtype, output, _) = ctx.declared(0)?;
    let weights = ctx.ty(operands[1]).dtype;
    let (hidden, cell) = (ctx.state_type(18)?, ctx.state_type(19)?);
    if [x.dtype, weights, dtype, hidden.dtype] != [DType::I8; 4] || cell.dtype != DType::I16 {
        return Err(ctx.refuse(format!(
            "it works on {} with {weights} weights and a cell of {}; only i8 with a cell of i16 is supported",
            x.dtype, cell.dtype
        )));
    }
    let inside = ctx.intermediate(4)?;
    if hidden.quant.is_none() || hidden.quant != output || inside != output {
        return Err(ctx.refuse("its hidden state, the value inside and the result have different scales"));
    }
    let Some(cell_exponent) = cell.quant.as_ref().and_then(power_of_two) else {
        return Err(ctx.refuse("the scale of its cell state is no power of two"));
    };
    ctx.emit(Op::Lstm(Lstm { cell_exponent, cell_clip }), &operands)
}

/// The exponent of a scale that is a power of two, without zero point.
fn power_of_two(quant: &QuantParams) -> Option<i32> {
    let scale = quant.scale();
    (-31..=0).find(|&e| scale == 2f32.powi(e)).filter(|_| quant.zero_point() == 0)
}
