//! Element-wise operators of one operand.

use super::number::{Numbers, clip, from_ints, from_reals};
use super::position::moved;
use super::{Operand, no_kernel};
use crate::{Op, OpError, UnaryKind};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};
use tandem_tensor::{DType, Data, Tensor, TensorType};

pub(super) fn unary(kind: UnaryKind, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    if kind == UnaryKind::Identity {
        return moved("identity", x.data().clone(), result);
    }
    let refuse = || no_kernel(Op::Unary(kind).name(), operands, result);
    if x.dtype() != result.dtype {
        return Err(refuse());
    }
    if let (UnaryKind::Not, Data::Bool(v)) = (kind, x.data()) {
        return Ok(Tensor::new(result.shape.clone(), Data::Bool(v.iter().map(|&b| 1 - b.min(1)).collect()))?);
    }
    match Numbers::of(x) {
        Numbers::Real(mut v) if kind != UnaryKind::Not => {
            v.iter_mut().for_each(|x| *x = real(kind, *x));
            Ok(from_reals(result.dtype, &result.shape, &v)?)
        }
        Numbers::Int(mut v) if result.dtype != DType::Bool => {
            for x in &mut v {
                *x = int(kind, *x).ok_or_else(refuse)?;
            }
            Ok(from_ints(result.dtype, &result.shape, &v)?)
        }
        _ => Err(refuse()),
    }
}

fn int(kind: UnaryKind, x: i128) -> Option<i128> {
    Some(match kind {
        UnaryKind::Relu => x.max(0),
        UnaryKind::Relu6 => x.clamp(0, 6),
        UnaryKind::ReluN1To1 => x.clamp(-1, 1),
        UnaryKind::Neg => -x,
        UnaryKind::Abs => x.abs(),
        UnaryKind::Sign => x.signum(),
        UnaryKind::Clip { min, max } => {
            // Bounds are whole numbers for integers; a cast from f64 saturates at the infinities.
            let x = min.map_or(x, |low| x.max(low as i128));
            max.map_or(x, |high| x.min(high as i128))
        }
        _ => return None,
    })
}

