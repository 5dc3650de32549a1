//! `tandem isa`: the instruction set of a configuration.

use crate::table::table;
use crate::{Outcome, hardware, stdout};
use anyhow::Result;
use clap::Args;
use std::fmt::Write;
use tandem_isa::{HwConfig, forms};

/// Options of `tandem isa`.
#[derive(Args)]
pub struct Options {
    /// The machine: a preset, vta-0.0.2, or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// The whole manual in Markdown.
    #[arg(long)]
    markdown: bool,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    stdout::emit(&if options.markdown { tandem_isa::manual(&config) } else { tables(&config) })?;
    Ok(Outcome::Good)
}

fn tables(config: &HwConfig) -> String {
    let mut text = String::new();
    for form in forms(config).iter().filter(|form| !form.extension || config.profile().has_extension()) {
        let origin = if form.extension { "Tandem" } else { "VTA 0.0.2" };
        let summary = form.doc.lines().next().unwrap_or_default().trim();
        let _ = writeln!(text, "{} (opcode {}, {origin}): {summary}", form.mnemonic, form.opcode);
        let rows = form.fields.iter().map(|field| {
            let bits = if field.width == 1 { field.lo.to_string() } else { format!("{}:{}", field.hi(), field.lo) };
            vec![field.name.to_owned(), bits, field.width.to_string(), field.doc.trim().to_owned()]
        });
        text.push_str(&table(&["field", "bits", "width", "meaning"], &[1, 2], rows));
    }
    text
}
