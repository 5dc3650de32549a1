//! Sparse attention that keeps a part of the mass: `kmeans.bf16` makes clusters of keys, and `tactic_select.bf16` chooses, for every
//! query, as many keys as reach a target. `attention.sparse_decode.bf16` attends to those.
//!
//! # What is chosen
//! Clusters are put in order by the score of their centroid, and so are their keys. Of this order few weights are computed: the first
//! ones, and two windows further on, through which a power law goes that stands for the others ([`Tail`]). Of the keys that were
//! computed the heaviest are taken until they have the target of all weights, and where they never have, keys of the order as far as
//! the law says. Heads of queries that share a head of keys attend to what any of them asks for. Keys of late, which are in no
//! cluster yet, are computed too.
//!
//! # Numbers
//! Everything is exact. Scores are those of [`crate::ivf`], sums in a fixed order; weights are the integers of [`crate::sampling`].
//!
//! # Source
//! Zhu et al., "Tactic: Adaptive Sparse Attention with Clustering and Distribution Fitting for Long-Context LLMs", arXiv 2502.12216.
//! Theirs takes a beginning of the order, always all late keys, and fits `a / x + b`; the guide compares. Ours tells slots from
//! positions, so that clusters may be of keys anywhere in a cache.

mod estimate;
mod kmeans;
mod oracle;
mod select;

pub use estimate::{CHUNK, Choice, Probe, Tail};
pub(crate) use kmeans::{Keys, clustered};
pub use oracle::{Mass, mass};
pub(crate) use select::{Batch, Scores};

use crate::def::{Axis, AxisKind, Constraint, Grade, Operation};

pub(super) const ALL: &[&dyn Operation] = &[&kmeans::KMeans, &select::Select];

const HKV: Axis = Axis { name: "hkv", kind: AxisKind::Extent, default: 4, doc: "heads of the keys" };
const D: Axis = Axis { name: "d", kind: AxisKind::Extent, default: 64, doc: "elements of a head" };
const LINES: Axis = Axis { name: "lines", kind: AxisKind::Drawn, default: 0, doc: "keys of the cache" };
const SOME_HEADS: Constraint = Constraint { text: "hkv > 0 and d > 0", holds: |dims| dims["hkv"] > 0 && dims["d"] > 0 };
const FPGA: Grade =
    Grade::ReferenceOnly("the core multiplies 8-bit integers and sorts nothing; a dozen numbers a head are the host's");
