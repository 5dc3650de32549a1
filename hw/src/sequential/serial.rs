//! The tensor ALU of the sequential machine: one lane at a time, a multiplier bit at a time.
//!
//! ```text
//!            +--> V --(and, xor)--+
//!  ACC word -+                    + --> sum --> H (33 bits)      H is above L: 65 bits that shift right together
//!            +--> L <-- H        H                               a result is in the low 32 bits of H
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | an operation begins; its inputs stay until `done` |
//! | `requant`, `opcode`, `mode`, `saturate`, `use_imm`, `imm` | 1, 3, 2, 1, 1, 32 | as in the instruction |
//! | `dst`, `src` | index | its accumulators |
//! | `read`, `read_index`, `acc` | 1, index, element | ACC, which answers a cycle later and holds the word |
//! | `write`, `lane`, `result` | 1, log lanes, 32 | a lane of `acc[dst]` |
//! | `done` | 1 | the last lane is written in this cycle |
//!
//! Bit for bit as [`tandem_isa::semantics`], without the mode `float`. A lane takes 5 to 10 steps for an operation of ALU without a
//! multiplication or a shift, 41 for MUL, and some 55 and the shifts for REQUANT. A step is a cycle, or two of a faster clock where
//! the target asks for operand registers.
//!
//! The product of V and the multiplier in L: V is added to H where the lowest bit of L is set, and H and L shift right; the last
//! bit has a negative weight. Without the last shift H is the product over 2^31, which mode `double` asks for. `behind` is the
//! last bit that was shifted out of a quotient, `later` whether one before it was set; see `alu.rs` for the roundings.

use tandem_isa::{AluOpcode, RequantMode};
use tandem_rtl::{Module, Net};

use crate::size::Sizes;

