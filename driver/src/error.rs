//! What can go wrong between a caller and a device, sorted by what the caller should do about it.

use std::fmt;
use std::time::Duration;

use tandem_isa::{ErrorCode, IsaError, Reg, control};
use thiserror::Error;

use crate::DmaAddr;

/// How a caller should treat an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// This device does not do it: place the work elsewhere.
    Unsupported,
    /// The caller broke the contract, or the program is wrong.
    Invalid,
    /// No memory or slots now.
    Exhausted,
    /// The device misbehaved.
    Fault,
    /// The device is absent: skip it, with this reason.
    Unavailable,
}

/// An error of a bus: the way to the device, not the device itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BusError {
    /// The device memory has no free range of this size (Exhausted).
    #[error("no {bytes} bytes of device memory are free; {limit} bytes is the limit")]
    Exhausted {
        /// Bytes asked for.
        bytes: u64,
        /// Size of the device memory.
        limit: u64,
    },
    /// A copy or a release outside allocated device memory (Invalid).
    #[error("{bytes} bytes from device address {addr} are not allocated")]
    Address {
        /// First byte.
        addr: DmaAddr,
        /// Length.
        bytes: u64,
    },
    /// A transfer failed (Fault).
    #[error("{action} failed: {detail}")]
    Transfer {
        /// What was tried.
        action: String,
        /// Why it failed.
        detail: String,
    },
    /// There is no way to the device, or nothing answers (Unavailable).
    #[error("the device cannot be reached: {detail}")]
    Unavailable {
        /// What is missing, and the remedy.
        detail: String,
    },
}

/// An error of a device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DriverError {
    /// The bus failed; the class is the bus error's.
    #[error("{action}: {source}{}", so_far(snapshot))]
    Bus {
        /// What the driver was doing.
        action: &'static str,
        /// The bus error.
        source: BusError,
        /// What was known of the registers: written or read since the launch, nothing outside of one.
        snapshot: Snapshot,
    },
    /// Identification registers read as a bus without a device does (Unavailable).
    #[error("the device does not answer: {reg} reads {value:#010x}; check power, bitstream and address")]
    Dead {
        /// The register.
        reg: Reg,
        /// What it reads.
        value: u32,
    },
    /// The device was built from another configuration (Unsupported).
    #[error(
        "the device was built for configuration {found:#010x}, and this program is for {expected:#010x}: build the bitstream \
         with the same --hw, or run with the --hw that the bitstream was built with"
    )]
    Config {
        /// The digest the device reports.
        found: u32,
        /// The digest of the configuration at hand.
        expected: u32,
    },
    /// The device has another version of the instruction set (Unsupported).
    #[error("the device has instruction set version {found:#010x}, this driver {expected:#010x}; rebuild the device")]
    IsaVersion {
        /// The version the device reports.
        found: u32,
        /// The version of this driver.
        expected: u32,
    },
    /// A program was compiled for another configuration (Invalid).
    #[error("the program is for configuration {found:#010x}, the device has {expected:#010x}; compile it again")]
    ProgramConfig {
        /// The digest of the program's configuration.
        found: u32,
        /// The digest of the device's.
        expected: u32,
    },
    /// A program that is not legal (Invalid).
    #[error("the program is not legal: {0}")]
    Program(#[from] IsaError),
    /// A program that a 32-bit address space cannot hold (Exhausted).
    #[error("the program needs {bytes} bytes of device memory, more than 32 bits address")]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
    },
    /// A section number that the program does not have (Invalid).
    #[error("section {section} does not exist: the program has {count}")]
    NoSection {
        /// The number asked for.
        section: usize,
        /// Sections of the program.
        count: usize,
    },
    /// Bytes outside a section (Invalid).
    #[error("bytes {offset}..{} are outside section {name} of {size} bytes", (*offset as u128) + (*len as u128))]
    SectionRange {
        /// The section's name.
        name: String,
        /// First byte.
        offset: usize,
        /// Length.
        len: usize,
        /// Size of the section.
        size: u32,
    },
    /// What a program holds in device memory is lost with a device that was reset or unplugged (Fault).
    #[error(
        "the device was reset or unplugged and has lost section {section} of the program; write it again, then run the program \
         again"
    )]
    Lost {
        /// The section that the host wrote, or wants to read.
        section: String,
    },
    /// A loaded program of another device (Invalid).
    #[error("this program was loaded on another device")]
    Foreign,
    /// A launch while another one is under way (Invalid).
    #[error("the device runs a program already; wait for it first")]
    Busy,
    /// Waiting for a program that was not launched, or whose launch a reset has ended (Invalid).
    #[error("this program does not run on the device; it was not launched, or a reset has ended it")]
    Idle,
    /// The device stopped a program (Invalid where the program is at fault, Fault where the device is).
    #[error("{}", stopped(*code, *insn, insn_text.as_deref(), diagnosis.as_deref(), snapshot))]
    Stopped {
        /// Contents of `ERROR_CODE`.
        code: u32,
        /// Contents of `ERROR_INSN`.
        insn: u32,
        /// That instruction as assembly text, where the program has it.
        insn_text: Option<String>,
        /// What the bus knows beyond the registers.
        diagnosis: Option<String>,
        /// All registers.
        snapshot: Snapshot,
    },
    /// The device was not done in time (Fault).
    #[error("the device was not done within {limit:?}; registers: {snapshot}")]
    Timeout {
        /// The time allowed.
        limit: Duration,
        /// All registers at that moment.
        snapshot: Snapshot,
    },
    /// `CONTROL` reads as if nothing had been launched (Fault).
    #[error("the device has forgotten the launch, so it was reset or has lost power; registers: {snapshot}")]
    Forgotten {
        /// All registers.
        snapshot: Snapshot,
    },
    /// `CONTROL` holds what no device reports (Fault).
    #[error("CONTROL reads {value:#010x}, which no device reports; registers: {snapshot}")]
    Control {
        /// What it reads.
        value: u32,
        /// All registers.
        snapshot: Snapshot,
    },
}

