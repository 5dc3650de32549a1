//! Pools.

use super::codes;
use crate::arith::{activation_range, average_requant};
use crate::infer::Window;
use crate::{Op, OpError, Operand, Pool, PoolKind};
use tandem_tensor::{Tensor, TensorType};

/// The largest code, or the mean of the codes rounded half away from zero, of the taps inside the input; then a clamp. Both
/// families agree. The codes of input and result must mean the same.
pub(super) fn pool(
    op: &Op,
    p: &Pool,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpError> {
    let (x, result) = (operands[0], results[0]);
    let quant = codes::whole(op.name(), result)?;
    if results.len() > 1 || x.ty.dtype != result.dtype || codes::whole(op.name(), x.ty)? != quant {
        return Err(OpError::unsupported(format!(
            "{} of 8-bit codes needs one quantisation for input and result",
            op.name()
        )));
    }
    let (lo, hi) = activation_range(p.act, result.dtype, quant);
    let own = Window::of_pool(p, &x.ty.shape)?;
    let mut windows = [Window::UNIT; 3];
    windows[3 - own.len()..].copy_from_slice(&own);
    let [d, h, w] = windows;
    let channels = x.ty.shape[x.ty.shape.rank() - 1];
    let input = codes::centred(x.tensor, 0);
    let mut out = vec![0u8; result.elements()];
    let mut acc = vec![0i32; channels];
    for (index, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        let image = index / (d.output * h.output * w.output);
        let at = [index / (h.output * w.output) % d.output, index / w.output % h.output, index % w.output];
        let (taps_d, taps_h, taps_w) = (d.taps(at[0]), h.taps(at[1]), w.taps(at[2]));
        let inside = taps_d.len() * taps_h.len() * taps_w.len();
        acc.fill(if p.kind == PoolKind::Max { lo } else { 0 });
        for td in taps_d {
            for th in taps_h.clone() {
                let plane = (image * d.input + d.input_at(at[0], td)) * h.input + h.input_at(at[1], th);
                for tw in taps_w.clone() {
                    let pixel = &input[(plane * w.input + w.input_at(at[2], tw)) * channels..][..channels];
                    match p.kind {
                        PoolKind::Max => acc.iter_mut().zip(pixel).for_each(|(a, &q)| *a = (*a).max(i32::from(q))),
                        PoolKind::Average => acc.iter_mut().zip(pixel).for_each(|(a, &q)| *a += i32::from(q)),
                    }
                }
            }
        }
        if p.kind == PoolKind::Average {
            let mut count = inside;
            if p.count_include_pad {
                count = d.padded_taps(at[0]) * h.padded_taps(at[1]) * w.padded_taps(at[2]);
                // Padding stands for the real 0.
                acc.iter_mut().for_each(|a| *a += (count - inside) as i32 * quant.zero_point());
            }
            if count > 1 << 20 {
                return Err(OpError::unsupported(format!("{} has a window of {count} elements", op.name())));
            }
            let requant = average_requant(count as u32);
            acc.iter_mut().for_each(|a| *a = requant.apply(*a));
        }
        for (out, &a) in out.iter_mut().zip(&acc) {
            *out = a.max(lo).min(hi) as u8;
        }
    }
    Ok(vec![codes::tensor(result.dtype, &result.shape, out)?])
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
