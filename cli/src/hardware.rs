//! From the word behind `--hw` to a configuration.

use crate::{board, file};
use anyhow::{Result, anyhow, bail};
use std::path::Path;
use tandem_isa::{HwConfig, HwFacts, Profile};

/// The configuration that a word names: a preset, `vta-0.0.2` (upstream's default sizes and instruction set), a TOML file, or a
/// board, by its name or its folder, for the one that its bitstream has.
///
/// # Errors
/// One sentence naming the word or the file.
pub fn resolve(word: &str) -> Result<HwConfig> {
    if let Some(config) = HwConfig::preset(word) {
        return Ok(config);
    }
    if word == Profile::Vta002.name()
        && let Some(vta) = HwConfig::preset("vta")
    {
        let facts = HwFacts { name: Some(word.to_owned()), profile: Profile::Vta002, ..vta.facts().clone() };
        return HwConfig::new(facts).map_err(|e| anyhow!("{word}: {e}"));
    }
    let path = Path::new(word);
    if !path.is_file() {
        if let Ok(board) = board::resolve(word) {
            return Ok(board.config);
        }
        bail!(
            "--hw {word}: there is no preset, no file and no board of this name; the presets are {} and vta-0.0.2",
            HwConfig::presets().join(", ")
        );
    }
    let text = file::read_text(path)?;
    HwConfig::from_toml(&text).map_err(|e| anyhow!("{word}: {}", unquoted(&e.to_string())))
}

/// A TOML message without the source lines that it draws; line and column stay.
fn unquoted(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| !line.contains('|')).map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}
