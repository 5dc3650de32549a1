//! The models of the data folder: they import, and the interpreter reproduces the stored outputs of their own kernels.

mod data;

use data::{Models, models};
use std::path::Path;
use tandem_graph::{Graph, Interpreter, parse, print};
use tandem_import::{ImportOptions, import};
use tandem_ops::Arith;
use tandem_tensor::{Tensor, read_npz};

fn load(models: &Models, path: &str, options: &ImportOptions) -> Graph {
    import(&models.read(path), options).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Samples of raw bytes as tensors of the graph's input.
fn samples(graph: &Graph, bytes: &[u8], pixels: bool) -> Vec<Tensor> {
    let ty = graph.ty(graph.inputs[0]);
    let flip = if pixels && ty.dtype == tandem_tensor::DType::I8 { 0x80 } else { 0 };
    let bytes: Vec<u8> = bytes.iter().map(|b| b ^ flip).collect();
    let sample = |chunk: &[u8]| Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), chunk).unwrap();
    assert!(bytes.len().is_multiple_of(ty.bytes()), "whole samples");
    bytes.chunks(ty.bytes()).map(sample).collect()
}

/// Runs all samples and counts those whose output bytes differ from the stored ones.
fn mismatches(graph: &Graph, inputs: &[Tensor], expected: &[u8]) -> usize {
    let interpreter = Interpreter::new(graph);
    let size = expected.len() / inputs.len();
    let wrong = |(x, e): (&Tensor, &[u8])| {
        let out = interpreter.run(std::slice::from_ref(x)).expect("the graph runs");
        out[0].to_le_bytes() != e
    };
    inputs.iter().zip(expected.chunks(size)).filter(|&pair| wrong(pair)).count()
}

#[test]
fn every_tflite_model_imports_and_survives_its_text_form() {
    let Some(models) = models() else { return };
    for path in models.files("tflite") {
        let graph = load(&models, &path, &ImportOptions::default());
        assert_eq!(graph.arith, Arith::TfliteRef);
        let text = print(&graph);
        assert!(parse(&text).unwrap() == graph, "{path} changes in its text form");
        let again = import(text.as_bytes(), &ImportOptions::default()).unwrap();
        assert!(again == graph, "{path} is not recognised as text");
    }
}

#[test]
fn the_recurrent_network_computes_the_hidden_states_and_probabilities_of_litert() {
    let Some(models) = models() else { return };
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lstm").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let path = "mnist/trained_lstm_int8.tflite";
    let hidden = ImportOptions { cut_at: Some("tfl.unidirectional_sequence_lstm".into()), ..ImportOptions::default() };
    for (options, expected) in
        [(ImportOptions::default(), "probabilities_i8_10x10.bin"), (hidden, "hidden_i8_10x28x20.bin")]
    {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            // The kernels of the dense layer and of the softmax are those of the reference family.
            if expected.starts_with("probabilities") && arith == Arith::Xnnpack {
                continue;
            }
            let graph = load(&models, path, &ImportOptions { arith: Some(arith), ..options.clone() });
            let inputs = samples(&graph, &file("images_i8_10x28x28.bin"), false);
            assert_eq!(inputs.len(), 10);
            assert_eq!(mismatches(&graph, &inputs, &file(expected)), 0, "{expected} {arith:?}");
        }
    }
}

#[test]
fn multiply_accumulates_are_those_of_the_published_networks() {
    let Some(models) = models() else { return };
    for (path, macs) in [
        ("mlperf-tiny/models/pretrainedResnet_quant.tflite", 12_501_632),
        ("mlperf-tiny/models/kws_ref_model.tflite", 2_656_768),
        ("mlperf-tiny/models/vww_96_int8.tflite", 7_489_664),
        ("mlperf-tiny/models/ad01_int8.tflite", 264_192),
    ] {
        let graph = load(&models, path, &ImportOptions::default());
        assert_eq!(graph.nodes.iter().map(|n| graph.macs(n)).sum::<u64>(), macs, "{path}");
    }
}

