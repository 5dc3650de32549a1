//! Graph to Plan: which device runs which node, and in which segments.
//!
//! [`partition`] asks a predicate for every node whether the accelerator takes it, groups nodes into as few segments as it
//! can, and keeps a reason for every choice. A [`Plan`] is data: JSON for tools, rows for tables. [`place`] chooses among any
//! number of devices by what nodes and transfers cost, measured or from a [`CostModel`]; [`problem()`] asks that of a graph and [`assign`] makes a plan of the answer.
//! The crate does no I/O and knows neither the compiler nor a device.
//!
//! Before that, [`quantise`] turns a float graph into one of int8, with ranges from samples, and [`lowbit`] its dense layers into ones with
//! weights of four bits.
#![forbid(unsafe_code)]

mod estimate;
mod extract;
pub mod lowbit;
mod partition;
pub mod place;
mod plan;
mod problem;
pub mod quantise;

pub use estimate::{CostModel, Observation};
pub use extract::{alone, extract};
pub use partition::{Choice, assign, kind, on_cpu, partition};
pub use plan::{Assignment, Device, Plan, Segment, SegmentRow};
pub use problem::problem;
