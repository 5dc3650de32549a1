//! The simulated hardware behind `run`, `exec`, `eval` and `demo`: results, counters, timelines.

mod command;

use command::{ADDER, Folder, digits, hardware, stderr, stdout, tandem_with};
use serde_json::Value;
use std::collections::BTreeMap;

const STATES: [&str; 8] =
    ["busy", "hazard", "idle", "queue_room", "read_data", "token_from_next", "token_from_prev", "write_channel"];

/// The environment of this test, if there is a Verilator.
struct Bench([(&'static str, String); 2]);

impl Bench {
    fn new() -> Option<Bench> {
        hardware().map(Bench)
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = tandem_with(&self.variables(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[arguments, &["--format", "json"]].concat())).unwrap()
    }

    fn refused(&self, arguments: &[&str], words: &[&str]) {
        refused(&self.variables(), arguments, words);
    }
}

fn refused(variables: &[(&str, &str)], arguments: &[&str], words: &[&str]) {
    let output = tandem_with(variables, arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: '{word}' is not in: {text}");
    }
}

/// The arguments that run three digits on the hardware of preset `tiny`.
fn three_digits() -> Vec<String> {
    let (model, input, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    ["run", &model, "--input", &input, "--limit", "3", "--expect", &expected, "--device", "tsim", "--hw", "tiny"]
        .map(str::to_owned)
        .to_vec()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn the_cycles_of_every_unit_add_up_and_so_does_the_timeline() {
    let Some(bench) = Bench::new() else { return };
    let folder = Folder::new("tsim-timeline");
    let path = folder.path("t.json");
    let run = three_digits();
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let value = bench.json(&[&run[..], &["--timeline", &path]].concat());
    assert_eq!(value["mismatches"], 0);
    let vta = &value["vta"];
    let cycles = number(&vta["cycles"]);
    assert!(cycles > 10_000 && vta["cycles_estimate"].is_null(), "{vta}");
    assert_eq!(vta["cycles_per_sample"].as_f64(), Some(cycles as f64 / 3.0));
    assert_eq!(
        (&vta["dram"]["name"], &vta["stress"], &vta["macs_per_cycle"]),
        (&"zynq".into(), &Value::Null, &16.into())
    );
    let utilisation = number(&vta["gemm_macs"]) as f64 / (cycles * 16) as f64;
    assert_eq!(vta["utilisation"].as_f64(), Some(utilisation));
    assert!(utilisation > 0.01 && utilisation < 1.0);
    assert_eq!(number(&vta["useful_macs"]), 3 * 109_824);
    let loaded: u64 = ["inp", "wgt", "acc", "uop"].iter().map(|memory| number(&vta["bytes"][memory])).sum();
    assert_eq!(loaded, number(&vta["bytes_loaded"]));
    assert_eq!(vta["token_queues"].as_object().unwrap().len(), 4);

    let trace: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |event: &&Value| event["name"] == "thread_name";
    let place = |event: &Value| (number(&event["pid"]), number(&event["tid"]));
    let tracks: BTreeMap<(u64, u64), &str> =
        events.iter().filter(named).map(|event| (place(event), event["args"]["name"].as_str().unwrap())).collect();
    // Six launches: two segments of the model run on the accelerator.
    let slices = |track: &str| {
        let of = |event: &&Value| event["ph"] == "X" && tracks[&place(event)] == track;
        events.iter().filter(of).collect::<Vec<&Value>>()
    };
    // At 100 MHz.
    let in_cycles = |event: &Value, key: &str| (event[key].as_f64().unwrap() * 100.0).round() as u64;
    let launches = slices("program");
    assert_eq!(launches.len(), 6);
    assert_eq!(launches.iter().map(|event| in_cycles(event, "dur")).sum::<u64>(), cycles);
    // Each launch lies in the run of its segment, on the track of the device.
    let runs = slices("tsim");
    assert_eq!(runs.len(), 6);
    let within = |launch: &Value, run: &Value| {
        in_cycles(launch, "ts") >= in_cycles(run, "ts")
            && in_cycles(launch, "ts") + in_cycles(launch, "dur") <= in_cycles(run, "ts") + in_cycles(run, "dur") + 1
    };
    assert!(launches.iter().all(|launch| runs.iter().any(|run| within(launch, run))));
    assert_eq!(slices("cpu").len(), 6);
    for unit in ["fetch", "load", "compute", "store"] {
        let counted = &vta["units"][unit];
        assert_eq!(STATES.iter().map(|state| number(&counted[state])).sum::<u64>(), cycles, "{unit}");
        let (mut busy, mut spans) = (0, Vec::new());
        for state in STATES.iter().filter(|state| **state != "idle") {
            let of = |event: &&Value| event["args"].get(state).map_or(0, number);
            let drawn: u64 = slices(unit).iter().map(of).sum();
            assert_eq!(drawn, number(&counted[state]), "{unit} {state}");
            busy += drawn;
        }
        assert_eq!(cycles - busy, number(&counted["idle"]), "{unit}");
        for event in slices(unit) {
            let (begin, dur) = (event["ts"].as_f64().unwrap(), in_cycles(event, "dur"));
            let states: u64 = STATES.iter().map(|state| event["args"].get(state).map_or(0, number)).sum();
            assert_eq!(states, dur, "{event}");
            spans.push((begin, dur));
        }
        spans.sort_by(|a: &(f64, u64), b| a.0.total_cmp(&b.0));
        let apart = |pair: &[(f64, u64)]| pair[0].0 + pair[0].1 as f64 / 100.0 <= pair[1].0 + 1e-3;
        assert!(spans.windows(2).all(apart), "slices of {unit} overlap");
    }
    let instructions = |track| slices(track).iter().filter(|event| event["cat"] == "instruction").count() as u64;
    let ran: u64 = ["load", "compute", "store"].map(instructions).iter().sum();
    assert_eq!(ran, number(&vta["instructions"]), "one slice an instruction");
    let has = |track, text: &str| slices(track).iter().any(|event| event["name"].as_str().unwrap().starts_with(text));
    assert!(has("load", "load.wgt sram=") && has("compute", "gemm ") && has("store", "store.out sram="));
    assert!(has("store", "wait token from compute"));
}

#[test]
fn memory_and_stress_change_the_cycles_and_not_the_result() {
    let Some(bench) = Bench::new() else { return };
    let run = three_digits();
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let cycles = |options: &[&str]| {
        let value = bench.json(&[&run[..], options].concat());
        assert_eq!(value["mismatches"], 0, "{options:?}");
        (number(&value["vta"]["cycles"]), value["vta"]["dram"]["name"].clone(), value["vta"]["stress"].clone())
    };
    let (ideal, name, _) = cycles(&["--dram", "ideal"]);
    assert_eq!(name, "ideal");
    let (zynq, name, stress) = cycles(&["--dram", "zynq"]);
    assert_eq!((name, stress), ("zynq".into(), Value::Null));
    let (slow, name, _) = cycles(&["--dram=200,32,2"]);
    assert_eq!(name, "200,32,2");
    assert!(ideal < zynq && zynq < slow, "{ideal} {zynq} {slow}");
    let (held, _, seed) = cycles(&["--dram", "ideal", "--stress"]);
    assert_eq!(seed, 1);
    let (other, _, seed) = cycles(&["--dram", "ideal", "--stress=9"]);
    assert_eq!(seed, 9);
    assert!(held > ideal && other > ideal && held != other, "{ideal} {held} {other}");
}

#[test]
fn people_see_where_the_cycles_went() {
    let Some(bench) = Bench::new() else { return };
    let text = bench.good(&["demo", "--device", "tsim", "--hw", "tiny"]);
    for words in [
        "bit-exact: all 3,600",
        "measured on the simulated hardware with memory 'zynq'",
        "compute",
        "queues and memory",
    ] {
        assert!(text.contains(words), "'{words}' is not in:\n{text}");
    }
    assert!(!text.contains("estimate"), "{text}");
    let (model, inputs, labels) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("labels.csv"));
    let eval = ["eval", &model, "--inputs", &inputs, "--labels", &labels, "--limit", "20", "--device", "tsim"];
    let value = bench.json(&[&eval[..], &["--hw", "tiny"]].concat());
    assert!(number(&value["correct"]) >= 19 && number(&value["vta"]["cycles"]) > 0, "{value}");
}

#[test]
fn a_program_leaves_the_same_bytes_and_tells_the_same_events_as_on_the_functional_simulator() {
    let Some(bench) = Bench::new() else { return };
    let folder = Folder::new("tsim-exec");
    let input: Vec<u8> = (0..16).map(|i| i * 15).collect();
    let expected: Vec<u8> = input.iter().map(|x| x.wrapping_add(1)).collect();
    let (program, mem, expect) = (
        folder.file("adder.vta", ADDER),
        format!("in={}", folder.file("in.bin", &input)),
        format!("out={}", folder.file("out.bin", expected)),
    );
    let events = |device: &str| {
        let path = folder.path(&format!("{device}.trace"));
        let run = ["exec", &program, "--mem", &mem, "--expect", &expect, "--trace", &path, "--device", device];
        let value = bench.json(&run);
        assert_eq!((&value["mismatches"], &value["bytes_stored"]), (&0.into(), &16.into()), "{device}");
        assert_eq!(value["cycles"].is_null(), device == "fsim", "{device}");
        // The units run at the same time, so that only each unit's own order is the same.
        let trace = std::fs::read_to_string(path).unwrap();
        let of = |unit: &str| trace.lines().filter(|l| l.contains(unit)).map(str::to_owned).collect::<Vec<_>>();
        [of("load"), of("compute"), of("store")].map(|mut lines| {
            lines.sort();
            lines
        })
    };
    assert_eq!(events("fsim"), events("tsim"));
}

#[test]
fn a_program_that_hangs_is_told_by_the_check_by_the_hardware_and_by_the_watchdog() {
    let Some(bench) = Bench::new() else { return };
    let folder = Folder::new("tsim-deadlock");
    let program = folder.file("dead.vta", ADDER.replace("pop_next", "pop_prev pop_next"));
    let waits = ["dead.vta", "deadlock", "compute", "a token from load", "instruction 4", "nop.compute"];
    bench.refused(&["exec", &program, "--device", "tsim"], &waits);
    let timeline = folder.path("t.json");
    let unchecked = ["exec", &program, "--device", "tsim", "--no-check", "--timeline", &timeline];
    bench.refused(&unchecked, &[&waits[..], &["queue load->compute"]].concat());
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(timeline).unwrap()).unwrap();
    assert_eq!(trace["otherData"]["launches"], 1, "what was recorded up to the deadlock is kept");
    // Shorter than the latency of the memory.
    let hasty = ["exec", &program, "--device", "tsim", "--no-check", "--watchdog", "20"];
    bench.refused(&hasty, &["the hardware hangs", "fetch waits for read data"]);
}

#[test]
fn waveforms_are_recorded() {
    let Some(bench) = Bench::new() else { return };
    let folder = Folder::new("tsim-waves");
    let (program, waves) = (folder.file("adder.vta", ADDER), folder.path("w.fst"));
    bench.good(&["exec", &program, "--device", "tsim", "--waves", &waves]);
    assert!(std::fs::metadata(&waves).unwrap().len() > 1000);
    bench.refused(&["exec", &program, "--device", "tsim", "--waves", &folder.path("no/w.fst")], &["no/w.fst"]);
}

#[test]
fn options_of_the_hardware_are_refused_on_other_devices() {
    let (model, input) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let folder = Folder::new("tsim-options");
    let program = folder.file("adder.vta", ADDER);
    for (option, value) in
        [("--dram", "ideal"), ("--waves", "w.fst"), ("--watchdog", "9"), ("--stress", ""), ("--no-check", "")]
    {
        let words = [option, "--device tsim"];
        let given: Vec<&str> = [option, value].into_iter().filter(|word| !word.is_empty()).collect();
        refused(&[], &[&["run", &model, "--input", &input][..], &given].concat(), &words);
        refused(&[], &[&["run", &model, "--input", &input, "--device", "cpu"][..], &given].concat(), &words);
        refused(&[], &[&["exec", &program][..], &given].concat(), &words);
        refused(&[], &[&["demo"][..], &given].concat(), &words);
    }
    refused(&[], &["exec", &program, "--device", "tsim", "--seed", "1"], &["--seed"]);
    for wrong in ["fast", "0,64,8", "1,64,300", "1,2"] {
        let output = tandem_with(&[], &["demo", "--device", "tsim", "--dram", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_missing_tool_is_named_with_what_to_do() {
    let folder = Folder::new("tsim-tools");
    let (program, empty, cache) = (folder.file("adder.vta", ADDER), folder.path(""), folder.path("cache"));
    let exec = ["exec", program.as_str(), "--device", "tsim"];
    let words = ["Verilator in", "is missing", "cargo x setup", "TANDEM_TOOLS"];
    refused(&[("TANDEM_TOOLS", &empty)], &exec, &words);
    refused(&[("TANDEM_TOOLS", &empty)], &["demo", "--device", "tsim", "--hw", "tiny"], &words);
    refused(&[("TANDEM_TOOLS", &empty)], &["cosim", "--hw", "tiny", "--programs", "1"], &words);
    let no_compiler = [("TANDEM_TOOLS", empty.as_str()), ("PATH", ""), ("CXX", "")];
    refused(&no_compiler, &exec, &["a C++ compiler", "is missing", "CXX"]);
    let Some(bench) = Bench::new() else { return };
    let tools = bench.0[0].1.as_str();
    let broken = [("TANDEM_TOOLS", tools), ("TANDEM_CACHE", cache.as_str()), ("CXX", "false")];
    refused(&broken, &exec, &["the C++ compiler failed", "the whole log is", "cache"]);
    let absent = [("TANDEM_TOOLS", tools), ("TANDEM_CACHE", cache.as_str()), ("CXX", "/no/such/c++")];
    refused(&absent, &exec, &["the C++ compiler (/no/such/c++) is missing"]);
}
