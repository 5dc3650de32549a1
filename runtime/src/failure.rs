//! Devices that fail while a plan runs, and what takes their place.

use std::fmt;
use tandem_plan::Device;

/// A device that failed while a plan ran, and whose segments run elsewhere since then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The device; it is not used again.
    pub device: Device,
    /// What runs these of its segments now.
    pub fallback: Device,
    /// Indices of these segments in the plan.
    pub segments: Vec<usize>,
    /// The first sample that the device did not finish.
    pub sample: u64,
    /// What the device said.
    pub error: String,
}

/// One sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { device, fallback, segments, sample, error } = self;
        let (count, plural) = (segments.len(), if segments.len() == 1 { "" } else { "s" });
        write!(
            f,
            "the {device} failed and the {fallback} runs its {count} segment{plural} from sample {sample} on: {error}"
        )
    }
}
