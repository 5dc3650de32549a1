//! Kernels of codes and rows on operands of random shapes: those of the processor, and the CUDA kernels on the simulator.

mod place;

use std::sync::Arc;
use tandem_gpu::{Device, Simulation};
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{AxisKind, Kernel, OpDef, Random, Sample, conform};

const NAMES: [&str; 22] = [
    "conv2d.i8",
    "depthwise.i8",
    "max_pool.i8",
    "average_pool.i8",
    "add.i8",
    "softmax.f32",
    "softmax.bf16",
    "rms_norm.bf16",
    "add_rms_norm.bf16",
    "layer_norm.bf16",
    "rope.bf16",
    "activation.bf16",
    "silu_mul.bf16",
    "pir_scan.u64",
    "sample.f32",
    "speculative_verify.f32",
    "gemm.w4a4",
    "gemm.w4a8",
    "gemm.w4a16",
    "reorder_quantize.bf16",
    "rms_norm_quantize.bf16",
    "silu_mul_quantize.bf16",
];

/// Extents and choices that a definition allows, with multiples of 4, 8 and 16 among them more often than by chance.
fn sample(def: &OpDef, random: &mut Random) -> Sample {
    loop {
        let mut sample = Sample::new(def, "random", &[]);
        for axis in def.axes {
            let step = [1, 1, 4, 8, 16][random.within(0, 5)];
            let most = [300, 3000, 20_000][random.within(0, 3)];
            let extent = match (axis.kind, axis.name) {
                (AxisKind::Choice(names), _) => random.within(0, names.len()),
                (_, "n") if def.name.ends_with(".i8") => random.within(1, 3),
                (_, "m" | "n") if def.name.starts_with("gemm.w4") => random.within(1, 70),
                (_, "k") if def.name.starts_with("gemm.w4") => random.within(1, 700 / step) * step,
                (_, "group") => [2, 16, 30, 64, 128, 256][random.within(0, 6)],
                (_, "outliers") => random.within(0, 160 / step) * step,
                (_, "m" | "heads") => random.within(1, 8),
                (_, "draft") => random.within(0, 6),
                (_, "h" | "w") => random.within(1, 14),
                (_, "kh" | "kw" | "stride_h" | "stride_w" | "dilation_h" | "dilation_w" | "multiplier") => {
                    random.within(1, 4)
                }
                (_, name) if name.starts_with("pad_") => random.within(0, 3),
                (_, "c" | "o") => random.within(1, 160 / step) * step,
                (_, "d" | "rotary") => random.within(1, 96 / step) * step,
                (_, "queries" | "words") => random.within(1, 40 / step + 2) * step,
                (_, "buckets") => random.within(1, 700),
                // Elements of a row, or of all.
                _ => random.within(1, most / step) * step,
            };
            sample.dims.set(axis.name, extent);
        }
        if def.constrain(&sample.dims).is_ok() {
            return sample;
        }
    }
}

fn agrees(kernel: &dyn Kernel, sample: &Sample, seed: u64, context: &str) {
    let verdict = conform(kernel, sample, seed);
    let name = kernel.operation().def().name;
    let verdict = verdict.unwrap_or_else(|error| panic!("{context} {name} {}: {error}", sample.dims));
    assert!(verdict.agrees, "{context} {name} {}: {:?}", sample.dims, verdict.results);
}

#[test]
fn kernels_of_the_processor_agree_with_the_reference_on_random_shapes_at_every_level() {
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        for (at, name) in NAMES.into_iter().enumerate() {
            let kernel = cpu::kernel(name, level).unwrap_or_else(|| panic!("{level} has no {name}"));
            let mut random = Random::new(at as u64);
            for seed in 0..30 {
                let sample = sample(kernel.operation().def(), &mut random);
                agrees(kernel.as_ref(), &sample, seed, &level.to_string());
            }
        }
    }
}

#[test]
fn cuda_kernels_agree_with_the_reference_on_random_shapes() {
    let Some(compiler) = place::compiler() else { return };
    for (at, name) in NAMES.into_iter().enumerate() {
        let mut random = Random::new(1000 + at as u64);
        for seed in 0..8 {
            let mut simulation = Simulation::seeded(seed);
            if seed % 2 == 0 {
                // Few multiprocessors are full with few tiles, so that plans take the larger ones.
                simulation.facts.multiprocessors = 1;
            }
            let device = Device::sim(Arc::clone(&compiler), simulation);
            let all = tandem_gpu::kernels(&device);
            let kernel = all.iter().find(|kernel| kernel.operation().def().name == name);
            let kernel = kernel.unwrap_or_else(|| panic!("{name} has no CUDA kernel"));
            let sample = sample(kernel.operation().def(), &mut random);
            agrees(kernel.as_ref(), &sample, seed, "simulator,");
        }
    }
}
