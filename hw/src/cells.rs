//! What the cells of FPGA families do, as Verilog: with these texts a netlist of yosys or nextpnr can be simulated.
//!
//! The models are written from the families' documents and from what yosys makes of a description, and are compared cell by cell
//! with such descriptions in `tests`. A use that a model does not cover stops where the design is elaborated.

/// Lattice ECP5: LUTs, carries, registers, RAM, multiplier, pads.
pub const ECP5: &str = include_str!("../cells/ecp5.v");
/// Lattice iCE40 UltraPlus: LUTs, carries, registers, RAM, single-port RAM, multiplier, pads.
pub const ICE40: &str = include_str!("../cells/ice40.v");
/// Gowin GW2A: LUTs, carries, registers, RAM, multipliers, pads.
pub const GOWIN: &str = include_str!("../cells/gowin.v");
