//! Every kind of layer, compiled for random machines and run on the functional simulator, against the reference kernels.

use tandem_driver::Device;
use tandem_graph::{Graph, interpret};
use tandem_isa::{HwConfig, HwFacts, Insn, MemoryType, RequantMode, Role};
use tandem_ops::{Act, Arith, Op};
use tandem_sim::{Checks, FsimBus, Options};
use tandem_tensor::{DType, Tensor, TensorType};
use tandem_tests::layer::{KINDS, codes, convolution, layer, sums};
use tandem_tests::random::Random;

/// Layers of each kind, each on a machine and in a family of its own.
const LAYERS: u64 = 150;

/// Memory of the simulated machine.
const DRAM_BYTES: u64 = 64 << 20;

/// The presets, then machines at random. Every third one has no queues: there the order of the stream counts.
fn machine(seed: u64) -> HwConfig {
    let config = match seed {
        0..5 => HwConfig::preset(HwConfig::presets()[seed as usize]).expect("a preset"),
        _ => HwConfig::sample(seed),
    };
    if seed % 3 == 2 { config.without_queues() } else { config }
}

#[test]
fn every_kind_of_layer_is_bit_exact_on_random_machines() {
    for (k, kind) in KINDS.into_iter().enumerate() {
        for seed in 0..LAYERS {
            let mut random = Random::new(seed * 1000 + k as u64);
            let arith = random.of(&[Arith::TfliteRef, Arith::Xnnpack]);
            let graph = layer(kind, arith, &mut random);
            check(&graph, &machine(seed), &mut random, &format!("{kind}, seed {seed}, {}", arith.name()));
        }
    }
}

#[test]
fn whole_sums_of_plain_bytes_are_exact_on_random_machines() {
    for (k, kind) in ["conv", "depthwise", "grouped", "dense"].into_iter().enumerate() {
        for seed in 0..LAYERS {
            let mut random = Random::new(seed * 1000 + k as u64);
            let graph = sums(kind, &mut random);
            check(&graph, &machine(seed), &mut random, &format!("sums of {kind}, seed {seed}"));
        }
    }
}

#[test]
fn weights_that_four_bits_hold_lie_in_memory_with_four_bits() {
    let config = HwConfig::preset("vta").expect("a preset");
    let packed = HwConfig::new(HwFacts { packed_weights: true, ..config.facts().clone() }).expect("a machine");
    for seed in 0..LAYERS {
        let graph = sums("dense", &mut Random::new(seed));
        let weights = graph.constant(graph.nodes[0].inputs[1]).expect("weights").as_slice::<i8>().expect("int8");
        let few = weights.iter().all(|weight| (-8..=7).contains(weight));
        let bytes = |config: &HwConfig| {
            let compiled = tandem_jit::compile(&graph, config).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            compiled.program.sections.iter().find(|section| section.role == Role::Wgt).expect("weights").size
        };
        assert_eq!(bytes(&packed) * if few { 2 } else { 1 }, bytes(&config), "seed {seed}");
        let said = tandem_jit::tune::Workload::of(&graph, &packed)[0].clone().expect("it runs").expect("a window");
        assert_eq!(said.to_string().ends_with(" weights=4"), few, "seed {seed}: {said}");
    }
}

#[test]
fn requantised_layers_with_weights_of_four_bits_are_bit_exact() {
    let mut packed = 0;
    for (k, kind) in ["conv", "grouped", "dense"].into_iter().enumerate() {
        for seed in 0..LAYERS {
            let mut random = Random::new(seed * 1000 + k as u64);
            let mut graph = layer(kind, Arith::TfliteRef, &mut random);
            let weights = graph.nodes[0].inputs[1];
            let ty = graph.ty(weights).clone();
            let Ok(codes) = graph.constant(weights).expect("weights").as_slice::<i8>() else { continue };
            let few = codes.iter().map(|code| code % 8).collect::<Vec<i8>>();
            let few = Tensor::from_vec(ty.shape.clone(), few).expect("as many as before");
            graph.values[weights.0].constant = Some(few.into());
            let config = HwConfig::sample(seed);
            let facts = HwFacts { packed_weights: true, ..config.facts().clone() };
            let config = HwConfig::new(facts).expect("a machine");
            if let Ok(Some(workload)) = &tandem_jit::tune::Workload::of(&graph, &config)[0] {
                packed += usize::from(workload.to_string().ends_with(" weights=4"));
            }
            check(&graph, &config, &mut random, &format!("{kind}, seed {seed}"));
        }
    }
    assert!(packed > 100, "{packed} layers have weights of four bits");
}

#[test]
fn sums_of_extreme_bytes_reach_the_highest_byte() {
    const DEPTH: usize = 2000;
    let mut graph = Graph::new("deep", Arith::TfliteRef);
    let x = graph.add_value("x", TensorType::new(DType::I8, [1, 3, DEPTH]));
    let w = TensorType::new(DType::I8, [2, DEPTH]);
    let codes = [[-128i8; DEPTH], [127; DEPTH]].concat();
    let w = graph.add_constant("w", w, Tensor::from_vec([2, DEPTH], codes).expect("as many as the shape asks for"));
    let y = graph.add_value("y", TensorType::new(DType::I32, [1, 3, 2]));
    graph.add_node("dense", Op::Dense { act: Act::None }, [x, w], [y]);
    (graph.inputs, graph.outputs) = (vec![x], vec![y]);
    let rows = [-128i8, 127, 1].map(|code| [code; DEPTH]).concat();
    let rows = Tensor::from_vec([1, 3, DEPTH], rows).expect("as many as the shape asks for");
    for name in HwConfig::presets() {
        let config = HwConfig::preset(name).expect("a preset");
        check_with(&graph, &config, &mut Random::new(1), name, |_, _| rows.clone());
    }
    let expected = [16384, -16256, -16256, 16129, -128, 127].map(|product| product * DEPTH as i32);
    let found = interpret(&graph, &[rows]).expect("a graph that computes");
    assert_eq!(found[0].as_slice::<i32>().expect("sums"), expected);
}

