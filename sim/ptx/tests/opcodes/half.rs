//! Halves and bfloats, single and packed, against the `half` crate and double precision.

use std::collections::BTreeSet;

use half::{bf16, f16};

use crate::lanes::{Case, check, results, triples};

/// Halves in both halves of a word.
const SPECIAL: &[u64] = &[
    0,
    0x8000_8000,
    0x3c00_3f80,
    0xbc00_bf80,
    0x0001_0001,
    0x7bff_7f7f,
    0x7c00_7f80,
    0xfc00_ff80,
    0x7e00_7fc0,
    0x3555_3eaa,
    0x0400_0080,
    0x4248_4049,
];

fn h(bits: u64) -> f64 {
    f16::from_bits(bits as u16).to_f64()
}

fn g(bits: u64) -> f64 {
    bf16::from_bits(bits as u16).to_f64()
}

/// Rounds to a half the long way: to the nearest of all of them, ties to the even one.
fn nearest(x: f64, value: fn(u64) -> f64, infinity: u64) -> u64 {
    if x.is_nan() {
        return 0x7fff;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let x = x.abs();
    // The bits of positive numbers are in the order of their values.
    let (mut low, mut high) = (0, infinity);
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if value(middle) <= x { low = middle } else { high = middle }
    }
    if value(low) == x || x >= value(infinity) {
        return sign | if x >= value(infinity) { infinity } else { low };
    }
    // What infinity would be, were it a number.
    let above = if high == infinity { 2.0 * value(low) - value(low - 1) } else { value(high) };
    let (to_low, to_high) = (x - value(low), above - x);
    sign | if to_low < to_high || (to_low == to_high && low & 1 == 0) { low } else { high }
}

fn f(x: f64) -> u64 {
    nearest(x, h, 0x7c00)
}

fn b(x: f64) -> u64 {
    nearest(x, g, 0x7f80)
}

fn both(x: u64, y: u64, z: u64, op: impl Fn(u64, u64, u64) -> u64) -> u64 {
    op(x & 0xffff, y & 0xffff, z & 0xffff) | op(x >> 16 & 0xffff, y >> 16 & 0xffff, z >> 16 & 0xffff) << 16
}

