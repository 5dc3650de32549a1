//! The types of PTX instructions.

use crate::float::{self, Format};

/// Kinds of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pred,
    /// Bits without a meaning.
    B,
    U,
    S,
    /// Two 16-bit integers.
    U2,
    S2,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
    Tf32,
    E4m3,
    E5m2,
    E4m3x2,
    E5m2x2,
}

/// A type: its kind and the bits of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    pub kind: Kind,
    pub bits: u32,
}

/// The low `bits` bits of a word.
pub(crate) fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

impl Type {
    /// Reads a type without its dot.
    pub fn parse(text: &str) -> Option<Self> {
        use Kind::*;
        let (kind, bits) = match text {
            "pred" => (Pred, 1),
            "b1" => (B, 1),
            "b8" => (B, 8),
            "b16" => (B, 16),
            "b32" => (B, 32),
            "b64" => (B, 64),
            "b128" => (B, 128),
            "u4" => (U, 4),
            "s4" => (S, 4),
            "u8" => (U, 8),
            "u16" => (U, 16),
            "u32" => (U, 32),
            "u64" => (U, 64),
            "s8" => (S, 8),
            "s16" => (S, 16),
            "s32" => (S, 32),
            "s64" => (S, 64),
            "u16x2" => (U2, 32),
            "s16x2" => (S2, 32),
            "f16" => (F16, 16),
            "f16x2" => (F16x2, 32),
            "bf16" => (Bf16, 16),
            "bf16x2" => (Bf16x2, 32),
            "f32" => (F32, 32),
            "f64" => (F64, 64),
            "tf32" => (Tf32, 32),
            "e4m3" => (E4m3, 8),
            "e5m2" => (E5m2, 8),
            "e4m3x2" => (E4m3x2, 16),
            "e5m2x2" => (E5m2x2, 16),
            _ => return None,
        };
        Some(Self { kind, bits })
    }

    pub fn is_int(self) -> bool {
        matches!(self.kind, Kind::B | Kind::U | Kind::S)
    }

    pub fn is_half(self) -> bool {
        matches!(self.kind, Kind::F16 | Kind::F16x2 | Kind::Bf16 | Kind::Bf16x2)
    }

    /// The format of a floating-point type of at most 32 bits, or of the elements of a packed one.
    pub fn format(self) -> Option<Format> {
        Some(match self.kind {
            Kind::F16 | Kind::F16x2 => float::F16,
            Kind::Bf16 | Kind::Bf16x2 => float::BF16,
            Kind::F32 => float::F32,
            Kind::E4m3 | Kind::E4m3x2 => float::E4M3,
            Kind::E5m2 | Kind::E5m2x2 => float::E5M2,
            _ => return None,
        })
    }
}
