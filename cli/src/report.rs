//! What a run tells: tables for people, JSON for programs, from the same rows.

use crate::cycles::Cycles;
use crate::machine::{Accelerator, CycleSource};
use crate::placing::shown;
use crate::remote::Remote;
use crate::session::Session;
use crate::table::{grouped, percent, table};
use serde_json::{Value, json};
use std::fmt::Write;
use tandem_driver::Counters;
use tandem_graph::Graph;
use tandem_plan::{Device, Plan, Segment};
use tandem_runtime::Timeline;
use tandem_tensor::{Tensor, TensorType};

/// Samples whose results a table shows.
const SHOWN: usize = 10;

/// The partition as a table, with the sentence on the share of the accelerator.
pub fn partition(plan: &Plan) -> String {
    let header = ["segment", "device", "operators", "MACs", "share", "reason"];
    let rows = plan.rows().into_iter().enumerate().map(|(i, row)| {
        vec![i.to_string(), row.device.to_string(), row.ops, grouped(row.macs), percent(row.share), row.reason]
    });
    let mut text = table(&header, &[0, 3, 4], rows);
    let _ = writeln!(text, "{}", share_sentence(plan));
    text
}

/// Every node with its device, as a table.
pub fn nodes(graph: &Graph, plan: &Plan) -> String {
    let header = ["node", "operator", "result", "MACs", "segment", "device", "reason"];
    let rows = graph.nodes.iter().zip(&plan.assignments).map(|(node, a)| {
        let result = node.outputs.first().map_or_else(String::new, |&id| graph.ty(id).to_string());
        let (segment, device) = (a.segment.to_string(), a.device.to_string());
        vec![node.name.clone(), a.op.clone(), result, grouped(a.macs), segment, device, a.reason.clone()]
    });
    table(&header, &[3, 4], rows)
}

/// The first samples' results: for every output the largest elements.
pub fn results(graph: &Graph, outputs: &[Vec<Tensor>]) -> String {
    let header = ["sample", "output", "type", "largest elements (index: value)"];
    let rows = outputs.iter().take(SHOWN).enumerate().flat_map(|(s, sample)| {
        sample.iter().zip(&graph.outputs).map(move |(tensor, &id)| {
            let value = graph.value(id);
            vec![s.to_string(), value.name.clone(), value.ty.to_string(), largest(tensor, &value.ty)]
        })
    });
    let mut text = table(&header, &[0], rows);
    if outputs.len() > SHOWN {
        let _ = writeln!(text, "and {} more samples; --save-output or --format json gives all", outputs.len() - SHOWN);
    }
    text
}

/// The counters of every accelerator, one sample on average and all together.
pub fn counters(session: &Session) -> String {
    let samples = session.executor.profile().samples();
    let ran = |accelerator: &&Accelerator| session.plan.segments.iter().any(|s| s.device == accelerator.device);
    let mut text = String::new();
    for accelerator in session.machine.accelerators.iter().filter(ran) {
        let rows = vta_rows(session, accelerator).into_iter().map(|(name, unit, total)| {
            vec![format!("{} ({unit})", name.replace('_', " ")), grouped(total / samples.max(1)), grouped(total)]
        });
        let name = accelerator.device.to_string();
        text.push_str(&table(&[&name, "a sample", &format!("{} samples", grouped(samples))], &[1, 2], rows));
        let source = match cycles(session, accelerator) {
            Some(cycles) => {
                text.push_str(&cycles.text());
                ""
            }
            None if accelerator.cycles.is_counted() => "",
            None => "Cycles are an estimate of the functional simulator, not a measurement; ",
        };
        let (hw, digest) = (&accelerator.hw, digest(accelerator));
        let _ = writeln!(text, "{source}MACs count padding lanes too. Configuration {hw} ({digest}).");
    }
    for processor in &session.machine.processors {
        if !session.plan.segments.iter().any(|s| s.device == processor.device) {
            continue;
        }
        let (device, name) = (processor.device, &processor.name);
        let _ = match processor.simulated {
            true => writeln!(text, "{device} is a simulated {name}: its time here says nothing of a GPU"),
            false => writeln!(text, "{device} is {name}"),
        };
    }
    if text.is_empty() { "nothing ran on the VTA\n".to_owned() } else { text }
}

/// The sentences on wall time, on requests that were under way together, and on links.
pub fn latency(session: &Session) -> String {
    let profile = session.executor.profile();
    let Some(median) = profile.median_latency() else { return String::new() };
    let samples = profile.samples();
    let remotes: Vec<&Remote> = session.machine.remotes.iter().map(|(_, remote)| remote).collect();
    let place = if remotes.is_empty() { " on this host" } else { "" };
    let mut text = format!(
        "median wall time {:.3} ms a sample over {samples} samples, running only ({}{place})\n",
        median.as_secs_f64() * 1e3,
        session.device_name(),
    );
    if let Some((in_flight, timeline)) = pipeline(session) {
        let slowest = timeline.slowest().map_or_else(String::new, |load| {
            let each = shown(load.stage_seconds() / timeline.samples.max(1) as f64, "s");
            format!("; the slowest device, {}, takes {each} a sample", session.machine.name(load.device))
        });
        let _ = writeln!(
            text,
            "{in_flight} requests under way: {:.1} samples a second{slowest}: {} of what it alone would reach ({})",
            timeline.throughput(),
            percent(timeline.efficiency()),
            clocks(session),
        );
    }
    text.extend(remotes.iter().map(|remote| remote.text(samples)));
    text
}

