//! Which device runs which node, as an optimisation.
//!
//! A [`Problem`] says what there is: devices with memories and powers, links, and nodes with what each takes on each device or
//! why it does not run there. A [`Request`] says what is to be small (latency, the period of a pipeline, or energy) and what
//! must be kept: pins, forbidden devices, bounds. [`measure()`] gives an assignment its one meaning; [`search()`] finds the best
//! assignment and says how it is known to be the best, or how far from it it may be; [`explain()`] says what every other choice
//! would have cost. All are pure functions; costs are handed in, and no device is known here.

mod error;
mod measure;
mod problem;
mod request;
mod state;

pub use error::PlaceError;
pub use measure::{Load, Measure, Run, Transfer, check, measure};
pub use problem::{Candidate, Cost, Device, Link, MAX_DEVICES, MAX_NODES, Machine, Node, Problem, Spec, Value};
pub use request::{Objective, Request};
