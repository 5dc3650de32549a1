//! Which device runs which node, as an optimisation.
//!
//! A [`Problem`] says what there is: devices with memories and powers, links, and nodes with what each takes on each device or
//! why it does not run there. A [`Request`] says what is to be small (latency, the period of a pipeline, or energy) and what
//! must be kept: pins, forbidden devices, bounds. [`measure()`] gives an assignment its one meaning; [`search()`] finds the best
//! assignment and says how it is known to be the best, or how far from it it may be; [`explain()`] says what every other choice
//! would have cost. All are pure functions; costs are handed in, and no device is known here.

mod blocks;
mod bound;
mod cut;
mod descent;
mod error;
mod explain;
mod frontier;
mod measure;
mod mix;
mod problem;
mod relax;
mod request;
#[cfg(test)]
mod samples;
mod search;
mod state;

pub use error::PlaceError;
pub use explain::{Alternative, Explanation, NodeRow, Price, explain};
pub use measure::{Load, Measure, Run, Transfer, check, measure};
pub use problem::{Candidate, Cost, Device, Link, MAX_DEVICES, Machine, Node, Problem, Spec, Value};
pub use request::{Objective, Request};
pub use search::{LABELS, Placement, Proof, search};
