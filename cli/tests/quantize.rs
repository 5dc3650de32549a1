//! `quantize` on real float models, and its graphs on the CPU and on the simulated accelerator.

mod command;

use command::{Folder, digits, good, models, stderr, tandem};
use serde_json::Value;
use std::path::Path;

/// Everything that a real model is tested with.
struct Case<'a> {
    /// Below the folder of models.
    model: &'a str,
    /// `--samples`, and `--input` of `run`.
    samples: String,
    labels: Option<String>,
    /// How samples are read.
    reading: &'a [&'a str],
    limit: &'a str,
    calibrate: &'a str,
    /// Signal to noise that the output must have.
    decibels: f64,
}

/// Quantises, and runs the graph on the CPU and on the accelerator: no answer is lost, and every byte agrees.
fn check(folder: &Folder, root: &Path, case: &Case<'_>, method: &str) -> Value {
    let model = root.join(case.model).display().to_string();
    let (graph, out) = (folder.path(&format!("{method}.graph")), folder.path(&format!("{method}.bin")));
    let mut arguments = vec!["quantize", &model, "--samples", &case.samples, "--method", method, "-o", &graph];
    arguments.extend(["--calibrate", case.calibrate, "--limit", case.limit, "--format", "json"]);
    arguments.extend(case.reading);
    if let Some(labels) = &case.labels {
        arguments.extend(["--labels", labels]);
    }
    let report: Value = serde_json::from_str(&good(&arguments)).unwrap();
    let db = report["output_sqnr_db"].as_f64().unwrap();
    assert!(db > case.decibels, "{} {method}: {db} dB", case.model);
    if case.labels.is_some() {
        let of = |key: &str| report["accuracy"][key].as_u64().unwrap();
        // One point of so few samples is less than one of them.
        assert!(of("samples") < 100 && of("int8_correct") >= of("float_correct"), "{} {method}: {report}", case.model);
    }
    let mut arguments = vec!["run", &graph, "--input", &case.samples, "--limit", "2"];
    arguments.extend(case.reading);
    good(&[&arguments[..], &["--device", "cpu", "--save-output", &out]].concat());
    let text = good(&[&arguments[..], &["--device", "fsim", "--expect", &out, "--format", "json"]].concat());
    let run: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&run["mismatches"], &run["vta_mac_share"]), (&0.into(), &1.0.into()), "{} {method}", case.model);
    report
}

#[test]
fn a_residual_network_keeps_its_accuracy_by_every_method_and_runs_on_the_accelerator() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_resnet");
    let tiny = root.join("mlperf-tiny/ic01");
    for (model, methods) in [
        ("mlperf-tiny/models/pretrainedResnet.tflite", &["minmax", "percentile", "kl"][..]),
        ("mlperf-tiny/onnx/pretrainedResnet.onnx", &["minmax"]),
    ] {
        let case = Case {
            model,
            samples: tiny.join("inputs_u8.bin").display().to_string(),
            labels: Some(labels(&folder, &tiny.join("y_labels.csv"), 24)),
            reading: &["--input-dtype", "u8"],
            limit: "24",
            calibrate: "12",
            decibels: 15.0,
        };
        for method in methods {
            let report = check(&folder, &root, &case, method);
            assert_eq!(report["held_out"]["samples"], 12);
            assert_eq!(report["float_nodes"].as_array().unwrap().len(), 0);
            assert_eq!(report["layers"].as_array().unwrap().len(), 16);
        }
    }
}

#[test]
fn a_network_of_depthwise_convolutions_keeps_its_accuracy_on_features() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_kws");
    let tiny = root.join("mlperf-tiny/kws01");
    // The samples are codes of the int8 model's input.
    let reading = ["--input-dtype", "i8", "--input-quant", "0.5847029:83"];
    for (model, method) in [
        ("mlperf-tiny/models/kws_ref_model_float32.tflite", "percentile"),
        ("mlperf-tiny/onnx/kws_ref_model_float32.onnx", "kl"),
    ] {
        let labels = Some(labels(&folder, &tiny.join("y_labels.csv"), 60));
        let samples = tiny.join("inputs_i8.bin").display().to_string();
        let case = Case { model, samples, labels, reading: &reading, limit: "60", calibrate: "40", decibels: 20.0 };
        check(&folder, &root, &case, method);
    }
}

#[test]
fn a_mobile_network_keeps_its_accuracy_on_pixels() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_vww");
    let tiny = root.join("mlperf-tiny/vww01");
    for (model, method) in
        [("mlperf-tiny/models/vww_96_float.tflite", "minmax"), ("mlperf-tiny/onnx/vww_96_float.onnx", "percentile")]
    {
        let case = Case {
            model,
            samples: tiny.join("licensed10_inputs_u8.bin").display().to_string(),
            labels: Some(tiny.join("licensed10_labels.csv").display().to_string()),
            reading: &["--input-dtype", "u8", "--normalize", "unit"],
            limit: "10",
            calibrate: "10",
            decibels: 25.0,
        };
        check(&folder, &root, &case, method);
    }
}

