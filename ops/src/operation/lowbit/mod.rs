//! Products with weights of four bits: the schemes `gemm.w4a4`, `gemm.w4a8` and `gemm.w4a16`, and the producers of their activations.
//!
//! All three are one formula. A sum over `k` input channels falls into groups of `group` channels with codes of four bits, and the last
//! `outliers` channels with codes of eight:
//!
//! ```text
//! out[m, n] = Σ over groups g  sa[m, g] sb[n, g] Σ over k in g  a[m, k] (b[n, k] - zero[n, g])   +   sa8[m] sb8[n] Σ a8[m, k] b8[n, k]
//! ```
//!
//! | scheme | activations | weights of four bits |
//! |---|---|---|
//! | `w4a4` | signed, a scale for each group | signed, zero 0 |
//! | `w4a8` | signed bytes, a scale for each row | unsigned; a whole step and a zero for each group, so that they are bytes times a scale for each row |
//! | `w4a16` | bfloat16 | unsigned; a scale and a zero for each group |
//!
//! # Layout
//! Two codes are in a byte, the one of the even channel in the low half. Channels are in the order of a permutation that puts those
//! with the largest activations last; a producer gathers activations in that order, and weights are stored in it. Groups are counted from
//! the first channel; the last one may be short. What belongs to a group of weights lies beside that of the next output channel, so that the
//! scales of channels that are computed together are read together.
//!
//! # Source
//! Zhao et al., "Atom: Low-bit Quantization for Efficient and Accurate LLM Serving", arXiv 2310.19102 (w4a4 with outliers); Lin et al.,
//! "QServe: W4A8KV4 Quantization and System Co-design", arXiv 2405.04532 (two levels of scales); Frantar et al., "MARLIN", arXiv
//! 2408.11743 (w4a16).

mod code;
mod gemm;
mod produce;

pub(crate) use code::largest;
pub use code::{Asymmetric, Symmetric, ends, nibbles, pack, signed, stand_for, unsigned};
pub use produce::mean_square;

use crate::def::{Axis, AxisKind, Constraint, Dim, Dims, Operation};

pub(super) const ALL: &[&dyn Operation] =
    &[gemm::W4A4, gemm::W4A8, gemm::W4A16, produce::REORDER, produce::NORM, produce::SILU];

const M: Dim = Dim::Axis("m");
const N: Dim = Dim::Axis("n");
const K: Dim = Dim::Axis("k");
const OUTLIERS: Dim = Dim::Axis("outliers");
const BYTES: Dim = Dim::Of("(k - outliers) / 2", |dims| inner(dims) / 2);
const GROUPS: Dim = Dim::Of("groups of k - outliers", groups);

const ROWS: Axis = Axis { name: "m", kind: AxisKind::Extent, default: 16, doc: "rows: tokens" };
const COLUMNS: Axis = Axis { name: "n", kind: AxisKind::Extent, default: 64, doc: "columns: output channels" };
const LENGTH: Axis = Axis { name: "k", kind: AxisKind::Number, default: 256, doc: "input channels" };
const CODED: [Axis; 2] = [
    Axis { name: "group", kind: AxisKind::Number, default: 128, doc: "channels with a scale of their own" },
    Axis { name: "outliers", kind: AxisKind::Extent, default: 0, doc: "channels, the last ones, with codes of 8 bits" },
];

/// Two codes are in a byte, and sums of products of bytes are within 32 bits.
const HOLDS: &[Constraint] = &[
    Constraint { text: "outliers <= k", holds: |dims| dims["outliers"] <= dims["k"] },
    Constraint { text: "(k - outliers) % 2 == 0", holds: |dims| inner(dims).is_multiple_of(2) },
    Constraint {
        text: "group > 0 and group % 2 == 0",
        holds: |dims| dims["group"] > 0 && dims["group"].is_multiple_of(2),
    },
    Constraint { text: "k <= 2^16", holds: |dims| dims["k"] <= 1 << 16 },
];

/// Channels with codes of four bits.
fn inner(dims: &Dims) -> usize {
    dims["k"].saturating_sub(dims["outliers"])
}

/// Groups of them.
fn groups(dims: &Dims) -> usize {
    inner(dims).div_ceil(dims["group"].max(1))
}
