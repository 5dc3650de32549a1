//! Simulated accelerators as devices of the command line: the functional simulator, and the hardware cycle by cycle, with its options
//! and what it leaves behind.

use crate::{file, verilated};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::Device;
use tandem_isa::HwConfig;
use tandem_sim::tsim::{Activity, DramModel, Model, TsimBus, TsimMonitor, TsimOptions, Variant};
use tandem_sim::{FsimBus, Options};

/// Memory that a simulated device may grow to, in bytes.
pub const DRAM_LIMIT: u64 = 3 << 30;
/// Wall-clock time for one run of simulated hardware, whose own watchdog finds out when it hangs.
pub const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Where the help lists the options.
const HEADING: &str = "Options of --device tsim";
/// Bursts that the memory model can have in flight.
const BURSTS: std::ops::RangeInclusive<u32> = 1..=256;

/// Options of `--device tsim`.
#[derive(Args, Clone, Debug, Default)]
pub struct SimulationOptions {
    /// Timing of the memory: ideal (answers in the next cycle), zynq (40 cycles, 64 bits a cycle, 8 bursts), or numbers: cycles,
    /// bits a cycle, bursts in flight [default: zynq].
    #[arg(long, help_heading = HEADING, value_parser = dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    pub dram: Option<DramModel>,
    /// Hold up every channel of the memory bus at random, from this seed [default seed: 1]; results must not depend on it.
    #[arg(long, help_heading = HEADING, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub stress: Option<u64>,
    /// Write what every device did and when, and each unit of simulated hardware; Chrome and Perfetto open it.
    #[arg(long, value_name = "OUT.json")]
    pub timeline: Option<PathBuf>,
    /// Record every signal; waveform viewers open it. This needs a model of its own and makes it slower.
    #[arg(long, help_heading = HEADING, value_name = "OUT.fst")]
    pub waves: Option<PathBuf>,
    /// Run programs that the functional simulator refuses, to see what the hardware makes of them.
    #[arg(long, help_heading = HEADING)]
    pub no_check: bool,
    /// Cycles without progress after which the hardware counts as hanging [default: 100000].
    #[arg(long, help_heading = HEADING, value_name = "CYCLES", value_parser = clap::value_parser!(u64).range(1..))]
    pub watchdog: Option<u64>,
}

/// A simulation under way: the way into it, and what it was asked for.
pub struct Simulation {
    options: SimulationOptions,
    monitor: TsimMonitor,
}

impl SimulationOptions {
    /// Refuses options that mean nothing for a device that is not the simulated hardware.
    ///
    /// # Errors
    /// One sentence naming the first of them.
    pub fn check(&self, is_tsim: bool) -> Result<()> {
        let given = [
            ("--dram", self.dram.is_some()),
            ("--stress", self.stress.is_some()),
            ("--waves", self.waves.is_some()),
            ("--no-check", self.no_check),
            ("--watchdog", self.watchdog.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) if !is_tsim => {
                bail!("{option} is for the simulated hardware: give --device tsim with it, or leave it out")
            }
            _ => Ok(()),
        }
    }

    /// The timing of the memory.
    pub fn memory(&self) -> DramModel {
        self.dram.unwrap_or_default()
    }

    /// The model of a configuration, built where it is not in the cache.
    ///
    /// # Errors
    /// One sentence: a tool that is missing, or where the log of a failed build is.
    pub fn model(&self, config: &HwConfig) -> Result<Arc<Model>> {
        verilated::model(config, None, Variant { waves: self.waves.is_some(), ..Variant::default() })
    }

    /// A device of a model for programs, and the way into it.
    ///
    /// # Errors
    /// As [`SimulationOptions::open`].
    pub fn device(&self, model: Arc<Model>) -> Result<(Device, Simulation)> {
        let config = model.config().clone();
        let (bus, simulation) = self.open(model, false, DRAM_LIMIT)?;
        let device = Device::open(Box::new(bus), &config).map_err(|e| anyhow!("the simulated hardware: {e}"))?;
        Ok((device, simulation))
    }

    /// The bus of a model, and the way into it. `dram_limit` is what its memory may grow to, in bytes.
    ///
    /// # Errors
    /// A waveform file that cannot be written.
    pub fn open(&self, model: Arc<Model>, trace: bool, dram_limit: u64) -> Result<(TsimBus, Simulation)> {
        let defaults = TsimOptions::default();
        let options = TsimOptions {
            dram: self.memory(),
            stress: self.stress,
            trace,
            timeline: self.timeline.is_some(),
            check: !self.no_check,
            watchdog_cycles: self.watchdog.unwrap_or(defaults.watchdog_cycles),
            waves: self.waves.clone(),
            dram_limit,
            ..defaults
        };
        let bus = TsimBus::new(model, options).context("the simulated hardware")?;
        let monitor = bus.monitor();
        Ok((bus, Simulation { options: self.clone(), monitor }))
    }
}

