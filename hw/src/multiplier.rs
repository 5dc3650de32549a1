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
    let row = |at: u32| a.bits(0, width - at) & b.bit(at).repeat(width - at);
    let (mut sum, mut done) = (row(0), Vec::new());
    for at in 1..width {
        done.push(sum.bit(0));
        sum = (sum.bits(1, width - at) + row(at)).kept(&format!("{name}_{at}"));
    }
    done.push(sum);
    m.cat(&done)
}

/// A product in look-up tables: a row of adders for each bit of `w`, each kept by itself so that synthesis does not make a tree
/// of all of them, which would take three times the room.
fn rows<'m>(m: &'m Module, name: &str, x: Net<'m>, w: Net<'m>) -> Net<'m> {
    let row = |at: u32| x.sext(9) & w.bit(at).repeat(9);
    let (mut sum, mut done) = (row(0), Vec::new());
    for at in 1..8 {
        done.push(sum.bit(0));
        let above = sum.bits(1, 8).sext(9);
        // The last bit of a signed number counts below zero.
        sum = if at == 7 { above - row(at) } else { above + row(at) }.kept(&format!("{name}_row_{at}"));
    }
    done.push(sum);
    m.cat(&done)
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
