//! Products with low-rank adapters: plans, which are pure functions of lengths and ranks, and what the kernels do under them.

mod place;

use std::collections::HashMap;
use std::sync::Arc;
use tandem_gpu::schedule::imbalance;
use tandem_gpu::sgmv::plan::{ITEM_WORDS, MOST_ITEMS, MOST_RANKS, SIDE};
use tandem_gpu::sgmv::{Form, Operands, Plan, Problem, Resources, Segment, Sgmv};
use tandem_gpu::{Device, Facts, GpuError, Simulation};
use tandem_ops::def::{Dims, Kernel, Random, Sample, Tensors, accept, conform};
use tandem_ops::sgmv::Batch;

const FORMS: [Form; 3] = [Form::Fused, Form::Shrink, Form::Expand];
const NAMES: [&str; 3] = ["sgmv.bf16", "sgmv.shrink.bf16", "sgmv.expand.bf16"];

fn problem(random: &mut Random, round: usize) -> Problem {
    let mut row = 0;
    let mut segments = Vec::new();
    for _ in 0..random.within(0, 80) {
        let rows = [1, random.within(1, 5), random.within(1, 300)][random.within(0, 3)];
        let ranks = [0, 8, 16, 64, 128, random.within(1, MOST_RANKS + 1)][random.within(0, 6)];
        let entry = random.within(0, 1000);
        segments.push(Segment { rows: row..row + rows, entries: entry..entry + ranks });
        row += rows;
    }
    Problem { form: FORMS[round % 3], h1: random.within(0, 9000), h2: random.within(0, 9000), segments }
}

#[test]
fn every_row_is_of_one_item_with_the_entries_of_its_segment_and_no_cluster_has_too_much() {
    let mut random = Random::new(4);
    for round in 0..400 {
        let problem = problem(&mut random, round);
        let resources = Resources { blocks: random.within(1, 300), cluster: [1, 8][random.within(0, 2)] };
        let plan = Plan::new(&problem, resources).unwrap();
        let mut of = HashMap::new();
        for item in &plan.items {
            assert!(!item.rows.is_empty() && item.rows.len() <= 64);
            assert!(
                item.rows.len() <= SIDE || item.rows.len().div_ceil(SIDE) * item.entries.len().div_ceil(SIDE) <= 16
            );
            for row in item.rows.clone() {
                assert!(of.insert(row, item.entries.clone()).is_none(), "row {row} twice");
            }
        }
        for segment in &problem.segments {
            for row in segment.rows.clone() {
                assert_eq!(of.remove(&row), Some(segment.entries.clone()));
            }
        }
        assert!(of.is_empty(), "rows of no segment");
        assert!(
            plan.cluster <= resources.cluster && plan.clusters() * plan.cluster <= resources.blocks.max(plan.cluster)
        );
        assert_eq!((plan.lists[0], plan.lists.last().copied()), (0, Some(plan.items.len())));
        assert!(plan.lists.is_sorted() && plan.clusters() == plan.loads.len());
        assert!(plan.shared() <= Facts::h200().shared_per_block as usize, "{}", plan.shared());
        let words = plan.words();
        assert_eq!(words.len(), plan.items_at() + plan.items.len() * ITEM_WORDS);
        for (item, words) in plan.items.iter().zip(words[plan.items_at()..].chunks_exact(ITEM_WORDS)) {
            let expected = [item.rows.start, item.rows.len(), item.entries.start, item.entries.len()];
            assert_eq!(words, expected.map(|word| word as i32));
        }
        assert!((1.0..=plan.loads.len() as f64 + 1e-9).contains(&imbalance(&plan.loads)));
    }
}

/// Segments of these rows, each with an adapter of its own of this rank.
fn distinct(rows: &[usize], rank: usize) -> Problem {
    let begins = rows.iter().scan(0, |end, rows| {
        *end += rows;
        Some(*end - rows)
    });
    let of = |(at, (&rows, begin)): (usize, (&usize, usize))| Segment {
        rows: begin..begin + rows,
        entries: at * rank..(at + 1) * rank,
    };
    let segments = rows.iter().zip(begins).enumerate().map(of).collect();
    Problem { form: Form::Fused, h1: 4096, h2: 4096, segments }
}

#[test]
fn as_many_multiprocessors_work_as_the_batch_has_work_for() {
    let resources = Resources::of(&Facts::h200());
    assert_eq!(resources, Resources { blocks: 264, cluster: 8 });
    let plan = |rows: &[usize], rank| Plan::new(&distinct(rows, rank), resources).unwrap();
    let blocks = |plan: &Plan| plan.clusters() * plan.cluster;
    let all = plan(&[1; 64], 16);
    assert_eq!((all.cluster, blocks(&all), all.imbalance()), (4, 256, 1.0));
    // The share of each block is on its way at once.
    assert_eq!(all.loads[0], (16 * 8192 * 2 + 3 * 4096 * 2) / 4 + 4 * 1024 + (32 << 10));
    let one = plan(&[64], 16);
    assert_eq!((one.cluster, one.clusters(), one.items.len()), (8, 1, 1));
    let prefill = plan(&[512; 4], 16);
    assert_eq!((prefill.cluster, prefill.items.len()), (8, 32));
    let many = plan(&[1; 1000], 16);
    assert!(many.imbalance() < 1.1 && blocks(&many) >= 256, "{} {}", many.imbalance(), blocks(&many));
    let older = Facts { capability: (8, 0), multiprocessors: 108, ..Facts::h200() };
    assert_eq!(Plan::new(&distinct(&[1; 64], 16), Resources::of(&older)).unwrap().cluster, 1);
}

