//! What a bitstream is, on record: `bitstream.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::proof::Proof;
use crate::resources::Usage;
use crate::timing::{Clock, Stretch};

/// What came of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The seed.
    pub seed: u64,
    /// Megahertz that are believed of the tightest clock.
    pub fmax_derated: f64,
    /// Whether every clock is fast enough.
    pub met: bool,
}

/// A step that was run, now or before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// The step.
    pub step: String,
    /// Wall-clock seconds of the run that made it.
    pub seconds: f64,
    /// Whether what it made was there already.
    pub cached: bool,
}

/// Everything that is known of a bitstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The board.
    pub board: String,
    /// Its part.
    pub part: String,
    /// The family's tools.
    pub flow: String,
    /// The name of the bitstream, beside this file.
    pub file: String,
    /// Bytes of the bitstream.
    pub bytes: u64,
    /// SHA-256 of the bitstream.
    pub sha256: String,
    /// The digest that the device reports.
    pub config_digest: String,
    /// The configuration as TOML.
    pub config: String,
    /// Multiply-accumulates a cycle.
    pub macs: u64,
    /// Hertz at which the board runs the design.
    pub clock_hz: u64,
    /// 10^9 operations a second at that clock at most, two for each MAC.
    pub peak_gops: f64,
    /// Whether every clock is fast enough.
    pub timing_met: bool,
    /// The part of a reported frequency that is believed.
    pub derate: f64,
    /// Clocks, the one with the least to spare first.
    pub clocks: Vec<Clock>,
    /// The slowest path, by blocks.
    pub critical_path: Vec<Stretch>,
    /// What of the part is taken.
    pub utilisation: Vec<Usage>,
    /// The seed of this bitstream.
    pub seed: u64,
    /// All seeds that were tried.
    pub seeds: Vec<Attempt>,
    /// Versions of the tools' packages.
    pub tools: BTreeMap<String, String>,
    /// What was run.
    pub steps: Vec<Ran>,
    /// How far the bitstream was compared with the design, the furthest last.
    #[serde(default)]
    pub proofs: Vec<Proof>,
}

impl Report {
    /// The report as JSON text.
    pub fn to_json(&self) -> String {
        // A value of plain fields always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Seconds of all steps, whenever they ran.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().map(|ran| ran.seconds).sum()
    }

    /// How much of a resource is taken.
    pub fn usage(&self, resource: &str) -> Option<&Usage> {
        self.utilisation.iter().find(|usage| usage.resource == resource)
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    /// Where the text is no report.
    pub fn from_json(text: &str) -> Result<Report, serde_json::Error> {
        serde_json::from_str(text)
    }
}
