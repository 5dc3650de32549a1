//! What nextpnr-ecp5 writes after routing, as a netlist over cells that there are models of.
//!
//! The file leaves out what the chip does by itself. The rules are those by which nextpnr makes the bitstream of the same cells:
//!
//! | what | rule |
//! |---|---|
//! | an input of a look-up table without a net | 1 |
//! | an input of a register without a net | enable 1; set or reset 0 |
//! | an input of a block RAM or a multiplier without a net | 1 where it comes from a clock, enable or reset line, else 0 |
//! | parameter `PIN`MUX of those | `0` or `1`: that constant; `INV`: inverted |
//! | the same, absent | `INV` for clocks, write enables, resets and chip selects without a net |
//! | a block RAM of 36 bits | port A writes whenever it is enabled, port B never |
//! | register, parameter `SD` 0 | data from pin M |
//! | look-up table with FXA | its multiplexer joins the multiplexers FXA and FXB |
//! | a pad with IOLDO | shows what the logic beside it makes |
//! | constants | are nets of look-up tables |

use super::{Bit, Cell, Direction, Netlist, NetlistError, Parameter, Pin};

/// The name of the module in every file that nextpnr writes.
pub const ROUTED_TOP: &str = "top";

/// Reads what `nextpnr-ecp5 --write` wrote, and gives Verilog over `tandem_hw::cells::ECP5`, of a module of this name.
///
/// # Errors
/// [`NetlistError::Form`], [`NetlistError::Cell`].
pub fn routed_verilog(json: &str, name: &str) -> Result<String, NetlistError> {
    let mut netlist = complete(&Netlist::parse(json, ROUTED_TOP)?)?;
    netlist.name = name.to_owned();
    Ok(netlist.verilog())
}

/// A netlist in which every pin that matters is connected.
///
/// # Errors
/// [`NetlistError::Cell`].
pub fn complete(routed: &Netlist) -> Result<Netlist, NetlistError> {
    let mut next = 1 + routed.last_net();
    let mut out = Netlist { name: routed.name.clone(), ports: routed.ports.clone(), cells: Vec::new() };
    for cell in &routed.cells {
        let mut inverters = Vec::new();
        match cell.kind.as_str() {
            "TRELLIS_COMB" => out.cells.extend(comb(cell)?),
            "TRELLIS_FF" => out.cells.push(register(cell)?),
            "TRELLIS_RAMW" => out.cells.push(tied(cell, |_| Bit::One)),
            "DCCA" => out.cells.push(tied(cell, |_| Bit::One)),
            "TRELLIS_IO" => out.cells.push(pad(cell)?),
            "IOLOGIC" | "SIOLOGIC" => out.cells.push(double_rate(cell)?),
            "DP16KD" => out.cells.push(hard(cell, block_ram, &mut next, &mut inverters)?),
            "MULT18X18D" => out.cells.push(hard(cell, multiplier, &mut next, &mut inverters)?),
            "EHXPLLL" => out.cells.push(tied(cell, |_| Bit::Zero)),
            _ => return Err(unknown(cell, "there is no rule for this type after routing")),
        }
        out.cells.append(&mut inverters);
    }
    Ok(out)
}

/// What a pin of a block is connected to by itself, and whether it is inverted where nothing says so.
struct Rest {
    line: bool,
    inverted: bool,
}

fn comb(cell: &Cell) -> Result<Option<Cell>, NetlistError> {
    let mode = cell.parameter("MODE").unwrap_or("LOGIC");
    if mode == "RAMW_BLOCK" {
        return Ok(None);
    }
    if !["LOGIC", "CCU2", "DPRAM"].contains(&mode) {
        return Err(unknown(cell, &format!("there is no rule for mode {mode}")));
    }
    if mode == "DPRAM" && cell.parameter("INITVAL").is_some_and(|bits| bits.contains('1')) {
        return Err(unknown(cell, "the order of bits in a RAM that begins with other than zeros is not known"));
    }
    let mut cell = tied(cell, |_| Bit::One);
    for name in ["A", "B", "C", "D"] {
        if cell.pin(name).is_none() {
            cell.pins.push(Pin { name: name.to_owned(), direction: Some(Direction::Input), bits: vec![Bit::One] });
        }
    }
    let upper = cell.bit("FXA").is_some() && cell.pin("FXA").is_some_and(|pin| matches!(pin.bits[..], [Bit::Net(_)]));
    if upper {
        cell.parameters.push(("UPPER".to_owned(), Parameter::Bits("1".to_owned())));
    }
    cell.parameters
        .retain(|(name, _)| ["MODE", "INITVAL", "CCU2_INJECT1", "WREMUX", "WCKMUX", "UPPER"].contains(&name.as_str()));
    Ok(Some(cell))
}

