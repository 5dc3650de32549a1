//! Arbiter: one of several requesters at a time, in turn.
//!
//! ```text
//!  request --+--> & after --> lowest --+ (if any)
//!            |                         +--> choice --+
//!            +--------------> lowest --+             +--> grant
//!                                 held, kept --------+
//!  accept --> after = requesters behind the one accepted;  held = granted and not accepted
//! ```
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `request` | in | N | requesters; a request stays until it is accepted |
//! | `accept` | in | 1 | takes what is granted in this cycle |
//! | `grant` | out | N | at most one requester; it stays until accepted |
//! | `granted` | out | 1 | whether there is one |
//!
//! Whoever requests is accepted after at most N - 1 others. Latency: a grant in the cycle of its request. Throughput: one
//! acceptance a cycle. `grant` depends on `request` within the cycle, and not on `accept`.

use tandem_rtl::{Module, Net, clog2};

/// An arbiter of N requesters; the module is called `arbiter_N`.
///
/// # Panics
/// With fewer than two requesters.
pub fn arbiter(requesters: u32) -> Module {
    let m = Module::new(format!("arbiter_{requesters}"));
    describe(&m, requesters);
    m
}

/// The same arbiter as `arbiter_proof`, with what is to be proven of it.
///
/// | property | |
/// |---|---|
/// | `one_grant` | at most one is granted |
/// | `only_requested` | nothing is granted that is not requested |
/// | `busy` | something is granted while something is requested |
/// | `grant_holds` | a grant stays until accepted |
/// | `no_starvation_I` | while I requests, at most N - 1 others are accepted |
/// | `after_is_upper`, `progress_I`, `kept_in_turn_I`, `idle_I` | what makes `no_starvation_I` inductive |
pub fn proof(requesters: u32) -> Module {
    let (m, n) = (Module::new("arbiter_proof"), requesters);
    let a = describe(&m, n);
    let accepted = (a.accept.repeat(n) & a.grant).named("accepted");
    let pending = m.delay("pending", a.request & !accepted);
    m.assume_always("requests_stay", !(pending & !a.request).any());

    m.assert_always("one_grant", !(a.grant & a.grant.dec()).any());
    m.assert_always("only_requested", !(a.grant & !a.request).any());
    m.assert_always("busy", !a.request.any() | a.grant.any());
    let unaccepted = m.delay("unaccepted", a.grant.any() & !a.accept);
    let granted_before = m.delay("granted_before", a.grant);
    m.assert_always("grant_holds", !unaccepted | a.grant.eq(granted_before));

    let behind = (!a.after).named("behind");
    m.assert_always("after_is_upper", !(behind & behind.inc()).any());
    let bits = clog2(n as usize) + 1;
    for i in 0..n {
        let others = m.reg(format!("others_{i}"), bits, 0);
        let waits = (a.request.bit(i) & !accepted.bit(i)).named(&format!("waits_{i}"));
        m.when_else(waits, || m.when(accepted.any(), || others.set(others.inc())), || others.set_to(0));
        // The requesters whose turn comes before that of I.
        let lower = m.lit((1 << i) - 1, n);
        let first = a.after.bit(i).mux(a.after & lower, a.after | lower).named(&format!("before_{i}"));
        let count = first.lanes(n).into_iter().fold(m.lit(0, bits), |sum, bit| sum + bit.zext(bits));
        let most = m.lit(u128::from(n) - 1, bits);
        let request = a.request.bit(i);
        m.assert_always(&format!("no_starvation_{i}"), !request | others.le(most));
        m.assert_always(&format!("progress_{i}"), !request | (others + count).le(most));
        let another = request & others.any() & a.held & !a.kept.bit(i);
        m.assert_always(&format!("kept_in_turn_{i}"), !another | !(a.kept & !first).any());
        m.assert_always(&format!("idle_{i}"), request | !others.any());
    }
    m
}

/// The values of an arbiter that a proof speaks of.
struct Parts<'m> {
    request: Net<'m>,
    accept: Net<'m>,
    grant: Net<'m>,
    after: Net<'m>,
    held: Net<'m>,
    kept: Net<'m>,
}

fn describe(m: &Module, requesters: u32) -> Parts<'_> {
    assert!(requesters > 1, "an arbiter of {requesters} requesters");
    let (request, accept) = (m.input("request", requesters), m.input("accept", 1));
    let after = m.reg("after", requesters, u128::MAX >> (128 - requesters));
    let (held, kept) = (m.reg("held", 1, 0), m.data_reg("kept", requesters));
    let upper = (request & after).named("upper");
    let choice = upper.any().mux(lowest(upper, "lowest_upper"), lowest(request, "lowest_of_all"));
    let grant = held.mux(kept, choice).named("chosen");
    let granted = grant.any().named("some");
    held.set(granted & !accept);
    m.when(granted, || {
        kept.set(grant);
        // Two's complement: the bits above the only one that is set.
        m.when(accept, || after.set(!(grant | grant.dec())));
    });
    m.output("grant", grant);
    m.output("granted", granted);
    Parts { request, accept, grant, after, held, kept }
}

/// The lowest bit that is set, alone.
fn lowest<'m>(bits: Net<'m>, name: &str) -> Net<'m> {
    (bits & bits.negate()).named(name)
}
