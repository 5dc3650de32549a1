//! `tandem tune`, its logs, its workers, and what reads the logs.

mod command;

use command::{Folder, digits, good, hardware, json, refused, stderr, stdout, tandem, tandem_with};
use serde_json::Value;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

const S3: [&str; 8] = ["tune", "--workload", "small", "--layers", "S3", "--oracle", "analytic", "--format"];

/// A tuning run of a layer by prediction.
fn tune(more: &[&str]) -> Value {
    json(&[&S3[..], &["json", "--trials", "40"], more].concat())
}

#[test]
fn a_seed_repeats_a_search_whatever_number_of_workers_it_has() {
    let first = tune(&["--strategy", "genetic"]);
    let layer = &first["layers"][0];
    let curve: Vec<u64> = layer["curve"].as_array().unwrap().iter().map(|best| best.as_u64().unwrap()).collect();
    assert_eq!(curve.len(), 40);
    assert_eq!(
        (curve[0], curve[39]),
        (layer["default_cycles"].as_u64().unwrap(), layer["tuned_cycles"].as_u64().unwrap())
    );
    assert!(curve.windows(2).all(|pair| pair[1] <= pair[0]));
    assert_eq!(tune(&["--strategy", "genetic", "--workers", "3"]), first);
    let other = tune(&["--strategy", "random", "--seed", "2"]);
    assert_ne!(tune(&["--strategy", "random"]), other);
}

