//! Every operator of the TFLite importer against LiteRT: one-operator models with the outputs of its reference
//! kernels. Integer and boolean outputs must be equal, floats must agree to a few units of the last place.
//!
//! `litert/generate.py` makes the archive.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use tandem_graph::interpret;
use tandem_import::{ImportOptions, import};
use tandem_tensor::Tensor;

/// Cases that do not agree, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

type Files = BTreeMap<String, Vec<u8>>;

fn cases() -> BTreeMap<String, Files> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litert/cases.tar.gz");
    let packed = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut cases: BTreeMap<String, Files> = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let (case, file) = name.split_once('/').expect("a folder a case");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        cases.entry(case.into()).or_default().insert(file.into(), bytes);
    }
    cases
}

/// What is wrong with a case, if anything.
fn run(files: &Files) -> Result<(), String> {
    let graph = import(&files["model.tflite"], &ImportOptions::default()).map_err(|e| e.to_string())?;
    let load = |name: String, like: &tandem_tensor::TensorType| {
        let bytes = files.get(&name).ok_or(format!("{name} is missing"))?;
        Tensor::from_le_bytes(like.dtype, like.shape.clone(), bytes).map_err(|e| format!("{name}: {e}"))
    };
    let inputs: Result<Vec<Tensor>, String> =
        graph.inputs.iter().enumerate().map(|(i, &id)| load(format!("in{i}.bin"), graph.ty(id))).collect();
    let outputs = interpret(&graph, &inputs?).map_err(|e| e.to_string())?;
    for (i, (output, &id)) in outputs.iter().zip(&graph.outputs).enumerate() {
        let expected = load(format!("out{i}.bin"), graph.ty(id))?;
        let tolerance = if output.dtype().is_float() { 1e-5 } else { 0.0 };
        let pairs = output.to_f64().into_iter().zip(expected.to_f64());
        let wrong: Vec<_> =
            pairs.enumerate().filter(|(_, (got, want))| (got - want).abs() > tolerance * (1.0 + want.abs())).collect();
        if let Some((at, (got, want))) = wrong.first() {
            return Err(format!("output {i}: {} elements differ, element {at} is {got} and not {want}", wrong.len()));
        }
    }
    Ok(())
}

#[test]
fn every_operator_agrees_with_the_reference_kernels_of_litert() {
    let cases = cases();
    assert!(cases.len() > 200, "the archive is complete");
    let mut failures = Vec::new();
    for (name, files) in &cases {
        let excepted = EXCEPTIONS.iter().any(|(n, _)| n == name);
        match run(files) {
            Ok(()) if excepted => failures.push(format!("{name}: agrees now, take it off the exceptions")),
            Err(problem) if !excepted => failures.push(format!("{name}: {problem}")),
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
