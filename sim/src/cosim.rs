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

mod arithmetic;
mod generate;
mod image;
mod random;
mod space;
mod token;
mod transfer;

pub use generate::{Case, Generator, Style};
pub use random::Random;
pub use token::serialise;
