//! Where the rows of activations come from.

use super::pack::{Codes, Form};
use std::ops::Range;

/// A row of activations relative to its base: segments of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// First activation of each segment.
    pub(crate) segments: Vec<usize>,
    /// Activations of a segment.
    pub(crate) length: usize,
}

impl Layout {
    /// Rows in one piece.
    pub(crate) fn plain(k: usize) -> Layout {
        Layout { segments: vec![0], length: k }
    }
}

/// Rows of activations, brought to their form a block at a time.
pub(crate) trait Source: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// Where a block that begins at `begin` with at most `most` rows ends: behind one row at least.
    fn block(&self, begin: usize, most: usize) -> usize {
        (begin + most.max(1)).min(self.rows())
    }

    /// The only row, where its activations are codes as they lie.
    fn row(&self) -> Option<Codes<'_>> {
        None
    }

    /// About how many activations a row adds to a block.
    fn row_size(&self) -> usize;

    /// Activations of a block.
    fn size<F: Form>(&self, rows: Range<usize>) -> usize;

    /// Writes the activations of a block, and appends the base of each row.
    fn fill<F: Form>(&self, rows: Range<usize>, activations: &mut [F::X], bases: &mut Vec<usize>);
}

/// The rows of a matrix.
pub(crate) struct Matrix<'a> {
    pub(crate) codes: Codes<'a>,
    pub(crate) zero: u8,
    pub(crate) rows: usize,
    pub(crate) k: usize,
}

impl Source for Matrix<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn row(&self) -> Option<Codes<'_>> {
        (self.rows == 1).then_some(self.codes)
    }

    fn row_size(&self) -> usize {
        self.k
    }

    fn size<F: Form>(&self, rows: Range<usize>) -> usize {
        rows.len() * pitch::<F>(self.k)
    }

    #[inline(always)]
    fn fill<F: Form>(&self, rows: Range<usize>, activations: &mut [F::X], bases: &mut Vec<usize>) {
        let whole = pitch::<F>(self.k);
        bases.extend((0..rows.len()).map(|row| row * whole));
        let codes = &self.codes.bytes[rows.start * self.k..rows.end * self.k];
        if whole == self.k {
            convert::<F>(activations, codes, self.codes.flip(), self.zero);
            return;
        }
        // What stands behind a row meets weights of zero.
        for (to, row) in activations.chunks_exact_mut(whole).zip(codes.chunks_exact(self.k)) {
            convert::<F>(&mut to[..self.k], row, self.codes.flip(), self.zero);
        }
    }
}

/// Activations from one row of `k` to the next: whole steps, and no distance that would bring the rows of a tile to the same sets
/// of the first cache.
pub(crate) fn pitch<F: Form>(k: usize) -> usize {
    let whole = k.next_multiple_of(F::GROUP);
    if whole > 0 && whole.is_multiple_of(1024) { whole + 64 } else { whole }
}

/// The activations of codes. There is room for as many at least.
#[inline(always)]
pub(crate) fn convert<F: Form>(activations: &mut [F::X], codes: &[u8], flip: u8, zero: u8) {
    let activations = &mut activations[..codes.len()];
    // Rows are short: whole vectors by their number, without the loops that bring a pointer to alignment.
    let ((blocks, rest), (from, codes)) = (activations.as_chunks_mut::<64>(), codes.as_chunks::<64>());
    for (block, codes) in blocks.iter_mut().zip(from) {
        *block = codes.map(|code| F::activation(code ^ flip, zero));
    }
    for (x, &code) in rest.iter_mut().zip(codes) {
        *x = F::activation(code ^ flip, zero);
    }
}
