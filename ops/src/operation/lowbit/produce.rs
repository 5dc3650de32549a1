//! The producers of activations: rows gathered in the order of channels and quantised, alone or behind what made them.
//!
//! Their codes are exact: every step is an operation of binary32 that is rounded by itself, and sums have an order ([`mean_square`]), so
//! that the processor and a GPU give the same bytes. With `outliers = k` a row has bytes with one scale, as `gemm.w4a8` takes them.

use super::code::largest;
use super::{BYTES, CODED, GROUPS, HOLDS, K, LENGTH, M, OUTLIERS, ROWS, Symmetric, groups, inner, pack};
use crate::OpError;
use crate::def::{Agree, Axis, AxisKind, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use crate::operation::check::{within, wrong};
use crate::operation::{rows::not_finite, silu};
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) const REORDER: &dyn Operation = &Produce(&PLAIN);
pub(super) const NORM: &dyn Operation = &Produce(&NORMED);
pub(super) const SILU: &dyn Operation = &Produce(&GATED);

/// Partial sums of a row's squares.
const LANES: usize = 256;
/// Neighbours that go to one of them.
const PIECE: usize = 8;

const X: Port = Port { name: "x", dtype: DType::BF16, dims: &[M, K], doc: "rows" };
const GATE: Port = Port { name: "gate", ..X };
const UP: Port = Port { name: "up", ..X };
const ORDER: Port = Port {
    name: "order",
    dtype: DType::I32,
    dims: &[K],
    doc: "the channel of x at each place of a result, every one once",
};
const CLIP: Port = Port {
    name: "clip",
    dtype: DType::F32,
    dims: &[],
    doc: "part of the largest magnitude of a group that codes reach, above 0 and at most 1",
};
const WEIGHT: Port = Port { name: "weight", dtype: DType::BF16, dims: &[K], doc: "gain of each channel" };
const EPS: Port = Port { name: "eps", dtype: DType::F32, dims: &[], doc: "added to the mean square" };

const OUTPUTS: &[Port] = &[
    Port { name: "a", dtype: DType::U8, dims: &[M, BYTES], doc: "codes of 4 bits, two a byte" },
    Port { name: "a_scale", dtype: DType::F32, dims: &[M, GROUPS], doc: "what a code of a is worth in each group" },
    Port { name: "a8", dtype: DType::I8, dims: &[M, OUTLIERS], doc: "codes of the last channels" },
    Port { name: "a8_scale", dtype: DType::F32, dims: &[M], doc: "what a code of a8 is worth in each row" },
];

const LAST: Axis = Axis { kind: AxisKind::Number, ..CODED[1] };
const WHOLE_K: Axis = Axis { kind: AxisKind::Extent, ..LENGTH };

const fn producer(name: &'static str, summary: &'static str, inputs: &'static [Port]) -> OpDef {
    const AXES: [Axis; 4] = Axis::joined(&[&[ROWS, WHOLE_K, CODED[0], LAST]]);
    OpDef {
        name,
        summary,
        axes: &AXES,
        inputs,
        outputs: OUTPUTS,
        holds: HOLDS,
        agree: Agree::Exact,
        fpga: Grade::ReferenceOnly("the largest of a group and its reciprocal need a float unit, which the core lacks"),
    }
}

static PLAIN: OpDef =
    producer("reorder_quantize.bf16", "rows in the order of channels, as codes of 4 and 8 bits", &[X, ORDER, CLIP]);
static NORMED: OpDef = producer(
    "rms_norm_quantize.bf16",
    "x / sqrt(mean(x²) + eps) weight along rows, reordered, as codes of 4 and 8 bits",
    &[X, WEIGHT, EPS, ORDER, CLIP],
);
static GATED: OpDef =
    producer("silu_mul_quantize.bf16", "silu(gate) up, reordered, as codes of 4 and 8 bits", &[GATE, UP, ORDER, CLIP]);

