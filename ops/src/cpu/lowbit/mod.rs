//! Products with weights of four bits, and the producers of their activations: the kernels of `gemm.w4a4`, `gemm.w4a8`,
//! `gemm.w4a16`, `reorder_quantize.bf16`, `rms_norm_quantize.bf16` and `silu_mul_quantize.bf16`.

mod gemm;
mod produce;

use super::Level;
use crate::def::Kernel;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    gemm::kernels(level).into_iter().chain(produce::kernels(level)).collect()
}
