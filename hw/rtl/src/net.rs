//! Values in a module and the operators on them.

use std::ops;

use crate::module::Module;

/// A value in a module: a number of bits.
#[derive(Clone, Copy)]
pub struct Net<'m> {
    pub(crate) module: &'m Module,
    pub(crate) id: u32,
    width: u32,
}

/// An operator of two operands. Except for products and shifts, both have the same width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
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

/// A reduction of all bits to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reduce {
    Or,
    And,
    Xor,
}

/// What a net is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// Declared elsewhere: a port, a register, a variable, an output of an instance or of a memory.
    Declared,
    Const(u128),
    Not(u32),
    Reduce(Reduce, u32),
    Binary(Binary, u32, u32),
    Mux(u32, u32, u32),
    /// Bits from a fixed position.
    Slice(u32, u32),
    /// Bits from a position that is the second operand times the width.
    Pick(u32, u32),
    /// Most significant first, as Verilog writes it.
    Cat(Vec<u32>),
    /// The operand this many times.
    Repeat(u32, u32),
    SignExtend(u32),
}

impl Node {
    /// The nets that it is made of.
    pub fn operands(&self) -> Vec<u32> {
        match self {
            Node::Declared | Node::Const(_) => Vec::new(),
            Node::Not(a) | Node::Reduce(_, a) | Node::Repeat(a, _) | Node::Slice(a, _) | Node::SignExtend(a) => {
                vec![*a]
            }
            Node::Binary(_, a, b) | Node::Pick(a, b) => vec![*a, *b],
            Node::Mux(a, b, c) => vec![*a, *b, *c],
            Node::Cat(parts) => parts.clone(),
        }
    }
}

/// Bits that an index below `n` needs, at least one.
pub fn clog2(n: usize) -> u32 {
    n.next_power_of_two().trailing_zeros().max(1)
}

/// Combines values pairwise, level by level: the shortest tree.
///
/// # Panics
/// Without a value.
pub fn balanced<'m>(values: &[Net<'m>], combine: impl Fn(Net<'m>, Net<'m>) -> Net<'m>) -> Net<'m> {
    let mut level = values.to_vec();
    assert!(!level.is_empty(), "nothing to combine");
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| if let [a, b] = pair { combine(*a, *b) } else { pair[0] }).collect();
    }
    level[0]
}

