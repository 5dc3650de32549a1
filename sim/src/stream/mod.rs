//! The blocks of `tandem_hw::stream`, Verilated, with streams that come and go as patterns say, and what they ought to give.
//!
//! | what | where |
//! |---|---|
//! | from a block to a library | [`StreamModel`], `stream.cpp`, `sys.rs` |
//! | sources and sinks, when they hold up a stream, what stops a run | [`Drive`], [`Pattern`], [`StreamFault`] |
//! | which cycles are whose | [`StreamReport`] |
//! | a scan for private information retrieval and its plain reference | [`PirScan`], [`run_pir`] |
//! | packed rows and the run that unpacks them | [`IbpRow`], [`run_ibp`] |
//! | a packer, and columns with rows at random | [`pack`], [`IbpSample`] |

mod bench;
mod ibp;
mod model;
mod packing;
mod pir;
mod sys;

pub use bench::{Drive, Mismatch, Pattern, StreamFault, StreamReport};
pub use ibp::{IbpRow, run_ibp};
pub use model::StreamModel;
pub use packing::{IbpSample, pack};
pub use pir::{PirScan, run_pir};
