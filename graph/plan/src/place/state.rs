//! What is known when the first nodes of the order have been placed, and how one node more changes it.
//!
//! Measuring and searching share this step, so a plan costs what the search believed. The state is a row of numbers of fixed
//! length with one code for each slot. A value has a slot from its making to its last reader; slots are given out again, so
//! their number is the width of the graph's frontier.

use super::{Objective, Problem};

/// Marks a value without a slot: an input that nothing reads.
const NO_SLOT: usize = usize::MAX;

/// Where a value in a slot is: the device that made it, and a bit for each device that has it. Zero is an empty slot.
pub(super) type Code = u32;

pub(super) fn home(code: Code) -> usize {
    (code >> 16) as usize
}

pub(super) fn has(code: Code, device: usize) -> bool {
    code & (1 << device) != 0
}

fn code(home: usize) -> Code {
    ((home as Code) << 16) | (1 << home)
}

/// Why a node cannot take its step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stuck {
    Refused,
    NoLink { value: usize, from: usize, to: usize },
}

/// Is told what happens and when.
pub(super) trait Witness {
    fn run(&mut self, _node: usize, _device: usize, _begin: f64, _end: f64, _launches: bool) {}
    fn transfer(&mut self, _value: usize, _from: usize, _to: usize, _begin: f64, _end: f64) {}
}

impl Witness for () {}

/// The facts of a problem in the form in which steps need them, and where each number of a state lies.
pub(super) struct Layout<'a> {
    pub problem: &'a Problem,
    pub devices: usize,
    /// Device that has the inputs at the beginning: the host, unless the problem is a part of another one.
    pub source: usize,
    pub slots: usize,
    /// Slot of each value.
    slot: Vec<usize>,
    /// Distinct values that each node reads.
    pub reads: Vec<Vec<usize>>,
    /// Values that each node makes.
    pub makes: Vec<Vec<usize>>,
    /// Values whose last reader a node is.
    dies: Vec<Vec<usize>>,
    /// Distinct nodes that read each value, in the order of scheduling.
    pub readers: Vec<Vec<usize>>,
    /// Place of each node in the order.
    pub position: Vec<usize>,
    pub is_output: Vec<bool>,
    /// Latency, bytes a second and joules a byte from device `a` to `b` at `a * devices + b`.
    links: Vec<Option<(f64, f64, f64)>>,
    /// Watts beyond idling of each device while it computes.
    active_watts: Vec<f64>,
    idle_watts: f64,
}

impl<'a> Layout<'a> {
    pub fn new(problem: &'a Problem) -> Layout<'a> {
        let spec = problem.spec();
        let (devices, values, nodes) = (spec.machine.devices.len(), spec.values.len(), spec.nodes.len());
        let mut readers = vec![Vec::new(); values];
        let mut reads = vec![Vec::new(); nodes];
        for &n in problem.order() {
            for &r in &spec.nodes[n].reads {
                if !reads[n].contains(&r) {
                    reads[n].push(r);
                    readers[r].push(n);
                }
            }
        }
        let mut makes = vec![Vec::new(); nodes];
        let mut dies = vec![Vec::new(); nodes];
        for (v, value) in spec.values.iter().enumerate() {
            if let Some(maker) = value.maker {
                makes[maker].push(v);
            }
            if let Some(&last) = readers[v].last().or(value.maker.as_ref()) {
                dies[last].push(v);
            }
        }
        let mut is_output = vec![false; values];
        for &o in &spec.outputs {
            is_output[o] = true;
        }
        let mut position = vec![0; nodes];
        for (i, &n) in problem.order().iter().enumerate() {
            position[n] = i;
        }
        let (slot, slots) = slots(problem, &makes, &dies, &readers);
        let mut links = vec![None; devices * devices];
        for link in &spec.machine.links {
            links[link.from * devices + link.to] =
                Some((link.latency_seconds, link.bytes_per_second, link.joules_per_byte));
        }
        let active_watts = spec.machine.devices.iter().map(|d| d.busy_watts - d.idle_watts).collect();
        let idle_watts = spec.machine.devices.iter().map(|d| d.idle_watts).sum();
        Layout {
            problem,
            devices,
            source: spec.machine.host,
            slots,
            slot,
            reads,
            makes,
            dies,
            readers,
            position,
            is_output,
            links,
            active_watts,
            idle_watts,
        }
    }

    /// The layout where the inputs are on another device than the host.
    pub fn from(self, source: usize) -> Layout<'a> {
        Layout { source, ..self }
    }

