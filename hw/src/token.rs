//! Token counter: the dependence tokens between two units.
//!
//! ```text
//!  push --> +1 --+
//!                +--> count --> available = count != 0
//!  pop  --> -1 --+          `-> full      = count == 65,535
//!  flush -> 0
//! ```
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `push` | in | 1 | adds a token; without effect where `full` is set |
//! | `pop` | in | 1 | takes a token; without effect where `available` is not set |
//! | `flush` | in | 1 | takes every token, and stronger than both |
//! | `count` | out | 16 | tokens held |
//! | `available` | out | 1 | there is a token to pop |
//! | `full` | out | 1 | there is no room: whoever pushes must wait |
//!
//! Latency: a token can be popped in the cycle after its push. Throughput: one push and one pop a cycle. Every output is a
//! function of the register alone.

use tandem_rtl::Module;

/// Bits of the count.
pub const COUNT_BITS: u32 = 16;

/// A token counter; the module is called `token_counter`.
pub fn token_counter() -> Module {
    let m = Module::new("token_counter");
    let (push, pop, flush) = (m.input("push", 1), m.input("pop", 1), m.input("flush", 1));
    let tokens = m.reg("tokens", COUNT_BITS, 0);
    let some = tokens.any().named("some");
    let most = tokens.all().named("most");
    let more = (push & !most).named("more");
    let less = (pop & some).named("less");
    m.when(more & !less, || tokens.set(tokens.inc()));
    m.when(less & !more, || tokens.set(tokens.dec()));
    m.when(flush, || tokens.set_to(0));
    m.output("count", tokens);
    m.output("available", some);
    m.output("full", most);
    m
}
