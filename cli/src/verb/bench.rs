//! `tandem bench`: how near to a limit something runs.

mod gpu;
mod kernels;
pub mod peaks;
mod tuner;

use crate::Outcome;
use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Verb {
    /// Time kernels and tell which fraction of the machine's limit they reach, or count what they do on the PTX simulator.
    ///
    /// The limit of a kernel is the longer of two times: that of its arithmetic at the machine's peak, and that of its bytes, each
    /// operand and result once, at the machine's bandwidth. Both are measured in the same run, or for a GPU read from the file that
    /// --limits names; what is only told of a GPU is used where something cannot be measured, and is labelled so.
    Kernels(kernels::Options),
    /// Measure what a GPU can do at most: memory, tensor instructions, launches, the link to the host.
    Peaks(peaks::Options),
    /// Measure a GPU with one command: facts, peaks, conformance, every kernel, other libraries, targets; into one file.
    ///
    /// Exit code 1 when a comparison differs or a part failed. Targets that are missed are told and change no exit code.
    Gpu(gpu::Options),
    /// Compare how many trials searches for schedules need, on layers all of whose schedules were measured.
    Tuner(tuner::Options),
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Kernels(options) => kernels::run(options),
        Verb::Peaks(options) => peaks::run(options),
        Verb::Gpu(options) => gpu::run(options),
        Verb::Tuner(options) => tuner::run(options),
    }
}
