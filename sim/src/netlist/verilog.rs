//! A netlist as Verilog over the cells of its family.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::plant::{Plant, plant};
use super::{Bit, Direction, Netlist, Parameter};

impl Netlist {
    /// The module as Verilog. Nets have names of their own; ports keep theirs.
    pub fn verilog(&self) -> String {
        self.verilog_with(&[])
    }

    /// The module with faults in it; `+mutant=1` chooses the first.
    pub fn verilog_with(&self, faults: &[Plant]) -> String {
        let planted = plant(self, faults);
        let mut out = String::with_capacity(self.cells.len() * 160);
        let names: Vec<String> = self.ports.iter().map(|port| identifier(&port.name)).collect();
        let _ = writeln!(out, "module {}({});", identifier(&self.name), names.join(", "));
        for (port, name) in self.ports.iter().zip(&names) {
            let way = match port.direction {
                Direction::Input => "input",
                Direction::Output => "output",
                Direction::Inout => "inout",
            };
            let _ = match port.bits.len() {
                1 => writeln!(out, "  {way} {name};"),
                width => writeln!(out, "  {way} [{}:0] {name};", width.saturating_sub(1)),
            };
        }
        // The net of a two-way port is the port itself: an assignment would go one way.
        let mut pads = BTreeMap::new();
        for (port, name) in self.ports.iter().zip(&names).filter(|(port, _)| port.direction == Direction::Inout) {
            for (at, bit) in port.bits.iter().enumerate() {
                if let Bit::Net(net) = bit {
                    let text = if port.bits.len() == 1 { name.clone() } else { format!("{name}[{at}]") };
                    pads.insert(*net, text);
                }
            }
        }
        let pins = self.cells.iter().flat_map(|cell| &cell.pins).map(|pin| &pin.bits);
        let nets: BTreeSet<u32> = (self.ports.iter().map(|port| &port.bits).chain(pins).flatten())
            .filter_map(|bit| if let Bit::Net(net) = bit { Some(*net) } else { None })
            .filter(|net| !pads.contains_key(net))
            .collect();
        let nets: Vec<u32> = nets.into_iter().collect();
        for some in nets.chunks(16) {
            let names: Vec<String> = some.iter().map(|net| format!("n{net}")).collect();
            let _ = writeln!(out, "  wire {};", names.join(", "));
        }
        for (port, name) in self.ports.iter().zip(&names) {
            let _ = match port.direction {
                Direction::Input => writeln!(out, "  assign {} = {name};", joined(&port.bits, &pads)),
                Direction::Output => writeln!(out, "  assign {name} = {};", joined(&port.bits, &pads)),
                Direction::Inout => Ok(()),
            };
        }
        out.push_str(&planted.text);
        for (at, cell) in self.cells.iter().enumerate() {
            let _ = write!(out, "  {}", identifier(&cell.kind));
            let values: Vec<String> = cell
                .parameters
                .iter()
                .map(|(name, value)| format!(".{}({})", identifier(name), literal(value)))
                .collect();
            if !values.is_empty() {
                let _ = write!(out, " #({})", values.join(", "));
            }
            let pins: Vec<String> = (cell.pins.iter().filter(|pin| !pin.bits.is_empty()))
                .map(|pin| {
                    let bits: Vec<String> = (pin.bits.iter().enumerate())
                        .map(|(bit, net)| {
                            let instead = planted.instead.get(&(at, pin.name.clone(), bit));
                            instead.cloned().unwrap_or_else(|| one(net, &pads))
                        })
                        .collect();
                    format!(".{}({})", identifier(&pin.name), list(&bits))
                })
                .collect();
            let _ = writeln!(out, " c{at}({});", pins.join(", "));
        }
        out.push_str("endmodule\n");
        out
    }
}

fn joined(bits: &[Bit], pads: &BTreeMap<u32, String>) -> String {
    list(&bits.iter().map(|bit| one(bit, pads)).collect::<Vec<_>>())
}

fn one(bit: &Bit, pads: &BTreeMap<u32, String>) -> String {
    match bit {
        Bit::Zero => "1'b0".to_owned(),
        Bit::One => "1'b1".to_owned(),
        Bit::Any => "1'bx".to_owned(),
        Bit::Open => "1'bz".to_owned(),
        Bit::Net(net) => pads.get(net).cloned().unwrap_or_else(|| format!("n{net}")),
    }
}

/// Bits joined, the lowest one given first.
fn list(bits: &[String]) -> String {
    match bits {
        [bit] => bit.clone(),
        bits => format!("{{{}}}", bits.iter().rev().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

fn literal(value: &Parameter) -> String {
    match value {
        Parameter::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        Parameter::Bits(bits) => {
            // A bit that synthesis leaves open is 0 in a bitstream.
            format!("{}'h{}", bits.len(), hex(bits))
        }
    }
}

fn hex(bits: &str) -> String {
    let padded = format!("{}{bits}", "0".repeat((4 - bits.len() % 4) % 4));
    let digits: String = (padded.as_bytes().chunks(4))
        .map(|four| four.iter().fold(0u32, |value, bit| value * 2 + u32::from(*bit == b'1')))
        .filter_map(|value| char::from_digit(value, 16))
        .collect();
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// A name as Verilog takes it.
fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\\{name} ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_written_in_their_width() {
        let literals =
            ["0", "1", "0000000010001", "x1", "1000000000000000"].map(|b| literal(&Parameter::Bits(b.into())));
        assert_eq!(literals, ["1'h0", "1'h1", "13'h11", "2'h1", "16'h8000"]);
        assert_eq!(literal(&Parameter::Text("LSR".into())), "\"LSR\"");
    }

    #[test]
    fn a_module_has_its_ports_and_a_wire_for_each_net() {
        let json = r#"{"modules": {"top": {
            "ports": {"a": {"direction": "input", "bits": [2, 3]}, "y": {"direction": "output", "bits": [4]},
                      "d": {"direction": "inout", "bits": [7, 8]}},
            "cells": {"c": {"type": "$odd", "parameters": {}, "connections": {"A": [2, "0"], "B": [8], "Y": [4], "Q": []}}}}}}"#;
        let text = Netlist::parse(json, "top").unwrap().verilog();
        let expected = "module top(a, d, y);\n  input [1:0] a;\n  inout [1:0] d;\n  output y;\n  wire n2, n3, n4;\n  \
                        assign {n3, n2} = a;\n  assign y = n4;\n  \\$odd  c0(.A({1'b0, n2}), .B(d[1]), .Y(n4));\nendmodule\n";
        assert_eq!(text, expected);
    }
}
