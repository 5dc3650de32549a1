//! Norms of the rows of a matrix of bfloat16, computed in f32.

use super::rows::{M, N, ROWS, SHORT, not_finite, shapes};
use crate::OpError;
use crate::def::{Agree, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Norm(&RMS), &Norm(&ADD_RMS), &Norm(&LAYER)];

const fn port(name: &'static str, dims: &'static [Dim], doc: &'static str) -> Port {
    Port { name, dtype: DType::BF16, dims, doc }
}

const X: Port = port("x", &[M, N], "rows");
const WEIGHT: Port = port("weight", &[N], "gain of each element");
const OUT: Port = port("out", &[M, N], "normed rows");
const EPS: Port = Port { name: "eps", dtype: DType::F32, dims: &[], doc: "added to the mean square" };

const fn norm(name: &'static str, summary: &'static str, inputs: &'static [Port], outputs: &'static [Port]) -> OpDef {
    OpDef {
        name,
        summary,
        axes: &ROWS,
        inputs,
        outputs,
        holds: &[SHORT],
        // The rounding of the result to 8 bits is all of it, and most elements round alike.
        agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
        fpga: Grade::ReferenceOnly("a row's reciprocal root needs a float unit or a table, which the core lacks"),
    }
}

static RMS: OpDef = norm("rms_norm.bf16", "x / sqrt(mean(x²) + eps) weight, along rows", &[X, WEIGHT, EPS], &[OUT]);
static ADD_RMS: OpDef = norm(
    "add_rms_norm.bf16",
    "sum = x + residual, rounded; out = sum / sqrt(mean(sum²) + eps) weight, along rows",
    &[X, port("residual", &[M, N], "what is added to x"), WEIGHT, EPS],
    &[port("sum", &[M, N], "the next residual: x + residual"), OUT],
);
static LAYER: OpDef = norm(
    "layer_norm.bf16",
    "(x - mean(x)) / sqrt(var(x) + eps) weight + bias, along rows",
    &[X, WEIGHT, port("bias", &[N], "added to each element"), EPS],
    &[OUT],
);

struct Norm(&'static OpDef);

impl Norm {
    fn is(&self, other: &OpDef) -> bool {
        std::ptr::eq(self.0, other)
    }
}

impl Operation for Norm {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let more = [("zeros", 3, 40), ("tiny", 3, 72), ("equal_elements", 3, 136), ("far_from_zero", 4, 264)];
        let all = shapes().into_iter().chain(more);
        all.map(|(name, m, n)| Sample::new(self.0, name, &[("m", m), ("n", n)])).collect()
    }

    /// Tokens of models of two widths.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (tokens, wide) = match size {
            Size::Simulator => ([8, 4096], [4, 8192]),
            Size::Processor => ([4096, 4096], [2048, 8192]),
            Size::Gpu => ([16_384, 4096], [8192, 8192]),
        };
        let rows = [("tokens_4096", tokens), ("tokens_8192", wide)];
        rows.map(|(name, [m, n])| Sample::new(self.0, name, &[("m", m), ("n", n)])).into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        let (m, n, dtype) = (dims["m"], dims["n"], DType::BF16);
        let mut random = Random::new(seed);
        // Squares of larger numbers, and their sum, are beyond f32.
        let deviation = match name {
            "zeros" => 0.0,
            "tiny" => 1e-25,
            "large" => 1e15,
            _ => 2.0,
        };
        let mut x = random.normal_tensor(dtype, [m, n], deviation).to_f64();
        match name {
            "equal_elements" => x.fill(-1.0e15),
            "far_from_zero" => x.iter_mut().for_each(|x| *x += 100.0),
            "nan_and_inf" => not_finite(&mut x, n),
            _ => {}
        }
        let mut all = Tensors::new().with("x", Tensor::from_f64(dtype, [m, n], &x)?);
        if self.is(&ADD_RMS) {
            all = all.with("residual", random.normal_tensor(dtype, [m, n], deviation));
        }
        all = all.with("weight", random.normal_tensor(dtype, [n], 1.0));
        if self.is(&LAYER) {
            all = all.with("bias", random.normal_tensor(dtype, [n], 0.5));
        }
        Ok(all.with("eps", Tensor::scalar(1e-5f32)))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let eps = f64::from(inputs.scalar::<f32>("eps")?);
        let weight = inputs.get("weight")?.to_f64();
        let bias = if self.is(&LAYER) { inputs.get("bias")?.to_f64() } else { vec![0.0; n] };
        let mut x = inputs.get("x")?.to_f64();
        let mut results = Tensors::new();
        if self.is(&ADD_RMS) {
            let residual = inputs.get("residual")?.to_f64();
            let sum: Vec<f64> = x.iter().zip(residual).map(|(x, residual)| x + residual).collect();
            let sum = Tensor::from_f64(DType::BF16, [m, n], &sum)?;
            x = sum.to_f64();
            results = results.with("sum", sum);
        }
        for row in x.chunks_exact_mut(n.max(1)) {
            let mean = if self.is(&LAYER) { row.iter().sum::<f64>() / n as f64 } else { 0.0 };
            row.iter_mut().for_each(|x| *x -= mean);
            let deviation = (row.iter().map(|x| x * x).sum::<f64>() / n as f64 + eps).sqrt();
            for (x, (weight, bias)) in row.iter_mut().zip(weight.iter().zip(&bias)) {
                *x = *x / deviation * weight + bias;
            }
        }
        Ok(results.with("out", Tensor::from_f64(DType::BF16, [m, n], &x)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (m, n) = (dims["m"] as u64, dims["n"] as u64);
        let (flops, matrices, vectors) = match self.0.name {
            "rms_norm.bf16" => (4, 2, 1),
            "add_rms_norm.bf16" => (5, 4, 1),
            _ => (7, 2, 2),
        };
        Work { flops: flops * m * n, dram_bytes: 2 * (matrices * m * n + vectors * n), ..Work::default() }
    }
}
