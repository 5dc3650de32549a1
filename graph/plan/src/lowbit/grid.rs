//! The values that codes of four bits stand for in a group of weights, and the search for the best ones.

use super::Scheme;
use half::bf16;

/// Parts of the largest weight of a group, and of the smallest, that are tried as the outermost codes.
const CLIPS: [f64; 9] = [1.0, 1.03, 0.97, 0.94, 0.91, 0.88, 0.84, 0.8, 0.7];
/// The largest magnitude, in units of a row's scale, of weights that become bytes in two steps.
pub(super) const BYTE: f64 = 119.0;

/// Code `c` of 0 to 15 stands for `(c - zero) scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub scale: f64,
    pub zero: i32,
}

impl Grid {
    /// The code whose value is nearest.
    pub fn code(self, x: f64) -> i32 {
        if self.scale > 0.0 { ((x / self.scale).round_ties_even() as i32 + self.zero).clamp(0, 15) } else { self.zero }
    }

    /// What a code stands for.
    pub fn value(self, code: i32) -> f64 {
        f64::from(code - self.zero) * self.scale
    }

    /// The grid for a group of weights whose squared errors cost this much each. `row_scale` is that of the row, for the scheme that
    /// has one. The first of equally good ones.
    pub fn best(scheme: Scheme, weights: &[f64], costs: &[f64], row_scale: f64) -> Grid {
        let error = |grid: &Grid| -> f64 {
            let each = |(&w, cost): (&f64, &f64)| (grid.value(grid.code(w)) - w).powi(2) * cost;
            weights.iter().zip(costs).map(each).sum()
        };
        let mut best: Option<(f64, Grid)> = None;
        for grid in candidates(scheme, weights, row_scale) {
            let error = error(&grid);
            if best.is_none_or(|(least, _)| error < least) {
                best = Some((error, grid));
            }
        }
        best.map_or(Grid { scale: 0.0, zero: 8 }, |(_, grid)| grid)
    }
}

/// The grids that are tried: those of the scheme whose ends lie near parts of the group's.
fn candidates(scheme: Scheme, weights: &[f64], row_scale: f64) -> Vec<Grid> {
    let (low, high) = weights.iter().fold((0f64, 0f64), |(low, high), &w| (low.min(w), high.max(w)));
    let mut all = Vec::new();
    for clip in CLIPS {
        let (low, high) = (low * clip, high * clip);
        match scheme {
            // Codes are signed: -8 to 7, of which -8 is not reached by what is largest.
            Scheme::W4A4 => all.push(Grid { scale: rounded(high.max(-low) / 7.0), zero: 8 }),
            Scheme::W4A16 => all.extend(CLIPS.iter().map(|other| {
                let low = low / clip * other;
                let scale = rounded((high - low) / 15.0);
                let zero = if scale > 0.0 { (-low / scale).round_ties_even() as i32 } else { 0 };
                Grid { scale, zero: zero.clamp(0, 15) }
            })),
            Scheme::W4A8 => {
                let step = if row_scale > 0.0 { ((high - low) / (15.0 * row_scale)).ceil().max(1.0) } else { 0.0 };
                let zero = if step > 0.0 { (-low / (step * row_scale)).round_ties_even() as i32 } else { 0 };
                // Weights have to be bytes after the step, which the nearest zeros need not give.
                let zeros = (zero - 2..=zero + 2).map(|zero| zero.clamp(0, 15));
                let bytes = |&zero: &i32| f64::from(zero) * step <= 128.0 && f64::from(15 - zero) * step <= 127.0;
                all.extend(zeros.filter(bytes).map(|zero| Grid { scale: step * row_scale, zero }));
            }
        }
    }
    all
}

/// A scale as it is stored.
fn rounded(scale: f64) -> f64 {
    bf16::from_f64(scale).to_f64()
}
