//! Walks the rows of a transfer and cuts them into bursts.
//!
//! ```text
//!  start --> [ address | rows left ] -- row --> burst --> burst_*
//!                 ^---- + stride -----+
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start`, `address` | 1, dram_bits | begin with the first row at this byte |
//! | `rows`, `row_bytes`, `stride_bytes` | 16, row, row | stay until the last burst is taken; a row has at least one byte |
//! | `burst_ready` | 1 | the burst is taken |
//! | `burst_valid`, `burst_address`, `burst_beats` | 1, bus word address, 5 | the burst at hand, over whole bus words |
//! | `more` | 1 | there are bursts to come |
//! | `beyond` | 1 | a row begins or runs beyond the last address: the block stands still |
//!
//! Latency two cycles; a burst a cycle within a row, and one cycle between rows.

use tandem_rtl::{Module, Net};

use crate::burst::burst;
use crate::size::Sizes;

/// Where a transfer begins in DRAM.
pub(crate) struct FirstByte<'m> {
    pub address: Net<'m>,
    /// The transfer begins: its address is within DRAM.
    pub start: Net<'m>,
    /// A transfer had an address beyond and was not begun; this stays set until the next reset.
    pub out_of_reach: Net<'m>,
}

/// Bits of an address before it is known to fit: a base and an offset of 32 bits in the largest elements.
pub(crate) const REACH_BITS: u32 = 44;

/// Adds an offset of [`REACH_BITS`] to a base address, for a transfer that is to start.
pub(crate) fn first_byte<'m>(
    m: &'m Module,
    sizes: &Sizes,
    start: Net<'m>,
    base: Net<'m>,
    offset: Net<'m>,
) -> FirstByte<'m> {
    let bits = sizes.config.dram_bits();
    let sum = (base.bits(0, bits).zext(bits + 1) + offset.bits(0, bits).zext(bits + 1)).named("first_byte");
    let mut beyond = sum.sign() | offset.bits(bits, REACH_BITS - bits).any();
    if bits < 32 {
        beyond = beyond | base.bits(bits, 32 - bits).any();
    }
    let beyond = beyond.named("beyond");
    let out_of_reach = m.reg("failed", 1, 0);
    m.when(start & beyond, || out_of_reach.set_to(1));
    FirstByte { address: sum.bits(0, bits), start: (start & !beyond).named("starts"), out_of_reach }
}

/// The block for rows of up to 2^`row_bytes` - 1 bytes; `name` distinguishes the instances.
pub fn rows(name: &str, sizes: &Sizes, row_bytes: u32) -> Module {
    let m = Module::new(name);
    let (words, low, bits) = (sizes.word_address, sizes.log_bus_bytes, sizes.config.dram_bits());
    let reach = sizes.reach(row_bytes);
    let start = m.input("start", 1);
    let address = m.input("address", bits);
    let rows = m.input("rows", 16);
    let length = m.input("row_bytes", row_bytes);
    let stride = m.input("stride_bytes", row_bytes);
    let burst_ready = m.input("burst_ready", 1);

    let left = m.reg("left", 16, 0);
    let row = m.reg("row", reach, 0);
    // A row that begins within a word may take a word more.
    let wide = row_bytes.max(low) + 1;
    let span = (row.bits(0, low).zext(wide) + length.zext(wide) + m.lit((1 << low) - 1, wide)).named("span");
    let next = m.var("next", m.lit(0, 1));
    let bursts = m.instance(
        "bursts",
        &burst(&format!("{name}_burst"), words, wide - low),
        &[
            ("start", next),
            ("address", row.bits(low, words)),
            ("beats", span.bits(low, wide - low)),
            ("burst_ready", burst_ready),
        ],
    );
    let too_far = (left.any() & row.bits(bits, reach - bits).any()).named("too_far");
    next.set(left.any() & bursts.get("idle") & !too_far);
    m.when(start, || {
        left.set(rows);
        row.set(address.zext(reach));
    });
    m.when(next, || {
        left.set(left.dec());
        row.set(row + stride.zext(reach));
    });
    m.output("more", left.any() | !bursts.get("idle"));
    m.output("beyond", too_far | bursts.get("beyond"));
    for port in ["burst_valid", "burst_address", "burst_beats"] {
        m.output(port, bursts.get(port));
    }
    m
}
