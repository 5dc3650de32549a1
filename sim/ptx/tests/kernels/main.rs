//! Kernels as NVRTC compiles them, run on the simulator: right results, and planted bugs that must be found.

mod device;
mod hostile;
mod planted;
mod results;
