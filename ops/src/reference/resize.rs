//! Resize.

use super::number::{Numbers, from_ints, from_reals};
use super::position::{around, join, moved, pick};
use super::{Operand, no_kernel};
use crate::{CoordinateMode, NearestMode, OpError, Resize, ResizeMode};
use tandem_tensor::{DType, Tensor, TensorType};

/// Axis by axis: all interpolations are separable.
pub(super) fn resize(r: &Resize, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    let x = operands[0].tensor;
    if x.dtype() != result.dtype {
        return Err(no_kernel("resize", operands, result));
    }
    match r.mode {
        ResizeMode::Nearest(rounding) => nearest(r, rounding, operands[0], result),
        _ if x.dtype() == DType::Bool => Err(no_kernel("resize", operands, result)),
        _ => interpolate(r, x, result),
    }
}

fn nearest(r: &Resize, rounding: NearestMode, x: Operand<'_>, result: &TensorType) -> Result<Tensor, OpError> {
    let outside = match x.ty.dtype.is_float() {
        true => from_reals(x.ty.dtype, &[].into(), &[r.extrapolation])?,
        false => from_ints(x.ty.dtype, &[].into(), &[r.extrapolation as i128])?,
    };
    let all = join("resize", &[x, Operand { tensor: &outside, ty: x.ty }])?;
    if result.elements() == 0 {
        return moved("resize", pick(&all, &[]), result);
    }
    let strides = x.tensor.shape().strides();
    let mut positions = vec![Some(0usize)];
    for (axis, stride) in strides.into_iter().enumerate() {
        let line = Line::new(r, axis, x.ty.shape[axis]);
        let sources: Vec<Option<usize>> = (0..line.output)
            .map(|i| {
                let at = snap(line.coordinate(i));
                line.inside(at).then(|| {
                    let whole = match rounding {
                        NearestMode::RoundPreferFloor => (at - 0.5).ceil(),
                        NearestMode::RoundPreferCeil => (at + 0.5).floor(),
                        NearestMode::Floor => at.floor(),
                        NearestMode::Ceil => at.ceil(),
                    };
                    line.clamp(whole)
                })
            })
            .collect();
        let mut next = Vec::with_capacity(positions.len() * sources.len());
        for p in &positions {
            next.extend(sources.iter().map(|s| Some((*p)? + (*s)? * stride)));
        }
        positions = next;
    }
    let outside = x.tensor.len();
    let positions: Vec<usize> = positions.into_iter().map(|p| p.unwrap_or(outside)).collect();
    moved("resize", pick(&all, &positions), result)
}

fn interpolate(r: &Resize, x: &Tensor, result: &TensorType) -> Result<Tensor, OpError> {
    let mut data = match Numbers::of(x) {
        Numbers::Real(v) => v,
        Numbers::Int(v) => v.into_iter().map(|x| x as f64).collect(),
    };
    if result.elements() == 0 {
        return Ok(from_reals(result.dtype, &result.shape, &[])?);
    }
    let mut shape = x.shape().0.clone();
    let mut axes: Vec<usize> = (0..shape.len()).filter(|&a| !Line::new(r, a, shape[a]).is_identity()).collect();
    // Shrinking axes go first, so that no intermediate is larger than both operand and result.
    axes.sort_by_key(|&a| r.shape[a] > x.shape()[a]);
    for axis in axes {
        let line = Line::new(r, axis, shape[axis]);
        let (outer, extent, inner) = around(&shape, axis);
        let mut next = vec![0.0; outer * line.output * inner];
        for i in 0..line.output {
            let weights = line.weights(r, i);
            for o in 0..outer {
                let to = (o * line.output + i) * inner;
                let row = &mut next[to..to + inner];
                let Some(weights) = &weights else {
                    row.fill(r.extrapolation);
                    continue;
                };
                for &(k, w) in weights {
                    let from = (o * extent + k) * inner;
                    for (y, x) in row.iter_mut().zip(&data[from..from + inner]) {
                        *y += w * x;
                    }
                }
            }
        }
        data = next;
        shape[axis] = line.output;
    }
    if !result.dtype.is_float() {
        // Truncation must not turn a sum that is one bit short of an integer into the integer below.
        for v in &mut data {
            *v = if (*v - v.round()).abs() < 1e-6 { v.round() } else { *v };
        }
    }
    Ok(from_reals(result.dtype, &result.shape, &data)?)
}

/// One axis of a resize.
struct Line {
    input: usize,
    output: usize,
    scale: f64,
    coordinate: CoordinateMode,
    region: (f64, f64),
}

impl Line {
    fn new(r: &Resize, axis: usize, input: usize) -> Line {
        let region = r.roi.as_ref().map_or((0.0, 1.0), |roi| roi[axis]);
        Line { input, output: r.shape[axis], scale: r.scale[axis], coordinate: r.coordinate, region }
    }

    fn is_identity(&self) -> bool {
        self.input == self.output && self.scale == 1.0 && self.coordinate != CoordinateMode::TfCropAndResize
    }

