//! `tandem run`: a model on inputs.

use crate::options::{DeviceOptions, Format, InputOptions, ModelOptions};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::{Outcome, expect, file, input, model, report, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tandem_graph::Graph;
use tandem_plan::Plan;
use tandem_tensor::{Shape, Tensor, write_npy};

/// Options of `tandem run`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    /// Input files, one for each input, separated by commas: .npy, .npz, raw (one or more samples), PNG, JPEG or BMP.
    #[arg(long, value_name = "F[,F2]")]
    input: String,
    #[command(flatten)]
    inputs: InputOptions,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    place: PlaceOptions,
    /// Run this plan, which `tandem partition --save` wrote for the model, and not one that gives the accelerator all it takes.
    #[arg(long, value_name = "PLAN.json")]
    plan: Option<PathBuf>,
    /// Samples handed to the devices at a time [default: what the accelerator takes in one run].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch_inputs: Option<usize>,
    /// Requests that are under way at once, so that every device works on another one; with 1 each waits for the one before.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    in_flight: usize,
    /// Run only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Compare the outputs with a raw or .npy file; exit code 1 where they differ.
    #[arg(long, value_name = "F")]
    expect: Option<PathBuf>,
    /// Save the outputs: raw, or .npy with a leading extent for the samples.
    #[arg(long, value_name = "F")]
    save_output: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Write what ran on this host and when, in its own time; Chrome and Perfetto open it.
    #[arg(long, value_name = "OUT.json")]
    profile: Option<PathBuf>,
    /// List every node with its device.
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let samples = input::samples(&graph, &options.input, &options.inputs, options.limit)?;
    let mut session = match &options.plan {
        Some(path) => Session::planned(plan(path, &graph)?, graph, &options.device)?,
        None => Session::open(graph, &options.device, &options.place)?,
    };
    let outputs = session.run(&samples, options.batch_inputs, options.in_flight)?;
    let compared = match &options.expect {
        Some(path) => Some((path, expect::compare(path, &session.graph, &outputs, options.limit.is_some())?)),
        None => None,
    };
    if let Some(path) = &options.save_output {
        save(path, &session.graph, &outputs)?;
    }
    if let Some(path) = &options.profile {
        file::write(path, session.executor.profile().to_chrome_json().as_bytes())?;
    }
    match options.format {
        Format::Json => {
            let mismatches = compared.as_ref().map(|(_, c)| c.mismatches);
            let json = report::run_json(&session, &outputs, mismatches);
            stdout::emit(&format!("{json}\n"))?;
        }
        Format::Table => {
            let mut text = report::partition(&session.plan);
            if options.verbose {
                text.push_str(&report::nodes(&session.graph, &session.plan));
            }
            text.push_str(&report::results(&session.graph, &outputs));
            text.push_str(&report::counters(&session));
            text.push_str(&report::latency(&session));
            if let Some((path, compared)) = &compared {
                let _ = writeln!(text, "{}", compared.sentence(&path.display().to_string()));
            }
            stdout::emit(&text)?;
        }
    }
    match compared {
        Some((path, compared)) if compared.mismatches > 0 => {
            stdout::complain(&format!("mismatch: {}", compared.sentence(&path.display().to_string())));
            Ok(Outcome::Negative)
        }
        _ => Ok(Outcome::Good),
    }
}

/// A plan for the graph.
fn plan(path: &Path, graph: &Graph) -> Result<Plan> {
    let name = path.display();
    let plan = Plan::from_json(&file::read_text(path)?).map_err(|e| anyhow!("{name}: it is not a plan: {e}"))?;
    let same = plan.assignments.len() == graph.nodes.len()
        && plan.assignments.iter().zip(&graph.nodes).all(|(assigned, node)| assigned.node == node.name);
    if !same {
        bail!(
            "{name}: it is a plan of another model, or of another import of it; make one with `tandem partition --save`"
        );
    }
    Ok(plan)
}

/// A count of at least one, for clap.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "give a whole number of at least 1".to_owned())
}

/// Saves outputs.
///
/// # Errors
/// A file that cannot be written; several outputs in one .npy file.
pub fn save(path: &Path, graph: &Graph, outputs: &[Vec<Tensor>]) -> Result<()> {
    if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
        return file::write(path, &expect::bytes(outputs));
    }
    let [id] = graph.outputs[..] else {
        bail!(
            "{}: an .npy file holds one array and the model has {} outputs; save to another name for raw bytes",
            path.display(),
            graph.outputs.len()
        );
    };
    let ty = graph.ty(id);
    let mut shape = vec![outputs.len()];
    // A leading extent of 1 is the batch, which the samples take over.
    shape.extend(ty.shape.iter().skip(usize::from(ty.shape.first() == Some(&1))));
    let all = Tensor::from_le_bytes(ty.dtype, Shape(shape), &expect::bytes(outputs));
    file::write(path, &write_npy(&all.map_err(|e| anyhow!("{}: {e}", path.display()))?))
}
