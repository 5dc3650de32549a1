//! `tandem ptx`: the PTX simulator, and whether it finds what it is there for.

mod vectors;

use crate::backend;
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tandem_gpu::planted::{Row, outcomes, simulation, subjects};

/// What to do with the simulator.
#[derive(Subcommand)]
pub enum Verb {
    /// Run the CUDA kernels on the simulator: as they are, and with known synchronisation bugs planted in their sources.
    ///
    /// Exit code 1 when a bug is missed or a right kernel is not clean.
    Run(Options),
    /// Record what single instructions make of given bits on a device, and compare it with the simulator.
    ///
    /// Exit code 1 where an instruction that leaves nothing open differs.
    Vectors(vectors::Options),
}

/// Options of `tandem ptx run`.
#[derive(Args)]
pub struct Options {
    /// Plant every known bug, one after the other; without it only the kernels as they are run.
    #[arg(long)]
    planted: bool,
    /// Seeds for each bug.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
    /// Seeds for each kernel as it is.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    clean_seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only this kernel.
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Run(options) => run_kernels(options),
        Verb::Vectors(options) => vectors::run(options),
    }
}

fn run_kernels(options: &Options) -> Result<Outcome> {
    let mut all = subjects();
    if let Some(name) = &options.kernel {
        let names: Vec<&str> = all.iter().map(|subject| subject.name).collect();
        if !names.contains(&name.as_str()) {
            bail!("--kernel {name}: there is no such kernel; there are {}", names.join(", "));
        }
        all.retain(|subject| subject.name == name);
    }
    let compiler = backend::compiler()?;
    let bugs: usize = all.iter().map(|subject| if options.planted { subject.bugs.len() } else { 0 }).sum();
    let bar = ProgressBar::new((all.len() + bugs) as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let mut rows = Vec::new();
    for subject in &all {
        let bugs = if options.planted { subject.bugs } else { &[] };
        for bug in [None].into_iter().chain(bugs.iter().map(Some)) {
            let name = bug.map_or("as it is", |bug| bug.name);
            bar.set_message(format!("{}: {name}", subject.name));
            let count = if bug.is_some() { options.seeds } else { options.clean_seeds };
            let seeds = (0..count).map(|at| options.seed.wrapping_add(at));
            rows.push(outcomes(&compiler, subject, bug, &simulation(), seeds)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let right = rows.iter().filter(|row| row.is_right()).count();
    let text = match options.format {
        Format::Json => {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "kernel": row.subject,
                        "bug": row.bug.map(|bug| bug.name),
                        "what_is_wrong": row.bug.map(|bug| bug.wrong),
                        "runs": row.outcomes.len(),
                        "faults": row.faults(),
                        "wrong_results": row.wrong_results(),
                        "first": row.first(),
                        "right": row.is_right(),
                    })
                })
                .collect();
            format!("{}\n", json!({ "seed": options.seed, "rows": rows, "right": right }))
        }
        Format::Table => as_table(&rows, bugs),
    };
    stdout::emit(&text)?;
    Ok(if right == rows.len() { Outcome::Good } else { Outcome::Negative })
}

fn as_table(rows: &[Row], bugs: usize) -> String {
    let cells = rows.iter().map(|row| {
        let runs = row.outcomes.len();
        let verdict = match (row.bug, row.is_right()) {
            (None, true) => format!("clean on {runs} of {runs} seeds"),
            (None, false) => format!("NOT CLEAN on {} of {runs} seeds", row.faults() + row.wrong_results()),
            (Some(_), true) => format!("caught on {runs} of {runs} seeds"),
            (Some(_), false) => format!("MISSED on {} of {runs} seeds", runs - row.faults() - row.wrong_results()),
        };
        let first = match row.first() {
            "clean" => "",
            // What is before the colon names the kernel, as the first column does.
            first => first.split_once(": ").map_or(first, |(_, what)| what),
        };
        // The text of a fault may be long; its beginning names what happened.
        let first: String = first.chars().take(240).collect();
        vec![row.subject.to_owned(), row.bug.map_or("-", |bug| bug.name).to_owned(), verdict, first]
    });
    let caught = rows.iter().filter(|row| row.bug.is_some() && row.is_right()).count();
    let clean = rows.iter().filter(|row| row.bug.is_none() && row.is_right()).count();
    let kernels = rows.iter().filter(|row| row.bug.is_none()).count();
    table(&["kernel", "planted bug", "verdict", "what showed first"], &[], cells)
        + &format!(
            "{caught} of {bugs} planted bugs caught on every seed; {clean} of {kernels} kernels clean on every seed\n"
        )
}
