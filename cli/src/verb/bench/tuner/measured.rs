//! Spaces all of whose schedules were measured, as files: a line of JSON that says what they are, and then cycles in the order of
//! the space.

use crate::file;
use crate::tuning::layer::Layer;
use crate::tuning::run::Setting;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tandem_jit::tune::{Oracle, Workload};

/// The version of the files.
const VERSION: u32 = 1;
/// Numbers of a line.
const LINE: usize = 16;

/// What the cycles of a file belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    version: u32,
    layer: String,
    workload: Workload,
    hardware: String,
    dram: String,
    oracle: Oracle,
    /// How many schedules there are.
    points: usize,
    /// A hash of them in their order.
    space: String,
}

/// Cycles of the schedules of a layer, as far as they are measured.
pub struct Measured {
    head: Head,
    /// In the order of the space; 0 for a schedule that failed.
    pub cycles: Vec<u64>,
}

impl Measured {
    /// Nothing yet of a layer.
    pub fn new(layer: &Layer, setting: &Setting) -> Measured {
        let space = layer.task.space();
        let head = Head {
            version: VERSION,
            layer: layer.name.clone(),
            workload: *layer.task.workload(),
            hardware: setting.hardware.clone(),
            dram: setting.dram.clone(),
            oracle: setting.oracle,
            points: space.len(),
            space: format!("{:016x}", space.digest()),
        };
        Measured { head, cycles: Vec::new() }
    }

    /// The file of a layer in a folder.
    pub fn path(folder: &Path, layer: &Layer, setting: &Setting) -> PathBuf {
        folder.join(format!("{}-{}.txt", layer.name.to_lowercase(), setting.hardware))
    }

    /// Reads what was measured of a layer.
    ///
    /// # Errors
    /// One sentence naming the file, where it is of another layer, machine or space.
    pub fn read(path: &Path, layer: &Layer, setting: &Setting) -> Result<Measured> {
        let (text, name) = (file::read_text(path)?, path.display());
        let (head, numbers) = text.split_once('\n').with_context(|| format!("{name}: it has one line only"))?;
        let head: Head = serde_json::from_str(head).map_err(|e| anyhow!("{name}: line 1: {e}"))?;
        let expected = Measured::new(layer, setting).head;
        if head != expected {
            bail!(
                "{name}: it was measured of another layer, machine, memory or of schedules that the compiler has no longer; \
                 measure again with `tandem bench tuner --measure`"
            );
        }
        let cycles = numbers.split_whitespace().map(|number| number.parse().map_err(|e| (number, e)));
        let cycles: Vec<u64> =
            cycles.collect::<Result<_, _>>().map_err(|(number, e)| anyhow!("{name}: '{number}': {e}"))?;
        if cycles.len() > head.points {
            bail!("{name}: it has {} numbers for {} schedules", cycles.len(), head.points);
        }
        Ok(Measured { head, cycles })
    }

    /// Whether every schedule was measured.
    pub fn is_whole(&self) -> bool {
        self.cycles.len() == self.head.points
    }

    /// Writes the file.
    ///
    /// # Errors
    /// One sentence naming it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for line in self.cycles.chunks(LINE) {
            let numbers: Vec<String> = line.iter().map(u64::to_string).collect();
            let _ = writeln!(text, "{}", numbers.join(" "));
        }
        file::replace(path, text.as_bytes())
    }
}
