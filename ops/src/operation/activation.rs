//! Activations of bfloat16, computed in f32: element by element, and gated.

use super::rows::{M, ROWS, SHORT, not_finite, shapes};
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::{OpError, UnaryKind};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Activation, &SiluMul];

/// Names of the choice `kind` of `activation.bf16`.
pub const ACTIVATIONS: &[&str] = &["relu", "relu6", "silu", "gelu", "gelu_tanh", "sigmoid", "tanh", "hard_swish"];

/// The graph's operators of the same names.
pub(super) const KINDS: [UnaryKind; 8] = [
    UnaryKind::Relu,
    UnaryKind::Relu6,
    UnaryKind::Swish { alpha: 1.0 },
    UnaryKind::Gelu { tanh: false },
    UnaryKind::Gelu { tanh: true },
    UnaryKind::Sigmoid,
    UnaryKind::Tanh,
    UnaryKind::HardSwish,
];

/// The activation of that number on a real number; the identity beyond the last.
pub(crate) fn activation(kind: usize, x: f64) -> f64 {
    KINDS.get(kind).map_or(x, |&kind| crate::reference::unary_real(kind, x))
}

const WHY: Grade = Grade::ReferenceOnly("the core computes on codes; the graph's int8 operators are tables of it");
const LEN: Dim = Dim::Axis("len");
const N: Dim = Dim::Axis("n");

static ACTIVATION: OpDef = OpDef {
    name: "activation.bf16",
    summary: "an activation of every element; a NaN stays one, and what grows from -inf without bound is NaN there",
    axes: &[
        Axis { name: "len", kind: AxisKind::Extent, default: 65_536, doc: "elements" },
        Axis { name: "kind", kind: AxisKind::Choice(ACTIVATIONS), default: 3, doc: "which one" },
    ],
    inputs: &[Port { name: "x", dtype: DType::BF16, dims: &[LEN], doc: "elements" }],
    outputs: &[Port { name: "out", dtype: DType::BF16, dims: &[LEN], doc: "their activations" }],
    holds: &[],
    agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
    fpga: WHY,
};

struct Activation;

impl Operation for Activation {
    fn def(&self) -> &'static OpDef {
        &ACTIVATION
    }

    fn samples(&self) -> Vec<Sample> {
        let edges = [("empty", 0, 3), ("one_element", 1, 3), ("nan_and_inf", 40, 3), ("unaligned", 1027, 4)];
        let more =
            [("nan_and_inf_silu", 40, 2), ("nan_and_inf_tanh", 40, 6), ("nan_and_inf_relu", 40, 0), ("large", 77, 3)];
        let kinds = ACTIVATIONS.iter().enumerate().map(|(kind, &name)| (name, 515, kind));
        let all = edges.into_iter().chain(kinds).chain(more);
        all.map(|(name, len, kind)| Sample::new(&ACTIVATION, name, &[("len", len), ("kind", kind)])).collect()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let len = match size {
            Size::Simulator => 1 << 14,
            Size::Processor => 1 << 24,
            Size::Gpu => 1 << 26,
        };
        // The costliest kind, and the one of most models.
        [("gelu", 3), ("silu", 2)]
            .map(|(name, kind)| Sample::new(&ACTIVATION, name, &[("len", len), ("kind", kind)]))
            .into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        let len = dims["len"];
        let deviation = if name == "large" { 1e30 } else { 2.0 };
        let mut x = Random::new(seed).normal_tensor(DType::BF16, [len], deviation);
        if name.starts_with("nan_and_inf") {
            let mut values = x.to_f64();
            not_finite(&mut values, (len / 5).max(1));
            x = Tensor::from_f64(DType::BF16, [len], &values)?;
        }
        Ok(Tensors::new().with("x", x))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let out: Vec<f64> = inputs.get("x")?.to_f64().into_iter().map(|x| activation(dims["kind"], x)).collect();
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [dims["len"]], &out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let len = dims["len"] as u64;
        Work { flops: len, dram_bytes: 4 * len, ..Work::default() }
    }
}

static SILU_MUL: OpDef = OpDef {
    name: "silu_mul.bf16",
    summary: "gate sigmoid(gate) up: the gated activation between the products of a feed-forward layer",
    axes: &[ROWS[0], ROWS[1]],
    inputs: &[Port {
        name: "x",
        dtype: DType::BF16,
        dims: &[M, Dim::Fixed(2), N],
        doc: "rows of gate, then up, as one product gives them",
    }],
    outputs: &[Port { name: "out", dtype: DType::BF16, dims: &[M, N], doc: "gated rows" }],
    holds: &[SHORT],
    // Products have long tails: the largest error is a unit in the last place of the largest of them.
    agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
    fpga: WHY,
};

struct SiluMul;

impl Operation for SiluMul {
    fn def(&self) -> &'static OpDef {
        &SILU_MUL
    }

    fn samples(&self) -> Vec<Sample> {
        shapes().into_iter().map(|(name, m, n)| Sample::new(&SILU_MUL, name, &[("m", m), ("n", n)])).collect()
    }

    /// The layer between the products of a model of 4096 features.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, n) = match size {
            Size::Simulator => (2, 14_336),
            Size::Processor => (1024, 14_336),
            Size::Gpu => (3072, 14_336),
        };
        vec![Sample::new(&SILU_MUL, "feed_forward", &[("m", m), ("n", n)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let deviation = if name == "large" { 1e15 } else { 1.5 };
        let mut x = Random::new(seed).normal_tensor(DType::BF16, [m, 2, n], deviation);
        if name == "nan_and_inf" {
            let mut values = x.to_f64();
            not_finite(&mut values, n);
            x = Tensor::from_f64(DType::BF16, [m, 2, n], &values)?;
        }
        Ok(Tensors::new().with("x", x))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let x = inputs.get("x")?.to_f64();
        let rows = x.chunks_exact((2 * n).max(1));
        let out: Vec<f64> = rows
            .flat_map(|row| row[..n].iter().zip(&row[n..]).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up))
            .collect();
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [m, n], &out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let elements = (dims["m"] * dims["n"]) as u64;
        Work { flops: 5 * elements, dram_bytes: 6 * elements, ..Work::default() }
    }
}