impl<'m> Net<'m> {
    pub(crate) fn new(module: &'m Module, id: u32, width: u32) -> Net<'m> {
        Net { module, id, width }
    }

    /// Bits.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Gives an expression a name in the printed text; declared nets keep theirs.
    #[track_caller]
    pub fn named(self, name: &str) -> Self {
        self.module.name_node(self.id, name);
        self
    }

    /// As [`Net::named`], and synthesis keeps the value as a net of its own: it does not merge the operators before and behind
    /// it, such as two additions into a tree of one.
    #[track_caller]
    pub fn kept(self, name: &str) -> Self {
        self.module.keep_node(self.id);
        self.named(name)
    }

    /// Whether both are equal.
    #[track_caller]
    pub fn eq(self, other: Self) -> Self {
        self.compare(Binary::Eq, other)
    }

    /// Whether both differ.
    #[track_caller]
    pub fn ne(self, other: Self) -> Self {
        self.compare(Binary::Ne, other)
    }

    /// Whether it equals a number.
    #[track_caller]
    pub fn is(self, value: u128) -> Self {
        self.eq(self.module.lit(value, self.width))
    }

    /// Unsigned less-than a number.
    #[track_caller]
    pub fn below(self, limit: u128) -> Self {
        self.lt(self.module.lit(limit, self.width))
    }

    /// Unsigned less-than.
    #[track_caller]
    pub fn lt(self, other: Self) -> Self {
        self.compare(Binary::Lt, other)
    }

    /// Unsigned less-or-equal.
    #[track_caller]
    pub fn le(self, other: Self) -> Self {
        self.compare(Binary::Le, other)
    }

    /// Signed less-than, two's complement.
    #[track_caller]
    pub fn lt_signed(self, other: Self) -> Self {
        self.compare(Binary::LtSigned, other)
    }

    /// Signed less-or-equal, two's complement.
    #[track_caller]
    pub fn le_signed(self, other: Self) -> Self {
        self.compare(Binary::LeSigned, other)
    }

    /// The signed product, as wide as both operands together.
    #[track_caller]
    pub fn mul_signed(self, other: Self) -> Self {
        self.module.node(Node::Binary(Binary::MulSigned, self.id, self.own(other)), self.width + other.width)
    }

    /// Shifts left; zeros come in, and an amount of the width or more leaves zero.
    #[expect(clippy::should_implement_trait, reason = "beside `shr_signed`, which has no operator")]
    #[track_caller]
    pub fn shl(self, amount: Self) -> Self {
        self.shift(Binary::Shl, amount, |value| value.module.lit(0, value.width))
    }

    /// Shifts right; zeros come in.
    #[expect(clippy::should_implement_trait, reason = "beside `shr_signed`, which has no operator")]
    #[track_caller]
    pub fn shr(self, amount: Self) -> Self {
        self.shift(Binary::Shr, amount, |value| value.module.lit(0, value.width))
    }

    /// Shifts right; the sign comes in.
    #[track_caller]
    pub fn shr_signed(self, amount: Self) -> Self {
        self.shift(Binary::ShrSigned, amount, |value| value.sign().repeat(value.width))
    }

    /// Whether any bit is set.
    pub fn any(self) -> Self {
        if self.width == 1 { self } else { self.module.node(Node::Reduce(Reduce::Or, self.id), 1) }
    }

    /// Whether all bits are set.
    pub fn all(self) -> Self {
        if self.width == 1 { self } else { self.module.node(Node::Reduce(Reduce::And, self.id), 1) }
    }

    /// Whether an odd number of bits is set.
    pub fn parity(self) -> Self {
        if self.width == 1 { self } else { self.module.node(Node::Reduce(Reduce::Xor, self.id), 1) }
    }

    /// `yes` where this bit is set, `no` elsewhere.
    #[track_caller]
    pub fn mux(self, yes: Self, no: Self) -> Self {
        assert!(
            self.width == 1 && yes.width == no.width,
            "{}: a choice by {} bits between {} and {} bits",
            self.module.name(),
            self.width,
            yes.width,
            no.width
        );
        if yes.id == no.id { yes } else { self.module.node(Node::Mux(self.id, self.own(yes), self.own(no)), yes.width) }
    }

    /// `width` bits from bit `lo`.
    #[track_caller]
    pub fn bits(self, lo: u32, width: u32) -> Self {
        assert!(
            width > 0 && lo + width <= self.width,
            "{}: bits {lo}..{} of {} bits",
            self.module.name(),
            lo + width,
            self.width
        );
        if width == self.width { self } else { self.module.node(Node::Slice(self.id, lo), width) }
    }

    /// One bit.
    #[track_caller]
    pub fn bit(self, index: u32) -> Self {
        self.bits(index, 1)
    }

    /// The most significant bit.
    pub fn sign(self) -> Self {
        self.bits(self.width - 1, 1)
    }

    /// Equal lanes, least significant first.
    #[track_caller]
    pub fn lanes(self, count: u32) -> Vec<Self> {
        assert!(self.width.is_multiple_of(count), "{}: {count} lanes of {} bits", self.module.name(), self.width);
        let width = self.width / count;
        (0..count).map(|lane| self.bits(lane * width, width)).collect()
    }

    /// One of the equal lanes of `width` bits, by a number that covers them all.
    #[track_caller]
    pub fn pick(self, index: Self, width: u32) -> Self {
        assert!(
            width.is_power_of_two() && u64::from(self.width) == u64::from(width) << index.width,
            "{}: lanes of {width} bits in {} bits by a number of {} bits",
            self.module.name(),
            self.width,
            index.width
        );
        self.module.node(Node::Pick(self.id, self.own(index)), width)
    }

    /// Copies of the sign in front, up to `width` bits.
    #[track_caller]
    pub fn sext(self, width: u32) -> Self {
        assert!(width >= self.width, "{}: {} bits extended to {width}", self.module.name(), self.width);
        if width == self.width { self } else { self.module.node(Node::SignExtend(self.id), width) }
    }

    /// Zeros in front, up to `width` bits.
    #[track_caller]
    pub fn zext(self, width: u32) -> Self {
        assert!(width >= self.width, "{}: {} bits extended to {width}", self.module.name(), self.width);
        if width == self.width { self } else { self.module.cat(&[self, self.module.lit(0, width - self.width)]) }
    }

    /// Zeros in front or the low bits alone: exactly `width` bits.
    pub fn resize(self, width: u32) -> Self {
        if width < self.width { self.bits(0, width) } else { self.zext(width) }
    }

    /// The value `count` times.
    pub fn repeat(self, count: u32) -> Self {
        if count == 1 { self } else { self.module.node(Node::Repeat(self.id, count), self.width * count) }
    }

    /// Plus one; wraps.
    pub fn inc(self) -> Self {
        self + self.module.lit(1, self.width)
    }

    /// Minus one; wraps.
    pub fn dec(self) -> Self {
        self - self.module.lit(1, self.width)
    }

    /// Zero minus the value.
    pub fn negate(self) -> Self {
        self.module.lit(0, self.width) - self
    }

    /// Assigns a register (from the next cycle on) or a variable (now), under the conditions at hand.
    #[track_caller]
    pub fn set(self, value: Self) {
        assert!(
            self.width == value.width,
            "{}: {} bits assigned to {} of {}",
            self.module.name(),
            value.width,
            self.module.node_name(self.id),
            self.width
        );
        self.module.assign(self.id, self.own(value));
    }

    /// Assigns a number.
    #[track_caller]
    pub fn set_to(self, value: u128) {
        self.set(self.module.lit(value, self.width));
    }

    #[track_caller]
    fn shift(self, op: Binary, amount: Self, beyond: impl FnOnce(Self) -> Self) -> Self {
        // Verilator takes amounts of 32 bits at most.
        let low = amount.bits(0, amount.width.min(32));
        let shifted = self.module.node(Node::Binary(op, self.id, self.own(low)), self.width);
        if amount.width <= 32 {
            return shifted;
        }
        amount.bits(32, amount.width - 32).any().mux(beyond(self), shifted)
    }

    /// The number of a value of the same module.
    #[track_caller]
    fn own(self, other: Self) -> u32 {
        self.module.own(other)
    }

    #[track_caller]
    fn same_width(self, op: Binary, other: Self) {
        assert!(self.width == other.width, "{}: {op:?} of {} and {} bits", self.module.name(), self.width, other.width);
    }

    #[track_caller]
    fn compare(self, op: Binary, other: Self) -> Self {
        self.same_width(op, other);
        self.module.node(Node::Binary(op, self.id, self.own(other)), 1)
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, $Op:ident) => {
        impl<'m> ops::$Trait for Net<'m> {
            type Output = Net<'m>;

            #[track_caller]
            fn $method(self, other: Self) -> Self {
                self.same_width(Binary::$Op, other);
                self.module.node(Node::Binary(Binary::$Op, self.id, self.own(other)), self.width)
            }
        }
    };
}

operator!(Add, add, Add);
operator!(Sub, sub, Sub);
operator!(BitAnd, bitand, And);
operator!(BitOr, bitor, Or);
operator!(BitXor, bitxor, Xor);

impl<'m> ops::Not for Net<'m> {
    type Output = Net<'m>;

    fn not(self) -> Self {
        self.module.node(Node::Not(self.id), self.width)
    }
}

impl std::fmt::Debug for Net<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.module.node_name(self.id), self.width)
    }
}
