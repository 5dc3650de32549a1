//! Products with weights of four bits.

use super::Core;
use super::operand::Operand;
use super::sums::multiply;
use std::ops::Range;
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Tensors};
use tandem_ops::lowbit::{nibbles, unsigned};
use tandem_tensor::{DType, Tensor};

/// The extents of a product.
struct Extents {
    m: usize,
    n: usize,
    k: usize,
    /// Channels with codes of four bits.
    inner: usize,
    group: usize,
}

impl Extents {
    fn of(dims: &Dims) -> Extents {
        let [m, n, k, group, outliers] = ["m", "n", "k", "group", "outliers"].map(|axis| dims[axis]);
        Extents { m, n, k, inner: k - outliers, group }
    }

    /// The channels of each group.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> {
        let (inner, group) = (self.inner, self.group);
        (0..inner).step_by(group).map(move |begin| begin..inner.min(begin + group))
    }

    /// What the products of each group add up to, with what they are worth by group, row and column, and from those of outliers.
    fn sum(
        &self,
        products: &[Vec<f64>],
        worth: impl Fn(usize, usize, usize) -> f64,
        outlier: impl Fn(usize, usize) -> f64,
    ) -> Vec<f64> {
        let mut out = vec![0.0; self.m * self.n];
        let groups = self.groups().count();
        for (group, products) in products.iter().enumerate() {
            // A product with no channels is 0, whatever its scale.
            if group == groups && self.inner == self.k {
                continue;
            }
            for (at, (out, product)) in out.iter_mut().zip(products).enumerate() {
                let (row, column) = (at / self.n, at % self.n);
                *out += product * if group < groups { worth(group, row, column) } else { outlier(row, column) };
            }
        }
        out
    }

    fn result(&self, out: &[f64]) -> Result<Tensors, OpError> {
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [self.m, self.n], out)?))
    }
}

/// Some columns of a matrix of this width.
fn columns<T: Copy>(all: &[T], width: usize, range: Range<usize>) -> Vec<T> {
    all.chunks_exact(width.max(1)).flat_map(|row| row[range.clone()].iter().copied()).collect()
}

/// What is taken from a code without a sign, so that four bits hold it with one.
const MIDDLE: u8 = 8;

/// The weights of each group: codes less the zero of their group, which the host sees to, so that four bits hold what the core has.
fn weights(of: &Extents, inputs: &Tensors) -> Result<Vec<Operand>, OpError> {
    let codes = inputs.slice::<u8>("b")?.iter().flat_map(|&byte| unsigned(byte));
    let codes: Vec<i8> = codes.map(|code| code as i8 - MIDDLE as i8).collect();
    let zero = inputs.slice::<u8>("b_zero")?;
    let part = |(group, range): (usize, Range<usize>)| {
        let offsets = zero[group * of.n..][..of.n].iter().map(|&zero| f64::from(MIDDLE) - f64::from(zero));
        Operand::bytes(of.n, range.len(), columns(&codes, of.inner, range)).plus(offsets.collect())
    };
    Ok(of.groups().enumerate().map(part).collect())
}

pub(super) fn w4a4(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let of = Extents::of(dims);
    let (a, b) = (nibbles(inputs.slice("a")?), nibbles(inputs.slice("b")?));
    let part =
        |rows, codes: &[i8], range: Range<usize>| Operand::bytes(rows, range.len(), columns(codes, of.inner, range));
    let mut pairs: Vec<_> = of.groups().map(|group| (part(of.m, &a, group.clone()), part(of.n, &b, group))).collect();
    let bytes =
        |port, rows| Ok::<_, OpError>(Operand::bytes(rows, of.k - of.inner, inputs.slice::<i8>(port)?.to_vec()));
    pairs.push((bytes("a8", of.m)?, bytes("b8", of.n)?));
    let products = multiply(core, &pairs)?;
    let [a_scale, a8_scale, b_scale, b8_scale] =
        ["a_scale", "a8_scale", "b_scale", "b8_scale"].map(|port| Ok::<_, OpError>(inputs.get(port)?.to_f64()));
    let (a_scale, a8_scale, b_scale, b8_scale) = (a_scale?, a8_scale?, b_scale?, b8_scale?);
    let groups = of.groups().count();
    let worth =
        |group: usize, row: usize, column: usize| a_scale[row * groups + group] * b_scale[group * of.n + column];
    of.result(&of.sum(&products, worth, |row, column| a8_scale[row] * b8_scale[column]))
}

pub(super) fn w4a8(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let of = Extents::of(dims);
    let (a, step) = (inputs.slice::<i8>("a8")?, inputs.slice::<u8>("b_step")?);
    let (weights, outliers) = (weights(&of, inputs)?, inputs.slice::<i8>("b8")?);
    let rows = |range: Range<usize>| Operand::bytes(of.m, range.len(), columns(a, of.k, range));
    // Three bytes of a sum for each row and group, or half a byte more of each weight.
    let by_group = core.config().has_packed_weights() && 3 * of.m < of.group / 2;
    let sums = if by_group {
        let mut pairs: Vec<_> = of.groups().map(rows).zip(weights).collect();
        pairs.push((rows(of.inner..of.k), Operand::bytes(of.n, of.k - of.inner, outliers.to_vec())));
        of.sum(&multiply(core, &pairs)?, |group, _, column| f64::from(step[group * of.n + column]), |_, _| 1.0)
    } else {
        let mut bytes = Vec::with_capacity(of.n * of.k);
        for column in 0..of.n {
            for (group, weights) in weights.iter().enumerate() {
                // Bytes: that they are is what the definition asks of steps and zeros.
                let step = f64::from(step[group * of.n + column]);
                bytes.extend((0..weights.depth).map(|at| (weights.value(column, at) * step) as i8));
            }
            bytes.extend_from_slice(&outliers[column * (of.k - of.inner)..][..of.k - of.inner]);
        }
        multiply(core, &[(rows(0..of.k), Operand::bytes(of.n, of.k, bytes))])?.remove(0)
    };
    let (a_scale, row_scale) = (inputs.get("a8_scale")?.to_f64(), inputs.get("row_scale")?.to_f64());
    let scaled = |(at, sum): (usize, &f64)| {
        // A product with no channels is 0, whatever its scale.
        if of.k == 0 { 0.0 } else { sum * a_scale[at / of.n] * row_scale[at % of.n] }
    };
    of.result(&sums.iter().enumerate().map(scaled).collect::<Vec<f64>>())
}

pub(super) fn w4a16(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let of = Extents::of(dims);
    let a = inputs.get("a")?.to_f64();
    let rows = |range: Range<usize>| Operand::exact(of.m, range.len(), columns(&a, of.k, range));
    let mut pairs: Vec<_> = of.groups().map(rows).zip(weights(&of, inputs)?).collect();
    let outliers = Operand::bytes(of.n, of.k - of.inner, inputs.slice::<i8>("b8")?.to_vec());
    pairs.push((rows(of.inner..of.k), outliers));
    let products = multiply(core, &pairs)?;
    let (b_scale, b8_scale) = (inputs.get("b_scale")?.to_f64(), inputs.get("b8_scale")?.to_f64());
    of.result(&of.sum(&products, |group, _, column| b_scale[group * of.n + column], |_, column| b8_scale[column]))
}
