//! Real int8 networks against the stored outputs of the engines that define them, on the CPU and on the simulated accelerator.

use std::path::Path;
use tandem_driver::Device as VtaDevice;
use tandem_graph::{Graph, Interpreter};
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_ops::Arith;
use tandem_plan::{Device, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_tensor::{DType, Tensor, read_npz};
use tandem_tests::models;

/// Samples of each network that the accelerator runs here; the CPU runs all of them. `tandem run` does whole sets.
const ON_FSIM: usize = 12;

struct Case {
    model: &'static str,
    inputs: &'static str,
    expected: &'static str,
    arith: Arith,
    /// The bytes are pixels.
    pixels: bool,
    /// The expected codes are those before the softmax.
    logits: bool,
}

const A: Arith = Arith::TfliteRef;
const B: Arith = Arith::Xnnpack;

const fn case(
    model: &'static str,
    inputs: &'static str,
    expected: &'static str,
    arith: Arith,
    pixels: bool,
    logits: bool,
) -> Case {
    Case { model, inputs, expected, arith, pixels, logits }
}

const RESNET: &str = "mlperf-tiny/models/pretrainedResnet_quant.tflite";
const KWS: &str = "mlperf-tiny/models/kws_ref_model.tflite";
const VWW: &str = "mlperf-tiny/models/vww_96_int8.tflite";
const IC: &str = "mlperf-tiny/ic01/inputs_u8.bin";
const WORDS: &str = "mlperf-tiny/kws01/inputs_i8.bin";
const TEN: &str = "mlperf-tiny/vww01/licensed10_inputs_u8.bin";

const CASES: &[Case] = &[
    case(RESNET, IC, "mlperf-tiny/ic01/expected_prob_i8_tflref.bin", A, true, false),
    case(RESNET, IC, "mlperf-tiny/ic01/expected_logits_i8_xnnpack.bin", B, true, true),
    case(RESNET, IC, "mlperf-tiny/ic01/expected_prob_i8_xnnpack.bin", B, true, false),
    case(KWS, WORDS, "mlperf-tiny/kws01/expected_prob_i8_tflref.bin", A, false, false),
    case(KWS, WORDS, "mlperf-tiny/kws01/expected_logits_i8_xnnpack.bin", B, false, true),
    case(KWS, WORDS, "mlperf-tiny/kws01/expected_prob_i8_xnnpack.bin", B, false, false),
    case(VWW, TEN, "mlperf-tiny/vww01/licensed10_expected_prob_i8_tflref.bin", A, true, false),
    case(VWW, TEN, "mlperf-tiny/vww01/licensed10_expected_logits_i8_xnnpack.bin", B, true, true),
    case(VWW, TEN, "mlperf-tiny/vww01/licensed10_expected_prob_i8_xnnpack.bin", B, true, false),
    case(
        "mlperf-tiny/models/ad01_int8.tflite",
        "mlperf-tiny/ad01/sample_windows_i8.bin",
        "mlperf-tiny/ad01/expected_windows_i8_tflref.bin",
        A,
        false,
        false,
    ),
];

const PHOTOGRAPHS: [&str; 7] = ["bird", "cat", "dragonfly", "grace_hopper", "hot_dog", "parrot", "sunflower"];

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn graph(folder: &Path, model: &str, arith: Arith) -> Graph {
    let options = ImportOptions { arith: Some(arith), ..ImportOptions::default() };
    import(&read(folder, model), &options).unwrap_or_else(|e| panic!("{model}: {e}"))
}

/// Makes the operand of the final softmax the output.
fn before_softmax(graph: &mut Graph) {
    let softmax = graph.nodes.iter().find(|n| n.op.name() == "softmax").expect("the network ends in a softmax");
    let name = graph.value(softmax.inputs[0]).name.clone();
    graph.cut_at(&name).expect("the operand is a value of the graph");
}

/// Cuts raw bytes into samples of the graph's input.
fn samples(graph: &Graph, bytes: &[u8], pixels: bool) -> Vec<Vec<Tensor>> {
    let ty = graph.ty(graph.inputs[0]);
    let flip = if pixels && ty.dtype == DType::I8 { 0x80 } else { 0 };
    let bytes: Vec<u8> = bytes.iter().map(|b| b ^ flip).collect();
    let tensor = |b: &[u8]| Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), b).expect("a whole sample");
    bytes.chunks_exact(ty.bytes()).map(|b| vec![tensor(b)]).collect()
}

fn executor(graph: &Graph, config: &HwConfig) -> (Executor, f64) {
    let plan = partition(graph, Device::Vta(0), |node| tandem_jit::supports(graph, node, config));
    let device = VtaDevice::open(Box::new(FsimBus::new(config)), config).expect("the simulator answers");
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
    let share = plan.share(Device::is_vta).unwrap_or(0.0);
    (Executor::new(graph, &plan, &mut backends).unwrap_or_else(|e| panic!("{}: {e}", graph.name)), share)
}

fn bytes(results: &[Vec<Tensor>]) -> Vec<u8> {
    results.iter().flatten().flat_map(Tensor::to_le_bytes).collect()
}

