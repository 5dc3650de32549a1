//! The search for good schedules of a layer on a machine.
//!
//! A [`Task`] is a layer on a machine with the [`Space`] of its schedules. A [`Search`] asks for some of them to be measured and
//! is told their cycles; it measures nothing itself, knows no clock and no file, and equal answers make equal searches. What was
//! measured is kept as [`Record`]s, which make a [`Prior`] for searches of other layers, and of which [`Tuned`] takes the best
//! for the compiler.
//!
//! | file | what it knows |
//! |---|---|
//! | `workload.rs` | the geometry of a layer, in text too, and its schedules on a machine |
//! | `space.rs` | schedules as points that differ in knobs |
//! | `features.rs` | bytes and reuse of the loops of a schedule |
//! | `model.rs` | models that learn from features |
//! | `propose.rs` | simulated annealing, and batches that differ |
//! | `learned.rs` | the search that learns |
//! | `prior.rs` | what other layers say |
//! | `baseline.rs` | random, grid and genetic search |
//! | `search.rs` | the search as a state machine |
//! | `record.rs` | lines of logs |
//! | `tuned.rs` | the best schedules of logs |
//!
//! # Source
//! Chen et al., Learning to Optimize Tensor Programs, NeurIPS 2018.

mod baseline;
mod features;
mod learned;
mod model;
mod prior;
mod propose;
mod record;
#[cfg(test)]
mod sample;
mod search;
mod space;
mod tuned;
mod workload;

pub use features::{Features, features};
pub use learned::Analytic;
pub use model::{Boosted, CostModel};
pub use prior::{Known, Prior};
pub use record::{Log, LogError, Oracle, Record, VERSION};
pub use search::{Search, Settings, StrategyKind};
pub use space::Space;
pub use tuned::Tuned;
pub use workload::{Task, Workload};
