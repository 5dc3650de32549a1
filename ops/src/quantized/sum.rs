//! Sums and differences of codes of one shape, in one pass.

use super::codes;
use crate::OpError;
use crate::arith::{AddOperand, AddParams, Requant};
use crate::cpu::int8::Codes;
#[cfg(target_arch = "x86_64")]
use crate::cpu::int8::{Doubled, DoubledSide};
use crate::cpu::vectorised::{Vectorised, vectorised};
use tandem_tensor::{Tensor, TensorType};

/// A sum whose constants let all of it be computed in 32-bit lanes.
pub(super) struct Sum {
    sides: [Side; 2],
    kind: Kind,
    /// All ones where the second operand is subtracted.
    sign: i32,
    zero_point: i32,
    lo: i32,
    hi: i32,
    result: TensorType,
}

/// An operand: its zero point counted from the smallest code, and its factor.
#[derive(Clone, Copy)]
struct Side {
    zero: i32,
    pre_shift: u32,
    scale: Double,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Operands and sum are rounded twice each.
    Double(Double),
    /// Operands times integers; a rounding shift, half up, of the sum.
    Shift(Shift),
}

/// A rounding doubling high multiply, then a rounding shift to the right.
#[derive(Clone, Copy)]
struct Double {
    multiplier: i32,
    shift: u32,
}

#[derive(Clone, Copy)]
struct Shift(u32);

/// How the operands and the sum are rounded, for numbers below 2^30 in magnitude.
trait Rounding: Copy {
    fn side(side: Side, difference: i32) -> i32;
    fn output(self, sum: i32) -> i32;
}

impl Rounding for Double {
    #[inline(always)]
    fn side(side: Side, difference: i32) -> i32 {
        side.scale.apply(difference << side.pre_shift)
    }

    #[inline(always)]
    fn output(self, sum: i32) -> i32 {
        self.apply(sum)
    }
}

impl Rounding for Shift {
    #[inline(always)]
    fn side(side: Side, difference: i32) -> i32 {
        difference * side.scale.multiplier
    }

    #[inline(always)]
    fn output(self, sum: i32) -> i32 {
        (sum + (1 << (self.0 - 1))) >> self.0
    }
}

impl Double {
    fn of(requant: Requant) -> Option<Double> {
        match requant {
            Requant::DoubleRounding { multiplier, shift } if multiplier >= 0 && (-31..=0).contains(&shift) => {
                Some(Double { multiplier, shift: shift.unsigned_abs() })
            }
            _ => None,
        }
    }

    /// For numbers below 2^30 in magnitude.
    #[inline(always)]
    fn apply(self, x: i32) -> i32 {
        let high = ((i64::from(x) * i64::from(self.multiplier) + (1 << 30)) >> 31) as i32;
        let half = ((1u32 << self.shift) >> 1) as i32;
        // The half of a negative number goes down; without a shift there is no half.
        let down = (high >> 31) & half.min(1);
        (high + half - down) >> self.shift
    }
}

impl Sum {
    /// `None` where a constant does not fit or an operand broadcasts.
    pub(super) fn new(params: &AddParams, [a, b]: [&TensorType; 2], result: &TensorType) -> Option<Sum> {
        if a.shape != b.shape {
            return None;
        }
        let (a, b) = ((&params.a, a), (&params.b, b));
        let doubled = |(side, ty): (&AddOperand, &TensorType)| {
            // Differences of codes take eight bits and a sign.
            let scale = Double::of(side.requant).filter(|_| side.pre_shift <= 20)?;
            Some(Side { zero: rank(side, ty), pre_shift: side.pre_shift, scale })
        };
        let multiplied = |(side, ty): (&AddOperand, &TensorType)| match side.requant {
            Requant::SingleRounding { multiplier, shift: 0 }
                if side.pre_shift == 0 && multiplier.unsigned_abs() <= 1 << 21 =>
            {
                Some(Side { zero: rank(side, ty), pre_shift: 0, scale: Double { multiplier, shift: 0 } })
            }
            _ => None,
        };
        let (sides, kind) = match params.output {
            Requant::SingleRounding { multiplier: 1, shift: shift @ 1..=31 } => {
                ([multiplied(a)?, multiplied(b)?], Kind::Shift(Shift(shift)))
            }
            output => ([doubled(a)?, doubled(b)?], Kind::Double(Double::of(output)?)),
        };
        let sign = if params.subtract { -1 } else { 0 };
        Some(Sum {
            sides,
            kind,
            sign,
            zero_point: params.zero_point,
            lo: params.lo,
            hi: params.hi,
            result: result.clone(),
        })
    }

