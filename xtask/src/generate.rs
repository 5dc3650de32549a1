//! Files that the code writes: the manual of the instruction set.

use crate::root;
use anyhow::{Context, Result, bail};
use tandem_isa::{HwConfig, manual};

/// Writes the generated files, or with `check` fails when one is not what would be written.
pub fn run(check: bool) -> Result<()> {
    let config = HwConfig::preset("vta").context("the preset `vta` is missing")?;
    for (path, text) in [("docs/isa.md", manual(&config))] {
        let file = root().join(path);
        let present = std::fs::read_to_string(&file).unwrap_or_default();
        if present == text {
            continue;
        }
        if check {
            bail!("{path} is not what the code says; run `cargo x gen`");
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}
