//! `tandem run-block`.

#[allow(dead_code, reason = "no model is needed here")]
mod command;

use command::{Folder, hardware, refused, stderr, stdout, tandem_with};
use serde_json::Value;

/// What a run says; nothing where there is no Verilator.
fn json(arguments: &[&str]) -> Option<Value> {
    let variables = hardware()?;
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = tandem_with(&variables, &[arguments, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    Some(serde_json::from_str(&stdout(&output)).unwrap())
}

#[test]
fn random_rows_come_out_equal_at_nearly_a_word_a_cycle() {
    let Some(value) = json(&["run-block", "ibp-unpack", "--words", "20000", "--back-pressure", "0.3", "--hw", "edge"])
    else {
        return;
    };
    assert_eq!((&value["word_bits"], &value["mismatches"]), (&64.into(), &0.into()));
    assert!(value["words_out"].as_u64() >= Some(20_000) && value["words_in"].as_u64() < value["words_out"].as_u64());
    assert!(value["words_per_cycle_net"].as_f64() >= Some(0.99), "{value}");
    assert!(value["words_per_cycle"].as_f64() < Some(0.8), "the sink takes nothing in three cycles of ten");
}

#[test]
fn a_scan_is_equal_to_its_reference_and_its_verilog_is_there() {
    let folder = Folder::new("run-block");
    let file = folder.path("pir.v");
    let run = ["run-block", "pir-xor", "--words", "20000", "--width", "32", "--queries", "4", "--bucket-words", "8"];
    let Some(value) = json(&[&run[..], &["--verilog", &file]].concat()) else { return };
    assert_eq!((&value["word_bits"], &value["mismatches"], &value["words_out"]), (&32.into(), &0.into(), &32.into()));
    assert!(value["words_per_cycle_net"].as_f64() >= Some(0.99), "{value}");
    assert!(std::fs::read_to_string(file).unwrap().contains("module pir_xor"));
}

#[test]
fn sizes_that_no_block_has_are_refused() {
    refused(&["run-block", "ibp-unpack", "--width", "16"], &["16-bit words", "32 or 64"]);
    refused(&["run-block", "ibp-unpack", "--columns", "0"], &["0 columns", "1 and 16384"]);
    refused(&["run-block", "pir-xor", "--queries", "129"], &["129 queries", "1 and 128"]);
    refused(&["run-block", "pir-xor", "--bucket-words", "0"], &["0 words a bucket"]);
    refused(&["run-block", "pir-xor", "--hw", "huge"], &["--hw huge", "presets are"]);
}
