//! `tandem bench gpu` and `tandem bench peaks`: on a machine without a GPU, and on a library that stands in for its driver and runs
//! kernels on the simulator. Its clock counts launches, so that figures have a structure here and no meaning.
#![cfg(unix)]

#[allow(dead_code, reason = "no model is needed here")]
mod command;

use command::{Folder, driver, nvrtc, stderr, stdout, tandem_with};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn script(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.file(name, format!("#!/bin/sh\n{text}"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn rows(value: &Value) -> Vec<Value> {
    value.as_array().unwrap().clone()
}

#[test]
fn a_machine_without_a_driver_is_told_what_to_do_and_gets_no_file() {
    let Some(tools) = nvrtc() else { return };
    let folder = Folder::new("bench_gpu_none");
    let out = folder.path("h200.json");
    // Names of a library that is no driver, so that none of the machine's is found.
    std::fs::create_dir(folder.path("driver")).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        folder.file(&format!("driver/{name}"), "no library");
    }
    let path = folder.path("driver");
    let variables = [("TANDEM_TOOLS", tools.as_str()), ("LD_LIBRARY_PATH", path.as_str())];
    let output =
        tandem_with(&variables, &["bench", "gpu", "--out", &out, "--op", "silu_mul.bf16", "--size", "simulator"]);
    if output.status.success() {
        eprintln!("skipped: the loader finds another driver on this machine");
        return;
    }
    let text = stderr(&output);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{text}");
    assert!(text.contains("no NVIDIA driver") && text.contains("install the NVIDIA driver"), "{text}");
    assert_eq!(std::fs::read_dir(Path::new(&out).parent().unwrap()).unwrap().count(), 1, "something was written");
    let peaks = tandem_with(&variables, &["bench", "peaks"]);
    assert!(peaks.status.code() == Some(2) && stderr(&peaks).contains("no NVIDIA driver"));
}

#[test]
fn one_command_measures_everything_and_a_rival_that_fails_is_a_row() {
    let Some(tools) = nvrtc() else { return };
    let folder = Folder::new("bench_gpu_standin");
    let (out, driver) = (folder.path("standin.json"), driver(&folder));
    // A torch that knows one kernel and is gone at the next.
    let python = script(
        &folder,
        "python",
        r#"case "$*" in
        *--versions*) echo '{"torch": "0.0"}' ;;
        *) case "$(cat "$3")" in
            *'"case":0'*) echo '{"case": 0, "rival": "torch", "median_us": 7.5}'; echo '{"case": 0, "kernel": "a", "done": true}' ;;
            esac; echo 'broken' >&2; kill -9 $$ ;;
        esac
        "#,
    );
    script(
        &folder,
        "nvidia-smi",
        "echo 'NVIDIA H200, 580.95.05, 96, 700.00, 1980, 3201, 345, 3201, 31, Enabled, Enabled, Disabled, 5, 16, [N/A]'\n",
    );
    let path = format!("{}:{}", folder.path(""), std::env::var("PATH").unwrap());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tandem-tests").display().to_string();
    let variables =
        [("TANDEM_TOOLS", tools.as_str()), ("LD_LIBRARY_PATH", &driver), ("TANDEM_CACHE", &cache), ("PATH", &path)];
    let command =
        ["bench", "gpu", "--out", &out, "--op", "silu_mul.bf16,add.i8", "--size", "simulator", "--python", &python];
    let output = tandem_with(&variables, &command);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let report = json(&out);
    assert_eq!((&report["complete"], &report["size"]), (&true.into(), &"simulator".into()));
    assert_eq!(report["device"]["name"], "stand-in");
    assert_eq!(report["device"]["details"]["pci"], "00000001:02:03.0");
    assert_eq!(report["nvidia_smi"]["driver_version"], "580.95.05");
    let parts = rows(&report["parts"]);
    assert_eq!(
        parts.iter().map(|part| part["part"].as_str().unwrap()).collect::<Vec<_>>(),
        ["peaks", "check", "vectors", "kernels", "rivals"]
    );

    let peaks = rows(&report["peaks"]);
    let peak = |name: &str| peaks.iter().find(|peak| peak["probe"] == name).unwrap().clone();
    assert_eq!(peaks.len(), 14);
    for name in ["read", "copy", "wgmma_bf16", "wgmma_f16", "wgmma_s8", "mma_bf16", "fma", "launch", "graph_node"] {
        assert!(peak(name)["figure"]["value"].as_f64() > Some(0.0) && peak(name)["error"].is_null(), "{}", peak(name));
    }
    // Copies are no launches, so that this clock stands still.
    assert!(peak("to_device")["error"].as_str().unwrap().contains("clock"));
    let largest = ["read", "copy"].map(|name| peak(name)["figure"]["value"].as_f64().unwrap());
    assert_eq!(report["limits"]["memory_bytes"].as_f64(), Some(largest[0].max(largest[1])));
    let limits = json(&folder.path("standin.limits.json"));
    assert_eq!(limits, report["limits"]);
    assert!(limits["source"].as_str().unwrap().starts_with("measured by tandem"), "{limits}");

    // This device is the simulator.
    assert_eq!((&report["vectors"]["mistakes"], &report["vectors"]["differences"]), (&0.into(), &Value::Array(vec![])));
    assert!(
        report["vectors"]["opcodes"].as_u64() > Some(20)
            && json(&folder.path("standin.vectors.json"))["opcodes"].is_array()
    );

    let check = rows(&report["check"]);
    assert!(check.len() >= 8 && check.iter().all(|row| row["agrees"] == true), "{check:?}");
    let kernels = rows(&report["kernels"]);
    assert!(kernels.len() >= 2);
    for row in &kernels {
        assert!(row["error"].is_null() && row["median_us"].as_f64() > Some(0.0), "{row}");
        assert!(row["fraction_of_limit"].as_f64() > Some(0.0) && row["runs"] == 3 && row["clocks"].is_null(), "{row}");
    }
    let rivals = rows(&report["rivals"]["rows"]);
    assert_eq!((&rivals[0]["case"], &rivals[0]["median_us"]), (&0.into(), &7.5.into()));
    assert_eq!(rivals.len(), kernels.len(), "a row of each case: {rivals:?}");
    assert!(rivals[1..].iter().all(|row| row["error"].as_str().unwrap().contains("broken")), "{rivals:?}");
    let targets = rows(&report["targets"]);
    assert!(targets.len() == 9 && targets.iter().all(|target| target["not_measured"].is_string()), "{targets:?}");
    let text = stdout(&output);
    for words in ["wgmma bf16", "torch 7.5 us", "0 of", "not measured: the run has no such workload", "* of fewer"] {
        assert!(text.contains(words), "'{words}' is not in: {text}");
    }

    // The limits of the run are those of another.
    let arguments = ["bench", "kernels", "--device", "cuda", "--op", "add.i8", "--size", "simulator"];
    let again = tandem_with(
        &variables,
        &[&arguments[..], &["--limits", &folder.path("standin.limits.json"), "--format", "json"]].concat(),
    );
    let value: Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!((&value["limits"]["memory_bytes"], &value["threads"]), (&limits["memory_bytes"], &Value::Null));
    let measured = tandem_with(&variables, &[&arguments[..], &["--format", "json"]].concat());
    let value: Value = serde_json::from_str(&stdout(&measured)).unwrap();
    assert_eq!(value["limits"]["source"], "measured in this run");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    let Some(tools) = nvrtc() else { return };
    let folder = Folder::new("bench_gpu_unwritable");
    let driver = driver(&folder);
    let variables = [("TANDEM_TOOLS", tools.as_str()), ("LD_LIBRARY_PATH", driver.as_str())];
    let output =
        tandem_with(&variables, &["bench", "gpu", "--out", &folder.path("absent/x.json"), "--size", "simulator"]);
    let text = stderr(&output);
    assert!(output.status.code() == Some(2) && text.contains("absent/x.json: it cannot be written"), "{text}");
}

#[test]
fn the_script_of_rivals_says_why_torch_measures_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/gpu/rivals.py");
    let folder = Folder::new("bench_gpu_rivals");
    let no_gpu = "class cuda:\n    is_available = staticmethod(lambda: False)\n\nclass version:\n    cuda = '13.0'\n\nclass backends:\n    \
                  class cudnn:\n        version = staticmethod(lambda: 91300)\n\n__version__ = '2.11'\n";
    for (torch, why) in [("raise OSError('libcudart is gone')\n", "libcudart is gone"), (no_gpu, "torch sees no GPU")] {
        folder.file("torch.py", torch);
        let mut program = std::process::Command::new("python3");
        program.arg(&script).arg("--versions").env("PYTHONPATH", folder.path("")).env("PYTHONDONTWRITEBYTECODE", "1");
        let Ok(output) = program.output() else {
            eprintln!("skipped: there is no python3");
            return;
        };
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert!(value["not_measured"].as_str().unwrap().contains(why), "{value}");
    }
}
