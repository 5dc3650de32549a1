//! The simulated board behind a pseudo-terminal: the process, its terminal, and how it ends.
#![cfg(unix)]

mod command;

use command::{Folder, digits, good, hardware, refused, stderr, tandem_with};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tandem_driver::serial::{Port, Tty};

const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/boards/echo.v");
/// 16 multipliers, one lane of the ALU, no queues.
const SMALL: &str = "name = \"small\"\nbatch = 1\nblock_in = 4\nblock_out = 4\nuop_buffer_bytes = 1024\n\
    inp_buffer_bytes = 4096\nwgt_buffer_bytes = 4096\nacc_buffer_bytes = 8192\nbus_bits = 64\ndram_bits = 18\n\
    insn_queue_depth = 0\nalu_lanes = 1\nfloat_requant = false\ncounters = false\n";
/// Everything here takes far less.
const LIMIT: Duration = Duration::from_secs(120);

/// A process of `tandem board sim`, ended when this is dropped.
struct Board {
    child: Child,
    port: PathBuf,
    /// What the process says after the first line, once it has ended.
    rest: Receiver<(String, String)>,
}

impl Board {
    /// The echo board; `None` without Verilator.
    fn new(arguments: &[&str]) -> Option<Board> {
        Board::of(&[&["--verilog", ECHO], arguments].concat())
    }

    /// A board; `None` without Verilator.
    fn of(arguments: &[&str]) -> Option<Board> {
        let variables = hardware()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["board", "sim", "--baud", "3000000", "--format", "json"]).args(arguments);
        command.envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdout, mut stderr) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let (send_port, port) = channel();
        let (send_rest, rest) = channel();
        std::thread::spawn(move || {
            let (mut line, mut text, mut errors) = (String::new(), String::new(), String::new());
            stdout.read_line(&mut line).unwrap();
            send_port.send(line).unwrap();
            stdout.read_to_string(&mut text).unwrap();
            stderr.read_to_string(&mut errors).unwrap();
            let _ = send_rest.send((text, errors));
        });
        let line = port.recv_timeout(LIMIT).unwrap();
        Some(Board { child, port: PathBuf::from(line.trim()), rest })
    }

    fn open(&self) -> Tty {
        Tty::open(&self.port, 115_200).unwrap_or_else(|error| panic!("{}: {error}", self.port.display()))
    }

    /// Waits for the end; gives the exit code and the summary.
    fn end(&mut self) -> (Option<i32>, Value) {
        let (text, errors) = self.rest.recv_timeout(LIMIT).expect("the process ends");
        let summary = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {errors}"));
        (self.child.wait().unwrap().code(), summary)
    }

    /// Closes stdin and waits for the end.
    fn close(&mut self) -> (Option<i32>, Value) {
        drop(self.child.stdin.take());
        self.end()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads so many bytes.
fn read(port: &mut Tty, count: usize) -> Vec<u8> {
    let (begin, mut all, mut bytes) = (Instant::now(), Vec::new(), [0; 256]);
    while all.len() < count {
        assert!(begin.elapsed() < LIMIT, "{all:?}");
        let came = port.receive(&mut bytes, LIMIT).unwrap();
        all.extend_from_slice(&bytes[..came]);
    }
    all
}

#[test]
fn bytes_cross_the_terminal_and_the_end_of_stdin_ends_it() {
    let folder = Folder::new("board-sim");
    let link = folder.path("port");
    let Some(mut board) = Board::new(&["--port-link", &link]) else { return };
    assert_eq!(board.port, Path::new(&link));
    let text = b"The quick brown fox";
    // Hosts come and go.
    for _ in 0..2 {
        let mut port = board.open();
        for chunk in text.chunks(10) {
            port.send(chunk, LIMIT).unwrap();
            assert_eq!(read(&mut port, chunk.len()), chunk);
        }
    }
    // A program on the board runs on although no byte comes.
    let mut port = board.open();
    port.send(b"R", LIMIT).unwrap();
    assert_eq!(read(&mut port, 2), b"RD");
    let (code, summary) = board.close();
    assert_eq!(code, Some(0), "{summary}");
    assert_eq!(summary["to_board"]["bytes"], 2 * text.len() + 1);
    assert_eq!(summary["to_host"]["bytes"], 2 * text.len() + 2);
    assert_eq!((&summary["violation"], &summary["framing_errors"]), (&Value::Null, &Value::from(0)));
    assert!(summary["cycles"].as_u64().unwrap() > 80 * 39);
    assert!(std::fs::symlink_metadata(&link).is_err(), "the link is gone");
}

#[test]
fn a_signal_ends_it_with_a_summary() {
    let Some(mut board) = Board::new(&[]) else { return };
    let id = board.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let (code, summary) = board.end();
    assert_eq!((code, &summary["to_board"]["bytes"]), (Some(0), &Value::from(0)));
}

#[test]
fn it_ends_with_its_first_host_on_request() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let Some(mut board) = Board::new(&["--once"]) else { return };
    let mut port = board.open();
    port.send(b"x", LIMIT).unwrap();
    assert_eq!(read(&mut port, 1), b"x");
    drop(port);
    assert_eq!(board.end().0, Some(0));
}

