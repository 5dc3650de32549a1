//! Every kernel on every sample of its definition, on the simulator with late asynchrony.

mod place;

use std::sync::Arc;
use tandem_gpu::gemm::{Path, Product, Wish};
use tandem_gpu::{Device, Simulation, kernels};
use tandem_ops::def::{Dims, Kernel, Operation, Random, Tensors, accept, conform};

fn expect(operation: &dyn Operation, dims: &Dims, inputs: &Tensors, found: &Tensors, context: &str) {
    let expected = operation.reference(dims, inputs).unwrap();
    for port in operation.def().outputs {
        let agree = operation.def().agree;
        let agreement = agree.compare(found.get(port.name).unwrap(), expected.get(port.name).unwrap());
        assert!(agree.allows(&agreement), "{context}: {}: {agreement:?}", port.name);
    }
}

#[test]
fn every_kernel_agrees_with_the_reference_on_every_sample() {
    let Some(compiler) = place::compiler() else { return };
    for seed in 1..=3 {
        conform_all(&Device::sim(Arc::clone(&compiler), Simulation::seeded(seed)), seed);
    }
}

#[test]
fn every_kernel_agrees_with_the_reference_on_a_gpu() {
    let Some(compiler) = place::compiler() else { return };
    let Some(device) = place::gpu(&compiler) else { return };
    for seed in 1..=3 {
        conform_all(&device, seed);
    }
}

fn conform_all(device: &Device, seed: u64) {
    for kernel in kernels(device) {
        let operation = kernel.operation();
        for sample in operation.samples() {
            let context = format!("{} {} ({}), seed {seed}", operation.def().name, sample.name, sample.dims);
            let verdict = conform(&*kernel, &sample, seed).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(verdict.agrees, "{context}: {:?}", verdict.results);
        }
    }
}

#[test]
fn products_of_random_shapes_agree_with_the_reference_on_every_path() {
    let Some(compiler) = place::compiler() else { return };
    let mut random = Random::new(7);
    let mut taken = std::collections::BTreeMap::new();
    for round in 0..24u64 {
        let device = Device::sim(Arc::clone(&compiler), Simulation::seeded(100 + round));
        let name = ["gemm.bf16", "gemm.f16", "gemm.i8"][round as usize % 3];
        let operation = tandem_ops::operation(name).unwrap();
        let aligned = round % 4 < 3;
        let step = if aligned { 16 } else { 1 };
        let (m, n) = (random.within(1, 300), random.within(1, 320 / step) * step);
        let k = random.within(1, 400 / step) * step;
        let acts = if name == "gemm.i8" { 2 } else { 4 };
        let dims = Dims::defaults(operation.def().axes)
            .with("m", m)
            .with("n", n)
            .with("k", k)
            .with("act", random.within(0, acts));
        let inputs = operation.sample("random", &dims, round).unwrap();
        let dims = accept(operation, &dims, &inputs).unwrap();
        let steps = (k * operation.def().inputs[0].dtype.bytes()).div_ceil(128);
        let wish = match round % 4 {
            0 => Wish { path: Some(Path::Tma), tile_n: Some([128, 256][random.within(0, 2)]), ..Wish::default() },
            1 => Wish {
                path: Some(Path::Tma),
                splits: Some(1),
                cluster: Some(2),
                tile_n: Some([128, 256][random.within(0, 2)]),
            },
            2 => Wish {
                path: Some(Path::Mma),
                splits: Some(random.within(1, steps + 1)),
                tile_n: Some([64, 128][random.within(0, 2)]),
                ..Wish::default()
            },
            _ => Wish { path: Some(Path::Ragged), splits: Some(random.within(1, steps + 1)), ..Wish::default() },
        };
        let context = format!("{name} {dims}, {wish:?}");
        let found = Product::new(&device, name, wish).and_then(|product| product.run(&dims, &inputs));
        let found = found.unwrap_or_else(|error| panic!("{context}: {error}"));
        expect(operation, &dims, &inputs, &found, &context);
        *taken.entry(format!("{:?}", wish.path)).or_insert(0) += 1;
    }
    assert_eq!(taken.len(), 3, "{taken:?}");
}
