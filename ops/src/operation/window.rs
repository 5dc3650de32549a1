//! What definitions share that slide a window over the two spatial axes of `[n, h, w, c]` codes.

use crate::OpError;
use crate::def::{Axis, AxisKind, Constraint, Dim, Dims, Port, Tensors};
use crate::infer::Window;
use tandem_tensor::DType;

pub(super) const N: Dim = Dim::Axis("n");
pub(super) const H: Dim = Dim::Axis("h");
pub(super) const W: Dim = Dim::Axis("w");
pub(super) const C: Dim = Dim::Axis("c");
pub(super) const KH: Dim = Dim::Axis("kh");
pub(super) const KW: Dim = Dim::Axis("kw");
pub(super) const OUT_H: Dim =
    Dim::Of("(h + pad_top + pad_bottom - dilation_h (kh - 1) - 1) / stride_h + 1", |dims| out(dims, 0));
pub(super) const OUT_W: Dim =
    Dim::Of("(w + pad_left + pad_right - dilation_w (kw - 1) - 1) / stride_w + 1", |dims| out(dims, 1));

/// The most positions of a padded axis, and the most elements of an operand or a result: kernels count them in 32 bits.
const MOST: usize = 1 << 30;

const fn axis(name: &'static str, kind: AxisKind, default: usize, doc: &'static str) -> Axis {
    Axis { name, kind, default, doc }
}

pub(super) const IMAGES: Axis = axis("n", AxisKind::Extent, 1, "images");
pub(super) const HEIGHT: Axis = axis("h", AxisKind::Extent, 14, "rows of pixels");
pub(super) const WIDTH: Axis = axis("w", AxisKind::Extent, 14, "columns of pixels");
pub(super) const CHANNELS: Axis = axis("c", AxisKind::Extent, 32, "channels of the input");

/// Height and width of the window: an extent of the weights, or a number that no shape shows.
pub(super) const fn kernel(kind: AxisKind, default: usize) -> [Axis; 2] {
    [axis("kh", kind, default, "rows of the window"), axis("kw", kind, default, "columns of the window")]
}

/// Step, distance between taps, and padding.
pub(super) const NUMBERS: [Axis; 8] = [
    axis("stride_h", AxisKind::Number, 1, "rows from one window to the next"),
    axis("stride_w", AxisKind::Number, 1, "columns from one window to the next"),
    axis("dilation_h", AxisKind::Number, 1, "rows from one tap to the next"),
    axis("dilation_w", AxisKind::Number, 1, "columns from one tap to the next"),
    axis("pad_top", AxisKind::Number, 0, "rows of padding before the input"),
    axis("pad_bottom", AxisKind::Number, 0, "rows of padding behind the input"),
    axis("pad_left", AxisKind::Number, 0, "columns of padding before the input"),
    axis("pad_right", AxisKind::Number, 0, "columns of padding behind the input"),
];

pub(super) const LO: Port =
    Port { name: "lo", dtype: DType::I32, dims: &[], doc: "smallest code that the activation lets through" };
pub(super) const HI: Port =
    Port { name: "hi", dtype: DType::I32, dims: &[], doc: "largest code that the activation lets through" };
pub(super) const ZERO_POINT: Port =
    Port { name: "zero_point", dtype: DType::I32, dims: &[], doc: "the output code of zero" };
pub(super) const INPUT_ZERO_POINT: Port =
    Port { name: "input_zero_point", dtype: DType::I32, dims: &[], doc: "the input code of zero" };

pub(super) const FITS: Constraint = Constraint {
    text: "stride, dilation and window of 1 at least, and a window that fits into the padded input of at most 2^30 rows and columns",
    holds: |dims| windows(dims).is_some(),
};

/// The extents of a workload: images of which height and width are the same, and a window with the padding that keeps them.
pub(super) fn square([n, side, c]: [usize; 3], kernel: usize, stride: usize) -> Vec<(&'static str, usize)> {
    let pad = kernel / 2;
    let image = [("n", n), ("h", side), ("w", side), ("c", c), ("kh", kernel), ("kw", kernel)];
    let step = [("stride_h", stride), ("stride_w", stride)];
    let pads = ["pad_top", "pad_bottom", "pad_left", "pad_right"].map(|axis| (axis, pad));
    image.into_iter().chain(step).chain(pads).collect()
}

/// The windows along both axes; `None` where they do not fit.
pub(crate) fn windows(dims: &Dims) -> Option<[Window; 2]> {
    let up = dims.find("extent") == Some(1);
    let along = |[input, kernel, stride, dilation, before, after]: [&str; 6]| {
        let pad = (dims[before], dims[after]);
        let window = Window::new("window", dims[input], dims[kernel], dims[stride], dims[dilation], pad, up).ok()?;
        (window.before.checked_add(window.input)?.checked_add(window.after)? <= MOST).then_some(window)
    };
    Some([
        along(["h", "kh", "stride_h", "dilation_h", "pad_top", "pad_bottom"])?,
        along(["w", "kw", "stride_w", "dilation_w", "pad_left", "pad_right"])?,
    ])
}

/// Rows and columns of the result of a definition that slides a window; `None` where no window fits.
pub fn window_outputs(dims: &Dims) -> Option<[usize; 2]> {
    windows(dims).map(|windows| windows.map(|window| window.output))
}

/// The windows of dims that are bound.
///
/// # Errors
/// Invalid, where they do not fit.
pub(super) fn fitting(dims: &Dims) -> Result<[Window; 2], OpError> {
    windows(dims).ok_or_else(|| OpError::invalid(format!("no window fits for {dims}")))
}

/// Whether a tensor of these extents has few enough elements.
pub(super) fn few(extents: [usize; 4]) -> bool {
    let product = extents.into_iter().try_fold(1usize, usize::checked_mul);
    product.is_some_and(|elements| elements <= MOST)
}

/// Whether the input and a result with so many channels have few enough elements.
pub(super) fn countable(dims: &Dims, outputs: Option<usize>) -> bool {
    let (Some([h, w]), Some(outputs)) = (windows(dims), outputs) else { return false };
    few([dims["n"], dims["h"], dims["w"], dims["c"]]) && few([dims["n"], h.output, w.output, outputs])
}

/// Refuses scalars that are no codes, and an empty range.
///
/// # Errors
/// Invalid, naming the scalar.
pub(super) fn check_codes(inputs: &Tensors, names: &[&str]) -> Result<(), OpError> {
    for name in names {
        let code: i32 = inputs.scalar(name)?;
        if i8::try_from(code).is_err() {
            return Err(OpError::invalid(format!("{name} is {code}, which is no code in -128..=127")));
        }
    }
    let (lo, hi): (i32, i32) = (inputs.scalar("lo")?, inputs.scalar("hi")?);
    if lo > hi {
        return Err(OpError::invalid(format!("lo is {lo}, which is above hi, {hi}")));
    }
    Ok(())
}

fn out(dims: &Dims, axis: usize) -> usize {
    windows(dims).map_or(0, |windows| windows[axis].output)
}