/// Rows of numbers, made in one of three ways, and quantised.
struct Produce(&'static OpDef);

/// The mean of a row's squares, 0 of none: pieces of eight elements go to 256 partial sums in turn, each sum in the order of elements,
/// which are then added by halves, the upper to the lower ones.
#[inline(always)]
pub fn mean_square(row: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for (piece, list) in row.chunks(PIECE).enumerate() {
        let sum = &mut sums[piece % LANES];
        list.iter().for_each(|x| *sum += x * x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    if row.is_empty() { 0.0 } else { sums[0] / row.len() as f32 }
}

type Extents = [usize; 4];

/// Rows, channels, channels of a group, outliers.
const SAMPLES: &[(&str, Extents)] = &[
    ("no_rows", [0, 64, 32, 0]),
    ("empty_rows", [5, 0, 32, 0]),
    ("one_pair", [1, 2, 2, 0]),
    ("only_outliers", [5, 77, 32, 77]),
    ("one_row", [1, 512, 128, 128]),
    ("no_outliers", [6, 256, 128, 0]),
    ("short_last_group", [7, 88, 32, 8]),
    ("odd_outliers", [9, 39, 4, 5]),
    ("small_groups", [5, 70, 2, 6]),
    ("group_beyond_the_end", [4, 48, 128, 16]),
    ("wide", [3, 4104, 128, 128]),
    ("very_wide", [2, 20_002, 128, 66]),
    ("clipped", [6, 200, 64, 24]),
    ("zeros", [3, 96, 32, 32]),
    ("ties", [6, 96, 32, 32]),
    ("tiny", [3, 72, 32, 8]),
    ("large", [3, 72, 32, 8]),
    ("nan_and_inf", [8, 66, 32, 2]),
];

impl Produce {
    fn make(&self, name: &'static str, [m, k, group, outliers]: Extents) -> Sample {
        Sample::new(self.0, name, &[("m", m), ("k", k), ("group", group), ("outliers", outliers)])
    }
}

impl Operation for Produce {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        SAMPLES.iter().map(|&(name, extents)| self.make(name, extents)).collect()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let all: &[(&str, [usize; 2])] = match size {
            Size::Simulator => &[("tokens_4096", [8, 4096])],
            Size::Processor => &[("tokens_4096", [4096, 4096]), ("tokens_11008", [2048, 11_008])],
            Size::Gpu => &[("tokens_4096", [16_384, 4096]), ("tokens_11008", [8192, 11_008])],
        };
        all.iter().map(|&(name, [m, k])| self.make(name, [m, k, 128, 128])).collect()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let (m, k) = (dims["m"], dims["k"]);
        let mut random = Random::new(seed);
        let mut all = Tensors::new();
        for port in self.0.inputs {
            let tensor = match port.name {
                "order" => Tensor::from_vec([k], permutation(k, &mut random))?,
                "clip" => Tensor::scalar(if name == "clipped" { 0.7f32 } else { [1.0, 0.9][random.within(0, 2)] }),
                "eps" => Tensor::scalar(1e-5f32),
                "weight" => random.normal_tensor(DType::BF16, [k], 1.0),
                _ => rows(name, [m, k], &mut random)?,
            };
            all = all.with(port.name, tensor);
        }
        Ok(all)
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let (name, k) = (self.0.name, dims["k"]);
        let clip: f32 = inputs.scalar("clip")?;
        if !(clip > 0.0 && clip <= 1.0) {
            return Err(OpError::Invalid(format!(
                "{name}: operand clip is {clip}, which is not above 0 and at most 1"
            )));
        }
        within(name, inputs, "order", k)?;
        let mut taken = vec![false; k];
        for (at, &channel) in inputs.slice::<i32>("order")?.iter().enumerate() {
            if std::mem::replace(&mut taken[channel as usize], true) {
                return Err(wrong(name, "order", at, format!("is {channel}, which was there before")));
            }
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, k) = (dims["m"], dims["k"]);
        let (inner, group, groups) = (inner(dims), dims["group"], groups(dims));
        let (order, clip) = (inputs.slice::<i32>("order")?, inputs.scalar::<f32>("clip")?);
        let floats = |port: &str| Ok::<_, OpError>(wide(inputs.slice::<bf16>(port)?));
        let made: Vec<f32> = match self.0.name {
            "silu_mul_quantize.bf16" => floats("gate")?.iter().zip(floats("up")?).map(|(&g, u)| silu(g) * u).collect(),
            "rms_norm_quantize.bf16" => {
                let (mut x, weight, eps) = (floats("x")?, floats("weight")?, inputs.scalar::<f32>("eps")?);
                for row in x.chunks_exact_mut(k.max(1)) {
                    let factor = 1.0 / (mean_square(row) + eps).sqrt();
                    row.iter_mut().zip(&weight).for_each(|(x, weight)| *x = *x * factor * weight);
                }
                x
            }
            _ => floats("x")?,
        };
        let (mut codes, mut scales) = (Vec::with_capacity(m * inner), Vec::with_capacity(m * groups));
        let (mut last, mut last_scales) = (Vec::with_capacity(m * (k - inner)), Vec::with_capacity(m));
        for row in 0..m {
            let x: Vec<f32> = order.iter().map(|&channel| made[row * k + channel as usize]).collect();
            for list in x[..inner].chunks(group) {
                let form = Symmetric::new(largest(list), clip, 4);
                scales.push(form.scale);
                codes.extend(list.iter().map(|&x| form.code(x)));
            }
            let form = Symmetric::new(largest(&x[inner..]), 1.0, 8);
            last_scales.push(form.scale);
            last.extend(x[inner..].iter().map(|&x| form.code(x)));
        }
        let tensors = [
            ("a", Tensor::from_vec([m, inner / 2], pack(&codes))?),
            ("a_scale", Tensor::from_vec([m, groups], scales)?),
            ("a8", Tensor::from_vec([m, k - inner], last)?),
            ("a8_scale", Tensor::from_vec([m], last_scales)?),
        ];
        Ok(tensors.into_iter().collect())
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let (m, k, inner) = (dims["m"] as u64, dims["k"] as u64, inner(dims) as u64);
        let read: usize = inputs.iter().map(|(_, tensor)| tensor.len() * tensor.dtype().bytes()).sum();
        let written = m * (inner / 2 + 4 * groups(dims) as u64 + (k - inner) + 4);
        // Magnitude, maximum, product and rounding; norms add five, gates about twenty.
        let each = match self.0.name {
            "rms_norm_quantize.bf16" => 8,
            "silu_mul_quantize.bf16" => 24,
            _ => 4,
        };
        Work { flops: each * m * k, dram_bytes: read as u64 + written, ..Work::default() }
    }
}

fn wide(list: &[bf16]) -> Vec<f32> {
    list.iter().map(|x| x.to_f32()).collect()
}

/// Every channel once.
fn permutation(k: usize, random: &mut Random) -> Vec<i32> {
    let mut order: Vec<i32> = (0..k as i32).collect();
    (1..k).for_each(|at| order.swap(at, random.within(0, at + 1)));
    order
}

/// Rows, of which some channels are much larger than the others, as in transformers.
fn rows(name: &str, [m, k]: [usize; 2], random: &mut Random) -> Result<Tensor, OpError> {
    let deviation = match name {
        "zeros" => 0.0,
        "tiny" => 1e-30,
        "large" => 1e12,
        _ => 1.0,
    };
    let mut x = random.normal_tensor(DType::BF16, [m, k], deviation).to_f64();
    for (at, x) in x.iter_mut().enumerate() {
        match name {
            // Halves of a scale of 1: every code is between two.
            "ties" => *x = [7.0, 0.5, -1.5, 2.5, -3.5, 127.0][at % 6],
            _ if at % k % 13 == 5 => *x *= 20.0,
            _ => {}
        }
    }
    if name == "nan_and_inf" {
        not_finite(&mut x, k);
    }
    Ok(Tensor::from_f64(DType::BF16, [m, k], &x)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_gathered_in_its_order_and_what_codes_stand_for_is_within_half_a_step() {
        let mut random = Random::new(3);
        for (name, extents) in SAMPLES {
            let operation = Produce(&PLAIN);
            let dims = operation.make(name, *extents).dims;
            let inputs = operation.sample(name, &dims, random.bits()).unwrap();
            let out = operation.reference(&dims, &inputs).unwrap();
            let (clip, order) = (inputs.scalar::<f32>("clip").unwrap(), inputs.slice::<i32>("order").unwrap());
            if *name == "nan_and_inf" || *name == "tiny" || clip < 1.0 {
                continue;
            }
            let [m, k, group, outliers] = *extents;
            let (inner, x) = (k - outliers, inputs.get("x").unwrap().to_f64());
            let codes = super::super::nibbles(out.slice("a").unwrap());
            for row in 0..m {
                for at in 0..k {
                    let (code, scale) = if at < inner {
                        let of = row * inner.div_ceil(group) + at / group;
                        (codes[row * inner + at], out.slice::<f32>("a_scale").unwrap()[of])
                    } else {
                        let code = out.slice::<i8>("a8").unwrap()[row * outliers + at - inner];
                        (code, out.slice::<f32>("a8_scale").unwrap()[row])
                    };
                    let (x, scale) = (x[row * k + order[at] as usize], f64::from(scale));
                    assert!((f64::from(code) * scale - x).abs() <= 0.500001 * scale, "{name} {row} {at}: {code} {x}");
                }
            }
        }
    }

    #[test]
    fn sums_of_squares_have_an_order_that_is_near_the_truth() {
        let mut random = Random::new(9);
        for k in [0, 1, 7, 8, 9, 2047, 2048, 2056, 30_000] {
            let row: Vec<f32> = (0..k).map(|_| random.normal() as f32).collect();
            let exact = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / (k as f64).max(1.0);
            assert!((f64::from(mean_square(&row)) - exact).abs() <= 1e-6 * exact, "{k}");
        }
        let row = [1.0; 4096];
        assert_eq!(mean_square(&row), 1.0);
    }

    #[test]
    fn an_order_that_takes_a_channel_twice_and_a_clip_beyond_one_are_refused() {
        let operation = Produce(&PLAIN);
        let dims = operation.make("", [2, 4, 2, 0]).dims;
        let good = operation.sample("", &dims, 1).unwrap();
        let refused = |inputs: &Tensors| crate::def::accept(&operation, &dims, inputs).unwrap_err().to_string();
        let twice = good.clone().with("order", Tensor::from_vec([4], vec![0, 1, 1, 3]).unwrap());
        assert!(refused(&twice).contains("order at position 2"), "{}", refused(&twice));
        for clip in [0.0, -1.0, 1.5, f32::NAN] {
            assert!(refused(&good.clone().with("clip", Tensor::scalar(clip))).contains("clip"));
        }
    }
}