impl Simulation {
    /// What the units did in all launches.
    pub fn activity(&self) -> Activity {
        self.monitor.total_activity()
    }

    /// The events of the last launch.
    pub fn trace(&self) -> tandem_isa::Trace {
        self.monitor.trace()
    }

    /// The timing of the memory.
    pub fn memory(&self) -> DramModel {
        self.options.memory()
    }

    /// The seed of the stress, where there is any.
    pub fn stress(&self) -> Option<u64> {
        self.options.stress
    }

    /// Writes the timeline and completes the waveforms, where they were asked for.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(&self) -> Result<()> {
        if let Some(path) = &self.options.timeline {
            let mut text = Vec::new();
            self.monitor.timeline().write(&mut text).map_err(|e| anyhow!("{}: {e}", path.display()))?;
            file::write(path, &text)?;
        }
        self.finish_waves()
    }

    /// Completes the waveforms, where they were asked for.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish_waves(&self) -> Result<()> {
        Ok(self.monitor.finish_waves()?)
    }

    /// What each unit did in all launches, in cycles.
    ///
    /// # Errors
    /// Never, unless memory is exhausted.
    pub fn timeline(&self) -> Result<serde_json::Value> {
        let mut text = Vec::new();
        self.monitor.timeline().write(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// The functional simulator as a device.
///
/// # Errors
/// One sentence, where it does not answer as a device of this configuration.
pub fn functional(config: &HwConfig) -> Result<Device> {
    let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
    Device::open(Box::new(bus), config).map_err(|e| anyhow!("the functional simulator: {e}"))
}

/// The name of a memory: that of its preset, or its numbers as the command line takes them.
pub fn memory_name(memory: &DramModel) -> String {
    let preset = DramModel::presets().into_iter().find(|name| DramModel::preset(name).as_ref() == Some(memory));
    let numbers = || format!("{},{},{}", memory.latency, memory.bits_per_cycle, memory.outstanding_reads);
    preset.map_or_else(numbers, str::to_owned)
}

/// A memory in words.
pub fn memory_words(memory: &DramModel) -> String {
    let width = match memory.bits_per_cycle {
        DramModel::UNLIMITED => "as wide as the bus".to_owned(),
        bits => format!("{bits} bits a cycle"),
    };
    format!(
        "memory '{}' ({} cycle{} latency, {width}, {} bursts in flight)",
        memory_name(memory),
        memory.latency,
        if memory.latency == 1 { "" } else { "s" },
        memory.outstanding_reads
    )
}

/// A memory for programs.
pub fn memory_json(memory: &DramModel) -> serde_json::Value {
    serde_json::json!({
        "name": memory_name(memory),
        "latency_cycles": memory.latency,
        "bits_per_cycle": (memory.bits_per_cycle != DramModel::UNLIMITED).then_some(memory.bits_per_cycle),
        "outstanding_reads": memory.outstanding_reads,
        "outstanding_writes": memory.outstanding_writes,
    })
}

/// A memory, for clap.
pub fn dram(text: &str) -> Result<DramModel, String> {
    if let Some(preset) = DramModel::preset(text) {
        return Ok(preset);
    }
    const USAGE: &str = "use ideal, zynq, or LATENCY,BITS,OUTSTANDING such as 40,64,8";
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    let Ok([latency, bits_per_cycle, outstanding]) = numbers.as_deref() else { return Err(USAGE.to_owned()) };
    if *latency == 0 || *bits_per_cycle == 0 {
        return Err("a memory has a latency and a width of at least 1".to_owned());
    }
    if !BURSTS.contains(outstanding) {
        return Err(format!("between {} and {} bursts can be in flight", BURSTS.start(), BURSTS.end()));
    }
    let (latency, bits_per_cycle) = (*latency, *bits_per_cycle);
    Ok(DramModel { latency, bits_per_cycle, outstanding_reads: *outstanding, outstanding_writes: *outstanding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_go_by_name_or_by_number() {
        assert_eq!(dram("ideal"), Ok(DramModel::ideal()));
        assert_eq!(Some(DramModel::zynq()), Some(SimulationOptions::default().memory()));
        let slow = dram("100, 32,4").unwrap();
        assert_eq!((slow.latency, slow.bits_per_cycle, slow.outstanding_writes), (100, 32, 4));
        assert_eq!(memory_name(&slow), "100,32,4");
        assert_eq!(memory_name(&dram("40,64,8").unwrap()), "zynq");
        for wrong in ["", "fast", "1,2", "0,64,8", "1,0,8", "1,64,0", "1,64,257", "1,64,8,8", "-1,64,8"] {
            assert!(dram(wrong).is_err(), "{wrong}");
        }
    }
}
