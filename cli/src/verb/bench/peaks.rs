//! `tandem bench peaks`: what a GPU can do at most.

use super::kernels::Extent;
use crate::backend::{self, BackendKind, CoreOptions};
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, date, file, stdout};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::path::PathBuf;
use tandem_gpu::peak::{Figure, Peaks, Probe};

/// Options of `tandem bench peaks`.
#[derive(Args)]
pub struct Options {
    /// Write what was found in the form that --limits takes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How much to do: simulator does as little as shows that it works.
    #[arg(long, value_enum, default_value = "gpu")]
    size: Extent,
    /// Chooses the operands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let backend = backend::open(BackendKind::Cuda, options.seed, &CoreOptions::default())?;
    let device = backend.device().context("a GPU was opened and is not there")?;
    let bar = ProgressBar::new(Probe::ALL.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let peaks = Peaks::measure(device, options.size.effort(device.facts()), options.seed, |probe| {
        bar.set_message(probe.name());
        bar.inc(1);
    });
    bar.finish_and_clear();
    let (major, minor) = backend::compiler()?.version()?;
    let cuda = device.details()?.map_or_else(|| "-".to_owned(), |details| details.driver_cuda);
    let source = format!(
        "measured by tandem {} on {}, size {}, driver for CUDA {cuda}, NVRTC {major}.{minor}",
        env!("CARGO_PKG_VERSION"),
        date::today(),
        options.size.name()
    );
    let limits = peaks.limits(&device.facts().name, &source);
    if let Some(path) = &options.out {
        let limits = limits.as_ref().map_err(|error| anyhow::anyhow!("there are no limits to write: {error}"))?;
        file::replace(path, format!("{}\n", serde_json::to_string_pretty(limits)?).as_bytes())?;
    }
    let text = match options.format {
        Format::Json => {
            let rows: Vec<Value> = peaks.iter().map(|(probe, found)| row(probe, found)).collect();
            let missing = limits.as_ref().err().map(ToString::to_string);
            let value = json!({ "machine": backend.machine(), "seed": options.seed, "size": options.size.name(), "figures": rows, "limits": limits.ok(), "no_limits": missing });
            format!("{value}\n")
        }
        Format::Table => {
            let rows: Vec<Value> = peaks.iter().map(|(probe, found)| row(probe, found)).collect();
            as_table(&rows) + &format!("{}, {source}.\n", backend.machine())
        }
    };
    stdout::emit(&text)?;
    Ok(if peaks.iter().all(|(_, found)| found.is_ok()) { Outcome::Good } else { Outcome::Negative })
}

fn row(probe: Probe, found: &tandem_gpu::Result<Figure>) -> Value {
    let error = found.as_ref().err().map(ToString::to_string);
    json!({ "probe": probe, "name": probe.name(), "unit": probe.unit(), "figure": found.as_ref().ok(), "error": error })
}

/// The figures of a device, as their rows are written in JSON.
pub fn as_table(rows: &[Value]) -> String {
    let cells = rows.iter().map(|row| {
        let unit = row["unit"].as_str().unwrap_or_default();
        let number =
            |name: &str| row["figure"][name].as_f64().map_or_else(|| "-".to_owned(), |value| shown(value, unit));
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        let error = row["error"].as_str().unwrap_or_default().to_owned();
        vec![name, number("value"), number("best"), error]
    });
    table(&["peak", "median", "best", "why not"], &[1, 2], cells)
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "s" => format!("{:.2} us", value * 1e6),
        "bytes/s" => format!("{:.1} GB/s", value / 1e9),
        _ => format!("{:.1} Top/s", value / 1e12),
    }
}
