//! `tandem verilog`: the hardware of a configuration as Verilog, with what a linter and a reader need beside it.

use crate::table::{grouped, table};
use crate::{Outcome, hardware, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// What the linter is told not to complain about, with reasons.
const WAIVERS: &str = include_str!("../../../hw/lint/waivers.vlt");

/// Options of `tandem verilog`.
///
/// Writes tandem.v (top module `tandem`), tandem.vlt (waivers for Verilator's linter, each with its reason) and hw.toml (the
/// configuration). All three are there or none.
#[derive(Args)]
pub struct Options {
    /// The accelerator: a preset (tiny, edge, vta, wide, batch) or a TOML file.
    #[arg(long, value_name = "PRESET|FILE", default_value = "vta")]
    hw: String,
    /// The folder to write to; it is made where there is none.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
}

/// A module of the text.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    name: String,
    lines: usize,
    inputs: usize,
    outputs: usize,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    let verilog = tandem_hw::verilog(&config);
    let toml = config.to_toml();
    let files = [("tandem.v", verilog.as_str()), ("tandem.vlt", WAIVERS), ("hw.toml", toml.as_str())];
    write(&options.output, &files)?;
    let modules = modules(&verilog);
    let rows = modules
        .iter()
        .map(|m| vec![m.name.clone(), grouped(m.lines as u64), grouped(m.inputs as u64), grouped(m.outputs as u64)]);
    let mut text = table(&["module", "lines", "inputs", "outputs"], &[1, 2, 3], rows);
    text.push_str(&format!(
        "{}: {} modules in {} lines, top module {}, configuration {} ({:#010x}); tandem.vlt and hw.toml lie beside it\n",
        options.output.join("tandem.v").display(),
        modules.len(),
        grouped(verilog.lines().count() as u64),
        tandem_hw::TOP,
        options.hw,
        config.digest()
    ));
    stdout::emit(&text)?;
    Ok(Outcome::Good)
}

/// Writes all files under names of their own, then renames them.
fn write(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        bail!("{}: it is a file, give a folder", folder.display());
    }
    fs::create_dir_all(folder).map_err(|e| anyhow!("{}: it cannot be made ({e})", folder.display()))?;
    let own = |name: &str| folder.join(format!(".{name}.{}", std::process::id()));
    let write = |(name, text): &(&str, &str)| fs::write(own(name), text);
    let place = |(name, _): &(&str, &str)| fs::rename(own(name), folder.join(name));
    files.iter().try_for_each(write).and_then(|()| files.iter().try_for_each(place)).map_err(|e| {
        for (name, _) in files {
            // Some of them were never written, or are in place already.
            let _ = fs::remove_file(own(name));
        }
        anyhow!("{}: it cannot be written ({e})", folder.display())
    })
}

/// The modules of a text, in its order.
fn modules(verilog: &str) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut inside = false;
    for line in verilog.lines().map(str::trim_start) {
        if let Some(rest) = line.strip_prefix("module ") {
            let name = rest.split(|c: char| c == '(' || c == ';' || c.is_whitespace()).next().unwrap_or_default();
            modules.push(Module { name: name.to_owned(), lines: 0, inputs: 0, outputs: 0 });
            inside = true;
        }
        if let Some(module) = modules.last_mut().filter(|_| inside) {
            module.lines += 1;
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
            for word in words {
                module.inputs += usize::from(word == "input");
                module.outputs += usize::from(word == "output");
            }
        }
        inside &= !line.starts_with("endmodule");
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_counted_with_their_ports() {
        let text = "module a(input wire x, output wire y);\n  assign y = x;\nendmodule\n\n\
                    module tandem(clock);\n  input wire clock;\nendmodule\n";
        let of = |name: &str, lines, inputs, outputs| Module { name: name.to_owned(), lines, inputs, outputs };
        assert_eq!(modules(text), [of("a", 3, 1, 1), of("tandem", 3, 1, 0)]);
    }
}
