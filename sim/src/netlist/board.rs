//! The netlist of a whole chip, pads and PLL included, as the module `board` that [`crate::board`] simulates.

use super::{Bit, Cell, Direction, Netlist, NetlistError, Port};

/// Pads that go both ways, by their types: the pin at the port, what is driven, what turns the driver off, what is seen.
const PADS: [(&str, [&str; 4]); 2] = [("TRELLIS_IO", ["B", "I", "T", "O"]), ("IOBUF", ["IO", "I", "OEN", "O"])];
/// An inverter whatever the family.
const NOT: &str = "module TANDEM_NOT(input A, output Z);\n  assign Z = ~A;\nendmodule";
/// Pins of a memory chip that some boards tie, and the levels that these have there.
const TIED: [(&str, u32); 3] = [("sdram_cke", 1), ("sdram_cs_n", 0), ("sdram_dqm", 0)];

/// The netlist with a module `board` around it: on the clock port `clock` as fast as the accelerator's clock, because models of
/// PLLs hand their input on, and with two-way ports in three. It resets itself as the chip does after it has been configured, and
/// has no other reset.
///
/// # Errors
/// [`NetlistError::Cell`] for a two-way port without a known pad.
pub fn board_of(netlist: &Netlist, clock: &str, leds_active_low: bool) -> Result<String, NetlistError> {
    let inside = split(netlist)?;
    let mut ports = vec!["input clock".to_owned(), "input reset".to_owned()];
    let (mut pins, mut assigns) = (vec![format!(".{clock}(clock)")], String::new());
    let declared = |way: &str, width: usize, name: &str| match width {
        1 if !["led", "sdram_ba"].contains(&name) => format!("{way} {name}"),
        width => format!("{way} [{}:0] {name}", width.saturating_sub(1)),
    };
    for port in inside.ports.iter().filter(|port| port.name != clock && port.name != "sdram_clk") {
        let (name, width) = (port.name.as_str(), port.bits.len());
        let way = if port.direction == Direction::Input { "input" } else { "output" };
        match name {
            "led" if leds_active_low => {
                ports.push(declared(way, width, name));
                assigns.push_str(&format!("  wire [{}:0] low;\n  assign led = ~low;\n", width.saturating_sub(1)));
                pins.push(".led(low)".to_owned());
            }
            // The board has one enable for all of its data pins.
            "sdram_dq_oe" => {
                ports.push("output sdram_dq_oe".to_owned());
                let high = width.saturating_sub(1);
                assigns.push_str(&format!("  wire [{high}:0] enables;\n  assign sdram_dq_oe = |enables;\n"));
                pins.push(".sdram_dq_oe(enables)".to_owned());
            }
            _ => {
                ports.push(declared(way, width, name));
                pins.push(format!(".{name}({name})"));
            }
        }
    }
    let width = |name: &str| inside.ports.iter().find(|port| port.name == name).map(|port| port.bits.len());
    if let Some(data) = width("sdram_dq_in") {
        for (name, level) in TIED.into_iter().filter(|(name, _)| width(name).is_none()) {
            let width = if name == "sdram_dqm" { data / 8 } else { 1 };
            ports.push(declared("output", width, name));
            assigns.push_str(&format!("  assign {name} = {level};\n"));
        }
    }
    Ok(format!(
        "{}\n{NOT}\nmodule board({});\n{assigns}  {} chip({});\nendmodule\n",
        inside.verilog(),
        ports.join(", "),
        inside.name,
        pins.join(", ")
    ))
}

