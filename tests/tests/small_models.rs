//! The small models of `tests/models`, one operator or a few each, against the outputs of LiteRT and ONNX Runtime that
//! `manifest.json` lists: through the interpreter, and through the plan on the simulated accelerator.

use serde_json::Value;
use std::path::PathBuf;
use tandem_driver::Device as VtaDevice;
use tandem_graph::{Graph, interpret};
use tandem_import::{ImportOptions, import};
use tandem_isa::HwConfig;
use tandem_ops::Arith;
use tandem_plan::{Device, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::FsimBus;
use tandem_tensor::{DType, Tensor};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models"))
}

fn cases(format: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("manifest.json")).expect("the manifest is in the repository");
    let manifest: Value = serde_json::from_str(&text).expect("the manifest is JSON");
    manifest[format].as_array().expect("a list of cases").clone()
}

fn bytes(file: &Value) -> Vec<u8> {
    let file = folder().join(file.as_str().expect("a file name"));
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn graph(case: &Value, arith: Arith) -> Result<Graph, String> {
    let options = ImportOptions { arith: Some(arith), ..ImportOptions::default() };
    import(&bytes(&case["model"]), &options).map_err(|e| e.to_string())
}

fn inputs(case: &Value, graph: &Graph) -> Vec<Tensor> {
    let listed = case["inputs"].as_array().expect("inputs");
    graph
        .inputs
        .iter()
        .enumerate()
        .map(|(k, &id)| {
            let value = graph.value(id);
            let entry = listed.iter().find(|i| i["name"] == value.name.as_str()).unwrap_or(&listed[k]);
            Tensor::from_le_bytes(value.ty.dtype, value.ty.shape.clone(), &bytes(&entry["file"]))
                .expect("the listed shape")
        })
        .collect()
}

fn on_accelerator(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let config = HwConfig::preset("edge").expect("a preset");
    let plan = partition(graph, Device::Vta(0), |node| tandem_jit::supports(graph, node, &config));
    let device = VtaDevice::open(Box::new(FsimBus::new(&config)), &config).expect("the simulator answers");
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(VtaBackend::new(device)), Box::new(CpuBackend)];
    let mut executor = Executor::new(graph, &plan, &mut backends).expect("every segment compiles");
    executor.run(&[inputs.to_vec()]).expect("every segment runs").remove(0)
}

/// How outputs differ from what an engine gave, if they do.
fn difference(case: &Value, engine: &str, outputs: &[Tensor]) -> Option<String> {
    for (found, listed) in outputs.iter().zip(case["outputs"].as_array().expect("outputs")) {
        let expected = bytes(&listed["expected"][engine]);
        let expected = Tensor::from_le_bytes(found.dtype(), found.shape().clone(), &expected)
            .unwrap_or_else(|e| panic!("{}: {e}", case["name"]));
        let far = |(a, b): (&f64, &f64)| match found.dtype() {
            DType::F32 => (a - b).abs() > 1e-5 * b.abs().max(1.0),
            _ => a != b,
        };
        let count = found.to_f64().iter().zip(&expected.to_f64()).filter(|&p| far(p)).count();
        if count > 0 {
            return Some(format!("{count} of {} elements differ", found.len()));
        }
    }
    None
}

fn check(format: &str, arith: Arith, engine: &str, known: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    let mut ran = 0;
    for case in cases(format) {
        let name = case["name"].as_str().expect("a name");
        if case["outputs"][0]["expected"][engine].is_null() {
            continue;
        }
        ran += 1;
        let found = graph(&case, arith).and_then(|graph| {
            let inputs = inputs(&case, &graph);
            let oracle = interpret(&graph, &inputs).map_err(|e| e.to_string())?;
            if on_accelerator(&graph, &inputs) != oracle {
                return Err("the accelerator differs from the interpreter".into());
            }
            difference(&case, engine, &oracle).map_or(Ok(()), Err)
        });
        match (found, known.iter().find(|(n, _)| *n == name)) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{name}: passes now; take it off the list")),
            (Err(problem), None) => wrong.push(format!("{name}: {problem}")),
        }
    }
    assert!(ran > 20, "only {ran} cases have outputs of {engine}");
    assert!(wrong.is_empty(), "{format}, {engine}:\n{}", wrong.join("\n"));
}

#[test]
fn tflite_operators_equal_the_reference_kernels() {
    check("tflite", Arith::TfliteRef, "tflref", &[]);
}

#[test]
fn tflite_operators_equal_xnnpack() {
    check("tflite", Arith::Xnnpack, "xnnpack", &[]);
}

#[test]
fn onnx_operators_equal_onnx_runtime() {
    // ONNX Runtime computes these in floats and rounds once; family B computes them as XNNPACK does, in integers, which
    // decides some near-ties the other way, by one code.
    let known = [
        ("qdq_add", "21-bit multipliers"),
        ("qdq_concat_different_scales", "multipliers with 8 fractional bits"),
        ("qdq_leaky_relu", "multipliers with 8 fractional bits"),
    ];
    check("onnx", Arith::Xnnpack, "ort", &known);
}
