//! A small device for tests of links: registers, memory, and a program that adds one to every byte of a range.

use std::time::Duration;

use tandem_driver::serial::{FrameServer, Loopback};
use tandem_driver::{Bus, BusError, Bytes, DmaAddr, DmaBuf, NullBus, Waited};
use tandem_isa::{HwConfig, Reg, control};

/// Bytes of its memory.
pub const BYTES: usize = 1 << 16;

/// The device. A launch adds one to the bytes at `INSN_ADDR`, as many as `INSN_COUNT` says, after some waits.
#[derive(Debug)]
pub struct Adder {
    regs: NullBus,
    /// Its memory.
    pub memory: Vec<u8>,
    /// Waits that a launch takes.
    pub work: u32,
    /// Launches that it has executed.
    pub launches: u64,
    left: Option<u32>,
}

impl Adder {
    /// A device of the smallest preset.
    pub fn new() -> Adder {
        Adder { regs: NullBus::new(&config()), memory: vec![0xa5; BYTES], work: 3, launches: 0, left: None }
    }

    /// Loses everything, as a board does that loses power.
    #[allow(dead_code, reason = "not every test file needs it")]
    pub fn power_cycle(&mut self) {
        *self = Adder { launches: self.launches, ..Adder::new() };
        self.memory.fill(0x5a);
    }

    fn range(&self, addr: DmaAddr, len: usize) -> Result<std::ops::Range<usize>, BusError> {
        let range = addr.0 as usize..addr.0 as usize + len;
        let inside = range.end <= self.memory.len();
        inside.then_some(range).ok_or(BusError::Address { addr, bytes: len as u64 })
    }
}

impl Bus for Adder {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        if reg == Reg::Control && self.left.is_some() {
            return Ok(control::LAUNCH);
        }
        self.regs.read32(reg)
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        if reg == Reg::Control {
            self.left = (value & control::LAUNCH != 0).then_some(self.work);
            self.launches += u64::from(self.left.is_some());
        }
        self.regs.write32(reg, value)
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        Err(BusError::Exhausted { bytes: bytes.0, limit: 0 })
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        Err(BusError::Address { addr: buf.addr, bytes: buf.bytes.0 })
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        let range = self.range(dst, src.len())?;
        self.memory[range].copy_from_slice(src);
        Ok(())
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        let range = self.range(src, dst.len())?;
        dst.copy_from_slice(&self.memory[range]);
        Ok(())
    }

    fn wait(&mut self, _limit: Duration) -> Result<Waited, BusError> {
        let Some(left) = self.left else { return Ok(Waited::Signalled) };
        self.left = left.checked_sub(1);
        if self.left.is_none() {
            let (begin, len) = (self.regs.read32(Reg::InsnAddr)?, self.regs.read32(Reg::InsnCount)?);
            let range = self.range(DmaAddr(begin), len as usize)?;
            self.memory[range].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        }
        Ok(Waited::Elapsed)
    }
}

/// The configuration of the device.
pub fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

/// The device at the end of a wire.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn wired() -> Loopback<Adder> {
    let memory = DmaBuf { addr: DmaAddr(0), bytes: Bytes(BYTES as u64) };
    Loopback::new(FrameServer::new(Adder::new(), memory).with_rates(50_000_000, 1_000_000))
}

/// Numbers without a pattern, from a seed.
pub fn random(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut numbers = tandem_driver::serial::Noise::new(seed, 0);
    move |bound| numbers.below(bound)
}