    pub(super) fn run(&self, operands: [&Tensor; 2]) -> Result<Tensor, OpError> {
        let [a, b] = operands.map(codes::bytes);
        let mut out = vec![0; a.bytes.len()];
        match self.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Double(output) if self.wide(output).run(a, b, &mut out) => {}
            Kind::Double(output) => vectorised(Pass { sum: self, operands: [a, b], output, out: &mut out }),
            Kind::Shift(output) => vectorised(Pass { sum: self, operands: [a, b], output, out: &mut out }),
        }
        Ok(codes::tensor(self.result.dtype, &self.result.shape, out)?)
    }

    #[cfg(target_arch = "x86_64")]
    fn wide(&self, output: Double) -> Doubled {
        let side = |side: Side, negative| DoubledSide {
            zero: side.zero,
            pre_shift: side.pre_shift,
            factor: (side.scale.multiplier, side.scale.shift),
            negative,
        };
        let Sum { sides: [a, b], zero_point, lo, hi, .. } = *self;
        let sides = [side(a, false), side(b, self.sign != 0)];
        Doubled { sides, output: (output.multiplier, output.shift), zero_point, lo, hi }
    }
}

fn rank(side: &AddOperand, ty: &TensorType) -> i32 {
    i32::from(codes::rank(ty.dtype, side.zero_point))
}

/// One pass over all elements.
struct Pass<'a, R> {
    sum: &'a Sum,
    operands: [Codes<'a>; 2],
    output: R,
    out: &'a mut [u8],
}

impl<R: Rounding> Vectorised<()> for Pass<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Pass { sum, operands: [a, b], output, out } = self;
        let Sum { sides, sign, zero_point, lo, hi, .. } = *sum;
        let (flip_a, flip_b) = (a.flip(), b.flip());
        for ((out, &a), &b) in out.iter_mut().zip(a.bytes).zip(b.bytes) {
            let a = R::side(sides[0], i32::from(a ^ flip_a) - sides[0].zero);
            let b = R::side(sides[1], i32::from(b ^ flip_b) - sides[1].zero);
            *out = (output.output(a + ((b ^ sign) - sign)) + zero_point).max(lo).min(hi) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::add_params;
    use crate::{Act, Arith};
    use tandem_tensor::{DType, QuantParams};

    #[test]
    fn sums_of_all_pairs_of_codes_are_those_of_the_constants() {
        let codes = |of: fn(usize) -> usize| (0..65_536 + 7).map(|i| of(i) as u8 as i8).collect::<Vec<i8>>();
        let (left, right) = (codes(|i| i), codes(|i| i >> 8));
        let shape = [left.len()];
        let ty = |(scale, zero)| TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(scale, zero));
        let tensor = |v: &Vec<i8>| Tensor::from_vec(shape, v.clone()).unwrap();
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            for (a, b, y) in [
                ((0.05, 3), (0.02, -7), (0.06, 1)),
                ((0.02, -128), (0.05, 127), (0.01, -5)),
                ((0.1, 0), (0.1, 0), (0.1, 0)),
            ] {
                for subtract in [false, true] {
                    let (a, b, y) = (ty(a), ty(b), ty(y));
                    let quant = |ty: &TensorType| ty.quant.clone().unwrap();
                    let params = add_params(arith, &quant(&a), &quant(&b), &quant(&y), DType::I8, Act::Relu, subtract);
                    let sum = Sum::new(&params, [&a, &b], &y).unwrap();
                    let found = sum.run([&tensor(&left), &tensor(&right)]).unwrap();
                    let expected = left.iter().zip(&right).map(|(&a, &b)| params.apply(a.into(), b.into()) as i8);
                    assert!(found.as_slice::<i8>().unwrap().iter().copied().eq(expected), "{arith:?} {subtract}");
                }
            }
        }
    }
}
