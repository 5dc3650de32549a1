//! `cvt` between all kinds of types.

use std::collections::BTreeSet;

use half::{bf16, f16};

use crate::lanes::{Case, check, triples};

const SPECIAL: &[u64] = &[
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0x3f80_0000,
    0xbfc0_0000,
    0x4f80_0000,
    0xcf80_0000,
    0x7f80_0000,
    0x7fc0_0000,
    u64::MAX,
];

fn x(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn f(value: f32) -> u64 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits().into() }
}

fn half(value: f32) -> u64 {
    if value.is_nan() { 0x7fff } else { f16::from_f32(value).to_bits().into() }
}

fn brain(value: f32) -> u64 {
    if value.is_nan() { 0x7fff } else { bf16::from_f32(value).to_bits().into() }
}

const CASES: &[Case] = &[
    ("cvt.u32.u64 %r10, %rd1;", |a, _, _| a & 0xffff_ffff),
    ("cvt.s64.s32 %rd10, %r1;", |a, _, _| i64::from(a as i32) as u64),
    ("cvt.u64.u32 %rd10, %r1;", |a, _, _| a & 0xffff_ffff),
    ("cvt.s32.s16 %r10, %h1;", |a, _, _| u64::from(i32::from(a as i16) as u32)),
    ("cvt.u16.u32 %h10, %r1;", |a, _, _| a & 0xffff),
    ("cvt.s32.s8 %r10, %r1;", |a, _, _| u64::from(i32::from(a as i8) as u32)),
    ("cvt.u32.u8 %r10, %r1;", |a, _, _| a & 0xff),
    ("cvt.sat.s8.s32 %r10, %r1;", |a, _, _| (a as i32).clamp(-128, 127) as u64 & 0xff),
    ("cvt.sat.u8.s32 %r10, %r1;", |a, _, _| (a as i32).clamp(0, 255) as u64),
    ("cvt.sat.u16.u32 %h10, %r1;", |a, _, _| (a & 0xffff_ffff).min(0xffff)),
    ("cvt.rn.f32.s32 %f10, %r1;", |a, _, _| f(a as i32 as f32)),
    ("cvt.rn.f32.u32 %f10, %r1;", |a, _, _| f(a as u32 as f32)),
    ("cvt.rn.f32.u64 %f10, %rd1;", |a, _, _| f(a as f32)),
    ("cvt.rn.f32.s64 %f10, %rd1;", |a, _, _| f(a as i64 as f32)),
    ("cvt.rn.f64.s32 %d10, %r1;", |a, _, _| f64::from(a as i32).to_bits()),
    ("cvt.rn.f64.u64 %d10, %rd1;", |a, _, _| (a as f64).to_bits()),
    ("cvt.rzi.s32.f32 %r10, %f1;", |a, _, _| u64::from(x(a) as i32 as u32)),
    ("cvt.rzi.u32.f32 %r10, %f1;", |a, _, _| u64::from(x(a) as u32)),
    ("cvt.rni.s32.f32 %r10, %f1;", |a, _, _| u64::from(x(a).round_ties_even() as i32 as u32)),
    ("cvt.rmi.s32.f32 %r10, %f1;", |a, _, _| u64::from(x(a).floor() as i32 as u32)),
    ("cvt.rpi.s32.f32 %r10, %f1;", |a, _, _| u64::from(x(a).ceil() as i32 as u32)),
    ("cvt.rni.sat.s8.f32 %r10, %f1;", |a, _, _| x(a).round_ties_even() as i8 as u8 as u64),
    ("cvt.rzi.s64.f32 %rd10, %f1;", |a, _, _| if x(a).is_nan() { 1 << 63 } else { x(a) as i64 as u64 }),
    ("cvt.rzi.s32.f64 %r10, %d1;", |a, _, _| {
        let v = f64::from_bits(a);
        if v.is_nan() { 0x8000_0000 } else { u64::from(v as i32 as u32) }
    }),
    ("cvt.rni.f32.f32 %f10, %f1;", |a, _, _| f(x(a).round_ties_even())),
    ("cvt.rmi.ftz.f32.f32 %f10, %f1;", |a, _, _| {
        let v = x(a);
        f((if v.is_subnormal() { 0.0f32.copysign(v) } else { v }).floor())
    }),
    ("cvt.sat.f32.f32 %f10, %f1;", |a, _, _| {
        let v = x(a);
        if v.is_nan() || v <= 0.0 { 0 } else { f(v.min(1.0)) }
    }),
    ("cvt.f64.f32 %d10, %f1;", |a, _, _| {
        let v = f64::from(x(a));
        if v.is_nan() { 0x7ff8_0000_0000_0000 } else { v.to_bits() }
    }),
    ("cvt.rn.f32.f64 %f10, %d1;", |a, _, _| f(f64::from_bits(a) as f32)),
    ("cvt.rn.f16.f32 %h10, %f1;", |a, _, _| half(x(a))),
    ("cvt.f32.f16 %f10, %h1;", |a, _, _| f(f16::from_bits(a as u16).to_f32())),
    ("cvt.rn.bf16.f32 %h10, %f1;", |a, _, _| brain(x(a))),
    ("cvt.f32.bf16 %f10, %h1;", |a, _, _| f(bf16::from_bits(a as u16).to_f32())),
    ("cvt.rn.f16x2.f32 %r10, %f1, %f2;", |a, b, _| half(x(a)) << 16 | half(x(b))),
    ("cvt.rn.bf16x2.f32 %r10, %f1, %f2;", |a, b, _| brain(x(a)) << 16 | brain(x(b))),
    ("cvt.rn.relu.bf16x2.f32 %r10, %f1, %f2;", |a, b, _| {
        let relu = |v: f32| if v <= 0.0 { 0 } else { brain(v) };
        relu(x(a)) << 16 | relu(x(b))
    }),
    ("cvt.rz.bf16.f32 %h10, %f1;", |a, _, _| if x(a).is_nan() { 0x7fff } else { a >> 16 & 0xffff }),
    ("cvt.rn.f16.s32 %h10, %r1;", |a, _, _| f16::from_f64(f64::from(a as i32)).to_bits().into()),
    ("cvt.rzi.s32.f16 %r10, %h1;", |a, _, _| u64::from(f16::from_bits(a as u16).to_f32() as i32 as u32)),
    ("cvt.rn.f32.s8 %f10, %r1;", |a, _, _| f(f32::from(a as i8))),
    ("cvt.rna.tf32.f32 %r10, %f1;", |a, _, _| {
        let bits = a as u32;
        match x(a) {
            v if v.is_nan() => 0x7fff_e000,
            v if v.is_infinite() => bits.into(),
            // Half of the unit of the last place kept is added to the magnitude, and the rest is cut.
            _ => u64::from((bits + 0x1000) & !0x1fff),
        }
    }),
    ("cvt.rn.satfinite.e4m3x2.f32 %h10, %f1, %f2;", |a, b, _| e4m3(x(a)) << 8 | e4m3(x(b))),
    ("cvt.rn.f16x2.e4m3x2 %r10, %h1;", |a, _, _| {
        let one = |b: u64| half(e4m3_value(b & 0xff));
        one(a >> 8) << 16 | one(a)
    }),
    ("cvt.rn.satfinite.e5m2x2.f32 %h10, %f1, %f2;", |a, b, _| e5m2(x(a)) << 8 | e5m2(x(b))),
];

