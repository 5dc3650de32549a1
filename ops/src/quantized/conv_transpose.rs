//! Transposed convolution.

use super::codes;
use super::stage::Stage;
use crate::{Arith, ConvTranspose, Op, OpError, Operand};
use tandem_tensor::{Tensor, TensorType};

/// Every input pixel adds its products to the accumulators under its window; then the output stage as in a convolution.
pub(super) fn conv_transpose(
    op: &Op,
    c: &ConvTranspose,
    arith: Arith,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let (x, w) = (operands[0], operands[1]);
    let (outputs, inner) = (w.ty.shape[0], w.ty.shape[w.ty.shape.rank() - 1]);
    let bias = codes::bias(op.name(), operands.get(2), outputs)?;
    let stage = Stage::new(op, arith, [x.ty, w.ty, result], c.act, bias)?;
    let input = codes::centred(x.tensor, codes::whole(op.name(), x.ty)?.zero_point());
    let weights = codes::centred_by_output(w.tensor, codes::per_output(op.name(), w.ty)?);

    let axes: Vec<Axis> = (0..c.stride.len())
        .map(|i| Axis {
            input: x.ty.shape[1 + i],
            kernel: w.ty.shape[1 + i],
            output: result.shape[1 + i],
            stride: c.stride[i],
            dilation: c.dilation[i],
            cut: c.pad[i].0,
        })
        .collect();
    let (channels, each) = (inner * c.groups, outputs / c.groups);
    let taps: usize = axes.iter().map(|a| a.kernel).product();
    let (pixels_in, pixels_out) =
        (axes.iter().map(|a| a.input).product::<usize>(), axes.iter().map(|a| a.output).product::<usize>());
    let mut sums = vec![0i32; result.elements()];
    for image in 0..x.ty.shape[0] {
        for pixel in 0..pixels_in {
            let row = &input[(image * pixels_in + pixel) * channels..][..channels];
            for tap in 0..taps {
                let Some(target) = Axis::target(&axes, pixel, tap) else { continue };
                let sums = &mut sums[(image * pixels_out + target) * outputs..][..outputs];
                for (o, sum) in sums.iter_mut().enumerate() {
                    let first = o / each * inner;
                    let weights = &weights[(o * taps + tap) * inner..][..inner];
                    *sum = sum.wrapping_add(super::product::dot(&row[first..first + inner], weights));
                }
            }
        }
    }
    let mut out = vec![0u8; result.elements()];
    for (sums, out) in sums.chunks_exact(outputs.max(1)).zip(out.chunks_exact_mut(outputs.max(1))) {
        stage.apply(sums, out);
    }
    Ok(vec![codes::tensor(result.dtype, &result.shape, out)?])
}

/// One spatial axis.
struct Axis {
    input: usize,
    kernel: usize,
    output: usize,
    stride: usize,
    dilation: usize,
    cut: usize,
}

impl Axis {
    /// The output pixel that a tap of an input pixel writes; `None` where it has been cut.
    fn target(axes: &[Axis], mut pixel: usize, mut tap: usize) -> Option<usize> {
        let (mut target, mut step) = (0, 1);
        for axis in axes.iter().rev() {
            let full = pixel % axis.input * axis.stride + tap % axis.kernel * axis.dilation;
            let at = full.checked_sub(axis.cut).filter(|&at| at < axis.output)?;
            target += at * step;
            step *= axis.output;
            pixel /= axis.input;
            tap /= axis.kernel;
        }
        Some(target)
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, ConvTranspose, Op};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn windows_that_overlap_add_up() {
        let q = QuantParams::per_tensor(1.0, 0);
        let op = Op::ConvTranspose(ConvTranspose {
            stride: vec![2],
            dilation: vec![1],
            pad: vec![(1, 0)],
            output_pad: vec![1],
            groups: 2,
            act: Act::Relu6,
        });
        let x = Tensor::from_vec([1, 2, 2], vec![1i8, 2, 3, -4]).unwrap();
        let w = Tensor::from_vec([2, 3, 1], vec![1i8, 2, 1, 1, 1, 1]).unwrap();
        let bias = Tensor::from_vec([2], vec![0i32, 1]).unwrap();
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let operands = [(&x, Some(&q)), (&w, Some(&q)), (&bias, None)];
            let y = run_family(&op, arith, &operands, DType::I8, Some(&q)).unwrap();
            // Channel 0 in full: 1 2 4 6 3, 0; channel 1: 2 2 -2 -4 -4, 0, plus 1.
            assert_eq!(y.as_slice::<i8>().unwrap(), [2, 3, 4, 0, 6, 0, 3, 0, 0, 1]);
        }
    }
}
