//! Conversions between types.

use crate::alu::float::{flush, saturate, tf32};
use crate::float::{Mode, to_integral};
use crate::types::{Kind, Type, mask};

/// A `cvt`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conversion {
    pub to: Type,
    pub from: Type,
    /// Rounding to a narrower format, or to an integer.
    pub mode: Mode,
    /// A rounding to an integral value was asked for, as in `cvt.rni.f32.f32`.
    pub integral: bool,
    pub ftz: bool,
    /// `.sat`: clamps to the range of an integer, to 0 ..= 1 of a float.
    pub sat: bool,
    /// `.satfinite`: clips to the largest finite number.
    pub satfinite: bool,
    pub relu: bool,
}

impl Conversion {
    /// Converts one value; a packed result takes its upper half from `a`, its lower from `b`.
    pub fn apply(&self, a: u64, b: u64) -> u64 {
        let (to, from) = (self.to, self.from);
        match (to.kind, from.kind) {
            (Kind::F16x2 | Kind::Bf16x2, Kind::E4m3x2 | Kind::E5m2x2) => {
                let part = |x: u64| self.float(from.format().map_or(0.0, |f| f.decode(x as u32 & 0xff)), to, 16);
                part(a >> 8) << 16 | part(a)
            }
            (Kind::E4m3x2 | Kind::E5m2x2, Kind::F16x2 | Kind::Bf16x2) => {
                let part = |x: u64| self.float(from.format().map_or(0.0, |f| f.decode(x as u32 & 0xffff)), to, 8);
                part(a >> 16) << 8 | part(a)
            }
            (Kind::F16x2 | Kind::Bf16x2, _) => self.float(single(a), to, 16) << 16 | self.float(single(b), to, 16),
            (Kind::E4m3x2 | Kind::E5m2x2, _) => self.float(single(a), to, 8) << 8 | self.float(single(b), to, 8),
            (Kind::Tf32, _) => {
                let rounded = tf32(a, self.mode);
                if self.relu && (rounded >> 31 == 1) { 0 } else { rounded }
            }
            _ if from.is_int() && to.is_int() => self.int_to_int(a),
            _ if from.is_int() => self.int_to_float(a),
            _ if to.is_int() => self.float_to_int(a),
            _ => {
                let a = if self.ftz && from.kind == Kind::F32 { flush(a) } else { a };
                let mut value = value(a, from);
                if self.integral {
                    value = to_integral(value, self.mode);
                }
                let out = self.float(value, to, to.bits);
                match to.kind {
                    Kind::F32 if self.sat => saturate(if self.ftz { flush(out) } else { out }),
                    Kind::F32 if self.ftz => flush(out),
                    _ if self.sat => self.float(value.clamp(0.0, 1.0), to, to.bits),
                    _ => out,
                }
            }
        }
    }

    /// Rounds to one element of `bits` bits of `to`.
    fn float(&self, value: f64, to: Type, bits: u32) -> u64 {
        if self.relu && value <= 0.0 {
            return 0;
        }
        let Some(format) = to.format() else {
            return if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
        };
        let mode = if self.integral { Mode::Near } else { self.mode };
        let out = format.encode(value, mode);
        let magnitude = out & ((1 << (bits - 1)) - 1);
        if self.satfinite && magnitude > format.largest() && !value.is_nan() {
            return u64::from(out & 1 << (bits - 1) | format.largest());
        }
        u64::from(out)
    }

    fn int_to_int(&self, a: u64) -> u64 {
        let value = integer(a, self.from);
        let value = if self.sat { clamp(value, self.to) } else { value };
        value as u64 & mask(self.to.bits)
    }

    fn int_to_float(&self, a: u64) -> u64 {
        let value = integer(a, self.from);
        let out = match self.to.format() {
            // 64-bit integers do not fit double precision: the bits below are folded into one that keeps the rounding.
            Some(format) => u64::from(format.encode(sticky(value), self.mode)),
            None => (value as f64).to_bits(),
        };
        if self.sat && self.to.kind == Kind::F32 { saturate(out) } else { out }
    }

    fn float_to_int(&self, a: u64) -> u64 {
        let a = if self.ftz && self.from.kind == Kind::F32 { flush(a) } else { a };
        let x = value(a, self.from);
        if x.is_nan() {
            // Zero, except where either side has 64 bits: there the hardware returns the integer's top bit alone.
            let wide = self.from.kind == Kind::F64 || self.to.bits == 64;
            return if wide { 1 << (self.to.bits - 1) } else { 0 };
        }
        let rounded = to_integral(x, self.mode);
        // The cast saturates, and float to integer always clamps on the hardware.
        clamp(rounded as i128, self.to) as u64 & mask(self.to.bits)
    }
}

fn single(bits: u64) -> f64 {
    f64::from(f32::from_bits(bits as u32))
}

fn value(bits: u64, ty: Type) -> f64 {
    match (ty.kind, ty.format()) {
        (Kind::F32, _) => single(bits),
        (_, Some(format)) => format.decode(bits as u32 & mask(ty.bits) as u32),
        _ => f64::from_bits(bits),
    }
}

fn integer(bits: u64, ty: Type) -> i128 {
    let bits = bits & mask(ty.bits);
    let shift = 64 - ty.bits;
    if ty.kind == Kind::S { i128::from(((bits << shift) as i64) >> shift) } else { i128::from(bits) }
}

fn clamp(value: i128, ty: Type) -> i128 {
    let (least, most) = if ty.kind == Kind::S {
        (-(1i128 << (ty.bits - 1)), (1i128 << (ty.bits - 1)) - 1)
    } else {
        (0, (1i128 << ty.bits) - 1)
    };
    value.clamp(least, most)
}

/// An integer of at most 64 bits and a sign as a double that rounds to 24 bits or fewer as the integer does.
fn sticky(value: i128) -> f64 {
    let magnitude = value.unsigned_abs();
    let low = magnitude & 0xffff;
    let folded = if magnitude >> 48 == 0 { magnitude } else { magnitude & !0xffff | u128::from(low != 0) << 15 };
    let x = folded as f64;
    if value < 0 { -x } else { x }
}
