//! What can go wrong with a configuration, an instruction or a program.

use thiserror::Error;

/// How a caller should treat an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The machine described by the configuration does not do this: place the work elsewhere.
    Unsupported,
    /// The caller broke the contract, or the input is malformed.
    Invalid,
}

/// An error of the instruction set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IsaError {
    /// A configuration file is not TOML of the expected form (Invalid).
    #[error("the configuration does not parse: {0}")]
    ConfigText(String),
    /// A configuration value is outside what the machine can be built with (Invalid).
    #[error("configuration field {field} is {value}: {remedy}")]
    ConfigValue {
        /// The TOML key.
        field: &'static str,
        /// The value found.
        value: String,
        /// What is accepted.
        remedy: String,
    },
    /// The buffer depths need more bits than an encoding has (Invalid).
    #[error("{what} needs {needed} bits and has {available}: {} too many ({detail})", needed.saturating_sub(*available))]
    ConfigWidth {
        /// The word or field that overflows.
        what: &'static str,
        /// Bits needed.
        needed: u32,
        /// Bits available.
        available: u32,
        /// How the sum is made up, and the remedy.
        detail: String,
    },
    /// A field value does not fit (Invalid).
    #[error("{insn}.{field} is {value}, which does not fit in {bits} {} bits", if *signed { "signed" } else { "unsigned" })]
    FieldOverflow {
        /// The instruction's name.
        insn: &'static str,
        /// The field's name.
        field: &'static str,
        /// The value found.
        value: i64,
        /// The width of the field under this configuration.
        bits: u32,
        /// Whether the field is two's complement.
        signed: bool,
    },
    /// A coded field holds a code without meaning (Invalid).
    #[error("{insn}.{field} (bits {hi}:{lo}) holds {value}, which has no meaning")]
    UnknownCode {
        /// The instruction's name.
        insn: &'static str,
        /// The field's name.
        field: &'static str,
        /// The code found.
        value: i64,
        /// Highest bit of the field.
        hi: u32,
        /// Lowest bit of the field.
        lo: u32,
    },
    /// Bits that must be zero are not (Invalid).
    #[error("{insn} has reserved bits set: {bits}")]
    ReservedBits {
        /// The instruction's name.
        insn: &'static str,
        /// The offending bits, as ranges `hi:lo`.
        bits: String,
    },
    /// A memory type that this instruction cannot use (Invalid).
    #[error("{insn} cannot use memory type {memory_type}: use one of {accepted}")]
    MemoryType {
        /// The instruction's name.
        insn: &'static str,
        /// The memory type found.
        memory_type: crate::MemoryType,
        /// What the instruction accepts.
        accepted: String,
    },
    /// A dependence flag towards a neighbour that the queue does not have (Invalid).
    #[error("{insn} runs in the {queue} queue, which cannot {flag} (bit {bit}): {accepted}")]
    DepFlag {
        /// The instruction's name.
        insn: &'static str,
        /// The queue it runs in.
        queue: crate::Queue,
        /// The flag set.
        flag: &'static str,
        /// The bit of the flag.
        bit: u32,
        /// The flags that the queue accepts.
        accepted: &'static str,
    },
    /// Part of the Tandem extension under profile `vta-0.0.2` (Unsupported).
    #[error("{what} belongs to the Tandem extension, which profile vta-0.0.2 does not have")]
    Extension {
        /// What was asked for.
        what: String,
    },
    /// Weights of four bits, which the configuration does not unpack (Unsupported).
    #[error("this machine loads no weights of 4 bits (wgt4): its configuration says packed_weights = false")]
    PackedWeights,
    /// A REQUANT mode that the configuration leaves out (Unsupported).
    #[error("this machine has no REQUANT mode `{mode}`: its configuration says float_requant = false")]
    RequantMode {
        /// The mode found.
        mode: crate::RequantMode,
    },
    /// A flag of REQUANT that the configuration does not have (Unsupported).
    #[error("this machine has no REQUANT with `{flag}`: its configuration is one {reason}")]
    RequantFlag {
        /// The flag found.
        flag: &'static str,
        /// What it lacks.
        reason: &'static str,
    },
    /// LANE with more taps than the configuration has, or with taps and a maximum (Unsupported).
    #[error(
        "LANE has {more} taps beside the first: this machine multiplies {taps} at once, and a maximum takes one at a time"
    )]
    LaneTaps {
        /// Taps beside the first.
        more: u32,
        /// Taps that the machine multiplies at once.
        taps: usize,
    },
    /// A micro-op field does not fit (Invalid).
    #[error("uop.{field} is {value}, which does not fit in {bits} bits")]
    UopOverflow {
        /// `dst`, `src` or `wgt`.
        field: &'static str,
        /// The value found.
        value: u32,
        /// The width of the field under this configuration.
        bits: u32,
    },
    /// A micro-op word has bits above its three fields (Invalid).
    #[error("uop word {word:#010x} has reserved bits {hi}:{lo} set")]
    UopReserved {
        /// The word found.
        word: u32,
        /// Highest reserved bit.
        hi: u32,
        /// Lowest reserved bit.
        lo: u32,
    },
    /// A program's section is malformed (Invalid).
    #[error("section {name}: {problem}")]
    Section {
        /// The section's name.
        name: String,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// An instruction of a program is malformed (Invalid).
    #[error("instruction {index} ({insn}): {problem}")]
    Insn {
        /// Position in the instruction stream.
        index: usize,
        /// The instruction's name.
        insn: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A program cannot be placed at this address (Invalid).
    #[error("a program cannot be placed at {base:#x}: {problem}")]
    Base {
        /// The byte address asked for.
        base: u32,
        /// What is wrong.
        problem: String,
    },
    /// A line of a trace does not parse (Invalid).
    #[error("trace line {line}: {problem}")]
    TraceText {
        /// One-based line number.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl IsaError {
    /// How a caller should treat this error.
    pub fn class(&self) -> ErrorClass {
        match self {
            IsaError::Extension { .. }
            | IsaError::RequantMode { .. }
            | IsaError::RequantFlag { .. }
            | IsaError::PackedWeights
            | IsaError::LaneTaps { .. } => ErrorClass::Unsupported,
            _ => ErrorClass::Invalid,
        }
    }
}
