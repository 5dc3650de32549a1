//! Options of the verbs that measure schedules: on what, and by whom.

use super::crew::Processes;
use super::run::Setting;
use crate::simulation::{self, memory_name};
use crate::{hardware, verilated};
use anyhow::Result;
use clap::{Args, ValueEnum};
use tandem_isa::HwConfig;
use tandem_jit::tune::{Oracle, Record};
use tandem_sim::tsim::{DramModel, Variant};

/// On what schedules are measured.
#[derive(Args)]
pub struct MeterOptions {
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    pub hw: String,
    /// Timing of the memory: ideal, zynq, or numbers: cycles, bits a cycle, bursts in flight [default: zynq].
    #[arg(long, value_parser = simulation::dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    dram: Option<DramModel>,
    /// What tells cycles: the simulated hardware, whose results are compared with the reference too, or a prediction of them.
    #[arg(long, value_enum, default_value = "tsim")]
    pub oracle: OracleKind,
    /// Processes that measure at the same time on this machine.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
}

/// Oracles on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OracleKind {
    /// The simulated hardware.
    Tsim,
    /// A prediction.
    Analytic,
}

impl MeterOptions {
    /// The accelerator.
    ///
    /// # Errors
    /// One sentence, where there is none of that name.
    pub fn config(&self) -> Result<HwConfig> {
        hardware::resolve(&self.hw)
    }

    /// The memory.
    pub fn dram(&self) -> DramModel {
        self.dram.unwrap_or_default()
    }

    /// What measurements belong to.
    pub fn setting(&self, config: &HwConfig, seed: u64) -> Setting {
        let hardware = Record::hardware(config.digest());
        Setting { hardware, dram: memory_name(&self.dram()), oracle: self.oracle.oracle(), seed }
    }

    /// Processes of this machine; the model of the hardware is built before they all need it.
    ///
    /// # Errors
    /// A tool that is missing, a build that fails, a process that does not start.
    pub fn processes(&self, config: &HwConfig) -> Result<Processes> {
        if self.oracle == OracleKind::Tsim {
            verilated::model(config, None, Variant::default())?;
        }
        Processes::start(self.workers as usize)
    }
}

impl OracleKind {
    /// As logs have it.
    pub fn oracle(self) -> Oracle {
        match self {
            OracleKind::Tsim => Oracle::Tsim,
            OracleKind::Analytic => Oracle::Analytic,
        }
    }

    /// What its cycles are, for people.
    pub fn words(self) -> &'static str {
        match self {
            OracleKind::Tsim => "counted by the simulated hardware",
            OracleKind::Analytic => "predicted",
        }
    }
}
