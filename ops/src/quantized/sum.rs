//! Sums and differences of codes of one shape, in one pass.

use super::codes;
use crate::OpError;
use crate::arith::{AddOperand, AddParams, Requant};
use crate::cpu::Level;
use crate::cpu::int8::{Codes, Doubled, Factor, Side};
use crate::cpu::vectorised::{Vectorised, vectorised};
use tandem_tensor::{Tensor, TensorType};

/// A sum whose constants let all of it be computed in 32-bit lanes.
pub(super) struct Sum {
    kind: Kind,
    result: TensorType,
}

enum Kind {
    /// Operands and sum are rounded twice each.
    Double(Doubled),
    Shift(Shifted),
}

/// Operands times integers; a rounding shift, half up, of the sum.
struct Shifted {
    /// Zero points of the operands, counted from the smallest code.
    zeros: [i32; 2],
    multipliers: [i32; 2],
    shift: u32,
    zero_point: i32,
    lo: i32,
    hi: i32,
}

impl Sum {
    /// `None` where a constant does not fit or an operand broadcasts.
    pub(super) fn new(params: &AddParams, [a, b]: [&TensorType; 2], result: &TensorType) -> Option<Sum> {
        if a.shape != b.shape {
            return None;
        }
        let AddParams { subtract, zero_point, lo, hi, .. } = *params;
        let rank = |side: &AddOperand, ty: &TensorType| i32::from(codes::rank(ty.dtype, side.zero_point));
        let zeros = [rank(&params.a, a), rank(&params.b, b)];
        let kind = match params.output {
            Requant::SingleRounding { multiplier: 1, shift: shift @ 1..=31 } => {
                let factor = |side: &AddOperand| match side.requant {
                    Requant::SingleRounding { multiplier, shift: 0 }
                        if side.pre_shift == 0 && multiplier.unsigned_abs() <= 1 << 21 =>
                    {
                        Some(multiplier)
                    }
                    _ => None,
                };
                let (a, b) = (factor(&params.a)?, factor(&params.b)?);
                let multipliers = [a, if subtract { -b } else { b }];
                Kind::Shift(Shifted { zeros, multipliers, shift, zero_point, lo, hi })
            }
            output => {
                // Differences of codes take eight bits and a sign.
                let side = |side: &AddOperand, zero| {
                    let factor = Factor::of(side.requant).filter(|_| side.pre_shift <= 20)?;
                    Some(Side { zero, pre_shift: side.pre_shift, factor })
                };
                let sides = [side(&params.a, zeros[0])?, side(&params.b, zeros[1])?];
                Kind::Double(Doubled { sides, subtract, output: Factor::of(output)?, zero_point, lo, hi })
            }
        };
        Some(Sum { kind, result: result.clone() })
    }

    pub(super) fn run(&self, operands: [&Tensor; 2]) -> Result<Tensor, OpError> {
        let [a, b] = operands.map(codes::bytes);
        let mut out = vec![0; a.bytes.len()];
        self.write([a, b], &mut out);
        Ok(codes::tensor(self.result.dtype, &self.result.shape, out)?)
    }

    /// Writes the codes of the result.
    pub(super) fn write(&self, [a, b]: [Codes<'_>; 2], out: &mut [u8]) {
        match &self.kind {
            Kind::Double(sum) => sum.run(Level::best(), a, b, out),
            Kind::Shift(sum) => vectorised(Pass { sum, operands: [a, b], out }),
        }
    }
}

/// One pass over all elements.
struct Pass<'a> {
    sum: &'a Shifted,
    operands: [Codes<'a>; 2],
    out: &'a mut [u8],
}

impl Vectorised<()> for Pass<'_> {
    #[inline(always)]
    fn run(self) {
        let Pass { sum, operands: [a, b], out } = self;
        let Shifted { zeros, multipliers, shift, zero_point, lo, hi } = *sum;
        let (flip_a, flip_b) = (a.flip(), b.flip());
        for ((out, &a), &b) in out.iter_mut().zip(a.bytes).zip(b.bytes) {
            let a = (i32::from(a ^ flip_a) - zeros[0]) * multipliers[0];
            let b = (i32::from(b ^ flip_b) - zeros[1]) * multipliers[1];
            *out = (((a + b + (1 << (shift - 1))) >> shift) + zero_point).max(lo).min(hi) as u8;
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
                // Every second sum is half way between two codes.
                ((0.1, 0), (0.1, 0), (0.2, 4)),
                ((0.03, -7), (0.09, 12), (0.06, 0)),
                // Neighbours of what is half way, and a small operand.
                ((0.1, 0), (0.100_000_1, 0), (0.2, 0)),
                ((1.7, 100), (0.000_3, -100), (1.1, 90)),
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
