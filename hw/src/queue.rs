//! Queue: a ready/valid FIFO over block RAM or look-up tables.
//!
//! ```text
//!              +---------------- storage, 2^log_depth words ----------------+
//!  in_valid -->| write at `tail`                                            |
//!  in_data  -->|                               read at `head` ---- Block: --+--> output register --> out_data
//!  in_ready <--| tail - head < 2^log_depth                      Distributed: at once ------------->
//!              +------------------------------------------------------------+
//!  flush ----> head = tail = 0, output register empty
//! ```
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `in_valid`, `in_data` | in | 1, width | a word offered; taken where `in_ready` is set too |
//! | `in_ready` | out | 1 | the storage has room |
//! | `out_valid`, `out_data` | out | 1, width | the oldest word; both hold until taken |
//! | `out_ready` | in | 1 | takes the word where `out_valid` is set too |
//! | `level` | out | log_depth + 1 | words held, those in the output register included |
//! | `flush` | in | 1 | empties the queue with the next clock; a word offered in this cycle is lost |
//!
//! Every output is a function of registers alone: no path leads from `in_valid` to `out_valid` or from `out_ready` to
//! `in_ready` within a cycle.
//!
//! | style | storage | capacity | latency | throughput |
//! |---|---|---|---|---|
//! | [`MemoryStyle::Block`] | block RAM, whose read register is the output register | 2^log_depth + 1 | 2 cycles | a word a cycle |
//! | [`MemoryStyle::Distributed`], [`MemoryStyle::Registers`] | look-up tables or registers, read at once | 2^log_depth | 1 cycle | a word a cycle |
//!
//! The block RAM never reads and writes one word in the same cycle: a read needs a word written in an earlier cycle, and at
//! equal addresses the storage is either empty (no read) or full (no write).

use tandem_rtl::{Memory, MemoryStyle, Module, Net};

/// A queue of words of `width` bits.
///
/// # Panics
/// If `log_depth` is 0.
pub fn queue(name: &str, width: u32, log_depth: u32, style: MemoryStyle) -> Module {
    let m = Module::new(name);
    describe(&m, width, log_depth, style);
    m
}

/// The same queue as `queue_proof`, with what is to be proven of it.
///
/// An additional input, `watch`, chooses any word that enters, and only one at a time; the proof follows it to the exit, so
/// that what holds for it holds for every word.
///
/// | property | |
/// |---|---|
/// | `no_overflow`, `no_underflow` | never more words than the capacity, and no word offered where there is none |
/// | `accepts`, `delivers` | room is offered while there is some, and a word arrives at the exit in the next cycle |
/// | `order` | a word leaves exactly after those that came before it, unchanged |
/// | `level_counts` | `level` is what entered less what left |
/// | `output_holds` | a word offered stays, unchanged, until taken |
/// | `flush_empties` | after `flush` there is nothing |
/// | `watched_is_inside`, `watched_is_kept` | where the watched word lies: what makes `order` inductive |
pub fn proof(width: u32, log_depth: u32, style: MemoryStyle) -> Module {
    let m = Module::new("queue_proof");
    let q = describe(&m, width, log_depth, style);
    let bits = log_depth + 1;
    // What the handshakes at the ports say, whatever the queue makes of it.
    let (enters, leaves) = ((q.in_valid & q.in_ready).named("enters"), (q.out_valid & q.out_ready).named("leaves"));
    let depth = 1u128 << log_depth;
    let capacity = m.lit(depth + u128::from(q.fetches), bits);
    // Counted here and not by the queue, so that a bug of its count shows.
    let entered = m.reg("entered", bits, 0);
    m.when(enters & !leaves, || entered.set(entered.inc()));
    m.when(leaves & !enters, || entered.set(entered.dec()));
    m.when(q.flush, || entered.set_to(0));
    let some = entered.any().named("holds_some");
    m.assert_always("no_overflow", q.level.le(capacity) & q.stored.le(m.lit(depth, bits)));
    m.assert_always("no_underflow", some | !q.out_valid);
    m.assert_always("accepts", !q.level.lt(m.lit(depth, bits)) | q.in_ready);
    let waits = m.delay("waits", some & !leaves & !q.flush);
    m.assert_always("delivers", !waits | q.out_valid);

    m.assert_always("level_counts", q.level.eq(entered));

    let stalled = m.delay("stalled", q.out_valid & !q.out_ready & !q.flush);
    let offered = m.delay("offered", q.out_data);
    m.assert_always("output_holds", !stalled | (q.out_valid & q.out_data.eq(offered)));
    let flushed = m.delay("flushed", q.flush);
    m.assert_always("flush_empties", !flushed | !(some | q.out_valid));

    let watch = m.input("watch", 1);
    let (watching, ahead) = (m.reg("watching", 1, 0), m.reg("ahead", bits, 0));
    let watched = m.data_reg("watched", width);
    m.when_else(
        watching,
        || {
            m.when(leaves, || {
                ahead.set(ahead.dec());
                m.when(!ahead.any(), || watching.set_to(0));
            });
        },
        || {
            m.when(enters & watch, || {
                watching.set_to(1);
                watched.set(q.in_data);
                ahead.set(q.level - leaves.zext(bits));
            });
        },
    );
    m.when(q.flush, || watching.set_to(0));
    let at_exit = (watching & q.out_valid & !ahead.any()).named("at_exit");
    m.assert_always("order", !at_exit | q.out_data.eq(watched));
    m.assert_always("watched_is_inside", !watching | ahead.lt(q.level));
    m.assert_always(
        "watched_is_kept",
        !watching | (at_exit & m.lit(q.fetches.into(), 1)) | q.word_ahead(ahead).eq(watched),
    );
    m
}

