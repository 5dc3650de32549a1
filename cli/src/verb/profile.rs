//! `tandem profile`: what nodes take on devices, stored for plans, and how well estimates predict it.

use crate::errors::mean_and_worst;
use crate::options::{DeviceOptions, Format, ModelOptions};
use crate::placing::{Costs, shortened, shown};
use crate::profile::{Stored, StoredDevice};
use crate::table::{grouped, table};
use crate::{Outcome, file, model, stdout};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Characters of a node's name in a table; the JSON has all.
const NAME: usize = 28;

/// Options of `tandem profile`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    device: DeviceOptions,
    /// Where the measurements go, and are kept of other models; `--costs` reads them.
    #[arg(long, short, value_name = "COSTS.json")]
    output: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let name = options.model.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut stored = match &options.output {
        Some(path) if path.exists() => Stored::read(path)?,
        _ => Stored::new()?,
    };
    let costs = Costs::measure(&graph, &options.device)?;
    stored.add(&name, &graph, &costs)?;
    if let Some(path) = &options.output {
        file::write(path, stored.to_json().as_bytes())?;
    }
    let names = costs.names();
    let devices: Vec<&StoredDevice> = stored.devices.iter().filter(|device| names.contains(&device.name)).collect();
    stdout::emit(&match options.format {
        Format::Json => format!("{}\n", json(&stored, &devices, &name)),
        Format::Table => devices.iter().map(|device| text(device, &name)).collect(),
    })?;
    Ok(Outcome::Good)
}

fn json(stored: &Stored, devices: &[&StoredDevice], model: &str) -> Value {
    let of = |device: &&StoredDevice| {
        let errors = device.errors(model);
        let relative = errors.relative();
        let (mean, worst) = mean_and_worst(relative.iter().map(|(predicted, _)| *predicted));
        let (mean_of_estimates, _) = mean_and_worst(relative.iter().map(|(_, estimate)| *estimate));
        let nodes = errors.nodes.iter().zip(&errors.predicted).map(|(node, predicted)| {
            json!({
                "node": node.node,
                "kind": node.observation.kind,
                "estimate": node.observation.estimate,
                "predicted": predicted,
                "measured": node.observation.measured,
            })
        });
        json!({
            "name": device.name,
            "times": device.times,
            "unit": unit(device),
            "copy_latency_s": device.copy.0,
            "copy_bytes_per_s": device.copy.1,
            "nodes": nodes.collect::<Vec<_>>(),
            "mean_error": mean,
            "worst_error": worst,
            "mean_error_of_estimates": mean_of_estimates,
            "predicted_over_measured": errors.total(),
        })
    };
    json!({
        "model": model,
        "date": stored.date,
        "processor": stored.processor,
        "devices": devices.iter().map(of).collect::<Vec<_>>(),
    })
}

fn unit(device: &StoredDevice) -> &'static str {
    if device.config.is_some() { "cycles" } else { "s" }
}

fn text(device: &StoredDevice, model: &str) -> String {
    let errors = device.errors(model);
    if errors.nodes.is_empty() {
        return format!("{}: it runs no node of the model\n", device.name);
    }
    let amount = |value: f64| match unit(device) {
        "cycles" => grouped(value.round() as u64),
        _ => shown(value, "s"),
    };
    let rows = errors.nodes.iter().zip(&errors.predicted).map(|(node, &predicted)| {
        let observation = &node.observation;
        let error = match observation.measured > 0.0 {
            true => format!("{:+.1} %", 100.0 * (predicted / observation.measured - 1.0)),
            false => "-".to_owned(),
        };
        let name = shortened(&node.node, NAME);
        let [estimate, predicted, measured] = [observation.estimate, predicted, observation.measured].map(amount);
        vec![name, observation.kind.clone(), estimate, predicted, measured, error]
    });
    let header = ["node", "operator", "estimate", "predicted", &device.times, "error"];
    let mut text = format!("{} ({})\n{}", device.name, unit(device), table(&header, &[2, 3, 4, 5], rows));
    let relative = errors.relative();
    let (mean, worst) = mean_and_worst(relative.iter().map(|(predicted, _)| *predicted));
    let (bare, _) = mean_and_worst(relative.iter().map(|(_, estimate)| *estimate));
    let _ = writeln!(
        text,
        "error of predictions from other nodes: {:.1} % on the mean, {:.1} % at worst; {:.1} % of all together; estimates alone: {:.1} % on the mean",
        100.0 * mean,
        100.0 * worst,
        100.0 * (errors.total() - 1.0),
        100.0 * bare
    );
    text
}
