//! Resize of images of codes.

use super::codes;
use crate::{Arith, CoordinateMode, NearestMode, Op, OpError, Operand, Resize, ResizeMode};
use tandem_tensor::{DType, Tensor, TensorType};

/// A pair of neighbours along an axis and where between them an output lies.
#[derive(Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    /// Distance to `low` in 1024ths (family A, int8) or 2048ths (family B).
    steps: i64,
    /// Distance to `low` (family A, uint8).
    part: f32,
}

/// Rows and columns of `[n, h, w, c]`, bilinear or nearest; input and result share one quantisation.
///
/// # Source
/// Family A: TFLite's reference `RESIZE_BILINEAR`, 10 fractional bits for int8 and binary32 for uint8. Family B: XNNPACK's
/// indirect bilinear kernels, 11 fractional bits. `RESIZE_NEAREST_NEIGHBOR` is the same in both.
pub(super) fn resize(
    op: &Op,
    r: &Resize,
    arith: Arith,
    x: Operand<'_>,
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let (input, output) = (codes::whole(op.name(), x.ty)?, codes::whole(op.name(), result)?);
    let images = x.ty.shape.rank() == 4 && x.ty.shape[0] == result.shape[0] && x.ty.shape[3] == result.shape[3];
    if input != output || x.ty.dtype != result.dtype || !images || !has_kernel(r, &x.ty.shape) {
        return Err(OpError::unsupported(format!("{} has no 8-bit kernel for these attributes", op.name())));
    }
    let (from, to) = (&x.ty.shape, &result.shape);
    let axis = |i: usize| -> Vec<Tap> {
        let line = Line { coordinate: r.coordinate, input: from[i], output: to[i] };
        (0..to[i])
            .map(|k| match (r.mode, arith, result.dtype) {
                (ResizeMode::Nearest(_), ..) => line.nearest(k),
                (_, Arith::Xnnpack, _) => line.in_2048ths(k),
                (_, _, DType::U8) => line.real(k),
                _ => line.in_1024ths(k),
            })
            .collect()
    };
    let (rows, columns) = (axis(1), axis(2));
    let codes_in = codes::wide(x.tensor);
    let channels = to[3];
    let mut out = Vec::with_capacity(result.elements());
    for image in 0..to[0] {
        for y in &rows {
            for x in &columns {
                let at = |row: usize, column: usize| ((image * from[1] + row) * from[2] + column) * channels;
                let corners = [at(y.low, x.low), at(y.low, x.high), at(y.high, x.low), at(y.high, x.high)];
                for c in 0..channels {
                    let codes = corners.map(|at| codes_in[at + c]);
                    out.push(match (r.mode, arith, result.dtype) {
                        (ResizeMode::Nearest(_), ..) => codes[0],
                        (_, Arith::Xnnpack, _) => mix_2048(codes, y, x),
                        (_, _, DType::U8) => mix_real(codes, y, x),
                        _ => mix_1024(codes, y, x),
                    });
                }
            }
        }
    }
    codes::narrow(result, out.into_iter())
}

/// True for what the engines of the families know: the scale is that of the extents.
fn has_kernel(r: &Resize, input: &[usize]) -> bool {
    let plain = !r.antialias && r.roi.is_none() && input.iter().all(|&d| d > 0 && d < 1 << 20);
    let by_extents = r.coordinate == CoordinateMode::AlignCorners
        || (1..3).all(|i| (r.scale[i] * input[i] as f64 - r.shape[i] as f64).abs() < 1e-3);
    let known = match r.mode {
        ResizeMode::Linear => matches!(
            r.coordinate,
            CoordinateMode::AlignCorners | CoordinateMode::HalfPixel | CoordinateMode::Asymmetric
        ),
        ResizeMode::Nearest(rounding) => matches!(
            (r.coordinate, rounding),
            (CoordinateMode::Asymmetric, NearestMode::Floor)
                | (CoordinateMode::AlignCorners | CoordinateMode::HalfPixel, NearestMode::RoundPreferCeil)
        ),
        ResizeMode::Cubic { .. } => false,
    };
    plain && by_extents && known && r.shape[1..3].iter().all(|&d| d < 1 << 20)
}

/// One axis.
#[derive(Clone, Copy)]
struct Line {
    coordinate: CoordinateMode,
    input: usize,
    output: usize,
}

impl Line {
    fn half_pixel(self) -> bool {
        self.coordinate == CoordinateMode::HalfPixel
    }

    /// Extents whose ratio is the step: one less each when corners are aligned.
    fn extents(self) -> (usize, usize) {
        if self.coordinate == CoordinateMode::AlignCorners && self.output > 1 {
            (self.input - 1, self.output - 1)
        } else {
            (self.input, self.output)
        }
    }

    fn step(self) -> f32 {
        let (input, output) = self.extents();
        input as f32 / output as f32
    }

