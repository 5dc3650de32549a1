//! Private information retrieval: what its kernels execute, and where they read, tells nothing of the requests.

mod place;

use std::sync::Arc;
use tandem_gpu::{Compiler, Device, Simulation, kernels};
use tandem_ops::def::{Dims, Random, Sample, accept, conform};

/// Requests of a few and of many bits.
const SAMPLES: [&str; 3] = ["nothing_asked", "everything_asked", "random"];

/// Every count of the simulator for each of these samples: instructions by opcode, requests, sectors, cycles of the banks.
fn counts(compiler: &Arc<Compiler>, source: Option<&str>, extents: [usize; 3]) -> Vec<tandem_ptx::Stats> {
    let run = |name: &str| {
        let device = Device::sim(Arc::clone(compiler), Simulation::seeded(5));
        if let Some(text) = source {
            device.replace_source("pir.cu", text);
        }
        let all = kernels(&device);
        let kernel = all.iter().find(|kernel| kernel.operation().def().name == "pir_scan.u64").expect("a kernel");
        let operation = kernel.operation();
        let [queries, buckets, words] = extents;
        let dims = Dims::default().with("queries", queries).with("buckets", buckets).with("words", words);
        let inputs = operation.sample(name, &dims, 3).expect("legal extents");
        let dims = accept(operation, &dims, &inputs).expect("operands of the definition");
        kernel.run(&dims, &inputs).expect("results");
        device.take_stats().expect("counts of the simulator")
    };
    SAMPLES.map(run).into()
}

#[test]
fn instructions_and_accesses_do_not_depend_on_a_bit_of_a_request() {
    let Some(compiler) = place::compiler() else { return };
    for (queries, buckets, words) in
        [(1, 700, 16), (2, 200, 7), (4, 130, 40), (8, 300, 10), (14, 257, 33), (20, 600, 9), (70, 1300, 16)]
    {
        let counts = counts(&compiler, None, [queries, buckets, words]);
        assert!(counts[0].global_requests > 0 && counts[0].opcodes.len() > 10);
        assert!(counts.iter().all(|other| *other == counts[0]), "{queries} {buckets} {words}: {counts:#?}");
    }
}

#[test]
fn both_paths_agree_with_the_reference_on_random_shapes() {
    let Some(compiler) = place::compiler() else { return };
    let mut random = Random::new(9);
    for (round, queries) in [1, 2, 3, 6, 9, 14, 15, 31, 32, 33, 64, 65].into_iter().cycle().take(24).enumerate() {
        let device = Device::sim(Arc::clone(&compiler), Simulation::seeded(round as u64));
        let all = kernels(&device);
        let kernel = all.iter().find(|kernel| kernel.operation().def().name == "pir_scan.u64").expect("a kernel");
        // Even and odd rows in turn.
        let words = 2 * random.within(0, 20) + round / 12 + 1;
        let extents = [("queries", queries), ("buckets", random.within(1, 1500)), ("words", words)];
        let sample = Sample::new(kernel.operation().def(), "random", &extents);
        let verdict = conform(&**kernel, &sample, round as u64).unwrap_or_else(|e| panic!("{}: {e}", sample.dims));
        assert!(verdict.agrees, "{}: {:?}", sample.dims, verdict.results);
    }
}

#[test]
fn a_kernel_that_reads_only_what_is_asked_for_is_told_from_one_that_reads_all() {
    let Some(compiler) = place::compiler() else { return };
    let text = include_str!("../kernels/pir.cu");
    let find = "const bool there = inside && at < TILE && tile + at < end;";
    assert_eq!(text.matches(find).count(), 1);
    let leaky = text.replace(find, &find.replace("end;", "end && masks[turn][at][0];"));
    let counts = counts(&compiler, Some(&leaky), [1, 700, 16]);
    assert!(counts[0].global_sectors < counts[2].global_sectors, "{counts:#?}");
    assert!(counts[2].global_sectors < counts[1].global_sectors, "{counts:#?}");
}