fn assert_same(what: &str, found: &[u8], expected: &[u8]) {
    let differ = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    assert!(found == expected, "{what}: {differ} of {} codes differ", expected.len());
}

#[test]
fn the_interpreter_equals_the_engines_on_every_sample() {
    let Some(folder) = models() else { return };
    for case in CASES {
        let mut graph = graph(&folder, case.model, case.arith);
        if case.logits {
            before_softmax(&mut graph);
        }
        let samples = samples(&graph, &read(&folder, case.inputs), case.pixels);
        let interpreter = Interpreter::new(&graph);
        let found: Vec<Vec<Tensor>> =
            samples.iter().map(|s| interpreter.run(s).unwrap_or_else(|e| panic!("{}: {e}", case.model))).collect();
        assert_same(case.expected, &bytes(&found), &read(&folder, case.expected));
    }
}

#[test]
fn the_accelerator_equals_the_engines_and_takes_the_arithmetic() {
    let Some(folder) = models() else { return };
    let config = HwConfig::preset("vta").expect("a preset");
    for case in CASES {
        let mut graph = graph(&folder, case.model, case.arith);
        if case.logits {
            before_softmax(&mut graph);
        }
        let samples = samples(&graph, &read(&folder, case.inputs), case.pixels);
        let some = &samples[..samples.len().min(ON_FSIM)];
        let (mut executor, share) = executor(&graph, &config);
        assert!(share >= 0.99, "{}: {:.2} % of the MACs on the accelerator", case.model, share * 100.0);
        let found = executor.run(some).unwrap_or_else(|e| panic!("{}: {e}", case.model));
        let found = bytes(&found);
        assert_same(case.expected, &found, &read(&folder, case.expected)[..found.len()]);
    }
}

#[test]
fn the_photographs_give_the_reference_scores() {
    let Some(folder) = models() else { return };
    let graph = graph(&folder, "imagenet/mobilenet_v1_0.25_128_quant.tflite", A);
    let (mut executor, share) = executor(&graph, &HwConfig::preset("vta").expect("a preset"));
    assert!(share >= 0.99, "{:.2} % of the MACs on the accelerator", share * 100.0);
    for name in PHOTOGRAPHS {
        let input = samples(&graph, &read(&folder, &format!("imagenet/inputs/{name}_128x128x3_u8.bin")), true);
        let expected =
            read(&folder, &format!("imagenet/inputs/{name}_mobilenet_v1_0.25_128_quant_expected_u8_tflref.bin"));
        let oracle = Interpreter::new(&graph).run(&input[0]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_same(&format!("{name}, interpreter"), &bytes(&[oracle]), &expected);
        let found = executor.run(&input).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_same(&format!("{name}, accelerator"), &bytes(&found), &expected);
    }
}

#[test]
fn every_layer_equals_the_reference_kernels() {
    let Some(folder) = models() else { return };
    for (set, model, inputs, pixels) in [("ic01", RESNET, IC, true), ("kws01", KWS, WORDS, false)] {
        let graph = graph(&folder, model, A);
        let samples = samples(&graph, &read(&folder, inputs), pixels);
        for (index, sample) in samples.iter().enumerate().take(2) {
            let file = format!("mlperf-tiny/{set}/layers_tflref_sample{index}.npz");
            let layers = read_npz(&read(&folder, &file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            let mut found = Vec::new();
            Interpreter::new(&graph)
                .run_observed(sample, |node, results| {
                    found.push((graph.nodes[node.0].name.clone(), results[0].clone()))
                })
                .unwrap_or_else(|e| panic!("{model}: {e}"));
            assert_eq!(found.len(), layers.len(), "{file}: operators");
            for ((name, result), (layer, expected)) in found.iter().zip(&layers) {
                assert_same(&format!("{file}, {layer} ({name})"), &result.to_le_bytes(), &expected.to_le_bytes());
            }
        }
    }
}

/// Random machines for each network, beside the presets.
const MACHINES: u64 = 20;

#[test]
fn every_machine_gives_the_same_codes() {
    let Some(folder) = models() else { return };
    let configs: Vec<HwConfig> = HwConfig::presets()
        .into_iter()
        .filter_map(HwConfig::preset)
        .chain((0..MACHINES).map(|seed| HwConfig::sample(seed + 100)))
        .collect();
    for case in CASES.iter().filter(|c| c.arith == A) {
        let graph = graph(&folder, case.model, case.arith);
        let samples = samples(&graph, &read(&folder, case.inputs), case.pixels);
        let expected = read(&folder, case.expected);
        for config in &configs {
            let (mut executor, _) = executor(&graph, config);
            // One more sample than rows, so that a batch is left partly empty.
            let some = &samples[..config.batch() + usize::from(config.batch() > 1)];
            let found = executor.run(some).unwrap_or_else(|e| panic!("{}: {e}\n{}", case.model, config.to_toml()));
            let found = bytes(&found);
            assert_same(&format!("{}\n{}", case.model, config.to_toml()), &found, &expected[..found.len()]);
        }
    }
}
