//! Sums of seconds that no schedule undercuts: mixes of paths and loads.
//!
//! A latency is at least the length of every path, and at least the load of every device and link. Where a node is before or
//! after every other one, the order has a cut: what lies between two cuts runs between them, so a path may also go from cut to
//! cut by the load of one device or link between the two. A mix is a weighted mean of such chains, and therefore a bound, but
//! one that is a sum over nodes and transfers. Good mixes come from play: one side places nodes so that the mix is small, the
//! other answers with the longest chain of that placement, and the mix is the mean of the answers.

use super::state::Layout;

/// Where the order has cuts, and what lies between.
pub(super) struct Stages {
    /// Stage of each node as a reader, and as what loads a device; a cut belongs to the stage that it ends.
    pub of: Vec<usize>,
    /// Stage in which the results of each node are sent.
    pub after: Vec<usize>,
    pub is_cut: Vec<bool>,
    /// How many there are.
    pub count: usize,
}

impl Stages {
    /// All nodes in one stage.
    pub fn one(layout: &Layout) -> Stages {
        let nodes = layout.position.len();
        Stages { of: vec![0; nodes], after: vec![0; nodes], is_cut: vec![false; nodes], count: 1 }
    }

    /// Stages between all cuts.
    pub fn new(layout: &Layout) -> Stages {
        let order = layout.problem.order();
        let nodes = order.len();
        let maker = |v: usize| layout.problem.values()[v].maker.map(|m| layout.position[m]);
        // Places of the latest node that each reads, and of the earliest that reads it.
        let latest = |i: usize| layout.reads[order[i]].iter().filter_map(|&v| maker(v)).max();
        let earliest = |i: usize| {
            let readers = layout.makes[order[i]].iter().filter_map(|&v| layout.readers[v].first());
            readers.map(|&r| layout.position[r]).min()
        };
        // All later nodes follow from one when each of them reads it or a later one.
        let mut follow = vec![true; nodes];
        let mut least = nodes;
        for i in (0..nodes).rev() {
            follow[i] = least >= i;
            least = latest(i).map_or(0, |l| least.min(l));
            if latest(i).is_none() {
                follow[..i].fill(false);
                break;
            }
        }
        let mut lead = vec![true; nodes];
        let mut most = 0;
        for i in 0..nodes {
            lead[i] = most <= i;
            match earliest(i) {
                Some(reader) => most = most.max(reader),
                None => {
                    lead[i + 1..].fill(false);
                    break;
                }
            }
        }
        let mut stages = Stages { of: vec![0; nodes], after: vec![0; nodes], is_cut: vec![false; nodes], count: 0 };
        for (i, &n) in order.iter().enumerate() {
            stages.of[n] = stages.count;
            if follow[i] && lead[i] {
                stages.is_cut[n] = true;
                stages.count += 1;
            }
            stages.after[n] = stages.count;
        }
        stages.count += 1;
        stages
    }
}

/// A weighted mean of chains.
#[derive(Clone)]
pub(super) struct Mix {
    /// Weight of each stage's devices, then links, at `stage * resources + resource`.
    pub loads: Vec<f64>,
    /// Weight of paths through each node.
    pub nodes: Vec<f64>,
    /// Weight of paths into a node from each node that it reads: as `layout.reads`, by the first value that joins them.
    pub reads: Vec<Vec<f64>>,
    /// Weight of paths that end with the transfer of an output.
    pub outputs: Vec<f64>,
    /// Weight of paths that end with a node.
    pub ends: Vec<f64>,
}

/// The number of devices and pairs of devices.
pub(super) fn resources(layout: &Layout) -> usize {
    layout.devices * (1 + layout.devices)
}

impl Mix {
    pub fn none(layout: &Layout, stages: &Stages) -> Mix {
        let nodes = layout.position.len();
        Mix {
            loads: vec![0.0; stages.count * resources(layout)],
            nodes: vec![0.0; nodes],
            reads: layout.reads.iter().map(|r| vec![0.0; r.len()]).collect(),
            outputs: vec![0.0; layout.problem.values().len()],
            ends: vec![0.0; nodes],
        }
    }

    /// Loads of every device that is used and every link, devices first in weight, and no paths but through cuts.
    pub fn loads(layout: &Layout, stages: &Stages, used: &[usize]) -> Mix {
        let mut mix = Mix::none(layout, stages);
        for stage in mix.loads.chunks_mut(resources(layout)) {
            for &d in used {
                stage[d] = 1.0;
            }
            for link in &layout.problem.machine().links {
                stage[layout.devices * (1 + link.from) + link.to] = 0.05;
            }
        }
        for (node, cut) in mix.nodes.iter_mut().zip(&stages.is_cut) {
            *node = if *cut { 1.0 } else { 0.0 };
        }
        mix.norm(layout);
        mix
    }

    /// Weighs each resource of each stage more, the more it is loaded.
    pub fn follow(&mut self, layout: &Layout, loads: &[f64], pace: f64) {
        let resources = resources(layout);
        for (weights, loads) in self.loads.chunks_mut(resources).zip(loads.chunks(resources)) {
            let most = loads.iter().fold(0.0, |max: f64, &l| max.max(l));
            if most > 0.0 {
                weights.iter_mut().zip(loads).for_each(|(w, l)| *w *= (pace * l / most).exp());
            }
        }
        self.norm(layout);
    }

    fn norm(&mut self, layout: &Layout) {
        for stage in self.loads.chunks_mut(resources(layout)) {
            let sum: f64 = stage.iter().sum();
            stage.iter_mut().for_each(|w| *w /= sum.max(f64::MIN_POSITIVE));
        }
    }