#[test]
fn family_a_probabilities_equal_the_reference_kernels_on_every_sample() {
    let Some(models) = models() else { return };
    let t = "mlperf-tiny";
    for (model, inputs, expected, pixels) in [
        ("models/pretrainedResnet_quant.tflite", "ic01/inputs_u8.bin", "ic01/expected_prob_i8_tflref.bin", true),
        ("models/kws_ref_model.tflite", "kws01/inputs_i8.bin", "kws01/expected_prob_i8_tflref.bin", false),
        (
            "models/vww_96_int8.tflite",
            "vww01/licensed10_inputs_u8.bin",
            "vww01/licensed10_expected_prob_i8_tflref.bin",
            true,
        ),
        ("models/ad01_int8.tflite", "ad01/sample_windows_i8.bin", "ad01/expected_windows_i8_tflref.bin", false),
    ] {
        let graph = load(&models, &format!("{t}/{model}"), &ImportOptions::default());
        let inputs = samples(&graph, &models.read(&format!("{t}/{inputs}")), pixels);
        let wrong = mismatches(&graph, &inputs, &models.read(&format!("{t}/{expected}")));
        assert_eq!(wrong, 0, "{model}: {wrong} of {} samples differ", inputs.len());
    }
}

#[test]
fn logits_equal_both_families_when_the_graph_is_cut_before_the_softmax() {
    let Some(models) = models() else { return };
    let t = "mlperf-tiny";
    for (model, inputs, stem, pixels) in [
        ("pretrainedResnet_quant", "ic01/inputs_u8.bin", "ic01/", true),
        ("kws_ref_model", "kws01/inputs_i8.bin", "kws01/", false),
        ("vww_96_int8", "vww01/licensed10_inputs_u8.bin", "vww01/licensed10_", true),
    ] {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let path = format!("{t}/models/{model}.tflite");
            let mut graph = load(&models, &path, &ImportOptions { arith: Some(arith), ..Default::default() });
            let softmax = graph.nodes.last().expect("the net ends in a softmax");
            assert_eq!(softmax.op.name(), "softmax");
            let logits = graph.value(softmax.inputs[0]).name.clone();
            graph.cut_at(&logits).unwrap();
            let inputs = samples(&graph, &models.read(&format!("{t}/{inputs}")), pixels);
            let expected = models.read(&format!("{t}/{stem}expected_logits_i8_{}.bin", arith.name()));
            let wrong = mismatches(&graph, &inputs, &expected);
            assert_eq!(wrong, 0, "{model} {}: {wrong} of {} samples differ", arith.name(), inputs.len());
        }
    }
}

#[test]
fn every_layer_equals_the_reference_kernels() {
    let Some(models) = models() else { return };
    let t = "mlperf-tiny";
    for (model, inputs, folder, pixels) in [
        ("pretrainedResnet_quant", "ic01/inputs_u8.bin", "ic01", true),
        ("kws_ref_model", "kws01/inputs_i8.bin", "kws01", false),
    ] {
        let graph = load(&models, &format!("{t}/models/{model}.tflite"), &ImportOptions::default());
        let inputs = samples(&graph, &models.read(&format!("{t}/{inputs}")), pixels);
        for (sample, input) in inputs.iter().take(2).enumerate() {
            let file = models.read(&format!("{t}/{folder}/layers_tflref_sample{sample}.npz"));
            let layers = read_npz(&file).unwrap();
            assert_eq!(layers.len(), graph.nodes.len(), "{model}: one stored result an operator");
            let mut layers = layers.iter();
            Interpreter::new(&graph)
                .run_observed(std::slice::from_ref(input), |id, results| {
                    let (name, expected) = layers.next().expect("as many results as nodes");
                    let same = results[0].to_le_bytes() == expected.to_le_bytes();
                    assert!(same, "{model} sample {sample}: node {} differs from {name}", graph.nodes[id.0].name);
                })
                .unwrap();
        }
    }
}

#[test]
fn the_unsigned_mobilenet_equals_the_reference_kernels() {
    let Some(models) = models() else { return };
    let model = "mobilenet_v1_0.25_128_quant";
    let graph = load(&models, &format!("imagenet/{model}.tflite"), &ImportOptions::default());
    for image in ["bird", "cat", "dragonfly", "grace_hopper", "hot_dog", "parrot", "sunflower"] {
        let inputs = samples(&graph, &models.read(&format!("imagenet/inputs/{image}_128x128x3_u8.bin")), true);
        let expected = models.read(&format!("imagenet/inputs/{image}_{model}_expected_u8_tflref.bin"));
        assert_eq!(mismatches(&graph, &inputs, &expected), 0, "{image}");
    }
}