    /// Slot of a value that has one.
    pub fn slot(&self, value: usize) -> Option<usize> {
        Some(self.slot[value]).filter(|&s| s != NO_SLOT)
    }

    // Where numbers lie. Times first, then sums, then bytes.

    /// When a device is free.
    pub fn free(&self, device: usize) -> usize {
        device
    }
    /// When a link is free.
    pub fn link(&self, from: usize, to: usize) -> usize {
        self.devices + from * self.devices + to
    }
    /// When a value in a slot is on a device; infinite where it never was sent.
    pub fn available(&self, slot: usize, device: usize) -> usize {
        self.devices * (1 + self.devices + slot) + device
    }
    fn times(&self) -> usize {
        self.devices * (1 + self.devices + self.slots)
    }
    /// When all is done that was begun.
    pub fn end(&self) -> usize {
        self.times()
    }
    /// Energy but for idling.
    pub fn energy(&self) -> usize {
        self.times() + 1
    }
    /// Seconds that a device computes.
    pub fn busy(&self, device: usize) -> usize {
        self.times() + 2 + device
    }
    /// Seconds that a link transfers.
    pub fn link_busy(&self, from: usize, to: usize) -> usize {
        self.busy(self.devices) + from * self.devices + to
    }
    /// Bytes of a device that are taken for the whole run.
    pub fn held(&self, device: usize) -> usize {
        self.link_busy(self.devices, 0) + device
    }
    /// Most bytes of values and work that a device had beside them.
    pub fn peak(&self, device: usize) -> usize {
        self.held(self.devices) + device
    }
    /// Bytes of values on a device now.
    fn live(&self, device: usize) -> usize {
        self.peak(self.devices) + device
    }
    /// Numbers of a state.
    pub fn len(&self) -> usize {
        self.live(self.devices)
    }

    /// Seconds of a transfer; `None` without a link.
    pub fn send_seconds(&self, value: usize, from: usize, to: usize) -> Option<f64> {
        let (latency, rate, _) = self.links[from * self.devices + to]?;
        Some(latency + self.problem.values()[value].bytes as f64 / rate)
    }

    /// Joules of a transfer; `None` without a link.
    pub fn send_joules(&self, value: usize, from: usize, to: usize) -> Option<f64> {
        let (_, _, joules) = self.links[from * self.devices + to]?;
        Some(joules * self.problem.values()[value].bytes as f64)
    }

    /// Joules beyond idling of a device that computes for some seconds.
    pub fn active_joules(&self, device: usize, seconds: f64) -> f64 {
        self.active_watts[device] * seconds
    }

    /// Watts of all devices when they idle.
    pub fn idle_watts(&self) -> f64 {
        self.idle_watts
    }

    /// Nothing placed: inputs on their device, all devices and links free at 0.
    pub fn begin(&self) -> (Vec<f64>, Vec<Code>) {
        let (mut state, mut codes) = (vec![0.0; self.len()], vec![0; self.slots]);
        for slot in 0..self.slots {
            for device in 0..self.devices {
                state[self.available(slot, device)] = f64::INFINITY;
            }
        }
        let host = self.problem.machine().host;
        for (v, value) in self.problem.values().iter().enumerate() {
            if value.maker.is_none() || self.is_output[v] {
                state[self.held(host)] += value.bytes as f64;
            }
            if let (None, Some(slot)) = (value.maker, self.slot(v)) {
                codes[slot] = code(self.source);
                state[self.available(slot, self.source)] = 0.0;
            }
        }
        (state, codes)
    }

