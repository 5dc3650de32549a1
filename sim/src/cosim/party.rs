//! A device that takes part in a co-simulation, driven below the driver: base registers and addresses of the checker's choice.

use std::time::{Duration, Instant};

use tandem_driver::{Bus, BusError, Bytes, DmaBuf, Waited};
use tandem_isa::{
    ErrorCode, Event, HwConfig, INSN_ADDR_ALIGN, ISA_VERSION, Insn, IsaError, MemoryType, Program, Reg, Trace, control,
    encode_all,
};
use thiserror::Error;

use super::Random;
use super::image::is_small;
use crate::{Checks, FsimBus, Kernel, Options};

/// Memory of the reference.
const DRAM_LIMIT: u64 = 64 << 20;
/// Unit of base registers.
const PAGE: u32 = 4096;

/// Why a co-simulation cannot go on.
#[derive(Debug, Error)]
pub enum CosimError {
    /// The way to a device failed (Fault).
    #[error("{party}: {action}: {source}")]
    Bus {
        /// The device.
        party: String,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: BusError,
    },
    /// A device of another configuration or version (Unsupported).
    #[error("{party}: {reg} reads {found:#010x} and should read {expected:#010x}")]
    Identity {
        /// The device.
        party: String,
        /// The register.
        reg: Reg,
        /// What it holds.
        found: u32,
        /// What it should hold.
        expected: u32,
    },
    /// A program that does not encode (Invalid): a fault of the generator.
    #[error("a program does not encode: {0}")]
    Encode(#[from] IsaError),
}

/// A device, and a way to see the events of its last launch.
pub struct Party {
    /// What messages call it.
    pub name: String,
    bus: Box<dyn Bus + Send>,
    trace: Option<Box<dyn Fn() -> Trace + Send>>,
}

/// A program in the memory of a device.
pub(super) struct Placed {
    buf: DmaBuf,
    spacer: DmaBuf,
    regs: [(Reg, u32); 7],
    config: HwConfig,
    /// Everything from the program's base: image, gap, instructions.
    bytes: Vec<u8>,
    /// Where the instructions begin.
    insns: usize,
}

/// How a launch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It finished.
    Done,
    /// The device reported an error.
    Stopped {
        /// The value of `ERROR_CODE`.
        code: u32,
        /// The value of `ERROR_INSN`.
        insn: u32,
        /// What the bus knows beyond that.
        diagnosis: Option<String>,
    },
    /// It was not done in time.
    Hung,
    /// The bus failed while the program ran.
    Failed(String),
}

/// What a launch left behind.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub end: End,
    pub cycles: u32,
    /// The registers that must agree, in order.
    pub counters: Vec<(Reg, u32)>,
    /// Events, where somebody sees them, with addresses counted from the program's base.
    pub trace: Option<Trace>,
    /// Memory from the program's base; of the instructions what has changed.
    pub memory: Vec<u8>,
    /// A register that does not hold what was written.
    pub readback: Option<(Reg, u32, u32)>,
}

impl Party {
    /// A device behind a bus. `trace` gives the events of the last launch.
    pub fn new(name: &str, bus: impl Bus + Send + 'static, trace: impl Fn() -> Trace + Send + 'static) -> Party {
        Party { name: name.to_owned(), bus: Box::new(bus), trace: Some(Box::new(trace)) }
    }

    /// A device whose events nobody sees: memory and registers alone are compared.
    pub fn untraced(name: &str, bus: impl Bus + Send + 'static) -> Party {
        Party { name: name.to_owned(), bus: Box::new(bus), trace: None }
    }

    /// The functional simulator. It looks for races too, so that an illegal program is not taken for one that hardware runs
    /// wrongly.
    pub fn fsim(config: &HwConfig, seed: u64, kernel: Kernel) -> Party {
        let checks = Checks { races: true, uninitialised: false };
        let options = Options { seed, checks, trace: true, kernel, ..Options::default() };
        let bus = FsimBus::with_options(config, options, DRAM_LIMIT);
        let monitor = bus.monitor();
        Party::new("fsim", bus, move || monitor.trace())
    }

