//! Walks the rows of a transfer and cuts them into bursts.
//!
//! ```text
//!  start --> [ address | rows left ] -- row --> burst --> burst_*
//!                 ^---- + stride -----+
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start`, `address` | 1, 32 | begin with the first row at this byte |
//! | `rows`, `row_bytes`, `stride_bytes` | 16, 32, 32 | stay until the last burst is taken; a row has at least one byte |
//! | `burst_ready` | 1 | the burst is taken |
//! | `burst_valid`, `burst_address`, `burst_beats` | 1, bus word address, 5 | the burst at hand, over whole bus words |
//! | `more` | 1 | there are bursts to come |
//!
//! Latency two cycles; a burst a cycle within a row, and one cycle between rows.

use tandem_rtl::{Module, Net};

use crate::burst::burst;
use crate::size::{ROW_BITS, Sizes};

/// Where a transfer begins in DRAM.
pub(crate) struct FirstByte<'m> {
    pub address: Net<'m>,
    /// The transfer begins: its address has 32 bits.
    pub start: Net<'m>,
    /// A transfer had an address with more bits and was not begun; this stays set until the next reset.
    pub out_of_reach: Net<'m>,
}

/// Bits of an address before it is known to fit: a base and an offset of 32 bits in the largest elements.
pub(crate) const REACH_BITS: u32 = 44;

/// Adds an offset of [`REACH_BITS`] to a base address, for a transfer that is to start.
pub(crate) fn first_byte<'m>(m: &'m Module, start: Net<'m>, base: Net<'m>, offset: Net<'m>) -> FirstByte<'m> {
    let sum = (base.zext(REACH_BITS) + offset).named("first_byte");
    let beyond = sum.bits(32, REACH_BITS - 32).any().named("beyond");
    let out_of_reach = m.reg("failed", 1, 0);
    m.when(start & beyond, || out_of_reach.set_to(1));
    FirstByte { address: sum.bits(0, 32), start: (start & !beyond).named("starts"), out_of_reach }
}

/// The block; `name` distinguishes the instances.
pub fn rows(name: &str, sizes: &Sizes) -> Module {
    let m = Module::new(name);
    let (words, low) = (sizes.word_address, sizes.log_bus_bytes);
    let start = m.input("start", 1);
    let address = m.input("address", 32);
    let rows = m.input("rows", 16);
    let row_bytes = m.input("row_bytes", 32);
    let stride_bytes = m.input("stride_bytes", 32);
    let burst_ready = m.input("burst_ready", 1);

    let left = m.reg("left", 16, 0);
    let row = m.reg("row", 32, 0);
    let span = (row.bits(0, low).zext(32) + row_bytes + m.lit((1 << low) - 1, 32)).named("span");
    let next = m.var("next", m.lit(0, 1));
    let bursts = m.instance(
        "bursts",
        &burst(&format!("{name}_burst"), words, ROW_BITS),
        &[
            ("start", next),
            ("address", row.bits(low, words)),
            ("beats", span.bits(low, 32 - low).resize(ROW_BITS)),
            ("burst_ready", burst_ready),
        ],
    );
    next.set(left.any() & bursts.get("idle"));
    m.when(start, || {
        left.set(rows);
        row.set(address);
    });
    m.when(next, || {
        left.set(left.dec());
        row.set(row + stride_bytes);
    });
    m.output("more", left.any() | !bursts.get("idle"));
    for port in ["burst_valid", "burst_address", "burst_beats"] {
        m.output(port, bursts.get(port));
    }
    m
}