const CASES: &[Case] = &[
    ("add.f16 %h10, %h1, %h2;", |x, y, _| f(h(x) + h(y))),
    ("sub.f16 %h10, %h1, %h2;", |x, y, _| f(h(x) - h(y))),
    ("mul.f16 %h10, %h1, %h2;", |x, y, _| f(h(x) * h(y))),
    ("neg.f16 %h10, %h1;", |x, _, _| x & 0xffff ^ 0x8000),
    ("abs.f16 %h10, %h1;", |x, _, _| x & 0x7fff),
    ("add.rn.f16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| f(h(x) + h(y)))),
    ("mul.f16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| f(h(x) * h(y)))),
    ("sub.f16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| f(h(x) - h(y)))),
    ("max.f16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| larger(x, y, h))),
    ("min.bf16x2 %r10, %r1, %r2;", |x, y, _| {
        both(x, y, 0, |x, y, _| match larger(x ^ 0x8000, y ^ 0x8000, g) {
            0x7fff => 0x7fff,
            other => other ^ 0x8000,
        })
    }),
    ("max.NaN.bf16 %h10, %h1, %h2;", |x, y, _| {
        if g(x).is_nan() || g(y).is_nan() { 0x7fff } else { larger(x & 0xffff, y & 0xffff, g) }
    }),
    ("mul.bf16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| b(g(x) * g(y)))),
    ("neg.bf16x2 %r10, %r1;", |x, _, _| (x & 0xffff_ffff) ^ 0x8000_8000),
    ("setp.lt.f16 %p10, %h1, %h2;", |x, y, _| (h(x) < h(y)).into()),
    ("setp.gt.bf16 %p10, %h1, %h2;", |x, y, _| (g(x) > g(y)).into()),
    ("setp.lt.f16x2 %p1|%p10, %r1, %r2;", |x, y, _| (h(x >> 16) < h(y >> 16)).into()),
    ("set.le.f16x2.f16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| if h(x) <= h(y) { 0x3c00 } else { 0 })),
];

fn larger(x: u64, y: u64, value: fn(u64) -> f64) -> u64 {
    match (value(x).is_nan(), value(y).is_nan()) {
        (true, true) => 0x7fff,
        (true, false) => y,
        (false, true) => x,
        _ if value(x) == 0.0 && value(y) == 0.0 => x & y,
        _ if value(x) >= value(y) => x,
        _ => y,
    }
}

/// Operands of like size: the exact results fit double precision, so that rounding once here is right.
fn like_sizes(one: u64) -> Vec<[u64; 3]> {
    let cut = |bits: u64| (bits & 0x83ff_83ff) | one << 16 | one;
    triples(&[]).into_iter().map(|t| t.map(|v| cut(v) & 0xffff_ffff)).collect()
}

const FUSED_F16: &[Case] = &[
    ("fma.rn.f16 %h10, %h1, %h2, %h3;", |x, y, z| f(h(x) * h(y) + h(z))),
    ("fma.rn.f16x2 %r10, %r1, %r2, %r3;", |x, y, z| both(x, y, z, |x, y, z| f(h(x) * h(y) + h(z)))),
    ("fma.rn.relu.f16x2 %r10, %r1, %r2, %r3;", |x, y, z| both(x, y, z, |x, y, z| f((h(x) * h(y) + h(z)).max(0.0)))),
];

const FUSED_BF16: &[Case] = &[
    ("add.bf16 %h10, %h1, %h2;", |x, y, _| b(g(x) + g(y))),
    ("sub.bf16x2 %r10, %r1, %r2;", |x, y, _| both(x, y, 0, |x, y, _| b(g(x) - g(y)))),
    ("fma.rn.bf16 %h10, %h1, %h2, %h3;", |x, y, z| b(g(x) * g(y) + g(z))),
    ("fma.rn.bf16x2 %r10, %r1, %r2, %r3;", |x, y, z| both(x, y, z, |x, y, z| b(g(x) * g(y) + g(z)))),
];

/// An approximation, and what it approximates.
type Approximation = (&'static str, fn(f64) -> f64);

const APPROXIMATE: &[Approximation] =
    &[("ex2.approx.ftz.bf16 %h10, %h1;", f64::exp2), ("tanh.approx.bf16 %h10, %h1;", f64::tanh)];

fn approximations() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let operands: Vec<_> =
        (0..256).map(|i| [u64::from(bf16::from_f32(i as f32 / 64.0 - 2.0).to_bits()), 0, 0]).collect();
    for (body, want) in APPROXIMATE {
        for ([x, ..], have) in operands.iter().zip(results(body, &operands, &mut seen)) {
            let (have, want) = (g(have), want(g(*x)));
            assert!((have - want).abs() <= want.abs() / 200.0 + 1e-6, "{body} of {} gives {have}", g(*x));
        }
    }
    seen
}

pub fn all() -> BTreeSet<String> {
    let mut seen = check(CASES, &triples(SPECIAL));
    seen.extend(check(FUSED_F16, &like_sizes(0x3400)));
    seen.extend(check(FUSED_BF16, &like_sizes(0x3c00)));
    seen.extend(approximations());
    seen
}

#[test]
fn halves_agree_with_the_nearest_of_all_halves() {
    check(CASES, &triples(SPECIAL));
}

#[test]
fn fused_halves_are_rounded_once() {
    check(FUSED_F16, &like_sizes(0x3400));
    check(FUSED_BF16, &like_sizes(0x3c00));
}

#[test]
fn approximations_of_halves_are_close() {
    approximations();
}
