//! Accelerators of other machines: a server in a process of its own, clients, and what is between them.

mod command;
mod server;

use command::{ADDER, Folder, digits, good, refused, stderr, stdout, tandem, tandem_with};
use server::{Fate, Server, relay, run_digits};

#[test]
fn a_model_runs_on_another_machine_bit_for_bit_and_the_link_is_told_apart() {
    let server = Server::new("remote-runs", &["--hw", "tiny"]);
    let (model, inputs, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let device = server.device();
    let arguments = run_digits(&model, &inputs, &server, &device);
    let text = good(&[&arguments[..], &["--limit", "20", "--expect", &expected]].concat());
    for words in ["Configuration tiny", "link: ", "round trips", "0 mismatches", "cycles estimate"] {
        assert!(text.contains(words), "'{words}' is not in {text}");
    }
    let json = good(&[&arguments[..], &["--limit", "20", "--batch-inputs", "1", "--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let here = good(&["run", &model, "--input", &inputs, "--hw", "tiny", "--limit", "20", "--format", "json"]);
    let here: serde_json::Value = serde_json::from_str(&here).unwrap();
    assert_eq!(json["outputs"], here["outputs"]);
    assert_eq!(json["vta"], here["vta"]);
    assert!(here["link"].is_null());
    let vta = json["segments"].as_array().unwrap().iter().filter(|s| s["device"] == "vta").count() as u64;
    let (loading, running) = (&json["link"]["loading"], &json["link"]["running"]);
    assert_eq!(running["round_trips"], 3 * vta * 20);
    assert!(loading["bytes_sent"].as_u64() > Some(10_000) && loading["round_trips"].as_u64() < Some(10), "{json}");
    assert!(json["link"]["latency_s"].as_f64() > Some(0.0) && json["link"]["bytes_per_s"].as_f64() > Some(0.0));
    assert_eq!(json["failures"], serde_json::json!([]));
    // The token may be in the environment, and other verbs take the device too.
    let token = std::fs::read_to_string(&server.token).unwrap();
    let demo = tandem_with(&[("TANDEM_TOKEN", &token)], &["demo", "--device", &device, "--format", "json"]);
    assert!(stdout(&demo).contains("\"mismatches\":0"), "{}", stderr(&demo));
    let labels = digits("labels.csv");
    let eval = ["eval", &model, "--inputs", &inputs, "--labels", &labels, "--limit", "30", "--format", "json"];
    let eval = good(&[&eval[..], &["--token-file", &server.token, "--device", &device]].concat());
    assert!(eval.contains("\"round_trips\""), "{eval}");
}

#[test]
fn a_program_runs_on_another_machine() {
    let folder = Folder::new("remote-program");
    let program = folder.file("add.vta", ADDER);
    let (input, output) = (folder.file("in.bin", [41; 16]), folder.path("out.bin"));
    let server = Server::new("remote-exec", &["--hw", "tiny"]);
    let device = server.device();
    let exec = ["exec", &program, "--device", &device, "--token-file", &server.token];
    let (mem, dump) = (format!("in={input}"), format!("out={output}"));
    let json = good(&[&exec[..], &["--mem", &mem, "--dump", &dump, "--format", "json"]].concat());
    assert_eq!(std::fs::read(&output).unwrap(), [42; 16]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    // The launch, with its wait and its counters, and the dump.
    assert_eq!(json["link"]["running"]["round_trips"], 2, "{json}");
    assert!(json["cycles_estimate"].as_u64() > Some(0) && json["cycles"].is_null(), "{json}");
    // A program that the device refuses is told with what the simulator behind it knows.
    let wrong = folder.file("wrong.vta", ".preset tiny\nnop.compute pop_next\nfinish\n");
    refused(&["exec", &wrong, "--device", &device, "--token-file", &server.token], &["token"]);
}

#[test]
fn a_hundred_requests_are_answered_though_the_server_is_killed_or_falls_silent_among_them() {
    let (model, inputs, expected) =
        (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    for (fate, name, words) in
        [(Fate::Killed, "remote-killed", ""), (Fate::Muted, "remote-muted", "nothing came for a second")]
    {
        let server = Server::new(name, &["--hw", "tiny"]);
        let (device, _) = relay(&server, 250, fate);
        let arguments = run_digits(&model, &inputs, &server, &device);
        let more = ["--limit", "100", "--batch-inputs", "1", "--expect", &expected, "--patience", "1"];
        let output = tandem(&[&arguments[..], &more, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&json["samples"], &json["mismatches"]), (&100.into(), &0.into()));
        let told = stderr(&output);
        assert_eq!(told.lines().count(), 1, "{told}");
        let start = format!("warning: {device}: the VTA failed and the CPU runs its");
        assert!(told.starts_with(&start) && told.contains(words), "{told}");
        let failure = &json["failures"][0];
        let sample = failure["sample"].as_u64().unwrap();
        assert!((20..60).contains(&sample), "{failure}");
        assert!(told.contains(&format!("from sample {sample} on: segment ")), "{told}");
    }
}

#[test]
fn a_wrong_token_is_refused_and_logged_and_the_next_client_is_served() {
    let server = Server::new("remote-refused", &["--hw", "tiny"]);
    let wrong = server.folder.file("wrong", "another token than the server's");
    let (model, inputs, device) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), server.device());
    let run = ["run", &model, "--input", &inputs, "--limit", "1", "--device", &device];
    refused(&[&run[..], &["--token-file", &wrong]].concat(), &[&device, "the token is refused"]);
    assert!(server.log().contains("is refused: its token is wrong"), "{}", server.log());
    good(&[&run[..], &["--token-file", &server.token]].concat());
}

#[test]
fn what_does_not_fit_is_told_in_one_sentence() {
    let server = Server::new("remote-unfit", &["--hw", "tiny"]);
    let (model, inputs, device) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), server.device());
    let run = |arguments: &[&str], words: &[&str]| {
        refused(&[&["run", &model, "--input", &inputs], arguments].concat(), words);
    };
    let digest = |hw| format!("{:#010x}", tandem_isa::HwConfig::preset(hw).unwrap().digest());
    let token = ["--token-file", &server.token];
    let to = |device, more: &[&'static str]| [&["--device", device], &token[..], more].concat();
    run(&to(&device, &["--hw", "edge"]), &[&digest("tiny"), &digest("edge"), "leave --hw out"]);
    run(&["--device", &device], &["--token-file", "TANDEM_TOKEN"]);
    run(&["--device", &device, "--token-file", "/no/such/file"], &["/no/such/file", "openssl rand"]);
    let short = server.folder.file("short", "guess");
    run(&["--device", &device, "--token-file", &short], &["16 to 4096 bytes"]);
    run(&to("remote:127.0.0.1:1", &[]), &["remote:127.0.0.1:1", "no connection", "serve-device"]);
    run(&to("tcp:127.0.0.1:1", &["--hw", "tiny"]), &["--token-file", "remote:HOST:PORT"]);
    run(&to("fsim", &[]), &["--token-file"]);
    let serve = |arguments: &[&str], words: &[&str]| {
        refused(&[&["serve-device", "--listen", "127.0.0.1:0"], arguments].concat(), words);
    };
    serve(&["--hw", "tiny"], &["--token-file"]);
    serve(&to("fsim,cpu", &[]), &["nothing is split here"]);
    serve(&to("fsim", &["--memory", "5000000000"]), &["--memory", "4294967295"]);
    serve(&to(&device, &[]), &["it is exported already"]);
    serve(&to("board:icebreaker", &[]), &["--port"]);
    refused(&["serve-device", "--listen", "nonsense", token[0], token[1]], &["--listen nonsense"]);
}
