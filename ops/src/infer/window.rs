//! Shapes of operators that slide a window over the spatial axes, and the window itself.

use super::invalid;
use crate::{Conv, ConvTranspose, OpError, Pool, PoolKind};
use tandem_tensor::{Shape, TensorType};

/// A window along one spatial axis of an operand. All fields are consistent: made by checked arithmetic only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) input: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) before: usize,
    pub(crate) after: usize,
    pub(crate) output: usize,
}

impl Window {
    /// The trivial window of an axis that is not there.
    pub(crate) const UNIT: Window =
        Window { input: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: 1 };

    /// The windows of a sliding operator, one per spatial axis of `x`, or what does not fit.
    pub(crate) fn of_conv(c: &Conv, x: &Shape, w: &Shape) -> Result<Vec<Window>, OpError> {
        let spatial = spatial("conv", x)?;
        check_weights("conv", w, c.groups, x)?;
        let kernel = &w[1..=spatial];
        check_lists(
            "conv",
            spatial,
            &[("stride", c.stride.len()), ("dilation", c.dilation.len()), ("pad", c.pad.len())],
        )?;
        (0..spatial)
            .map(|i| Window::new("conv", x[1 + i], kernel[i], c.stride[i], c.dilation[i], c.pad[i], false))
            .collect()
    }

    /// The windows of a pool.
    pub(crate) fn of_pool(p: &Pool, x: &Shape) -> Result<Vec<Window>, OpError> {
        let spatial = spatial("pool", x)?;
        let lists = [
            ("kernel", p.kernel.len()),
            ("stride", p.stride.len()),
            ("dilation", p.dilation.len()),
            ("pad", p.pad.len()),
        ];
        check_lists("pool", spatial, &lists)?;
        (0..spatial)
            .map(|i| Window::new("pool", x[1 + i], p.kernel[i], p.stride[i], p.dilation[i], p.pad[i], p.ceil))
            .collect()
    }

    pub(crate) fn new(
        op: &str,
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        (before, after): (usize, usize),
        ceil: bool,
    ) -> Result<Window, OpError> {
        if kernel == 0 || stride == 0 || dilation == 0 {
            return invalid(format!(
                "{op} needs window, stride and dilation of 1 at least but has {kernel}, {stride} and {dilation}"
            ));
        }
        let padded = input.checked_add(before).and_then(|n| n.checked_add(after)).filter(|&n| n <= isize::MAX as usize);
        let reach = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
        let (Some(padded), Some(reach)) = (padded, reach) else {
            return invalid(format!(
                "{op} has an absurd window: extent {input}, pad {before} and {after}, window {kernel}"
            ));
        };
        if reach > padded {
            return invalid(format!(
                "{op} has a window that reaches over {reach} elements but the padded input has {padded}"
            ));
        }
        let steps = if ceil { (padded - reach).div_ceil(stride) } else { (padded - reach) / stride };
        let mut output = steps + 1;
        // A window of which the first tap lies in the padding behind the input does not count.
        if ceil && steps.checked_mul(stride).is_none_or(|begin| begin >= input + before) && output > 1 {
            output -= 1;
        }
        Ok(Window { input, kernel, stride, dilation, before, after, output })
    }

    /// Taps `begin..end` of the window at `position` that lie inside the input.
    pub(crate) fn taps(&self, position: usize) -> std::ops::Range<usize> {
        let start = position * self.stride;
        let begin = self.before.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.before + self.input).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        begin..end.max(begin)
    }

    /// The input element under a tap that [`Window::taps`] gave.
    pub(crate) fn input_at(&self, position: usize, tap: usize) -> usize {
        position * self.stride + tap * self.dilation - self.before
    }

    /// How many taps of the window lie inside the input and its padding.
    pub(crate) fn padded_taps(&self, position: usize) -> usize {
        let start = position * self.stride;
        (self.before + self.input + self.after).saturating_sub(start).div_ceil(self.dilation).min(self.kernel)
    }
}

pub(super) fn conv(c: &Conv, x: &TensorType, w: &TensorType, bias: Option<&TensorType>) -> Result<Shape, OpError> {
    let windows = Window::of_conv(c, &x.shape, &w.shape)?;
    check_bias("conv", w.shape[0], bias)?;
    Ok(result(&x.shape, windows.iter().map(|w| w.output), w.shape[0]))
}

