//! The products.

use super::{BYTES, CODED, COLUMNS, GROUPS, HOLDS, K, LENGTH, M, N, OUTLIERS, ROWS, groups, inner, signed, unsigned};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::operation::check::wrong;
use std::ops::Range;
use tandem_tensor::{DType, Tensor};

pub(super) const W4A4: &dyn Operation = &Product(&A4);
pub(super) const W4A8: &dyn Operation = &Product(&A8);
pub(super) const W4A16: &dyn Operation = &Product(&A16);

const CODES: Port = Port { name: "b", dtype: DType::U8, dims: &[N, BYTES], doc: "weights, two codes a byte" };
const SCALE: Port =
    Port { name: "b_scale", dtype: DType::BF16, dims: &[GROUPS, N], doc: "what a code of each group is worth" };
const ZERO: Port =
    Port { name: "b_zero", dtype: DType::U8, dims: &[GROUPS, N], doc: "the code of zero in each group, 0 to 15" };
const STEP: Port = Port {
    name: "b_step",
    dtype: DType::U8,
    dims: &[GROUPS, N],
    doc: "what a code of each group is worth, in units of row_scale, 0 to 127",
};
const ROW_SCALE: Port =
    Port { name: "row_scale", dtype: DType::F32, dims: &[N], doc: "what a unit of a row of weights is worth" };
const B8: Port = Port { name: "b8", dtype: DType::I8, dims: &[N, OUTLIERS], doc: "weights of the last channels" };
const B8_SCALE: Port =
    Port { name: "b8_scale", dtype: DType::F32, dims: &[N], doc: "what a code of b8 is worth in each row" };
const OUT: Port = Port { name: "out", dtype: DType::BF16, dims: &[M, N], doc: "the product" };

const AXES: [Axis; 5] = Axis::joined(&[&[ROWS, COLUMNS, LENGTH], &CODED]);
const WHOLE_K: Axis = Axis { kind: AxisKind::Extent, ..LENGTH };
const AXES_OF_K: [Axis; 5] = Axis::joined(&[&[ROWS, COLUMNS, WHOLE_K], &CODED]);

// Integer sums are exact; their scaled ones in f32 are rounded to 8 bits, at times to the other side.
const AGREE: Agree = Agree::Relative { rms: 1e-3, max: 8e-3 };

static A4: OpDef = OpDef {
    name: "gemm.w4a4",
    summary: "a bᵀ of codes of 4 bits with a scale for each group, the last channels of 8 bits",
    axes: &AXES,
    inputs: &[
        Port { name: "a", dtype: DType::U8, dims: &[M, BYTES], doc: "activations, two codes a byte" },
        Port { name: "a_scale", dtype: DType::F32, dims: &[M, GROUPS], doc: "what a code of a is worth in each group" },
        Port { name: "a8", dtype: DType::I8, dims: &[M, OUTLIERS], doc: "activations of the last channels" },
        Port { name: "a8_scale", dtype: DType::F32, dims: &[M], doc: "what a code of a8 is worth in each row" },
        CODES,
        SCALE,
        B8,
        B8_SCALE,
    ],
    outputs: &[OUT],
    holds: HOLDS,
    agree: AGREE,
    fpga: Grade::Split("the core sums products within a group; the host unpacks codes, scales sums and adds them up"),
};

static A8: OpDef = OpDef {
    name: "gemm.w4a8",
    summary: "a bᵀ of 8-bit activations and 4-bit weights, which are bytes after a step and a zero for each group",
    axes: &AXES_OF_K,
    inputs: &[
        Port { name: "a8", dtype: DType::I8, dims: &[M, K], doc: "activations" },
        Port { name: "a8_scale", dtype: DType::F32, dims: &[M], doc: "what a code of a8 is worth in each row" },
        CODES,
        STEP,
        ZERO,
        B8,
        ROW_SCALE,
    ],
    outputs: &[OUT],
    holds: HOLDS,
    agree: AGREE,
    fpga: Grade::Split("the core multiplies bytes; the host unpacks weights and scales sums"),
};

