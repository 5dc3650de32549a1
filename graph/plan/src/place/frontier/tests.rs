//! The frontier search alone, against every assignment of small problems.
//!
//! Nothing is known before and the budget is no limit, so that dominance alone drops partial assignments: an unfit one that
//! dominates loses the best. Bounds without tails and relaxations make dominance hang less on one number, the end.

use super::super::bound::Bounds;
use super::super::descent::score;
use super::super::samples::{SHAPES, Shape, enumerate, problem};
use super::super::{Objective, Request};
use super::*;
use tandem_ops::def::Random;

/// Problems of each shape.
const SEEDS: u64 = 100;

/// Compares the search, with bounds and without, with enumeration.
fn compare(seed: u64, shape: Shape, objective: Objective, bounded: bool) {
    let r = &mut Random::new(seed);
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
