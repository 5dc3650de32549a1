//! Matrix products.

use super::Operand;
use super::accumulate::{Accumulator, Class, class};
use super::position::broadcasted;
use crate::{Act, OpError};
use tandem_tensor::{Shape, Tensor, TensorType};

pub(super) fn dense(act: Act, operands: &[Operand<'_>], result: &TensorType) -> Result<Tensor, OpError> {
    Ok(match class("dense", operands, result)? {
        Class::Real => f64::store(rows::<f64>(operands, result), act, result)?,
        Class::Int => i64::store(rows::<i64>(operands, result), act, result)?,
    })
}

pub(super) fn matmul(
    transpose_a: bool,
    transpose_b: bool,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Tensor, OpError> {
    let a = Side::new(operands[0].tensor.shape(), transpose_a, true);
    let b = Side::new(operands[1].tensor.shape(), transpose_b, false);
    Ok(match class("matmul", operands, result)? {
        Class::Real => f64::store(products::<f64>(&a, &b, operands, result), Act::None, result)?,
        Class::Int => i64::store(products::<i64>(&a, &b, operands, result), Act::None, result)?,
    })
}

fn rows<A: Accumulator>(operands: &[Operand<'_>], result: &TensorType) -> Vec<A> {
    let weights = operands[1].tensor.shape();
    let (outer, inner) = (weights[0], weights[1]);
    let bias = operands.get(2).map(|b| A::load(b.tensor));
    let (x, w) = (A::load(operands[0].tensor), A::load(operands[1].tensor));
    let mut out = Vec::with_capacity(result.elements());
    for i in 0..result.elements() {
        let (row, o) = (i / outer, i % outer);
        let mut sum = A::ZERO;
        for (&a, &b) in x[row * inner..(row + 1) * inner].iter().zip(&w[o * inner..(o + 1) * inner]) {
            sum.add_product(a, b);
        }
        if let Some(b) = bias.as_ref() {
            sum.add(b[o]);
        }
        out.push(sum);
    }
    out
}

/// An operand of a product as a stack of matrices.
struct Side {
    lead: Shape,
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Side {
    fn new(shape: &Shape, swap: bool, left: bool) -> Side {
        let rank = shape.rank();
        if rank == 1 {
            // A vector is a row on the left and a column on the right.
            let (rows, columns) = if left { (1, shape[0]) } else { (shape[0], 1) };
            return Side { lead: Shape::default(), rows, columns, row_step: 1, column_step: 1 };
        }
        let lead = Shape::from(&shape[..rank - 2]);
        let (m, n) = (shape[rank - 2], shape[rank - 1]);
        match swap {
            false => Side { lead, rows: m, columns: n, row_step: n, column_step: 1 },
            true => Side { lead, rows: n, columns: m, row_step: 1, column_step: n },
        }
    }

    fn matrix(&self) -> usize {
        self.rows * self.columns
    }
}

fn products<A: Accumulator>(a: &Side, b: &Side, operands: &[Operand<'_>], result: &TensorType) -> Vec<A> {
    if result.elements() == 0 {
        return Vec::new();
    }
    let (left, right) = (A::load(operands[0].tensor), A::load(operands[1].tensor));
    let made_up =
        usize::from(operands[0].tensor.shape().rank() == 1) + usize::from(operands[1].tensor.shape().rank() == 1);
    let lead = Shape::from(&result.shape[..result.shape.rank() + made_up - 2]);
    let stacks = broadcasted(&a.lead, &lead).into_iter().zip(broadcasted(&b.lead, &lead));
    let mut out = vec![A::ZERO; result.elements()];
    let mut packed = vec![A::ZERO; b.matrix()];
    for ((i, j), out) in stacks.zip(out.chunks_exact_mut(a.rows * b.columns)) {
        if a.columns == 0 {
            continue;
        }
        for k in 0..b.rows {
            for n in 0..b.columns {
                packed[k * b.columns + n] = right[j * b.matrix() + k * b.row_step + n * b.column_step];
            }
        }
        for (m, row) in out.chunks_exact_mut(b.columns).enumerate() {
            for (k, other) in packed.chunks_exact(b.columns).enumerate() {
                let x = left[i * a.matrix() + m * a.row_step + k * a.column_step];
                for (sum, &y) in row.iter_mut().zip(other) {
                    sum.add_product(x, y);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::{floats, run, values};
    use crate::{Act, Op};
    use tandem_tensor::{DType, Shape, Tensor};

    fn product(swap_a: bool, swap_b: bool) -> Op {
        Op::MatMul { transpose_a: swap_a, transpose_b: swap_b }
    }

    #[test]
    fn a_product_by_hand_in_all_transpositions() {
        let a = floats([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = floats([3, 2], &[1.0, 0.0, 0.0, 1.0, 2.0, 2.0]);
        let at = floats([3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let bt = floats([2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, 2.0]);
        let expected = [7.0, 8.0, 16.0, 17.0];
        assert_eq!(values(&run(&product(false, false), &[&a, &b], DType::F32)), expected);
        assert_eq!(values(&run(&product(true, false), &[&at, &b], DType::F32)), expected);
        assert_eq!(values(&run(&product(false, true), &[&a, &bt], DType::F32)), expected);
        assert_eq!(values(&run(&product(true, true), &[&at, &bt], DType::F32)), expected);
    }

    #[test]
    fn vectors_and_stacks_broadcast() {
        let v = floats([2], &[1.0, 10.0]);
        let stack = floats([2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let y = run(&product(false, false), &[&v, &stack], DType::F32);
        assert_eq!(values(&y), [31.0, 42.0, 75.0, 86.0]);
        let z = run(&product(false, false), &[&stack, &v], DType::F32);
        assert_eq!(values(&z), [21.0, 43.0, 65.0, 87.0]);
        let dot = run(&product(false, false), &[&v, &v], DType::F32);
        assert_eq!((dot.shape(), values(&dot)), (&Shape::default(), vec![101.0]));
    }

    #[test]
    fn an_empty_inner_axis_gives_zeros() {
        let y = run(&product(false, false), &[&floats([2, 0], &[]), &floats([0, 2], &[])], DType::F32);
        assert_eq!(values(&y), [0.0; 4]);
    }

    #[test]
    fn bytes_multiply_to_words() {
        let a = Tensor::from_vec([1, 2], vec![255u8, 1]).unwrap();
        let b = Tensor::from_vec([2, 1], vec![-128i8, 3]).unwrap();
        assert_eq!(run(&product(false, false), &[&a, &b], DType::I32).as_slice::<i32>().unwrap(), [-32637]);
    }

    #[test]
    fn a_dense_layer_adds_its_bias_and_activation() {
        let x = floats([2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let w = floats([3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let b = floats([3], &[0.0, -3.0, 1.0]);
        let y = run(&Op::Dense { act: Act::Relu6 }, &[&x, &w, &b], DType::F32);
        assert_eq!(values(&y), [1.0, 0.0, 4.0, 3.0, 1.0, 6.0]);
    }
}
