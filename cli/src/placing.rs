//! What a model's nodes take on the devices at hand, and the problem of placing them.

use crate::options::{DeviceChoice, DeviceKind, DeviceOptions};
use crate::session;
use crate::simulation::SimulationOptions;
use anyhow::{Result, anyhow};
use std::collections::{BTreeMap, HashMap};
use tandem_graph::{Graph, NodeId, ValueId};
use tandem_plan::place::{self, Candidate, Cost, Explanation, Link, Machine, Placement, Price, Problem, Request};
use tandem_plan::{Choice, Device, Plan, alone, assign, problem};
use tandem_runtime::{Copied, Taken};

/// Memory that the host is taken to have.
const HOST_MEMORY: u64 = 16 << 30;
/// Clock that an accelerator is taken to have where nothing says otherwise.
pub const CLOCK_HZ: f64 = 100e6;

/// Where a node's time on the accelerator comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Cycles that the functional simulator estimates.
    Estimated,
    /// Cycles that hardware counts, simulated or not.
    Counted,
}

/// What is known of a model's nodes on devices: the accelerator and this host.
pub struct Costs {
    /// Names of the devices as on the command line: the host first, then the accelerator.
    pub names: Vec<String>,
    /// For every device and node, what it took or why it does not run there.
    pub taken: Vec<Vec<Result<Taken, String>>>,
    /// Cycles a second of the accelerator.
    pub clock_hz: f64,
    /// Where its cycles come from.
    pub source: Source,
    /// How many times slower the CPU is taken to be than this host.
    pub cpu_times: f64,
    /// Power of the devices by name, busy and idle, in watts.
    pub watts: BTreeMap<String, (f64, f64)>,
}

/// A placement with everything that explains it.
pub struct Placed {
    /// What was placed.
    pub problem: Problem,
    /// What was asked for.
    pub request: Request,
    /// The answer.
    pub placement: Placement,
    /// The prices of all other answers that differ in one node.
    pub explanation: Explanation,
    /// The answer as segments.
    pub plan: Plan,
}

/// The device of a plan that an index of the machine stands for.
pub const DEVICES: [Device; 2] = [Device::Cpu, Device::Vta];

impl Costs {
    /// Measures every node on this host and on the accelerator of the options.
    ///
    /// # Errors
    /// One sentence: a device that cannot be opened, or that failed.
    pub fn measure(graph: &Graph, options: &DeviceOptions, clock_hz: f64) -> Result<Costs> {
        let (mut backends, counted) = session::backends(options)?;
        let bar = session::bar(graph.nodes.len() * backends.len());
        let mut measured: Vec<(Device, Vec<Result<Taken, String>>)> = Vec::new();
        for backend in &mut backends {
            let taken = backend.measure(graph, &mut || bar.inc(1)).map_err(|e| anyhow!("{}: {e}", graph.name))?;
            measured.push((backend.device(), taken));
        }
        bar.finish_and_clear();
        if let Some(beside) = beside(options) {
            let (mut backends, _) = session::backends(&beside)?;
            let vta = |device| device == Device::Vta;
            let backend = backends.iter_mut().find(|backend| vta(backend.device()));
            let own = measured.iter_mut().find(|(device, _)| vta(*device));
            if let (Some(backend), Some((_, own))) = (backend, own) {
                let copies = backend.measure(graph, &mut || {}).map_err(|e| anyhow!("{}: {e}", graph.name))?;
                for (own, other) in own.iter_mut().zip(copies) {
                    if let (Ok(own), Ok(other)) = (own, other) {
                        own.copies = other.copies;
                    }
                }
            }
        }
        // In the order of `DEVICES`.
        measured.sort_by_key(|(device, _)| DEVICES.iter().position(|d| d == device));
        let name = |device: &Device| match device {
            Device::Cpu => "cpu".to_owned(),
            Device::Vta => options.device.kind.name(),
        };
        Ok(Costs {
            names: measured.iter().map(|(device, _)| name(device)).collect(),
            taken: measured.into_iter().map(|(_, taken)| taken).collect(),
            clock_hz,
            source: if counted { Source::Counted } else { Source::Estimated },
            cpu_times: 1.0,
            watts: BTreeMap::new(),
        })
    }

