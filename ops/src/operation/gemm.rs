//! Matrix products with a fused epilogue: `out = act(a bᵀ + bias)`, and its form on 8-bit codes.

use super::rounding::{self, ROUNDING, multipliers, scales};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Float(&BF16), &Float(&F16), &Float(&F32), &Codes];

/// Activations that an epilogue applies, as the choice `act` numbers them.
pub const ACTS: &[&str] = &["none", "relu", "silu", "gelu"];

/// The activation of that number on a real number: none, ReLU, x sigmoid(x), or GELU by its tangent form.
pub fn activate(act: usize, x: f64) -> f64 {
    match ACTS.get(act).copied() {
        Some("relu") => {
            // A NaN stays one.
            if x < 0.0 { 0.0 } else { x }
        }
        Some("silu") => x / (1.0 + (-x).exp()),
        Some("gelu") => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        _ => x,
    }
}

const M: Dim = Dim::Axis("m");
const N: Dim = Dim::Axis("n");
const K: Dim = Dim::Axis("k");

const EXTENTS: [Axis; 3] = [
    Axis { name: "m", kind: AxisKind::Extent, default: 64, doc: "rows: tokens or pixels" },
    Axis { name: "n", kind: AxisKind::Extent, default: 64, doc: "columns: output features" },
    Axis { name: "k", kind: AxisKind::Extent, default: 64, doc: "length of a sum: input features" },
];

const fn float(name: &'static str, inputs: &'static [Port], outputs: &'static [Port], agree: Agree) -> OpDef {
    const AXES: &[Axis] = &Axis::joined::<4>(&[
        &EXTENTS,
        &[Axis { name: "act", kind: AxisKind::Choice(ACTS), default: 0, doc: "activation of the epilogue" }],
    ]);
    OpDef {
        name,
        summary: "act(a bᵀ + bias), sums in f32",
        axes: AXES,
        inputs,
        outputs,
        holds: &[],
        agree,
        fpga: Grade::Split("the core multiplies digits of a byte; the host makes them of reals and scales sums"),
    }
}

const fn operands(dtype: DType) -> [Port; 3] {
    [
        Port { name: "a", dtype, dims: &[M, K], doc: "rows" },
        Port { name: "b", dtype, dims: &[N, K], doc: "weights, a row an output feature" },
        Port { name: "bias", dtype: DType::F32, dims: &[N], doc: "added before the activation" },
    ]
}

const fn result(dtype: DType) -> [Port; 1] {
    [Port { name: "out", dtype, dims: &[M, N], doc: "the product" }]
}

// Sums in 24 bits may come to lie on the other side of a rounding to 8 or 11 bits, one unit in the last place away.
static BF16: OpDef =
    float("gemm.bf16", &operands(DType::BF16), &result(DType::BF16), Agree::Relative { rms: 1e-3, max: 8e-3 });
static F16: OpDef =
    float("gemm.f16", &operands(DType::F16), &result(DType::F16), Agree::Relative { rms: 5e-4, max: 1e-3 });
static F32: OpDef =
    float("gemm.f32", &operands(DType::F32), &result(DType::F32), Agree::Relative { rms: 2e-6, max: 2e-5 });

