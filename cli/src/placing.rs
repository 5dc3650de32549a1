//! What a model's nodes take on the devices at hand, and the problem of placing them.

use crate::machine::{CycleSource, Machine};
use crate::options::{DeviceKind, DeviceOptions, Split};
use crate::power::Watts;
use crate::profile;
use crate::request::PlaceOptions;
use crate::session::bar;
use crate::simulation::DRAM_LIMIT;
use crate::simulation::SimulationOptions;
use anyhow::{Result, anyhow};
use std::collections::HashMap;
use tandem_graph::{Graph, NodeId, ValueId};
use tandem_isa::HwConfig;
use tandem_plan::place::{
    self, Candidate, Cost, Explanation, Link, Objective, Placement, Price, Problem, Proof, Request,
};
use tandem_plan::{Choice, Device, Plan, alone, assign, problem};
use tandem_runtime::{Backend, Copied, RuntimeError, Taken};

/// Memory that the host is taken to have.
const HOST_MEMORY: u64 = 16 << 30;
/// Why a node is not on the CPU where the list of devices leaves it out.
const NOT_LISTED: &str = "the list of devices leaves the CPU out";

/// What is known of a model's nodes on devices.
pub struct Costs {
    /// The host first, then the others in the order of the command line.
    pub devices: Vec<Measured>,
    /// How many times slower the CPU is taken to be than this host.
    pub cpu_times: f64,
    /// Power of the devices.
    pub watts: Watts,
}

/// What is known of a model's nodes on a device.
pub struct Measured {
    /// Which one of a plan.
    pub device: Device,
    /// The name on the command line.
    pub name: String,
    /// What each node took, or why it does not run there.
    pub taken: Vec<Result<Taken, String>>,
    /// Where its cycles come from, and cycles a second, where it counts any that are its time.
    pub cycles: Option<(CycleSource, f64)>,
    /// Whether its times are projections.
    pub projected: bool,
    /// The machine, of an accelerator.
    pub config: Option<HwConfig>,
}

/// Where the times of a device come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// They were measured on this host's clock.
    Measured,
    /// Cycles, at so many a second.
    Cycles(CycleSource, f64),
    /// They are projections.
    Projected,
}

impl Source {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Source::Measured => "measured",
            Source::Cycles(source, _) => source.name(),
            Source::Projected => "projected",
        }
    }
}

impl Measured {
    /// Where its times come from.
    pub fn source(&self) -> Source {
        match self.cycles {
            Some((source, clock_hz)) => Source::Cycles(source, clock_hz),
            None if self.projected => Source::Projected,
            None => Source::Measured,
        }
    }
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

impl Costs {
    /// What is known of every node: what was stored, where the options name that, or else what is measured now.
    ///
    /// # Errors
    /// As [`Costs::measure`], and a file that is not what it is to be.
    pub fn of(graph: &Graph, options: &DeviceOptions, place: &PlaceOptions) -> Result<Costs> {
        let mut costs = match &place.costs {
            Some(path) => profile::Stored::read(path)?.costs(graph, options)?,
            None => Costs::measure(graph, options)?,
        };
        costs.cpu_times = place.cpu_times;
        costs.watts = place.watts(&costs.names())?;
        Ok(costs)
    }

    /// Measures every node on this host and on the devices of the options.
    ///
    /// # Errors
    /// One sentence: a device that cannot be opened, or that failed.
    pub fn measure(graph: &Graph, options: &DeviceOptions) -> Result<Costs> {
        options.check()?;
        let failed = |e: RuntimeError| anyhow!("{}: {e}", graph.name);
        let mut machine = Machine::open(options)?;
        let bar = bar(graph.nodes.len() * machine.backends.len());
        let mut devices: Vec<Measured> = Vec::new();
        // The host first: it is measured before simulators have taken its caches.
        machine.backends.rotate_right(1);
        let mut backends = std::mem::take(&mut machine.backends);
        for backend in &mut backends {
            let device = backend.device();
            let projected = machine.is_projected(device);
            let taken = match projected {
                true => project(graph, &**backend, &machine),
                false => backend.measure(graph, &mut || bar.inc(1)).map_err(failed)?,
            };
            machine.check_links()?;
            let accelerator = machine.accelerator(device);
            let cycles = accelerator.map(|accelerator| (accelerator.cycles, options.clock_hz()));
            let config = accelerator.map(|accelerator| accelerator.config.clone());
            devices.push(Measured { device, name: machine.name(device), taken, cycles, projected, config });
        }
        bar.finish_and_clear();
        if let Some(beside) = beside(options) {
            let mut machine = Machine::open(&beside)?;
            for backend in machine.backends.iter_mut().filter(|backend| backend.device().is_vta()) {
                let own = devices.iter_mut().find(|measured| measured.device == backend.device());
                let copies = backend.measure(graph, &mut || {}).map_err(failed)?;
                for (own, other) in own.into_iter().flat_map(|measured| &mut measured.taken).zip(copies) {
                    if let (Ok(own), Ok(other)) = (own, other) {
                        own.copies = other.copies;
                    }
                }
            }
        }
        let mut costs = Costs { devices, cpu_times: 1.0, watts: Watts::new() };
        if options.device.split == Split::WithoutCpu {
            costs.leave_out_cpu();
        }
        Ok(costs)
    }

