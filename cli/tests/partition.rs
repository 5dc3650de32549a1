//! `tandem partition`, and running what it plans.

mod command;

use command::{Folder, digits, good, json, refused};
use serde_json::Value;

#[test]
fn every_node_is_placed_with_a_reason_and_a_price_for_every_device() {
    let model = digits("digits_int8.tflite");
    let value = json(&["partition", &model, "--hw", "edge", "--format", "json"]);
    let nodes = value["nodes"].as_array().unwrap();
    assert!(nodes.len() > 3, "{}", nodes.len());
    for node in nodes {
        assert!(node["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{node}");
        let candidates = node["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 2);
        for candidate in candidates {
            assert!(candidate["cannot"].is_string() != candidate["more"].is_f64(), "{candidate}");
        }
        let own = candidates.iter().find(|c| c["device"] == node["device"]).unwrap();
        assert_eq!(own["more"], 0.0);
    }
    let (value_s, bound) = (value["value"].as_f64().unwrap(), value["bound"].as_f64().unwrap());
    assert!(value_s > 0.0 && bound <= value_s * (1.0 + 1e-9), "{value_s} {bound}");
    for (device, other) in value["everything_on"].as_object().unwrap() {
        assert!(other.as_f64().is_none_or(|other| other >= value_s * (1.0 - 1e-9)), "{device}");
    }
}

#[test]
fn pins_and_forbidden_devices_are_kept_and_the_plan_runs_bit_exactly() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let expected = digits("expected_prob_i8_tflref.bin");
    let folder = Folder::new("partition-plan");
    let all = json(&["partition", &model, "--hw", "edge", "--format", "json"]);
    let named = |op: &str| {
        let found = all["nodes"].as_array().unwrap().iter().find(|node| node["op"] == op);
        found.unwrap_or_else(|| panic!("no {op}"))["node"].as_str().unwrap().to_owned()
    };
    // A machine whose CPU is slow puts what it can on the accelerator, but not what is pinned elsewhere.
    let (plan, picture) = (folder.path("plan.json"), folder.path("plan.svg"));
    let pin = format!("{}=cpu", named("dense"));
    let value = json(&[
        "partition",
        &model,
        "--hw",
        "edge",
        "--cpu-times",
        "1000000",
        "--pin",
        &pin,
        "--save",
        &plan,
        "--plot",
        &picture,
        "--format",
        "json",
    ]);
    let devices: Vec<&str> =
        value["segments"].as_array().unwrap().iter().map(|s| s["device"].as_str().unwrap()).collect();
    assert!(devices.contains(&"vta") && devices.contains(&"cpu"), "{devices:?}");
    let dense = value["nodes"].as_array().unwrap().iter().find(|node| node["op"] == "dense").unwrap();
    assert_eq!(dense["device"], "cpu");
    let run =
        ["run", &model, "--input", &input, "--limit", "40", "--hw", "edge", "--expect", &expected, "--plan", &plan];
    assert!(good(&run).contains(": 0 mismatches in 400 elements"));
    assert!(std::fs::read_to_string(&picture).unwrap().ends_with("</svg>\n"));
    let value = json(&["partition", &model, "--forbid", "fsim", "--format", "json"]);
    assert!(value["nodes"].as_array().unwrap().iter().all(|node| node["device"] == "cpu"));
}

#[test]
fn a_list_of_devices_is_planned_and_gives_the_same_bytes() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let expected = digits("expected_prob_i8_tflref.bin");
    for device in ["fsim,cpu", "cpu,fsim"] {
        let run = ["run", &model, "--input", &input, "--limit", "40", "--device", device, "--expect", &expected];
        let text = good(&run);
        assert!(text.contains(": 0 mismatches in 400 elements") && text.contains("would add"), "{text}");
    }
}

#[test]
fn what_cannot_be_placed_is_refused_with_the_reason() {
    let model = digits("digits_int8.tflite");
    refused(&["partition", &model, "--forbid", "cpu"], &["no device can run node", "'cpu': the device is forbidden"]);
    refused(&["partition", &model, "--pin", "nothing=cpu"], &["node 'nothing'", "pinned"]);
    refused(&["partition", &model, "--forbid", "gpu"], &["device 'gpu'", "cpu, fsim"]);
    refused(&["partition", &model, "--objective", "energy"], &["--watts cpu=BUSY:IDLE"]);
    refused(&["partition", &model, "--watts", "gpu=1:0"], &["--watts gpu", "cpu, fsim"]);
    refused(&["partition", &model, "--latency-ms", "0.0000001"], &["latency bound"]);
    refused(&["partition", &model, "--memory", "cpu=1", "--memory", "fsim=1"], &["memory", "bytes"]);
}

