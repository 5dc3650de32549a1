//! Attention on the simulator: plans that are exchanged under a captured graph, variants of a caller's own, logarithms held to
//! more than the definitions' rule, and the sectors that copies touch.

mod place;

use place::compiler;
use std::sync::Arc;
use tandem_gpu::attention::{
    Attention, Form, Maxima, Operands, Plan, Problem, Task, VariantOperands, Workspace, attend,
};
use tandem_gpu::{Compiler, Device, Simulation, kernels};
use tandem_ops::attention::{At, Batch, Operand, Plain, Snippet, Variant, levels};
use tandem_ops::def::{Dims, Tensors, accept};
use tandem_tensor::{DType, Tensor};

fn drawn(name: &str, sample: &str, extents: &[(&'static str, usize)], seed: u64) -> (Dims, Tensors) {
    let operation = tandem_ops::operation(name).unwrap();
    let mut dims = Dims::defaults(operation.def().axes);
    extents.iter().for_each(|&(axis, extent)| dims.set(axis, extent));
    let inputs = operation.sample(sample, &dims, seed).unwrap();
    (accept(operation, &dims, &inputs).unwrap(), inputs)
}

/// The largest error beside the root mean square, where both are numbers; anything else has to be the same.
fn error(found: &Tensor, expected: &Tensor) -> f64 {
    let (found, expected) = (found.to_f64(), expected.to_f64());
    let finite: Vec<f64> = expected.iter().copied().filter(|x| x.is_finite()).collect();
    let scale = (finite.iter().map(|x| x * x).sum::<f64>() / finite.len().max(1) as f64).sqrt().max(1e-30);
    found.iter().zip(&expected).fold(0.0, |worst: f64, (a, b)| {
        assert!((a - b).is_finite() || a == b || a.is_nan() && b.is_nan(), "{a} is not {b}");
        if (a - b).is_finite() { worst.max((a - b).abs() / scale) } else { worst }
    })
}

#[test]
fn logarithms_of_sums_are_those_of_f32_on_every_sample() {
    let Some(compiler) = compiler() else { return };
    let device = Device::sim(compiler, Simulation::seeded(9));
    let mut count = 0;
    for kernel in kernels(&device) {
        let operation = kernel.operation();
        if operation.def().outputs.iter().all(|port| port.name != "lse") {
            continue;
        }
        for sample in operation.samples() {
            let inputs = operation.sample(sample.name, &sample.dims, 5).unwrap();
            let dims = accept(operation, &sample.dims, &inputs).unwrap();
            let (found, expected) = (kernel.run(&dims, &inputs).unwrap(), operation.reference(&dims, &inputs).unwrap());
            let worst = error(found.get("lse").unwrap(), expected.get("lse").unwrap());
            // Scores are sums of products of bfloat16 in binary32, and logarithms are approximate to 2e-7.
            assert!(worst < 1e-5, "{} {}: {worst}", operation.def().name, sample.name);
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

/// Weights that fall with the square of the distance, and every third position does not count.
struct Bell<'a> {
    widths: &'a [f32],
    skip: f32,
}

impl Variant for Bell<'_> {
    fn logit(&self, x: f32, at: &At) -> f32 {
        let away = (at.place() - at.position as i64) as f32 * self.widths[at.head];
        x - away * away
    }

    fn keep(&self, at: &At) -> bool {
        !at.position.is_multiple_of(self.skip as usize)
    }

    fn snippet(&self) -> Snippet<'_> {
        let logit = "float away = (float)(at.place() - at.position) * p.f32s(0)[at.head];\nreturn x - away * away;";
        let keep = "return at.position % (int)p.scalars[0] != 0;";
        Snippet::plain().logit(logit).keep(keep).operand(Operand::F32(self.widths)).scalar(self.skip)
    }
}

#[test]
fn a_variant_of_ones_own_computes_the_same_on_processor_and_device() {
    let Some(compiler) = compiler() else { return };
    let device = Device::sim(compiler, Simulation::seeded(2));
    for (sample, extents) in [
        ("mixed", [("b", 4), ("hq", 8), ("hkv", 2), ("d", 64), ("lq", 21), ("kv", 90), ("mask", 1)]),
        ("uniform", [("b", 3), ("hq", 6), ("hkv", 2), ("d", 128), ("lq", 2), ("kv", 200), ("mask", 0)]),
    ] {
        let (dims, inputs) = drawn("attention.prefill.bf16", sample, &extents, 3);
        let batches = levels("attention.prefill.bf16", &dims, &inputs).unwrap();
        let widths: Vec<f32> = (0..dims["hq"]).map(|head| 0.02 * (head + 1) as f32).collect();
        let variant = Bell { widths: &widths, skip: 3.0 };
        let (o, lse) = attend(&device, &batches, &variant.snippet()).unwrap();
        let (expected, sums) = tandem_ops::cpu::attention::attend(&batches, tandem_ops::cpu::Level::Portable, &variant);
        let shape = [dims["n"], dims["hq"], dims["d"]];
        let expected = Tensor::from_vec(shape, expected).unwrap();
        assert!(error(&o, &expected) < 4e-2, "{sample}: {}", error(&o, &expected));
        let sums = Tensor::from_vec([shape[0], shape[1]], sums).unwrap();
        assert!(error(&lse, &sums) < 1e-5, "{sample}: {}", error(&lse, &sums));
    }
}

#[test]
fn a_variant_whose_text_is_wrong_is_refused_with_its_line() {
    let Some(compiler) = compiler() else { return };
    let device = Device::sim(compiler, Simulation::default());
    let maxima = Maxima::any(Form::new(64).unwrap().resources(device.facts()), 1);
    let wrong = Snippet::plain().logit("return x + slope;");
    let error = Attention::new(&device, 64, &wrong, &maxima).err().unwrap().to_string();
    assert!(error.contains("variant.cuh") && error.contains("slope"), "{error}");
    let many = (0..5).fold(Snippet::plain(), |snippet, _| snippet.scalar(0.0));
    let error = VariantOperands::upload(&device, &many).err().unwrap().to_string();
    assert!(error.contains("5 scalars"), "{error}");
}

struct OnDevice {
    q: tandem_gpu::Buffer,
    kv: tandem_gpu::Buffer,
    table: tandem_gpu::Buffer,
}

#[test]
fn a_captured_launch_follows_the_plan_that_the_workspace_has() {
    let Some(compiler) = compiler() else { return };
    // Small tiles alone, and both sizes.
    follows(&compiler, "attention.decode.bf16", "uniform", &[("b", 5), ("hq", 8), ("kv", 300)]);
    follows(&compiler, "attention.prefill.bf16", "mixed", &[("b", 3), ("hq", 4), ("lq", 40), ("kv", 170), ("mask", 1)]);
}

/// The same operands with less and less of their pages: what a step changes is lengths.
fn follows(compiler: &Arc<Compiler>, name: &str, sample: &str, extents: &[(&'static str, usize)]) {
    let device = Device::sim(Arc::clone(compiler), Simulation::seeded(4));
    let extents = [&[("hkv", 2), ("d", 64), ("page", 8)], extents].concat();
    let (dims, inputs) = drawn(name, sample, &extents, 6);
    let operation = tandem_ops::operation(name).unwrap();
    let resources = Form::new(64).unwrap().resources(device.facts());
    let maxima = Maxima { items: 512, ..Maxima::any(resources, 8) };
    let attention = Attention::new(&device, 64, &Plain.snippet(), &maxima).unwrap();
    let workspace = Workspace::new(&device, maxima, 64).unwrap();
    let buffers = OnDevice {
        q: device.upload(inputs.get("q").unwrap()).unwrap(),
        kv: device.upload(inputs.get("kv").unwrap()).unwrap(),
        table: device.upload(inputs.get("indices").unwrap()).unwrap(),
    };
    let (rows, heads) = (if name.contains("decode") { dims["b"] } else { dims["n"] }, dims["hq"]);
    let o = device.alloc(DType::BF16, rows * heads * 64).unwrap();
    let lse = device.alloc(DType::F32, rows * heads).unwrap();
    let variant = VariantOperands::upload(&device, &Plain.snippet()).unwrap();
    let line = dims["hkv"] * 64;
    let operands = Operands {
        q: &buffers.q,
        k: buffers.kv.address(),
        v: buffers.kv.at(dims["page"] * line),
        scales: None,
        table: Some(&buffers.table),
        line,
        lines: 0,
        page: dims["page"],
        page_lines: 2 * dims["page"],
        scale: inputs.scalar("scale").unwrap(),
        q_heads: heads,
        group: heads / dims["hkv"],
        variant: &variant,
        o: &o,
        lse: &lse,
    };
    let graph = device.capture(|device| attention.launch(device, &workspace, &operands)).unwrap();
    let mut splits = Vec::new();
    for keep in [1.0, 0.5, 0.02, 0.8] {
        let (dims, inputs) = shortened(&dims, &inputs, keep);
        let batches: Vec<Batch<'_>> = levels(name, &dims, &inputs).unwrap();
        let (mut problem, _) = Problem::of(&batches);
        // Entries stay where the captured table has them.
        let whole = inputs.slice::<i32>("first").unwrap();
        problem.requests.iter_mut().zip(whole).for_each(|(request, &first)| request.first = first as usize);
        let plan = Plan::new(&problem, resources).unwrap();
        splits.push(plan.merge_rows.len());
        workspace.set(&problem, &plan).unwrap();
        graph.launch().unwrap();
        let expected = operation.reference(&dims, &inputs).unwrap();
        for (port, buffer, shape) in [("o", &o, vec![rows, heads, 64]), ("lse", &lse, vec![rows, heads])] {
            let found = buffer.download(shape).unwrap();
            let worst = error(&found, expected.get(port).unwrap());
            assert!(worst < 4e-2, "{keep}: {port}: {worst}");
        }
    }
    assert!(splits[0] > 0 && splits[2] == 0, "{splits:?}");
}

/// The same requests with a part of their positions, and where their entries were.
fn shortened(dims: &Dims, inputs: &Tensors, keep: f64) -> (Dims, Tensors) {
    let page = dims["page"];
    let (indptr, indices) = (inputs.slice::<i32>("indptr").unwrap(), inputs.slice::<i32>("indices").unwrap());
    let last = inputs.slice::<i32>("last_page_len").unwrap();
    let (mut begins, mut pages, mut rest) = (vec![0i32], Vec::new(), Vec::new());
    for request in 0..dims["b"] {
        let own = &indices[indptr[request] as usize..indptr[request + 1] as usize];
        let kv = (own.len() - 1) * page + last[request] as usize;
        let kv = ((kv as f64 * keep) as usize).max(1);
        pages.extend_from_slice(&own[..kv.div_ceil(page)]);
        begins.push(pages.len() as i32);
        rest.push(((kv - 1) % page + 1) as i32);
    }
    let tensor = |all: Vec<i32>| Tensor::from_vec([all.len()], all).unwrap();
    let dims = dims.clone().with("entries", pages.len());
    let inputs = inputs
        .clone()
        .with("first", tensor(indptr[..dims["b"]].to_vec()))
        .with("indptr", tensor(begins))
        .with("indices", tensor(pages))
        .with("last_page_len", tensor(rest));
    (dims, inputs)
}

#[test]
fn a_step_keeps_enough_bytes_on_their_way_and_fits_a_multiprocessor() {
    for d in (16..=256).step_by(16) {
        let form = Form::new(d).unwrap();
        // Little's law: 4.3 TB/s for 0.7 us over 132 multiprocessors is 23 kB. Narrow heads have rows that fill no buffer.
        let least = if d >= 64 { 2 * 23_000 } else { 23_000 };
        assert!(form.bytes_in_flight() >= least, "{form:?}: {}", form.bytes_in_flight());
        for (task, blocks) in [(Task::Large, 1), (Task::Small, form.blocks)] {
            let shared = form.shared(task);
            assert!(blocks * (shared + 1024) <= 228 * 1024, "{form:?}: {task:?}: {shared}");
        }
    }
    assert!(Form::new(128).unwrap().bytes_in_flight() >= 64 * 1024);
    for d in [0, 8, 72, 272] {
        assert!(Form::new(d).is_err());
    }
    for d in (64..=256).step_by(64) {
        let form = Form::of_codes(d).unwrap();
        assert!(form.bytes_in_flight() >= 23_000, "{form:?}: {}", form.bytes_in_flight());
        let shared = form.shared(Task::Small);
        assert!(form.blocks * (shared + 1024) <= 228 * 1024, "{form:?}: {shared}");
        // The state of a warp, rows of floats eight banks apart, lies where its buffers were.
        assert!(shared >= 4 * 16 * (d + 8) * 4, "{form:?}: {shared}");
    }
    for d in [0, 32, 96, 320] {
        assert!(Form::of_codes(d).is_err());
    }
}

#[test]
fn copies_of_rows_touch_the_sectors_that_they_have_and_no_more() {
    let Some(compiler) = compiler() else { return };
    let device = Device::sim(compiler, Simulation::seeded(8));
    let kernel = kernels(&device).into_iter().find(|k| k.operation().def().name == "attention.decode.bf16").unwrap();
    for (d, hq, hkv) in [(64, 8, 2), (128, 8, 2), (128, 4, 4), (256, 4, 2)] {
        let extents = [("b", 4), ("hq", hq), ("hkv", hkv), ("d", d), ("page", 16), ("kv", 512)];
        let (dims, inputs) = drawn("attention.decode.bf16", "equal", &extents, 1);
        device.take_stats();
        kernel.run(&dims, &inputs).unwrap();
        let stats = device.take_stats().unwrap();
        let work = kernel.operation().work(&dims, &inputs);
        // What is beyond the operands: the plan, and partial states that are written and read.
        let sectors = work.dram_bytes.div_ceil(32);
        let ratio = stats.global_sectors as f64 / sectors as f64;
        assert!((0.99..1.1).contains(&ratio), "d={d}: {} sectors for {sectors}", stats.global_sectors);
        let each = stats.global_sectors as f64 / stats.global_requests as f64;
        // A copy of a warp is 512 bytes: 16 sectors.
        assert!(each > 9.0, "d={d}: {each} sectors a request");
        let conflicts = stats.shared_wavefronts as f64 / stats.shared_requests as f64;
        assert!(conflicts < 4.2, "d={d}: {conflicts} wavefronts a request");
    }
}