#[test]
fn what_no_kernel_computes_is_refused() {
    let resources = Resources { blocks: 4, cluster: 8 };
    let refused = |problem: &Problem| Plan::new(problem, resources).unwrap_err();
    assert!(matches!(refused(&distinct(&[1], MOST_RANKS + 1)), GpuError::Unsupported(_)));
    assert!(matches!(refused(&distinct(&[(1 << 30) - 8], 8)), GpuError::Exhausted(_)));
    assert!(matches!(refused(&distinct(&[usize::MAX / 2], 0)), GpuError::Unsupported(_)));
    assert!(matches!(refused(&distinct(&[1; MOST_ITEMS + 1], 1)), GpuError::Exhausted(_)));
}

fn kernel(device: &Device, name: &str) -> Box<dyn Kernel> {
    let kernel = tandem_gpu::kernels(device).into_iter().find(|kernel| kernel.operation().def().name == name);
    kernel.unwrap_or_else(|| panic!("{name} has no CUDA kernel"))
}

#[test]
fn random_batches_agree_with_the_reference_on_devices_with_and_without_clusters() {
    let Some(compiler) = place::compiler() else { return };
    let mut random = Random::new(9);
    for round in 0..36u64 {
        let mut simulation = Simulation::seeded(round);
        simulation.facts.multiprocessors = [1, 2, 7][round as usize % 3];
        if round % 4 == 3 {
            simulation.facts.capability = (8, 0);
        }
        let device = Device::sim(Arc::clone(&compiler), simulation);
        let kernel = kernel(&device, NAMES[random.within(0, 3)]);
        let def = kernel.operation().def();
        let mut sample = Sample::new(def, "ragged", &[]);
        let draws = ["distinct", "ragged", "zipf", "skewed", "repeated", "odd_ranks", "no_adapter", "mixed_lengths"];
        sample.name = draws[random.within(0, draws.len())];
        let step = [1, 8][random.within(0, 2)];
        let most = [("s", 9), ("rows", 30), ("adapters", 6), ("rank", 90), ("h1", 700), ("h2", 500), ("page", 90)];
        for (axis, most) in most.into_iter().filter(|(axis, _)| def.axes.iter().any(|other| other.name == *axis)) {
            let step = if axis == "page" || axis.starts_with('h') { step } else { 1 };
            sample.dims.set(axis, random.within(1, most / step + 1) * step);
        }
        let context = format!("{} {} {}", def.name, sample.name, sample.dims);
        let verdict = conform(&*kernel, &sample, round).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(verdict.agrees, "{context}: {:?}", verdict.results);
    }
}

/// A batch on a device, launched as a model would for each of its layers.
fn drawn(extents: &[(&'static str, usize)], name: &'static str, seed: u64) -> (Dims, Tensors) {
    let operation = tandem_ops::operation("sgmv.bf16").unwrap();
    let sample = Sample::new(operation.def(), name, extents);
    let inputs = operation.sample(name, &sample.dims, seed).unwrap();
    (accept(operation, &sample.dims, &inputs).unwrap(), inputs)
}

#[test]
fn one_plan_serves_two_layers_in_a_graph_and_adds_in_place() {
    let Some(compiler) = place::compiler() else { return };
    let device = Device::sim(compiler, Simulation::default());
    let extents = [("s", 3), ("rows", 5), ("adapters", 3), ("rank", 24), ("h1", 128), ("h2", 128), ("page", 128)];
    // The same adapters and places, other weights.
    let ((dims, first), (_, second)) = (drawn(&extents, "distinct", 1), drawn(&extents, "distinct", 2));
    let operation = tandem_ops::operation("sgmv.bf16").unwrap();
    let again = second.clone().with("y", operation.reference(&dims, &first).unwrap().get("out").unwrap().clone());
    let again = again.with("segments", first.get("segments").unwrap().clone());
    let expected = operation.reference(&dims, &again).unwrap();

    let problem = Problem::of(Form::Fused, &Batch::of(&dims, &first).unwrap());
    let sgmv = Sgmv::new(&device, &problem, true).unwrap();
    let y = device.upload(first.get("y").unwrap()).unwrap();
    let layers = [&first, &again].map(|inputs| {
        ["x", "pool", "a_index", "b_index"].map(|port| device.upload(inputs.get(port).unwrap()).unwrap())
    });
    let graph = device.capture(|device| {
        layers.iter().try_for_each(|[x, pool, a_index, b_index]| {
            let [x, pool, a_index, b_index] = [x, pool, a_index, b_index].map(|buffer| buffer.address());
            let (page, width, at) = (dims["page"], dims["rank"], y.address());
            sgmv.launch(device, &Operands { x, pool, a_index, b_index, y: at, out: at, v: 0, page, width })
        })
    });
    graph.unwrap().launch().unwrap();
    let found = y.download([dims["n"], dims["h2"]]).unwrap();
    let agreement = operation.def().agree.compare(&found, expected.get("out").unwrap());
    assert!(operation.def().agree.allows(&agreement), "{agreement:?}");
}

#[test]
fn bits_do_not_depend_on_the_order_in_which_blocks_and_warps_run() {
    let Some(compiler) = place::compiler() else { return };
    let extents = [("s", 5), ("rows", 9), ("adapters", 4), ("rank", 40), ("h1", 1000), ("h2", 200), ("page", 200)];
    let (dims, inputs) = drawn(&extents, "ragged", 3);
    let run = |seed| {
        let device = Device::sim(Arc::clone(&compiler), Simulation::seeded(seed));
        kernel(&device, "sgmv.bf16").run(&dims, &inputs).unwrap()
    };
    let first = run(1);
    assert!((2..5).all(|seed| run(seed) == first));
}
