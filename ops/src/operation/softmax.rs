//! Softmax and its logarithm along the rows of a matrix.

use super::rows::{M, N, ROWS, SHORT, not_finite, shapes};
use crate::OpError;
use crate::def::{Agree, Axis, AxisKind, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Softmax(&F32), &Softmax(&BF16)];

const fn softmax(name: &'static str, inputs: &'static [Port], outputs: &'static [Port], agree: Agree) -> OpDef {
    const AXES: &[Axis] = &[
        ROWS[0],
        ROWS[1],
        Axis { name: "log", kind: AxisKind::Choice(&["no", "yes"]), default: 0, doc: "gives the logarithm instead" },
    ];
    OpDef {
        name,
        summary: "exp(beta x) / sum(exp(beta x)) along rows; a row with a NaN, with an infinite largest element, or all of -inf is NaN",
        axes: AXES,
        inputs,
        outputs,
        holds: &[SHORT],
        agree,
        fpga: Grade::ReferenceOnly("exponentials need a float unit or a table, which the core lacks"),
    }
}

const fn operands(dtype: DType) -> [Port; 2] {
    [
        Port { name: "x", dtype, dims: &[M, N], doc: "rows of logits" },
        Port { name: "beta", dtype: DType::F32, dims: &[], doc: "factor of the exponent" },
    ]
}

const fn result(dtype: DType) -> [Port; 1] {
    [Port { name: "out", dtype, dims: &[M, N], doc: "probabilities of a row, or their logarithms" }]
}

static F32: OpDef =
    softmax("softmax.f32", &operands(DType::F32), &result(DType::F32), Agree::Relative { rms: 1e-6, max: 5e-6 });
// The largest error is a unit in the last place of an element near 1 in a matrix of small ones.
static BF16: OpDef =
    softmax("softmax.bf16", &operands(DType::BF16), &result(DType::BF16), Agree::Relative { rms: 1e-3, max: 8e-3 });

struct Softmax(&'static OpDef);

impl Operation for Softmax {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let log = [("log_ragged", 9, 77), ("log_nan_and_inf", 8, 33), ("log_all_masked", 3, 64), ("log_large", 4, 100)];
        let more = [("all_masked", 4, 64), ("partly_masked", 5, 72), ("flat", 3, 96), ("negative_beta", 4, 50)];
        let usual = shapes().into_iter().chain(more).map(|(name, m, n)| (name, m, n, 0));
        let all = usual.chain(log.into_iter().map(|(name, m, n)| (name, m, n, 1)));
        all.map(|(name, m, n, log)| Sample::new(self.0, name, &[("m", m), ("n", n), ("log", log)])).collect()
    }

    /// Rows of a model's vocabulary, and rows of scores of attention.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (vocabulary, scores) = match size {
            Size::Simulator => ([1, 16_032], [32, 512]),
            Size::Processor => ([128, 128_256], [16_384, 1024]),
            Size::Gpu => ([512, 128_256], [65_536, 1024]),
        };
        let rows = [("vocabulary", vocabulary), ("scores", scores)];
        rows.map(|(name, [m, n])| Sample::new(self.0, name, &[("m", m), ("n", n)])).into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        let (m, n, dtype) = (dims["m"], dims["n"], self.0.inputs[0].dtype);
        let mut random = Random::new(seed);
        let deviation = if name.ends_with("large") { 1e30 } else { 2.0 };
        let mut x = random.normal_tensor(dtype, [m, n], deviation).to_f64();
        match name {
            "all_masked" | "log_all_masked" => x[..2 * n].fill(f64::NEG_INFINITY),
            "partly_masked" => {
                for (row, x) in x.chunks_exact_mut(n).enumerate() {
                    x[..row * n / m].fill(f64::NEG_INFINITY);
                }
            }
            "flat" => x.fill(-3.0),
            "nan_and_inf" | "log_nan_and_inf" => not_finite(&mut x, n),
            _ => {}
        }
        let beta = if name == "negative_beta" { -0.75f32 } else { 1.0 };
        Ok(Tensors::new().with("x", Tensor::from_f64(dtype, [m, n], &x)?).with("beta", Tensor::scalar(beta)))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let beta = f64::from(inputs.scalar::<f32>("beta")?);
        let mut x = inputs.get("x")?.to_f64();
        for row in x.chunks_exact_mut(n.max(1)) {
            row.iter_mut().for_each(|x| *x *= beta);
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
            row.iter_mut()
                .for_each(|x| *x = if dims["log"] == 1 { *x - top - sum.ln() } else { (*x - top).exp() / sum });
        }
        Ok(Tensors::new().with("out", Tensor::from_f64(self.0.outputs[0].dtype, [m, n], &x)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let elements = (dims["m"] * dims["n"]) as u64;
        let size = self.0.inputs[0].dtype.bytes() as u64;
        Work { flops: 5 * elements, dram_bytes: 2 * size * elements, ..Work::default() }
    }
}
