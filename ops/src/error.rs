//! The errors of operators.

use tandem_tensor::TensorError;

/// Why an operator cannot be typed or computed.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// Unsupported: a legal combination that this kernel does not implement.
    #[error("{0}")]
    Unsupported(String),
    /// Invalid: operands or attributes that break the operator's contract.
    #[error("{0}")]
    Invalid(String),
    /// Exhausted: the device that computes it has no memory or no slot now.
    #[error("{0}")]
    Exhausted(String),
    /// Fault: the device that computes it misbehaved.
    #[error("{0}")]
    Fault(String),
    /// Unavailable: the device that computes it, or its compiler, is not here.
    #[error("{0}")]
    Unavailable(String),
    /// Invalid: a tensor of another dtype or length than its type says.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl OpError {
    /// An [`OpError::Invalid`] from any text.
    pub fn invalid(text: impl Into<String>) -> Self {
        OpError::Invalid(text.into())
    }

    /// An [`OpError::Unsupported`] from any text.
    pub fn unsupported(text: impl Into<String>) -> Self {
        OpError::Unsupported(text.into())
    }
}
