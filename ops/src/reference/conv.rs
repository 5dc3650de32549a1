//! Convolution and transposed convolution.

use super::Operand;
use super::accumulate::{Accumulator, Class, class};
use crate::infer::Window;
use crate::{Conv, ConvTranspose, OpError};
use tandem_tensor::{Shape, Tensor, TensorType};

pub(super) fn conv(c: &Conv, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let windows = three(Window::of_conv(c, &operands[0].ty.shape, &operands[1].ty.shape)?);
    Ok(match class("conv", operands, result)? {
        Class::Real => f64::store(slide::<f64>(&windows, c.groups, operands, result), c.act, result)?,
        Class::Int => i64::store(slide::<i64>(&windows, c.groups, operands, result), c.act, result)?,
    })
}

pub(super) fn conv_transpose(
    c: &ConvTranspose,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    Ok(match class("conv_transpose", operands, result)? {
        Class::Real => f64::store(scatter::<f64>(c, operands, result), c.act, result)?,
        Class::Int => i64::store(scatter::<i64>(c, operands, result), c.act, result)?,
    })
}

/// One to three spatial axes as exactly three; the missing ones come first.
pub(super) fn three<T: Copy + Unit>(axes: Vec<T>) -> [T; 3] {
    let mut all = [T::UNIT; 3];
    let missing = 3usize.saturating_sub(axes.len());
    all[missing..].copy_from_slice(&axes[axes.len() + missing - 3..]);
    all
}

/// What stands for an axis that is not there.
pub(super) trait Unit {
    const UNIT: Self;
}

impl Unit for Window {
    const UNIT: Window = Window::UNIT;
}

impl Unit for usize {
    const UNIT: usize = 1;
}

/// Weights `[o, taps.., i]` as `[tap][group][i][o of the group]`, so that the innermost loop runs along both the
/// accumulators and the weights.
fn pack<A: Accumulator>(w: &[A], outer: usize, taps: usize, inner: usize, groups: usize) -> Vec<A> {
    let group_outer = outer / groups;
    let mut packed = Vec::with_capacity(w.len());
    for tap in 0..taps {
        for group in 0..groups {
            for i in 0..inner {
                packed.extend((0..group_outer).map(|j| w[((group * group_outer + j) * taps + tap) * inner + i]));
            }
        }
    }
    packed
}

/// `acc[o] += x[i] * w[i][o]` within every group.
fn add_tap<A: Accumulator>(acc: &mut [A], x: &[A], w: &[A], groups: usize) {
    if groups == acc.len() && groups == x.len() {
        for ((a, &x), &w) in acc.iter_mut().zip(x).zip(w) {
            a.add_product(x, w);
        }
        return;
    }
    let (inner, outer) = (x.len() / groups, acc.len() / groups);
    if inner == 0 || outer == 0 {
        return;
    }
    for ((acc, x), w) in acc.chunks_exact_mut(outer).zip(x.chunks_exact(inner)).zip(w.chunks_exact(inner * outer)) {
        for (&x, w) in x.iter().zip(w.chunks_exact(outer)) {
            for (a, &w) in acc.iter_mut().zip(w) {
                a.add_product(x, w);
            }
        }
    }
}

