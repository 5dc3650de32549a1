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
//! | `bridge_done`, `bridge_rdata` | 1, bus | it had it in the cycle before, within this bus word |
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
    describe(&m, sizes.bus, sizes.log_bus_bytes, log_bytes, LOG_BUFFER);
    m
}

/// The same block on a bus of 64 bits as `memory_port_proof`, with a buffer of so many words and bursts of half as many, and what
/// is to be proven of it for a memory that gives the words of each read in order and marks the last one.
///
/// | property | |
/// |---|---|
/// | `words_have_room` | a word that memory gives, which nobody can hold up, finds room in the buffer |
/// | `free_counts` | room is what is neither filled nor promised |
/// | `reads_counted` | reads under way are those that memory or an error has still to end |
/// | `promised_in_order` | what makes the two above inductive: no read without words |
/// | `bridge_alone` | a word that memory gives while the bridge waits for one is the bridge's |
/// | `one_at_a_time` | of the bridge, a read and a write one begins in a cycle |
/// | `answer_holds` | an answer to a write stays until taken |
/// | `answers_what_ended` | and follows the last word of one |
pub fn proof(log_bytes: u32, log_buffer: u32) -> Module {
    let m = Module::new("memory_port_proof");
    let p = describe(&m, 64, 3, log_bytes, log_buffer);
    let (burst_bits, bits) = (log_buffer, log_buffer + 1);
    // The words that memory has still to give, read by read, the oldest first.
    let owed: Vec<Net<'_>> = (0..3).map(|at| m.reg(format!("owed_{at}"), burst_bits, 0)).collect();
    let gives = (p.rvalid & !p.answers_bridge).named("gives");
    m.assume_always("gives_what_is_asked", !p.rvalid | p.answers_bridge | owed[0].any());
    m.assume_always("marks_the_last", !gives | p.rlast.eq(owed[0].is(1)));
    let ends = (gives & owed[0].is(1)).named("ends_a_read");
    let zero = m.lit(0, burst_bits);
    let fewer = owed[0] - gives.zext(burst_bits);
    let after = [ends.mux(owed[1], fewer), ends.mux(owed[2], owed[1]), ends.mux(zero, owed[2])];
    let asked = (p.reads_core & !p.read_outside).named("asked");
    let mut before = m.lit(1, 1);
    for (slot, rest) in owed.iter().zip(after) {
        slot.set((asked & before & !rest.any()).mux(p.read_length, rest));
        before = before & rest.any();
    }
    let sum = owed.iter().fold(m.lit(0, bits + 3), |sum, slot| sum + slot.zext(bits + 3));
    let errors = p.errors.mux(p.left, zero).zext(bits + 3);
    let total = p.free.zext(bits + 3) + p.level.zext(bits + 3) + sum + errors;
    m.assert_always("words_have_room", !p.word | p.has_room);
    m.assert_always("free_counts", total.is(1 << log_buffer));
    let number = owed.iter().fold(p.errors.zext(READS_BITS), |count, slot| count + slot.any().zext(READS_BITS));
    m.assert_always("reads_counted", p.reads.eq(number));
    let gap = (owed[1].any() & !owed[0].any()) | (owed[2].any() & !owed[1].any());
    m.assert_always("promised_in_order", !gap & (!p.errors | (p.left.any() & !owed[0].any())));
    m.assert_always("bridge_alone", !p.answers_bridge | !owed[0].any());
    let [bridge, read, write] = p.begins.map(|begins| begins.zext(2));
    m.assert_always("one_at_a_time", (bridge + read + write).below(2));
    let stalled = m.delay("answer_stalled", p.bvalid & !p.bready);
    m.assert_always("answer_holds", !stalled | p.bvalid);
    let ended = m.delay("write_ended", p.write_ends);
    m.assert_always("answers_what_ended", !p.bvalid | stalled | ended);
    m
}

/// The values of a port that a proof speaks of.
struct Parts<'m> {
    rvalid: Net<'m>,
    rlast: Net<'m>,
    answers_bridge: Net<'m>,
    errors: Net<'m>,
    left: Net<'m>,
    reads: Net<'m>,
    free: Net<'m>,
    level: Net<'m>,
    has_room: Net<'m>,
    word: Net<'m>,
    reads_core: Net<'m>,
    read_outside: Net<'m>,
    read_length: Net<'m>,
    /// The bridge, a read, a write.
    begins: [Net<'m>; 3],
    bvalid: Net<'m>,
    bready: Net<'m>,
    write_ends: Net<'m>,
}

