//! Convolution, depthwise and grouped included.

use super::codes;
use super::stage::Stage;
use crate::cpu::Level;
use crate::cpu::conv::{Convolution, Geometry};
use crate::cpu::int8::Codes;
use crate::infer::Window;
use crate::{Arith, Conv, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

/// A convolution with its weights in the order in which the loops read them.
pub(super) struct Kernel {
    convolution: Convolution,
    result: TensorType,
}

impl Kernel {
    /// `clamp(requant(sum (x - zx) (w - zw) + bias) + zero_point)`; taps outside the input contribute nothing.
    pub(super) fn new(
        op: &Op,
        c: &Conv,
        arith: Arith,
        x: &TensorType,
        weights: &[Operand<'_>],
        result: &TensorType,
    ) -> Result<Kernel, OpError> {
        let w = weights[0];
        let outputs = w.ty.shape[0];
        let bias = codes::bias(op.name(), weights.get(1), outputs)?;
        let stage = Stage::new(op, arith, [x, w.ty, result], c.act, bias)?;
        let mut windows = [Window::UNIT; 3];
        let own = Window::of_conv(c, &x.shape, &w.ty.shape)?;
        windows[3 - own.len()..].copy_from_slice(&own);
        let channels = x.shape[x.shape.rank() - 1];
        let geometry = Geometry { batch: x.shape[0], channels, outputs, groups: c.groups, windows };
        let input_zero = codes::rank(x.dtype, codes::whole(op.name(), x)?.zero_point());
        let zeros = &codes::per_output(op.name(), w.ty)?.zero_point;
        let convolution = Convolution::new(Level::best(), geometry, codes::bytes(w.tensor), zeros, input_zero, stage);
        Ok(Kernel { convolution, result: result.clone() })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor, OpError> {
        Ok(codes::tensor(self.result.dtype, &self.result.shape, self.convolution.run(codes::bytes(x)))?)
    }

    /// Writes the codes of the result.
    pub(super) fn write(&self, x: Codes<'_>, out: &mut [u8]) {
        self.convolution.write(x, out);
    }
}