static A16: OpDef = OpDef {
    name: "gemm.w4a16",
    summary: "a bᵀ of bfloat16 and 4-bit weights with a scale and a zero for each group, sums in f32",
    axes: &AXES_OF_K,
    inputs: &[
        Port { name: "a", dtype: DType::BF16, dims: &[M, K], doc: "activations" },
        CODES,
        SCALE,
        ZERO,
        B8,
        B8_SCALE,
    ],
    outputs: &[OUT],
    holds: HOLDS,
    agree: AGREE,
    fpga: Grade::Split(
        "the core multiplies codes with digits of a byte; the host makes these of activations, and scales sums",
    ),
};

/// A product of one of the three schemes.
struct Product(&'static OpDef);

type Extents = [usize; 5];

/// Rows, columns, channels, channels of a group, outliers.
const SAMPLES: &[(&str, Extents)] = &[
    ("no_rows", [0, 64, 64, 32, 0]),
    ("no_columns", [3, 0, 64, 32, 8]),
    ("empty_sum", [5, 8, 0, 32, 0]),
    ("only_outliers", [5, 40, 16, 32, 16]),
    ("one_row", [1, 96, 256, 128, 0]),
    ("one_pair", [2, 3, 2, 2, 0]),
    ("few_rows", [3, 50, 136, 64, 8]),
    ("short_last_group", [7, 41, 88, 32, 8]),
    ("odd_outliers", [9, 10, 39, 4, 5]),
    ("small_groups", [17, 24, 64, 2, 0]),
    ("group_beyond_the_end", [5, 16, 48, 128, 16]),
    ("with_outliers", [16, 64, 512, 128, 128]),
    ("ragged", [67, 41, 160, 16, 16]),
    ("whole_tiles", [128, 128, 256, 128, 0]),
    ("deep", [16, 32, 1040, 128, 16]),
    ("extreme_codes", [20, 24, 512, 64, 64]),
    ("nothing", [4, 16, 64, 32, 16]),
    ("nan_and_inf", [8, 24, 96, 32, 32]),
];

impl Product {
    fn make(&self, name: &'static str, [m, n, k, group, outliers]: Extents) -> Sample {
        let extents = [("m", m), ("n", n), ("k", k), ("group", group), ("outliers", outliers)];
        Sample::new(self.0, name, &extents)
    }

    fn has(&self, port: &str) -> bool {
        self.0.input(port).is_some()
    }
}

impl Operation for Product {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        SAMPLES.iter().map(|&(name, extents)| self.make(name, extents)).collect()
    }

    /// A few tokens, where the bytes of weights limit, and many.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let all: &[(&str, [usize; 3])] = match size {
            Size::Simulator => &[("few_rows", [16, 128, 512]), ("square", [64, 128, 256])],
            Size::Processor => &[("one_row", [1, 8192, 8192]), ("few_rows", [16, 4096, 4096]), ("square", [1024; 3])],
            Size::Gpu => &[
                ("one_row", [1, 16_384, 16_384]),
                ("few_rows", [16, 16_384, 16_384]),
                ("rows_32", [32, 16_384, 16_384]),
                ("square_8192", [8192; 3]),
            ],
        };
        all.iter().map(|&(name, [m, n, k])| self.make(name, [m, n, k, 128, 128])).collect()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let mut random = Random::new(seed);
        let mut all = Tensors::new();
        for port in self.0.inputs {
            all = all.with(port.name, drawn(name, port, dims, &mut random)?);
        }
        Ok(all)
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        if !self.has("b_zero") {
            return Ok(());
        }
        let zeros = inputs.slice::<u8>("b_zero")?;
        if let Some((at, zero)) = zeros.iter().enumerate().find(|(_, zero)| **zero > 15) {
            return Err(wrong(self.0.name, "b_zero", at, format!("is {zero}, which is no code of 4 bits")));
        }
        if !self.has("b_step") || inner(dims) == 0 {
            return Ok(());
        }
        let steps = inputs.slice::<u8>("b_step")?.iter().zip(zeros).enumerate();
        let bytes = |&(_, (&step, &zero)): &(usize, (&u8, &u8))| {
            let (step, zero) = (i32::from(step), i32::from(zero));
            zero * step > 128 || (15 - zero) * step > 127
        };
        match steps.into_iter().find(bytes) {
            Some((at, (step, zero))) => {
                let text = format!("is {step}, which with the zero {zero} makes weights that are no bytes");
                Err(wrong(self.0.name, "b_step", at, text))
            }
            None => Ok(()),
        }
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [m, n, k] = ["m", "n", "k"].map(|axis| dims[axis]);
        let (inner, groups) = (inner(dims), groups(dims));
        let real = |port: &str| Ok::<_, OpError>(inputs.get(port)?.to_f64());
        let weights = Weights::new(dims, inputs)?;
        let outliers = real("b8")?;
        let outliers = |column: usize| &outliers[column * (k - inner)..][..k - inner];
        // A product with no channels is 0, whatever its scale.
        let scaled = |x: &[f64], w: &[f64], scale: f64| if x.is_empty() { 0.0 } else { dot(x, w) * scale };
        let sum: Box<dyn Fn(usize, usize) -> f64> = match self.0.name {
            "gemm.w4a4" => {
                let a: Vec<f64> =
                    inputs.slice::<u8>("a")?.iter().flat_map(|&byte| signed(byte).map(f64::from)).collect();
                let (a_scale, a8, a8_scale) = (real("a_scale")?, real("a8")?, real("a8_scale")?);
                let (b_scale, b8_scale) = (real("b_scale")?, real("b8_scale")?);
                Box::new(move |row, column| {
                    let group = |(of, channels): (usize, Range<usize>)| {
                        let scale = a_scale[row * groups + of] * b_scale[of * n + column];
                        scaled(&a[row * inner..][channels.clone()], &weights.row(column)[channels], scale)
                    };
                    let a8 = &a8[row * (k - inner)..][..k - inner];
                    weights.groups().map(group).sum::<f64>()
                        + scaled(a8, outliers(column), a8_scale[row] * b8_scale[column])
                })
            }
            "gemm.w4a8" => {
                let (a, a_scale, step, row_scale) =
                    (real("a8")?, real("a8_scale")?, real("b_step")?, real("row_scale")?);
                Box::new(move |row, column| {
                    let (x, last) = a[row * k..][..k].split_at(inner);
                    let group = |(of, channels): (usize, Range<usize>)| {
                        scaled(&x[channels.clone()], &weights.row(column)[channels], step[of * n + column])
                    };
                    let sum = weights.groups().map(group).sum::<f64>() + dot(last, outliers(column));
                    if k == 0 { 0.0 } else { sum * a_scale[row] * row_scale[column] }
                })
            }
            _ => {
                let (a, b_scale, b8_scale) = (real("a")?, real("b_scale")?, real("b8_scale")?);
                Box::new(move |row, column| {
                    let (x, last) = a[row * k..][..k].split_at(inner);
                    let group = |(of, channels): (usize, Range<usize>)| {
                        scaled(&x[channels.clone()], &weights.row(column)[channels], b_scale[of * n + column])
                    };
                    weights.groups().map(group).sum::<f64>() + scaled(last, outliers(column), b8_scale[column])
                })
            }
        };
        let out: Vec<f64> = (0..m * n).map(|at| sum(at / n, at % n)).collect();
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [m, n], &out)?))
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let [m, n, k] = ["m", "n", "k"].map(|axis| dims[axis] as u64);
        let bytes: usize = inputs.iter().map(|(_, tensor)| tensor.len() * tensor.dtype().bytes()).sum();
        let dram_bytes = bytes as u64 + 2 * m * n;
        match self.has("a_scale") || self.has("a8") {
            true => Work { int_ops: 2 * m * n * k, dram_bytes, ..Work::default() },
            false => Work { flops: 2 * m * n * k, dram_bytes, ..Work::default() },
        }
    }
}

