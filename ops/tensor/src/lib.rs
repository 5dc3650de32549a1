//! Host tensors: dtypes, shapes, quantisation parameters, and the npy and npz formats.
//!
//! This crate knows no operator and no graph. Everything above it agrees through [`TensorType`] on what a value is and
//! through [`Tensor`] on its bytes.
#![forbid(unsafe_code)]

mod dtype;
mod npy;
mod npz;
mod quant;
mod shape;
mod tensor;

pub use dtype::DType;
pub use npy::{npy_bytes, read_npy, write_npy};
pub use npz::{read_npz, write_npz};
pub use quant::QuantParams;
pub use shape::{Shape, broadcast};
pub use tensor::{Data, Element, Tensor};

/// The type of a value: dtype, shape and, for a quantised value, how its codes map to reals.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TensorType {
    /// Element type of the stored codes.
    pub dtype: DType,
    /// Extent of every axis, outermost first.
    pub shape: Shape,
    /// Present when the codes stand for reals: `real = scale * (code - zero_point)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quant: Option<QuantParams>,
}

impl TensorType {
    /// A type without quantisation.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self { dtype, shape: shape.into(), quant: None }
    }

    /// The same type with quantisation parameters.
    pub fn with_quant(mut self, quant: QuantParams) -> Self {
        self.quant = Some(quant);
        self
    }

    /// Number of elements. Saturates, so that an absurd shape never wraps to a small one.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Size of the packed data in bytes. Saturates.
    pub fn bytes(&self) -> usize {
        self.elements().saturating_mul(self.dtype.bytes())
    }

    /// True when the value is an 8-bit or 16-bit integer tensor with a scale.
    pub fn is_quantized(&self) -> bool {
        self.quant.is_some() && matches!(self.dtype, DType::I8 | DType::U8 | DType::I16)
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// What can be wrong with a tensor or a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// Invalid: the data does not have as many elements as the shape.
    #[error("the data has {found} elements but shape {shape} needs {expected}")]
    Length {
        /// Elements that the shape asks for.
        expected: usize,
        /// Elements that are there.
        found: usize,
        /// The shape.
        shape: Shape,
    },
    /// Invalid: the tensor has another dtype than the caller needs.
    #[error("the tensor holds {found} but {expected} is needed")]
    DType {
        /// Wanted.
        expected: DType,
        /// Present.
        found: DType,
    },
    /// Invalid: an npy or npz file that cannot be read.
    #[error("not a readable npy or npz file: {0}")]
    Format(String),
    /// Invalid: two shapes that do not broadcast.
    #[error("shapes {0} and {1} do not broadcast")]
    Broadcast(Shape, Shape),
}