    fn nearest(self, k: usize) -> Tap {
        let offset = if self.half_pixel() { 0.5 } else { 0.0 };
        let at = (k as f32 + offset) * self.step();
        let at = if self.coordinate == CoordinateMode::AlignCorners { at.round() } else { at.floor() };
        let low = (at as usize).min(self.input - 1);
        Tap { low, high: low, steps: 0, part: 0.0 }
    }

    fn in_1024ths(self, k: usize) -> Tap {
        let (input, output) = self.extents();
        let (input, output) = (input as i64, output as i64);
        let step = (1024 * input + output / 2) / output;
        let at = if self.half_pixel() { k as i64 * step + step / 2 - 512 } else { k as i64 * step };
        // Truncating divisions: a position just left of the image has 0 for both neighbours.
        let low = (at / 1024).max(0) as usize;
        let high = ((at + 1023) / 1024).clamp(0, self.input as i64 - 1) as usize;
        let low = low.min(self.input - 1);
        Tap { low, high, steps: at - 1024 * low as i64, part: 0.0 }
    }

    fn real(self, k: usize) -> Tap {
        let step = self.step();
        let at = if self.half_pixel() { (k as f32 + 0.5) * step - 0.5 } else { k as f32 * step };
        let low = (at.floor().max(0.0) as usize).min(self.input - 1);
        let high = (at.ceil().max(0.0) as usize).min(self.input - 1);
        Tap { low, high, steps: 0, part: at - low as f32 }
    }

    fn in_2048ths(self, k: usize) -> Tap {
        let step = self.step();
        let at = if self.half_pixel() {
            (k as f32 * step + (0.5 * step - 0.5)).max(0.0).min((self.input - 1) as f32)
        } else {
            k as f32 * step
        };
        let low = (at as usize).min(self.input - 1);
        let part = at - low as f32;
        Tap { low, high: (low + 1).min(self.input - 1), steps: (part * 2048.0).round_ties_even() as i64, part }
    }
}

fn mix_1024(codes: [i32; 4], y: &Tap, x: &Tap) -> i32 {
    let [tl, tr, bl, br] = codes.map(i64::from);
    let (y0, x0) = (1024 - y.steps, 1024 - x.steps);
    let sum = tl * y0 * x0 + bl * y.steps * x0 + tr * y0 * x.steps + br * y.steps * x.steps;
    let half = 1 << 19;
    (if sum > 0 { (sum + half) >> 20 } else { -((-sum + half) >> 20) }) as i32
}

fn mix_2048(codes: [i32; 4], y: &Tap, x: &Tap) -> i32 {
    let [tl, tr, bl, br] = codes.map(i64::from);
    let top = (tl << 11) + (tr - tl) * x.steps;
    let bottom = (bl << 11) + (br - bl) * x.steps;
    (((top << 11) + (bottom - top) * y.steps + (1 << 21)) >> 22) as i32
}

fn mix_real(codes: [i32; 4], y: &Tap, x: &Tap) -> i32 {
    let [tl, tr, bl, br] = codes.map(|q| q as f32);
    let (y1, x1) = (y.part, x.part);
    let (y0, x0) = (1.0 - y1, 1.0 - x1);
    (tl * y0 * x0 + bl * y1 * x0 + tr * y0 * x1 + br * y1 * x1 + 0.5) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::tests::run_family;
    use tandem_tensor::{DType, QuantParams};

    fn run(mode: ResizeMode, coordinate: CoordinateMode, arith: Arith) -> Vec<i8> {
        let q = QuantParams::per_tensor(0.5, 3);
        let x = Tensor::from_vec([1, 1, 3, 1], vec![0i8, 40, -80]).unwrap();
        let op = Op::Resize(Resize {
            shape: vec![1, 1, 6, 1],
            scale: vec![1.0, 1.0, 2.0, 1.0],
            mode,
            coordinate,
            antialias: false,
            roi: None,
            extrapolation: 0.0,
        });
        let y = run_family(&op, arith, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
        y.as_slice::<i8>().unwrap().to_vec()
    }

    #[test]
    fn twice_as_many_columns_lie_halfway_between() {
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let of = |coordinate| run(ResizeMode::Linear, coordinate, arith);
            assert_eq!(of(CoordinateMode::Asymmetric), [0, 20, 40, -20, -80, -80]);
            assert_eq!(of(CoordinateMode::HalfPixel), [0, 10, 30, 10, -50, -80]);
            assert_eq!(of(CoordinateMode::AlignCorners), [0, 16, 32, 16, -32, -80]);
            let nearest = run(ResizeMode::Nearest(NearestMode::Floor), CoordinateMode::Asymmetric, arith);
            assert_eq!(nearest, [0, 0, 40, 40, -80, -80]);
        }
    }
}
