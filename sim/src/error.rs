//! What stops a simulated program: the instruction, the place and the cause, in one sentence.

use std::fmt;

use tandem_isa::{ErrorCode, IsaError, Queue};
use thiserror::Error;

/// Why a program stopped. Every variant is the program's fault (Invalid).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SimError {
    /// The instruction stream lies outside DRAM.
    #[error("{count} instructions at address {addr:#x} are not in device memory")]
    Fetch {
        /// Address of the first instruction.
        addr: u32,
        /// Number of instructions.
        count: u32,
    },
    /// A word that is no instruction of this machine.
    #[error("instruction {insn} ({word:#034x}) does not decode: {source}")]
    Decode {
        /// Index in the stream.
        insn: usize,
        /// The word.
        word: u128,
        /// Why.
        source: IsaError,
    },
    /// FINISH is missing or not last.
    #[error("{}", no_finish(*finish, *count))]
    NoFinish {
        /// Index of the first FINISH.
        finish: Option<usize>,
        /// Length of the stream.
        count: usize,
    },
    /// An instruction that cannot be carried out.
    #[error("instruction {at} {fault}")]
    Fault {
        /// The instruction.
        at: Place,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Every unit that is not done waits for a token that nobody will push, for an instruction behind a full queue, or for
    /// room in a token queue that nobody empties.
    #[error("deadlock: {}", list(blocked))]
    Deadlock {
        /// The units that wait; the lowest instruction first.
        blocked: Vec<Blocked>,
    },
    /// Tokens are left when everything has run.
    #[error(
        "{count} surplus token{} from {from} to {to} when the program has finished; nobody pops the one that instruction {pushed_by} pushes",
        if *count == 1 { "" } else { "s" }
    )]
    Surplus {
        /// The unit that pushed.
        from: Queue,
        /// The unit that should have popped.
        to: Queue,
        /// Tokens left.
        count: u32,
        /// The instruction that pushed the first of them.
        pushed_by: Place,
    },
    /// Two units touch the same element, at least one of them writes, and no token orders them.
    #[error(
        "race on {memory} {index:#x}: instruction {first} {first_access} it and instruction {second} {second_access} it, and no token orders them"
    )]
    Race {
        /// The memory: a scratchpad element, or a DRAM address.
        memory: &'static str,
        /// Element index or byte address.
        index: u64,
        /// The instruction that ran first here.
        first: Place,
        /// `reads` or `writes`.
        first_access: &'static str,
        /// The other one.
        second: Place,
        /// `reads` or `writes`.
        second_access: &'static str,
    },
    /// FINISH may run before another unit is done.
    #[error(
        "instruction {finish} does not wait for instruction {other}: push a token to compute and pop it before FINISH"
    )]
    Unfinished {
        /// FINISH.
        finish: Place,
        /// The last instruction of the other unit.
        other: Place,
    },
    /// An instruction reads a scratchpad element that nothing has written since the launch.
    #[error("instruction {at} reads {memory} element {index:#x}, which nothing has written since the launch")]
    Uninitialised {
        /// The reader.
        at: Place,
        /// The scratchpad.
        memory: &'static str,
        /// The element.
        index: u64,
    },
}

/// What is wrong with an instruction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// A scratchpad index beyond its depth.
    #[error("reaches {memory} {unit} {index}, but there are {depth}")]
    Sram {
        /// The scratchpad.
        memory: &'static str,
        /// What is counted: elements, or the vectors of LANE.
        unit: &'static str,
        /// The highest index reached.
        index: u64,
        /// The number there are.
        depth: u64,
    },
    /// A DRAM range that does not exist.
    #[error("touches {bytes} bytes at address {addr:#x}, which are not in device memory")]
    Dram {
        /// First byte.
        addr: u64,
        /// Length.
        bytes: u64,
    },
    /// A micro-op with reserved bits.
    #[error("runs micro-op {index}, which does not decode: {source}")]
    Uop {
        /// Index in the UOP scratchpad.
        index: u64,
        /// Why.
        source: IsaError,
    },
    /// A row of a STORE OUTINP that is not whole INP elements.
    #[error("stores rows of {x_size} elements, but outinp permutes {group} at a time: x_size must be a multiple")]
    OutInpGroup {
        /// The row length.
        x_size: u32,
        /// OUT elements permuted together.
        group: u32,
    },
}