    /// Checks that the device is of a configuration, and resets it.
    pub(super) fn open(&mut self, config: &HwConfig) -> Result<(), CosimError> {
        for (reg, expected) in [(Reg::IsaVersion, ISA_VERSION), (Reg::ConfigDigest, config.digest())] {
            let found = self.bus.read32(reg).map_err(|e| self.failed("reading the identification registers", e))?;
            if found != expected {
                return Err(CosimError::Identity { party: self.name.clone(), reg, found, expected });
            }
        }
        self.reset()
    }

    pub(super) fn reset(&mut self) -> Result<(), CosimError> {
        self.bus.write32(Reg::Control, control::RESET).map_err(|e| self.failed("resetting", e))
    }

    /// Puts a program into memory, at an address and with base registers that a seed chooses.
    pub(super) fn place(&mut self, program: &Program, seed: u64) -> Result<Placed, CosimError> {
        let mut random = Random(seed);
        let image = program.dram_image(0xa5);
        let insn_offset = (image.len() as u32).next_multiple_of(INSN_ADDR_ALIGN) + INSN_ADDR_ALIGN * random.below(9);
        let bytes = u64::from(insn_offset) + program.insns.len() as u64 * 16;
        let mut alloc = |bytes| self.bus.alloc(Bytes(bytes));
        let most = if is_small(&program.config) { 1 } else { 40 };
        let placed = alloc(u64::from(PAGE * random.between(1, most))).and_then(|spacer| Ok((spacer, alloc(bytes)?)));
        let (spacer, buf) = placed.map_err(|e| self.failed("reserving memory", e))?;
        let base = buf.addr.0;
        // A base register anywhere up to the program, with bits that the device must ignore.
        let mut register = |reg| (reg, (base - PAGE * random.below(base / PAGE + 1)) | random.below(PAGE));
        let bases = [Reg::UopBase, Reg::InpBase, Reg::WgtBase, Reg::AccBase, Reg::OutBase].map(&mut register);
        let mut insns = program.insns.clone();
        for insn in insns.iter_mut().filter(|insn| !insn.is_nop()) {
            let (memory_type, dram_base) = match insn {
                Insn::Load(i) => (i.memory_type, &mut i.dram_base),
                Insn::LoadPad(i) => (i.memory_type, &mut i.dram_base),
                Insn::Store(i) => (i.memory_type, &mut i.dram_base),
                _ => continue,
            };
            let [uop, inp, wgt, acc, out] = bases.map(|(_, value)| value);
            let from = match memory_type {
                MemoryType::Uop => uop,
                MemoryType::Inp => inp,
                MemoryType::Wgt | MemoryType::Wgt4 => wgt,
                MemoryType::Acc | MemoryType::Acc8 => acc,
                MemoryType::Out | MemoryType::OutInp => out,
            };
            *dram_base += (base - from / PAGE * PAGE) / program.config.elem_bytes(memory_type) as u32;
        }
        let mut bytes = image;
        bytes.resize(insn_offset as usize, 0x5a);
        bytes.extend(encode_all(&insns, &program.config)?);
        let [uop, inp, wgt, acc, out] = bases;
        let insn_addr = (Reg::InsnAddr, (base + insn_offset) | random.below(INSN_ADDR_ALIGN));
        let regs = [uop, inp, wgt, acc, out, insn_addr, (Reg::InsnCount, insns.len() as u32)];
        let insns = insn_offset as usize;
        Ok(Placed { buf, spacer, regs, bytes, insns, config: program.config.clone() })
    }

    /// Gives the memory of a program back.
    pub(super) fn remove(&mut self, placed: Placed) -> Result<(), CosimError> {
        for buf in [placed.buf, placed.spacer] {
            self.bus.free(buf).map_err(|e| self.failed("giving memory back", e))?;
        }
        Ok(())
    }