/// The netlist with each two-way port in three: `_out`, `_oe`, `_in`. Their pads are gone.
fn split(netlist: &Netlist) -> Result<Netlist, NetlistError> {
    let mut out = Netlist { name: netlist.name.clone(), ..Netlist::default() };
    let (two_way, ports): (Vec<&Port>, Vec<&Port>) =
        netlist.ports.iter().partition(|port| port.direction == Direction::Inout);
    out.ports = ports.into_iter().cloned().collect();
    let mut gone: Vec<usize> = Vec::new();
    let mut next = netlist.last_net() + 1;
    for port in two_way {
        let [mut driven, mut enables, mut seen] = [const { Vec::new() }; 3];
        for &bit in &port.bits {
            let (at, [_, data, off, saw]) = pad(netlist, bit).ok_or_else(|| {
                let problem = "it goes both ways and has no pad of a known type".to_owned();
                NetlistError::Cell { cell: port.name.clone(), kind: "port".to_owned(), problem }
            })?;
            gone.push(at);
            let pad = &netlist.cells[at];
            let enable = Bit::Net(next);
            next += 1;
            let constant = |bit: Option<Bit>| bit.unwrap_or(Bit::Zero);
            out.cells.push(Cell::inverter("TANDEM_NOT", constant(pad.bit(off)), enable));
            enables.push(enable);
            driven.push(constant(pad.bit(data)));
            seen.push(pad.bit(saw).filter(|bit| matches!(bit, Bit::Net(_))).unwrap_or_else(|| {
                next += 1;
                Bit::Net(next - 1)
            }));
        }
        let part = |end: &str, direction, bits| Port { name: format!("{}_{end}", port.name), direction, bits };
        out.ports.push(part("out", Direction::Output, driven));
        out.ports.push(part("oe", Direction::Output, enables));
        out.ports.push(part("in", Direction::Input, seen));
    }
    let cells = netlist.cells.iter().enumerate().filter(|(at, _)| !gone.contains(at));
    out.cells.extend(cells.map(|(_, cell)| cell.clone()));
    Ok(out)
}

/// The pad of a bit of a port, and the names of its pins.
fn pad(netlist: &Netlist, bit: Bit) -> Option<(usize, [&'static str; 4])> {
    netlist.cells.iter().enumerate().find_map(|(at, cell)| {
        let (_, pins) = PADS.iter().find(|(kind, _)| *kind == cell.kind)?;
        (cell.bit(pins[0]) == Some(bit)).then_some((at, *pins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHIP: &str = r#"{"modules": {"top": {
        "ports": {
            "osc": {"direction": "input", "bits": [2]}, "uart_rx": {"direction": "input", "bits": [3]},
            "uart_tx": {"direction": "output", "bits": [3]}, "led": {"direction": "output", "bits": [3, 4]},
            "sdram_clk": {"direction": "output", "bits": [2]}, "sdram_dq": {"direction": "inout", "bits": [5, 6]}},
        "cells": {
            "a": {"type": "TRELLIS_IO", "port_directions": {"B": "inout", "I": "input", "T": "input", "O": "output"},
                  "connections": {"B": [5], "I": [7], "T": [8], "O": [9]}},
            "b": {"type": "IOBUF", "port_directions": {"IO": "inout", "I": "input", "OEN": "input", "O": "output"},
                  "connections": {"IO": [6], "I": ["0"], "OEN": [8], "O": []}}}}}}"#;

    #[test]
    fn two_way_ports_become_three_and_what_a_board_ties_has_its_level() {
        let netlist = Netlist::parse(CHIP, "top").unwrap();
        let text = board_of(&netlist, "osc", true).unwrap();
        assert!(!text.contains("inout") && !text.contains("IOBUF") && !text.contains("TRELLIS_IO"), "{text}");
        for part in [
            "assign sdram_dq_out = {1'b0, n7};",
            "assign {n12, n9} = sdram_dq_in;",
            "assign led = ~low;",
            "assign sdram_cke = 1;",
            "assign sdram_cs_n = 0;",
            ".osc(clock)",
            "TANDEM_NOT c0(.A(n8), .Z(n10))",
        ] {
            assert!(text.contains(part), "'{part}' is not in: {text}");
        }
        assert!(!text.contains("sdram_clk(sdram_clk)"), "nobody looks at the chip's clock");
        let bare = Netlist::parse(&CHIP.replace("IOBUF", "OTHER"), "top").unwrap();
        assert!(board_of(&bare, "osc", true).unwrap_err().to_string().contains("no pad of a known type"));
    }
}
