//! Integer and bit arithmetic.

use super::{LaneFn, lanes};
use crate::op::CarryOp;
use crate::types::{Kind, Type, mask};

/// The function of an integer or bit instruction: `op` is the opcode with the modifier that selects its result, as in
/// `mul.hi`.
pub(crate) fn function(op: &str, ty: Type) -> Option<LaneFn> {
    let signed = ty.kind == Kind::S;
    match (ty.kind, ty.bits) {
        (Kind::B | Kind::U | Kind::S, 16) => sixteen(op, signed),
        (Kind::B | Kind::U | Kind::S, 32) => thirty_two(op, signed),
        (Kind::B | Kind::U | Kind::S, 64) => sixty_four(op, signed),
        (Kind::U2 | Kind::S2, 32) => packed(op, ty.kind == Kind::S2),
        _ => None,
    }
}

/// Functions of one width: its unsigned and signed types, and those twice as wide.
macro_rules! width {
    ($name:ident, $u:ty, $s:ty, $wide:ty, $swide:ty) => {
        fn $name(op: &str, signed: bool) -> Option<LaneFn> {
            const BITS: u64 = <$u>::BITS as u64;
            Some(match (op, signed) {
                ("add", _) => lanes!(|a, b| (a as $u).wrapping_add(b as $u) as u64),
                ("sub", _) => lanes!(|a, b| (a as $u).wrapping_sub(b as $u) as u64),
                ("mul.lo", _) => lanes!(|a, b| (a as $u).wrapping_mul(b as $u) as u64),
                ("mad.lo", _) => lanes!(|a, b, c| (a as $u).wrapping_mul(b as $u).wrapping_add(c as $u) as u64),
                ("mul.hi", false) => lanes!(|a, b| ((a as $u as $wide * b as $u as $wide) >> BITS) as $u as u64),
                ("mul.hi", true) => lanes!(|a, b| ((a as $s as $swide * b as $s as $swide) >> BITS) as $u as u64),
                ("mad.hi", false) => {
                    lanes!(
                        |a, b, c| (((a as $u as $wide * b as $u as $wide) >> BITS) as $u).wrapping_add(c as $u) as u64
                    )
                }
                ("mad.hi", true) => {
                    lanes!(|a, b, c| (((a as $s as $swide * b as $s as $swide) >> BITS) as $u).wrapping_add(c as $u)
                        as u64)
                }
                // What a division by zero returns is left open by the ISA; the hardware returns all ones.
                ("div", false) => lanes!(|a, b| (a as $u).checked_div(b as $u).unwrap_or(!0) as u64),
                ("div", true) => {
                    lanes!(|a, b| if b as $s == 0 { !0 } else { (a as $s).wrapping_div(b as $s) } as $u as u64)
                }
                ("rem", false) => lanes!(|a, b| (a as $u).checked_rem(b as $u).unwrap_or(!0) as u64),
                ("rem", true) => {
                    lanes!(|a, b| if b as $s == 0 { !0 } else { (a as $s).wrapping_rem(b as $s) } as $u as u64)
                }
                ("min", false) => lanes!(|a, b| (a as $u).min(b as $u) as u64),
                ("min", true) => lanes!(|a, b| (a as $s).min(b as $s) as $u as u64),
                ("max", false) => lanes!(|a, b| (a as $u).max(b as $u) as u64),
                ("max", true) => lanes!(|a, b| (a as $s).max(b as $s) as $u as u64),
                ("sad", false) => lanes!(|a, b, c| (a as $u).abs_diff(b as $u).wrapping_add(c as $u) as u64),
                ("sad", true) => lanes!(|a, b, c| (a as $s).abs_diff(b as $s).wrapping_add(c as $u) as u64),
                ("abs", true) => lanes!(|a| (a as $s).wrapping_abs() as $u as u64),
                ("neg", true) => lanes!(|a| (a as $s).wrapping_neg() as $u as u64),
                ("add.sat", true) => lanes!(|a, b| (a as $s).saturating_add(b as $s) as $u as u64),
                ("sub.sat", true) => lanes!(|a, b| (a as $s).saturating_sub(b as $s) as $u as u64),
                ("mov", _) => lanes!(|a| a as $u as u64),
                ("and", _) => lanes!(|a, b| (a & b) as $u as u64),
                ("or", _) => lanes!(|a, b| (a | b) as $u as u64),
                ("xor", _) => lanes!(|a, b| (a ^ b) as $u as u64),
                ("not", _) => lanes!(|a| !(a as $u) as u64),
                ("cnot", _) => lanes!(|a| u64::from(a as $u == 0)),
                // Amounts beyond the width clamp to it; the amount is a 32-bit number whatever the type.
                ("shl", _) => lanes!(|a, b| (a as $u).checked_shl(b as u32).unwrap_or(0) as u64),
                ("shr", false) => lanes!(|a, b| (a as $u).checked_shr(b as u32).unwrap_or(0) as u64),
                ("shr", true) => lanes!(|a, b| ((a as $s) >> (b as u32).min(BITS as u32 - 1)) as $u as u64),
                ("popc", _) => lanes!(|a| u64::from((a as $u).count_ones())),
                ("clz", _) => lanes!(|a| u64::from((a as $u).leading_zeros())),
                ("brev", _) => lanes!(|a| (a as $u).reverse_bits() as u64),
                ("bfind", false) => lanes!(|a| bfind(a as $u as u64)),
                ("bfind", true) => lanes!(|a| bfind((if (a as $s) < 0 { !(a as $u) } else { a as $u }) as u64)),
                ("bfind.shiftamt", false) => lanes!(|a| shift_amount(bfind(a as $u as u64), BITS)),
                ("bfind.shiftamt", true) => {
                    lanes!(|a| shift_amount(bfind((if (a as $s) < 0 { !(a as $u) } else { a as $u }) as u64), BITS))
                }
                ("bfe", false) => lanes!(|a, b, c| bfe(a as $u as u64, b, c, BITS, false) as $u as u64),
                ("bfe", true) => lanes!(|a, b, c| bfe(a as $u as u64, b, c, BITS, true) as $u as u64),
                _ => return None,
            })
        }
    };
}

