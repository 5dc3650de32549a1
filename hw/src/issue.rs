//! Begins and finishes instructions: the part that the load, the compute and the store unit share.
//!
//! ```text
//!  queue --> [ head ] -- tokens there? --> begin --> start --> ... work ... --> done --> room for tokens? --> finish
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `head_valid`, `head`, `head_ready` | 1, 128 + index, 1 | the unit's instruction queue |
//! | `available_prev`, `available_next` | 1 | there is a token from that neighbour |
//! | `full_prev`, `full_next` | 1 | there is no room for a token to that neighbour |
//! | `halt` | 1 | begin nothing more |
//! | `done` | 1 | the work is done; looked at from the cycle of `start` on |
//! | `detail` | 3 | what the unit is doing, as `state` reports it while an instruction runs |
//! | `begins`, `finishes` | 1 | pulses |
//! | `start` | 1 | the first cycle in which `insn` holds the instruction |
//! | `insn`, `index` | 128, index | the instruction at hand |
//! | `pop_prev`, `pop_next`, `push_prev`, `push_next` | 1 | tokens taken with `begins` and given with `finish` |
//! | `state` | 3 | the codes of the probes |
//! | `blocked` | 1 | an instruction waits for a token |
//! | `idle` | 1 | no instruction at hand and none in the queue |
//!
//! An instruction takes two cycles more than its work.

use tandem_rtl::{Module, Net, Outputs};

use crate::size::{INDEX_BITS, INSN_BITS, Sizes};
use crate::tokens::queues;

/// The block; it is the same for all units.
fn issue(index_bits: u32) -> Module {
    let m = Module::new("issue");
    describe(&m, index_bits);
    m
}

/// The block within a unit.
pub(crate) struct Issued<'m> {
    outputs: Outputs<'m>,
    neighbours: &'static [&'static str],
    /// Whether an instruction stands behind the one at hand, and which.
    pub next_valid: Net<'m>,
    pub next: Net<'m>,
    /// For the unit to assign: its work is done. 0 where it does not.
    pub done: Net<'m>,
    /// For the unit to assign: the code of what it is doing. Busy where it does not.
    pub detail: Net<'m>,
}

/// Puts the block into a unit with these neighbours of `prev` and `next`. Its inputs from the instruction queue and from the
/// token queues become inputs of the unit.
pub(crate) fn place<'m>(m: &'m Module, sizes: &Sizes, neighbours: &'static [&'static str]) -> Issued<'m> {
    let head_valid = m.input("head_valid", 1);
    let head = m.input("head", INSN_BITS + sizes.index);
    // A neighbour that is not there never holds anything up.
    let token = |what: &str, side: &'static str, absent: u128| {
        if neighbours.contains(&side) { m.input(format!("{what}_{side}"), 1) } else { m.lit(absent, 1) }
    };
    let (available_prev, available_next) = (token("available", "prev", 1), token("available", "next", 1));
    let (full_prev, full_next) = (token("full", "prev", 0), token("full", "next", 0));
    let halt = m.input("halt", 1);
    let (done, detail) = (m.var("done", m.lit(0, 1)), m.var("detail", m.lit(1, 3)));
    let outputs = m.instance(
        "issue",
        &issue(sizes.index),
        &[
            ("head_valid", head_valid),
            ("head", head),
            ("available_prev", available_prev),
            ("available_next", available_next),
            ("full_prev", full_prev),
            ("full_next", full_next),
            ("halt", halt),
            ("done", done),
            ("detail", detail),
        ],
    );
    Issued { outputs, neighbours, next_valid: head_valid, next: head, done, detail }
}

impl<'m> Issued<'m> {
    /// An output of the block.
    #[track_caller]
    pub fn get(&self, port: &str) -> Net<'m> {
        self.outputs.get(port)
    }

    /// Makes what queues, tokens, control and probes see of the block outputs of the unit.
    pub fn pass_on(&self, m: &'m Module) {
        for port in ["head_ready", "begins", "finishes", "state", "blocked", "idle"] {
            m.output(port, self.get(port));
        }
        m.output("index", self.get("index").resize(INDEX_BITS));
        for side in self.neighbours {
            for port in ["pop", "push"].map(|what| format!("{what}_{side}")) {
                m.output(port.as_str(), self.get(&port));
            }
        }
    }
}

