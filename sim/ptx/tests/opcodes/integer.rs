//! Integers, bits and predicates.

use std::collections::BTreeSet;

use crate::lanes::{Case, check, triples};

const SPECIAL: &[u64] = &[
    0,
    1,
    2,
    7,
    31,
    32,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

fn s(x: u64) -> i32 {
    x as u32 as i32
}

fn u(x: u64) -> u32 {
    x as u32
}

fn w(x: i32) -> u64 {
    u64::from(x as u32)
}

const PLAIN: &[Case] = &[
    ("add.s32 %r10, %r1, %r2;", |a, b, _| w(s(a).wrapping_add(s(b)))),
    ("add.u64 %rd10, %rd1, %rd2;", |a, b, _| a.wrapping_add(b)),
    ("add.u16 %h10, %h1, %h2;", |a, b, _| a.wrapping_add(b) & 0xffff),
    ("add.sat.s32 %r10, %r1, %r2;", |a, b, _| w(s(a).saturating_add(s(b)))),
    ("sub.s32 %r10, %r1, %r2;", |a, b, _| w(s(a).wrapping_sub(s(b)))),
    ("sub.s64 %rd10, %rd1, %rd2;", |a, b, _| a.wrapping_sub(b)),
    ("sub.s32 %r10, %r1, -5;", |a, _, _| w(s(a).wrapping_add(5))),
    ("mul.lo.s32 %r10, %r1, %r2;", |a, b, _| w(s(a).wrapping_mul(s(b)))),
    ("mul.lo.s64 %rd10, %rd1, %rd2;", |a, b, _| a.wrapping_mul(b)),
    ("mul.lo.s16 %h10, %h1, %h2;", |a, b, _| a.wrapping_mul(b) & 0xffff),
    ("mul.hi.u32 %r10, %r1, %r2;", |a, b, _| (u64::from(u(a)) * u64::from(u(b))) >> 32),
    ("mul.hi.s32 %r10, %r1, %r2;", |a, b, _| w(((i64::from(s(a)) * i64::from(s(b))) >> 32) as i32)),
    ("mul.hi.u64 %rd10, %rd1, %rd2;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64),
    ("mul.hi.s64 %rd10, %rd1, %rd2;", |a, b, _| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64),
    ("mul.wide.u32 %rd10, %r1, %r2;", |a, b, _| u64::from(u(a)) * u64::from(u(b))),
    ("mul.wide.s32 %rd10, %r1, %r2;", |a, b, _| (i64::from(s(a)) * i64::from(s(b))) as u64),
    ("mul.wide.u32 %rd10, %r1, -1431655765;", |a, _, _| u64::from(u(a)) * 0xaaaa_aaab),
    ("mul.wide.s16 %r10, %h1, %h2;", |a, b, _| w(i32::from(a as i16) * i32::from(b as i16))),
    ("mul.wide.u16 %r10, %h1, %h2;", |a, b, _| (a & 0xffff) * (b & 0xffff)),
    ("mul24.lo.u32 %r10, %r1, %r2;", |a, b, _| ((a & 0xff_ffff) * (b & 0xff_ffff)) & 0xffff_ffff),
    ("mul24.lo.s32 %r10, %r1, %r2;", |a, b, _| w((s(a) << 8 >> 8).wrapping_mul(s(b) << 8 >> 8))),
    ("mad24.lo.u32 %r10, %r1, %r2, %r3;", |a, b, c| ((a & 0xff_ffff) * (b & 0xff_ffff) + c) & 0xffff_ffff),
    ("mad.lo.s32 %r10, %r1, %r2, %r3;", |a, b, c| w(s(a).wrapping_mul(s(b)).wrapping_add(s(c)))),
    ("mad.lo.u64 %rd10, %rd1, %rd2, %rd3;", |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
    ("mad.hi.s32 %r10, %r1, %r2, %r3;", |a, b, c| {
        w((((i64::from(s(a)) * i64::from(s(b))) >> 32) as i32).wrapping_add(s(c)))
    }),
    ("mad.wide.u32 %rd10, %r1, %r2, %rd3;", |a, b, c| (u64::from(u(a)) * u64::from(u(b))).wrapping_add(c)),
    ("mad.wide.s32 %rd10, %r1, %r2, %rd3;", |a, b, c| ((i64::from(s(a)) * i64::from(s(b))) as u64).wrapping_add(c)),
    ("div.s32 %r10, %r1, %r2;", |a, b, _| if s(b) == 0 { 0xffff_ffff } else { w(s(a).wrapping_div(s(b))) }),
    ("div.u32 %r10, %r1, %r2;", |a, b, _| u(a).checked_div(u(b)).unwrap_or(u32::MAX).into()),
    ("div.u64 %rd10, %rd1, %rd2;", |a, b, _| a.checked_div(b).unwrap_or(u64::MAX)),
    ("rem.s32 %r10, %r1, %r2;", |a, b, _| if s(b) == 0 { 0xffff_ffff } else { w(s(a).wrapping_rem(s(b))) }),
    ("rem.u64 %rd10, %rd1, %rd2;", |a, b, _| a.checked_rem(b).unwrap_or(u64::MAX)),
    ("min.s32 %r10, %r1, %r2;", |a, b, _| w(s(a).min(s(b)))),
    ("min.u64 %rd10, %rd1, %rd2;", |a, b, _| a.min(b)),
    ("max.u32 %r10, %r1, %r2;", |a, b, _| u(a).max(u(b)).into()),
    ("max.s64 %rd10, %rd1, %rd2;", |a, b, _| (a as i64).max(b as i64) as u64),
    ("max.s16x2 %r10, %r1, %r2;", |a, b, _| pairs(a, b, |x, y| x.max(y))),
    ("min.s16x2 %r10, %r1, %r2;", |a, b, _| pairs(a, b, |x, y| x.min(y))),
    ("add.s16x2 %r10, %r1, %r2;", |a, b, _| pairs(a, b, i16::wrapping_add)),
    ("abs.s32 %r10, %r1;", |a, _, _| w(s(a).wrapping_abs())),
    ("abs.s64 %rd10, %rd1;", |a, _, _| (a as i64).wrapping_abs() as u64),
    ("neg.s32 %r10, %r1;", |a, _, _| w(s(a).wrapping_neg())),
    ("neg.s16 %h10, %h1;", |a, _, _| a.wrapping_neg() & 0xffff),
    ("sad.u32 %r10, %r1, %r2, %r3;", |a, b, c| u(a).abs_diff(u(b)).wrapping_add(u(c)).into()),
    ("sad.s32 %r10, %r1, %r2, %r3;", |a, b, c| s(a).abs_diff(s(b)).wrapping_add(u(c)).into()),
    ("and.b32 %r10, %r1, %r2;", |a, b, _| u(a & b).into()),
    ("and.b64 %rd10, %rd1, 240;", |a, _, _| a & 240),
    ("or.b64 %rd10, %rd1, %rd2;", |a, b, _| a | b),
    ("xor.b32 %r10, %r1, %r2;", |a, b, _| u(a ^ b).into()),
    ("not.b32 %r10, %r1;", |a, _, _| u(!a).into()),
    ("not.b16 %h10, %h1;", |a, _, _| !a & 0xffff),
    ("cnot.b32 %r10, %r1;", |a, _, _| u64::from(u(a) == 0)),
    ("shl.b32 %r10, %r1, %r2;", |a, b, _| if u(b) > 31 { 0 } else { u64::from(u(a) << u(b)) }),
    ("shl.b64 %rd10, %rd1, %r2;", |a, b, _| if u(b) > 63 { 0 } else { a << u(b) }),
    ("shr.u32 %r10, %r1, %r2;", |a, b, _| if u(b) > 31 { 0 } else { u64::from(u(a) >> u(b)) }),
    ("shr.s32 %r10, %r1, %r2;", |a, b, _| w(s(a) >> u(b).min(31))),
    ("shr.s64 %rd10, %rd1, %r2;", |a, b, _| (a as i64 >> u(b).min(63)) as u64),
    ("shr.u16 %h10, %h1, 3;", |a, _, _| (a & 0xffff) >> 3),
    ("shf.l.wrap.b32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let n = u(c) & 31;
        u64::from(if n == 0 { u(b) } else { u(b) << n | u(a) >> (32 - n) })
    }),
    ("shf.l.clamp.b32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let n = u(c).min(32);
        u64::from(match n {
            0 => u(b),
            32 => u(a),
            n => u(b) << n | u(a) >> (32 - n),
        })
    }),
    ("shf.r.wrap.b32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let n = u(c) & 31;
        u64::from(if n == 0 { u(a) } else { u(b) << (32 - n) | u(a) >> n })
    }),
    ("shf.r.clamp.b32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let n = u(c).min(32);
        u64::from(match n {
            0 => u(a),
            32 => u(b),
            n => u(b) << (32 - n) | u(a) >> n,
        })
    }),
    ("popc.b32 %r10, %r1;", |a, _, _| u(a).count_ones().into()),
    ("popc.b64 %r10, %rd1;", |a, _, _| a.count_ones().into()),
    ("clz.b32 %r10, %r1;", |a, _, _| u(a).leading_zeros().into()),
    ("clz.b64 %r10, %rd1;", |a, _, _| a.leading_zeros().into()),
    ("brev.b32 %r10, %r1;", |a, _, _| (0..32).fold(0, |o, i| o | (a >> i & 1) << (31 - i))),
    ("brev.b64 %rd10, %rd1;", |a, _, _| (0..64).fold(0, |o, i| o | (a >> i & 1) << (63 - i))),
    ("bfind.u32 %r10, %r1;", |a, _, _| (0..32).rev().find(|i| a >> i & 1 == 1).unwrap_or(0xffff_ffff)),
    ("bfind.s32 %r10, %r1;", |a, _, _| {
        let sign = a >> 31 & 1;
        (0..32).rev().find(|i| a >> i & 1 != sign).unwrap_or(0xffff_ffff)
    }),
    ("bfind.shiftamt.u32 %r10, %r1;", |a, _, _| {
        (0..32).rev().find(|i| a >> i & 1 == 1).map_or(0xffff_ffff, |i| 31 - i)
    }),
    ("bfind.u64 %r10, %rd1;", |a, _, _| (0..64).rev().find(|i| a >> i & 1 == 1).unwrap_or(0xffff_ffff)),
    ("bfe.u32 %r10, %r1, %r2, %r3;", |a, b, c| extract(a, b, c, 32, false)),
    ("bfe.s32 %r10, %r1, %r2, %r3;", |a, b, c| extract(a, b, c, 32, true)),
    ("bfe.u64 %rd10, %rd1, %r2, %r3;", |a, b, c| extract(a, b, c, 64, false)),
    ("bfe.s64 %rd10, %rd1, %r2, 17;", |a, b, _| extract(a, b, 17, 64, true)),
    ("bfe.s32 %r10, %r1, 4, 5;", |a, _, _| w(s(a) << 23 >> 27)),
    ("bfi.b32 %r10, %r1, %r2, %r3, 5;", |a, b, c| insert(a, b, c, 5, 32)),
    ("bfi.b32 %r10, %r1, %r2, 3, %r3;", |a, b, c| insert(a, b, 3, c, 32)),
    ("bfi.b64 %rd10, %rd1, %rd2, 40, %r3;", |a, b, c| insert(a, b, 40, c, 64)),
    ("bmsk.clamp.b32 %r10, %r1, %r2;", |a, b, _| {
        (0..32).filter(|i| *i >= u(a) && *i - u(a) < u(b)).fold(0, |o, i| o | 1 << i)
    }),
    ("bmsk.wrap.b32 %r10, %r1, %r2;", |a, b, _| {
        (0..32).filter(|i| *i >= u(a) % 32 && *i - u(a) % 32 < u(b) % 32).fold(0, |o, i| o | 1 << i)
    }),
    ("fns.b32 %r10, %r1, 0, 3;", |a, _, _| (0..32).filter(|i| a >> i & 1 == 1).nth(2).unwrap_or(0xffff_ffff)),
    ("fns.b32 %r10, %r1, 31, -2;", |a, _, _| (0..32).rev().filter(|i| a >> i & 1 == 1).nth(1).unwrap_or(0xffff_ffff)),
    ("lop3.b32 %r10, %r1, %r2, %r3, 0xE8;", |a, b, c| u((a & b) | (a & c) | (b & c)).into()),
    ("lop3.b32 %r10, %r1, %r2, %r3, 0x96;", |a, b, c| u(a ^ b ^ c).into()),
    ("lop3.b32 %r10, %r1, %r2, %r3, 0x2A;", |a, b, c| u(!(a & b) & c).into()),
    ("prmt.b32 %r10, %r1, %r2, 0x7531;", |a, b, _| {
        (a >> 8 & 0xff) | (a >> 24 & 0xff) << 8 | (b >> 8 & 0xff) << 16 | (b >> 24 & 0xff) << 24
    }),
    ("prmt.b32 %r10, %r1, %r2, 0x8C40;", |a, b, _| {
        let sign = |x: u64| if x >> 7 & 1 == 1 { 0xff } else { 0 };
        (a & 0xff) | (b & 0xff) << 8 | sign(b) << 16 | sign(a) << 24
    }),
    ("prmt.b32.f4e %r10, %r1, %r2, %r3;", |a, b, c| {
        (u(b) as u64 * (1 << 32) + u64::from(u(a))) >> (8 * (c & 3)) & 0xffff_ffff
    }),
    ("prmt.b32.rc8 %r10, %r1, %r2, %r3;", |a, _, c| (a >> (8 * (c & 3)) & 0xff) * 0x0101_0101),
    ("dp4a.s32.s32 %r10, %r1, %r2, %r3;", |a, b, c| {
        w((0..4).fold(s(c), |t, i| t.wrapping_add(i32::from((a >> (8 * i)) as i8) * i32::from((b >> (8 * i)) as i8))))
    }),
    ("dp4a.u32.s32 %r10, %r1, %r2, %r3;", |a, b, c| {
        w((0..4).fold(s(c), |t, i| t.wrapping_add(i32::from((a >> (8 * i)) as u8) * i32::from((b >> (8 * i)) as i8))))
    }),
    ("dp2a.lo.s32.s32 %r10, %r1, %r2, %r3;", |a, b, c| {
        w((0..2).fold(s(c), |t, i| t.wrapping_add(i32::from((a >> (16 * i)) as i16) * i32::from((b >> (8 * i)) as i8))))
    }),
    ("dp2a.hi.u32.u32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let term = |i: u32| (a >> (16 * i) & 0xffff) * (b >> (16 + 8 * i) & 0xff);
        (c + term(0) + term(1)) & 0xffff_ffff
    }),
    ("add.cc.u64 %rd11, %rd1, %rd2; addc.u64 %rd10, %rd3, 1;", |a, b, c| {
        ((u128::from(a) + u128::from(b) + (u128::from(c) << 64) + (1 << 64)) >> 64) as u64
    }),
    ("sub.cc.u32 %r11, %r1, %r2; subc.cc.u32 %r12, %r3, %r2; subc.u32 %r10, 0, 0;", |a, b, c| {
        let low = |x: u64| u128::from(x & 0xffff_ffff);
        ((low(a) | low(c) << 32).wrapping_sub(low(b) | low(b) << 32) >> 64) as u64 & 0xffff_ffff
    }),
    ("mad.lo.cc.u32 %r11, %r1, %r2, %r3; madc.hi.u32 %r10, %r1, %r2, 0;", |a, b, c| {
        (u64::from(u(a)) * u64::from(u(b)) + u64::from(u(c))) >> 32
    }),
    ("cvt.pack.sat.s8.s32.b32 %r10, %r1, %r2, %r3;", |a, b, c| {
        let byte = |x: u64| s(x).clamp(-128, 127) as u64 & 0xff;
        (c & 0xffff) << 16 | byte(a) << 8 | byte(b)
    }),
    ("cvt.pack.sat.u16.s32 %r10, %r1, %r2;", |a, b, _| {
        (s(a).clamp(0, 65535) as u64) << 16 | s(b).clamp(0, 65535) as u64
    }),
    ("mov.b64 %rd10, {%r2, %r1};", |a, b, _| u64::from(u(b)) | a << 32),
    ("mov.b32 %r10, {%h1, %h2};", |a, b, _| (a & 0xffff) | (b & 0xffff) << 16),
    ("mov.b64 {%r10, %r11}, %rd1;", |a, _, _| u(a).into()),
    ("mov.b64 {_, %r10}, %rd1;", |a, _, _| a >> 32),
    ("mov.u32 %r10, 0xdeadbeef;", |_, _, _| 0xdead_beef),
];

