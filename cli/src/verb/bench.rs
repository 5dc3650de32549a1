//! `tandem bench`: how near to a limit something runs.

mod kernels;

use crate::Outcome;
use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Verb {
    /// Time kernels and tell which fraction of this machine's limit they reach, or count what they do on the PTX simulator.
    ///
    /// The limit of a kernel is the longer of two times: that of its arithmetic at the measured peak, and that of its bytes, each
    /// operand and result once, at the measured bandwidth.
    Kernels(kernels::Options),
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Kernels(options) => kernels::run(options),
    }
}