/// The same block between the four token queues, whose counts have so many bits, as `issue_proof`, with what is to be proven
/// of it. The block is the compute unit's, which has both neighbours.
///
/// Taken for granted: of the neighbours, that they push with room and pop a token that is there, as it is proven here of this
/// side.
///
/// | property | |
/// |---|---|
/// | `begins_with_tokens` | an instruction begins only with the tokens that it asks for |
/// | `begins_alone` | an instruction begins only while none is at hand, and not while halted |
/// | `begins_what_is_there` | an instruction begins only from the head of the queue, and leaves it in this cycle |
/// | `pops_with_begin` | what the instruction asks for is popped in the cycle in which it begins, and nothing in any other |
/// | `finishes_once`, `never_both` | an instruction finishes once at most for each beginning, and in a later cycle |
/// | `finishes_when_done` | an instruction that is done finishes at once with room for its tokens, and only so |
/// | `pushes_with_finish` | the tokens that the instruction gives are pushed in the cycle in which it finishes, and none in any other |
/// | `pushes_with_room` | a token is pushed only where there is room |
/// | `insn_holds`, `starts_once` | the instruction stays at the output from `start`, the cycle after its beginning, on |
/// | `tokens_from_prev`, `tokens_to_prev`, `tokens_from_next`, `tokens_to_next` | a queue holds what was pushed less what was popped: no token is lost or made |
/// | `blocked_right` | `blocked` says that a token is missing |
/// | `at_hand_right` | what makes these inductive |
pub fn proof(bits: u32) -> Module {
    let m = Module::new("issue_proof");
    let u = describe(&m, INDEX_BITS);
    // Queues 0 and 1 are those from and to the unit before, 3 and 2 those from and to the unit behind.
    let [given_prev, taken_prev, taken_next, given_next] =
        ["given_prev", "taken_prev", "taken_next", "given_next"].map(|name| m.input(name, 1));
    let queues = m.instance(
        "queues",
        &queues(bits),
        &[
            ("push_0", given_prev),
            ("pop_0", u.pop_prev),
            ("push_1", u.push_prev),
            ("pop_1", taken_prev),
            ("push_2", u.push_next),
            ("pop_2", taken_next),
            ("push_3", given_next),
            ("pop_3", u.pop_next),
        ],
    );
    let there = [0, 1, 2, 3].map(|k| queues.get(&format!("available_{k}")));
    let full = [0, 1, 2, 3].map(|k| queues.get(&format!("full_{k}")));
    m.assume_always("wired_prev", u.available_prev.eq(there[0]) & u.full_prev.eq(full[1]));
    m.assume_always("wired_next", u.available_next.eq(there[3]) & u.full_next.eq(full[2]));
    m.assume_always("others_give_with_room", !(given_prev & full[0]) & !(given_next & full[3]));
    m.assume_always("others_take_what_is_there", !(taken_prev & !there[1]) & !(taken_next & !there[2]));

    // Variables of their own: what is said of the same expression as the block's would be true whatever the block does.
    let head = m.var("head_seen", u.head);
    let (begins, finishes) = (m.var("begins_seen", u.begins), m.var("finishes_seen", u.finishes));

    // The instruction as it was in the queue, and whether one is at hand.
    let at_hand = m.reg("at_hand", 1, 0);
    let whole = m.data_reg("whole", INSN_BITS + INDEX_BITS);
    m.when(finishes, || at_hand.set_to(0));
    m.when(begins, || {
        at_hand.set_to(1);
        whole.set(head);
    });
    let asks = (head.bit(3), head.bit(4));
    let gives = (whole.bit(5), whole.bit(6));
    let have = (!asks.0 | there[0]) & (!asks.1 | there[3]);
    m.assert_always("at_hand_right", u.running.eq(at_hand));
    m.assert_always("begins_with_tokens", !begins | have);
    m.assert_always("begins_alone", !begins | !(at_hand | u.halt));
    let taken = u.head_valid & u.head_ready;
    m.assert_always("begins_what_is_there", begins.eq(taken) & (!u.head_ready | u.head_valid));
    let right = u.pop_prev.eq(begins & asks.0) & u.pop_next.eq(begins & asks.1);
    m.assert_always("pops_with_begin", right);
    m.assert_always("finishes_once", !finishes | at_hand);
    m.assert_always("never_both", !(begins & finishes));
    let room = (!gives.0 | !full[1]) & (!gives.1 | !full[2]);
    m.assert_always("finishes_when_done", finishes.eq(at_hand & u.done & room));
    let right = u.push_prev.eq(finishes & gives.0) & u.push_next.eq(finishes & gives.1);
    m.assert_always("pushes_with_finish", right);
    m.assert_always("pushes_with_room", !(u.push_prev & full[1]) & !(u.push_next & full[2]));
    m.assert_always("insn_holds", !at_hand | m.cat(&[u.insn, u.index]).eq(whole));
    m.assert_always("starts_once", u.start.eq(m.delay("began", begins)));
    m.assert_always("blocked_right", !u.blocked | (u.head_valid & !at_hand & !have));

    let counts = queues.get("counts").lanes(4);
    let conserved = |name: &str, count: Net<'_>, more: Net<'_>, less: Net<'_>| {
        let wide = bits + 1;
        let (pushed, popped) = (m.reg(format!("{name}_pushed"), wide, 0), m.reg(format!("{name}_popped"), wide, 0));
        m.when(more, || pushed.set(pushed.inc()));
        m.when(less, || popped.set(popped.inc()));
        m.assert_always(name, count.zext(wide).eq(pushed - popped));
    };
    // By what the instructions say, not by what the outputs do.
    conserved("tokens_from_prev", counts[0], given_prev, begins & asks.0);
    conserved("tokens_to_prev", counts[1], finishes & gives.0, taken_prev);
    conserved("tokens_to_next", counts[2], finishes & gives.1, taken_next);
    conserved("tokens_from_next", counts[3], given_next, begins & asks.1);
    m
}

