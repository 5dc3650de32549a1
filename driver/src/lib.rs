//! The bus seam, the device on it, its buffers and the register protocol.
//!
//! [`Bus`] is everything that can host a device: a simulator, a board, or nothing ([`NullBus`]). [`Device`] is what callers
//! use: it checks that the device was built from the configuration at hand, places programs in its memory, launches them,
//! waits, and reads counters and errors. [`run_at`] is a launch without a device: instructions that stand in memory already. The crate
//! knows no compiler and no simulator.
//!
//! Boards are reached by [`serial`] (checked frames over a serial line, a network connection, or a wire inside this process) and,
//! from a processor beside the fabric, by `UioBus`; devices of another machine, whatever they are, by [`remote`].
#![deny(unsafe_code)]

mod bus;
mod counters;
mod device;
mod error;
mod memory;
pub mod mlperf;
mod null;
mod protocol;
pub mod remote;
pub mod serial;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod uio;

pub use bus::{Bus, Bytes, DmaAddr, DmaBuf, Waited};
pub use counters::Counters;
pub use device::{Device, Loaded, LoadedSection, identify};
pub use error::{BusError, DriverError, ErrorClass, Snapshot};
pub use null::NullBus;
pub use protocol::run_at;
pub use remote::RemoteBus;
pub use serial::SerialBus;
#[cfg(target_os = "linux")]
pub use uio::{Caching, UioBus, UioParts, UioPaths};
