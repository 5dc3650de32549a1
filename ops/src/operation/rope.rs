//! Rotary position embedding of bfloat16 heads, computed in f32.

use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Rope];

const X: &[Dim] = &[Dim::Axis("m"), Dim::Axis("heads"), Dim::Axis("d")];

static ROPE: OpDef = OpDef {
    name: "rope.bf16",
    summary: "rotates pair i of the first elements of every head by position theta^(-2 i / rotary); the others stay",
    axes: &[
        Axis { name: "m", kind: AxisKind::Extent, default: 64, doc: "tokens" },
        Axis { name: "heads", kind: AxisKind::Extent, default: 8, doc: "heads of a token" },
        Axis { name: "d", kind: AxisKind::Extent, default: 128, doc: "elements of a head" },
        Axis { name: "rotary", kind: AxisKind::Number, default: 64, doc: "elements of a head that are rotated" },
        Axis {
            name: "pairs",
            kind: AxisKind::Choice(&["halves", "neighbours"]),
            default: 0,
            doc: "what a pair is: elements i and i + rotary / 2, or 2 i and 2 i + 1",
        },
    ],
    inputs: &[
        Port { name: "x", dtype: DType::BF16, dims: X, doc: "queries or keys" },
        Port { name: "positions", dtype: DType::I32, dims: &[Dim::Axis("m")], doc: "position of each token" },
        Port { name: "theta", dtype: DType::F32, dims: &[], doc: "base of the wavelengths, above 0" },
    ],
    outputs: &[Port { name: "out", dtype: DType::BF16, dims: X, doc: "rotated heads" }],
    holds: &[
        Constraint { text: "rotary <= d", holds: |dims| dims["rotary"] <= dims["d"] },
        Constraint {
            text: "heads d <= 2^30",
            holds: |dims| dims["heads"].checked_mul(dims["d"]).is_some_and(|token| token <= 1 << 30),
        },
        Constraint { text: "rotary % 2 == 0", holds: |dims| dims["rotary"] % 2 == 0 },
    ],
    agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
    fpga: Grade::ReferenceOnly("the core has no sines and multiplies no two activations"),
};

/// Turns that each pair rotates by from one position to the next, as fractions of 2^64.
///
/// A position times such a fraction, modulo 2^64, is the exact fraction of a turn: no position is too far for the range
/// reduction of a sine.
pub fn rope_turns(theta: f32, rotary: usize) -> Vec<u64> {
    let turn = |pair: usize| {
        let radians = f64::from(theta).powf(-2.0 * pair as f64 / rotary as f64);
        let turns = (radians / std::f64::consts::TAU).fract();
        // The cast saturates where the fraction rounds up to a whole turn.
        (turns * 2f64.powi(64)) as u64
    };
    (0..rotary / 2).map(turn).collect()
}

/// The two places of a pair in a head.
fn pair(dims: &Dims, pair: usize) -> (usize, usize) {
    if dims["pairs"] == 1 { (2 * pair, 2 * pair + 1) } else { (pair, pair + dims["rotary"] / 2) }
}

struct Rope;

impl Operation for Rope {
    fn def(&self) -> &'static OpDef {
        &ROPE
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_tokens", [0, 2, 64, 64, 0]),
            ("no_heads", [3, 0, 64, 64, 0]),
            ("no_elements", [3, 2, 0, 0, 0]),
            ("no_rotation", [3, 2, 40, 0, 0]),
            ("one_pair", [1, 1, 2, 2, 0]),
            ("halves", [9, 4, 64, 64, 0]),
            ("neighbours", [9, 4, 64, 64, 1]),
            ("partial_halves", [5, 3, 80, 32, 0]),
            ("partial_neighbours", [5, 3, 80, 32, 1]),
            ("unaligned_halves", [7, 3, 23, 18, 0]),
            ("unaligned_neighbours", [7, 3, 23, 18, 1]),
            ("whole_head", [3, 5, 128, 128, 0]),
            ("far_positions", [6, 2, 64, 64, 0]),
            ("negative_positions", [6, 2, 64, 64, 1]),
            ("small_theta", [6, 2, 32, 32, 0]),
            ("large", [4, 2, 48, 48, 0]),
            ("nan_and_inf", [6, 2, 16, 16, 1]),
        ];
        let names = ["m", "heads", "d", "rotary", "pairs"];
        all.map(|(name, dims)| Sample::new(&ROPE, name, &std::array::from_fn::<_, 5, _>(|i| (names[i], dims[i]))))
            .into()
    }

    /// The queries of a model of 32 heads.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, heads) = match size {
            Size::Simulator => (16, 8),
            Size::Processor => (4096, 32),
            Size::Gpu => (16_384, 32),
        };
        let whole = [("m", m), ("heads", heads), ("d", 128), ("rotary", 128)];
        let pairs = [("whole_halves", 0), ("whole_neighbours", 1)];
        pairs.map(|(name, pairs)| Sample::new(&ROPE, name, &[&whole[..], &[("pairs", pairs)]].concat())).into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        ROPE.constrain(dims)?;
        let (m, shape) = (dims["m"], [dims["m"], dims["heads"], dims["d"]]);
        let mut random = Random::new(seed);
        let deviation = if name == "large" { 1e30 } else { 1.0 };
        let mut x = random.normal_tensor(DType::BF16, shape, deviation);
        let positions: Vec<i32> = (0..m as i32)
            .map(|token| match name {
                "far_positions" => i32::MAX - 1000 * token,
                "negative_positions" => -3000 * token - 1,
                _ => token + random.within(0, 4000) as i32,
            })
            .collect();
        if name == "nan_and_inf" {
            let mut values = x.to_f64();
            let row = dims["heads"] * dims["d"];
            for (token, value) in [(1, f64::NAN), (2, f64::INFINITY), (3, f64::NEG_INFINITY)] {
                if let Some(place) = values.get_mut(token * row + 3).filter(|_| row > 3) {
                    *place = value;
                }
            }
            x = Tensor::from_f64(DType::BF16, shape, &values)?;
        }
        let theta = if name == "small_theta" { 0.5f32 } else { 10_000.0 };
        Ok(Tensors::new()
            .with("x", x)
            .with("positions", Tensor::from_vec([m], positions)?)
            .with("theta", Tensor::scalar(theta)))
    }

    fn check(&self, _: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let theta: f32 = inputs.scalar("theta")?;
        if theta > 0.0 && theta.is_finite() {
            return Ok(());
        }
        Err(OpError::invalid(format!("theta is {theta}, which is no base of wavelengths: it has to be above 0")))
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (heads, d, rotary) = (dims["heads"], dims["d"], dims["rotary"]);
        let theta = f64::from(inputs.scalar::<f32>("theta")?);
        let positions = inputs.slice::<i32>("positions")?;
        let mut x = inputs.get("x")?.to_f64();
        for (head, x) in x.chunks_exact_mut(d.max(1)).enumerate() {
            let position = f64::from(positions[head / heads]);
            for i in 0..rotary / 2 {
                let (sin, cos) = (position * theta.powf(-2.0 * i as f64 / rotary as f64)).sin_cos();
                let (first, second) = pair(dims, i);
                let (a, b) = (x[first], x[second]);
                (x[first], x[second]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [dims["m"], heads, d], &x)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let heads = (dims["m"] * dims["heads"]) as u64;
        Work {
            flops: 3 * heads * dims["rotary"] as u64,
            dram_bytes: 4 * heads * dims["d"] as u64 + 4 * dims["m"] as u64,
            ..Work::default()
        }
    }
}