/// The values of the block that a proof speaks of.
struct Parts<'m> {
    head_valid: Net<'m>,
    head: Net<'m>,
    head_ready: Net<'m>,
    available_prev: Net<'m>,
    available_next: Net<'m>,
    full_prev: Net<'m>,
    full_next: Net<'m>,
    halt: Net<'m>,
    done: Net<'m>,
    running: Net<'m>,
    begins: Net<'m>,
    finishes: Net<'m>,
    start: Net<'m>,
    insn: Net<'m>,
    index: Net<'m>,
    pop_prev: Net<'m>,
    pop_next: Net<'m>,
    push_prev: Net<'m>,
    push_next: Net<'m>,
    blocked: Net<'m>,
}

fn describe(m: &Module, index_bits: u32) -> Parts<'_> {
    let head_valid = m.input("head_valid", 1);
    let head = m.input("head", INSN_BITS + index_bits);
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
    let index = m.data_reg("index_now", index_bits);

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
        index.set(head.bits(INSN_BITS, index_bits));
    });
    m.when(finishes, || running.set_to(0));

    let blocked = (head_valid & !running & (lacks_prev | lacks_next)).named("lacks_token");
    let code = |value| m.lit(value, 3);
    let working = done.mux(no_room.mux(code(7), code(1)), detail);
    let missing = lacks_prev.mux(code(2), lacks_next.mux(code(3), code(1)));
    let (pop_prev, pop_next) = (begins & pops.0, begins & pops.1);
    let (push_prev, push_next) = (finishes & pushes.0, finishes & pushes.1);
    let index_now = running.mux(index, head.bits(INSN_BITS, index_bits));
    m.output("head_ready", begins);
    m.output("begins", begins);
    m.output("finishes", finishes);
    m.output("start", started);
    m.output("insn", insn);
    m.output("index", index_now);
    m.output("pop_prev", pop_prev);
    m.output("pop_next", pop_next);
    m.output("push_prev", push_prev);
    m.output("push_next", push_next);
    m.output("state", running.mux(working, head_valid.mux(missing, code(0))));
    m.output("blocked", blocked);
    m.output("idle", !running & !head_valid);
    Parts {
        head_valid,
        head,
        head_ready: begins,
        available_prev,
        available_next,
        full_prev,
        full_next,
        halt,
        done,
        running,
        begins,
        finishes,
        start: started,
        insn,
        index: index_now,
        pop_prev,
        pop_next,
        push_prev,
        push_next,
        blocked,
    }
}
