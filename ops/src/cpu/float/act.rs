//! Bias and activation of a product.

use super::pack::LANES;
use crate::activate;

/// Bias and activation of all outputs.
pub(crate) struct Epilogue {
    /// Longer than the outputs by a vector, so that a block may reach over the last one.
    bias: Vec<f32>,
    act: usize,
    name: &'static str,
}

impl Epilogue {
    /// The activation is a position in [`crate::ACTS`].
    pub(crate) fn new(bias: &[f32], act: usize) -> Epilogue {
        let mut padded = Vec::with_capacity(bias.len() + LANES);
        padded.extend_from_slice(bias);
        padded.resize(bias.len() + LANES, 0.0);
        Epilogue { bias: padded, act, name: crate::ACTS.get(act).copied().unwrap_or("none") }
    }

    /// Whether the activation is none but a floor.
    pub(super) fn linear(&self) -> bool {
        matches!(self.name, "none" | "relu")
    }

    /// The least result of a linear activation.
    pub(super) fn floor(&self) -> f32 {
        if self.name == "relu" { 0.0 } else { f32::NEG_INFINITY }
    }

    /// The bias of the outputs from `first` on.
    #[inline(always)]
    pub(super) fn bias(&self, first: usize) -> &[f32; LANES] {
        &self.bias[first..].as_chunks::<LANES>().0[0]
    }

    /// The results of the sums of the outputs from `first` on.
    #[inline(always)]
    pub(super) fn apply(&self, first: usize, sums: [f32; LANES]) -> [f32; LANES] {
        let bias = self.bias(first);
        let sums: [f32; LANES] = std::array::from_fn(|i| sums[i] + bias[i]);
        match self.name {
            "none" => sums,
            // A NaN stays one.
            "relu" => sums.map(|x| if x < 0.0 { 0.0 } else { x }),
            _ => sums.map(|x| activate(self.act, f64::from(x)) as f32),
        }
    }
}
