//! What a run tells: tables for people, JSON for programs, from the same rows.

use crate::session::Session;
use crate::table::{grouped, percent, table};
use serde_json::{Value, json};
use std::fmt::Write;
use tandem_graph::Graph;
use tandem_plan::{Device, Plan, Segment};
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

/// The accelerator's counters, one sample on average and all together.
pub fn counters(session: &Session) -> String {
    let profile = session.executor.profile();
    let samples = profile.samples().max(1);
    if session.plan.segments.iter().all(|s| s.device == Device::Cpu) {
        return "nothing ran on the VTA\n".to_owned();
    }
    let rows = vta_rows(session).into_iter().map(|(name, unit, total)| {
        vec![format!("{} ({unit})", name.replace('_', " ")), grouped(total / samples), grouped(total)]
    });
    let mut text = table(&["VTA", "a sample", &format!("{} samples", grouped(profile.samples()))], &[1, 2], rows);
    let source = match session.cycles() {
        Some(cycles) => {
            text.push_str(&cycles.text());
            ""
        }
        None if session.measured => "",
        None => "Cycles are an estimate of the functional simulator, not a measurement; ",
    };
    let _ = writeln!(text, "{source}MACs count padding lanes too. Configuration {} ({}).", session.hw, digest(session));
    text
}

/// The sentence on wall time, and the one on the link where there is one.
pub fn latency(session: &Session, device: &str) -> String {
    let profile = session.executor.profile();
    match profile.median_latency() {
        None => String::new(),
        Some(median) => {
            let place = if session.remote.is_some() { "" } else { " on this host" };
            let link = session.remote.as_ref().map(|remote| remote.text(profile.samples())).unwrap_or_default();
            format!(
                "median wall time {:.3} ms a sample over {} samples, running only ({device}{place})\n{link}",
                median.as_secs_f64() * 1e3,
                profile.samples()
            )
        }
    }
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

/// The accelerator's counters of all samples.
pub fn vta_json(session: &Session) -> Value {
    let mut map = serde_json::Map::new();
    for (name, _, total) in vta_rows(session) {
        map.insert(name.to_owned(), json!(total));
    }
    if let Some(cycles) = session.cycles() {
        map.extend(cycles.json());
    }
    map.insert("config_digest".to_owned(), json!(digest(session)));
    Value::Object(map)
}

/// What a device of another machine adds to a run's JSON: its link, and how it failed where it did.
pub fn add_remote(value: &mut Value, session: &Session) {
    if let (Some(map), Some(remote)) = (value.as_object_mut(), &session.remote) {
        map.insert("link".to_owned(), remote.json());
        let failures = session.executor.failures().iter().map(|failure| {
            json!({
                "device": failure.device,
                "fallback": failure.fallback,
                "segments": failure.segments,
                "sample": failure.sample,
                "error": failure.error,
            })
        });
        map.insert("failures".to_owned(), failures.collect());
    }
}

/// The whole JSON of a run.
pub fn run_json(session: &Session, outputs: &[Vec<Tensor>], mismatches: Option<usize>) -> Value {
    let mut value = json!({
        "outputs": outputs_json(&session.graph, outputs),
        "mismatches": mismatches,
        "segments": segments_json(&session.plan),
        "vta": vta_json(session),
        "vta_mac_share": session.plan.share(Device::Vta),
        "latency_ms": latency_ms(session),
        "samples": outputs.len(),
        "arith": session.graph.arith.name(),
        "hw": session.hw,
    });
    add_remote(&mut value, session);
    value
}

/// The median wall time of a sample in milliseconds.
pub fn latency_ms(session: &Session) -> Option<f64> {
    session.executor.profile().median_latency().map(|d| d.as_secs_f64() * 1e3)
}

/// The sentence on the share of the accelerator.
pub fn share_sentence(plan: &Plan) -> String {
    match plan.share(Device::Vta) {
        None => "the model has no multiply-accumulates".to_owned(),
        share => format!("{} of the {} MACs of a sample run on the VTA", percent(share), grouped(plan.macs())),
    }
}

fn digest(session: &Session) -> String {
    format!("{:#010x}", session.config.digest())
}

fn vta_rows(session: &Session) -> [(&'static str, &'static str, u64); 6] {
    let c = session.executor.profile().counters();
    [
        ("macs", "lanes", c.macs(&session.config)),
        ("instructions", "count", c.instructions),
        ("uops", "executions", c.uops()),
        ("bytes_loaded", "bytes", c.bytes_loaded()),
        ("bytes_stored", "bytes", c.bytes_stored()),
        (if session.measured { "cycles" } else { "cycles_estimate" }, "cycles", c.cycles),
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
