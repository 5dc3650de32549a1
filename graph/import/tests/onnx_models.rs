//! The ONNX forms of the real models: clean integer graphs that reproduce the stored outputs to the last bit.

mod data;

use data::{Models, models};
use tandem_graph::{Graph, Interpreter, parse, print};
use tandem_import::{ImportOptions, import};
use tandem_ops::{Arith, Op};
use tandem_tensor::{DType, Tensor};

const RESNET: &str = "mlperf-tiny/onnx/pretrainedResnet_quant.onnx";
const WORDS: &str = "mlperf-tiny/onnx/kws_ref_model.onnx";
const PERSON: &str = "mlperf-tiny/onnx/vww_96_int8.onnx";
const ENGINE: &str = "mlperf-tiny/onnx/ad01_int8.onnx";

fn load(models: &Models, path: &str, arith: Option<Arith>, cut: Option<&str>) -> Graph {
    let options = ImportOptions { arith, cut_at: cut.map(str::to_owned), ..ImportOptions::default() };
    import(&models.read(path), &options).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Output codes that differ from the stored ones, over all samples.
fn differing(models: &Models, graph: &Graph, inputs: &str, pixels: bool, expected: &str) -> usize {
    let ty = graph.ty(graph.inputs[0]);
    let flip = if pixels { 0x80 } else { 0 };
    let bytes: Vec<u8> = models.read(inputs).iter().map(|b| b ^ flip).collect();
    let expected = models.read(expected);
    let samples = bytes.len() / ty.bytes();
    let size = expected.len() / samples;
    assert!(samples > 0 && bytes.len().is_multiple_of(ty.bytes()) && expected.len().is_multiple_of(samples));
    let interpreter = Interpreter::new(graph);
    let wrong = |(x, e): (&[u8], &[u8])| {
        let x = Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), x).expect("one sample");
        let found = interpreter.run(&[x]).expect("the graph runs").remove(0).to_le_bytes();
        assert_eq!(found.len(), e.len());
        found.iter().zip(e).filter(|(a, b)| a != b).count()
    };
    bytes.chunks(ty.bytes()).zip(expected.chunks(size)).map(wrong).sum()
}

fn count(graph: &Graph, test: impl Fn(&Op) -> bool) -> usize {
    graph.nodes.iter().filter(|n| test(&n.op)).count()
}

#[test]
fn every_onnx_model_imports_and_survives_its_text_form() {
    let Some(models) = models() else { return };
    for path in models.files("onnx") {
        let graph = load(&models, &path, None, None);
        assert_eq!(graph.arith, Arith::Xnnpack);
        assert!(parse(&print(&graph)).unwrap() == graph, "{path} changes in its text form");
    }
}

#[test]
fn no_transposition_remains_in_any_of_the_models() {
    let Some(models) = models() else { return };
    for path in models.files("onnx") {
        let graph = load(&models, &path, None, None);
        assert_eq!(count(&graph, |op| matches!(op, Op::Transpose { .. })), 0, "{path}");
    }
}

#[test]
fn everything_before_the_softmax_of_a_quantised_model_works_on_codes() {
    let Some(models) = models() else { return };
    for (path, conversions) in [(RESNET, 2), (WORDS, 2), (PERSON, 2), (ENGINE, 0)] {
        let graph = load(&models, path, None, None);
        assert_eq!(count(&graph, |op| matches!(op, Op::Quantize | Op::Dequantize)), conversions, "{path}");
        assert_eq!(count(&graph, |op| matches!(op, Op::Requantize)), 0, "{path}");
        for node in graph.nodes.iter().filter(|n| graph.macs(n) > 0) {
            for &id in node.inputs.iter().chain(&node.outputs) {
                let ty = graph.ty(id);
                assert!(matches!(ty.dtype, DType::I8 | DType::I32) && ty.quant.is_some(), "{path}: '{}'", node.name);
            }
        }
    }
}

