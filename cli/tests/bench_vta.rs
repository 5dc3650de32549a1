//! `tandem bench vta`: cycles beside roofs, where they went, and what is refused.

mod command;

use command::{Folder, digits, hardware, refused, stderr, stdout, tandem, tandem_with};
use serde_json::Value;

/// Runs the verb on simulated hardware, which must succeed.
fn good(variables: &[(&'static str, String); 2], arguments: &[&str]) -> String {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = tandem_with(&variables, &[&["bench", "vta"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(variables: &[(&'static str, String); 2], arguments: &[&str]) -> Value {
    serde_json::from_str(&good(variables, &[arguments, &["--format", "json"]].concat())).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn rows(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

#[test]
fn the_cycles_of_a_network_are_accounted_for_and_none_passes_its_roof() {
    let Some(variables) = hardware() else { return };
    let model = digits("digits_int8.tflite");
    let value = json(&variables, &["--model", &model, "--hw", "tiny", "--seed", "3"]);
    assert_eq!(
        (&value["kind"], &value["seed"], &value["macs_per_cycle"]),
        (&"simulated".into(), &3.into(), &16.into())
    );
    assert_eq!((&value["dram"]["name"], &value["schedule"]), (&"zynq".into(), &"overlapped".into()));
    assert_eq!(value["schedules_by"], "search");
    let layers = rows(&value["layers"]);
    assert!(layers.len() > 3, "{value}");
    let all = || layers.iter().chain([&value["sum"]]).chain(rows(&value["together"]));
    for row in all() {
        let cycles = number(&row["cycles"]);
        let parts = row["compute_unit_cycles"].as_object().unwrap();
        assert_eq!(parts.values().map(number).sum::<u64>(), cycles, "{row}");
        assert!(cycles > 0 && row["of_roof"].as_f64().unwrap() <= 1.0, "{row}");
        assert_eq!(number(&row["mismatches"]), 0, "{row}");
        let utilisation = number(&row["macs"]) as f64 / (16 * cycles) as f64;
        assert_eq!(row["utilisation"].as_f64(), Some(utilisation), "{row}");
        let stall = &row["largest_stall"];
        let largest = parts.iter().filter(|(name, _)| *name != "useful").map(|(_, cycles)| number(cycles)).max();
        assert_eq!(Some(number(&stall["cycles"])), largest, "{row}");
        assert_eq!(parts[stall["name"].as_str().unwrap()], stall["cycles"], "{row}");
        assert!(!stall["remedy"].as_str().unwrap().is_empty(), "{row}");
        let moved = number(&row["dram_read_bytes"]) + number(&row["dram_write_bytes"]);
        assert!(moved >= number(&row["least_bytes"]), "{row}");
    }
    let sum = |key: &str| layers.iter().map(|row| number(&row[key])).sum::<u64>();
    for key in ["macs", "cycles", "roof_cycles"] {
        assert_eq!(sum(key), number(&value["sum"][key]), "{key}");
    }
    assert_eq!(sum("macs"), rows(&value["together"]).iter().map(|row| number(&row["macs"])).sum::<u64>());

    let convolutions = json(&variables, &["--model", &model, "--hw", "tiny", "--ops", "conv", "--serial"]);
    let (some, first) = (rows(&convolutions["layers"]), &rows(&convolutions["layers"])[0]);
    assert!(some.iter().all(|row| row["op"] == "conv") && some.len() < layers.len(), "{convolutions}");
    assert!(rows(&convolutions["together"]).is_empty() && convolutions["schedule"] == "serial");
    let alone =
        json(&variables, &["--model", &model, "--hw", "tiny", "--serial", "--layers", first["name"].as_str().unwrap()]);
    assert_eq!(rows(&alone["layers"])[0]["cycles"], first["cycles"]);

    let text = good(&variables, &["--model", &model, "--hw", "tiny", "--dram", "ideal", "--schedule", "quick"]);
    for words in [
        "schedules by a formula",
        "utilisation",
        "of roof",
        "largest stall",
        "In one run, segment 1",
        "Cycles are simulated",
        "ideal",
    ] {
        assert!(text.contains(words), "'{words}' is not in:\n{text}");
    }
}

#[test]
fn latencies_are_swept_with_both_schedules_and_drawn() {
    let Some(variables) = hardware() else { return };
    let (model, folder) = (digits("digits_int8.tflite"), Folder::new("bench-vta"));
    let plot = folder.path("latency.svg");
    let sweep = ["--model", &model, "--hw", "tiny", "--ops", "conv", "--latencies", "150,0,150", "--plot", &plot];
    let value = json(&variables, &sweep);
    let latencies = rows(&value["latencies"]);
    let told: Vec<u64> = latencies.iter().map(|row| number(&row["latency_cycles"])).collect();
    assert_eq!(told, [0, 150]);
    let cycles = |row: &Value, schedule: &str| number(&row[schedule]["cycles"]);
    for schedule in ["overlapped", "serial"] {
        assert!(cycles(&latencies[0], schedule) < cycles(&latencies[1], schedule), "{schedule}: {value}");
    }
    for row in latencies {
        let layers = rows(&row["layers"]);
        let mean = |schedule: &str| {
            let all = layers.iter().map(|layer| layer[schedule]["utilisation"].as_f64().unwrap());
            all.sum::<f64>() / layers.len() as f64
        };
        let points = 100.0 * (mean("overlapped") - mean("serial"));
        assert!((row["points"].as_f64().unwrap() - points).abs() < 1e-9, "{row}");
        let sum: u64 = layers.iter().map(|layer| cycles(layer, "serial")).sum();
        assert_eq!(cycles(row, "serial"), sum);
    }
    // The same layer with the same memory is the same run. A search has one schedule for all latencies, a formula one for everything.
    let quick = ["--schedule", "quick"];
    let value = json(&variables, &[&sweep[..], &quick].concat());
    let latencies = rows(&value["latencies"]);
    let name = latencies[1]["layers"][0]["name"].as_str().unwrap();
    let alone = ["--model", &model, "--hw", "tiny", "--layers", name, "--dram", "150,64,8"];
    let once = json(&variables, &[&alone[..], &quick].concat());
    assert_eq!(once["layers"][0]["cycles"], latencies[1]["layers"][0]["overlapped"]["cycles"]);
    let svg = std::fs::read_to_string(&plot).unwrap();
    let layers = rows(&latencies[0]["layers"]).len();
    assert_eq!(svg.matches("<polyline ").count(), 2 * (layers + 1));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
    let text = good(&variables, &sweep);
    assert!(text.contains("points") && text.contains("mean over the layers"), "{text}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_built() {
    let folder = Folder::new("bench-vta-refused");
    let bench = |arguments: &[&str], words: &[&str]| refused(&[&["bench", "vta"], arguments].concat(), words);
    let resnet = |more: &[&str], words: &[&str]| bench(&[&["--workload", "resnet18"], more].concat(), words);
    resnet(&["--layers", "C1,C2"], &["--layers C1", "C2, C3, C4"]);
    resnet(&["--ops", "depthwise_conv"], &["--ops depthwise_conv", "conv, pointwise"]);
    resnet(&["--layers", "C2", "--ops", "pointwise"], &["none of them"]);
    resnet(&["--hw", "huge"], &["--hw huge", "tiny, edge, vta, wide, batch"]);
    resnet(&["--hw", "vta-0.0.2"], &["resnet18", "C2", "profile"]);
    let plot = folder.path("no/plot.svg");
    resnet(&["--latencies", "0,40", "--plot", &plot], &["no/plot.svg", "cannot be written"]);
    bench(&["--model", "no-such.tflite"], &["no-such.tflite", "no such file"]);
    // What the options themselves refuse has more than a line.
    for (wrong, words) in [
        (&["--workload", "resnet19"][..], "resnet18"),
        (&["--workload", "resnet18", "--latencies", "0,x"], "such as 0,20,40"),
        (&["--workload", "resnet18", "--latencies=-1"], "such as 0,20,40"),
        (&["--workload", "resnet18", "--latencies", "0,20000"], "10000"),
        (&["--workload", "resnet18", "--latencies", "0,20", "--serial"], "--serial"),
        (&["--workload", "resnet18", "--plot", "x.svg"], "--latencies"),
        (&["--workload", "resnet18", "--dram", "fast"], "ideal, zynq"),
        (&["--workload", "resnet18", "--model", "m.tflite"], "--model"),
        (&[], "--workload"),
    ] {
        let output = tandem(&[&["bench", "vta"], wrong].concat());
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{wrong:?}");
        assert!(
            stderr(&output).starts_with("error: ") && stderr(&output).contains(words),
            "{wrong:?}: {}",
            stderr(&output)
        );
    }
}