/// Products of floating-point matrices.
struct Float(&'static OpDef);

fn samples(def: &OpDef, more: &[(&'static str, [usize; 3], usize)]) -> Vec<Sample> {
    let usual: &[(&'static str, [usize; 3], usize)] = &[
        ("no_rows", [0, 64, 64], 0),
        ("empty_sum", [5, 40, 0], 0),
        ("one_row", [1, 96, 256], 0),
        ("ragged", [67, 41, 88], 1),
        ("odd_sum", [9, 10, 37], 0),
        ("whole_tiles", [128, 128, 128], 0),
        ("deep", [16, 32, 1040], 1),
    ];
    let extents = |&(name, [m, n, k], act): &(&'static str, [usize; 3], usize)| {
        Sample::new(def, name, &[("m", m), ("n", n), ("k", k), ("act", act)])
    };
    usual.iter().chain(more).map(extents).collect()
}

/// Square products, and products with few rows, which are limited by the bytes of the weights.
fn workloads(def: &OpDef, size: Size) -> Vec<Sample> {
    let extents: &[(&'static str, [usize; 3])] = match size {
        Size::Simulator => &[("square", [128, 128, 128]), ("few_rows", [16, 128, 256])],
        Size::Processor => &[("square_512", [512; 3]), ("square_1024", [1024; 3]), ("few_rows", [16, 1024, 1024])],
        Size::Gpu => &[
            ("square_8192", [8192; 3]),
            ("square_4096", [4096; 3]),
            ("square_2048", [2048; 3]),
            ("few_rows", [16, 8192, 8192]),
            ("tokens_256", [256, 4096, 4096]),
        ],
    };
    extents.iter().map(|&(name, [m, n, k])| Sample::new(def, name, &[("m", m), ("n", n), ("k", k)])).collect()
}

impl Operation for Float {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        workloads(self.0, size)
    }

    fn samples(&self) -> Vec<Sample> {
        let more = [
            ("few_rows", [3, 50, 37], 2),
            ("silu", [33, 40, 64], 2),
            ("gelu", [33, 40, 64], 3),
            ("nan_and_inf", [20, 24, 32], 1),
        ];
        samples(self.0, &more)
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let (m, n, k) = (dims["m"], dims["n"], dims["k"]);
        let dtype = self.0.inputs[0].dtype;
        let mut random = Random::new(seed);
        let mut a = random.normal_tensor(dtype, [m, k], 1.0);
        let b = random.normal_tensor(dtype, [n, k], 1.0 / (k.max(1) as f64).sqrt());
        let bias = random.normal_tensor(DType::F32, [n], 0.5);
        if name == "nan_and_inf" {
            let mut values = a.to_f64();
            for (row, value) in [(1, f64::NAN), (2, f64::INFINITY), (3, f64::NEG_INFINITY)] {
                if let Some(place) = values.get_mut(row * k) {
                    *place = value;
                }
            }
            a = Tensor::from_f64(dtype, [m, k], &values)?;
        }
        Ok([("a", a), ("b", b), ("bias", bias)].into_iter().collect())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (n, k, act) = (dims["n"], dims["k"], dims["act"]);
        let [a, b, bias] = ["a", "b", "bias"].map(|name| inputs.get(name).map(Tensor::to_f64));
        let (a, b, bias) = (a?, b?, bias?);
        let mut out = Vec::with_capacity(dims["m"] * n);
        for row in 0..dims["m"] {
            let x = &a[row * k..][..k];
            out.extend((0..n).map(|column| {
                let sum: f64 = x.iter().zip(&b[column * k..][..k]).map(|(x, w)| x * w).sum();
                activate(act, sum + bias[column])
            }));
        }
        let port = &self.0.outputs[0];
        Ok([("out", Tensor::from_f64(port.dtype, [dims["m"], n], &out)?)].into_iter().collect())
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (m, n, k) = (dims["m"] as u64, dims["n"] as u64, dims["k"] as u64);
        let size = self.0.inputs[0].dtype.bytes() as u64;
        Work { flops: 2 * m * n * k, dram_bytes: size * (m * k + n * k + m * n) + 4 * n, ..Work::default() }
    }
}

/// Products of 8-bit codes.
struct Codes;

const FACTORS: [Port; 3] = rounding::ports(
    &[Dim::Of("n where rounding is float", |dims| scales(dims, dims["n"]))],
    &[Dim::Of("n where rounding is not float", |dims| multipliers(dims, dims["n"]))],
);

static CODES: OpDef = OpDef {
    name: "gemm.i8",
    summary: "codes of a bᵀ + bias: rounded, + zero_point, clamped",
    axes: &Axis::joined::<5>(&[
        &EXTENTS,
        &[
            Axis {
                name: "act",
                kind: AxisKind::Choice(&["none", "relu"]),
                default: 0,
                doc: "relu clamps at the zero point",
            },
            ROUNDING,
        ],
    ]),
    inputs: &[
        Port { name: "a", dtype: DType::I8, dims: &[M, K], doc: "rows of codes with zero point 0" },
        Port { name: "b", dtype: DType::I8, dims: &[N, K], doc: "weights, a row an output feature" },
        Port { name: "bias", dtype: DType::I32, dims: &[N], doc: "added to the sum, which wraps" },
        FACTORS[0],
        FACTORS[1],
        FACTORS[2],
        Port { name: "zero_point", dtype: DType::I32, dims: &[], doc: "the output code of zero" },
    ],
    outputs: &[Port { name: "out", dtype: DType::I8, dims: &[M, N], doc: "codes" }],
    holds: &[],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

impl Operation for Codes {
    fn def(&self) -> &'static OpDef {
        &CODES
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        workloads(&CODES, size)
    }

    fn samples(&self) -> Vec<Sample> {
        let mut all = samples(&CODES, &[("extreme_codes", [20, 24, 512], 0)]);
        let rounded: [(&'static str, [usize; 3], usize, usize); 7] = [
            ("two_roundings", [67, 48, 96], 1, 1),
            ("two_roundings_ragged", [67, 41, 88], 0, 1),
            ("two_roundings_odd_sum", [9, 10, 37], 1, 1),
            ("two_roundings_deep", [16, 32, 1040], 1, 1),
            ("half_away", [5, 128, 640], 1, 2),
            ("shifts", [33, 64, 64], 0, 1),
            ("shifts_half_away", [33, 64, 64], 0, 2),
        ];
        all.extend(rounded.map(|(name, [m, n, k], act, rounding)| {
            Sample::new(&CODES, name, &[("m", m), ("n", n), ("k", k), ("act", act), ("rounding", rounding)])
        }));
        all
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        CODES.constrain(dims)?;
        let (m, n, k) = (dims["m"], dims["n"], dims["k"]);
        let mut random = Random::new(seed);
        let (mut a, mut b) = (random.codes([m, k]), random.codes([n, k]));
        if name == "extreme_codes" {
            (a, b) = (Tensor::from_vec([m, k], vec![-128i8; m * k])?, Tensor::from_vec([n, k], vec![-128i8; n * k])?);
        }
        let bias: Vec<i32> = (0..n).map(|_| random.within(0, 20_001) as i32 - 10_000).collect();
        // A deviation of about 40 codes.
        let unit = 40.0 / (73.0 * 73.0 * (k.max(1) as f64).sqrt());
        let factors = rounding::sample(name, dims, n, unit, &mut random);
        let zero_point = random.within(0, 41) as i32 - 20;
        let all = Tensors::new().with("a", a).with("b", b).with("bias", Tensor::from_vec([n], bias)?);
        let all = factors.iter().fold(all, |all, (name, list)| all.with(name, list.clone()));
        Ok(all.with("zero_point", Tensor::scalar(zero_point)))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        rounding::check(dims, inputs)
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n, k) = (dims["m"], dims["n"], dims["k"]);
        let (a, b) = (inputs.slice::<i8>("a")?, inputs.slice::<i8>("b")?);
        let (bias, requants) = (inputs.slice::<i32>("bias")?, rounding::requants(dims, inputs)?);
        let zero_point: i32 = inputs.scalar("zero_point")?;
        let lo = if dims["act"] == 1 { zero_point.clamp(-128, 127) } else { -128 };
        let mut out = Vec::with_capacity(m * n);
        for row in 0..m {
            let x = &a[row * k..][..k];
            out.extend((0..n).map(|column| {
                let products = x.iter().zip(&b[column * k..][..k]).map(|(&x, &w)| i32::from(x) * i32::from(w));
                let acc = products.fold(bias[column], i32::wrapping_add);
                requants[column].code(acc, zero_point, lo, 127) as i8
            }));
        }
        Ok([("out", Tensor::from_vec([m, n], out)?)].into_iter().collect())
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (m, n, k) = (dims["m"] as u64, dims["n"] as u64, dims["k"] as u64);
        Work { int_ops: 2 * m * n * k, dram_bytes: m * k + n * k + m * n + 8 * n, ..Work::default() }
    }
}
