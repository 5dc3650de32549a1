//! Placing block by block, where the order has nodes that all others come before or after.
//!
//! When such a node ends, everything before it has ended and everything after it waits for it. If it is also the only one whose
//! results are read later, and nothing has left for the caller yet, what follows depends on its device and its end alone, and a
//! later end only shifts it. So the best of all is the best of blocks between such nodes, joined by dynamic programming over the
//! devices of these nodes: of a block the best is found for each device on which it may begin, the last block first, with what
//! follows as a part of the cost of its last node.

use super::mix::Stages;
use super::request::Task;
use super::search::{Solved, solve};
use super::state::Layout;
use super::{Candidate, Objective, Problem, Spec};
use std::ops::Range;

/// Fewest nodes of a block that is not the last: less is no work for the search of the whole.
pub(super) const FEWEST: usize = 8;

/// What blocks give together.
pub(super) struct Joined {
    /// Nothing where no assignment runs, or the budget was not enough for one.
    pub assignment: Option<Vec<usize>>,
    /// No assignment has a smaller objective; infinite where none runs.
    pub bound: f64,
    /// Partial assignments looked at.
    pub labels: usize,
}

/// The best of a block that begins on a device.
#[derive(Clone)]
struct Part {
    assignment: Vec<usize>,
    value: f64,
}

/// The order in blocks of no fewer nodes than given, but for the last one; one block where there is nothing to join.
pub(super) fn blocks(layout: &Layout, fewest: usize) -> Vec<Range<usize>> {
    let order = layout.problem.order();
    let stages = Stages::new(layout);
    let last_read = |v: usize| layout.readers[v].last().map_or(0, |&r| layout.position[r]);
    // The last reader of what was there before a node.
    let inputs = (0..layout.is_output.len()).filter(|&v| layout.problem.values()[v].maker.is_none());
    let mut read = inputs.map(last_read).max().unwrap_or(0);
    let mut blocks = Vec::new();
    let mut first = 0;
    for (i, &n) in order.iter().enumerate() {
        if layout.makes[n].iter().any(|&v| layout.is_output[v]) {
            break;
        }
        if stages.is_cut[n] && read <= i && i + 1 - first >= fewest && i + 1 < order.len() {
            blocks.push(first..i + 1);
            first = i + 1;
        }
        read = layout.makes[n].iter().map(|&v| last_read(v)).fold(read, usize::max);
    }
    blocks.push(first..order.len());
    blocks
}

/// Places all blocks, looking at about so many partial assignments.
///
/// The objective is latency, or energy with idling, and nothing but it is bounded.
pub(super) fn join(task: &Task, layout: &Layout, blocks: &[Range<usize>], labels: usize) -> Joined {
    let order = task.problem.order();
    let devices = layout.devices;
    // By the device on which the first block, then each later one, begins.
    let mut parts: Vec<Vec<Option<Part>>> = vec![vec![None; devices]; blocks.len()];
    let mut after = vec![0.0; devices];
    let (mut slack, mut used) = (0.0, 0);
    let mut bound = f64::INFINITY;
    let given_up = |labels: usize| Joined { assignment: None, bound: 0.0, labels };
    for (b, block) in blocks.iter().enumerate().rev() {
        let sources: Vec<usize> = match b {
            0 => vec![layout.source],
            _ => task.choices(order[block.start - 1]).collect(),
        };
        let share = labels.saturating_sub(used) / (b * devices + sources.len());
        let mut least = f64::INFINITY;
        // How far a value of this block may be above the best.
        let mut open: f64 = 0.0;
        let mut values = vec![f64::INFINITY; devices];
        for source in sources {
            let Some(spec) = part(task, layout, block, &after) else { continue };
            let Ok(problem) = Problem::new(spec) else { return given_up(used) };
            // Every search looks at a few, however small its share.
            if used > labels {
                return given_up(used);
            }
            let (task, layout) = (Task::plain(&problem, task.objective), Layout::new(&problem).from(source));
            match solve(&task, &layout, share) {
                Solved::Best(best) => {
                    used += best.labels;
                    least = least.min(best.bound);
                    open = open.max(best.value - best.bound);
                    values[source] = best.value;
                    parts[b][source] = Some(Part { assignment: best.assignment, value: best.value });
                }
                Solved::Nothing { proven: true, labels } => used += labels,
                Solved::Nothing { labels, .. } => return given_up(used + labels),
            }
        }
        bound = least - slack;
        slack += open;
        after = values;
    }
    let mut assignment = vec![0; order.len()];
    let mut source = layout.source;
    for (block, parts) in blocks.iter().zip(&parts) {
        let Some(part) = parts[source].as_ref().filter(|p| p.value.is_finite()) else {
            return Joined { assignment: None, bound: f64::INFINITY, labels: used };
        };
        for (&n, &d) in order[block.clone()].iter().zip(&part.assignment) {
            assignment[n] = d;
        }
        source = assignment[order[block.end - 1]];
    }
    Joined { assignment: Some(assignment), bound, labels: used }
}

