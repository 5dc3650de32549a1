//! Backends, the executor and the profile: the one place where devices differ.
//!
//! A [`Backend`] turns a segment into an [`Executable`]; the [`Executor`] runs the segments of a plan in order and keeps a
//! [`Profile`]. The crate knows no simulator: a simulator is a bus, handed in by the caller, so that simulated and real runs
//! share every line above it. A device that fails while a plan runs is left, where there is a fallback, and its segments run there.
#![forbid(unsafe_code)]

mod backend;
mod cpu;
mod error;
mod executor;
mod failure;
mod gpu;
mod profile;
mod vta;

pub use backend::{Backend, Copied, Executable, Taken};
pub use cpu::CpuBackend;
pub use error::{ErrorClass, RuntimeError};
pub use executor::Executor;
pub use failure::Failure;
pub use gpu::GpuBackend;
pub use profile::{Profile, SegmentProfile, Span, median};
pub use vta::VtaBackend;
