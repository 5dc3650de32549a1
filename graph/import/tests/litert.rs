//! Every operator of the TFLite importer against LiteRT: one-operator models with the outputs of its reference
//! kernels. Integer and boolean outputs must be equal, floats must agree to 1e-5.
//!
//! `litert/generate.py` makes the archive.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use tandem_graph::interpret;
use tandem_import::{ImportOptions, import};
use tandem_tensor::Tensor;

const IN_REALS: &str = "there is no integer kernel; the codes are computed in reals and rounded once";
const SIXTEEN_BITS: &str = "16-bit activations have no integer kernel";
const AS_UNSIGNED: &str =
    "LiteRT's reference kernel of SUM reads int8 codes as uint8; its optimised kernel agrees with us";

/// Cases that do not agree: by how many codes they may differ, and why.
const EXCEPTIONS: &[(&str, f64, &str)] = &[
    ("i16_conv", f64::INFINITY, SIXTEEN_BITS),
    ("i8_reduce_prod_rows", 1.0, IN_REALS),
    ("i8_sqrt", 1.0, IN_REALS),
    ("i8_squared_difference", 1.0, IN_REALS),
    ("i8_sum_all", f64::INFINITY, AS_UNSIGNED),
    ("i8_sum_rows", f64::INFINITY, AS_UNSIGNED),
    ("requantise_int16_int8", f64::INFINITY, SIXTEEN_BITS),
    ("requantise_int8_int16", f64::INFINITY, SIXTEEN_BITS),
];

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

/// What is wrong with a case when integers may differ by `codes`, if anything.
fn run(files: &Files, codes: f64) -> Result<(), String> {
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
        let (absolute, relative) = if output.dtype().is_float() { (1e-5, 1e-5) } else { (codes, 0.0) };
        let pairs = output.to_f64().into_iter().zip(expected.to_f64());
        let wrong: Vec<_> = pairs
            .enumerate()
            .filter(|(_, (got, want))| (got - want).abs() > absolute + relative * want.abs())
            .collect();
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
        match (run(files, 0.0), EXCEPTIONS.iter().find(|e| e.0 == name)) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => failures.push(format!("{name}: agrees now, take it off the exceptions")),
            (Err(problem), None) => failures.push(format!("{name}: {problem}")),
            (Err(_), Some(&(_, codes, why))) if codes.is_finite() => {
                if let Err(problem) = run(files, codes) {
                    failures.push(format!("{name}: {problem}, more than {codes} codes ({why})"));
                }
            }
            (Err(_), Some(_)) => {}
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
