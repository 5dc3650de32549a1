//! Floating-point formats of PTX and their rounding, computed in double precision and rounded once.

/// A rounding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To nearest, ties to even.
    Near,
    /// To nearest, ties away from zero.
    Away,
    Zero,
    Down,
    Up,
}

/// A binary format: a sign, `exponent` bits, `mantissa` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    exponent: u32,
    mantissa: u32,
    /// Whether the largest exponent holds infinities, as in IEEE 754, or numbers and one NaN, as in e4m3.
    infinities: bool,
    /// The NaN that instructions return.
    nan: u32,
}

pub(crate) const F16: Format = Format { exponent: 5, mantissa: 10, infinities: true, nan: 0x7fff };
pub(crate) const BF16: Format = Format { exponent: 8, mantissa: 7, infinities: true, nan: 0x7fff };
pub(crate) const F32: Format = Format { exponent: 8, mantissa: 23, infinities: true, nan: 0x7fff_ffff };
/// A tf32 in the upper 19 bits of 32 is made by rounding to this and shifting by 13.
pub(crate) const TF32: Format = Format { exponent: 8, mantissa: 10, infinities: true, nan: 0x3ffff };
pub(crate) const E4M3: Format = Format { exponent: 4, mantissa: 3, infinities: false, nan: 0x7f };
pub(crate) const E5M2: Format = Format { exponent: 5, mantissa: 2, infinities: true, nan: 0x7f };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// Bits of a number.
    pub fn bits(self) -> u32 {
        1 + self.exponent + self.mantissa
    }

    /// The bits of the NaN that instructions return.
    pub fn nan(self) -> u32 {
        self.nan
    }

    /// The bits of the largest finite number.
    pub fn largest(self) -> u32 {
        let all = (1u32 << (self.exponent + self.mantissa)) - 1;
        if self.infinities { (((1 << self.exponent) - 1) << self.mantissa) - 1 } else { all - 1 }
    }

    /// The value of `bits`, exactly.
    pub fn decode(self, bits: u32) -> f64 {
        let m = bits & ((1 << self.mantissa) - 1);
        let top = (1 << self.exponent) - 1;
        let e = (bits >> self.mantissa) & top;
        if e != top && e != 0 {
            // The bits of a normal number move to those of double precision.
            let e = u64::from(e + 1023) - self.bias() as u64;
            let sign = u64::from(bits >> (self.exponent + self.mantissa) & 1);
            return f64::from_bits(sign << 63 | e << 52 | u64::from(m) << (52 - self.mantissa));
        }
        let sign = if bits >> (self.exponent + self.mantissa) & 1 == 1 { -1.0 } else { 1.0 };
        if e == top && self.infinities {
            return if m == 0 { sign * f64::INFINITY } else { f64::NAN };
        }
        if !self.infinities && e == top && m == (1 << self.mantissa) - 1 {
            return f64::NAN;
        }
        let (m, e) = if e == 0 { (m, 1) } else { (m | 1 << self.mantissa, e) };
        sign * f64::from(m) * power(e as i32 - self.bias() - self.mantissa as i32)
    }

    /// The bits of `x` rounded once. A number beyond the largest becomes infinity or the largest, as `mode` says; where
    /// the format has no infinities, NaN.
    pub fn encode(self, x: f64, mode: Mode) -> u32 {
        if x.is_nan() {
            return self.nan;
        }
        let sign = u32::from(x.is_sign_negative()) << (self.exponent + self.mantissa);
        let beyond = if self.infinities { self.largest() + 1 } else { self.nan };
        if x.is_infinite() {
            return sign | beyond;
        }
        if x == 0.0 {
            return sign;
        }
        let bits = x.to_bits() & !(1 << 63);
        let (mut e, mut m) = ((bits >> 52) as i32 - 1023, bits & ((1 << 52) - 1));
        if e == -1023 {
            e = -1022;
        } else {
            m |= 1 << 52;
        }
        let least = 1 - self.bias();
        let drop = (52 - self.mantissa) + (least - e).max(0) as u32;
        let (mut q, rest, half) =
            if drop > 60 { (0, m, u64::MAX) } else { (m >> drop, m & ((1 << drop) - 1), 1u64 << (drop - 1)) };
        let up = match mode {
            Mode::Near => rest > half || (rest == half && q & 1 == 1),
            Mode::Away => rest >= half,
            Mode::Zero => false,
            Mode::Down => rest != 0 && sign != 0,
            Mode::Up => rest != 0 && sign == 0,
        };
        q += u64::from(up);
        // A subnormal that rounds up to the least normal number, and a mantissa that overflows, carry into the exponent.
        let biased = i64::from(e.max(least) + self.bias() - 1) << self.mantissa;
        let value = biased + q as i64;
        if value > i64::from(self.largest()) {
            let clip = match mode {
                Mode::Near | Mode::Away => false,
                Mode::Zero => true,
                Mode::Down => sign == 0,
                Mode::Up => sign != 0,
            };
            return sign | if clip { self.largest() } else { beyond };
        }
        sign | value as u32
    }
}

