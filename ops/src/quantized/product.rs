//! Matrix products: dense layers and products of two activations.

use super::codes;
use super::stage::Stage;
use crate::arith::{activation_range, matmul_requant};
use crate::cpu::Level;
use crate::cpu::int8::{self, Codes, Layout, Matrix, Place, Weights, multiply};
use crate::cpu::vectorised::{Vectorised, vectorised};
use crate::{Act, Arith, Op, OpError, Operand};
use tandem_tensor::{QuantParams, Shape, Tensor, TensorType};

/// Fewer rows than this are multiplied with the weights as they lie: packing would cost more than it saves.
const PACK_FROM: usize = 4;

/// A dense layer with its weights in the order in which the loops read them.
pub(super) struct Kernel {
    weights: Form,
    outputs: usize,
    k: usize,
    stage: Stage,
    /// Zero point of the input, counted from the smallest code.
    input_zero: u8,
    result: TensorType,
}

enum Form {
    /// Centred, a row for each output.
    Rows(Vec<i16>),
    Packed(Weights),
}

/// The same for weights that are packed once for many runs: a tile of one row is no loss where tiles have any height.
fn pack_from() -> usize {
    if matches!(Level::best(), Level::Avx2 | Level::Avx512) { 0 } else { PACK_FROM }
}

impl Kernel {
    /// A kernel for one run alone where `once`.
    #[allow(clippy::too_many_arguments, reason = "a layer has that many parts")]
    pub(super) fn new(
        op: &Op,
        act: Act,
        arith: Arith,
        x: &TensorType,
        weights: &[Operand<'_>],
        result: &TensorType,
        once: bool,
    ) -> Result<Kernel, OpError> {
        let w = weights[0];
        let (outputs, k) = (w.ty.shape[0], w.ty.shape[1]);
        let bias = codes::bias(op.name(), weights.get(1), outputs)?;
        let mut stage = Stage::new(op, arith, [x, w.ty, result], act, bias)?;
        let input_zero = codes::rank(x.dtype, codes::whole(op.name(), x)?.zero_point());
        let quant = codes::per_output(op.name(), w.ty)?;
        let rows = result.elements() / outputs.max(1);
        let weights = if rows < if once { PACK_FROM } else { pack_from() } {
            Form::Rows(codes::centred_by_output(w.tensor, quant))
        } else {
            let (bytes, layout) = (codes::bytes(w.tensor), Layout::plain(k));
            let packed = Weights::new(Level::best(), bytes, &quant.zero_point, outputs, layout, input_zero);
            stage.fold(0, packed.fold());
            Form::Packed(packed)
        };
        Ok(Kernel { weights, outputs, k, stage, input_zero, result: result.clone() })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor, OpError> {
        let len = self.result.elements();
        let out = match &self.weights {
            _ if len == 0 => Vec::new(),
            Form::Packed(weights) => int8::product(weights, &self.source(codes::bytes(x)), &self.stage),
            Form::Rows(_) => {
                let mut out = vec![0u8; len];
                self.write(codes::bytes(x), &mut out);
                out
            }
        };
        Ok(codes::tensor(self.result.dtype, &self.result.shape, out)?)
    }

    /// Writes the codes of the result.
    pub(super) fn write(&self, x: Codes<'_>, out: &mut [u8]) {
        let (outputs, k) = (self.outputs, self.k);
        match &self.weights {
            _ if out.is_empty() => {}
            Form::Rows(weights) => {
                let zero = i16::from(self.input_zero);
                let input: Vec<i16> = x.bytes.iter().map(|&code| i16::from(code ^ x.flip()) - zero).collect();
                let mut sums = vec![0i32; outputs];
                for (r, out) in out.chunks_exact_mut(outputs).enumerate() {
                    vectorised(Dots { row: &input[r * k..(r + 1) * k], weights, sums: &mut sums });
                    self.stage.apply(&sums, out);
                }
            }
            Form::Packed(weights) => {
                multiply(weights, &self.source(x), &self.stage, Place { first: 0, stride: outputs }, out);
            }
        }
    }

    fn source<'a>(&self, codes: Codes<'a>) -> Matrix<'a> {
        Matrix { codes, zero: self.input_zero, rows: self.result.elements() / self.outputs, k: self.k }
    }
}

