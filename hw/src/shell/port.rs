//! The memory port: the core's AXI4 master and the bridge share one memory.
//!
//! ```text
//!  AR, AW of the core --+                                 +--> R: [ 16 words ] or at once
//!                       +-- one at a time --> memory -----+--> B
//!  bridge -------------/                                  +--> bridge
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `axi_*` | | the core's channels, as the slave sees them |
//! | `bridge_access`, `bridge_write`, `bridge_address`, `bridge_wdata` | 1, 1, word address, 32 | the bridge wants a 32-bit word, until `bridge_done` |
//! | `bridge_done`, `bridge_rdata` | 1, 32 | it has it |
//! | `mem_valid`, `mem_ready`, `mem_write`, `mem_address`, `mem_beats` | 1, 1, 1, bus word address, 5 | a command to the memory |
//! | `mem_wvalid`, `mem_wdata`, `mem_wstrb`, `mem_wnext` | 1, bus, bus / 8, 1 | a word to write, and that it is taken |
//! | `mem_rvalid`, `mem_rdata`, `mem_rlast` | 1, bus, 1 | a word read, which is taken at once |
//!
//! The bridge goes first: it asks seldom. A command takes two cycles and the memory's time. A core that asks for bursts may hold
//! a word up, so words wait in a buffer, and the next burst is asked for when the buffer is empty; the machine without queues asks
//! for one word and takes it at once.

use tandem_rtl::{MemoryStyle, Module};

use crate::queue::queue;
use crate::size::{BURST_BITS, Sizes};

/// Words of the buffer, as a power of two: a burst.
const LOG_BUFFER: u32 = 4;

/// The block for a memory of so many bytes, as a power of two.
pub(crate) fn port(sizes: &Sizes, log_bytes: u32) -> Module {
    let m = Module::new("memory_port");
    let (bus, low) = (sizes.bus, sizes.log_bus_bytes);
    let words = log_bytes - low;
    let [arvalid, rready, awvalid, wvalid, wlast, bready] =
        ["arvalid", "rready", "awvalid", "wvalid", "wlast", "bready"].map(|name| m.input(format!("axi_{name}"), 1));
    let [araddr, awaddr] = ["araddr", "awaddr"].map(|name| m.input(format!("axi_{name}"), 32));
    let [arlen, awlen] = ["arlen", "awlen"].map(|name| m.input(format!("axi_{name}"), 8));
    let (wdata, wstrb) = (m.input("axi_wdata", bus), m.input("axi_wstrb", bus / 8));
    let (access, bridge_write) = (m.input("bridge_access", 1), m.input("bridge_write", 1));
    let bridge_address = m.input("bridge_address", log_bytes - 2);
    let bridge_wdata = m.input("bridge_wdata", 32);
    let [ready, wnext, rvalid, rlast] =
        ["ready", "wnext", "rvalid", "rlast"].map(|name| m.input(format!("mem_{name}"), 1));
    let rdata = m.input("mem_rdata", bus);
    let no = m.lit(0, 1);

    let state = m.fsm("state", &["idle", "ask", "read", "write", "answer"]);
    let (of_bridge, writes) = (m.data_reg("of_bridge", 1), m.data_reg("writes", 1));
    let (address, beats) = (m.data_reg("at_address", words), m.data_reg("at_beats", BURST_BITS));
    // Addresses beyond the memory are answered with an error and do nothing.
    let beyond = m.data_reg("is_beyond", 1);
    let finished = m.reg("bridge_finished", 1, 0);
    let idle = state.at("idle").named("is_idle");
    let room = m.var("room", m.lit(1, 1));
    let takes_bridge = (idle & access & !finished).named("takes_bridge");
    let takes_read = (idle & !takes_bridge & arvalid & room).named("takes_read");
    let takes_write = (idle & !takes_bridge & !takes_read & awvalid).named("takes_write");
    m.when(takes_bridge | takes_read | takes_write, || state.go("ask"));
    m.when(idle, || {
        of_bridge.set(takes_bridge);
        writes.set(takes_bridge.mux(bridge_write, takes_write));
        let bridge_word = bridge_address.bits(low - 2, words);
        let core = takes_read.mux(araddr, awaddr).named("core_address");
        address.set(takes_bridge.mux(bridge_word, core.bits(low, words)));
        let length = takes_read.mux(arlen, awlen).bits(0, BURST_BITS - 1).zext(BURST_BITS).inc();
        beats.set(takes_bridge.mux(m.lit(1, BURST_BITS), length));
        let outside = if log_bytes < 32 { core.bits(log_bytes, 32 - log_bytes).any() } else { no };
        beyond.set(!takes_bridge & outside);
    });
    m.when(state.at("ask") & (ready | beyond), || {
        m.when_else(writes, || state.go("write"), || state.go("read"));
    });
    let (reading, writing) = (state.at("read").named("reading"), state.at("write").named("writing"));
    // What is beyond memory ends after as many words as were asked for.
    let word = (reading & (rvalid | beyond)).named("word");
    let ends = beyond.mux(beats.is(1), rlast).named("ends");
    m.when(word & beyond, || beats.set(beats.dec()));
    finished.set_to(0);
    m.when(word & ends, || {
        finished.set(of_bridge);
        state.go("idle");
    });
    let offered = (writing & (of_bridge | wvalid)).named("offered");
    let taken = (offered & (wnext | beyond)).named("word_taken");
    m.when(taken & (of_bridge | wlast), || {
        finished.set(of_bridge);
        m.when_else(of_bridge, || state.go("idle"), || state.go("answer"));
    });
    m.when(state.at("answer") & bready, || state.go("idle"));

    // R.
    let to_core = (word & !of_bridge).named("to_core");
    let response = m.cat(&[no, beyond]);
    if sizes.config.insn_queue_depth().is_some() {
        let buffer = m.instance(
            "words",
            &queue("port_words", bus + 3, LOG_BUFFER, MemoryStyle::Distributed),
            &[
                ("in_valid", to_core),
                ("in_data", m.cat(&[rdata, response, ends])),
                ("out_ready", rready),
                ("flush", no),
            ],
        );
        room.set(!buffer.get("out_valid"));
        let out = buffer.get("out_data");
        m.output("axi_rvalid", buffer.get("out_valid"));
        m.output("axi_rdata", out.bits(0, bus));
        m.output("axi_rresp", out.bits(bus, 2));
        m.output("axi_rlast", out.bits(bus + 2, 1));
    } else {
        m.output("axi_rvalid", to_core);
        m.output("axi_rdata", rdata);
        m.output("axi_rresp", response);
        m.output("axi_rlast", ends);
    }

    m.output("axi_arready", takes_read);
    m.output("axi_awready", takes_write);
    m.output("axi_wready", taken & !of_bridge);
    m.output("axi_bvalid", state.at("answer"));
    m.output("axi_bresp", response);
    let halves = bus / 32;
    let half = bridge_address.bits(0, low - 2);
    let held = m.data_reg("held", 32);
    m.when(word, || held.set(rdata.pick(half, 32)));
    m.output("bridge_done", finished);
    m.output("bridge_rdata", held);
    m.output("mem_valid", state.at("ask") & !beyond);
    m.output("mem_write", writes);
    m.output("mem_address", address);
    m.output("mem_beats", beats);
    m.output("mem_wvalid", offered & !beyond);
    m.output("mem_wdata", of_bridge.mux(bridge_wdata.repeat(halves), wdata));
    let lanes: Vec<_> = (0..halves).map(|lane| half.is(lane.into()).repeat(4)).collect();
    m.output("mem_wstrb", of_bridge.mux(m.cat(&lanes), wstrb));
    m
}
