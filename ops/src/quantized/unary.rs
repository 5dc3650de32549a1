//! Kernels of one operand: a table of the 256 codes.

use super::{codes, real};
use crate::arith::{
    LeakyReluParams, RequantizeParams, code_range, has_short_multiplier, leaky_relu_params, quantize_multiplier,
    requantize_params, rounding_divide_by_pot, srdhm,
};
use crate::{Act, Arith, Op, OpError, Operand, UnaryKind};
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// A code for each code of the operand, in ascending order.
type Table = [i32; 256];

/// `Op::Unary` and `Op::Requantize`.
pub(super) fn unary(
    op: &Op,
    arith: Arith,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let x = operands[0];
    let quants = [codes::whole(op.name(), x.ty)?, codes::whole(op.name(), result)?];
    let table = match op {
        Op::Requantize | Op::Unary(UnaryKind::Identity) => requantize(arith, quants, x.ty, result),
        Op::Unary(UnaryKind::Relu) => rectify(arith, Act::Relu, quants, x.ty, result),
        Op::Unary(UnaryKind::Relu6) => rectify(arith, Act::Relu6, quants, x.ty, result),
        Op::Unary(UnaryKind::ReluN1To1) => rectify(arith, Act::ReluN1To1, quants, x.ty, result),
        Op::Unary(UnaryKind::LeakyRelu { alpha }) => {
            let params = leaky_relu_params(arith, quants[0], quants[1], result.dtype, *alpha);
            each_code(x.ty, |q| LeakyReluParams::apply(&params, q))
        }
        Op::Unary(UnaryKind::HardSwish) => hard_swish(quants, x.ty, result),
        _ => by_reals(op, arith, quants, x.ty, result)?,
    };
    let lo = code_range(x.ty.dtype).0;
    codes::narrow(result, codes::wide(x.tensor).into_iter().map(|q| table[((q - lo) & 255) as usize]))
}

fn each_code(x: &TensorType, f: impl Fn(i32) -> i32) -> Table {
    let lo = code_range(x.dtype).0;
    std::array::from_fn(|i| f(lo + i as i32))
}

fn rectify(arith: Arith, act: Act, [from, to]: [&QuantParams; 2], x: &TensorType, result: &TensorType) -> Table {
    let params = requantize_params(arith, from, to, result.dtype, act);
    each_code(x, |q| RequantizeParams::apply(&params, q))
}

/// Where family B's own kernel does not take the operands, the built-in kernel that runs in its place rounds the shift half up
/// instead of half away from zero.
fn requantize(arith: Arith, [from, to]: [&QuantParams; 2], x: &TensorType, result: &TensorType) -> Table {
    let params = requantize_params(arith, from, to, result.dtype, Act::None);
    let own = x.dtype == result.dtype && has_short_multiplier(from.scale() / to.scale());
    if arith == Arith::TfliteRef || own {
        return each_code(x, |q| RequantizeParams::apply(&params, q));
    }
    let (multiplier, shift) = quantize_multiplier(f64::from(from.scale()) / f64::from(to.scale()));
    each_code(x, |q| {
        let (left, right) = (shift.clamp(0, 31) as u32, shift.min(0).unsigned_abs());
        let high = i64::from(srdhm((q - from.zero_point()).wrapping_shl(left), multiplier));
        let scaled = (high + ((1i64 << right) >> 1)) >> right;
        (scaled + i64::from(to.zero_point())).clamp(i64::from(params.lo), i64::from(params.hi)) as i32
    })
}

/// The kernel that 8-bit builds of TFLite use in both families: 16-bit fixed point, half of `relu6(x + 3) / 3` times x.
///
/// # Source
/// TFLite's reference `HARD_SWISH` for 8-bit integers.
fn hard_swish([from, to]: [&QuantParams; 2], x: &TensorType, result: &TensorType) -> Table {
    let fine = from.scale() * (1.0 / 128.0);
    let three = 3.0f32 / 32768.0;
    let (out_multiplier, out_shift) = quantize_multiplier(f64::from(fine / to.scale()));
    let (relu_multiplier, relu_shift) = quantize_multiplier(f64::from(fine / three));
    let (out_multiplier, relu_multiplier) = (to_16_bits(out_multiplier), to_16_bits(relu_multiplier));
    let (lo, hi) = code_range(result.dtype);
    each_code(x, |q| {
        let high = ((q - from.zero_point()) as i16).wrapping_shl(7);
        let scaled = doubling_high_16(high, out_multiplier);
        let mut gate = high;
        if relu_shift > 0 {
            gate = saturating_left_16(gate, relu_shift as u32 - 1);
        }
        gate = doubling_high_16(gate, relu_multiplier);
        if relu_shift > 0 {
            gate = saturating_left_16(gate, 1);
        }
        let gate = rounding_divide_by_pot(i32::from(gate), relu_shift.min(0).unsigned_abs());
        // From -1..1 to 0..1.
        let gate = (gate + (1 << 15)) >> 1;
        let product = gate * i32::from(scaled) / (1 << 15);
        let code = rounding_divide_by_pot(product, out_shift.min(0).unsigned_abs());
        (code + to.zero_point()).clamp(lo, hi)
    })
}

