//! The definitions `topk_merge.*`: the best of several parts.

use super::{K, SOME, Score};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::operation::check::wrong;
use tandem_tensor::{DType, Element, Tensor};

pub(super) struct Merge(pub(super) &'static OpDef);

const AXES: &[Axis] = &[
    Axis { name: "parts", kind: AxisKind::Extent, default: 2, doc: "parts: devices, or pieces of a scan" },
    Axis { name: "q", kind: AxisKind::Extent, default: 4, doc: "queries" },
    Axis { name: "m", kind: AxisKind::Extent, default: 10, doc: "entries of a part for a query, in any order" },
    K,
];

const fn operands(score: DType) -> [Port; 2] {
    const PART: &[Dim] = &[Dim::Axis("parts"), Dim::Axis("q"), Dim::Axis("m")];
    [
        Port { name: "part_scores", dtype: score, dims: PART, doc: "scores" },
        Port { name: "part_best", dtype: DType::I32, dims: PART, doc: "ids; -1 where there is no candidate" },
    ]
}

const fn outputs(score: DType, nothing: &'static str) -> [Port; 2] {
    const BEST: &[Dim] = &[Dim::Axis("q"), Dim::Axis("k")];
    [
        Port { name: "scores", dtype: score, dims: BEST, doc: nothing },
        Port { name: "best", dtype: DType::I32, dims: BEST, doc: "their ids; -1 where there are fewer" },
    ]
}

const fn merge(name: &'static str, summary: &'static str, inputs: &'static [Port], outputs: &'static [Port]) -> OpDef {
    OpDef {
        name,
        summary,
        axes: AXES,
        inputs,
        outputs,
        holds: &[SOME],
        agree: Agree::Exact,
        fpga: Grade::ReferenceOnly("the core has no unit that compares and keeps the best"),
    }
}

pub(super) static I32: OpDef = merge(
    "topk_merge.i32",
    "the k candidates of all parts with the highest scores for each query, ties by the lower id",
    &operands(DType::I32),
    &outputs(DType::I32, "the highest scores, best first; -2^31 where there are fewer"),
);
pub(super) static F32: OpDef = merge(
    "topk_merge.f32",
    "the k candidates of all parts with the highest scores for each query, ties by the lower id; a NaN is no candidate, zeros have no sign",
    &operands(DType::F32),
    &outputs(DType::F32, "the highest scores, best first; -inf where there are fewer"),
);

impl Operation for Merge {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_parts", [0, 3, 5, 4]),
            ("no_queries", [3, 0, 5, 4]),
            ("no_entries", [3, 2, 0, 4]),
            ("one_entry", [1, 1, 1, 1]),
            ("usual", [2, 4, 10, 10]),
            ("many_parts", [37, 3, 10, 10]),
            ("nothing", [3, 2, 7, 5]),
            ("partly_nothing", [5, 3, 20, 12]),
            ("fewer_than_k", [2, 3, 8, 90]),
            ("ties", [9, 2, 33, 40]),
            ("one_best", [4, 6, 65, 1]),
            ("many_best", [6, 2, 200, 700]),
            ("extremes", [4, 5, 31, 100]),
        ];
        let names = ["parts", "q", "m", "k"];
        all.map(|(name, dims)| Sample::new(self.0, name, &std::array::from_fn::<_, 4, _>(|i| (names[i], dims[i]))))
            .into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (parts, q, m) = match size {
            Size::Simulator => (8, 16, 100),
            Size::Processor => (256, 512, 100),
            Size::Gpu => (256, 2048, 100),
        };
        vec![Sample::new(self.0, "lists", &[("parts", parts), ("q", q), ("m", m), ("k", 100)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let shape = [dims["parts"], dims["q"], dims["m"]];
        let mut random = Random::new(seed);
        let count = shape.iter().product();
        let nothing = |random: &mut Random| match name {
            "nothing" => true,
            "partly_nothing" => random.within(0, 3) > 0,
            _ => false,
        };
        let of = |_| if nothing(&mut random) { -1 } else { random.within(0, i32::MAX as usize) as i32 };
        let ids: Vec<i32> = (0..count).map(of).collect();
        let scores = if self.0.inputs[0].dtype == DType::I32 {
            let score = |random: &mut Random| match name {
                "ties" => random.within(0, 3) as i32 - 1,
                "extremes" => [i32::MIN, i32::MIN + 1, -1, 0, i32::MAX][random.within(0, 5)],
                _ => random.bits() as i32 >> 8,
            };
            Tensor::from_vec(shape, (0..count).map(|_| score(&mut random)).collect())?
        } else {
            let score = |random: &mut Random| match name {
                "ties" => [-0.0, 0.0, 1.0][random.within(0, 3)],
                "extremes" => [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, -1e-40, 3e38][random.within(0, 5)],
                _ => random.normal() as f32,
            };
            Tensor::from_vec(shape, (0..count).map(|_| score(&mut random)).collect())?
        };
        Ok(Tensors::new().with("part_scores", scores).with("part_best", Tensor::from_vec(shape, ids)?))
    }

    fn check(&self, _: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        match inputs.slice::<i32>("part_best")?.iter().position(|&id| id < -1) {
            Some(at) => Err(wrong(self.0.name, "part_best", at, "is below -1: neither an id nor the sign of none")),
            None => Ok(()),
        }
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        match self.0.inputs[0].dtype {
            DType::I32 => reference::<i32>(dims, inputs, |score| score),
            // A zero of either sign becomes one without.
            _ => reference::<f32>(dims, inputs, |score| score + 0.0),
        }
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let entries = (dims["parts"] * dims["q"] * dims["m"]) as u64;
        let kept = (dims["q"] * dims["k"]) as u64;
        // Every entry is compared once at least.
        Work { int_ops: entries, dram_bytes: 8 * (entries + kept), ..Work::default() }
    }
}

fn reference<S: Score + Element>(dims: &Dims, inputs: &Tensors, plain: fn(S) -> S) -> Result<Tensors, OpError> {
    let [parts, q, m, k] = ["parts", "q", "m", "k"].map(|axis| dims[axis]);
    let (part_scores, part_best) = (inputs.slice::<S>("part_scores")?, inputs.slice::<i32>("part_best")?);
    let (mut scores, mut best) = (Vec::with_capacity(q * k), Vec::with_capacity(q * k));
    for query in 0..q {
        let entries = (0..parts).flat_map(|part| (part * q + query) * m..(part * q + query + 1) * m);
        let all = entries.map(|at| (plain(part_scores[at]), part_best[at]));
        // A NaN does not compare with itself.
        let mut all: Vec<_> = all.filter(|&(score, id)| score.partial_cmp(&score).is_some() && id >= 0).collect();
        all.sort_by(|a, b| b.0.partial_cmp(&a.0).expect("no NaN").then(a.1.cmp(&b.1)));
        for (score, id) in all.into_iter().chain(std::iter::repeat((S::NOTHING, -1))).take(k) {
            scores.push(score);
            best.push(id);
        }
    }
    Ok(Tensors::new().with("scores", Tensor::from_vec([q, k], scores)?).with("best", Tensor::from_vec([q, k], best)?))
}
