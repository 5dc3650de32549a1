//! `tandem cosim` without hardware: the functional simulator compared with itself.

#[allow(dead_code, reason = "no model and no file is needed here")]
mod command;

use command::{good, refused};

#[test]
fn the_functional_simulator_agrees_with_itself_and_the_report_says_so() {
    let text = good(&["cosim", "--device", "fsim", "--hw", "tiny", "--programs", "5", "--seed", "3"]);
    assert!(text.contains("0 mismatches in 5 programs and "), "{text}");
    let json = good(&["cosim", "--device", "fsim", "--hw", "edge", "--program", "7", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((value["programs"].as_u64(), value["mismatches"].as_u64()), (Some(1), Some(0)));
    assert!(value["instructions"].as_u64() > Some(10) && value["coverage"]["tokens"].is_object(), "{json}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused(&["cosim", "--device", "fsim", "--mutants"], &["--mutants changes the hardware", "--device tsim"]);
    refused(&["cosim", "--device", "fsim", "--hw", "huge"], &["--hw huge", "presets are"]);
    refused(&["cosim", "--device", "fsim", "--program", "18446744073709551615"], &["--program", "too large"]);
}
