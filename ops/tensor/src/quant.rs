//! Quantisation parameters.

use serde::{Deserialize, Serialize};

/// Affine quantisation: `real = scale * (code - zero_point)`, per tensor or along one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantParams {
    /// One scale, or one for each index of `axis`.
    pub scale: Vec<f32>,
    /// As many zero points as scales.
    pub zero_point: Vec<i32>,
    /// The quantised axis; `None` when one pair holds for the whole tensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<usize>,
}

impl QuantParams {
    /// One scale and zero point for the whole tensor.
    pub fn per_tensor(scale: f32, zero_point: i32) -> Self {
        Self { scale: vec![scale], zero_point: vec![zero_point], axis: None }
    }

    /// Scale and zero point of index `i` along the quantised axis (of the tensor when per tensor).
    pub fn at(&self, i: usize) -> (f32, i32) {
        let pick = if self.axis.is_some() { i } else { 0 };
        (self.scale.get(pick).copied().unwrap_or(0.0), self.zero_point.get(pick).copied().unwrap_or(0))
    }

    /// The one scale of a per-tensor quantisation, or the first one.
    pub fn scale(&self) -> f32 {
        self.at(0).0
    }

    /// The one zero point of a per-tensor quantisation, or the first one.
    pub fn zero_point(&self) -> i32 {
        self.at(0).1
    }

    /// True when a single pair holds for the whole tensor.
    pub fn is_per_tensor(&self) -> bool {
        self.axis.is_none() && self.scale.len() == 1
    }
}
