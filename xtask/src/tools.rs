//! What the chores need from outside: crates, and the engines that benchmarks compare with.

use crate::{call, cargo, root};
use anyhow::Result;
use std::process::Command;

/// Fetches every crate that the lock file names, so that builds and tests need no network, and says what is absent.
pub fn setup() -> Result<()> {
    call(cargo().args(["fetch", "--locked"]))?;
    if models().is_none() {
        println!("the real models are absent: set TANDEM_MODELS; tests that need them will say that they were skipped");
    }
    Ok(())
}

/// Measures Tandem beside its peers; the script installs them into a folder under `target/`.
pub fn bench(args: &[String]) -> Result<()> {
    call(cargo().args(["build", "--release", "--package", "tandem-cli"]))?;
    let mut script = Command::new("python3");
    script.arg("benches/peers.py");
    if let Some(models) = models() {
        script.arg("--models").arg(models);
    }
    call(script.args(args))
}

fn models() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TANDEM_MODELS").map_or_else(|| root().join("../shared/models"), Into::into);
    folder.is_dir().then_some(folder)
}
