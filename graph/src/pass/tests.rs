//! The passes on random graphs, with the interpreter as the judge.

use super::{PASSES, exact, find, groups, memory, run};
use crate::sample::{chain, layered};
use crate::{Graph, NodeId, interpret, parse, print};
use proptest::prelude::*;
use std::collections::HashSet;
use tandem_tensor::Tensor;

fn inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as i32
    };
    let of = |&id: &crate::ValueId| {
        let ty = graph.ty(id);
        let values: Vec<f64> = (0..ty.elements())
            .map(|_| if ty.dtype.is_float() { f64::from(next() % 64) / 16.0 } else { f64::from(next() % 256 - 128) })
            .collect();
        Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
    };
    graph.inputs.iter().map(of).collect()
}

/// How far two results are apart, as a part of the largest element.
fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    let mut far = 0.0f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        let (a, b) = (a.to_f64(), b.to_f64());
        let scale = a.iter().chain(&b).fold(1.0f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
        let both = a.iter().zip(&b);
        let apart = both.map(|(x, y)| if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { (x - y).abs() / scale });
        far = apart.fold(far, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
    }
    far
}

fn judge(graph: &Graph, names: &[&str], tolerance: f64) -> Graph {
    graph.verify().unwrap();
    let (after, rows) = run(graph, names.iter().copied()).unwrap();
    assert_eq!(rows.len(), names.len());
    for seed in 0..3 {
        let inputs = inputs(graph, seed);
        let (a, b) = (interpret(graph, &inputs).unwrap(), interpret(&after, &inputs).unwrap());
        let far = distance(&a, &b);
        assert!(far <= tolerance, "{names:?}: {far}\n{}\n{}", print(graph), print(&after));
    }
    after
}

#[test]
fn an_unknown_pass_is_refused_with_the_names_that_there_are() {
    let error = run(&chain(), ["fold", "flod"]).unwrap_err().to_string();
    assert!(error.contains("'flod'") && error.contains("fold, cse"), "{error}");
}

#[test]
fn a_malformed_graph_is_refused_before_any_pass() {
    let mut g = chain();
    g.outputs[0] = crate::ValueId(999);
    assert!(run(&g, ["fold"]).unwrap_err().to_string().starts_with("before the passes"));
}

#[test]
fn the_order_is_one_list_and_names_are_unique() {
    let names: HashSet<&str> = PASSES.iter().map(|pass| pass.name).collect();
    assert_eq!(names.len(), PASSES.len());
    assert_eq!(exact().count(), PASSES.len() - 1);
    assert!(find("affine").is_ok_and(|pass| !pass.exact));
}

#[test]
fn rows_count_what_went_and_what_changed() {
    let (after, rows) = run(&chain(), ["dead", "cse"]).unwrap();
    assert_eq!((rows[0].before, rows[0].after, rows[0].changed), (3, 2, 0));
    assert_eq!((rows[1].before, rows[1].after, rows[1].changed), (2, 2, 0));
    assert_eq!(after.nodes.len(), 2);
}

#[test]
fn outputs_keep_their_names_where_their_makers_go() {
    // The identity of an input stays, because an output is a value of its own; that of a node goes and leaves its name.
    let text = "graph \"g\" tflref\ninput %0 \"x\" f32[2]\nvalue %1 \"a\" f32[2]\nnode \"a\" %1 = {\"Unary\":\"Identity\"} %0\n\
                value %2 \"s\" f32[2]\nnode \"s\" %2 = {\"Unary\":\"Sin\"} %0\nvalue %3 \"b\" f32[2]\n\
                node \"b\" %3 = {\"Unary\":\"Identity\"} %2\nvalue %4 \"c\" f32[2]\nnode \"c\" %4 = {\"Unary\":\"Sin\"} %1\n\
                output %1 %3 %4 %3\n";
    let g = parse(text).unwrap();
    let after = judge(&g, &["simplify", "cse", "simplify"], 0.0);
    let names: Vec<&str> = after.outputs.iter().map(|&id| after.value(id).name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "b"]);
    let kinds: Vec<&str> = after.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(kinds, ["sin", "identity", "identity"]);
}

#[test]
fn a_requantisation_to_another_scale_never_joins() {
    let text = |scale: &str| {
        format!(
            "graph \"g\" tflref\ninput %0 \"x\" i8[1,4] quant 0.5:0\nconstant %1 \"w\" i8[1,4] quant 0.3:0 = 1 2 3 4\n\
             value %2 \"d\" i8[1,1] quant 0.7:3\nnode \"d\" %2 = {{\"Dense\":{{\"act\":\"None\"}}}} %0 %1\n\
             value %3 \"r\" i8[1,1] quant {scale}:3\nnode \"r\" %3 = \"Requantize\" %2\noutput %3\n"
        )
    };
    let names: Vec<&str> = exact().collect();
    assert_eq!(judge(&parse(&text("0.71")).unwrap(), &names, 0.0).nodes.len(), 2);
    assert_eq!(judge(&parse(&text("0.7")).unwrap(), &names, 0.0).nodes.len(), 1);
}

