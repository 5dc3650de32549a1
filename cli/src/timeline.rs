//! What all devices did, on one time axis: simulated devices on their own clocks, everything else on that of this host.

use crate::machine::Accelerator;
use crate::session::Session;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tandem_plan::Device;
use tandem_runtime::{Replayed, Timeline};

/// The process of the devices; those of units of simulated hardware come behind it.
const DEVICES: usize = 1;

/// The timeline of a session in the trace event format that Chrome and Perfetto read, in microseconds: for every device a track of
/// what it computes and one of copies to it and from it, and for simulated hardware the tracks of its units below each launch.
///
/// # Errors
/// More runs than are recorded.
pub fn chrome(session: &Session) -> Result<String> {
    let cut = || anyhow!("--timeline: there were more runs than a timeline holds; use --limit");
    let timeline = session.timeline().ok_or_else(cut)?;
    let clock_hz = session.clock_hz();
    let mut events = vec![name("process_name", DEVICES, 0, &session.graph.name)];
    let devices: Vec<Device> = timeline.loads.iter().map(|load| load.device).collect();
    for (index, &device) in devices.iter().enumerate() {
        let label = session.machine.name(device);
        events.push(name("thread_name", DEVICES, 2 * index, &label));
        events.push(name("thread_name", DEVICES, 2 * index + 1, &format!("{label} copies")));
    }
    let profile = session.executor.profile();
    for run in &timeline.runs {
        let index = devices.iter().position(|&device| device == run.device).unwrap_or(0);
        let ops = profile.segments.get(run.span.row).map_or("", |segment| segment.ops.as_str());
        let parts = [
            ("copy in", 2 * index + 1, run.stage),
            ("segment", 2 * index, run.compute),
            ("copy out", 2 * index + 1, run.collect),
        ];
        for (what, track, (begin, end)) in parts.into_iter().filter(|(_, _, (begin, end))| end > begin) {
            events.push(json!({
                "name": format!("{what} {}: {ops}", run.span.segment),
                "cat": run.device,
                "ph": "X",
                "pid": DEVICES,
                "tid": track,
                "ts": begin * 1e6,
                "dur": (end - begin) * 1e6,
                "args": {"sample": run.span.sample, "samples": run.span.samples, "cycles": run.span.phases.cycles},
            }));
        }
    }
    for (index, accelerator) in session.machine.accelerators.iter().enumerate() {
        if let Some(simulation) = &accelerator.simulation {
            let units = simulation.timeline()?;
            events.extend(units_of(accelerator, &units, &timeline, clock_hz, DEVICES + 1 + index)?);
        }
    }
    let other = json!({
        "model": session.graph.name,
        "devices": session.device_name(),
        "clock_hz": clock_hz,
        "samples": timeline.samples,
        "seconds": timeline.seconds,
        "time": "microseconds; simulated accelerators on their own clock, all else measured on this host",
    });
    Ok(json!({"traceEvents": events, "displayTimeUnit": "ns", "otherData": other}).to_string())
}

/// The tracks of the units of simulated hardware, each launch moved to where its run stands.
fn units_of(
    accelerator: &Accelerator,
    units: &Value,
    timeline: &Timeline,
    clock_hz: f64,
    process: usize,
) -> Result<Vec<Value>> {
    let whole =
        || anyhow!("--timeline: the records of the simulated hardware are not those of the runs; this is a bug");
    let mut runs: Vec<&Replayed> = timeline.runs.iter().filter(|run| run.device == accelerator.device).collect();
    runs.sort_by(|a, b| a.compute.0.total_cmp(&b.compute.0));
    let records = units["traceEvents"].as_array().ok_or_else(whole)?;
    let slices = || records.iter().filter(|event| event["ph"] == "X");
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or_default();
    let mut launches: Vec<f64> =
        slices().filter(|event| event["cat"] == "launch").map(|event| number(event, "ts")).collect();
    launches.sort_by(f64::total_cmp);
    let mut events: Vec<Value> = Vec::with_capacity(records.len());
    let each = (launches.len() / runs.len().max(1)).max(1);
    let microseconds = 1e6 / clock_hz;
    for event in records {
        let mut event = event.clone();
        event["pid"] = json!(process);
        if event["name"] == "process_name" {
            event["args"]["name"] = json!(format!("units of the {}", accelerator.device));
        }
        if event["ph"] == "X" {
            let (begin, cycles) = (number(&event, "ts"), number(&event, "dur"));
            let launch = launches.partition_point(|&launch| launch <= begin).saturating_sub(1);
            // A run of more samples than the device takes at a time is several launches, which follow each other.
            let (run, first) = (launch / each, launch / each * each);
            let run = runs.get(run).ok_or_else(whole)?;
            let since = begin - launches.get(first).copied().unwrap_or_default();
            event["ts"] = json!(run.compute.0 * 1e6 + since * microseconds);
            event["dur"] = json!(cycles * microseconds);
        }
        events.push(event);
    }
    Ok(events)
}

fn name(what: &str, process: usize, track: usize, name: &str) -> Value {
    json!({"name": what, "ph": "M", "pid": process, "tid": track, "args": {"name": name}})
}
