//! Bits and chip joined: every wire followed to what drives it, every block that does something made a cell.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::{Bit, Cell, Direction, Netlist, NetlistError, Parameter, Pin, Port};
use super::chipdb::Block;
use super::{Bits, Chip};

/// Where the bits of a look-up table lie among the twenty of a logic cell, from input 0 on.
const TABLE: [usize; 16] = [4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0];
const CARRY: usize = 8;
const REGISTER: usize = 9;
const SET: usize = 18;
const ASYNC: usize = 19;
/// The type of a phase-locked loop that takes its clock from a pad, `SB_PLL40_PAD`.
const PLL_PAD: u32 = 2;

/// What is known while a netlist is rebuilt.
struct Rebuild<'a> {
    bits: &'a Bits,
    chip: &'a Chip,
    /// The wire that drives another, where a switch is closed.
    driver: HashMap<u32, u32>,
    /// Wires that a block drives.
    driven: HashSet<u32>,
    /// Physical inputs of look-up tables, by the logical pin's wire and the input's number.
    inputs: HashMap<(u32, u8), u32>,
    /// Nets beyond the wires.
    next: u32,
    /// Wires that some block or switch reads.
    read: HashSet<u32>,
    cells: Vec<Cell>,
    /// The phase-locked loop, where it is used.
    pll: Option<&'a Block>,
}

/// A pin of the package with its name in the design.
struct Pad {
    port: String,
    index: Option<usize>,
    block: usize,
}

pub(super) fn rebuild(bits: &Bits, chip: &Chip, package: &str, pcf: &str, name: &str) -> Result<Netlist, NetlistError> {
    let pads = pads(chip, package, pcf)?;
    let mut rebuild = Rebuild::new(bits, chip)?;
    let mut logic = Vec::new();
    for (number, block) in chip.blocks.iter().enumerate() {
        match block.kind {
            "ICESTORM_LC" => logic.push(block),
            "ICESTORM_RAM" => rebuild.ram(block)?,
            "SB_GB" => rebuild.global(block),
            "ICESTORM_DSP" => rebuild.multiplier(number, block)?,
            "ICESTORM_SPRAM" => rebuild.single_port_ram(block),
            "ICESTORM_PLL" => rebuild.phase_locked_loop(number, block)?,
            _ => {}
        }
    }
    for block in logic {
        rebuild.logic(block)?;
    }
    let ports = rebuild.ports(&pads)?;
    Ok(Netlist { name: name.to_owned(), ports, cells: rebuild.cells })
}

/// The names of pins: `set_io NAME PIN`, with options between that do not matter here.
fn pads(chip: &Chip, package: &str, pcf: &str) -> Result<Vec<Pad>, NetlistError> {
    let pins = chip.packages.get(package).ok_or_else(|| {
        let mut names: Vec<&str> = chip.packages.keys().map(String::as_str).collect();
        names.sort_unstable();
        NetlistError::Form(format!("the chip has no package `{package}`, only {}", names.join(", ")))
    })?;
    let mut pads = Vec::new();
    for line in pcf.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if words.next() != Some("set_io") {
            continue;
        }
        // An option that takes a value is followed by it.
        let mut rest: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "-pullup" | "-pullup_resistor" => drop(words.next()),
                word if word.starts_with('-') => {}
                word => rest.push(word),
            }
        }
        let [signal, pin] = rest[..] else {
            return Err(NetlistError::Form(format!("`{}` in the pin file names no signal and pin", line.trim())));
        };
        let block = *pins.get(pin).ok_or_else(|| NetlistError::Form(format!("package {package} has no pin {pin}")))?;
        let (port, index) = match signal.split_once('[') {
            Some((port, index)) => (port, index.trim_end_matches(']').parse().ok()),
            None => (signal, None),
        };
        pads.push(Pad { port: port.to_owned(), index, block });
    }
    Ok(pads)
}

