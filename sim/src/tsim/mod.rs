//! The hardware itself, cycle by cycle: the emitted Verilog, translated by Verilator, compiled, and driven behind a bus.
//!
//! ```text
//! HwConfig --hw--> Verilog --verilator--> C++ --c++--> shared library --> Model --> TsimBus : tandem_driver::Bus
//! ```
//!
//! | what | where |
//! |---|---|
//! | finding Verilator and a C++ compiler | `tools.rs` |
//! | translating, compiling, the cache | `model.rs`, `compile.rs` |
//! | clock, waves and stops of any design | `design.h` |
//! | AXI memory, AXI register access, protocol checks | `harness.cpp`, and its Rust side `sys.rs` |
//! | timing of the memory | [`DramModel`], which predictions of `isa` go by too |
//! | the bus | `bus.rs`, over the device in `device.rs` |
//! | events of the units as a [`tandem_isa::Trace`] | `collect.rs` |
//! | where cycles went | `activity.rs`, `timeline.rs` |
//! | waveforms | `waves.rs` |
//! | what stopped it, in a sentence | `error.rs`, `diagnose.rs` |
//!
//! Nothing here is needed to build the workspace: tools are looked for when a model is built.

mod activity;
mod bus;
mod collect;
pub(crate) mod compile;
mod device;
mod diagnose;
mod error;
pub(crate) mod model;
pub(crate) mod sys;
mod timeline;
mod tools;
pub(crate) mod waves;

pub use activity::{Activity, Occupancy};
pub use bus::{TsimBus, TsimMonitor, TsimOptions};
pub use error::{Hung, TsimError, Waits};
pub use model::{BuildStep, Model, Variant, digest};
pub use tandem_isa::timing::{DramModel, UnitCycles, UnitState};
pub use timeline::Timeline;
pub use tools::Tools;
