//! A relaxation that bounds every weighted sum of costs from below, at each point of the order.
//!
//! A sum of node, launch and transfer costs is split over pairs of a node and a reader: a transfer that several readers share
//! counts in equal parts, a launch in equal parts for what the node reads. Going back through the order, each node hands equal
//! parts of what it and its readers cost to the nodes that it reads, as a function of their devices. What has been handed to the
//! nodes placed so far is then a bound of all that is still to come, and it is exact where every node reads one other.

use super::request::Task;
use super::state::{Code, Layout, has, home};

/// Costs of one kind: of nodes, launches and transfers. Infinite where there is no candidate or link.
pub(super) trait Weights {
    fn node(&self, node: usize, device: usize) -> f64;
    fn launch(&self, device: usize) -> f64;
    fn send(&self, value: usize, from: usize, to: usize) -> f64;
}

/// Joules, but for idling.
pub(super) struct Joules<'a>(pub &'a Layout<'a>);

impl Weights for Joules<'_> {
    fn node(&self, node: usize, device: usize) -> f64 {
        let joules = |c: &super::Cost| self.0.active_joules(device, c.seconds) + c.joules;
        self.0.problem.cost(node, device).map_or(f64::INFINITY, joules)
    }
    fn launch(&self, device: usize) -> f64 {
        self.0.active_joules(device, self.0.problem.devices()[device].launch_seconds)
    }
    fn send(&self, value: usize, from: usize, to: usize) -> f64 {
        self.0.send_joules(value, from, to).unwrap_or(f64::INFINITY)
    }
}

/// Seconds, each device and link weighted; the weights sum to one, so that the sum is at most the busiest one's.
pub(super) struct Seconds<'a> {
    pub layout: &'a Layout<'a>,
    /// Weights of the devices, then of the links.
    pub weights: Vec<f64>,
}

impl Weights for Seconds<'_> {
    fn node(&self, node: usize, device: usize) -> f64 {
        self.layout.problem.cost(node, device).map_or(f64::INFINITY, |c| self.weights[device] * c.seconds)
    }
    fn launch(&self, device: usize) -> f64 {
        self.weights[device] * self.layout.problem.devices()[device].launch_seconds
    }
    fn send(&self, value: usize, from: usize, to: usize) -> f64 {
        let devices = self.layout.devices;
        let weight = self.weights[devices * (1 + from) + to];
        self.layout.send_seconds(value, from, to).map_or(f64::INFINITY, |s| weight * s)
    }
}

/// What a value that is placed adds to the rest.
struct Entry {
    slot: usize,
    /// Handed to the value's maker, by its device; then, by device `from` and `to`, what is handed too much when `to` has it.
    costs: Vec<f64>,
}

/// The bound at every point of the order.
pub(super) struct Relaxation {
    devices: usize,
    /// Bound of what does not depend on placed nodes, when the first `i` are placed.
    constant: Vec<f64>,
    pairs: Vec<Pair>,
    /// Empty until [`Relaxation::unfold`].
    entries: Vec<Vec<Entry>>,
    /// An assignment that the relaxation prefers.
    pub favourite: Vec<usize>,
}

/// A node and a node that reads it.
struct Pair {
    from: usize,
    to: usize,
    /// Any value that joins them.
    value: usize,
    /// By devices of `from` and `to`.
    costs: Vec<f64>,
    /// By the device of `from`.
    handed: Vec<f64>,
}

impl Relaxation {
    pub fn new(task: &Task, layout: &Layout, weights: &impl Weights) -> Relaxation {
        let (devices, nodes) = (layout.devices, task.problem.nodes().len());
        let host = task.problem.machine().host;
        let value = |v: usize| &task.problem.values()[v];
        let share = |v, from, to| share(layout, weights, v, from, to);
        let mut theta = vec![f64::INFINITY; nodes * devices];
        let mut pairs: Vec<Pair> = Vec::new();
        let mut reads: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for n in 0..nodes {
            let (inputs, made): (Vec<usize>, Vec<usize>) =
                layout.reads[n].iter().partition(|&&v| value(v).maker.is_none());
            let first = pairs.len();
            for &v in &made {
                let from = value(v).maker.unwrap_or_default();
                let known = pairs[first..].iter().position(|p| p.from == from);
                let k = known.map_or(pairs.len(), |k| first + k);
                if known.is_none() {
                    reads[n].push(k);
                    pairs.push(Pair {
                        from,
                        to: n,
                        value: v,
                        costs: vec![0.0; devices * devices],
                        handed: vec![0.0; devices],
                    });
                }
                for (i, cost) in pairs[k].costs.iter_mut().enumerate() {
                    *cost += share(v, i / devices, i % devices);
                }
            }
            let sources = pairs.len() - first + usize::from(!inputs.is_empty());
            for pair in &mut pairs[first..] {
                for (i, cost) in pair.costs.iter_mut().enumerate().filter(|(i, _)| i / devices != i % devices) {
                    *cost += weights.launch(i % devices) / sources as f64;
                }
            }
            for d in task.choices(n) {
                let mut cost = weights.node(n, d);
                if sources == 0 {
                    cost += weights.launch(d);
                }
                if d != host {
                    if !inputs.is_empty() {
                        cost += weights.launch(d) / sources as f64;
                    }
                    cost += inputs.iter().map(|&v| share(v, host, d)).sum::<f64>();
                    let outputs = layout.makes[n].iter().filter(|&&v| layout.is_output[v]);
                    cost += outputs.map(|&v| weights.send(v, d, host)).sum::<f64>();
                }
                theta[n * devices + d] = cost;
            }
        }
        let mut constant = vec![0.0; nodes + 1];
        for (i, &n) in task.problem.order().iter().enumerate().rev() {
            let own: Vec<f64> = theta[n * devices..(n + 1) * devices].to_vec();
            constant[i] = constant[i + 1];
            if reads[n].is_empty() {
                constant[i] += own.iter().fold(f64::INFINITY, |min, &c| min.min(c));
            }
            let parts = reads[n].len() as f64;
            for &k in &reads[n] {
                let pair = &mut pairs[k];
                for from in 0..devices {
                    let costs = &pair.costs[from * devices..(from + 1) * devices];
                    let handed = costs.iter().zip(&own).fold(f64::INFINITY, |min, (c, o)| min.min(c + o / parts));
                    pair.handed[from] = handed;
                    theta[pair.from * devices + from] += handed;
                }
            }
        }
        let favourite = favourite(task, devices, &theta, &pairs, &reads);
        Relaxation { devices, constant, pairs, entries: Vec::new(), favourite }
    }

