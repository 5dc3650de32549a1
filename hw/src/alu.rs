//! Tensor ALU: the lanes that ALU and REQUANT instructions pass through, bit for bit as [`tandem_isa::semantics`].
//!
//! Every operation takes the same road; what differs is what each station is told. ALU operations multiply by 1, shift by 0 or
//! by their operand, and leave as they are; CLAMP shares REQUANT's bounds.
//!
//! ```text
//! level         0 left  right  bias  multiplier  shift  post
//!   1 decode      | amounts of the shifts, the factor (multiplier, operand or 1), zero point, bounds
//!   2 shift       | left << pre_shift (or by a negative operand);  MIN, MAX, ADD, MOV
//!   3 bias        | + bias
//!   4 magnitude   | float: |v| and its leading zeros
//!   5 scale       | << shift (double), << leading zeros (float);  float: signed mantissa of the multiplier, distance
//!   6 factors     | float: |v| rounded to 24 bits, half to even
//!   7 product     | 32 x 32 -> 64, signed: one multiplier, registers before it and two after it
//!   8 product     |
//!   9 round once  | double: high word of the doubled product;  float: product to 24 bits, half to even
//!  10 shift right | 64 bits by 0 to 63, with the bit behind the point and whether anything follows it
//!  11 round       | + rounding + zero point
//!  12 compare     | float: within 32 bits?  saturate: below lo, above hi?
//!  13 bound       | float: to 32 bits;  saturate: max(lo), min(hi)
//!                 v result
//! ```
//!
//! Ports of `tensor_alu`, N lanes, lane 0 least significant:
//!
//! | port | | width | |
//! |---|---|---|---|
//! | `valid` | in | 1 | the other inputs hold an operation |
//! | `requant` | in | 1 | REQUANT, else ALU |
//! | `opcode` | in | 3 | code of [`tandem_isa::AluOpcode`] |
//! | `mode`, `saturate` | in | 2, 1 | of REQUANT; the mode is a code of [`tandem_isa::RequantMode`] |
//! | `left` | in | 32 N | `acc[d]` |
//! | `right` | in | 32 N | ALU: immediate or `acc[s]` |
//! | `bias`, `multiplier`, `shift`, `post` | in | 32 N each | REQUANT: `acc[s]` to `acc[s + 3]` |
//! | `result_valid`, `result` | out | 1, 32 N | the new `acc[d]` |
//!
//! Latency: [`ALU_LATENCY`] cycles. Throughput: a vector a cycle, without stalls. A level's registers move only where the level
//! before holds an operation; reset clears the valid bits alone.
//!
//! Why the roundings can be shared: with q the floor of a quotient, r the first bit behind the point and s whether a later bit
//! is set, half up is q + r, half away from zero q + (r and (s or q >= 0)), half to even q + (r and (s or q odd)), for both signs.
//! The high multiply of `double`, whose nudge follows the sign and whose division truncates, is half up for both signs too.

use tandem_isa::{AluOpcode, RequantMode};
use tandem_rtl::{Module, Net};

/// Cycles from `valid` to `result_valid`.
pub const ALU_LATENCY: u32 = 13;

/// The greatest word.
const HIGHEST: u128 = 0x7fff_ffff;

/// What a lane is told: the name of a flag, and the levels at which the lane looks at it.
const FLAGS: &[(&str, &[u32])] = &[
    ("requant", &[0]),
    ("shifts", &[0, 1]),
    ("multiplies", &[0]),
    ("clamps", &[0]),
    ("scales", &[1]),
    ("add", &[1]),
    ("min", &[1]),
    ("max", &[1]),
    ("mov", &[1]),
    ("double", &[1, 8]),
    ("float", &[3, 4, 5, 8, 12]),
    ("nearest", &[10]),
    ("away", &[10]),
    ("even", &[10]),
    ("bounds", &[0, 12]),
];

/// The flags of [`FLAGS`] that mode `float` alone needs.
const FLOAT_FLAGS: [&str; 2] = ["float", "even"];

