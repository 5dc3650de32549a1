//! A relaxation that bounds every weighted sum of costs from below, at each point of the order.
//!
//! A sum of node, launch and transfer costs is split over pairs of a node and a reader: a transfer that several readers share
//! counts in equal parts, a launch in equal parts for what the node reads. Going back through the order, each node hands equal
//! parts of what it and its readers cost to the nodes that it reads, as a function of their devices. What has been handed to the
//! nodes placed so far is then a bound of all that is still to come, and it is exact where every node reads one other.

use super::mix::{Mix, Stages, resources};
use super::request::Task;
use super::state::{Code, Layout, has, home};

/// Joules and mixed seconds, each times a factor. Infinite where there is no candidate or link.
pub(super) struct Weights<'a> {
    pub layout: &'a Layout<'a>,
    pub stages: &'a Stages,
    pub mix: &'a Mix,
    /// Factor of the mix.
    pub seconds: f64,
    /// Factor of the energy, idling aside.
    pub joules: f64,
}

impl Weights<'_> {
    /// Of a node itself.
    pub fn node(&self, node: usize, device: usize) -> f64 {
        self.layout.problem.cost(node, device).map_or(f64::INFINITY, |c| {
            let weight = self.load(node, device) + self.mix.nodes[node];
            self.seconds * weight * c.seconds + self.joules * (self.layout.active_joules(device, c.seconds) + c.joules)
        })
    }

    /// Of entering a device at a node.
    pub fn launch(&self, node: usize, device: usize) -> f64 {
        let seconds = self.layout.problem.devices()[device].launch_seconds;
        self.seconds * self.load(node, device) * seconds + self.joules * self.layout.active_joules(device, seconds)
    }

    /// Of a value that leaves as an output.
    pub fn leave(&self, value: usize, device: usize) -> f64 {
        let (layout, host) = (self.layout, self.layout.problem.machine().host);
        let (Some(seconds), Some(joules)) =
            (layout.send_seconds(value, device, host), layout.send_joules(value, device, host))
        else {
            return f64::INFINITY;
        };
        let last = self.stages.count - 1;
        let stays = self.sent_in(value) == last;
        let load = if stays { self.mix.loads[last * resources(layout) + self.link(device, host)] } else { 0.0 };
        self.seconds * (load + self.mix.outputs[value]) * seconds + self.joules * joules
    }

    /// What a reader pays of a transfer that it may share with others.
    pub fn share(&self, value: usize, reader: usize, from: usize, to: usize) -> f64 {
        let layout = self.layout;
        // An output goes to the host for its own sake, which its maker pays.
        if from == to || (layout.is_output[value] && to == layout.problem.machine().host) {
            return 0.0;
        }
        let (Some(seconds), Some(joules)) = (layout.send_seconds(value, from, to), layout.send_joules(value, from, to))
        else {
            return f64::INFINITY;
        };
        let readers = &layout.readers[value];
        let mut cost = self.joules * joules / readers.len() as f64;
        let stage = self.stages.of[reader];
        let load = self.mix.loads[stage * resources(layout) + self.link(from, to)];
        if load > 0.0 && stage == self.sent_in(value) {
            let peers = readers.iter().filter(|&&r| self.stages.of[r] == stage).count();
            cost += self.seconds * load * seconds / peers as f64;
        }
        cost
    }

    /// What paths into a node by one of its reads wait.
    pub fn wait(&self, node: usize, read: usize, from: usize, to: usize) -> f64 {
        let weight = self.mix.reads[node][read];
        if weight == 0.0 || from == to {
            return 0.0;
        }
        let value = self.layout.reads[node][read];
        let launch = self.layout.problem.devices()[to].launch_seconds;
        self.layout.send_seconds(value, from, to).map_or(f64::INFINITY, |s| self.seconds * weight * (s + launch))
    }

    fn load(&self, node: usize, device: usize) -> f64 {
        // A cut is on every chain, and never a part of what lies between cuts.
        if self.stages.is_cut[node] {
            return 0.0;
        }
        self.mix.loads[self.stages.of[node] * resources(self.layout) + device]
    }

    fn link(&self, from: usize, to: usize) -> usize {
        self.layout.devices * (1 + from) + to
    }

    fn sent_in(&self, value: usize) -> usize {
        self.layout.problem.values()[value].maker.map_or(0, |m| self.stages.after[m])
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
    pub fn new(task: &Task, layout: &Layout, weights: &Weights) -> Relaxation {
        let (devices, nodes) = (layout.devices, task.problem.nodes().len());
        let host = task.problem.machine().host;
        let mut theta = vec![f64::INFINITY; nodes * devices];
        let mut pairs: Vec<Pair> = Vec::new();
        let mut reads: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        for n in 0..nodes {
            let first = pairs.len();
            let mut inputs = Vec::new();
            for (r, &v) in layout.reads[n].iter().enumerate() {
                let Some(from) = task.problem.values()[v].maker else {
                    inputs.push(r);
                    continue;
                };
                let known = pairs[first..].iter().position(|p| p.from == from);
                let k = known.map_or(pairs.len(), |k| first + k);
                if known.is_none() {
                    reads[n].push(k);
                    let (costs, handed) = (vec![0.0; devices * devices], vec![0.0; devices]);
                    pairs.push(Pair { from, to: n, value: v, costs, handed });
                }
                for (i, cost) in pairs[k].costs.iter_mut().enumerate() {
                    let (from, to) = (i / devices, i % devices);
                    *cost += weights.share(v, n, from, to) + weights.wait(n, r, from, to);
                }
            }
            let sources = pairs.len() - first + usize::from(!inputs.is_empty());
            for pair in &mut pairs[first..] {
                for (i, cost) in pair.costs.iter_mut().enumerate().filter(|(i, _)| i / devices != i % devices) {
                    *cost += weights.launch(n, i % devices) / sources as f64;
                }
            }
            for d in task.choices(n) {
                let mut cost = weights.node(n, d);
                if sources == 0 {
                    cost += weights.launch(n, d);
                }
                if d != layout.source {
                    if !inputs.is_empty() {
                        cost += weights.launch(n, d) / sources as f64;
                    }
                    for &r in &inputs {
                        let source = layout.source;
                        cost += weights.share(layout.reads[n][r], n, source, d) + weights.wait(n, r, source, d);
                    }
                }
                if d != host {
                    let outputs = layout.makes[n].iter().filter(|&&v| layout.is_output[v]);
                    cost += outputs.map(|&v| weights.leave(v, d)).sum::<f64>();
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
    pub fn unfold(mut self, task: &Task, layout: &Layout, weights: &Weights) -> Relaxation {
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

fn entries(task: &Task, layout: &Layout, pairs: &[Pair], weights: &Weights) -> Vec<Vec<Entry>> {
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
        let mut costs = vec![0.0; devices * (1 + devices)];
        let (mut readers, mut readers_by_pair) = (layout.readers[v].iter().rev().peekable(), of[v].clone());
        readers_by_pair.sort_by_key(|&k| position[pairs[k].to]);
        for placed in (made..=position[last]).rev() {
            while let Some(k) = readers_by_pair.pop_if(|k| position[pairs[*k].to] >= placed) {
                costs.iter_mut().zip(&pairs[k].handed).for_each(|(cost, handed)| *cost += handed);
            }
            while let Some(&reader) = readers.next_if(|&&r| position[r] >= placed) {
                for i in 0..devices * devices {
                    let ahead = weights.share(v, reader, i / devices, i % devices);
                    // Where there is no link nothing was sent.
                    costs[devices + i] += if ahead.is_finite() { ahead } else { 0.0 };
                }
            }
            entries[placed].push(Entry { slot, costs: costs.clone() });
        }
    }
    entries
}
