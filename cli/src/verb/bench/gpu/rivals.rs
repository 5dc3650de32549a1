//! Other libraries on the same shapes, measured by a Python script that this program carries.

use super::named;
use crate::process::{self, Scratch};
use crate::tools;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SCRIPT: &str = include_str!("../../../../../benches/gpu/rivals.py");

/// The script's exit code where the rest needs another process.
const AGAIN: i32 = 75;

/// Time for a Python to import torch.
const IMPORT: Duration = Duration::from_secs(300);

/// A workload as the script takes it; `None` for one without a figure.
pub fn case(at: usize, row: &Value) -> Option<Value> {
    let operation = tandem_ops::operation(row["kernel"].as_str()?)?;
    row["median_us"].as_f64()?;
    let mut dims = tandem_ops::def::Dims::defaults(operation.def().axes);
    for axis in operation.def().axes {
        if let Some(extent) = row["dims"][axis.name].as_u64() {
            dims.set(axis.name, extent as usize);
        }
    }
    Some(json!({
        "case": at,
        "kernel": row["kernel"],
        "workload": row["workload"],
        "dims": named(operation, &dims),
        "lengths": row["lengths"],
        "rows": row["rows"],
        "bytes": row["work"]["dram_bytes"],
    }))
}

/// What the script measured of the cases. A process that fails or hangs loses the case it was at, and another one goes on behind it.
pub fn measure(
    python: Option<&Path>,
    mut cases: Vec<Value>,
    short: bool,
    seed: u64,
    scratch: &Scratch,
    patience: Duration,
    mut said: impl FnMut(&str),
) -> Value {
    let absent = |why: String| json!({ "not_measured": why, "rows": [] });
    let Some(python) = python.map(PathBuf::from).or_else(|| tools::on_path("python3")) else {
        return absent("there is no python3 on the path; name one with --python".to_owned());
    };
    let (script, list) = (scratch.path("rivals.py"), scratch.path("cases.json"));
    if let Err(error) = std::fs::write(&script, SCRIPT) {
        return absent(format!("{}: it cannot be written ({error})", script.display()));
    }
    let run = |arguments: &[&str], patience: Duration| {
        let mut command = Command::new(&python);
        process::run(command.arg(&script).args(arguments), scratch, patience).map_err(|error| format!("{error:#}"))
    };
    let versions = match run(&["--versions"], IMPORT) {
        Ok(ended) if ended.code == Some(0) => serde_json::from_str::<Value>(&ended.stdout).unwrap_or_default(),
        Ok(ended) => return absent(format!("{}: {}", python.display(), ended.reason())),
        Err(error) => return absent(error),
    };
    if let Some(why) = versions["not_measured"].as_str() {
        return json!({ "not_measured": format!("{}: {why}", python.display()), "versions": versions, "rows": [] });
    }
    let mut rows = Vec::new();
    while !cases.is_empty() {
        let before = cases.len();
        let written = std::fs::write(&list, json!(cases).to_string()).map_err(|error| error.to_string());
        let path = list.display().to_string();
        let mut arguments = vec!["--cases", &path];
        let seed = seed.to_string();
        arguments.extend(["--seed", &seed]);
        if short {
            arguments.push("--short");
        }
        let ended = written.and_then(|()| run(&arguments, patience));
        let text = ended.as_ref().map_or("", |ended| ended.stdout.as_str());
        // A line a rival, and one that says that a case is done.
        for row in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if row["done"] == true {
                said(row["kernel"].as_str().unwrap_or_default());
                cases.retain(|case| case["case"] != row["case"]);
            } else {
                rows.push(row);
            }
        }
        // The script ends with AGAIN behind a case that left the device in disorder, and by itself when all are done.
        let orderly = ended.as_ref().is_ok_and(|ended| matches!(ended.code, Some(0 | AGAIN)));
        if !cases.is_empty() && (cases.len() == before || !orderly) {
            let case = cases.remove(0);
            let error = ended.map_or_else(|error| error, |ended| ended.reason());
            rows.push(json!({ "case": case["case"], "rival": "the process", "error": error }));
        }
    }
    json!({ "python": python.display().to_string(), "versions": versions, "rows": rows })
}
