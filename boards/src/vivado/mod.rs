//! Projects for Vivado, which is not run here: the design, constraints, a build script without a project file, and the addresses
//! for the driver.
//!
//! `vivado -mode batch -source build.tcl` makes `top.bit` beside the script. On a Zynq the script first makes a block design of the
//! processor and its interconnects; it asks for no board files.

pub mod processor;
pub mod tcl;
mod versions;

use std::path::Path;

use serde::Serialize;
use tandem_isa::HwConfig;

use self::processor::{FIXED_PORTS, Processor, Request, system_port};
use self::tcl::{Command, Script, Word, command, text};
use crate::board::{Board, Direction, Host, Port};
use crate::design::{core, design};
use crate::verilog::{Instance, Module, ports};
use crate::{BoardError, TOP};

/// The build script of a project.
pub const SCRIPT: &str = "build.tcl";
/// The addresses for the driver.
pub const ADDRESSES: &str = "address_map.json";
/// The core, where the top module is another file.
const CORE: &str = "tandem.v";
/// Width of addresses on the interconnect.
const ADDRESS_BITS: u32 = 32;

/// The files of a project, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Names and texts.
    pub files: Vec<(String, String)>,
}

/// Where the parts of a device lie, for the driver.
#[derive(Serialize)]
struct AddressMap {
    board: String,
    part: String,
    config_digest: String,
    clock_hz: u64,
    registers: Window,
    memory: Window,
    irq: Option<u32>,
}

#[derive(Serialize)]
struct Window {
    base: u64,
    bytes: u64,
}

impl Project {
    /// The project of a board and a configuration.
    ///
    /// # Errors
    /// [`BoardError::Refused`] for a board whose bitstream is made here, and where there is no design.
    pub fn new(board: &Board, config: &HwConfig) -> Result<Project, BoardError> {
        if board.flow.is_open() {
            return Err(board.refused("its bitstream is made here; there is no project for Vivado"));
        }
        let mut files = Vec::new();
        let mut add = |name: &str, text: String| files.push((name.to_owned(), text));
        match processor(board) {
            None => {
                add(DESIGN, design(board, config)?);
                add(SCRIPT, Script(&script(board, config, None)).to_string());
            }
            Some(processor) => {
                let core = core(board, config)?;
                add(DESIGN, top(board, &processor, &core)?.to_verilog());
                add(CORE, core);
                add(SCRIPT, Script(&script(board, config, Some(&processor))).to_string());
                let Host::Axi { base, bytes } = board.host else {
                    return Err(board.refused("host: a processor needs kind = \"axi\""));
                };
                let map = AddressMap {
                    board: board.name.clone(),
                    part: board.part.clone(),
                    config_digest: format!("{:#010x}", config.digest()),
                    clock_hz: board.clock_hz,
                    registers: Window { base, bytes },
                    memory: Window { base: 0, bytes: board.memory.bytes() },
                    irq: board.irq,
                };
                // A value of plain fields always has a JSON form.
                add(ADDRESSES, serde_json::to_string_pretty(&map).unwrap_or_default() + "\n");
            }
        }
        add(&board.constraints.0, board.constraints.1.clone());
        add("hw.toml", config.to_toml());
        Ok(Project { files })
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|(file, _)| file == name).map(|(_, text)| text.as_str())
    }

    /// Writes the files into a folder: each under a name of its own first, then all are renamed.
    ///
    /// # Errors
    /// [`BoardError::Io`]; then no file is half-written.
    pub fn write(&self, folder: &Path) -> Result<(), BoardError> {
        let texts: Vec<(String, Vec<u8>)> =
            self.files.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes())).collect();
        crate::folder::write(folder, &[], &texts)
    }
}

/// The name of the top module's file.
const DESIGN: &str = crate::plan::DESIGN;

fn processor(board: &Board) -> Option<Processor> {
    match board.host {
        Host::Uart { .. } => None,
        Host::Axi { .. } if board.part.starts_with("xc7") => Some(processor::ZYNQ_7000),
        Host::Axi { .. } => Some(processor::ULTRASCALE),
    }
}

