//! Random expressions over every operator of the hardware builder, and their values by plain integer arithmetic.

use num_bigint::{BigInt, BigUint};
use tandem_rtl::{Module, Net, balanced};

use crate::random::Random;

/// Values beyond this width are not used further.
const WIDEST: u32 = 140;

/// An operator of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the builder's operators")]
pub enum Binary {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Eq,
    Ne,
    Lt,
    Le,
    LtSigned,
    LeSigned,
    MulSigned,
    Shl,
    Shr,
    ShrSigned,
}

/// An operator of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the builder's operators")]
pub enum Unary {
    Not,
    Any,
    All,
    Parity,
    Sign,
    Inc,
    Dec,
    Negate,
    Named,
}

/// What a value is; operands are numbers of earlier values.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names of the builder's operators")]
pub enum Op {
    /// Given from outside.
    Leaf,
    Lit(u128),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
    Is(usize, u128),
    Below(usize, u128),
    Mux(usize, usize, usize),
    Bits(usize, u32),
    /// Of so many lanes the one with this number.
    Lane(usize, u32, usize),
    Pick(usize, usize),
    Zext(usize),
    Sext(usize),
    Resize(usize),
    Repeat(usize, u32),
    Cat(Vec<usize>),
    Choose(usize, Vec<usize>),
    AnyOf(Vec<usize>),
    AllOf(Vec<usize>),
    /// A balanced tree of sums.
    Sum(Vec<usize>),
}

/// Expressions that share values.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    /// Each value and its width.
    pub nodes: Vec<(Op, u32)>,
}

/// The number modulo 2^width.
pub fn wrap(value: BigInt, width: u32) -> BigUint {
    let size = BigInt::from(1) << width;
    let rest = value % &size;
    let rest = if rest < BigInt::ZERO { rest + size } else { rest };
    rest.to_biguint().expect("a remainder made positive")
}

/// The number that the bits stand for in two's complement.
pub fn signed(value: &BigUint, width: u32) -> BigInt {
    let plain = BigInt::from(value.clone());
    if value.bit(u64::from(width) - 1) { plain - (BigInt::from(1) << width) } else { plain }
}

/// A number of so many bits, often at an edge.
pub fn number(random: &mut Random, width: u32) -> BigUint {
    let words: Vec<u32> = (0..width.div_ceil(32)).map(|_| random.bits()).collect();
    let any = BigInt::from(BigUint::new(words));
    let near: BigInt =
        (BigInt::from(1) << random.within(0, width as usize + 1)) + BigInt::from(random.within(0, 5)) - 2;
    wrap(random.of(&[any.clone(), any.clone(), any >> (width / 2), near.clone(), -near]), width)
}

impl Dag {
    /// A value given from outside.
    pub fn leaf(&mut self, width: u32) -> usize {
        self.push(Op::Leaf, width)
    }

    /// So many more values at random; there must be one already.
    pub fn grow(&mut self, random: &mut Random, count: usize) {
        for _ in 0..count {
            self.step(random);
        }
    }

    /// Some value, brought to a width.
    pub fn some(&mut self, random: &mut Random, width: u32) -> usize {
        let a = self.any(random);
        self.coerce(random, a, width)
    }

