//! The definitions `ivf_scan.*`.

use super::corpus::{Corpus, nearest};
use super::{K, Metric, SOME, Score, Value, WithValue, with_value};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::operation::check::{offsets, ranges, within, wrong};
use tandem_tensor::{DType, Tensor};

pub(super) struct Scan(pub(super) &'static OpDef);

const AXES: &[Axis] = &[
    Axis { name: "n", kind: AxisKind::Extent, default: 1000, doc: "vectors of all lists" },
    Axis { name: "d", kind: AxisKind::Extent, default: 64, doc: "elements of a vector" },
    Axis { name: "lists", kind: AxisKind::Extent, default: 16, doc: "lists" },
    Axis { name: "q", kind: AxisKind::Extent, default: 4, doc: "queries" },
    Axis { name: "probes", kind: AxisKind::Drawn, default: 0, doc: "lists that queries probe, all queries together" },
    K,
    Axis { name: "metric", kind: AxisKind::Choice(Metric::NAMES), default: 0, doc: "what a score is" },
    Axis { name: "nprobe", kind: AxisKind::Number, default: 4, doc: "lists that a typical query of a sample probes" },
];

const fn operands(dtype: DType) -> [Port; 6] {
    [
        Port { name: "queries", dtype, dims: &[Dim::Axis("q"), Dim::Axis("d")], doc: "queries" },
        Port { name: "vectors", dtype, dims: &[Dim::Axis("n"), Dim::Axis("d")], doc: "vectors, list after list" },
        Port { name: "ids", dtype: DType::I32, dims: &[Dim::Axis("n")], doc: "of each vector, 0 or more" },
        Port {
            name: "list_begin",
            dtype: DType::I32,
            dims: &[Dim::Plus("lists", 1)],
            doc: "where vectors of each list begin, and the end",
        },
        Port {
            name: "probe_begin",
            dtype: DType::I32,
            dims: &[Dim::Plus("q", 1)],
            doc: "where lists of each query begin in probe, and the end",
        },
        Port {
            name: "probe",
            dtype: DType::I32,
            dims: &[Dim::Axis("probes")],
            doc: "lists, of a query no two the same",
        },
    ]
}

const fn outputs(score: DType, nothing: &'static str) -> [Port; 2] {
    const BEST: &[Dim] = &[Dim::Axis("q"), Dim::Axis("k")];
    [
        Port { name: "scores", dtype: score, dims: BEST, doc: nothing },
        Port { name: "best", dtype: DType::I32, dims: BEST, doc: "ids of the best vectors; -1 where there are fewer" },
    ]
}

const fn scan(
    name: &'static str,
    inputs: &'static [Port],
    outputs: &'static [Port],
    summary: &'static str,
    fpga: &'static str,
) -> OpDef {
    const HOLDS: &[Constraint] = &[SOME, Constraint { text: "d <= 32768", holds: |dims| dims["d"] <= 32_768 }];
    OpDef {
        name,
        summary,
        axes: AXES,
        inputs,
        outputs,
        holds: HOLDS,
        agree: Agree::Exact,
        fpga: Grade::ReferenceOnly(fpga),
    }
}

const OF_FLOATS: [Port; 2] =
    outputs(DType::F32, "scores of the best vectors, best first, ties by the lower id; -inf where there are fewer");
const FLOATS: &str = "the k vectors of the probed lists with the highest scores for each query, ties by id; scores are sums of binary32 in a fixed order, a NaN is no candidate";
const NO_FLOATS: &str = "the core multiplies 8-bit integers";

pub(super) static I8: OpDef = scan(
    "ivf_scan.i8",
    &operands(DType::I8),
    &outputs(DType::I32, "scores of the best vectors, best first, ties by the lower id; -2^31 where there are fewer"),
    "the k vectors of the probed lists with the highest scores for each query, ties by id; scores are exact integers",
    "the core multiplies codes, but has no unit that keeps the best, and no graph is lowered to a scan",
);
pub(super) static BF16: OpDef = scan("ivf_scan.bf16", &operands(DType::BF16), &OF_FLOATS, FLOATS, NO_FLOATS);
pub(super) static F32: OpDef = scan("ivf_scan.f32", &operands(DType::F32), &OF_FLOATS, FLOATS, NO_FLOATS);

impl Operation for Scan {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let all: [(&'static str, &[(&'static str, usize)]); 19] = [
            ("no_queries", &[("q", 0)]),
            ("no_vectors", &[("n", 0)]),
            ("no_lists", &[("n", 0), ("lists", 0)]),
            ("no_probes", &[("nprobe", 0), ("k", 3)]),
            ("no_elements", &[("n", 60), ("d", 0), ("k", 7)]),
            ("one_vector", &[("n", 1), ("d", 1), ("lists", 1), ("q", 1), ("k", 1), ("nprobe", 1)]),
            ("empty_lists", &[("n", 21), ("lists", 60), ("nprobe", 30), ("k", 4)]),
            ("fewer_than_k", &[("n", 90), ("k", 70), ("q", 3), ("nprobe", 2)]),
            ("ragged_probes", &[("n", 500), ("d", 48), ("q", 9), ("nprobe", 6), ("k", 5)]),
            ("unaligned", &[("n", 300), ("d", 37), ("q", 5), ("lists", 7), ("nprobe", 3)]),
            ("unaligned_l2", &[("n", 200), ("d", 77), ("q", 2), ("lists", 5), ("nprobe", 5), ("metric", 1)]),
            ("ties", &[("n", 700), ("d", 32), ("q", 3), ("lists", 4), ("nprobe", 4), ("k", 40)]),
            ("all_equal", &[("n", 400), ("d", 16), ("q", 2), ("lists", 3), ("nprobe", 3), ("k", 33)]),
            ("one_best", &[("n", 600), ("d", 96), ("k", 1), ("nprobe", 8)]),
            ("many_best", &[("n", 900), ("d", 32), ("q", 2), ("lists", 3), ("nprobe", 3), ("k", 300)]),
            ("shared_list", &[("n", 150), ("d", 64), ("q", 19), ("lists", 2), ("nprobe", 2), ("k", 6)]),
            ("l2", &[("n", 400), ("d", 128), ("q", 3), ("nprobe", 8), ("metric", 1)]),
            ("extremes", &[("n", 260), ("d", 40), ("q", 6), ("lists", 3), ("nprobe", 3), ("k", 50)]),
            ("extremes_l2", &[("n", 260), ("d", 24), ("q", 6), ("lists", 3), ("nprobe", 3), ("k", 50), ("metric", 1)]),
        ];
        all.map(|(name, dims)| Sample::new(self.0, name, dims)).into()
    }

    /// One query that scans a pool of lists as a device has it, and a batch whose queries share lists.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let [pool, batch] = match size {
            Size::Simulator => [[2000, 64, 16, 1, 16], [1500, 64, 24, 6, 6]],
            Size::Processor => [[1 << 17, 768, 256, 1, 256], [1 << 17, 768, 256, 8, 64]],
            Size::Gpu => [[1 << 19, 768, 1024, 1, 1024], [1 << 19, 768, 1024, 16, 256]],
        };
        let names = ["n", "d", "lists", "q", "nprobe"];
        let sample = |name, dims: [usize; 5]| {
            Sample::new(self.0, name, &std::array::from_fn::<_, 5, _>(|i| (names[i], dims[i])))
        };
        vec![sample("pool", pool), sample("batch", batch)]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        if dims["n"] > i32::MAX as usize {
            return Err(OpError::invalid(format!(
                "{}: {} vectors are more than ids of 31 bits",
                self.0.name, dims["n"]
            )));
        }
        with_value(self.0.inputs[0].dtype, Draw { name, dims, seed })
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = self.0.name;
        offsets(name, inputs, "list_begin", dims["n"])?;
        offsets(name, inputs, "probe_begin", dims["probes"])?;
        within(name, inputs, "probe", dims["lists"])?;
        if let Some(at) = inputs.slice::<i32>("ids")?.iter().position(|&id| id < 0) {
            return Err(wrong(name, "ids", at, "is below 0, which stands for no vector"));
        }
        let (begins, probe) = (inputs.slice::<i32>("probe_begin")?, inputs.slice::<i32>("probe")?);
        let mut last = vec![usize::MAX; dims["lists"]];
        for (query, entries) in ranges(begins).enumerate() {
            for at in entries {
                if std::mem::replace(&mut last[probe[at] as usize], query) == query {
                    return Err(wrong(
                        name,
                        "probe",
                        at,
                        format!("is {}, which query {query} probes before", probe[at]),
                    ));
                }
            }
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        with_value(self.0.inputs[0].dtype, Reference { dims, inputs })
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        work(self.0, dims, inputs).unwrap_or_default()
    }
}

