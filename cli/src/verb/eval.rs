//! `tandem eval`: a classifier's accuracy.

use super::run::at_least_one;
use crate::options::{DeviceOptions, Format, InputOptions, ModelOptions};
use crate::session::Session;
use crate::{Outcome, file, input, labels, model, report, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tandem_plan::Device;
use tandem_tensor::Tensor;

/// Options of `tandem eval`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// The samples: a raw file, .npy, .npz, or a directory with the files that the labels name.
    #[arg(long, value_name = "F|DIR")]
    inputs: String,
    /// One line a sample: file,classes,label, without a header.
    #[arg(long, value_name = "CSV")]
    labels: PathBuf,
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    device: DeviceOptions,
    /// Only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let csv = options.labels.display();
    let mut truth = labels::parse(&file::read_text(&options.labels)?).map_err(|e| anyhow!("{csv}: {e}"))?;
    if let Some(limit) = options.limit {
        truth.truncate(limit);
    }
    let directory = PathBuf::from(&options.inputs);
    let samples = if directory.is_dir() {
        let names: Vec<String> = truth.iter().map(|l| l.file.clone()).collect();
        input::from_directory(&graph, &directory, &names, &options.input)?
    } else {
        input::samples(&graph, &options.inputs, &options.input, options.limit)?
    };
    if samples.len() != truth.len() {
        bail!("{csv}: it labels {} samples but {} holds {}", truth.len(), options.inputs, samples.len());
    }
    let classes = match graph.outputs.first() {
        Some(&id) => graph.ty(id).elements(),
        None => 0,
    };
    if classes < 2 {
        bail!("the first output has {classes} elements; a classifier has one for each class");
    }
    if let Some((i, label)) = truth.iter().enumerate().find(|(_, l)| l.class >= classes) {
        bail!("{csv}: line {}: class {} is not below the model's {classes} classes", i + 1, label.class);
    }
    let mut session = Session::open(graph, &options.device)?;
    let outputs = session.run(&samples, None)?;
    let right = outputs
        .iter()
        .zip(&truth)
        .filter(|(output, label)| output.first().and_then(Tensor::argmax) == Some(label.class));
    let (correct, count) = (right.count(), truth.len());
    let accuracy = correct as f64 / count as f64;
    let text = match options.format {
        Format::Json => {
            let mut value = json!({
                "accuracy": accuracy,
                "correct": correct,
                "samples": count,
                "segments": report::segments_json(&session.plan),
                "vta": report::vta_json(&session),
                "vta_mac_share": session.plan.share(Device::Vta),
                "latency_ms": report::latency_ms(&session),
                "arith": session.graph.arith.name(),
                "hw": session.hw,
            });
            report::add_remote(&mut value, &session);
            format!("{value}\n")
        }
        Format::Table => format!(
            "{}{}accuracy {:.1} % ({correct} of {count})\n",
            report::partition(&session.plan),
            report::latency(&session, &options.device.device.kind.name()),
            accuracy * 100.0
        ),
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}