#[test]
fn a_log_is_gone_on_with_and_its_cut_end_is_told() {
    let folder = Folder::new("tune-log");
    let log = folder.path("log.jsonl");
    let run = |trials: &str| {
        let output = tandem(&[&S3[..], &["json", "--trials", trials, "--log", &log][..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (serde_json::from_str::<Value>(&stdout(&output)).unwrap(), stderr(&output))
    };
    let (first, _) = run("24");
    assert_eq!(first["layers"][0]["recalled"], 0);
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 24);
    std::fs::write(&log, &text[..text.len() - 30]).unwrap();
    let (second, told) = run("32");
    assert!(told.contains("never completed"), "{told}");
    assert_eq!(second["layers"][0]["recalled"], 23);
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 32);
    // The first trials are those of the shorter run.
    let curve = |value: &Value| value["layers"][0]["curve"].as_array().unwrap()[..24].to_vec();
    assert_eq!(curve(&first), curve(&second));
    let (third, told) = run("32");
    assert_eq!((&third["layers"][0]["recalled"], told.as_str()), (&32.into(), ""));
    assert_eq!(third["layers"][0]["curve"], second["layers"][0]["curve"]);
    std::fs::write(&log, format!("{{\"version\":7}}\n{text}")).unwrap();
    refused(&[&S3[..], &["json", "--log", &log][..]].concat(), &["log.jsonl", "line 1", "version 7"]);
}

#[test]
fn the_compiler_takes_the_best_schedule_of_a_log_and_results_stay() {
    let folder = Folder::new("tune-digits");
    let (model, log) = (digits("digits_int8.tflite"), folder.path("log.jsonl"));
    let tuned = json(&[
        "tune",
        &model,
        "--hw",
        "tiny",
        "--oracle",
        "analytic",
        "--strategy",
        "random",
        "--trials",
        "60",
        "--log",
        &log,
        "--format",
        "json",
    ]);
    let layers = tuned["layers"].as_array().unwrap();
    assert!(layers.len() >= 2, "{tuned}");
    let compile = |more: &[&str]| {
        let program = folder.path("p.vta");
        good(&[&["compile", &model, "--hw", "tiny", "-o", &program][..], more].concat());
        std::fs::read_to_string(folder.path("p.0.vta")).unwrap()
    };
    // The prediction that chooses by default is the oracle here, so that other tiles are worse: these are put in as good ones.
    let text = std::fs::read_to_string(&log).unwrap();
    let worst = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|mut record| {
        record["cycles"] = (1_000_000_000 - record["cycles"].as_u64().unwrap()).into();
        format!("{record}\n")
    });
    let other = folder.file("other.jsonl", worst.collect::<String>());
    assert_ne!(compile(&[]), compile(&["--tuned", &other]));
    let (input, expected) = (digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let run = |more: &[&str]| {
        let fixed = ["run", &model, "--input", &input, "--limit", "5", "--expect", &expected, "--hw", "tiny"];
        json(&[&fixed[..], more, &["--format", "json"]].concat())
    };
    let (plain, cut) = (run(&[]), run(&["--tuned", &other]));
    assert_eq!((&plain["mismatches"], &cut["mismatches"]), (&0.into(), &0.into()));
    let cycles = |value: &Value| value["vta"]["cycles_estimate"].as_u64().unwrap();
    assert!(cycles(&cut) > cycles(&plain), "{} and {}", cycles(&cut), cycles(&plain));
    // What is searched is no slower than the default, and keeps to a log that knows all layers.
    let search = ["--schedule", "search"];
    let searched = run(&search);
    assert_eq!(searched["mismatches"], 0);
    assert!(cycles(&searched) < cycles(&plain), "{} and {}", cycles(&searched), cycles(&plain));
    assert_eq!(compile(&["--tuned", &other, "--schedule", "search"]), compile(&["--tuned", &other]));
    assert_ne!(compile(&search), compile(&[]));
    assert_eq!(compile(&search), compile(&[&search[..], &["--dram", "zynq"]].concat()));
}

#[test]
fn a_run_is_drawn_and_history_is_learned_from() {
    let folder = Folder::new("tune-plot");
    let (plot, log) = (folder.path("p.svg"), folder.path("log.jsonl"));
    let text = good(&[
        "tune",
        "--workload",
        "small",
        "--layers",
        "S1,S3",
        "--oracle",
        "analytic",
        "--trials",
        "24",
        "--plot",
        &plot,
        "--log",
        &log,
    ]);
    assert!(text.contains("all of them") && text.contains("predicted on vta"), "{text}");
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(picture.starts_with("<svg") && picture.matches("<path").count() == 2, "{picture:.300}");
    let learned = tune(&["--history", &log]);
    assert_eq!(learned["layers"][0]["trials"], 40);
}

#[test]
fn what_cannot_be_tuned_is_refused_in_a_sentence() {
    let folder = Folder::new("tune-wrong");
    refused(&["tune", "--workload", "small", "--layers", "S9"], &["S9", "S1, S2, S3, S4"]);
    refused(&["tune", "no.tflite"], &["no.tflite"]);
    let empty = folder.file("empty.jsonl", "");
    refused(&[&S3[..], &["json", "--history", &empty][..]].concat(), &["empty.jsonl", "no measurement"]);
    let model = digits("digits_int8.tflite");
    let input = digits("inputs_i8.bin");
    refused(&["run", &model, "--input", &input, "--tuned", &empty], &["empty.jsonl", "no schedule"]);
    refused(&["run", &model, "--input", &input, "--device", "cpu", "--tuned", &empty], &["--tuned", "accelerators"]);
    let searched = ["run", &model, "--input", &input, "--device", "cpu", "--schedule", "search"];
    refused(&searched, &["--schedule", "accelerators"]);
    refused(&["compile", &model, "--dram", "ideal", "-o", "p.vta"], &["--dram", "--schedule search"]);
    refused(&[&S3[..], &["json", "--queue", "nothing"][..]].concat(), &["--queue nothing", "redis://"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("redis://{free}");
    refused(&["tune-worker", "--queue", &url], &["--queue", &url]);
    refused(&["tune-worker", "--idle", "3"], &["--queue"]);
}

#[test]
fn schedules_are_measured_on_the_hardware_and_their_results_compared() {
    let Some(variables) = hardware() else { return };
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let folder = Folder::new("tune-tsim");
    let (model, log) = (digits("digits_int8.tflite"), folder.path("log.jsonl"));
    let arguments = ["tune", &model, "--hw", "tiny", "--trials", "6", "--batch", "4", "--workers", "2", "--log", &log];
    let output = tandem_with(&variables, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("counted by the simulated hardware"), "{}", stdout(&output));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.lines().all(|line| line.contains("\"oracle\":\"tsim\"") && line.contains("\"cycles\"")), "{text}");
    let (input, expected) = (digits("inputs_i8.bin"), digits("expected_prob_i8_tflref.bin"));
    let run = |more: &[&str]| {
        let fixed = [
            "run", &model, "--input", &input, "--limit", "2", "--expect", &expected, "--device", "tsim", "--hw", "tiny",
        ];
        let output = tandem_with(&variables, &[&fixed[..], more, &["--format", "json"]].concat());
        let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(value["mismatches"], 0);
        value["vta"]["cycles"].as_u64().unwrap()
    };
    // Layers run one after another, so that what each gains the network gains.
    assert!(run(&["--tuned", &log]) <= run(&[]));
}

/// A server of lists on a port of its own, where one is installed.
struct Server(Child, String);

impl Server {
    fn start(folder: &Folder) -> Option<Server> {
        let program = ["redis-server", "valkey-server"].into_iter().find(|program| {
            Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
        });
        let Some(program) = program else {
            let required = std::env::var("TANDEM_REQUIRE").unwrap_or_default();
            let why = "neither redis-server nor valkey-server is on PATH; install one of them";
            assert!(!required.split(',').any(|tool| tool == "redis"), "TANDEM_REQUIRE asks for redis, but {why}");
            eprintln!("skipped: {why}");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let child = Command::new(program)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", &folder.path("")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server(child, format!("redis://127.0.0.1:{port}"));
        while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            std::thread::yield_now();
        }
        Some(server)
    }

    fn worker(&self, idle: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["tune-worker", "--queue", &self.1, "--idle", idle]).spawn().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn workers_of_a_queue_measure_what_processes_would() {
    let folder = Folder::new("tune-queue");
    let Some(server) = Server::start(&folder) else { return };
    let mut workers = [server.worker("2"), server.worker("2")];
    let found = tune(&["--queue", &server.1]);
    assert_eq!(found, tune(&[]));
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success());
    }
}

#[test]
fn what_a_lost_worker_had_is_measured_by_another() {
    let folder = Folder::new("tune-lost");
    let Some(server) = Server::start(&folder) else { return };
    let mut connection = redis::Client::open(server.1.as_str()).unwrap().get_connection().unwrap();
    let mut tuner = Command::new(env!("CARGO_BIN_EXE_tandem"))
        .args([&S3[..], &["json", "--trials", "4", "--queue", &server.1][..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A worker that takes a job and is never heard of again: it has no key that says it is alive.
    let () = redis::cmd("SADD").arg("tandem:tune:workers").arg("ghost").query(&mut connection).unwrap();
    let taken: Vec<u8> = redis::cmd("BLMOVE")
        .arg(&["tandem:tune:jobs", "tandem:tune:taken:ghost", "RIGHT", "LEFT", "0"])
        .query(&mut connection)
        .unwrap();
    assert!(!taken.is_empty());
    let () = redis::cmd("SADD").arg("tandem:tune:workers").arg("ghost").query(&mut connection).unwrap();
    let mut worker = server.worker("600");
    let output = tuner.stdout.take().map(|mut out| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        text
    });
    assert!(tuner.wait().unwrap().success());
    worker.kill().unwrap();
    worker.wait().unwrap();
    let found: Value = serde_json::from_str(&output.unwrap()).unwrap();
    assert_eq!(found, json(&[&S3[..], &["json", "--trials", "4"][..]].concat()));
}
