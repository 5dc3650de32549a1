//! Placements are the best, cost what they say, and are refused with a reason where there are none.

mod oracle;
mod sample;

use proptest::prelude::*;
use sample::{Random, Shape};
use tandem_plan::place::{LABELS, Objective, PlaceError, Problem, check, measure, search};

const OBJECTIVES: [Objective; 3] = [Objective::Latency, Objective::Period, Objective::Energy];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-15
}

/// Compares every search on a small problem with every assignment.
fn compare(seed: u64, shape: Shape) {
    let r = &mut Random(seed);
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
}