/// The value of an e4m3.
fn e4m3_value(bits: u64) -> f32 {
    let (e, m) = (bits >> 3 & 15, (bits & 7) as f32);
    let magnitude = match (e, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => m / 8.0 * 2f32.powi(-6),
        _ => (1.0 + m / 8.0) * 2f32.powi(e as i32 - 7),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The nearest e4m3, ties to even, the largest for what is beyond.
fn e4m3(v: f32) -> u64 {
    nearest(v, 0x7e, e4m3_value)
}

fn e5m2(v: f32) -> u64 {
    // An e5m2 is the upper byte of a half.
    nearest(v, 0x7b, |b| f16::from_bits((b << 8) as u16).to_f32())
}

fn nearest(v: f32, largest: u64, value: fn(u64) -> f32) -> u64 {
    if v.is_nan() {
        return 0x7f;
    }
    let sign = if v.is_sign_negative() { 0x80 } else { 0 };
    if v.abs() >= value(largest) {
        return sign | largest;
    }
    let away = |b: &u64| (f64::from(value(*b)) - f64::from(v.abs())).abs();
    let best = (0..=largest).min_by(|a, b| away(a).total_cmp(&away(b)).then((a & 1).cmp(&(b & 1))));
    sign | best.unwrap_or(0)
}

pub fn all() -> BTreeSet<String> {
    check(CASES, &triples(SPECIAL))
}

#[test]
fn conversions_agree_with_rust() {
    check(CASES, &triples(SPECIAL));
}

#[test]
fn conversions_of_small_numbers_agree_with_rust() {
    // Random bits are seldom floats whose fraction matters to an integer.
    let operands: Vec<_> = triples(&[])
        .into_iter()
        .map(|t| t.map(|b| u64::from((((b >> 40) as f32 - 8_388_608.0) / 60_000.0).to_bits())))
        .collect();
    check(CASES, &operands);
}
