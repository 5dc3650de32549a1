//! Single and double precision.

use std::collections::BTreeSet;

use crate::lanes::{Case, check, results, triples};

const SPECIAL: &[u64] = &[
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x0000_0001,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x4049_0fdb,
    0x7e90_0000,
];

const SPECIAL_64: &[u64] = &[
    0,
    1 << 63,
    0x3ff0_0000_0000_0000,
    0xbff8_0000_0000_0000,
    1,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x4009_21fb_5444_2d18,
];

fn x(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn f(value: f32) -> u64 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits().into() }
}

fn y(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn d(value: f64) -> u64 {
    if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() }
}

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

/// The neighbours of the exact value of `rounded`, given whether it lies above or below the exact one.
fn toward(rounded: f32, error: f64, up: bool) -> f32 {
    // `error` is exact minus rounded.
    if error == 0.0 || !rounded.is_finite() {
        rounded
    } else if up {
        if error > 0.0 { rounded.next_up() } else { rounded }
    } else if error < 0.0 {
        rounded.next_down()
    } else {
        rounded
    }
}

fn least(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => f32::from_bits(a.to_bits() | b.to_bits()),
        _ => a.min(b),
    }
}

fn most(a: f32, b: f32) -> f32 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == 0.0 && b == 0.0 => f32::from_bits(a.to_bits() & b.to_bits()),
        _ => a.max(b),
    }
}

const SINGLE: &[Case] = &[
    ("add.f32 %f10, %f1, %f2;", |a, b, _| f(x(a) + x(b))),
    ("add.rn.f32 %f10, %f1, 0f3F800000;", |a, _, _| f(x(a) + 1.0)),
    ("add.ftz.f32 %f10, %f1, %f2;", |a, b, _| f(flush(flush(x(a)) + flush(x(b))))),
    ("add.sat.f32 %f10, %f1, %f2;", |a, b, _| {
        let t = x(a) + x(b);
        if t.is_nan() || t <= 0.0 { 0 } else { f(t.min(1.0)) }
    }),
    ("sub.f32 %f10, %f1, %f2;", |a, b, _| f(x(a) - x(b))),
    ("mul.f32 %f10, %f1, %f2;", |a, b, _| f(x(a) * x(b))),
    ("mul.rz.f32 %f10, %f1, %f2;", |a, b, _| {
        let exact = f64::from(x(a)) * f64::from(x(b));
        let near = exact as f32;
        if exact.is_nan() {
            0x7fff_ffff
        } else if near.is_infinite() && exact.is_finite() {
            f(f32::MAX.copysign(near))
        } else if f64::from(near).abs() > exact.abs() {
            u64::from(near.to_bits() - 1)
        } else {
            f(near)
        }
    }),
    ("fma.rn.f32 %f10, %f1, %f2, %f3;", |a, b, c| f(x(a).mul_add(x(b), x(c)))),
    ("mad.rn.f32 %f10, %f1, %f2, %f3;", |a, b, c| f(x(a).mul_add(x(b), x(c)))),
    ("div.rn.f32 %f10, %f1, %f2;", |a, b, _| f(x(a) / x(b))),
    ("div.full.f32 %f10, %f1, %f2;", |a, b, _| f(x(a) / x(b))),
    ("div.approx.f32 %f10, %f1, %f2;", |a, b, _| {
        let (a, b) = (x(a), x(b));
        if b.abs() > 2.0f32.powi(126) && b.is_finite() {
            // Beyond 2^126 the reciprocal is flushed: zero, or NaN of an infinity.
            f(a * (0.0 * b))
        } else {
            f(a / b)
        }
    }),
    ("rcp.rn.f32 %f10, %f1;", |a, _, _| f(1.0 / x(a))),
    ("rcp.approx.ftz.f32 %f10, %f1;", |a, _, _| f(flush(1.0 / flush(x(a))))),
    ("sqrt.rn.f32 %f10, %f1;", |a, _, _| f(x(a).sqrt())),
    ("sqrt.approx.f32 %f10, %f1;", |a, _, _| f(x(a).sqrt())),
    ("neg.f32 %f10, %f1;", |a, _, _| u64::from(a as u32 ^ 0x8000_0000)),
    ("abs.f32 %f10, %f1;", |a, _, _| a & 0x7fff_ffff),
    ("copysign.f32 %f10, %f1, %f2;", |a, b, _| (b & 0x7fff_ffff) | (a & 0x8000_0000)),
    ("min.f32 %f10, %f1, %f2;", |a, b, _| f(least(x(a), x(b)))),
    ("max.f32 %f10, %f1, %f2;", |a, b, _| f(most(x(a), x(b)))),
    (
        "max.NaN.f32 %f10, %f1, %f2;",
        |a, b, _| {
            if x(a).is_nan() || x(b).is_nan() { 0x7fff_ffff } else { f(most(x(a), x(b))) }
        },
    ),
    ("setp.lt.f32 %p10, %f1, %f2;", |a, b, _| (x(a) < x(b)).into()),
    ("setp.ne.f32 %p10, %f1, %f2;", |a, b, _| (x(a) < x(b) || x(a) > x(b)).into()),
    ("setp.neu.f32 %p10, %f1, %f2;", |a, b, _| (x(a) != x(b)).into()),
    ("setp.equ.f32 %p10, %f1, %f2;", |a, b, _| (x(a) == x(b) || x(a).is_nan() || x(b).is_nan()).into()),
    ("setp.geu.f32 %p10, %f1, %f2;", |a, b, _| (x(a) >= x(b) || x(a).is_nan() || x(b).is_nan()).into()),
    ("setp.num.f32 %p10, %f1, %f2;", |a, b, _| (!x(a).is_nan() && !x(b).is_nan()).into()),
    ("setp.nan.f32 %p10, %f1, %f2;", |a, b, _| (x(a).is_nan() || x(b).is_nan()).into()),
    ("testp.finite.f32 %p10, %f1;", |a, _, _| x(a).is_finite().into()),
    ("testp.infinite.f32 %p10, %f1;", |a, _, _| x(a).is_infinite().into()),
    ("testp.notanumber.f32 %p10, %f1;", |a, _, _| x(a).is_nan().into()),
    ("testp.subnormal.f32 %p10, %f1;", |a, _, _| x(a).is_subnormal().into()),
    ("setp.gt.ftz.f32 %p10, %f1, %f2;", |a, b, _| (flush(x(a)) > flush(x(b))).into()),
];

