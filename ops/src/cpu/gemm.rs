//! Matrix products: the kernels of `gemm.*`.

use super::float::{Bf16, Epilogue, F32, Form, Packed, Rows, multiply};
use super::int8::{self, Codes as Bytes, Layout, Matrix, Weights};
use super::{Level, shared};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::operation::rounding::requants;
use crate::quantized::stage::Stage;
use crate::{OpError, operation};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::cell::Cell;
use tandem_tensor::{DType, Tensor};

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

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, k, act) = (dims["m"], dims["n"], dims["k"], dims["act"]);
        let bias = inputs.slice::<f32>("bias")?;
        let epilogue = Epilogue::new(bias, act);
        let mut sums = vec![0f32; m * n];
        let out = match self.operation.def().outputs[0].dtype {
            DType::F32 => {
                let (a, b) = (inputs.slice::<f32>("a")?, inputs.slice::<f32>("b")?);
                f32(self.level, [m, n, k], a, b, bias, act, &mut sums);
                Tensor::from_vec([m, n], sums)?
            }
            DType::BF16 => {
                let (a, b) = (inputs.slice::<bf16>("a")?, inputs.slice::<bf16>("b")?);
                if pairs(self.level) {
                    let (a, b): (&[u16], &[u16]) = (a.reinterpret_cast(), b.reinterpret_cast());
                    let mut room = Vec::new();
                    let packed = Packed::<Bf16>::new(self.level, b, n, k, Vec::new());
                    multiply(&packed, &Rows::new(a, m, k, &mut room), &epilogue, &mut sums);
                } else {
                    f32(self.level, [m, n, k], &wide(a), &wide(b), bias, act, &mut sums);
                }
                Tensor::from_vec([m, n], sums.into_iter().map(bf16::from_f32).collect())?
            }
            _ => {
                let (a, b) = (inputs.slice::<f16>("a")?, inputs.slice::<f16>("b")?);
                f32(self.level, [m, n, k], &wide(a), &wide(b), bias, act, &mut sums);
                let mut out = vec![f16::ZERO; m * n];
                out.convert_from_f32_slice(&sums);
                Tensor::from_vec([m, n], out)?
            }
        };
        Ok(Tensors::new().with("out", out))
    }
}

/// `out[m, n] = act(a[m, k] b[n, k]ᵀ + bias[n])` with sums in f32; the activation is a position in [`ACTS`](crate::ACTS).
///
/// # Panics
/// Where a slice is shorter than its extents say.
pub fn f32(level: Level, [m, n, k]: [usize; 3], a: &[f32], b: &[f32], bias: &[f32], act: usize, out: &mut [f32]) {
    // Fresh memory costs as much as packing does: a thread keeps what it has packed in.
    thread_local!(static ROOM: Cell<Vec<<F32 as Form>::Line>> = const { Cell::new(Vec::new()) });
    let packed = Packed::<F32>::new(level, &b[..n * k], n, k, ROOM.take());
    let mut none = Vec::new();
    let rows = Rows::new(&a[..m * k], m, k, &mut none);
    multiply(&packed, &rows, &Epilogue::new(&bias[..n], act), &mut out[..m * n]);
    ROOM.set(packed.into_room());
}

/// Whether the level multiplies pairs of bf16 faster than it does f32. The instruction takes AMD's processors one cycle, Intel's two:
/// there, f32 has twice its rate.
fn pairs(level: Level) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        level == Level::Avx512 && is_x86_feature_detected!("avx512bf16") && name.as_flattened() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        false
    }
}

fn wide<T>(elements: &[T]) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = vec![0f32; elements.len()];
    elements.convert_to_f32_slice(&mut wide);
    wide
}

struct Codes {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Codes {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, k) = (dims["m"], dims["n"], dims["k"]);
        let (a, b) = (inputs.slice::<i8>("a")?, inputs.slice::<i8>("b")?);
        let bias = inputs.slice::<i32>("bias")?;
        let zero_point: i32 = inputs.scalar("zero_point")?;
        let lo = if dims["act"] == 1 { zero_point.clamp(-128, 127) } else { -128 };
        let codes = |codes| Bytes { bytes: shared::bytes(codes), signed: true };
        // The codes have zero point 0, of rank 128.
        let zero = 0x80;
        let weights = Weights::new(self.level, codes(b), &[0], n, Layout::plain(k), zero);
        let requants = requants(dims, inputs)?;
        let mut stage = Stage::of(bias.to_vec(), requants, zero_point, (lo, 127));
        stage.fold(0, weights.fold());
        let source = Matrix { codes: codes(a), zero, rows: m, k };
        let out = shared::signed(int8::product(&weights, &source, &stage));
        Ok(Tensors::new().with("out", Tensor::from_vec([m, n], out)?))
    }
}
