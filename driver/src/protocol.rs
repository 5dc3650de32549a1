//! The register protocol of a launch, on any bus: base registers, instructions, LAUNCH, waiting, counters.

use std::time::{Duration, Instant};

use tandem_isa::{Reg, control};

use crate::{Bus, BusError, Counters, DmaAddr, DriverError, Snapshot};

/// Bits of `CONTROL` that mean something when read.
const CONTROL_BITS: u32 = control::LAUNCH | control::DONE | control::ERROR;

/// The five base registers: all zero, because programs hold absolute addresses once they are loaded.
const BASE_REGS: [Reg; 5] = [Reg::UopBase, Reg::InpBase, Reg::WgtBase, Reg::AccBase, Reg::OutBase];

/// Runs the instructions at an address once and reads the counters. Base registers are zero; nothing is reset afterwards.
///
/// # Errors
/// [`DriverError::Stopped`], without the instruction's text, where the device reports an error; [`DriverError::Timeout`] where it
/// is not done within `limit`; [`DriverError::Control`] where its answer makes no sense; [`DriverError::Bus`].
pub fn run_at(
    bus: &mut dyn Bus,
    insn_addr: DmaAddr,
    insn_count: u32,
    limit: Duration,
) -> Result<Counters, DriverError> {
    launch(bus, insn_addr, insn_count).map_err(in_action("launching a program"))?;
    complete(bus, limit)?;
    let mut values = [0; Counters::REGS.len()];
    for (value, reg) in values.iter_mut().zip(Counters::REGS) {
        *value = bus.read32(reg).map_err(in_action("reading the counters"))?;
    }
    Ok(Counters::from_regs(u64::from(insn_count), values))
}

/// Reads every register, as far as possible.
pub(crate) fn snapshot(bus: &mut dyn Bus) -> Snapshot {
    Snapshot { values: Reg::ALL.iter().map(|&reg| (reg, bus.read32(reg).ok())).collect() }
}

/// Says what was being done when a bus failed.
pub(crate) fn in_action(action: &'static str) -> impl Fn(BusError) -> DriverError {
    move |source| DriverError::Bus { action, source }
}

fn launch(bus: &mut dyn Bus, insn_addr: DmaAddr, insn_count: u32) -> Result<(), BusError> {
    for reg in BASE_REGS {
        bus.write32(reg, 0)?;
    }
    bus.write32(Reg::InsnAddr, insn_addr.0)?;
    bus.write32(Reg::InsnCount, insn_count)?;
    bus.write32(Reg::Control, control::LAUNCH)
}

fn complete(bus: &mut dyn Bus, limit: Duration) -> Result<(), DriverError> {
    let start = Instant::now();
    loop {
        let left = limit.saturating_sub(start.elapsed());
        // Even without time left the registers are read once more: the program may be done.
        bus.wait(left).map_err(in_action("waiting for the device"))?;
        let value = bus.read32(Reg::Control).map_err(in_action("polling the device"))?;
        if value & !CONTROL_BITS != 0 {
            return Err(DriverError::Control { value, snapshot: snapshot(bus) });
        }
        if value & control::ERROR != 0 {
            let snapshot = snapshot(bus);
            let [code, insn] = [Reg::ErrorCode, Reg::ErrorInsn].map(|reg| snapshot.get(reg).unwrap_or(u32::MAX));
            return Err(DriverError::Stopped { code, insn, insn_text: None, diagnosis: bus.diagnosis(), snapshot });
        }
        if value & control::DONE != 0 && value & control::LAUNCH == 0 {
            return Ok(());
        }
        if left.is_zero() {
            return Err(DriverError::Timeout { limit, snapshot: snapshot(bus) });
        }
    }
}
