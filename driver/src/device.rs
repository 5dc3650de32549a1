//! A device behind a bus: load a program, write inputs, run, read outputs; any number of times, in any order.
//!
//! A bus may fail and come back: a board that was unplugged. The next call after a failure opens it again, checks that it is the
//! same device, and places the programs anew, because their memory may be lost. What the host wrote into them it must write
//! again, and a run that would compute with lost data is refused.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tandem_isa::{HwConfig, INSN_ADDR_ALIGN, ISA_VERSION, Program, Reg, Role, control};

use crate::protocol::{self, Launched, in_action};
use crate::{Bus, Bytes, Counters, DmaAddr, DmaBuf, DriverError, ErrorClass, Snapshot};

/// Alignment of the instruction stream behind the sections.
const INSN_ALIGN: u64 = INSN_ADDR_ALIGN as u64;

/// What `INSN_COUNT` holds between a reset and the first launch. A device that was configured again reads 0 there.
const MARK: u32 = 0x7a6d_2aa5;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A device and the bus that it hangs on.
pub struct Device {
    bus: Box<dyn Bus + Send>,
    config: HwConfig,
    id: u64,
    /// The bus has failed: what is behind it is unknown.
    cut: bool,
    /// What `INSN_COUNT` must hold while the device keeps its memory.
    mark: u32,
    /// How often device memory has been lost.
    losses: u64,
    /// Programs in device memory by the address of their region.
    residents: BTreeMap<DmaAddr, Resident>,
    /// The launch under way, with the region of its program.
    running: Option<(DmaAddr, Launched)>,
}

/// What it takes to place a program again.
struct Resident {
    program: Program,
    /// Losses when it was placed.
    losses: u64,
    /// What the host has written, by section.
    sections: Vec<HostData>,
}

/// Bytes of a section that the host has written, and those of them that are lost.
#[derive(Clone, Debug, Default)]
struct HostData {
    written: Range<usize>,
    lost: Range<usize>,
}

/// A program in the memory of a device.
///
/// It keeps its memory until [`Device::unload`] takes it back.
#[derive(Debug)]
#[must_use = "the device memory stays reserved until the program is unloaded"]
pub struct Loaded {
    device: u64,
    buf: DmaBuf,
    insn_addr: DmaAddr,
    insn_offset: u32,
    insn_count: u32,
    sections: Vec<LoadedSection>,
    insn_text: Vec<tandem_isa::Insn>,
}

/// Where a section of a loaded program lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSection {
    /// The section's name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its first byte in device memory.
    pub addr: DmaAddr,
    /// Its length in bytes.
    pub size: u32,
}

impl Device {
    /// Opens the device on a bus and checks that it was built from this configuration.
    ///
    /// # Errors
    /// [`DriverError::Dead`] where nothing answers, [`DriverError::Config`] or [`DriverError::IsaVersion`] where the device is
    /// another one, [`DriverError::Bus`].
    pub fn open(mut bus: Box<dyn Bus + Send>, config: &HwConfig) -> Result<Device, DriverError> {
        identify(&mut *bus, config)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (residents, mark) = (BTreeMap::new(), mark(config));
        let mut device =
            Device { bus, config: config.clone(), id, cut: false, mark, losses: 0, residents, running: None };
        device.reset()?;
        Ok(device)
    }

    /// The configuration of the device.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// Places a program in device memory: one region with all sections and the instruction stream behind them.
    ///
    /// Initialised sections are copied once; a program that writes its own constants sees what it wrote on the next run.
    ///
    /// # Errors
    /// [`DriverError::ProgramConfig`] and [`DriverError::Program`] for a program this device cannot run,
    /// [`DriverError::TooLarge`], [`DriverError::Bus`] where memory is exhausted or a copy fails.
    pub fn load(&mut self, program: &Program) -> Result<Loaded, DriverError> {
        let (found, expected) = (program.config.digest(), self.config.digest());
        if found != expected {
            return Err(DriverError::ProgramConfig { found, expected });
        }
        program.validate()?;
        self.recover()?;
        let insn_bytes = program.insns.len() as u64 * 16;
        let insn_offset = program.dram_bytes().next_multiple_of(INSN_ALIGN);
        let bytes = insn_offset + insn_bytes;
        let (Ok(insn_offset), Ok(insn_count)) = (u32::try_from(insn_offset), u32::try_from(program.insns.len())) else {
            return Err(DriverError::TooLarge { bytes });
        };
        let buf = self.bus.alloc(Bytes(bytes)).map_err(in_action("reserving memory for a program"))?;
        let placed = self.place(program, buf, insn_offset);
        match self.noted(placed) {
            Ok((insn_addr, sections)) => {
                let host_data = vec![HostData::default(); sections.len()];
                let resident = Resident { program: program.clone(), losses: self.losses, sections: host_data };
                self.residents.insert(buf.addr, resident);
                let insn_text = program.insns.clone();
                Ok(Loaded { device: self.id, buf, insn_addr, insn_offset, insn_count, sections, insn_text })
            }
            Err(error) => {
                // The first error is the one to report; a bus that fails here has failed before.
                let _ = self.bus.free(buf);
                Err(error)
            }
        }
    }