const PREDICATES: &[Case] = &[
    ("setp.eq.s32 %p10, %r1, %r2;", |a, b, _| (u(a) == u(b)).into()),
    ("setp.ne.u64 %p10, %rd1, %rd2;", |a, b, _| (a != b).into()),
    ("setp.lt.s32 %p10, %r1, %r2;", |a, b, _| (s(a) < s(b)).into()),
    ("setp.lt.u32 %p10, %r1, %r2;", |a, b, _| (u(a) < u(b)).into()),
    ("setp.ls.u32 %p10, %r1, %r2;", |a, b, _| (u(a) <= u(b)).into()),
    ("setp.hi.u64 %p10, %rd1, %rd2;", |a, b, _| (a > b).into()),
    ("setp.ge.s64 %p10, %rd1, %rd2;", |a, b, _| (a as i64 >= b as i64).into()),
    ("setp.gt.s16 %p10, %h1, %h2;", |a, b, _| (a as i16 > b as i16).into()),
    ("setp.lt.s32 %p1, %r1, %r2; setp.lt.and.s32 %p10, %r2, %r3, %p1;", |a, b, c| (s(a) < s(b) && s(b) < s(c)).into()),
    ("setp.lt.s32 %p1, %r1, %r2; setp.eq.or.s32 %p10, %r2, %r3, !%p1;", |a, b, c| {
        (s(a) >= s(b) || s(b) == s(c)).into()
    }),
    ("setp.le.s32 %p1|%p10, %r1, %r2;", |a, b, _| (s(a) > s(b)).into()),
    ("setp.lt.s32 %p1|%p2, %r1, %r2; selp.u32 %r10, 5, 7, %p1;", |a, b, _| if s(a) < s(b) { 5 } else { 7 }),
    ("setp.lt.s32 %p1, %r1, %r2; setp.lt.s32 %p2, %r2, %r3; xor.pred %p10, %p1, %p2;", |a, b, c| {
        ((s(a) < s(b)) != (s(b) < s(c))).into()
    }),
    ("setp.lt.s32 %p1, %r1, %r2; not.pred %p10, %p1;", |a, b, _| (s(a) >= s(b)).into()),
    ("setp.lt.s32 %p1, %r1, %r2; mov.pred %p10, %p1;", |a, b, _| (s(a) < s(b)).into()),
    (
        "setp.lt.s32 %p1, %r1, %r2; setp.lt.s32 %p2, %r2, %r3; and.pred %p3, %p1, !%p2; or.pred %p10, %p3, 0;",
        |a, b, c| (s(a) < s(b) && s(b) >= s(c)).into(),
    ),
    ("set.lt.u32.s32 %r10, %r1, %r2;", |a, b, _| if s(a) < s(b) { 0xffff_ffff } else { 0 }),
    ("set.ge.f32.u32 %f10, %r1, %r2;", |a, b, _| if u(a) >= u(b) { 0x3f80_0000 } else { 0 }),
    ("setp.gt.u32 %p1, %r1, 9; selp.b64 %rd10, %rd2, %rd3, %p1;", |a, b, c| if u(a) > 9 { b } else { c }),
    ("slct.s32.s32 %r10, %r1, %r2, %r3;", |a, b, c| if s(c) >= 0 { u(a) } else { u(b) }.into()),
    ("slct.u64.f32 %rd10, %rd1, %rd2, %f3;", |a, b, c| if f32::from_bits(u(c)) >= 0.0 { a } else { b }),
    ("mov.u32 %r10, 1; setp.lt.u32 %p1, %r1, %r2; @%p1 mov.u32 %r10, 2; @!%p1 add.u32 %r10, %r10, 8;", |a, b, _| {
        if u(a) < u(b) { 2 } else { 9 }
    }),
];