/// The operands of a sample.
struct Draw<'a> {
    name: &'a str,
    dims: &'a Dims,
    seed: u64,
}

impl WithValue for Draw<'_> {
    type Out = Result<Tensors, OpError>;

    fn with<V: Value>(self) -> Self::Out {
        let Draw { name, dims, seed } = self;
        let [n, d, lists, q, nprobe] = ["n", "d", "lists", "q", "nprobe"].map(|axis| dims[axis]);
        let mut random = Random::new(seed);
        // Without a list there is nowhere to put a vector.
        if n > 0 && lists == 0 {
            return Err(OpError::invalid(format!("{n} vectors need a list")));
        }
        let corpus = Corpus::new(n, d, lists, 1.0, &mut random);
        let mut vectors = Vec::with_capacity(n * d);
        corpus.each(&mut random, |x| vectors.push(V::of(x)));
        let drawn = corpus.queries(q, 0.5, &mut random);
        let mut queries: Vec<V> = drawn.rewritten.iter().map(|&x| V::of(x)).collect();
        match name {
            // Few values, so that few scores.
            "ties" => vectors.iter_mut().for_each(|x| *x = V::of([0.0, 0.5][random.within(0, 16) / 15])),
            "all_equal" => vectors.fill(V::of(0.5)),
            "extremes" | "extremes_l2" => {
                for x in vectors.iter_mut().chain(&mut queries) {
                    if random.within(0, 100) == 0 {
                        *x = V::EXTREMES[random.within(0, V::EXTREMES.len())];
                    }
                }
            }
            _ => {}
        }
        let scores = corpus.centroid_scores(&drawn.rewritten);
        let (mut begins, mut probe) = (vec![0], Vec::new());
        for query in 0..q {
            let count = match name {
                "ragged_probes" => random.within(0, 2 * nprobe + 1),
                _ => nprobe,
            };
            let scores = scores.get(query * lists..(query + 1) * lists).unwrap_or_default();
            probe.extend(nearest(scores, count).into_iter().map(|list| list as i32));
            begins.push(probe.len() as i32);
        }
        let ends = corpus.sizes.iter().scan(0, |end, &size| {
            *end += size as i32;
            Some(*end)
        });
        let list_begin: Vec<i32> = std::iter::once(0).chain(ends).collect();
        // Distinct, and in no order.
        let mut ids: Vec<i32> = (0..n as i32).collect();
        random.shuffle(&mut ids);
        Ok(Tensors::new()
            .with("queries", Tensor::from_vec([q, d], queries)?)
            .with("vectors", Tensor::from_vec([n, d], vectors)?)
            .with("ids", Tensor::from_vec([n], ids)?)
            .with("list_begin", Tensor::from_vec([lists + 1], list_begin)?)
            .with("probe_begin", Tensor::from_vec([q + 1], begins)?)
            .with("probe", Tensor::from_vec([probe.len()], probe)?))
    }
}