/// The last two axes of a times the last two of b.
pub(super) fn matmul(
    op: &Op,
    [transpose_a, transpose_b]: [bool; 2],
    arith: Arith,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Result<Vec<Tensor>, OpError> {
    let (a, b) = (operands[0], operands[1]);
    let left = Side::new(&a.ty.shape, transpose_a, true);
    let right = Side::new(&b.ty.shape, transpose_b, false);
    let (rows, k, columns) = (left.rows, left.columns, right.columns);
    let (aq, bq) = (codes::whole(op.name(), a.ty)?, column_quant(op, b.ty, &right)?);
    let out_quant = codes::whole(op.name(), result)?;
    let requant = |column| matmul_requant(arith, aq.scale(), bq.at(column).0, out_quant.scale());
    let zero = codes::rank(a.ty.dtype, aq.zero_point());
    let (x, weights) = (codes::bytes(a.tensor), codes::bytes(b.tensor));
    let mut out = vec![0u8; result.elements()];
    let lead = Shape::from(&result.shape[..result.shape.rank() - left.shown - right.shown]);
    for (index, out) in out.chunks_exact_mut((rows * columns).max(1)).enumerate() {
        let a: Vec<u8> = left.elements(x.bytes, left.matrix_of(index, &lead)).collect();
        // Columns of b become rows of weights.
        let b: Vec<u8> = right.swapped().elements(weights.bytes, right.matrix_of(index, &lead)).collect();
        let b = Codes { bytes: &b, ..weights };
        let packed = Weights::new(Level::best(), b, &bq.zero_point, columns, Layout::plain(k), zero);
        let range = activation_range(Act::None, result.dtype, out_quant);
        let mut stage = Stage::without_bias((0..columns).map(requant).collect(), out_quant, range);
        stage.fold(0, packed.fold());
        let source = Matrix { codes: Codes { bytes: &a, ..x }, zero, rows, k };
        multiply(&packed, &source, &stage, Place { first: 0, stride: columns }, out);
    }
    Ok(vec![codes::tensor(result.dtype, &result.shape, out)?])
}

/// The sum of products of two rows of equal length. Wraps.
#[inline(always)]
pub(super) fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a) * i32::from(b)))
}

/// The products of one row with every row of weights.
struct Dots<'a> {
    row: &'a [i16],
    weights: &'a [i16],
    sums: &'a mut [i32],
}

impl Vectorised<()> for Dots<'_> {
    #[inline(always)]
    fn run(self) {
        for (sum, weights) in self.sums.iter_mut().zip(self.weights.chunks_exact(self.row.len().max(1))) {
            *sum = dot(self.row, weights);
        }
    }
}

/// The scale of b: one, or one for each column.
fn column_quant<'a>(op: &Op, b: &'a TensorType, side: &Side) -> Result<&'a QuantParams, OpError> {
    let Some(axis) = b.quant.as_ref().and_then(|q| q.axis) else {
        return codes::whole(op.name(), b);
    };
    codes::per_axis(op.name(), b, axis)?;
    let column = if side.column_step == 1 { b.shape.rank() - 1 } else { b.shape.rank().saturating_sub(2) };
    match &b.quant {
        Some(quant) if axis == column && side.shown == 1 => Ok(quant),
        _ => Err(OpError::unsupported(format!(
            "{} needs one scale for each column of b, not along axis {axis}",
            op.name()
        ))),
    }
}

/// An operand of a product as a stack of matrices.
struct Side {
    lead: Shape,
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
    /// Axes of the matrix that show in the result: none of a vector.
    shown: usize,
}

impl Side {
    fn new(shape: &Shape, swap: bool, left: bool) -> Side {
        let rank = shape.rank();
        if rank == 1 {
            // A vector is a row on the left and a column on the right.
            let (rows, columns) = if left { (1, shape[0]) } else { (shape[0], 1) };
            return Side { lead: Shape::default(), rows, columns, row_step: 1, column_step: 1, shown: 0 };
        }
        let lead = Shape::from(&shape[..rank - 2]);
        let (m, n) = (shape[rank - 2], shape[rank - 1]);
        if swap {
            Side { lead, rows: n, columns: m, row_step: 1, column_step: n, shown: 1 }
        } else {
            Side { lead, rows: m, columns: n, row_step: n, column_step: 1, shown: 1 }
        }
    }

    /// The transposed matrices.
    fn swapped(&self) -> Side {
        Side {
            lead: self.lead.clone(),
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            shown: self.shown,
        }
    }

