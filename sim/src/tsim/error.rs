//! What can go wrong between a configuration and a finished simulation, in one sentence each.

use std::fmt;
use std::path::PathBuf;

use tandem_driver::ErrorClass;
use tandem_isa::{ErrorCode, Queue};
use thiserror::Error;

use crate::SimError;
use crate::error::Place;

/// Why a model was not built, or why a simulation stopped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TsimError {
    /// A tool is absent (Unavailable).
    #[error("{what} is missing: {remedy}")]
    Missing {
        /// The tool, and where it was looked for.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A file could not be written or read (Unavailable).
    #[error("cannot {action} {}: {detail}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Verilator, the compiler or the linker failed (Fault); its output is kept.
    #[error("{tool} failed on the hardware model: {first}; the whole log is {}", log.display())]
    Build {
        /// The tool.
        tool: String,
        /// The first line of its output that names an error.
        first: String,
        /// Where the output is.
        log: PathBuf,
    },
    /// A built model does not load (Fault).
    #[error("the hardware model {} does not load: {detail}; remove it to build it again", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        detail: String,
    },
    /// A waveform was asked of a model that has none (Invalid).
    #[error("this hardware model records no waveforms: build it with `Variant::waves`")]
    NoWaves,
    /// The functional simulator refuses the program (Invalid).
    #[error("{0}")]
    Refused(SimError),
    /// The hardware stopped the program (Invalid, Fault for a bus error).
    #[error("{}", stopped(*code, at, waits))]
    Stopped {
        /// The error register, as far as it holds a known code.
        code: ErrorCode,
        /// The instruction that the error register names.
        at: Place,
        /// What the units were doing.
        waits: Vec<Waits>,
    },
    /// The hardware breaks the rules of its bus (Fault).
    #[error("protocol violation: {0}")]
    Violation(String),
    /// Nothing moves any more (Fault).
    #[error("{0}")]
    Hung(Hung),
    /// A register access that the hardware does not answer, or refuses (Fault).
    #[error("the hardware {what} the access of register {reg}")]
    Access {
        /// `does not answer` or `refuses`.
        what: &'static str,
        /// The register.
        reg: &'static str,
    },
}

/// A simulation in which nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hung {
    /// Cycles without progress.
    pub cycles: u64,
    /// The units that have something to do.
    pub waits: Vec<Waits>,
}

/// What a unit has at hand, and what keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The unit; `None` is the instruction fetch.
    pub unit: Option<Queue>,
    /// Its instruction, where it has one.
    pub at: Option<Place>,
    /// What it waits for, with the name of the queue or of the channel.
    pub on: String,
}

impl TsimError {
    /// How a caller should treat it.
    pub fn class(&self) -> ErrorClass {
        match self {
            TsimError::Missing { .. } | TsimError::File { .. } => ErrorClass::Unavailable,
            TsimError::NoWaves | TsimError::Refused(_) => ErrorClass::Invalid,
            TsimError::Stopped { code: ErrorCode::BusFault | ErrorCode::None, .. } => ErrorClass::Fault,
            TsimError::Stopped { .. } => ErrorClass::Invalid,
            TsimError::Build { .. }
            | TsimError::Load { .. }
            | TsimError::Violation(_)
            | TsimError::Hung(_)
            | TsimError::Access { .. } => ErrorClass::Fault,
        }
    }
}

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hardware hangs: nothing has moved for {} cycles; {}", self.cycles, list(&self.waits))
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.map_or("fetch", Queue::name);
        match &self.at {
            Some(at) => write!(f, "{unit} {} at instruction {at}", self.on),
            None => write!(f, "{unit} {}", self.on),
        }
    }
}

fn list(waits: &[Waits]) -> String {
    if waits.is_empty() {
        return "every unit is idle, and the program is not done".to_owned();
    }
    waits.iter().map(Waits::to_string).collect::<Vec<_>>().join("; ")
}

fn stopped(code: ErrorCode, at: &Place, waits: &[Waits]) -> String {
    match code {
        ErrorCode::Deadlock => format!("deadlock: {}", list(waits)),
        code => format!("instruction {at}: {}", code.doc()),
    }
}