/// The weights of four bits as numbers: codes less the zero of their group.
struct Weights {
    inner: usize,
    group: usize,
    rows: Vec<f64>,
}

impl Weights {
    fn new(dims: &Dims, inputs: &Tensors) -> Result<Weights, OpError> {
        let (n, inner, group) = (dims["n"], inner(dims), dims["group"]);
        let codes = inputs.slice::<u8>("b")?;
        let rows = match inputs.find("b_zero") {
            None => codes.iter().flat_map(|&byte| signed(byte).map(f64::from)).collect(),
            Some(zero) => {
                let zero = zero.as_slice::<u8>()?;
                let codes = codes.iter().flat_map(|&byte| unsigned(byte)).enumerate();
                let zero = |at: usize| zero[at % inner / group * n + at / inner];
                codes.map(|(at, code)| f64::from(code) - f64::from(zero(at))).collect()
            }
        };
        Ok(Weights { inner, group, rows })
    }

    fn row(&self, column: usize) -> &[f64] {
        &self.rows[column * self.inner..][..self.inner]
    }

    /// Groups with their channels.
    fn groups(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let (inner, group) = (self.inner, self.group);
        (0..inner.div_ceil(group)).map(move |of| (of, of * group..inner.min((of + 1) * group)))
    }
}

fn dot(x: &[f64], w: &[f64]) -> f64 {
    x.iter().zip(w).map(|(x, w)| x * w).sum()
}

