//! A dense layer in codes.

use super::grid::Grid;
use super::moments::Moments;
use super::weights::{Codes, Products};
use super::{Form, Scheme};
use crate::quantise::QuantiseError;
use half::bf16;
use tandem_graph::GraphError;
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{Dims, Kernel, Tensors};
use tandem_ops::{OpError, lowbit};
use tandem_tensor::{DType, Tensor, TensorError};

/// Added to the diagonal of the products of channels, as a part of its mean.
const DAMPING: f64 = 0.01;

/// A layer with weights of four bits.
#[derive(Clone, Debug)]
pub struct Layer {
    scheme: Scheme,
    /// Extents but for the rows.
    dims: Dims,
    clip: f32,
    order: Tensor,
    /// The operands of the product that are weights.
    weights: Tensors,
    bias: Option<Vec<f32>>,
    outputs: usize,
}

/// What layers of a scheme run.
pub(super) struct Kernels {
    producer: Box<dyn Kernel>,
    product: Box<dyn Kernel>,
}

impl Kernels {
    pub fn new(scheme: Scheme) -> Result<Kernels, QuantiseError> {
        let kernel = |name: &str| {
            let lost = || QuantiseError::Lost { node: name.to_owned() };
            cpu::kernel(name, Level::best()).ok_or_else(lost)
        };
        let product = match scheme {
            Scheme::W4A4 => "gemm.w4a4",
            Scheme::W4A8 => "gemm.w4a8",
            Scheme::W4A16 => "gemm.w4a16",
        };
        Ok(Kernels { producer: kernel("reorder_quantize.bf16")?, product: kernel(product)? })
    }
}

impl Layer {
    pub(super) fn new(
        form: Form,
        weights: &Tensor,
        bias: Option<&Tensor>,
        moments: &Moments,
    ) -> Result<Layer, QuantiseError> {
        let (n, k) = (weights.shape()[0], weights.shape()[1]);
        let outliers = form.outliers.min(k);
        let outliers = outliers + (k - outliers) % 2;
        let inner = k - outliers;
        let order = moments.order();
        let values = weights.to_f64();
        let rows: Vec<Vec<f64>> =
            (0..n).map(|row| order.iter().map(|&channel| values[row * k + channel]).collect()).collect();
        let products = match form.compensate {
            true => Products::new(moments.products(&order).damped(DAMPING)),
            false => None,
        };
        let codes = Codes::new(&form, &rows, inner, products.as_ref());
        let mut dims = Dims::default();
        for (axis, extent) in [("n", n), ("k", k), ("group", form.group), ("outliers", outliers)] {
            dims.set(axis, extent);
        }
        let order: Vec<i32> = order.into_iter().map(|channel| channel as i32).collect();
        let built = || {
            Ok::<_, TensorError>(Layer {
                scheme: form.scheme,
                dims,
                clip: form.clip,
                order: Tensor::from_vec([k], order)?,
                weights: operands(form.scheme, codes, [n, inner, outliers], form.group)?,
                bias: bias.map(|bias| bias.to_f64().into_iter().map(|x| x as f32).collect()),
                outputs: n,
            })
        };
        built().map_err(|e| QuantiseError::Graph(GraphError::Input(e.to_string())))
    }

    /// The results for rows of activations in f32.
    pub(super) fn run(&self, kernels: &Kernels, x: &Tensor) -> Result<Tensor, QuantiseError> {
        let failed = |source: OpError| {
            QuantiseError::Graph(GraphError::Op { node: self.scheme.name().to_owned(), op: "dense", source })
        };
        self.product(kernels, x).map_err(failed)
    }

