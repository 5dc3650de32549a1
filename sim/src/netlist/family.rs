//! The FPGA families that netlists are made for.

use std::fmt;
use std::str::FromStr;

use tandem_hw::cells;

/// A family of FPGAs that yosys synthesises for and whose cells there are models of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Lattice ECP5.
    Ecp5,
    /// Lattice iCE40 UltraPlus.
    Ice40,
    /// Gowin GW2A.
    Gowin,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 3] = [Family::Ecp5, Family::Ice40, Family::Gowin];

    /// The word on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ecp5 => "ecp5",
            Family::Ice40 => "ice40",
            Family::Gowin => "gowin",
        }
    }

    /// The command of yosys, without the top module. `synth_ice40 -dsp` is left out on purpose: it drops multipliers.
    pub fn command(self) -> &'static str {
        match self {
            Family::Ecp5 => "synth_ecp5",
            Family::Ice40 => "synth_ice40 -device u",
            Family::Gowin => "synth_gowin -family gw2a",
        }
    }

    /// A design as this family takes it: iCE40 has no RAM in look-up tables, and yosys refuses a memory that asks for it.
    pub fn source(self, verilog: &str) -> String {
        match self {
            Family::Ice40 => verilog.replace("(* ram_style = \"distributed\" *) ", ""),
            Family::Ecp5 | Family::Gowin => verilog.to_owned(),
        }
    }

    /// What its cells do, as Verilog.
    pub fn cells(self) -> &'static str {
        match self {
            Family::Ecp5 => cells::ECP5,
            Family::Ice40 => cells::ICE40,
            Family::Gowin => cells::GOWIN,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(word: &str) -> Result<Family, String> {
        let found = Family::ALL.into_iter().find(|family| family.name() == word);
        found.ok_or_else(|| format!("`{word}` is no family of FPGAs: use ecp5, ice40 or gowin"))
    }
}
