//! Placements are the best, cost what they say, and are refused with a reason where there are none.

mod oracle;
mod program;
mod real;
mod refusals;
mod sample;

use proptest::prelude::*;
use sample::Shape;
use tandem_ops::def::Random;
use tandem_plan::place::{
    LABELS, Objective, PlaceError, Price, Problem, Proof, Request, Value, check, explain, measure, search,
};

const OBJECTIVES: [Objective; 3] = [Objective::Latency, Objective::Period, Objective::Energy];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-15
}

/// Compares every search on a small problem with every assignment.
fn compare(seed: u64, shape: Shape) {
    let r = &mut Random::new(seed);
    let spec = sample::spec(r, shape);
    let problem = Problem::new(spec.clone()).unwrap();
    let all = oracle::every(&spec);
    let fastest = all.iter().map(|(_, c)| c.latency).min_by(f64::total_cmp);
    for (assignment, costs) in all.iter().take(5) {
        let measured = measure(&problem, assignment).unwrap();
        for objective in OBJECTIVES {
            assert!(
                close(measured.value(objective), costs.value(objective)),
                "seed {seed}: {objective:?} of {assignment:?}"
            );
        }
        let bytes: Vec<u64> = measured.loads.iter().map(|l| l.needed_bytes()).collect();
        assert_eq!(bytes, costs.bytes, "seed {seed}: {assignment:?}");
    }
    for objective in OBJECTIVES {
        let request = sample::request(r, &spec, objective, fastest);
        let kept = all.iter().filter(|(a, c)| oracle::keeps(&spec, &request, a, c));
        let best = kept.map(|(_, c)| c.value(objective)).min_by(f64::total_cmp);
        match (search(&problem, &request, LABELS), best) {
            (Ok(found), Some(best)) => {
                assert!(close(found.value, best), "seed {seed}: {objective:?} {} is not {best}: {found}", found.value);
                assert!(found.is_exact(), "seed {seed}: {found}");
                assert_eq!(check(&problem, &request, &found.assignment).unwrap(), found.measure);
            }
            (Err(PlaceError::NotFound { .. }), _) => panic!("seed {seed}: nothing is known"),
            (Err(_), None) => {}
            (found, best) => panic!("seed {seed}: {objective:?} {request:?}: {found:?} where the best is {best:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn a_placement_of_up_to_twelve_nodes_is_as_good_as_any(
        seed: u64, nodes in 1usize..=12, reach in 1usize..=12, transfer in 0usize..=4, idle: bool,
    ) {
        // As many choices as leave every assignment to be looked at in a moment.
        let refusals_percent = if nodes <= 7 { 20 } else { 45 };
        compare(seed, Shape { nodes, devices: 3, refusals_percent, gaps_percent: 10, reach, transfer, idle });
    }

    #[test]
    fn an_explanation_prices_every_move_as_measuring_does(seed: u64, nodes in 1usize..=20, transfer in 0usize..=4) {
        let r = &mut Random::new(seed);
        let shape = Shape { nodes, devices: 3, refusals_percent: 20, gaps_percent: 10, reach: 5, transfer, idle: true };
        let spec = sample::spec(r, shape);
        let problem = Problem::new(spec.clone()).unwrap();
        let objective = OBJECTIVES[r.within(0, 3)];
        let request = sample::request(r, &spec, objective, None);
        if let Ok(found) = search(&problem, &request, 2_000) {
            let explanation = explain(&problem, &request, &found.assignment).unwrap();
            prop_assert_eq!(explanation.value, found.value);
            prop_assert!(found.bound <= found.value);
            for row in &explanation.rows {
                let node = problem.nodes().iter().position(|n| n.name == row.node).unwrap();
                for other in &row.alternatives {
                    let mut moved = found.assignment.clone();
                    moved[node] = other.device;
                    match (&other.price, check(&problem, &request, &moved)) {
                        (Price::Costs { value, more }, Ok(measure)) => {
                            prop_assert_eq!(*value, measure.value(objective));
                            prop_assert_eq!(*more, value - found.value);
                            prop_assert!(!found.is_exact() || *more >= -1e-9 * found.value);
                        }
                        (Price::Cannot(reason), Err(_)) => prop_assert!(!reason.is_empty()),
                        (price, measured) => prop_assert!(false, "{:?} where {:?} is measured", price, measured),
                    }
                }
            }
        }
    }

    #[test]
    fn a_problem_comes_back_from_json(seed: u64, nodes in 1usize..=20) {
        let shape = Shape { nodes, devices: 3, refusals_percent: 20, gaps_percent: 10, reach: 5, transfer: 2, idle: true };
        let problem = Problem::new(sample::spec(&mut Random::new(seed), shape)).unwrap();
        prop_assert_eq!(Problem::from_json(&problem.to_json()).unwrap(), problem);
    }

    #[test]
    fn the_numbering_of_nodes_does_not_matter_beyond_their_order(seed: u64, nodes in 2usize..=9) {
        // Nodes numbered backwards are ordered again, perhaps otherwise: a chain has but one order.
        let shape = Shape { nodes, devices: 3, refusals_percent: 20, gaps_percent: 0, reach: 1, transfer: 2, idle: true };
        let mut spec = sample::spec(&mut Random::new(seed), shape);
        spec.values.truncate(spec.values.iter().take_while(|v| v.maker.is_none()).count());
        spec.outputs = vec![spec.values.len() + nodes - 1];
        for n in 0..nodes {
            let before = spec.values.len().checked_sub(1);
            spec.nodes[n].reads = before.into_iter().collect();
            spec.values.push(Value { name: format!("v{n}"), bytes: 100, maker: Some(n) });
        }
        let mut turned = spec.clone();
        turned.nodes.reverse();
        for value in &mut turned.values {
            value.maker = value.maker.map(|m| nodes - 1 - m);
        }
        for objective in OBJECTIVES {
            let one = search(&Problem::new(spec.clone()).unwrap(), &Request::of(objective), LABELS);
            let other = search(&Problem::new(turned.clone()).unwrap(), &Request::of(objective), LABELS);
            match (one, other) {
                (Ok(one), Ok(other)) => prop_assert!(close(one.value, other.value)),
                (one, other) => prop_assert_eq!(one.err(), other.err()),
            }
        }
    }
}

/// A random problem without bounds of memory, for the solver of integer programs.
fn unbounded(seed: u64, nodes: usize, devices: usize) -> tandem_plan::place::Spec {
    let shape = Shape { nodes, devices, refusals_percent: 25, gaps_percent: 5, reach: 4, transfer: 3, idle: false };
    let mut spec = sample::spec(&mut Random::new(seed), shape);
    spec.machine.devices.iter_mut().for_each(|d| d.memory_bytes = 1 << 40);
    spec
}

#[test]
fn energy_and_period_are_those_of_the_integer_program() {
    let mut solved = 0;
    for seed in 0..24 {
        for period in [false, true] {
            let (nodes, devices) = if period { (12, 3) } else { (24, 2 + seed as usize % 2) };
            let spec = unbounded(seed, nodes, devices);
            let objective = if period { Objective::Period } else { Objective::Energy };
            let found = search(&Problem::new(spec.clone()).unwrap(), &Request::of(objective), LABELS);
            match (found, program::best(&spec, period)) {
                (Ok(found), Some(best)) => {
                    assert!(found.is_exact(), "seed {seed}: {found}");
                    // The solver is exact to six digits.
                    assert!((found.value - best).abs() <= 1e-6 * best + 1e-9, "seed {seed}: {found} is not {best}");
                    solved += 1;
                }
                (Err(_), None) => {}
                (found, best) => panic!("seed {seed}: {found:?} is not {best:?}"),
            }
        }
    }
    assert!(solved > 20);
}

#[test]
fn two_devices_are_placed_by_a_minimum_cut_and_as_well_as_by_the_frontier() {
    let mut cuts = 0;
    for seed in 0..200 {
        let spec = unbounded(seed, 30, 2);
        let problem = Problem::new(spec.clone()).unwrap();
        let Ok(found) = search(&problem, &Request::of(Objective::Energy), LABELS) else { continue };
        cuts += usize::from(found.proof == Proof::Cut);
        // A third device that nothing runs on, and power that nothing needs, leave the search to the frontier.
        let mut other = spec;
        other.machine.devices[0].idle_watts = 1e-12;
        other.machine.devices[0].busy_watts += 1e-12;
        let frontier = search(&Problem::new(other).unwrap(), &Request::of(Objective::Energy), LABELS).unwrap();
        assert!(close(found.value, frontier.value) || !frontier.is_exact(), "seed {seed}: {found} is not {frontier}");
        assert!(found.value <= frontier.value * (1.0 + 1e-9), "seed {seed}: {found} is not {frontier}");
    }
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn wide_blocks_in_a_row_are_placed_exactly() {
    // Blocks of four branches of two nodes, between nodes that all others come before or after.
    let nodes = 1 + 9 * 20;
    let shape = Shape { nodes, devices: 3, refusals_percent: 15, gaps_percent: 0, reach: 1, transfer: 1, idle: true };
    for seed in 0..3 {
        let mut spec = sample::spec(&mut Random::new(seed), shape);
        let value = |n: usize, maker| Value { name: format!("v{n}"), bytes: 50 * (n as u64 % 5), maker };
        spec.values = std::iter::once(value(0, None)).chain((0..nodes).map(|n| value(n + 1, Some(n)))).collect();
        spec.outputs = vec![nodes];
        spec.machine.devices.iter_mut().for_each(|d| (d.memory_bytes, d.idle_watts) = (1 << 40, d.idle_watts + 1.0));
        spec.machine.devices.iter_mut().for_each(|d| d.busy_watts += 1.0);
        for (n, node) in spec.nodes.iter_mut().enumerate() {
            let base = n.saturating_sub(1) / 9 * 9 + 1;
            node.reads = match n.checked_sub(1).map(|place| place % 9) {
                None => vec![0],
                Some(8) => (1..=4).map(|branch| base + 2 * branch).collect(),
                Some(place) if place % 2 == 0 => vec![base],
                Some(_) => vec![n],
            };
        }
        let problem = Problem::new(spec).unwrap();
        for objective in [Objective::Latency, Objective::Energy] {
            let found = search(&problem, &Request::of(objective), LABELS).unwrap();
            assert!(found.is_exact(), "seed {seed}: {found}");
            // A search with more room that does not know blocks finds nothing better.
            let bounded = Request { latency_seconds: Some(1e3), ..Request::of(objective) };
            let whole = search(&problem, &bounded, LABELS).unwrap();
            assert!(found.value <= whole.value * (1.0 + 1e-9), "seed {seed}: {found} and {whole}");
            assert!(found.value >= whole.bound * (1.0 - 1e-9), "seed {seed}: {found} and {whole}");
        }
    }
}

#[test]
fn larger_placements_never_undercut_their_bound_and_cost_what_they_say() {
    for seed in 0..12 {
        let r = &mut Random::new(seed);
        let shape =
            Shape { nodes: 60, devices: 3, refusals_percent: 20, gaps_percent: 5, reach: 8, transfer: 2, idle: true };
        let spec = sample::spec(r, shape);
        let problem = Problem::new(spec.clone()).unwrap();
        for objective in OBJECTIVES {
            let request = sample::request(r, &spec, objective, None);
            let (small, large) = (search(&problem, &request, 2_000), search(&problem, &request, 8_000));
            let (Ok(small), Ok(large)) = (small, large) else { continue };
            assert_eq!(check(&problem, &request, &large.assignment).unwrap(), large.measure);
            // Each bound holds for what the other search found.
            assert!(small.bound <= large.value * (1.0 + 1e-9), "seed {seed}: {small} and {large}");
            assert!(large.bound <= small.value * (1.0 + 1e-9), "seed {seed}: {small} and {large}");
        }
    }
}