#[test]
fn both_importers_give_a_network_the_same_operators() {
    let Some(models) = models() else { return };
    for name in ["pretrainedResnet_quant", "kws_ref_model", "vww_96_int8", "ad01_int8"] {
        let onnx = load(&models, &format!("mlperf-tiny/onnx/{name}.onnx"), None, None);
        let tflite = load(&models, &format!("mlperf-tiny/models/{name}.tflite"), None, None);
        let weighted = |g: &Graph| -> Vec<(String, Vec<usize>, u64)> {
            let nodes = g.nodes.iter().filter(|n| g.macs(n) > 0);
            let mut list: Vec<_> =
                nodes.map(|n| (format!("{:?}", n.op), g.ty(n.outputs[0]).shape.0.clone(), g.macs(n))).collect();
            // Branches that do not depend on each other may come in either order.
            list.sort();
            list
        };
        assert_eq!(weighted(&onnx), weighted(&tflite), "{name}");
    }
}

#[test]
fn images_give_the_stored_codes_in_both_families() {
    let Some(models) = models() else { return };
    let cut = Some("model/dense/MatMul;model/dense/BiasAdd");
    for (arith, family) in [(Arith::Xnnpack, "xnnpack"), (Arith::TfliteRef, "tflref")] {
        let expected = format!("mlperf-tiny/ic01/expected_logits_i8_{family}.bin");
        let graph = load(&models, RESNET, Some(arith), cut);
        assert_eq!(differing(&models, &graph, "mlperf-tiny/ic01/inputs_u8.bin", true, &expected), 0, "{family}");
        let expected = format!("mlperf-tiny/vww01/licensed10_expected_logits_i8_{family}.bin");
        let graph = load(&models, PERSON, Some(arith), cut);
        let inputs = "mlperf-tiny/vww01/licensed10_inputs_u8.bin";
        assert_eq!(differing(&models, &graph, inputs, true, &expected), 0, "{family}");
    }
}

#[test]
fn words_give_the_stored_codes_in_both_families() {
    let Some(models) = models() else { return };
    for (arith, family) in [(Arith::Xnnpack, "xnnpack"), (Arith::TfliteRef, "tflref")] {
        let expected = format!("mlperf-tiny/kws01/expected_logits_i8_{family}.bin");
        let graph = load(&models, WORDS, Some(arith), Some("functional_1/dense/BiasAdd"));
        assert_eq!(differing(&models, &graph, "mlperf-tiny/kws01/inputs_i8.bin", false, &expected), 0, "{family}");
    }
}

#[test]
fn whole_models_give_the_stored_probabilities_of_xnnpack() {
    // The softmax stands between explicit conversions, in floats, as XNNPACK computes it.
    let Some(models) = models() else { return };
    for (model, inputs, pixels, expected) in [
        (RESNET, "ic01/inputs_u8.bin", true, "ic01/expected_prob_i8_xnnpack.bin"),
        (WORDS, "kws01/inputs_i8.bin", false, "kws01/expected_prob_i8_xnnpack.bin"),
        (PERSON, "vww01/licensed10_inputs_u8.bin", true, "vww01/licensed10_expected_prob_i8_xnnpack.bin"),
    ] {
        let graph = load(&models, model, None, None);
        let (inputs, expected) = (format!("mlperf-tiny/{inputs}"), format!("mlperf-tiny/{expected}"));
        assert_eq!(differing(&models, &graph, &inputs, pixels, &expected), 0, "{model}");
    }
}

#[test]
fn spectra_give_the_stored_codes_of_the_reference_kernels() {
    let Some(models) = models() else { return };
    let graph = load(&models, ENGINE, Some(Arith::TfliteRef), None);
    let (inputs, expected) =
        ("mlperf-tiny/ad01/sample_windows_i8.bin", "mlperf-tiny/ad01/expected_windows_i8_tflref.bin");
    assert_eq!(differing(&models, &graph, inputs, false, expected), 0);
}
