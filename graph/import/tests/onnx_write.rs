//! The models of the data folder as ONNX files.

mod data;

use data::models;
use tandem_graph::{Graph, Interpreter};
use tandem_import::onnx::{Notes, write};
use tandem_import::{ImportOptions, import};
use tandem_tensor::{DType, Tensor};

/// Numbers that differ from one place to the next.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let input = |&id| {
        let ty = graph.ty(id);
        let top = if ty.dtype == DType::F32 { 1.0 } else { 100.0 };
        let values: Vec<f64> = (0..ty.elements()).map(|i| (((i * 37 + 11) % 101) as f64 / 50.0 - 1.0) * top).collect();
        let values: Vec<f64> =
            if ty.dtype == DType::F32 { values } else { values.iter().map(|v| v.round().max(0.0)).collect() };
        Tensor::from_f64(ty.dtype, ty.shape.clone(), &values).unwrap()
    };
    graph.inputs.iter().map(input).collect()
}

#[test]
fn float_models_come_back_and_compute_the_same() {
    let Some(models) = models() else { return };
    let mut paths: Vec<String> = ["ad01_fp32", "kws_ref_model_float32", "pretrainedResnet", "vww_96_float"]
        .map(|name| format!("mlperf-tiny/models/{name}.tflite"))
        .to_vec();
    paths.push("llm/stories260K.bin".into());
    paths.push("mnist/burn_mnist.onnx".into());
    for path in paths {
        let graph = import(&models.read(&path), &ImportOptions::default()).unwrap();
        let file = write(&graph, &Notes::default()).unwrap();
        let back = import(&file, &ImportOptions::default()).unwrap_or_else(|e| panic!("{path}: {e}"));
        let inputs = inputs(&graph);
        let run = |graph: &Graph| Interpreter::new(graph).run(&inputs).unwrap_or_else(|e| panic!("{path}: {e}"));
        for (a, b) in run(&graph).iter().zip(run(&back)) {
            let (a, b) = (a.to_f64(), b.to_f64());
            let top = a.iter().fold(0f64, |top, v| top.max(v.abs()));
            let off = a.iter().zip(&b).fold(0f64, |off, (a, b)| off.max((a - b).abs()));
            assert!(a.len() == b.len() && off <= 1e-5 * top, "{path}: off by {off} of {top}");
        }
    }
}

#[test]
fn every_model_is_written_and_comes_back_or_has_operators_of_the_own_domain() {
    let Some(models) = models() else { return };
    for path in models.files("tflite").into_iter().chain(models.files("onnx")) {
        let graph = import(&models.read(&path), &ImportOptions::default()).unwrap();
        let file = write(&graph, &Notes::default()).unwrap_or_else(|e| panic!("{path}: {e}"));
        let float = graph.values.iter().all(|value| value.ty.quant.is_none());
        match import(&file, &ImportOptions::default()) {
            Ok(_) => {}
            Err(e) => assert!(!float && e.to_string().contains("domain 'tandem'"), "{path}: {e}"),
        }
    }
}