    /// Keeps nodes from the CPU that another device runs.
    pub fn leave_out_cpu(&mut self) {
        let Some((host, others)) = self.devices.split_first_mut() else { return };
        for (n, taken) in host.taken.iter_mut().enumerate() {
            if others.iter().any(|other| other.taken.get(n).is_some_and(Result::is_ok)) {
                *taken = Err(NOT_LISTED.to_owned());
            }
        }
    }

    /// Names of the devices on the command line.
    pub fn names(&self) -> Vec<String> {
        self.devices.iter().map(|measured| measured.name.clone()).collect()
    }

    /// Index of a device of a plan.
    pub fn index(&self, device: Device) -> usize {
        self.devices.iter().position(|measured| measured.device == device).unwrap_or(0)
    }

    /// Seconds of a node on a device.
    fn seconds(&self, device: usize, taken: &Taken) -> f64 {
        let measured = &self.devices[device];
        match (taken.cycles, measured.cycles) {
            (Some(cycles), Some((_, clock_hz))) => cycles as f64 / clock_hz,
            _ if measured.device == Device::Cpu => taken.wall.as_secs_f64() * self.cpu_times,
            _ => taken.wall.as_secs_f64(),
        }
    }

    /// The machine: devices, and links of which the copies that were measured tell the speed, for what is to be small.
    fn machine(&self, objective: Objective) -> place::Machine {
        // The queue of a device makes copies in both directions one by one, and the search has a link for each. A period counts the
        // work of a link, which is that of the queue where each link takes twice as long and as much comes back as went there.
        let queued = if objective == Objective::Period { 2.0 } else { 1.0 };
        let device = |(index, measured): (usize, &Measured)| {
            let (busy_watts, idle_watts) = self.watts.get(&measured.name).copied().unwrap_or_default();
            let memory_bytes = if index == 0 { HOST_MEMORY } else { DRAM_LIMIT };
            place::Device { name: measured.name.clone(), memory_bytes, busy_watts, idle_watts, launch_seconds: 0.0 }
        };
        let devices = self.devices.iter().enumerate().map(device).collect();
        // What goes from one device to another goes through the host, which each of them has a link with.
        let line_of = |measured: &Measured| {
            let times = if measured.projected { 1.0 } else { self.cpu_times };
            line(measured.taken.iter().flatten().flat_map(|t| t.copies.iter().copied()), times)
        };
        let lines: Vec<(f64, f64)> = self.devices.iter().map(line_of).collect();
        let mut links = Vec::new();
        let pairs = (0..lines.len()).flat_map(|from| (0..lines.len()).map(move |to| (from, to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            let ends = [from, to].into_iter().filter(|&end| end != 0).map(|end| lines[end]);
            let (latency_seconds, each) =
                ends.fold((0.0, 0.0), |(latency, each), (l, rate)| (latency + queued * l, each + queued / rate));
            links.push(Link { from, to, latency_seconds, bytes_per_second: 1.0 / each, joules_per_byte: 0.0 });
        }
        place::Machine { devices, links, host: 0 }
    }

    /// Bytes of values as they lie on the accelerator, padded lanes included.
    fn packed(&self, graph: &Graph) -> HashMap<ValueId, u64> {
        let mut packed = HashMap::new();
        for (n, taken) in self.devices.iter().flat_map(|measured| measured.taken.iter().enumerate()) {
            let Ok(taken) = taken else { continue };
            let alone = alone(graph, NodeId(n));
            let values = alone.inputs.into_iter().chain(alone.outputs);
            packed.extend(values.zip(taken.copies.iter().map(|copied| copied.bytes)));
        }
        packed
    }

    /// The problem of placing a graph's nodes.
    fn problem(&self, graph: &Graph, objective: Objective) -> Result<Problem> {
        let packed = self.packed(graph);
        let bytes = |id: ValueId| packed.get(&id).copied().unwrap_or(graph.ty(id).bytes() as u64);
        let problem = problem(graph, self.machine(objective), bytes, |id, node, device| {
            match &self.devices[device].taken[id.0] {
                Ok(taken) => Candidate::Runs(Cost {
                    seconds: self.seconds(device, taken),
                    held_bytes: node
                        .inputs
                        .iter()
                        .filter(|&&v| graph.constant(v).is_some())
                        .map(|&v| graph.ty(v).bytes() as u64)
                        .sum(),
                    ..Cost::default()
                }),
                Err(reason) => Candidate::Refuses(reason.clone()),
            }
        });
        problem.map_err(|error| anyhow!("{}: {error}", graph.name))
    }

    /// The best placement for a request, and what all others would have cost.
    ///
    /// # Errors
    /// One sentence: a name that is not there, or the constraint that leaves nothing.
    pub fn place(&self, graph: &Graph, request: &Request) -> Result<Placed> {
        let failed = |error: place::PlaceError| anyhow!("{}: {error}", graph.name);
        let problem = self.problem(graph, request.objective)?;
        let placement = place::search(&problem, request, place::LABELS).map_err(failed)?;
        let explanation = place::explain(&problem, request, &placement.assignment).map_err(failed)?;
        let mut choices = vec![Choice { device: Device::Cpu, reason: String::new() }; graph.nodes.len()];
        for (&n, row) in problem.order().iter().zip(&explanation.rows) {
            choices[n] = Choice { device: self.devices[row.device].device, reason: self.reason(&explanation, row) };
        }
        let plan = assign(graph, &choices);
        Ok(Placed { problem, request: request.clone(), placement, explanation, plan })
    }

    /// A plan that was made elsewhere, with what its choices cost and how far they may be from the least latency.
    ///
    /// # Errors
    /// One sentence, where a node runs nowhere.
    pub fn as_planned(&self, graph: &Graph, plan: &Plan) -> Result<Placed> {
        let failed = |error: place::PlaceError| anyhow!("{}: {error}", graph.name);
        let request = Request::default();
        let problem = self.problem(graph, request.objective)?;
        let host = problem.machine().host;
        let devices = plan.assignments.iter().enumerate().map(|(n, assigned)| {
            let device = self.index(assigned.device);
            if problem.cost(n, device).is_some() { device } else { host }
        });
        let assignment: Vec<usize> = devices.collect();
        let measure = place::measure(&problem, &assignment).map_err(failed)?;
        let best = place::search(&problem, &request, place::LABELS).map_err(failed)?;
        let value = measure.latency_seconds;
        let proof = if value <= best.value * (1.0 + 1e-9) { best.proof } else { Proof::None };
        let explanation = place::explain(&problem, &request, &assignment).map_err(failed)?;
        let placement = Placement { assignment, value, proof, measure, ..best };
        Ok(Placed { problem, request, placement, explanation, plan: plan.clone() })
    }

    /// Why a node is where it is: what every other device would have meant.
    pub fn reason(&self, explanation: &Explanation, row: &place::NodeRow) -> String {
        let others = row.alternatives.iter().filter(|other| other.device != row.device);
        let phrases = others.map(|other| {
            let name = &self.devices[other.device].name;
            match &other.price {
                Price::Costs { more, .. } => {
                    let verb = if *more < 0.0 { "save" } else { "add" };
                    format!("{name} would {verb} {}", shown(more.abs(), explanation.objective.unit()))
                }
                Price::Cannot(reason) => format!("not {name}: {reason}"),
            }
        });
        let reason = phrases.collect::<Vec<_>>().join("; ");
        if reason.is_empty() { "the only device".to_owned() } else { reason }
    }
}

impl Placed {
    /// The objective where all nodes that can be are on one device, and the rest on the host; `None` where that is not allowed.
    pub fn baselines(&self) -> Vec<(usize, Option<f64>)> {
        let Placed { problem, request, .. } = self;
        let all_on = |device: usize| {
            let host = problem.machine().host;
            let choose = |n| if problem.cost(n, device).is_some() { device } else { host };
            let assignment: Vec<usize> = (0..problem.nodes().len()).map(choose).collect();
            place::check(problem, request, &assignment).ok().map(|m| m.value(request.objective))
        };
        (0..problem.devices().len()).map(|device| (device, all_on(device))).collect()
    }
}

/// What nodes would take on a device that is simulated without a clock, copies included.
fn project(graph: &Graph, backend: &dyn Backend, machine: &Machine) -> Vec<Result<Taken, String>> {
    let of = |(n, node)| {
        backend.supports(graph, node)?;
        let wall = backend.project(graph, node).ok_or("nothing is known of what the device can do")?;
        let alone = alone(graph, NodeId(n));
        let moved = alone
            .inputs
            .iter()
            .chain(&alone.outputs)
            .map(|&id| machine.told_copy(backend.device(), graph.ty(id).bytes()));
        Ok(Taken { wall, cycles: None, copies: moved.collect() })
    };
    graph.nodes.iter().enumerate().map(of).collect()
}

/// What the host's own part, kernels and copies, is measured beside in place of the hardware's simulation, which takes so much of the
/// host's caches that whatever comes behind it is slow: the functional simulator. `None` where the device is no such simulation.
pub fn beside(options: &DeviceOptions) -> Option<DeviceOptions> {
    options.device.kinds().contains(&DeviceKind::Tsim).then(|| DeviceOptions {
        simulation: SimulationOptions::default(),
        ..options.on(options.device.with(&DeviceKind::Tsim, &DeviceKind::Fsim))
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
pub fn line(copies: impl Iterator<Item = Copied>, times: f64) -> (f64, f64) {
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
