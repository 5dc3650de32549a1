//! The definition `kmeans.bf16`.

use super::{D, FPGA, HKV, LINES, SOME_HEADS};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::ivf::{Corpus, Metric, Value, nearest};
use crate::operation::check::within;
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) struct KMeans;

static DEF: OpDef = OpDef {
    name: "kmeans.bf16",
    summary: "clusters of keys, for each head its own: keys go to the nearest centroid, and a centroid to the mean of its keys, in turns",
    axes: &[
        Axis { name: "n", kind: AxisKind::Extent, default: 500, doc: "keys that are clustered" },
        LINES,
        HKV,
        D,
        Axis { name: "clusters", kind: AxisKind::Extent, default: 32, doc: "clusters" },
        Axis { name: "iterations", kind: AxisKind::Number, default: 10, doc: "turns" },
    ],
    inputs: &[
        Port {
            name: "k",
            dtype: DType::BF16,
            dims: &[Dim::Axis("lines"), Dim::Axis("hkv"), Dim::Axis("d")],
            doc: "keys of the cache",
        },
        Port { name: "keys", dtype: DType::I32, dims: &[Dim::Axis("n")], doc: "lines of the keys that are clustered" },
        Port {
            name: "first",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("clusters")],
            doc: "entries of keys that centroids begin as",
        },
    ],
    outputs: &[
        Port {
            name: "centroids",
            dtype: DType::BF16,
            dims: &[Dim::Axis("clusters"), Dim::Axis("hkv"), Dim::Axis("d")],
            doc: "means: sums in the order of keys over their number, each operation one of binary32, rounded to bfloat16; a cluster \
                  without keys keeps its centroid, and a NaN is 0x7fc0",
        },
        Port {
            name: "cluster_end",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("clusters")],
            doc: "where each cluster ends in members; it begins where the one before ends",
        },
        Port {
            name: "members",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("n")],
            doc: "lines by cluster, those of a cluster in the order of keys; the nearest centroid after the last turn has them, of \
                  equally near ones the first, and so the first of all where a distance is no number",
        },
    ],
    holds: &[
        SOME_HEADS,
        Constraint {
            text: "clusters > 0 where n > 0, and none where n == 0",
            holds: |dims| (dims["n"] > 0) == (dims["clusters"] > 0),
        },
    ],
    agree: Agree::Exact,
    fpga: FPGA,
};

/// Keys of a head, in the order in which they are clustered, one row after the other.
pub(crate) struct Keys {
    pub(crate) d: usize,
    pub(crate) rows: Vec<bf16>,
}

/// The number of the nearest centroid for every key: the definition.
pub(crate) fn nearest_centroids(keys: &Keys, centroids: &[bf16]) -> Vec<usize> {
    let nearest_to = |key: &[bf16]| {
        let score = |centroid| bf16::score(Metric::SquaredL2, key, centroid);
        nearest(&centroids.chunks_exact(keys.d).map(score).collect::<Vec<f32>>(), 1)[0]
    };
    keys.rows.chunks_exact(keys.d).map(nearest_to).collect()
}

/// What comes of operands with the function that finds nearest centroids, head by head.
pub(crate) fn clustered(
    dims: &Dims,
    inputs: &Tensors,
    nearest: impl Fn(&Keys, &[bf16]) -> Vec<usize>,
) -> Result<Tensors, OpError> {
    let [n, hkv, d, clusters] = ["n", "hkv", "d", "clusters"].map(|axis| dims[axis]);
    let (k, lines, first) = (inputs.slice::<bf16>("k")?, inputs.slice::<i32>("keys")?, inputs.slice::<i32>("first")?);
    let mut all = vec![bf16::ZERO; clusters * hkv * d];
    let (mut ends, mut members) = (Vec::with_capacity(hkv * clusters), Vec::<i32>::with_capacity(hkv * n));
    for head in 0..hkv {
        let row = |&line: &i32| &k[(line as usize * hkv + head) * d..][..d];
        let keys = Keys { d, rows: lines.iter().flat_map(row).copied().collect() };
        let begin = &first[head * clusters..][..clusters];
        let mut centroids: Vec<bf16> =
            begin.iter().flat_map(|&entry| &keys.rows[entry as usize * d..][..d]).copied().collect();
        let mut labels = nearest(&keys, &centroids);
        for _ in 0..dims["iterations"] {
            means(&keys, &labels, &mut centroids);
            labels = nearest(&keys, &centroids);
        }
        let mut of: Vec<Vec<i32>> = vec![Vec::new(); clusters];
        labels.iter().zip(lines).for_each(|(&label, &line)| of[label].push(line));
        let mut end = 0;
        for (cluster, own) in of.iter().enumerate() {
            end += own.len() as i32;
            ends.push(end);
            members.extend(own);
            all[(cluster * hkv + head) * d..][..d].copy_from_slice(&centroids[cluster * d..][..d]);
        }
    }
    Ok(Tensors::new()
        .with("centroids", Tensor::from_vec([clusters, hkv, d], all)?)
        .with("cluster_end", Tensor::from_vec([hkv, clusters], ends)?)
        .with("members", Tensor::from_vec([hkv, n], members)?))
}

