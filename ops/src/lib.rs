//! What every kernel computes: operator definitions, shape rules, reference kernels, costs.
//!
//! An operator is data ([`Op`]). Activations are channels-last (NHWC, NWC, NDHWC) and convolution weights are
//! `[out, spatial.., in / groups]`, whatever the model file said: importers transpose. Whether an operator computes in
//! floats or in 8-bit integers follows from the types of its operands and results; among integer kernels, [`Arith`]
//! names the family whose rounding is reproduced to the last bit.
// The SIMD files of the CPU kernels, and those of results that threads share, allow it for themselves.
#![deny(unsafe_code)]

pub mod arith;
mod cost;
pub mod cpu;
pub mod def;
mod error;
pub mod ibp;
mod infer;
mod op;
mod operation;
mod quantized;
mod reference;

pub use cost::{Cost, cost};
pub use error::OpError;
pub use infer::infer;
pub use op::*;
pub use operation::{
    ACTIVATIONS, ACTS, Defined, Source, activate, attention, defined, ivf, lowbit, operation, operations, rope_turns,
    sampling, sgmv, signed, tactic, unsigned, window_outputs,
};
pub use quantized::{Prepared, code_bytes};
pub use reference::{Operand, reference};
