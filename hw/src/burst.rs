//! Cuts a row of bus words into bursts.
//!
//! ```text
//!  start, address, beats --> [ address | left ] --> burst_valid, burst_address, burst_beats
//!                                   ^------ burst_ready: address += beats, left -= beats
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | take a row; only while `idle` |
//! | `address` | bus word address | first word |
//! | `beats` | `row_bits` | words, at least one |
//! | `burst_ready` | 1 | the burst is taken |
//! | `idle` | 1 | no row is at hand |
//! | `burst_valid` | 1 | a burst stands at the outputs |
//! | `burst_address`, `burst_beats` | bus word address, 5 | its first word and length |
//!
//! A burst ends at a multiple of 16 words, which is at most 1 KiB, so no burst crosses a boundary of 4 KiB. Latency one cycle,
//! then a burst a cycle.

use tandem_rtl::Module;

use crate::size::{BURST_BEATS, BURST_BITS};

/// The block for addresses of `word_address` bits and rows whose length has `row_bits`.
pub fn burst(name: &str, word_address: u32, row_bits: u32) -> Module {
    let m = Module::new(name);
    {
        let start = m.input("start", 1);
        let address = m.input("address", word_address);
        let beats = m.input("beats", row_bits);
        let ready = m.input("burst_ready", 1);

        let at = m.reg("at", word_address, 0);
        let left = m.reg("left", row_bits, 0);
        let busy = left.any().named("busy");

        // Words up to the next multiple of a burst: 1 to 16.
        let place = at.bits(0, BURST_BEATS.trailing_zeros());
        let room = (m.lit(BURST_BEATS.into(), BURST_BITS) - place.zext(BURST_BITS)).named("room");
        let last = left.le(room.zext(row_bits)).named("last");
        let length = last.mux(left.bits(0, BURST_BITS), room).named("length");

        m.when_else(
            start,
            || {
                at.set(address);
                left.set(beats);
            },
            || {
                m.when(busy & ready, || {
                    at.set(at + length.zext(word_address));
                    left.set(left - length.zext(row_bits));
                });
            },
        );
        m.output("idle", !busy);
        m.output("burst_valid", busy);
        m.output("burst_address", at);
        m.output("burst_beats", length);
    }
    m
}