#[test]
fn a_list_of_devices_where_nothing_is_split_is_refused() {
    let folder = Folder::new("partition-list");
    let token = folder.file("token", [b'x'; 32]);
    let words = ["--device fsim,cpu", "nothing is split"];
    refused(&["serve-device", "--device", "fsim,cpu", "--token-file", &token], &words);
    refused(&["board", "serve", "--device", "fsim,cpu"], &words);
}

#[test]
fn many_requests_under_way_give_the_same_and_tell_the_slowest_device() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let folder = Folder::new("partition-in-flight");
    let (plan, timeline) = (folder.path("plan.json"), folder.path("t.json"));
    // Layers alternate between two accelerators and the host.
    let nodes = json(&["partition", &model, "--device", "cpu", "--format", "json"])["nodes"].clone();
    let names: Vec<&str> = nodes.as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect();
    let devices = ["fsim", "fsim#2", "cpu"];
    let mut command = vec!["partition", &model, "--device", "fsim,fsim,cpu", "--hw", "tiny", "--save", &plan];
    // The accelerator does not take what comes behind the pools.
    let pins: Vec<String> = names[..7].iter().zip(devices.iter().cycle()).map(|(n, d)| format!("{n}={d}")).collect();
    pins.iter().for_each(|pin| command.extend(["--pin", pin]));
    good(&command);
    let run = |in_flight: &str| {
        let rest =
            ["--device", "fsim,fsim,cpu", "--hw", "tiny", "--plan", &plan, "--in-flight", in_flight, "--limit", "64"];
        let mut command = vec!["run", &model, "--input", &input, "--format", "json", "--timeline", &timeline];
        command.extend(rest);
        json(&command)
    };
    let (alone, together) = (run("1"), run("8"));
    assert_eq!(alone["outputs"], together["outputs"]);
    assert!(alone["pipeline"].is_null());
    let pipeline = &together["pipeline"];
    assert_eq!((&pipeline["in_flight"], &pipeline["samples"]), (&8.into(), &64.into()));
    assert!(pipeline["slowest"].as_str().unwrap().starts_with("fsim"), "{pipeline}");
    let fraction = pipeline["fraction_of_slowest"].as_f64().unwrap();
    // How much depends on what the host's part took here.
    assert!(fraction > 0.0 && fraction <= 1.0, "{pipeline}");
    let of = |index: usize| &together["accelerators"][index];
    assert_eq!((&of(0)["name"], &of(1)["name"]), (&"fsim".into(), &"fsim#2".into()));
    assert!((0..2).all(|i| of(i)["counters"]["instructions"].as_u64() > Some(0)));
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(&timeline).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for name in devices {
        assert!(events.iter().any(|e| e["name"] == "thread_name" && e["args"]["name"] == name), "{name}");
    }
    assert!(events.iter().filter(|event| event["ph"] == "X" && event["cat"] == "vta:1").count() >= 64);
}

#[test]
fn the_planned_graph_is_written_as_onnx_with_its_notes() {
    let folder = Folder::new("partition-onnx");
    let path = folder.path("planned.onnx");
    good(&["partition", &digits("digits_int8.tflite"), "--device", "fsim", "--pin", "wide=fsim", "--onnx", &path]);
    let bytes = std::fs::read(&path).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["wide", "device", "fsim", "cpu", "predicted_seconds", "cycles", "reason", "scale", "zero_point"] {
        assert!(has(text), "{text}");
    }
    refused(&["partition", &digits("digits_int8.tflite"), "--onnx", &folder.path("no/p.onnx")], &["no/p.onnx"]);
}

#[test]
fn a_plan_of_another_model_or_no_plan_at_all_is_refused() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let folder = Folder::new("partition-other");
    let run = |plan: &str| ["run", &model, "--input", &input, "--limit", "1", "--plan", plan].map(str::to_owned);
    let refused_with = |plan: &str, words: &[&str]| {
        let arguments = run(plan);
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
    };
    refused_with(&folder.file("text.json", "{"), &["text.json", "plan"]);
    let other = r#"{"model": "other", "segments": [], "assignments": []}"#;
    refused_with(&folder.file("other.json", other), &["other.json", "another model"]);
}
