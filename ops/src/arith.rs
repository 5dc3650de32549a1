//! Integer arithmetic of quantised networks: rounding, requantisation and the constants of every 8-bit kernel.
//!
//! Two families are reproduced to the last bit, see [`Arith`](crate::Arith). The constants are computed here once and
//! for all, so that the reference kernels and a compiler for an accelerator agree by construction: a compiler that
//! emits [`Requant`] and the parameter structs of this module computes what the reference computes.
//!
//! # Source
//! Family A: the definitions of gemmlowp's fixed-point header and of the TFLite reference kernels. Family B: the
//! definitions of XNNPACK's micro-kernels for x86.

mod elementwise;
mod recurrent;
mod reduce;
mod requant;
mod softmax;
mod weighted;

pub(crate) use elementwise::has_short_multiplier;
pub use elementwise::{
    AddOperand, AddParams, LeakyReluParams, MulParams, RequantizeParams, add_params, leaky_relu_params, mul_params,
    requantize_params,
};
pub use recurrent::{CELL_EXPONENTS, GateScale, LstmParams};
pub use reduce::{ReduceParams, reduce_params};
pub use requant::{Requant, multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot, srdhm};
pub use softmax::SoftmaxParams;
#[cfg(target_arch = "x86_64")]
pub(crate) use weighted::BELOW_HALF;
pub use weighted::{DenseScale, average_requant, conv_requant, matmul_requant, weight_requants};

use crate::Act;
use tandem_tensor::{DType, QuantParams};

/// Smallest and largest code of an 8-bit dtype; for another dtype those of `i8`.
pub fn code_range(dtype: DType) -> (i32, i32) {
    if dtype == DType::U8 { (0, 255) } else { (-128, 127) }
}

/// The codes that an activation lets through, both inclusive: bounds divided by the scale in binary32, rounded half away
/// from zero, in both families.
///
/// # Source
/// TFLite `CalculateActivationRangeQuantized`.
pub fn activation_range(act: Act, dtype: DType, output: &QuantParams) -> (i32, i32) {
    let (lo, hi) = code_range(dtype);
    let (scale, zero_point) = (output.scale(), output.zero_point());
    let code = |bound: f32, open: i32| {
        if bound.is_infinite() {
            return open;
        }
        ((bound / scale).round() as i32).saturating_add(zero_point).clamp(lo, hi)
    };
    let (min, max) = act.range();
    (code(min, lo), code(max, hi))
}
