//! Products of 8 bits and 8 bits, signed, in registers, of what a [`Target`](crate::Target) has for them.
//!
//! ```text
//!  x, w --> one recipe each --> [ product ]              x, two w --> (w1 << 10) + (w0 + 128) --> 18 x 8 --> [ pair ]
//!                                                                 \-> low six bits of x * w1 ------------> [ overlap ]
//! ```
//!
//! Two products in one multiplier: with `w0 + 128` in place of `w0` the packed word is two fields side by side, no adder, and
//! its product with x is `(x * w1 << 10) + x * (w0 + 128)`. The second product has 16 bits, so six bits of the fields overlap;
//! what x * w1 has there, its low six bits, comes from look-up tables. Then, with `excess` the upper six bits of the second
//! product, signed:
//!
//! ```text
//!  excess = pair[15:10] - overlap        x * (w0 + 128) = excess << 10 | pair[9:0]        x * w1 = pair[25:10] - excess
//! ```
//!
//! In a sum over input lanes the 128 times the inputs is the same for all outputs, and the excesses are summed by themselves.

use tandem_rtl::{Module, Net};

use crate::target::Recipe;

/// Bits of a product.
pub(crate) const PRODUCT_BITS: u32 = 16;
/// Distance of the two weights in a packed word.
const APART: u32 = 10;
/// Bits in which the two products of a pair overlap.
const OVERLAP: u32 = PRODUCT_BITS - APART;

/// A product to build, and the register that it is for.
pub(crate) struct Factors<'m> {
    pub name: String,
    pub x: Net<'m>,
    pub w: Net<'m>,
    /// The register takes a new product.
    pub enable: Net<'m>,
    pub recipe: Recipe,
}

/// Two products by one multiplier, in registers.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'m> {
    /// `x * (w0 + 128)`.
    pub low: Net<'m>,
    /// `x * w1 + excess`.
    pub high: Net<'m>,
    /// What is too much in it: signed.
    pub excess: Net<'m>,
}

/// Registers with products, in the order of what is asked for.
pub(crate) fn products<'m>(m: &'m Module, wanted: &[Factors<'m>]) -> Vec<Net<'m>> {
    let mut halves: Vec<usize> = Vec::new();
    let mut values: Vec<Option<Net<'m>>> = vec![None; wanted.len()];
    for (at, factors) in wanted.iter().enumerate() {
        match factors.recipe {
            Recipe::Infer => values[at] = Some(factors.x.mul_signed(factors.w)),
            Recipe::Rows => values[at] = Some(rows(m, &factors.name, factors.x, factors.w)),
            Recipe::Mac16 => halves.push(at),
        }
    }
    for block in halves.chunks(2) {
        let side = |value: fn(&Factors<'m>) -> Net<'m>| {
            let of = |half: usize| block.get(half).map_or(m.lit(0, 8), |&at| value(&wanted[at]));
            m.cat(&[of(0), of(1)])
        };
        let both = mac16(m, &format!("{}_mac16", wanted[block[0]].name), side(|f| f.x), side(|f| f.w));
        for (half, &at) in block.iter().enumerate() {
            values[at] = Some(both.bits(PRODUCT_BITS * half as u32, PRODUCT_BITS));
        }
    }
    wanted
        .iter()
        .zip(values)
        .map(|(factors, value)| {
            let held = m.data_reg(factors.name.as_str(), PRODUCT_BITS);
            m.when(factors.enable, || held.set(value.unwrap_or(m.lit(0, PRODUCT_BITS))));
            held
        })
        .collect()
}

/// Two products that share the factor `x`.
pub(crate) fn pair<'m>(m: &'m Module, name: &str, x: Net<'m>, w: [Net<'m>; 2], enable: Net<'m>) -> Pair<'m> {
    let [w0, w1] = w;
    // The first weight with 128 more is the weight with its sign turned over.
    let packed = m.cat(&[w0.bits(0, 7), !w0.bit(7), m.lit(0, APART - 8), w1]).named(&format!("{name}_packed"));
    let both = m.data_reg(name, packed.width() + 8);
    let overlap = m.data_reg(format!("{name}_overlap"), OVERLAP);
    m.when(enable, || {
        both.set(packed.mul_signed(x));
        overlap.set(low_product(m, &format!("{name}_low"), w1.bits(0, OVERLAP), x.bits(0, OVERLAP)));
    });
    let excess = (both.bits(APART, OVERLAP) - overlap).kept(&format!("{name}_excess"));
    let low = m.cat(&[both.bits(0, APART), excess]);
    Pair { low, high: both.bits(APART, PRODUCT_BITS), excess }
}

/// The low bits of a product, as many as the factors have.
fn low_product<'m>(m: &'m Module, name: &str, a: Net<'m>, b: Net<'m>) -> Net<'m> {
    let width = a.width();
    let row = |at: u32| {
        let bits = a.bits(0, width - at) & b.bit(at).repeat(width - at);
        if at == 0 { bits } else { m.cat(&[m.lit(0, at), bits]) }
    };
    let rows: Vec<Net<'m>> = (0..width).map(row).collect();
    // Below the place of its second operand's row a sum is its first operand.
    let mut level: Vec<(u32, Net<'m>)> = (0..width).zip(rows).collect();
    let mut number = 0;
    while level.len() > 1 {
        let add = |(at, pair): (usize, &[(u32, Net<'m>)])| match *pair {
            [(low, a), (high, b)] => {
                let upper = a.bits(high, width - high) + b.bits(high, width - high);
                (low, m.cat(&[a.bits(0, high), upper.kept(&format!("{name}_{number}_{at}"))]))
            }
            _ => pair[0],
        };
        level = level.chunks(2).enumerate().map(add).collect();
        number += 1;
    }
    level[0].1
}

/// A product in look-up tables: a row for each bit of `w`, and adders of two rows, two sums and two sums of these, each kept by
/// itself so that synthesis does not save carries in a tree of all of them, which would take twice the room.
fn rows<'m>(m: &'m Module, name: &str, x: Net<'m>, w: Net<'m>) -> Net<'m> {
    let row = |at: u32| x & w.bit(at).repeat(8);
    // The low half is added to the high half `by` places further up; what lies below is the low half's.
    let join = |name: String, low: Net<'m>, high: Net<'m>, by: u32, minus: bool| {
        let width = high.width() + 1;
        let above = low.bits(by, low.width() - by).sext(width);
        let sum = if minus { above - high.sext(width) } else { above + high.sext(width) };
        m.cat(&[low.bits(0, by), sum.kept(&name)])
    };
    // The last bit of a signed number counts below zero.
    let twos = |at: u32| join(format!("{name}_row_{at}"), row(at), row(at + 1), 1, at == 6);
    let fours = |at: u32| join(format!("{name}_rows_{at}"), twos(at), twos(at + 2), 2, false);
    join(format!("{name}_sum"), fours(0), fours(4), 4, false).bits(0, PRODUCT_BITS)
}