    /// The input coordinate of output `i`.
    fn coordinate(&self, i: usize) -> f64 {
        let (i, input) = (i as f64, self.input as f64);
        // The extent of the result as a real: scales may ask for a fraction of an element, which the transforms see.
        let output = snap(self.scale * input);
        match self.coordinate {
            CoordinateMode::HalfPixel => (i + 0.5) / self.scale - 0.5,
            CoordinateMode::HalfPixelSymmetric => {
                let offset = input / 2.0 * (1.0 - self.output as f64 / output);
                offset + (i + 0.5) / self.scale - 0.5
            }
            CoordinateMode::PytorchHalfPixel if self.output > 1 => (i + 0.5) / self.scale - 0.5,
            CoordinateMode::PytorchHalfPixel => 0.0,
            CoordinateMode::AlignCorners if output == 1.0 => 0.0,
            CoordinateMode::AlignCorners => i * (input - 1.0) / (output - 1.0),
            CoordinateMode::Asymmetric => i / self.scale,
            CoordinateMode::TfCropAndResize => {
                let (start, end) = self.region;
                match self.output {
                    1 => 0.5 * (start + end) * (input - 1.0),
                    n => start * (input - 1.0) + i * (end - start) * (input - 1.0) / (n as f64 - 1.0),
                }
            }
        }
    }

    /// False where crop-and-resize gives the extrapolation value.
    fn inside(&self, at: f64) -> bool {
        self.coordinate != CoordinateMode::TfCropAndResize || (0.0..=self.input as f64 - 1.0).contains(&snap(at))
    }

    fn clamp(&self, whole: f64) -> usize {
        // The cast saturates, so that far coordinates end at the edges.
        (whole.max(0.0) as usize).min(self.input - 1)
    }

    /// Input elements and their weights for output `i`; `None` outside.
    fn weights(&self, r: &Resize, i: usize) -> Option<Vec<(usize, f64)>> {
        let at = self.coordinate(i);
        if !self.inside(at) {
            return None;
        }
        // A filter stretched by 1 / scale averages everything that falls into one output element. A result of one element
        // at least has a scale of 1 / input at least, so the bound on the stretch only cuts contradictory attributes.
        let stretch = if r.antialias { self.scale.min(1.0).max(0.5 / self.input as f64) } else { 1.0 };
        let (radius, exclude) = match r.mode {
            ResizeMode::Cubic { exclude_outside, .. } => (2.0, exclude_outside),
            _ => (1.0, false),
        };
        let kernel = |distance: f64| match r.mode {
            ResizeMode::Cubic { a, .. } => cubic(f64::from(a), distance),
            _ => (1.0 - distance.abs()).max(0.0),
        };
        let reach = radius / stretch;
        let last = self.input as f64 - 1.0;
        // One reach beyond the edges every tap repeats an edge, whatever the distance.
        let at = at.clamp(-reach - 1.0, last + reach + 1.0);
        let (low, high) = ((at - reach).ceil(), (at + reach).floor());
        let mut taps: Vec<(usize, f64)> = Vec::new();
        let mut k = low;
        while k <= high {
            let weight = kernel((k - at) * stretch);
            let outside = k < 0.0 || k > last;
            if weight != 0.0 && !(exclude && outside) {
                let index = self.clamp(k);
                match taps.last_mut() {
                    Some((last, sum)) if *last == index => *sum += weight,
                    _ => taps.push((index, weight)),
                }
            }
            k += 1.0;
        }
        let total: f64 = taps.iter().map(|t| t.1).sum();
        if total == 0.0 {
            return Some(vec![(self.clamp(at.round()), 1.0)]);
        }
        taps.iter_mut().for_each(|t| t.1 /= total);
        Some(taps)
    }
}

/// Keys' cubic kernel.
fn cubic(a: f64, distance: f64) -> f64 {
    let d = distance.abs();
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}

