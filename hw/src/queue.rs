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
//! | [`MemoryStyle::Distributed`] | look-up tables, read at once | 2^log_depth | 1 cycle | a word a cycle |
//!
//! The block RAM never reads and writes one word in the same cycle: a read needs a word written in an earlier cycle, and at
//! equal addresses the storage is either empty (no read) or full (no write).

use tandem_rtl::{MemoryStyle, Module};

/// A queue of words of `width` bits.
///
/// # Panics
/// If `log_depth` is 0.
pub fn queue(name: &str, width: u32, log_depth: u32, style: MemoryStyle) -> Module {
    assert!(log_depth > 0, "queue {name}: a storage of one word");
    let m = Module::new(name);
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
        MemoryStyle::Distributed => {
            let some = stored.any().named("some");
            let data = storage.read_now("oldest_word", head.bits(0, log_depth));
            (some, data, stored, some & out_ready)
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
    m.output("level", level);
    m
}
