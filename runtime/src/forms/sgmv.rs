//! Products with low-rank adapters: for each adapter of a batch one with A and one with B.

use super::Core;
use super::operand::Operand;
use super::sums::multiply;
use half::bf16;
use std::ops::Range;
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Tensors};
use tandem_ops::sgmv::Batch;
use tandem_tensor::{DType, Tensor};

/// The rows of an adapter, its entries, and the products of the former with A by row and entry.
struct Shrunk {
    rows: Vec<usize>,
    entries: Range<usize>,
    v: Vec<f64>,
}

pub(super) fn shrink(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let (n, width) = (dims["n"], dims["rank"]);
    let mut values = vec![0.0; n * width];
    for Shrunk { rows, entries, v } in shrunk(core, &Batch::of(dims, inputs)?, inputs)? {
        for (row, v) in rows.into_iter().zip(v.chunks(entries.len().max(1))) {
            values[row * width..][..v.len()].copy_from_slice(v);
        }
    }
    Ok(Tensors::new().with("v", Tensor::from_f64(DType::F32, [n, width], &values)?))
}

pub(super) fn expand(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let batch = Batch::of(dims, inputs)?;
    let (v, width) = (inputs.slice::<f32>("v")?, dims["rank"]);
    let of = |(entries, rows): (Range<usize>, Vec<usize>)| {
        // Behind an adapter's rank anything may stand.
        let row = |&row: &usize| v[row * width..][..entries.len()].iter().map(|&x| f64::from(x));
        let v = rows.iter().flat_map(row).collect();
        Shrunk { rows, entries, v }
    };
    let shrunk = batch.gathered().into_iter().map(of).collect();
    expanded(core, &batch, inputs, shrunk)
}

pub(super) fn fused(core: &Core, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let batch = Batch::of(dims, inputs)?;
    let shrunk = shrunk(core, &batch, inputs)?;
    expanded(core, &batch, inputs, shrunk)
}

/// The products of all rows with A of their adapters.
fn shrunk(core: &Core, batch: &Batch<'_>, inputs: &Tensors) -> Result<Vec<Shrunk>, OpError> {
    let x = inputs.slice::<bf16>("x")?;
    let gathered = batch.gathered();
    let pair = |(entries, rows): &(Range<usize>, Vec<usize>)| {
        let row = |&row: &usize| x[row * batch.h1..][..batch.h1].iter().map(|x| x.to_f64());
        let a = entries.clone().flat_map(|entry| batch.a_row(entry).iter().map(|a| a.to_f64()));
        (
            Operand::exact(rows.len(), batch.h1, rows.iter().flat_map(row).collect()),
            Operand::exact(entries.len(), batch.h1, a.collect()),
        )
    };
    let products = multiply(core, &gathered.iter().map(pair).collect::<Vec<_>>())?;
    Ok(gathered.into_iter().zip(products).map(|((entries, rows), v)| Shrunk { rows, entries, v }).collect())
}

/// y with the products with B.
fn expanded(core: &Core, batch: &Batch<'_>, inputs: &Tensors, shrunk: Vec<Shrunk>) -> Result<Tensors, OpError> {
    let h2 = batch.h2;
    let pair = |Shrunk { rows, entries, v }: &Shrunk| {
        let column = |at: usize| entries.clone().map(move |entry| batch.b_row(entry)[at].to_f64());
        let (rank, b) = (entries.len(), (0..h2).flat_map(column).collect());
        (Operand::rounded(rows.len(), rank, v.clone(), 3), Operand::exact(h2, rank, b))
    };
    let products = multiply(core, &shrunk.iter().map(pair).collect::<Vec<_>>())?;
    let y = inputs.get("y")?;
    let mut out = y.to_f64();
    for (Shrunk { rows, .. }, products) in shrunk.into_iter().zip(products) {
        for (row, products) in rows.into_iter().zip(products.chunks(h2.max(1))) {
            out[row * h2..][..h2].iter_mut().zip(products).for_each(|(out, product)| *out += product);
        }
    }
    Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, y.shape().clone(), &out)?))
}
