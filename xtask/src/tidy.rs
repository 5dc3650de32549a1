//! The rules that a machine can check.

use crate::{call, cargo, generate, root};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// A file of source has one concept; beyond this it has two.
const LONGEST: usize = 700;

/// Checks format, lints, generated files and the rules of CONTRIBUTING.md.
pub fn run() -> Result<()> {
    call(cargo().args(["fmt", "--all", "--check"]))?;
    generate::run(true)?;
    rules()?;
    call(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

fn rules() -> Result<()> {
    let output = Command::new("git").arg("ls-files").current_dir(root()).output()?;
    let mut broken = Vec::new();
    for path in String::from_utf8_lossy(&output.stdout).lines() {
        // Files that are no text hold no rule.
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
                broken.push(format!("{path}:{}: two versions of a merge", number + 1));
            }
        }
        if Path::new(path).extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let lines = text.lines().count();
        if lines > LONGEST {
            broken.push(format!("{path}: {lines} lines; a file has one concept and at most {LONGEST}"));
        }
        if Path::new(path).starts_with("xtask") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in ["#[ignore", "todo!(", "unimplemented!("] {
                if line.contains(word) {
                    broken.push(format!("{path}:{}: `{word}` is not a finished thing", number + 1));
                }
            }
        }
    }
    if !broken.is_empty() {
        bail!("{} broken rules:\n{}", broken.len(), broken.join("\n"));
    }
    Ok(())
}