    /// Seconds of a node on a device.
    fn seconds(&self, taken: &Taken) -> f64 {
        match taken.cycles {
            Some(cycles) => cycles as f64 / self.clock_hz,
            None => taken.wall.as_secs_f64() * self.cpu_times,
        }
    }

    /// The machine: devices, and links of which the copies that were measured tell the speed.
    fn machine(&self) -> Machine {
        let device = |(index, name): (usize, &String)| {
            let (busy_watts, idle_watts) = self.watts.get(name).copied().unwrap_or_default();
            let memory_bytes = if index == 0 { HOST_MEMORY } else { session::DRAM_LIMIT };
            place::Device { name: name.clone(), memory_bytes, busy_watts, idle_watts, launch_seconds: 0.0 }
        };
        let devices = self.names.iter().enumerate().map(device).collect();
        let mut links = Vec::new();
        for (index, taken) in self.taken.iter().enumerate().skip(1) {
            let (latency_seconds, bytes_per_second) =
                line(taken.iter().flatten().flat_map(|t| t.copies.iter().copied()), self.cpu_times);
            for (from, to) in [(0, index), (index, 0)] {
                links.push(Link { from, to, latency_seconds, bytes_per_second, joules_per_byte: 0.0 });
            }
        }
        Machine { devices, links, host: 0 }
    }

    /// Bytes of values as they lie on the accelerator, padded lanes included.
    fn packed(&self, graph: &Graph) -> HashMap<ValueId, u64> {
        let mut packed = HashMap::new();
        for (n, taken) in self.taken.iter().flat_map(|taken| taken.iter().enumerate()) {
            let Ok(taken) = taken else { continue };
            let alone = alone(graph, NodeId(n));
            let values = alone.inputs.into_iter().chain(alone.outputs);
            packed.extend(values.zip(taken.copies.iter().map(|copied| copied.bytes)));
        }
        packed
    }

    /// The best placement for a request, and what all others would have cost.
    ///
    /// # Errors
    /// One sentence: a name that is not there, or the constraint that leaves nothing.
    pub fn place(&self, graph: &Graph, request: &Request) -> Result<Placed> {
        let packed = self.packed(graph);
        let bytes = |id: ValueId| packed.get(&id).copied().unwrap_or(graph.ty(id).bytes() as u64);
        let problem = problem(graph, self.machine(), bytes, |id, node, device| match &self.taken[device][id.0] {
            Ok(taken) => Candidate::Runs(Cost {
                seconds: self.seconds(taken),
                held_bytes: node
                    .inputs
                    .iter()
                    .filter(|&&v| graph.constant(v).is_some())
                    .map(|&v| graph.ty(v).bytes() as u64)
                    .sum(),
                ..Cost::default()
            }),
            Err(reason) => Candidate::Refuses(reason.clone()),
        });
        let failed = |error: place::PlaceError| anyhow!("{}: {error}", graph.name);
        let problem = problem.map_err(failed)?;
        let placement = place::search(&problem, request, place::LABELS).map_err(failed)?;
        let explanation = place::explain(&problem, request, &placement.assignment).map_err(failed)?;
        let mut choices = vec![Choice { device: Device::Cpu, reason: String::new() }; graph.nodes.len()];
        for (&n, row) in problem.order().iter().zip(&explanation.rows) {
            choices[n] = Choice { device: DEVICES[row.device], reason: self.reason(&explanation, row) };
        }
        let plan = assign(graph, &choices);
        Ok(Placed { problem, request: request.clone(), placement, explanation, plan })
    }

