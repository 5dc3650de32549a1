//! Backends, the executor and the profile: the one place where devices differ.
//!
//! A [`Backend`] turns a segment of a graph into an [`Executable`]; the [`Executor`] runs the segments of a plan in order and
//! passes values between them. The accelerator is a [`tandem_driver::Device`] on any bus, so a simulator and a board share every
//! line here.
#![forbid(unsafe_code)]

mod cpu;
mod executor;
mod profile;
mod vta;

pub use cpu::CpuBackend;
pub use executor::Executor;
pub use profile::{Profile, SegmentProfile};
pub use vta::VtaBackend;

use tandem_driver::{Counters, DriverError};
use tandem_graph::{Graph, GraphError};
use tandem_jit::JitError;
use tandem_tensor::Tensor;

/// What a run of an executable did beside computing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Counters of the accelerator, summed over its launches.
    pub counters: Option<Counters>,
    /// Bytes copied to and from the device.
    pub bytes_copied: u64,
}

/// A segment, ready to run on its device.
pub trait Executable: Send {
    /// The outputs of the segment for each sample (a list of inputs each), in order.
    ///
    /// # Errors
    /// When an input does not fit or the device fails.
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<(Vec<Vec<Tensor>>, Work), RuntimeError>;
}

/// A device that segments can be compiled for.
pub trait Backend: Send {
    /// Compiles a segment.
    ///
    /// # Errors
    /// When the segment cannot run here.
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError>;
}

/// Why a model does not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The compiler refused a segment.
    #[error(transparent)]
    Compile(#[from] JitError),
    /// A kernel of the CPU refused.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DriverError),
    /// Fault: a segment failed; names it.
    #[error("segment {segment} on {device}: {source}")]
    Segment {
        /// Position in the plan.
        segment: usize,
        /// Device name.
        device: &'static str,
        /// What happened.
        #[source]
        source: Box<RuntimeError>,
    },
    /// Invalid: the caller's samples do not fit the model.
    #[error("{0}")]
    Input(String),
    /// Unavailable: the plan uses a device that no backend serves.
    #[error("segment {segment} needs a {device} backend, and none was given")]
    NoBackend {
        /// Position in the plan.
        segment: usize,
        /// Device name.
        device: &'static str,
    },
}
