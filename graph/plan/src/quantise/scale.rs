//! Scales and zero points of activations, weights and biases.

use tandem_ops::arith::DenseScale;
use tandem_ops::{Arith, Op};
use tandem_tensor::QuantParams;

/// Scales stay within this, so that the products of two of them are ordinary binary32 numbers.
const SCALES: (f64, f64) = (1e-12, 1e12);
/// The largest magnitude of a bias: half of what an accumulator holds, the rest is for the products.
const MAX_BIAS: f64 = (1u32 << 30) as f64;
/// Weights are codes of -127 to 127, so that their range is the same on both sides.
const MAX_WEIGHT: f64 = 127.0;

/// Quantised weights: codes of int8, a scale an output, and biases of int32 in units of input scale times weight scale.
pub(super) struct Weights {
    pub codes: Vec<i8>,
    pub quant: QuantParams,
    pub bias: Vec<i32>,
    /// The scale of each bias.
    pub bias_scale: Vec<f32>,
}

/// The quantisation of an int8 activation that covers a range: zero has a code. Of a value that was never anything but zero nothing
/// is known, and it may be 0 to 1.
pub fn activation(low: f32, high: f32) -> QuantParams {
    let (low, high) = if low < 0.0 || high > 0.0 { (low.min(0.0), high.max(0.0)) } else { (0.0, 1.0) };
    let (low, high) = (f64::from(low), f64::from(high));
    let scale = ((high - low) / 255.0).clamp(SCALES.0, SCALES.1) as f32;
    let zero_point = (-128.0 - low / f64::from(scale)).round().clamp(-128.0, 127.0) as i32;
    QuantParams::per_tensor(scale, zero_point)
}

/// The int8 code of a real: to the nearest, half away from zero.
pub fn code(real: f32, quant: &QuantParams) -> i8 {
    let (scale, zero_point) = (f64::from(quant.scale()), f64::from(quant.zero_point()));
    ((f64::from(real) / scale).round() + zero_point).clamp(-128.0, 127.0) as i8
}

/// Quantises weights, whose first axis is the outputs, symmetrically for each output.
///
/// A scale is larger than the weights ask for where the bias would not fit in 32 bits otherwise, and a little larger where a
/// dense layer of family A would have no integer multiplier.
pub(super) fn weights(
    op: &Op,
    arith: Arith,
    (weights, bias): (&[f32], Option<&[f32]>),
    outputs: usize,
    input: &QuantParams,
    output: &QuantParams,
) -> Weights {
    let each = weights.len() / outputs.max(1);
    let input_scale = f64::from(input.scale());
    let mut result = Weights {
        codes: Vec::with_capacity(weights.len()),
        quant: QuantParams { scale: Vec::with_capacity(outputs), zero_point: vec![0; outputs], axis: Some(0) },
        bias: Vec::with_capacity(outputs),
        bias_scale: Vec::with_capacity(outputs),
    };
    for o in 0..outputs {
        let row = &weights[o * each..(o + 1) * each];
        let bias = f64::from(bias.and_then(|b| b.get(o)).copied().unwrap_or(0.0));
        let largest = row.iter().fold(0f64, |m, w| m.max(f64::from(w.abs())));
        let least = (largest / MAX_WEIGHT).max(bias.abs() / (input_scale * MAX_BIAS));
        let mut scale = least.clamp(SCALES.0, SCALES.1) as f32;
        if matches!(op, Op::Dense { .. }) && arith == Arith::TfliteRef {
            let fits = |s: &f32| DenseScale::new(input.scale(), *s, output.scale()).requant().is_some();
            let near = (0..64u8).map(|k| scale * (1.0 + f32::from(k) / 4096.0)).find(fits);
            scale = near.unwrap_or(scale);
        }
        let real = f64::from(scale);
        result.codes.extend(row.iter().map(|&w| (f64::from(w) / real).round().clamp(-MAX_WEIGHT, MAX_WEIGHT) as i8));
        result.bias.push((bias / (input_scale * real)).round().clamp(-MAX_BIAS, MAX_BIAS) as i32);
        result.quant.scale.push(scale);
        result.bias_scale.push((input_scale * real) as f32);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tandem_ops::Act;

    const DENSE: Op = Op::Dense { act: Act::None };

    #[test]
    fn pixels_have_the_codes_that_int8_models_give_them() {
        assert_eq!(activation(0.0, 255.0), QuantParams::per_tensor(1.0, -128));
        assert_eq!(code(255.0, &activation(0.0, 255.0)), 127);
        assert_eq!(activation(0.0, 0.0), activation(0.0, 1.0));
    }

    #[test]
    fn a_large_bias_widens_the_scale_of_its_weights() {
        let (x, y) = (activation(-1.0, 1.0), activation(-1000.0, 1000.0));
        let w = weights(&DENSE, Arith::Xnnpack, (&[1e-9, -1e-9, 1.0], Some(&[1000.0, 0.0, 0.5])), 3, &x, &y);
        let bias = f64::from(w.bias[0]) * f64::from(w.bias_scale[0]);
        assert!((bias - 1000.0).abs() < 1e-3, "{bias}");
        assert!(w.bias[0] <= 1 << 30);
        assert_eq!((w.codes[1], w.codes[2]), (-127, 127));
    }

    #[test]
    fn weights_of_zero_have_codes_of_zero() {
        let q = activation(-1.0, 1.0);
        let w = weights(&DENSE, Arith::TfliteRef, (&[0.0, 0.0], None), 1, &q, &q);
        assert!(w.codes == [0, 0] && w.bias == [0] && w.quant.scale[0] > 0.0);
    }

    proptest! {
        #[test]
        fn a_real_of_the_range_comes_back_within_half_a_step(low in -1e3f32..0.0, high in 0f32..1e3, at in 0f32..=1.0) {
            let q = activation(low, high);
            let real = low + (high - low) * at;
            let back = (f32::from(code(real, &q)) - q.zero_point() as f32) * q.scale();
            // The zero point is rounded to a code, which may push an end of the range out by half a step.
            prop_assert!((back - real).abs() <= 1.001 * q.scale(), "{real} {back} {q:?}");
            prop_assert_eq!(code(0.0, &q), q.zero_point() as i8);
        }

        #[test]
        fn a_weight_comes_back_within_half_a_step_and_the_layer_has_its_multiplier(
            w in prop::collection::vec(-2f32..2.0, 6),
            high in 0.1f32..50.0,
        ) {
            let (x, y) = (activation(0.0, high), activation(-high, high));
            let q = weights(&DENSE, Arith::TfliteRef, (&w, None), 2, &x, &y);
            for (i, (&w, &c)) in w.iter().zip(&q.codes).enumerate() {
                let scale = q.quant.at(i / 3).0;
                prop_assert!((f32::from(c) * scale - w).abs() <= 0.501 * scale);
                prop_assert!(DenseScale::new(x.scale(), scale, y.scale()).requant().is_some());
            }
        }
    }
}
