//! Why a simulated board was not made, or stopped.

use tandem_driver::ErrorClass;
use thiserror::Error;

use crate::tsim::TsimError;

/// What can go wrong between the text of a board and a board that runs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BoardSimError {
    /// The model could not be built or loaded, or waveforms not be written.
    #[error(transparent)]
    Model(#[from] TsimError),
    /// The serial line is faster than the clock can follow (Invalid).
    #[error(
        "a bit of the serial line must take at least 4 cycles of the clock, and at {baud} bit/s and {clock_hz} Hz it does not"
    )]
    Baud {
        /// Clock of the board.
        clock_hz: u64,
        /// Bits a second on the line.
        baud: u64,
    },
    /// The board has a memory chip and none was given, or the other way round (Invalid).
    #[error("the board {}", if *.board { "has pins for a memory chip, and none was given" } else { "has no pins for the memory chip that was given" })]
    Chip {
        /// Whether the board has the pins.
        board: bool,
    },
    /// The board breaks a rule of its memory chip, or stops itself (Fault).
    #[error("{0}")]
    Violation(String),
}

impl BoardSimError {
    /// How a caller should treat it.
    pub fn class(&self) -> ErrorClass {
        match self {
            BoardSimError::Model(error) => error.class(),
            BoardSimError::Baud { .. } | BoardSimError::Chip { .. } => ErrorClass::Invalid,
            BoardSimError::Violation(_) => ErrorClass::Fault,
        }
    }
}
