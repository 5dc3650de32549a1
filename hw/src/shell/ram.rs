//! Memories inside the FPGA: block RAM, and the four single-port RAMs of an iCE40 UltraPlus.
//!
//! ```text
//!  command --> [ address, words left ] --> RAM, a word a cycle --> data a cycle later
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `valid`, `ready`, `write`, `address`, `beats` | 1, 1, 1, word address, 5 | a command, taken while nothing is under way |
//! | `wvalid`, `wdata`, `wstrb`, `wnext` | 1, bus, bus / 8, 1 | a word to write, and that it is taken |
//! | `rvalid`, `rdata`, `rlast` | 1, bus, 1 | a word read; nobody can hold it up |
//!
//! A word a cycle, the first one read two cycles after its command.

use tandem_rtl::{MemoryStyle, Module, Net};

use crate::size::BURST_BITS;

/// Words of [`spram`], as a power of two.
pub(crate) const LOG_SPRAM_WORDS: u32 = 14;

/// Block RAM of `1 << log_words` words.
pub(crate) fn block_ram(bus: u32, log_words: u32) -> Module {
    let m = Module::new("block_memory");
    let access = commands(&m, bus, log_words);
    let store = m.memory("store", log_words, bus, MemoryStyle::Block);
    let writes = access.writes.repeat(bus / 8);
    store.write(writes & access.strobe, access.address, access.data);
    m.output("rdata", store.read("q", access.reads, access.address));
    m
}

/// Four SB_SPRAM256KA, 16 bits each: 128 KB.
pub(crate) fn spram() -> Module {
    let m = Module::new("spram_memory");
    let access = commands(&m, 64, LOG_SPRAM_WORDS);
    let selected = access.writes | access.reads;
    m.output("rdata", spram_cells(&m, access.writes, selected, access.address, access.data, access.strobe));
    m
}

/// A RAM inside the FPGA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RamKind {
    /// Four SB_SPRAM256KA.
    Spram,
    /// Block RAM.
    Block,
}

/// The four cells side by side; gives the word of the cycle before.
pub(super) fn spram_cells<'m>(
    m: &'m Module,
    writes: Net<'m>,
    selected: Net<'m>,
    address: Net<'m>,
    data: Net<'m>,
    strobe: Net<'m>,
) -> Net<'m> {
    let (yes, no) = (m.lit(1, 1), m.lit(0, 1));
    let words: Vec<Net<'_>> = (0..4)
        .map(|part| {
            let mask = strobe.bits(2 * part, 2);
            // A bit for each four.
            let mask = m.cat(&[mask.bit(0).repeat(2), mask.bit(1).repeat(2)]);
            let pins = [
                ("ADDRESS", address),
                ("DATAIN", data.bits(16 * part, 16)),
                ("MASKWREN", mask),
                ("WREN", writes),
                ("CHIPSELECT", selected),
                ("STANDBY", no),
                ("SLEEP", no),
                ("POWEROFF", yes),
            ];
            let name = format!("part_{part}");
            m.cell(&name, "SB_SPRAM256KA", &[], Some("CLOCK"), &pins, &[("DATAOUT", 16)]).get("DATAOUT")
        })
        .collect();
    m.cat(&words)
}

/// An access to a RAM.
struct Access<'m> {
    writes: Net<'m>,
    reads: Net<'m>,
    address: Net<'m>,
    data: Net<'m>,
    strobe: Net<'m>,
}

/// Commands cut into accesses.
fn commands(m: &Module, bus: u32, log_words: u32) -> Access<'_> {
    let (valid, write) = (m.input("valid", 1), m.input("write", 1));
    let (address, beats) = (m.input("address", log_words), m.input("beats", BURST_BITS));
    let (wvalid, wdata, wstrb) = (m.input("wvalid", 1), m.input("wdata", bus), m.input("wstrb", bus / 8));
    let (at, left) = (m.data_reg("at", log_words), m.reg("left", BURST_BITS, 0));
    let writing = m.data_reg("writing", 1);
    let busy = left.any().named("busy");
    let writes = (busy & writing & wvalid).named("writes");
    let reads = (busy & !writing).named("reads");
    m.when(writes | reads, || {
        at.set(at.inc());
        left.set(left.dec());
    });
    m.when(valid & !busy, || {
        at.set(address);
        left.set(beats);
        writing.set(write);
    });
    m.output("ready", !busy);
    m.output("wnext", writes);
    m.output("rvalid", m.delay("read_before", reads));
    m.output("rlast", m.delay("last_before", left.is(1)));
    Access { writes, reads, address: at, data: wdata, strobe: wstrb }
}
