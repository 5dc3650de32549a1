//! CUDA kernels with typed launchers: NVRTC at run time, on a GPU or on the PTX simulator.
//!
//! A kernel family is a file of CUDA C++ beside a file of Rust. The latter has the plan, which is computed from extents and
//! [`Facts`] alone, the launches of the plan, and the [`tandem_ops::def::Kernel`] that runs them on a [`Device`].
//!
//! No library is linked: the driver and NVRTC are opened at run time, from folders that the caller names, and their absence is
//! an error. This crate reads no environment and prints nothing.
#![deny(unsafe_code)]

pub mod attention;
mod cache;
mod device;
mod elementwise;
mod error;
pub mod gemm;
mod ibp;
pub mod ivf;
mod kernel;
mod limits;
mod lowbit;
mod nvrtc;
pub mod peak;
mod pir;
mod planned;
pub mod planted;
mod rows;
mod sampling;
pub mod schedule;
pub mod sgmv;
#[allow(unsafe_code)]
mod sys;
mod tactic;
mod timing;
pub mod vectors;
mod window;

pub use cache::{Cache, Hash};
pub use device::{
    Args, Buffer, Details, Device, Event, Facts, Function, Graph, Launch, Pinned, Recording, Simulation, Swizzle,
    TensorMap,
};
pub use error::{GpuError, Result};
pub use kernel::{instances, kernels};
pub use limits::Limits;
pub use nvrtc::{Arch, Compiled, Compiler, Instance, PRELUDE, Source, Usage};
pub use planned::{Operands, Steps, grade, steps};
pub use timing::{Times, Timing};
