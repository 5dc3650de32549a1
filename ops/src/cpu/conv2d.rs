//! Convolutions of codes: the kernels of `conv2d.i8` and `depthwise.i8`.

use super::conv::{Convolution, Geometry};
use super::int8::Codes;
use super::{Level, shared};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::infer::Window;
use crate::operation::rounding::requants;
use crate::operation::windows;
use crate::quantized::stage::Stage;
use crate::{OpError, operation};
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["conv2d.i8", "depthwise.i8"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Conv { operation, level }) as Box<dyn Kernel>).collect()
}

struct Conv {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Conv {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [h, w] = windows(dims).ok_or_else(|| OpError::invalid(format!("no window fits for {dims}")))?;
        let (x, weight) = (inputs.slice::<i8>("x")?, inputs.slice::<i8>("weight")?);
        let bias = inputs.slice::<i32>("bias")?;
        let scalar = |name| inputs.scalar::<i32>(name);
        let range = (scalar("lo")?, scalar("hi")?);
        // The depthwise definition has no axis of outputs: every channel is a group of its own.
        let groups = if dims.find("o").is_some() { 1 } else { dims["c"] };
        let (batch, channels, outputs) = (dims["n"], dims["c"], bias.len());
        let shape = [batch, h.output, w.output, outputs];
        let mut out = Vec::new();
        if shape.iter().all(|&extent| extent > 0) {
            let geometry = Geometry { batch, channels, outputs, groups, windows: [Window::UNIT, h, w] };
            let codes = |codes| Codes { bytes: shared::bytes(codes), signed: true };
            let input_zero = scalar("input_zero_point")? as u8 ^ 0x80;
            let requants = requants(dims, inputs)?;
            let stage = Stage::of(bias.to_vec(), requants, scalar("zero_point")?, range);
            let convolution = Convolution::new(
                self.level,
                geometry,
                codes(weight),
                &[scalar("weight_zero_point")?],
                input_zero,
                stage,
            );
            out = shared::signed(convolution.run(codes(x)));
        }
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }
}
