//! Arithmetic in half precision and bfloat16, single and packed. Each result is rounded once.

use super::{LaneFn, lanes};
use crate::float::{BF16, F16, Format, Mode, add_odd, fma_odd};
use crate::types::{Kind, Type};

/// The function of an instruction on halves. `op` is the opcode with `approx`, `NaN` or `relu` where that selects
/// another function.
pub(crate) fn function(op: &str, ty: Type) -> Option<LaneFn> {
    match ty.kind {
        Kind::F16 => f16(op),
        Kind::Bf16 => bf16(op),
        Kind::F16x2 => f16x2(op),
        Kind::Bf16x2 => bf16x2(op),
        _ => None,
    }
}

macro_rules! format {
    ($one:ident, $two:ident, $f:expr) => {
        fn $one(op: &str) -> Option<LaneFn> {
            Some(match op {
                "add" => lanes!(|a, b| add($f, a, b)),
                "sub" => lanes!(|a, b| add($f, a, b ^ 0x8000)),
                "mul" => lanes!(|a, b| mul($f, a, b)),
                "fma" => lanes!(|a, b, c| fma($f, a, b, c)),
                "fma.relu" => lanes!(|a, b, c| relu($f, fma($f, a, b, c))),
                "neg" => lanes!(|a| a & 0xffff ^ 0x8000),
                "abs" => lanes!(|a| a & 0x7fff),
                "min" => lanes!(|a, b| min($f, a, b, false)),
                "max" => lanes!(|a, b| max($f, a, b, false)),
                "min.NaN" => lanes!(|a, b| min($f, a, b, true)),
                "max.NaN" => lanes!(|a, b| max($f, a, b, true)),
                "ex2.approx" => lanes!(|a| map($f, a, f64::exp2)),
                "tanh.approx" => lanes!(|a| map($f, a, f64::tanh)),
                _ => return None,
            })
        }

        fn $two(op: &str) -> Option<LaneFn> {
            Some(match op {
                "add" => lanes!(|a, b| both(a, b, 0, |a, b, _| add($f, a, b))),
                "sub" => lanes!(|a, b| both(a, b, 0, |a, b, _| add($f, a, b ^ 0x8000))),
                "mul" => lanes!(|a, b| both(a, b, 0, |a, b, _| mul($f, a, b))),
                "fma" => lanes!(|a, b, c| both(a, b, c, |a, b, c| fma($f, a, b, c))),
                "fma.relu" => lanes!(|a, b, c| both(a, b, c, |a, b, c| relu($f, fma($f, a, b, c)))),
                "neg" => lanes!(|a| u64::from(a as u32 ^ 0x8000_8000)),
                "abs" => lanes!(|a| u64::from(a as u32 & 0x7fff_7fff)),
                "min" => lanes!(|a, b| both(a, b, 0, |a, b, _| min($f, a, b, false))),
                "max" => lanes!(|a, b| both(a, b, 0, |a, b, _| max($f, a, b, false))),
                "min.NaN" => lanes!(|a, b| both(a, b, 0, |a, b, _| min($f, a, b, true))),
                "max.NaN" => lanes!(|a, b| both(a, b, 0, |a, b, _| max($f, a, b, true))),
                "ex2.approx" => lanes!(|a| both(a, 0, 0, |a, _, _| map($f, a, f64::exp2))),
                "tanh.approx" => lanes!(|a| both(a, 0, 0, |a, _, _| map($f, a, f64::tanh))),
                _ => return None,
            })
        }
    };
}

format!(f16, f16x2, F16);
format!(bf16, bf16x2, BF16);

fn both(a: u64, b: u64, c: u64, f: impl Fn(u64, u64, u64) -> u64) -> u64 {
    let low = |x: u64| x & 0xffff;
    let high = |x: u64| x >> 16 & 0xffff;
    f(low(a), low(b), low(c)) | f(high(a), high(b), high(c)) << 16
}

fn value(format: Format, bits: u64) -> f64 {
    format.decode(bits as u32)
}

fn round(format: Format, x: f64) -> u64 {
    u64::from(format.encode(x, Mode::Near))
}

pub(crate) fn add(format: Format, a: u64, b: u64) -> u64 {
    round(format, add_odd(value(format, a), value(format, b)))
}

fn mul(format: Format, a: u64, b: u64) -> u64 {
    round(format, value(format, a) * value(format, b))
}

fn fma(format: Format, a: u64, b: u64, c: u64) -> u64 {
    round(format, fma_odd(value(format, a), value(format, b), value(format, c)))
}

fn map(format: Format, a: u64, f: impl Fn(f64) -> f64) -> u64 {
    round(format, f(value(format, a)))
}

/// Negative numbers become zero.
fn relu(format: Format, bits: u64) -> u64 {
    if value(format, bits) < 0.0 || bits == 0x8000 { 0 } else { bits }
}

/// The smaller number; a NaN loses unless `nan` asks for it, and −0 is less than +0.
pub(crate) fn min(format: Format, a: u64, b: u64, nan: bool) -> u64 {
    let (a, b) = (a & 0xffff, b & 0xffff);
    let (x, y) = (value(format, a), value(format, b));
    if x.is_nan() && y.is_nan() || nan && (x.is_nan() || y.is_nan()) {
        0x7fff
    } else if y.is_nan() || x < y || (x == y && a & 0x8000 != 0) {
        a
    } else {
        b
    }
}

/// The larger number, by the rules of [`min`].
pub(crate) fn max(format: Format, a: u64, b: u64, nan: bool) -> u64 {
    let least = min(format, a ^ 0x8000, b ^ 0x8000, nan);
    if least == 0x7fff { least } else { least ^ 0x8000 }
}
