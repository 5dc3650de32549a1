//! The tandem command line: one binary whose verbs are the stations of the pipeline.
//!
//! stdout carries the result, stderr everything else. Exit codes: 0 ok, 1 the result is negative (a mismatch), 2 an error,
//! told in one sentence.
#![forbid(unsafe_code)]

mod backend;
mod board;
mod bottleneck;
mod bounds;
mod built;
mod curves;
mod cycles;
mod date;
mod drawing;
mod errors;
mod expect;
mod file;
mod hardware;
mod input;
mod labels;
mod language;
mod launch;
mod limits;
mod link;
mod machine;
mod measuring;
mod model;
mod options;
mod picture;
mod placing;
mod power;
mod process;
mod profile;
mod remote;
mod report;
mod request;
mod schedule;
mod session;
mod simulation;
mod smi;
mod solo;
mod stdout;
mod svg;
mod table;
mod timeline;
mod token;
mod tools;
mod tuning;
mod verb;
mod verilated;

use clap::Parser;
use std::process::ExitCode;

/// How a verb ended when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The result is as it should be.
    Good,
    /// The result is negative: a mismatch.
    Negative,
}

/// FPGA-plus-GPU co-design: run int8 models on a parametrizable accelerator, and kernels on every processor that computes them.
#[derive(Parser)]
#[command(name = "tandem", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: verb::Verb,
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no message");
        stdout::complain(&format!(
            "error: internal fault at {place}: {text}; this is a defect of tandem, please report it with the command line"
        ));
        std::process::exit(2);
    }));
    match Cli::parse().verb.run() {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Err(error) => {
            stdout::complain(&format!("error: {}", one_line(&format!("{error:#}"))));
            ExitCode::from(2)
        }
    }
}

/// Library messages may quote several lines of a text file; an error is one sentence on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
