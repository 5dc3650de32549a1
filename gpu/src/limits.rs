//! What devices can do at most: the denominator of every "fraction of the limit".

use crate::error::{GpuError, Result};

/// Rates that a device does not exceed, a second.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The device, as the driver names it or a part of that.
    pub name: String,
    /// Where the figures are from.
    pub source: String,
    /// Bytes between the device's memory and its caches.
    pub memory_bytes: f64,
    /// Operations on bfloat16 or binary16 by the tensor cores; a multiply-accumulate is two.
    pub bf16_flops: f64,
    /// Operations on 8-bit integers by the tensor cores.
    pub int8_ops: f64,
    /// Operations on binary32 outside the tensor cores.
    pub f32_flops: f64,
}

const KNOWN: [&str; 1] = [include_str!("../devices/h200.json")];

impl Limits {
    /// The limits in a JSON text.
    ///
    /// # Errors
    /// Invalid, naming what is missing or wrong.
    pub fn parse(text: &str) -> Result<Limits> {
        let limits: Limits =
            serde_json::from_str(text).map_err(|error| GpuError::Invalid(format!("limits of a device: {error}")))?;
        let rates = [limits.memory_bytes, limits.bf16_flops, limits.int8_ops, limits.f32_flops];
        match rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) {
            true => Ok(limits),
            false => Err(GpuError::Invalid(format!("limits of {}: a rate is not above 0", limits.name))),
        }
    }

    /// The limits of the device of that name, where they are known.
    ///
    /// # Errors
    /// Unavailable for any other.
    pub fn of(name: &str) -> Result<Limits> {
        for text in KNOWN {
            let limits = Limits::parse(text)?;
            if name.contains(&limits.name) {
                return Ok(limits);
            }
        }
        Err(GpuError::Unavailable(format!(
            "the limits of {name} are not known; give a file like gpu/devices/h200.json"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_limits_are_read_and_others_refused() {
        assert_eq!(Limits::of("NVIDIA H200").unwrap().memory_bytes, 4.3e12);
        assert!(matches!(Limits::of("NVIDIA T4"), Err(GpuError::Unavailable(_))));
        let zero = KNOWN[0].replace("4.3e12", "0");
        assert!(matches!(Limits::parse(&zero), Err(GpuError::Invalid(text)) if text.contains("above 0")));
        assert!(Limits::parse("{}").is_err());
    }
}
