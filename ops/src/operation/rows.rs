//! What definitions share that treat every row of a matrix by itself.

use crate::def::{Axis, AxisKind, Constraint, Dim};

pub(super) const M: Dim = Dim::Axis("m");
pub(super) const N: Dim = Dim::Axis("n");

pub(super) const ROWS: [Axis; 2] = [
    Axis { name: "m", kind: AxisKind::Extent, default: 64, doc: "rows: tokens" },
    Axis { name: "n", kind: AxisKind::Extent, default: 4096, doc: "elements of a row" },
];

/// Kernels count the elements of a row in 32 bits.
pub(super) const SHORT: Constraint = Constraint { text: "n <= 2^30", holds: |dims| dims["n"] <= 1 << 30 };

/// Names, rows and elements of a row of the samples that all of them have.
pub(super) fn shapes() -> Vec<(&'static str, usize, usize)> {
    vec![
        ("no_rows", 0, 64),
        ("empty_rows", 5, 0),
        ("one_element", 1, 1),
        ("one_row", 1, 1000),
        ("narrow", 70, 8),
        ("ragged", 7, 37),
        ("unaligned", 5, 131),
        ("whole_vectors", 6, 512),
        ("wide", 3, 4100),
        ("very_wide", 2, 20_003),
        ("large", 4, 100),
        ("nan_and_inf", 8, 33),
    ]
}

/// Puts a NaN, infinities and both into rows 1 to 4.
pub(super) fn not_finite(x: &mut [f64], n: usize) {
    let at =
        [(1, 0, f64::NAN), (2, 3, f64::INFINITY), (3, 7, f64::NEG_INFINITY), (4, 1, f64::INFINITY), (4, 2, f64::NAN)];
    for (row, column, value) in at {
        if let Some(place) = x.get_mut(row * n + column).filter(|_| column < n) {
            *place = value;
        }
    }
}