impl<'a> Rebuild<'a> {
    fn new(bits: &'a Bits, chip: &'a Chip) -> Result<Rebuild<'a>, NetlistError> {
        let mut rebuild = Rebuild {
            bits,
            chip,
            driver: HashMap::new(),
            driven: HashSet::new(),
            inputs: HashMap::new(),
            next: 0,
            read: HashSet::new(),
            cells: Vec::new(),
            pll: None,
        };
        let mut last = 0;
        for pip in &chip.pips {
            last = last.max(pip.from).max(pip.to);
            let Some(switch) = chip.switches.get(pip.switch as usize) else { continue };
            if switch.is_lut {
                // A look-up table that passes a signal on has its bits set, and is read as one. What remains is which wire is
                // which physical input.
                if let Some(input) = pip.input {
                    rebuild.inputs.insert((pip.to, input), pip.from);
                }
                continue;
            }
            let count = switch.bits.len();
            let closed = (switch.bits.iter().enumerate())
                .all(|(at, &bit)| bits.bit(switch.at, bit) == (pip.mask >> (count - 1 - at) & 1 == 1));
            if closed
                && let Some(other) = rebuild.driver.insert(pip.to, pip.from)
                && other != pip.from
            {
                let (x, y) = switch.at;
                return Err(NetlistError::Form(format!("two switches of tile {x},{y} drive wire {}", pip.to)));
            }
        }
        for block in &chip.blocks {
            for (pin, wire) in &block.pins {
                last = last.max(*wire);
                if is_output(pin) {
                    rebuild.driven.insert(*wire);
                }
            }
        }
        rebuild.next = last + 1;
        rebuild.read = rebuild.driver.values().copied().collect();
        Ok(rebuild)
    }

    /// What drives a wire: a net, or nothing.
    fn source(&self, wire: u32) -> Option<Bit> {
        let mut at = wire;
        // A chain is no longer than there are switches; a ring drives nothing.
        for _ in 0..=self.driver.len() {
            match self.driver.get(&at) {
                Some(&from) => at = from,
                None => return self.driven.contains(&at).then_some(Bit::Net(at)),
            }
        }
        None
    }

    fn wire(block: &Block, pin: &str) -> Option<u32> {
        block.pins.iter().find(|(name, _)| name == pin).map(|(_, wire)| *wire)
    }

    /// What drives a pin, or what it rests at.
    fn input(&self, block: &Block, pin: &str, rest: Bit) -> Bit {
        Rebuild::wire(block, pin).and_then(|wire| self.source(wire)).unwrap_or(rest)
    }

    fn output(&self, block: &Block, pin: &str) -> Bit {
        Rebuild::wire(block, pin).map_or(Bit::Open, Bit::Net)
    }

    /// A bit of a tile by the name of its group; false where the tile has no such group.
    fn flag(&self, tile: (u8, u8), name: &str) -> bool {
        let group = self.chip.group(tile, name).unwrap_or_default();
        group.first().is_some_and(|&bit| self.bits.bit(tile, bit))
    }

    fn fresh(&mut self) -> Bit {
        self.next += 1;
        Bit::Net(self.next)
    }

    fn add(&mut self, kind: &str, parameters: &[(&str, String)], pins: Vec<(&str, Direction, Vec<Bit>)>) {
        let parameters =
            parameters.iter().map(|(name, bits)| ((*name).to_owned(), Parameter::Bits(bits.clone()))).collect();
        let pins = (pins.into_iter())
            .map(|(name, direction, bits)| Pin { name: name.to_owned(), direction: Some(direction), bits })
            .collect();
        let name = format!("{kind}{}", self.cells.len());
        self.cells.push(Cell { name, kind: kind.to_owned(), parameters, attributes: Vec::new(), pins });
    }

    fn logic(&mut self, block: &Block) -> Result<(), NetlistError> {
        use Direction::{Input, Output};
        let tile = (block.at.0, block.at.1);
        let Some(group) = self.chip.group(tile, &format!("LC_{}", block.at.2)) else { return Ok(()) };
        let bits: Vec<bool> = group.iter().map(|&bit| self.bits.bit(tile, bit)).collect();
        let on = |at: usize| bits.get(at).copied().unwrap_or(false);
        let [out, lut_out, carry_out] = ["O", "LO", "COUT"].map(|pin| Rebuild::wire(block, pin));
        let used = [out, lut_out].into_iter().flatten().any(|wire| self.read.contains(&wire));
        if !bits.contains(&true) && !used {
            return Ok(());
        }
        let physical = |this: &Rebuild<'_>, number: u8| {
            let pin = Rebuild::wire(block, ["I0", "I1", "I2", "I3"][usize::from(number)]);
            pin.and_then(|pin| this.inputs.get(&(pin, number))).and_then(|&wire| this.source(wire)).unwrap_or(Bit::Zero)
        };
        let inputs = [0, 1, 2, 3].map(|number| physical(self, number));
        let table: String = TABLE.iter().rev().map(|&at| if on(at) { '1' } else { '0' }).collect();
        let registered = on(REGISTER);
        let value = if registered { self.fresh() } else { self.output(block, "O") };
        let pins = vec![
            ("I0", Input, vec![inputs[0]]),
            ("I1", Input, vec![inputs[1]]),
            ("I2", Input, vec![inputs[2]]),
            ("I3", Input, vec![inputs[3]]),
            ("O", Output, vec![value]),
        ];
        self.add("SB_LUT4", &[("LUT_INIT", table)], pins);
        if let Some(wire) = lut_out.filter(|wire| self.read.contains(wire)) {
            self.join(value, Bit::Net(wire));
        }
        if registered {
            let mut parameters = vec![("VALUE", bit(on(SET))), ("ASYNC", bit(on(ASYNC)))];
            parameters.push(("FALLING", bit(self.flag(tile, "NegClk"))));
            // A set or reset that waits for the clock waits for the enable too, as in every register of the family.
            let pins = vec![
                ("Q", Output, vec![self.output(block, "O")]),
                ("C", Input, vec![self.input(block, "CLK", Bit::Zero)]),
                ("E", Input, vec![self.input(block, "CEN", Bit::One)]),
                ("R", Input, vec![self.input(block, "SR", Bit::Zero)]),
                ("D", Input, vec![value]),
            ];
            self.add("TANDEM_DFF", &parameters, pins);
        }
        if on(CARRY) {
            let carried = match Rebuild::wire(block, "CIN").and_then(|wire| self.source(wire)) {
                // The first cell of a tile can begin a chain with a constant.
                _ if block.at.2 == 0 && self.flag(tile, "CarryInSet") => Bit::One,
                Some(net) => net,
                None => Bit::Zero,
            };
            let carry_out = carry_out.map_or(Bit::Open, Bit::Net);
            let pins = vec![
                ("I0", Input, vec![inputs[1]]),
                ("I1", Input, vec![inputs[2]]),
                ("CI", Input, vec![carried]),
                ("CO", Output, vec![carry_out]),
            ];
            self.add("SB_CARRY", &[], pins);
        }
        Ok(())
    }

    /// One net under two numbers.
    fn join(&mut self, from: Bit, to: Bit) {
        let pins = vec![
            ("USER_SIGNAL_TO_GLOBAL_BUFFER", Direction::Input, vec![from]),
            ("GLOBAL_BUFFER_OUTPUT", Direction::Output, vec![to]),
        ];
        self.add("SB_GB", &[], pins);
    }

    fn global(&mut self, block: &Block) {
        let input = Rebuild::wire(block, "USER_SIGNAL_TO_GLOBAL_BUFFER").and_then(|wire| self.source(wire));
        if let Some(from) = input {
            self.join(from, self.output(block, "GLOBAL_BUFFER_OUTPUT"));
        }
    }

    /// Pins with a number at the end, as a bus.
    fn bus(&self, block: &Block, name: &str, width: usize, output: bool) -> Vec<Bit> {
        let pin = |at: usize| {
            let pin = format!("{name}_{at}");
            if output { self.output(block, &pin) } else { self.input(block, &pin, Bit::Zero) }
        };
        (0..width).map(pin).collect()
    }

    fn is_read(&self, block: &Block) -> bool {
        block.pins.iter().any(|(pin, wire)| is_output(pin) && self.read.contains(wire))
    }

    fn ram(&mut self, block: &Block) -> Result<(), NetlistError> {
        use Direction::{Input, Output};
        let tile = (block.at.0, block.at.1);
        let contents = self.bits.ram.get(&tile);
        // What nothing reads does nothing, whatever it holds.
        if !self.is_read(block) {
            return Ok(());
        }
        let above = (tile.0, tile.1 + 1);
        if (4..8).any(|bit| self.flag(above, &format!("RamCascade.CBIT_{bit}"))) {
            return Err(unknown(block, "it is cascaded with another"));
        }
        let mode = |low: &str, high: &str| {
            [high, low].map(|name| bit(self.flag(above, &format!("RamConfig.{name}")))).concat()
        };
        let (write_mode, read_mode) = (mode("CBIT_0", "CBIT_1"), mode("CBIT_2", "CBIT_3"));
        let (write_falls, read_falls) = (self.flag(tile, "NegClk"), self.flag(above, "NegClk"));
        let words: String = match contents {
            Some(words) => words.iter().rev().map(String::as_str).collect(),
            None => "0".repeat(4096),
        };
        if words.len() != 4096 {
            return Err(unknown(block, "its contents are not of 4096 bits"));
        }
        let parameters = [
            ("WRITE_MODE", write_mode),
            ("READ_MODE", read_mode),
            ("READ_FALLING", bit(read_falls)),
            ("WRITE_FALLING", bit(write_falls)),
            ("INIT", words),
        ];
        let one = |this: &Rebuild<'_>, pin: &str, rest| vec![this.input(block, pin, rest)];
        let pins = vec![
            ("RDATA", Output, self.bus(block, "RDATA", 16, true)),
            ("RADDR", Input, self.bus(block, "RADDR", 11, false)),
            ("WADDR", Input, self.bus(block, "WADDR", 11, false)),
            ("WDATA", Input, self.bus(block, "WDATA", 16, false)),
            ("MASK", Input, self.bus(block, "MASK", 16, false)),
            ("RCLK", Input, one(self, "RCLK", Bit::Zero)),
            ("RCLKE", Input, one(self, "RCLKE", Bit::One)),
            ("RE", Input, one(self, "RE", Bit::Zero)),
            ("WCLK", Input, one(self, "WCLK", Bit::Zero)),
            ("WCLKE", Input, one(self, "WCLKE", Bit::One)),
            ("WE", Input, one(self, "WE", Bit::Zero)),
        ];
        self.add("TANDEM_ICE_RAM", &parameters, pins);
        Ok(())
    }

    /// The parameters of a block whose bits lie in several tiles, joined to words.
    fn words(&self, number: usize, prefix: &str) -> BTreeMap<String, BTreeMap<u32, bool>> {
        let mut words: BTreeMap<String, BTreeMap<u32, bool>> = BTreeMap::new();
        for (_, name, tile, bit) in self.chip.parameters.iter().filter(|(block, ..)| *block == number) {
            let on = self.flag(*tile, &format!("{prefix}{bit}"));
            let (base, at) = match name.rsplit_once('_') {
                Some((base, digits)) if digits.parse::<u32>().is_ok() => (base, digits.parse().unwrap_or(0)),
                _ => (name.as_str(), 0),
            };
            words.entry(base.to_owned()).or_default().insert(at, on);
        }
        words
    }

    fn multiplier(&mut self, number: usize, block: &Block) -> Result<(), NetlistError> {
        use Direction::{Input, Output};
        if !self.is_read(block) {
            return Ok(());
        }
        let parameters: Vec<(String, String)> = (self.words(number, "IpConfig.").into_iter())
            .map(|(name, bits)| (name, bits.values().rev().map(|&on| bit(on)).collect()))
            .collect();
        let borrowed: Vec<(&str, String)> =
            parameters.iter().map(|(name, bits)| (name.as_str(), bits.clone())).collect();
        let mut pins = vec![("O", Output, self.bus(block, "O", 32, true))];
        for name in ["A", "B", "C", "D"] {
            pins.push((name, Input, self.bus(block, name, 16, false)));
        }
        for name in [
            "AHOLD",
            "BHOLD",
            "CHOLD",
            "DHOLD",
            "IRSTTOP",
            "IRSTBOT",
            "ORSTTOP",
            "ORSTBOT",
            "OLOADTOP",
            "OLOADBOT",
            "ADDSUBTOP",
            "ADDSUBBOT",
            "OHOLDTOP",
            "OHOLDBOT",
            "CI",
            "CLK",
            "ACCUMCI",
            "SIGNEXTIN",
        ] {
            pins.push((name, Input, vec![self.input(block, name, Bit::Zero)]));
        }
        pins.push(("CE", Input, vec![self.input(block, "CE", Bit::One)]));
        for name in ["CO", "ACCUMCO", "SIGNEXTOUT"] {
            pins.push((name, Output, vec![self.output(block, name)]));
        }
        self.add("SB_MAC16", &borrowed, pins);
        Ok(())
    }

    fn single_port_ram(&mut self, block: &Block) {
        use Direction::{Input, Output};
        let (x, _, z) = block.at;
        let enable = if z % 2 == 1 { "IpConfig.CBIT_0" } else { "IpConfig.CBIT_1" };
        if !self.flag((x, 1), enable) {
            return;
        }
        let mut pins = vec![
            ("ADDRESS", Input, self.bus(block, "ADDRESS", 14, false)),
            ("DATAIN", Input, self.bus(block, "DATAIN", 16, false)),
            ("MASKWREN", Input, self.bus(block, "MASKWREN", 4, false)),
            ("DATAOUT", Output, self.bus(block, "DATAOUT", 16, true)),
        ];
        for name in ["WREN", "CHIPSELECT", "CLOCK", "STANDBY", "SLEEP", "POWEROFF"] {
            pins.push((name, Input, vec![self.input(block, name, Bit::Zero)]));
        }
        self.add("SB_SPRAM256KA", &[], pins);
    }

    /// A phase-locked loop that takes its clock from the pad that its output stands in for.
    fn phase_locked_loop(&mut self, number: usize, block: &'a Block) -> Result<(), NetlistError> {
        let kind = self.words(number, "PLL.").remove("PLLTYPE").unwrap_or_default();
        let kind: u32 = kind.iter().map(|(at, on)| u32::from(*on) << at).sum();
        match kind {
            0 => {}
            PLL_PAD => self.pll = Some(block),
            _ => return Err(unknown(block, &format!("there is no rule for phase-locked loops of type {kind}"))),
        }
        Ok(())
    }

    /// The ports, and a cell for each pad.
    fn ports(&mut self, pads: &[Pad]) -> Result<Vec<Port>, NetlistError> {
        use Direction::{Inout, Input, Output};
        let mut ports: BTreeMap<&str, (Direction, BTreeMap<usize, Bit>)> = BTreeMap::new();
        let chip = self.chip;
        for pad in pads {
            let Some(block) = chip.blocks.get(pad.block) else { continue };
            let (x, y, z) = block.at;
            let tile = (x, y);
            let on = |n: u32| self.flag(tile, &format!("IOB_{z}.PINTYPE_{n}"));
            let pin_type: String = (0..6).rev().map(|n| bit(on(n))).collect();
            let direction = match (on(5), on(4)) {
                (false, false) => Input,
                (false, true) => Output,
                (true, _) => Inout,
            };
            let wanted = ["D_IN_0", "D_IN_1"]
                .iter()
                .any(|pin| Rebuild::wire(block, pin).is_some_and(|wire| self.read.contains(&wire)));
            let enable = chip.input_enables.iter().find(|(at, _)| *at == block.at).map(|(_, enable)| *enable);
            let enabled = enable.is_some_and(|(x, y, z)| {
                // The oldest chips have this bit the other way round.
                self.flag((x, y), &format!("IoCtrl.IE_{z}")) != ["1k", "384"].contains(&self.bits.device.as_str())
            });
            if wanted && !enabled {
                return Err(unknown(block, &format!("pin {} is read, but its input buffer is off", pad.port)));
            }
            let falls = bit(self.flag(tile, "NegClk"));
            let net = self.fresh();
            let behind = self.pll.filter(|pll| Rebuild::wire(pll, "PLLOUT_A") == Rebuild::wire(block, "D_IN_0"));
            if let Some(pll) = behind {
                let mut pins = vec![("PACKAGEPIN", Input, vec![net])];
                for (name, from) in [("PLLOUTCORE", "PLLOUT_A"), ("PLLOUTGLOBAL", "PLLOUT_A_GLOBAL"), ("LOCK", "LOCK")]
                {
                    pins.push((name, Output, vec![self.output(pll, from)]));
                }
                pins.push(("RESETB", Input, vec![self.input(pll, "RESETB", Bit::Zero)]));
                self.add("SB_PLL40_PAD", &[], pins);
                self.pll = None;
                ports
                    .entry(&pad.port)
                    .or_insert_with(|| (Input, BTreeMap::new()))
                    .1
                    .insert(pad.index.unwrap_or(0), net);
                continue;
            }
            let mut pins = vec![("PACKAGE_PIN", Inout, vec![net])];
            for name in ["LATCH_INPUT_VALUE", "INPUT_CLK", "OUTPUT_CLK", "OUTPUT_ENABLE", "D_OUT_0", "D_OUT_1"] {
                pins.push((name, Input, vec![self.input(block, name, Bit::Zero)]));
            }
            pins.push(("CLOCK_ENABLE", Input, vec![self.input(block, "CLOCK_ENABLE", Bit::One)]));
            for name in ["D_IN_0", "D_IN_1"] {
                pins.push((name, Output, vec![self.output(block, name)]));
            }
            self.add("SB_IO", &[("PIN_TYPE", pin_type), ("NEG_TRIGGER", falls)], pins);
            let port = ports.entry(&pad.port).or_insert_with(|| (direction, BTreeMap::new()));
            if port.0 != direction {
                return Err(unknown(block, &format!("the bits of port {} go different ways", pad.port)));
            }
            port.1.insert(pad.index.unwrap_or(0), net);
        }
        if let Some(pll) = self.pll {
            return Err(unknown(pll, "its pad has no name in the pin file"));
        }
        Ok((ports.into_iter())
            .map(|(name, (direction, bits))| {
                let width = bits.keys().next_back().map_or(0, |last| last + 1);
                let bits = (0..width).map(|at| bits.get(&at).copied().unwrap_or(Bit::Open)).collect();
                Port { name: name.to_owned(), direction, bits }
            })
            .collect())
    }
}

fn bit(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

/// Whether a block drives a pin of this name.
fn is_output(pin: &str) -> bool {
    let numbered = ["RDATA_", "O_", "DATAOUT_"].iter().any(|bus| pin.starts_with(bus));
    numbered
        || [
            "O",
            "LO",
            "COUT",
            "D_IN_0",
            "D_IN_1",
            "GLOBAL_BUFFER_OUTPUT",
            "LOCK",
            "PLLOUT_A",
            "PLLOUT_B",
            "PLLOUT_A_GLOBAL",
            "PLLOUT_B_GLOBAL",
            "SDO",
            "CO",
            "SIGNEXTOUT",
            "ACCUMCO",
            "CLKHF",
            "CLKHF_FABRIC",
            "CLKLF",
            "CLKLF_FABRIC",
        ]
        .contains(&pin)
}

fn unknown(block: &Block, problem: &str) -> NetlistError {
    let (x, y, z) = block.at;
    NetlistError::Cell { cell: format!("X{x}/Y{y}/{z}"), kind: block.kind.to_owned(), problem: problem.to_owned() }
}
