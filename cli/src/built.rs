//! What the tools made of a whole board, as far down as it can be read back, in the place of the board's design.

use crate::tools;
use crate::verb::bitstream;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use tandem_boards::plan::{NETLIST, Plan, ROUTED};
use tandem_boards::proof::Level;
use tandem_boards::{Board, Flow, TOP};
use tandem_isa::HwConfig;
use tandem_sim::netlist::{Family, Netlist, board_of, complete, rebuild_ice40, unpack_ice40};

/// A netlist of a whole board.
pub struct Built {
    /// Its module is `board`.
    pub verilog: String,
    /// The cells of its family.
    pub cells: &'static str,
    /// Where it comes from.
    pub level: Level,
    /// Cells of the netlist.
    pub count: usize,
    /// SHA-256 of the bitstream.
    pub bitstream: String,
}

/// Makes the bitstream of a board, or takes it from the cache, and reads back what it holds: of an iCE40 the bits themselves, of
/// an ECP5 what was placed and routed, of a Gowin what was synthesised.
pub fn built(board: &Board, config: &HwConfig, seed: u64) -> Result<Built> {
    let bitstream = bitstream::make(board, config, &Plan::new(board, config, &[seed])?)?;
    let path = |name: &str| bitstream.file(name).ok_or_else(|| anyhow!("{}: there is no {name}", board.name));
    let text = |name: &str| -> Result<String> {
        let path = path(name)?;
        fs::read_to_string(path).with_context(|| path.display().to_string())
    };
    let (level, family, netlist) = match board.flow {
        Flow::Ice40 => {
            let (wheels, cache) = (tools::wheels()?, tools::model_cache());
            let bits = fs::read(path(&bitstream.report.file)?)?;
            let unpacked = unpack_ice40(&wheels, &bits, &cache)?;
            (Level::Bits, Family::Ice40, rebuild_ice40(&wheels, &unpacked, &board.constraints.1, TOP)?)
        }
        Flow::Ecp5 => (Level::Routed, Family::Ecp5, complete(&Netlist::parse(&text(ROUTED)?, TOP)?)?),
        Flow::Gowin => (Level::Synthesised, Family::Gowin, Netlist::parse(&text(NETLIST)?, TOP)?),
        Flow::Vivado => bail!("{}: its netlist is made by Vivado, which is not here", board.name),
    };
    let clock = board.oscillator.as_ref().map_or("clock_in", |oscillator| oscillator.port.as_str());
    Ok(Built {
        verilog: board_of(&netlist, clock, board.leds_active_low)?,
        cells: family.cells(),
        level,
        count: netlist.cells.len(),
        bitstream: bitstream.report.sha256.clone(),
    })
}