/// The values of a queue that a proof speaks of.
struct Parts<'m> {
    in_valid: Net<'m>,
    in_data: Net<'m>,
    in_ready: Net<'m>,
    out_valid: Net<'m>,
    out_data: Net<'m>,
    out_ready: Net<'m>,
    flush: Net<'m>,
    stored: Net<'m>,
    level: Net<'m>,
    head: Net<'m>,
    storage: Memory<'m>,
    fetches: bool,
}

impl<'m> Parts<'m> {
    /// The word in the storage that has so many words ahead of it.
    fn word_ahead(&self, ahead: Net<'m>) -> Net<'m> {
        // The output register holds a word that the storage has given away.
        let place = self.head + ahead;
        let place = if self.fetches { place - self.out_valid.zext(place.width()) } else { place };
        self.storage.read_now("word_ahead", place.bits(0, place.width() - 1))
    }
}

fn describe(m: &Module, width: u32, log_depth: u32, style: MemoryStyle) -> Parts<'_> {
    assert!(log_depth > 0, "queue {}: a storage of one word", m.name());
    let (in_valid, in_data) = (m.input("in_valid", 1), m.input("in_data", width));
    let (out_ready, flush) = (m.input("out_ready", 1), m.input("flush", 1));

    let (head, tail) = (m.reg("head", log_depth + 1, 0), m.reg("tail", log_depth + 1, 0));
    let stored = (tail - head).named("stored");
    let in_ready = (!stored.bit(log_depth)).named("room");
    let push = (in_valid & in_ready).named("push");
    let storage = m.memory("storage", log_depth, width, style);
    storage.write(push, tail.bits(0, log_depth), in_data);

    let (out_valid, out_data, level, fetch) = match style {
        MemoryStyle::Block => {
            let full = m.reg("output_full", 1, 0);
            let fetch = (stored.any() & (!full | out_ready)).named("fetch");
            let data = storage.read("output_word", fetch, head.bits(0, log_depth));
            full.set(fetch | (full & !out_ready));
            m.when(flush, || full.set_to(0));
            (full, data, stored + full.zext(log_depth + 1), fetch)
        }
        MemoryStyle::Distributed | MemoryStyle::Registers => {
            let some = stored.any().named("some");
            let data = storage.read_now("oldest_word", head.bits(0, log_depth));
            let fetch = (some & out_ready).named("fetch");
            (some, data, stored, fetch)
        }
    };
    m.when(push, || tail.set(tail.inc()));
    m.when(fetch, || head.set(head.inc()));
    m.when(flush, || {
        head.set_to(0);
        tail.set_to(0);
    });
    m.output("in_ready", in_ready);
    m.output("out_valid", out_valid);
    m.output("out_data", out_data);
    let level = level.named("words");
    m.output("level", level);
    let fetches = style == MemoryStyle::Block;
    Parts { in_valid, in_data, in_ready, out_valid, out_data, out_ready, flush, stored, level, head, storage, fetches }
}
