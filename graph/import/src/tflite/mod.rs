//! TFLite flatbuffers.

use crate::{ImportError, ImportOptions};
use tandem_graph::Graph;

/// Reads a TFLite file.
///
/// # Errors
/// [`ImportError`] naming the place in the file and the problem.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
    let _ = (bytes, options);
    Err(ImportError::NotAModel("the TFLite reader is absent".into()))
}
