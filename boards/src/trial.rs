//! A small design with the ports of a board: the whole flow in seconds, to see that tools, constraints and PLL are right.

use tandem_hw::shell::BOARD;

use crate::BoardError;
use crate::board::{Board, Direction, Memory};
use crate::design::{inside, wrapper};
use crate::verilog::{Instance, Module, ports};

/// What the outputs of the trial are made of.
const TRIAL: &str = include_str!("trial.v");

/// The design as one text; its top module is [`crate::TOP`], with the ports of [`Board::ports`]. A multiplier, a memory and a counter
/// drive every output; the counter begins with `seed`, so that designs differ.
///
/// # Errors
/// Where there is no design for this board.
pub fn trial_design(board: &Board, seed: u32) -> Result<String, BoardError> {
    let ports = ports(&inside(board, &board.config)?, BOARD)?;
    let has = |name: &str| ports.iter().any(|port| port.name == name);
    let seen = match &board.memory {
        Memory::Sdram(sdram) if sdram.data_bits == 32 => "sdram_dq_in".to_owned(),
        Memory::Sdram(sdram) => format!("{{{}'d0, sdram_dq_in}}", 32 - sdram.data_bits),
        _ => "32'd0".to_owned(),
    };
    let rx = if has("uart_rx") { "uart_rx" } else { "1'b1" };
    let trial = Instance::new("trial", "core")
        .wire("clock", "clock")
        .wire("reset", "reset")
        .wire("in", rx)
        .wire("seed", format!("32'd{seed}"))
        .wire("seen", seen)
        .wire("state", "state");
    let outputs = ports.iter().filter(|port| port.direction == Direction::Output);
    let assigns = outputs.map(|port| {
        let bits = port.bits.unwrap_or(1).min(32);
        (port.name.clone(), format!("state[{}:0]", bits - 1))
    });
    let module = Module {
        name: BOARD.to_owned(),
        assigns: assigns.collect(),
        wires: vec![("state".to_owned(), Some(32))],
        instances: vec![trial],
        ports: ports.clone(),
    };
    Ok(wrapper(board)? + "\n" + &module.to_verilog() + "\n" + TRIAL)
}
