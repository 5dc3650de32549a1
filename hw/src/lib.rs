//! The accelerator as hardware: Verilog as a function of [`HwConfig`].
//!
//! Structure (hierarchy, ports, wires, the check that every input is driven) is rust-hdl's; what a block does is described with
//! [`tandem_rtl`], whose widths are run-time values. One block a file, each with a schematic, a port table, latency and
//! throughput:
//!
//! | what | where |
//! |---|---|
//! | the wires between the blocks | `top.rs`, over the ports in `leaf.rs` |
//! | registers, launch, counters | `control.rs` |
//! | instruction fetch and queues | `fetch.rs`, [`queue`] |
//! | units | `load.rs`, `compute.rs`, `store.rs` over `issue.rs` |
//! | tokens | `tokens.rs`, [`token`] |
//! | transfers | `loader.rs`, `rows.rs`, `burst.rs` |
//! | memory engine | `read_engine.rs`, `write_engine.rs` |
//! | scratchpads | `scratchpad.rs` (UOP, INP, WGT), `accumulator.rs` (ACC, OUT) |
//! | micro-ops and hazards | `sequencer.rs` |
//! | what it is built for | [`Target`], `multiplier.rs` |
//! | arithmetic | `gemm.rs`, `operand.rs`, [`alu`] |
//! | one of several requesters at a time | [`arbiter`] |
//! | what an FPGA's cells do, to simulate netlists | [`cells`] |
//! | blocks between streams, beside the accelerator | [`stream`] |
//!
//! The crate writes no files and runs no tools.

mod accumulator;
pub mod alu;
pub mod arbiter;
mod block;
pub mod burst;
pub mod cells;
mod compute;
pub mod control;
mod fetch;
mod gemm;
pub mod issue;
mod leaf;
mod load;
mod loader;
pub mod multiplier;
mod operand;
pub mod queue;
pub mod read_engine;
mod rows;
mod scratchpad;
mod sequencer;
mod sequential;
pub mod shell;
mod size;
mod store;
pub mod stream;
mod target;
pub mod token;
mod tokens;
mod top;
pub mod write_engine;

use rust_hdl::core::check_error::check_all;
use rust_hdl::prelude::{Block, generate_verilog_unchecked};
use tandem_isa::HwConfig;

pub use crate::target::{Multipliers, Products, Target};
pub use tandem_rtl::{MemoryShape, MemoryStyle, Module};

/// The name of the top module.
pub const TOP: &str = "tandem";

/// The whole design as one Verilog text; its top module is [`TOP`].
///
/// # Panics
/// As [`verilog_for`].
pub fn verilog(config: &HwConfig) -> String {
    verilog_for(config, &Target::default())
}

/// The same for a target.
///
/// # Panics
/// Where the description itself is wrong (an input without a driver): a bug of this crate, not of a configuration.
pub fn verilog_for(config: &HwConfig, target: &Target) -> String {
    let sizes = size::Sizes::new(config, target);
    if config.insn_queue_depth().is_some() {
        let top = top::Top::new(&sizes);
        top.children() + &print(top)
    } else {
        let top = sequential::Top::new(&sizes);
        top.children() + &print(top)
    }
}

/// The memories of a design that become block RAM. Their order has no meaning.
pub fn block_memories(config: &HwConfig, target: &Target) -> Vec<MemoryShape> {
    let sizes = size::Sizes::new(config, target);
    let modules = if config.insn_queue_depth().is_some() {
        let queue = || top::insn_queue(&sizes);
        let pads = [scratchpad::uop, scratchpad::inp, scratchpad::wgt, accumulator::acc, accumulator::out];
        pads.iter().map(|pad| pad(&sizes)).chain([queue(), queue(), queue()]).collect()
    } else {
        vec![sequential::machine(&sizes)]
    };
    let of = |module: &Module| module.memories();
    modules.iter().flat_map(of).filter(|memory| memory.style == MemoryStyle::Block).collect()
}

fn print(mut top: impl Block) -> String {
    top.connect_all();
    if let Err(problem) = check_all(&top) {
        panic!("the wiring of the accelerator is not complete: {problem:?}");
    }
    let text = generate_verilog_unchecked(&top);
    text.replace("module top(", &format!("module {TOP}(")).replace("top$", &format!("{TOP}_"))
}
