//! Verilog modules that only wire instances, as values; and the ports of modules that others wrote.

use std::fmt::Write;

use crate::BoardError;
use crate::board::{Direction, Port};

/// A module that only wires instances.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Wires with their widths.
    pub wires: Vec<(String, Option<u32>)>,
    /// What it is made of.
    pub instances: Vec<Instance>,
    /// Targets and what drives them.
    pub assigns: Vec<(String, String)>,
}

/// An instance of a module.
#[derive(Clone, Debug)]
pub struct Instance {
    module: String,
    name: String,
    parameters: Vec<(String, String)>,
    wires: Vec<(String, String)>,
}

impl Instance {
    /// An instance whose ports are not wired yet.
    pub fn new(module: &str, name: &str) -> Instance {
        Instance { module: module.to_owned(), name: name.to_owned(), parameters: Vec::new(), wires: Vec::new() }
    }

    /// With a parameter.
    pub fn parameter(mut self, name: &str, value: impl Into<String>) -> Instance {
        self.parameters.push((name.to_owned(), value.into()));
        self
    }

    /// With a port wired; an empty net leaves it open.
    pub fn wire(mut self, port: impl Into<String>, net: impl Into<String>) -> Instance {
        self.wires.push((port.into(), net.into()));
        self
    }
}

impl Module {
    /// The module as Verilog text.
    pub fn to_verilog(&self) -> String {
        let range = |bits: &Option<u32>| bits.map_or_else(String::new, |bits| format!("[{}:0] ", bits - 1));
        let port = |port: &Port| {
            let direction = match port.direction {
                Direction::Input => "input",
                Direction::Output => "output",
                Direction::Inout => "inout",
            };
            format!("  {direction} wire {}{}", range(&port.bits), port.name)
        };
        let ports: Vec<String> = self.ports.iter().map(port).collect();
        let mut text = format!("module {}(\n{}\n);\n", self.name, ports.join(",\n"));
        for (name, bits) in &self.wires {
            let _ = writeln!(text, "  wire {}{name};", range(bits));
        }
        let list = |pairs: &[(String, String)]| {
            pairs.iter().map(|(name, value)| format!("    .{name}({value})")).collect::<Vec<_>>().join(",\n")
        };
        for instance in &self.instances {
            let _ = write!(text, "  {} ", instance.module);
            if !instance.parameters.is_empty() {
                let _ = write!(text, "#(\n{}\n  ) ", list(&instance.parameters));
            }
            let _ = writeln!(text, "{}(\n{}\n  );", instance.name, list(&instance.wires));
        }
        for (target, value) in &self.assigns {
            let _ = writeln!(text, "  assign {target} = {value};");
        }
        text + "endmodule\n"
    }
}

/// The ports of a module, read from the Verilog that describes it.
///
/// # Errors
/// [`BoardError::Output`] where the text has no such module or a port of unknown form.
pub fn ports(verilog: &str, module: &str) -> Result<Vec<Port>, BoardError> {
    let wrong = |what: &str| BoardError::output(format!("module {module}"), what);
    let heads = [format!("module {module}("), format!("module {module} (")];
    let begin = heads.iter().find_map(|head| verilog.find(head)).ok_or_else(|| wrong("there is none"))?;
    let body = &verilog[begin..];
    let body = &body[..body.find("endmodule").unwrap_or(body.len())];
    let mut ports = Vec::new();
    for line in body.lines() {
        let words: Vec<&str> = line.split([' ', ';', ',', '\t']).filter(|word| !word.is_empty()).collect();
        let direction = match words.first() {
            Some(&"input") => Direction::Input,
            Some(&"output") => Direction::Output,
            _ => continue,
        };
        let words: Vec<&str> =
            words[1..].iter().copied().filter(|word| !["wire", "reg", "logic"].contains(word)).collect();
        let (bits, name) = match words.as_slice() {
            [name] => (None, *name),
            [range, name] => {
                let high = range
                    .strip_prefix('[')
                    .and_then(|r| r.strip_suffix(":0]"))
                    .and_then(|high| high.parse::<u32>().ok());
                (Some(high.ok_or_else(|| wrong(line))? + 1), *name)
            }
            _ => return Err(wrong(line)),
        };
        ports.push(Port { name: name.to_owned(), direction, bits });
    }
    if ports.is_empty() { Err(wrong("it has no ports")) } else { Ok(ports) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_both_forms_of_declaration() {
        let text = "module a(x,y);\n  input wire  x;\n  output reg  [7:0] y;\nendmodule\nmodule b(\n  input wire [1:0] z\n);\nendmodule\n";
        let of = |module| ports(text, module).unwrap().into_iter().map(|p| (p.name, p.bits)).collect::<Vec<_>>();
        assert_eq!(of("a"), [("x".to_owned(), None), ("y".to_owned(), Some(8))]);
        assert_eq!(of("b"), [("z".to_owned(), Some(2))]);
        assert!(ports(text, "c").is_err());
    }
}
