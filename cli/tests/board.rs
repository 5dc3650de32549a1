//! Boards, played by simulators: over the network, on a pseudo-terminal, and for the benchmark's runner.

mod command;

use command::{ADDER, Folder, digits, good, refused, stderr, stdout, tandem};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

fn model() -> String {
    digits("digits_int8.tflite")
}

fn inputs() -> String {
    digits("inputs_i8.bin")
}

/// A server of `tandem board serve`, ended when this is dropped.
struct Server {
    child: Child,
    /// What `--device` takes.
    device: String,
}

impl Server {
    fn new(arguments: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["board", "serve", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let device = line.trim().split(' ').next_back().unwrap().to_owned();
        assert!(line.contains("is served: --device tcp:127.0.0.1:"), "{line}");
        Server { child, device }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_model_runs_over_the_network_bit_for_bit_as_here_and_again_without_a_reset() {
    let folder = Folder::new("served");
    let server = Server::new(&["--hw", "tiny", "--memory", "131072"]);
    let expected = digits("expected_prob_i8_tflref.bin");
    for _ in 0..2 {
        let output = folder.path("out.bin");
        let common = ["run", &model(), "--input", &inputs(), "--hw", "tiny", "--save-output", &output];
        let text = good(&[&common[..], &["--device", &server.device, "--expect", &expected]].concat());
        assert!(text.contains("cycles estimate") && text.contains(&server.device), "{text}");
    }
    let json = good(&["demo", "--hw", "tiny", "--device", &server.device, "--format", "json"]);
    assert!(json.contains("\"mismatches\":0"), "{json}");
}

#[test]
fn a_program_runs_over_the_network() {
    let folder = Folder::new("served-program");
    let program = folder.file("add.vta", ADDER);
    let (input, output) = (folder.file("in.bin", [41; 16]), folder.path("out.bin"));
    let server = Server::new(&["--hw", "tiny"]);
    let (mem, dump) = (format!("in={input}"), format!("out={output}"));
    good(&["exec", &program, "--device", &server.device, "--mem", &mem, "--dump", &dump]);
    assert_eq!(std::fs::read(&output).unwrap(), [42; 16]);
    // What the program does not write is zero, whatever was there.
    let zeros = folder.file("zeros.bin", [0; 16]);
    good(&["exec", &program, "--device", &server.device, "--expect", &format!("0x800={zeros}")]);
    refused(&["exec", &program, "--device", &server.device, "--trace", &output], &["--trace", "simulator"]);
    refused(&["exec", &program, "--device", &server.device, "--seed", "1"], &["--seed"]);
    refused(&["exec", &program, "--device", "cpu"], &["CPU"]);
}

#[test]
fn a_device_of_another_configuration_is_refused_with_both_digests() {
    let server = Server::new(&["--hw", "tiny"]);
    let digest = |hw| format!("{:#010x}", tandem_isa::HwConfig::preset(hw).unwrap().digest());
    let words = [&digest("tiny"), &digest("edge"), "bitstream", "--hw"];
    refused(&["run", &model(), "--input", &inputs(), "--hw", "edge", "--device", &server.device], &words);
}

#[test]
fn ways_to_a_board_that_lead_nowhere_say_so_in_one_sentence() {
    let folder = Folder::new("nowhere");
    let file = folder.file("port", "no port");
    let run = |arguments: &[&str], words: &[&str]| {
        let (model, inputs) = (model(), inputs());
        refused(&[&["run", &model, "--input", &inputs], arguments].concat(), words);
    };
    let board = ["--device", "board:icebreaker"];
    run(&board, &["board:icebreaker", "--port"]);
    // A board that is none of ours brings no configuration.
    run(&["--device", "board:of-mine"], &["board:of-mine", "--hw"]);
    run(&[&board[..], &["--hw", "tiny"]].concat(), &["--port"]);
    let to = |path| [&board[..], &["--hw", "tiny", "--port", path]].concat();
    run(&to("/dev/no-such-port"), &["/dev/no-such-port", "no such port"]);
    run(&to(&file), &[&file, "no serial port"]);
    run(&to("/dev/null"), &["/dev/null", "no serial port"]);
    run(&["--device", "tcp:127.0.0.1:1", "--hw", "tiny"], &["tcp:127.0.0.1:1", "no connection"]);
    run(&["--device", "uio:/dev/uio77,udmabuf77", "--hw", "tiny"], &["udmabuf77"]);
    run(&["--port", "/dev/null"], &["--port", "board:NAME"]);
    run(&["--baud", "9600", "--device", "tsim"], &["--baud", "board:NAME"]);
    refused(&["board", "serve", "--listen", "nonsense", "--hw", "tiny"], &["--listen nonsense"]);
    refused(&["board", "serve", "--device", "cpu"], &["cpu"]);
    refused(&["board", "mlperf", &model(), "--runner", "/dev/null"], &["/dev/null", "no serial port"]);
    let output = tandem(&["run", &model(), "--input", &inputs(), "--device", "usb:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("board:NAME, tcp:HOST:PORT"), "{}", stderr(&output));
}

#[test]
fn the_benchmarks_runner_gets_the_results_of_the_model() {
    let pixels = std::fs::read(inputs()).unwrap();
    let expected = std::fs::read(digits("expected_prob_i8_tflref.bin")).unwrap();
    let mut script = "name%profile%".to_owned();
    for sample in pixels.chunks(64).take(3) {
        script.push_str("db load 64%");
        for bytes in sample.chunks(31) {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            script.push_str(&format!("db {digits}%"));
        }
        script.push_str("infer 2 1%");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.args(["board", "mlperf", &model(), "--hw", "tiny", "--runner", "stdio", "--id", "dig01"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.starts_with("m-timestamp-mode-performance\r\nm-init-done\r\nm-ready\r\n"), "{text}");
    assert!(text.contains("m-name-dut-[Tandem fsim]") && text.contains("m-model-[dig01]"), "{text}");
    let results: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("m-results-[")).collect();
    assert_eq!(results.len(), 3);
    for (result, codes) in results.iter().zip(expected.chunks(10)) {
        // The output's scale is 1/256 with zero point -128.
        let reals: Vec<String> =
            codes.iter().map(|&code| format!("{:.3}", (f32::from(code as i8) + 128.0) / 256.0)).collect();
        assert_eq!(result.trim_end_matches(']'), reals.join(","));
    }
    let laps = text.lines().filter_map(|line| line.strip_prefix("m-lap-us-")?.parse::<u64>().ok());
    assert_eq!(laps.count(), 6);
}

#[cfg(unix)]
mod on_a_pseudo_terminal {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use tandem_driver::serial::{FrameServer, Noise, Port, Pty};
    use tandem_driver::{Bytes, DmaAddr};
    use tandem_sim::FsimBus;

    /// Calls `with` with the path of a board's port.
    fn plugged(noise: u32, with: impl FnOnce(&str)) {
        let config = tandem_isa::HwConfig::preset("tiny").unwrap();
        let mut pty = Pty::open().unwrap();
        let (path, stop) = (pty.path().display().to_string(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut bus = FsimBus::new(&config);
            let memory = bus.map(DmaAddr(0), Bytes(128 << 10)).unwrap();
            let mut server = FrameServer::new(bus, memory).with_rates(24_000_000, 115_200);
            let (mut bytes, mut answer, mut noise) = ([0; 512], Vec::new(), Noise::new(5, noise));
            while !stopped.load(Ordering::Relaxed) {
                let count = pty.receive(&mut bytes, Duration::from_millis(1)).unwrap();
                let arrived: Vec<u8> = bytes[..count].iter().flat_map(|&byte| noise.pass(byte)).collect();
                server.receive(&arrived, &mut answer);
                let sent: Vec<u8> = answer.drain(..).flat_map(|byte| noise.pass(byte)).collect();
                // A client that has left reads nothing; what it does not take is lost.
                let _ = pty.send(&sent, Duration::from_millis(100));
                server.idle(Duration::from_millis(1)).unwrap();
            }
        });
        with(&path);
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }

    #[test]
    fn a_model_runs_on_a_board_and_cycles_count_as_measured() {
        plugged(0, |path| {
            let expected = digits("expected_prob_i8_tflref.bin");
            let board = ["--device", "board:icebreaker", "--hw", "tiny", "--port", path];
            for _ in 0..2 {
                let run = ["run", &model(), "--input", &inputs(), "--limit", "40", "--expect", &expected];
                let text = good(&[&run[..], &board].concat());
                assert!(text.contains("cycles (cycles)") && !text.contains("estimate"), "{text}");
            }
        });
    }

    #[test]
    fn a_model_runs_on_a_board_behind_a_noisy_line() {
        plugged(10_000, |path| {
            let expected = digits("expected_prob_i8_tflref.bin");
            let board = ["--device", "board:icebreaker", "--hw", "tiny", "--port", path];
            let run = ["run", &model(), "--input", &inputs(), "--limit", "4", "--expect", &expected];
            good(&[&run[..], &board].concat());
        });
    }

    #[test]
    fn a_port_that_nothing_answers_on_is_an_error() {
        let pty = Pty::open().unwrap();
        let (model, inputs, path) = (model(), inputs(), pty.path().display().to_string());
        let board = ["--device", "board:icebreaker", "--hw", "tiny", "--port", &path];
        refused(&[&["run", &model, "--input", &inputs], &board[..]].concat(), &[&path, "nothing answers"]);
    }
}
