//! Invariant bit packing: lossless compression of matrices whose columns have bits that are nearly always the same.
//!
//! Bit positions of a column that hardly change are its `mask`, what they nearly always are its `bitval`. A word *participates* where
//! `word & mask == bitval`; then only its other bits are kept. Every row is packed by itself, so that any of them can be
//! fetched alone, and stays as it is where packing would not make it shorter.
//!
//! # Packed rows
//! A packed row of `columns` words of `T` bits is itself a list of words of `T` bits:
//!
//! ```text
//! participation   ceil(columns / T) words; bit c % T of word c / T tells whether column c participates; bits beyond are 0
//! stream          for each column in order the bits outside its mask where it participates, else all bits of the word,
//!                 the most significant first; the first bit of the stream is the most significant of its first word;
//!                 the last word is filled up with zeros
//! ```
//!
//! # Source
//! Invariant Bit Packing, EuroSys 2026. Ours are the choice of masks, column by column ([`train`]), and the archive ([`archive`]).

pub mod archive;
mod free;
mod layout;
mod row;
mod train;

pub use free::FreeBits;
pub use layout::Layout;
pub use row::{Stream, pack_row, packed_words, participation_words};
pub use train::{Trained, Training, train};

use std::fmt::Debug;
use tandem_tensor::Element;

/// A word of a matrix: an unsigned integer of 8 to 64 bits.
pub trait Word:
    Copy
    + 'static
    + Debug
    + Default
    + Ord
    + Send
    + Sync
    + std::ops::Not<Output = Self>
    + std::ops::BitAnd<Output = Self>
    + std::ops::BitOr<Output = Self>
    + std::ops::BitXor<Output = Self>
    + std::ops::Shl<u32, Output = Self>
    + std::ops::Shr<u32, Output = Self>
    + Element
{
    /// Bits of the word.
    const BITS: u32;
    /// Bytes of the word.
    const BYTES: usize = Self::BITS as usize / 8;

    /// The word as a wider one.
    fn wide(self) -> u64;
    /// The low bits of a wider word.
    fn low(word: u64) -> Self;
    /// Bits that are set.
    fn ones(self) -> u32;
    /// Shifted to the right by up to all bits.
    fn down(self, bits: u32) -> Self;
    /// The words of little-endian bytes; a last one that is cut off is left out.
    fn list(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! word {
    ($($ty:ty),*) => {
        $(impl Word for $ty {
            const BITS: u32 = <$ty>::BITS;

            #[inline(always)]
            fn wide(self) -> u64 {
                self.into()
            }

            #[inline(always)]
            fn low(word: u64) -> Self {
                word as $ty
            }

            #[inline(always)]
            fn ones(self) -> u32 {
                self.count_ones()
            }

            #[inline(always)]
            fn down(self, bits: u32) -> Self {
                self.checked_shr(bits).unwrap_or(0)
            }

            fn list(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|bytes| <$ty>::from_le_bytes(*bytes)).collect()
            }
        })*
    };
}

word!(u8, u16, u32, u64);

/// The masks of columns, and what their bits nearly always are; one list of columns for each cluster of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks<T> {
    /// Words of a row.
    pub columns: usize,
    /// Bits that a participating word does not keep: clusters x columns.
    pub mask: Vec<T>,
    /// What they are; 0 outside the mask: clusters x columns.
    pub bitval: Vec<T>,
}

impl<T: Word> Masks<T> {
    /// The masks and values of a cluster's columns.
    pub fn of(&self, cluster: usize) -> (&[T], &[T]) {
        let range = cluster * self.columns..(cluster + 1) * self.columns;
        (&self.mask[range.clone()], &self.bitval[range])
    }

    /// Sets of masks.
    pub fn clusters(&self) -> usize {
        self.mask.len().checked_div(self.columns).unwrap_or(0)
    }

    /// The first place whose value has bits outside its mask, where there is one.
    pub fn broken(&self) -> Option<usize> {
        self.mask.iter().zip(&self.bitval).position(|(&mask, &bitval)| bitval & !mask != T::default())
    }
}