fn describe(m: &Module, bus: u32, low: u32, log_bytes: u32, log_buffer: u32) -> Parts<'_> {
    let burst_bits = log_buffer;
    let words = log_bytes - low;
    let core = Core::new(m, bus);
    let bridge = Bridge::new(m, log_bytes);
    let [ready, wnext, rvalid, rlast] =
        ["ready", "wnext", "rvalid", "rlast"].map(|name| m.input(format!("mem_{name}"), 1));
    let rdata = m.input("mem_rdata", bus);
    let no = m.lit(0, 1);

    let state = m.fsm("state", &["idle", "write", "bridge_read", "beyond"]);
    let idle = state.at("idle").named("is_idle");
    // Reads of the core that are under way, and words of the buffer that nothing will fill.
    let reads = m.reg("reads", READS_BITS, 0);
    let free = m.reg("free", log_buffer + 1, 1 << log_buffer);
    let room = ((free.bit(log_buffer) | free.bit(log_buffer - 1)) & !reads.all()).named("room");
    let (bvalid, failed) = (m.reg("answers", 1, 0), m.data_reg("answers_error", 1));
    let turn = m.reg("write_is_next", 1, 0);

    let (read_outside, write_outside) = (is_outside(m, core.araddr, log_bytes), is_outside(m, core.awaddr, log_bytes));
    // The bridge hears of its word a cycle later, so that no path leads from the memory through it, and asks until then.
    let bridge_done = m.reg("bridge_had", 1, 0);
    let no_reads = (!reads.any()).named("no_reads");
    let bridge_now = (idle & bridge.access & !bridge_done & no_reads).named("bridge_now");
    let core_may = (idle & !bridge.access).named("core_may");
    // What is answered by an error must not overtake words that are under way.
    let in_order = (!read_outside | no_reads).named("in_order");
    let can_read = (core_may & core.arvalid & room & in_order).named("can_read");
    let can_write = (core_may & core.awvalid & !bvalid).named("can_write");
    let read_now = (can_read & !(turn & can_write)).named("read_now");
    let write_now = (can_write & !(can_read & !turn)).named("write_now");
    let asks = bridge_now | (read_now & !read_outside) | (write_now & !write_outside);
    let goes = (ready | (read_now & read_outside) | (write_now & write_outside)).named("goes");
    let (reads_core, writes_core) = ((read_now & goes).named("reads_core"), (write_now & goes).named("writes_core"));

    let (of_bridge, beyond) = (m.data_reg("of_bridge", 1), m.data_reg("is_beyond", 1));
    let left = m.data_reg("left", burst_bits);
    let read_length = core.arlen.bits(0, burst_bits - 1).zext(burst_bits).inc().named("read_length");
    let write_length = core.awlen.bits(0, burst_bits - 1).zext(burst_bits).inc().named("write_length");
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
    m.when(taken & (of_bridge | core.wlast), || state.go("idle"));
    let write_ends = (taken & core.wlast & !of_bridge).named("write_ends");
    m.when(write_ends, || {
        bvalid.set_to(1);
        failed.set(beyond);
    });

    // R.
    let word = ((rvalid & !answers_bridge) | errors).named("word");
    let last = errors.mux(left.is(1), rlast).named("is_last");
    let buffer = m.instance(
        "words",
        &queue("port_words", bus + 2, log_buffer, MemoryStyle::Distributed),
        &[("in_valid", word), ("in_data", m.cat(&[rdata, errors, last])), ("out_ready", core.rready), ("flush", no)],
    );
    let leaves = (buffer.get("out_valid") & core.rready).named("leaves");
    let claimed = reads_core.repeat(log_buffer + 1) & read_length.zext(log_buffer + 1);
    free.set(free - claimed + leaves.zext(log_buffer + 1));
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
    bridge_done.set((answers_bridge & rvalid) | (taken & of_bridge));
    m.output("bridge_done", bridge_done);
    m.output("bridge_rdata", m.delay("bridge_word_read", rdata));
    m.output("mem_valid", asks);
    m.output("mem_write", bridge_now.mux(bridge.write, write_now));
    let core_address = write_now.mux(core.awaddr, core.araddr).bits(low, words);
    m.output("mem_address", bridge_now.mux(bridge.address.bits(low - 2, words), core_address));
    let core_beats = write_now.mux(write_length, read_length);
    m.output("mem_beats", bridge_now.mux(m.lit(1, burst_bits), core_beats));
    m.output("mem_wvalid", offered & !beyond);
    // The word comes out of slow block RAM, and a cycle passes before it is needed.
    let bridge_word = m.data_reg("bridge_word", 32);
    bridge_word.set(bridge.wdata);
    m.output("mem_wdata", of_bridge.mux(bridge_word.repeat(bus / 32), core.wdata));
    m.output("mem_wstrb", of_bridge.mux(bridge.strobe(m, low), core.wstrb));
    Parts {
        rvalid,
        rlast,
        answers_bridge,
        errors,
        left,
        reads,
        free,
        level: buffer.get("level"),
        has_room: buffer.get("in_ready"),
        word,
        reads_core,
        read_outside,
        read_length,
        begins: [bridge_now & goes, reads_core, writes_core],
        bvalid,
        bready: core.bready,
        write_ends,
    }
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
