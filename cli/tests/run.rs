//! `run`, `eval`, `demo`, `import`, `graph` on the embedded model.

mod command;

use command::{Folder, digits, good, stderr, stdout, tandem};
use serde_json::Value;
use std::io::Read;
use std::process::{Command, Stdio};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_preset_and_the_cpu_give_the_expected_bytes_in_both_families() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    for arith in ["tflref", "xnnpack"] {
        let expected = digits(&format!("expected_prob_i8_{arith}.bin"));
        for device in [
            ["--hw", "tiny"],
            ["--hw", "edge"],
            ["--hw", "vta"],
            ["--hw", "wide"],
            ["--hw", "batch"],
            ["--device", "cpu"],
        ] {
            let mut arguments = vec!["run", &model, "--input", &input, "--arith", arith, "--expect", &expected];
            arguments.extend(["--limit", "40"]);
            arguments.extend(device);
            assert!(good(&arguments).contains(": 0 mismatches in 400 elements"), "{arguments:?}");
        }
    }
}

#[test]
fn the_json_of_run_has_every_key() {
    let (model, input, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let text = good(&["run", &model, "--input", &input, "--limit", "3", "--expect", &expected, "--format", "json"]);
    let value = json(&text);
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let expected_keys = [
        "arith",
        "device",
        "failures",
        "hw",
        "latency_ms",
        "mismatches",
        "outputs",
        "pipeline",
        "samples",
        "segments",
        "vta",
        "vta_mac_share",
    ];
    assert_eq!(keys, expected_keys);
    assert_eq!((&value["mismatches"], &value["samples"], &value["hw"]), (&0.into(), &3.into(), &"vta".into()));
    assert_eq!(value["vta_mac_share"], 1.0);
    let outputs = value["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 3);
    assert_eq!(
        (&outputs[0]["dtype"], &outputs[0]["argmax"], &outputs[2]["sample"]),
        (&"i8".into(), &1.into(), &2.into())
    );
    assert_eq!(outputs[0]["data"].as_array().unwrap().len(), 10);
    for key in ["macs", "instructions", "uops", "bytes_loaded", "bytes_stored", "cycles_estimate"] {
        assert!(value["vta"][key].as_u64().unwrap() > 0, "{key}");
    }
    assert!(value["vta"]["config_digest"].as_str().unwrap().starts_with("0x"));
    let segments = value["segments"].as_array().unwrap();
    assert!(segments.iter().any(|s| s["device"] == "vta") && segments.iter().any(|s| s["device"] == "cpu"));
}

#[test]
fn a_mismatch_names_the_first_element_and_exits_with_1() {
    let folder = Folder::new("mismatch");
    let mut bytes = std::fs::read(digits("expected_prob_i8_tflref.bin")).unwrap();
    bytes[23] ^= 1;
    bytes[24] ^= 1;
    let expected = folder.file("wrong.bin", &bytes);
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let output = tandem(&["run", &model, "--input", &input, "--expect", &expected]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("2 of 3600 elements differ, in 1 samples") && text.contains("sample 2"), "{text}");
    assert!(text.contains("element 3: expected -127, found -128"), "{text}");
}

#[test]
fn saved_outputs_come_back_as_expected_ones_raw_and_npy_and_whatever_the_batch() {
    let folder = Folder::new("saved");
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let (raw, npy) = (folder.path("out.bin"), folder.path("out.npy"));
    let base = ["run", &model, "--input", &input, "--limit", "7"];
    good(&[&base[..], &["--save-output", &raw, "--batch-inputs", "3"]].concat());
    good(&[&base[..], &["--save-output", &npy, "--expect", &raw, "--hw", "batch"]].concat());
    good(&[&base[..], &["--expect", &npy, "--batch-inputs", "100"]].concat());
    assert_eq!(std::fs::read(raw).unwrap().len(), 70);
}

#[test]
fn a_picture_pixels_and_an_array_are_the_same_input() {
    let folder = Folder::new("forms");
    let codes = std::fs::read(digits("inputs_i8.bin")).unwrap()[..64].to_vec();
    let pixels: Vec<u8> = codes.iter().map(|c| c ^ 0x80).collect();
    let header = "{'descr': '|i1', 'fortran_order': False, 'shape': (1, 8, 8, 1), }";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{header:<117}\n");
    npy.extend((padded.len() as u16).to_le_bytes());
    npy.extend(padded.as_bytes());
    npy.extend(&codes);
    let (raw, array) = (folder.file("x.bin", &pixels), folder.file("x.npy", &npy));
    let model = digits("digits_int8.tflite");
    let run = |arguments: &[&str]| {
        let text = good(&[&["run", &model, "--format", "json", "--input"], arguments].concat());
        json(&text)["outputs"].clone()
    };
    let picture = run(&[&digits("samples/digit_0011_label_1.png")]);
    assert_eq!(picture[0]["argmax"], 1);
    assert_eq!(run(&[&raw, "--input-dtype", "u8"]), picture);
    assert_eq!(run(&[&array]), picture);
}

#[test]
fn eval_prints_the_accuracy_with_its_count() {
    let (model, inputs, labels) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("labels.csv"));
    let arguments = ["eval", &model, "--inputs", &inputs, "--labels", &labels];
    assert!(good(&arguments).contains("accuracy 99.2 % (357 of 360)"));
    let value = json(&good(&[&arguments[..], &["--limit", "50", "--format", "json", "--device", "cpu"]].concat()));
    assert_eq!(value["samples"], 50);
    assert_eq!(value["vta_mac_share"], 0.0);
}

#[test]
fn the_demo_is_bit_exact_and_says_what_cycles_are() {
    let text = good(&["demo"]);
    for words in [
        "accuracy 99.17 % (357 of 360",
        "bit-exact: all 3,600",
        "100.00 % of the 109,824 MACs",
        "estimate of the functional",
    ] {
        assert!(text.contains(words), "'{words}' is not in:\n{text}");
    }
    let value = json(&good(&["demo", "--hw", "tiny", "--format", "json"]));
    assert_eq!((&value["mismatches"], &value["correct"]), (&0.into(), &357.into()));
}

#[test]
fn a_graph_written_as_text_runs_like_its_model() {
    let folder = Folder::new("text");
    let (model, input, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let graph = folder.path("digits.graph");
    good(&["import", &model, "-o", &graph]);
    assert_eq!(good(&["graph", "show", &graph]), std::fs::read_to_string(&graph).unwrap());
    good(&["run", &graph, "--input", &input, "--limit", "9", "--expect", &expected]);
    good(&["graph", "run", &graph, "--input", &input, "--limit", "9", "--expect", &expected]);
    assert!(good(&["graph", "dot", &graph]).starts_with("digraph"));
    assert!(good(&["import", &model]).contains("109,824 MACs a sample"));
}

#[test]
fn cutting_before_the_softmax_gives_the_logits() {
    let (model, input, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_logits_i8_tflref.bin"));
    let summary = good(&["import", &model]);
    // The last row of the table is the softmax; the value before it is what the row above makes.
    let graph = good(&["graph", "show", &model]);
    let softmax = graph.lines().find(|l| l.starts_with("node") && l.contains("Softmax")).unwrap();
    let id = softmax.split_whitespace().next_back().unwrap();
    let line = graph.lines().find(|l| l.starts_with(&format!("value {id} "))).unwrap();
    let name = line.split('"').nth(1).unwrap();
    assert!(summary.contains("softmax"));
    good(&["run", &model, "--input", &input, "--cut-at", name, "--limit", "20", "--expect", &expected]);
}

#[test]
fn a_profile_is_a_chrome_trace() {
    let folder = Folder::new("profile");
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let path = folder.path("trace.json");
    good(&["run", &model, "--input", &input, "--limit", "2", "--profile", &path]);
    let value = json(&std::fs::read_to_string(path).unwrap());
    assert!(value["traceEvents"].as_array().unwrap().iter().any(|e| e["ph"] == "X" && e["cat"] == "vta"));
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let model = digits("digits_int8.tflite");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args(["graph", "show", &model])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((child.wait().unwrap().code(), text.as_str()), (Some(0), ""));
}

#[test]
fn doctor_succeeds_on_any_machine() {
    let output = Command::new(env!("CARGO_BIN_EXE_tandem")).arg("doctor").env("PATH", "").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.contains("verilator") && text.contains("missing"), "{text}");
}
