//! The memory port: the core's AXI4 master and the bridge share one memory.
//!
//! ```text
//!  AR of the core ---+                              +--> [ 32 words ] --> R
//!  AW, W of the core-+-- one at a time --> memory --+--> B
//!  bridge -----------+                              +--> bridge
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `axi_*` | | the core's channels, as the slave sees them |
//! | `bridge_access`, `bridge_write`, `bridge_address`, `bridge_wdata` | 1, 1, word address, 32 | the bridge wants a 32-bit word, until `bridge_done` |
//! | `bridge_done`, `bridge_rdata` | 1, bus | it has it, within this bus word |
//! | `mem_valid`, `mem_ready`, `mem_write`, `mem_address`, `mem_beats` | 1, 1, 1, bus word address, 5 | a command to the memory |
//! | `mem_wvalid`, `mem_wdata`, `mem_wstrb`, `mem_wnext` | 1, bus, bus / 8, 1 | a word to write, and that it is taken |
//! | `mem_rvalid`, `mem_rdata`, `mem_rlast` | 1, bus, 1 | a word read, which is taken at once |
//!
//! A command reaches the memory in the cycle of its request. Reads may overlap: another one goes to the memory while the words of
//! earlier ones are still to come, as long as the buffer has room for all of them. Reads and writes of the core alternate where
//! both wait. A write is answered when the memory has taken its last word, so that what is read afterwards is what was written.
//! The bridge goes before the core and waits for reads that are under way. What lies beyond the memory is answered with an error,
//! and nothing is read or written.

use tandem_rtl::{MemoryStyle, Module, Net};

use crate::queue::queue;
use crate::size::{BURST_BEATS, BURST_BITS, Sizes};

/// Words of the buffer, as a power of two: two bursts.
const LOG_BUFFER: u32 = BURST_BITS;
const _: () = assert!(2 * BURST_BEATS == 1 << LOG_BUFFER);
/// Bits of a number of reads under way.
const READS_BITS: u32 = 2;

/// The block for a memory of so many bytes, as a power of two.
pub(crate) fn port(sizes: &Sizes, log_bytes: u32) -> Module {
    let m = Module::new("memory_port");
    let (bus, low) = (sizes.bus, sizes.log_bus_bytes);
    let words = log_bytes - low;
    let core = Core::new(&m, bus);
    let bridge = Bridge::new(&m, log_bytes);
    let [ready, wnext, rvalid, rlast] =
        ["ready", "wnext", "rvalid", "rlast"].map(|name| m.input(format!("mem_{name}"), 1));
    let rdata = m.input("mem_rdata", bus);
    let no = m.lit(0, 1);

    let state = m.fsm("state", &["idle", "write", "bridge_read", "beyond"]);
    let idle = state.at("idle").named("is_idle");
    // Reads of the core that are under way, and words of the buffer that nothing will fill.
    let reads = m.reg("reads", READS_BITS, 0);
    let free = m.reg("free", LOG_BUFFER + 1, 1 << LOG_BUFFER);
    let room = ((free.bit(LOG_BUFFER) | free.bit(LOG_BUFFER - 1)) & !reads.all()).named("room");
    let (bvalid, failed) = (m.reg("answers", 1, 0), m.data_reg("answers_error", 1));
    let turn = m.reg("write_is_next", 1, 0);

    let (read_outside, write_outside) =
        (is_outside(&m, core.araddr, log_bytes), is_outside(&m, core.awaddr, log_bytes));
    let bridge_now = (idle & bridge.access & !reads.any()).named("bridge_now");
    let core_may = (idle & !bridge.access).named("core_may");
    let can_read = (core_may & core.arvalid & room & (!read_outside | !reads.any())).named("can_read");
    let can_write = (core_may & core.awvalid & !bvalid).named("can_write");
    let read_now = (can_read & !(turn & can_write)).named("read_now");
    let write_now = (can_write & !(can_read & !turn)).named("write_now");
    let asks = bridge_now | (read_now & !read_outside) | (write_now & !write_outside);
    let goes = (ready | (read_now & read_outside) | (write_now & write_outside)).named("goes");
    let (reads_core, writes_core) = ((read_now & goes).named("reads_core"), (write_now & goes).named("writes_core"));

    let (of_bridge, beyond) = (m.data_reg("of_bridge", 1), m.data_reg("is_beyond", 1));
    let left = m.data_reg("left", BURST_BITS);
    let read_length = core.arlen.bits(0, BURST_BITS - 1).zext(BURST_BITS).inc().named("read_length");
    let write_length = core.awlen.bits(0, BURST_BITS - 1).zext(BURST_BITS).inc().named("write_length");
    m.when(idle, || {
        of_bridge.set(bridge_now);
        beyond.set(!bridge_now & write_now.mux(write_outside, read_outside));
        left.set(read_length);
        m.when(reads_core & read_outside, || state.go("beyond"));
        m.when(writes_core | (bridge_now & bridge.write & goes), || state.go("write"));
        m.when(bridge_now & !bridge.write & goes, || state.go("bridge_read"));
        m.when(reads_core, || turn.set_to(1));
        m.when(writes_core, || turn.set_to(0));
    });
    let errors = state.at("beyond").named("errors");
    m.when(errors, || {
        left.set(left.dec());
        m.when(left.is(1), || state.go("idle"));
    });
    let answers_bridge = state.at("bridge_read").named("answers_bridge");
    m.when(answers_bridge & rvalid, || state.go("idle"));
    let writing = state.at("write").named("writing");
    let offered = (writing & (of_bridge | core.wvalid)).named("offered");
    let taken = (offered & (wnext | beyond)).named("word_taken");
    m.when(core.bready, || bvalid.set_to(0));
    m.when(taken & (of_bridge | core.wlast), || {
        bvalid.set(!of_bridge);
        failed.set(beyond);
        state.go("idle");
    });

    // R.
    let word = ((rvalid & !answers_bridge) | errors).named("word");
    let last = errors.mux(left.is(1), rlast).named("is_last");
    let buffer = m.instance(
        "words",
        &queue("port_words", bus + 2, LOG_BUFFER, MemoryStyle::Distributed),
        &[("in_valid", word), ("in_data", m.cat(&[rdata, errors, last])), ("out_ready", core.rready), ("flush", no)],
    );
    let leaves = (buffer.get("out_valid") & core.rready).named("leaves");
    let claimed = reads_core.repeat(LOG_BUFFER + 1) & read_length.zext(LOG_BUFFER + 1);
    free.set(free - claimed + leaves.zext(LOG_BUFFER + 1));
    let ended = (word & last).named("ended");
    m.when(reads_core & !ended, || reads.set(reads.inc()));
    m.when(ended & !reads_core, || reads.set(reads.dec()));

    let out = buffer.get("out_data");
    m.output("axi_arready", reads_core);
    m.output("axi_rvalid", buffer.get("out_valid"));
    m.output("axi_rdata", out.bits(0, bus));
    m.output("axi_rresp", m.cat(&[no, out.bit(bus)]));
    m.output("axi_rlast", out.bit(bus + 1));
    m.output("axi_awready", writes_core);
    m.output("axi_wready", taken & !of_bridge);
    m.output("axi_bvalid", bvalid);
    m.output("axi_bresp", m.cat(&[no, failed]));
    m.output("bridge_done", (answers_bridge & rvalid) | (taken & of_bridge));
    m.output("bridge_rdata", rdata);
    m.output("mem_valid", asks);
    m.output("mem_write", bridge_now.mux(bridge.write, write_now));
    let core_address = write_now.mux(core.awaddr, core.araddr).bits(low, words);
    m.output("mem_address", bridge_now.mux(bridge.address.bits(low - 2, words), core_address));
    let core_beats = write_now.mux(write_length, read_length);
    m.output("mem_beats", bridge_now.mux(m.lit(1, BURST_BITS), core_beats));
    m.output("mem_wvalid", offered & !beyond);
    m.output("mem_wdata", of_bridge.mux(bridge.wdata.repeat(bus / 32), core.wdata));
    m.output("mem_wstrb", of_bridge.mux(bridge.strobe(&m, low), core.wstrb));
    m
}

