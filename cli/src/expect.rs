//! Comparing outputs with a file, byte for byte.

use crate::file;
use anyhow::{Result, bail};
use serde::Serialize;
use std::path::Path;
use tandem_graph::Graph;
use tandem_tensor::{DType, Data, Tensor, read_npy};

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Elements compared.
    pub elements: usize,
    /// Elements that differ.
    pub mismatches: usize,
    /// Samples with an element that differs.
    pub samples: usize,
    /// The first difference in words.
    pub first: Option<String>,
}

/// The bytes of outputs as they are saved and compared: sample by sample, output by output.
pub fn bytes(outputs: &[Vec<Tensor>]) -> Vec<u8> {
    outputs.iter().flatten().flat_map(Tensor::to_le_bytes).collect()
}

/// Compares outputs with a raw or .npy file. With a limit on the samples, a file with more samples is compared as far as
/// there are outputs.
///
/// # Errors
/// A file that cannot be read or is of another size.
pub fn compare(path: &Path, graph: &Graph, outputs: &[Vec<Tensor>], limited: bool) -> Result<Comparison> {
    let mut expected = file::read(path)?;
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
        match read_npy(&expected) {
            Ok(array) => expected = array.to_le_bytes(),
            Err(e) => bail!("{}: {e}", path.display()),
        }
    }
    compare_bytes(&expected, graph, outputs, limited).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

/// As [`compare`], with bytes at hand.
///
/// # Errors
/// When the sizes differ.
pub fn compare_bytes(expected: &[u8], graph: &Graph, outputs: &[Vec<Tensor>], limited: bool) -> Result<Comparison> {
    let found: usize = outputs.iter().flatten().map(|t| t.len() * t.dtype().bytes()).sum();
    let longer = limited && found > 0 && expected.len() > found && expected.len().is_multiple_of(found / outputs.len());
    if expected.len() != found && !longer {
        bail!(
            "it has {} bytes to compare with, but {} samples give {found} bytes ({} each); give a file of that size",
            expected.len(),
            outputs.len(),
            found / outputs.len().max(1)
        );
    }
    let mut result = Comparison::default();
    let mut rest = expected;
    for (s, sample) in outputs.iter().enumerate() {
        let before = result.mismatches;
        for (o, tensor) in sample.iter().enumerate() {
            let bytes = tensor.to_le_bytes();
            let (here, more) = rest.split_at_checked(bytes.len()).unwrap_or((rest, &[]));
            rest = more;
            let size = tensor.dtype().bytes();
            result.elements += tensor.len();
            for (i, (want, have)) in here.chunks_exact(size).zip(bytes.chunks_exact(size)).enumerate() {
                if want != have {
                    result.mismatches += 1;
                    result.first.get_or_insert_with(|| {
                        let name = graph.outputs.get(o).map_or("?", |&id| graph.value(id).name.as_str());
                        let dtype = tensor.dtype();
                        format!(
                            "sample {s}, output '{name}', element {i}: expected {}, found {}",
                            number(dtype, want),
                            number(dtype, have)
                        )
                    });
                }
            }
        }
        result.samples += usize::from(result.mismatches > before);
    }
    Ok(result)
}

impl Comparison {
    /// The result in one line.
    pub fn sentence(&self, against: &str) -> String {
        match &self.first {
            None => format!("{against}: 0 mismatches in {} elements", self.elements),
            Some(first) => format!(
                "{against}: {} of {} elements differ, in {} samples; the first is {first}",
                self.mismatches, self.elements, self.samples
            ),
        }
    }
}

fn number(dtype: DType, bytes: &[u8]) -> String {
    match Data::from_le_bytes(dtype, bytes) {
        Data::F32(v) => v.first().map_or_else(String::new, |x| format!("{x:?}")),
        data => {
            let tensor = Tensor::new([1], data);
            match tensor.as_ref().map(|t| (t.to_i64(), t.to_f64())) {
                Ok((Some(integers), _)) => integers.first().map_or_else(String::new, |x| x.to_string()),
                Ok((None, floats)) => floats.first().map_or_else(String::new, |x| format!("{x:?}")),
                Err(_) => String::new(),
            }
        }
    }
}
