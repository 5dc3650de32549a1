//! A bus as a service: the operations of a batch in order, up to the first that fails.

use std::time::Duration;

use tandem_isa::{Reg, control};

use super::message::{Facts, MAX_PAYLOAD, Malformed, Op, Served, parse_batch, put_error, put_text};
use super::service::Service;
use crate::{Bus, BusError, Waited};

/// The longest that one batch lets the device run: its client has to hear whether the server is alive.
const WAIT: Duration = Duration::from_secs(1);

/// A bus that is exported.
pub struct BusService {
    bus: Box<dyn Bus + Send>,
    facts: Facts,
}

impl BusService {
    /// The bus of a device, whose memory of the facts is reserved already.
    pub fn new(bus: Box<dyn Bus + Send>, facts: Facts) -> BusService {
        BusService { bus, facts }
    }
}

impl Service for BusService {
    fn served(&self) -> Served {
        Served { service: Served::BUS, facts: self.facts.bytes() }
    }

    fn most(&self) -> usize {
        MAX_PAYLOAD
    }

    fn answer(&mut self, request: &[u8], reply: &mut Vec<u8>) -> Result<bool, Malformed> {
        let ops = parse_batch(request)?;
        let begin = reply.len();
        let done = ops.iter().try_for_each(|op| one(&mut *self.bus, op, reply));
        if let Err(error) = &done {
            reply.truncate(begin);
            put_error(reply, error);
        }
        Ok(done.is_ok())
    }

    /// What the client left running ends. Where this fails the next client's first batch does.
    fn leave(&mut self) {
        let _ = self.bus.write32(Reg::Control, control::RESET);
    }
}

fn one(bus: &mut dyn Bus, op: &Op, reply: &mut Vec<u8>) -> Result<(), BusError> {
    match *op {
        Op::ReadRegs { first, count } => {
            let mut values = vec![0; count];
            bus.read_regs(first, &mut values)?;
            reply.extend(values.into_iter().flat_map(u32::to_le_bytes));
        }
        Op::WriteRegs { first, words } => {
            let words: Vec<u32> = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
            bus.write_regs(first, &words)?;
        }
        Op::CopyIn { addr, bytes } => bus.copy_in(addr, bytes)?,
        Op::CopyOut { addr, len } => {
            let begin = reply.len();
            reply.resize(begin + len, 0);
            bus.copy_out(addr, reply.get_mut(begin..).unwrap_or_default())?;
        }
        Op::Wait { micros } => {
            let waited = bus.wait(Duration::from_micros(micros).min(WAIT))?;
            reply.push(u8::from(waited == Waited::Signalled));
        }
        Op::Diagnose => put_text(reply, &bus.diagnosis().unwrap_or_default()),
        Op::Reopen => bus.reopen()?,
    }
    Ok(())
}
