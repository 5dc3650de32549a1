//! The exact search: all partial assignments of the order's first nodes, of which only those are kept that may become the best.
//!
//! After each node, partial assignments are dropped whose bound is not better than a placement that is known, and those that
//! another one with the same values on the same devices equals or betters in every number that can still matter. On a chain
//! that is dynamic programming with one state a device; on a graph whose frontier is narrow, dynamic programming over the
//! frontier; elsewhere, branch and bound in layers. What does not fit the budget is dropped by its bound, which is remembered.

use super::bound::Bounds;
use super::request::Task;
use super::state::{Code, Layout};
use std::cmp::Ordering;

/// Partial assignments that one is compared with, at most.
const COMPARED: usize = 400;
/// Fewest partial assignments that a layer keeps, whatever the budget.
const FEWEST: usize = 8;
/// Part of the budget that one layer may take in search of a proof.
const PROVING: usize = 16;
/// How much sums may differ by rounding, relatively.
const ROUNDING: f64 = 1e-12;

/// What a search found.
pub(super) struct Found {
    /// The best assignment that is better than the known one.
    pub assignment: Option<Vec<usize>>,
    /// Smallest bound of what did not fit the budget; infinite when all did, so that the search is a proof.
    pub dropped: f64,
    /// Partial assignments looked at.
    pub labels: usize,
}

/// Partial assignments of equal length.
struct Layer {
    states: Vec<f64>,
    codes: Vec<Code>,
    bounds: Vec<f64>,
    /// Index in the layer before, and the device of the last node.
    steps: Vec<(u32, u8)>,
}

impl Layer {
    fn new() -> Layer {
        Layer { states: Vec::new(), codes: Vec::new(), bounds: Vec::new(), steps: Vec::new() }
    }

    fn len(&self) -> usize {
        self.bounds.len()
    }
}

/// How a budget of partial assignments is spent.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    /// Evenly over the order: ends with an assignment, which need not be the best.
    Even,
    /// A good part of what is left wherever it is needed: for a proof, or a bound above this one; ends when there is neither.
    Proof(f64),
}

/// Searches for an assignment better than `known`, with a budget of partial assignments.
pub(super) fn search(
    task: &Task,
    layout: &Layout,
    bounds: &Bounds,
    known: f64,
    budget: usize,
    effort: Effort,
) -> Found {
    let order = task.problem.order();
    let limit = if known.is_finite() { known - known.abs() * ROUNDING } else { f64::INFINITY };
    let (state, codes) = layout.begin();
    let mut layer = Layer { states: state, codes, bounds: vec![bounds.root], steps: vec![(0, 0)] };
    let mut found = Found { assignment: None, dropped: f64::INFINITY, labels: 0 };
    let mut history: Vec<Vec<(u32, u8)>> = Vec::with_capacity(order.len());
    for (i, &node) in order.iter().enumerate() {
        let choices: Vec<usize> = task.choices(node).collect();
        let mut next = Layer::new();
        for (l, (state, codes)) in rows(&layer, layout).enumerate() {
            for &device in &choices {
                let (first, first_code) = (next.states.len(), next.codes.len());
                next.states.extend_from_slice(state);
                next.codes.extend_from_slice(codes);
                found.labels += 1;
                let (state, codes) = (&mut next.states[first..], &mut next.codes[first_code..]);
                let stepped = layout.step(node, device, state, codes, &mut ());
                match stepped.ok().and_then(|()| bounds.settle(i + 1, state, codes)).filter(|&b| b < limit) {
                    Some(bound) => {
                        next.bounds.push(bound);
                        next.steps.push((l as u32, device as u8));
                    }
                    None => {
                        next.states.truncate(first);
                        next.codes.truncate(first_code);
                    }
                }
            }
        }
        let left = budget.saturating_sub(found.labels) / choices.len().max(1);
        let width = match effort {
            Effort::Even => left / (order.len() - i),
            Effort::Proof(_) => left / (order.len() - i).min(PROVING),
        };
        let kept = select(&next, layout, &bounds.compared(i + 1), width.max(FEWEST), &mut found.dropped);
        if matches!(effort, Effort::Proof(floor) if found.dropped <= floor * (1.0 + ROUNDING)) {
            return found;
        }
        layer = compact(&next, layout, &kept);
        history.push(layer.steps.clone());
        if layer.len() == 0 {
            return found;
        }
    }
    let best = (0..layer.len()).min_by(|&a, &b| layer.bounds[a].total_cmp(&layer.bounds[b]));
    found.assignment = best.map(|mut at| {
        let mut assignment = vec![0; order.len()];
        for (steps, &node) in history.iter().zip(order).rev() {
            let (parent, device) = steps[at];
            assignment[node] = usize::from(device);
            at = parent as usize;
        }
        assignment
    });
    found
}

fn rows<'a>(layer: &'a Layer, layout: &Layout) -> impl Iterator<Item = (&'a [f64], &'a [Code])> {
    let (length, slots) = (layout.len(), layout.slots);
    (0..layer.len())
        .map(move |l| (&layer.states[l * length..(l + 1) * length], &layer.codes[l * slots..(l + 1) * slots]))
}

/// Indices of what no other betters, at most `width` of them.
fn select(layer: &Layer, layout: &Layout, compared: &[usize], width: usize, dropped: &mut f64) -> Vec<usize> {
    let slots = layout.slots;
    let codes = |l: usize| &layer.codes[l * slots..(l + 1) * slots];
    let numbers = |l: usize| compared.iter().map(move |&p| layer.states[l * layout.len() + p]);
    let mut sums: Vec<f64> = Vec::with_capacity(layer.len());
    for l in 0..layer.len() {
        sums.push(numbers(l).filter(|n| n.is_finite()).sum());
    }
    let better = |a: usize, b: usize| -> Ordering {
        layer.bounds[a].total_cmp(&layer.bounds[b]).then(sums[a].total_cmp(&sums[b])).then(a.cmp(&b))
    };
    let mut all: Vec<usize> = (0..layer.len()).collect();
    all.sort_unstable_by(|&a, &b| codes(a).cmp(codes(b)).then_with(|| better(a, b)));
    let mut kept: Vec<usize> = Vec::new();
    let mut first = 0;
    for &l in &all {
        if kept.get(first).is_some_and(|&k| codes(k) != codes(l)) {
            first = kept.len();
        }
        // Not above by more than rounding; two infinities are equal.
        let beats = |k: usize| numbers(k).zip(numbers(l)).all(|(a, b)| a <= b || a - b <= b.abs() * ROUNDING);
        if !kept[first..].iter().take(COMPARED).any(|&k| beats(k)) {
            kept.push(l);
        }
    }
    if kept.len() > width {
        kept.select_nth_unstable_by(width, |&a, &b| better(a, b));
        let least = kept[width..].iter().fold(f64::INFINITY, |min: f64, &l| min.min(layer.bounds[l]));
        *dropped = dropped.min(least);
        kept.truncate(width);
        kept.sort_unstable();
    }
    kept
}

fn compact(layer: &Layer, layout: &Layout, kept: &[usize]) -> Layer {
    let mut out = Layer::new();
    for &l in kept {
        out.states.extend_from_slice(&layer.states[l * layout.len()..(l + 1) * layout.len()]);
        out.codes.extend_from_slice(&layer.codes[l * layout.slots..(l + 1) * layout.slots]);
        out.bounds.push(layer.bounds[l]);
        out.steps.push(layer.steps[l]);
    }
    out
}

#[cfg(test)]
mod tests;
