//! Writes: the store unit's bursts and words on the AW, W and B channels of the AXI4 master.
//!
//! ```text
//!  request --> AW ----> [ beats ] x 8 --> countdown --> WLAST
//!  data ----> [ word, strobes ] x 32 ------------------> W
//!                                    B --> outstanding - 1
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `request_valid`, `_ready`, `_address`, `_beats` | 1, 1, word address, 5 | a burst |
//! | `data_valid`, `data_ready`, `data`, `strobe` | 1, 1, bus, bus / 8 | the words of the bursts, in order |
//! | `flush` | 1 | the store unit has forgotten its bursts: what AW has promised is paid with words without strobes |
//! | `idle` | 1 | every burst has its response and no word waits |
//! | `fault` | 1 | a burst was answered with an error |
//! | `axi_aw*`, `axi_w*`, `axi_b*` | | the AXI4 channels |
//!
//! A word never goes ahead of its burst's address, and once offered stays as it is until it is taken. Latency two cycles; a
//! word a cycle.

use tandem_rtl::{MemoryStyle, Module};

use crate::queue::queue;
use crate::size::{BURST_BITS, LOG_OUTSTANDING, Sizes};

/// Words that wait for the W channel, as a power of two.
const LOG_WORDS: u32 = 5;

/// The block.
pub fn write_engine(sizes: &Sizes) -> Module {
    let m = Module::new("write_engine");
    {
        let (words, bus) = (sizes.word_address, sizes.bus);
        let request_valid = m.input("request_valid", 1);
        let request_address = m.input("request_address", words);
        let request_beats = m.input("request_beats", BURST_BITS);
        let data_valid = m.input("data_valid", 1);
        let data = m.input("data", bus);
        let strobe = m.input("strobe", bus / 8);
        let flush = m.input("flush", 1);
        let awready = m.input("axi_awready", 1);
        let wready = m.input("axi_wready", 1);
        let bvalid = m.input("axi_bvalid", 1);
        let bresp = m.input("axi_bresp", 2);

        // Bursts without a response.
        let outstanding = m.reg("outstanding", LOG_OUTSTANDING + 1, 0);
        let room = (!outstanding.is(1 << LOG_OUTSTANDING)).named("room");
        let awvalid = m.reg("awvalid", 1, 0);
        let address = m.data_reg("address", words);
        let beats = m.data_reg("beats", BURST_BITS);
        let grant = (request_valid & !awvalid & room & !flush).named("grant");
        let addressed = (awvalid & awready).named("addressed");
        m.when(addressed, || awvalid.set_to(0));
        m.when(grant, || {
            awvalid.set_to(1);
            address.set(request_address);
            beats.set(request_beats);
        });
        let answered = bvalid;
        m.when(grant & !answered, || outstanding.set(outstanding.inc()));
        m.when(!grant & answered, || outstanding.set(outstanding.dec()));

        // Lengths of the bursts whose address has gone out.
        let lengths = m.memory("lengths", LOG_OUTSTANDING, BURST_BITS, MemoryStyle::Distributed);
        let head = m.reg("head", LOG_OUTSTANDING + 1, 0);
        let tail = m.reg("tail", LOG_OUTSTANDING + 1, 0);
        lengths.write(addressed, tail.bits(0, LOG_OUTSTANDING), beats);
        m.when(addressed, || tail.set(tail.inc()));
        let length = lengths.read_now("length", head.bits(0, LOG_OUTSTANDING));

        // Words of the burst at hand that W has not taken.
        let left = m.reg("left", BURST_BITS, 0);
        let wvalid = m.reg("wvalid", 1, 0);
        let wdata = m.data_reg("wdata", bus);
        let wstrb = m.data_reg("wstrb", bus / 8);
        let wlast = m.data_reg("wlast", 1);
        let take = m.var("take", m.lit(0, 1));
        let store = m.instance(
            "words",
            &queue("write_words", bus + bus / 8, LOG_WORDS, MemoryStyle::Distributed),
            &[
                ("in_valid", data_valid),
                ("in_data", m.cat(&[data, strobe])),
                ("out_ready", take),
                ("flush", m.lit(0, 1)),
            ],
        );
        let there = store.get("out_valid");
        let word = store.get("out_data");
        let sent = (wvalid & wready).named("sent");
        let free = (!wvalid | wready).named("free");
        let offer = (left.any() & free & (there | flush)).named("offer");
        // After a flush whatever is left over belongs to no burst.
        let stale = (flush & !left.any() & head.eq(tail)).named("stale");
        take.set((offer & there) | stale);
        m.when(sent, || wvalid.set_to(0));
        m.when(offer, || {
            wvalid.set_to(1);
            wdata.set(word.bits(0, bus));
            wstrb.set((there & !flush).mux(word.bits(bus, bus / 8), m.lit(0, bus / 8)));
            wlast.set(left.is(1));
            left.set(left.dec());
        });
        // The next burst follows without a gap.
        let next = (!head.eq(tail) & (!left.any() | (offer & left.is(1)))).named("next");
        m.when(next, || {
            left.set(length);
            head.set(head.inc());
        });

        m.output("request_ready", grant);
        m.output("data_ready", store.get("in_ready"));
        m.output("idle", !outstanding.any() & !there & !wvalid);
        m.output("fault", bvalid & bresp.bit(1) & !flush);
        m.output("axi_awvalid", awvalid);
        m.output("axi_awaddr", m.cat(&[m.lit(0, sizes.log_bus_bytes), address]));
        m.output("axi_awlen", (beats - m.lit(1, BURST_BITS)).zext(8));
        m.output("axi_awsize", m.lit(sizes.log_bus_bytes.into(), 3));
        m.output("axi_awburst", m.lit(1, 2));
        m.output("axi_wvalid", wvalid);
        m.output("axi_wdata", wdata);
        m.output("axi_wstrb", wstrb);
        m.output("axi_wlast", wlast);
        m.output("axi_bready", m.lit(1, 1));
    }
    m
}
