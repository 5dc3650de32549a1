//! The frontier search alone, against every assignment of small problems.
//!
//! Nothing is known before and the budget is no limit, so that dominance alone drops partial assignments: an unfit one that
//! dominates loses the best. Bounds without tails and relaxations make dominance hang less on one number, the end.

use super::super::bound::Bounds;
use super::super::descent::score;
use super::super::samples::{SHAPES, Shape, enumerate, problem, rest};
use super::super::{Objective, Problem, Request};
use super::*;
use tandem_ops::def::Random;

const OBJECTIVES: [Objective; 3] = [Objective::Latency, Objective::Period, Objective::Energy];

/// Problems of each shape.
const SEEDS: u64 = 60;

/// A small problem, and an objective with bounds or without.
fn case(r: &mut Random, shape: Shape, objective: Objective, bounded: bool) -> (Problem, Request) {
    let (nodes, devices) = [(11, 2), (7, 3)][r.within(0, 2)];
    let problem = problem(r, shape, nodes, devices);
    let mut request = Request::of(objective);
    if bounded {
        for device in problem.devices() {
            request.memory_bytes.insert(device.name.clone(), 15 + r.within(0, 20) as u64);
        }
        if objective != Objective::Latency {
            request.latency_seconds = Some((nodes * (3 + r.within(0, 4))) as f64);
        }
    }
    (problem, request)
}

/// Compares the search, with bounds and without, with enumeration.
fn compare(seed: u64, shape: Shape, objective: Objective, bounded: bool) {
    let (problem, request) = case(&mut Random::new(seed), shape, objective, bounded);
    let (task, layout) = (Task::new(&problem, &request).unwrap(), Layout::new(&problem));
    let best = enumerate(&task, &layout);
    for blind in [true, false] {
        let mut bounds = Bounds::new(&task, &layout);
        if blind {
            bounds.blind();
        }
        let found = search(&task, &layout, &bounds, f64::INFINITY, 100_000_000, Effort::Even);
        let what = format!("seed {seed}, {shape:?}, {objective:?}, bounded {bounded}, blind {blind}");
        assert!(found.dropped.is_infinite(), "{what}: the budget was too small");
        let value = found.assignment.map(|assignment| {
            let (broken, value) = score(&task, &layout, &assignment);
            assert!(broken <= 0.0, "{what}: a bound is broken");
            value
        });
        match (value, best) {
            (Some(value), Some(best)) => assert!(value <= best * (1.0 + 1e-9), "{what}: {value} is not {best}"),
            (value, best) => assert_eq!(value, best, "{what}"),
        }
    }
}

/// All states of the order's first nodes, which may go anywhere.
fn prefixes(task: &Task, layout: &Layout, placed: usize) -> Vec<(Vec<f64>, Vec<Code>)> {
    let mut all = vec![layout.begin()];
    for &node in &task.problem.order()[..placed] {
        let steps = all.iter().flat_map(|(state, codes)| {
            task.choices(node).filter_map(move |device| {
                let (mut state, mut codes) = (state.clone(), codes.clone());
                layout.step(node, device, &mut state, &mut codes, &mut ()).ok()?;
                Some((state, codes))
            })
        });
        all = steps.collect();
    }
    all
}

/// Of two states of which the search drops one, whatever their bounds say, the other one ends no worse. Returns how many it dropped.
fn compare_pairs(seed: u64, shape: Shape, objective: Objective, bounded: bool) -> usize {
    let r = &mut Random::new(seed);
    let (problem, request) = case(r, shape, objective, bounded);
    let (task, layout) = (Task::new(&problem, &request).unwrap(), Layout::new(&problem));
    let bounds = Bounds::new(&task, &layout);
    let placed = 2 + r.within(0, 5);
    let mut all = Vec::new();
    for (state, codes) in prefixes(&task, &layout, placed) {
        let mut settled = state.clone();
        if bounds.settle(placed, &mut settled, &codes).is_some() {
            let best = rest(&task, &layout, placed, &state, &codes).unwrap_or(f64::INFINITY);
            all.push((codes, settled, best));
        }
    }
    let compared = bounds.compared(placed);
    let mut dropped = 0;
    for (i, a) in all.iter().enumerate() {
        for b in all[i + 1..].iter().filter(|b| a.0 == b.0) {
            let both = Layer {
                states: [a.1.clone(), b.1.clone()].concat(),
                codes: [a.0.clone(), b.0.clone()].concat(),
                bounds: vec![0.0; 2],
                steps: vec![(0, 0); 2],
            };
            let mut dropped_bound = f64::INFINITY;
            if let [kept] = select(&both, &layout, &compared, 2, &mut dropped_bound)[..] {
                let (kept, lost) = if kept == 0 { (a, b) } else { (b, a) };
                let what = format!("seed {seed}, {shape:?}, {objective:?}, bounded {bounded}, {placed} placed");
                assert!(kept.2 <= lost.2 * (1.0 + 1e-9), "{what}: {} is worse than {}", kept.2, lost.2);
                dropped += 1;
            }
        }
    }
    dropped
}

#[test]
fn of_two_partial_assignments_the_one_that_is_dropped_ends_no_better() {
    let mut dropped = [0; 3];
    for seed in 0..25 {
        for shape in SHAPES {
            for (objective, dropped) in OBJECTIVES.into_iter().zip(&mut dropped) {
                *dropped += compare_pairs(seed, shape, objective, false) + compare_pairs(seed, shape, objective, true);
            }
        }
    }
    assert!(dropped.iter().all(|d| *d > 1000), "{dropped:?}");
}

fn compare_all(objective: Objective) {
    for seed in 0..SEEDS {
        for shape in SHAPES {
            compare(seed, shape, objective, false);
            compare(seed, shape, objective, true);
        }
    }
}

#[test]
fn the_frontier_alone_finds_the_smallest_latency() {
    compare_all(Objective::Latency);
}

#[test]
fn the_frontier_alone_finds_the_smallest_period() {
    compare_all(Objective::Period);
}

#[test]
fn the_frontier_alone_finds_the_smallest_energy() {
    compare_all(Objective::Energy);
}
