//! A library with the functions of `libcuda` that `tandem-gpu` asks for, whose device is the PTX simulator.
//!
//! It stands in for the driver where host code is tested: contexts, streams, events, modules from cubins, graphs, and what a
//! program sees once a kernel has failed. Device memory is the simulator's; a launch is run when it is asked for, and its error
//! is told at the next call, as a driver does that runs kernels later. The simulator runs the PTX that the compiler leaves in a
//! cubin beside the line numbers.
//!
//! Functions have NVIDIA's names and types. What a real driver checks and a test does not need is not checked.
#![allow(non_snake_case)]
#![allow(clippy::missing_safety_doc, reason = "the conditions are those of NVIDIA's documentation")]

mod cubin;
mod device;
mod state;

pub use device::*;

/// Statuses, as `CUresult` numbers them.
mod status {
    pub const SUCCESS: i32 = 0;
    pub const INVALID_VALUE: i32 = 1;
    pub const OUT_OF_MEMORY: i32 = 2;
    pub const NO_DEVICE: i32 = 100;
    pub const INVALID_IMAGE: i32 = 200;
    pub const INVALID_CONTEXT: i32 = 201;
    pub const INVALID_HANDLE: i32 = 400;
    pub const ILLEGAL_STATE: i32 = 401;
    pub const NOT_FOUND: i32 = 500;
    pub const ILLEGAL_ADDRESS: i32 = 700;
    pub const LAUNCH_FAILED: i32 = 719;
}
