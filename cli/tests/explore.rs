//! `tandem explore`: what it refuses, and a small exploration on simulated hardware.

mod command;

use command::{Folder, digits, hardware, refused, stderr, stdout, tandem_with};
use serde_json::{Value, json};

/// A table of designs for a board that has none of its own, or in the place of its own.
fn table(folder: &Folder) -> String {
    let design = |lanes: u32, lut: u64| {
        json!({
            "config": {"batch": 1, "block_in": lanes, "block_out": lanes, "uop_buffer_bytes": 4096, "inp_buffer_bytes": 8192,
                "wgt_buffer_bytes": 16384, "acc_buffer_bytes": 32768, "bus_bits": 64, "dram_bits": 25},
            "verilog": "0000000000000000",
            "synthesised": {"LUT": lut, "FF": lut / 2, "DSP": 8 * lanes, "BRAM": 40},
            "placed": {"taken": {"LUT": lut, "FF": lut / 2, "DSP": 8 * lanes, "BRAM": 40}, "fmax_mhz": 60.0, "seed": 1},
        })
    };
    let table = json!({"version": 1, "board": "ulx3s-85f", "command": "a test", "tools": {},
        "designs": [design(4, 12_000), design(8, 29_000)]});
    folder.file("designs.json", table.to_string())
}

#[test]
fn what_cannot_be_explored_is_told_in_a_sentence() {
    let folder = Folder::new("explore-refused");
    let (table, model) = (table(&folder), digits("digits_int8.tflite"));
    refused(&["explore", "--board", "ulx3s-85f"], &["--models"]);
    refused(&["explore", "--board", "ulx3s", "--models", &model], &["'ulx3s'", "nearest name first, are ulx3s-85f"]);
    refused(&["explore", "--board", "kv260", "--models", &model], &["kv260", "Vivado"]);
    let tools = folder.path("");
    let with = |arguments: &[&str]| {
        let all = [&["explore", "--board", "ulx3s-85f", "--designs", &table], arguments].concat();
        let output = tandem_with(&[("TANDEM_TOOLS", tools.as_str())], &all);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    };
    assert!(with(&["--models", "resnet9"]).contains("the names are resnet8, kws, vww, ad"));
    assert!(with(&["--models", &model, "--objective", "speed=1"]).contains("no model and no resource speed"));
    assert!(with(&["--models", &model, "--plot", "/nowhere/plot.svg"]).contains("/nowhere/plot.svg"));
    let log = folder.file("log.jsonl", "{\"format\":\"tandem explore\",\"version\":7}\n");
    assert!(with(&["--models", &model, "--log", &log]).contains("a log of version 7"));
    let other = folder.file("other.json", "{}");
    let output = tandem_with(
        &[("TANDEM_TOOLS", tools.as_str())],
        &["explore", "--board", "ulx3s-85f", "--models", &model, "--designs", &other],
    );
    assert!(stderr(&output).contains("other.json: it is no table of designs"), "{}", stderr(&output));
}

#[test]
fn designs_run_a_model_on_simulated_hardware_and_are_not_run_again() {
    let Some(variables) = hardware() else { return };
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let folder = Folder::new("explore-small");
    let (table, log, plot) = (table(&folder), folder.path("log.jsonl"), folder.path("plot.svg"));
    let model = digits("digits_int8.tflite");
    let explore = || {
        let arguments = [
            "explore",
            "--board",
            "ulx3s-85f",
            "--models",
            &model,
            "--designs",
            &table,
            "--budget",
            "2",
            "--screen",
            "8",
            "--synthesise",
            "0",
            "--place",
            "0",
            "--log",
            &log,
            "--plot",
            &plot,
            "--format",
            "json",
        ];
        let output = tandem_with(&variables, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("2 of the 2 designs"), "the table is of no hardware: {}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let first = explore();
    let designs = first["designs"].as_array().unwrap();
    assert_eq!((designs.len(), &first["looked_at"]["from_log"]), (2, &json!(0)));
    assert!(designs.iter().all(|design| design["bit_exact"] == true && design["cycles"][0].as_u64() > Some(1000)));
    assert!(!first["front"].as_array().unwrap().is_empty());
    let drawn = std::fs::read_to_string(&plot).unwrap();
    assert_eq!(drawn.matches("<circle").count(), 2, "{drawn}");
    let again = explore();
    assert_eq!(again["looked_at"]["from_log"], 2);
    assert_eq!(again["designs"], first["designs"]);
    // A line that was cut short is taken off, and what it said is found out again.
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, &text[..text.len() - 9]).unwrap();
    let mended = explore();
    assert_eq!((&mended["looked_at"]["from_log"], &mended["designs"]), (&json!(1), &first["designs"]));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), text);
}
