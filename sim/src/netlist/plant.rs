//! Faults in a netlist, to show that they are found.
//!
//! All faults go into one model, each behind a number that is chosen when a simulation starts (`+mutant=3`), as the mutants of
//! the hardware do.

use std::collections::HashMap;

use super::{Bit, Netlist};

/// A fault of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plant {
    /// The number of the cell in the netlist.
    pub cell: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A look-up table holds the other bit where its inputs, from the first named on, are these.
    Entry {
        /// The names of its inputs, the lowest address bit first.
        inputs: Vec<String>,
        /// Its output.
        output: String,
        /// The address of the bit.
        address: u32,
    },
    /// A bit of an input has a constant.
    Tied {
        /// The pin.
        pin: String,
        /// The bit of it.
        at: usize,
        /// The constant.
        value: bool,
    },
    /// A bit of an input is inverted.
    Inverted {
        /// The pin.
        pin: String,
        /// The bit of it.
        at: usize,
    },
}

/// The netlist with faults, as Verilog pieces: what stands before its cells, and what pins are connected to instead.
#[derive(Clone, Debug, Default)]
pub(super) struct Planted {
    /// Declarations and assignments.
    pub text: String,
    /// By cell, pin and bit.
    pub instead: HashMap<(usize, String, usize), String>,
}

impl Plant {
    /// One bit of a look-up table of four inputs, whatever the family calls them.
    pub fn entry(netlist: &Netlist, cell: usize, address: u32) -> Option<Plant> {
        let (inputs, output) = match netlist.cells.get(cell)?.kind.as_str() {
            "LUT4" if netlist.cells[cell].pin("Z").is_some() => (["A", "B", "C", "D"], "Z"),
            "LUT4" => (["I0", "I1", "I2", "I3"], "F"),
            "SB_LUT4" => (["I0", "I1", "I2", "I3"], "O"),
            _ => return None,
        };
        let inputs = inputs.map(str::to_owned).to_vec();
        Some(Plant { cell, fault: Fault::Entry { inputs, output: output.to_owned(), address } })
    }

    /// A constant at an input.
    pub fn tied(cell: usize, pin: &str, at: usize, value: bool) -> Plant {
        Plant { cell, fault: Fault::Tied { pin: pin.to_owned(), at, value } }
    }

    /// An inverted input.
    pub fn inverted(cell: usize, pin: &str, at: usize) -> Plant {
        Plant { cell, fault: Fault::Inverted { pin: pin.to_owned(), at } }
    }
}

/// What the faults change. One that names no pin of its cell changes nothing.
pub(super) fn plant(netlist: &Netlist, plants: &[Plant]) -> Planted {
    let mut out = Planted::default();
    if plants.is_empty() {
        return out;
    }
    out.text.push_str("  integer mutant;\n  initial if (!$value$plusargs(\"mutant=%d\", mutant)) mutant = 0;\n");
    for (number, Plant { cell, fault }) in (1..).zip(plants) {
        let Some(of) = netlist.cells.get(*cell) else { continue };
        let net = |pin: &str, at: usize| of.pin(pin).and_then(|pin| pin.bits.get(at).copied());
        let (pin, at, text) = match fault {
            Fault::Entry { inputs, output, address } => {
                let Some(Bit::Net(driven)) = net(output, 0) else { continue };
                let inputs: Vec<String> =
                    inputs.iter().rev().map(|pin| net(pin, 0).map_or("1'b0".to_owned(), name)).collect();
                let other = format!("planted{number}");
                let hit = format!("mutant == {number} && {{{}}} == 4'd{address}", inputs.join(", "));
                out.text.push_str(&format!("  wire {other};\n  assign n{driven} = {other} ^ ({hit});\n"));
                (output, 0, other)
            }
            Fault::Tied { pin, at, value } => {
                let Some(bit) = net(pin, *at) else { continue };
                (pin, *at, format!("mutant == {number} ? 1'b{} : {}", u8::from(*value), name(bit)))
            }
            Fault::Inverted { pin, at } => {
                let Some(bit) = net(pin, *at) else { continue };
                (pin, *at, format!("(mutant == {number}) ^ {}", name(bit)))
            }
        };
        out.instead.insert((*cell, pin.clone(), at), text);
    }
    out
}

/// A bit as Verilog writes it, for a netlist without two-way ports.
fn name(bit: Bit) -> String {
    match bit {
        Bit::Zero => "1'b0".to_owned(),
        Bit::One => "1'b1".to_owned(),
        Bit::Any => "1'bx".to_owned(),
        Bit::Open => "1'bz".to_owned(),
        Bit::Net(net) => format!("n{net}"),
    }
}