    fn product(&self, kernels: &Kernels, x: &Tensor) -> Result<Tensor, OpError> {
        let k = self.dims["k"];
        let rows: Vec<bf16> = x.as_slice::<f32>()?.iter().map(|&x| bf16::from_f32(x)).collect();
        let m = rows.len() / k.max(1);
        let dims = self.dims.clone().with("m", m);
        let activations = match self.scheme {
            Scheme::W4A16 => {
                let order = self.order.as_slice::<i32>()?;
                let gathered = |row: &[bf16]| order.iter().map(|&at| row[at as usize]).collect::<Vec<_>>();
                let rows = rows.chunks_exact(k.max(1)).flat_map(gathered).collect();
                Tensors::new().with("a", Tensor::from_vec([m, k], rows)?)
            }
            scheme => {
                let operands = Tensors::new()
                    .with("x", Tensor::from_vec([m, k], rows)?)
                    .with("order", self.order.clone())
                    .with("clip", Tensor::scalar(self.clip));
                let outliers = if scheme == Scheme::W4A8 { k } else { dims["outliers"] };
                kernels.producer.run(&dims.clone().with("outliers", outliers), &operands)?
            }
        };
        let operands = activations.iter().chain(self.weights.iter()).map(|(name, tensor)| (name, tensor.clone()));
        let out = kernels.product.run(&dims, &operands.collect())?;
        let mut out: Vec<f32> = out.slice::<bf16>("out")?.iter().map(|x| x.to_f32()).collect();
        if let Some(bias) = &self.bias {
            out.chunks_exact_mut(self.outputs).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        let mut shape: Vec<usize> = x.shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.outputs;
        }
        Ok(Tensor::from_vec(shape, out)?)
    }

    /// The order of the input channels, and the weights as operands of the scheme's product.
    pub fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        std::iter::once(("order", &self.order)).chain(self.weights.iter())
    }

    /// Weights that there are.
    pub fn count(&self) -> usize {
        self.dims["k"] * self.outputs
    }

    /// Bits that weights take, scales and zeros counted.
    pub fn bits(&self) -> usize {
        self.weights.iter().map(|(_, tensor)| 8 * tensor.len() * tensor.dtype().bytes()).sum()
    }
}

impl Scheme {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::W4A4 => "w4a4",
            Scheme::W4A8 => "w4a8",
            Scheme::W4A16 => "w4a16",
        }
    }
}

/// Codes as operands.
fn operands(
    scheme: Scheme,
    codes: Codes,
    [n, inner, outliers]: [usize; 3],
    group: usize,
) -> Result<Tensors, TensorError> {
    let Codes { four, grids, eight, row_scales } = codes;
    // Codes with a sign are 8 less.
    let less = if scheme == Scheme::W4A4 { 8 } else { 0 };
    let four: Vec<i8> = four.into_iter().map(|code| code as i8 - less).collect();
    let groups = inner.div_ceil(group);
    // By groups and then by rows, where they were made the other way round.
    let grids: Vec<Grid> = (0..n * groups).map(|at| grids[at % n * groups + at / n]).collect();
    let scales: Vec<f64> = grids.iter().map(|grid| grid.scale).collect();
    let zeros = Tensor::from_vec([groups, n], grids.iter().map(|grid| grid.zero as u8).collect())?;
    let all = Tensors::new()
        .with("b", Tensor::from_vec([n, inner / 2], lowbit::pack(&four))?)
        .with("b8", Tensor::from_vec([n, outliers], eight)?);
    if scheme == Scheme::W4A8 {
        let step = |(at, &scale): (usize, &f64)| match row_scales[at % n] {
            0.0 => 0,
            row => (scale / f64::from(row)).round() as u8,
        };
        let steps = scales.iter().enumerate().map(step).collect();
        let all = all.with("b_step", Tensor::from_vec([groups, n], steps)?).with("b_zero", zeros);
        return Ok(all.with("row_scale", Tensor::from_vec([n], row_scales)?));
    }
    let all = all
        .with("b_scale", Tensor::from_f64(DType::BF16, [groups, n], &scales)?)
        .with("b8_scale", Tensor::from_vec([n], row_scales)?);
    Ok(if scheme == Scheme::W4A16 { all.with("b_zero", zeros) } else { all })
}
