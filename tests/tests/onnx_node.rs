//! The ONNX project's single-operator cases: imported, interpreted, compared with the published results.
//!
//! `onnx/pass.txt` lists the cases that pass and only grows; `onnx/excluded.txt` lists those that do not apply, with the
//! reason. `cargo x bless` rewrites the first list.

use flate2::read::GzDecoder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tandem_graph::interpret;
use tandem_import::{ImportError, ImportOptions, onnx};
use tandem_tensor::Tensor;

/// The archive holds this many cases; fewer would mean that the test tests less than it says.
const CASES: usize = 635;

#[test]
fn the_listed_onnx_cases_pass_and_no_other_one_does() {
    let Some(folder) = tandem_tests::models() else { return };
    let cases = read_cases(&folder.join("onnx-node"));
    assert_eq!(cases.len(), CASES);
    let excluded = excluded();
    let mut passed = BTreeSet::new();
    let mut failed = BTreeMap::new();
    for (name, case) in &cases {
        match run(case) {
            Ok(()) => {
                passed.insert(name.clone());
            }
            Err(reason) => {
                failed.insert(name.clone(), reason);
            }
        }
    }
    println!("{} of {} cases pass, {} do not apply", passed.len(), cases.len(), excluded.len());
    for (name, reason) in failed.iter().filter(|(name, _)| !excluded.contains_key(*name)) {
        println!("fails: {name}: {reason}");
    }
    if std::env::var("TANDEM_BLESS").is_ok_and(|v| v == "1") {
        let mut text = passed.iter().cloned().collect::<Vec<_>>().join("\n");
        text.push('\n');
        fs::write(list("pass.txt"), text).expect("the pass list is writable");
    }
    let listed: BTreeSet<String> = lines("pass.txt").into_iter().collect();
    for (name, reason) in failed.iter().filter(|(name, _)| listed.contains(*name)) {
        println!("no longer passes: {name}: {reason}");
    }
    let lost: Vec<&String> = listed.difference(&passed).collect();
    assert!(lost.is_empty(), "{} listed cases fail: {lost:?}", lost.len());
    let new: Vec<&String> = passed.difference(&listed).collect();
    assert!(new.is_empty(), "{} cases pass but are not listed; run `cargo x bless`: {new:?}", new.len());
}

#[test]
fn the_lists_are_sorted_and_every_exclusion_has_a_reason() {
    let listed = lines("pass.txt");
    assert!(listed.is_sorted(), "pass.txt is not sorted");
    for (name, reason) in excluded() {
        assert!(!reason.is_empty(), "{name} has no reason");
        assert!(!listed.contains(&name), "{name} is excluded and passes");
    }
}

