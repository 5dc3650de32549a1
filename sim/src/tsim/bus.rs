//! The hardware behind the bus seam: registers by AXI4-Lite transactions, device memory by AXI4 bursts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_driver::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};
use tandem_isa::{Access, Reg, Trace};

use super::device::{State, Tsim, fault};
use super::{Activity, DramModel, Model, Timeline, TsimError};
use crate::Dram;

/// Cycles that the hardware runs each time a host polls `CONTROL` instead of waiting.
const CYCLES_PER_POLL: u64 = 1024;
/// Cycles between two looks at the clock.
const CYCLES_PER_LOOK: u64 = 4096;

/// How a device is simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsimOptions {
    /// The timing of its memory.
    pub dram: DramModel,
    /// Withholds ready and valid of every channel at random, from this seed; results must not depend on it.
    pub stress: Option<u64>,
    /// Whether to record the events of the last launch.
    pub trace: bool,
    /// Whether to record what each unit did and when, over all launches.
    pub timeline: bool,
    /// Whether to run each program on the functional simulator first, and to refuse it where that stops.
    pub check: bool,
    /// Cycles without progress after which the hardware counts as hanging.
    pub watchdog_cycles: u64,
    /// The defect that a model with mutants shows; 0 is none.
    pub mutant: u32,
    /// Whether registers and memories hold random values before reset, not zeros. A correct program does not see them.
    pub scramble: bool,
    /// The FST file to record every signal in; the model must be one that has waveforms.
    pub waves: Option<PathBuf>,
    /// Bytes that device memory may grow to.
    pub dram_limit: u64,
}

/// A simulated device, cycle by cycle.
///
/// The hardware's clock runs inside [`Bus::wait`], during register accesses, and a little whenever `CONTROL` is read. Between
/// them it stands still.
#[derive(Debug)]
pub struct TsimBus {
    device: Arc<Mutex<Tsim>>,
}

/// A look into a simulated device that a `Device` owns: what registers do not tell.
#[derive(Clone, Debug)]
pub struct TsimMonitor {
    device: Arc<Mutex<Tsim>>,
}

impl Default for TsimOptions {
    fn default() -> TsimOptions {
        TsimOptions {
            dram: DramModel::default(),
            stress: None,
            trace: false,
            timeline: false,
            check: false,
            watchdog_cycles: 100_000,
            mutant: 0,
            scramble: false,
            waves: None,
            dram_limit: Dram::DEFAULT_LIMIT,
        }
    }
}

impl TsimBus {
    /// A device that has just been reset.
    ///
    /// # Errors
    /// [`TsimError::NoWaves`], [`TsimError::File`] where the waveform file cannot be written.
    pub fn new(model: Arc<Model>, options: TsimOptions) -> Result<TsimBus, TsimError> {
        Ok(TsimBus { device: Arc::new(Mutex::new(Tsim::new(model, options)?)) })
    }

    /// A second way into the device.
    pub fn monitor(&self) -> TsimMonitor {
        TsimMonitor { device: Arc::clone(&self.device) }
    }

    /// Reserves memory at an address of the caller's choice: for programs that were placed elsewhere.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where the range is taken or beyond the limit.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let dram = &mut lock(&self.device).dram;
        if dram.map(addr.0, bytes.0) {
            return Ok(DmaBuf { addr, bytes });
        }
        Err(BusError::Exhausted { bytes: bytes.0, limit: dram.limit() })
    }
}

impl TsimMonitor {
    /// The events of the last launch; empty where they are not recorded.
    pub fn trace(&self) -> Trace {
        lock(&self.device).trace().clone()
    }

    /// What the units did in the last launch.
    pub fn activity(&self) -> Activity {
        lock(&self.device).activity()
    }

    /// What the units did in all launches.
    pub fn total_activity(&self) -> Activity {
        lock(&self.device).total_activity()
    }

    /// A picture of all launches; empty where it is not recorded.
    pub fn timeline(&self) -> Timeline {
        lock(&self.device).timeline()
    }

    /// What stopped the last launch.
    pub fn error(&self) -> Option<TsimError> {
        lock(&self.device).error().cloned()
    }

    /// Switches the recording of events on or off, from the next launch on.
    pub fn set_trace(&self, on: bool) {
        lock(&self.device).set_trace(on);
    }

    /// Completes the file of waveforms; later cycles are not recorded.
    ///
    /// # Errors
    /// [`TsimError::File`] where it could not be written, now or before.
    pub fn finish_waves(&self) -> Result<(), TsimError> {
        lock(&self.device).finish_waves()
    }
}

impl Bus for TsimBus {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let mut device = lock(&self.device);
        if reg == Reg::Control {
            device.advance(CYCLES_PER_POLL).map_err(|error| fault("running a program", &error))?;
        }
        device.read(reg)
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        if reg.access() == Access::ReadWrite {
            return lock(&self.device).write(reg, value);
        }
        Ok(())
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let dram = &mut lock(&self.device).dram;
        match dram.alloc(bytes.0) {
            Some(addr) => Ok(DmaBuf { addr: DmaAddr(addr), bytes }),
            None => Err(BusError::Exhausted { bytes: bytes.0, limit: dram.limit() }),
        }
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        let freed = lock(&self.device).dram.free(buf.addr.0);
        freed.then_some(()).ok_or(BusError::Address { addr: buf.addr, bytes: buf.bytes.0 })
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        let dram = &mut lock(&self.device).dram;
        let range = dram.slice_mut(u64::from(dst.0), src.len());
        let range = range.ok_or(BusError::Address { addr: dst, bytes: src.len() as u64 })?;
        range.copy_from_slice(src);
        Ok(())
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        let dram = &lock(&self.device).dram;
        let range = dram.slice(u64::from(src.0), dst.len());
        dst.copy_from_slice(range.ok_or(BusError::Address { addr: src, bytes: dst.len() as u64 })?);
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        let start = Instant::now();
        let mut device = lock(&self.device);
        loop {
            device.advance(CYCLES_PER_LOOK).map_err(|error| fault("running a program", &error))?;
            match device.state() {
                // A device that was never launched would keep a host waiting: there is nothing to wait for.
                State::Idle => return Ok(Waited::Elapsed),
                State::Settled | State::Refused => return Ok(Waited::Signalled),
                State::Broken => {
                    let error = device.error().cloned();
                    return match error {
                        Some(error) => Err(fault("running a program", &error)),
                        None => Ok(Waited::Signalled),
                    };
                }
                State::Ended => {}
                State::Checking | State::Running if start.elapsed() < limit => {}
                State::Checking | State::Running => return Ok(Waited::Elapsed),
            }
        }
    }

    fn diagnosis(&mut self) -> Option<String> {
        lock(&self.device).error().map(TsimError::to_string)
    }
}

/// A panic of another thread that holds the lock leaves plain data behind, which is still a device.
fn lock(device: &Mutex<Tsim>) -> MutexGuard<'_, Tsim> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}
