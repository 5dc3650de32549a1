//! The output stage of the kernels that sum: bias, requantisation, zero point and clamp, channel by channel.

use super::codes;
use crate::arith::{DenseScale, Requant, activation_range, conv_requant, matmul_requant};
use crate::cpu::int8::LANES;
use crate::cpu::vectorised::{Vectorised, vectorised};
use crate::{Act, Arith, Op, OpError};
use tandem_tensor::{DType, QuantParams, TensorType};

/// The output stage of all channels. The lists are longer than the channels by [`LANES`], so that a block may reach over the last
/// channel.
pub(crate) struct Stage {
    pub(crate) bias: Vec<i32>,
    pub(crate) scale: Scale,
    pub(crate) zero_point: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
    /// Real factors below [`TAME`], so that no product leaves 32 bits; for other factors, biases below 2^29 in magnitude.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the SIMD files of x86-64 read it"))]
    pub(crate) tame: bool,
}

/// Sums of 32 bits times a factor of a smaller magnitude stay in 32 bits.
pub(crate) const TAME: f64 = 0.99;

/// One requantiser for each channel, as lists that a loop over channels reads in order.
pub(crate) enum Scale {
    /// All shifts go right.
    Double {
        multiplier: Vec<i32>,
        shift: Vec<i32>,
    },
    Float(Vec<f32>),
    /// A rounding shift by 1 to 31, half up.
    Shift(Vec<i32>),
    /// The dense layer of family A.
    Dense(Vec<f64>),
    Any(Vec<Requant>),
}

impl Stage {
    /// The stage of an operator on these types, which are checked here.
    pub(crate) fn new(
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
        Ok(Stage::padded(bias, scale, out.zero_point(), activation_range(act, y.dtype, out)))
    }

    /// A stage without bias.
    pub(crate) fn without_bias(requants: Vec<Requant>, output: &QuantParams, range: (i32, i32)) -> Stage {
        Stage::of(vec![0; requants.len()], requants, output.zero_point(), range)
    }

    /// The stage of these requantisers.
    pub(crate) fn of(bias: Vec<i32>, requants: Vec<Requant>, zero_point: i32, range: (i32, i32)) -> Stage {
        let wide = !(-(1 << 20)..1 << 20).contains(&zero_point);
        let scale = if wide { Scale::Any(requants) } else { Scale::of(requants) };
        Stage::padded(bias, scale, zero_point, range)
    }

    /// Adds to the bias of the channels from `first` on.
    pub(crate) fn fold(&mut self, first: usize, more: &[i32]) {
        for (bias, more) in self.bias[first..].iter_mut().zip(more) {
            *bias = bias.wrapping_add(*more);
        }
        self.tame &= self.scale.is_real() || tame(&self.bias[first..][..more.len()]);
    }

    /// Whether codes have eight bits, and sums that have saturated to 16 bits may be moved by the zero point.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_narrow(&self) -> bool {
        let codes = if self.lo < 0 { -128..=127 } else { 0..=255 };
        (-512..512).contains(&self.zero_point) && codes.contains(&self.lo) && codes.contains(&self.hi)
    }

    fn padded(mut bias: Vec<i32>, mut scale: Scale, zero_point: i32, (lo, hi): (i32, i32)) -> Stage {
        let len = bias.len() + LANES;
        bias.resize(len, 0);
        match &mut scale {
            Scale::Double { multiplier, shift } => {
                multiplier.resize(len, 0);
                shift.resize(len, 0);
            }
            Scale::Float(list) => list.resize(len, 0.0),
            Scale::Shift(list) => list.resize(len, 1),
            Scale::Dense(list) => list.resize(len, 0.0),
            Scale::Any(list) => list.resize(len, Requant::Float { scale: 0.0 }),
        }
        let tame = match &scale {
            Scale::Float(list) => list.iter().all(|scale| scale.abs() < TAME as f32),
            Scale::Dense(list) => list.iter().all(|scale| (0.0..TAME).contains(scale)),
            _ => tame(&bias),
        };
        Stage { bias, scale, zero_point, lo, hi, tame }
    }

    /// The low bytes of the codes of the sums of all channels.
    pub(crate) fn apply(&self, sums: &[i32], out: &mut [u8]) {
        vectorised(Row { stage: self, step: LANES, sums, out });
    }

    /// The low bytes of the codes of sums that all have the constants of the first [`LANES`] channels, which are equal.
    pub(crate) fn apply_everywhere(&self, sums: &[i32], out: &mut [u8]) {
        vectorised(Row { stage: self, step: 0, sums, out });
    }

    /// The low bytes of the codes of the sums of the channels from `first` on. Those beyond the last channel mean nothing.
    #[inline(always)]
    pub(crate) fn block(&self, first: usize, sums: &[i32; LANES]) -> [u8; LANES] {
        let bias = lanes(&self.bias, first);
        self.codes(first, std::array::from_fn(|i| sums[i].wrapping_add(bias[i])))
    }

    /// As [`Stage::block`], of sums to which the bias has been added.
    #[inline(always)]
    pub(crate) fn codes(&self, first: usize, acc: [i32; LANES]) -> [u8; LANES] {
        let (zero, lo, hi) = (self.zero_point, self.lo, self.hi);
        let code = |r: i32| r.saturating_add(zero).max(lo).min(hi) as u8;
        match &self.scale {
            Scale::Double { multiplier, shift } => {
                let (multiplier, shift) = (lanes(multiplier, first), lanes(shift, first));
                // The rounding doubling high multiply; saturation needs a negative multiplier.
                let high: [i32; LANES] =
                    std::array::from_fn(|i| ((i64::from(acc[i]) * i64::from(multiplier[i]) + (1 << 30)) >> 31) as i32);
                std::array::from_fn(|i| {
                    let mask = (1u32 << shift[i]).wrapping_sub(1) as i32;
                    let up = (high[i] & mask) > (mask >> 1) + i32::from(high[i] < 0);
                    code((high[i] >> shift[i]) + i32::from(up))
                })
            }
            Scale::Float(scale) => {
                let scale = lanes(scale, first);
                // Clamping the real is the same as clamping the integer. Within the range of codes, adding 1.5 * 2^23 rounds half
                // to even and leaves the integer in the low bits.
                const ROUND: f32 = 12_582_912.0;
                let (least, most) = ((lo - zero) as f32, (hi - zero) as f32);
                let offset = zero.wrapping_sub(ROUND.to_bits() as i32);
                std::array::from_fn(|i| {
                    let real = acc[i] as f32 * scale[i];
                    let real = if real > least { real } else { least };
                    let real = if real < most { real } else { most };
                    ((real + ROUND).to_bits() as i32).wrapping_add(offset) as u8
                })
            }
            Scale::Shift(shift) => {
                let shift = lanes(shift, first);
                std::array::from_fn(|i| code(((i64::from(acc[i]) + (1 << (shift[i] - 1))) >> shift[i]) as i32))
            }
            Scale::Dense(scale) => {
                let scale = lanes(scale, first);
                std::array::from_fn(|i| code(DenseScale { scale: scale[i] }.apply(acc[i])))
            }
            Scale::Any(requant) => {
                let requant = lanes(requant, first);
                std::array::from_fn(|i| requant[i].code(acc[i], zero, lo, hi) as u8)
            }
        }
    }
}