/// The registers of a device at one moment, as far as they could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every register with its value; `None` where the read failed.
    pub values: Vec<(Reg, Option<u32>)>,
}

impl BusError {
    /// How a caller should treat it.
    pub fn class(&self) -> ErrorClass {
        match self {
            BusError::Exhausted { .. } => ErrorClass::Exhausted,
            BusError::Address { .. } => ErrorClass::Invalid,
            BusError::Transfer { .. } => ErrorClass::Fault,
            BusError::Unavailable { .. } => ErrorClass::Unavailable,
        }
    }
}

impl DriverError {
    /// How a caller should treat it.
    pub fn class(&self) -> ErrorClass {
        match self {
            DriverError::Bus { source, .. } => source.class(),
            DriverError::Dead { .. } => ErrorClass::Unavailable,
            DriverError::Config { .. } | DriverError::IsaVersion { .. } => ErrorClass::Unsupported,
            DriverError::TooLarge { .. } => ErrorClass::Exhausted,
            DriverError::ProgramConfig { .. }
            | DriverError::Program(_)
            | DriverError::NoSection { .. }
            | DriverError::SectionRange { .. }
            | DriverError::Foreign
            | DriverError::Busy
            | DriverError::Idle => ErrorClass::Invalid,
            DriverError::Stopped { code, .. } => match ErrorCode::from_code(*code) {
                None | Some(ErrorCode::None | ErrorCode::BusFault) => ErrorClass::Fault,
                Some(_) => ErrorClass::Invalid,
            },
            DriverError::Timeout { .. }
            | DriverError::Control { .. }
            | DriverError::Forgotten { .. }
            | DriverError::Lost { .. } => ErrorClass::Fault,
        }
    }

    /// The registers at the moment of a timeout or of a stop, or what was known of them when the bus failed.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            DriverError::Bus { snapshot, .. } if snapshot.values.is_empty() => None,
            DriverError::Bus { snapshot, .. }
            | DriverError::Forgotten { snapshot }
            | DriverError::Stopped { snapshot, .. }
            | DriverError::Timeout { snapshot, .. }
            | DriverError::Control { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }
}

impl Snapshot {
    /// The value of a register, where it could be read.
    pub fn get(&self, reg: Reg) -> Option<u32> {
        self.values.iter().find(|(at, _)| *at == reg).and_then(|(_, value)| *value)
    }

    /// Adds what a register holds, or replaces what it held.
    pub(crate) fn note(&mut self, reg: Reg, value: u32) {
        match self.values.iter_mut().find(|(at, _)| *at == reg) {
            Some((_, known)) => *known = Some(value),
            None => self.values.push((reg, Some(value))),
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (reg, value)) in self.values.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            match value {
                Some(value) if *reg == Reg::Control => {
                    write!(f, "{space}{reg}={value:#x}")?;
                    let bits = [(control::LAUNCH, "launch"), (control::DONE, "done"), (control::ERROR, "error")];
                    let set: Vec<&str> = bits.iter().filter(|(bit, _)| value & bit != 0).map(|(_, n)| *n).collect();
                    write!(f, "({})", set.join(","))?;
                }
                Some(value) => write!(f, "{space}{reg}={value:#x}")?,
                None => write!(f, "{space}{reg}=unreadable")?,
            }
        }
        Ok(())
    }
}

fn so_far(snapshot: &Snapshot) -> String {
    if snapshot.values.is_empty() { String::new() } else { format!("; last known registers: {snapshot}") }
}

fn stopped(code: u32, insn: u32, insn_text: Option<&str>, diagnosis: Option<&str>, snapshot: &Snapshot) -> String {
    // A bus with a diagnosis has named instruction and cause already.
    if let Some(diagnosis) = diagnosis {
        return format!("the device stopped: {diagnosis}");
    }
    let cause = match ErrorCode::from_code(code) {
        Some(known) => known.doc().to_owned(),
        None => format!("unknown error code {code}"),
    };
    let text = insn_text.map(|text| format!(" (`{text}`)")).unwrap_or_default();
    format!("the device stopped at instruction {insn}{text}: {cause}; registers: {snapshot}")
}
