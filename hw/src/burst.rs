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
//! | `beyond` | 1 | the row runs beyond the last address: no burst is offered any more |
//! | `burst_valid` | 1 | a burst stands at the outputs |
//! | `burst_address`, `burst_beats` | bus word address, 5 | its first word and length |
//!
//! A burst ends at a multiple of 16 words, which is at most 1 KiB, so no burst crosses a boundary of 4 KiB. Latency one cycle,
//! then a burst a cycle.

use tandem_rtl::{Module, Net};

use crate::size::{BURST_BEATS, BURST_BITS};

/// The block for addresses of `word_address` bits and rows whose length has `row_bits`.
pub fn burst(name: &str, word_address: u32, row_bits: u32) -> Module {
    let m = Module::new(name);
    describe(&m, word_address, row_bits);
    m
}

/// The same block as `burst_proof`, with what is to be proven of it where rows begin only while `idle`.
///
/// | property | |
/// |---|---|
/// | `no_crossing` | a burst stays between two multiples of 16 words, hence within 4 KiB |
/// | `length_right` | a burst has 1 to 16 words, and no more than the row has left |
/// | `consecutive` | a burst begins where the one before it ended, the first one where the row begins |
/// | `whole_row`, `ends_with_row` | the bursts taken and what is left make the row; a burst is offered exactly until it is complete, or memory ends |
/// | `within_memory` | no burst is offered whose first word lies beyond the last address, and the others of such a row are |
/// | `longest` | a burst ends at a multiple of 16 words or with the row |
/// | `output_holds` | a burst offered stays, unchanged, until taken |
pub fn proof(word_address: u32, row_bits: u32) -> Module {
    let m = Module::new("burst_proof");
    let b = describe(&m, word_address, row_bits);
    m.assume_always("starts_while_idle", !b.start | !b.busy);

    // The row as it was asked for, and the words of the bursts taken.
    let (first, total) = (m.reg("first", word_address, 0), m.reg("total", row_bits, 0));
    let given = m.reg("given", row_bits, 0);
    m.when(b.start, || {
        first.set(b.address);
        total.set(b.beats);
        given.set_to(0);
    });
    m.when(b.valid & b.ready, || given.set(given + b.burst_beats.resize(row_bits)));

    let offset = b.burst_address.bits(0, BURST_BEATS.trailing_zeros()).zext(BURST_BITS + 1);
    let end = (offset + b.burst_beats.zext(BURST_BITS + 1)).named("end_in_block");
    let missing = (total - given).named("missing");
    let beats = b.burst_beats.zext(row_bits);
    m.assert_always("no_crossing", !b.valid | end.le(m.lit(BURST_BEATS.into(), BURST_BITS + 1)));
    let right = b.burst_beats.any() & b.burst_beats.le(m.lit(BURST_BEATS.into(), BURST_BITS)) & beats.le(missing);
    m.assert_always("length_right", !b.valid | right);
    m.assert_always("consecutive", !b.valid | b.burst_address.eq(first + given.resize(word_address)));
    m.assert_always("whole_row", b.left.eq(missing) & given.le(total));
    let next =
        (first.zext(row_bits.max(word_address) + 1) + given.zext(row_bits.max(word_address) + 1)).named("next_word");
    let within = next.below(1 << word_address).named("in_memory");
    m.assert_always("ends_with_row", b.busy.eq(given.ne(total)));
    m.assert_always("within_memory", b.valid.eq(b.busy & within));
    m.assert_always("longest", !b.valid | end.is(BURST_BEATS.into()) | beats.eq(missing));
    let stalled = m.delay("stalled", b.valid & !b.ready);
    let offer = m.cat(&[b.burst_address, b.burst_beats]).named("offer");
    m.assert_always("output_holds", !stalled | (b.valid & offer.eq(m.delay("offered", offer))));
    m
}

/// The values of the block that a proof speaks of.
struct Parts<'m> {
    start: Net<'m>,
    address: Net<'m>,
    beats: Net<'m>,
    ready: Net<'m>,
    left: Net<'m>,
    busy: Net<'m>,
    valid: Net<'m>,
    burst_address: Net<'m>,
    burst_beats: Net<'m>,
}

fn describe(m: &Module, word_address: u32, row_bits: u32) -> Parts<'_> {
    let start = m.input("start", 1);
    let address = m.input("address", word_address);
    let beats = m.input("beats", row_bits);
    let ready = m.input("burst_ready", 1);

    // One bit more than an address, so that the end of memory shows.
    let at = m.reg("at", word_address + 1, 0);
    let left = m.reg("left", row_bits, 0);
    // Some word is left.
    let busy = m.reg("busy", 1, 0);
    let offers = (busy & !at.sign()).named("offers");

    // Words up to the next multiple of a burst: 1 to 16.
    let place = at.bits(0, BURST_BEATS.trailing_zeros());
    let room = (m.lit(BURST_BEATS.into(), BURST_BITS) - place.zext(BURST_BITS)).named("room");
    let few = !left.bits(BURST_BITS, row_bits - BURST_BITS).any();
    let last = (few & left.bits(0, BURST_BITS).le(room)).named("last");
    let length = last.mux(left.bits(0, BURST_BITS), room).named("length");

    m.when_else(
        start,
        || {
            at.set(address.zext(word_address + 1));
            left.set(beats);
            busy.set(beats.any());
        },
        || {
            m.when((offers & ready).named("taken"), || {
                at.set(at + length.zext(word_address + 1));
                left.set(left - length.zext(row_bits).named("words"));
                m.when(last, || busy.set_to(0));
            });
        },
    );
    m.output("idle", !busy);
    m.output("beyond", busy & at.sign());
    m.output("burst_valid", offers);
    let burst_address = at.bits(0, word_address).named("first_word");
    m.output("burst_address", burst_address);
    m.output("burst_beats", length);
    Parts { start, address, beats, ready, left, busy, valid: offers, burst_address, burst_beats: length }
}