/// Whether a byte address lies beyond a memory of so many bytes, as a power of two.
pub(super) fn is_outside<'m>(m: &'m Module, address: Net<'m>, log_bytes: u32) -> Net<'m> {
    if log_bytes < 32 { address.bits(log_bytes, 32 - log_bytes).any() } else { m.lit(0, 1) }
}

/// The core's channels.
pub(super) struct Core<'m> {
    pub arvalid: Net<'m>,
    pub araddr: Net<'m>,
    pub arlen: Net<'m>,
    pub rready: Net<'m>,
    pub awvalid: Net<'m>,
    pub awaddr: Net<'m>,
    pub awlen: Net<'m>,
    pub wvalid: Net<'m>,
    pub wdata: Net<'m>,
    pub wstrb: Net<'m>,
    pub wlast: Net<'m>,
    pub bready: Net<'m>,
}

impl<'m> Core<'m> {
    pub fn new(m: &'m Module, bus: u32) -> Core<'m> {
        let input = |name: &str, width| m.input(format!("axi_{name}"), width);
        Core {
            arvalid: input("arvalid", 1),
            araddr: input("araddr", 32),
            arlen: input("arlen", 8),
            rready: input("rready", 1),
            awvalid: input("awvalid", 1),
            awaddr: input("awaddr", 32),
            awlen: input("awlen", 8),
            wvalid: input("wvalid", 1),
            wdata: input("wdata", bus),
            wstrb: input("wstrb", bus / 8),
            wlast: input("wlast", 1),
            bready: input("bready", 1),
        }
    }
}

/// What the bridge asks for.
pub(super) struct Bridge<'m> {
    pub access: Net<'m>,
    pub write: Net<'m>,
    pub address: Net<'m>,
    pub wdata: Net<'m>,
}

impl<'m> Bridge<'m> {
    pub fn new(m: &'m Module, log_bytes: u32) -> Bridge<'m> {
        Bridge {
            access: m.input("bridge_access", 1),
            write: m.input("bridge_write", 1),
            address: m.input("bridge_address", log_bytes - 2),
            wdata: m.input("bridge_wdata", 32),
        }
    }

    /// The bytes of its word within a bus word.
    pub fn strobe(&self, m: &'m Module, log_bus_bytes: u32) -> Net<'m> {
        let place = self.address.bits(0, log_bus_bytes - 2);
        let lanes: Vec<_> = (0..1u128 << place.width()).map(|lane| place.is(lane).repeat(4)).collect();
        m.cat(&lanes)
    }
}
