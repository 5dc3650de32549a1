//! Blocks between two AXI-Streams, outside the core: what they do has one word a cycle as its limit, and they reach it.
//!
//! | what | where |
//! |---|---|
//! | XOR of chosen buckets of a database, for many queries at once | [`PirXor`] |
//! | rows of invariant bit packing to words | [`IbpUnpack`] |
//! | bits to the free places of a word, order kept | [`butterfly`] |
//!
//! A stream is `valid`, `ready`, `data` and `last`; a word moves in a cycle in which both `valid` and `ready` are set, and once
//! `valid` is set it stays, with its word, until then. Sizes are checked by the constructor of a block; its `module` is pure.

pub mod butterfly;
mod ibp_unpack;
mod pir_xor;

pub use ibp_unpack::{CONFIG_WORDS, IbpUnpack};
pub use pir_xor::PirXor;

use tandem_rtl::MemoryStyle;
use thiserror::Error;

use crate::target::Target;

/// The deepest memory that lies in look-up tables; a deeper one takes block RAM.
const SHALLOW: u32 = 32;

/// Sizes that a block cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// Words of another width.
    #[error("a stream of {0}-bit words: the words of this block have 32 or 64 bits")]
    Width(u32),
    /// Too few or too many of something.
    #[error("{found} {what}: this block has between {first} and {last}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The number asked for.
        found: u32,
        /// The least.
        first: u32,
        /// The most.
        last: u32,
    },
}

fn check_width(bits: u32) -> Result<(), StreamError> {
    if matches!(bits, 32 | 64) { Ok(()) } else { Err(StreamError::Width(bits)) }
}

fn check_count(what: &'static str, found: u32, last: u32) -> Result<(), StreamError> {
    if (1..=last).contains(&found) { Ok(()) } else { Err(StreamError::Count { what, found, first: 1, last }) }
}

/// What a memory of this many words lies in.
fn style(target: &Target, words: u32) -> MemoryStyle {
    match (words <= SHALLOW, target.lut_ram) {
        (true, true) => MemoryStyle::Distributed,
        (true, false) => MemoryStyle::Registers,
        (false, _) => MemoryStyle::Block,
    }
}
