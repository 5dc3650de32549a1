//! The functional simulator behind the bus seam: registers, device memory, and a machine that runs while the host waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_driver::{Bus, BusError, Bytes, DmaAddr, DmaBuf, Waited};
use tandem_isa::{Access, ErrorCode, HwConfig, ISA_VERSION, Reg, Trace, control};

use crate::machine::{Launch, Machine, Options, Step};
use crate::{Checks, Dram, SimCounters, SimError};

/// Steps that the machine runs each time a host polls `CONTROL` instead of waiting.
const STEPS_PER_POLL: usize = 256;
/// Steps between two looks at the clock.
const STEPS_PER_LOOK: usize = 64;

/// A simulated device.
///
/// The program runs inside [`Bus::wait`], and a little whenever `CONTROL` is read, so that a host that only polls gets there too.
/// Memory starts at 4096 and grows up to a limit.
#[derive(Debug)]
pub struct FsimBus {
    device: Arc<Mutex<SimDevice>>,
}

/// A look into a simulated device that a `Device` owns: what registers do not tell.
#[derive(Clone, Debug)]
pub struct Monitor {
    device: Arc<Mutex<SimDevice>>,
}

#[derive(Debug)]
struct SimDevice {
    machine: Machine,
    dram: Dram,
    regs: Regs,
    state: State,
    /// What stopped the last launch; it outlives a reset.
    error: Option<SimError>,
}

/// The writable registers.
#[derive(Clone, Copy, Debug, Default)]
struct Regs {
    launch: Launch,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Running,
    Done,
    Stopped,
}

impl FsimBus {
    /// A device of a configuration, with up to [`Dram::DEFAULT_LIMIT`] bytes of memory.
    pub fn new(config: &HwConfig) -> FsimBus {
        FsimBus::with_options(config, Options::default(), Dram::DEFAULT_LIMIT)
    }

    /// A device of a configuration, with up to `dram_limit` bytes of memory.
    pub fn with_options(config: &HwConfig, options: Options, dram_limit: u64) -> FsimBus {
        let machine = Machine::new(config, options);
        let reach = 1u64 << config.dram_bits();
        let (dram, regs) = (Dram::new(dram_limit.min(reach)), Regs::default());
        FsimBus { device: Arc::new(Mutex::new(SimDevice { machine, dram, regs, state: State::Idle, error: None })) }
    }

    /// A second way into the device, for counters, traces and settings.
    pub fn monitor(&self) -> Monitor {
        Monitor { device: Arc::clone(&self.device) }
    }

    /// Reserves memory at an address of the caller's choice: for programs that were placed elsewhere.
    ///
    /// # Errors
    /// [`BusError::Exhausted`] where the range is taken or beyond the limit.
    pub fn map(&mut self, addr: DmaAddr, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let mut device = lock(&self.device);
        if device.dram.map(addr.0, bytes.0) {
            return Ok(DmaBuf { addr, bytes });
        }
        Err(BusError::Exhausted { bytes: bytes.0, limit: device.dram.limit() })
    }
}

impl Monitor {
    /// What the last launch cost.
    pub fn counters(&self) -> SimCounters {
        *lock(&self.device).machine.counters()
    }

    /// The events of the last launch.
    pub fn trace(&self) -> Trace {
        lock(&self.device).machine.trace().clone()
    }

    /// What stopped the last launch.
    pub fn error(&self) -> Option<SimError> {
        lock(&self.device).error.clone()
    }

    /// Chooses the interleaving, from the next launch on.
    pub fn set_seed(&self, seed: u64) {
        lock(&self.device).machine.set_seed(seed);
    }

    /// Chooses what to look for, from the next launch on.
    pub fn set_checks(&self, checks: Checks) {
        lock(&self.device).machine.set_checks(checks);
    }

    /// Switches the recording of events on or off, from the next launch on.
    pub fn set_trace(&self, on: bool) {
        lock(&self.device).machine.set_trace(on);
    }
}

