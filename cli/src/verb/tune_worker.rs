//! `tandem tune-worker`: measures schedules for a tuner.

use crate::Outcome;
use crate::tuning::{crew, queue};
use anyhow::{Result, bail};
use clap::Args;
use std::time::Duration;

/// Options of `tandem tune-worker`.
#[derive(Args)]
pub struct Options {
    /// The Redis or Valkey server that `tandem tune --queue` uses; without, jobs come as lines on standard input.
    #[arg(long, value_name = "redis://HOST:PORT")]
    queue: Option<String>,
    /// End when no job has come for so many seconds [default: never].
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    match (&options.queue, options.idle) {
        (Some(url), idle) => queue::work(url, idle.map(Duration::from_secs))?,
        (None, Some(_)) => bail!("--idle is for a worker with --queue: standard input ends by itself"),
        (None, None) => crew::work()?,
    }
    Ok(Outcome::Good)
}
