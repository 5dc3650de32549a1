//! Power of devices, as the user states it: nothing here measures power.

use crate::machine::Machine;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use tandem_runtime::Timeline;

/// Power of devices by name on the command line, busy and idle, in watts.
pub type Watts = BTreeMap<String, (f64, f64)>;

/// The powers of the command line, where all these devices are there.
///
/// # Errors
/// One sentence naming the device that is not there.
pub fn of(given: &[(String, (f64, f64))], names: &[String]) -> Result<Watts> {
    let watts: Watts = given.iter().cloned().collect();
    match watts.keys().find(|name| !names.contains(name)) {
        Some(name) => bail!("--watts {name}: there is no such device; there are {}", names.join(", ")),
        None => Ok(watts),
    }
}

/// Joules of one sample: every device idles or is busy until the last one is done. `None` where a device that worked has no power.
pub fn joules(timeline: &Timeline, watts: &Watts, machine: &Machine) -> Option<f64> {
    let of = |load: &tandem_runtime::Load| {
        let (busy, idle) = watts.get(&machine.name(load.device))?;
        Some(idle * timeline.seconds + (busy - idle) * load.compute_seconds)
    };
    let all: Option<f64> = timeline.loads.iter().map(of).sum();
    Some(all? / timeline.samples.max(1) as f64)
}

/// `DEVICE=BUSY:IDLE`, for clap.
pub fn parse(text: &str) -> Result<(String, (f64, f64)), String> {
    let wrong = || "write DEVICE=BUSY:IDLE in watts, such as cpu=15:5".to_owned();
    let (name, powers) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (busy, idle) = powers.split_once(':').ok_or_else(wrong)?;
    let watts = |text: &str| text.parse::<f64>().ok().filter(|w| w.is_finite() && *w >= 0.0).ok_or_else(wrong);
    Ok((name.to_owned(), (watts(busy)?, watts(idle)?)))
}
