//! Real networks on the simulator of CUDA kernels, with the CPU for what has no kernel, against the interpreter.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tandem_gpu::{Compiler, Device as Gpu, Simulation};
use tandem_graph::{Graph, Interpreter, Kernels};
use tandem_import::{ImportOptions, import};
use tandem_ops::Arith;
use tandem_ops::def::{Agree, Random};
use tandem_plan::partition;
use tandem_runtime::{Backend, CpuBackend, Executor, GpuBackend};
use tandem_tensor::{DType, Tensor};
use tandem_tests::{models, tool};

const FAMILIES: [Arith; 2] = [Arith::TfliteRef, Arith::Xnnpack];

/// Networks of codes, and what of their inputs is stored.
const CODES: [(&str, &str); 5] = [
    ("mlperf-tiny/models/pretrainedResnet_quant.tflite", "mlperf-tiny/ic01/inputs_u8.bin"),
    ("mlperf-tiny/models/kws_ref_model.tflite", "mlperf-tiny/kws01/inputs_i8.bin"),
    ("mlperf-tiny/models/vww_96_int8.tflite", "mlperf-tiny/vww01/licensed10_inputs_u8.bin"),
    ("mlperf-tiny/models/ad01_int8.tflite", "mlperf-tiny/ad01/sample_windows_i8.bin"),
    ("imagenet/mobilenet_v1_0.25_128_quant.tflite", "imagenet/inputs/parrot_128x128x3_u8.bin"),
];

fn graph(folder: &Path, model: &str, arith: Arith) -> Graph {
    let options = ImportOptions { arith: Some(arith), ..ImportOptions::default() };
    let bytes = std::fs::read(folder.join(model)).unwrap_or_else(|e| panic!("{model}: {e}"));
    import(&bytes, &options).unwrap_or_else(|e| panic!("{model}: {e}"))
}

/// The first samples in a file of raw bytes.
fn stored(folder: &Path, graph: &Graph, file: &str, count: usize) -> Vec<Vec<Tensor>> {
    let ty = graph.ty(graph.inputs[0]);
    let flip = if file.ends_with("u8.bin") && ty.dtype == DType::I8 { 0x80 } else { 0 };
    let bytes = std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let bytes: Vec<u8> = bytes.iter().map(|b| b ^ flip).collect();
    let tensor = |b: &[u8]| vec![Tensor::from_le_bytes(ty.dtype, ty.shape.clone(), b).expect("a whole sample")];
    bytes.chunks_exact(ty.bytes()).take(count).map(tensor).collect()
}

fn device(compiler: &Arc<Compiler>) -> GpuBackend {
    GpuBackend::new(Gpu::sim(Arc::clone(compiler), Simulation::default()))
}

/// The results of a network with all on the device that it supports, and of the interpreter.
fn run(backend: GpuBackend, graph: &Graph, samples: &[Vec<Tensor>]) -> (Vec<Vec<Tensor>>, Vec<Vec<Tensor>>) {
    let kernels = Kernels::new(graph);
    let interpreter = Interpreter::with_kernels(graph, &kernels);
    let expected = samples.iter().map(|s| interpreter.run(s).unwrap_or_else(|e| panic!("{}: {e}", graph.name)));
    let expected = expected.collect();
    let plan = partition(graph, backend.device(), |node| backend.supports(graph, node));
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(backend), Box::new(CpuBackend)];
    let mut executor = Executor::new(graph, &plan, &mut backends).unwrap_or_else(|e| panic!("{}: {e}", graph.name));
    let begin = Instant::now();
    let found = executor.run(samples).unwrap_or_else(|e| panic!("{}: {e}", graph.name));
    eprintln!(
        "{}: {:.0} ms a sample on this host",
        graph.name,
        begin.elapsed().as_secs_f64() * 1e3 / samples.len() as f64
    );
    (found, expected)
}

#[test]
fn networks_of_codes_give_the_same_codes_in_both_families() {
    let (Some(folder), Some(compiler)) = (models(), tool::nvrtc()) else { return };
    for (model, inputs) in CODES {
        for arith in FAMILIES {
            let (graph, backend) = (graph(&folder, model, arith), device(&compiler));
            for node in graph.nodes.iter().filter(|node| node.op.name() != "softmax") {
                backend.supports(&graph, node).unwrap_or_else(|why| panic!("{model}, {}: {why}", node.name));
            }
            let samples = stored(&folder, &graph, inputs, 2);
            let (found, expected) = run(backend, &graph, &samples);
            assert!(found == expected, "{model} {arith:?}");
        }
    }
}

#[test]
fn every_model_runs() {
    let (Some(folder), Some(compiler)) = (models(), tool::nvrtc()) else { return };
    for place in ["mlperf-tiny/models", "mlperf-tiny/onnx", "imagenet"] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join(place))
            .expect("the models lie there")
            .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()))
            .filter(|name| name.ends_with(".tflite") || name.ends_with(".onnx"))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{place}");
        for file in files {
            let (model, mut random) = (format!("{place}/{file}"), Random::new(1));
            let graph = graph(&folder, &model, FAMILIES[1]);
            let sample = graph.inputs.iter().map(|&id| {
                let ty = graph.ty(id);
                match ty.dtype {
                    DType::F32 => random.normal_tensor(DType::F32, ty.shape.clone(), 1.0),
                    dtype => {
                        let codes = random.codes(ty.shape.clone()).to_le_bytes();
                        Tensor::from_le_bytes(dtype, ty.shape.clone(), &codes).expect("a byte an element")
                    }
                }
            });
            let samples = [sample.collect()];
            let (found, expected) = run(device(&compiler), &graph, &samples);
            for (found, expected) in found[0].iter().zip(&expected[0]) {
                // Sums of floats are of another order on the device.
                let agree =
                    if found.dtype() == DType::F32 { Agree::Relative { rms: 1e-5, max: 1e-4 } } else { Agree::Exact };
                let agreement = agree.compare(found, expected);
                assert!(agree.allows(&agreement), "{model}: {agreement:?}");
            }
        }
    }
}
