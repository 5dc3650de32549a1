//! What the tensor ALU works on: the operands of a micro-op, and the parameters of REQUANT at hand.
//!
//! ```text
//!  ACC left or INP vector, ACC right, immediate --+--> part of this turn --> [ left_now, right_now ]
//!  ACC right --> [ bias, multiplier, shift, post ] +-> part of this turn --> [ bias, multiplier, shift, post ]
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `fire` | 1 | a micro-op reads its operands, which are there in the next cycle |
//! | `use_imm`, `imm` | 1, 32 | the operand is this immediate |
//! | `left`, `right` | lanes * 32 | what ACC has read |
//! | `from_inp`, `vector` | 1, taps * lanes * 8 | the left operand is the first of these input vectors |
//! | `sum`, `sum_value` | 1, lanes * 32 | a sum of the GEMM array is the left operand, which is there in the next cycle |
//! | `capture`, `which` | 1, 2 | `right` is a parameter vector: bias, multiplier, shift, post |
//! | `valid` | 1 | the tensor ALU is to take the outputs below |
//! | `left_now`, `right_now` | alu_lanes * 32 | the operands |
//! | `bias`, `multiplier`, `shift`, `post` | alu_lanes * 32 | the parameters |
//!
//! A tensor ALU with a lane for each lane of the vector has everything at once: latency one cycle from `fire`. One with fewer
//! lanes gets a part in each turn, in order: latency two cycles, a micro-op every so many cycles as there are turns, and as
//! many cycles from one `capture` to the next, because the parameters lie in small memories, a turn's in a word.

use tandem_rtl::{Module, Net};

use crate::size::Sizes;

/// The parameters, in the order of their accumulators.
const PARAMETERS: [&str; 4] = ["bias", "multiplier", "shift", "post"];

/// Cycles from `fire` to the first `valid`.
pub(crate) fn latency(sizes: &Sizes) -> u32 {
    if sizes.turns == 1 { 1 } else { 2 }
}

/// The block.
pub(crate) fn operand(sizes: &Sizes) -> Module {
    let m = Module::new("operand");
    let (bits, turns) = (sizes.lanes * 32, sizes.turns);
    let fire = m.input("fire", 1);
    let use_imm = m.input("use_imm", 1);
    let imm = m.input("imm", 32);
    let left = m.input("left", bits);
    let right = m.input("right", bits);
    let from_inp = m.input("from_inp", 1);
    let taps = sizes.config.lane_taps() as u32;
    let bytes = m.input("vector", taps * sizes.lanes * 8).bits(0, sizes.lanes * 8).lanes(sizes.lanes);
    let vector = m.cat(&bytes.into_iter().map(|byte| byte.sext(32)).collect::<Vec<_>>()).named("extended");
    let left = from_inp.mux(vector, left).named("value");
    let (sum, sum_value) = (m.input("sum", 1), m.input("sum_value", bits));
    let capture = m.input("capture", 1);
    let which = m.input("which", 2);
    if turns == 1 {
        if sizes.config.has_fused_requant() {
            m.output("valid", m.delay("fired", fire | sum));
            m.output("left_now", m.delay("summed", sum).mux(sum_value, left));
        } else {
            m.output("valid", m.delay("fired", fire));
            m.output("left_now", left);
        }
        m.output("right_now", use_imm.mux(imm.repeat(sizes.lanes), right));
        for (at, name) in PARAMETERS.into_iter().enumerate() {
            let held = m.data_reg(format!("{name}_held"), bits);
            m.when(capture & which.is(at as u128), || held.set(right));
            m.output(name, held);
        }
        return m;
    }

    let (log, part) = (turns.trailing_zeros(), bits / turns);
    // What happens in so many cycles: the number of the cycle, and whether it happens at all.
    let walk = |name: &str, begins: Net<'_>, first: u128| {
        let (active, turn) = (m.reg(format!("{name}s"), 1, 0), m.data_reg(format!("{name}_turn"), log));
        m.when(active, || {
            turn.set(turn.inc());
            m.when(turn.all(), || active.set_to(0));
        });
        m.when(begins, || {
            active.set_to(1);
            turn.set_to(first);
        });
        (active, turn)
    };
    let (reads, turn) = walk("read", fire, 0);
    let now = |name: &str, value: Net<'_>| {
        let held = m.data_reg(format!("{name}_part"), part);
        m.when(reads, || held.set(value));
        m.output(name, held);
    };
    m.output("valid", m.delay("valid_part", reads));
    now("left_now", left.pick(turn, part));
    now("right_now", use_imm.mux(imm.repeat(part / 32), right.pick(turn, part)));

    // The word stands at `right` from the cycle of `capture` on.
    let (writes, later) = walk("write", capture, 1);
    let last = m.data_reg("which_last", 2);
    m.when(capture, || last.set(which));
    let (writing, at_now) = ((capture | writes).named("writing"), capture.mux(which, last));
    let place = capture.mux(m.lit(0, log), later).named("place");
    // Written a cycle later, which is still before it is read.
    let writes_now = m.delay("writes_now", writing);
    let (word, which_now) = (m.data_reg("word_now", part), m.data_reg("which_now", 2));
    let place_now = m.data_reg("place_now", log);
    m.when(writing, || {
        word.set(right.pick(place, part));
        which_now.set(at_now);
        place_now.set(place);
    });
    for (at, name) in PARAMETERS.into_iter().enumerate() {
        let memory = m.memory(&format!("{name}_store"), log, part, sizes.small());
        memory.write(writes_now & which_now.is(at as u128), place_now, word);
        now(name, memory.read_now(&format!("{name}_word"), turn));
    }
    m
}