    /// Makes the bound known at every point, and not at the root alone.
    pub fn unfold(mut self, task: &Task, layout: &Layout, weights: &impl Weights) -> Relaxation {
        self.entries = entries(task, layout, &self.pairs, weights);
        self
    }

    /// Bound of everything.
    pub fn root(&self) -> f64 {
        self.constant[0]
    }

    /// Bound of what is still to come when `placed` nodes of the order are placed; may be less than nothing by what placed
    /// transfers have paid ahead.
    pub fn rest(&self, placed: usize, codes: &[Code]) -> f64 {
        let mut rest = self.constant[placed];
        for entry in &self.entries[placed] {
            let code = codes[entry.slot];
            let home = home(code);
            rest += entry.costs[home];
            for to in (0..self.devices).filter(|&to| to != home && has(code, to)) {
                rest -= entry.costs[self.devices * (1 + home) + to];
            }
        }
        rest
    }
}

/// For each node in order the device that is best for it and what it was handed, given those that it reads.
fn favourite(task: &Task, devices: usize, theta: &[f64], pairs: &[Pair], reads: &[Vec<usize>]) -> Vec<usize> {
    let mut favourite = vec![0; reads.len()];
    for &n in task.problem.order() {
        let cost = |d: usize| {
            let read = reads[n].iter().map(|&k| pairs[k].costs[favourite[pairs[k].from] * devices + d]);
            theta[n * devices + d] + read.sum::<f64>()
        };
        let best = task.choices(n).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
        favourite[n] = best.unwrap_or_default();
    }
    favourite
}

/// What one of its readers pays for a transfer of a value.
fn share(layout: &Layout, weights: &impl Weights, value: usize, from: usize, to: usize) -> f64 {
    // An output goes to the host for its own sake, which its maker pays.
    if from == to || (layout.is_output[value] && to == layout.problem.machine().host) {
        return 0.0;
    }
    weights.send(value, from, to) / layout.readers[value].len() as f64
}

fn entries(task: &Task, layout: &Layout, pairs: &[Pair], weights: &impl Weights) -> Vec<Vec<Entry>> {
    let devices = layout.devices;
    let position = &layout.position;
    // Pairs of each value.
    let mut of = vec![Vec::new(); task.problem.values().len()];
    for (k, pair) in pairs.iter().enumerate() {
        of[pair.value].push(k);
    }
    let mut entries: Vec<Vec<Entry>> = Vec::new();
    entries.resize_with(position.len() + 1, Vec::new);
    for (v, value) in task.problem.values().iter().enumerate() {
        let (Some(slot), Some(&last)) = (layout.slot(v), layout.readers[v].last()) else { continue };
        let made = value.maker.map_or(0, |m| position[m] + 1);
        for (placed, at) in entries.iter_mut().enumerate().take(position[last] + 1).skip(made) {
            let mut costs = vec![0.0; devices * (1 + devices)];
            for pair in of[v].iter().map(|&k| &pairs[k]).filter(|p| position[p.to] >= placed) {
                for (cost, handed) in costs.iter_mut().zip(&pair.handed) {
                    *cost += handed;
                }
            }
            let left = layout.readers[v].iter().filter(|&&r| position[r] >= placed).count() as f64;
            for i in 0..devices * devices {
                let ahead = share(layout, weights, v, i / devices, i % devices);
                // Where there is no link nothing was sent.
                costs[devices + i] = if ahead.is_finite() { ahead * left } else { 0.0 };
            }
            at.push(Entry { slot, costs });
        }
    }
    entries
}