/// The block.
pub(crate) fn serial(sizes: &Sizes) -> Module {
    let m = Module::new("serial_alu");
    let (log_acc, lanes) = (sizes.config.log_acc_depth(), sizes.lanes);
    let log_lanes = lanes.trailing_zeros();
    let start = m.input("start", 1);
    let (requant, opcode) = (m.input("requant", 1), m.input("opcode", 3));
    let (mode, saturate) = (m.input("mode", 2), m.input("saturate", 1));
    let (use_imm, imm) = (m.input("use_imm", 1), m.input("imm", 32));
    let (dst, src) = (m.input("dst", log_acc), m.input("src", log_acc));
    let acc = m.input("acc", lanes * 32);

    let step = m.fsm(
        "step",
        &[
            "idle", "post", "left", "judge", "up", "bias", "scale_by", "scale", "multiply", "once", "bound", "down",
            "low", "keep", "round", "offset", "lower", "compare", "decide", "take", "upper", "operand", "plain",
            "write",
        ],
    );
    // Where the target asks for it a step takes two cycles: in the first one it decides, and in the second one the registers of
    // the datapath take what was decided, by controls that are registers.
    let deciding = sizes.target.operand_registers.then(|| {
        let deciding = m.reg("deciding", 1, 0);
        deciding.set(!deciding);
        deciding
    });
    let at = |name: &str| {
        let here = step.at(name);
        deciding.map_or(here, |deciding| here & deciding).named(&format!("at_{name}"))
    };
    let idle = at("idle");
    // What the operation is, decoded once: from here on `requant` is of the one at work, `asks_requant` of the one to begin.
    let known = |name: &str, net: Net<'_>| {
        let held = m.data_reg(name, 1);
        m.when(idle, || held.set(net));
        held
    };
    let asks_requant = requant;
    let immediate = known("immediate", use_imm & !requant);
    let alu = |op: AluOpcode| known(&format!("is_{op}"), !asks_requant & opcode.is(op.code().into()));
    let [add, mul, mov] = [AluOpcode::Add, AluOpcode::Mul, AluOpcode::Mov].map(alu);
    let [min, max, clamp] = [AluOpcode::Min, AluOpcode::Max, AluOpcode::Clamp].map(alu);
    let [shr, rshr] = [AluOpcode::Shr, AluOpcode::Rshr].map(alu);
    let re = |name: &str, r: RequantMode| known(name, asks_requant & mode.is(r.code().into()));
    let (double, half_up) =
        (re("is_double", RequantMode::DoubleRounding), re("is_single", RequantMode::SingleRounding));
    let (requant, saturate) = (known("is_requant", requant), known("saturates", requant & saturate));
    let lane = m.reg("at_lane", log_lanes, 0);
    let (v, h, l) = (m.data_reg("v", 32), m.data_reg("h", 33), m.data_reg("l", 32));
    let count = m.data_reg("count", 6);
    let (lost, behind, later) = (m.data_reg("lost", 1), m.data_reg("behind", 1), m.data_reg("later", 1));
    // A quotient of more than 32 bits; the upper bound is compared; one more is added.
    let (big, second, more) = (m.data_reg("big", 1), m.data_reg("second", 1), m.data_reg("more", 1));

    // It was read in the step before, whose second cycle it had to come through a register.
    let stored = acc.pick(lane, 32);
    let stored = if deciding.is_some() { m.delay("stored", stored) } else { stored.named("stored") };
    // A control: what a step sets, and what the datapath sees of it.
    let control = |name: &str, width: u32| {
        let asked = m.var(name, m.lit(0, width));
        let seen = if deciding.is_some() { m.delay(format!("{name}_seen"), asked) } else { asked };
        Control { asked, seen }
    };
    let v_left = control("v_left", 1);
    let word = (immediate & !v_left.seen).mux(imm, stored).named("word");

    // The adder.
    let [masked, minus, carry] = ["masked", "minus", "carry"].map(|name| control(name, 1));
    let operand = ((v & (!masked.seen).repeat(32)).sext(33) ^ minus.seen.repeat(33)).named("adder_operand");
    let sum = (m.cat(&[m.lit(1, 1), h]) + m.cat(&[carry.seen, operand])).bits(1, 33).named("sum");
    let sign = h.sign().named("sign");

    // What the registers take. V: a word or a byte of one, the sum, twice itself, or L.
    let byte_number = control("byte_number", 2);
    let byte = m.choose(byte_number.seen, &[word.bits(0, 8), word.bits(8, 8), word.bits(16, 8)]).named("byte_of_word");
    let [v_word, v_byte, v_sum, v_twice, v_low] =
        ["v_word", "v_byte", "v_sum", "v_twice", "v_low"].map(|name| control(name, 1));
    let twice = m.cat(&[m.lit(0, 1), v.bits(0, 31)]);
    let loaded = v_byte.seen.mux(byte.sext(32), word).named("loaded");
    let of_v = m.cat(&[v_sum.seen | v_low.seen, v_twice.seen | v_low.seen]);
    let inner = m.choose(of_v, &[loaded, sum.bits(0, 32), twice, l]);
    m.when(m.any_of(&[v_word, v_byte, v_sum, v_twice, v_low].map(|c| c.seen)), || v.set(inner));
    // H: nothing, the sum, or half of it; then L takes the lowest bit. L: a word too.
    let [h_clear, h_sum, halve, l_word] = ["h_clear", "h_sum", "halve", "l_word"].map(|name| control(name, 1));
    m.when(h_sum.seen | halve.seen, || h.set(halve.seen.mux(sum.bits(1, 32).sext(33), sum)));
    m.when(h_clear.seen, || h.set_to(0));
    let shifted = m.cat(&[l.bits(1, 31), sum.bit(0)]);
    m.when(l_word.seen | halve.seen, || l.set(l_word.seen.mux(word, shifted)));
    // The counter: an amount, or one less.
    let [c_pre, c_up, c_bits, c_down, c_none, c_less] =
        ["c_pre", "c_up", "c_bits", "c_down", "c_none", "c_less"].map(|name| control(name, 1));

    // Amounts of shifts, as `alu.rs` has them.
    let back = word.sign().named("back");
    let near = (word.bits(5, 27).all() & word.bits(0, 5).any()).named("near");
    let magnitude = word.bits(0, 5).negate().named("magnitude");
    let over_31 = word.bits(5, 27).any().named("over_31");
    let up_to_31 = over_31.mux(m.lit(31, 5), word.bits(0, 5)).named("up_to_31");
    let over_62 = word.bits(6, 26).any() | word.bits(1, 5).all();
    let up_to_62 = back.mux(m.lit(0, 6), over_62.mux(m.lit(62, 6), word.bits(0, 6))).named("up_to_62");
    let down_31 = near.mux(magnitude, m.lit(31, 5)).named("down_31");
    let after_double = back.mux(down_31, m.lit(0, 5)).zext(6);
    let counting = count.any().named("counting");
    let up = back.mux(magnitude, up_to_31).zext(6);
    let amount = c_pre.seen.mux(word.bits(24, 5).zext(6), c_up.seen.mux(up, m.lit(31, 6)));
    let amount = c_down.seen.mux(double.mux(after_double, up_to_62), amount);
    m.when(m.any_of(&[c_pre, c_up, c_bits, c_down].map(|c| c.seen)), || count.set(amount));
    m.when(c_less.seen, || count.set(count.dec()));
    m.when(c_none.seen, || count.set_to(0));

    let which = m.var("which", m.lit(0, 2));
    let from_src = m.var("from_src", m.lit(0, 1));
    let read = m.var("reads", m.lit(0, 1));
    let parameter = |number: u128| {
        read.set_to(1);
        from_src.set_to(1);
        which.set_to(number);
    };
    let less = m.data_reg("less", 1);
    less.set(big.mux(sign, sum.sign()));
    let shifts_back = ((shr | rshr) & back).named("shifts_back");

    m.when(idle, || {
        h_clear.set_to(1);
        behind.set_to(0);
        later.set_to(0);
        big.set_to(0);
        second.set_to(0);
        more.set_to(0);
        lost.set_to(0);
        read.set(start);
        m.when(asks_requant, || parameter(3));
        m.when(start, || m.when_else(asks_requant, || step.go("post"), || step.go("left")));
    });
    m.when(at("post"), || {
        c_pre.set_to(1);
        lost.set(word.bits(29, 3).any());
        read.set_to(1);
        step.go("left");
    });
    m.when(at("left"), || {
        // The immediate does not show here.
        v_left.set_to(1);
        v_word.set_to(1);
        parameter(0);
        m.when_else(requant, || step.go("up"), || step.go("operand"));
    });
    m.when(at("operand"), || {
        // H becomes the left operand, V the right one; where V is to be shifted or multiplied it stays the left one.
        h_sum.set_to(1);
        v_word.set(!clamp & !mul & !shifts_back);
        v_byte.set(clamp);
        l_word.set_to(1);
        h_clear.set(mov | mul | shifts_back);
        c_up.set(shr | rshr);
        c_bits.set(mul);
        step.go("compare");
        m.when(add | mov, || step.go("plain"));
        m.when(mul, || step.go("multiply"));
        m.when(shr | rshr, || m.when_else(back, || step.go("judge"), || step.go("down")));
    });
    m.when(at("judge"), || {
        // By 32 and more everything is shifted out. L is the amount.
        lost.set(!(l.bits(5, 27).all() & l.bits(0, 5).any()));
        step.go("up");
    });
    m.when(at("up"), || {
        masked.set(lost);
        v_twice.set(counting);
        c_less.set_to(1);
        m.when(!counting, || {
            h_sum.set_to(1);
            m.when_else(requant, || step.go("bias"), || step.go("write"));
        });
    });
    m.when(at("bias"), || {
        v_word.set_to(1);
        parameter(2);
        step.go("scale_by");
    });
    m.when(at("scale_by"), || {
        v_sum.set_to(1);
        h_clear.set_to(1);
        c_up.set_to(1);
        c_none.set(!double | back);
        parameter(1);
        step.go("scale");
    });
    m.when(at("scale"), || {
        v_twice.set(counting);
        c_less.set(counting);
        m.when(!counting, || {
            l_word.set_to(1);
            c_bits.set_to(1);
            parameter(2);
            step.go("multiply");
        });
    });
    m.when(at("multiply"), || {
        // The last bit of the multiplier has a negative weight; its product is not shifted in mode `double`.
        masked.set(!l.bit(0));
        minus.set(!counting & l.bit(0));
        carry.set(!counting & l.bit(0));
        halve.set(counting | !double);
        h_sum.set_to(1);
        c_less.set(counting);
        m.when(!counting, || {
            c_down.set_to(1);
            c_none.set(!requant);
            behind.set(double & l.bit(31));
            m.when_else(double, || step.go("once"), || step.go("down"));
        });
    });
    m.when(at("once"), || {
        masked.set_to(1);
        carry.set(behind);
        h_sum.set_to(1);
        behind.set_to(0);
        step.go("bound");
    });
    m.when(at("bound"), || {
        // Only the square of -2^31 leaves 32 bits, and gives one less.
        masked.set_to(1);
        minus.set_to(1);
        h_sum.set(!h.bit(32) & h.bit(31));
        step.go("down");
    });
    // Products shift out of L, what is in H alone out of H.
    let wide = (mul | (requant & !double)).named("wide");
    m.when(at("down"), || {
        masked.set_to(1);
        halve.set(counting);
        c_less.set_to(1);
        m.when_else(
            counting,
            || {
                behind.set(wide.mux(l.bit(0), h.bit(0)));
                later.set(later | behind);
            },
            || {
                more.set(behind & !shr & (half_up | later | !sign));
                v_low.set_to(1);
                m.when_else(wide, || step.go("low"), || step.go("round"));
            },
        );
    });
    m.when(at("low"), || {
        // Only a saturating REQUANT asks whether the quotient has more bits than V; its sign stays in H.
        let beyond = (saturate & h.bits(0, 32).ne(v.sign().repeat(32))).named("beyond");
        big.set(beyond);
        step.go("keep");
    });
    m.when(at("keep"), || {
        h_clear.set(!big);
        step.go("round");
    });
    m.when(at("round"), || {
        masked.set(!wide | big);
        carry.set(more & !big);
        h_sum.set_to(1);
        parameter(3);
        m.when_else(saturate, || step.go("offset"), || step.go("write"));
    });
    m.when(at("offset"), || {
        v_byte.set_to(1);
        step.go("lower");
    });
    m.when(at("lower"), || {
        h_sum.set(!big);
        byte_number.set_to(1);
        v_byte.set_to(1);
        step.go("compare");
    });
    m.when(at("compare"), || {
        minus.set_to(1);
        carry.set_to(1);
        step.go("decide");
    });
    m.when(at("decide"), || {
        // At the upper bound, and for MIN, the operand is taken where H is not less.
        let takes = ((second | min) ^ less).named("takes");
        h_clear.set(takes);
        m.when_else(second | min | max, || step.go("write"), || step.go("upper"));
        m.when(takes, || step.go("take"));
    });
    m.when(at("take"), || {
        h_sum.set_to(1);
        big.set_to(0);
        m.when_else(second | min | max, || step.go("write"), || step.go("upper"));
    });
    m.when(at("upper"), || {
        byte_number.set(m.cat(&[!requant, requant]));
        v_byte.set_to(1);
        second.set_to(1);
        step.go("compare");
    });
    m.when(at("plain"), || {
        h_sum.set_to(1);
        step.go("write");
    });
    let last = lane.all().named("last_lane");
    m.when(at("write"), || {
        lane.set(lane.inc());
        step.go("idle");
    });

    m.output("read", read);
    m.output("read_index", from_src.mux(src, dst) + which.zext(log_acc));
    m.output("write", at("write"));
    m.output("lane", lane);
    m.output("result", h.bits(0, 32));
    m.output("done", at("write") & last);
    m
}

/// A control of the datapath.
#[derive(Clone, Copy)]
struct Control<'m> {
    /// What a step sets.
    asked: Net<'m>,
    /// What the datapath sees: the same, or a cycle later.
    seen: Net<'m>,
}

impl<'m> Control<'m> {
    fn set(self, net: Net<'m>) {
        self.asked.set(net);
    }

    fn set_to(self, value: u128) {
        self.asked.set_to(value);
    }
}
