//! Small random problems and the best of all their assignments, for tests.

use super::request::Task;
use super::state::{Code, Layout};
use super::{Candidate, Cost, Device, Link, Machine, Node, Problem, Spec, Value};
use tandem_ops::def::Random;

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Each node reads the one before, and some an earlier one too.
    Chain,
    /// Blocks of a node, two that read it, and one that reads both.
    Diamonds,
    /// Two chains side by side that read of each other at times.
    Lanes,
    /// Each node reads up to two of the four before.
    Wide,
}

pub(super) const SHAPES: [Shape; 4] = [Shape::Chain, Shape::Diamonds, Shape::Lanes, Shape::Wide];

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
        Shape::Lanes if n >= 2 && r.within(0, 3) == 0 => vec![n - 2, n - 1],
        Shape::Lanes => n.checked_sub(2).into_iter().collect(),
        Shape::Wide => (0..r.within(0, 3).min(n)).map(|_| n - 1 - r.within(0, n.min(4))).collect(),
    }
}

/// Nodes read the input where they read no node; links are about as slow as nodes.
pub(super) fn problem(r: &mut Random, shape: Shape, nodes: usize, devices: usize) -> Problem {
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
    let mut values = vec![Value { name: "x".into(), bytes: 6, maker: None }];
    let mut list = Vec::new();
    for n in 0..nodes {
        let read: Vec<usize> = reads(r, shape, n).iter().map(|m| m + 1).collect();
        values.push(Value { name: format!("v{n}"), bytes: r.within(0, 9) as u64, maker: Some(n) });
        let runs = r.within(0, devices);
        let candidates = (0..devices).map(|d| {
            if d != runs && r.within(0, 6) == 0 {
                return Candidate::Refuses("not there".into());
            }
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
pub(super) fn enumerate(task: &Task, layout: &Layout) -> Option<f64> {
    let (state, codes) = layout.begin();
    rest(task, layout, 0, &state, &codes)
}

/// The best of all ways to place the nodes behind a place of the order.
pub(super) fn rest(task: &Task, layout: &Layout, placed: usize, state: &[f64], codes: &[Code]) -> Option<f64> {
    let Some(&node) = task.problem.order().get(placed) else {
        let fits = (0..layout.devices).all(|d| layout.needed(state, d) <= task.memory[d] as f64);
        let kept = fits && task.latency.is_none_or(|limit| state[layout.end()] <= limit);
        return kept.then(|| layout.objective(task.objective, state));
    };
    let best = |device: usize| {
        let (mut state, mut codes) = (state.to_vec(), codes.to_vec());
        layout.step(node, device, &mut state, &mut codes, &mut ()).ok()?;
        rest(task, layout, placed + 1, &state, &codes)
    };
    task.choices(node).filter_map(best).min_by(f64::total_cmp)
}