/// The operator on a real number.
pub(crate) fn real(kind: UnaryKind, x: f64) -> f64 {
    let of = f64::from;
    match kind {
        UnaryKind::Identity | UnaryKind::Not => x,
        UnaryKind::Relu => clip(x, 0.0, f64::INFINITY),
        UnaryKind::Relu6 => clip(x, 0.0, 6.0),
        UnaryKind::ReluN1To1 => clip(x, -1.0, 1.0),
        UnaryKind::LeakyRelu { alpha } => {
            if x < 0.0 {
                of(alpha) * x
            } else {
                x
            }
        }
        UnaryKind::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
        UnaryKind::HardSigmoid { alpha, beta } => clip(of(alpha) * x + of(beta), 0.0, 1.0),
        UnaryKind::Sigmoid => sigmoid(x),
        UnaryKind::Tanh => x.tanh(),
        UnaryKind::Exp => x.exp(),
        UnaryKind::Log => x.ln(),
        UnaryKind::Sqrt => x.sqrt(),
        UnaryKind::Rsqrt => 1.0 / x.sqrt(),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Neg => -x,
        UnaryKind::Abs => x.abs(),
        UnaryKind::Sign => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        UnaryKind::Erf => erf(x),
        UnaryKind::Sin => x.sin(),
        UnaryKind::Cos => x.cos(),
        UnaryKind::Floor => x.floor(),
        UnaryKind::Ceil => x.ceil(),
        UnaryKind::Round => x.round_ties_even(),
        UnaryKind::Elu { alpha } => {
            if x < 0.0 {
                of(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        UnaryKind::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        UnaryKind::Gelu { tanh: false } => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
        UnaryKind::Gelu { tanh: true } => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        UnaryKind::Swish { alpha } => x * sigmoid(of(alpha) * x),
        UnaryKind::Clip { min, max } => clip(x, min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY)),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The error function, to about 1e-15.
///
/// Near zero the series `2/sqrt(pi) * exp(-x^2) * sum 2^n x^(2n+1) / (2n+1)!!`, all of whose terms have one sign; further
/// out the continued fraction of the complement.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    if x.is_nan() || size >= 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let scaled = (-x * x).exp();
    if size < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term.abs() > sum.abs() * 1e-17 {
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        return FRAC_2_SQRT_PI * scaled * sum;
    }
    let mut fraction = size;
    for k in (1..=80).rev() {
        fraction = size + f64::from(k) / 2.0 / fraction;
    }
    x.signum() * (1.0 - scaled / fraction * FRAC_2_SQRT_PI / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{erf, real};
    use crate::reference::tests::{floats, run, run_typed, values};
    use crate::{Op, UnaryKind};
    use tandem_tensor::{DType, Data, Tensor};

    #[test]
    fn the_error_function_agrees_with_tables() {
        let table = [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.5, 0.999_593_047_982_555),
            (3.0, 0.999_977_909_503_001_4),
            (4.0, 0.999_999_984_582_742_1),
        ];
        for (x, y) in table {
            assert!((erf(x) - y).abs() < 2e-15, "erf({x}) = {} but {y} is expected", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!(erf(f64::INFINITY), 1.0);
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn the_operators_of_reals_by_hand() {
        let near =
            |kind, x: f64, y: f64| assert!((real(kind, x) - y).abs() < 1e-12, "{kind:?}({x}) = {}", real(kind, x));
        near(UnaryKind::LeakyRelu { alpha: 0.5 }, -3.0, -1.5);
        near(UnaryKind::HardSwish, 1.0, 4.0 / 6.0);
        near(UnaryKind::HardSwish, -4.0, 0.0);
        near(UnaryKind::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75);
        near(UnaryKind::Sigmoid, 0.0, 0.5);
        near(UnaryKind::Sigmoid, -800.0, 0.0);
        near(UnaryKind::Rsqrt, 4.0, 0.5);
        near(UnaryKind::Elu { alpha: 2.0 }, -1.0, 2.0 * ((-1f64).exp() - 1.0));
        near(UnaryKind::Softplus, 0.0, 2f64.ln());
        near(UnaryKind::Softplus, 1000.0, 1000.0);
        near(UnaryKind::Gelu { tanh: false }, 1.0, 0.841_344_746_068_543);
        near(UnaryKind::Gelu { tanh: true }, 1.0, 0.841_191_990_608_276_8);
        near(UnaryKind::Swish { alpha: 2.0 }, 1.0, 0.880_797_077_977_882_4);
        near(UnaryKind::Round, 2.5, 2.0);
        near(UnaryKind::Round, -3.5, -4.0);
        near(UnaryKind::Sign, -0.1, -1.0);
        near(UnaryKind::Clip { min: Some(3.0), max: Some(1.0) }, 0.0, 1.0);
    }

    #[test]
    fn integers_have_the_operators_that_stay_integers() {
        let x = Tensor::from_vec([3], vec![-128i8, -3, 9]).unwrap();
        let of = |kind| run(&Op::Unary(kind), &[&x], DType::I8).as_slice::<i8>().unwrap().to_vec();
        assert_eq!(of(UnaryKind::Abs), [-128, 3, 9]);
        assert_eq!(of(UnaryKind::Neg), [-128, 3, -9]);
        assert_eq!(of(UnaryKind::Relu6), [0, 0, 6]);
        assert_eq!(of(UnaryKind::Clip { min: Some(-5.0), max: None }), [-5, -3, 9]);
        assert!(run_typed(&Op::Unary(UnaryKind::Exp), &[(&x, None)], DType::I8, None).is_err());
        let b = Tensor::new([2], Data::Bool(vec![0, 1])).unwrap();
        assert_eq!(run(&Op::Unary(UnaryKind::Not), &[&b], DType::Bool).data(), &Data::Bool(vec![1, 0]));
        assert!(run_typed(&Op::Unary(UnaryKind::Neg), &[(&b, None)], DType::Bool, None).is_err());
    }

    #[test]
    fn nan_passes_through_activations() {
        for kind in
            [UnaryKind::Relu, UnaryKind::Relu6, UnaryKind::Clip { min: Some(0.0), max: Some(1.0) }, UnaryKind::Sign]
        {
            assert!(values(&run(&Op::Unary(kind), &[&floats([1], &[f32::NAN])], DType::F32))[0].is_nan());
        }
    }
}
