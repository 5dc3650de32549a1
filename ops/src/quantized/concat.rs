//! Concatenation of codes under several quantisations.

use super::codes;
use crate::arith::{activation_range, code_range};
use crate::{Act, Op, OpError, Operand};
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// Operands under the quantisation of the result are copied; others are brought to it in binary32, half away from zero. Both
/// families agree.
pub(super) fn concat(
    op: &Op,
    (axis, act): (usize, Act),
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let output = codes::whole(op.name(), result)?;
    let (lo, hi) = activation_range(act, result.dtype, output);
    let mut parts = Vec::with_capacity(operands.len());
    for operand in operands {
        let input = codes::whole(op.name(), operand.ty)?;
        let table = table(input, operand.ty, output, result);
        let first = code_range(operand.ty.dtype).0;
        let row = operand.ty.shape[axis..].iter().product::<usize>();
        let bytes: Vec<u8> = codes::wide(operand.tensor)
            .into_iter()
            .map(|q| table[((q - first) & 255) as usize].max(lo).min(hi) as u8)
            .collect();
        parts.push((row, bytes));
    }
    let rows: usize = result.shape[..axis].iter().product();
    let mut out = Vec::with_capacity(result.elements());
    for r in 0..rows {
        for (row, bytes) in &parts {
            out.extend_from_slice(&bytes[r * row..(r + 1) * row]);
        }
    }
    Ok(vec![codes::tensor(result.dtype, &result.shape, out)?])
}

fn table(input: &QuantParams, from: &TensorType, output: &QuantParams, to: &TensorType) -> [i32; 256] {
    let ((first, _), (lo, hi)) = (code_range(from.dtype), code_range(to.dtype));
    if input == output && from.dtype == to.dtype {
        return std::array::from_fn(|i| first + i as i32);
    }
    let scale = input.scale() * (1.0 / output.scale());
    let bias = -input.zero_point() as f32 * scale;
    std::array::from_fn(|i| {
        let real = (first + i as i32) as f32 * scale + bias;
        (real.round() as i32).saturating_add(output.zero_point()).clamp(lo, hi)
    })
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, Op};
    use tandem_tensor::{DType, QuantParams, Tensor};

    #[test]
    fn codes_of_another_scale_are_brought_to_the_common_one() {
        let (p, q) = (QuantParams::per_tensor(0.5, 0), QuantParams::per_tensor(0.25, 10));
        let a = Tensor::from_vec([2, 1], vec![1u8, 2]).unwrap();
        let b = Tensor::from_vec([2, 2], vec![10u8, 14, 12, 13]).unwrap();
        let op = Op::Concat { axis: 1, act: Act::None };
        let y = run_family(&op, Arith::TfliteRef, &[(&a, Some(&p)), (&b, Some(&q))], DType::U8, Some(&p)).unwrap();
        assert_eq!(y.as_slice::<u8>().unwrap(), [1, 0, 2, 2, 1, 2]);
    }
}
