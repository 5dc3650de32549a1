//! What a program takes: the accelerator's time, from the instructions alone.
//!
//! ```text
//! instructions, HwConfig, DramModel --predict--> cycles, and what each unit does with them
//! ```
//!
//! [`predict`] follows a program from event to event: instructions that are dispatched, begin and finish, tokens, bursts, and
//! words at the memory port where several want it. Nothing is fitted to measurements: every number is one of the hardware's own
//! (`hardware.rs`), and every rule that of a block. Data takes no part, with one exception: micro-ops, because they decide which
//! results meet in the pipeline of the tensor ALU, and on the machine without queues the parameters of REQUANT, by which it shifts
//! step by step. Both are constants of a program.
//!
//! | what | where |
//! |---|---|
//! | the memory behind the port | `memory.rs` |
//! | numbers of the hardware | `hardware.rs` |
//! | events, units, queues, tokens | `machine.rs` |
//! | instruction fetch and dispatch | `fetch.rs` |
//! | rows and bursts of a transfer | `transfer.rs`, `rows.rs` |
//! | loads, and who is granted the next burst | `load.rs`, `read.rs` |
//! | stores and their responses | `store.rs` |
//! | words at the port | `port.rs` |
//! | GEMM, LANE, ALU, REQUANT | `arithmetic.rs` |
//! | the machine without queues | `sequential.rs`, `serial.rs` |

mod activity;
mod arithmetic;
mod fetch;
pub mod hardware;
mod load;
mod machine;
mod memory;
mod port;
mod read;
mod rows;
mod sequential;
mod serial;
mod store;
mod transfer;

pub use activity::{UnitCycles, UnitState};
pub use memory::DramModel;

use crate::{HwConfig, INSN_ADDR_ALIGN, Insn, MemoryType, Program, Queue};
use machine::Machine;

/// What a machine's time depends on beside its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Setup {
    /// The memory behind its port.
    pub memory: DramModel,
    /// Whether the design is built with registers between block RAM and multipliers, which is a longer pipeline.
    pub operand_registers: bool,
}

/// Bytes that a program reads and nobody writes.
pub trait Constants {
    /// `len` bytes from byte `address` on, as an instruction of a memory type counts it, where they are known.
    fn constants(&self, memory_type: MemoryType, address: u64, len: usize) -> Option<&[u8]>;
}

/// What a launch is predicted to take.
///
/// # Units
/// Cycles of the accelerator; bursts; words of the memory bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prediction {
    /// From launch to done; where the program never is done, until nothing moves any more.
    pub cycles: u64,
    /// Those of the load, the compute and the store unit.
    pub units: [UnitCycles; 3],
    /// Whether every instruction finishes: no token is missing, and no transfer leaves its scratchpad.
    pub complete: bool,
    /// Read bursts, those of the instruction fetch included.
    pub read_bursts: u64,
    /// Words read.
    pub read_words: u64,
    /// Words written.
    pub write_words: u64,
}

/// The first and the last cycle of an instruction, counted from the launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// It has its tokens and begins.
    pub begin: u64,
    /// It finishes and gives tokens; [`u64::MAX`] where it never does.
    pub finish: u64,
}

impl From<DramModel> for Setup {
    fn from(memory: DramModel) -> Setup {
        Setup { memory, ..Setup::default() }
    }
}

impl Prediction {
    /// The cycles of a unit.
    pub fn unit(&self, unit: Queue) -> &UnitCycles {
        &self.units[match unit {
            Queue::Load => 0,
            Queue::Compute => 1,
            Queue::Store => 2,
        }]
    }
}

/// Predicts a launch of a program that the driver has placed: its image from a multiple of 4096 bytes on, and the instructions
/// behind it.
///
/// # Units
/// As [`Prediction`] says.
pub fn predict(program: &Program, setup: impl Into<Setup>) -> Prediction {
    Launch::of(program, setup.into()).run(u64::MAX, &mut []).unwrap_or_default()
}

/// The same, given up where the program takes more than `limit` cycles: for a search that has found a better one.
pub fn predict_within(program: &Program, setup: impl Into<Setup>, limit: u64) -> Option<Prediction> {
    Launch::of(program, setup.into()).run(limit, &mut [])
}

/// When each instruction of a program begins and finishes, by its index.
///
/// # Units
/// Cycles from the launch.
pub fn spans(program: &Program, setup: impl Into<Setup>) -> Vec<Span> {
    let mut spans = vec![Span { begin: u64::MAX, finish: u64::MAX }; program.insns.len()];
    Launch::of(program, setup.into()).run(u64::MAX, &mut spans);
    spans
}

/// Predicts a launch of instructions that stand at byte `insn_address`.
///
/// Base addresses take no part, as they are multiples of 4096.
pub fn predict_stream(
    config: &HwConfig,
    insns: &[Insn],
    insn_address: u64,
    constants: &dyn Constants,
    setup: &Setup,
) -> Prediction {
    Launch { config, insns, insn_address, constants, setup: *setup }.run(u64::MAX, &mut []).unwrap_or_default()
}

/// What is launched, and on what.
struct Launch<'a> {
    config: &'a HwConfig,
    insns: &'a [Insn],
    insn_address: u64,
    constants: &'a dyn Constants,
    setup: Setup,
}

impl<'a> Launch<'a> {
    fn of(program: &'a Program, setup: Setup) -> Launch<'a> {
        let insn_address = program.dram_bytes().next_multiple_of(INSN_ADDR_ALIGN.into());
        Launch { config: &program.config, insns: &program.insns, insn_address, constants: program, setup }
    }

    /// Predicts it, and fills in the spans that there is room for. None beyond the limit.
    fn run(&self, limit: u64, spans: &mut [Span]) -> Option<Prediction> {
        match self.config.insn_queue_depth() {
            None => sequential::run(self, limit, spans),
            Some(depth) => Machine::new(self, depth, spans).run(limit),
        }
    }
}

impl Constants for Program {
    fn constants(&self, _: MemoryType, address: u64, len: usize) -> Option<&[u8]> {
        let end = address + len as u64;
        let section = self.sections.iter().find(|s| u64::from(s.offset) <= address && end <= s.end())?;
        let begin = usize::try_from(address - u64::from(section.offset)).ok()?;
        section.data.get(begin..begin + len)
    }
}

#[cfg(test)]
mod tests;
