//! The errors of devices and compilers of kernels.

use tandem_ops::OpError;

/// Why a kernel was not compiled or did not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// Unsupported: a legal request that this device or kernel does not implement.
    #[error("{0}")]
    Unsupported(String),
    /// Invalid: the caller broke the contract, or a kernel's source is wrong; the text has the compiler's log.
    #[error("{0}")]
    Invalid(String),
    /// Exhausted: no memory or no slot now.
    #[error("{0}")]
    Exhausted(String),
    /// Fault: the device misbehaved, or the simulator found a kernel that does. Data on the host are as they were.
    #[error("{0}")]
    Fault(String),
    /// Unavailable: no device, no driver or no compiler here.
    #[error("{0}")]
    Unavailable(String),
}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, GpuError>;

impl From<GpuError> for OpError {
    fn from(error: GpuError) -> OpError {
        match error {
            GpuError::Unsupported(text) => OpError::Unsupported(text),
            GpuError::Invalid(text) => OpError::Invalid(text),
            GpuError::Exhausted(text) => OpError::Exhausted(text),
            GpuError::Fault(text) => OpError::Fault(text),
            GpuError::Unavailable(text) => OpError::Unavailable(text),
        }
    }
}
