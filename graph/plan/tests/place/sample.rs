//! Random problems.

use tandem_plan::place::{Candidate, Cost, Device, Link, Machine, Node, Objective, Request, Spec, Value};

/// Numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
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
    if r.chance(50) { (1 + r.below(most)) as f64 * 1e-3 } else { r.below(1000 * most) as f64 * 1.1e-6 }
}

pub fn spec(r: &mut Random, shape: Shape) -> Spec {
    let devices: Vec<Device> = (0..shape.devices)
        .map(|d| {
            let idle_watts = if shape.idle { r.below(4) as f64 } else { 0.0 };
            Device {
                name: NAMES[d].to_owned(),
                memory_bytes: if r.chance(30) { 200 + r.below(1500) as u64 } else { 1 << 30 },
                busy_watts: idle_watts + r.below(20) as f64,
                idle_watts,
                launch_seconds: if r.chance(50) { milliseconds(r, 3) } else { 0.0 },
            }
        })
        .collect();
    let mut links = Vec::new();
    for from in 0..shape.devices {
        for to in (0..shape.devices).filter(|&to| to != from) {
            if !r.chance(shape.gaps_percent) {
                links.push(Link {
                    from,
                    to,
                    latency_seconds: r.below(1 + shape.transfer) as f64 * 0.3e-3,
                    bytes_per_second: if shape.transfer == 0 { 1e9 } else { 100e3 / shape.transfer as f64 },
                    joules_per_byte: r.below(1 + shape.transfer) as f64 * 1e-5,
                });
            }
        }
    }
    let host = if r.chance(80) { 0 } else { r.below(shape.devices) };
    let bytes = |r: &mut Random| r.below(5) as u64 * 50;
    let mut values = Vec::new();
    for i in 0..r.below(3) {
        values.push(Value { name: format!("x{i}"), bytes: bytes(r), maker: None });
    }
    let mut nodes = Vec::new();
    for n in 0..shape.nodes {
        let mut reads = Vec::new();
        if !values.is_empty() {
            let first = values.len().saturating_sub(shape.reach);
            for _ in 0..r.below(4) {
                reads.push(first + r.below(values.len() - first));
            }
        }
        let made = if r.chance(10) { 2 } else { 1 };
        for k in 0..made {
            values.push(Value { name: format!("v{n}.{k}"), bytes: bytes(r), maker: Some(n) });
        }
        let runs = r.below(shape.devices);
        let candidates = (0..shape.devices).map(|d| {
            if d != runs && r.chance(shape.refusals_percent) {
                return Candidate::Refuses("not there".to_owned());
            }
            Candidate::Runs(Cost {
                seconds: milliseconds(r, 9),
                held_bytes: r.below(4) as u64 * 40,
                work_bytes: r.below(3) as u64 * 30,
                joules: r.below(5) as f64 * 5e-3,
            })
        });
        nodes.push(Node { name: format!("n{n}"), reads, candidates: candidates.collect() });
    }
    let mut outputs = vec![values.len() - 1];
    if r.chance(40) {
        outputs.push(r.below(values.len()));
    }
    Spec { machine: Machine { devices, links, host }, values, nodes, outputs }
}

/// Constraints, with a latency bound near a given one.
pub fn request(r: &mut Random, spec: &Spec, objective: Objective, latency: Option<f64>) -> Request {
    let mut request = Request::of(objective);
    if r.chance(30) {
        let device = r.below(spec.machine.devices.len());
        request.pins.insert(format!("n{}", r.below(spec.nodes.len())), NAMES[device].to_owned());
    }
    if r.chance(10) {
        request.forbidden.insert(NAMES[r.below(spec.machine.devices.len())].to_owned());
    }
    if r.chance(25) {
        request.memory_bytes.insert(NAMES[r.below(spec.machine.devices.len())].to_owned(), r.below(1200) as u64);
    }
    if let Some(latency) = latency.filter(|_| r.chance(30)) {
        request.latency_seconds = Some(latency * (0.9 + r.below(10) as f64 * 0.1));
    }
    request
}
