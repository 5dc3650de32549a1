//! What is asked for where a model is split over a list of devices.

use crate::options::positive;
use crate::power::{self, Watts};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tandem_plan::place::{Objective, Request};

/// Where the help lists the options.
const HEADING: &str = "Options of a list of devices, over which the model is split";

/// Options of splitting a model.
#[derive(Args, Clone, Debug)]
pub struct PlaceOptions {
    /// What is to be small: the time of one input, the time between inputs of a pipeline, or the energy of one input.
    #[arg(long, help_heading = HEADING, value_enum, default_value = "latency")]
    pub objective: Aim,
    /// Run a node on a device; may be repeated.
    #[arg(long, help_heading = HEADING, value_name = "NODE=DEVICE", value_parser = assignment)]
    pub pin: Vec<(String, String)>,
    /// Run nothing on a device; may be repeated.
    #[arg(long, help_heading = HEADING, value_name = "DEVICE")]
    pub forbid: Vec<String>,
    /// Use at most so much memory of a device; may be repeated.
    #[arg(long, help_heading = HEADING, value_name = "DEVICE=BYTES", value_parser = limit)]
    pub memory: Vec<(String, u64)>,
    /// Let an input take at most so long, whatever is to be small.
    #[arg(long, help_heading = HEADING, value_name = "MS", value_parser = positive)]
    pub latency_ms: Option<f64>,
    /// Take the CPU to be so many times slower than this host: a projection for a smaller one.
    #[arg(long, help_heading = HEADING, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    pub cpu_times: f64,
    /// Plan by what `tandem profile` stored and not by measuring now.
    #[arg(long, help_heading = HEADING, value_name = "COSTS.json")]
    pub costs: Option<PathBuf>,
    /// Power of a device when busy and when idle, for energy; may be repeated.
    #[arg(long, value_name = "DEVICE=BUSY:IDLE", value_parser = power::parse)]
    pub watts: Vec<(String, (f64, f64))>,
}

/// Objectives on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Aim {
    Latency,
    Throughput,
    Energy,
}

impl Default for PlaceOptions {
    fn default() -> PlaceOptions {
        PlaceOptions {
            objective: Aim::Latency,
            pin: Vec::new(),
            forbid: Vec::new(),
            memory: Vec::new(),
            latency_ms: None,
            cpu_times: 1.0,
            costs: None,
            watts: Vec::new(),
        }
    }
}

impl PlaceOptions {
    /// Refuses options that mean nothing where nothing is split.
    ///
    /// # Errors
    /// One sentence naming the first of them.
    pub fn check(&self, is_planned: bool) -> Result<()> {
        let given = [
            ("--objective", self.objective != Aim::Latency),
            ("--pin", !self.pin.is_empty()),
            ("--forbid", !self.forbid.is_empty()),
            ("--memory", !self.memory.is_empty()),
            ("--latency-ms", self.latency_ms.is_some()),
            ("--cpu-times", self.cpu_times != 1.0),
            ("--costs", self.costs.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) if !is_planned => bail!(
                "{option} is for a model that is split: give --device with a list, such as fsim,cpu, or leave {option} out"
            ),
            _ => Ok(()),
        }
    }

    /// What the search is asked for.
    pub fn request(&self) -> Request {
        Request {
            objective: match self.objective {
                Aim::Latency => Objective::Latency,
                Aim::Throughput => Objective::Period,
                Aim::Energy => Objective::Energy,
            },
            pins: self.pin.iter().cloned().collect(),
            forbidden: self.forbid.iter().cloned().collect(),
            memory_bytes: self.memory.iter().cloned().collect(),
            latency_seconds: self.latency_ms.map(|ms| ms / 1e3),
        }
    }

    /// Powers by device, which energy needs of every one.
    ///
    /// # Errors
    /// One sentence naming the device that is not there, or that has no power.
    pub fn watts(&self, names: &[String]) -> Result<Watts> {
        let watts = power::of(&self.watts, names)?;
        match names.iter().find(|name| !watts.contains_key(*name)) {
            Some(name) if self.objective == Aim::Energy => {
                bail!("energy needs the power of every device: give --watts {name}=BUSY:IDLE")
            }
            _ => Ok(watts),
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    // Names of nodes may hold the sign.
    let parts = text.rsplit_once('=').filter(|(name, device)| !name.is_empty() && !device.is_empty());
    parts.map(|(name, device)| (name.to_owned(), device.to_owned())).ok_or_else(|| "write NAME=DEVICE".to_owned())
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, bytes) = assignment(text)?;
    Ok((name, bytes.parse().map_err(|_| "write DEVICE=BYTES with a whole number".to_owned())?))
}