    /// Restores the memory of a program, runs it, and collects what it left.
    pub(super) fn launch(&mut self, placed: &Placed, limit: Duration) -> Result<Outcome, CosimError> {
        let failed = |party: &Party, e| party.failed("launching", e);
        self.bus.copy_in(placed.buf.addr, &placed.bytes).map_err(|e| failed(self, e))?;
        let mut readback = None;
        for (reg, value) in placed.regs {
            self.bus.write32(reg, value).map_err(|e| failed(self, e))?;
            let (kept, found) =
                (value & placed.config.written_bits(reg), self.bus.read32(reg).map_err(|e| failed(self, e))?);
            if kept != found {
                readback.get_or_insert((reg, kept, found));
            }
        }
        let end = self.run(limit).unwrap_or_else(|e| End::Failed(e.to_string()));
        if matches!(end, End::Failed(_)) {
            // There is nothing more to learn from a device that cannot be reached.
            return Ok(Outcome {
                end,
                cycles: 0,
                counters: vec![],
                trace: self.events(placed),
                memory: vec![],
                readback,
            });
        }
        let mut read = |reg| self.bus.read32(reg).map_err(|e| self.failed("reading the counters", e));
        let cycles = read(Reg::Cycles)?;
        let mut counters = Vec::new();
        for &reg in Reg::ALL.iter().filter(|reg| compared(**reg)) {
            counters.push((reg, read(reg)?));
        }
        if end != End::Done {
            self.reset()?;
        }
        let mut memory = vec![0; placed.bytes.len()];
        self.bus.copy_out(placed.buf.addr, &mut memory).map_err(|e| self.failed("reading memory", e))?;
        // Instructions have addresses in them, which no two devices need to have alike: how they were changed is compared.
        let written = placed.bytes.iter().skip(placed.insns);
        memory.iter_mut().skip(placed.insns).zip(written).for_each(|(found, written)| *found ^= written);
        Ok(Outcome { end, cycles, counters, trace: self.events(placed), memory, readback })
    }

    /// The events of the last launch, with addresses counted from the program's base.
    fn events(&self, placed: &Placed) -> Option<Trace> {
        let mut trace = self.trace.as_ref()?();
        for event in &mut trace.events {
            if let Event::Write { addr, .. } = event {
                *addr = addr.wrapping_sub(placed.buf.addr.0);
            }
        }
        Some(trace)
    }

    /// Launches a program, lets it run while a register is read so many times, and resets the device.
    pub(super) fn abandon(&mut self, placed: &Placed, reads: u32) -> Result<Option<End>, CosimError> {
        self.bus.copy_in(placed.buf.addr, &placed.bytes).map_err(|e| self.failed("restoring memory", e))?;
        let mut abandon = || {
            for (reg, value) in placed.regs {
                self.bus.write32(reg, value)?;
            }
            self.bus.write32(Reg::Control, control::LAUNCH)?;
            (0..reads).try_for_each(|_| self.bus.read32(Reg::ErrorCode).map(drop))?;
            self.bus.write32(Reg::Control, control::RESET)
        };
        match abandon() {
            Ok(()) => Ok(None),
            Err(error) => Ok(Some(End::Failed(error.to_string()))),
        }
    }

    fn run(&mut self, limit: Duration) -> Result<End, BusError> {
        self.bus.write32(Reg::Control, control::LAUNCH)?;
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let waited = self.bus.wait(left)?;
            let value = self.bus.read32(Reg::Control)?;
            if value & control::ERROR != 0 {
                let (code, insn) = (self.bus.read32(Reg::ErrorCode)?, self.bus.read32(Reg::ErrorInsn)?);
                return Ok(End::Stopped { code, insn, diagnosis: self.bus.diagnosis() });
            }
            if value & control::DONE != 0 && value & control::LAUNCH == 0 {
                return Ok(End::Done);
            }
            if left.is_zero() || (waited == Waited::Elapsed && value & control::LAUNCH == 0) {
                return Ok(End::Hung);
            }
        }
    }

    fn failed(&self, action: &'static str, source: BusError) -> CosimError {
        CosimError::Bus { party: self.name.clone(), action, source }
    }
}

impl std::fmt::Debug for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Party").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Done => write!(f, "finishes"),
            End::Stopped { code, insn, diagnosis } => {
                let meaning = ErrorCode::from_code(*code).map_or("an unknown code", ErrorCode::doc);
                write!(f, "stops at instruction {insn} with error {code} ({meaning})")?;
                diagnosis.iter().try_for_each(|diagnosis| write!(f, ": {diagnosis}"))
            }
            End::Hung => write!(f, "does not finish"),
            End::Failed(error) => write!(f, "fails: {error}"),
        }
    }
}

/// Whether a register must read alike on every device after a run.
fn compared(reg: Reg) -> bool {
    !matches!(
        reg,
        Reg::Control
            | Reg::Cycles
            | Reg::InsnAddr
            | Reg::UopBase
            | Reg::InpBase
            | Reg::WgtBase
            | Reg::AccBase
            | Reg::OutBase
            | Reg::ErrorInsn
    )
}
