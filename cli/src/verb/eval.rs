//! `tandem eval`: a classifier's accuracy.

use super::run::at_least_one;
use crate::labels::Labelled;
use crate::options::{DeviceOptions, Format, InputOptions, ModelOptions};
use crate::placing::shown;
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::{Outcome, labels, model, power, report, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use tandem_runtime::Timeline;

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
    #[command(flatten)]
    place: PlaceOptions,
    /// Only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Requests that are under way at once, so that every device works on another one; with 1 each waits for the one before.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    in_flight: usize,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let Labelled { samples, truth, .. } =
        labels::load(&graph, &options.inputs, &options.labels, &options.input, options.limit)?;
    let mut session = Session::open(graph, &options.device, &options.place)?;
    let watts = options.place.watts(&session.machine.names())?;
    let outputs = session.run(&samples, None, options.in_flight)?;
    let right = outputs.iter().zip(&truth).filter(|(output, label)| labels::answer(output) == Some(label.class));
    let (correct, count) = (right.count(), truth.len());
    let accuracy = correct as f64 / count as f64;
    let timeline = session.timeline();
    let energy = timeline.as_ref().and_then(|timeline| power::joules(timeline, &watts, &session.machine));
    let text = match options.format {
        Format::Json => {
            let mut map = report::session_json(&session);
            map.insert("accuracy".to_owned(), json!(accuracy));
            map.insert("correct".to_owned(), json!(correct));
            map.insert("samples".to_owned(), json!(count));
            map.insert("latency_percentiles_ms".to_owned(), report::percentiles_json(&session));
            map.insert("samples_per_s".to_owned(), json!(timeline.as_ref().map(Timeline::throughput)));
            map.insert("joules_per_sample".to_owned(), json!(energy));
            format!("{}\n", Value::Object(map))
        }
        Format::Table => {
            let mut text = report::partition(&session.plan);
            text.push_str(&report::latency(&session));
            let each = report::percentiles(&session).map(|(p, ms)| format!("{p} % {ms:.3} ms"));
            let _ = writeln!(text, "wall time of a sample, percentiles: {}", each.join(", "));
            if let Some(timeline) = &timeline {
                let _ = writeln!(
                    text,
                    "throughput {:.1} samples a second ({})",
                    timeline.throughput(),
                    report::clocks(&session)
                );
            }
            if let Some(joules) = energy {
                let _ = writeln!(text, "energy {} a sample, by the powers of --watts", shown(joules, "J"));
            }
            let _ = writeln!(text, "accuracy {:.1} % ({correct} of {count})", accuracy * 100.0);
            text
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}