#[test]
fn faults_are_injected_counted_and_repeatable() {
    let run = || -> Option<Value> {
        let mut board = Board::new(&["--faults", "--fault-rate", "0.1", "--seed", "5"])?;
        let mut port = board.open();
        for _ in 0..60 {
            port.send(b"0123456789", LIMIT).unwrap();
        }
        // An end that stands out, often enough to get through.
        port.send(&[b'z'; 40], LIMIT).unwrap();
        while !read(&mut port, 1).contains(&b'z') {}
        let (code, summary) = board.close();
        assert_eq!(code, Some(0));
        Some(summary["to_board"].clone())
    };
    let Some(first) = run() else { return };
    assert_eq!(first["bytes"], 640);
    for fault in ["lost", "changed", "doubled", "late"] {
        assert!((5..50).contains(&first[fault].as_u64().unwrap()), "{first}");
    }
    assert_eq!(run().unwrap(), first);
}

#[test]
fn a_board_that_breaks_a_rule_ends_it_with_exit_code_1() {
    let Some(mut board) = Board::new(&[]) else { return };
    board.open().send(b"S", LIMIT).unwrap();
    let (code, summary) = board.end();
    assert_eq!(code, Some(1));
    assert!(summary["violation"].as_str().unwrap().starts_with("the board stopped itself in cycle "), "{summary}");
    let Some(mut board) = Board::new(&[]) else { return };
    let mut port = board.open();
    port.send(b"Fx", LIMIT).unwrap();
    assert_eq!(read(&mut port, 1), b"x");
    let (code, summary) = board.close();
    assert_eq!((code, &summary["framing_errors"]), (Some(1), &Value::from(1)));
}

#[test]
fn a_model_runs_on_a_simulated_board_over_a_bad_line_and_again_without_a_reset() {
    let folder = Folder::new("board-sim-run");
    let hw = folder.file("small.toml", SMALL);
    let board = ["--hw", &hw, "--memory", "blockram:262144", "--faults", "--seed", "2"];
    let Some(mut board) = Board::of(&board) else { return };
    let (model, inputs) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"));
    let (port, expected) = (board.port.display().to_string(), digits("expected_prob_i8_tflref.bin"));
    for _ in 0..2 {
        // Patience for a machine that has much else to do.
        let text = good(&[
            "run",
            &model,
            "--input",
            &inputs,
            "--limit",
            "2",
            "--expect",
            &expected,
            "--device",
            "board:small",
            "--hw",
            &hw,
            "--port",
            &port,
            "--patience",
            "60",
        ]);
        assert!(text.contains("0 mismatches in 20 elements"), "{text}");
    }
    let (code, summary) = board.close();
    assert_eq!(code, Some(0), "{summary}");
    for direction in ["to_board", "to_host"] {
        assert!(summary[direction]["lost"].as_u64().unwrap() > 0, "{summary}");
    }
}

#[test]
fn every_signal_can_be_recorded() {
    let folder = Folder::new("board-sim-waves");
    let file = folder.path("board.fst");
    let Some(mut board) = Board::new(&["--waves", &file]) else { return };
    let mut port = board.open();
    port.send(b"w", LIMIT).unwrap();
    assert_eq!(read(&mut port, 1), b"w");
    assert_eq!(board.close().0, Some(0));
    assert!(std::fs::metadata(&file).unwrap().len() > 1000);
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    for (arguments, words) in [
        (&["--verilog", "/nowhere.v"][..], "/nowhere.v"),
        (&["--board", "icebraker"], "icebreaker"),
        (&["--board", "kv260"], "its processor is on the same chip"),
        (&["--hw", "vta", "--memory", "blockram:5000"], "a power of two"),
    ] {
        refused(&[&["board", "sim"], arguments].concat(), &[words]);
    }
    let Some(variables) = hardware() else { return };
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let folder = Folder::new("board-sim-refused");
    let file = folder.file("taken", "");
    for (arguments, words) in [
        (&["--baud", "12000000"][..], "a bit of the serial line must take at least 4 cycles"),
        (&["--port-link", &file], "--port-link"),
    ] {
        let output = tandem_with(&variables, &[&["board", "sim", "--verilog", ECHO][..], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    assert!(Path::new(&file).is_file());
}
