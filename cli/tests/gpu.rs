//! Models on a GPU: on the simulator of its kernels, and through the driver, which a library stands in for.
#![cfg(unix)]

mod command;

use command::{Folder, digits, driver, nvrtc, refused, stderr, tandem_with};
use serde_json::Value;

/// What a run of the digits with these options gives, which must be what the reference kernels give.
fn run(variables: &[(&str, &str)], options: &[&str]) -> Value {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let expected = digits("expected_prob_i8_tflref.bin");
    let command = ["run", &model, "--input", &input, "--expect", &expected, "--limit", "5", "--format", "json"];
    let output = tandem_with(variables, &[&command[..], options].concat());
    assert_eq!(output.status.code(), Some(0), "{options:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn devices(value: &Value) -> Vec<&str> {
    value["segments"].as_array().unwrap().iter().map(|segment| segment["device"].as_str().unwrap()).collect()
}

#[test]
fn a_model_runs_on_the_simulator_of_kernels_to_the_last_bit() {
    let Some(tools) = nvrtc() else { return };
    let variables = [("TANDEM_TOOLS", tools.as_str())];
    let value = run(&variables, &["--device", "ptx"]);
    assert_eq!((devices(&value), &value["mismatches"]), (vec!["gpu", "cpu"], &0.into()));
    // Nodes on three kinds of devices, many requests under way.
    let pins = ["--pin", "stem=fsim", "--pin", "pointwise=ptx", "--pin", "wide=fsim", "--pin", "residual=cpu"];
    let options = ["--device", "fsim,ptx,cpu", "--hw", "edge", "--in-flight", "4", "--batch-inputs", "1"];
    let value = run(&variables, &[&options[..], &pins].concat());
    let mut kinds = devices(&value);
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!((kinds, &value["mismatches"]), (vec!["cpu", "gpu", "vta"], &0.into()));
    assert_eq!(value["pipeline"]["in_flight"], 4);
    assert!(value["pipeline"]["time"].as_str().unwrap().contains("projected"), "{value}");
}

#[test]
fn a_model_runs_through_the_driver_to_the_last_bit() {
    let Some(tools) = nvrtc() else { return };
    let folder = Folder::new("gpu-driver");
    let driver = driver(&folder);
    let variables = [("TANDEM_TOOLS", tools.as_str()), ("LD_LIBRARY_PATH", driver.as_str())];
    let value = run(&variables, &["--device", "cuda:0"]);
    assert_eq!((devices(&value), &value["mismatches"]), (vec!["gpu", "cpu"], &0.into()));
    let value = run(&variables, &["--device", "auto", "--pin", "stem=cuda:0", "--pin", "wide=cuda:0"]);
    assert!(devices(&value).contains(&"gpu") && value["device"] == "cuda:0,cpu", "{value}");
}

#[test]
fn a_gpu_that_is_not_there_is_refused_and_auto_does_without() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    if nvrtc().is_some() {
        refused(&["run", &model, "--input", &input, "--device", "cuda:7"], &["driver"]);
    }
    let value = run(&[], &["--device", "auto"]);
    assert_eq!(value["mismatches"], 0);
}