#[test]
fn an_autoencoder_keeps_its_output() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_ad");
    let frames = std::fs::read(root.join("mlperf-tiny/ad01/normal_id_01_00000000_hist_librosa.bin")).unwrap();
    // Windows of 5 frames of 128 numbers.
    let windows: Vec<u8> = (0..196).step_by(7).flat_map(|i| frames[i * 512..(i + 5) * 512].to_vec()).collect();
    let samples = folder.file("windows.bin", windows);
    let model = "mlperf-tiny/models/ad01_fp32.tflite";
    let case = Case { model, samples, labels: None, reading: &[], limit: "28", calibrate: "14", decibels: 35.0 };
    let report = check(&folder, &root, &case, "minmax");
    assert!(report["accuracy"].is_null());
}

#[test]
fn a_normalisation_behind_an_activation_leaves_nothing_but_layers_and_a_logarithm() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_mnist");
    let csv: String = (0..10).map(|i| format!("sample{i}.png,10,{i}\n")).collect();
    let csv = folder.file("labels.csv", csv);
    let (model, pictures) = (root.join("mnist/burn_mnist.onnx").display().to_string(), root.join("mnist"));
    let list: Vec<String> = (0..10).map(|i| pictures.join(format!("sample{i}.png")).display().to_string()).collect();
    let graph = folder.path("directory.graph");
    let mut arguments = vec!["quantize", &model, "--samples"];
    let directory = pictures.display().to_string();
    arguments.extend([&directory, "--labels", &csv, "--normalize", "0.1307,0.3081", "-o", &graph]);
    let text = good(&arguments);
    assert!(text.contains("int8 100.00 % (10 of 10), loss 0.00 points"), "{text}");
    assert!(text.contains("log_softmax has no 8-bit integer form"), "{text}");
    for method in ["minmax", "percentile", "kl"] {
        let case = Case {
            model: "mnist/burn_mnist.onnx",
            samples: list.join(","),
            labels: Some(csv.clone()),
            reading: &["--normalize", "0.1307,0.3081"],
            limit: "10",
            calibrate: "10",
            decibels: 18.0,
        };
        let report = check(&folder, &root, &case, method);
        let operators: Vec<&str> =
            report["layers"].as_array().unwrap().iter().filter_map(|l| l["op"].as_str()).collect();
        assert!(!operators.contains(&"mul") && !operators.contains(&"add"), "{operators:?}");
    }
}

#[test]
fn int8_ends_take_the_codes_that_the_reference_int8_model_takes() {
    let Some(root) = models() else { return };
    let folder = Folder::new("quantize_ends");
    let (model, graph) =
        (root.join("mlperf-tiny/models/pretrainedResnet.tflite").display().to_string(), folder.path("int8.graph"));
    let samples = root.join("mlperf-tiny/ic01/inputs_u8.bin").display().to_string();
    let base = ["--input-dtype", "u8", "--limit", "8"];
    good(&[&["quantize", &model, "--samples", &samples, "--ends", "int8", "-o", &graph], &base[..]].concat());
    let summary = good(&["import", &graph]);
    assert!(summary.contains("'input_1' i8[1,32,32,3] scale 1 zero point -128"), "{summary}");
    assert!(summary.contains("scale 0.00390625 zero point -128"), "{summary}");
    let out = folder.path("out.bin");
    let run = [&["run", &graph, "--input", &samples], &base[..]].concat();
    good(&[&run[..], &["--device", "cpu", "--save-output", &out]].concat());
    good(&[&run[..], &["--hw", "edge", "--expect", &out]].concat());
}

#[test]
fn errors_are_one_sentence_and_leave_no_file() {
    let folder = Folder::new("quantize_errors");
    let (int8, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let graph = folder.path("out.graph");
    let relu = "graph \"g\" tflref\ninput %0 \"x\" f32[1,2]\nvalue %1 \"y\" f32[1,2]\nnode \"n\" %1 = {\"Unary\":\"Relu\"} %0\noutput %1\n";
    let relu = folder.file("relu.graph", relu);
    let bad = folder.file("nan.bin", [1f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    let fine = folder.file("fine.bin", [1f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    let csv = folder.file("labels.csv", "a,2,0\nb,2,1\n");
    let here = folder.path(".");
    for (arguments, part) in [
        (vec![&int8[..], "--samples", &input], "give a float model"),
        (vec![&relu, "--samples", &bad], "holds NaN"),
        (vec![&relu, "--samples", &fine, "--percentile", "99"], "--method percentile"),
        (vec![&relu, "--samples", &fine, "--method", "percentile", "--percentile", "20"], "above 50"),
        (vec![&relu, "--samples", &fine, "--labels", &csv], "labels 2 samples"),
        (vec![&relu, "--samples", &here], "needs --labels"),
        (vec![&relu, "--samples", &fine, "--input-quant", "0.5:3"], "reals of integer codes"),
        (vec![&relu, "--samples", &fine, "--input-quant", "-1:3"], "SCALE:ZERO"),
        (vec![&relu, "--samples", "nowhere.bin"], "no such file"),
    ] {
        let output = tandem(&[&["quantize"], &arguments[..], &["-o", &graph]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !Path::new(&graph).exists(), "{arguments:?}");
    }
    let nowhere = folder.path("no/such/folder.graph");
    let output = tandem(&["quantize", &relu, "--samples", &fine, "-o", &nowhere]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let shown = good(&["quantize", &relu, "--samples", &fine, "-o", "-"]);
    assert!(shown.starts_with("graph \"g\"") && shown.contains("Quantize"), "{shown}");
}

/// The first lines of a label file.
fn labels(folder: &Folder, from: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(from).unwrap();
    folder.file("labels.csv", text.lines().take(count).flat_map(|l| [l, "\n"]).collect::<String>())
}
