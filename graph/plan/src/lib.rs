//! Graph to [`Plan`]: which device runs which node, and why.
//!
//! What a device can run is handed in as a predicate; this crate knows no backend. Nodes are scheduled by alternating between
//! the devices: every accelerator node that is ready, then every CPU node that is ready, so that segments are few and the order
//! of segments is an order of execution.
#![forbid(unsafe_code)]

mod extract;
mod partition;
mod plan;

pub use extract::extract;
pub use partition::partition;
pub use plan::{Assignment, Device, Plan, Segment, SegmentRow};
