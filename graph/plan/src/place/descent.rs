//! Better assignments from a given one: runs of nodes that stand together move to another device, while that helps.

use super::request::Task;
use super::state::{Code, Layout};

/// How bad an assignment is: first by how far it breaks bounds, then by its objective.
pub(super) type Score = (f64, f64);

/// Of an assignment that does not run.
const WORST: Score = (f64::INFINITY, f64::INFINITY);

/// Scores an assignment.
pub(super) fn score(task: &Task, layout: &Layout, assignment: &[usize]) -> Score {
    let (mut state, mut codes) = layout.begin();
    finish(task, layout, assignment, 0, &mut state, &mut codes)
}

/// Moves nodes while that makes the score smaller, at most `steps` node placements long.
pub(super) fn descend(task: &Task, layout: &Layout, start: &[usize], steps: usize) -> (Vec<usize>, Score) {
    let nodes = start.len();
    let order = task.problem.order();
    let mut current = start.to_vec();
    let mut best = score(task, layout, &current);
    let mut taken = 0;
    let mut before = Prefixes::new(layout, nodes);
    before.fill(layout, order, &current, 0);
    let mut length = 1;
    // A pass without success at one length goes on to the next one, a success back to single nodes.
    while length <= nodes.max(2) && taken < steps {
        let mut helped = false;
        for first in 0..nodes {
            if before.valid < first || taken >= steps {
                break;
            }
            for device in 0..layout.devices {
                let last = (first + length).min(nodes);
                let mut moved = current.clone();
                for &n in order[first..last].iter().filter(|&&n| task.allows(n, device)) {
                    moved[n] = device;
                }
                if moved == current {
                    continue;
                }
                taken += nodes - first;
                let (mut state, mut codes) = before.at(layout, first);
                let score = finish(task, layout, &moved, first, &mut state, &mut codes);
                if less(score, best) {
                    (current, best, helped) = (moved, score, true);
                    before.fill(layout, order, &current, first);
                }
            }
        }
        length = if helped { 1 } else { length * 2 };
    }
    (current, best)
}

/// Whether a score is smaller by more than rounding.
pub(super) fn less(a: Score, b: Score) -> bool {
    let below = |a: f64, b: f64| a < b - b.abs() * 1e-12 || (a.is_finite() && b.is_infinite());
    below(a.0, b.0) || (a.0 <= b.0 && below(a.1, b.1))
}

fn finish(
    task: &Task,
    layout: &Layout,
    assignment: &[usize],
    placed: usize,
    state: &mut [f64],
    codes: &mut [Code],
) -> Score {
    for &node in &task.problem.order()[placed..] {
        if layout.step(node, assignment[node], state, codes, &mut ()).is_err() {
            return WORST;
        }
    }
    let mut broken = 0.0;
    for d in 0..layout.devices {
        let (needed, limit) = (layout.needed(state, d), task.memory[d] as f64);
        broken += (needed - limit).max(0.0) / limit.max(1.0);
    }
    if let Some(limit) = task.latency {
        broken += (state[layout.end()] - limit).max(0.0) / limit.max(f64::MIN_POSITIVE);
    }
    (broken, layout.objective(task.objective, state))
}

/// States before each node of an assignment, so that moving a late node does not place the early ones again.
struct Prefixes {
    states: Vec<f64>,
    codes: Vec<Code>,
    /// States up to this point are of the assignment.
    valid: usize,
}

/// Numbers that prefixes may take; beyond that every score starts at the first node.
const MOST: usize = 16_000_000;

impl Prefixes {
    fn new(layout: &Layout, nodes: usize) -> Prefixes {
        let (state, codes) = layout.begin();
        let points = if layout.len() * nodes <= MOST { nodes } else { 1 };
        let mut out = Prefixes { states: Vec::new(), codes: Vec::new(), valid: points - 1 };
        for _ in 0..points {
            out.states.extend_from_slice(&state);
            out.codes.extend_from_slice(&codes);
        }
        out
    }

    fn fill(&mut self, layout: &Layout, order: &[usize], assignment: &[usize], from: usize) {
        let (length, slots) = (layout.len(), layout.slots);
        let points = self.states.len() / length;
        for i in from..points.saturating_sub(1) {
            self.states.copy_within(i * length..(i + 1) * length, (i + 1) * length);
            self.codes.copy_within(i * slots..(i + 1) * slots, (i + 1) * slots);
            let state = &mut self.states[(i + 1) * length..(i + 2) * length];
            let codes = &mut self.codes[(i + 1) * slots..(i + 2) * slots];
            if layout.step(order[i], assignment[order[i]], state, codes, &mut ()).is_err() {
                self.valid = i;
                return;
            }
        }
        self.valid = points - 1;
    }

    fn at(&self, layout: &Layout, point: usize) -> (Vec<f64>, Vec<Code>) {
        let (length, slots) = (layout.len(), layout.slots);
        (
            self.states[point * length..(point + 1) * length].to_vec(),
            self.codes[point * slots..(point + 1) * slots].to_vec(),
        )
    }
}
