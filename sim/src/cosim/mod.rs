//! Co-simulation: random programs on two devices that must behave alike.
//!
//! [`Generator`] makes programs that are legal by construction; any two devices behind a bus run them, and [`Checker`]
//! compares what they did.
//!
//! | what | where |
//! |---|---|
//! | programs, cases, styles | `generate.rs` |
//! | what they work on | `space.rs`, `image.rs` |
//! | loads, stores, NOPs | `transfer.rs` |
//! | arithmetic | `arithmetic.rs` |
//! | tokens | `token.rs` |
//! | what was exercised | `coverage.rs` |
//! | a device that takes part | `party.rs` |
//! | comparing | `check.rs` |
//! | faults to find | `mutant.rs` |
//! | finding them | `hunt.rs` |

mod arithmetic;
mod check;
mod coverage;
mod generate;
mod hunt;
mod image;
mod mutant;
mod party;
mod space;
mod token;
mod transfer;

pub use crate::random::Random;
pub use check::{Checker, CosimReport, Mismatch, What};
pub use coverage::Coverage;
pub use generate::{Case, Generator, Style};
pub use hunt::{Catch, HuntError, applicable, hunt};
pub use mutant::{Mutant, MutantError, mutate, parse_mutants};
pub use party::{CosimError, End, Party};
pub use token::serialise;

/// The faults of the hardware that co-simulation must find, in the form that [`parse_mutants`] reads.
pub const MUTANTS: &str = include_str!("../../mutants.toml");

/// The machine on which mutants are looked for where the user names none, as TOML.
pub const MUTANTS_HW: &str = include_str!("../../mutants-hw.toml");