    /// Writes bytes into a section.
    ///
    /// # Errors
    /// [`DriverError::NoSection`], [`DriverError::SectionRange`], [`DriverError::Foreign`], [`DriverError::Bus`].
    pub fn write(&mut self, loaded: &Loaded, section: usize, offset: usize, data: &[u8]) -> Result<(), DriverError> {
        let addr = self.section_addr(loaded, section, offset, data.len())?;
        self.refresh(loaded)?;
        let copied = self.bus.copy_in(addr, data).map_err(in_action("copying into device memory"));
        if let Some(host_data) = self.residents.get_mut(&loaded.buf.addr).and_then(|r| r.sections.get_mut(section)) {
            host_data.write(offset..offset + data.len(), copied.is_ok());
        }
        self.noted(copied)
    }

    /// Reads bytes of a section.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn read(&mut self, loaded: &Loaded, section: usize, offset: usize, len: usize) -> Result<Vec<u8>, DriverError> {
        // The range is checked before memory of that size is taken.
        self.section_addr(loaded, section, offset, len)?;
        let mut data = vec![0; len];
        self.read_into(loaded, section, offset, &mut data)?;
        Ok(data)
    }

    /// Reads bytes of a section into a slice.
    ///
    /// # Errors
    /// As [`Device::write`].
    pub fn read_into(
        &mut self,
        loaded: &Loaded,
        section: usize,
        offset: usize,
        data: &mut [u8],
    ) -> Result<(), DriverError> {
        let addr = self.section_addr(loaded, section, offset, data.len())?;
        self.recover()?;
        if self.residents.get(&loaded.buf.addr).is_some_and(|resident| resident.losses != self.losses) {
            return Err(lost(loaded, section));
        }
        let copied = self.bus.copy_out(addr, data).map_err(in_action("copying out of device memory"));
        self.noted(copied)?;
        // Where the mark stands, so did the memory.
        if self.check_mark()? { Ok(()) } else { Err(lost(loaded, section)) }
    }

    /// Runs a loaded program once and reads the counters: [`Device::start`], and then [`Device::wait`].
    ///
    /// # Errors
    /// Those of both.
    pub fn run(&mut self, loaded: &Loaded, limit: Duration) -> Result<Counters, DriverError> {
        self.start(loaded)?;
        self.wait(loaded, limit)
    }

    /// Launches a loaded program. Until [`Device::wait`] has seen its end, other programs can be written to and read from.
    ///
    /// # Errors
    /// [`DriverError::Busy`] where another launch is under way, [`DriverError::Lost`] where data of the host is lost,
    /// [`DriverError::Foreign`], [`DriverError::Bus`].
    pub fn start(&mut self, loaded: &Loaded) -> Result<(), DriverError> {
        if loaded.device != self.id {
            return Err(DriverError::Foreign);
        }
        self.recover()?;
        if self.running.is_some() {
            return Err(DriverError::Busy);
        }
        self.check_mark()?;
        self.refresh(loaded)?;
        let resident = self.residents.get(&loaded.buf.addr);
        if let Some(section) = resident.and_then(|r| r.sections.iter().position(|data| !data.lost.is_empty())) {
            return Err(lost(loaded, section));
        }
        self.mark = loaded.insn_count;
        let launched = protocol::launch(&mut *self.bus, loaded.insn_addr, loaded.insn_count);
        let launched = self.noted(launched)?;
        self.running = Some((loaded.buf.addr, launched));
        Ok(())
    }

    /// Waits for the end of the launch of a program and reads the counters.
    ///
    /// After an error the device is reset, so that the next run starts from empty queues. A device whose bus has failed is
    /// opened again by the next call instead: this one returns as soon as the failure is known.
    ///
    /// # Errors
    /// [`DriverError::Stopped`] where the device reports an error, [`DriverError::Timeout`] where it is not done within
    /// `limit`, [`DriverError::Control`] and [`DriverError::Forgotten`] where its answer makes no sense, [`DriverError::Idle`] where
    /// the program was not launched or a reset has ended it, [`DriverError::Bus`].
    pub fn wait(&mut self, loaded: &Loaded, limit: Duration) -> Result<Counters, DriverError> {
        let (_, launched) = self.running.take_if(|(addr, _)| *addr == loaded.buf.addr).ok_or(DriverError::Idle)?;
        let ran = protocol::wait(&mut *self.bus, launched, limit).map_err(|mut error| {
            if let DriverError::Stopped { insn, insn_text, .. } = &mut error {
                *insn_text = loaded.insn_text.get(*insn as usize).map(ToString::to_string);
            }
            error
        });
        let ran = self.noted(ran);
        if let Err(DriverError::Forgotten { .. }) = ran {
            self.losses += 1;
        }
        if ran.is_err() && !self.cut {
            // The error of the run is the one to report; where the reset fails too, the next run reports that.
            let _ = self.reset();
        }
        ran
    }

    /// Takes a program out of device memory.
    ///
    /// # Errors
    /// [`DriverError::Foreign`], [`DriverError::Bus`].
    pub fn unload(&mut self, loaded: Loaded) -> Result<(), DriverError> {
        if loaded.device != self.id {
            return Err(DriverError::Foreign);
        }
        if self.running.as_ref().is_some_and(|(addr, _)| *addr == loaded.buf.addr) {
            self.reset()?;
        }
        self.residents.remove(&loaded.buf.addr);
        self.bus.free(loaded.buf).map_err(in_action("giving back the memory of a program"))
    }

    /// Abandons whatever runs and empties the queues.
    ///
    /// # Errors
    /// [`DriverError::Bus`], and every error of [`Device::open`] where the bus had failed before.
    pub fn reset(&mut self) -> Result<(), DriverError> {
        self.recover()?;
        self.clear()
    }

    /// Reads every register.
    ///
    /// # Errors
    /// [`DriverError::Bus`].
    pub fn snapshot(&mut self) -> Result<Snapshot, DriverError> {
        let read = protocol::snapshot(&mut *self.bus).map_err(in_action("reading the registers"));
        self.noted(read)
    }

    /// Opens a bus that has failed again, and checks that the same device is behind it.
    fn recover(&mut self) -> Result<(), DriverError> {
        if !self.cut {
            return Ok(());
        }
        self.bus.reopen().map_err(in_action("looking for the device again"))?;
        identify(&mut *self.bus, &self.config)?;
        self.losses += 1;
        self.cut = false;
        self.clear()
    }

    /// Empties the queues and leaves a mark.
    fn clear(&mut self) -> Result<(), DriverError> {
        self.running = None;
        let cleared = self.bus.write32(Reg::Control, control::RESET);
        self.mark = mark(&self.config);
        let marked = cleared.and_then(|()| self.bus.write32(Reg::InsnCount, self.mark));
        self.noted(marked.map_err(in_action("resetting the device")))
    }

    /// Whether the device is as the host left it, and has not been configured again behind its back.
    fn check_mark(&mut self) -> Result<bool, DriverError> {
        let found = self.bus.read32(Reg::InsnCount).map_err(in_action("looking for the mark of the last launch"));
        let intact = self.noted(found)? == self.mark;
        if !intact {
            self.losses += 1;
            self.clear()?;
        }
        Ok(intact)
    }

    /// Places a program again whose memory is lost.
    fn refresh(&mut self, loaded: &Loaded) -> Result<(), DriverError> {
        self.recover()?;
        if self.residents.get(&loaded.buf.addr).is_none_or(|resident| resident.losses == self.losses) {
            return Ok(());
        }
        let Some(mut resident) = self.residents.remove(&loaded.buf.addr) else { return Ok(()) };
        let placed = self.place(&resident.program, loaded.buf, loaded.insn_offset);
        if placed.is_ok() {
            resident.losses = self.losses;
            for data in &mut resident.sections {
                data.lost = data.written.clone();
            }
        }
        self.residents.insert(loaded.buf.addr, resident);
        self.noted(placed).map(drop)
    }

    /// Remembers that the bus has failed, where it has.
    fn noted<T>(&mut self, result: Result<T, DriverError>) -> Result<T, DriverError> {
        if let Err(DriverError::Bus { source, .. }) = &result {
            self.cut |= matches!(source.class(), ErrorClass::Fault | ErrorClass::Unavailable);
        }
        result
    }

    fn place(
        &mut self,
        program: &Program,
        buf: DmaBuf,
        insn_offset: u32,
    ) -> Result<(DmaAddr, Vec<LoadedSection>), DriverError> {
        let base = buf.addr;
        let too_large = DriverError::TooLarge { bytes: buf.bytes.0 };
        let mut sections = Vec::with_capacity(program.sections.len());
        for section in &program.sections {
            let addr = base.offset(section.offset).ok_or_else(|| too_large.clone())?;
            if !section.data.is_empty() {
                self.bus.copy_in(addr, &section.data).map_err(in_action("copying a section into device memory"))?;
            }
            sections.push(LoadedSection { name: section.name.clone(), role: section.role, addr, size: section.size });
        }
        let insns = tandem_isa::encode_all(&program.relocated(base.0)?, &program.config)?;
        let insn_addr = base.offset(insn_offset).ok_or(too_large)?;
        let copied = self.bus.copy_in(insn_addr, &insns).and_then(|()| self.bus.flush());
        copied.map_err(in_action("copying instructions into device memory"))?;
        Ok((insn_addr, sections))
    }

    fn section_addr(&self, loaded: &Loaded, section: usize, offset: usize, len: usize) -> Result<DmaAddr, DriverError> {
        if loaded.device != self.id {
            return Err(DriverError::Foreign);
        }
        let count = loaded.sections.len();
        let at = loaded.sections.get(section).ok_or(DriverError::NoSection { section, count })?;
        let start = offset.checked_add(len).filter(|&end| end <= at.size as usize).and_then(|_| {
            // The whole section lies in the 32-bit address space, so an offset inside it does.
            at.addr.offset(u32::try_from(offset).ok()?)
        });
        start.ok_or_else(|| DriverError::SectionRange { name: at.name.clone(), offset, len, size: at.size })
    }
}

