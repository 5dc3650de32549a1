//! The frontier search alone, against every assignment of small problems.
//!
//! Nothing is known before and the budget is no limit, so that dominance alone drops partial assignments: an unfit one that
//! dominates loses the best. Bounds without tails and relaxations make dominance hang less on one number, the end.

use super::super::bound::Bounds;
use super::super::descent::score;
use super::super::{Candidate, Cost, Device, Link, Machine, Node, Objective, Problem, Request, Spec, Value};
use super::*;
use tandem_ops::def::Random;

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Each node reads the one before, and some an earlier one too.
    Chain,
    /// Blocks of a node, two that read it, and one that reads both.
    Diamonds,
    /// Each node reads up to two of all before.
    Wide,
}

const SHAPES: [Shape; 3] = [Shape::Chain, Shape::Diamonds, Shape::Wide];

fn reads(r: &mut Random, shape: Shape, n: usize) -> Vec<usize> {
    match shape {
        Shape::Chain if n >= 2 && r.within(0, 3) == 0 => vec![n - 1, r.within(0, n - 1)],
        Shape::Chain => n.checked_sub(1).into_iter().collect(),
        Shape::Diamonds if n == 0 => Vec::new(),
        Shape::Diamonds => match n % 3 {
            0 => vec![n - 2, n - 1],
            1 => vec![n - 1],
            _ => vec![n - 2],
        },
        Shape::Wide => (0..r.within(0, 3).min(n)).map(|_| r.within(0, n)).collect(),
    }
}

/// Nodes read the input where they read no node; links are about as slow as nodes.
fn problem(r: &mut Random, shape: Shape, nodes: usize, devices: usize) -> Problem {
    let small = |r: &mut Random, most: usize| r.within(0, most) as f64;
    let device = |(d, r): (usize, &mut Random)| {
        let idle_watts = small(r, 3);
        Device {
            name: format!("d{d}"),
            memory_bytes: 1 << 30,
            busy_watts: idle_watts + small(r, 9),
            idle_watts,
            launch_seconds: small(r, 3),
        }
    };
    let all: Vec<Device> = (0..devices).map(|d| device((d, &mut *r))).collect();
    let mut links = Vec::new();
    for (from, to) in (0..devices * devices).map(|i| (i / devices, i % devices)).filter(|(from, to)| from != to) {
        let (latency_seconds, joules_per_byte) = (small(r, 2), small(r, 3));
        links.push(Link { from, to, latency_seconds, bytes_per_second: 1.0 + small(r, 2), joules_per_byte });
    }
    let mut values = vec![Value { name: "x".into(), bytes: 1, maker: None }];
    let mut list = Vec::new();
    for n in 0..nodes {
        let read: Vec<usize> = reads(r, shape, n).iter().map(|m| m + 1).collect();
        values.push(Value { name: format!("v{n}"), bytes: r.within(0, 9) as u64, maker: Some(n) });
        let candidates = (0..devices).map(|_| {
            Candidate::Runs(Cost {
                seconds: 1.0 + small(r, 9),
                held_bytes: r.within(0, 9) as u64,
                work_bytes: r.within(0, 5) as u64,
                joules: small(r, 20),
            })
        });
        let reads = if read.is_empty() { vec![0] } else { read };
        list.push(Node { name: format!("n{n}"), reads, candidates: candidates.collect() });
    }
    let mut outputs = vec![nodes];
    if r.within(0, 3) == 0 {
        outputs.push(1 + r.within(0, nodes));
    }
    Problem::new(Spec { machine: Machine { devices: all, links, host: 0 }, values, nodes: list, outputs }).unwrap()
}

/// The best of all assignments that keep the bounds.
fn enumerate(task: &Task, layout: &Layout) -> Option<f64> {
    let (nodes, devices) = (task.problem.nodes().len(), layout.devices);
    let mut best: Option<f64> = None;
    for code in 0..devices.pow(nodes as u32) {
        let assignment: Vec<usize> = (0..nodes).map(|n| code / devices.pow(n as u32) % devices).collect();
        let (broken, value) = score(task, layout, &assignment);
        if broken <= 0.0 && value.is_finite() {
            best = Some(best.map_or(value, |b| b.min(value)));
        }
    }
    best
}

/// Compares the search, with bounds and without, with enumeration.
fn compare(seed: u64, shape: Shape, objective: Objective, bounded: bool) {
    let r = &mut Random::new(seed);
    let (nodes, devices) = [(9, 2), (6, 3)][r.within(0, 2)];
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
    for seed in 0..60 {
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