#[test]
fn damaged_onnx_cases_are_survived() {
    let Some(folder) = tandem_tests::models() else { return };
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for case in read_cases(&folder.join("onnx-node")).values() {
        for _ in 0..60 {
            let mut bytes = case.model.clone();
            for _ in 0..1 + next() % 3 {
                let at = next() % bytes.len();
                match next() % 5 {
                    0 => bytes[at] ^= 1 << (next() % 8),
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][next() % 5],
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 => bytes.truncate(at.max(1)),
                    _ => bytes.swap(at, at / 2),
                }
            }
            match onnx::import(&bytes, &ImportOptions::default()) {
                // Small results are computed as well: what was imported must not make a kernel panic either.
                Ok(graph) if graph.values.iter().all(|v| v.ty.elements() < 1 << 12) => {
                    let _ = interpret(&graph, &graph.zero_inputs());
                }
                Ok(_) => {}
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
}

/// A model and its sets of tensors.
#[derive(Default)]
struct Case {
    model: Vec<u8>,
    inputs: BTreeMap<(String, usize), Vec<u8>>,
    outputs: BTreeMap<(String, usize), Vec<u8>>,
    rtol: f64,
    atol: f64,
}

fn run(case: &Case) -> Result<(), String> {
    let sets: BTreeSet<&String> = case.outputs.keys().map(|(set, _)| set).collect();
    if sets.is_empty() {
        return Err("it has no data".into());
    }
    for set in sets {
        let inputs = tensors(&case.inputs, set)?;
        let outputs = tensors(&case.outputs, set)?;
        run_set(case, &inputs, &outputs)?;
    }
    Ok(())
}

fn tensors(files: &BTreeMap<(String, usize), Vec<u8>>, set: &str) -> Result<Vec<(String, Tensor)>, String> {
    let of_set = files.iter().filter(|((s, _), _)| s == set);
    of_set.map(|(_, bytes)| onnx::read_tensor_proto(bytes).map_err(|e| e.to_string())).collect()
}

/// Operands that decide shapes must be constants; the importer says which ones.
fn run_set(case: &Case, inputs: &[(String, Tensor)], expected: &[(String, Tensor)]) -> Result<(), String> {
    let mut options = ImportOptions::default();
    for (name, tensor) in inputs {
        for (axis, &extent) in tensor.shape().iter().enumerate() {
            options.dims.insert(format!("{name}[{axis}]"), extent);
        }
    }
    let graph = loop {
        match onnx::import(&case.model, &options) {
            Ok(graph) => break graph,
            Err(ImportError::NotConstant { value, .. }) if !options.constants.contains_key(&value) => {
                let Some((_, tensor)) = inputs.iter().find(|(name, _)| *name == value) else {
                    return Err(format!("'{value}' must be known at import"));
                };
                if tensor.shape().rank() > 1 {
                    return Err(format!("'{value}' has more axes than a list of extents"));
                }
                options.constants.insert(value, tensor.clone());
            }
            Err(error) => return Err(format!("import: {error}")),
        }
    };
    let mut operands = Vec::new();
    for &id in &graph.inputs {
        let name = &graph.value(id).name;
        match inputs.iter().find(|(n, _)| n == name) {
            Some((_, tensor)) => operands.push(tensor.clone()),
            None => return Err(format!("there is no data for input '{name}'")),
        }
    }
    let results = interpret(&graph, &operands).map_err(|e| format!("run: {e}"))?;
    if results.len() != expected.len() {
        return Err(format!("{} results, {} expected", results.len(), expected.len()));
    }
    for (result, (name, wanted)) in results.iter().zip(expected) {
        compare(result, wanted, case.rtol, case.atol).map_err(|e| format!("result '{name}': {e}"))?;
    }
    Ok(())
}

fn compare(found: &Tensor, wanted: &Tensor, rtol: f64, atol: f64) -> Result<(), String> {
    if (found.dtype(), found.shape()) != (wanted.dtype(), wanted.shape()) {
        let (f, w) = ((found.dtype(), found.shape()), (wanted.dtype(), wanted.shape()));
        return Err(format!("{}{} instead of {}{}", f.0, f.1, w.0, w.1));
    }
    for (i, (f, w)) in found.to_f64().into_iter().zip(wanted.to_f64()).enumerate() {
        let equal = f == w || (f.is_nan() && w.is_nan()) || (f - w).abs() <= atol + rtol * w.abs();
        if !equal {
            return Err(format!("element {i} is {f} instead of {w}"));
        }
    }
    Ok(())
}

fn list(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx").join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(list(name)).unwrap_or_default();
    text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect()
}

/// Lines of the form `case: reason`.
fn excluded() -> BTreeMap<String, String> {
    let split = |line: String| match line.split_once(':') {
        Some((name, reason)) => (name.trim().to_owned(), reason.trim().to_owned()),
        None => (line, String::new()),
    };
    lines("excluded.txt").into_iter().map(split).collect()
}

fn read_cases(folder: &Path) -> BTreeMap<String, Case> {
    let text = fs::read_to_string(folder.join("cases.json")).expect("cases.json lies beside the archive");
    let tolerances: serde_json::Value = serde_json::from_str(&text).expect("cases.json is JSON");
    let file = fs::File::open(folder.join("onnx-1.23.2-node-cases.tar.gz")).expect("the archive is there");
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().expect("the archive is a tar file") {
        let mut entry = entry.expect("the archive is whole");
        let path = entry.path().expect("names are text").to_string_lossy().trim_start_matches("./").to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("the archive is whole");
        match parts.as_slice() {
            [case, "model.onnx"] => cases.entry((*case).to_owned()).or_default().model = bytes,
            [case, set, file] => {
                let Some(stem) = file.strip_suffix(".pb") else { continue };
                let case = cases.entry((*case).to_owned()).or_default();
                let place = |number: &str| ((*set).to_owned(), number.parse().expect("files are numbered"));
                if let Some(number) = stem.strip_prefix("input_") {
                    case.inputs.insert(place(number), bytes);
                } else if let Some(number) = stem.strip_prefix("output_") {
                    case.outputs.insert(place(number), bytes);
                }
            }
            _ => {}
        }
    }
    for (name, case) in &mut cases {
        let of = |what: &str| tolerances[name.as_str()][what].as_f64();
        case.rtol = of("rtol").unwrap_or_else(|| panic!("{name} has no rtol"));
        case.atol = of("atol").unwrap_or_else(|| panic!("{name} has no atol"));
    }
    cases
}