/// An operand of a sample; results are about 1.
fn drawn(name: &str, port: &Port, dims: &Dims, random: &mut Random) -> Result<Tensor, OpError> {
    let shape: Vec<usize> = port.dims.iter().map(|dim: &Dim| dim.extent(dims)).collect();
    let count: usize = shape.iter().product();
    let nothing = name == "nothing";
    let width = shape.last().copied().unwrap_or(1).max(1);
    Ok(match port.name {
        "b_zero" => Tensor::from_vec(shape, (0..count).map(|_| random.within(0, 16) as u8).collect())?,
        // 15 steps of 8 are 120, whatever the zero.
        "b_step" => Tensor::from_vec(shape, (0..count).map(|_| random.within(0, 9) as u8).collect())?,
        "a" if port.dtype == DType::BF16 => {
            let mut values = random.normal_tensor(port.dtype, shape.clone(), 1.0).to_f64();
            if name == "nan_and_inf" {
                crate::operation::rows::not_finite(&mut values, width);
            }
            Tensor::from_f64(port.dtype, shape, &values)?
        }
        "a" | "b" => {
            let byte = |_| if name == "extreme_codes" { 0x88 } else { random.bits() as u8 };
            Tensor::from_vec(shape, (0..count).map(byte).collect())?
        }
        "a8" | "b8" if name == "extreme_codes" => Tensor::from_vec(shape, vec![-128i8; count])?,
        "a8" | "b8" => random.codes(shape),
        // Scales. Those of bytes are smaller than those of codes of four bits, and weights smaller than activations.
        scale => {
            let unit = match scale {
                "a_scale" => 0.2,
                "a8_scale" => 0.012,
                "b8_scale" => 0.012 / (dims["k"].max(1) as f64).sqrt(),
                "row_scale" => 0.05 / (dims["k"].max(1) as f64).sqrt(),
                _ => 0.2 / (dims["k"].max(1) as f64).sqrt(),
            };
            let mut values: Vec<f64> =
                (0..count).map(|_| if nothing { 0.0 } else { unit * (0.5 + random.unit()) }).collect();
            if name == "nan_and_inf" && matches!(scale, "a_scale" | "a8_scale") {
                crate::operation::rows::not_finite(&mut values, width);
            }
            Tensor::from_f64(port.dtype, shape, &values)?
        }
    })
}
