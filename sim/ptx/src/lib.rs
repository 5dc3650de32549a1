//! Runs the PTX of CUDA kernels on the CPU, unmodified, as NVRTC writes it for sm_90a.
//!
//! A [`Module`] is parsed from text, device memory is a [`Memory`], and [`run`] executes a [`Launch`] until every block
//! has ended, or until a [`Fault`] says what the kernel did wrong and where. Nothing here measures time.
//!
//! # What is adversarial
//!
//! The hardware may do asynchronous work at once or much later, and run warps in any order. Under
//! [`Asynchrony::Late`], the default, the simulator does each thing at the latest moment that the PTX ISA allows, or at a
//! random one where later is not always worse, from a seed: so a missing wait or an early release fails here, every
//! time, and not once in a thousand runs on a device. [`Asynchrony::Eager`] does each at once.
//!
//! # What is checked
//!
//! Addresses against allocations, alignment, reads of shared memory never written, reads and writes of bytes that an
//! asynchronous copy still owns, races on shared memory between barriers, proxy fences, divergence at collective
//! instructions, use of `mbarrier` objects and their initialisation, registers of a `wgmma` in flight, blocks that exit while
//! a copy or another block still needs their shared memory, and deadlock.
//!
//! # What is not
//!
//! There is no weak memory model beyond that, no timing, and no race detection on global memory. Products of tensor
//! instructions on floats are summed in double precision and rounded to the accumulator's type once for each instruction,
//! which no hardware does: compare with a tolerance. Integer and bit forms are exact. Approximations (`ex2.approx` and its
//! like) are rounded correctly, so more accurate than the hardware's.
//!
//! # Example
//!
//! ```
//! use tandem_ptx::{Launch, Memory, Module, Options, run};
//!
//! let module = Module::parse(
//!     ".version 9.0
//!      .target sm_90a
//!      .visible .entry numbers(.param .u64 out)
//!      {
//!          .reg .b32 %r<2>;
//!          .reg .b64 %rd<3>;
//!          ld.param.u64 %rd1, [out];
//!          mov.u32 %r1, %tid.x;
//!          mad.wide.u32 %rd2, %r1, 4, %rd1;
//!          st.global.u32 [%rd2], %r1;
//!          ret;
//!      }",
//! )?;
//! let mut memory = Memory::new();
//! let out = memory.alloc(4 * 64);
//! let launch = Launch {
//!     module: &module,
//!     kernel: "numbers",
//!     grid: [1; 3],
//!     block: [64, 1, 1],
//!     cluster: [1; 3],
//!     dynamic_shared: 0,
//!     cooperative: false,
//!     params: &out.to_le_bytes(),
//! };
//! let stats = run(&mut memory, &launch, &Options::default())?;
//! let mut last = [0; 4];
//! memory.read(out + 4 * 63, &mut last)?;
//! assert_eq!((u32::from_le_bytes(last), stats.global_sectors), (63, 8));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod alu;
mod decode;
mod error;
mod exec;
mod fault;
mod float;
mod launch;
mod lex;
mod memory;
mod module;
mod op;
mod opcodes;
mod operands;
mod parse;
mod stats;
mod syntax;
mod tensor_map;
mod types;

pub use error::ParseError;
pub use exec::run;
pub use fault::{Fault, FaultKind};
pub use launch::{Asynchrony, Launch, Options};
pub use memory::{AccessError, Memory};
pub use module::{Kernel, Module, Param};
pub use opcodes::{family, opcodes};
pub use stats::Stats;
pub use tensor_map::{Swizzle, TensorMap, TensorMapError};