#[test]
fn padding_with_another_value_or_wider_than_the_window_stays() {
    let text = |amount: &str, rows: usize, value: &str| {
        format!(
            "graph \"g\" tflref\ninput %0 \"x\" f32[1,2,2,1]\nconstant %1 \"v\" f32[] =\n  | {value}\n\
             value %2 \"p\" f32[1,{rows},2,1]\n\
             node \"p\" %2 = {{\"Pad\":{{\"amount\":[[0,0],{amount},[0,0],[0,0]],\"mode\":\"Constant\"}}}} %0 %1\n\
             constant %3 \"w\" f32[1,2,1,1] =\n  | AACAPwAAAEA=\nvalue %4 \"y\" f32[1,{},2,1]\n\
             node \"y\" %4 = {{\"Conv\":{{\"stride\":[1,1],\"dilation\":[1,1],\"pad\":[[0,0],[0,0]],\"groups\":1,\
             \"act\":\"None\"}}}} %2 %3\noutput %4\n",
            rows - 1
        )
    };
    let left = |text: String| judge(&parse(&text).unwrap(), &["fuse"], 0.0).nodes.len();
    assert_eq!(left(text("[1,1]", 4, "AAAAAA==")), 1);
    assert_eq!(left(text("[1,1]", 4, "AACAPw==")), 2);
    assert_eq!(left(text("[2,0]", 4, "AAAAAA==")), 2);
    assert_eq!(left(text("[1,-1]", 2, "AAAAAA==")), 2);
}

#[test]
fn a_fold_is_bounded_in_bytes() {
    let text = "graph \"g\" tflref\nconstant %0 \"c\" i8[1] = 1\nvalue %1 \"y\" i8[2097152]\n\
                node \"y\" %1 = {\"Expand\":{\"shape\":[2097152]}} %0\noutput %1\n";
    assert_eq!(run(&parse(text).unwrap(), ["fold"]).unwrap().0.nodes.len(), 1);
    let small = text.replace("2097152", "4096");
    assert_eq!(run(&parse(&small).unwrap(), ["fold"]).unwrap().0.nodes.len(), 0);
}

/// Rules of a memory plan.
fn check_memory(graph: &Graph, plan: &memory::MemoryPlan) {
    assert!(plan.bound <= plan.peak && plan.peak <= plan.sum, "{} {} {}", plan.bound, plan.peak, plan.sum);
    for (i, a) in plan.buffers.iter().enumerate() {
        assert!(a.offset + a.bytes <= plan.peak && a.offset.is_multiple_of(16));
        for b in &plan.buffers[..i] {
            let together = a.live.start < b.live.end && b.live.start < a.live.end;
            let overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
            assert!(!(together && overlap), "{}", memory::print(graph, plan));
        }
    }
}

/// Runs a graph in the arena itself: whatever is written over too early shows in the results.
fn run_in_arena(graph: &Graph, plan: &memory::MemoryPlan, inputs: &[Tensor]) -> Vec<Vec<u8>> {
    let mut arena = vec![0u8; plan.peak];
    let place = |id: crate::ValueId| plan.buffers.iter().find(|b| b.values.contains(&id)).map(|b| b.offset);
    let get = |arena: &[u8], id: crate::ValueId| {
        let ty = graph.ty(id);
        match (graph.constant(id), place(id)) {
            (Some(tensor), _) => tensor.as_ref().clone(),
            (None, at) => {
                let at = at.unwrap();
                Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), &arena[at..at + ty.bytes()]).unwrap()
            }
        }
    };
    let put = |arena: &mut [u8], id: crate::ValueId, tensor: &Tensor| {
        let bytes = tensor.to_le_bytes();
        let at = place(id).unwrap();
        arena[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        put(&mut arena, id, tensor);
    }
    for node in &graph.nodes {
        let tensors: Vec<Tensor> = node.inputs.iter().map(|&id| get(&arena, id)).collect();
        let operands: Vec<_> = tensors
            .iter()
            .zip(&node.inputs)
            .map(|(tensor, &id)| tandem_ops::Operand { tensor, ty: graph.ty(id) })
            .collect();
        let types: Vec<_> = node.outputs.iter().map(|&id| graph.ty(id)).collect();
        let results = tandem_ops::reference(&node.op, graph.arith, &operands, &types).unwrap();
        for (&id, tensor) in node.outputs.iter().zip(&results) {
            put(&mut arena, id, tensor);
        }
    }
    graph.outputs.iter().map(|&id| get(&arena, id).to_le_bytes()).collect()
}

