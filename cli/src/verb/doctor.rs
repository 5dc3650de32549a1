//! `tandem doctor`: what this machine has, and what each missing tool would enable.

use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time allowed for a tool to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// Options of `tandem doctor`.
#[derive(Args)]
pub struct Options {
    /// Form of the result.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// One thing looked for.
#[derive(Serialize)]
struct Finding {
    name: &'static str,
    found: bool,
    /// Version or place.
    detail: String,
    enables: &'static str,
}

/// A tool: its name, the commands that are tried in order, and what it enables.
type Tool = (&'static str, &'static [&'static [&'static str]], &'static str);

const TOOLS: [Tool; 8] = [
    ("rustc", &[&["rustc", "--version"]], "building Tandem"),
    (
        "C++ compiler",
        &[&["c++", "--version"], &["g++", "--version"], &["clang++", "--version"]],
        "Verilated simulation",
    ),
    ("python3", &[&["python3", "--version"]], "training scripts and comparisons with other runtimes"),
    ("verilator", &[&["verilator", "--version"]], "cycle-accurate simulation of the hardware"),
    ("yosys", &[&["yosys", "-V"]], "synthesis with open tools"),
    (
        "nextpnr",
        &[&["nextpnr-ecp5", "--version"], &["nextpnr-ice40", "--version"], &["nextpnr-himbaechel", "--version"]],
        "placing and routing bitstreams with open tools",
    ),
    ("openFPGALoader", &[&["openFPGALoader", "--Version"]], "loading bitstreams onto boards"),
    (
        "nvidia-smi",
        &[&["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]],
        "telling which GPU there is",
    ),
];

/// Folders where the dynamic loader usually looks.
const LIBRARY_FOLDERS: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/usr/local/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/cuda/lib64",
    "/usr/lib/wsl/lib",
];

/// Runs the verb. It succeeds whatever is missing.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut findings: Vec<Finding> = TOOLS.iter().map(tool).collect();
    findings.push(library("CUDA driver", "libcuda.so", "kernels on an NVIDIA GPU"));
    findings.push(library("NVRTC", "libnvrtc.so", "compiling CUDA kernels at run time"));
    findings.push(models());
    let text = match options.format {
        Format::Json => format!("{}\n", json!({ "findings": findings })),
        Format::Table => {
            let rows = findings.iter().map(|f| {
                let state = if f.found { "found" } else { "missing" };
                vec![f.name.to_owned(), state.to_owned(), f.detail.clone(), f.enables.to_owned()]
            });
            let missing = findings.iter().filter(|f| !f.found).count();
            let verdict = match missing {
                0 => "everything was found".to_owned(),
                n => format!(
                    "{n} are missing; the importers, the compiler and the functional simulator need none of them"
                ),
            };
            format!("{}{verdict}\n", table(&["what", "state", "version or place", "enables"], &[], rows))
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn tool((name, commands, enables): &Tool) -> Finding {
    let version = commands.iter().find_map(|command| version(command));
    let found = version.is_some();
    Finding { name, found, detail: version.unwrap_or_else(|| "not on the path".to_owned()), enables }
}

/// The first line that a command prints; `None` where there is no such command, it fails, or it takes too long.
fn version(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let begin = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begin.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                // A tool that hangs is of no use; whether it can be stopped changes nothing.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut text = String::new();
    child.stdout.take()?.take(4096).read_to_string(&mut text).ok()?;
    let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("present");
    status.success().then(|| line.to_owned())
}

fn library(name: &'static str, file: &str, enables: &'static str) -> Finding {
    let loader = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::env::split_paths(&loader).chain(LIBRARY_FOLDERS.iter().map(PathBuf::from));
    let place = folders.filter_map(|folder| library_in(&folder, file)).next();
    let found = place.is_some();
    let detail = place.map_or_else(|| format!("no {file} in the loader's folders"), |p| p.display().to_string());
    Finding { name, found, detail, enables }
}

fn library_in(folder: &Path, file: &str) -> Option<PathBuf> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(file)))
        .collect();
    names.sort();
    names.into_iter().next()
}

fn models() -> Finding {
    let named = std::env::var_os("TANDEM_MODELS").map(PathBuf::from);
    let place = named.into_iter().chain([PathBuf::from("models")]).find(|p| p.is_dir());
    Finding {
        name: "models folder",
        found: place.is_some(),
        detail: place.map_or_else(
            || "neither ./models nor the folder that TANDEM_MODELS names".to_owned(),
            |p| p.display().to_string(),
        ),
        enables: "tests on real networks; the demo's network is built in",
    }
}
