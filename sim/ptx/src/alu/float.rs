//! Arithmetic in single and double precision.
//!
//! Approximations (`ex2.approx` and its like) are computed in double precision and rounded once, so they are more
//! accurate than the hardware's. A NaN that arithmetic makes is the hardware's canonical one.

use super::{LaneFn, lanes};
use crate::float::{F32, Mode, TF32, add_odd, div_odd, fma_odd, sqrt_odd};
use crate::types::{Kind, Type};

/// Bits of a result, with the canonical NaN.
fn f(x: f32) -> u64 {
    if x.is_nan() { 0x7fff_ffff } else { u64::from(x.to_bits()) }
}

fn x(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn wide(bits: u64) -> f64 {
    f64::from(x(bits))
}

fn d(x: f64) -> u64 {
    if x.is_nan() { 0x7ff8_0000_0000_0000 } else { x.to_bits() }
}

fn y(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn narrow(value: f64, mode: Mode) -> u64 {
    u64::from(F32.encode(value, mode))
}

/// The function of a floating-point instruction in single or double precision. `op` is the opcode with `approx`,
/// `full` or `NaN` where that selects another function; rounding is given apart.
pub(crate) fn function(op: &str, ty: Type, mode: Mode) -> Option<LaneFn> {
    match ty.kind {
        Kind::F32 => single(op).filter(|_| mode == Mode::Near).or_else(|| directed(op, mode)),
        Kind::F64 => double(op).filter(|_| mode == Mode::Near),
        _ => None,
    }
}

fn single(op: &str) -> Option<LaneFn> {
    Some(match op {
        "add" => lanes!(|a, b| f(x(a) + x(b))),
        "sub" => lanes!(|a, b| f(x(a) - x(b))),
        "mul" => lanes!(|a, b| f(x(a) * x(b))),
        "fma" | "mad" => lanes!(|a, b, c| f(x(a).mul_add(x(b), x(c)))),
        "div" | "div.full" => lanes!(|a, b| f(x(a) / x(b))),
        "div.approx" => lanes!(|a, b| f(divide_approximately(x(a), x(b)))),
        "rcp" | "rcp.approx" => lanes!(|a| f(1.0 / x(a))),
        "sqrt" | "sqrt.approx" => lanes!(|a| f(x(a).sqrt())),
        "rsqrt.approx" => lanes!(|a| f((1.0 / wide(a).sqrt()) as f32)),
        "ex2.approx" => lanes!(|a| f(wide(a).exp2() as f32)),
        "lg2.approx" => lanes!(|a| f(wide(a).log2() as f32)),
        "sin.approx" => lanes!(|a| f(wide(a).sin() as f32)),
        "cos.approx" => lanes!(|a| f(wide(a).cos() as f32)),
        "tanh.approx" => lanes!(|a| f(wide(a).tanh() as f32)),
        "neg" => lanes!(|a| (a as u32 ^ 1 << 31) as u64),
        "abs" => lanes!(|a| (a as u32 & !(1 << 31)) as u64),
        "copysign" => lanes!(|a, b| (b as u32 & !(1 << 31) | a as u32 & 1 << 31) as u64),
        "min" => lanes!(|a, b| f(least(x(a), x(b)))),
        "max" => lanes!(|a, b| f(-least(-x(a), -x(b)))),
        "min.NaN" => lanes!(|a, b| if x(a).is_nan() || x(b).is_nan() { 0x7fff_ffff } else { f(least(x(a), x(b))) }),
        "max.NaN" => {
            lanes!(|a, b| if x(a).is_nan() || x(b).is_nan() { 0x7fff_ffff } else { f(-least(-x(a), -x(b))) })
        }
        _ => return None,
    })
}

/// Single precision with a rounding mode other than to nearest.
fn directed(op: &str, mode: Mode) -> Option<LaneFn> {
    macro_rules! modes {
        (|$($v:ident),*| $e:expr) => {
            match mode {
                Mode::Zero => lanes!(|$($v),*| narrow($e, Mode::Zero)),
                Mode::Down => lanes!(|$($v),*| narrow($e, Mode::Down)),
                Mode::Up => lanes!(|$($v),*| narrow($e, Mode::Up)),
                Mode::Near | Mode::Away => return None,
            }
        };
    }
    Some(match op {
        "add" => modes!(|a, b| add_odd(wide(a), wide(b))),
        "sub" => modes!(|a, b| add_odd(wide(a), -wide(b))),
        "mul" => modes!(|a, b| wide(a) * wide(b)),
        "fma" | "mad" => modes!(|a, b, c| fma_odd(wide(a), wide(b), wide(c))),
        "div" => modes!(|a, b| div_odd(wide(a), wide(b))),
        "rcp" => modes!(|a| div_odd(1.0, wide(a))),
        "sqrt" => modes!(|a| sqrt_odd(wide(a))),
        _ => return None,
    })
}

fn double(op: &str) -> Option<LaneFn> {
    Some(match op {
        "add" => lanes!(|a, b| d(y(a) + y(b))),
        "sub" => lanes!(|a, b| d(y(a) - y(b))),
        "mul" => lanes!(|a, b| d(y(a) * y(b))),
        "fma" | "mad" => lanes!(|a, b, c| d(y(a).mul_add(y(b), y(c)))),
        "div" => lanes!(|a, b| d(y(a) / y(b))),
        "rcp" => lanes!(|a| d(1.0 / y(a))),
        // The approximation has about 20 bits, the lower half of the result zero.
        "rcp.approx" => lanes!(|a| d(1.0 / y(a)) & !0xffff_ffff),
        "rsqrt.approx" => lanes!(|a| d(1.0 / y(a).sqrt()) & !0xffff_ffff),
        "sqrt" => lanes!(|a| d(y(a).sqrt())),
        "neg" => lanes!(|a| a ^ 1 << 63),
        "abs" => lanes!(|a| a & !(1 << 63)),
        "copysign" => lanes!(|a, b| b & !(1 << 63) | a & 1 << 63),
        "min" => lanes!(|a, b| d(y(a).min(y(b)))),
        "max" => lanes!(|a, b| d(y(a).max(y(b)))),
        _ => return None,
    })
}

/// Flushes a subnormal of single precision to a zero of its sign.
pub(crate) fn flush(bits: u64) -> u64 {
    if bits as u32 & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}

/// Clamps single precision to 0 ..= 1, NaN to 0.
pub(crate) fn saturate(bits: u64) -> u64 {
    let value = x(bits);
    if value.is_nan() { 0 } else { f(value.clamp(0.0, 1.0) + 0.0) }
}

/// Rounds single precision to tf32, in the upper 19 bits of 32.
pub(crate) fn tf32(bits: u64, mode: Mode) -> u64 {
    u64::from(TF32.encode(wide(bits), mode)) << 13
}

/// The smaller number; a NaN loses, and −0 is less than +0.
fn least(a: f32, b: f32) -> f32 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// `div.approx` returns 0 where the divisor is beyond 2^126, as the ISA says.
fn divide_approximately(a: f32, b: f32) -> f32 {
    let large = b.abs() > f32::from_bits(0x7e80_0000) && b.is_finite();
    if !large {
        a / b
    } else if a.is_infinite() || a.is_nan() {
        f32::NAN
    } else {
        0.0f32.copysign(a * b.signum())
    }
}
