//! A core in the fabric beside this processor: registers through a UIO device, memory through u-dma-buf.
//!
//! ```text
//! /dev/uio0                      map 0: the registers; read: waits for an interrupt; write: allows the next one
//! /dev/udmabuf0                  the memory, contiguous
//! /sys/class/u-dma-buf/udmabuf0  phys_addr, size: where the core sees it; sync_*: cache maintenance
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fs::OFlags;
use tandem_isa::{Reg, control};

use crate::memory::Memory;
use crate::serial::tty::ready;
use crate::sys::Mapping;
use crate::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};

/// Bytes of the register window.
const WINDOW: usize = 4096;
/// The longest wait for an interrupt before `CONTROL` is looked at all the same: an interrupt that is not wired is no hang.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Where u-dma-buf describes its buffers.
const CLASS: &str = "/sys/class/u-dma-buf";

/// How the processor's caches and the device's memory are kept in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// The memory is mapped without caches.
    Uncached,
    /// The memory is cached, and the driver of the buffer is told before the device and before the processor reads.
    Synced,
    /// The device's port is coherent with the caches.
    Coherent,
}

/// Where the parts of a device are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UioPaths {
    /// The registers: a UIO device, or memory such as /dev/mem.
    pub registers: PathBuf,
    /// Offset of the register window in it, a multiple of the page size.
    pub offset: u64,
    /// Whether reading `registers` waits for an interrupt.
    pub interrupt: bool,
    /// The memory.
    pub memory: PathBuf,
    /// The folder with the files that describe the memory.
    pub attributes: PathBuf,
    /// What is done about caches.
    pub caching: Caching,
}

/// The opened parts of a device.
#[derive(Debug)]
pub struct UioParts {
    /// The registers.
    pub registers: File,
    /// Offset of the register window in it.
    pub offset: u64,
    /// Four bytes come from here for each interrupt, and four bytes that hold 1 allow the next one.
    pub interrupt: Option<OwnedFd>,
    /// The memory.
    pub memory: File,
    /// Where the device sees the memory.
    pub range: DmaBuf,
    /// Folder of the files that keep caches in step; `None` where nothing need be done.
    pub sync: Option<PathBuf>,
}

/// A core behind maps of its registers and its memory.
#[derive(Debug)]
pub struct UioBus {
    registers: Mapping,
    interrupt: Option<File>,
    memory: Mapping,
    base: DmaAddr,
    ranges: Memory,
    sync: Option<PathBuf>,
}

/// Who looks at memory next.
#[derive(Clone, Copy)]
enum Reader {
    Device,
    Cpu,
}

impl UioPaths {
    /// A UIO device with interrupts, and a buffer of u-dma-buf by its name, mapped without caches.
    pub fn new(registers: &Path, buffer: &str) -> UioPaths {
        UioPaths {
            registers: registers.to_owned(),
            offset: 0,
            interrupt: true,
            memory: Path::new("/dev").join(buffer),
            attributes: Path::new(CLASS).join(buffer),
            caching: Caching::Uncached,
        }
    }
}

impl UioBus {
    /// Opens the parts of a device by their paths.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: one sentence with the path.
    pub fn open(paths: &UioPaths) -> Result<UioBus, BusError> {
        let (addr, bytes) = (attribute(&paths.attributes, "phys_addr")?, attribute(&paths.attributes, "size")?);
        let end = addr.checked_add(bytes).filter(|&end| end <= 1 << 32);
        let (Some(_), Ok(addr)) = (end, u32::try_from(addr)) else {
            return Err(unavailable(
                &paths.attributes,
                &format!("the buffer at {addr:#x} with {bytes} bytes is out of the core's reach of 32 bits"),
            ));
        };
        let uncached = paths.caching == Caching::Uncached;
        let registers = open(&paths.registers, OFlags::SYNC)?;
        let interrupt = if paths.interrupt {
            let again = registers.try_clone().map_err(|error| unavailable(&paths.registers, &error.to_string()))?;
            Some(OwnedFd::from(again))
        } else {
            None
        };
        let parts = UioParts {
            registers,
            offset: paths.offset,
            interrupt,
            memory: open(&paths.memory, if uncached { OFlags::SYNC } else { OFlags::empty() })?,
            range: DmaBuf { addr: DmaAddr(addr), bytes: Bytes(bytes) },
            sync: (paths.caching == Caching::Synced).then(|| paths.attributes.clone()),
        };
        UioBus::new(parts)
    }

    /// A device of opened parts.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where a part cannot be mapped.
    pub fn new(parts: UioParts) -> Result<UioBus, BusError> {
        let UioParts { registers, offset, interrupt, memory, range, sync } = parts;
        let map = |what: &str, file: &File, offset, bytes: u64| {
            let failed = |why: &str| BusError::Unavailable { detail: format!("the {what} cannot be mapped: {why}") };
            // A plain file that is too short would end the process at the first access; a device says so when it is mapped.
            let kind = file.metadata().map_err(|error| failed(&error.to_string()))?;
            if kind.is_file() && kind.len() < offset + bytes {
                return Err(failed(&format!("the file has {} bytes and {} are needed", kind.len(), offset + bytes)));
            }
            let bytes = usize::try_from(bytes).map_err(|_| failed("it is larger than the address space"))?;
            Mapping::new(file, offset, bytes).map_err(|error| failed(&error.to_string()))
        };
        Ok(UioBus {
            registers: map("register window", &registers, offset, WINDOW as u64)?,
            interrupt: interrupt.map(File::from),
            memory: map("device memory", &memory, 0, range.bytes.0 & !3)?,
            base: range.addr,
            ranges: Memory::new(range.addr, range.bytes),
            sync,
        })
    }

