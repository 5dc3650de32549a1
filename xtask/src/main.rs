//! The chores of the project: `cargo x setup | test | gen | bless | tidy | bench | report-check`.

mod browse;
mod generate;
mod tidy;
mod tools;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo x CHORE

  setup          fetch every crate and the tools (Verilator, Yosys, nextpnr, Apycula, z3, NVRTC), so that builds and tests need no network
  test [ARGS]    every test of the workspace (cargo-nextest where present, cargo test elsewhere); ARGS go to the runner
  gen [--check]  write the generated files, or check that they are up to date
  bless          rewrite the golden files from what the tests see now
  tidy           format, lints, generated files, and the rules of CONTRIBUTING.md
  bench [ARGS]   measure Tandem beside its peers (benches/peers.py)
  report-check [PAGES]
                 open pages of `tandem report`, or one of the digits network, in Chromium: nothing on the console, cut off or upon other text
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo x: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match chore.as_str() {
        "setup" => tools::setup(),
        "test" => test(&rest),
        "gen" => generate::run(rest.iter().any(|a| a == "--check")),
        "bless" => bless(),
        "tidy" => tidy::run(),
        "bench" => tools::bench(&rest),
        "report-check" => browse::check(&rest),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no chore '{other}'; `cargo x help` lists them"),
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Runs a command in the root, showing its output.
fn call(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.current_dir(root()).status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn has_nextest() -> bool {
    cargo().args(["nextest", "--version"]).output().is_ok_and(|o| o.status.success())
}

fn test(args: &[String]) -> Result<()> {
    tools::try_install();
    if has_nextest() {
        call(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]).args(args))
    } else {
        call(cargo().args(["test", "--workspace", "--no-fail-fast"]).args(args))
    }
}

fn bless() -> Result<()> {
    generate::run(false)?;
    call(cargo().args(["test", "--workspace", "--no-fail-fast"]).env("TANDEM_BLESS", "1"))
}
