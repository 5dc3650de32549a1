//! A whole board in simulation: the Verilated module `board`, the other end of its serial line, and its memory chip.
//!
//! ```text
//! Verilog of `board` + cells --verilator, c++--> BoardModel --> BoardSim --> Cable --> BoardPort : tandem_driver::serial::Port
//! ```
//!
//! The Verilog is either the design or a netlist of it over its vendor's cells: the ports are the same. A host talks to the
//! board by bytes alone, each of which takes its ten bit times on the line.
//!
//! | what | where |
//! |---|---|
//! | translating and compiling | `model.rs`, with the build recipe of [`crate::tsim`] |
//! | clock, serial line, the pins of the memory chip | `board.cpp`, and its Rust side `sys.rs` |
//! | a board that runs | `run.rs` |
//! | the memory chip's seam | `chip.rs` |
//! | when time passes, and a cable that loses bytes | `cable.rs` |
//! | a host's end of the line, in the same process | `port.rs` |

mod cable;
mod chip;
mod error;
mod model;
mod port;
mod run;
mod sys;

pub use cable::{Cable, CableCounts, CableFaults};
pub use chip::{Chip, ChipPins, chip_of};
pub use error::BoardSimError;
pub use model::BoardModel;
pub use port::BoardPort;
pub use run::{BoardOptions, BoardSim, Until};
