//! Every kind of layer, compiled for random machines and run on the functional simulator, against the reference kernels.

use tandem_driver::Device;
use tandem_graph::{Graph, interpret};
use tandem_isa::HwConfig;
use tandem_ops::Arith;
use tandem_sim::FsimBus;
use tandem_tensor::Tensor;
use tandem_tests::layer::{KINDS, Random, codes, layer};

/// Layers for each kind, machine and family.
const LAYERS: u64 = 40;

#[test]
fn every_kind_of_layer_is_bit_exact_on_random_machines() {
    for (k, kind) in KINDS.into_iter().enumerate() {
        for seed in 0..LAYERS {
            let mut random = Random::new(seed * 1000 + k as u64);
            let arith = random.of(&[Arith::TfliteRef, Arith::Xnnpack]);
            let graph = layer(kind, arith, &mut random);
            let config = match seed {
                0..5 => HwConfig::preset(HwConfig::presets()[seed as usize]).expect("a preset"),
                _ => HwConfig::sample(seed),
            };
            check(&graph, &config, &mut random, &format!("{kind}, seed {seed}, {}", arith.name()));
        }
    }
}

/// Runs a segment on fsim for as many samples as one run takes, twice, and compares with the interpreter.
fn check(graph: &Graph, config: &HwConfig, random: &mut Random, what: &str) {
    graph.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    for node in &graph.nodes {
        if let Err(reason) = tandem_jit::supports(graph, node, config) {
            assert!(reason.contains("no integer multiplier"), "{what}: {reason}");
            return;
        }
    }
    let compiled = tandem_jit::compile(graph, config).unwrap_or_else(|e| panic!("{what}: {e}"));
    let bus = FsimBus::new(config);
    let mut device = Device::open(Box::new(bus), config).unwrap_or_else(|e| panic!("{what}: {e}"));
    let loaded = device.load(&compiled.program).unwrap_or_else(|e| panic!("{what}: {e}\n{}", config.to_toml()));
    for run in 0..2 {
        let samples: Vec<Vec<Tensor>> = (0..compiled.samples)
            .map(|_| graph.inputs.iter().map(|&id| codes(random, graph.ty(id))).collect())
            .collect();
        for (k, binding) in compiled.inputs.iter().enumerate() {
            let column: Vec<&Tensor> = samples.iter().map(|s| &s[k]).collect();
            let bytes = binding.pack(&column).expect("samples of the program's shape");
            device.write(&loaded, binding.section, 0, &bytes).expect("the section is as large as the binding says");
        }
        device
            .run(&loaded, std::time::Duration::from_secs(60))
            .unwrap_or_else(|e| panic!("{what}, run {run}: {e}\n{}", config.to_toml()));
        for (k, binding) in compiled.outputs.iter().enumerate() {
            let bytes = device.read(&loaded, binding.section, 0, binding.bytes()).expect("the section is there");
            let results = binding.unpack(&bytes, samples.len()).expect("as many bytes as the binding says");
            for (sample, (found, inputs)) in results.iter().zip(&samples).enumerate() {
                let expected = &interpret(graph, inputs).unwrap_or_else(|e| panic!("{what}: {e}"))[k];
                let differ = found.to_le_bytes().iter().zip(expected.to_le_bytes()).filter(|(a, b)| *a != b).count();
                assert!(
                    found == expected,
                    "{what}, run {run}, sample {sample}: {differ} of {} codes differ\n{:?}\n{}",
                    found.len(),
                    graph.nodes[0].op,
                    config.to_toml()
                );
            }
        }
    }
    device.unload(loaded).expect("the program was loaded here");
}
