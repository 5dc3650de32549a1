//! Comparisons.

use super::{CompareFn, Lanes, WARP};
use crate::float::{BF16, F16};
use crate::types::{Kind, Type};

macro_rules! compare {
    (|$a:ident, $b:ident| $e:expr) => {{
        fn f(x: &Lanes, y: &Lanes) -> u32 {
            let mut out = 0;
            for i in 0..WARP {
                let ($a, $b) = (x[i], y[i]);
                out |= u32::from($e) << i;
            }
            out
        }
        f as CompareFn
    }};
}

/// The comparison `op` of two values of type `ty`.
pub(crate) fn function(op: &str, ty: Type) -> Option<CompareFn> {
    match (ty.kind, ty.bits) {
        (Kind::U | Kind::B, 16) => integer::u16(op),
        (Kind::U | Kind::B, 32) => integer::u32(op),
        (Kind::U | Kind::B, 64) => integer::u64(op),
        (Kind::S, 16) => integer::i16(op),
        (Kind::S, 32) => integer::i32(op),
        (Kind::S, 64) => integer::i64(op),
        (Kind::F16, _) => float::f16(op),
        (Kind::Bf16, _) => float::bf16(op),
        (Kind::F32, _) => float::f32(op),
        (Kind::F64, _) => float::f64(op),
        _ => None,
    }
}

/// The property `op` of a float, as a comparison that ignores its second operand.
pub(crate) fn property(op: &str, ty: Type) -> Option<CompareFn> {
    Some(match (op, ty.kind) {
        ("finite", Kind::F32) => compare!(|a, _b| f32::from_bits(a as u32).is_finite()),
        ("infinite", Kind::F32) => compare!(|a, _b| f32::from_bits(a as u32).is_infinite()),
        ("number", Kind::F32) => compare!(|a, _b| !f32::from_bits(a as u32).is_nan()),
        ("notanumber", Kind::F32) => compare!(|a, _b| f32::from_bits(a as u32).is_nan()),
        ("normal", Kind::F32) => compare!(|a, _b| f32::from_bits(a as u32).is_normal()),
        ("subnormal", Kind::F32) => compare!(|a, _b| f32::from_bits(a as u32).is_subnormal()),
        ("finite", Kind::F64) => compare!(|a, _b| f64::from_bits(a).is_finite()),
        ("infinite", Kind::F64) => compare!(|a, _b| f64::from_bits(a).is_infinite()),
        ("number", Kind::F64) => compare!(|a, _b| !f64::from_bits(a).is_nan()),
        ("notanumber", Kind::F64) => compare!(|a, _b| f64::from_bits(a).is_nan()),
        ("normal", Kind::F64) => compare!(|a, _b| f64::from_bits(a).is_normal()),
        ("subnormal", Kind::F64) => compare!(|a, _b| f64::from_bits(a).is_subnormal()),
        _ => return None,
    })
}

mod integer {
    use super::*;

    macro_rules! integer {
        ($name:ident) => {
            pub fn $name(op: &str) -> Option<CompareFn> {
                type T = $name;
                Some(match op {
                    "eq" => compare!(|a, b| a as T == b as T),
                    "ne" => compare!(|a, b| a as T != b as T),
                    "lt" | "lo" => compare!(|a, b| (a as T) < b as T),
                    "le" | "ls" => compare!(|a, b| a as T <= b as T),
                    "gt" | "hi" => compare!(|a, b| a as T > b as T),
                    "ge" | "hs" => compare!(|a, b| a as T >= b as T),
                    _ => return None,
                })
            }
        };
    }

    // Each function and its type share a name, so the primitive is named by its path.
    use std::primitive::{i16, i32, i64, u16, u32, u64};
    integer!(u16);
    integer!(u32);
    integer!(u64);
    integer!(i16);
    integer!(i32);
    integer!(i64);
}

mod float {
    use super::*;

    macro_rules! float {
        ($name:ident, $value:expr) => {
            pub fn $name(op: &str) -> Option<CompareFn> {
                Some(match op {
                    "eq" => compare!(|a, b| $value(a) == $value(b)),
                    "ne" => compare!(|a, b| $value(a) < $value(b) || $value(a) > $value(b)),
                    "lt" => compare!(|a, b| $value(a) < $value(b)),
                    "le" => compare!(|a, b| $value(a) <= $value(b)),
                    "gt" => compare!(|a, b| $value(a) > $value(b)),
                    "ge" => compare!(|a, b| $value(a) >= $value(b)),
                    "equ" => compare!(|a, b| !($value(a) < $value(b) || $value(a) > $value(b))),
                    "neu" => compare!(|a, b| $value(a) != $value(b)),
                    "ltu" => compare!(|a, b| unordered($value(a), $value(b)) || $value(a) < $value(b)),
                    "leu" => compare!(|a, b| unordered($value(a), $value(b)) || $value(a) <= $value(b)),
                    "gtu" => compare!(|a, b| unordered($value(a), $value(b)) || $value(a) > $value(b)),
                    "geu" => compare!(|a, b| unordered($value(a), $value(b)) || $value(a) >= $value(b)),
                    "num" => compare!(|a, b| !unordered($value(a), $value(b))),
                    "nan" => compare!(|a, b| unordered($value(a), $value(b))),
                    _ => return None,
                })
            }
        };
    }

    fn unordered<T: PartialOrd>(a: T, b: T) -> bool {
        a.partial_cmp(&b).is_none()
    }

    float!(f16, |x: u64| F16.decode(x as u32));
    float!(bf16, |x: u64| BF16.decode(x as u32));
    float!(f32, |x: u64| f32::from_bits(x as u32));
    float!(f64, f64::from_bits);
}
