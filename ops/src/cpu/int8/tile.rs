//! A panel of weights times a block of rows, tile by tile.

use super::LANES;
use super::pack::Form;
use crate::cpu::shared::Shared;
use crate::quantized::stage::Stage;
use std::mem::MaybeUninit;

/// The place of a product's results: row r goes to `out[r * stride + first..]`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) stride: usize,
}

/// A panel times a block.
pub(super) struct Tiles<'a, F: Form> {
    pub(super) activations: &'a [F::X],
    /// Of each row.
    pub(super) bases: &'a [usize],
    /// First activation of each step, from the base of a row.
    pub(super) offsets: &'a [usize],
    /// Activations that these reach behind a base.
    pub(super) reach: usize,
    pub(super) lines: &'a [F::Line],
    /// Vectors of the panel.
    pub(super) vectors: usize,
    /// First output of the panel, and how many it has.
    pub(super) first: usize,
    pub(super) outputs: usize,
    /// Zero points of the weights by output, and the sum of each row of activations; empty where no zero point is left.
    pub(super) zeros: &'a [i32],
    pub(super) sums: &'a [i32],
    pub(super) stage: &'a Stage,
    pub(super) place: Place,
    /// Row of the result that the first base belongs to.
    pub(super) row: usize,
    pub(super) out: Shared<'a, MaybeUninit<u8>>,
}

impl<F: Form> Tiles<'_, F> {
    /// Panics unless every read of the inner loops is inside the activations and the lines.
    #[inline(always)]
    pub(super) fn check(&self) {
        // A fold over plain numbers is vectorised.
        let most = |list: &[usize]| list.iter().fold(0, |most, &at| if at > most { at } else { most });
        let reach = most(self.bases) + self.reach;
        assert!(reach <= self.activations.len(), "a row reaches beyond the block");
        assert!(self.offsets.len() * self.vectors <= self.lines.len(), "a panel of too few lines");
    }

    /// Writes the codes of the sums of vector `vector` in the block's row `at`.
    #[inline(always)]
    pub(super) fn finish(&self, at: usize, vector: usize, mut sums: [i32; LANES]) {
        let first = self.first + vector * LANES;
        if let (Some(&row), Some(zeros)) = (self.sums.get(at), self.zeros.get(first..first + LANES)) {
            for (sum, &zero) in sums.iter_mut().zip(zeros) {
                *sum = sum.wrapping_sub(row.wrapping_mul(zero));
            }
        }
        self.write(at, vector, &self.stage.block(self.place.first + first, &sums));
    }

    /// Writes codes of vector `vector`, as many as it has outputs.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) fn write(&self, at: usize, vector: usize, codes: &[u8; LANES]) {
        let lanes = LANES.min(self.outputs - vector * LANES);
        // SAFETY: the place is used here alone.
        let out = unsafe { self.outputs(at, vector, lanes) };
        match out.as_mut_array::<LANES>() {
            Some(out) => *out = codes.map(MaybeUninit::new),
            None => _ = out.write_copy_of_slice(&codes[..lanes]),
        }
    }

    /// Where the results of a vector in the block's row `at` begin.
    #[inline(always)]
    pub(super) fn at(&self, at: usize, vector: usize) -> usize {
        (self.row + at) * self.place.stride + self.place.first + self.first + vector * LANES
    }

    /// The place of `count` results in the block's row `at`, from a vector on.
    ///
    /// # Safety
    /// No other place with one of these results may be in use.
    #[inline(always)]
    #[allow(unsafe_code)]
    #[expect(clippy::mut_from_ref, reason = "places are apart by contract")]
    pub(super) unsafe fn outputs(&self, at: usize, vector: usize, count: usize) -> &mut [MaybeUninit<u8>] {
        let begin = self.at(at, vector);
        assert!(vector * LANES + count <= self.outputs, "outputs of another panel");
        // SAFETY: the rows and outputs of a panel times a block are written by one task alone; the rest is the caller's.
        unsafe { self.out.part(begin, count) }
    }
}

/// Cuts `rows` into as few tiles of at most `most` rows as there can be, of nearly the same height: begin and height of each.
pub(crate) fn heights(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most).max(1);
    let (height, taller) = (rows / count, rows % count);
    (0..count).map(move |tile| (tile * height + tile.min(taller), height + usize::from(tile < taller)))
}

#[cfg(test)]
mod tests {
    use super::heights;

    #[test]
    fn tiles_cover_the_rows_and_differ_by_one_row() {
        for rows in 1..60 {
            let tiles: Vec<_> = heights(rows, 6).collect();
            let mut next = 0;
            for &(begin, height) in &tiles {
                assert!(begin == next && (1..=6).contains(&height));
                next += height;
            }
            let sizes = tiles.iter().map(|tile| tile.1);
            assert!(next == rows && sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}
