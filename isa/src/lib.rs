//! The two-level VTA instruction set, its configuration, registers, programs and assembly text.
//!
//! Everything that the compiler, the simulators, the driver and the hardware agree on about the machine is written here once:
//!
//! | fact | where |
//! |---|---|
//! | sizes of the machine | [`HwConfig`] (`config.rs`) |
//! | instructions and their fields | the table in `insn.rs`; [`forms`] gives it as a value |
//! | micro-operations | [`Uop`] |
//! | arithmetic of one lane | [`semantics`] |
//! | registers | [`Reg`] |
//! | a program and its DRAM image | [`Program`] |
//! | assembly text | [`parse`], [`to_text`] |
//! | what a run did | [`Trace`] |
//! | the manual | [`manual`] |
//!
//! The crate does no I/O and imports nothing of the workspace.
#![forbid(unsafe_code)]

mod asm;
mod config;
mod encode;
mod error;
mod insn;
mod lint;
mod manual;
mod program;
mod register;
mod sample;
pub mod semantics;
pub mod timing;
mod trace;
mod uop;

pub use asm::{AsmError, parse, to_text};
pub use config::{HwConfig, HwFacts, Profile};
pub use encode::{Field, Form};
pub use error::{ErrorClass, IsaError};
pub use insn::{
    Alu, AluOpcode, Dep, Finish, Gemm, INSN_QUEUE_DEPTH, Insn, Lane, Load, LoadPad, MemoryType, Queue, Requant,
    RequantMode, Store, TOKEN_QUEUE_DEPTH, forms,
};
pub use lint::{Departure, Rule, lint};
pub use manual::manual;
pub use program::{BASE_ALIGN, Program, Role, Section, decode_all, encode_all};
pub use register::{Access, ErrorCode, INSN_ADDR_ALIGN, ISA_VERSION, Reg, control};
pub use semantics::{Compat, RequantParam, Upstream};
pub use trace::{Divergence, Event, Trace};
pub use uop::Uop;
