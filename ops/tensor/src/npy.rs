//! The npy and npz formats.

use crate::{Tensor, TensorError};

/// Reads one array of an `.npy` file (version 1 to 3, C or Fortran order, little-endian).
///
/// # Errors
/// [`TensorError::Format`] when the bytes are not such a file.
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, TensorError> {
    let _ = bytes;
    Err(TensorError::Format("unread".into()))
}

/// Reads every array of an `.npz` file (a zip of `.npy` members, stored or deflated), in file order, with its name.
///
/// # Errors
/// [`TensorError::Format`] when the bytes are not such a file.
pub fn read_npz(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, TensorError> {
    let _ = bytes;
    Err(TensorError::Format("unread".into()))
}

/// The bytes of an `.npy` file (version 1.0, C order).
pub fn write_npy(tensor: &Tensor) -> Vec<u8> {
    let _ = tensor;
    Vec::new()
}