/// A unit that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The unit.
    pub queue: Queue,
    /// The instruction that it cannot begin.
    pub at: Place,
    /// What it waits for.
    pub cause: Cause,
}

/// What a unit waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A token.
    Token {
        /// The unit whose token is missing.
        from: Queue,
        /// The instruction that would push it, where fetch has not got that far.
        unfetched: Option<Unfetched>,
    },
    /// Room in a token queue that is full.
    Room {
        /// The unit that does not empty it.
        to: Queue,
        /// Tokens that it holds.
        depth: u32,
    },
}

/// An instruction out of sight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfetched {
    /// The instruction.
    pub needed: Place,
    /// The queue that has no room for an earlier one.
    pub full: Queue,
    /// What that queue holds; `None` where instructions run one after another.
    pub depth: Option<usize>,
}

/// An instruction: index and assembly text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index in the stream.
    pub insn: usize,
    /// The instruction as text.
    pub text: Box<str>,
}

impl SimError {
    /// The value of the error register.
    pub fn code(&self) -> ErrorCode {
        match self {
            SimError::Decode { .. } => ErrorCode::IllegalInsn,
            SimError::Fetch { .. } => ErrorCode::DramRange,
            SimError::NoFinish { .. } | SimError::Unfinished { .. } => ErrorCode::NoFinish,
            SimError::Fault { fault, .. } => match fault {
                Fault::Sram { .. } => ErrorCode::SramRange,
                Fault::Dram { .. } => ErrorCode::DramRange,
                Fault::Uop { .. } | Fault::OutInpGroup { .. } => ErrorCode::IllegalInsn,
            },
            // Hardware cannot see a race or a stale element; the missing token is what it would call a deadlock.
            SimError::Deadlock { .. } | SimError::Race { .. } => ErrorCode::Deadlock,
            SimError::Surplus { .. } => ErrorCode::SurplusToken,
            SimError::Uninitialised { .. } => ErrorCode::SramRange,
        }
    }

    /// The instruction that the error register names.
    pub fn insn(&self) -> Option<usize> {
        match self {
            SimError::Fetch { .. } => None,
            SimError::Decode { insn, .. } => Some(*insn),
            SimError::NoFinish { finish, .. } => *finish,
            SimError::Fault { at, .. } | SimError::Uninitialised { at, .. } => Some(at.insn),
            SimError::Deadlock { blocked } => blocked.first().map(|first| first.at.insn),
            SimError::Surplus { pushed_by, .. } => Some(pushed_by.insn),
            SimError::Race { second, .. } => Some(second.insn),
            SimError::Unfinished { finish, .. } => Some(finish.insn),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.insn, self.text)
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits at instruction {} for ", self.queue, self.at)?;
        match &self.cause {
            Cause::Token { from, unfetched: None } => write!(f, "a token from {from}"),
            Cause::Token { from, unfetched: Some(Unfetched { needed, full, depth }) } => {
                write!(f, "a token from {from}, but the instruction it needs, {needed}, is not fetched: ")?;
                match depth {
                    Some(depth) => write!(f, "the {full} queue is full ({depth})"),
                    None => write!(f, "this machine runs instructions in the order of the stream"),
                }
            }
            Cause::Room { to, depth } => write!(f, "room among the tokens to {to}: the token queue is full ({depth})"),
        }
    }
}

fn list(blocked: &[Blocked]) -> String {
    let each: Vec<String> = blocked.iter().map(Blocked::to_string).collect();
    each.join("; ")
}

fn no_finish(finish: Option<usize>, count: usize) -> String {
    match finish {
        Some(finish) => format!("FINISH is instruction {finish} of {count}, but it must be the last"),
        None => format!("there is no FINISH among {count} instructions: the device would never be done"),
    }
}
