//! Reads: three clients share the AR and R channels of the AXI4 master.
//!
//! ```text
//!  fetch   --request--\                 +------> AR
//!  load    --request--- in turn -------|
//!  compute --request--/                 +--> [ client, beats ] x 8 --> who gets each word of R
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `request_valid_k`, `_ready_k`, `_address_k`, `_beats_k` | 1, 1, word address, 5 | a burst of client k: 0 fetch, 1 load, 2 compute |
//! | `data_valid_k`, `data_ready_k` | 1 | a word for client k; the word itself is `axi_rdata` |
//! | `flush` | 1 | nobody wants anything any more: requests are ignored, words are dropped |
//! | `idle` | 1 | no burst is under way |
//! | `fault` | 1 | a word came with an error response; `fault_client` says for whom |
//! | `axi_ar*`, `axi_r*` | | the AXI4 channels |
//!
//! Bursts come back in the order of their requests, so a client must be able to take every word that it asked for, whatever
//! the other clients do. Latency two cycles and the memory's; a burst every two cycles and a word a cycle.

use tandem_rtl::{MemoryStyle, Module, Net};

use crate::arbiter::arbiter;
use crate::size::{BURST_BITS, LOG_OUTSTANDING, Sizes};

/// Clients of the engine.
pub(crate) const READERS: usize = 3;

/// The block.
pub fn read_engine(sizes: &Sizes) -> Module {
    let m = Module::new("read_engine");
    {
        let words = sizes.word_address;
        let each = |name: &str, width| -> Vec<Net<'_>> {
            (0..READERS).map(|client| m.input(format!("{name}_{client}"), width)).collect()
        };
        let request_valid = each("request_valid", 1);
        let request_address = each("request_address", words);
        let request_beats = each("request_beats", BURST_BITS);
        let data_ready = each("data_ready", 1);
        let flush = m.input("flush", 1);
        let arready = m.input("axi_arready", 1);
        let rvalid = m.input("axi_rvalid", 1);
        let rresp = m.input("axi_rresp", 2);
        let rlast = m.input("axi_rlast", 1);

        // Whose bursts are under way, in order; one bit a client.
        let under_way = m.memory("under_way", LOG_OUTSTANDING, READERS as u32, MemoryStyle::Distributed);
        let head = m.reg("head", LOG_OUTSTANDING + 1, 0);
        let tail = m.reg("tail", LOG_OUTSTANDING + 1, 0);
        let empty = head.eq(tail).named("empty");
        let full = (tail - head).named("count").is(1 << LOG_OUTSTANDING).named("full");

        let arvalid = m.reg("arvalid", 1, 0);
        let address = m.data_reg("address", words);
        let beats = m.data_reg("beats", BURST_BITS);
        let room = (!arvalid & !full & !flush).named("room");
        let turn =
            m.instance("turn", &arbiter(READERS as u32), &[("request", m.cat(&request_valid)), ("accept", room)]);
        let winner = turn.get("grant");
        let grant = (room & turn.get("granted")).named("grant");
        m.when(arvalid & arready, || arvalid.set_to(0));
        m.when(grant, || {
            arvalid.set_to(1);
            address.set(selected(winner, &request_address));
            beats.set(selected(winner, &request_beats));
            tail.set(tail.inc());
        });
        under_way.write(grant, tail.bits(0, LOG_OUTSTANDING), winner);
        let client = under_way.read_now("client", head.bits(0, LOG_OUTSTANDING));

        let ready = (!empty & (flush | (client & m.cat(&data_ready)).any())).named("ready");
        let word = (rvalid & ready).named("word");
        m.when(word & rlast, || head.set(head.inc()));

        for (k, _) in request_valid.iter().enumerate() {
            m.output(format!("request_ready_{k}"), grant & winner.bit(k as u32));
            let mine = !empty & !flush & client.bit(k as u32) & rvalid;
            m.output(format!("data_valid_{k}"), mine);
        }
        m.output("idle", empty);
        m.output("fault", word & rresp.bit(1) & !flush);
        m.output("fault_client", m.cat(&[client.bit(1), client.bit(2)]));
        m.output("axi_arvalid", arvalid);
        m.output("axi_araddr", m.cat(&[m.lit(0, sizes.log_bus_bytes), address]));
        m.output("axi_arlen", (beats - m.lit(1, BURST_BITS)).zext(8));
        m.output("axi_arsize", m.lit(sizes.log_bus_bytes.into(), 3));
        m.output("axi_arburst", m.lit(1, 2));
        m.output("axi_rready", ready);
    }
    m
}

/// The value whose bit is set, or the last.
fn selected<'m>(bits: Net<'m>, values: &[Net<'m>]) -> Net<'m> {
    let last = values.len() - 1;
    (0..last).fold(values[last], |rest, at| bits.bit(at as u32).mux(values[at], rest))
}
