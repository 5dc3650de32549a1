//! The best assignment, with a proof or with how far from the best it may be.

use super::blocks::{FEWEST, blocks, join};
use super::bound::Bounds;
use super::cut::cut;
use super::descent::{Score, descend, less, score};
use super::frontier::{self, Effort};
use super::measure::{Measure, check_measure, measure_with};
use super::request::Task;
use super::state::Layout;
use super::{Objective, PlaceError, Problem, Request};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Partial assignments that a search looks at unless told otherwise: well under a second for hundreds of nodes.
pub const LABELS: usize = 200_000;
/// Node placements that improving one start may take.
const STEPS: usize = 150_000;
/// Starts that are improved.
const STARTS: usize = 3;
/// A gap that is rounding, relatively.
const ROUNDING: f64 = 1e-9;

/// How a placement is known to be the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Every node has one device.
    OnlyChoice,
    /// A minimum cut between two devices.
    Cut,
    /// Dynamic programming along a chain.
    Chain,
    /// Every assignment was looked at, or one that is as good, over the frontier of live values.
    Frontier,
    /// The lower bound meets it.
    Bound,
    /// It is not known to be the best; see [`Placement::gap`].
    None,
}

/// An assignment with what it costs and how good it is known to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Index of the device of each node.
    pub assignment: Vec<usize>,
    /// What was to be small.
    pub objective: Objective,
    /// Its value, in [`Objective::unit`].
    pub value: f64,
    /// No assignment that keeps the request has a smaller value than this.
    pub bound: f64,
    /// How the value is known to be the smallest, to nine digits.
    pub proof: Proof,
    /// Partial assignments looked at.
    pub labels: usize,
    /// What it costs, with its timeline.
    pub measure: Measure,
}

impl Placement {
    /// The part of the value, 0..=1, by which the best placement may be smaller.
    pub fn gap(&self) -> f64 {
        if self.value > 0.0 { ((self.value - self.bound) / self.value).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// How good it is known to be, as a phrase.
    pub fn quality(&self) -> String {
        match self.proof {
            Proof::OnlyChoice => "exact: every node has one device".to_owned(),
            Proof::Cut => "exact by a minimum cut between two devices".to_owned(),
            Proof::Chain => "exact by dynamic programming along the chain".to_owned(),
            Proof::Frontier => "exact by dynamic programming over the frontier".to_owned(),
            Proof::Bound => "exact: the lower bound meets it".to_owned(),
            Proof::None => format!("within {:.2} % of the best", self.gap() * 100.0),
        }
    }

    /// Whether no placement is better, up to rounding.
    pub fn is_exact(&self) -> bool {
        self.proof != Proof::None
    }
}

/// One sentence: the value, and how good it is known to be.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) = (self.objective.name(), self.objective.unit());
        write!(f, "{name} {:.6e} {unit}, {}", self.value, self.quality())
    }
}

/// Finds the best placement, looking at no more than about `labels` partial ones (see [`LABELS`]).
///
/// The same arguments give the same placement.
///
/// # Errors
/// [`PlaceError::Invalid`] for names that are unknown; what makes it impossible: [`PlaceError::Nowhere`],
/// [`PlaceError::Unlinked`], [`PlaceError::NoRoom`], [`PlaceError::TooSlow`]; [`PlaceError::NotFound`] when that is not known.
pub fn search(problem: &Problem, request: &Request, labels: usize) -> Result<Placement, PlaceError> {
    let task = Task::new(problem, request)?;
    task.check_choices()?;
    let layout = Layout::new(problem);
    match solve(&task, &layout, labels) {
        Solved::Best(found) => finish(&task, &layout, found),
        Solved::Nothing { proven, labels: used } => Err(why_nothing(&task, &layout, labels, proven, used)),
    }
}

pub(super) struct Best {
    pub assignment: Vec<usize>,
    pub value: f64,
    pub bound: f64,
    proof: Proof,
    pub labels: usize,
}

pub(super) enum Solved {
    Best(Best),
    Nothing { proven: bool, labels: usize },
}

fn finish(task: &Task, layout: &Layout, found: Best) -> Result<Placement, PlaceError> {
    let measure = measure_with(layout, &found.assignment)?;
    check_measure(task, &found.assignment, &measure)?;
    let value = measure.value(task.objective);
    Ok(Placement {
        assignment: found.assignment,
        objective: task.objective,
        value,
        bound: found.bound.min(value),
        proof: found.proof,
        labels: found.labels,
        measure,
    })
}

