//! Pools.

use super::codes;
use crate::arith::{activation_range, average_requant};
use crate::cpu::int8::Codes;
use crate::cpu::vectorised::{Vectorised, vectorised};
use crate::infer::Window;
use crate::{Op, OpError, Pool, PoolKind};
use tandem_tensor::{Tensor, TensorType};

/// The largest code, or the mean of the codes rounded half away from zero, of the taps inside the input; then a clamp. Both
/// families agree. The codes of input and result must mean the same.
pub(super) struct Kernel {
    windows: [Window; 3],
    channels: usize,
    kind: PoolKind,
    count_include_pad: bool,
    zero_point: i32,
    lo: i32,
    hi: i32,
    result: TensorType,
}

impl Kernel {
    pub(super) fn new(op: &Op, p: &Pool, x: &TensorType, result: &TensorType) -> Result<Kernel, OpError> {
        let quant = codes::whole(op.name(), result)?;
        if x.dtype != result.dtype || codes::whole(op.name(), x)? != quant {
            return Err(OpError::unsupported(format!(
                "{} of 8-bit codes needs one quantisation for input and result",
                op.name()
            )));
        }
        let (lo, hi) = activation_range(p.act, result.dtype, quant);
        let own = Window::of_pool(p, &x.shape)?;
        let mut windows = [Window::UNIT; 3];
        windows[3 - own.len()..].copy_from_slice(&own);
        let [d, h, w] = windows;
        let padded = [d, h, w].map(|w| if p.count_include_pad { w.kernel } else { w.kernel.min(w.input) });
        let most = padded.into_iter().fold(1usize, usize::saturating_mul);
        if p.kind == PoolKind::Average && most > 1 << 20 {
            return Err(OpError::unsupported(format!("{} has a window of {most} elements", op.name())));
        }
        let channels = x.shape[x.shape.rank() - 1];
        let (kind, count_include_pad, zero_point) = (p.kind, p.count_include_pad, quant.zero_point());
        Ok(Kernel { windows, channels, kind, count_include_pad, zero_point, lo, hi, result: result.clone() })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor, OpError> {
        let mut out = vec![0u8; self.result.elements()];
        self.write(codes::bytes(x), &mut out);
        Ok(codes::tensor(self.result.dtype, &self.result.shape, out)?)
    }

    /// Writes the codes of the result.
    pub(super) fn write(&self, codes: Codes<'_>, out: &mut [u8]) {
        vectorised(Pass { kernel: self, codes, out });
    }
}

struct Pass<'a> {
    kernel: &'a Kernel,
    codes: Codes<'a>,
    out: &'a mut [u8],
}

impl Vectorised<()> for Pass<'_> {
    #[inline(always)]
    fn run(self) {
        // Codes are counted from the smallest one.
        let Pass { kernel, codes, out } = self;
        let (windows, channels, flip) = (kernel.windows, kernel.channels, codes.flip());
        let least = if codes.signed { -128 } else { 0 };
        if kernel.kind == PoolKind::Max {
            let start = (kernel.lo - least) as u8;
            let mut acc = vec![start; channels];
            for (index, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
                acc.fill(start);
                taps(windows, index, |at| {
                    let pixel = &codes.bytes[at * channels..][..channels];
                    acc.iter_mut().zip(pixel).for_each(|(a, &q)| *a = (*a).max(q ^ flip));
                });
                for (out, &a) in out.iter_mut().zip(&acc) {
                    *out = (i32::from(a) + least).min(kernel.hi) as u8;
                }
            }
            return;
        }
        let mut acc = vec![0i32; channels];
        for (index, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
            acc.fill(0);
            let inside = taps(windows, index, |at| {
                let pixel = &codes.bytes[at * channels..][..channels];
                acc.iter_mut().zip(pixel).for_each(|(a, &q)| *a += i32::from(q ^ flip));
            });
            let [d, h, w] = windows;
            let at = position(windows, index);
            let mut count = inside;
            if kernel.count_include_pad {
                count = d.padded_taps(at[0]) * h.padded_taps(at[1]) * w.padded_taps(at[2]);
            }
            // Padding stands for the real 0.
            let more = inside as i32 * least + (count - inside) as i32 * kernel.zero_point;
            let requant = average_requant(count as u32);
            for (out, &a) in out.iter_mut().zip(&acc) {
                *out = requant.apply(a + more).max(kernel.lo).min(kernel.hi) as u8;
            }
        }
    }
}

/// The place of a result along each axis.
fn position([d, h, w]: [Window; 3], index: usize) -> [usize; 3] {
    [index / (h.output * w.output) % d.output, index / w.output % h.output, index % w.output]
}

/// Calls `body` with the pixel of every tap of a result that is inside the input, and counts them.
#[inline(always)]
fn taps([d, h, w]: [Window; 3], index: usize, mut body: impl FnMut(usize)) -> usize {
    let image = index / (d.output * h.output * w.output);
    let at = position([d, h, w], index);
    let (taps_d, taps_h, taps_w) = (d.taps(at[0]), h.taps(at[1]), w.taps(at[2]));
    for td in taps_d.clone() {
        for th in taps_h.clone() {
            let plane = (image * d.input + d.input_at(at[0], td)) * h.input + h.input_at(at[1], th);
            for tw in taps_w.clone() {
                body(plane * w.input + w.input_at(at[2], tw));
            }
        }
    }
    taps_d.len() * taps_h.len() * taps_w.len()
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, Op, Pool, PoolKind};
    use tandem_tensor::{DType, QuantParams, Tensor};

    fn pool(kind: PoolKind, act: Act, count_include_pad: bool) -> Vec<i8> {
        let q = QuantParams::per_tensor(1.0, -2);
        let op = Op::Pool(Pool {
            kind,
            kernel: vec![2],
            stride: vec![2],
            dilation: vec![1],
            pad: vec![(1, 0)],
            ceil: false,
            count_include_pad,
            act,
        });
        let x = Tensor::from_vec([1, 5, 1], vec![-5i8, -8, -7, 10, 20]).unwrap();
        let y = run_family(&op, Arith::TfliteRef, &[(&x, Some(&q))], DType::I8, Some(&q)).unwrap();
        y.as_slice::<i8>().unwrap().to_vec()
    }

    #[test]
    fn padding_is_no_element_unless_it_counts() {
        assert_eq!(pool(PoolKind::Average, Act::None, false), [-5, -8, 15]);
        // The padding stands for the code -2: (-5 - 2) / 2 goes away from zero.
        assert_eq!(pool(PoolKind::Average, Act::None, true), [-4, -8, 15]);
        assert_eq!(pool(PoolKind::Max, Act::None, false), [-5, -7, 20]);
    }

    #[test]
    fn an_activation_clamps_the_codes() {
        assert_eq!(pool(PoolKind::Max, Act::Relu6, false), [-2, -2, 4]);
    }
}
