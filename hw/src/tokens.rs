//! The four token queues between neighbouring units.
//!
//! ```text
//!  load --0--> compute --2--> store
//!       <--1--         <--3--
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `push_k`, `pop_k` | 1 | a token into queue k, out of it |
//! | `available_k`, `full_k` | 1 | there is one; there is no room for one |
//! | `left` | 1 | some queue holds a token |
//! | `push`, `pop`, `counts` | 4, 4, 64 | all of it side by side, for the probes |
//!
//! Tokens carry nothing but their number. One push and one pop a cycle; a token can be popped in the cycle after its push.

use tandem_rtl::{Module, Net};

use crate::token::{COUNT_BITS, counter};

/// The block.
pub fn tokens() -> Module {
    queues(COUNT_BITS)
}

/// The same with counts of so many bits.
pub(crate) fn queues(bits: u32) -> Module {
    let m = Module::new("tokens");
    let push: Vec<Net<'_>> = (0..4).map(|k| m.input(format!("push_{k}"), 1)).collect();
    let pop: Vec<Net<'_>> = (0..4).map(|k| m.input(format!("pop_{k}"), 1)).collect();
    let counter = counter(bits);
    let mut counts = Vec::new();
    let mut some = Vec::new();
    for k in 0..4 {
        let pins = [("push", push[k]), ("pop", pop[k]), ("flush", m.lit(0, 1))];
        let queue = m.instance(&format!("queue_{k}"), &counter, &pins);
        m.output(format!("available_{k}"), queue.get("available"));
        m.output(format!("full_{k}"), queue.get("full"));
        counts.push(queue.get("count"));
        some.push(queue.get("available"));
    }
    m.output("left", m.any_of(&some));
    m.output("push", m.cat(&push));
    m.output("pop", m.cat(&pop));
    m.output("counts", m.cat(&counts));
    m
}
