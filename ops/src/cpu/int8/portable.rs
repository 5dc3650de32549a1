//! Sums without intrinsics.

use super::LANES;
use super::pack::Pair;
use super::tile::{Tiles, heights};

/// Rows of a tile.
const ROWS: usize = 4;

/// All tiles of a panel of one vector.
pub(super) fn panel(tiles: &Tiles<'_, Pair>) {
    for (begin, height) in heights(tiles.bases.len(), ROWS) {
        // Rows that are not there repeat the last one.
        let rows: [usize; ROWS] = std::array::from_fn(|r| tiles.bases[begin + r.min(height - 1)]);
        let acc = sums(tiles, rows);
        for (r, acc) in acc.into_iter().enumerate().take(height) {
            tiles.finish(begin + r, 0, acc);
        }
    }
}

#[inline(always)]
fn sums(tiles: &Tiles<'_, Pair>, rows: [usize; ROWS]) -> [[i32; LANES]; ROWS] {
    let mut acc = [[0i32; LANES]; ROWS];
    let rows = rows.map(|base| &tiles.activations[base..]);
    for (line, &offset) in tiles.lines.iter().zip(tiles.offsets) {
        for (acc, row) in acc.iter_mut().zip(&rows) {
            let (x0, x1) = (i32::from(row[offset]), i32::from(row[offset + 1]));
            for (lane, sum) in acc.iter_mut().enumerate() {
                let product = x0 * i32::from(line.0[2 * lane]) + x1 * i32::from(line.0[2 * lane + 1]);
                *sum = sum.wrapping_add(product);
            }
        }
    }
    acc
}
