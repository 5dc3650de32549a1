//! Retrieval from an inverted file: `ivf_scan.*` scores the vectors of the lists that each query probes and keeps the `k` best, and
//! `topk_merge.*` makes one of several such results.
//!
//! Both are exact: a score is defined to the last bit (see [`Value::score`]), and candidates have an order without ties, by score and
//! then by id. So a scan may be cut in any way, between a GPU that has some of the lists and a processor that has the others, and the
//! merged result is that of one scan.
//!
//! # Source
//! Lin et al., TeleRAG, arXiv 2502.20969, whose device scans the lists that it has, and whose host scans the rest.

mod best;
mod corpus;
mod merge;
mod scan;
mod score;

pub(crate) use best::results;
pub use best::{Best, NOTHING, Score, candidate, score_and_id};
pub use corpus::{Corpus, Queries, nearest};
pub use score::{LANES, Metric, Value};
pub(crate) use score::{WithValue, with_value};

use crate::def::{Axis, AxisKind, Constraint, Operation};

pub(super) const ALL: &[&dyn Operation] = &[
    &scan::Scan(&scan::I8),
    &scan::Scan(&scan::BF16),
    &scan::Scan(&scan::F32),
    &merge::Merge(&merge::I32),
    &merge::Merge(&merge::F32),
];

const K: Axis = Axis { name: "k", kind: AxisKind::Number, default: 10, doc: "candidates that are kept for a query" };

const SOME: Constraint = Constraint { text: "1 <= k and k <= 1024", holds: |dims| (1..=1024).contains(&dims["k"]) };