width!(sixteen, u16, i16, u32, i32);
width!(thirty_two_plain, u32, i32, u64, i64);
width!(sixty_four, u64, i64, u128, i128);

fn thirty_two(op: &str, signed: bool) -> Option<LaneFn> {
    Some(match (op, signed) {
        ("mul24.lo", false) => lanes!(|a, b| ((a & 0xff_ffff) * (b & 0xff_ffff)) as u32 as u64),
        ("mul24.lo", true) => lanes!(|a, b| i64::from(low24(a)).wrapping_mul(low24(b).into()) as u32 as u64),
        ("mad24.lo", false) => {
            lanes!(|a, b, c| (((a & 0xff_ffff) * (b & 0xff_ffff)) as u32).wrapping_add(c as u32) as u64)
        }
        ("mad24.lo", true) => {
            lanes!(|a, b, c| (i64::from(low24(a)).wrapping_mul(low24(b).into()) as u32).wrapping_add(c as u32) as u64)
        }
        ("fns", _) => lanes!(|a, b, c| u64::from(find_nth_set(a as u32, b as u32, c as u32 as i32))),
        ("bmsk.clamp", _) => lanes!(|a, b| u64::from(ones_from(a as u32, b as u32))),
        ("bmsk.wrap", _) => lanes!(|a, b| u64::from(ones_from(a as u32 & 31, b as u32 & 31))),
        ("shf.l.wrap", _) => lanes!(|a, b, c| ((b << 32 | a) << (c & 31) >> 32) as u32 as u64),
        ("shf.l.clamp", _) => lanes!(|a, b, c| ((b << 32 | a) << (c as u32).min(32) >> 32) as u32 as u64),
        ("shf.r.wrap", _) => lanes!(|a, b, c| ((b << 32 | a) >> (c & 31)) as u32 as u64),
        ("shf.r.clamp", _) => lanes!(|a, b, c| ((b << 32 | a) >> (c as u32).min(32)) as u32 as u64),
        ("prmt", _) => lanes!(|a, b, c| u64::from(permute(b << 32 | a, c as u32))),
        ("prmt.f4e", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [0, 1, 2, 3].map(|i| i + (c & 3))))),
        ("prmt.b4e", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [8, 7, 6, 5].map(|i| (i + (c & 3)) & 7)))),
        ("prmt.rc8", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [c & 3; 4]))),
        ("prmt.ecl", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [0, 1, 2, 3].map(|i: u64| i.max(c & 3))))),
        ("prmt.ecr", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [0, 1, 2, 3].map(|i: u64| i.min(c & 3))))),
        ("prmt.rc16", _) => lanes!(|a, b, c| u64::from(select(b << 32 | a, [0, 1, 0, 1].map(|i| i + 2 * (c & 1))))),
        _ => return thirty_two_plain(op, signed),
    })
}

