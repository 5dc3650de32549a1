//! Opcode vectors on the simulator, and on a GPU where there is one.

mod place;

use std::sync::Arc;
use tandem_gpu::vectors::{Comparison, Vectors, compare, record};
use tandem_gpu::{Arch, Device, Simulation};

#[test]
fn the_simulator_agrees_with_itself_under_another_seed_and_a_planted_difference_is_told() {
    let Some(compiler) = place::compiler() else { return };
    let first = record(&Device::sim(Arc::clone(&compiler), Simulation::default())).unwrap();
    let second = record(&Device::sim(compiler, Simulation::seeded(7))).unwrap();
    assert_eq!(compare(&first, &second), []);
    let text = serde_json::to_string(&first).unwrap();
    assert!(text.len() < 3 << 20, "{} bytes are too many to keep", text.len());
    assert_eq!(serde_json::from_str::<Vectors>(&text).unwrap(), first);
    assert!(first.opcodes.iter().all(|vector| vector.results.iter().any(|word| *word != 0)));
    // One bit of each opcode, and one difference for each.
    let mut planted = second;
    for vector in &mut planted.opcodes {
        let at = vector.results.iter().rposition(|word| *word != 0).unwrap();
        vector.results[at] ^= 1;
    }
    let told = compare(&first, &planted);
    assert_eq!(told.len(), first.opcodes.len());
    for (vector, difference) in first.opcodes.iter().zip(&told) {
        let exact = vector.comparison == Comparison::Exact;
        assert!(difference.to_string().starts_with(&vector.opcode), "{difference}");
        assert!(difference.is_mistake() == exact || difference.to_string().contains("NaN"), "{difference}");
    }
}

#[test]
fn a_gpu_agrees_with_the_simulator_on_all_that_the_isa_leaves_nothing_open_of() {
    let Some(compiler) = place::compiler() else { return };
    let Some(gpu) = place::gpu(&compiler) else { return };
    if gpu.facts().arch(Arch::Sm90a) != Some(Arch::Sm90a) {
        eprintln!("skipped: {} is no Hopper", gpu.facts().name);
        return;
    }
    let simulated = record(&Device::sim(compiler, Simulation::default())).unwrap();
    let told = compare(&record(&gpu).unwrap(), &simulated);
    let mistakes: Vec<String> =
        told.iter().filter(|difference| difference.is_mistake()).map(ToString::to_string).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
