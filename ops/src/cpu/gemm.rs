//! Matrix products: the kernels of `gemm.*`.

use super::int8::{Codes as Bytes, Layout, Matrix, Place, Weights, multiply};
use super::{Level, shared};
use crate::arith::Requant;
use crate::def::{Dims, Grade, Kernel, Operation, Tensors};
use crate::quantized::stage::Stage;
use crate::{OpError, activate, operation};
use rayon::prelude::*;
use tandem_tensor::Tensor;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let float = ["gemm.bf16", "gemm.f16", "gemm.f32"].into_iter().filter_map(operation);
    let float = float.map(|operation| Box::new(Float { operation, level }) as Box<dyn Kernel>);
    let codes = operation("gemm.i8").map(|operation| Box::new(Codes { operation, level }) as Box<dyn Kernel>);
    float.chain(codes).collect()
}

struct Float {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Float {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        Grade::Native
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, k, act) = (dims["m"], dims["n"], dims["k"], dims["act"]);
        let _ = self.level;
        let [a, b, bias] = ["a", "b", "bias"].map(|name| inputs.get(name).map(Tensor::to_f64));
        let (a, b, bias) = (a?, b?, bias?);
        let mut out = vec![0.0; m * n];
        out.par_chunks_mut(n.max(1)).enumerate().for_each(|(row, out)| {
            for (column, out) in out.iter_mut().enumerate() {
                let pairs = a[row * k..][..k].iter().zip(&b[column * k..][..k]);
                let sum = pairs.fold(0f32, |sum, (&x, &w)| sum + x as f32 * w as f32);
                *out = activate(act, f64::from(sum + bias[column] as f32));
            }
        });
        let dtype = self.operation.def().outputs[0].dtype;
        Ok(Tensors::new().with("out", Tensor::from_f64(dtype, [m, n], &out)?))
    }
}

struct Codes {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Codes {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        Grade::Native
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, k) = (dims["m"], dims["n"], dims["k"]);
        let (a, b) = (inputs.slice::<i8>("a")?, inputs.slice::<i8>("b")?);
        let (bias, scale) = (inputs.slice::<i32>("bias")?, inputs.slice::<f32>("scale")?);
        let zero_point: i32 = inputs.scalar("zero_point")?;
        let lo = if dims["act"] == 1 { zero_point.clamp(-128, 127) } else { -128 };
        let codes = |codes| Bytes { bytes: shared::bytes(codes), signed: true };
        // The codes have zero point 0, of rank 128.
        let zero = 0x80;
        let weights = Weights::new(self.level, codes(b), &[0], n, Layout::plain(k), zero);
        let requants = scale.iter().map(|&scale| Requant::Float { scale }).collect();
        let mut stage = Stage::of(bias.to_vec(), requants, zero_point, (lo, 127));
        stage.fold(0, weights.fold());
        let mut out = vec![0i8; m * n];
        let source = Matrix { codes: codes(a), zero, rows: m, k };
        multiply(&weights, &source, &stage, Place { first: 0, stride: n }, shared::bytes_mut(&mut out));
        Ok(Tensors::new().with("out", Tensor::from_vec([m, n], out)?))
    }
}
