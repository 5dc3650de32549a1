//! `tandem board mlperf`: a model on a device, for the benchmark's runner.

use super::target::ModelTarget;
use crate::options::{DeviceOptions, ModelOptions};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::{Outcome, link, model, stdout};
use anyhow::{Context, Result};
use clap::Args;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;
use tandem_driver::mlperf::Runner;
use tandem_driver::serial::Port;

/// How long a line waits for a runner to take it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to listen before listening again.
const SLICE: Duration = Duration::from_millis(200);

/// Options of `tandem board mlperf`.
///
/// Times between stamps are wall time on this host, with the way to the device and back in them.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    place: PlaceOptions,
    /// Where the runner is: pty: at a new pseudo-terminal, whose path is the first line of stdout; stdio: at stdin and stdout; or
    /// the path of a serial port.
    #[arg(long, value_name = "pty|stdio|PATH", default_value = "pty")]
    runner: String,
    /// Bits a second of the runner's serial port.
    #[arg(long, value_name = "BITS", default_value = "115200", value_parser = clap::value_parser!(u32).range(1..))]
    runner_baud: u32,
    /// The benchmark's name of the model [default: what the shape of its input tells: ic01, kws01, vww01, ad01 or sww01].
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let graph = model::ready(&options.model)?;
    let session = Session::open(graph, &options.device, &options.place)?;
    let name = format!("Tandem {}", options.device.device.name());
    let target = ModelTarget::new(session, name, options.id.clone())?;
    let mut runner = Runner::new(target);
    match options.runner.as_str() {
        "stdio" => talk(&mut runner),
        "pty" => serve(&mut runner, pty()?),
        path => serve(&mut runner, link::open_port(Path::new(path), options.runner_baud)?),
    }
}

/// Answers on stdin and stdout until the input ends.
fn talk(runner: &mut Runner<ModelTarget>) -> Result<Outcome> {
    let mut failed = Ok(());
    let mut put = |line: &str| {
        if failed.is_ok() {
            failed = stdout::emit(&format!("{line}\r\n"));
        }
    };
    runner.greet(&mut put);
    let mut bytes = [0; 4096];
    loop {
        match std::io::stdin().lock().read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => runner.feed(bytes.get(..count).unwrap_or_default(), &mut put),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context("standard input"),
        }
    }
    failed?;
    Ok(Outcome::Good)
}

/// Answers on a port for ever.
fn serve(runner: &mut Runner<ModelTarget>, mut port: Box<dyn Port>) -> Result<Outcome> {
    let name = port.name();
    let mut bytes = [0; 4096];
    let mut failed = Ok(());
    runner.greet(&mut |line| send(&mut *port, line, &mut failed));
    loop {
        failed.with_context(|| name.clone())?;
        failed = Ok(());
        let count = port.receive(&mut bytes, SLICE).with_context(|| name.clone())?;
        runner.feed(bytes.get(..count).unwrap_or_default(), &mut |line| send(&mut *port, line, &mut failed));
    }
}

fn send(port: &mut dyn Port, line: &str, failed: &mut std::io::Result<()>) {
    if failed.is_ok() {
        *failed = port.send(format!("{line}\r\n").as_bytes(), PATIENCE);
    }
}

#[cfg(unix)]
fn pty() -> Result<Box<dyn Port>> {
    let pty = tandem_driver::serial::Pty::open().context("a pseudo-terminal for the runner")?;
    stdout::emit(&format!("{}\n", pty.path().display()))?;
    Ok(Box::new(pty))
}

#[cfg(not(unix))]
fn pty() -> Result<Box<dyn Port>> {
    anyhow::bail!("--runner pty: only Unix has pseudo-terminals; use stdio")
}