/// Rounds to a multiple of one half when that is as near as a scale in `f32` can tell, so that the choice of a neighbour
/// does not hang on the last bit of a quotient.
fn snap(x: f64) -> f64 {
    let half = (2.0 * x).round() / 2.0;
    if (x - half).abs() <= 1e-6 * x.abs().max(1.0) { half } else { x }
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run, values};
    use crate::{CoordinateMode, NearestMode, Op, Resize, ResizeMode};
    use tandem_tensor::{DType, Tensor};

    fn line(input: usize, output: usize, mode: ResizeMode, coordinate: CoordinateMode) -> Resize {
        Resize {
            shape: vec![output],
            scale: vec![output as f64 / input as f64],
            mode,
            coordinate,
            antialias: false,
            roi: None,
            extrapolation: 0.0,
        }
    }

    fn resized(x: &[f32], r: Resize) -> Vec<f32> {
        values(&run(&Op::Resize(r), &[&floats([x.len()], x)], DType::F32))
    }

    #[test]
    fn linear_interpolation_by_hand() {
        let half = line(2, 4, ResizeMode::Linear, CoordinateMode::HalfPixel);
        assert_eq!(resized(&[1.0, 2.0], half), [1.0, 1.25, 1.75, 2.0]);
        let corners = line(2, 4, ResizeMode::Linear, CoordinateMode::AlignCorners);
        assert_eq!(resized(&[1.0, 4.0], corners), [1.0, 2.0, 3.0, 4.0]);
        let asymmetric = line(2, 4, ResizeMode::Linear, CoordinateMode::Asymmetric);
        assert_eq!(resized(&[1.0, 2.0], asymmetric), [1.0, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn a_fractional_scale_shows_in_aligned_corners() {
        let mut r = line(4, 2, ResizeMode::Linear, CoordinateMode::AlignCorners);
        r.scale = vec![f64::from(0.6f32)];
        let y = resized(&[1.0, 2.0, 3.0, 4.0], r);
        assert!((y[1] - 3.142_857).abs() < 1e-5, "{y:?}");
    }

    #[test]
    fn nearest_neighbours_in_every_rounding() {
        let of =
            |rounding, coordinate| resized(&[1.0, 2.0, 3.0], line(3, 6, ResizeMode::Nearest(rounding), coordinate));
        assert_eq!(of(NearestMode::Floor, CoordinateMode::Asymmetric), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(of(NearestMode::Ceil, CoordinateMode::Asymmetric), [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(of(NearestMode::RoundPreferFloor, CoordinateMode::Asymmetric), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(of(NearestMode::RoundPreferCeil, CoordinateMode::Asymmetric), [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(of(NearestMode::RoundPreferCeil, CoordinateMode::HalfPixel), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn a_quotient_one_bit_short_of_an_integer_counts_as_the_integer() {
        for input in 1..40usize {
            for output in 1..40usize {
                let x: Vec<f32> = (0..input).map(|i| i as f32).collect();
                let y = resized(
                    &x,
                    line(input, output, ResizeMode::Nearest(NearestMode::Floor), CoordinateMode::Asymmetric),
                );
                let exact: Vec<f32> = (0..output).map(|i| (i * input / output) as f32).collect();
                assert_eq!(y, exact, "{input} to {output}");
            }
        }
    }

    #[test]
    fn a_filter_averages_what_it_shrinks() {
        let mut r = line(4, 2, ResizeMode::Linear, CoordinateMode::HalfPixel);
        r.antialias = true;
        // Weights of a triangle of width 2 around 0.5: 1/4, 3/4 (twice), 1/4; the outer ones repeat the edge.
        let y = resized(&[0.0, 8.0, 16.0, 24.0], r);
        let expected =
            [(0.25 * 0.0 + 0.75 * 0.0 + 0.75 * 8.0 + 0.25 * 16.0) / 2.0, (0.25 * 8.0 + 0.75 * 16.0 + 24.0) / 2.0];
        for (a, b) in y.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{y:?}");
        }
    }

    #[test]
    fn a_cubic_keeps_samples_and_sums_to_one() {
        let mode = ResizeMode::Cubic { a: -0.75, exclude_outside: false };
        let same = line(4, 4, mode, CoordinateMode::HalfPixelSymmetric);
        assert_eq!(resized(&[1.0, 5.0, 2.0, 7.0], same), [1.0, 5.0, 2.0, 7.0]);
        for exclude_outside in [false, true] {
            let mode = ResizeMode::Cubic { a: -0.5, exclude_outside };
            let flat = resized(&[3.0; 4], line(4, 9, mode, CoordinateMode::HalfPixel));
            assert!(flat.iter().all(|v| (v - 3.0).abs() < 1e-6), "{flat:?}");
        }
    }

    #[test]
    fn a_crop_extrapolates_outside() {
        let mut r = line(3, 3, ResizeMode::Linear, CoordinateMode::TfCropAndResize);
        r.roi = Some(vec![(0.5, 1.5)]);
        r.extrapolation = 10.0;
        assert_eq!(resized(&[1.0, 2.0, 3.0], r), [2.0, 3.0, 10.0]);
    }

    #[test]
    fn absurd_scales_stay_finite_work() {
        for mode in [ResizeMode::Linear, ResizeMode::Cubic { a: -0.5, exclude_outside: true }] {
            for scale in [1e-300, 1e-9, 1e300] {
                for coordinate in
                    [CoordinateMode::HalfPixel, CoordinateMode::Asymmetric, CoordinateMode::HalfPixelSymmetric]
                {
                    let mut r = line(3, 2, mode, coordinate);
                    r.scale = vec![scale];
                    assert_eq!(resized(&[1.0, 2.0, 3.0], r).len(), 2);
                }
            }
        }
    }

    #[test]
    fn integers_truncate() {
        let x = Tensor::from_vec([2], vec![1u8, 4]).unwrap();
        let r = line(2, 4, ResizeMode::Linear, CoordinateMode::AlignCorners);
        assert_eq!(run(&Op::Resize(r), &[&x], DType::U8).as_slice::<u8>().unwrap(), [1, 2, 3, 4]);
    }
}