pub(super) fn solve(task: &Task, layout: &Layout, labels: usize) -> Solved {
    let nodes = task.problem.nodes().len();
    if (0..nodes).all(|n| task.choices(n).count() == 1) {
        let assignment: Vec<usize> = (0..nodes).filter_map(|n| task.choices(n).next()).collect();
        let score = score(task, layout, &assignment);
        return if score.0 > 0.0 {
            Solved::Nothing { proven: true, labels: 1 }
        } else {
            Solved::Best(Best { assignment, value: score.1, bound: score.1, proof: Proof::OnlyChoice, labels: 1 })
        };
    }
    let bounds = Bounds::new(task, layout);
    if bounds.root.is_infinite() {
        return Solved::Nothing { proven: true, labels: 0 };
    }
    let mut best: Option<(Vec<usize>, f64)> = None;
    let mut root = bounds.root;
    let keep = |assignment: Vec<usize>, score: Score, best: &mut Option<(Vec<usize>, f64)>| {
        let better = best.as_ref().is_none_or(|(_, value)| less((0.0, score.1), (0.0, *value)));
        if score.0 <= 0.0 && score.1.is_finite() && better {
            *best = Some((assignment, score.1));
        }
    };
    if bounds.is_sum()
        && let [a, b] = used(task)[..]
    {
        let Some(assignment) = cut(task, layout, a, b) else {
            return Solved::Nothing { proven: true, labels: 0 };
        };
        let score = score(task, layout, &assignment);
        // Memory does not count in the cut, so without it nothing is cheaper.
        root = root.max(score.1);
        if score.0 <= 0.0 {
            let value = score.1;
            return Solved::Best(Best { assignment, value, bound: value, proof: Proof::Cut, labels: 0 });
        }
    }
    let mut starts: Vec<(Score, Vec<usize>)> = Vec::new();
    if task.latency.is_some() && task.objective != Objective::Latency {
        // The fastest placement keeps the latency bound if any does.
        if let Solved::Best(fastest) = solve(&task.relaxed(Objective::Latency, true), layout, labels / 4) {
            starts.push((score(task, layout, &fastest.assignment), fastest.assignment));
        }
    }
    for start in simple(task).into_iter().chain(bounds.favourites.iter().cloned()) {
        if !starts.iter().any(|(_, s)| *s == start) {
            starts.push((score(task, layout, &start), start));
        }
    }
    starts.sort_by(|(a, _), (b, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for (_, start) in starts.iter().take(STARTS) {
        let (assignment, score) = descend(task, layout, start, STEPS);
        keep(assignment, score, &mut best);
    }
    let known = |best: &Option<(Vec<usize>, f64)>| best.as_ref().map_or(f64::INFINITY, |b| b.1);
    let mut looked = 0;
    let mut bound = root;
    // A narrow search first: what it finds, and improves to, makes the others drop more.
    let blocks = if bounds.joins() { blocks(layout, FEWEST) } else { Vec::new() };
    let ways = if blocks.len() > 1 {
        [(8, Way::Narrow), (2, Way::Blocks), (2, Way::Thorough)]
    } else {
        [(8, Way::Narrow), (2, Way::Thorough), (2, Way::Narrow)]
    };
    for (share, way) in ways {
        if known(&best) <= bound * (1.0 + ROUNDING) {
            break;
        }
        if way == Way::Blocks {
            let joined = join(task, layout, &blocks, labels / share);
            looked += joined.labels;
            if let Some(assignment) = joined.assignment {
                let score = score(task, layout, &assignment);
                keep(assignment, score, &mut best);
            }
            bound = bound.max(joined.bound.min(known(&best)));
            if known(&best) <= joined.bound * (1.0 + ROUNDING) {
                return proven(best, Proof::Frontier, looked);
            }
            continue;
        }
        let thorough = way == Way::Thorough;
        let effort = if thorough { Effort::Proof(bound) } else { Effort::Even };
        let found = frontier::search(task, layout, &bounds, known(&best), labels / share, effort);
        looked += found.labels;
        if let Some(assignment) = found.assignment {
            let score = score(task, layout, &assignment);
            let improved = descend(task, layout, &assignment, STEPS);
            keep(assignment, score, &mut best);
            keep(improved.0, improved.1, &mut best);
        }
        bound = bound.max(found.dropped.min(known(&best)));
        if found.dropped.is_infinite() {
            return proven(best, if is_chain(layout) { Proof::Chain } else { Proof::Frontier }, looked);
        }
    }
    match best {
        Some((assignment, value)) => {
            let proof = if value <= bound * (1.0 + ROUNDING) { Proof::Bound } else { Proof::None };
            Solved::Best(Best { assignment, value, bound, proof, labels: looked })
        }
        None => Solved::Nothing { proven: false, labels: looked },
    }
}

fn proven(best: Option<(Vec<usize>, f64)>, proof: Proof, labels: usize) -> Solved {
    match best {
        Some((assignment, value)) => Solved::Best(Best { assignment, value, bound: value, proof, labels }),
        None => Solved::Nothing { proven: true, labels },
    }
}

/// How a part of the budget is spent.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Evenly over the order.
    Narrow,
    /// Block by block.
    Blocks,
    /// For a proof.
    Thorough,
}

/// Devices that any node may go to.
fn used(task: &Task) -> Vec<usize> {
    let nodes = task.problem.nodes().len();
    (0..task.problem.devices().len()).filter(|&d| (0..nodes).any(|n| task.allows(n, d))).collect()
}

/// As much as may be on one device, the rest where it takes least time; one assignment a device, and that of least time alone.
fn simple(task: &Task) -> Vec<Vec<usize>> {
    let seconds = |n: usize, d: usize| task.problem.cost(n, d).map_or(f64::INFINITY, |c| c.seconds);
    let fastest =
        |n: usize| task.choices(n).min_by(|&a, &b| seconds(n, a).total_cmp(&seconds(n, b))).unwrap_or_default();
    let prefer = |d: usize| move |n: usize| if task.allows(n, d) { d } else { fastest(n) };
    let nodes = task.problem.nodes().len();
    let mut all: Vec<Vec<usize>> =
        used(task).into_iter().map(|d| (0..nodes).map(prefer(d)).collect::<Vec<usize>>()).collect();
    all.push((0..nodes).map(fastest).collect());
    all
}

/// Whether every node reads at most one node, and is read by at most one.
fn is_chain(layout: &Layout) -> bool {
    let values = layout.problem.values();
    (0..layout.problem.nodes().len()).all(|n| {
        let mut makers: Vec<usize> = layout.reads[n].iter().filter_map(|&v| values[v].maker).collect();
        let mut readers: Vec<usize> = layout.makes[n].iter().flat_map(|&v| layout.readers[v].iter().copied()).collect();
        makers.dedup();
        readers.sort_unstable();
        readers.dedup();
        makers.len() <= 1 && readers.len() <= 1
    })
}

/// Which constraint leaves nothing: the first without which there is something.
fn why_nothing(task: &Task, layout: &Layout, labels: usize, proven: bool, used: usize) -> PlaceError {
    if let Some(bound) = task.latency
        && let Solved::Best(fastest) = solve(&task.relaxed(Objective::Latency, true), layout, labels)
        && (proven || fastest.bound > bound)
    {
        let which = if fastest.proof == Proof::None { "fastest placement found" } else { "fastest placement" };
        return PlaceError::TooSlow { bound, which, seconds: fastest.value };
    }
    if !proven {
        return PlaceError::NotFound { labels: used };
    }
    let free = task.relaxed(task.objective, false);
    let Solved::Best(best) = solve(&free, layout, labels) else {
        return PlaceError::Unlinked;
    };
    let Ok(measure) = measure_with(layout, &best.assignment) else {
        return PlaceError::Unlinked;
    };
    let over = |d: usize| measure.loads[d].needed_bytes() as f64 / (task.memory[d] as f64).max(1.0);
    let worst = (0..layout.devices).max_by(|&a, &b| over(a).total_cmp(&over(b))).unwrap_or_default();
    PlaceError::NoRoom {
        device: task.problem.devices()[worst].name.clone(),
        needed: measure.loads[worst].needed_bytes(),
        limit: task.memory[worst],
    }
}