/// The words of a lane.
const WORDS: [&str; 6] = ["left", "right", "bias", "multiplier", "shift", "post"];

/// Registers in levels, each level gated by a bit of `enable`.
struct Pipe<'m> {
    module: &'m Module,
    enable: Net<'m>,
    levels: Vec<Vec<Load<'m>>>,
}

/// What a register takes: a value, or another one under a condition.
struct Load<'m> {
    reg: Net<'m>,
    value: Net<'m>,
    instead: Option<(Net<'m>, Net<'m>)>,
}

impl<'m> Pipe<'m> {
    fn new(module: &'m Module, enable: Net<'m>) -> Pipe<'m> {
        Pipe { module, enable, levels: (0..=ALU_LATENCY).map(|_| Vec::new()).collect() }
    }

    /// The value in a register of this level.
    fn reg(&mut self, level: u32, name: &str, value: Net<'m>) -> Net<'m> {
        self.load(level, name, value, None)
    }

    /// The one value where the condition holds, the other elsewhere. It is a register behind a choice, written so that what only
    /// the one value needs is evaluated under the condition alone.
    fn choose(&mut self, level: u32, name: &str, condition: Net<'m>, yes: Net<'m>, no: Net<'m>) -> Net<'m> {
        self.load(level, name, no, Some((condition, yes)))
    }

    fn load(&mut self, level: u32, name: &str, value: Net<'m>, instead: Option<(Net<'m>, Net<'m>)>) -> Net<'m> {
        let reg = self.module.data_reg(format!("{name}_at_{level}"), value.width());
        self.levels[level as usize].push(Load { reg, value, instead });
        reg
    }

    /// The value, present at level `from`, in registers up to level `to`.
    fn carry(&mut self, from: u32, to: u32, name: &str, value: Net<'m>) -> Net<'m> {
        (from + 1..=to).fold(value, |value, level| self.reg(level, name, value))
    }

    fn finish(self) {
        for (level, regs) in self.levels.iter().enumerate().skip(1) {
            self.module.when(self.enable.bit(level as u32 - 1), || {
                for Load { reg, value, instead } in regs {
                    reg.set(*value);
                    if let Some((condition, value)) = instead {
                        self.module.when(*condition, || reg.set(*value));
                    }
                }
            });
        }
    }
}

/// N lanes with their control; without `float` the mode of this name gives an undefined word.
///
/// # Panics
/// If `lanes` is 0.
pub fn array(lanes: u32, has_float: bool) -> Module {
    let m = Module::new("tensor_alu");
    let valid = m.input("valid", 1);
    let (requant, opcode) = (m.input("requant", 1), m.input("opcode", 3));
    let (mode, saturate) = (m.input("mode", 2), m.input("saturate", 1));
    let words = WORDS.map(|name| (name, m.input(name, 32 * lanes).lanes(lanes)));

    let mut valids = vec![valid];
    for level in 1..=ALU_LATENCY {
        valids.push(m.delay(format!("valid_at_{level}"), valids[level as usize - 1]));
    }
    let enable = m.cat(&valids[..ALU_LATENCY as usize]).named("enable");
    let mut pipe = Pipe::new(&m, enable);
    let alu = |op: AluOpcode| !requant & opcode.is(op.code().into());
    let re = |r: RequantMode| requant & mode.is(r.code().into());
    let (double, float) = (re(RequantMode::DoubleRounding), re(RequantMode::Float));
    let half_away = re(RequantMode::HalfAway);
    let rshr = alu(AluOpcode::Rshr);
    let value = |flag: &str| match flag {
        "requant" => requant,
        "shifts" => rshr | alu(AluOpcode::Shr),
        "multiplies" => alu(AluOpcode::Mul),
        "clamps" => alu(AluOpcode::Clamp),
        "scales" => half_away | re(RequantMode::SingleRounding),
        "add" => alu(AluOpcode::Add),
        "min" => alu(AluOpcode::Min),
        "max" => alu(AluOpcode::Max),
        "mov" => alu(AluOpcode::Mov),
        "double" => double,
        "float" | "even" => float,
        "nearest" => requant | rshr,
        "away" => double | half_away | rshr,
        "bounds" => (requant & saturate) | alu(AluOpcode::Clamp),
        _ => unreachable!("a flag of the table"),
    };
    let mut flags: Vec<(String, Net<'_>)> = Vec::new();
    for (flag, levels) in FLAGS.iter().filter(|(flag, _)| has_float || !FLOAT_FLAGS.contains(flag)) {
        let (mut at, mut net) = (0, value(flag));
        for level in *levels {
            net = pipe.carry(at, *level, flag, net);
            at = *level;
            flags.push((format!("{flag}_{level}"), net));
        }
    }
    pipe.finish();

    let child = lane(has_float);
    let results: Vec<Net<'_>> = (0..lanes as usize)
        .map(|lane| {
            let mut pins: Vec<(&str, Net<'_>)> = vec![("enable", enable)];
            pins.extend(flags.iter().map(|(name, net)| (name.as_str(), *net)));
            pins.extend(words.iter().map(|(name, nets)| (*name, nets[lane])));
            m.instance(&format!("lane_{lane}"), &child, &pins).get("result")
        })
        .collect();
    m.output("result_valid", valids[ALU_LATENCY as usize]);
    m.output("result", m.cat(&results));
    m
}

/// One lane. Beside the words it has `enable`, a bit for each level of registers, and the flags with the level they are of.
pub fn lane(has_float: bool) -> Module {
    let m = Module::new("alu_lane");
    describe(&m, has_float);
    m
}

fn describe<'m>(m: &'m Module, has_float: bool) {
    let enable = m.input("enable", ALU_LATENCY);
    let mut flags: Vec<(String, Net<'_>)> = Vec::new();
    for (flag, levels) in FLAGS.iter().filter(|(flag, _)| has_float || !FLOAT_FLAGS.contains(flag)) {
        for level in *levels {
            let name = format!("{flag}_{level}");
            flags.push((name.clone(), m.input(name, 1)));
        }
    }
    let flag = |name: &str, level: u32| {
        let name = format!("{name}_{level}");
        flags.iter().find(|(flag, _)| *flag == name).map(|(_, net)| *net).expect("a flag of the table")
    };
    let [left, right, bias, multiplier, shift, post] = WORDS.map(|name| m.input(name, 32));
    let mut p = Pipe::new(m, enable);
    let zero = m.lit(0, 32);
    let (low, high) = (m.lit(0x8000_0000, 32), m.lit(HIGHEST, 32));

    // Level 1: what the words ask for.
    let (requant, shifts) = (flag("requant", 0), flag("shifts", 0));
    let amount = requant.mux(shift, right).named("amount");
    // Of an amount: below zero; -31 to -1, and its magnitude.
    let back = |amount: Net<'m>| amount.sign();
    let near = |amount: Net<'m>| amount.bits(5, 27).all() & amount.bits(0, 5).any();
    let magnitude = |amount: Net<'m>| amount.bits(0, 5).negate();
    let shifts_back = (shifts & back(amount)).named("shifts_back");
    let pre = requant.mux(post.bits(24, 5), shifts_back.mux(magnitude(amount), m.lit(0, 5)));
    let pre = p.reg(1, "pre", pre);
    let lost = p.reg(1, "lost", requant.mux(post.bits(29, 3).any(), shifts_back & !near(amount)));
    let amount = p.reg(1, "amount", amount);
    let factor = requant.mux(multiplier, flag("multiplies", 0).mux(right, m.lit(1, 32)));
    let factor = p.carry(0, 4, "factor", factor);
    let clamps = flag("clamps", 0);
    let lower = clamps.mux(right.bits(0, 8), post.bits(8, 8)).named("lower");
    let upper = clamps.mux(right.bits(8, 8), post.bits(16, 8)).named("upper");
    let lower = p.reg(1, "lower", lower);
    let upper = p.reg(1, "upper", upper);
    let offset = (requant & flag("bounds", 0)).mux(post.bits(0, 8), m.lit(0, 8));
    let offset = p.carry(0, 10, "offset", offset);
    let bias = p.carry(0, 2, "bias", requant.mux(bias, zero));
    let left = p.reg(1, "left", left);
    let right = p.reg(1, "right", right);

    // Level 2: the shifts around the product.
    let (back, magnitude) = (back(amount).named("back"), magnitude(amount).named("magnitude"));
    let up_to_31 = amount.bits(5, 27).any().mux(m.lit(31, 5), amount.bits(0, 5)).named("up_to_31");
    let over_62 = amount.bits(6, 26).any() | amount.bits(1, 5).all();
    let up_to_62 = over_62.mux(m.lit(62, 6), amount.bits(0, 6));
    let double = flag("double", 1);
    let none = m.lit(0, 6);
    // Leading zeros of mode `float` need a bit more than the other shifts.
    let up = (double & !back).mux(up_to_31, m.lit(0, 5));
    let up = p.carry(1, 3, "up", if has_float { up.zext(6) } else { up });
    let after_double = back.mux(near(amount).mux(magnitude, m.lit(31, 5)).zext(6), none);
    let forward = flag("scales", 1).mux(up_to_62, flag("shifts", 1).mux(up_to_31.zext(6), none));
    let down = p.carry(1, 5, "down", double.mux(after_double, back.mux(none, forward)));

    // Also the first shift to the left, or an operation that needs no other level.
    let shifted = lost.mux(zero, left.shl(pre));
    let less = left.lt_signed(right).named("less");
    let take_right = flag("mov", 1) | (flag("min", 1) & !less) | (flag("max", 1) & less);
    let value = flag("add", 1).mux(left + right, take_right.mux(right, shifted));
    let value = p.reg(2, "value", value);
    // What is below the lower bound gets the lesser of the bounds: the upper one is applied last.
    let floor = upper.lt_signed(lower).mux(upper, lower);
    let floor = p.carry(1, 11, "floor", floor);
    let lower = p.carry(1, 11, "lower_bound", lower);
    let upper = p.carry(1, 11, "upper_bound", upper);

    // Level 3.
    let value = p.reg(3, "value", value + bias);

    // Levels 4 to 6: what multiplies what.
    let (value, factor, down, outside) = if has_float {
        let Scaled { value, factor, down, outside } = scale_float(m, &mut p, &flag, value, factor, up, down);
        (value, factor, down, Some(outside))
    } else {
        let (value, up) = (p.reg(4, "value", value), p.reg(4, "up", up));
        let value = p.reg(5, "value", value.shl(up));
        let factor = p.carry(4, 6, "factor", factor);
        (p.reg(6, "value", value), factor, p.carry(5, 9, "down", down), None)
    };

    // Levels 7 and 8: the halves of the words with each other, and their sum.
    let (value_low, value_high) = (value.bits(0, 16).zext(17), value.bits(16, 16));
    let (factor_low, factor_high) = (factor.bits(0, 16).zext(17), factor.bits(16, 16));
    let low_part = p.reg(7, "product_low", value_low.mul_signed(factor_low).bits(0, 32));
    let cross = p.reg(7, "product_cross", value_low.mul_signed(factor_high));
    let crossed = p.reg(7, "product_crossed", value_high.mul_signed(factor_low));
    let high_part = p.reg(7, "product_high", value_high.mul_signed(factor_high));
    let outer = m.cat(&[low_part.bits(16, 16), high_part]).named("outer");
    let inner = (cross.sext(34) + crossed.sext(34)).named("inner");
    let product = p.reg(8, "product", m.cat(&[low_part.bits(0, 16), outer + inner.sext(48)]));

    // Level 9. A float product has 47 or 48 bits; -2^47 counts as one of 47, which its zeros allow.
    let double = flag("double", 8);
    let word = if has_float {
        let float = flag("float", 8);
        let wide = (product.bit(47) ^ product.sign()).named("wide");
        let kept =
            double.mux(product.bits(31, 33), wide.mux(product.bits(24, 25).sext(33), product.bits(23, 26).sext(33)));
        let kept = kept.named("kept");
        let behind = wide.mux(product.bit(23), product.bit(22));
        let later = product.bits(0, 22).any() | (wide & product.bit(22));
        let plus = double.mux(product.bit(30), behind & (later | kept.bit(0)));
        let once = (kept + plus.zext(33)).named("once");
        let aligned = wide.mux(m.cat(&[m.lit(0, 1), once]), once.sext(34));
        let floating = m.cat(&[m.lit(0, 7), aligned]).sext(64);
        p.choose(9, "word", double | float, double.mux(doubled(m, once), floating), product)
    } else {
        let once = (product.bits(31, 33) + product.bit(30).zext(33)).named("once");
        p.choose(9, "word", double, doubled(m, once), product)
    };

    // Level 10.
    let (quotient, behind, later) = shift_right(m, word, down);
    let quotient = p.reg(10, "quotient", quotient);
    let behind = p.reg(10, "behind", behind);
    let later = p.reg(10, "later", later);

    // Level 11. The rounding joins the zero point, so that there is one wide adder.
    let even = if has_float { flag("even", 10).mux(quotient.bit(0), m.lit(1, 1)) } else { m.lit(1, 1) };
    let tie = flag("away", 10).mux(!quotient.sign(), even);
    let plus = flag("nearest", 10) & behind & (later | tie);
    let step = (offset.sext(9) + plus.zext(9)).named("step");
    let sum = p.reg(11, "sum", quotient + step.sext(64));

    // Level 12.
    let minus = outside.as_ref().map_or(sum.sign(), |far| far.huge.mux(far.minus, sum.sign())).named("below_zero");
    let fits = |bits: u32| {
        let rest = sum.bits(bits - 1, 65 - bits);
        let fits = rest.all() | !rest.any();
        outside.as_ref().map_or(fits, |far| !far.huge & fits)
    };
    let in_byte = fits(8).named("in_byte");
    let byte = sum.bits(0, 8).named("byte_of_sum");
    let below = p.reg(12, "below", in_byte.mux(byte.lt_signed(lower), minus));
    let above = p.reg(12, "above", in_byte.mux(upper.lt_signed(byte), !minus));
    let out_of_word = has_float.then(|| (p.reg(12, "out_of_word", !fits(32)), p.reg(12, "minus_word", minus)));
    let word = p.reg(12, "whole", sum.bits(0, 32));
    let (floor, upper) = (p.reg(12, "floor", floor), p.reg(12, "upper_bound", upper));

    // Level 13.
    let bounded = below.mux(floor, above.mux(upper, word.bits(0, 8))).sext(32);
    let mut whole = word;
    if let Some((out_of_word, minus)) = out_of_word {
        whole = (flag("float", 12) & out_of_word).mux(minus.mux(low, high), whole);
    }
    let result = p.reg(13, "result", flag("bounds", 12).mux(bounded, whole));
    m.output("result", result);
    p.finish();
}

/// The high word of a doubled product, which leaves 32 bits only for the square of -2^31.
fn doubled<'m>(m: &'m Module, once: Net<'m>) -> Net<'m> {
    (!once.bit(32) & once.bit(31)).mux(m.lit(HIGHEST, 32), once.bits(0, 32)).sext(64)
}

/// What is multiplied, and how far the product is shifted to the right.
struct Scaled<'m> {
    value: Net<'m>,
    factor: Net<'m>,
    down: Net<'m>,
    outside: Outside<'m>,
}

/// A product whose point lies to the right of the word, 2^31 or more, infinity included; and its sign.
struct Outside<'m> {
    huge: Net<'m>,
    minus: Net<'m>,
}

/// Levels 4 to 6 of a lane with the mode `float`.
fn scale_float<'m>(
    m: &'m Module,
    p: &mut Pipe<'m>,
    flag: &dyn Fn(&str, u32) -> Net<'m>,
    value: Net<'m>,
    factor: Net<'m>,
    up: Net<'m>,
    down: Net<'m>,
) -> Scaled<'m> {
    // Level 4. Of a negative number the complement is counted: where the magnitude is a power of two that is one zero too
    // many, and the magnitude becomes 2^32, which the 33 bits of the next level hold.
    let float = flag("float", 3);
    let negative = value.sign();
    let zeros = leading_zeros(m, value ^ negative.repeat(32));
    let up = p.choose(4, "up", float, zeros, up);
    let some = p.reg(4, "some", value.any());
    let negative_4 = p.reg(4, "negative", negative);
    let value = p.choose(4, "value", float & negative, value.negate(), value);

    // Level 5. A subnormal multiplier or NaN gives 0: the largest product of a subnormal is far below a half.
    let float = flag("float", 4);
    let (exponent, fraction) = (factor.bits(23, 8).named("exponent"), factor.bits(0, 23).named("fraction"));
    let void = !some | !exponent.any() | (exponent.all() & fraction.any());
    let minus = (negative_4 ^ factor.sign()).named("minus");
    let mantissa = m.cat(&[fraction, m.lit(1, 9)]).named("mantissa");
    let mantissa = minus.mux(mantissa.negate(), mantissa);
    let void_5 = p.reg(5, "void", void);
    let factor = p.choose(5, "factor", float, void.mux(m.lit(0, 32), mantissa), factor);
    // The product's point: how far to shift right the product whose low 16 bits level 9 cuts off.
    let distance = p.reg(5, "distance", up.zext(10) + m.lit(126, 10) - exponent.zext(10));
    let minus = p.carry(4, 11, "minus", minus);
    let value = p.reg(5, "value", value.zext(33).shl(up));

    // Level 6.
    let float = flag("float", 5);
    let even = value.bit(7) & (value.bits(0, 7).any() | value.bit(8));
    let rounded = value.bits(8, 25) + even.zext(25);
    let value = p.choose(6, "value", float, rounded.zext(32), value.bits(0, 32));
    let factor = p.reg(6, "factor", factor);
    let far = distance.bits(6, 3).any().mux(m.lit(63, 6), distance.bits(0, 6));
    let down = p.carry(5, 9, "down", float.mux(far, down));
    let huge = p.carry(5, 11, "huge", float & distance.sign() & !void_5);
    Scaled { value, factor, down, outside: Outside { huge, minus } }
}

/// How many zeros stand before the first one, of 32 bits: a tree of halves.
fn leading_zeros<'m>(m: &'m Module, value: Net<'m>) -> Net<'m> {
    let mut counts: Vec<Net<'m>> = value.lanes(32).into_iter().map(|bit| !bit).collect();
    while counts.len() > 1 {
        counts = counts.chunks(2).map(|pair| join(m, pair[1], pair[0])).collect();
    }
    counts[0]
}

/// The zeros of two halves of 2^(w-1) bits, each counted in w bits, whose top bit says that all are zero.
fn join<'m>(m: &'m Module, upper: Net<'m>, lower: Net<'m>) -> Net<'m> {
    let top = upper.width() - 1;
    let (all, lower_all) = (upper.sign(), lower.sign());
    let both = all & lower_all;
    if top == 0 {
        return m.cat(&[all & !lower_all, both]);
    }
    let rest = all.mux(lower.bits(0, top), upper.bits(0, top));
    m.cat(&[rest, all & !lower_all, both])
}

/// An arithmetic shift to the right by a number of any width: the floor, the first bit behind the point, and whether a later
/// bit is set.
fn shift_right<'m>(m: &'m Module, word: Net<'m>, amount: Net<'m>) -> (Net<'m>, Net<'m>, Net<'m>) {
    let width = word.width();
    let (mut value, mut behind, mut later) = (word, m.lit(0, 1), m.lit(0, 1));
    for level in 0..amount.width() {
        let (by, taken) = (1 << level, amount.bit(level));
        let passed = if by > 1 { behind | value.bits(0, by - 1).any() } else { behind };
        later = later | (taken & passed);
        behind = taken.mux(value.bit(by - 1), behind);
        value = taken.mux(value.bits(by, width - by).sext(width), value);
    }
    (value, behind, later)
}