    /// First element of the matrix that belongs to matrix `index` of the result, whose leading axes are `lead`.
    fn matrix_of(&self, index: usize, lead: &Shape) -> usize {
        let (own, all) = (self.lead.strides(), lead.strides());
        let missing = lead.rank() - self.lead.rank();
        let matrix: usize = (0..self.lead.rank())
            .filter(|&i| self.lead[i] > 1)
            .map(|i| index / all[i + missing] % lead[i + missing] * own[i])
            .sum();
        matrix * self.rows * self.columns
    }

    /// The elements of a matrix, row by row.
    fn elements<'a>(&'a self, data: &'a [u8], begin: usize) -> impl Iterator<Item = u8> + 'a {
        (0..self.rows)
            .flat_map(move |r| (0..self.columns).map(move |c| data[begin + r * self.row_step + c * self.column_step]))
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::tests::run_family;
    use crate::{Act, Arith, Op};
    use tandem_tensor::{DType, QuantParams, Tensor};

    fn ramp(shape: &[usize], step: usize) -> Tensor {
        let n: usize = shape.iter().product();
        Tensor::from_vec(shape, (0..n).map(|i| (i * step % 251) as i8).collect::<Vec<i8>>()).unwrap()
    }

    #[test]
    fn a_dense_layer_gives_the_same_row_by_row_and_in_one_go() {
        let q = QuantParams::per_tensor(0.5, 3);
        let weights = QuantParams {
            scale: (1..=5).map(|i| i as f32 * 0.01).collect(),
            zero_point: vec![0, 1, 2, 3, 4],
            axis: Some(0),
        };
        let (x, w) = (ramp(&[9, 7], 37), ramp(&[5, 7], 11));
        let dense = Op::Dense { act: Act::Relu };
        for arith in [Arith::TfliteRef, Arith::Xnnpack] {
            let all = run_family(&dense, arith, &[(&x, Some(&q)), (&w, Some(&weights))], DType::I8, Some(&q)).unwrap();
            let all = all.as_slice::<i8>().unwrap();
            for (row, expected) in x.as_slice::<i8>().unwrap().chunks(7).zip(all.chunks(5)) {
                let row = Tensor::from_vec([1, 7], row.to_vec()).unwrap();
                let one =
                    run_family(&dense, arith, &[(&row, Some(&q)), (&w, Some(&weights))], DType::I8, Some(&q)).unwrap();
                assert_eq!(one.as_slice::<i8>().unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_product_of_transposed_operands_is_the_same_product() {
        let q = QuantParams::per_tensor(0.1, -4);
        let out = QuantParams::per_tensor(90.0, 0);
        let (a, b) = (ramp(&[2, 1, 6, 5], 37), ramp(&[3, 5, 4], 11));
        let swap = |t: &Tensor| {
            let s = t.shape().clone();
            let (m, n) = (s[s.rank() - 2], s[s.rank() - 1]);
            let v = t.as_slice::<i8>().unwrap();
            let swapped = v.chunks(m * n).flat_map(|c| (0..n * m).map(|i| c[i % m * n + i / m])).collect::<Vec<i8>>();
            let mut shape = s;
            let rank = shape.rank();
            shape.swap(rank - 2, rank - 1);
            Tensor::from_vec(shape, swapped).unwrap()
        };
        let run = |a: &Tensor, b: &Tensor, transpose_a, transpose_b| {
            let op = Op::MatMul { transpose_a, transpose_b };
            run_family(&op, Arith::Xnnpack, &[(a, Some(&q)), (b, Some(&q))], DType::I8, Some(&out)).unwrap()
        };
        let plain = run(&a, &b, false, false);
        assert_eq!(plain.shape().0, [2, 3, 6, 4]);
        assert!(plain.as_slice::<i8>().unwrap().iter().any(|&q| q > 0));
        assert_eq!(run(&swap(&a), &b, true, false), plain);
        assert_eq!(run(&a, &swap(&b), false, true), plain);
    }

    #[test]
    fn columns_may_have_their_own_scales() {
        let one = QuantParams::per_tensor(1.0, 0);
        let columns = QuantParams { scale: vec![1.0, 2.0], zero_point: vec![0, 1], axis: Some(1) };
        let a = Tensor::from_vec([1, 2], vec![3i8, 4]).unwrap();
        let b = Tensor::from_vec([2, 2], vec![1i8, 2, 3, 4]).unwrap();
        let op = Op::MatMul { transpose_a: false, transpose_b: false };
        let y = run_family(&op, Arith::TfliteRef, &[(&a, Some(&one)), (&b, Some(&columns))], DType::I8, Some(&one));
        assert_eq!(y.unwrap().as_slice::<i8>().unwrap(), [15, 30]);
    }
}
