//! The register protocol of a launch, on any bus: base registers, instructions, LAUNCH, waiting, counters.

use std::time::{Duration, Instant};

use tandem_isa::{Reg, control};

use crate::{Bus, BusError, Counters, DmaAddr, DriverError, Snapshot};

/// Bits of `CONTROL` that mean something when read.
const CONTROL_BITS: u32 = control::LAUNCH | control::DONE | control::ERROR;
/// Reads of `CONTROL` as zero after which the launch counts as forgotten.
const FORGOTTEN_READS: u32 = 16;
/// Registers from `CYCLES` to the last counter.
const COUNTER_BLOCK: usize = ((Reg::LaneUops as u32 - Reg::Cycles as u32) / 4 + 1) as usize;

/// Runs the instructions at an address once and reads the counters. Base registers are zero, because programs hold absolute
/// addresses once they are loaded; nothing is reset afterwards.
///
/// # Errors
/// [`DriverError::Stopped`], without the instruction's text, where the device reports an error; [`DriverError::Timeout`] where it
/// is not done within `limit`; [`DriverError::Control`] and [`DriverError::Forgotten`] where its answer makes no sense;
/// [`DriverError::Bus`], with what was known of the registers.
pub fn run_at(
    bus: &mut dyn Bus,
    insn_addr: DmaAddr,
    insn_count: u32,
    limit: Duration,
) -> Result<Counters, DriverError> {
    let launched = launch(bus, insn_addr, insn_count)?;
    wait(bus, launched, limit)
}

/// A launch under way.
#[derive(Debug)]
pub(crate) struct Launched {
    insn_count: u32,
    /// What is known of the registers.
    seen: Snapshot,
}

/// The first half of [`run_at`].
pub(crate) fn launch(bus: &mut dyn Bus, insn_addr: DmaAddr, insn_count: u32) -> Result<Launched, DriverError> {
    let mut seen = Snapshot::default();
    match write_launch(bus, insn_addr, insn_count, &mut seen) {
        Ok(()) => Ok(Launched { insn_count, seen }),
        Err(source) => Err(DriverError::Bus { action: "launching a program", source, snapshot: seen }),
    }
}

/// The second half of [`run_at`].
pub(crate) fn wait(bus: &mut dyn Bus, launched: Launched, limit: Duration) -> Result<Counters, DriverError> {
    let Launched { insn_count, mut seen } = launched;
    wait_seen(bus, insn_count, limit, &mut seen).map_err(|error| match error {
        DriverError::Bus { action, source, .. } => DriverError::Bus { action, source, snapshot: seen },
        other => other,
    })
}

/// Reads every register.
pub(crate) fn snapshot(bus: &mut dyn Bus) -> Result<Snapshot, BusError> {
    let mut values = vec![0; Reg::ALL.len()];
    bus.read_regs(Reg::Control, &mut values)?;
    Ok(Snapshot { values: Reg::ALL.iter().zip(values).map(|(&reg, value)| (reg, Some(value))).collect() })
}

/// Says what was being done when a bus failed.
pub(crate) fn in_action(action: &'static str) -> impl Fn(BusError) -> DriverError {
    move |source| DriverError::Bus { action, source, snapshot: Snapshot::default() }
}

/// The same; `seen` holds what is known of the registers at any moment.
fn wait_seen(
    bus: &mut dyn Bus,
    insn_count: u32,
    limit: Duration,
    seen: &mut Snapshot,
) -> Result<Counters, DriverError> {
    complete(bus, limit, seen)?;
    let mut block = [0; COUNTER_BLOCK];
    bus.read_regs(Reg::Cycles, &mut block).map_err(in_action("reading the counters"))?;
    let values = Counters::REGS.map(|reg| {
        let index = (reg.offset() - Reg::Cycles.offset()) / 4;
        block.get(index as usize).copied().unwrap_or_default()
    });
    Ok(Counters::from_regs(u64::from(insn_count), values))
}

fn write_launch(bus: &mut dyn Bus, insn_addr: DmaAddr, insn_count: u32, seen: &mut Snapshot) -> Result<(), BusError> {
    // In the order of the registers: INSN_COUNT, INSN_ADDR and the five base registers.
    let values = [insn_count, insn_addr.0, 0, 0, 0, 0, 0];
    bus.write_regs(Reg::InsnCount, &values)?;
    for (value, offset) in values.into_iter().zip((Reg::InsnCount.offset()..).step_by(4)) {
        if let Some(reg) = Reg::from_offset(offset) {
            seen.note(reg, value);
        }
    }
    bus.write32(Reg::Control, control::LAUNCH)?;
    seen.note(Reg::Control, control::LAUNCH);
    Ok(())
}

fn complete(bus: &mut dyn Bus, limit: Duration, seen: &mut Snapshot) -> Result<(), DriverError> {
    let start = Instant::now();
    let mut zeros = 0;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        // Even without time left the registers are read once more: the program may be done.
        bus.wait(left).map_err(in_action("waiting for the device"))?;
        let value = bus.read32(Reg::Control).map_err(in_action("polling the device"))?;
        seen.note(Reg::Control, value);
        let mut all = || snapshot(bus).map_err(in_action("reading the registers"));
        if value & !CONTROL_BITS != 0 {
            return Err(DriverError::Control { value, snapshot: all()? });
        }
        if value & control::ERROR != 0 {
            let snapshot = all()?;
            let [code, insn] = [Reg::ErrorCode, Reg::ErrorInsn].map(|reg| snapshot.get(reg).unwrap_or(u32::MAX));
            return Err(DriverError::Stopped { code, insn, insn_text: None, diagnosis: bus.diagnosis(), snapshot });
        }
        if value & control::DONE != 0 && value & control::LAUNCH == 0 {
            return Ok(());
        }
        zeros = if value == 0 { zeros + 1 } else { 0 };
        if zeros == FORGOTTEN_READS {
            return Err(DriverError::Forgotten { snapshot: all()? });
        }
        if left.is_zero() {
            return Err(DriverError::Timeout { limit, snapshot: all()? });
        }
    }
}
