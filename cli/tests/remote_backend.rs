//! GPUs and CPUs of other machines: a server in a process of its own, clients, and what is between them.

mod command;
mod server;

use command::{Folder, digits, good, nvrtc, refused, stderr, stdout, tandem, tandem_with};
use serde_json::Value;
use server::{Fate, Server, relay, run_digits};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The devices of the segments, each once.
fn devices(run: &Value) -> Vec<&str> {
    let mut words: Vec<&str> =
        run["segments"].as_array().unwrap().iter().map(|segment| segment["device"].as_str().unwrap()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

#[test]
fn a_simulated_gpu_of_another_machine_runs_a_model_bit_for_bit_and_is_told_as_one() {
    let Some(tools) = nvrtc() else { return };
    let tools = [("TANDEM_TOOLS", tools.as_str())];
    let server = Server::with(&tools, "far-gpu", &["--device", "ptx"]);
    let (model, inputs, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let device = server.device();
    let arguments = run_digits(&model, &inputs, &server, &device);
    let more = ["--limit", "10", "--batch-inputs", "1", "--expect", &expected];
    let text = good(&[&arguments[..], &more].concat());
    for words in ["GPU is a simulated", &format!("ptx of {device}"), "0 mismatches", "(1.0 a sample)"] {
        assert!(text.contains(words), "'{words}' is not in {text}");
    }
    let there = json(&good(&[&arguments[..], &more, &["--format", "json"]].concat()));
    let here = ["run", &model, "--input", &inputs, "--device", "ptx", "--format", "json"];
    let here = json(&stdout(&tandem_with(&tools, &[&here[..], &more].concat())));
    assert_eq!((&there["outputs"], devices(&there)), (&here["outputs"], devices(&here)));
    // What the nodes are and the segment, and then each run.
    assert_eq!(
        (&there["link"]["loading"]["round_trips"], &there["link"]["running"]["round_trips"]),
        (&2.into(), &10.into())
    );
    assert_eq!(there["failures"], serde_json::json!([]));

    // Plans take projections, and the link beside them: it makes each copy dearer.
    let partition = |device: &str, token: &[&str]| {
        let list = format!("{device},cpu");
        let arguments = ["partition", &model, "--device", &list, "--format", "json"];
        let pins = ["--pin", "stem=cpu", "--pin", &format!("pointwise={device}")];
        let output = tandem_with(&tools, &[&arguments[..], token, &pins].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        json(&stdout(&output))
    };
    let (far, near) = (partition(&device, &["--token-file", &server.token]), partition("ptx", &[]));
    for plan in [&far, &near] {
        assert_eq!(
            (&plan["devices"][0]["times"], &plan["devices"][1]["times"]),
            (&"measured".into(), &"projected".into())
        );
    }
    let latency = |plan: &Value| plan["links"][0]["latency_seconds"].as_f64().unwrap();
    assert!(latency(&near) > 0.0 && latency(&far) > latency(&near), "{far} {near}");
}

#[test]
fn the_cpu_of_another_machine_runs_a_model_and_is_told_from_this_one() {
    let server = Server::new("far-cpu", &["--device", "cpu"]);
    let folder = Folder::new("far-cpu-costs");
    let (model, inputs, costs) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), folder.path("costs.json"));
    let (device, expected) = (server.device(), digits("expected_prob_i8_tflref.bin"));
    let arguments = run_digits(&model, &inputs, &server, &device);
    let more = ["--limit", "20", "--expect", &expected];
    let text = good(&[&arguments[..], &more].concat());
    for words in ["CPU:1 is ", &format!("cpu of {device}"), "0 mismatches", "100.00 % on a CPU of another machine"] {
        assert!(text.contains(words), "'{words}' is not in {text}");
    }
    let run = json(&good(&[&arguments[..], &more, &["--format", "json"]].concat()));
    assert_eq!((devices(&run), &run["mismatches"]), (vec!["cpu:1"], &0.into()));
    // Beside others, with many requests under way, and from what was stored.
    let list = format!("fsim,{device},cpu");
    let pins = ["--hw", "edge", "--pin", "stem=fsim", "--pin", &format!("pointwise={device}"), "--pin", "residual=cpu"];
    let split = run_digits(&model, &inputs, &server, &list);
    let run = json(&good(&[&split[..], &more, &pins, &["--in-flight", "4", "--format", "json"]].concat()));
    assert_eq!((devices(&run), &run["mismatches"]), (vec!["cpu", "cpu:1", "vta"], &0.into()));
    let token = ["--token-file", &server.token];
    good(&[&["profile", &model, "--device", &list, "--hw", "edge", "-o", &costs][..], &token].concat());
    let stored = ["partition", &model, "--device", &list, "--costs", &costs, "--format", "json"];
    let plan = json(&good(&[&stored[..], &token, &["--pin", &format!("pointwise={device}")]].concat()));
    assert!(plan.to_string().contains("cpu:1"), "{plan}");
}

#[test]
fn a_hundred_requests_are_answered_though_the_server_is_killed_or_falls_silent_among_them() {
    let (model, inputs, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let tools = nvrtc();
    let cases = [
        ("cpu", Fate::Killed, "far-cpu-killed", "the CPU:1 failed and the CPU runs its"),
        ("cpu", Fate::Muted, "far-cpu-muted", "nothing came for a second"),
        ("ptx", Fate::Killed, "far-gpu-killed", "the GPU failed and the CPU runs its"),
    ];
    for (what, fate, name, words) in cases {
        let Some(tools) = tools.as_deref().or((what == "cpu").then_some("")) else { continue };
        let variables = [("TANDEM_TOOLS", tools)];
        let server = Server::with(&variables[..usize::from(what == "ptx")], name, &["--device", what]);
        let (device, _) = relay(&server, 60, fate);
        let arguments = run_digits(&model, &inputs, &server, &device);
        let more = ["--limit", "100", "--batch-inputs", "1", "--expect", &expected, "--patience", "1"];
        let output = tandem(&[&arguments[..], &more, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let run = json(&stdout(&output));
        assert_eq!((&run["samples"], &run["mismatches"]), (&100.into(), &0.into()));
        let told = stderr(&output);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with(&format!("warning: {device}: ")) && told.contains(words), "{told}");
        let sample = run["failures"][0]["sample"].as_u64().unwrap();
        assert!((10..60).contains(&sample), "{run}");
    }
}

#[test]
fn what_does_not_fit_is_told_in_one_sentence_and_the_next_client_is_served() {
    let server = Server::new("far-unfit", &["--device", "cpu", "--memory", "4096"]);
    let (model, inputs, device) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), server.device());
    let wrong = server.folder.file("wrong", "another token than the server's");
    let run = ["run", &model, "--input", &inputs, "--limit", "1", "--device", &device];
    refused(&[&run[..], &["--token-file", &wrong]].concat(), &[&device, "the token is refused"]);
    let token = ["--token-file", &server.token];
    // The values of the model are larger than a client may hold there, so that it runs here.
    let here = json(&good(&[&run[..], &token, &["--format", "json"]].concat()));
    assert_eq!(devices(&here), ["cpu"]);
    assert!(here["segments"][0]["reason"].as_str().unwrap().contains("has 4096 for this client"), "{here}");
    let program = server.folder.file("p.vta", ".preset tiny\nfinish\n");
    refused(
        &[&["exec", &program, "--device", &device][..], &token].concat(),
        &[&device, "runs models and no programs"],
    );
    good(&[&run[..], &token].concat());
}

#[test]
#[cfg(unix)]
fn a_gpu_of_another_machine_runs_a_model_bit_for_bit() {
    let Some(tools) = nvrtc() else { return };
    let folder = Folder::new("far-cuda-driver");
    let driver = command::driver(&folder);
    let variables = [("TANDEM_TOOLS", tools.as_str()), ("LD_LIBRARY_PATH", driver.as_str())];
    let server = Server::with(&variables, "far-cuda", &["--device", "cuda:0"]);
    let (model, inputs, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let device = server.device();
    let arguments = run_digits(&model, &inputs, &server, &device);
    let text = good(&[&arguments[..], &["--limit", "5", "--expect", &expected]].concat());
    for words in ["GPU is ", &format!("cuda:0 of {device}"), "0 mismatches"] {
        assert!(text.contains(words), "'{words}' is not in {text}");
    }
    assert!(!text.contains("simulated"), "{text}");
}
