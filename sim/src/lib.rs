//! The functional simulator of the accelerator: a machine that executes instruction streams, and a bus around it.
//!
//! [`FsimBus`] is a device behind `tandem_driver::Bus`. Below it, [`Machine`] fetches a program from [`Dram`], decodes it, and
//! runs three in-order queues that tokens order. The interleaving is chosen by a seed and reproducible; results of a correct
//! program do not depend on it. What stops a program is a [`SimError`] that names the instruction, the place and the cause, and
//! [`Checks`] find missing tokens that happen to do no harm.
//!
//! | what | where |
//! |---|---|
//! | queues, tokens, interleaving | `machine.rs`, `queue.rs` |
//! | loads and stores | `transfer.rs` |
//! | GEMM | `gemm.rs` over `sums.rs`, and `simd.rs` for x86-64 |
//! | ALU, REQUANT, LANE | `lanes.rs` over `tandem_isa::semantics` |
//! | GEMM and LANE with REQUANT fused to them | `fused.rs` |
//! | races, stale reads | `check.rs` |
//! | cycles, predicted by `tandem_isa::timing` | `timing.rs` |
//! | a chip of SDRAM that checks its use | `sdram.rs` |
//! | whole boards behind their serial line | `board/` |
//! | blocks between streams, Verilated | `stream/` |
//!
//! Semantics are those of the ISA manual; upstream's functional simulator is the reference where upstream's implementations
//! disagree, and `tandem_isa::Compat` chooses another one. The crate knows no compiler.

pub mod board;
mod bus;
mod check;
mod cleared;
pub mod cosim;
mod counters;
mod dram;
mod error;
mod fused;
mod gemm;
mod lanes;
mod loops;
mod machine;
pub mod netlist;
mod queue;
mod random;
mod scratch;
pub mod sdram;
#[cfg(target_arch = "x86_64")]
mod simd;
pub mod stream;
mod sums;
mod timing;
mod transfer;
pub mod tsim;

pub use bus::{FsimBus, Monitor};
pub use check::Checks;
pub use counters::SimCounters;
pub use dram::Dram;
pub use error::{Blocked, Cause, Fault, Place, SimError, Unfetched};
pub use gemm::Kernel;
pub use machine::{Bases, Launch, Machine, Options, Step};
pub use scratch::Scratchpads;
