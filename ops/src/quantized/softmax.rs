//! Softmax of codes.

use super::codes;
use crate::arith::{SoftmaxParams, code_range};
use crate::cpu::int8::Codes;
use crate::{Arith, Op, OpError};
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// Family A: fixed point; the result has the scale 1/256 and the smallest code for zero. Family B: a table of binary32
/// exponentials and a running sum.
pub(super) struct Kernel {
    axis: usize,
    exponentials: Exponentials,
    result: TensorType,
    output: QuantParams,
}

/// Of the differences 0, -1, .. -255.
enum Exponentials {
    Fixed(SoftmaxParams, Box<[Option<i32>; 256]>),
    Real(Box<[f32; 256]>),
}

impl Kernel {
    pub(super) fn new(
        op: &Op,
        (axis, beta): (usize, f32),
        arith: Arith,
        x: &TensorType,
        result: &TensorType,
    ) -> Result<Kernel, OpError> {
        let (input, output) = (codes::whole(op.name(), x)?, codes::whole(op.name(), result)?);
        let fixed = arith == Arith::TfliteRef;
        let lo = code_range(result.dtype).0;
        if x.dtype != result.dtype || fixed && (output.scale() != 1.0 / 256.0 || output.zero_point() != lo) {
            return Err(OpError::unsupported(format!(
                "{} has no fixed-point kernel for {result} of another scale",
                op.name()
            )));
        }
        let exponentials = if fixed {
            let params = SoftmaxParams::new(beta, input.scale());
            Exponentials::Fixed(params, Box::new(params.table()))
        } else {
            Exponentials::Real(Box::new(std::array::from_fn(|d| exponential(beta, input, d))))
        };
        Ok(Kernel { axis, exponentials, result: result.clone(), output: output.clone() })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor, OpError> {
        let mut out = vec![0u8; x.len()];
        self.write(codes::bytes(x), &mut out);
        Ok(codes::tensor(self.result.dtype, &self.result.shape, out)?)
    }

    /// Writes the codes of the result.
    pub(super) fn write(&self, codes: Codes<'_>, out: &mut [u8]) {
        let Kernel { axis, ref result, ref output, .. } = *self;
        let (lo, hi) = code_range(result.dtype);
        let (extent, inner) = (result.shape[axis], result.shape[axis + 1..].iter().product::<usize>());
        let (mut row, mut results) = (vec![0u8; extent], Vec::with_capacity(extent));
        for first in (0..codes.bytes.len()).step_by((extent * inner).max(1)) {
            for lane in first..first + inner {
                let at = |k: usize| lane + k * inner;
                let top = (0..extent).map(|k| codes.rank(at(k))).max().unwrap_or(0);
                for (k, difference) in row.iter_mut().enumerate() {
                    *difference = top - codes.rank(at(k));
                }
                results.clear();
                match &self.exponentials {
                    Exponentials::Fixed(params, table) => {
                        params.row(row.iter().copied(), &mut |code| results.push((code + lo).min(hi)), table);
                    }
                    Exponentials::Real(table) => real_row(&row, table, output, (lo, hi), &mut results),
                }
                for (k, &code) in results.iter().enumerate() {
                    out[at(k)] = code as u8;
                }
            }
        }
    }
}

/// `exp(-scale * beta * d)` of a difference d from 0 to 255.
fn exponential(beta: f32, input: &QuantParams, d: usize) -> f32 {
    f64::from(-input.scale() * beta * d as f32).exp() as f32
}

fn real_row(row: &[u8], table: &[f32; 256], output: &QuantParams, (lo, hi): (i32, i32), codes: &mut Vec<i32>) {
    let sum = row.iter().fold(0f32, |sum, &d| sum + table[usize::from(d)]);
    let inverse = 1.0 / (sum * output.scale());
    codes.extend(row.iter().map(|&d| {
        let code = (table[usize::from(d)] * inverse).round() as i32;
        code.saturating_add(output.zero_point()).clamp(lo, hi)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::tests::run_family;
    use tandem_tensor::DType;

    fn run(arith: Arith, axis: usize, shape: [usize; 2], x: &[i8]) -> Vec<i8> {
        let x = Tensor::from_vec(shape, x.to_vec()).unwrap();
        let (from, to) = (QuantParams::per_tensor(0.1, 5), QuantParams::per_tensor(1.0 / 256.0, -128));
        let op = Op::Softmax { axis, beta: 1.0, log: false };
        let y = run_family(&op, arith, &[(&x, Some(&from))], DType::I8, Some(&to)).unwrap();
        y.as_slice::<i8>().unwrap().to_vec()
    }

    #[test]
    fn both_families_are_within_a_code_of_the_real_softmax() {
        let x: Vec<i8> = (0..60).map(|i| (i * 97 % 256) as u8 as i8).collect();
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let y = run(arith, 1, [6, 10], &x);
            for (x, y) in x.chunks(10).zip(y.chunks(10)) {
                let e: Vec<f64> = x.iter().map(|&q| (0.1 * f64::from(q)).exp()).collect();
                let sum: f64 = e.iter().sum();
                for (e, &y) in e.iter().zip(y) {
                    let exact = (e / sum * 256.0 - 128.0).min(127.0);
                    assert!((f64::from(y) - exact).abs() < 0.51, "{arith:?} {y} {exact}");
                }
            }
        }
    }

    #[test]
    fn any_axis_may_be_normalised() {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let along = run(arith, 1, [2, 3], &[1, 20, 3, 40, 5, 6]);
            let across = run(arith, 0, [3, 2], &[1, 40, 20, 5, 3, 6]);
            assert_eq!([along[0], along[3], along[1], along[4], along[2], along[5]], across[..]);
        }
    }

    #[test]
    fn a_result_of_another_scale_goes_by_way_of_reals() {
        let x = Tensor::from_vec([2], vec![0i8, 0]).unwrap();
        let q = QuantParams::per_tensor(0.01, 0);
        let op = Op::Softmax { axis: 0, beta: 1.0, log: false };
        let y = run_family(&op, Arith::TfliteRef, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), [50, 50]);
    }
}
