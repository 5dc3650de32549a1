//! The seam between the driver and whatever hosts a device: registers, device memory, and waiting.
//!
//! The seam lies below the register protocol, so that launching, polling, completion and error recovery run against simulators
//! exactly as they run against a board.

use std::fmt;
use std::time::Duration;

use tandem_isa::Reg;

use crate::BusError;

/// A byte address as the device sees its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DmaAddr(pub u32);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A range of device memory, aligned to 4096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DmaBuf {
    /// First byte.
    pub addr: DmaAddr,
    /// Length.
    pub bytes: Bytes,
}

/// Why [`Bus::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waited {
    /// Something happened: read `CONTROL`. A bus without an interrupt may answer this at any time.
    Signalled,
    /// Nothing happened within the limit.
    Elapsed,
}

/// Everything that can host a device.
pub trait Bus {
    /// Reads a register.
    ///
    /// # Errors
    /// The way to the device failed.
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError>;

    /// Writes a register. Writes to read-only registers are ignored.
    ///
    /// # Errors
    /// The way to the device failed.
    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError>;

    /// Reads consecutive registers, from `first` on. Where a register does not exist, 0.
    ///
    /// # Errors
    /// The way to the device failed.
    fn read_regs(&mut self, first: Reg, values: &mut [u32]) -> Result<(), BusError> {
        for (value, offset) in values.iter_mut().zip((first.offset()..).step_by(4)) {
            *value = Reg::from_offset(offset).map_or(Ok(0), |reg| self.read32(reg))?;
        }
        Ok(())
    }

    /// Writes consecutive registers, from `first` on.
    ///
    /// # Errors
    /// The way to the device failed.
    fn write_regs(&mut self, first: Reg, values: &[u32]) -> Result<(), BusError> {
        let mut registers = values.iter().zip((first.offset()..).step_by(4));
        registers
            .try_for_each(|(&value, offset)| Reg::from_offset(offset).map_or(Ok(()), |reg| self.write32(reg, value)))
    }

    /// Reserves device memory, aligned to 4096 bytes. Its content is undefined.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where no range is free.
    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError>;

    /// Gives device memory back.
    ///
    /// # Errors
    /// [`BusError::Address`] where the range is not allocated.
    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError>;

    /// Copies into device memory. The device sees the bytes at its next launch.
    ///
    /// # Errors
    /// [`BusError::Address`] where the range is not allocated.
    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError>;

    /// Copies out of device memory what the device wrote before it was done.
    ///
    /// # Errors
    /// [`BusError::Address`] where the range is not allocated.
    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError>;

    /// Lets the device run until something happens, at most for `limit`: an interrupt, a poll, or so many simulated cycles.
    ///
    /// # Errors
    /// The way to the device failed.
    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError>;

    /// Has what was written arrive at the device, where the bus may hold it back until something is read.
    ///
    /// # Errors
    /// Those of the writes that it held back.
    fn flush(&mut self) -> Result<(), BusError> {
        Ok(())
    }

    /// Restores the way to the device after it failed: opens the port of a board that was unplugged again.
    ///
    /// Reserved ranges stay reserved; what they hold may be lost.
    ///
    /// # Errors
    /// The device is still away, or another one is in its place.
    fn reopen(&mut self) -> Result<(), BusError> {
        Ok(())
    }

    /// What the bus knows about the device's last error beyond its registers. Simulators do, boards do not.
    fn diagnosis(&mut self) -> Option<String> {
        None
    }
}

impl<B: Bus + ?Sized> Bus for Box<B> {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        (**self).read32(reg)
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        (**self).write32(reg, value)
    }

    fn read_regs(&mut self, first: Reg, values: &mut [u32]) -> Result<(), BusError> {
        (**self).read_regs(first, values)
    }

    fn write_regs(&mut self, first: Reg, values: &[u32]) -> Result<(), BusError> {
        (**self).write_regs(first, values)
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        (**self).alloc(bytes)
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        (**self).free(buf)
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        (**self).copy_in(dst, src)
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        (**self).copy_out(src, dst)
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        (**self).wait(limit)
    }

    fn flush(&mut self) -> Result<(), BusError> {
        (**self).flush()
    }

    fn reopen(&mut self) -> Result<(), BusError> {
        (**self).reopen()
    }

    fn diagnosis(&mut self) -> Option<String> {
        (**self).diagnosis()
    }
}

impl DmaAddr {
    /// The address this many bytes further on, where 32 bits hold it.
    pub fn offset(self, bytes: u32) -> Option<DmaAddr> {
        self.0.checked_add(bytes).map(DmaAddr)
    }
}

impl fmt::Display for DmaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
