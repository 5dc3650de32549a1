//! Products of 8-bit codes: rows of activations times packed weights, through the output stage.
//!
//! `acc[m, n] = sum over k of (x[m, k] - zx) (w[n, k] - zw[n])`, in 32 bits that wrap. Two forms of the operands compute it. With
//! AVX-512 VNNI ([`Quad`](pack::Quad)), activations are bytes without sign and weights bytes with one; four products go to a sum at
//! once, and what the zero points make of the sum is folded into the bias. Elsewhere ([`Pair`](pack::Pair)), both are centred in 16
//! bits and two products go to a sum at once.
//!
//! Activations are read where they lie: a row of a product is a list of segments of equal length, relative to a base. For a matrix
//! that is the row; for a convolution, the rows of a window in a padded image, so that patches are never gathered.

#[cfg(target_arch = "x86_64")]
mod epilogue;
mod multiply;
mod pack;
mod portable;
mod source;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use multiply::multiply;
pub(crate) use pack::{Aligned, Codes, Form, Weights};
pub(crate) use source::{Layout, Matrix, Source, convert, pitch};
pub(crate) use tile::{Place, heights};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::by_height;

/// Outputs that one vector of sums holds.
pub(crate) const LANES: usize = 16;
