//! The Verilog of a board: the one place where a board and a configuration become a design.

use tandem_isa::HwConfig;

use crate::trial::trial_design;
use crate::{Board, BoardError};

/// The whole design as one text; its top module is [`crate::TOP`], with the ports of [`Board::ports`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn design(board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    Ok(trial_design(board, config.digest()))
}

/// The core alone, for a board whose processor is on the same chip; its top module is [`tandem_hw::TOP`].
///
/// # Errors
/// Where there is no design for this board and configuration.
pub fn core(_board: &Board, config: &HwConfig) -> Result<String, BoardError> {
    Ok(tandem_hw::verilog(config))
}
