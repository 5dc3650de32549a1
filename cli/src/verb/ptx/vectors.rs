//! `tandem ptx vectors`: single instructions on a device beside the simulator.

use crate::backend::{self, BackendKind, CoreOptions};
use crate::options::Format;
use crate::{Outcome, file, stdout};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use tandem_gpu::vectors::{Difference, Vectors, compare, record};
use tandem_gpu::{Device, Simulation};

/// Options of `tandem ptx vectors`.
#[derive(Args)]
pub struct Options {
    /// Where instructions are run: cuda or ptx, the simulator.
    #[arg(long, value_enum, default_value = "cuda")]
    device: BackendKind,
    /// Read what was recorded before from this file, instead of running anything on the device.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "out"])]
    recorded: Option<PathBuf>,
    /// Write what was recorded to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Chooses the order of events on the simulator that is compared with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let recorded: Vectors = match &options.recorded {
        Some(path) => serde_json::from_str(&file::read_text(path)?)
            .with_context(|| format!("{}: it holds no recorded vectors", path.display()))?,
        None => {
            let other = || anyhow!("--device {}: instructions are recorded on cuda or ptx", options.device.name());
            if options.device.is_core() {
                return Err(other());
            }
            let backend = backend::open(options.device, options.seed, &CoreOptions::default())?;
            record(backend.device().ok_or_else(other)?)?
        }
    };
    if let Some(path) = &options.out {
        file::replace(path, format!("{}\n", serde_json::to_string_pretty(&recorded)?).as_bytes())?;
    }
    let simulated = record(&Device::sim(backend::compiler()?, Simulation::seeded(options.seed)))?;
    let differences = compare(&recorded, &simulated);
    let mistakes = differences.iter().filter(|difference| difference.is_mistake()).count();
    let opcodes = recorded.opcodes.len();
    let text = match options.format {
        Format::Json => {
            let row = |difference: &Difference| json!({ "difference": difference, "is_mistake": difference.is_mistake(), "text": difference.to_string() });
            let rows: Vec<Value> = differences.iter().map(row).collect();
            let device = &recorded.device;
            format!("{}\n", json!({ "device": device, "opcodes": opcodes, "mistakes": mistakes, "differences": rows }))
        }
        Format::Table => {
            let lines: String = differences.iter().map(|difference| format!("{difference}\n")).collect();
            let other = differences.len() - mistakes;
            lines
                + &format!(
                    "{opcodes} instructions on {} and on the simulator: {mistakes} differ where nothing is open, {other} approximations differ\n",
                    recorded.device
                )
        }
    };
    stdout::emit(&text)?;
    Ok(if mistakes == 0 { Outcome::Good } else { Outcome::Negative })
}
