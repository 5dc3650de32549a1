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

use tandem_rtl::{Module, Net};

/// Bits of the count.
pub const COUNT_BITS: u32 = 16;

/// A token counter; the module is called `token_counter`.
pub fn token_counter() -> Module {
    counter(COUNT_BITS)
}

/// The same with so many bits.
pub(crate) fn counter(bits: u32) -> Module {
    let m = Module::new("token_counter");
    describe(&m, bits);
    m
}

/// A counter of so many bits as `token_proof`, with what is to be proven of it.
///
/// | property | |
/// |---|---|
/// | `conserved` | the count is the pushes that found room less the pops that found a token, since reset or flush |
/// | `available_right`, `full_right` | a pop is refused at no tokens alone, a push at the greatest count alone |
/// | `no_wrap` | the count changes by one at most, or to zero by a flush |
/// | `flush_empties` | after `flush` there is no token |
pub fn proof(bits: u32) -> Module {
    let m = Module::new("token_proof");
    let t = describe(&m, bits);
    let (pushed, popped) = (m.reg("pushed", 32, 0), m.reg("popped", 32, 0));
    m.when(t.push & !t.full, || pushed.set(pushed.inc()));
    m.when(t.pop & t.available, || popped.set(popped.inc()));
    m.when(t.flush, || {
        pushed.set_to(0);
        popped.set_to(0);
    });
    let held = (pushed - popped).named("held");
    m.assert_always("conserved", t.count.zext(32).eq(held));
    m.assert_always("available_right", t.available.eq(held.any()));
    m.assert_always("full_right", t.full.eq(held.is((1 << bits) - 1)));
    let (before, flushed) = (m.delay("count_before", t.count), m.delay("flushed", t.flush));
    let more = before.lt(t.count) & before.inc().eq(t.count);
    let less = t.count.lt(before) & t.count.inc().eq(before);
    m.assert_always("no_wrap", flushed | before.eq(t.count) | more | less);
    m.assert_always("flush_empties", !flushed | !t.count.any());
    m
}

/// The values of a counter that a proof speaks of.
struct Parts<'m> {
    push: Net<'m>,
    pop: Net<'m>,
    flush: Net<'m>,
    count: Net<'m>,
    available: Net<'m>,
    full: Net<'m>,
}

fn describe(m: &Module, bits: u32) -> Parts<'_> {
    let (push, pop, flush) = (m.input("push", 1), m.input("pop", 1), m.input("flush", 1));
    let tokens = m.reg("tokens", bits, 0);
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
    Parts { push, pop, flush, count: tokens, available: some, full: most }
}