/// Sums of which every block of [`LANES`] is `step` channels further.
struct Row<'a> {
    stage: &'a Stage,
    step: usize,
    sums: &'a [i32],
    out: &'a mut [u8],
}

impl Vectorised<()> for Row<'_> {
    #[inline(always)]
    fn run(self) {
        let Row { stage, step, sums, out } = self;
        let (blocks, rest) = sums.as_chunks::<LANES>();
        let (codes, tail) = out.as_chunks_mut::<LANES>();
        for (i, (sums, codes)) in blocks.iter().zip(codes).enumerate() {
            *codes = stage.block(i * step, sums);
        }
        if !rest.is_empty() {
            let mut last = [0; LANES];
            last[..rest.len()].copy_from_slice(rest);
            tail.copy_from_slice(&stage.block(blocks.len() * step, &last)[..rest.len()]);
        }
    }
}

/// The constants of a block.
#[inline(always)]
pub(crate) fn lanes<T>(list: &[T], first: usize) -> &[T; LANES] {
    &list[first..].as_chunks::<LANES>().0[0]
}

fn tame(bias: &[i32]) -> bool {
    bias.iter().all(|bias| bias.unsigned_abs() < 1 << 29)
}

impl Scale {
    fn is_real(&self) -> bool {
        matches!(self, Scale::Float(_) | Scale::Dense(_))
    }

    fn of(requants: Vec<Requant>) -> Scale {
        let double: Option<Vec<(i32, i32)>> = requants
            .iter()
            .map(|r| match *r {
                Requant::DoubleRounding { multiplier, shift } if multiplier >= 0 && (-31..=0).contains(&shift) => {
                    Some((multiplier, -shift))
                }
                _ => None,
            })
            .collect();
        if let Some(list) = double {
            let (multiplier, shift) = list.into_iter().unzip();
            return Scale::Double { multiplier, shift };
        }
        let float = requants.iter().map(|r| match *r {
            Requant::Float { scale } if scale.is_finite() => Some(scale),
            _ => None,
        });
        if let Some(list) = float.collect() {
            return Scale::Float(list);
        }
        let shift = requants.iter().map(|r| match *r {
            Requant::SingleRounding { multiplier: 1, shift: shift @ 1..=31 } => Some(shift as i32),
            _ => None,
        });
        match shift.collect() {
            Some(list) => Scale::Shift(list),
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
            Requant::DoubleRounding { multiplier: 1 << 30, shift: -1 },
            Requant::DoubleRounding { multiplier: i32::MAX, shift: -22 },
            Requant::DoubleRounding { multiplier: i32::MAX, shift: -30 },
            Requant::DoubleRounding { multiplier: 0, shift: 0 },
            Requant::Float { scale: 0.0013 },
            Requant::HalfAway { multiplier: 1_518_500_250, shift: 40 },
            Requant::SingleRounding { multiplier: 77, shift: 12 },
            Requant::SingleRounding { multiplier: 1, shift: 9 },
            Requant::SingleRounding { multiplier: 1, shift: 31 },
        ];
        let sums: Vec<i32> = (-40_000..40_000).step_by(7).chain([i32::MIN, i32::MAX, 1, -1]).collect();
        for requant in modes {
            let stage = Stage::without_bias(vec![requant; sums.len()], &output, (-100, 90));
            let mut out = vec![0u8; sums.len()];
            stage.apply(&sums, &mut out);
            for (&sum, &code) in sums.iter().zip(&out) {
                assert_eq!(i32::from(code as i8), requant.code(sum, -5, -100, 90), "{sum} {requant:?}");
            }
        }
    }
}