/// Rules of a partition into groups.
fn check_groups(graph: &Graph, groups: &groups::Groups) {
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut made: HashSet<crate::ValueId> = graph.inputs.iter().copied().collect();
    for group in &groups.groups {
        let inside: HashSet<_> = group.nodes.iter().flat_map(|n| &graph.nodes[n.0].outputs).collect();
        let reads = group.nodes.iter().flat_map(|n| &graph.nodes[n.0].inputs);
        for id in reads.filter(|id| !inside.contains(id) && graph.constant(**id).is_none()) {
            assert!(made.contains(id), "a group reads what no group before it makes");
        }
        assert!(group.nodes.iter().all(|n| seen.insert(*n)));
        // Whoever reads what is inside stands inside too.
        made.extend(graph.nodes[group.nodes[group.nodes.len() - 1].0].outputs.iter());
    }
    assert_eq!(seen.len(), graph.nodes.len());
    assert!(graph.outputs.iter().all(|id| made.contains(id) || graph.constant(*id).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_pass_keeps_every_code(seed in any::<u64>(), nodes in 1usize..24) {
        let graph = layered(seed, true, nodes);
        for pass in PASSES {
            judge(&graph, &[pass.name], 0.0);
        }
        judge(&graph, &PASSES.map(|pass| pass.name), 0.0);
    }

    #[test]
    fn exact_passes_keep_every_float_and_affine_is_near(seed in any::<u64>(), nodes in 1usize..24) {
        let graph = layered(seed, false, nodes);
        for pass in PASSES {
            judge(&graph, &[pass.name], if pass.exact { 0.0 } else { 1e-4 });
        }
        judge(&graph, &exact().collect::<Vec<_>>(), 0.0);
    }

    #[test]
    fn passes_never_add_nodes_but_for_layout_and_the_last_two_rounds_agree(seed in any::<u64>(), nodes in 1usize..24) {
        let graph = layered(seed, seed.is_multiple_of(3), nodes);
        let (once, rows) = run(&graph, exact()).unwrap();
        for row in rows.iter().filter(|row| row.pass != "layout") {
            prop_assert!(row.after <= row.before, "{row:?}");
        }
        let (twice, _) = run(&once, exact()).unwrap();
        let (again, _) = run(&twice, exact()).unwrap();
        prop_assert!(again.nodes.len() <= twice.nodes.len() && twice.nodes.len() <= once.nodes.len());
    }

    #[test]
    fn a_damaged_graph_that_the_verifier_lets_through_makes_no_pass_panic(
        seed in any::<u64>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut text = print(&layered(seed, true, 8)).into_bytes();
        for (at, from) in cuts {
            // Signs and digits from elsewhere in the text keep most of it readable.
            let (at, from) = (at.index(text.len()), from.index(text.len()));
            if text[at].is_ascii_digit() && text[from].is_ascii_digit() {
                text[at] = text[from];
            }
        }
        if let Ok(graph) = parse(&String::from_utf8(text).unwrap())
            && graph.verify().is_ok()
        {
            run(&graph, PASSES.map(|pass| pass.name)).unwrap();
            let plan = memory::plan_groups(&graph, &groups::groups(&graph), &memory::Options::default());
            prop_assert!(plan.bound <= plan.peak);
        }
    }

    #[test]
    fn an_arena_holds_every_value_as_long_as_it_is_read(seed in any::<u64>(), nodes in 1usize..24, flags in 0u8..2) {
        let mut graph = layered(seed, true, nodes);
        graph.prune();
        let options = memory::Options { in_place: flags > 0, ..memory::Options::default() };
        let plan = memory::plan(&graph, &options);
        check_memory(&graph, &plan);
        let inputs = inputs(&graph, seed);
        let expected: Vec<Vec<u8>> = interpret(&graph, &inputs).unwrap().iter().map(Tensor::to_le_bytes).collect();
        prop_assert_eq!(run_in_arena(&graph, &plan, &inputs), expected, "{}", memory::print(&graph, &plan));
    }

    #[test]
    fn groups_are_a_partition_in_an_order_that_runs(seed in any::<u64>(), nodes in 1usize..24) {
        let mut graph = layered(seed, !seed.is_multiple_of(3), nodes);
        graph.prune();
        let groups = groups::groups(&graph);
        check_groups(&graph, &groups);
        let options = memory::Options { in_place: false, ..memory::Options::default() };
        let plan = memory::plan_groups(&graph, &groups, &options);
        check_memory(&graph, &plan);
    }
}