pub(super) fn pool(p: &Pool, x: &TensorType) -> Result<Vec<Shape>, OpError> {
    let windows = Window::of_pool(p, &x.shape)?;
    let shape = result(&x.shape, windows.iter().map(|w| w.output), x.shape[x.shape.rank() - 1]);
    Ok(match p.kind {
        PoolKind::Max => vec![shape.clone(), shape],
        PoolKind::Average => vec![shape],
    })
}

pub(super) fn conv_transpose(
    c: &ConvTranspose,
    x: &TensorType,
    w: &TensorType,
    bias: Option<&TensorType>,
) -> Result<Shape, OpError> {
    let op = "conv_transpose";
    let spatial = spatial(op, &x.shape)?;
    check_weights(op, &w.shape, c.groups, &x.shape)?;
    let lists = [
        ("stride", c.stride.len()),
        ("dilation", c.dilation.len()),
        ("pad", c.pad.len()),
        ("output pad", c.output_pad.len()),
    ];
    check_lists(op, spatial, &lists)?;
    check_bias(op, w.shape[0], bias)?;
    let mut extents = Vec::with_capacity(spatial);
    for i in 0..spatial {
        let (input, kernel, stride, dilation) = (x.shape[1 + i], w.shape[1 + i], c.stride[i], c.dilation[i]);
        if kernel == 0 || stride == 0 || dilation == 0 || input == 0 {
            return invalid(format!(
                "{op} needs input, window, stride and dilation of 1 at least but has {input}, {kernel}, {stride} and {dilation}"
            ));
        }
        let (before, after) = c.pad[i];
        let full = (input - 1)
            .checked_mul(stride)
            .and_then(|n| n.checked_add((kernel - 1).checked_mul(dilation)?))
            .and_then(|n| n.checked_add(1)?.checked_add(c.output_pad[i]))
            .filter(|&n| n <= isize::MAX as usize);
        let Some(full) = full else {
            return invalid(format!("{op} has an absurd window: extent {input}, window {kernel}, stride {stride}"));
        };
        let Some(extent) = full.checked_sub(before).and_then(|n| n.checked_sub(after)).filter(|&n| n > 0) else {
            return invalid(format!("{op} cuts {before} and {after} from a result of extent {full}"));
        };
        extents.push(extent);
    }
    Ok(result(&x.shape, extents.into_iter(), w.shape[0]))
}

fn result(x: &Shape, spatial: impl Iterator<Item = usize>, channels: usize) -> Shape {
    Shape(std::iter::once(x[0]).chain(spatial).chain([channels]).collect())
}

fn spatial(op: &str, x: &Shape) -> Result<usize, OpError> {
    match x.rank() {
        3..=5 => Ok(x.rank() - 2),
        0..3 => invalid(format!("{op} needs x with a batch, one to three spatial axes and channels but x is {x}")),
        _ => Err(OpError::unsupported(format!("{op} has more than three spatial axes: x is {x}"))),
    }
}

fn check_weights(op: &str, w: &Shape, groups: usize, x: &Shape) -> Result<(), OpError> {
    if w.rank() != x.rank() {
        return invalid(format!("{op} needs weights with {} axes but they are {w}", x.rank()));
    }
    let (channels, inner, outer) = (x[x.rank() - 1], w[w.rank() - 1], w[0]);
    if groups == 0 || inner.checked_mul(groups) != Some(channels) {
        return invalid(format!(
            "{op} needs weights with {channels} / {groups} input channels but they are {w} (x is {x}, {groups} groups)"
        ));
    }
    if !outer.is_multiple_of(groups) {
        return invalid(format!("{op} has {outer} output channels, which {groups} groups do not divide"));
    }
    Ok(())
}

fn check_lists(op: &str, spatial: usize, lists: &[(&str, usize)]) -> Result<(), OpError> {
    for (name, len) in lists {
        if *len != spatial {
            return invalid(format!("{op} needs a {name} for each of {spatial} spatial axes but has {len}"));
        }
    }
    Ok(())
}

