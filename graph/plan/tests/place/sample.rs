//! Random problems.

use tandem_ops::def::Random;
use tandem_plan::place::{Candidate, Cost, Device, Link, Machine, Node, Objective, Request, Spec, Value};

fn chance(r: &mut Random, percent: usize) -> bool {
    r.within(0, 100) < percent
}

/// How problems look.
#[derive(Clone, Copy)]
pub struct Shape {
    pub nodes: usize,
    pub devices: usize,
    /// Nodes that refuse a device.
    pub refusals_percent: usize,
    /// Pairs of devices without a link.
    pub gaps_percent: usize,
    /// How far back a node reads.
    pub reach: usize,
    /// Transfers beside computing: 0 for none to speak of.
    pub transfer: usize,
    pub idle: bool,
}

/// Names of the devices.
pub const NAMES: [&str; 4] = ["cpu", "fpga", "gpu", "npu"];

/// Times in milliseconds that sums of which have ties, and others.
fn milliseconds(r: &mut Random, most: usize) -> f64 {
    if chance(r, 50) { (1 + r.within(0, most)) as f64 * 1e-3 } else { r.within(0, 1000 * most) as f64 * 1.1e-6 }
}

pub fn spec(r: &mut Random, shape: Shape) -> Spec {
    let devices: Vec<Device> = (0..shape.devices)
        .map(|d| {
            let idle_watts = if shape.idle { r.within(0, 4) as f64 } else { 0.0 };
            Device {
                name: NAMES[d].to_owned(),
                memory_bytes: if chance(r, 30) { 200 + r.within(0, 1500) as u64 } else { 1 << 30 },
                busy_watts: idle_watts + r.within(0, 20) as f64,
                idle_watts,
                launch_seconds: if chance(r, 50) { milliseconds(r, 3) } else { 0.0 },
            }
        })
        .collect();
    let mut links = Vec::new();
    for from in 0..shape.devices {
        for to in (0..shape.devices).filter(|&to| to != from) {
            if !chance(r, shape.gaps_percent) {
                links.push(Link {
                    from,
                    to,
                    latency_seconds: r.within(0, 1 + shape.transfer) as f64 * 0.3e-3,
                    bytes_per_second: if shape.transfer == 0 { 1e9 } else { 100e3 / shape.transfer as f64 },
                    joules_per_byte: r.within(0, 1 + shape.transfer) as f64 * 1e-5,
                });
            }
        }
    }
    let host = if chance(r, 80) { 0 } else { r.within(0, shape.devices) };
    let bytes = |r: &mut Random| r.within(0, 5) as u64 * 50;
    let mut values = Vec::new();
    for i in 0..r.within(0, 3) {
        values.push(Value { name: format!("x{i}"), bytes: bytes(r), maker: None });
    }
    let mut nodes = Vec::new();
    for n in 0..shape.nodes {
        let mut reads = Vec::new();
        if !values.is_empty() {
            let first = values.len().saturating_sub(shape.reach);
            for _ in 0..r.within(0, 4) {
                reads.push(first + r.within(0, values.len() - first));
            }
        }
        let made = if chance(r, 10) { 2 } else { 1 };
        for k in 0..made {
            values.push(Value { name: format!("v{n}.{k}"), bytes: bytes(r), maker: Some(n) });
        }
        let runs = r.within(0, shape.devices);
        let candidates = (0..shape.devices).map(|d| {
            if d != runs && chance(r, shape.refusals_percent) {
                return Candidate::Refuses("not there".to_owned());
            }
            Candidate::Runs(Cost {
                seconds: milliseconds(r, 9),
                held_bytes: r.within(0, 4) as u64 * 40,
                work_bytes: r.within(0, 3) as u64 * 30,
                joules: r.within(0, 5) as f64 * 5e-3,
            })
        });
        nodes.push(Node { name: format!("n{n}"), reads, candidates: candidates.collect() });
    }
    let mut outputs = vec![values.len() - 1];
    if chance(r, 40) {
        outputs.push(r.within(0, values.len()));
    }
    Spec { machine: Machine { devices, links, host }, values, nodes, outputs }
}

/// Constraints, with a latency bound near a given one.
pub fn request(r: &mut Random, spec: &Spec, objective: Objective, latency: Option<f64>) -> Request {
    let mut request = Request::of(objective);
    if chance(r, 30) {
        let device = r.within(0, spec.machine.devices.len());
        request.pins.insert(format!("n{}", r.within(0, spec.nodes.len())), NAMES[device].to_owned());
    }
    if chance(r, 10) {
        request.forbidden.insert(NAMES[r.within(0, spec.machine.devices.len())].to_owned());
    }
    if chance(r, 25) {
        request
            .memory_bytes
            .insert(NAMES[r.within(0, spec.machine.devices.len())].to_owned(), r.within(0, 1200) as u64);
    }
    if let Some(latency) = latency.filter(|_| chance(r, 30)) {
        request.latency_seconds = Some(latency * (0.9 + r.within(0, 10) as f64 * 0.1));
    }
    request
}