/// The requests that were under way together, and the timeline, where there were several.
fn pipeline(session: &Session) -> Option<(usize, Timeline)> {
    let in_flight = session.executor.profile().rounds.iter().map(|round| round.in_flight).max()?;
    (in_flight > 1).then(|| session.timeline()).flatten().map(|timeline| (in_flight, timeline))
}

/// Whose time a timeline is in.
pub fn clocks(session: &Session) -> String {
    let simulated = |accelerator: &Accelerator| accelerator.cycles != CycleSource::Hardware;
    let mhz = session.clock_hz() / 1e6;
    match session.machine.accelerators.iter().any(simulated) {
        _ if session.machine.processors.iter().any(|processor| processor.simulated) => {
            format!("simulated accelerators at {mhz} MHz, simulated GPUs as projected, all else as measured here")
        }
        true => format!("simulated accelerators at {mhz} MHz, all else as measured here"),
        false => "as measured here".to_owned(),
    }
}

/// What several requests under way together reached; null where there was one at a time.
pub fn pipeline_json(session: &Session) -> Value {
    let Some((in_flight, timeline)) = pipeline(session) else { return Value::Null };
    let samples = timeline.samples.max(1) as f64;
    let stages = timeline.loads.iter().map(|load| {
        json!({
            "device": session.machine.name(load.device),
            "compute_s": load.compute_seconds / samples,
            "copies_s": load.copy_seconds / samples,
        })
    });
    json!({
        "in_flight": in_flight,
        "samples": timeline.samples,
        "seconds": timeline.seconds,
        "samples_per_s": timeline.throughput(),
        "stages_per_sample": stages.collect::<Vec<_>>(),
        "slowest": timeline.slowest().map(|load| session.machine.name(load.device)),
        "fraction_of_slowest": timeline.efficiency(),
        "time": clocks(session),
    })
}

/// One entry a sample and output.
pub fn outputs_json(graph: &Graph, outputs: &[Vec<Tensor>]) -> Value {
    let mut entries = Vec::new();
    for (sample, tensors) in outputs.iter().enumerate() {
        for (tensor, &id) in tensors.iter().zip(&graph.outputs) {
            let value = graph.value(id);
            let data: Value = match tensor.to_i64() {
                Some(integers) => json!(integers),
                None => json!(tensor.to_f64()),
            };
            entries.push(json!({
                "sample": sample,
                "name": value.name,
                "dtype": tensor.dtype().name(),
                "shape": tensor.shape(),
                "data": data,
                "argmax": tensor.argmax(),
            }));
        }
    }
    Value::Array(entries)
}

/// The segments of a plan.
pub fn segments_json(plan: &Plan) -> Value {
    let entry = |segment: &Segment| {
        let assigned = segment.nodes.iter().filter_map(|n| plan.assignments.get(n.0));
        let ops: Vec<&str> = assigned.map(|a| a.op.as_str()).collect();
        json!({"device": segment.device, "ops": ops, "macs": segment.macs, "reason": segment.reason})
    };
    plan.segments.iter().map(entry).collect()
}

/// The first accelerator's counters of all samples.
pub fn vta_json(session: &Session) -> Value {
    session.accelerator().map_or(Value::Null, |accelerator| accelerator_json(session, accelerator))
}

fn accelerator_json(session: &Session, accelerator: &Accelerator) -> Value {
    let mut map = serde_json::Map::new();
    for (name, _, total) in vta_rows(session, accelerator) {
        map.insert(name.to_owned(), json!(total));
    }
    if let Some(cycles) = cycles(session, accelerator) {
        map.extend(cycles.json());
    }
    map.insert("config_digest".to_owned(), json!(digest(accelerator)));
    Value::Object(map)
}

/// What the JSON of every verb that runs a model tells of the run.
pub fn session_json(session: &Session) -> serde_json::Map<String, Value> {
    let machine = &session.machine;
    let mut map = serde_json::Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("segments", segments_json(&session.plan));
    put("vta", vta_json(session));
    put("vta_mac_share", json!(session.plan.share(Device::is_vta)));
    put("latency_ms", json!(latency_ms(session)));
    put("arith", json!(session.graph.arith.name()));
    put("hw", json!(session.accelerator().map(|accelerator| &accelerator.hw)));
    put("device", json!(session.device_name()));
    put("pipeline", pipeline_json(session));
    if machine.accelerators.len() > 1 {
        let all = machine.accelerators.iter().map(|accelerator| {
            let (name, counters) = (machine.name(accelerator.device), accelerator_json(session, accelerator));
            json!({"device": accelerator.device, "name": name, "hw": accelerator.hw, "counters": counters})
        });
        put("accelerators", all.collect());
    }
    if let Some((_, remote)) = machine.remotes.first() {
        put("link", remote.json());
    }
    let failures = session.executor.failures().iter().map(|failure| {
        json!({
            "device": failure.device,
            "fallback": failure.fallback,
            "segments": failure.segments,
            "sample": failure.sample,
            "error": failure.error,
        })
    });
    put("failures", failures.collect());
    map
}