    /// Places one node more.
    ///
    /// # Errors
    /// Where the node cannot run, or a value cannot go; the state is then of no use.
    pub fn step(
        &self,
        node: usize,
        device: usize,
        state: &mut [f64],
        codes: &mut [Code],
        witness: &mut impl Witness,
    ) -> Result<(), Stuck> {
        let cost = *self.problem.cost(node, device).ok_or(Stuck::Refused)?;
        let mut ready: f64 = 0.0;
        let mut launches = self.reads[node].is_empty();
        for &value in &self.reads[node] {
            let slot = self.slot[value];
            let home = home(codes[slot]);
            launches |= home != device;
            if !has(codes[slot], device) {
                self.send(value, home, device, state, codes, witness)?;
            }
            ready = ready.max(state[self.available(slot, device)]);
        }
        let seconds = cost.seconds + if launches { self.problem.devices()[device].launch_seconds } else { 0.0 };
        let begin = ready.max(state[self.free(device)]);
        let end = begin + seconds;
        witness.run(node, device, begin, end, launches);
        state[self.free(device)] = end;
        state[self.busy(device)] += seconds;
        state[self.energy()] += self.active_joules(device, seconds) + cost.joules;
        state[self.end()] = state[self.end()].max(end);
        state[self.held(device)] += cost.held_bytes as f64;
        for &value in &self.makes[node] {
            let slot = self.slot[value];
            codes[slot] = code(device);
            state[self.available(slot, device)] = end;
            state[self.live(device)] += self.live_bytes(value, device);
        }
        let total = state[self.live(device)] + cost.work_bytes as f64;
        state[self.peak(device)] = state[self.peak(device)].max(total);
        let host = self.problem.machine().host;
        for &value in &self.makes[node] {
            if self.is_output[value] && device != host {
                self.send(value, device, host, state, codes, witness)?;
            }
        }
        for &value in &self.dies[node] {
            let slot = self.slot[value];
            for d in (0..self.devices).filter(|&d| has(codes[slot], d)) {
                state[self.live(d)] -= self.live_bytes(value, d);
                state[self.available(slot, d)] = f64::INFINITY;
            }
            codes[slot] = 0;
        }
        Ok(())
    }

    /// The objective when every node has been placed.
    pub fn objective(&self, objective: Objective, state: &[f64]) -> f64 {
        match objective {
            Objective::Latency => state[self.end()],
            Objective::Period => {
                state[self.busy(0)..self.link_busy(self.devices, 0)].iter().fold(0.0, |max, &b| max.max(b))
            }
            Objective::Energy => state[self.energy()] + self.idle_watts * state[self.end()],
        }
    }

    /// Bytes that a device needs, so far.
    pub fn needed(&self, state: &[f64], device: usize) -> f64 {
        state[self.held(device)] + state[self.peak(device)]
    }

    /// Bytes of a value while it lives on a device. Those of the caller are held on the host and are not counted again.
    fn live_bytes(&self, value: usize, device: usize) -> f64 {
        let callers = self.is_output[value] || self.problem.values()[value].maker.is_none();
        if callers && device == self.problem.machine().host { 0.0 } else { self.problem.values()[value].bytes as f64 }
    }

    fn send(
        &self,
        value: usize,
        from: usize,
        to: usize,
        state: &mut [f64],
        codes: &mut [Code],
        witness: &mut impl Witness,
    ) -> Result<(), Stuck> {
        let stuck = Stuck::NoLink { value, from, to };
        let seconds = self.send_seconds(value, from, to).ok_or(stuck)?;
        let joules = self.send_joules(value, from, to).ok_or(stuck)?;
        let slot = self.slot[value];
        let begin = state[self.available(slot, from)].max(state[self.link(from, to)]);
        let end = begin + seconds;
        witness.transfer(value, from, to, begin, end);
        state[self.link(from, to)] = end;
        state[self.link_busy(from, to)] += seconds;
        state[self.energy()] += joules;
        state[self.end()] = state[self.end()].max(end);
        state[self.available(slot, to)] = end;
        state[self.live(to)] += self.live_bytes(value, to);
        codes[slot] |= 1 << to;
        Ok(())
    }
}

/// A slot for each value, such that values that live at the same step have different ones, and the number of slots.
fn slots(problem: &Problem, makes: &[Vec<usize>], dies: &[Vec<usize>], readers: &[Vec<usize>]) -> (Vec<usize>, usize) {
    let mut slot = vec![NO_SLOT; problem.values().len()];
    let (mut spare, mut count) = (Vec::new(), 0);
    let mut take = |spare: &mut Vec<usize>| {
        spare.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        })
    };
    for (v, value) in problem.values().iter().enumerate() {
        if value.maker.is_none() && !readers[v].is_empty() {
            slot[v] = take(&mut spare);
        }
    }
    for &n in problem.order() {
        for &v in &makes[n] {
            slot[v] = take(&mut spare);
        }
        spare.extend(dies[n].iter().map(|&v| slot[v]));
    }
    (slot, count)
}
