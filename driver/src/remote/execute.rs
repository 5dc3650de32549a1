//! What a server does with a batch: the operations in order, up to the first that fails.

use std::time::{Duration, Instant};

use super::message::{Malformed, Op, parse_batch, put_error, put_text};
use crate::{Bus, BusError, Waited};

/// The longest that one batch lets the device run: its client has to hear whether the server is alive.
const WAIT: Duration = Duration::from_secs(1);

/// Executes the batch of a payload on a bus; the payload of the reply.
///
/// # Errors
/// [`Malformed`], where nothing has been executed.
pub fn execute(bus: &mut dyn Bus, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    let ops = parse_batch(payload)?;
    let begin = Instant::now();
    // A place for the status and for the time, which are known at the end.
    let mut reply = vec![0; 9];
    let done = ops.iter().try_for_each(|op| one(bus, op, &mut reply));
    if let Err(error) = &done {
        reply.truncate(9);
        put_error(&mut reply, error);
    }
    let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let head = [u8::from(done.is_err())].into_iter().chain(nanos.to_le_bytes());
    reply.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    Ok(reply)
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
        Op::Ping { reply: len, .. } => reply.resize(reply.len() + len, 0),
    }
    Ok(())
}