/// The whole JSON of a run.
pub fn run_json(session: &Session, outputs: &[Vec<Tensor>], mismatches: Option<usize>) -> Value {
    let mut map = session_json(session);
    map.insert("outputs".to_owned(), outputs_json(&session.graph, outputs));
    map.insert("mismatches".to_owned(), json!(mismatches));
    map.insert("samples".to_owned(), json!(outputs.len()));
    Value::Object(map)
}

/// Percentiles of the wall time of a sample that are told.
const PERCENTILES: [u8; 4] = [50, 90, 99, 100];

/// Percentiles of the wall time of a sample in milliseconds.
pub fn percentiles(session: &Session) -> [(u8, f64); 4] {
    let profile = session.executor.profile();
    PERCENTILES.map(|p| (p, profile.latency_percentile(p.into()).unwrap_or_default().as_secs_f64() * 1e3))
}

/// The same for programs.
pub fn percentiles_json(session: &Session) -> Value {
    let entries = percentiles(session).map(|(p, ms)| (format!("p{p}"), json!(ms)));
    Value::Object(entries.into_iter().collect())
}

/// The median wall time of a sample in milliseconds.
pub fn latency_ms(session: &Session) -> Option<f64> {
    session.executor.profile().median_latency().map(|d| d.as_secs_f64() * 1e3)
}

/// The sentence on the share of accelerators, GPUs and CPUs of other machines.
pub fn share_sentence(plan: &Plan) -> String {
    let macs = grouped(plan.macs());
    let on_gpu = |device| matches!(device, Device::Gpu(_));
    let far = plan.share(|device| matches!(device, Device::FarCpu(_))).filter(|share| *share > 0.0);
    let far = far.map_or_else(String::new, |far| format!(", {} on a CPU of another machine", percent(Some(far))));
    match (plan.share(Device::is_vta), plan.share(on_gpu)) {
        (None, _) => "the model has no multiply-accumulates".to_owned(),
        (share, Some(gpu)) if gpu > 0.0 => {
            format!(
                "{} of the {macs} MACs of a sample run on the GPU and {} on the VTA{far}",
                percent(Some(gpu)),
                percent(share)
            )
        }
        (share, _) => format!("{} of the {macs} MACs of a sample run on the VTA{far}", percent(share)),
    }
}

/// What the simulated hardware did, where the accelerator is such.
fn cycles<'a>(session: &'a Session, accelerator: &'a Accelerator) -> Option<Cycles<'a>> {
    let samples = session.executor.profile().samples();
    let own = session.plan.segments.iter().filter(|s| s.device == accelerator.device);
    Some(Cycles {
        simulation: accelerator.simulation.as_ref()?,
        config: &accelerator.config,
        counters: counted(session, accelerator),
        samples: Some(samples),
        useful_macs: Some(own.map(|s| s.macs).sum::<u64>() * samples),
    })
}

fn counted(session: &Session, accelerator: &Accelerator) -> Counters {
    session.executor.profile().counters(accelerator.device)
}

fn digest(accelerator: &Accelerator) -> String {
    format!("{:#010x}", accelerator.config.digest())
}

fn vta_rows(session: &Session, accelerator: &Accelerator) -> [(&'static str, &'static str, u64); 6] {
    let c = counted(session, accelerator);
    [
        ("macs", "lanes", c.macs(&accelerator.config)),
        ("instructions", "count", c.instructions),
        ("uops", "executions", c.uops()),
        ("bytes_loaded", "bytes", c.bytes_loaded()),
        ("bytes_stored", "bytes", c.bytes_stored()),
        (if accelerator.cycles.is_counted() { "cycles" } else { "cycles_estimate" }, "cycles", c.cycles),
    ]
}

fn largest(tensor: &Tensor, ty: &TensorType) -> String {
    let values = tensor.to_f64();
    let mut order: Vec<usize> = (0..values.len()).collect();
    let key = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    let show = |&i: &usize| {
        let value = key(i);
        match &ty.quant {
            Some(q) if q.is_per_tensor() => {
                let real = f64::from(q.scale()) * (value - f64::from(q.zero_point()));
                format!("{i}: {value} ({real:.4})")
            }
            _ if ty.dtype.is_float() => format!("{i}: {value:.6}"),
            _ => format!("{i}: {value}"),
        }
    };
    order.iter().take(3).map(show).collect::<Vec<_>>().join(", ")
}
