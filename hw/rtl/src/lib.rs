//! A width-checked builder of register-transfer logic that prints Verilog.
//!
//! A [`Module`] is filled by ordinary Rust: every size is a run-time value. A [`Net`] is a value in it. What makes the printed
//! Verilog mean what the Rust says is one rule: **every operator is closed in width**. Operands of `+`, `&`, `==` ... have the
//! same width, which is checked when the expression is built; extensions are explicit; signed products and arithmetic shifts
//! get a net of their own. Nothing is left for Verilog's context-determined widths and signs to decide.
//!
//! | what | where |
//! |---|---|
//! | modules, registers, conditions, instances | [`Module`] |
//! | values and operators | [`Net`] |
//! | scratchpads and queues' storage | [`Memory`] |
//! | finite state machines | [`Fsm`] |
//! | properties for formal proofs | [`Module::assert_always`], [`Module::assume_always`] |
//!
//! One clock, `clock`, and one synchronous, active-high reset, `reset`. A mistake in a description (a width that does not
//! fit, a name used twice, an input left open) is a bug of the program that describes, so it panics with module and name.
//!
//! ```
//! let m = tandem_rtl::Module::new("counter");
//! let enable = m.input("enable", 1);
//! let count = m.reg("count", 8, 0);
//! m.when(enable, || count.set(count.inc()));
//! m.output("value", count);
//! assert!(m.verilog().contains("count <= count + 8'h1;"));
//! ```
#![forbid(unsafe_code)]

mod fsm;
mod keyword;
mod memory;
mod module;
mod net;
mod place;
mod print;

pub use fsm::Fsm;
pub use memory::{Memory, MemoryShape, MemoryStyle};
pub use module::{Module, Outputs, Port};
pub use net::{Net, balanced, clog2};