/// Every vector of every probed list, and then the best of them.
struct Reference<'a> {
    dims: &'a Dims,
    inputs: &'a Tensors,
}

impl WithValue for Reference<'_> {
    type Out = Result<Tensors, OpError>;

    fn with<V: Value>(self) -> Self::Out {
        let Reference { dims, inputs } = self;
        let (q, d, k, metric) = (dims["q"], dims["d"], dims["k"], Metric::of(dims["metric"]));
        let (queries, vectors) = (inputs.slice::<V>("queries")?, inputs.slice::<V>("vectors")?);
        let (ids, probe) = (inputs.slice::<i32>("ids")?, inputs.slice::<i32>("probe")?);
        let lists: Vec<_> = ranges(inputs.slice("list_begin")?).collect();
        let (mut scores, mut best) = (Vec::with_capacity(q * k), Vec::with_capacity(q * k));
        for (query, entries) in ranges(inputs.slice("probe_begin")?).enumerate() {
            let query = &queries[query * d..][..d];
            let vectors = probe[entries].iter().flat_map(|&list| lists[list as usize].clone()).map(|at| {
                let score = V::score(metric, query, &vectors[at * d..][..d]);
                (score, ids[at])
            });
            // A NaN does not compare with itself.
            let mut all: Vec<_> = vectors.filter(|(score, _)| score.partial_cmp(score).is_some()).collect();
            all.sort_by(|a, b| b.0.partial_cmp(&a.0).expect("no NaN").then(a.1.cmp(&b.1)));
            let filled = all.into_iter().chain(std::iter::repeat((V::Score::NOTHING, -1))).take(k);
            filled.for_each(|(score, id)| {
                scores.push(score);
                best.push(id);
            });
        }
        Ok(Tensors::new()
            .with("scores", Tensor::from_vec([q, k], scores)?)
            .with("best", Tensor::from_vec([q, k], best)?))
    }
}

/// Lists that some query probes are read once, with their ids; a query scores every vector of its lists.
fn work(def: &OpDef, dims: &Dims, inputs: &Tensors) -> Result<Work, OpError> {
    let (q, d, size) = (dims["q"], dims["d"], def.inputs[0].dtype.bytes());
    let lists: Vec<_> = ranges(inputs.slice("list_begin")?).collect();
    let mut probed = vec![false; lists.len()];
    let mut pairs = 0;
    for &list in inputs.slice::<i32>("probe")? {
        pairs += lists[list as usize].len() as u64;
        probed[list as usize] = true;
    }
    let read: usize = lists.iter().zip(&probed).filter(|(_, probed)| **probed).map(|(list, _)| list.len()).sum();
    let tables = lists.len() + 1 + q + 1 + dims["probes"];
    let bytes = read * (d * size + 4) + q * d * size + 4 * tables + 8 * q * dims["k"];
    // A difference more where scores are distances.
    let operations = pairs * d as u64 * if Metric::of(dims["metric"]) == Metric::InnerProduct { 2 } else { 3 };
    let integers = def.inputs[0].dtype == DType::I8;
    Ok(Work {
        flops: if integers { 0 } else { operations },
        int_ops: if integers { operations } else { 0 },
        dram_bytes: bytes as u64,
        ..Work::default()
    })
}
