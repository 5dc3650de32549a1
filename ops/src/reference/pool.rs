//! Pooling.

use super::conv::{positions, three};
use super::number::{Numbers, activate, activate_ints, from_ints, from_reals};
use super::{Operand, no_kernel};
use crate::infer::Window;
use crate::{OpError, Pool, PoolKind};
use tandem_tensor::{DType, Tensor, TensorType};

pub(super) fn pool(p: &Pool, operands: &[Operand<'_>], results: &[&TensorType]) -> Result<Vec<Tensor>, OpError> {
    let x = operands[0];
    let result = results[0];
    let indices = results.get(1);
    if result.dtype != x.ty.dtype || indices.is_some_and(|ty| ty.dtype != DType::I64) {
        return Err(no_kernel("pool", operands, result));
    }
    let windows = three(Window::of_pool(p, &x.ty.shape)?);
    let (batch, channels) = (x.ty.shape[0], x.ty.shape[x.ty.shape.rank() - 1]);
    let plane = Plane { windows, batch, channels, elements: result.elements() };
    let (pooled, places) = match (p.kind, Numbers::of(x.tensor)) {
        (PoolKind::Average, Numbers::Real(v)) => {
            let mut out = plane.average(&v, p.count_include_pad);
            activate(p.act, &mut out);
            (from_reals(result.dtype, &result.shape, &out)?, None)
        }
        (PoolKind::Average, Numbers::Int(_)) => return Err(no_kernel("average_pool", operands, result)),
        (PoolKind::Max, Numbers::Real(v)) => {
            let (mut out, places) = plane.max(&v, f64::NEG_INFINITY, |new, old| new > old || new.is_nan());
            activate(p.act, &mut out);
            (from_reals(result.dtype, &result.shape, &out)?, Some(places))
        }
        (PoolKind::Max, Numbers::Int(v)) => {
            let lowest = result.dtype.integer_range().map_or(0, |r| r.0);
            let (mut out, places) = plane.max(&v, lowest, |new, old| new > old);
            activate_ints(p.act, &mut out);
            (from_ints(result.dtype, &result.shape, &out)?, Some(places))
        }
    };
    let mut tensors = vec![pooled];
    if let (Some(ty), Some(places)) = (indices, places) {
        tensors.push(Tensor::from_vec(ty.shape.clone(), places)?);
    }
    Ok(tensors)
}

/// The geometry of a pool over `[batch, z, y, x, channels]`.
struct Plane {
    windows: [Window; 3],
    batch: usize,
    channels: usize,
    elements: usize,
}

impl Plane {
    fn average(&self, x: &[f64], count_pad: bool) -> Vec<f64> {
        let mut out = vec![0.0; self.elements];
        let [wz, wy, wx] = &self.windows;
        self.visit(|(oz, oy, ox), row, taps| {
            let acc = &mut out[row * self.channels..(row + 1) * self.channels];
            let mut inside = 0usize;
            taps(&mut |pixel| {
                inside += 1;
                let at = self.at(pixel) * self.channels;
                for (a, v) in acc.iter_mut().zip(&x[at..at + self.channels]) {
                    *a += v;
                }
            });
            // Padding beyond `isize` is refused by the shape rule, and a window counts at most the padded input.
            let padded = [wz.padded_taps(oz), wy.padded_taps(oy), wx.padded_taps(ox)];
            let divisor = if count_pad { padded.iter().map(|&n| n as f64).product() } else { inside as f64 };
            // A window entirely in the padding has the mean of nothing, which is 0 as it is in a padded average.
            acc.iter_mut().for_each(|a| *a /= f64::max(divisor, 1.0));
        });
        out
    }

    /// The largest elements and their positions in the flat channels-first input; -1 where a window is empty.
    fn max<T: Copy>(&self, x: &[T], lowest: T, better: impl Fn(T, T) -> bool) -> (Vec<T>, Vec<i64>) {
        let mut out = vec![lowest; self.elements];
        let mut places = vec![-1i64; self.elements];
        let [wz, wy, wx] = &self.windows;
        let channels = self.channels;
        self.visit(|_, row, taps| {
            let acc = &mut out[row * channels..(row + 1) * channels];
            let places = &mut places[row * channels..(row + 1) * channels];
            taps(&mut |pixel| {
                let at = self.at(pixel) * channels;
                for (c, (a, &v)) in acc.iter_mut().zip(&x[at..at + channels]).enumerate() {
                    if places[c] < 0 || better(v, *a) {
                        *a = v;
                        let [n, z, y, x] = pixel;
                        places[c] = ((((n * channels + c) * wz.input + z) * wy.input + y) * wx.input + x) as i64;
                    }
                }
            });
        });
        (out, places)
    }

    /// The pixel's index among all pixels.
    fn at(&self, [n, z, y, x]: [usize; 4]) -> usize {
        let [wz, wy, wx] = &self.windows;
        ((n * wz.input + z) * wy.input + y) * wx.input + x
    }

    /// For every window: its position, its index among all windows, and a function that runs another one on each input
    /// pixel `[n, z, y, x]` under it.
    fn visit(&self, mut window: impl FnMut((usize, usize, usize), usize, &dyn Fn(&mut dyn FnMut([usize; 4])))) {
        if self.elements == 0 {
            return;
        }
        let [wz, wy, wx] = &self.windows;
        let mut row = 0;
        for n in 0..self.batch {
            for (oz, oy, ox) in positions(wz.output, wy.output, wx.output) {
                window((oz, oy, ox), row, &|pixel| {
                    for tz in wz.taps(oz) {
                        for ty in wy.taps(oy) {
                            for tx in wx.taps(ox) {
                                pixel([n, wz.input_at(oz, tz), wy.input_at(oy, ty), wx.input_at(ox, tx)]);
                            }
                        }
                    }
                });
                row += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run, run_typed, values};
    use crate::{Act, Op, Operand, Pool, PoolKind, reference};
    use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

    fn line(kind: PoolKind, kernel: usize, stride: usize, pad: (usize, usize), ceil: bool, count: bool) -> Op {
        Op::Pool(Pool {
            kind,
            kernel: vec![kernel],
            stride: vec![stride],
            dilation: vec![1],
            pad: vec![pad],
            ceil,
            count_include_pad: count,
            act: Act::None,
        })
    }

    #[test]
    fn padding_never_wins_a_maximum() {
        let x = floats([1, 3, 1], &[-5.0, -3.0, -4.0]);
        let y = run(&line(PoolKind::Max, 3, 1, (1, 1), false, false), &[&x], DType::F32);
        assert_eq!(values(&y), [-3.0, -3.0, -3.0]);
        let bytes = Tensor::from_vec([1, 3, 1], vec![-5i8, -3, -4]).unwrap();
        let q = QuantParams::per_tensor(0.5, 3);
        let op = line(PoolKind::Max, 2, 1, (1, 0), false, false);
        let y = run_typed(&op, &[(&bytes, Some(&q))], DType::I8, Some(&q)).unwrap();
        assert_eq!(y.as_slice::<i8>().unwrap(), [-5, -3, -3]);
    }

    #[test]
    fn the_divisor_of_an_average_counts_what_it_is_told_to() {
        let x = floats([1, 3, 1], &[3.0, 6.0, 9.0]);
        let excluded = run(&line(PoolKind::Average, 3, 1, (1, 1), false, false), &[&x], DType::F32);
        assert_eq!(values(&excluded), [4.5, 6.0, 7.5]);
        let included = run(&line(PoolKind::Average, 3, 1, (1, 1), false, true), &[&x], DType::F32);
        assert_eq!(values(&included), [3.0, 6.0, 5.0]);
        // The last window hangs over the end of the padded input by one element, which does not count.
        let ceiling = run(
            &line(PoolKind::Average, 3, 2, (0, 1), true, true),
            &[&floats([1, 4, 1], &[1.0, 2.0, 3.0, 8.0])],
            DType::F32,
        );
        assert_eq!(values(&ceiling), [2.0, 11.0 / 3.0]);
        let hanging = run(
            &line(PoolKind::Average, 3, 2, (0, 0), true, true),
            &[&floats([1, 4, 1], &[1.0, 2.0, 3.0, 8.0])],
            DType::F32,
        );
        assert_eq!(values(&hanging), [2.0, 5.5]);
    }

    #[test]
    fn indices_count_in_the_channels_first_input() {
        // Two channels of a 2 x 2 picture: 1 2 / 3 0 and 9 8 / 7 6, interleaved.
        let x = floats([1, 2, 2, 2], &[1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 0.0, 6.0]);
        let op = Op::Pool(Pool {
            kind: PoolKind::Max,
            kernel: vec![2, 2],
            stride: vec![1, 1],
            dilation: vec![1, 1],
            pad: vec![(0, 0); 2],
            ceil: false,
            count_include_pad: false,
            act: Act::None,
        });
        let ty = TensorType::new(DType::F32, [1, 2, 2, 2]);
        let y = TensorType::new(DType::F32, [1, 1, 1, 2]);
        let places = TensorType::new(DType::I64, [1, 1, 1, 2]);
        let out = reference(&op, Default::default(), &[Operand { tensor: &x, ty: &ty }], &[&y, &places]).unwrap();
        assert_eq!(values(&out[0]), [3.0, 9.0]);
        assert_eq!(out[1].as_slice::<i64>().unwrap(), [2, 4]);
    }

    #[test]
    fn an_absurd_window_is_quick() {
        let x = floats([1, 2, 1], &[4.0, 6.0]);
        let huge = 1usize << 40;
        let y = run(&line(PoolKind::Average, huge, 1, (huge, 0), false, false), &[&x], DType::F32);
        assert_eq!(values(&y), [0.0, 4.0, 5.0]);
    }
}
