//! The serial line: a receiver and a transmitter of bytes, a start bit, eight data bits, a stop bit.
//!
//! ```text
//!  line --> [ two registers ] --> start bit? --> sample in the middle of each bit --> data, valid
//!  data, valid --> [ start, 8 bits, stop ] --> line, a bit every DIVISOR cycles
//! ```
//!
//! | port of `uart_receiver` | width | meaning |
//! |---|---|---|
//! | `line` | 1 | the wire, high at rest |
//! | `valid`, `data` | 1, 8 | a byte has arrived: for one cycle |
//!
//! | port of `uart_transmitter` | width | meaning |
//! |---|---|---|
//! | `valid`, `data` | 1, 8 | a byte to send, taken where `ready` is set |
//! | `ready` | 1 | nothing is being sent |
//! | `line` | 1 | the wire, a register |
//!
//! A byte takes ten bits of `divisor` cycles each. A byte whose stop bit is low is dropped.

use tandem_rtl::{Module, clog2};

/// Least cycles in a bit, for the receiver's samples to lie well inside.
pub const LEAST_DIVISOR: u32 = 4;

/// The receiver.
pub(crate) fn receiver(divisor: u32) -> Module {
    let m = Module::new("uart_receiver");
    let line = m.input("line", 1);
    // The line is not of this clock: two registers, which rest high.
    let first = m.reg("first", 1, 1);
    let now = m.reg("now", 1, 1);
    first.set(line);
    now.set(first);
    let width = clog2(divisor as usize);
    let (count, bits) = (m.data_reg("count", width), m.reg("bits", 4, 0));
    let data = m.data_reg("held", 8);
    let valid = m.reg("arrived", 1, 0);
    valid.set_to(0);
    let busy = bits.any().named("busy");
    m.when_else(
        busy,
        || {
            count.set(count.dec());
            m.when(!count.any(), || {
                count.set_to((divisor - 1).into());
                bits.set(bits.dec());
                // Ten samples: start, eight bits, stop.
                m.when(bits.is(10) & now, || bits.set_to(0));
                m.when(!bits.is(10) & !bits.is(1), || data.set(m.cat(&[data.bits(1, 7), now])));
                m.when(bits.is(1), || valid.set(now));
            });
        },
        || {
            count.set_to((divisor / 2).saturating_sub(1).into());
            m.when(!now, || bits.set_to(10));
        },
    );
    m.output("valid", valid);
    m.output("data", data);
    m
}

/// The transmitter.
pub(crate) fn transmitter(divisor: u32) -> Module {
    let m = Module::new("uart_transmitter");
    let (valid, data) = (m.input("valid", 1), m.input("data", 8));
    let width = clog2(divisor as usize);
    let (count, bits) = (m.data_reg("count", width), m.reg("bits", 4, 0));
    let shift = m.data_reg("shift", 8);
    let line = m.reg("wire_out", 1, 1);
    let ready = !bits.any();
    m.when_else(
        ready,
        || {
            m.when(valid, || {
                shift.set(data);
                line.set_to(0);
                bits.set_to(10);
                count.set_to((divisor - 1).into());
            });
        },
        || {
            count.set(count.dec());
            m.when(!count.any(), || {
                count.set_to((divisor - 1).into());
                bits.set(bits.dec());
                // After the start bit eight bits, then the stop bit, which rests.
                line.set(shift.bit(0));
                shift.set(m.cat(&[shift.bits(1, 7), m.lit(1, 1)]));
            });
        },
    );
    m.output("ready", ready);
    m.output("line", line);
    m
}