fn register(cell: &Cell) -> Result<Cell, NetlistError> {
    if cell.parameter("LSRMODE").is_some_and(|mode| mode != "LSR") {
        return Err(unknown(cell, "a set or reset that loads is not known"));
    }
    let connected = |name: &str| cell.bit(name).is_some();
    let mut out = tied(cell, |pin| if pin == "LSR" { Bit::Zero } else { Bit::One });
    if !connected("LSR") {
        out.parameters.retain(|(name, _)| name != "LSRMUX");
    }
    if !connected("CLK") {
        return Err(unknown(cell, "it has no clock"));
    }
    // A parameter of the cell as synthesis leaves it has another default.
    if out.parameter("SD").is_none() {
        out.parameters.push(("SD".to_owned(), Parameter::Text("0".to_owned())));
    }
    Ok(out)
}

fn pad(cell: &Cell) -> Result<Cell, NetlistError> {
    if ["IOLTO", "IOLDOD", "IOLDOI", "INDD"].iter().any(|pin| cell.bit(pin).is_some()) {
        return Err(unknown(cell, "a register on the way into a pad, or before its enable, is not known"));
    }
    let mut out = tied(cell, |_| Bit::Zero);
    if let Some(bit) = cell.bit("IOLDO")
        && let Some(pin) = out.pins.iter_mut().find(|pin| pin.name == "I")
    {
        // What the logic beside the pad makes takes the place of what comes from the fabric.
        pin.bits = vec![bit];
    }
    out.pins.retain(|pin| ["B", "I", "T", "O"].contains(&pin.name.as_str()));
    out.parameters.retain(|(name, _)| name == "DIR");
    Ok(out)
}

/// The logic beside a pad, of which an output at both edges of the clock is known.
fn double_rate(cell: &Cell) -> Result<Cell, NetlistError> {
    let plain =
        cell.parameter("MODE") == Some("IDDRX1_ODDRX1") && cell.parameter("CLKOMUX").is_none_or(|mux| mux == "CLK");
    let from = [("D0", "TXDATA0"), ("D1", "TXDATA1"), ("SCLK", "CLK"), ("RST", "LSR"), ("Q", "IOLDO")];
    let known = |pin: &Pin| pin.bits.is_empty() || from.iter().any(|(_, name)| *name == pin.name);
    if !plain || !cell.pins.iter().all(known) {
        return Err(unknown(cell, "it is more than an output at both edges of the clock"));
    }
    let mut out = tied(cell, |_| Bit::Zero);
    out.kind = "ODDRX1F".to_owned();
    out.parameters.clear();
    out.pins.retain(|pin| from.iter().any(|(_, name)| *name == pin.name));
    for pin in &mut out.pins {
        if let Some((name, _)) = from.iter().find(|(_, name)| *name == pin.name) {
            pin.name = (*name).to_owned();
        }
    }
    Ok(out)
}

fn block_ram(pin: &str) -> Rest {
    let line = |prefixes: &[&str]| prefixes.iter().any(|prefix| pin.starts_with(prefix));
    let enable = line(&["CEA", "CEB", "OCE"]);
    let inverted = line(&["CLK", "WE", "RST", "CS"]);
    Rest { line: enable || inverted, inverted }
}

fn multiplier(pin: &str) -> Rest {
    let line = ["CLK", "CE", "RST"].iter().any(|prefix| pin.starts_with(prefix));
    Rest { line, inverted: false }
}

