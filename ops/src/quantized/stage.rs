//! The output stage of the kernels that sum: bias, requantisation, zero point and clamp, channel by channel.

use super::codes;
use crate::arith::{DenseScale, Requant, activation_range, conv_requant, matmul_requant};
use crate::{Act, Arith, Op, OpError};
use tandem_tensor::{DType, QuantParams, TensorType};

/// The output stage of all channels.
pub(super) struct Stage {
    bias: Vec<i32>,
    scale: Scale,
    zero_point: i32,
    lo: i32,
    hi: i32,
}

/// One requantiser for each channel, as lists that a loop over channels reads in order.
enum Scale {
    /// All shifts go right.
    Double {
        multiplier: Vec<i32>,
        shift: Vec<u32>,
    },
    Float(Vec<f32>),
    /// The dense layer of family A.
    Dense(Vec<f64>),
    Any(Vec<Requant>),
}

impl Stage {
    /// The stage of an operator on these types; `x`, `w` and `y` have been checked by [`codes`].
    pub(super) fn new(
        op: &Op,
        arith: Arith,
        types: [&TensorType; 3],
        act: Act,
        bias: Vec<i32>,
    ) -> Result<Stage, OpError> {
        let [x, w, y] = types;
        let input = codes::whole(op.name(), x)?.scale();
        let weights = codes::per_output(op.name(), w)?;
        let out = codes::whole(op.name(), y)?;
        let output = out.scale();
        let channels = 0..bias.len();
        let scale = match op {
            Op::Dense { .. } if arith == Arith::TfliteRef => {
                Scale::Dense(channels.map(|c| DenseScale::new(input, weights.at(c).0, output).scale).collect())
            }
            _ if x.dtype == DType::U8 && weights.is_per_tensor() => {
                Scale::of(vec![matmul_requant(arith, input, weights.scale(), output); bias.len()])
            }
            _ => Scale::of(channels.map(|c| conv_requant(arith, input, weights.at(c).0, output)).collect()),
        };
        let (lo, hi) = activation_range(act, y.dtype, out);
        Ok(Stage { bias, scale, zero_point: out.zero_point(), lo, hi })
    }

    /// A stage without bias.
    pub(super) fn without_bias(requants: Vec<Requant>, output: &QuantParams, (lo, hi): (i32, i32)) -> Stage {
        Stage { bias: vec![0; requants.len()], scale: Scale::of(requants), zero_point: output.zero_point(), lo, hi }
    }

    /// The low bytes of the codes of sums of the channels from `first` on.
    #[inline(always)]
    pub(super) fn apply(&self, first: usize, sums: &[i32], out: &mut [u8]) {
        let n = out.len().min(sums.len());
        let channels = first..first + n;
        let (sums, bias, out) = (&sums[..n], &self.bias[channels.clone()], &mut out[..n]);
        let (zero, lo, hi) = (self.zero_point, self.lo, self.hi);
        let code = |r: i32| r.saturating_add(zero).max(lo).min(hi) as u8;
        match &self.scale {
            Scale::Double { multiplier, shift } => {
                let (multiplier, shift) = (&multiplier[channels.clone()], &shift[channels]);
                for i in 0..n {
                    let acc = sums[i].wrapping_add(bias[i]);
                    // The rounding doubling high multiply; saturation needs a negative multiplier.
                    let high = ((i64::from(acc) * i64::from(multiplier[i]) + (1 << 30)) >> 31) as i32;
                    out[i] = code(crate::arith::rounding_divide_by_pot(high, shift[i]));
                }
            }
            Scale::Float(scale) => {
                let scale = &scale[channels];
                // Clamping the real is the same as clamping the integer, and lets the conversion be a plain one.
                let (least, most) = ((lo - zero) as f32, (hi - zero) as f32);
                for i in 0..n {
                    let real = (sums[i].wrapping_add(bias[i])) as f32 * scale[i];
                    out[i] = (real.max(least).min(most).round_ties_even() as i32 + zero) as u8;
                }
            }
            Scale::Dense(scale) => {
                let scale = &scale[channels];
                for i in 0..n {
                    let acc = sums[i].wrapping_add(bias[i]);
                    out[i] = code(DenseScale { scale: scale[i] }.apply(acc));
                }
            }
            Scale::Any(requant) => {
                let requant = &requant[channels];
                for i in 0..n {
                    out[i] = requant[i].code(sums[i].wrapping_add(bias[i]), zero, lo, hi) as u8;
                }
            }
        }
    }
}

impl Scale {
    fn of(requants: Vec<Requant>) -> Scale {
        let double: Option<Vec<(i32, u32)>> = requants
            .iter()
            .map(|r| match *r {
                Requant::DoubleRounding { multiplier, shift } if multiplier >= 0 && shift <= 0 => {
                    Some((multiplier, shift.unsigned_abs()))
                }
                _ => None,
            })
            .collect();
        if let Some(list) = double {
            let (multiplier, shift) = list.into_iter().unzip();
            return Scale::Double { multiplier, shift };
        }
        let float = requants.iter().map(|r| if let Requant::Float { scale } = *r { Some(scale) } else { None });
        match float.collect() {
            Some(list) => Scale::Float(list),
            None => Scale::Any(requants),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_equals_the_requantiser_in_every_mode() {
        let output = QuantParams::per_tensor(1.0, -5);
        let modes = [
            Requant::DoubleRounding { multiplier: 1_518_500_250, shift: -9 },
            Requant::DoubleRounding { multiplier: 1_518_500_250, shift: 2 },
            Requant::DoubleRounding { multiplier: 0, shift: 0 },
            Requant::Float { scale: 0.0013 },
            Requant::HalfAway { multiplier: 1_518_500_250, shift: 40 },
            Requant::SingleRounding { multiplier: 77, shift: 12 },
        ];
        let sums: Vec<i32> = (-40_000..40_000).step_by(7).chain([i32::MIN, i32::MAX, 1, -1]).collect();
        for requant in modes {
            let stage = Stage::without_bias(vec![requant; sums.len()], &output, (-100, 90));
            let mut out = vec![0u8; sums.len()];
            stage.apply(0, &sums, &mut out);
            for (&sum, &code) in sums.iter().zip(&out) {
                assert_eq!(i32::from(code as i8), requant.code(sum, -5, -100, 90), "{sum} {requant:?}");
            }
        }
    }
}
