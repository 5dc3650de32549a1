//! What a kernel did wrong, and where.

use std::fmt;

use thiserror::Error;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch itself is wrong: no such kernel, too many threads, parameters of a wrong size.
    Launch,
    /// An address outside every allocation, or outside the memory of the block.
    OutOfBounds,
    /// An address in memory that has been freed.
    UseAfterFree,
    /// An address that is no multiple of the access size.
    Misaligned,
    /// A read of shared memory that nothing has written.
    Uninitialised,
    /// An access to bytes that an asynchronous copy is still writing or reading.
    InFlight,
    /// Two accesses to shared memory that nothing orders.
    Race,
    /// The async proxy reads what the generic proxy wrote, without `fence.proxy.async` between.
    Proxy,
    /// No warp can go on.
    Deadlock,
    /// Lanes of a warp that should execute a collective instruction together do not.
    Divergence,
    /// A barrier or an `mbarrier` object is misused.
    Barrier,
    /// A register of a `wgmma` in flight is touched, or a `wgmma.fence` is missing.
    Wgmma,
    /// A tensor map, a matrix descriptor or an operand has a value that the instruction does not allow.
    Operand,
    /// The kernel executed `trap`.
    Trap,
    /// More instructions than [`Options::max_instructions`](crate::Options::max_instructions).
    Limit,
}

/// What a kernel did wrong, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// The kernel.
    pub kernel: Box<str>,
    /// The block in the grid; `None` where the fault is of the launch.
    pub block: Option<[u32; 3]>,
    /// The warp in the block.
    pub warp: Option<u32>,
    /// The lane, where one is to blame.
    pub lane: Option<u32>,
    /// The line of the PTX text, 0 where no instruction is to blame.
    pub line: u32,
    /// File and line of the CUDA source, where the PTX has `.loc`.
    pub source_line: Option<(String, u32)>,
    /// The opcode.
    pub instruction: Box<str>,
    /// One sentence: what is wrong, and what to do.
    pub message: Box<str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel `{}`", self.kernel)?;
        if let Some([x, y, z]) = self.block {
            write!(f, ", block ({x}, {y}, {z})")?;
        }
        if let Some(warp) = self.warp {
            write!(f, ", warp {warp}")?;
        }
        if let Some(lane) = self.lane {
            write!(f, " lane {lane}")?;
        }
        if self.line > 0 {
            write!(f, ", PTX line {} `{}`", self.line, self.instruction)?;
        }
        if let Some((file, line)) = &self.source_line {
            write!(f, " ({file}:{line})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A fault as the executor finds it, before the place is known.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub kind: FaultKind,
    pub lane: Option<u32>,
    pub message: String,
}

impl Trouble {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, lane: None, message: message.into() }
    }

    /// Blames `lane`, unless another is blamed already.
    pub fn at(mut self, lane: usize) -> Self {
        self.lane.get_or_insert(lane as u32);
        self
    }
}
