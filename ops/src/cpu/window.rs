//! Convolutions of codes: the kernels of `conv2d.i8` and `depthwise.i8`, which are the graph's with the scales of a definition.

use super::Level;
use super::conv::{Convolution, Geometry};
use super::int8::Codes;
use super::shared::{bytes, bytes_mut};
use crate::arith::Requant;
use crate::def::{Dims, Grade, Kernel, Operation, Tensors};
use crate::infer::Window;
use crate::operation::windows;
use crate::quantized::stage::Stage;
use crate::{OpError, operation};
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let all = ["conv2d.i8", "depthwise.i8"].into_iter().filter_map(operation);
    all.map(|operation| Box::new(Sliding { operation, level }) as Box<dyn Kernel>).collect()
}

struct Sliding {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Sliding {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        Grade::Native
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [high, wide] = windows(dims).ok_or_else(|| OpError::invalid(format!("no window fits for {dims}")))?;
        let (bias, scale) = (inputs.slice::<i32>("bias")?, inputs.slice::<f32>("scale")?);
        let shape = [dims["n"], high.output, wide.output, bias.len()];
        let mut out = vec![0i8; shape.iter().product()];
        if !out.is_empty() {
            let [input_zero_point, zero_point, lo, hi] =
                ["input_zero_point", "zero_point", "lo", "hi"].map(|name| inputs.scalar::<i32>(name));
            let requants = scale.iter().map(|&scale| Requant::Float { scale }).collect();
            let mut stage = Stage::of(bias.to_vec(), requants, zero_point?, (lo?, hi?));
            let channels = dims["c"];
            let geometry = Geometry {
                batch: dims["n"],
                channels,
                outputs: bias.len(),
                // Only the definition of depthwise convolutions has a multiplier.
                groups: if dims.find("multiplier").is_some() { channels } else { 1 },
                windows: [Window::UNIT, high, wide],
            };
            let codes = |name: &str| Ok::<_, OpError>(Codes { bytes: bytes(inputs.slice::<i8>(name)?), signed: true });
            // Codes are counted from the smallest one.
            let zero = input_zero_point? as u8 ^ 0x80;
            let convolution = Convolution::new(self.level, geometry, codes("weight")?, &[0], zero);
            convolution.fold(&mut stage);
            convolution.run(codes("x")?, &stage, bytes_mut(&mut out));
        }
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }
}