impl Bus for FsimBus {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        let mut device = lock(&self.device);
        if reg == Reg::Control && device.state == State::Running {
            device.advance(STEPS_PER_POLL);
        }
        Ok(device.read(reg))
    }

    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        if reg.access() == Access::ReadWrite {
            lock(&self.device).write(reg, value);
        }
        Ok(())
    }

    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        let mut device = lock(&self.device);
        match device.dram.alloc(bytes.0) {
            Some(addr) => Ok(DmaBuf { addr: DmaAddr(addr), bytes }),
            None => Err(BusError::Exhausted { bytes: bytes.0, limit: device.dram.limit() }),
        }
    }

    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        let freed = lock(&self.device).dram.free(buf.addr.0);
        freed.then_some(()).ok_or(BusError::Address { addr: buf.addr, bytes: buf.bytes.0 })
    }

    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        let mut device = lock(&self.device);
        let range = device.dram.slice_mut(u64::from(dst.0), src.len());
        let range = range.ok_or(BusError::Address { addr: dst, bytes: src.len() as u64 })?;
        range.copy_from_slice(src);
        Ok(())
    }

    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        let device = lock(&self.device);
        let range = device.dram.slice(u64::from(src.0), dst.len());
        dst.copy_from_slice(range.ok_or(BusError::Address { addr: src, bytes: dst.len() as u64 })?);
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<Waited, BusError> {
        let start = Instant::now();
        let mut device = lock(&self.device);
        while device.state == State::Running {
            device.advance(STEPS_PER_LOOK);
            if device.state == State::Running && start.elapsed() >= limit {
                return Ok(Waited::Elapsed);
            }
        }
        // A device that was never launched would keep a host waiting: there is nothing to wait for.
        Ok(if device.state == State::Idle { Waited::Elapsed } else { Waited::Signalled })
    }

    fn diagnosis(&mut self) -> Option<String> {
        self.monitor().error().map(|error| error.to_string())
    }
}

impl SimDevice {
    /// Runs up to so many steps.
    fn advance(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.machine.step(&mut self.dram) {
                Ok(Step::Ran) => {}
                // A slice takes milliseconds: the caller decides whether there is time for another one.
                Ok(Step::Paused) => return,
                Ok(Step::Finished) => {
                    self.state = State::Done;
                    return;
                }
                Err(error) => {
                    self.stop(error);
                    return;
                }
            }
        }
    }

    fn stop(&mut self, error: SimError) {
        self.state = State::Stopped;
        self.error = Some(error);
    }

    fn read(&self, reg: Reg) -> u32 {
        let counters = self.machine.counters();
        let launch = &self.regs.launch;
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let counts = self.machine.config().has_counters();
        let count = |value: u64| if counts { narrow(value) } else { 0 };
        match reg {
            Reg::Control => match self.state {
                State::Idle => 0,
                State::Running => control::LAUNCH,
                State::Done => control::DONE,
                State::Stopped => control::ERROR,
            },
            Reg::Cycles => narrow(counters.cycles_estimate),
            Reg::InsnCount => launch.insn_count,
            Reg::InsnAddr => launch.insn_addr,
            Reg::UopBase => launch.bases.uop,
            Reg::InpBase => launch.bases.inp,
            Reg::WgtBase => launch.bases.wgt,
            Reg::AccBase => launch.bases.acc,
            Reg::OutBase => launch.bases.out,
            Reg::AccWrites => count(counters.acc_writes()),
            Reg::ConfigDigest => self.machine.config().digest(),
            Reg::IsaVersion => ISA_VERSION,
            Reg::InpBytes => count(counters.inp_bytes),
            Reg::WgtBytes => count(counters.wgt_bytes),
            Reg::AccBytes => count(counters.acc_bytes),
            Reg::UopBytes => count(counters.uop_bytes),
            Reg::OutBytes => count(counters.out_bytes),
            Reg::GemmUops => count(counters.gemm_uops),
            Reg::AluUops => count(counters.alu_uops + counters.requant_uops),
            Reg::LaneUops => count(counters.lane_uops),
            Reg::ErrorCode => self.error.as_ref().map_or(ErrorCode::None, SimError::code).code(),
            Reg::ErrorInsn => narrow(self.error.as_ref().and_then(SimError::insn).unwrap_or(0) as u64),
        }
    }

    fn write(&mut self, reg: Reg, value: u32) {
        let reset = reg == Reg::Control && value & control::RESET != 0;
        if self.state == State::Running && !reset {
            return;
        }
        match reg {
            Reg::Control if reset => {
                self.machine.abandon();
                self.state = State::Idle;
            }
            Reg::Control if value & control::LAUNCH != 0 => {
                self.error = None;
                match self.machine.launch(&self.dram, &self.regs.launch) {
                    Ok(()) => self.state = State::Running,
                    Err(error) => self.stop(error),
                }
            }
            _ => self.regs.launch.write(self.machine.config(), reg, value),
        }
    }
}

/// A panic of another thread that holds the lock leaves plain data behind, which is still a device.
fn lock(device: &Mutex<SimDevice>) -> MutexGuard<'_, SimDevice> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}
