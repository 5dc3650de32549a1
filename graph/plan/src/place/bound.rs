//! How good a partial assignment can still become, and in which form two of them are compared.

use super::mix::{Mix, Stages, longest, resources, stage_loads};
use super::relax::{Relaxation, Weights};
use super::request::Task;
use super::state::{Code, Layout, has, home};
use super::{MAX_DEVICES, Objective};

/// Rounds in which the weights of devices and links are improved.
const ROUNDS: usize = 50;
/// Weighted bounds that are kept.
const KEPT: usize = 3;
/// Steps of relaxing that all rounds may take together.
const RELAXING: usize = 20_000_000;

/// Bounds and normal forms of states of one task.
pub(super) struct Bounds<'a> {
    task: &'a Task<'a>,
    layout: &'a Layout<'a>,
    /// Whether times, busy times or energy count.
    time: bool,
    period: bool,
    energy: bool,
    /// Devices whose memory may be too small.
    tight: Vec<usize>,
    /// Weighted sums of busy times, for the period.
    loads: Vec<(Vec<f64>, Relaxation)>,
    /// Bounds of the latency.
    chains: Vec<Chain>,
    joules: Option<Relaxation>,
    /// Bounds of energy and idling together.
    idling: Vec<Chain>,
    /// Least seconds from the end of a node on a device to the end of all, at `node * devices + device`.
    tails: Vec<f64>,
    points: Vec<Point>,
    /// Assignments that the relaxations prefer.
    pub favourites: Vec<Vec<usize>>,
    /// Bound of all assignments.
    pub root: f64,
}

/// A mix of chains with what of it lies behind each point of the order.
struct Chain {
    relaxation: Relaxation,
    /// Weights of devices and links now.
    loads: Vec<Vec<f64>>,
    /// Slots of placed values with the weight of paths that go on from them.
    crossing: Vec<Vec<(usize, f64)>>,
    /// Weight of paths that have ended.
    ended: Vec<f64>,
}

/// What is known of the rest of the order at a point of it.
#[derive(Default)]
struct Point {
    /// Unplaced nodes that read a placed value, and whether all that they read is placed.
    touching: Vec<(usize, bool)>,
    /// Whether an unplaced node reads no node.
    source: bool,
    /// Least seconds that such nodes take to the end of all.
    source_seconds: f64,
    /// Slots of placed values.
    live: Vec<usize>,
    /// Devices that unplaced nodes may go to.
    used: Vec<usize>,
}

