//! The errors of a run, sorted by what a caller should do about them.

use tandem_driver::{BusError, DriverError};
use tandem_gpu::GpuError;
use tandem_graph::GraphError;
use tandem_jit::JitError;
use tandem_plan::Device;

/// How a caller should treat an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Place the work elsewhere.
    Unsupported,
    /// The caller broke the contract.
    Invalid,
    /// No memory or slots now.
    Exhausted,
    /// The device misbehaved.
    Fault,
    /// The device is absent.
    Unavailable,
}

/// Why a model does not run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A segment failed; the class is that of the cause.
    #[error("segment {segment} ({device}: {ops}): {source}")]
    Segment {
        /// Index in the plan.
        segment: usize,
        /// Who was to run it.
        device: Device,
        /// Its operators.
        ops: String,
        /// The cause.
        source: Box<RuntimeError>,
    },
    /// The compiler refused the segment (Unsupported, Invalid or Exhausted).
    #[error(transparent)]
    Compile(#[from] JitError),
    /// The device or the way to it failed; the class is the driver's.
    #[error(transparent)]
    Device(#[from] DriverError),
    /// A kernel of a GPU, its compiler or the device refused or failed; the class is theirs.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A kernel or the graph refused (Invalid or Unsupported).
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The plan names a device without a backend (Unavailable).
    #[error("there is no backend for the {0}: hand one in, or plan without it")]
    NoBackend(Device),
    /// The connection to another machine is lost, or there is none; the class is the bus error's.
    #[error(transparent)]
    Connection(#[from] BusError),
    /// A device of another machine has refused or failed; the class is the error's there.
    #[error("{text}")]
    Remote {
        /// How to treat it.
        class: ErrorClass,
        /// What was said there.
        text: String,
    },
    /// The caller's samples do not fit (Invalid).
    #[error("{0}")]
    Invalid(String),
}

impl RuntimeError {
    /// How a caller should treat it.
    pub fn class(&self) -> ErrorClass {
        match self {
            RuntimeError::Segment { source, .. } => source.class(),
            RuntimeError::Compile(JitError::Unsupported { .. }) => ErrorClass::Unsupported,
            RuntimeError::Compile(JitError::Exhausted { .. }) => ErrorClass::Exhausted,
            RuntimeError::Graph(GraphError::Op { source: tandem_ops::OpError::Unsupported(_), .. }) => {
                ErrorClass::Unsupported
            }
            RuntimeError::Compile(_) | RuntimeError::Graph(_) | RuntimeError::Invalid(_) => ErrorClass::Invalid,
            RuntimeError::NoBackend(_) => ErrorClass::Unavailable,
            RuntimeError::Gpu(error) => match error {
                GpuError::Unsupported(_) => ErrorClass::Unsupported,
                GpuError::Invalid(_) => ErrorClass::Invalid,
                GpuError::Exhausted(_) => ErrorClass::Exhausted,
                GpuError::Fault(_) => ErrorClass::Fault,
                GpuError::Unavailable(_) => ErrorClass::Unavailable,
            },
            RuntimeError::Remote { class, .. } => *class,
            RuntimeError::Device(error) => error.class().into(),
            RuntimeError::Connection(error) => error.class().into(),
        }
    }
}

impl From<tandem_driver::ErrorClass> for ErrorClass {
    fn from(class: tandem_driver::ErrorClass) -> ErrorClass {
        match class {
            tandem_driver::ErrorClass::Unsupported => ErrorClass::Unsupported,
            tandem_driver::ErrorClass::Invalid => ErrorClass::Invalid,
            tandem_driver::ErrorClass::Exhausted => ErrorClass::Exhausted,
            tandem_driver::ErrorClass::Fault => ErrorClass::Fault,
            tandem_driver::ErrorClass::Unavailable => ErrorClass::Unavailable,
        }
    }
}
