//! Backends, the executor and the profile: the one place where devices differ.
//!
//! A [`Backend`] turns a segment into an [`Executable`]; the [`Executor`] runs the segments of a plan, one queue a device where
//! devices can work at the same time, and keeps a [`Profile`]. The crate knows no simulator: a simulator is a bus, handed in by the caller, so that simulated and real runs
//! share every line above it. A device that fails while a plan runs is left, where there is a fallback, and its segments run there.
#![forbid(unsafe_code)]

mod backend;
mod cpu;
mod error;
mod executor;
mod failure;
mod flow;
pub mod forms;
mod gpu;
mod pipeline;
mod profile;
mod queue;
pub mod remote;
mod replay;
mod vta;
mod wiring;

pub use backend::{Backend, Copied, Executable, Phased, Taken};
pub use cpu::CpuBackend;
pub use error::{ErrorClass, RuntimeError};
pub use executor::Executor;
pub use failure::Failure;
pub use gpu::GpuBackend;
pub use profile::{Interval, Phases, Profile, Round, SegmentProfile, Span, median};
pub use replay::{Load, Replayed, Timeline};
pub use vta::VtaBackend;
