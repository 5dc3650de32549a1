//! Sums without intrinsics.

use super::Tiles;
use super::pack::{F32, LANES};

/// Rows of a tile.
const ROWS: usize = 4;

/// All tiles of a panel of one vector.
pub(super) fn panel(tiles: &Tiles<'_, F32>) {
    for begin in (0..tiles.count).step_by(ROWS) {
        let height = ROWS.min(tiles.count - begin);
        // Rows that are not there repeat the last one.
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| {
            let row = tiles.begin + begin + r.min(height - 1);
            &tiles.rows[row * tiles.pitch..][tiles.steps.clone()]
        });
        let mut acc = [[0f32; LANES]; ROWS];
        for (step, line) in tiles.lines.iter().enumerate() {
            for (acc, row) in acc.iter_mut().zip(&rows) {
                for (sum, weight) in acc.iter_mut().zip(&line.0) {
                    *sum += row[step] * weight;
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate().take(height) {
            tiles.finish(tiles.begin + begin + r, 0, acc);
        }
    }
}
