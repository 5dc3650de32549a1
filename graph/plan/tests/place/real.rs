//! Problems of real models: what `tandem partition --problem` wrote of them, with a CPU taken to be 100 times slower than a server's,
//! an accelerator of 64 multipliers at 100 MHz and stated powers.

use super::{OBJECTIVES, close, oracle, program};
use tandem_plan::place::{LABELS, Objective, Problem, Request, search};

/// Nodes up to which every assignment to two devices is looked at.
const FEW: usize = 16;

fn problems() -> Vec<(String, Problem)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/place/real");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| Problem::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    paths.iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(path))).collect()
}

#[test]
fn placements_of_real_models_are_those_of_an_integer_program_and_of_enumeration() {
    let problems = problems();
    assert!(problems.len() >= 6, "{}", problems.len());
    let mut mixed = 0;
    for (name, problem) in &problems {
        let spec = problem.spec();
        let all = (spec.nodes.len() <= FEW).then(|| oracle::every(spec));
        let mut splits = false;
        for objective in OBJECTIVES {
            let found = search(problem, &Request::of(objective), LABELS).unwrap();
            assert!(found.is_exact(), "{name}: {found}");
            splits |= found.assignment.iter().any(|d| *d != found.assignment[0]);
            if let Some(all) = &all {
                let best = all.iter().map(|(_, costs)| costs.value(objective)).min_by(f64::total_cmp).unwrap();
                assert!(close(found.value, best), "{name}: {objective:?} {} is not {best}", found.value);
            }
            if objective != Objective::Latency {
                let best = program::best(spec, objective == Objective::Period).unwrap();
                assert!(
                    (found.value - best).abs() <= 1e-6 * best,
                    "{name}: {objective:?} {} is not {best}",
                    found.value
                );
            }
        }
        mixed += usize::from(splits);
    }
    assert!(mixed >= 5, "only {mixed} models are split by any objective, so that little is compared");
}
