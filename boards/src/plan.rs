//! What is to be run for a bitstream: steps with arguments, inputs and outputs, as a value.

use std::fmt::Write;

use serde::Serialize;
use tandem_isa::HwConfig;

use crate::board::{Board, Flow};
use crate::tools::Tool;
use crate::{BoardError, TOP};

/// The design, as the first step reads it.
pub const DESIGN: &str = "top.v";
/// The netlist as JSON.
pub const NETLIST: &str = "netlist.json";
/// The netlist as Verilog.
pub const NETLIST_VERILOG: &str = "netlist.v";
/// Cells by type, counted after synthesis.
pub const CELLS: &str = "cells.json";
/// The placed and routed design, with the place of every cell.
pub const ROUTED: &str = "routed.json";
/// Clocks, paths and utilisation of the routed design.
pub const TIMING: &str = "timing.json";

/// One run of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does.
    pub name: String,
    /// The program.
    pub tool: Tool,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Files that it reads.
    pub inputs: Vec<String>,
    /// Files that it writes.
    pub outputs: Vec<String>,
    /// The file that gets what it says.
    pub log: String,
}

/// What follows from one seed: a routed design and its bitstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The seed.
    pub seed: u64,
    /// Placing and routing.
    pub route: Step,
    /// Packing; of several trials only the fastest is packed.
    pub pack: Step,
}

/// The way to a bitstream, as a function of the board, the configuration and the seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The board.
    pub board: String,
    /// The digest of the configuration.
    pub config_digest: String,
    /// Hertz that the design must reach.
    pub clock_hz: u64,
    /// From Verilog to a netlist.
    pub synthesis: Step,
    /// From the netlist to a bitstream, for each seed.
    pub trials: Vec<Trial>,
    /// The name of the bitstream.
    pub bitstream: String,
}

impl Plan {
    /// The plan for a board whose bitstream is made here.
    ///
    /// # Errors
    /// [`BoardError::Refused`] for a board whose tools are not among ours, and for no seeds.
    pub fn new(board: &Board, config: &HwConfig, seeds: &[u64]) -> Result<Plan, BoardError> {
        if !board.flow.is_open() {
            return Err(board.refused("its bitstream is made by Vivado; there is no plan, but a project"));
        }
        if seeds.is_empty() {
            return Err(board.refused("no seed was given"));
        }
        Ok(Plan {
            board: board.name.clone(),
            config_digest: format!("{:#010x}", config.digest()),
            clock_hz: board.clock_hz,
            synthesis: synthesis(board, TOP)?,
            trials: seeds.iter().map(|&seed| trial(board, seed)).collect(),
            bitstream: bitstream(board),
        })
    }

    /// Every step, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let trials = self.trials.iter().flat_map(|trial| [&trial.route, &trial.pack]);
        std::iter::once(&self.synthesis).chain(trials)
    }

    /// The plan as text: one block a step, arguments one a line.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "board {}, configuration {}, {} Hz", self.board, self.config_digest, self.clock_hz);
        for step in self.steps() {
            let _ = writeln!(text, "\n{}: {}", step.name, step.tool.program());
            for argument in &step.arguments {
                let _ = writeln!(text, "    {argument}");
            }
            let _ = writeln!(text, "  reads {}", step.inputs.join(", "));
            let _ = writeln!(text, "  writes {}; says {}", step.outputs.join(", "), step.log);
        }
        if self.trials.len() > 1 {
            let _ = writeln!(text, "\nof these {} seeds only the fastest is packed", self.trials.len());
        }
        text
    }
}

/// The name of the bitstream of a board.
pub fn bitstream(board: &Board) -> String {
    format!("top.{}", board.flow.extension())
}

