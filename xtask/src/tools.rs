//! Tools that the project installs for itself, in `.tools/`.

use crate::{call, root};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// Makes `.tools/venv` with the packages of `benches/requirements.txt`.
pub fn setup() -> Result<()> {
    if !python().exists() {
        call(Command::new("python3").args(["-m", "venv", ".tools/venv"]))?;
    }
    call(Command::new(python()).args(["-m", "pip", "install", "--quiet", "-r", "benches/requirements.txt"]))
}

/// Runs the comparison with other engines.
pub fn bench(args: &[String]) -> Result<()> {
    setup()?;
    call(Command::new("cargo").args(["build", "--release", "--package", "tandem-cli"]))?;
    call(Command::new(python()).arg("benches/peers.py").args(args))
}

fn python() -> PathBuf {
    root().join(".tools/venv/bin/python")
}
