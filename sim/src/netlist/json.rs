//! A netlist as a value, and how it is read from the JSON of yosys and nextpnr.

use serde_json::{Map, Value};

use super::NetlistError;

/// One module: ports, cells, and nets by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netlist {
    /// The module's name.
    pub name: String,
    /// Its ports, in the order of the file.
    pub ports: Vec<Port>,
    /// Its cells, in the order of the file.
    pub cells: Vec<Cell>,
}

/// A port of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Which way it goes.
    pub direction: Direction,
    /// What it is connected to, the lowest bit first.
    pub bits: Vec<Bit>,
}

/// An instance of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its parameters.
    pub parameters: Vec<(String, Parameter)>,
    /// What it says about itself: places, for the most part.
    pub attributes: Vec<(String, Parameter)>,
    /// Its pins; an unconnected one has no bits.
    pub pins: Vec<Pin>,
}

/// A pin of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// Which way it goes, where the file tells.
    pub direction: Option<Direction>,
    /// What it is connected to, the lowest bit first.
    pub bits: Vec<Bit>,
}

/// Which way signals go, seen from the inside of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In.
    Input,
    /// Out.
    Output,
    /// Both.
    Inout,
}

/// What one bit is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bit {
    /// Constant zero.
    Zero,
    /// Constant one.
    One,
    /// A constant that is left to whoever reads it.
    Any,
    /// Nothing drives it.
    Open,
    /// The net of this number.
    Net(u32),
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A word.
    Text(String),
    /// Bits, the highest first, each `0`, `1`, `x` or `z`.
    Bits(String),
}

impl Netlist {
    /// Reads the module of this name. Cells that only tell where others come from are left out.
    ///
    /// # Errors
    /// [`NetlistError::Form`].
    pub fn parse(json: &str, module: &str) -> Result<Netlist, NetlistError> {
        let form = |problem: String| NetlistError::Form(problem);
        let value: Value = serde_json::from_str(json).map_err(|e| form(e.to_string()))?;
        let modules =
            value.get("modules").and_then(Value::as_object).ok_or_else(|| form("it has no modules".into()))?;
        let top = modules.get(module).ok_or_else(|| {
            let names: Vec<&str> = modules.keys().map(String::as_str).collect();
            form(format!("it has no module `{module}`, only {}", names.join(", ")))
        })?;
        let mut netlist = Netlist { name: module.to_owned(), ..Netlist::default() };
        for (name, port) in object(top, "ports")? {
            let direction = direction(port.get("direction")).ok_or_else(|| form(format!("port {name} goes no way")))?;
            netlist.ports.push(Port { name: name.clone(), direction, bits: bits(port.get("bits"), name)? });
        }
        for (name, cell) in object(top, "cells")? {
            let kind =
                cell.get("type").and_then(Value::as_str).ok_or_else(|| form(format!("cell {name} has no type")))?;
            if kind == "$scopeinfo" {
                continue;
            }
            let directions = cell.get("port_directions").and_then(Value::as_object);
            let mut pins = Vec::new();
            for (pin, connected) in object(cell, "connections")? {
                let direction = direction(directions.and_then(|all| all.get(pin)));
                pins.push(Pin { name: pin.clone(), direction, bits: bits(Some(connected), pin)? });
            }
            netlist.cells.push(Cell {
                name: name.clone(),
                kind: kind.to_owned(),
                parameters: values(cell.get("parameters")),
                attributes: values(cell.get("attributes")),
                pins,
            });
        }
        Ok(netlist)
    }

    /// The highest number of a net.
    pub(super) fn last_net(&self) -> u32 {
        let pins = self.cells.iter().flat_map(|cell| &cell.pins).map(|pin| &pin.bits);
        let bits = self.ports.iter().map(|port| &port.bits).chain(pins).flatten();
        bits.filter_map(|bit| if let Bit::Net(net) = bit { Some(*net) } else { None }).max().unwrap_or(0)
    }

    /// How many cells of each type there are, by name.
    pub fn count(&self, kind: &str) -> usize {
        self.cells.iter().filter(|cell| cell.kind == kind).count()
    }
}

impl Cell {
    /// An inverter of a type with the pins `A` and `Z`.
    pub(super) fn inverter(kind: &str, from: Bit, to: Bit) -> Cell {
        let pin =
            |name: &str, direction, bit| Pin { name: name.to_owned(), direction: Some(direction), bits: vec![bit] };
        Cell {
            name: "inverter".to_owned(),
            kind: kind.to_owned(),
            parameters: Vec::new(),
            attributes: Vec::new(),
            pins: vec![pin("A", Direction::Input, from), pin("Z", Direction::Output, to)],
        }
    }