    /// Goes a part of the way to another mix.
    pub fn approach(&mut self, other: &Mix, part: f64) {
        let step = |to: &mut f64, from: &f64| *to += part * (from - *to);
        let lists = |m: &mut Vec<f64>, o: &Vec<f64>| m.iter_mut().zip(o).for_each(|(t, f)| step(t, f));
        lists(&mut self.loads, &other.loads);
        lists(&mut self.nodes, &other.nodes);
        lists(&mut self.outputs, &other.outputs);
        lists(&mut self.ends, &other.ends);
        self.reads.iter_mut().zip(&other.reads).for_each(|(m, o)| lists(m, o));
    }
}

/// How a chain came to a node.
#[derive(Clone, Copy)]
enum Way {
    Begin,
    /// By this entry of what it reads.
    Read(usize),
    /// By the load of a resource in the stage that it ends.
    Load(usize),
}

/// The longest chain of an assignment, as a mix, with or without loads; `None` where the assignment does not run.
pub(super) fn longest(layout: &Layout, stages: &Stages, assignment: &[usize], loaded: bool) -> Option<Mix> {
    let resources = resources(layout);
    let (problem, order) = (layout.problem, layout.problem.order());
    let host = problem.machine().host;
    let mut loads = stage_loads(layout, stages, assignment)?;
    if !loaded {
        loads.fill(0.0);
    }
    let heaviest = |stage: usize| -> (usize, f64) {
        let of = &loads[stage * resources..(stage + 1) * resources];
        of.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    };
    let mut ends = vec![0.0; order.len()];
    let mut ways = vec![Way::Begin; order.len()];
    let mut cut: Option<usize> = None;
    let mut cuts = vec![None; stages.count];
    for &n in order {
        let d = assignment[n];
        let mut launches = layout.reads[n].is_empty();
        let mut begin: f64 = 0.0;
        for (k, &v) in layout.reads[n].iter().enumerate() {
            let maker = problem.values()[v].maker;
            let from = maker.map_or(layout.source, |m| assignment[m]);
            launches |= from != d;
            let wait = if from == d { 0.0 } else { layout.send_seconds(v, from, d)? };
            let arrival = maker.map_or(0.0, |m| ends[m]) + wait;
            if arrival > begin {
                (begin, ways[n]) = (arrival, Way::Read(k));
            }
        }
        if stages.is_cut[n] {
            let (resource, seconds) = heaviest(stages.of[n]);
            let loaded = cut.map_or(0.0, |c| ends[c]) + seconds;
            if loaded > begin {
                (begin, ways[n]) = (loaded, Way::Load(resource));
            }
            cuts[stages.of[n]] = cut;
            cut = Some(n);
        }
        let launch = if launches { problem.devices()[d].launch_seconds } else { 0.0 };
        ends[n] = begin + launch + problem.cost(n, d)?.seconds;
    }
    let mut mix = Mix::none(layout, stages);
    let last = stages.count - 1;
    let (resource, seconds) = heaviest(last);
    let loaded = cut.map_or(0.0, |c| ends[c]) + seconds;
    let end = order.iter().copied().max_by(|&a, &b| ends[a].total_cmp(&ends[b]))?;
    let mut longest = ends[end];
    let mut at = Some(end);
    let mut output = None;
    for &n in order {
        for &v in layout.makes[n].iter().filter(|&&v| layout.is_output[v] && assignment[n] != host) {
            let arrival = ends[n] + layout.send_seconds(v, assignment[n], host)?;
            if arrival > longest {
                (longest, at, output) = (arrival, Some(n), Some(v));
            }
        }
    }
    if loaded > longest {
        mix.loads[last * resources + resource] = 1.0;
        at = cut;
    } else if let Some(v) = output {
        mix.outputs[v] = 1.0;
    } else {
        mix.ends[end] = 1.0;
    }
    while let Some(n) = at {
        mix.nodes[n] = 1.0;
        at = match ways[n] {
            Way::Begin => None,
            Way::Read(k) => {
                mix.reads[n][k] = 1.0;
                problem.values()[layout.reads[n][k]].maker
            }
            Way::Load(resource) => {
                mix.loads[stages.of[n] * resources + resource] = 1.0;
                cuts[stages.of[n]]
            }
        };
    }
    Some(mix)
}

/// Seconds of each device and link that lie between the cuts of each stage.
pub(super) fn stage_loads(layout: &Layout, stages: &Stages, assignment: &[usize]) -> Option<Vec<f64>> {
    let (devices, resources) = (layout.devices, resources(layout));
    let (problem, host) = (layout.problem, layout.problem.machine().host);
    let mut loads = vec![0.0; stages.count * resources];
    let last = stages.count - 1;
    for (n, &d) in assignment.iter().enumerate().filter(|(n, _)| !stages.is_cut[*n]) {
        let home = |v: usize| problem.values()[v].maker.map_or(layout.source, |m| assignment[m]);
        let launches = layout.reads[n].is_empty() || layout.reads[n].iter().any(|&v| home(v) != d);
        let launch = if launches { problem.devices()[d].launch_seconds } else { 0.0 };
        loads[stages.of[n] * resources + d] += problem.cost(n, d)?.seconds + launch;
    }
    for (v, value) in problem.values().iter().enumerate() {
        let (from, stage) = value.maker.map_or((layout.source, 0), |m| (assignment[m], stages.after[m]));
        for to in (0..devices).filter(|&to| to != from) {
            let here = layout.readers[v].iter().any(|&r| stages.of[r] == stage && assignment[r] == to);
            let leaves = layout.is_output[v] && value.maker.is_some() && to == host;
            if (here && !leaves) || (leaves && stage == last) {
                loads[stage * resources + devices * (1 + from) + to] += layout.send_seconds(v, from, to)?;
            }
        }
    }
    Some(loads)
}
