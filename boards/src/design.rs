//! The Verilog of a board: the one place where a board and a configuration become a design.

use tandem_hw::shell::{self, Shell, board_verilog};
use tandem_isa::HwConfig;

use crate::wrapper::wrapper;
use crate::{Board, BoardError, Host, Memory};

/// The whole design as one text; its top module is [`crate::TOP`], with the ports of [`Board::ports`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn design(board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    let inside = board_verilog(config, &shell(board)?).map_err(|error| board.refused(error.to_string()))?;
    Ok(wrapper(board) + "\n" + &inside)
}

/// The core alone, for a board whose processor is on the same chip; its top module is [`tandem_hw::TOP`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn core(_board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    Ok(tandem_hw::verilog(config))
}

/// What surrounds the core on a board with a serial line.
///
/// # Errors
/// [`BoardError::Refused`] for a board with a processor, and for a memory that there is no shell for.
pub fn shell(board: &Board) -> Result<Shell, BoardError> {
    let Host::Uart { baud, .. } = board.host else {
        return Err(board.refused("the core is wired to the processor; it has no shell"));
    };
    let few = |value: u64| u32::try_from(value).map_err(|_| board.refused(format!("{value} is too much for a shell")));
    let memory = match &board.memory {
        Memory::Spram => shell::Memory::Spram,
        Memory::BlockRam { bytes } => shell::Memory::BlockRam { bytes: few(*bytes)? },
        other => return Err(board.refused(format!("there is no shell with {} yet", other.describe()))),
    };
    Ok(Shell { clock_hz: few(board.clock_hz)?, baud, leds: board.leds, memory })
}