/// Sums of numbers of like size, whose errors double precision holds.
const DIRECTED: &[Case] = &[
    ("add.rm.f32 %f10, %f1, %f2;", |a, b, _| {
        let exact = f64::from(x(a)) + f64::from(x(b));
        f(toward(exact as f32, exact - f64::from(exact as f32), false))
    }),
    ("add.rp.f32 %f10, %f1, %f2;", |a, b, _| {
        let exact = f64::from(x(a)) + f64::from(x(b));
        f(toward(exact as f32, exact - f64::from(exact as f32), true))
    }),
    ("fma.rp.f32 %f10, %f1, %f2, 0f00000000;", |a, b, _| {
        let exact = f64::from(x(a)) * f64::from(x(b));
        f(toward(exact as f32, exact - f64::from(exact as f32), true))
    }),
];

const DOUBLE: &[Case] = &[
    ("add.f64 %d10, %d1, %d2;", |a, b, _| d(y(a) + y(b))),
    ("sub.f64 %d10, %d1, %d2;", |a, b, _| d(y(a) - y(b))),
    ("mul.f64 %d10, %d1, 0d4000000000000000;", |a, _, _| d(y(a) * 2.0)),
    ("fma.rn.f64 %d10, %d1, %d2, %d3;", |a, b, c| d(y(a).mul_add(y(b), y(c)))),
    ("div.rn.f64 %d10, %d1, %d2;", |a, b, _| d(y(a) / y(b))),
    ("rcp.rn.f64 %d10, %d1;", |a, _, _| d(1.0 / y(a))),
    ("sqrt.rn.f64 %d10, %d1;", |a, _, _| d(y(a).sqrt())),
    ("neg.f64 %d10, %d1;", |a, _, _| a ^ 1 << 63),
    ("abs.f64 %d10, %d1;", |a, _, _| a & !(1 << 63)),
    ("min.f64 %d10, %d1, %d1;", |a, _, _| d(y(a))),
    ("setp.lt.f64 %p10, %d1, %d2;", |a, b, _| (y(a) < y(b)).into()),
    ("testp.normal.f64 %p10, %d1;", |a, _, _| y(a).is_normal().into()),
    ("testp.number.f64 %p10, %d1;", |a, _, _| (!y(a).is_nan()).into()),
    ("setp.gtu.f64 %p10, %d1, %d2;", |a, b, _| (y(a) > y(b) || y(a).is_nan() || y(b).is_nan()).into()),
];

/// An approximation, and what it approximates.
type Approximation = (&'static str, fn(f64) -> f64);

/// Approximations, which are compared within an error.
const APPROXIMATE: &[Approximation] = &[
    ("ex2.approx.ftz.f32 %f10, %f1;", f64::exp2),
    ("ex2.approx.f32 %f10, %f1;", f64::exp2),
    ("lg2.approx.f32 %f10, %f1;", f64::log2),
    ("sin.approx.f32 %f10, %f1;", f64::sin),
    ("cos.approx.f32 %f10, %f1;", f64::cos),
    ("tanh.approx.f32 %f10, %f1;", f64::tanh),
    ("rsqrt.approx.f32 %f10, %f1;", |x| 1.0 / x.sqrt()),
];

fn approximations() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let operands: Vec<_> = (0..256u32).map(|i| [u64::from((0.05 + i as f32 * 0.07).to_bits()), 0, 0]).collect();
    for (body, want) in APPROXIMATE {
        for ([a, ..], have) in operands.iter().zip(results(body, &operands, &mut seen)) {
            let (have, want) = (f64::from(x(have)), want(f64::from(x(*a))));
            assert!((have - want).abs() <= 1e-6 * want.abs().max(1e-3), "{body} of {} gives {have}", x(*a));
        }
    }
    seen
}

fn like_sizes() -> Vec<[u64; 3]> {
    triples(&[]).into_iter().map(|t| t.map(|b| (b & 0x80ff_ffff) | 0x3f00_0000)).collect()
}

pub fn all() -> BTreeSet<String> {
    let mut seen = check(SINGLE, &triples(SPECIAL));
    seen.extend(check(DIRECTED, &like_sizes()));
    seen.extend(check(DOUBLE, &triples(SPECIAL_64)));
    seen.extend(approximations());
    seen
}

#[test]
fn single_precision_agrees_with_rust_bit_by_bit() {
    check(SINGLE, &triples(SPECIAL));
}

#[test]
fn directed_rounding_takes_the_neighbour_on_its_side() {
    check(DIRECTED, &like_sizes());
}

#[test]
fn double_precision_agrees_with_rust_bit_by_bit() {
    check(DOUBLE, &triples(SPECIAL_64));
}

#[test]
fn approximations_are_close() {
    approximations();
}
