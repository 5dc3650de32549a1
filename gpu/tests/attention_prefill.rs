//! Large tiles of attention on the simulator: both loaders, all widths of heads, scales of any sign, and what lies beside a request.

mod place;

use tandem_gpu::{Device, Simulation, kernels};
use tandem_ops::def::{Dims, Kernel, Sample, Tensors, accept, conform};
use tandem_tensor::Tensor;

const PAGES: &str = "attention.prefill.bf16";
const LINES: &str = "attention.ragged.bf16";

fn device(seed: u64, multiprocessors: u32) -> Option<Device> {
    let mut simulation = Simulation::seeded(seed);
    simulation.facts.multiprocessors = multiprocessors;
    Some(Device::sim(place::compiler()?, simulation))
}

fn kernel(device: &Device, name: &str) -> Box<dyn Kernel> {
    kernels(device).into_iter().find(|kernel| kernel.operation().def().name == name).unwrap()
}

/// The sample of a form with these extents, without those that the form lacks.
fn sample(kernel: &dyn Kernel, name: &'static str, extents: &[(&'static str, usize)]) -> Sample {
    let def = kernel.operation().def();
    let known = extents.iter().copied().filter(|(axis, _)| def.axes.iter().any(|known| known.name == *axis));
    Sample::new(def, name, &known.collect::<Vec<_>>())
}

fn drawn(kernel: &dyn Kernel, sample: &Sample, seed: u64) -> (Dims, Tensors) {
    let operation = kernel.operation();
    let inputs = operation.sample(sample.name, &sample.dims, seed).unwrap();
    (accept(operation, &sample.dims, &inputs).unwrap(), inputs)
}

fn expect(kernel: &dyn Kernel, dims: &Dims, inputs: &Tensors, context: &str) {
    let operation = kernel.operation();
    let (found, expected) = (kernel.run(dims, inputs).unwrap(), operation.reference(dims, inputs).unwrap());
    for port in operation.def().outputs {
        let agree = operation.def().agree;
        let agreement = agree.compare(found.get(port.name).unwrap(), expected.get(port.name).unwrap());
        assert!(agree.allows(&agreement), "{context}: {}: {agreement:?}", port.name);
    }
}

#[test]
fn heads_of_every_width_agree_with_the_reference_from_pages_and_from_lines() {
    let Some(device) = device(31, 4) else { return };
    for (at, d) in [16, 48, 64, 80, 128, 144, 192, 256].into_iter().enumerate() {
        for (form, name) in [PAGES, LINES].into_iter().enumerate() {
            let kernel = kernel(&device, name);
            let mask = (at + form) % 3;
            let extents = [("b", 2), ("hq", 4), ("hkv", 2), ("page", 16), ("lq", 90), ("kv", 300), ("window", 77)];
            let mut sample = sample(&*kernel, "uniform", &extents);
            sample.dims.set("d", d);
            sample.dims.set("mask", mask);
            let verdict = conform(&*kernel, &sample, d as u64).unwrap_or_else(|error| panic!("{name} d={d}: {error}"));
            assert!(verdict.agrees, "{name} d={d} mask={mask}: {:?}", verdict.results);
        }
    }
}

#[test]
fn scales_of_any_sign_agree_with_the_reference() {
    let Some(device) = device(5, 4) else { return };
    for (name, mask) in [(PAGES, 1), (LINES, 0)] {
        let kernel = kernel(&device, name);
        let extents =
            [("b", 1), ("hq", 2), ("hkv", 2), ("d", 64), ("page", 16), ("lq", 70), ("kv", 210), ("mask", mask)];
        let (dims, inputs) = drawn(&*kernel, &sample(&*kernel, "equal", &extents), 8);
        for scale in [-0.3f32, 0.0, 1e-30] {
            let inputs = inputs.clone().with("scale", Tensor::scalar(scale));
            expect(&*kernel, &dims, &inputs, &format!("{name} scale {scale}"));
        }
    }
}

#[test]
fn a_request_does_not_see_numbers_of_the_one_behind_it() {
    let Some(device) = device(6, 4) else { return };
    let kernel = kernel(&device, LINES);
    let extents = [("b", 2), ("hq", 2), ("hkv", 2), ("d", 64), ("lq", 40), ("kv", 150)];
    let (dims, mut inputs) = drawn(&*kernel, &sample(&*kernel, "equal", &extents), 2);
    // A run of the first request's positions ends among the second's.
    for name in ["k", "v"] {
        let tensor = inputs.get(name).unwrap().clone();
        let (shape, mut values) = (tensor.shape().clone(), tensor.to_f64());
        let half = values.len() / 2;
        values[half..].fill(f64::NAN);
        inputs = inputs.with(name, Tensor::from_f64(tensor.dtype(), shape, &values).unwrap());
    }
    let found = kernel.run(&dims, &inputs).unwrap();
    let o = found.get("o").unwrap().to_f64();
    assert!(o[..o.len() / 2].iter().all(|x| x.is_finite()), "numbers of another request");
    assert!(o[o.len() / 2..].iter().all(|x| x.is_nan()), "the second request's own");
    expect(&*kernel, &dims, &inputs, "numbers that are none");
}

#[test]
fn whole_runs_of_lines_come_by_tma_and_other_copies_touch_whole_sectors() {
    // One block takes all tiles, each in one piece.
    let Some(device) = device(7, 1) else { return };
    for (name, d, group) in [(PAGES, 128, 1), (PAGES, 64, 4), (LINES, 128, 1), (LINES, 128, 4), (LINES, 256, 1)] {
        let kernel = kernel(&device, name);
        let (hq, positions) = (2 * group, if d > 128 { 64 } else { 128 });
        let extents = [("b", 1), ("hq", hq), ("hkv", 2), ("d", d), ("page", 16), ("lq", 128), ("kv", 400)];
        let (dims, inputs) = drawn(&*kernel, &sample(&*kernel, "equal", &extents), 1);
        device.take_stats();
        kernel.run(&dims, &inputs).unwrap();
        let stats = device.take_stats().unwrap();
        // Tiles of 128 packed rows of two heads; the last run of each is no whole one.
        let (tiles, line) = (group * 2, d * 2);
        let whole = if name == LINES { 400 / positions * positions } else { 0 };
        assert_eq!(stats.bulk_bytes as usize, tiles * whole * line * 2, "{name} d={d}");
        // Queries and results once, and what is copied otherwise for each tile; the rest is the plan and logarithms.
        let bytes = tiles * (2 * 128 + 2 * (400 - whole)) * line;
        let ratio = stats.global_sectors as f64 * 32.0 / bytes as f64;
        assert!((1.0..1.07).contains(&ratio), "{name} d={d}: {ratio} times the sectors");
        // Four for 512 bytes.
        let wavefronts = stats.shared_wavefronts as f64 / stats.shared_requests as f64;
        assert!(wavefronts < 4.01, "{name} d={d}: {wavefronts} wavefronts a request");
    }
}