impl<'a> Bounds<'a> {
    pub fn new(task: &'a Task<'a>, layout: &'a Layout<'a>) -> Bounds<'a> {
        let idles = layout.idle_watts() > 0.0;
        let time = task.objective == Objective::Latency
            || task.latency.is_some()
            || (task.objective == Objective::Energy && idles);
        let (period, energy) = (task.objective == Objective::Period, task.objective == Objective::Energy);
        let tails = tails(task, layout);
        let points = points(task, layout, &tails);
        let mut bounds = Bounds {
            task,
            layout,
            time,
            period,
            energy,
            tight: (0..layout.devices).filter(|&d| most_bytes(layout, d) > task.memory[d] as f64).collect(),
            loads: Vec::new(),
            chains: Vec::new(),
            joules: None,
            idling: Vec::new(),
            tails,
            points,
            favourites: Vec::new(),
            root: 0.0,
        };
        let stages = Stages::new(layout);
        if period {
            bounds.weigh();
        }
        if energy {
            let mix = Mix::none(layout, &stages);
            let weights = Weights { layout, stages: &stages, mix: &mix, seconds: 0.0, joules: 1.0 };
            let joules = Relaxation::new(task, layout, &weights);
            bounds.favourites.push(joules.favourite.clone());
            bounds.joules = Some(joules.unfold(task, layout, &weights));
        }
        if time {
            bounds.chains = bounds.play(&stages, 1.0, 0.0);
        }
        if time && energy && idles {
            bounds.idling = bounds.play(&stages, layout.idle_watts(), 1.0);
        }
        let (mut state, codes) = layout.begin();
        bounds.root = bounds.settle(0, &mut state, &codes).unwrap_or(f64::INFINITY);
        bounds
    }

    /// Whether the energy or what else is asked for is a sum over nodes, launches and transfers, and nothing more.
    pub fn is_sum(&self) -> bool {
        self.energy && !self.time
    }

    /// Whether blocks that follow one another take sums of what each takes, and nothing else is bounded.
    pub fn joins(&self) -> bool {
        self.time && self.task.latency.is_none() && self.tight.is_empty()
    }

    /// Brings a state to its normal form, in which numbers that cannot matter any more are equal, and bounds the objective of
    /// all that can follow. `None` when nothing that follows keeps the bounds of the request.
    pub fn settle(&self, placed: usize, state: &mut [f64], codes: &[Code]) -> Option<f64> {
        let layout = self.layout;
        for &d in &self.tight {
            if layout.needed(state, d) > self.task.memory[d] as f64 {
                return None;
            }
        }
        if self.time {
            self.wait(placed, state, codes);
            let end = self.end(placed, state, codes);
            // No completion ends before its bound, so the state may already say so.
            state[layout.end()] = end;
            // Bounds are sums in another order than what they bound.
            if !end.is_finite() || self.task.latency.is_some_and(|l| end > l * (1.0 + 1e-12)) {
                return None;
            }
        }
        let bound = match self.task.objective {
            Objective::Latency => state[layout.end()],
            Objective::Period => {
                let now = layout.objective(Objective::Period, state);
                self.loads.iter().fold(now, |max, (weights, relaxation)| {
                    let busy = &state[layout.busy(0)..layout.link_busy(layout.devices, 0)];
                    max.max(dot(weights, busy) + relaxation.rest(placed, codes))
                })
            }
            Objective::Energy => {
                let rest = self.joules.as_ref().map_or(0.0, |j| j.rest(placed, codes));
                // Without idling the end is not kept and does not count.
                let watts = layout.idle_watts();
                let idle = if self.time { watts * state[layout.end()] } else { 0.0 };
                self.idling.iter().fold(state[layout.energy()] + rest + idle, |max, chain| {
                    let idle = watts * chain.begun(layout, placed, state, codes);
                    max.max(state[layout.energy()] + idle + chain.relaxation.rest(placed, codes))
                })
            }
        };
        bound.is_finite().then_some(bound)
    }

    /// Forgets what is known of the rest of the order, but for what touches placed nodes.
    #[cfg(test)]
    pub fn blind(&mut self) {
        self.loads.clear();
        self.chains.clear();
        self.idling.clear();
        self.joules = None;
        self.tails.fill(0.0);
        self.root = 0.0;
    }

    /// Places of the numbers in which a settled state may be worse than another one with equal codes.
    pub fn compared(&self, placed: usize) -> Vec<usize> {
        let (layout, point) = (self.layout, &self.points[placed]);
        let links = || layout.problem.machine().links.iter().map(|l| (l.from, l.to));
        let mut places = Vec::new();
        if self.time {
            places.push(layout.end());
            places.extend(point.used.iter().map(|&d| layout.free(d)));
            places.extend(links().map(|(a, b)| layout.link(a, b)));
            places.extend(point.live.iter().flat_map(|&s| (0..layout.devices).map(move |d| layout.available(s, d))));
        }
        if self.period {
            places.extend((0..layout.devices).map(|d| layout.busy(d)));
            places.extend(links().map(|(a, b)| layout.link_busy(a, b)));
        }
        if self.energy {
            places.push(layout.energy());
        }
        places.extend(self.tight.iter().flat_map(|&d| [layout.held(d), layout.peak(d)]));
        places
    }

    /// Raises times to the earliest one at which they can matter.
    fn wait(&self, placed: usize, state: &mut [f64], codes: &[Code]) {
        let (layout, point) = (self.layout, &self.points[placed]);
        // Nothing unplaced begins before the first node whose operands are all placed can.
        let mut first = if point.source { 0.0 } else { f64::INFINITY };
        for &(node, _) in point.touching.iter().filter(|(_, ready)| *ready) {
            let begin = layout.reads[node]
                .iter()
                .filter_map(|&v| layout.slot(v))
                .fold(0.0, |max: f64, slot| max.max(state[layout.available(slot, home(codes[slot]))]));
            first = first.min(begin);
        }
        if first.is_infinite() {
            return;
        }
        for d in 0..layout.devices {
            state[layout.free(d)] = state[layout.free(d)].max(first);
        }
        let mut links = [first; MAX_DEVICES * MAX_DEVICES];
        for &slot in &point.live {
            let (code, home) = (codes[slot], home(codes[slot]));
            let made = state[layout.available(slot, home)];
            for d in (0..layout.devices).filter(|&d| d != home) {
                if has(code, d) {
                    let copy = layout.available(slot, d);
                    state[copy] = state[copy].max(first);
                } else {
                    let earliest = &mut links[home * layout.devices + d];
                    *earliest = earliest.min(made);
                }
            }
        }
        for (i, &earliest) in links.iter().enumerate().take(layout.devices * layout.devices) {
            let link = layout.link(i / layout.devices, i % layout.devices);
            state[link] = state[link].max(earliest);
        }
    }

    /// Bound of the latency.
    fn end(&self, placed: usize, state: &[f64], codes: &[Code]) -> f64 {
        let (layout, point) = (self.layout, &self.points[placed]);
        let mut end = state[layout.end()].max(point.source_seconds);
        for &(node, _) in &point.touching {
            let mut best = f64::INFINITY;
            for d in self.task.choices(node) {
                let mut begin = state[layout.free(d)];
                let mut launches = false;
                for slot in layout.reads[node].iter().filter_map(|&v| layout.slot(v).map(|s| (v, s))) {
                    let (value, slot) = slot;
                    // An empty slot, or one that still belongs to another value, is of a value that is not placed.
                    if !self.is_placed(placed, value) {
                        continue;
                    }
                    let home = home(codes[slot]);
                    launches |= home != d;
                    begin = begin.max(if has(codes[slot], d) {
                        state[layout.available(slot, d)]
                    } else {
                        let seconds = layout.send_seconds(value, home, d).unwrap_or(f64::INFINITY);
                        state[layout.available(slot, home)].max(state[layout.link(home, d)]) + seconds
                    });
                }
                let launch = if launches { self.task.problem.devices()[d].launch_seconds } else { 0.0 };
                let seconds = self.task.problem.cost(node, d).map_or(f64::INFINITY, |c| c.seconds);
                best = best.min(begin + launch + seconds + self.tails[node * layout.devices + d]);
            }
            end = end.max(best);
        }
        self.chains.iter().fold(end, |max, chain| {
            max.max(chain.begun(layout, placed, state, codes) + chain.relaxation.rest(placed, codes))
        })
    }

    fn is_placed(&self, placed: usize, value: usize) -> bool {
        self.task.problem.values()[value].maker.is_none_or(|m| self.layout.position[m] < placed)
    }

    /// Rounds of play that a problem of this size has time for.
    fn rounds(&self) -> usize {
        let nodes = self.task.problem.nodes().len();
        (RELAXING / (nodes * resources(self.layout))).min(8 + nodes / 2).clamp(2, ROUNDS)
    }

    /// Finds weights under which the weighted sum of loads is large whatever is placed where.
    fn weigh(&mut self) {
        let (task, layout) = (self.task, self.layout);
        let stages = Stages::one(layout);
        let mut found = self.heavy(&stages, 1.0, 0.0);
        found.truncate(KEPT);
        for (_, mix) in found {
            let weights = Weights { layout, stages: &stages, mix: &mix, seconds: 1.0, joules: 0.0 };
            let relaxation = Relaxation::new(task, layout, &weights).unfold(task, layout, &weights);
            self.loads.push((mix.loads, relaxation));
        }
    }

    /// Finds mixes of chains that are long, with energy, whatever is placed where.
    fn play(&mut self, stages: &Stages, seconds: f64, joules: f64) -> Vec<Chain> {
        let (task, layout) = (self.task, self.layout);
        let mut found = self.heavy(stages, seconds, joules);
        found.truncate(KEPT);
        let heavy = found.first().map(|f| f.1.clone());
        let long = self.answer(&mut found, stages, Mix::none(layout, stages), seconds, joules, false);
        if let (Some(heavy), Some(long)) = (heavy, long) {
            let between = [0.25, 0.5, 0.75].map(|part| {
                let mut mix = heavy.clone();
                mix.approach(&long, part);
                (self.root_of(stages, &mix, seconds, joules), mix)
            });
            found.extend(between);
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        if let Some((_, mix)) = found.first().cloned() {
            self.answer(&mut found, stages, mix, seconds, joules, true);
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(KEPT);
        let chain = |(_, mix): (f64, Mix)| {
            let weights = Weights { layout, stages, mix: &mix, seconds, joules };
            let relaxation = Relaxation::new(task, layout, &weights).unfold(task, layout, &weights);
            Chain::new(layout, stages, &mix, relaxation)
        };
        found.into_iter().map(chain).collect()
    }

    /// Mixes of loads with their bounds, the largest first.
    fn heavy(&mut self, stages: &Stages, seconds: f64, joules: f64) -> Vec<(f64, Mix)> {
        let (task, layout) = (self.task, self.layout);
        let nodes = task.problem.nodes().len();
        let used: Vec<usize> = (0..layout.devices).filter(|&d| (0..nodes).any(|n| task.allows(n, d))).collect();
        let mut mix = Mix::loads(layout, stages, &used);
        let mut found = Vec::new();
        for round in 0..self.rounds() {
            let weights = Weights { layout, stages, mix: &mix, seconds, joules };
            let relaxation = Relaxation::new(task, layout, &weights);
            found.push((relaxation.root(), mix.clone()));
            let loads = stage_loads(layout, stages, &relaxation.favourite);
            self.favourites.push(relaxation.favourite);
            let Some(loads) = loads else { break };
            mix.follow(layout, &loads, 2.0 / (1.0 + round as f64 * 0.3));
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found
    }

    /// Rounds of play from a mix, each of which goes a smaller part of the way to the answer; the last mix.
    fn answer(
        &mut self,
        found: &mut Vec<(f64, Mix)>,
        stages: &Stages,
        mut mix: Mix,
        seconds: f64,
        joules: f64,
        loaded: bool,
    ) -> Option<Mix> {
        let (task, layout) = (self.task, self.layout);
        // From nothing the first answer counts in full; a good mix is changed little.
        let known = if loaded { 8.0 } else { 0.0 };
        for round in 0..self.rounds() {
            let weights = Weights { layout, stages, mix: &mix, seconds, joules };
            let relaxation = Relaxation::new(task, layout, &weights);
            let root = relaxation.root();
            let answer = longest(layout, stages, &relaxation.favourite, loaded);
            self.favourites.push(relaxation.favourite);
            if loaded || round > 0 {
                found.push((root, mix.clone()));
            }
            mix.approach(&answer?, 1.0 / (1.0 + known + round as f64));
        }
        Some(mix)
    }

    fn root_of(&self, stages: &Stages, mix: &Mix, seconds: f64, joules: f64) -> f64 {
        let weights = Weights { layout: self.layout, stages, mix, seconds, joules };
        Relaxation::new(self.task, self.layout, &weights).root()
    }
}

impl Chain {
    fn new(layout: &Layout, stages: &Stages, mix: &Mix, relaxation: Relaxation) -> Chain {
        let order = layout.problem.order();
        let points = order.len() + 1;
        let stage = |placed: usize| order.get(placed).map_or(stages.count - 1, |&n| stages.of[n]);
        let resources = resources(layout);
        let loads = (0..points).map(|i| mix.loads[stage(i) * resources..(stage(i) + 1) * resources].to_vec()).collect();
        let mut crossing = vec![Vec::new(); points];
        let mut ended = vec![0.0; points];
        for (i, &n) in order.iter().enumerate() {
            for (&v, &weight) in layout.reads[n].iter().zip(&mix.reads[n]).filter(|(_, w)| **w > 0.0) {
                let (Some(maker), Some(slot)) = (layout.problem.values()[v].maker, layout.slot(v)) else { continue };
                for point in &mut crossing[layout.position[maker] + 1..=i] {
                    point.push((slot, weight));
                }
            }
            let weight = mix.ends[n] + layout.makes[n].iter().map(|&v| mix.outputs[v]).sum::<f64>();
            ended[i + 1..].iter_mut().for_each(|e| *e += weight);
        }
        Chain { relaxation, loads, crossing, ended }
    }

    /// Seconds of the mix that lie behind a point.
    fn begun(&self, layout: &Layout, placed: usize, state: &[f64], codes: &[Code]) -> f64 {
        let free = &state[layout.free(0)..layout.link(layout.devices, 0)];
        let crossing = self.crossing[placed]
            .iter()
            .map(|&(slot, weight)| weight * state[layout.available(slot, home(codes[slot]))]);
        dot(&self.loads[placed], free) + crossing.sum::<f64>() + self.ended[placed] * state[layout.end()]
    }
}

fn dot(weights: &[f64], numbers: &[f64]) -> f64 {
    weights.iter().zip(numbers).map(|(w, n)| w * n).sum()
}

/// More bytes than any assignment needs on a device.
fn most_bytes(layout: &Layout, device: usize) -> f64 {
    let values: f64 = layout.problem.values().iter().map(|v| v.bytes as f64).sum();
    let costs = || (0..layout.problem.nodes().len()).filter_map(|n| layout.problem.cost(n, device));
    let held: f64 = costs().map(|c| c.held_bytes as f64).sum();
    values + held + costs().fold(0.0, |max: f64, c| max.max(c.work_bytes as f64))
}

fn tails(task: &Task, layout: &Layout) -> Vec<f64> {
    let (devices, host) = (layout.devices, task.problem.machine().host);
    let mut tails = vec![0.0; task.problem.nodes().len() * devices];
    for &n in task.problem.order().iter().rev() {
        for d in task.choices(n) {
            let send = |v, to| if to == d { 0.0 } else { layout.send_seconds(v, d, to).unwrap_or(f64::INFINITY) };
            let mut tail: f64 = 0.0;
            for &v in &layout.makes[n] {
                if layout.is_output[v] {
                    tail = tail.max(send(v, host));
                }
                for &r in &layout.readers[v] {
                    let after = task.choices(r).fold(f64::INFINITY, |min, to| {
                        let seconds = task.problem.cost(r, to).map_or(f64::INFINITY, |c| c.seconds);
                        let launch = if to == d { 0.0 } else { task.problem.devices()[to].launch_seconds };
                        min.min(send(v, to) + launch + seconds + tails[r * devices + to])
                    });
                    tail = tail.max(after);
                }
            }
            tails[n * devices + d] = tail;
        }
    }
    tails
}

fn points(task: &Task, layout: &Layout, tails: &[f64]) -> Vec<Point> {
    let order = task.problem.order();
    let values = task.problem.values();
    let mut points: Vec<Point> = Vec::new();
    points.resize_with(order.len() + 1, Point::default);
    for (v, value) in values.iter().enumerate() {
        let (Some(slot), Some(&last)) = (layout.slot(v), layout.readers[v].last()) else { continue };
        let made = value.maker.map_or(0, |m| layout.position[m] + 1);
        for point in &mut points[made..=layout.position[last]] {
            point.live.push(slot);
        }
    }
    for (i, &n) in order.iter().enumerate() {
        let makers = || layout.reads[n].iter().filter_map(|&v| values[v].maker).map(|m| layout.position[m] + 1);
        match (makers().min(), makers().max()) {
            (Some(first), Some(last)) => {
                for (k, point) in points.iter_mut().enumerate().take(i + 1).skip(first) {
                    point.touching.push((n, k >= last));
                }
            }
            _ => {
                let seconds = task.choices(n).fold(f64::INFINITY, |min, d| {
                    let seconds = task.problem.cost(n, d).map_or(f64::INFINITY, |c| c.seconds);
                    min.min(seconds + tails[n * layout.devices + d])
                });
                for point in &mut points[..=i] {
                    point.source = true;
                    point.source_seconds = point.source_seconds.max(seconds);
                }
            }
        }
    }
    let mut used = vec![false; layout.devices];
    for (i, &n) in order.iter().enumerate().rev() {
        for d in task.choices(n) {
            used[d] = true;
        }
        points[i].used = (0..layout.devices).filter(|&d| used[d]).collect();
    }
    points
}