#[test]
fn layers_beyond_the_fields_of_an_instruction_are_bit_exact() {
    let layers = [
        // Padding beyond its four bits.
        ([5, 6, 3], [20, 20], [19, 19], 4),
        // Rows further apart than a stride can say.
        ([3, 70_000, 1], [2, 1], [0, 0], 2),
        // More input channels and more taps than a scratchpad holds.
        ([2, 3, 1500], [2, 3], [0, 0], 40),
        ([33, 9, 40], [32, 8], [3, 2], 5),
    ];
    for (image, kernel, pad, outputs) in layers {
        for name in ["tiny", "vta", "wide"] {
            let mut random = Random::new(5);
            let graph = convolution(image, kernel, pad, outputs, &mut random);
            let config = HwConfig::preset(name).expect("a preset");
            check(&graph, &config, &mut random, &format!("{image:?} {kernel:?} on {name}"));
        }
        let smallest = (0..200).map(HwConfig::sample).min_by_key(|c| c.inp_depth() + c.wgt_depth() + c.acc_depth());
        let mut random = Random::new(6);
        let graph = convolution([9, 8, 40], kernel.map(|k| k.min(7)), [2, 2], outputs, &mut random);
        check(&graph, &smallest.expect("two hundred machines"), &mut random, "the smallest machine");
    }
}

#[test]
fn all_taps_of_an_average_share_one_element_of_weights() {
    let config = HwConfig::preset("vta").expect("a preset");
    for seed in 0..LAYERS {
        let graph = layer("average_pool", Arith::TfliteRef, &mut Random::new(seed));
        let compiled = tandem_jit::compile(&graph, &config).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let loads = compiled.program.insns.iter().filter_map(|insn| match insn {
            Insn::Load(load) if load.memory_type == MemoryType::Wgt => Some(load.y_size * load.x_size),
            _ => None,
        });
        assert_eq!(loads.sum::<u32>(), 1, "seed {seed}");
    }
}

#[test]
fn without_requant_float_the_layers_that_need_it_stay_on_the_cpu_and_say_so() {
    let tiny = HwConfig::preset("tiny").expect("a preset");
    let without = HwConfig::new(HwFacts { float_requant: false, ..tiny.facts().clone() }).expect("a machine");
    for (arith, runs) in [(Arith::TfliteRef, true), (Arith::Xnnpack, false)] {
        let mut random = Random::new(3);
        let graph = layer("conv", arith, &mut random);
        assert_eq!(tandem_jit::supports(&graph, &graph.nodes[0], &tiny), Ok(()));
        let said = tandem_jit::supports(&graph, &graph.nodes[0], &without);
        let reason = "this machine has no REQUANT mode `float`".to_owned();
        assert_eq!(said, if runs { Ok(()) } else { Err(reason) }, "{}", arith.name());
        if runs {
            check(&graph, &without, &mut random, "without float");
        }
    }
}

#[test]
fn a_segment_that_does_not_fit_in_memory_is_refused_with_its_size() {
    let tiny = HwConfig::preset("tiny").expect("a preset");
    let small = HwConfig::new(HwFacts { dram_bits: 16, ..tiny.facts().clone() }).expect("a machine");
    let graph = convolution([33, 9, 400], [1, 1], [0, 0], 40, &mut Random::new(1));
    let error = tandem_jit::compile(&graph, &small).expect_err("too much").to_string();
    assert!(error.contains("more than the 65536 that the machine's addresses reach"), "{error}");
}

/// Runs a segment on fsim for as many samples as one run takes, twice, and compares with the interpreter.
fn check(graph: &Graph, config: &HwConfig, random: &mut Random, what: &str) {
    check_with(graph, config, random, what, codes);
}

/// The same with inputs of a kind.
fn check_with(
    graph: &Graph,
    config: &HwConfig,
    random: &mut Random,
    what: &str,
    draw: impl Fn(&mut Random, &TensorType) -> Tensor,
) {
    graph.verify().unwrap_or_else(|e| panic!("{what}: {e}"));
    for node in &graph.nodes {
        if let Err(reason) = tandem_jit::supports(graph, node, config) {
            let without_float = !config.has_requant(RequantMode::Float) && reason.contains("no REQUANT mode `float`");
            assert!(without_float || reason.contains("no integer multiplier"), "{what}: {reason}");
            return;
        }
    }
    let compiled = tandem_jit::compile(graph, config).unwrap_or_else(|e| panic!("{what}: {e}"));
    // An interleaving at random; races and reads of what nothing wrote are errors even where they do no harm.
    let checks = Checks { races: true, uninitialised: true };
    let options = Options { seed: u64::from(random.bits()), checks, ..Options::default() };
    let bus = FsimBus::with_options(config, options, DRAM_BYTES);
    let mut device = Device::open(Box::new(bus), config).unwrap_or_else(|e| panic!("{what}: {e}"));
    let loaded = device.load(&compiled.program).unwrap_or_else(|e| panic!("{what}: {e}\n{}", config.to_toml()));
    for run in 0..2 {
        let samples: Vec<Vec<Tensor>> = (0..compiled.samples)
            .map(|_| graph.inputs.iter().map(|&id| draw(random, graph.ty(id))).collect())
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
