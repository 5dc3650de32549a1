//! What `nvidia-smi` tells of a GPU, where there is one: facts, and clocks while something runs.

use crate::process::{self, Scratch};
use crate::tools;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for it to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Milliseconds from one sample of the clocks to the next.
const PERIOD_MS: u32 = 50;

/// What is asked for once.
const FACTS: &[&str] = &[
    "name",
    "driver_version",
    "vbios_version",
    "power.limit",
    "clocks.max.sm",
    "clocks.max.memory",
    "clocks.current.sm",
    "clocks.current.memory",
    "temperature.gpu",
    "persistence_mode",
    "ecc.mode.current",
    "mig.mode.current",
    "pcie.link.gen.current",
    "pcie.link.width.current",
    "compute_mode",
];

/// Each fact by the name that `nvidia-smi` has for it, null where it does not tell; `None` without a `nvidia-smi` that answers.
pub fn facts(pci: &str, scratch: &Scratch) -> Option<Value> {
    let mut command = Command::new(tools::on_path("nvidia-smi")?);
    command.args(["-i", pci, &format!("--query-gpu={}", FACTS.join(",")), "--format=csv,noheader,nounits"]);
    let ended = process::run(&mut command, scratch, PATIENCE).ok().filter(|ended| ended.code == Some(0))?;
    read_facts(ended.stdout.lines().next()?)
}

fn read_facts(line: &str) -> Option<Value> {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    let value = |text: &str| match text.parse::<f64>() {
        Ok(number) => json!(number),
        Err(_) if text.is_empty() || text.starts_with('[') => Value::Null,
        Err(_) => json!(text),
    };
    // A version may look like a number.
    let of = |name: &str, text: &str| if name.ends_with("version") { json!(text) } else { value(text) };
    let facts: Map<String, Value> =
        FACTS.iter().zip(&values).map(|(name, text)| ((*name).to_owned(), of(name, text))).collect();
    (values.len() == FACTS.len()).then_some(Value::Object(facts))
}

/// Clocks and power while something ran: medians of the samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clocks {
    /// Of the multiprocessors.
    sm_mhz: f64,
    /// Of the memory.
    memory_mhz: f64,
    /// What the board takes.
    power_w: f64,
    /// Of the chip.
    temperature_c: f64,
    /// How many samples there are.
    samples: usize,
}

type Samples = Arc<Mutex<Vec<(Instant, [f64; 4])>>>;

/// Samples of the clocks, taken by another process till the end of this value.
pub struct Watch {
    child: Child,
    samples: Samples,
}

impl Watch {
    /// Begins to take samples; `None` without `nvidia-smi`.
    pub fn start(pci: &str) -> Option<Watch> {
        let query = "--query-gpu=clocks.current.sm,clocks.current.memory,power.draw,temperature.gpu";
        let mut command = Command::new(tools::on_path("nvidia-smi")?);
        command.args(["-i", pci, query, "--format=csv,noheader,nounits", "-lms", &PERIOD_MS.to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let samples = Samples::default();
        let (out, to) = (child.stdout.take()?, Arc::clone(&samples));
        // The thread ends with the pipe, when the process does.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let numbers: Vec<f64> = line.split(',').filter_map(|text| text.trim().parse().ok()).collect();
                if let Ok(sample) = <[f64; 4]>::try_from(numbers) {
                    to.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), sample));
                }
            }
        });
        Some(Watch { child, samples })
    }

    /// The clocks since a moment; `None` where no sample is of that time.
    pub fn since(&self, begin: Instant) -> Option<Clocks> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        medians(samples.iter().filter(|(at, _)| *at >= begin).map(|(_, sample)| *sample).collect())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        process::end(&mut self.child);
    }
}

fn medians(samples: Vec<[f64; 4]>) -> Option<Clocks> {
    let median = |of: usize| {
        let mut all: Vec<f64> = samples.iter().map(|sample| sample[of]).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    Some(Clocks {
        sm_mhz: median(0)?,
        memory_mhz: median(1)?,
        power_w: median(2)?,
        temperature_c: median(3)?,
        samples: samples.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_null_and_numbers_are_numbers() {
        let line = "NVIDIA H200, 580.95, 96.00.B7, 700.00, 1980, 3201, 345, 3201, 31, Enabled, Enabled, Disabled, 5, 16, [N/A]";
        let facts = read_facts(line).unwrap();
        assert_eq!((&facts["driver_version"], &facts["power.limit"]), (&json!("580.95"), &json!(700.0)));
        assert_eq!((&facts["compute_mode"], &facts["ecc.mode.current"]), (&Value::Null, &json!("Enabled")));
        assert_eq!(read_facts("No devices were found"), None);
    }

    #[test]
    fn clocks_are_the_medians_of_the_samples() {
        let clocks = medians(vec![[1.0, 9.0, 5.0, 30.0], [3.0, 9.0, 7.0, 31.0], [2.0, 9.0, 6.0, 32.0]]).unwrap();
        assert_eq!((clocks.sm_mhz, clocks.power_w, clocks.temperature_c, clocks.samples), (2.0, 6.0, 31.0, 3));
        assert_eq!(medians(Vec::new()), None);
    }
}
