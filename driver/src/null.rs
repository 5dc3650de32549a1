//! A bus to nothing: it accepts everything and completes at once. For dry runs and tests of what lies above the bus.

use std::collections::BTreeMap;
use std::time::Duration;

use tandem_isa::{Access, BASE_ALIGN, HwConfig, ISA_VERSION, Reg, control};

use crate::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};

/// A device of a configuration that computes nothing: every launch is done at once, memory reads as zeros, counters as zero.
///
/// Ranges are still checked, so that a wrong copy or a double release shows.
#[derive(Clone, Debug)]
pub struct NullBus {
    regs: BTreeMap<Reg, u32>,
    next: u64,
    allocated: BTreeMap<u32, u64>,
    launches: u64,
}

impl NullBus {
    /// A bus whose device reports this configuration.
    pub fn new(config: &HwConfig) -> NullBus {
        let regs = BTreeMap::from([(Reg::ConfigDigest, config.digest()), (Reg::IsaVersion, ISA_VERSION)]);
        NullBus { regs, next: u64::from(BASE_ALIGN), allocated: BTreeMap::new(), launches: 0 }
    }

    /// How often a program was launched.
    pub fn launches(&self) -> u64 {
        self.launches
    }

    fn check(&self, addr: DmaAddr, len: usize) -> Result<(), BusError> {
        let held = self.allocated.range(..=addr.0).next_back();
        let end = u64::from(addr.0) + len as u64;
        match held {
            Some((&start, &bytes)) if end <= u64::from(start) + bytes => Ok(()),
            _ if len == 0 => Ok(()),
            _ => Err(BusError::Address { addr, bytes: len as u64 }),
        }
    }
}

impl Bus for NullBus {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        Ok(self.regs.get(&reg).copied().unwrap_or(0))
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        if reg == Reg::Control {
            let launched = value & control::LAUNCH != 0;
            self.launches += u64::from(launched);
            self.regs.insert(reg, if launched { control::DONE } else { 0 });
        } else if reg.access() == Access::ReadWrite {
            self.regs.insert(reg, value & reg.written_bits());
        }
        Ok(())
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let align = u64::from(BASE_ALIGN);
        let exhausted = BusError::Exhausted { bytes: bytes.0, limit: 1 << 32 };
        let Ok(start) = u32::try_from(self.next) else { return Err(exhausted) };
        let end = bytes.0.max(1).checked_next_multiple_of(align).and_then(|size| self.next.checked_add(size));
        let Some(end) = end.filter(|&end| end <= 1 << 32) else { return Err(exhausted) };
        self.next = end;
        self.allocated.insert(start, bytes.0);
        Ok(DmaBuf { addr: DmaAddr(start), bytes })
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        if self.allocated.get(&buf.addr.0) != Some(&buf.bytes.0) {
            return Err(BusError::Address { addr: buf.addr, bytes: buf.bytes.0 });
        }
        self.allocated.remove(&buf.addr.0);
        if self.allocated.is_empty() {
            self.next = u64::from(BASE_ALIGN);
        }
        Ok(())
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.check(dst, src.len())
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.check(src, dst.len())?;
        dst.fill(0);
        Ok(())
    }

    fn wait(&mut self, _limit: Duration) -> Result<Waited, BusError> {
        Ok(Waited::Signalled)
    }
}