    /// A parameter's word, or its bits.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(known, _)| known == name)?;
        Some(value.text())
    }

    /// The pin of this name.
    pub fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.name == name)
    }

    /// The only bit of a pin of this name, where it is connected.
    pub fn bit(&self, name: &str) -> Option<Bit> {
        self.pin(name).and_then(|pin| pin.bits.first().copied())
    }
}

impl Parameter {
    /// The word, or the bits.
    pub fn text(&self) -> &str {
        match self {
            Parameter::Text(text) | Parameter::Bits(text) => text,
        }
    }
}

fn object<'a>(value: &'a Value, key: &str) -> Result<&'a Map<String, Value>, NetlistError> {
    let found = value.get(key).and_then(Value::as_object);
    found.ok_or_else(|| NetlistError::Form(format!("there is no list of {key}")))
}

fn direction(value: Option<&Value>) -> Option<Direction> {
    match value?.as_str()? {
        "input" => Some(Direction::Input),
        "output" => Some(Direction::Output),
        "inout" => Some(Direction::Inout),
        _ => None,
    }
}

fn bits(value: Option<&Value>, owner: &str) -> Result<Vec<Bit>, NetlistError> {
    let wrong = || NetlistError::Form(format!("{owner} is connected to what is neither net nor constant"));
    let bits = value.and_then(Value::as_array).ok_or_else(wrong)?;
    bits.iter()
        .map(|bit| match bit {
            Value::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()).map(Bit::Net),
            Value::String(constant) => match constant.as_str() {
                "0" => Some(Bit::Zero),
                "1" => Some(Bit::One),
                "x" => Some(Bit::Any),
                "z" => Some(Bit::Open),
                _ => None,
            },
            _ => None,
        })
        .map(|bit| bit.ok_or_else(wrong))
        .collect()
}

/// Both tools write a word that could be taken for bits with a space at its end.
fn values(value: Option<&Value>) -> Vec<(String, Parameter)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, value)| {
            let value = match value {
                Value::String(text) if !text.is_empty() && text.bytes().all(|b| b"01xz".contains(&b)) => {
                    Parameter::Bits(text.clone())
                }
                Value::String(text) => {
                    let word = text.trim_end_matches(' ');
                    let bits = !word.is_empty() && word.bytes().all(|b| b"01xz".contains(&b));
                    Parameter::Text(if bits { text[..text.len() - 1].to_owned() } else { text.clone() })
                }
                Value::Number(number) => Parameter::Bits(format!("{:032b}", number.as_u64()?)),
                _ => return None,
            };
            Some((name.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"creator": "x", "modules": {"top": {
        "ports": {"a": {"direction": "input", "bits": [2, 3]}, "y": {"direction": "output", "bits": [4]}},
        "cells": {
          "where": {"type": "$scopeinfo", "connections": {}},
          "l": {"type": "LUT4", "parameters": {"INIT": "1000100010001000", "MODE": "1 ", "WORD": "LSR", "N": 3},
                "attributes": {"at": "X1"}, "port_directions": {"A": "input", "Z": "output"},
                "connections": {"A": [2], "B": [3], "C": ["0"], "D": ["x"], "Z": [4], "Q": []}}}}}}"#;

    #[test]
    fn a_netlist_is_read() {
        let netlist = Netlist::parse(SMALL, "top").unwrap();
        assert_eq!((netlist.ports.len(), netlist.cells.len(), netlist.count("LUT4")), (2, 1, 1));
        assert_eq!(netlist.ports[0].bits, [Bit::Net(2), Bit::Net(3)]);
        let cell = &netlist.cells[0];
        assert_eq!(cell.parameters.iter().find(|(n, _)| n == "MODE").unwrap().1, Parameter::Text("1".to_owned()));
        assert_eq!(cell.parameter("INIT"), Some("1000100010001000"));
        assert_eq!(cell.parameter("N").map(str::len), Some(32));
        assert_eq!((cell.bit("D"), cell.bit("C"), cell.bit("Q")), (Some(Bit::Any), Some(Bit::Zero), None));
        assert_eq!(cell.pin("Z").unwrap().direction, Some(Direction::Output));
    }

    #[test]
    fn what_is_no_netlist_is_refused() {
        for (text, part) in [
            ("{", "EOF"),
            ("{}", "no modules"),
            (r#"{"modules": {"a": {}}}"#, "no module `top`, only a"),
            (&SMALL.replace("[4]", "[true]"), "neither net nor constant"),
            (&SMALL.replace("\"input\", \"bits\"", "\"up\", \"bits\""), "port a goes no way"),
        ] {
            let error = Netlist::parse(text, "top").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