/// Products twice as wide as their factors, of factors of type `ty`; `op` is `mul.wide` or `mad.wide`.
pub(crate) fn wide(op: &str, ty: Type) -> Option<LaneFn> {
    Some(match (op, ty.kind, ty.bits) {
        ("mul.wide", Kind::U, 16) => lanes!(|a, b| (a as u16 as u32 * b as u16 as u32) as u64),
        ("mul.wide", Kind::S, 16) => lanes!(|a, b| (a as i16 as i32 * b as i16 as i32) as u32 as u64),
        ("mul.wide", Kind::U, 32) => lanes!(|a, b| a as u32 as u64 * b as u32 as u64),
        ("mul.wide", Kind::S, 32) => lanes!(|a, b| (a as i32 as i64 * b as i32 as i64) as u64),
        ("mad.wide", Kind::U, 16) => {
            lanes!(|a, b, c| (a as u16 as u32 * b as u16 as u32).wrapping_add(c as u32) as u64)
        }
        ("mad.wide", Kind::S, 16) => {
            lanes!(|a, b, c| ((a as i16 as i32 * b as i16 as i32) as u32).wrapping_add(c as u32) as u64)
        }
        ("mad.wide", Kind::U, 32) => lanes!(|a, b, c| (a as u32 as u64 * b as u32 as u64).wrapping_add(c)),
        ("mad.wide", Kind::S, 32) => lanes!(|a, b, c| ((a as i32 as i64 * b as i32 as i64) as u64).wrapping_add(c)),
        _ => return None,
    })
}

/// `cvt.pack`: two integers clamped to type `to`, the first above the second, and a third above both where there is
/// room.
pub(crate) fn pack(to: Type) -> Option<LaneFn> {
    Some(match (to.kind, to.bits) {
        (Kind::U, 16) => lanes!(|a, b| clamp(a, 0, 0xffff) << 16 | clamp(b, 0, 0xffff)),
        (Kind::S, 16) => {
            lanes!(|a, b| (clamp(a, -0x8000, 0x7fff) & 0xffff) << 16 | clamp(b, -0x8000, 0x7fff) & 0xffff)
        }
        (Kind::U, 8) => lanes!(|a, b, c| (c & 0xffff) << 16 | clamp(a, 0, 0xff) << 8 | clamp(b, 0, 0xff)),
        (Kind::S, 8) => {
            lanes!(|a, b, c| (c & 0xffff) << 16 | (clamp(a, -128, 127) & 0xff) << 8 | clamp(b, -128, 127) & 0xff)
        }
        _ => return None,
    })
}

fn clamp(a: u64, least: i32, most: i32) -> u64 {
    u64::from((a as u32 as i32).clamp(least, most) as u32)
}

/// A sum, difference or product of `bits` bits with a carry in; returns the result and the carry out.
pub(crate) fn carry(op: CarryOp, bits: u32, [a, b, c]: [u64; 3], flag: bool) -> (u64, bool) {
    let mask = mask(bits);
    let [a, b, c] = [a, b, c].map(|x| u128::from(x & mask));
    let flag = u128::from(flag);
    let out = match op {
        CarryOp::Add => a + b + flag,
        CarryOp::Subtract => a.wrapping_sub(b + flag),
        CarryOp::MultiplyLow => ((a * b) & u128::from(mask)) + c + flag,
        CarryOp::MultiplyHigh => ((a * b) >> bits) + c + flag,
    };
    (out as u64 & mask, out >> bits & 1 == 1)
}

/// Sums of products of bytes (`dp4a`) or of halves and bytes (`dp2a`), with the signs of both operands.
pub(crate) fn dot(op: &str, a_signed: bool, b_signed: bool) -> Option<LaneFn> {
    Some(match (op, a_signed, b_signed) {
        ("dp4a", false, false) => lanes!(|a, b, c| dp4a(a, b, c, false, false)),
        ("dp4a", false, true) => lanes!(|a, b, c| dp4a(a, b, c, false, true)),
        ("dp4a", true, false) => lanes!(|a, b, c| dp4a(a, b, c, true, false)),
        ("dp4a", true, true) => lanes!(|a, b, c| dp4a(a, b, c, true, true)),
        ("dp2a.lo", false, false) => lanes!(|a, b, c| dp2a(a, b, c, false, false)),
        ("dp2a.lo", false, true) => lanes!(|a, b, c| dp2a(a, b, c, false, true)),
        ("dp2a.lo", true, false) => lanes!(|a, b, c| dp2a(a, b, c, true, false)),
        ("dp2a.lo", true, true) => lanes!(|a, b, c| dp2a(a, b, c, true, true)),
        ("dp2a.hi", false, false) => lanes!(|a, b, c| dp2a(a, b >> 16, c, false, false)),
        ("dp2a.hi", false, true) => lanes!(|a, b, c| dp2a(a, b >> 16, c, false, true)),
        ("dp2a.hi", true, false) => lanes!(|a, b, c| dp2a(a, b >> 16, c, true, false)),
        ("dp2a.hi", true, true) => lanes!(|a, b, c| dp2a(a, b >> 16, c, true, true)),
        _ => return None,
    })
}

