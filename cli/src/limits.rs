//! What machines can do at most: measured in the same run, read from a file, or as it is told.

use crate::file;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tandem_gpu::Device;
use tandem_gpu::peak::{Effort, Peaks};
use tandem_ops::cpu::Level;
use tandem_ops::cpu::peak::Peak;
use tandem_ops::def::Work;
use tandem_tensor::DType;

/// Time for one peak of a processor.
const PEAK_TIME: Duration = Duration::from_millis(300);

/// What a machine can do at most, a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Where the figures are from.
    pub source: String,
    /// Operations on 8-bit integers.
    pub int8_ops: Option<f64>,
    /// Operations on bfloat16.
    pub bf16_flops: Option<f64>,
    /// Operations on binary32.
    pub f32_flops: f64,
    /// Bytes of memory.
    pub memory_bytes: f64,
}

impl Limits {
    /// Those of this processor, measured now.
    ///
    /// # Errors
    /// One sentence, where it lacks the instructions.
    pub fn of_processor(level: Level, threads: usize) -> Result<Limits> {
        let peak = |peak: Peak| peak.measure(level, threads, PEAK_TIME);
        let needed = |what: Peak| peak(what).ok_or_else(|| anyhow!("this processor does not run {level} instructions"));
        Ok(Limits {
            source: format!("measured in this run, {level}, {threads} threads"),
            int8_ops: peak(Peak::Int8),
            bf16_flops: peak(Peak::Bf16),
            f32_flops: needed(Peak::F32)?,
            memory_bytes: needed(Peak::Memory)?,
        })
    }

    /// Those of a file.
    ///
    /// # Errors
    /// One sentence naming the file.
    pub fn of_file(path: &Path) -> Result<Limits> {
        let known = tandem_gpu::Limits::parse(&file::read_text(path)?);
        Ok(known.with_context(|| format!("--limits {}", path.display()))?.into())
    }

    /// Those of a GPU, measured now, or as they are told where something could not be measured.
    ///
    /// # Errors
    /// One sentence with the reason why there is no figure, and what to do.
    pub fn of_gpu(device: &Device, effort: Effort, seed: u64) -> Result<Limits> {
        let name = &device.facts().name;
        let peaks = Peaks::measure(device, effort, seed, |_| ());
        let error = match peaks.limits(name, "measured in this run") {
            Ok(measured) => return Ok(measured.into()),
            Err(error) => error,
        };
        let told = tandem_gpu::Limits::of(name).with_context(|| format!("its peaks cannot be measured: {error}"))?;
        Ok(told_of(told, &error.to_string()).into())
    }

    /// The shortest time for work on elements of this type, and what makes it so.
    pub fn seconds(&self, work: &Work, dtype: DType) -> (f64, &'static str) {
        let flops = match dtype {
            // Where instructions for pairs are slower than those for f32, widening is the better way.
            DType::BF16 | DType::F16 => self.bf16_flops.map_or(self.f32_flops, |rate| rate.max(self.f32_flops)),
            _ => self.f32_flops,
        };
        let arithmetic = work.flops as f64 / flops + work.int_ops as f64 / self.int8_ops.unwrap_or(self.f32_flops);
        let memory = work.dram_bytes as f64 / self.memory_bytes;
        if arithmetic >= memory { (arithmetic, "arithmetic") } else { (memory, "memory") }
    }
}

impl From<tandem_gpu::Limits> for Limits {
    fn from(known: tandem_gpu::Limits) -> Limits {
        Limits {
            source: known.source,
            int8_ops: Some(known.int8_ops),
            bf16_flops: Some(known.bf16_flops),
            f32_flops: known.f32_flops,
            memory_bytes: known.memory_bytes,
        }
    }
}

/// Told figures, with a source that says that they are no more than that.
pub fn told_of(told: tandem_gpu::Limits, why: &str) -> tandem_gpu::Limits {
    tandem_gpu::Limits { source: format!("told, not measured ({why}): {}", told.source), ..told }
}