/// A block whose pins have multiplexers before them.
fn hard(
    cell: &Cell,
    rule: impl Fn(&str) -> Rest,
    next: &mut u32,
    inverters: &mut Vec<Cell>,
) -> Result<Cell, NetlistError> {
    let mut out = cell.clone();
    let wide = |side: &str| cell.parameter(side).is_some_and(|bits| u64::from_str_radix(bits, 2) == Ok(36));
    let writes_always = cell.kind == "DP16KD" && (wide("DATA_WIDTH_A") || wide("DATA_WIDTH_B"));
    for pin in out.pins.iter_mut().filter(|pin| pin.direction == Some(Direction::Input)) {
        let mux = format!("{}MUX", pin.name);
        let rest = rule(&pin.name);
        let value = cell.parameter(&mux);
        let net = pin.bits.first().copied();
        // The clock of a block RAM has a parameter of the cell itself.
        if pin.name.starts_with("CLK") && net.is_some() {
            continue;
        }
        let plain = net.unwrap_or(if rest.line { Bit::One } else { Bit::Zero });
        let inverted = match value {
            Some("0") => {
                pin.bits = vec![Bit::Zero];
                continue;
            }
            Some("1") => {
                pin.bits = vec![Bit::One];
                continue;
            }
            Some("INV") => true,
            Some(word) if word == pin.name => false,
            Some(word) => return Err(unknown(cell, &format!("parameter {mux} is {word}"))),
            None => rest.inverted && net.is_none(),
        };
        pin.bits = vec![match (inverted, plain) {
            (false, bit) => bit,
            (true, Bit::Zero) => Bit::One,
            (true, Bit::One) => Bit::Zero,
            (true, bit) => {
                let inverse = Bit::Net(*next);
                *next += 1;
                inverters.push(Cell::inverter("INV", bit, inverse));
                inverse
            }
        }];
    }
    if writes_always {
        for pin in &mut out.pins {
            match pin.name.as_str() {
                "WEA" => pin.bits = vec![Bit::One],
                "WEB" => pin.bits = vec![Bit::Zero],
                _ => {}
            }
        }
    }
    out.parameters.retain(|(name, _)| !name.ends_with("MUX") || name.starts_with("CLK"));
    if cell.kind == "MULT18X18D" {
        out.parameters.retain(|(name, _)| !name.ends_with("MUX"));
    } else {
        let unclocked: Vec<String> = (cell.pins.iter())
            .filter(|pin| pin.name.starts_with("CLK") && pin.bits.is_empty())
            .map(|pin| format!("{}MUX", pin.name))
            .collect();
        out.parameters.retain(|(name, _)| !unclocked.contains(name));
    }
    Ok(out)
}

/// The cell with its inputs that have no net at a constant.
fn tied(cell: &Cell, constant: impl Fn(&str) -> Bit) -> Cell {
    let mut cell = cell.clone();
    for pin in cell.pins.iter_mut().filter(|pin| pin.direction == Some(Direction::Input) && pin.bits.is_empty()) {
        pin.bits = vec![constant(&pin.name)];
    }
    cell
}