/// The command of yosys for a board's family.
fn synthesis_command(board: &Board) -> Result<String, BoardError> {
    let command = match board.flow {
        Flow::Ecp5 => "synth_ecp5",
        // Without -dsp: that pass drops a multiplier whose product is added to another.
        Flow::Ice40 => "synth_ice40 -device u",
        Flow::Gowin => "synth_gowin -family gw2a",
        Flow::Vivado if board.part.starts_with("xc7") => "synth_xilinx -family xc7 -flatten -noiopad",
        Flow::Vivado => "synth_xilinx -family xcup -flatten -noiopad",
    };
    let forbidden = board.options.synthesis.iter().find(|option| board.flow == Flow::Ice40 && *option == "-dsp");
    if forbidden.is_some() {
        return Err(board.refused("options.synthesis: -dsp makes wrong netlists for iCE40; take it out"));
    }
    Ok([&[command.to_owned()][..], &board.options.synthesis].concat().join(" "))
}

/// The synthesis of a design with this top module, alone.
///
/// # Errors
/// [`BoardError::Refused`] for options that make wrong netlists.
pub(crate) fn synthesis(board: &Board, top: &str) -> Result<Step, BoardError> {
    let command = synthesis_command(board)?;
    let script = format!(
        "read_verilog {DESIGN}; {command} -top {top} -json {NETLIST}; write_verilog -noattr {NETLIST_VERILOG}; \
         tee -o {CELLS} stat -json"
    );
    Ok(Step {
        name: "synthesis".to_owned(),
        tool: Tool::Yosys,
        arguments: vec!["-p".to_owned(), script],
        inputs: vec![DESIGN.to_owned()],
        outputs: [NETLIST, NETLIST_VERILOG, CELLS].map(str::to_owned).to_vec(),
        log: "synthesis.log".to_owned(),
    })
}

fn trial(board: &Board, seed: u64) -> Trial {
    let constraints = board.constraints.0.as_str();
    // A tool whose figures are not believed in full must aim higher.
    let aim = board.clock_hz as f64 / board.derate / 1e6;
    let (tool, mut arguments, placed) = match board.flow {
        Flow::Ecp5 => {
            let device = format!("--{}", board.device);
            let head = [&device, "--package", &board.package, "--speed", &board.speed, "--lpf", constraints];
            (
                Tool::NextpnrEcp5,
                own(&[&head[..], &["--json", NETLIST, "--textcfg", "top.config"]].concat()),
                "top.config",
            )
        }
        Flow::Ice40 => {
            let device = format!("--{}", board.device);
            let head =
                [&device, "--package", &board.package, "--pcf", constraints, "--json", NETLIST, "--asc", "top.asc"];
            (Tool::NextpnrIce40, own(&head), "top.asc")
        }
        Flow::Gowin | Flow::Vivado => {
            let (family, file) = (format!("family={}", board.device), format!("cst={constraints}"));
            let head = ["--device", &board.part, "--vopt", &family, "--vopt", &file, "--json", NETLIST];
            (Tool::NextpnrGowin, own(&head), ROUTED)
        }
    };
    arguments.extend(own(&["--write", ROUTED, "--report", TIMING, "--timing-allow-fail"]));
    arguments.extend(own(&["--freq", &format!("{aim:.3}"), "--seed", &seed.to_string()]));
    arguments.extend(board.options.place_and_route.iter().cloned());
    let mut outputs = vec![placed, TIMING];
    if placed != ROUTED {
        outputs.push(ROUTED);
    }
    let route = Step {
        name: format!("place and route, seed {seed}"),
        tool,
        arguments,
        inputs: own(&[NETLIST, constraints]),
        outputs: own(&outputs),
        log: format!("route-{seed}.log"),
    };
    let bits = bitstream(board);
    let (tool, mut arguments) = match board.flow {
        Flow::Ecp5 => (Tool::Ecppack, own(&["--compress", placed, &bits])),
        Flow::Ice40 => (Tool::Icepack, own(&[placed, &bits])),
        Flow::Gowin | Flow::Vivado => (Tool::GowinPack, own(&["-d", &board.device, "-o", &bits, placed])),
    };
    arguments.extend(board.options.pack.iter().cloned());
    let pack = Step {
        name: "pack".to_owned(),
        tool,
        arguments,
        inputs: own(&[placed]),
        outputs: vec![bits],
        log: "pack.log".to_owned(),
    };
    Trial { seed, route, pack }
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