fn pairs(a: u64, b: u64, f: impl Fn(i16, i16) -> i16) -> u64 {
    let half = |i: u32| u64::from(f((a >> i) as i16, (b >> i) as i16) as u16) << i;
    half(0) | half(16)
}

/// `bfe` bit by bit, as the ISA describes it.
fn extract(a: u64, start: u64, length: u64, bits: u64, signed: bool) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    let sign = if !signed || length == 0 { 0 } else { a >> (start + length - 1).min(bits - 1) & 1 };
    (0..bits).fold(0, |out, i| {
        let bit = if i < length && start + i < bits { a >> (start + i) & 1 } else { sign };
        out | bit << i
    })
}

/// `bfi` bit by bit.
fn insert(a: u64, b: u64, start: u64, length: u64, bits: u64) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    (0..bits).fold(0, |out, i| {
        let from_a = i >= start && i - start < length;
        out | (if from_a { a >> (i - start) } else { b >> i } & 1) << i
    })
}

pub fn all() -> BTreeSet<String> {
    let operands = triples(SPECIAL);
    let mut seen = check(PLAIN, &operands);
    seen.extend(check(PREDICATES, &operands));
    seen
}

#[test]
fn integer_and_bit_instructions_agree_with_rust() {
    check(PLAIN, &triples(SPECIAL));
}

#[test]
fn comparisons_and_predicates_agree_with_rust() {
    check(PREDICATES, &triples(SPECIAL));
}

#[test]
fn small_shifts_and_fields_agree_with_rust() {
    // Amounts within the width, which random operands hardly ever are.
    let operands: Vec<_> = triples(SPECIAL)
        .into_iter()
        .enumerate()
        .map(|(i, [a, b, _])| [a, (b & !0xff_ffff_ffff) | (i as u64 % 70), (i as u64 * 7) % 70])
        .collect();
    check(PLAIN, &operands);
}