/// A block as a problem of its own; what it reads of earlier ones is an input. `None` where a node of it has no device left.
fn part(task: &Task, layout: &Layout, block: &Range<usize>, after: &[f64]) -> Option<Spec> {
    let problem = task.problem;
    let order = problem.order();
    let mut spec =
        Spec { machine: problem.machine().clone(), values: Vec::new(), nodes: Vec::new(), outputs: Vec::new() };
    let mut index = vec![None; problem.values().len()];
    let mut add = |spec: &mut Spec, v: usize, maker: Option<usize>| {
        *index[v].get_or_insert_with(|| {
            let mut value = problem.values()[v].clone();
            value.maker = maker;
            spec.values.push(value);
            spec.values.len() - 1
        })
    };
    for (i, &n) in order[block.clone()].iter().enumerate() {
        let mut node = problem.nodes()[n].clone();
        node.reads = layout.reads[n].iter().map(|&v| add(&mut spec, v, None)).collect();
        for (d, candidate) in node.candidates.iter_mut().enumerate() {
            let Candidate::Runs(cost) = candidate else { continue };
            let last = i + 1 == block.len() && block.end < order.len();
            if last && task.objective == Objective::Latency {
                cost.seconds += after[d];
            } else if last {
                cost.joules += after[d];
            }
            if !task.allows(n, d) || (last && after[d].is_infinite()) {
                *candidate = Candidate::Refuses(String::new());
            }
        }
        node.candidates.iter().find(|c| matches!(c, Candidate::Runs(_)))?;
        spec.nodes.push(node);
        for &v in &layout.makes[n] {
            let made = add(&mut spec, v, Some(i));
            if layout.is_output[v] {
                spec.outputs.push(made);
            }
        }
    }
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::super::bound::Bounds;
    use super::super::descent::score;
    use super::super::samples::{SHAPES, enumerate, problem};
    use super::super::{LABELS, Request, search};
    use super::*;
    use tandem_ops::def::Random;

    #[test]
    fn blocks_give_together_what_the_best_of_all_assignments_is() {
        let mut joined_blocks = [0; 4];
        for seed in 0..150 {
            for (shape, joins) in SHAPES.into_iter().zip(&mut joined_blocks) {
                let r = &mut Random::new(seed);
                let (nodes, devices) = [(9, 2), (7, 3)][r.within(0, 2)];
                let problem = problem(r, shape, nodes, devices);
                for objective in [Objective::Latency, Objective::Energy] {
                    let mut request = Request::of(objective);
                    let (node, device) = (r.within(0, nodes), r.within(0, devices));
                    if seed % 3 == 0 && problem.cost(node, device).is_some() {
                        request.pins.insert(format!("n{node}"), format!("d{device}"));
                    }
                    let (task, layout) = (Task::new(&problem, &request).unwrap(), Layout::new(&problem));
                    let blocks = blocks(&layout, 1 + r.within(0, 3));
                    assert_eq!(
                        blocks.iter().cloned().flatten().collect::<Vec<usize>>(),
                        (0..nodes).collect::<Vec<_>>()
                    );
                    *joins += usize::from(blocks.len() > 1);
                    let joined = join(&task, &layout, &blocks, LABELS);
                    let best = enumerate(&task, &layout).unwrap();
                    let value = score(&task, &layout, &joined.assignment.unwrap()).1;
                    assert!((value - best).abs() <= 1e-9 * best, "seed {seed}, {shape:?}: {value} is not {best}");
                    let near = (joined.bound - best).abs() <= 1e-9 * best;
                    assert!(near, "seed {seed}, {shape:?}: bound {} of {best}", joined.bound);
                }
            }
        }
        assert!(joined_blocks[0] > 100 && joined_blocks[1] > 100, "{joined_blocks:?}");
    }

    #[test]
    fn inputs_may_be_on_any_device_at_the_beginning() {
        for seed in 0..100 {
            for shape in SHAPES {
                let r = &mut Random::new(seed);
                let (nodes, devices) = [(9, 2), (6, 3)][r.within(0, 2)];
                let mut spec = problem(r, shape, nodes, devices).spec().clone();
                if seed % 2 == 0 {
                    // Energy is then a sum, which two devices leave to a minimum cut.
                    spec.machine.devices.iter_mut().for_each(|d| d.idle_watts = 0.0);
                }
                let problem = Problem::new(spec).unwrap();
                for objective in [Objective::Latency, Objective::Period, Objective::Energy] {
                    let source = r.within(0, devices);
                    let (task, layout) = (Task::plain(&problem, objective), Layout::new(&problem).from(source));
                    let best = enumerate(&task, &layout).unwrap();
                    let root = Bounds::new(&task, &layout).root;
                    assert!(root <= best * (1.0 + 1e-9), "seed {seed}, {shape:?}, {objective:?}: {root} of {best}");
                    let Solved::Best(found) = solve(&task, &layout, LABELS) else { panic!("seed {seed}") };
                    assert!((found.value - best).abs() <= 1e-9 * best, "seed {seed}, {shape:?}, {objective:?}");
                }
            }
        }
    }

    #[test]
    fn a_budget_that_is_too_small_leaves_a_bound_that_holds() {
        let mut open = 0;
        for seed in 0..40 {
            let problem = problem(&mut Random::new(seed), SHAPES[1], 45, 3);
            for objective in [Objective::Latency, Objective::Energy] {
                let request = Request::of(objective);
                let (task, layout) = (Task::new(&problem, &request).unwrap(), Layout::new(&problem));
                let blocks = blocks(&layout, 5 + seed as usize % 3);
                if blocks.len() == 1 {
                    continue;
                }
                let exact = search(&problem, &request, LABELS).unwrap();
                assert!(exact.is_exact(), "seed {seed}: {exact}");
                let joined = join(&task, &layout, &blocks, 300 + 50 * seed as usize);
                assert!(joined.bound <= exact.value * (1.0 + 1e-9), "seed {seed}: {} and {exact}", joined.bound);
                let Some(assignment) = joined.assignment else { continue };
                let value = score(&task, &layout, &assignment).1;
                assert!(value >= exact.bound * (1.0 - 1e-9), "seed {seed}: {value} and {exact}");
                open += usize::from(joined.bound < value * (1.0 - 1e-6));
            }
        }
        assert!(open > 5, "{open}");
    }
}