/// The block design of the processor and the core, wired.
fn top(board: &Board, processor: &Processor, core: &str) -> Result<Module, BoardError> {
    let core_ports = ports(core, tandem_hw::TOP)?;
    let fixed: &[(&str, u32)] = if processor.has_fixed_ports() { &FIXED_PORTS } else { &[] };
    let mut module = Module { name: TOP.to_owned(), ports: board.ports(), ..Module::default() };
    let mut system = Instance::new("system", "system");
    let mut of_core = Instance::new(tandem_hw::TOP, "core");
    for (name, bits) in fixed {
        let bits = (*bits > 1).then_some(*bits);
        module.ports.push(Port { name: (*name).to_owned(), direction: Direction::Inout, bits });
        system = system.wire(*name, *name);
    }
    for port in &core_ports {
        let net = match system_port(port) {
            Some(other) => {
                system = system.wire(other, port.name.as_str());
                port.name.clone()
            }
            None if port.name == "probe_running" => port.name.clone(),
            // Probes are for simulation.
            None => continue,
        };
        // The processor's addresses are wider than the window of the registers.
        let wide = port.name.starts_with("s_axil_") && port.name.ends_with("addr");
        module.wires.push((net.clone(), if wide { Some(ADDRESS_BITS) } else { port.bits }));
        let part = port.bits.filter(|_| wide).map_or_else(String::new, |bits| format!("[{}:0]", bits - 1));
        of_core = of_core.wire(port.name.as_str(), net + &part);
    }
    // AXI has signals that this core does without: what they mean when a master does not care.
    for (name, value) in [("cache", "4'b0011"), ("prot", "3'b000"), ("lock", "1'b0"), ("qos", "4'b0000")] {
        for channel in ["ar", "aw"] {
            system = system.wire(format!("S_AXI_{channel}{name}"), value);
        }
    }
    module.instances.extend([system, of_core]);
    if board.leds > 0 {
        let shown = match board.leds {
            1 => "irq".to_owned(),
            leds => {
                format!("{{{}irq, probe_running}}", if leds > 2 { format!("{}'d0, ", leds - 2) } else { String::new() })
            }
        };
        let shown = if board.leds_active_low { format!("~{shown}") } else { shown };
        module.assigns.push(("led".to_owned(), shown));
    }
    Ok(module)
}

fn script(board: &Board, config: &HwConfig, processor: Option<&Processor>) -> Vec<Command> {
    let file = |name: &str| Word::Call(command("file").words(&["join"]).word(Word::Variable("here")).words(&[name]));
    let here = command("file")
        .words(&["dirname"])
        .call(command("file").words(&["normalize"]).call(command("info").words(&["script"])));
    let mut commands = versions::check();
    commands.push(command("set").words(&["here"]).call(here));
    commands.push(command("cd").word(Word::Variable("here")));
    commands.push(command("set_part").words(&[&board.part]));
    let project = command("current_project");
    commands.push(command("set_property").words(&["TARGET_LANGUAGE", "Verilog"]).call(project));
    commands.push(command("read_verilog").word(file(DESIGN)).comment("The design."));
    if let Some(processor) = processor {
        commands.push(command("read_verilog").word(file(CORE)));
        let registers = match board.host {
            Host::Axi { base, bytes } => (base, bytes),
            Host::Uart { .. } => (0, 4096),
        };
        commands.extend(processor.block_design(&Request {
            clock_hz: board.clock_hz,
            registers,
            memory_bytes: board.memory.bytes(),
            bus_bits: config.bus_bytes() as u32 * 8,
        }));
        let system = || command("get_files").words(&["system.bd"]);
        commands.push(command("set_property").words(&["SYNTH_CHECKPOINT_MODE", "None"]).call(system()));
        commands.push(command("generate_target").words(&["all"]).call(system()));
    }
    commands.push(command("read_xdc").word(file(&board.constraints.0)));
    commands.push(
        command("synth_design")
            .words(&["-top", TOP, "-part", &board.part])
            .comment("From Verilog to a bitstream, with a report of what was taken and of the clocks."),
    );
    for step in ["opt_design", "place_design", "phys_opt_design", "route_design"] {
        commands.push(command(step));
    }
    let report = |name: &str, output: &str| command(name).words(&["-file"]).word(file(output));
    commands.push(report("report_utilization", "utilization.rpt"));
    commands.push(report("report_timing_summary", "timing.rpt"));
    let worst = command("get_timing_paths").words(&["-max_paths", "1", "-setup"]);
    commands.push(command("set").words(&["slack"]).call(command("get_property").words(&["SLACK"]).call(worst)));
    let slow = Word::Joined(vec![
        text("the clock is too fast by "),
        Word::Variable("slack"),
        text(" ns; timing.rpt has the path"),
    ]);
    commands.push(
        command("if")
            .word(Word::Expression("$slack < 0".to_owned()))
            .word(Word::Body(vec![command("error").word(slow)])),
    );
    commands.push(command("write_bitstream").words(&["-force"]).word(file("top.bit")));
    commands
}