/// 2 to the power `e`, for every `e` that a format here can ask for.
fn power(e: i32) -> f64 {
    if e >= -1022 { f64::from_bits(((e + 1023) as u64) << 52) } else { f64::from_bits(1 << (e + 1074).max(0)) }
}

/// The sum rounded to odd: rounding it again to a format with at most 50 bits rounds the exact sum.
pub(crate) fn add_odd(a: f64, b: f64) -> f64 {
    let s = a + b;
    let t = s - a;
    let error = (a - (s - t)) + (b - t);
    to_odd(s, error)
}

/// The product of two numbers of at most 26 bits, plus a third, rounded to odd.
pub(crate) fn fma_odd(a: f64, b: f64, c: f64) -> f64 {
    add_odd(a * b, c)
}

/// The quotient rounded to odd.
pub(crate) fn div_odd(a: f64, b: f64) -> f64 {
    let q = a / b;
    if !q.is_finite() || q == 0.0 || !b.is_finite() {
        return q;
    }
    let rest = (-q).mul_add(b, a);
    to_odd(q, if b < 0.0 { -rest } else { rest })
}

/// The square root rounded to odd.
pub(crate) fn sqrt_odd(a: f64) -> f64 {
    let s = a.sqrt();
    if !s.is_finite() || s == 0.0 {
        return s;
    }
    to_odd(s, (-s).mul_add(s, a))
}

fn to_odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || !value.is_finite() || !error.is_finite() || value.to_bits() & 1 == 1 {
        return value;
    }
    let grow = (error > 0.0) == (value > 0.0);
    f64::from_bits(if grow { value.to_bits() + 1 } else { value.to_bits() - 1 })
}

/// Rounds to an integer value.
pub(crate) fn to_integral(x: f64, mode: Mode) -> f64 {
    match mode {
        Mode::Near => x.round_ties_even(),
        Mode::Away => x.round(),
        Mode::Zero => x.trunc(),
        Mode::Down => x.floor(),
        Mode::Up => x.ceil(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_a_round_trip() {
        for format in [F16, BF16] {
            for bits in 0..=0xffffu32 {
                let x = format.decode(bits);
                if x.is_nan() {
                    assert_eq!(format.encode(x, Mode::Near), 0x7fff);
                } else {
                    assert_eq!(format.encode(x, Mode::Near), bits, "{bits:#x}");
                }
            }
        }
    }

    #[test]
    fn halves_agree_with_the_half_crate_where_it_rounds_single_precision() {
        let mut state = 1u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(state);
            if x.is_nan() {
                continue;
            }
            assert_eq!(F16.encode(x.into(), Mode::Near), u32::from(half::f16::from_f32(x).to_bits()), "{x:e}");
            assert_eq!(BF16.encode(x.into(), Mode::Near), u32::from(half::bf16::from_f32(x).to_bits()), "{x:e}");
        }
    }

    #[test]
    fn single_precision_agrees_with_the_processor() {
        let mut state = 7u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let x = f64::from_bits(state >> 2 | 0x3000_0000_0000_0000);
            assert_eq!(F32.encode(x, Mode::Near), (x as f32).to_bits(), "{x:e}");
        }
    }

    #[test]
    fn directed_modes_bracket_the_value() {
        let third = 1.0 / 3.0;
        let down = F16.decode(F16.encode(third, Mode::Down));
        let up = F16.decode(F16.encode(third, Mode::Up));
        assert!(down < third && third < up);
        assert_eq!(F16.encode(third, Mode::Zero), F16.encode(third, Mode::Down));
        assert_eq!(F16.encode(-third, Mode::Zero), F16.encode(-third, Mode::Up));
    }

    #[test]
    fn numbers_beyond_the_largest_clip_or_overflow_as_the_mode_says() {
        assert_eq!(F16.encode(1e9, Mode::Near), 0x7c00);
        assert_eq!(F16.encode(1e9, Mode::Zero), 0x7bff);
        assert_eq!(E4M3.encode(1e9, Mode::Near), 0x7f);
        assert_eq!(E4M3.decode(E4M3.largest()), 448.0);
        assert_eq!(E5M2.decode(E5M2.largest()), 57344.0);
    }

    #[test]
    fn a_sum_rounded_to_odd_breaks_false_ties() {
        // Half a unit of the last place of a half, plus a number too small for double precision to keep beside it.
        let tie = 1.0 + f64::powi(2.0, -11);
        assert_eq!(F16.encode(add_odd(tie, 1e-30), Mode::Near), F16.encode(1.0, Mode::Near) + 1);
        assert_eq!(F16.encode(add_odd(tie, -1e-30), Mode::Near), F16.encode(1.0, Mode::Near));
    }
}