/// Any function: codes to reals, the function in floats, and back as [`real::encode`] rounds.
fn by_reals(
    op: &Op,
    arith: Arith,
    [from, to]: [&QuantParams; 2],
    x: &TensorType,
    result: &TensorType,
) -> Result<Table, OpError> {
    let lo = code_range(x.dtype).0;
    let reals: Vec<f32> = (0..256).map(|i| (lo + i - from.zero_point()) as f32 * from.scale()).collect();
    let images: Vec<f32> = match (op, arith) {
        // One rounding after every operation.
        (Op::Unary(UnaryKind::Sigmoid), Arith::TfliteRef) => {
            reals.iter().map(|&x| 1.0 / (1.0 + f64::from(-x).exp() as f32)).collect()
        }
        _ => real::apply(op, arith, &reals)?,
    };
    let (lo, hi) = code_range(result.dtype);
    let inverse = 1.0 / to.scale();
    Ok(std::array::from_fn(|i| {
        let zero = to.zero_point();
        let code = match arith {
            Arith::TfliteRef => ((images[i] * inverse).round() as i32).saturating_add(zero),
            Arith::Xnnpack => (images[i] * inverse + zero as f32).round_ties_even() as i32,
        };
        code.clamp(lo, hi)
    }))
}

fn to_16_bits(multiplier: i32) -> i16 {
    if multiplier >= i32::MAX - (1 << 15) { i16::MAX } else { ((multiplier + (1 << 15)) >> 16) as i16 }
}

/// [`srdhm`] of 16-bit numbers.
fn doubling_high_16(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16
}

fn saturating_left_16(x: i16, shift: u32) -> i16 {
    (i64::from(x) << shift.min(32)).clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::multiply_by_quantized_multiplier;
    use crate::reference::tests::run_family;
    use tandem_tensor::DType;

    fn all(kind: Op, arith: Arith, from: (f32, i32), to: (f32, i32)) -> Vec<i32> {
        let x = Tensor::from_vec([256], (-128..128).map(|q| q as i8).collect::<Vec<i8>>()).unwrap();
        let (from, to) = (QuantParams::per_tensor(from.0, from.1), QuantParams::per_tensor(to.0, to.1));
        let y = run_family(&kind, arith, &[(&x, Some(&from))], DType::I8, Some(&to)).unwrap();
        y.as_slice::<i8>().unwrap().iter().map(|&q| i32::from(q)).collect()
    }

    #[test]
    fn functions_are_within_a_code_of_the_real_ones() {
        type Case = (UnaryKind, fn(f64) -> f64);
        let cases: [Case; 6] = [
            (UnaryKind::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (UnaryKind::Tanh, f64::tanh),
            (UnaryKind::HardSwish, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
            (UnaryKind::Relu6, |x| x.clamp(0.0, 6.0)),
            (UnaryKind::LeakyRelu { alpha: 0.3 }, |x| if x < 0.0 { 0.3 * x } else { x }),
            (UnaryKind::Exp, f64::exp),
        ];
        for (kind, f) in cases {
            for arith in [Arith::TfliteRef, Arith::Xnnpack] {
                let codes = all(Op::Unary(kind), arith, (0.05, 11), (0.04, -3));
                for (q, code) in (-128..128).zip(codes) {
                    let exact = (f(0.05 * f64::from(q - 11)) / 0.04 - 3.0).clamp(-128.0, 127.0);
                    assert!((f64::from(code) - exact).abs() < 1.01, "{kind:?} {arith:?} {q}: {code} {exact}");
                }
            }
        }
    }

    #[test]
    fn a_requantisation_follows_its_family() {
        let (a, b) = (
            all(Op::Requantize, Arith::TfliteRef, (0.3, 0), (1.0, 0)),
            all(Op::Requantize, Arith::Xnnpack, (0.3, 0), (1.0, 0)),
        );
        for q in -128..128 {
            let i = (q + 128) as usize;
            let (multiplier, shift) = quantize_multiplier(f64::from(0.3f32));
            assert_eq!(a[i], multiply_by_quantized_multiplier(q, multiplier, shift));
            assert_eq!(b[i], (q * 77 + 128) >> 8);
        }
        assert_ne!(a, b);
    }

    #[test]
    fn a_requantisation_at_one_scale_only_moves_the_code() {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let x = Tensor::from_vec([3], vec![0u8, 128, 255]).unwrap();
            let (from, to) = (QuantParams::per_tensor(0.02, 128), QuantParams::per_tensor(0.02, 0));
            let y = run_family(&Op::Requantize, arith, &[(&x, Some(&from))], DType::I8, Some(&to)).unwrap();
            assert_eq!(y.as_slice::<i8>().unwrap(), [-128, 0, 127]);
        }
    }
}