/// Checks that a device of this configuration is behind a bus.
///
/// # Errors
/// As [`Device::open`].
pub fn identify(bus: &mut dyn Bus, config: &HwConfig) -> Result<(), DriverError> {
    let mut values = [0; 2];
    bus.read_regs(Reg::ConfigDigest, &mut values).map_err(in_action("reading the identification registers"))?;
    let [digest, version] = values;
    // A bus without a device behind it reads as all zeros or all ones, in every register.
    if digest == version && (digest == 0 || digest == u32::MAX) {
        return Err(DriverError::Dead { reg: Reg::ConfigDigest, value: digest });
    }
    if version != ISA_VERSION {
        return Err(DriverError::IsaVersion { found: version, expected: ISA_VERSION });
    }
    if digest != config.digest() {
        return Err(DriverError::Config { found: digest, expected: config.digest() });
    }
    Ok(())
}

fn lost(loaded: &Loaded, section: usize) -> DriverError {
    let section = loaded.sections.get(section).map_or_else(|| section.to_string(), |at| at.name.clone());
    DriverError::Lost { section }
}

/// As much of [`MARK`] as the register of this machine holds.
fn mark(config: &HwConfig) -> u32 {
    MARK & config.written_bits(Reg::InsnCount)
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("config", &self.config).field("id", &self.id).finish_non_exhaustive()
    }
}

impl HostData {
    fn write(&mut self, bytes: Range<usize>, whole: bool) {
        let hull = |a: &Range<usize>, b: &Range<usize>| match (a.is_empty(), b.is_empty()) {
            (true, _) => b.clone(),
            (_, true) => a.clone(),
            _ => a.start.min(b.start)..a.end.max(b.end),
        };
        self.written = hull(&self.written, &bytes);
        if !whole {
            self.lost = hull(&self.lost, &bytes);
        } else if bytes.start <= self.lost.start {
            // What is written again from either end is not lost any more.
            self.lost.start = self.lost.start.max(bytes.end);
        } else if bytes.end >= self.lost.end {
            self.lost.end = self.lost.end.min(bytes.start);
        }
    }
}

impl Loaded {
    /// The sections, in the order of the program.
    pub fn sections(&self) -> &[LoadedSection] {
        &self.sections
    }

    /// The number of a section by name.
    pub fn section(&self, name: &str) -> Option<usize> {
        self.sections.iter().position(|section| section.name == name)
    }

    /// The device memory that the program takes.
    pub fn buf(&self) -> DmaBuf {
        self.buf
    }
}