    /// What each value is in a module, given the leaves in order.
    pub fn build<'m>(&self, m: &'m Module, known: &mut Vec<Net<'m>>, leaves: &[Net<'m>]) {
        let mut leaves = leaves.iter();
        for (at, (op, width)) in self.nodes.iter().enumerate().skip(known.len()) {
            let n = |index: usize| known[index];
            let all = |list: &[usize]| list.iter().map(|index| known[*index]).collect::<Vec<_>>();
            let net = match op {
                Op::Leaf => *leaves.next().expect("a net for each leaf"),
                Op::Lit(value) => m.lit(*value, *width),
                Op::Unary(op, a) => match op {
                    Unary::Not => !n(*a),
                    Unary::Any => n(*a).any(),
                    Unary::All => n(*a).all(),
                    Unary::Parity => n(*a).parity(),
                    Unary::Sign => n(*a).sign(),
                    Unary::Inc => n(*a).inc(),
                    Unary::Dec => n(*a).dec(),
                    Unary::Negate => n(*a).negate(),
                    Unary::Named => (!n(*a)).named(&format!("named_{at}")),
                },
                Op::Binary(op, a, b) => match op {
                    Binary::Add => n(*a) + n(*b),
                    Binary::Sub => n(*a) - n(*b),
                    Binary::And => n(*a) & n(*b),
                    Binary::Or => n(*a) | n(*b),
                    Binary::Xor => n(*a) ^ n(*b),
                    Binary::Eq => n(*a).eq(n(*b)),
                    Binary::Ne => n(*a).ne(n(*b)),
                    Binary::Lt => n(*a).lt(n(*b)),
                    Binary::Le => n(*a).le(n(*b)),
                    Binary::LtSigned => n(*a).lt_signed(n(*b)),
                    Binary::LeSigned => n(*a).le_signed(n(*b)),
                    Binary::MulSigned => n(*a).mul_signed(n(*b)),
                    Binary::Shl => n(*a).shl(n(*b)),
                    Binary::Shr => n(*a).shr(n(*b)),
                    Binary::ShrSigned => n(*a).shr_signed(n(*b)),
                },
                Op::Is(a, value) => n(*a).is(*value),
                Op::Below(a, value) => n(*a).below(*value),
                Op::Mux(c, a, b) => n(*c).mux(n(*a), n(*b)),
                Op::Bits(a, lo) if *width == 1 => n(*a).bit(*lo),
                Op::Bits(a, lo) => n(*a).bits(*lo, *width),
                Op::Lane(a, count, lane) => n(*a).lanes(*count)[*lane],
                Op::Pick(a, index) => n(*a).pick(n(*index), *width),
                Op::Zext(a) => n(*a).zext(*width),
                Op::Sext(a) => n(*a).sext(*width),
                Op::Resize(a) => n(*a).resize(*width),
                Op::Repeat(a, count) => n(*a).repeat(*count),
                Op::Cat(list) => m.cat(&all(list)),
                Op::Choose(index, list) => m.choose(n(*index), &all(list)),
                Op::AnyOf(list) => m.any_of(&all(list)),
                Op::AllOf(list) => m.all_of(&all(list)),
                Op::Sum(list) => balanced(&all(list), |a, b| a + b),
            };
            assert_eq!(net.width(), *width, "{op:?}");
            known.push(net);
        }
    }

    /// What each value is as a number, given the leaves in order.
    pub fn eval(&self, known: &mut Vec<BigUint>, leaves: &[BigUint]) {
        let mut leaves = leaves.iter();
        for (op, width) in self.nodes.iter().skip(known.len()) {
            let value = match op {
                Op::Leaf => leaves.next().expect("a number for each leaf").clone(),
                _ => self.value(op, *width, known),
            };
            known.push(value);
        }
    }

    fn value(&self, op: &Op, width: u32, known: &[BigUint]) -> BigUint {
        let n = |index: &usize| &known[*index];
        let w = |index: &usize| self.nodes[*index].1;
        let i = |index: &usize| BigInt::from(known[*index].clone());
        let s = |index: &usize| signed(&known[*index], self.nodes[*index].1);
        let size = |index: &usize| BigUint::from(1u32) << self.nodes[*index].1;
        // A shift by more than any width is a shift by that.
        let amount = |index: &usize| u32::try_from(n(index)).map_or(1000, |amount| amount.min(1000));
        let bit = BigUint::from;
        let ones = |index: &usize| n(index).count_ones();
        match op {
            Op::Leaf => unreachable!("leaves have no operator"),
            Op::Lit(value) => BigUint::from(*value),
            Op::Unary(op, a) => match op {
                Unary::Not | Unary::Named => size(a) - 1u32 - n(a),
                Unary::Any => bit(u32::from(ones(a) > 0)),
                Unary::All => bit(u32::from(ones(a) == u64::from(w(a)))),
                Unary::Parity => bit((ones(a) % 2) as u32),
                Unary::Sign => bit(u32::from(s(a) < BigInt::ZERO)),
                Unary::Inc => wrap(i(a) + 1, width),
                Unary::Dec => wrap(i(a) - 1, width),
                Unary::Negate => wrap(-i(a), width),
            },
            Op::Binary(op, a, b) => match op {
                Binary::Add => wrap(i(a) + i(b), width),
                Binary::Sub => wrap(i(a) - i(b), width),
                Binary::And => n(a) & n(b),
                Binary::Or => n(a) | n(b),
                Binary::Xor => n(a) ^ n(b),
                Binary::Eq => bit(u32::from(n(a) == n(b))),
                Binary::Ne => bit(u32::from(n(a) != n(b))),
                Binary::Lt => bit(u32::from(n(a) < n(b))),
                Binary::Le => bit(u32::from(n(a) <= n(b))),
                Binary::LtSigned => bit(u32::from(s(a) < s(b))),
                Binary::LeSigned => bit(u32::from(s(a) <= s(b))),
                Binary::MulSigned => wrap(s(a) * s(b), width),
                Binary::Shl => wrap(i(a) << amount(b), width),
                Binary::Shr => n(a) >> amount(b),
                Binary::ShrSigned => wrap(s(a) >> amount(b), width),
            },
            Op::Is(a, value) => bit(u32::from(*n(a) == BigUint::from(*value))),
            Op::Below(a, value) => bit(u32::from(*n(a) < BigUint::from(*value))),
            Op::Mux(c, a, b) => if n(c).bit(0) { n(a) } else { n(b) }.clone(),
            Op::Bits(a, lo) => wrap(i(a) >> *lo, width),
            Op::Lane(a, _, lane) => wrap(i(a) >> (*lane as u32 * width), width),
            Op::Pick(a, index) => wrap(i(a) >> (amount(index) * width), width),
            Op::Zext(a) => n(a).clone(),
            Op::Sext(a) => wrap(s(a), width),
            Op::Resize(a) => wrap(i(a), width),
            Op::Repeat(a, count) => (0..*count).fold(BigUint::ZERO, |sum, _| (sum << w(a)) + n(a)),
            Op::Cat(list) => list.iter().rev().fold(BigUint::ZERO, |sum, part| (sum << w(part)) + n(part)),
            Op::Choose(index, list) => n(&list[(amount(index) as usize).min(list.len() - 1)]).clone(),
            Op::AnyOf(list) => bit(u32::from(list.iter().any(|a| n(a).bit(0)))),
            Op::AllOf(list) => bit(u32::from(list.iter().all(|a| n(a).bit(0)))),
            Op::Sum(list) => wrap(list.iter().map(i).sum(), width),
        }
    }

    fn push(&mut self, op: Op, width: u32) -> usize {
        self.nodes.push((op, width));
        self.nodes.len() - 1
    }

    fn any(&self, random: &mut Random) -> usize {
        // Recent values are preferred, so that expressions become deep.
        let count = self.nodes.len();
        let from = if random.once_in(2) { count.saturating_sub(12) } else { 0 };
        random.within(from, count)
    }

    fn bits(&mut self, random: &mut Random, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.some(random, 1)).collect()
    }

    fn coerce(&mut self, random: &mut Random, a: usize, width: u32) -> usize {
        let has = self.nodes[a].1;
        if has == width {
            return a;
        }
        let op = if has > width {
            let lo = random.within(0, (has - width) as usize + 1) as u32;
            random.of(&[Op::Bits(a, lo), Op::Resize(a)])
        } else {
            random.of(&[Op::Zext(a), Op::Sext(a), Op::Resize(a)])
        };
        self.push(op, width)
    }

    fn step(&mut self, random: &mut Random) {
        use Binary::{Add, And, Eq, Le, LeSigned, Lt, LtSigned, MulSigned, Ne, Or, Shl, Shr, ShrSigned, Sub, Xor};
        use Unary::{All, Any, Dec, Inc, Named, Negate, Not, Parity, Sign};
        let a = self.any(random);
        let a = if self.nodes[a].1 > WIDEST { self.coerce(random, a, WIDEST) } else { a };
        let width = self.nodes[a].1;
        let small = u128::from(random.bits()) >> random.within(0, 32);
        let small = if width < 32 { small & ((1 << width) - 1) } else { small };
        match random.within(0, 19) {
            0..=2 => {
                let op = random.of(&[Not, Any, All, Parity, Sign, Inc, Dec, Negate, Named]);
                let width = if matches!(op, Any | All | Parity | Sign) { 1 } else { width };
                self.push(Op::Unary(op, a), width);
            }
            3..=6 => {
                let b = self.some(random, width);
                let op = random.of(&[Add, Sub, And, Or, Xor]);
                self.push(Op::Binary(op, a, b), width);
            }
            7..=8 => {
                let b = self.some(random, width);
                let op = random.of(&[Eq, Ne, Lt, Le, LtSigned, LeSigned]);
                self.push(Op::Binary(op, a, b), 1);
            }
            9 => {
                let b = self.any(random);
                let b = if self.nodes[b].1 > WIDEST { self.coerce(random, b, WIDEST) } else { b };
                self.push(Op::Binary(MulSigned, a, b), width + self.nodes[b].1);
            }
            10..=11 => {
                // Amounts of few bits mostly, so that something is left.
                let most = random.of(&[3, 5, 8, 40, 130]);
                let bits = random.within(1, most + 1) as u32;
                let b = self.some(random, bits);
                let op = random.of(&[Shl, Shr, ShrSigned]);
                self.push(Op::Binary(op, a, b), width);
            }
            12 => {
                let op = random.of(&[Op::Is(a, small), Op::Below(a, small), Op::Lit(small)]);
                let width = if matches!(op, Op::Lit(_)) { width } else { 1 };
                self.push(op, width);
            }
            13 => {
                let (c, b) = (self.some(random, 1), self.some(random, width));
                self.push(Op::Mux(c, a, b), width);
            }
            14 => {
                let (log, bits) = (random.within(1, 5) as u32, 1 << random.within(0, 4));
                let (whole, index) = (self.some(random, bits << log), self.some(random, log));
                let count = 1u32 << random.within(0, log as usize + 1);
                let lane = random.within(0, count as usize);
                let op =
                    random.of(&[(Op::Pick(whole, index), bits), (Op::Lane(whole, count, lane), (bits << log) / count)]);
                self.push(op.0, op.1);
            }
            15 => {
                let target = random.within(1, WIDEST as usize) as u32;
                self.coerce(random, a, target);
            }
            16 => {
                let count = random.within(1, 5) as u32;
                let a = self.coerce(random, a, width.min(WIDEST / count));
                self.push(Op::Repeat(a, count), self.nodes[a].1 * count);
            }
            17 => {
                let parts: Vec<usize> = (0..random.within(1, 5)).map(|_| self.any(random)).collect();
                let parts: Vec<usize> =
                    parts.into_iter().map(|part| self.coerce(random, part, 1 + width / 5)).collect();
                let all = [parts, vec![a]].concat();
                self.push(Op::Cat(all.clone()), all.iter().map(|part| self.nodes[*part].1).sum());
            }
            _ => {
                let log = random.within(1, 4) as u32;
                let index = self.some(random, log);
                let count = random.within(1, (1 << log) + 1);
                let list: Vec<usize> = (0..count).map(|_| self.some(random, width)).collect();
                let some = random.within(0, count + 1);
                let bits = self.bits(random, some);
                let op = random.of(&[
                    (Op::Choose(index, list.clone()), width),
                    (Op::Sum(list), width),
                    (Op::AnyOf(bits.clone()), 1),
                    (Op::AllOf(bits), 1),
                ]);
                self.push(op.0, op.1);
            }
        }
    }
}
