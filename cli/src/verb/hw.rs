//! `tandem hw`: hardware configurations.

use crate::table::{grouped, table};
use crate::{Outcome, hardware, stdout};
use anyhow::Result;
use clap::Subcommand;
use std::fmt::Write;
use tandem_isa::HwConfig;

/// What to do with a configuration.
#[derive(Subcommand)]
pub enum Verb {
    /// Print a configuration and what follows from it; without a name, list the presets.
    Show {
        /// A preset, vta-0.0.2, or a TOML file.
        hw: Option<String>,
    },
    /// Check a configuration.
    Check {
        /// A TOML file, or a preset.
        hw: String,
    },
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Show { hw: None } => stdout::emit(&list())?,
        Verb::Show { hw: Some(word) } => stdout::emit(&show(&hardware::resolve(word)?))?,
        Verb::Check { hw } => {
            let config = hardware::resolve(hw)?;
            stdout::emit(&format!("{hw}: legal, digest {:#010x}\n", config.digest()))?;
        }
    }
    Ok(Outcome::Good)
}

fn list() -> String {
    let configs = HwConfig::presets().into_iter().filter_map(|name| Some((name, HwConfig::preset(name)?)));
    let rows = configs.map(|(name, c)| {
        let facts = c.facts();
        let kib = |bytes: u32| format!("{} KiB", bytes / 1024);
        vec![
            name.to_owned(),
            format!("{}x{}x{}", c.batch(), c.block_in(), c.block_out()),
            kib(facts.uop_buffer_bytes),
            kib(facts.inp_buffer_bytes),
            kib(facts.wgt_buffer_bytes),
            kib(facts.acc_buffer_bytes),
            facts.bus_bits.to_string(),
            format!("{:#010x}", c.digest()),
        ]
    });
    let header = ["preset", "batch x in x out", "uop", "inp", "wgt", "acc", "bus (bits)", "digest"];
    table(&header, &[2, 3, 4, 5, 6], rows)
}

fn show(config: &HwConfig) -> String {
    let mut text = config.to_toml();
    let rows = [
        ("uop", 4, config.uop_depth(), config.log_uop_depth()),
        ("inp", config.inp_elem_bytes(), config.inp_depth(), config.log_inp_depth()),
        ("wgt", config.wgt_elem_bytes(), config.wgt_depth(), config.log_wgt_depth()),
        ("acc", config.acc_elem_bytes(), config.acc_depth(), config.log_acc_depth()),
        ("out", config.out_elem_bytes(), config.acc_depth(), config.log_acc_depth()),
    ];
    let rows = rows.map(|(name, bytes, depth, bits)| {
        vec![name.to_owned(), bytes.to_string(), grouped(depth as u64), bits.to_string()]
    });
    text.push_str(&table(&["scratchpad", "element (bytes)", "elements", "index (bits)"], &[1, 2, 3], rows));
    let macs = config.batch() * config.block_in() * config.block_out();
    let _ = writeln!(text, "{macs} MACs a cycle at most, digest {:#010x}", config.digest());
    text
}
