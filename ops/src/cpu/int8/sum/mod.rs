//! Sums of codes that are rounded twice.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::Codes;
use crate::arith::Requant;
use crate::cpu::Level;
use crate::cpu::vectorised::{Vectorised, vectorised_at};

/// `clamp(output(a + b) + zero_point, lo, hi)` of codes a and b brought to a common scale. All sums are below 2^30 in magnitude.
pub(crate) struct Doubled {
    pub(crate) sides: [Side; 2],
    /// Whether b is subtracted.
    pub(crate) subtract: bool,
    pub(crate) output: Factor,
    pub(crate) zero_point: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
}

/// `factor((rank - zero) << pre_shift)`.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    /// Zero point, counted from the smallest code.
    pub(crate) zero: i32,
    pub(crate) pre_shift: u32,
    pub(crate) factor: Factor,
}

/// A rounding doubling high multiply, then a rounding shift to the right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Factor {
    multiplier: i32,
    shift: u32,
}

impl Doubled {
    /// The low bytes of the codes of all elements.
    pub(crate) fn run(&self, level: Level, a: Codes<'_>, b: Codes<'_>, out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        if level == Level::Avx512 && level.available() {
            // SAFETY: the processor has the features.
            return unsafe { self.avx512([a, b], out) };
        }
        vectorised_at(level, Pass { sum: self, operands: [a, b], out });
    }

    /// All ones where b is subtracted.
    fn sign(&self) -> i32 {
        -i32::from(self.subtract)
    }
}

impl Factor {
    /// `None` where the requantiser is of another kind or shifts to the left.
    pub(crate) fn of(requant: Requant) -> Option<Factor> {
        match requant {
            Requant::DoubleRounding { multiplier, shift } if multiplier >= 0 && (-31..=0).contains(&shift) => {
                Some(Factor { multiplier, shift: shift.unsigned_abs() })
            }
            _ => None,
        }
    }

    /// For numbers below 2^30 in magnitude: nothing leaves 32 bits.
    #[inline(always)]
    fn apply(self, x: i32) -> i32 {
        let high = ((i64::from(x) * i64::from(self.multiplier) + (1 << 30)) >> 31) as i32;
        let half = ((1u32 << self.shift) >> 1) as i32;
        // The half of a negative number goes down; without a shift there is no half.
        let down = (high >> 31) & half.min(1);
        (high + half - down) >> self.shift
    }
}

/// One pass over all elements.
struct Pass<'a> {
    sum: &'a Doubled,
    operands: [Codes<'a>; 2],
    out: &'a mut [u8],
}

impl Vectorised<()> for Pass<'_> {
    #[inline(always)]
    fn run(self) {
        let Pass { sum, operands: [a, b], out } = self;
        let Doubled { sides, output, zero_point, lo, hi, .. } = *sum;
        let (flip_a, flip_b, sign) = (a.flip(), b.flip(), sum.sign());
        let scaled = |side: Side, rank: u8| side.factor.apply((i32::from(rank) - side.zero) << side.pre_shift);
        for ((out, &a), &b) in out.iter_mut().zip(a.bytes).zip(b.bytes) {
            let (a, b) = (scaled(sides[0], a ^ flip_a), scaled(sides[1], b ^ flip_b));
            *out = (output.apply(a + ((b ^ sign) - sign)) + zero_point).max(lo).min(hi) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn every_level_gives_the_same_codes() {
        let mut random = Random::new(2);
        let mut bytes = || (0..1003).map(|_| random.bits() as u8).collect::<Vec<u8>>();
        let (a, b) = (bytes(), bytes());
        let factors = [(1 << 30, 0), (1_518_500_250, 3), (i32::MAX, 19)];
        let factors = factors.map(|(multiplier, shift)| Factor { multiplier, shift });
        for (first, second) in factors.into_iter().flat_map(|first| factors.map(|second| (first, second))) {
            let side = |zero, factor| Side { zero, pre_shift: 20, factor };
            for subtract in [false, true] {
                let sum = Doubled {
                    sides: [side(3, first), side(200, second)],
                    subtract,
                    output: Factor { multiplier: 1_200_000_000, shift: 17 },
                    zero_point: -9,
                    lo: -120,
                    hi: 100,
                };
                let run = |level| {
                    let mut out = vec![0; a.len()];
                    let codes = |bytes, signed| Codes { bytes, signed };
                    sum.run(level, codes(&a, true), codes(&b, false), &mut out);
                    out
                };
                assert!(Level::ALL.into_iter().all(|level| run(level) == run(Level::Portable)));
            }
        }
    }
}