fn packed(op: &str, signed: bool) -> Option<LaneFn> {
    Some(match (op, signed) {
        ("add", _) => lanes!(|a, b| halves(a, b, u16::wrapping_add)),
        ("min", false) => lanes!(|a, b| halves(a, b, u16::min)),
        ("max", false) => lanes!(|a, b| halves(a, b, u16::max)),
        ("min", true) => lanes!(|a, b| halves(a, b, |a, b| (a as i16).min(b as i16) as u16)),
        ("max", true) => lanes!(|a, b| halves(a, b, |a, b| (a as i16).max(b as i16) as u16)),
        _ => return None,
    })
}

/// The three-input logic function of `lut`: bit `4a + 2b + c` of it is the result.
pub(crate) fn lop3(a: u32, b: u32, c: u32, lut: u8) -> u32 {
    let mut out = 0;
    for bit in 0..8 {
        if lut >> bit & 1 == 1 {
            let term = |x: u32, set: bool| if set { x } else { !x };
            out |= term(a, bit & 4 != 0) & term(b, bit & 2 != 0) & term(c, bit & 1 != 0);
        }
    }
    out
}

/// Puts the low `length` bits of `a` into `b` from bit `start`.
pub(crate) fn bfi(a: u64, b: u64, start: u64, length: u64, bits: u64) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    if start >= bits {
        return b;
    }
    let length = length.min(bits - start);
    let field = mask(length as u32) << start;
    (b & !field) | (a << start & field)
}

fn halves(a: u64, b: u64, f: impl Fn(u16, u16) -> u16) -> u64 {
    u64::from(f(a as u16, b as u16)) | u64::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16
}

fn low24(a: u64) -> i32 {
    ((a as u32) << 8) as i32 >> 8
}

fn bfind(a: u64) -> u64 {
    if a == 0 { 0xffff_ffff } else { 63 - u64::from(a.leading_zeros()) }
}

fn shift_amount(found: u64, bits: u64) -> u64 {
    if found == 0xffff_ffff { found } else { bits - 1 - found }
}

fn bfe(a: u64, start: u64, length: u64, bits: u64, signed: bool) -> u64 {
    let (start, length) = (start & 0xff, length & 0xff);
    if length == 0 {
        return 0;
    }
    let top = (start + length - 1).min(bits - 1);
    let sign = signed && a >> top & 1 == 1;
    let value = if start >= bits { 0 } else { a >> start };
    let kept = (top + 1).saturating_sub(start).min(length);
    let field = mask(kept as u32);
    value & field | if sign { !field } else { 0 }
}

/// `length` ones from bit `start` on.
fn ones_from(start: u32, length: u32) -> u32 {
    if start > 31 {
        return 0;
    }
    let ones = if length > 31 { !0 } else { (1u32 << length) - 1 };
    ones << start
}

/// The position of the `n`th set bit from bit `base`, upwards if positive; `base` itself for zero.
fn find_nth_set(mask: u32, base: u32, n: i32) -> u32 {
    let base = (base & 31) as i32;
    if n == 0 {
        return if mask >> base & 1 == 1 { base as u32 } else { u32::MAX };
    }
    let (mut at, step, mut left) = (base, n.signum(), n.unsigned_abs());
    while (0..32).contains(&at) {
        if mask >> at & 1 == 1 {
            left -= 1;
            if left == 0 {
                return at as u32;
            }
        }
        at += step;
    }
    u32::MAX
}

/// The bytes that the nibbles of `selector` name; the top bit of a nibble asks for the byte's sign instead.
fn permute(bytes: u64, selector: u32) -> u32 {
    let mut out = 0;
    for i in 0..4 {
        let nibble = selector >> (4 * i) & 15;
        let byte = (bytes >> (8 * (nibble & 7))) as u8;
        let byte = if nibble & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 };
        out |= u32::from(byte) << (8 * i);
    }
    out
}

fn select(bytes: u64, which: [u64; 4]) -> u32 {
    which.iter().rev().fold(0, |out, i| out << 8 | (bytes >> (8 * (i & 7))) as u32 & 0xff)
}

fn dp4a(a: u64, b: u64, c: u64, a_signed: bool, b_signed: bool) -> u64 {
    let byte = |x: u64, i: u32, signed: bool| {
        let byte = (x >> (8 * i)) as u8;
        if signed { i32::from(byte as i8) } else { i32::from(byte) }
    };
    let sum = (0..4).fold(c as u32 as i32, |s, i| s.wrapping_add(byte(a, i, a_signed) * byte(b, i, b_signed)));
    u64::from(sum as u32)
}

fn dp2a(a: u64, b: u64, c: u64, a_signed: bool, b_signed: bool) -> u64 {
    let mut sum = c as u32 as i32;
    for i in 0..2 {
        let x = (a >> (16 * i)) as u16;
        let y = (b >> (8 * i)) as u8;
        let x = if a_signed { i32::from(x as i16) } else { i32::from(x) };
        let y = if b_signed { i32::from(y as i8) } else { i32::from(y) };
        sum = sum.wrapping_add(x.wrapping_mul(y));
    }
    u64::from(sum as u32)
}