pub(super) fn check_bias(op: &str, outputs: usize, bias: Option<&TensorType>) -> Result<(), OpError> {
    match bias {
        Some(b) if *b.shape != [outputs] => {
            invalid(format!("{op} needs a bias of shape [{outputs}] but it is {}", b.shape))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Op, infer};
    use tandem_tensor::DType;

    fn conv_op(stride: usize, dilation: usize, pad: (usize, usize), groups: usize) -> Op {
        Op::Conv(Conv {
            stride: vec![stride; 2],
            dilation: vec![dilation; 2],
            pad: vec![pad; 2],
            groups,
            act: Act::None,
        })
    }

    fn f32s<const N: usize>(shape: [usize; N]) -> TensorType {
        TensorType::new(DType::F32, shape)
    }

    #[test]
    fn a_convolution_has_the_usual_extents() {
        let x = f32s([1, 32, 32, 3]);
        let w = f32s([16, 3, 3, 3]);
        assert_eq!(infer(&conv_op(1, 1, (1, 1), 1), &[&x, &w]).unwrap(), vec![Shape::from([1, 32, 32, 16])]);
        assert_eq!(infer(&conv_op(2, 1, (0, 1), 1), &[&x, &w]).unwrap(), vec![Shape::from([1, 16, 16, 16])]);
        assert_eq!(infer(&conv_op(1, 2, (0, 0), 1), &[&x, &w]).unwrap(), vec![Shape::from([1, 28, 28, 16])]);
    }

    #[test]
    fn a_convolution_that_does_not_fit_says_why() {
        let x = f32s([1, 4, 4, 3]);
        let text = |op: &Op, w: &TensorType| infer(op, &[&x, w]).unwrap_err().to_string();
        assert!(text(&conv_op(1, 1, (0, 0), 1), &f32s([8, 3, 3, 4])).contains("input channels"));
        assert!(text(&conv_op(1, 1, (0, 0), 3), &f32s([8, 3, 3, 1])).contains("3 groups do not divide"));
        assert!(text(&conv_op(1, 1, (0, 0), 1), &f32s([8, 5, 5, 3])).contains("reaches over 5 elements"));
        assert!(text(&conv_op(0, 1, (0, 0), 1), &f32s([8, 1, 1, 3])).contains("stride"));
        assert!(text(&conv_op(1, 1, (usize::MAX, 1), 1), &f32s([8, 1, 1, 3])).contains("absurd"));
        assert!(text(&conv_op(1, usize::MAX, (0, 0), 1), &f32s([8, 3, 3, 3])).contains("absurd"));
        let bias = f32s([7]);
        let error = infer(&conv_op(1, 1, (1, 1), 1), &[&x, &f32s([8, 3, 3, 3]), &bias]).unwrap_err();
        assert_eq!(error.to_string(), "conv needs a bias of shape [8] but it is [7]");
    }

    #[test]
    fn a_ceiling_pool_drops_windows_that_start_behind_the_input() {
        let pool = |kernel, stride, pad| {
            Op::Pool(Pool {
                kind: PoolKind::Average,
                kernel: vec![kernel],
                stride: vec![stride],
                dilation: vec![1],
                pad: vec![pad],
                ceil: true,
                count_include_pad: false,
                act: Act::None,
            })
        };
        let extent = |n: usize, op: Op| infer(&op, &[&f32s([1, n, 1])]).unwrap()[0][1];
        assert_eq!(extent(4, pool(3, 2, (0, 0))), 2);
        assert_eq!(extent(2, pool(3, 3, (1, 1))), 1);
        assert_eq!(extent(6, pool(2, 3, (0, 0))), 2);
        assert_eq!(extent(5, pool(1, 4, (0, 3))), 2);
    }

    #[test]
    fn a_transposed_convolution_undoes_the_extent_of_a_convolution() {
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
        let (x, w) = (f32s([1, 3, 2]), f32s([4, 3, 2]));
        assert_eq!(infer(&op((0, 0), 0), &[&x, &w]).unwrap()[0], Shape::from([1, 7, 4]));
        assert_eq!(infer(&op((1, 1), 1), &[&x, &w]).unwrap()[0], Shape::from([1, 6, 4]));
        assert!(infer(&op((4, 3), 0), &[&x, &w]).unwrap_err().to_string().contains("cuts 4 and 3"));
        assert!(infer(&op((0, 0), usize::MAX), &[&x, &w]).is_err());
    }

    #[test]
    fn taps_stay_inside_the_input() {
        let w = Window::new("pool", 5, 3, 2, 2, (2, 3), false).unwrap();
        assert_eq!(w.output, 3);
        for position in 0..w.output {
            let naive: Vec<usize> = (0..w.kernel)
                .filter(|t| (w.before..w.before + w.input).contains(&(position * w.stride + t * w.dilation)))
                .collect();
            assert_eq!(w.taps(position).collect::<Vec<_>>(), naive);
            assert!(w.taps(position).all(|t| w.input_at(position, t) < w.input));
        }
    }
}