/// Two products in an SB_MAC16 of iCE40, without its registers. Synthesis is not to find the block by itself: it has been seen
/// to lose a product.
fn mac16<'m>(m: &'m Module, name: &str, x: Net<'m>, w: Net<'m>) -> Net<'m> {
    let parameters = [
        ("A_SIGNED", "1'b1"),
        ("B_SIGNED", "1'b1"),
        ("MODE_8x8", "1'b1"),
        ("TOPOUTPUT_SELECT", "2'b10"),
        ("BOTOUTPUT_SELECT", "2'b10"),
    ];
    let (none, zero) = (m.lit(0, 1), m.lit(0, 16));
    let mut pins = vec![("CE", m.lit(1, 1)), ("A", x), ("B", w), ("C", zero), ("D", zero)];
    let unused =
        ["AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT"];
    let unused =
        unused.into_iter().chain(["ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN"]);
    pins.extend(unused.map(|pin| (pin, none)));
    m.cell(name, "SB_MAC16", &parameters, Some("CLK"), &pins, &[("O", 32)]).get("O")
}

/// Every recipe side by side, without an array around it: for tests.
///
/// | port | width | meaning |
/// |---|---|---|
/// | `x`, `w_0`, `w_1` | 8 | the factors |
/// | `rows_0` | 16 | x * w_0 by rows of adders, a cycle later |
/// | `pair_0`, `pair_1` | 16 | x * w_0 and x * w_1 by one multiplier, a cycle later |
pub fn recipes() -> Module {
    let m = Module::new("recipes");
    let (x, w) = (m.input("x", 8), [0, 1].map(|at| m.input(format!("w_{at}"), 8)));
    let always = m.lit(1, 1);
    let factors = |name: &str, recipe| Factors { name: name.to_owned(), x, w: w[0], enable: always, recipe };
    m.output("rows_0", products(&m, &[factors("in_rows", Recipe::Rows)])[0]);
    let both = pair(&m, "both", x, w, always);
    let late = m.delay("x_late", x);
    let offset = m.cat(&[m.lit(0, 7), late]).sext(PRODUCT_BITS);
    m.output("pair_0", both.low - offset);
    m.output("pair_1", both.high - both.excess.sext(PRODUCT_BITS));
    m
}
