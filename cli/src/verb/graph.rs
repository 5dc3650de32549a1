//! `tandem graph`: show, run and draw graphs, and what passes and analyses make of them.

mod groups;
mod memory;
mod passes;

use super::run::{at_least_one, save};
use crate::options::{Format, InputOptions, ModelOptions};
use crate::{Outcome, expect, input, model, report, session, stdout};
use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use tandem_graph::Interpreter;

/// What to do with the graph.
#[derive(Subcommand)]
pub enum Verb {
    /// Print the text form.
    Show(ModelOptions),
    /// Run it on the reference interpreter, the oracle.
    Run(RunOptions),
    /// Print a drawing in the DOT language.
    Dot(ModelOptions),
    /// Apply passes and tell what each did.
    Passes(passes::Options),
    /// Plan where every intermediate result lies in one arena.
    Memory(memory::Options),
    /// Show which nodes may be computed in one loop.
    Groups(groups::Options),
}

/// Options of `tandem graph run`.
#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    model: ModelOptions,
    /// Input files, one for each input, separated by commas.
    #[arg(long, value_name = "F[,F2]")]
    input: String,
    #[command(flatten)]
    inputs: InputOptions,
    /// Run only the first samples.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Compare the outputs with a raw or .npy file; exit code 1 where they differ.
    #[arg(long, value_name = "F")]
    expect: Option<PathBuf>,
    /// Save the outputs: raw, or .npy.
    #[arg(long, value_name = "F")]
    save_output: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Show(options) => stdout::emit(&tandem_graph::print(&model::load(options)?))?,
        Verb::Dot(options) => stdout::emit(&tandem_graph::dot(&model::load(options)?))?,
        Verb::Run(options) => return interpret(options),
        Verb::Passes(options) => return passes::run(options),
        Verb::Memory(options) => return memory::run(options),
        Verb::Groups(options) => return groups::run(options),
    }
    Ok(Outcome::Good)
}

fn interpret(options: &RunOptions) -> Result<Outcome> {
    let graph = model::load(&options.model)?;
    let samples = input::samples(&graph, &options.input, &options.inputs, options.limit)?;
    let interpreter = Interpreter::new(&graph);
    let bar = session::bar(samples.len());
    let mut outputs = Vec::with_capacity(samples.len());
    for sample in &samples {
        outputs.push(interpreter.run(sample).map_err(|e| anyhow!("{}: {e}", options.model.model.display()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = &options.save_output {
        save(path, &graph, &outputs)?;
    }
    let compared = match &options.expect {
        Some(path) => Some((path, expect::compare(path, &graph, &outputs, options.limit.is_some())?)),
        None => None,
    };
    let text = match options.format {
        Format::Json => {
            let value = json!({
                "outputs": report::outputs_json(&graph, &outputs),
                "mismatches": compared.as_ref().map(|(_, c)| c.mismatches),
                "samples": outputs.len(),
                "arith": graph.arith.name(),
            });
            format!("{value}\n")
        }
        Format::Table => report::results(&graph, &outputs),
    };
    stdout::emit(&text)?;
    match compared {
        Some((path, compared)) => {
            stdout::complain(&compared.sentence(&path.display().to_string()));
            Ok(if compared.mismatches > 0 { Outcome::Negative } else { Outcome::Good })
        }
        None => Ok(Outcome::Good),
    }
}
