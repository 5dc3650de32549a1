//! `tandem board`: boards, and what plays one.

mod list;
mod mlperf;
mod serve;
#[cfg(unix)]
mod sim;
mod target;
#[cfg(unix)]
mod terminal;

use crate::Outcome;
use anyhow::Result;
use clap::Subcommand;

/// What to do with a board.
#[derive(Subcommand)]
pub enum Verb {
    /// List the boards.
    List(list::Options),
    /// Export a board, or a simulator in the place of one, over the network.
    Serve(serve::Options),
    /// Simulate a board behind a pseudo-terminal.
    #[cfg(unix)]
    Sim(sim::Options),
    /// Answer the MLPerf Tiny runner with a model on a device.
    Mlperf(Box<mlperf::Options>),
}

/// Runs the verb.
///
/// # Errors
/// One sentence: what, where, remedy.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::List(options) => list::run(options),
        Verb::Serve(options) => serve::run(options),
        #[cfg(unix)]
        Verb::Sim(options) => sim::run(options),
        Verb::Mlperf(options) => mlperf::run(options),
    }
}