fn unknown(cell: &Cell, problem: &str) -> NetlistError {
    NetlistError::Cell { cell: cell.name.clone(), kind: cell.kind.clone(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netlist(kind: &str, parameters: &str, pins: &[(&str, &str, &str)]) -> Result<Netlist, NetlistError> {
        let list = |of: fn(&(&str, &str, &str)) -> String| pins.iter().map(of).collect::<Vec<_>>().join(", ");
        let json = format!(
            r#"{{"modules": {{"top": {{"ports": {{}}, "cells": {{"c": {{"type": "{kind}", "parameters": {{{parameters}}},
                "port_directions": {{{}}}, "connections": {{{}}}}}}}}}}}}}"#,
            list(|(name, direction, _)| format!(r#""{name}": "{direction}""#)),
            list(|(name, _, bits)| format!(r#""{name}": [{bits}]"#)),
        );
        complete(&Netlist::parse(&json, ROUTED_TOP)?)
    }

    fn bits(cell: &Cell, names: &[&str]) -> Vec<Option<Bit>> {
        names.iter().map(|name| cell.bit(name)).collect()
    }

    #[test]
    fn inputs_without_a_net_are_what_the_chip_makes_of_them() {
        use Bit::{Net, One, Zero};
        let pins =
            [("A", "input", "7"), ("B", "input", ""), ("M", "input", ""), ("FXA", "input", "8"), ("F", "output", "9")];
        let comb = &netlist("TRELLIS_COMB", "", &pins).unwrap().cells[0];
        assert_eq!(bits(comb, &["A", "B", "C", "M"]), [Some(Net(7)), Some(One), Some(One), Some(One)]);
        assert!(comb.parameter("UPPER").is_some());

        let pins = [("LSR", "input", ""), ("CE", "input", ""), ("CLK", "input", "3"), ("M", "input", "4")];
        let register = &netlist("TRELLIS_FF", r#""LSRMUX": "INV", "CEMUX": "CE""#, &pins).unwrap().cells[0];
        assert_eq!(bits(register, &["LSR", "CE"]), [Some(Zero), Some(One)]);
        assert_eq!((register.parameter("LSRMUX"), register.parameter("SD")), (None, Some("0")));
    }

    #[test]
    fn multiplexers_before_the_pins_of_blocks_are_put_in() {
        use Bit::{Net, One, Zero};
        let pins = ["CEA", "CSA0", "RSTA", "RSTB", "ADA4", "DIA0", "WEA", "WEB"].map(|name| (name, "input", ""));
        let pins = [&pins[..], &[("OCEA", "input", "5"), ("CLKA", "input", "6")]].concat();
        let parameters =
            r#""DATA_WIDTH_A": "00100100", "ADA4MUX": "1 ", "OCEAMUX": "INV", "RSTBMUX": "RSTB", "CLKAMUX": "CLKA""#;
        let netlist = netlist("DP16KD", parameters, &pins).unwrap();
        let ram = &netlist.cells[0];
        // Enables rest at 1, clocks and resets at 1 behind an inverter, addresses and data at 0.
        let names = ["CEA", "CSA0", "RSTA", "RSTB", "ADA4", "DIA0", "WEA", "WEB"];
        let rest = [One, Zero, Zero, One, One, Zero, One, Zero].map(Some);
        assert_eq!(bits(ram, &names), rest);
        // An inverter of its own for the one that has a net.
        let inverter = &netlist.cells[1];
        assert_eq!((inverter.kind.as_str(), inverter.bit("A")), ("INV", Some(Net(5))));
        assert_eq!(ram.bit("OCEA"), inverter.bit("Z"));
        assert_eq!((ram.parameter("CLKAMUX"), ram.parameter("ADA4MUX")), (Some("CLKA"), None));
    }

    #[test]
    fn an_output_at_both_edges_is_known_and_what_else_lies_beside_a_pad_is_refused() {
        let pins =
            [("TXDATA0", "input", "2"), ("TXDATA1", "input", "3"), ("CLK", "input", "4"), ("IOLDO", "output", "5")];
        let mode = r#""MODE": "IDDRX1_ODDRX1""#;
        let cell = &netlist("IOLOGIC", mode, &pins).unwrap().cells[0];
        assert_eq!((cell.kind.as_str(), cell.bit("Q")), ("ODDRX1F", Some(Bit::Net(5))));
        let more = [&pins[..], &[("RXDATA0", "output", "6")]].concat();
        assert!(netlist("IOLOGIC", mode, &more).unwrap_err().to_string().contains("both edges"));
        for (kind, parameters, part) in [
            ("ALU54B", "", "no rule for this type"),
            ("TRELLIS_COMB", r#""MODE": "OTHER""#, "no rule for mode OTHER"),
            ("TRELLIS_COMB", r#""MODE": "DPRAM", "INITVAL": "0100""#, "other than zeros"),
            ("TRELLIS_FF", "", "no clock"),
        ] {
            let error = netlist(kind, parameters, &[("Z", "output", "2")]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