/// Moves every centroid that has keys to their mean.
fn means(keys: &Keys, labels: &[usize], centroids: &mut [bf16]) {
    let d = keys.d;
    let (mut sums, mut counts) = (vec![0f32; centroids.len()], vec![0usize; centroids.len() / d]);
    for (key, &label) in keys.rows.chunks_exact(d).zip(labels) {
        counts[label] += 1;
        sums[label * d..][..d].iter_mut().zip(key).for_each(|(sum, x)| *sum += x.to_f32());
    }
    for ((centroid, sums), count) in centroids.chunks_exact_mut(d).zip(sums.chunks_exact(d)).zip(counts) {
        if count > 0 {
            let mean =
                |sum: f32| if sum.is_nan() { bf16::from_bits(0x7fc0) } else { bf16::from_f32(sum / count as f32) };
            centroid.iter_mut().zip(sums).for_each(|(x, &sum)| *x = mean(sum));
        }
    }
}

impl Operation for KMeans {
    fn def(&self) -> &'static OpDef {
        &DEF
    }

    fn samples(&self) -> Vec<Sample> {
        let all: [(&'static str, &[(&'static str, usize)]); 12] = [
            ("no_keys", &[("n", 0), ("clusters", 0)]),
            ("one_key", &[("n", 1), ("clusters", 1), ("hkv", 1), ("d", 1)]),
            ("one_cluster", &[("n", 70), ("clusters", 1), ("hkv", 2), ("iterations", 2)]),
            ("more_clusters_than_keys", &[("n", 9), ("clusters", 40), ("hkv", 2), ("iterations", 3)]),
            ("no_turns", &[("n", 120), ("clusters", 9), ("iterations", 0)]),
            ("unaligned", &[("n", 133), ("clusters", 17), ("hkv", 3), ("d", 37), ("iterations", 2)]),
            ("short", &[("n", 100), ("clusters", 13), ("hkv", 2), ("d", 8), ("iterations", 4)]),
            ("ties", &[("n", 200), ("clusters", 30), ("hkv", 2), ("d", 16), ("iterations", 3)]),
            ("all_equal", &[("n", 90), ("clusters", 12), ("hkv", 1), ("d", 32), ("iterations", 2)]),
            ("extremes", &[("n", 150), ("clusters", 20), ("hkv", 2), ("d", 24), ("iterations", 3)]),
            ("wide", &[("n", 150), ("clusters", 10), ("hkv", 1), ("d", 256), ("iterations", 1)]),
            ("several_tiles", &[("n", 300), ("clusters", 70), ("hkv", 1), ("d", 128), ("iterations", 2)]),
        ];
        all.map(|(name, dims)| Sample::new(&DEF, name, dims)).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let [n, clusters, hkv, d] = match size {
            Size::Simulator => [128, 16, 1, 64],
            Size::Processor => [4096, 256, 4, 128],
            Size::Gpu => [32_768, 2048, 8, 128],
        };
        let iterations = if size == Size::Simulator { 1 } else { 10 };
        let dims = [("n", n), ("clusters", clusters), ("hkv", hkv), ("d", d), ("iterations", iterations)];
        vec![Sample::new(&DEF, "context", &dims)]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        DEF.constrain(dims)?;
        let [n, hkv, d, clusters] = ["n", "hkv", "d", "clusters"].map(|axis| dims[axis]);
        let mut random = Random::new(seed);
        // A few keys of the cache belong to somebody else.
        let lines = n + n / 8;
        let mut k = vec![bf16::ZERO; lines * hkv * d];
        for head in 0..hkv {
            let corpus = Corpus::new(lines, d, clusters.div_ceil(2).max(1), 0.5, &mut random);
            let mut at = 0;
            corpus.each(&mut random, |x| {
                k[(at / d * hkv + head) * d + at % d] = bf16::from_f32(x);
                at += 1;
            });
        }
        match name {
            // Few values, so that few distances.
            "ties" => k.iter_mut().for_each(|x| *x = bf16::from_f32([0.0, 0.5][random.within(0, 8) / 7])),
            "all_equal" => k.fill(bf16::from_f32(0.5)),
            "extremes" => {
                for x in &mut k {
                    if random.within(0, 200) == 0 {
                        *x = bf16::EXTREMES[random.within(0, bf16::EXTREMES.len())];
                    }
                }
            }
            _ => {}
        }
        let mut keys: Vec<i32> = (0..lines as i32).collect();
        random.shuffle(&mut keys);
        keys.truncate(n);
        let first: Vec<i32> = (0..hkv * clusters).map(|_| random.within(0, n) as i32).collect();
        Ok(Tensors::new()
            .with("k", Tensor::from_vec([lines, hkv, d], k)?)
            .with("keys", Tensor::from_vec([n], keys)?)
            .with("first", Tensor::from_vec([hkv, clusters], first)?))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        within(DEF.name, inputs, "keys", dims["lines"])?;
        within(DEF.name, inputs, "first", dims["n"])
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        clustered(dims, inputs, nearest_centroids)
    }

    /// A distance is a difference and a multiply-add an element. Keys are read once a turn, labels are written and read.
    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let [n, hkv, d, clusters] = ["n", "hkv", "d", "clusters"].map(|axis| dims[axis] as u64);
        let turns = dims["iterations"] as u64;
        let (keys, centroids) = (n * hkv * d, clusters * hkv * d);
        Work {
            flops: (turns + 1) * 3 * keys * clusters + turns * keys,
            dram_bytes: 2 * (turns + 1) * keys + 2 * centroids + 4 * (n + 2 * hkv * clusters + hkv * n),
            ..Work::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::accept;

    #[test]
    fn clusters_of_keys_that_lie_apart_are_found() {
        // Three heaps, of which two share a centroid at first and one has two.
        let heaps = [0.0, 100.0, 200.0];
        let mut random = Random::new(2);
        let near =
            |at: usize, random: &mut Random| (0..8).map(move |_| (heaps[at % 3], random.normal())).collect::<Vec<_>>();
        let k: Vec<bf16> =
            (0..60).flat_map(|at| near(at, &mut random)).map(|(heap, x)| bf16::from_f64(heap + x)).collect();
        let inputs = Tensors::new()
            .with("k", Tensor::from_vec([60, 1, 8], k).unwrap())
            .with("keys", Tensor::from_vec([60], (0..60).collect::<Vec<i32>>()).unwrap())
            .with("first", Tensor::from_vec([1, 3], vec![0, 2, 5]).unwrap());
        let extents = [("n", 60), ("hkv", 1), ("d", 8), ("clusters", 3), ("iterations", 20)];
        let dims = extents.iter().fold(Dims::defaults(DEF.axes), |dims, &(axis, extent)| dims.with(axis, extent));
        let dims = accept(&KMeans, &dims, &inputs).unwrap();
        let found = KMeans.reference(&dims, &inputs).unwrap();
        let (ends, members) = (found.slice::<i32>("cluster_end").unwrap(), found.slice::<i32>("members").unwrap());
        let mut begin = 0;
        for &end in ends {
            let own = &members[begin..end as usize];
            assert!(own.is_sorted(), "{own:?}");
            begin = end as usize;
        }
        assert_eq!(begin, 60);
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..60).collect::<Vec<i32>>());
        // Every key lies nearest to the centroid of its cluster.
        let centroids = found.slice::<bf16>("centroids").unwrap();
        let rows = inputs.slice::<bf16>("k").unwrap().to_vec();
        let labels = nearest_centroids(&Keys { d: 8, rows }, centroids);
        for (cluster, &end) in ends.iter().enumerate() {
            let begin = if cluster == 0 { 0 } else { ends[cluster - 1] };
            assert!(members[begin as usize..end as usize].iter().all(|&line| labels[line as usize] == cluster));
        }
    }
}
