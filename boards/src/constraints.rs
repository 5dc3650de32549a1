//! Constraints files: which port has which pin.

use std::collections::BTreeMap;

use crate::board::Flow;

/// Pins by port, of a file in the form of its flow: `.lpf`, `.pcf`, `.cst` or `.xdc`.
///
/// # Errors
/// A sentence where a port has two pins.
pub fn pins(flow: Flow, text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pins = BTreeMap::new();
    for line in text.lines() {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (port, pin) = match (flow, words.as_slice()) {
            (Flow::Ecp5, ["LOCATE", "COMP", port, "SITE", pin]) => (*port, *pin),
            (Flow::Ice40, ["set_io", options @ .., port, pin]) if options.iter().all(|o| is_option(o)) => (*port, *pin),
            (Flow::Gowin, ["IO_LOC", port, pin]) => (*port, *pin),
            (Flow::Vivado, ["set_property", "PACKAGE_PIN", pin, "get_ports", port]) => (*port, *pin),
            _ => continue,
        };
        if pins.insert(port.to_owned(), pin.to_owned()).is_some() {
            return Err(format!("the port {port} has two pins"));
        }
    }
    Ok(pins)
}

/// Options of `set_io` and their values.
fn is_option(word: &str) -> bool {
    word.starts_with('-') || word == "yes" || word == "no"
}

/// The words of a line without comments, quotes, semicolons and Tcl's brackets.
fn words(line: &str) -> Vec<String> {
    let line = line.split(['#']).next().unwrap_or_default();
    let line = line.split("//").next().unwrap_or_default();
    // `[get_ports {led[0]}]` has brackets of two kinds: those around the command, and those of the port's index.
    let mut out = Vec::new();
    for word in line.split(|c: char| c.is_whitespace() || matches!(c, '"' | ';' | '{' | '}')) {
        let word = word.strip_prefix('[').unwrap_or(word);
        let extra = word.matches(']').count() > word.matches('[').count();
        let word = if extra { word.strip_suffix(']').unwrap_or(word) } else { word };
        if !word.is_empty() {
            out.push(word.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_of_all_four_forms_are_read() {
        let of = |flow, text| pins(flow, text).unwrap().into_iter().collect::<Vec<_>>();
        let led = |pin: &str| vec![("led[1]".to_owned(), pin.to_owned())];
        assert_eq!(
            of(Flow::Ecp5, "LOCATE COMP \"led[1]\" SITE \"B2\"; # x\nIOBUF PORT \"led[1]\" DRIVE=4;"),
            led("B2")
        );
        assert_eq!(of(Flow::Ice40, "set_io -nowarn -pullup yes led[1] 37 # red\n"), led("37"));
        assert_eq!(of(Flow::Gowin, "IO_LOC \"led[1]\" 15;\nIO_PORT \"led[1]\" PULL_MODE=UP;"), led("15"));
        assert_eq!(of(Flow::Vivado, "set_property PACKAGE_PIN R14 [get_ports {led[1]}]"), led("R14"));
        assert_eq!(of(Flow::Vivado, "set_property PACKAGE_PIN R14 [get_ports irq]"), [("irq".into(), "R14".into())]);
    }

    #[test]
    fn two_pins_for_one_port_are_an_error() {
        let twice = "set_io a 1\nset_io a 2\n";
        assert_eq!(pins(Flow::Ice40, twice).unwrap_err(), "the port a has two pins");
    }
}