    /// The memory that the device sees.
    pub fn memory(&self) -> DmaBuf {
        DmaBuf { addr: self.base, bytes: Bytes(self.memory.bytes() as u64) }
    }

    /// Reserves memory at an address of the caller's choice.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where the range is taken or beyond the memory.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let buf = DmaBuf { addr, bytes };
        self.ranges.take(buf).map(|()| buf)
    }

    /// Cache maintenance of a range for whoever looks at it next.
    fn sync(&self, offset: usize, len: usize, reader: Reader) -> Result<(), BusError> {
        let Some(folder) = &self.sync else { return Ok(()) };
        let write = |name: &str, value: &str| {
            let path = folder.join(name);
            std::fs::write(&path, value).map_err(|error| BusError::Transfer {
                action: format!("cache maintenance through {}", path.display()),
                detail: error.to_string(),
            })
        };
        write("sync_offset", &offset.to_string())?;
        write("sync_size", &len.to_string())?;
        // 1: to the device, 2: from the device.
        let (direction, trigger) = match reader {
            Reader::Device => ("1", "sync_for_device"),
            Reader::Cpu => ("2", "sync_for_cpu"),
        };
        write("sync_direction", direction)?;
        write(trigger, "1")
    }

    /// The offset of an address in the map.
    fn offset(&self, addr: DmaAddr) -> usize {
        (addr.0 - self.base.0) as usize
    }
}

impl Bus for UioBus {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let value = self.registers.read(reg.offset() as usize);
        // What the device wrote before it said so is read after this.
        fence(Ordering::SeqCst);
        Ok(value)
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        // The device sees all memory that was written before it is launched.
        fence(Ordering::SeqCst);
        self.registers.write(reg.offset() as usize, value);
        Ok(())
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.ranges.alloc(bytes)
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.ranges.free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.ranges.check(dst, src.len())?;
        if src.is_empty() {
            return Ok(());
        }
        let begin = self.offset(dst);
        let (mut at, mut left) = (begin, src);
        // Whole words alone: uncached memory may take no other accesses. The words at the edges keep their other bytes.
        while !left.is_empty() {
            let (word, skipped) = (at & !3, at & 3);
            let count = left.len().min(4 - skipped);
            let (now, rest) = left.split_at(count);
            let mut bytes = if count == 4 { [0; 4] } else { self.memory.read(word).to_le_bytes() };
            bytes.iter_mut().skip(skipped).zip(now).for_each(|(to, from)| *to = *from);
            self.memory.write(word, u32::from_le_bytes(bytes));
            (at, left) = (at + count, rest);
        }
        self.sync(begin, src.len(), Reader::Device)
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.ranges.check(src, dst.len())?;
        if dst.is_empty() {
            return Ok(());
        }
        let begin = self.offset(src);
        self.sync(begin, dst.len(), Reader::Cpu)?;
        let (mut at, mut left) = (begin, dst);
        while !left.is_empty() {
            let (word, skipped) = (at & !3, at & 3);
            let count = left.len().min(4 - skipped);
            let (now, rest) = left.split_at_mut(count);
            let bytes = self.memory.read(word).to_le_bytes();
            now.iter_mut().zip(bytes.iter().skip(skipped)).for_each(|(to, from)| *to = *from);
            (at, left) = (at + count, rest);
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        let begin = Instant::now();
        let failed = |error: std::io::Error| BusError::Transfer {
            action: "waiting for an interrupt".to_owned(),
            detail: error.to_string(),
        };
        loop {
            if let Some(interrupt) = &mut self.interrupt {
                // Allowed before CONTROL is read: an interrupt in between is seen by one or the other.
                interrupt.write_all(&1u32.to_ne_bytes()).map_err(failed)?;
            }
            if self.read32(Reg::Control)? & control::LAUNCH == 0 {
                return Ok(Waited::Signalled);
            }
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(Waited::Elapsed);
            }
            match &mut self.interrupt {
                Some(interrupt) => {
                    if ready(interrupt, PollFlags::IN, left.min(LONGEST_WAIT)).map_err(failed)? {
                        let mut count = [0; 4];
                        interrupt.read_exact(&mut count).map_err(failed)?;
                    }
                }
                None => std::thread::sleep(left.min(Duration::from_micros(50))),
            }
        }
    }
}

fn open(path: &Path, flags: OFlags) -> Result<File, BusError> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags.bits() as i32).open(path);
    opened.map_err(|error| unavailable(path, &error.to_string()))
}

/// A number in a file: decimal, or hexadecimal with 0x.
fn attribute(folder: &Path, name: &str) -> Result<u64, BusError> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).map_err(|error| unavailable(&path, &error.to_string()))?;
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| unavailable(&path, &format!("'{text}' is no number")))
}

fn unavailable(path: &Path, why: &str) -> BusError {
    BusError::Unavailable { detail: format!("{}: {why}", path.display()) }
}