    /// Why a node is where it is: what every other device would have meant.
    fn reason(&self, explanation: &Explanation, row: &place::NodeRow) -> String {
        let others = row.alternatives.iter().filter(|other| other.device != row.device);
        let phrases = others.map(|other| {
            let name = &self.names[other.device];
            match &other.price {
                Price::Costs { more, .. } => format!("{name} would add {}", shown(*more, explanation.objective.unit())),
                Price::Cannot(reason) => format!("not {name}: {reason}"),
            }
        });
        let reason = phrases.collect::<Vec<_>>().join("; ");
        if reason.is_empty() { "the only device".to_owned() } else { reason }
    }
}

/// What the host's own part, kernels and copies, is measured beside in place of the hardware's simulation, which takes so much of the
/// host's caches that whatever comes behind it is slow: the functional simulator. `None` where the device is no such simulation.
pub fn beside(options: &DeviceOptions) -> Option<DeviceOptions> {
    let device = || DeviceChoice { kind: DeviceKind::Fsim, ..options.device.clone() };
    (options.device.kind == DeviceKind::Tsim).then(|| DeviceOptions {
        device: device(),
        simulation: SimulationOptions::default(),
        ..options.clone()
    })
}

/// A number of seconds or joules in the unit that suits it.
pub fn shown(value: f64, unit: &str) -> String {
    let (factor, prefix) = match value.abs() {
        x if x == 0.0 || x >= 1.0 => (1.0, ""),
        x if x >= 1e-3 => (1e3, "m"),
        x if x >= 1e-6 => (1e6, "u"),
        _ => (1e9, "n"),
    };
    format!("{:.3} {prefix}{unit}", value * factor)
}

/// The end of a long name, which tells more than its beginning.
pub fn shortened(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let tail: String = name.chars().skip(count - most + 1).collect();
    format!("\u{2026}{tail}")
}

/// The latency of a copy and the bytes a second that fit the copies best, by least squares, on a host that is `times` slower.
fn line(copies: impl Iterator<Item = Copied>, times: f64) -> (f64, f64) {
    let (mut nn, mut nb, mut bb, mut nt, mut bt) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut bytes, mut wall) = (0.0, 0.0);
    for copied in copies {
        let (n, b, t) = (copied.count as f64, copied.bytes as f64, copied.wall.as_secs_f64() * times);
        (nn, nb, bb, nt, bt) = (nn + n * n, nb + n * b, bb + b * b, nt + n * t, bt + b * t);
        (bytes, wall) = (bytes + b, wall + t);
    }
    let determinant = nn * bb - nb * nb;
    let (latency, each) = ((nt * bb - bt * nb) / determinant, (nn * bt - nb * nt) / determinant);
    if latency > 0.0 && each > 0.0 {
        return (latency, 1.0 / each);
    }
    // Too few copies, or too noisy ones, to tell the two apart.
    (0.0, if bytes > 0.0 && wall > 0.0 { bytes / wall } else { 1e9 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn latency_and_rate_are_told_apart() {
        let copy = |count: u64, bytes: u64| {
            let wall = Duration::from_nanos(2000 * count + bytes * 5);
            Copied { bytes, count, wall }
        };
        let (latency, rate) = line([copy(2, 1000), copy(3, 100), copy(1, 50_000)].into_iter(), 1.0);
        assert!((latency - 2e-6).abs() < 1e-9 && (rate - 2e8).abs() < 1e3, "{latency} {rate}");
        assert_eq!(line([copy(1, 0)].into_iter(), 1.0).0, 0.0);
        assert_eq!(line(std::iter::empty(), 1.0), (0.0, 1e9));
    }

    #[test]
    fn small_numbers_have_small_units() {
        assert_eq!(
            [0.0, 2.5, 0.0025, -2.5e-6, 3e-9].map(|x| shown(x, "s")),
            ["0.000 s", "2.500 s", "2.500 ms", "-2.500 us", "3.000 ns"]
        );
    }
}
