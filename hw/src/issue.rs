//! Begins and finishes instructions: the part that the load, the compute and the store unit share.
//!
//! ```text
//!  queue --> [ head ] -- tokens there? --> begin --> start --> ... work ... --> done --> room for tokens? --> finish
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `head_valid`, `head`, `head_ready` | 1, 160, 1 | the unit's instruction queue |
//! | `available_prev`, `available_next` | 1 | there is a token from that neighbour |
//! | `full_prev`, `full_next` | 1 | there is no room for a token to that neighbour |
//! | `halt` | 1 | begin nothing more |
//! | `done` | 1 | the work is done; looked at from the cycle of `start` on |
//! | `detail` | 3 | what the unit is doing, as `state` reports it while an instruction runs |
//! | `begins`, `finishes` | 1 | pulses |
//! | `start` | 1 | the first cycle in which `insn` holds the instruction |
//! | `insn`, `index` | 128, 32 | the instruction at hand |
//! | `pop_prev`, `pop_next`, `push_prev`, `push_next` | 1 | tokens taken with `begins` and given with `finish` |
//! | `state` | 3 | the codes of the probes |
//! | `blocked` | 1 | an instruction waits for a token |
//! | `idle` | 1 | no instruction at hand and none in the queue |
//!
//! An instruction takes two cycles more than its work.

use tandem_rtl::Module;

use crate::size::{INDEX_BITS, INSN_BITS};

/// The block; it is the same for all units.
pub fn issue() -> Module {
    let m = Module::new("issue");
    {
        let head_valid = m.input("head_valid", 1);
        let head = m.input("head", INSN_BITS + INDEX_BITS);
        let available_prev = m.input("available_prev", 1);
        let available_next = m.input("available_next", 1);
        let full_prev = m.input("full_prev", 1);
        let full_next = m.input("full_next", 1);
        let halt = m.input("halt", 1);
        let done = m.input("done", 1);
        let detail = m.input("detail", 3);

        let running = m.reg("running", 1, 0);
        let started = m.reg("started", 1, 0);
        let insn = m.data_reg("insn_now", INSN_BITS);
        let index = m.data_reg("index_now", INDEX_BITS);

        let pops = (head.bit(3), head.bit(4));
        let lacks_prev = (pops.0 & !available_prev).named("lacks_prev");
        let lacks_next = (pops.1 & !available_next).named("lacks_next");
        let waits = (head_valid & !running & !halt).named("waits");
        let begins = (waits & !lacks_prev & !lacks_next).named("goes");
        let pushes = (insn.bit(5), insn.bit(6));
        let no_room = ((pushes.0 & full_prev) | (pushes.1 & full_next)).named("no_room");
        let finishes = (running & done & !no_room).named("ends");
        started.set(begins);
        m.when(begins, || {
            running.set_to(1);
            insn.set(head.bits(0, INSN_BITS));
            index.set(head.bits(INSN_BITS, INDEX_BITS));
        });
        m.when(finishes, || running.set_to(0));

        let blocked = (head_valid & !running & (lacks_prev | lacks_next)).named("lacks_token");
        let code = |value| m.lit(value, 3);
        let working = done.mux(no_room.mux(code(7), code(1)), detail);
        let missing = lacks_prev.mux(code(2), lacks_next.mux(code(3), code(1)));
        m.output("head_ready", begins);
        m.output("begins", begins);
        m.output("finishes", finishes);
        m.output("start", started);
        m.output("insn", insn);
        m.output("index", running.mux(index, head.bits(INSN_BITS, INDEX_BITS)));
        m.output("pop_prev", begins & pops.0);
        m.output("pop_next", begins & pops.1);
        m.output("push_prev", finishes & pushes.0);
        m.output("push_next", finishes & pushes.1);
        m.output("state", running.mux(working, head_valid.mux(missing, code(0))));
        m.output("blocked", blocked);
        m.output("idle", !running & !head_valid);
    }
    m
}
