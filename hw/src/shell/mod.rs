//! What surrounds the core on a board: memory, serial line, bridge, lights. One core, thin shells.
//!
//! ```text
//!  uart_rx --> receiver --+             +--> AXI4-Lite --> core (module `tandem`)
//!                         +--> bridge --+                    | AXI4
//!  uart_tx <-- transmitter+             +--> memory port <---+
//!                                             +--> block RAM, SPRAM or SDRAM
//! ```
//!
//! | what | where |
//! |---|---|
//! | bytes on the line | `uart.rs` |
//! | frames, commands, words | `bridge.rs` |
//! | the core's bus and the bridge on one memory | `port.rs`; `direct.rs` for a machine without queues |
//! | memories inside the FPGA | `ram.rs` |
//! | SDRAM | `sdram.rs` |
//! | all of it with the core, for any vendor | `board.rs` |
//! | PLL, reset and pads of a vendor around that | `wrapper.rs` |
//!
//! The bridge's address space, in bytes: device memory from 0, the core's registers from `0xf000_0000`, the words of the shell from
//! `0xf000_1000`: magic `TDM1`, version, bytes of memory, clock in hertz, baud, frames refused; a 1 written to word 6 lets plain
//! commands in again.

mod board;
mod bridge;
mod direct;
pub mod port;
mod ram;
mod sdram;
mod uart;
mod wrapper;

use serde::{Deserialize, Serialize};
use tandem_isa::HwConfig;
use thiserror::Error;

use crate::size::BURST_BEATS;

pub use board::{BOARD, board_cells, board_verilog};
pub use sdram::{Sdram, controller};
pub use uart::LEAST_DIVISOR;
pub use wrapper::{Edge, Pins, Pll, SdramClock, Vendor, WRAPPER, wrapper_verilog};

/// The shell of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// The one clock, in hertz.
    pub clock_hz: u32,
    /// Bits a second on the serial line.
    pub baud: u32,
    /// Lights: heartbeat, running, done, stopped by an error, host; as many of these as there are.
    pub leds: u32,
    /// The device memory.
    pub memory: Memory,
}

/// The device memory of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Memory {
    /// A chip of SDRAM.
    Sdram(Sdram),
    /// The four 32 KB single-port RAMs of an iCE40 UltraPlus.
    Spram,
    /// Block RAM.
    BlockRam {
        /// Its size, a power of two.
        bytes: u32,
    },
}

/// A shell that cannot be built (Invalid).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShellError {
    /// Bits too short for the clock.
    #[error(
        "{baud} baud leaves {divisor} clock cycles in a bit of the serial line at {clock_hz} Hz, and {LEAST_DIVISOR} are \
         needed; lower the baud rate"
    )]
    Baud {
        /// Bits a second.
        baud: u32,
        /// The clock.
        clock_hz: u32,
        /// Cycles in a bit.
        divisor: u32,
    },
    /// A rate that the clock does not divide to.
    #[error(
        "{baud} baud is {percent} % away from the nearest rate of a {clock_hz} Hz clock, and 2 % is the most a serial line \
         bears; choose another rate or clock"
    )]
    BaudError {
        /// Bits a second.
        baud: u32,
        /// The clock.
        clock_hz: u32,
        /// How far away the nearest rate is.
        percent: u32,
    },
    /// A chip that there is no controller for.
    #[error("the SDRAM has {problem}; correct the facts of the chip")]
    Sdram {
        /// What is wrong.
        problem: String,
    },
    /// Pins that do not go with the shell.
    #[error("the pins do not go with the shell: {problem}; correct the pins")]
    Pins {
        /// What is wrong.
        problem: String,
    },
    /// A memory that the machine cannot use.
    #[error("{what} is a memory of {bytes} bytes, and the machine {needs}; {remedy}")]
    Memory {
        /// The memory.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// What the machine asks of it.
        needs: String,
        /// What to do.
        remedy: String,
    },
}

impl Memory {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Memory::Sdram(sdram) => sdram.bytes(),
            Memory::Spram => 8 << ram::LOG_SPRAM_WORDS,
            Memory::BlockRam { bytes } => (*bytes).into(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Memory::Sdram(_) => "SDRAM",
            Memory::Spram => "SPRAM",
            Memory::BlockRam { .. } => "block RAM",
        }
    }
}

impl Shell {
    /// Clock cycles in a bit of the serial line.
    ///
    /// # Errors
    /// [`ShellError::Baud`] and [`ShellError::BaudError`].
    pub fn divisor(&self) -> Result<u32, ShellError> {
        let (clock_hz, baud) = (self.clock_hz, self.baud);
        let divisor = clock_hz.saturating_add(baud / 2).checked_div(baud).unwrap_or(0);
        if divisor < LEAST_DIVISOR {
            return Err(ShellError::Baud { baud, clock_hz, divisor });
        }
        let actual = u64::from(clock_hz) / u64::from(divisor);
        let percent = (actual.abs_diff(baud.into()) * 100 / u64::from(baud)) as u32;
        if percent >= 2 {
            return Err(ShellError::BaudError { baud, clock_hz, percent });
        }
        Ok(divisor)
    }

    /// Whether the memory and the machine go together.
    ///
    /// # Errors
    /// [`ShellError::Memory`] and [`ShellError::Sdram`].
    pub fn check(&self, config: &HwConfig) -> Result<(), ShellError> {
        let (what, bytes) = (self.memory.name(), self.memory.bytes());
        let bad =
            |needs: String, remedy: &str| Err(ShellError::Memory { what, bytes, needs, remedy: remedy.to_owned() });
        if !bytes.is_power_of_two() || bytes < 4096 {
            return bad("needs a power of two of at least 4096 bytes".to_owned(), "change the size of the memory");
        }
        let reach = 1u64 << config.dram_bits();
        if reach < bytes {
            return bad(format!("reaches {reach} bytes (dram_bits = {})", config.dram_bits()), "raise dram_bits");
        }
        if let Memory::Sdram(sdram) = &self.memory {
            if let Some(problem) = sdram.problem(self.clock_hz) {
                return Err(ShellError::Sdram { problem });
            }
            let burst = u64::from(BURST_BEATS) * config.bus_bytes() as u64;
            if sdram.row_bytes() < burst {
                let row = sdram.row_bytes();
                return bad(format!("has bursts of {burst} bytes, more than a row's {row}"), "use fewer bus_bits");
            }
            let part = sdram.data_bits as usize / 8;
            let element = config.out_elem_bytes();
            if !sdram.masks && !element.is_multiple_of(part) {
                let needs = format!("writes elements of {element} bytes, where only {part} at a time can be written");
                return bad(needs, "choose a larger block_out or batch");
            }
        }
        if self.memory == Memory::Spram && config.bus_bytes() != 8 {
            return bad(format!("has a bus of {} bits", config.bus_bytes() * 8), "use bus_bits = 64");
        }
        Ok(())
    }
}