fn slide<A: Accumulator>(
    windows: &[Window; 3],
    groups: usize,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Vec<A> {
    if result.elements() == 0 {
        return Vec::new();
    }
    let [wz, wy, wx] = windows;
    let shape = operands[0].tensor.shape();
    let (batch, channels) = (shape[0], shape[shape.rank() - 1]);
    let outer = operands[1].tensor.shape()[0];
    let taps = wz.kernel * wy.kernel * wx.kernel;
    let x = A::load(operands[0].tensor);
    let w = pack(&A::load(operands[1].tensor), outer, taps, channels / groups, groups);
    let tap_len = channels / groups * outer;
    let mut out = start::<A>(operands.get(2), result.elements());
    let mut rows = out.chunks_exact_mut(outer);
    for n in 0..batch {
        for (oz, oy, ox) in positions(wz.output, wy.output, wx.output) {
            let Some(acc) = rows.next() else { return out };
            for tz in wz.taps(oz) {
                let z = n * wz.input + wz.input_at(oz, tz);
                for ty in wy.taps(oy) {
                    let y = z * wy.input + wy.input_at(oy, ty);
                    for tx in wx.taps(ox) {
                        let at = (y * wx.input + wx.input_at(ox, tx)) * channels;
                        let tap = ((tz * wy.kernel + ty) * wx.kernel + tx) * tap_len;
                        add_tap(acc, &x[at..at + channels], &w[tap..tap + tap_len], groups);
                    }
                }
            }
        }
    }
    out
}

fn scatter<A: Accumulator>(c: &ConvTranspose, operands: &[Operand<'_>], result: &TensorType) -> Vec<A> {
    let (shape, weights) = (operands[0].tensor.shape(), operands[1].tensor.shape());
    if result.elements() == 0 {
        return Vec::new();
    }
    let spatial = |s: &Shape| three(s[1..s.rank() - 1].to_vec());
    let (input, kernel, output) = (spatial(shape), spatial(weights), spatial(&result.shape));
    let stride = three(c.stride.clone());
    let dilation = three(c.dilation.clone());
    let mut before = [0; 3];
    let missing = 3 - c.pad.len();
    for (b, p) in before[missing..].iter_mut().zip(&c.pad) {
        *b = p.0;
    }
    let (batch, channels, outer) = (shape[0], shape[shape.rank() - 1], weights[0]);
    let taps = kernel.iter().product();
    let x = A::load(operands[0].tensor);
    let w = pack(&A::load(operands[1].tensor), outer, taps, channels / c.groups, c.groups);
    let tap_len = channels / c.groups * outer;
    let mut out = start::<A>(operands.get(2), result.elements());
    // Where tap `t` of input `i` writes along an axis; `None` where the result has been cut.
    let target = |axis: usize, i: usize, t: usize| {
        (i * stride[axis] + t * dilation[axis]).checked_sub(before[axis]).filter(|&o| o < output[axis])
    };
    for n in 0..batch {
        for (iz, iy, ix) in positions(input[0], input[1], input[2]) {
            let at = (((n * input[0] + iz) * input[1] + iy) * input[2] + ix) * channels;
            for (tz, ty, tx) in positions(kernel[0], kernel[1], kernel[2]) {
                let (Some(z), Some(y), Some(xx)) = (target(0, iz, tz), target(1, iy, ty), target(2, ix, tx)) else {
                    continue;
                };
                let to = (((n * output[0] + z) * output[1] + y) * output[2] + xx) * outer;
                let tap = ((tz * kernel[1] + ty) * kernel[2] + tx) * tap_len;
                add_tap(&mut out[to..to + outer], &x[at..at + channels], &w[tap..tap + tap_len], c.groups);
            }
        }
    }
    out
}

/// The bias, or zero, for every element of the result.
fn start<A: Accumulator>(bias: Option<&Operand<'_>>, elements: usize) -> Vec<A> {
    match bias {
        Some(b) => A::load(b.tensor).into_iter().cycle().take(elements).collect(),
        None => vec![A::ZERO; elements],
    }
}

pub(super) fn positions(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run, run_typed, values};
    use crate::{Act, Conv, ConvTranspose, Op};
    use proptest::prelude::*;
    use tandem_tensor::{DType, Tensor};

    fn line(stride: usize, dilation: usize, pad: (usize, usize), groups: usize, act: Act) -> Op {
        Op::Conv(Conv { stride: vec![stride], dilation: vec![dilation], pad: vec![pad], groups, act })
    }

    #[test]
    fn a_convolution_by_hand() {
        let x = floats([1, 4, 1], &[1.0, 2.0, 3.0, 4.0]);
        let w = floats([1, 3, 1], &[1.0, 0.0, -1.0]);
        let b = floats([1], &[0.5]);
        let y = run(&line(1, 1, (1, 1), 1, Act::None), &[&x, &w, &b], DType::F32);
        assert_eq!(values(&y), [-1.5, -1.5, -1.5, 3.5]);
        let relu = run(&line(1, 1, (1, 1), 1, Act::Relu), &[&x, &w, &b], DType::F32);
        assert_eq!(values(&relu), [0.0, 0.0, 0.0, 3.5]);
    }

    #[test]
    fn an_integer_convolution_has_a_wide_result() {
        let x = Tensor::from_vec([1, 2, 2, 1], vec![255u8, 255, 255, 255]).unwrap();
        let w = Tensor::from_vec([1, 2, 2, 1], vec![-128i8, 127, 127, 127]).unwrap();
        let op = Op::Conv(Conv {
            stride: vec![1, 1],
            dilation: vec![1, 1],
            pad: vec![(0, 0); 2],
            groups: 1,
            act: Act::None,
        });
        assert_eq!(run(&op, &[&x, &w], DType::I32).as_slice::<i32>().unwrap(), [255 * (381 - 128)]);
        assert!(run_typed(&op, &[(&x, None), (&w, None)], DType::F32, None).is_err());
    }

    #[test]
    fn groups_keep_their_channels_apart() {
        let x = floats([1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
        let w = floats([2, 1, 2], &[1.0, 10.0, 100.0, 1000.0]);
        let y = run(&line(1, 1, (0, 0), 2, Act::None), &[&x, &w], DType::F32);
        assert_eq!(values(&y), [21.0, 4300.0]);
        let depthwise = floats([4, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
        let y = run(&line(1, 1, (0, 0), 4, Act::None), &[&x, &depthwise], DType::F32);
        assert_eq!(values(&y), [1.0, 20.0, 300.0, 4000.0]);
    }

    #[test]
    fn half_precision_rounds_once() {
        let x = Tensor::from_f64(DType::F16, [1, 1, 3], &[2048.0, 1.0, 1.0]).unwrap();
        let w = Tensor::from_f64(DType::F16, [1, 1, 3], &[1.0, 1.0, 1.0]).unwrap();
        let y = run(&line(1, 1, (0, 0), 1, Act::None), &[&x, &w], DType::F16);
        assert_eq!(y.to_f64(), [2050.0]);
    }

    #[test]
    fn an_absent_batch_or_channel_gives_an_empty_or_biased_result() {
        let w = floats([2, 1, 0], &[]);
        let b = floats([2], &[1.0, 2.0]);
        let op = line(1, 1, (0, 0), 1, Act::None);
        assert_eq!(values(&run(&op, &[&floats([1, 1, 0], &[]), &w, &b], DType::F32)), [1.0, 2.0]);
        assert!(run(&op, &[&floats([0, 1, 0], &[]), &w], DType::F32).is_empty());
    }

    #[test]
    fn a_transposed_convolution_by_hand() {
        let x = floats([1, 2, 1], &[1.0, 2.0]);
        let w = floats([1, 3, 1], &[1.0, 10.0, 100.0]);
        let op = |pad, output_pad| {
            Op::ConvTranspose(ConvTranspose {
                stride: vec![2],
                dilation: vec![1],
                pad: vec![pad],
                output_pad: vec![output_pad],
                groups: 1,
                act: Act::None,
            })
        };
        assert_eq!(values(&run(&op((0, 0), 0), &[&x, &w], DType::F32)), [1.0, 10.0, 102.0, 20.0, 200.0]);
        assert_eq!(values(&run(&op((1, 1), 1), &[&x, &w], DType::F32)), [10.0, 102.0, 20.0, 200.0]);
        assert_eq!(values(&run(&op((0, 0), 2), &[&x, &w], DType::F32)), [1.0, 10.0, 102.0, 20.0, 200.0, 0.0, 0.0]);
    }

    /// Extents of a random two-dimensional case.
    #[derive(Clone, Debug)]
    struct Case {
        input: (usize, usize),
        kernel: (usize, usize),
        stride: (usize, usize),
        dilation: (usize, usize),
        pad: (usize, usize, usize, usize),
        groups: usize,
        inner: usize,
        outer: usize,
    }

    fn cases() -> impl Strategy<Value = Case> {
        let extents = ((1..7usize, 1..7usize), (1..4usize, 1..4usize), (1..4usize, 1..4usize), (1..3usize, 1..3usize));
        (extents, (0..3usize, 0..3usize, 0..3usize, 0..3usize), 1..4usize, 1..4usize, 1..4usize)
            .prop_map(|((input, kernel, stride, dilation), pad, groups, inner, outer)| Case {
                input,
                kernel,
                stride,
                dilation,
                pad,
                groups,
                inner,
                outer,
            })
            .prop_filter("the window reaches beyond the padded input", |c| {
                (c.kernel.0 - 1) * c.dilation.0 < c.input.0 + c.pad.0 + c.pad.1
                    && (c.kernel.1 - 1) * c.dilation.1 < c.input.1 + c.pad.2 + c.pad.3
            })
    }

    impl Case {
        fn operands(&self) -> (Tensor, Tensor) {
            let ramp = |shape: [usize; 4], seed: i32| {
                let n: usize = shape.iter().product();
                Tensor::from_vec(shape, (0..n as i32).map(|i| (i * seed) % 23 - 11).collect::<Vec<i32>>()).unwrap()
            };
            let x = ramp([2, self.input.0, self.input.1, self.inner * self.groups], 7);
            let w = ramp([self.outer * self.groups, self.kernel.0, self.kernel.1, self.inner], 5);
            (x, w)
        }

        fn pads(&self) -> Vec<(usize, usize)> {
            vec![(self.pad.0, self.pad.1), (self.pad.2, self.pad.3)]
        }

        /// Every (input, weight, output) triple of indices of the forward convolution whose output has these extents.
        fn triples(&self, output: (usize, usize), mut visit: impl FnMut(usize, usize, usize)) {
            let (channels, outer) = (self.inner * self.groups, self.outer * self.groups);
            for n in 0..2 {
                for (oy, ox) in (0..output.0).flat_map(|y| (0..output.1).map(move |x| (y, x))) {
                    for o in 0..outer {
                        for (ky, kx) in (0..self.kernel.0).flat_map(|y| (0..self.kernel.1).map(move |x| (y, x))) {
                            for i in 0..self.inner {
                                let y = (oy * self.stride.0 + ky * self.dilation.0) as i64 - self.pad.0 as i64;
                                let x = (ox * self.stride.1 + kx * self.dilation.1) as i64 - self.pad.2 as i64;
                                let inside =
                                    (0..self.input.0 as i64).contains(&y) && (0..self.input.1 as i64).contains(&x);
                                if !inside {
                                    continue;
                                }
                                let channel = o / self.outer * self.inner + i;
                                let from =
                                    ((n * self.input.0 + y as usize) * self.input.1 + x as usize) * channels + channel;
                                let weight = ((o * self.kernel.0 + ky) * self.kernel.1 + kx) * self.inner + i;
                                let to = ((n * output.0 + oy) * output.1 + ox) * outer + o;
                                visit(from, weight, to);
                            }
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_convolution_is_its_definition(case in cases()) {
            let (x, w) = case.operands();
            let op = Op::Conv(Conv {
                stride: vec![case.stride.0, case.stride.1],
                dilation: vec![case.dilation.0, case.dilation.1],
                pad: case.pads(),
                groups: case.groups,
                act: Act::None,
            });
            let y = run(&op, &[&x, &w], DType::I32);
            let mut expected = vec![0i32; y.len()];
            let (xs, ws) = (x.as_slice::<i32>().unwrap(), w.as_slice::<i32>().unwrap());
            case.triples((y.shape()[1], y.shape()[2]), |from, weight, to| expected[to] += xs[from] * ws[weight]);
            prop_assert_eq!(y.as_slice::<i32>().unwrap(), &expected[..]);

            let float = |t: &Tensor| Tensor::from_f64(DType::F32, t.shape().clone(), &t.to_f64()).unwrap();
            let real = run(&op, &[&float(&x), &float(&w)], DType::F32);
            prop_assert_eq!(real.to_f64(), y.to_f64());
        }

        #[test]
        fn a_transposed_convolution_is_the_adjoint_of_a_convolution(case in cases()) {
            // <conv(a, w), b> = <a, transposed(b, w')> for all a and b, where w' swaps the channels within each group.
            let (a, w) = case.operands();
            let forward = Op::Conv(Conv {
                stride: vec![case.stride.0, case.stride.1],
                dilation: vec![case.dilation.0, case.dilation.1],
                pad: case.pads(),
                groups: case.groups,
                act: Act::None,
            });
            let y = run(&forward, &[&a, &w], DType::I32);
            let b = Tensor::from_vec(y.shape().clone(), (0..y.len() as i32).map(|i| i * 3 % 17 - 8).collect::<Vec<_>>()).unwrap();
            let taps = case.kernel.0 * case.kernel.1;
            let ws = w.as_slice::<i32>().unwrap();
            let mut swapped = Vec::new();
            for g in 0..case.groups {
                for i in 0..case.inner {
                    for t in 0..taps {
                        swapped.extend((0..case.outer).map(|o| ws[((g * case.outer + o) * taps + t) * case.inner + i]));
                    }
                }
            }
            let swapped = Tensor::from_vec([case.inner * case.groups, case.kernel.0, case.kernel.1, case.outer], swapped).unwrap();
            let lost = |n: usize, k: usize, s: usize, d: usize, p: (usize, usize)| {
                (n + p.0 + p.1 - ((k - 1) * d + 1)) % s
            };
            let pads = case.pads();
            let backward = Op::ConvTranspose(ConvTranspose {
                stride: vec![case.stride.0, case.stride.1],
                dilation: vec![case.dilation.0, case.dilation.1],
                pad: pads.clone(),
                output_pad: vec![
                    lost(case.input.0, case.kernel.0, case.stride.0, case.dilation.0, pads[0]),
                    lost(case.input.1, case.kernel.1, case.stride.1, case.dilation.1, pads[1]),
                ],
                groups: case.groups,
                act: Act::None,
            });
            let back = run(&backward, &[&b, &swapped], DType::I32);
            prop_assert_eq!(back.shape(), a.shape());
            let dot = |p: &Tensor, q: &Tensor| -> i64 {
                p.to_i64().unwrap().iter().zip(q.to_i64().unwrap()).map(|(a, b)| a * b).sum()
            };
            prop_assert_eq!(dot(&y, &b), dot(&a, &back));
        }
    }
}
