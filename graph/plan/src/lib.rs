//! Graph to Plan: which device runs which node, and in which segments.
//!
//! [`partition`] asks a predicate for every node whether the accelerator takes it, groups nodes into as few segments as it
//! can, and keeps a reason for every choice. A [`Plan`] is data: JSON for tools, rows for tables. The crate does no I/O and
//! knows neither the compiler nor a device.
//!
//! Before that, [`quantise`] turns a float graph into one of int8, with ranges from samples.
#![forbid(unsafe_code)]

mod extract;
mod partition;
mod plan;
pub mod quantise;

pub use extract::extract;
pub use partition::{on_cpu, partition};
pub use plan::{Assignment, Device, Plan, Segment, SegmentRow};
