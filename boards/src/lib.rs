//! Boards: what is known of each, and the way from a configuration to a bitstream.
//!
//! | what | where |
//! |---|---|
//! | facts of a board, checked | [`Board`]; folders built in ([`find`], [`names`]) or given by path ([`load`]) |
//! | clocks | [`pll`] |
//! | the Verilog of a board | [`design`] |
//! | what is to be run, as a value | [`Plan`] |
//! | running it, with a cache | [`run::Runner`], [`Bitstream`] |
//! | what came of it | [`Report`] |
//! | how far it was compared with the design | [`proof`] |
//! | what a configuration takes, foretold | [`area`] |
//! | which configurations to look at | [`explore`] |
//! | projects for Vivado | [`vivado`] |
//!
//! The crate prints nothing and reads no environment: where tools are and what is kept where is handed in.
#![forbid(unsafe_code)]

pub mod area;
mod board;
mod catalogue;
mod constraints;
mod design;
mod error;
pub mod explore;
mod folder;
mod make;
mod manifest;
mod picture;
mod placement;
pub mod plan;
pub mod pll;
pub mod proof;
pub mod report;
pub mod resources;
pub mod run;
mod sha256;
pub mod timing;
mod tools;
mod trial;
pub mod verilog;
pub mod vivado;

pub use board::{Board, Budget, Direction, Flow, Host, Memory, Options, Oscillator, Port, Sdram};
pub use catalogue::{find, load, names};
pub use constraints::pins;
pub use design::{core, design, inside, shell, target};
pub use error::{BoardError, Shortage};
pub use make::{Bitstream, estimate};
pub use placement::{Placed, Placement, blocks, placement};
pub use plan::Plan;
pub use report::Report;
pub use sha256::sha256;
pub use tools::{Tool, Tools};
pub use trial::trial_design;

/// The name of the top module.
pub const TOP: &str = "top";
