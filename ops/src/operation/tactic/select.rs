//! The definition `tactic_select.bf16`.

use super::estimate::Probe;
use super::{D, FPGA, HKV, LINES, SOME_HEADS};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::ivf::{Corpus, Metric, Score, Value};
use crate::operation::attention::draw::offsets as ends_of;
use crate::operation::check::{offsets, ranges, within, wrong};
use crate::sampling::weight::{deficit, units, weight};
use half::bf16;
use std::ops::Range;
use tandem_tensor::{DType, Tensor};

pub(super) struct Select;

const B: Axis = Axis { name: "b", kind: AxisKind::Extent, default: 2, doc: "requests" };

static DEF: OpDef = OpDef {
    name: "tactic_select.bf16",
    summary: "the keys that a query attends to, for each head of keys: those that have a part of the mass, sought in the best clusters",
    axes: &[
        B,
        Axis { name: "hq", kind: AxisKind::Extent, default: 8, doc: "heads of the queries" },
        HKV,
        D,
        LINES,
        Axis { name: "slots", kind: AxisKind::Drawn, default: 0, doc: "keys in clusters, of all requests" },
        Axis { name: "clusters", kind: AxisKind::Drawn, default: 0, doc: "clusters of all requests" },
        Axis { name: "fresh", kind: AxisKind::Drawn, default: 0, doc: "keys in no cluster, of all requests" },
        Axis {
            name: "head",
            kind: AxisKind::Number,
            default: 32,
            doc: "keys of a query whose weights are computed, the first ones",
        },
        Axis {
            name: "window",
            kind: AxisKind::Number,
            default: 16,
            doc: "keys of each of the two windows behind them",
        },
        Axis {
            name: "n",
            kind: AxisKind::Number,
            default: 400,
            doc: "keys in clusters of a typical request of a sample",
        },
        Axis { name: "size", kind: AxisKind::Number, default: 16, doc: "keys of a typical cluster of a sample" },
        Axis {
            name: "late",
            kind: AxisKind::Number,
            default: 20,
            doc: "keys in no cluster of a typical request of a sample",
        },
    ],
    inputs: &[
        Port {
            name: "q",
            dtype: DType::BF16,
            dims: &[Dim::Axis("b"), Dim::Axis("hq"), Dim::Axis("d")],
            doc: "queries",
        },
        Port {
            name: "k",
            dtype: DType::BF16,
            dims: &[Dim::Axis("lines"), Dim::Axis("hkv"), Dim::Axis("d")],
            doc: "keys of the cache",
        },
        Port {
            name: "centroids",
            dtype: DType::BF16,
            dims: &[Dim::Axis("clusters"), Dim::Axis("hkv"), Dim::Axis("d")],
            doc: "of the clusters of all requests, one request after the other",
        },
        Port {
            name: "cluster_begin",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where clusters of each request begin, and the end",
        },
        Port {
            name: "cluster_end",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("clusters")],
            doc: "where each cluster ends among the slots of its request; it begins where the one before ends",
        },
        Port {
            name: "slot_begin",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where slots of each request begin, and the end",
        },
        Port {
            name: "members",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("slots")],
            doc: "lines of the keys of each slot, by cluster",
        },
        Port {
            name: "fresh_begin",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where keys of each request begin in fresh_lines, and the end",
        },
        Port {
            name: "fresh_lines",
            dtype: DType::I32,
            dims: &[Dim::Axis("fresh")],
            doc: "lines of keys in no cluster, whose weights are always computed",
        },
        Port { name: "scale", dtype: DType::F32, dims: &[], doc: "factor of every score, above 0" },
        Port {
            name: "target",
            dtype: DType::F32,
            dims: &[],
            doc: "the part of the mass that is to be reached, 0 to 1",
        },
    ],
    outputs: &[
        Port {
            name: "selected",
            dtype: DType::I32,
            dims: &[Dim::Of("hkv (slots + fresh)", |dims| dims["hkv"] * (dims["slots"] + dims["fresh"]))],
            doc: "lines, for each request and head of keys in a room for all of them: fresh ones that are chosen, then those of chosen \
                  slots, both in their order, then -1",
        },
        Port {
            name: "count",
            dtype: DType::I32,
            dims: &[Dim::Axis("b"), Dim::Axis("hkv")],
            doc: "lines of each room that are selected",
        },
        Port {
            name: "budget",
            dtype: DType::I32,
            dims: &[Dim::Axis("b"), Dim::Axis("hq")],
            doc: "keys that each head of queries asks for",
        },
    ],
    holds: &[
        SOME_HEADS,
        Constraint { text: "hq % hkv == 0", holds: |dims| dims["hq"].is_multiple_of(dims["hkv"].max(1)) },
        Constraint { text: "1 <= window and window <= 4096", holds: |dims| (1..=4096).contains(&dims["window"]) },
    ],
    agree: Agree::Exact,
    fpga: FPGA,
};

/// Keys of a request: 2^20 at most, so that sums of weights stay far below 64 bits.
const LONGEST: usize = 1 << 20;

/// A query with rows that are scored against it.
pub(crate) type Scores<'a> = dyn Fn(&[bf16], &mut dyn Iterator<Item = &'a [bf16]>) -> Vec<f32> + Sync + 'a;

/// The operands.
pub(crate) struct Batch<'a> {
    q: &'a [bf16],
    k: &'a [bf16],
    centroids: &'a [bf16],
    cluster_end: &'a [i32],
    members: &'a [i32],
    fresh: &'a [i32],
    clusters_of: Vec<Range<usize>>,
    slots_of: Vec<Range<usize>>,
    fresh_of: Vec<Range<usize>>,
    hq: usize,
    hkv: usize,
    d: usize,
    head: usize,
    window: usize,
    units: f32,
    target: f32,
}

impl<'a> Batch<'a> {
    /// Operands that were accepted.
    pub(crate) fn of(dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
        Ok(Batch {
            q: inputs.slice("q")?,
            k: inputs.slice("k")?,
            centroids: inputs.slice("centroids")?,
            cluster_end: inputs.slice("cluster_end")?,
            members: inputs.slice("members")?,
            fresh: inputs.slice("fresh_lines")?,
            clusters_of: ranges(inputs.slice("cluster_begin")?).collect(),
            slots_of: ranges(inputs.slice("slot_begin")?).collect(),
            fresh_of: ranges(inputs.slice("fresh_begin")?).collect(),
            hq: dims["hq"],
            hkv: dims["hkv"],
            d: dims["d"],
            head: dims["head"],
            window: dims["window"],
            units: units(inputs.scalar("scale")?),
            target: inputs.scalar("target")?,
        })
    }

    /// Pairs of a request and a head of queries, in the order of the results.
    pub(crate) fn pairs(&self) -> usize {
        self.slots_of.len() * self.hq
    }

    fn key(&self, line: i32, head: usize) -> &'a [bf16] {
        &self.k[(line as usize * self.hkv + head) * self.d..][..self.d]
    }

    /// What a pair asks for, with a function that gives scores: numbers of fresh keys, and behind them those of slots.
    pub(crate) fn asked(&self, pair: usize, scores: &Scores<'a>) -> Vec<u32> {
        let (request, head) = (pair / self.hq, pair % self.hq / (self.hq / self.hkv));
        let query = &self.q[pair * self.d..][..self.d];
        let (clusters, slots) = (self.clusters_of[request].clone(), self.slots_of[request].clone());
        let row = |cluster: usize| &self.centroids[(cluster * self.hkv + head) * self.d..][..self.d];
        // The best score first, ties by number, and what is no number last.
        let place = |(score, cluster): (f32, usize)| (score.rank().unwrap_or(u32::MAX), cluster);
        let mut order: Vec<(u32, usize)> =
            scores(query, &mut clusters.clone().map(row)).into_iter().zip(clusters.clone()).map(place).collect();
        order.sort_unstable();
        let ends = &self.cluster_end[head * self.centroids.len() / (self.hkv * self.d)..];
        let of = |(_, cluster): (u32, usize)| {
            let begin = if cluster == clusters.start { 0 } else { ends[cluster - 1] };
            begin as u32..ends[cluster] as u32
        };
        let order: Vec<u32> = order.into_iter().flat_map(of).collect();
        let members = &self.members[head * self.members.len() / self.hkv..][slots];
        let probe = Probe::of(order.len(), self.head, self.window);
        let fresh = &self.fresh[self.fresh_of[request].clone()];
        let first = fresh.len() as u32;
        let computed: Vec<u32> = (0..first).chain(probe.places().map(|place| first + order[place])).collect();
        let line = |number: &u32| match number.checked_sub(first) {
            Some(slot) => members[slot as usize],
            None => fresh[*number as usize],
        };
        let logits = scores(query, &mut computed.iter().map(|number| self.key(line(number), head)));
        let top = crate::sampling::top(&logits);
        let weights: Vec<u32> = logits.iter().map(|&logit| weight(deficit(top, logit, self.units))).collect();
        let choice = probe.choose(&weights, self.target);
        let mut chosen = vec![false; fresh.len() + order.len()];
        order[..choice.end].iter().for_each(|&slot| chosen[(first + slot) as usize] = true);
        computed.iter().for_each(|&number| chosen[number as usize] = false);
        choice.computed.iter().for_each(|&at| chosen[computed[at] as usize] = true);
        (0..chosen.len() as u32).filter(|&number| chosen[number as usize]).collect()
    }

    /// The results, from what all pairs ask for.
    pub(crate) fn results(&self, asked: &[Vec<u32>]) -> Result<Tensors, OpError> {
        let (b, group) = (self.slots_of.len(), self.hq / self.hkv);
        let mut selected = Vec::with_capacity(self.members.len() + self.hkv * self.fresh.len());
        let mut count = Vec::with_capacity(b * self.hkv);
        for (request, slots) in self.slots_of.iter().enumerate() {
            let fresh = &self.fresh[self.fresh_of[request].clone()];
            for head in 0..self.hkv {
                let members = &self.members[head * self.members.len() / self.hkv..][slots.clone()];
                let mut chosen = vec![false; fresh.len() + members.len()];
                let of_head = &asked[request * self.hq + head * group..][..group];
                of_head.iter().flatten().for_each(|&number| chosen[number as usize] = true);
                let (begin, room) = (selected.len(), selected.len() + chosen.len());
                let lines = fresh.iter().chain(members).zip(chosen);
                selected.extend(lines.filter(|(_, chosen)| *chosen).map(|(line, _)| line));
                count.push((selected.len() - begin) as i32);
                selected.resize(room, -1);
            }
        }
        let budget = asked.iter().map(|numbers| numbers.len() as i32).collect();
        Ok(Tensors::new()
            .with("selected", Tensor::from_vec([selected.len()], selected)?)
            .with("count", Tensor::from_vec([b, self.hkv], count)?)
            .with("budget", Tensor::from_vec([b, self.hq], budget)?))
    }
}

impl Operation for Select {
    fn def(&self) -> &'static OpDef {
        &DEF
    }

    fn samples(&self) -> Vec<Sample> {
        let all: [(&'static str, &[(&'static str, usize)]); 19] = [
            ("no_requests", &[("b", 0)]),
            ("no_queries", &[("hq", 0), ("n", 60)]),
            ("no_clusters", &[("n", 0), ("late", 9)]),
            ("no_keys", &[("n", 0), ("late", 0)]),
            ("empty_request", &[("b", 4), ("n", 120), ("hq", 4), ("hkv", 2)]),
            ("one_key", &[("b", 1), ("n", 1), ("late", 0), ("hq", 1), ("hkv", 1), ("d", 1)]),
            ("all_computed", &[("n", 90), ("head", 100)]),
            ("no_head", &[("n", 300), ("head", 0), ("window", 1), ("late", 0)]),
            ("empty_clusters", &[("n", 200), ("size", 1), ("hq", 4), ("hkv", 2), ("d", 16)]),
            ("one_cluster", &[("n", 150), ("size", 1000), ("hq", 2), ("hkv", 1)]),
            ("unaligned", &[("n", 230), ("d", 37), ("hq", 6), ("hkv", 3), ("b", 3)]),
            ("short", &[("n", 460), ("d", 8), ("head", 160), ("late", 33)]),
            ("group_of_7", &[("n", 350), ("hq", 7), ("hkv", 1), ("d", 128)]),
            ("ties", &[("n", 300), ("d", 16), ("hq", 4), ("hkv", 2)]),
            ("all_equal", &[("n", 333), ("d", 16), ("hq", 2), ("hkv", 1)]),
            ("extremes", &[("n", 260), ("d", 24), ("hq", 4), ("hkv", 2), ("b", 3)]),
            ("all", &[("n", 200), ("hq", 2), ("hkv", 1)]),
            ("least", &[("n", 200), ("hq", 2), ("hkv", 1)]),
            ("long", &[("b", 1), ("n", 5000), ("hq", 2), ("hkv", 1), ("head", 90), ("window", 40), ("d", 64)]),
        ];
        all.map(|(name, dims)| Sample::new(&DEF, name, dims)).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let [b, n, hq, hkv, d] = match size {
            Size::Simulator => [1, 700, 2, 1, 64],
            Size::Processor => [4, 32_768, 32, 8, 128],
            Size::Gpu => [16, 32_768, 32, 8, 128],
        };
        let window = if size == Size::Simulator { 16 } else { 128 };
        let dims = [("b", b), ("n", n), ("hq", hq), ("hkv", hkv), ("d", d), ("head", n / 64), ("window", window)];
        vec![Sample::new(&DEF, "decode", &dims)]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        DEF.constrain(dims)?;
        let [b, hq, hkv, d, n, size, late] = ["b", "hq", "hkv", "d", "n", "size", "late"].map(|axis| dims[axis]);
        let mut random = Random::new(seed);
        let (mut slots, mut fresh, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
        for request in 0..b {
            let near = |typical: usize, random: &mut Random| typical - random.within(0, typical / 4 + 1);
            let empty = name == "empty_request" && request % 2 == 0;
            let own = if empty { 0 } else { near(n, &mut random) };
            slots.push(own);
            fresh.push(near(late, &mut random));
            clusters.push(own.div_ceil(size.max(1)));
        }
        let [all_slots, all_fresh, all_clusters] = [&slots, &fresh, &clusters].map(|all| all.iter().sum::<usize>());
        let lines = all_slots + all_fresh;
        let mut k = vec![bf16::ZERO; lines * hkv * d];
        let mut centroids = vec![bf16::ZERO; all_clusters * hkv * d];
        let mut q = vec![bf16::ZERO; b * hq * d];
        // Lines in no order; each head has its own clusters of the same lines.
        let mut places: Vec<i32> = (0..lines as i32).collect();
        random.shuffle(&mut places);
        let fresh_lines = places.split_off(all_slots);
        let (mut members, mut ends) = (Vec::new(), Vec::new());
        for head in 0..hkv {
            let (mut slot, mut cluster) = (0, 0);
            for request in 0..b {
                let own = slot..slot + slots[request];
                let mut lines = places[own.clone()].to_vec();
                random.shuffle(&mut lines);
                let corpus = Corpus::new(lines.len(), d, clusters[request], 0.7, &mut random);
                let mut at = 0;
                corpus.each(&mut random, |x| {
                    k[(lines[at / d] as usize * hkv + head) * d + at % d] = bf16::from_f32(x);
                    at += 1;
                });
                for (at, &x) in corpus.centroids.iter().enumerate() {
                    centroids[((cluster + at / d) * hkv + head) * d + at % d] = bf16::from_f32(x);
                }
                let mut end = 0;
                ends.extend(corpus.sizes.iter().map(|&size| {
                    end += size as i32;
                    end
                }));
                let group = hq / hkv;
                let queries = corpus.queries(group, 0.5, &mut random).rewritten;
                for (at, &x) in queries.iter().enumerate() {
                    q[((request * hkv + head) * group + at / d) * d + at % d] = bf16::from_f32(x);
                }
                members.extend(lines);
                (slot, cluster) = (own.end, cluster + clusters[request]);
            }
            for &line in &fresh_lines {
                let at = (line as usize * hkv + head) * d;
                k[at..at + d].fill_with(|| bf16::from_f64(random.normal()));
            }
        }
        match name {
            // Few values, so that few scores.
            "ties" => {
                let coarse = |x: &mut bf16| *x = bf16::from_f32((x.to_f32() * 0.5).round_ties_even());
                k.iter_mut().chain(&mut centroids).chain(&mut q).for_each(coarse);
            }
            "all_equal" => k.iter_mut().chain(&mut centroids).for_each(|x| *x = bf16::from_f32(0.5)),
            "extremes" => {
                for x in k.iter_mut().chain(&mut centroids).chain(&mut q) {
                    if random.within(0, 300) == 0 {
                        *x = bf16::EXTREMES[random.within(0, bf16::EXTREMES.len())];
                    }
                }
            }
            _ => {}
        }
        let target = match name {
            "all" => 1f32,
            "least" => 0.0,
            _ => 0.9,
        };
        Ok(Tensors::new()
            .with("q", Tensor::from_vec([b, hq, d], q)?)
            .with("k", Tensor::from_vec([lines, hkv, d], k)?)
            .with("centroids", Tensor::from_vec([all_clusters, hkv, d], centroids)?)
            .with("cluster_begin", ends_of(&clusters))
            .with("cluster_end", Tensor::from_vec([hkv, all_clusters], ends)?)
            .with("slot_begin", ends_of(&slots))
            .with("members", Tensor::from_vec([hkv, all_slots], members)?)
            .with("fresh_begin", ends_of(&fresh))
            .with("fresh_lines", Tensor::from_vec([all_fresh], fresh_lines)?)
            .with("scale", Tensor::scalar(1.0 / (d as f32).sqrt()))
            .with("target", Tensor::scalar(target)))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = DEF.name;
        for (port, end) in [("cluster_begin", "clusters"), ("slot_begin", "slots"), ("fresh_begin", "fresh")] {
            offsets(name, inputs, port, dims[end])?;
        }
        within(name, inputs, "members", dims["lines"])?;
        within(name, inputs, "fresh_lines", dims["lines"])?;
        let (scale, target) = (inputs.scalar::<f32>("scale")?, inputs.scalar::<f32>("target")?);
        if !(scale.is_finite() && scale > 0.0) {
            return Err(wrong(name, "scale", 0, format!("is {scale}, not a number above 0")));
        }
        if !(0.0..=1.0).contains(&target) {
            return Err(wrong(name, "target", 0, format!("is {target}, not one of 0 to 1")));
        }
        let [clusters_of, slots_of, fresh_of] =
            ["cluster_begin", "slot_begin", "fresh_begin"].map(|port| Ok::<_, OpError>(ranges(inputs.slice(port)?)));
        let ends = inputs.slice::<i32>("cluster_end")?;
        for (request, ((clusters, slots), fresh)) in clusters_of?.zip(slots_of?).zip(fresh_of?).enumerate() {
            if slots.len() + fresh.len() > LONGEST {
                let text = format!("gives request {request} more than {LONGEST} keys");
                return Err(wrong(name, "slot_begin", request, text));
            }
            for head in 0..dims["hkv"] {
                let mut before = 0;
                for cluster in clusters.clone() {
                    let at = head * dims["clusters"] + cluster;
                    if ends[at] < before {
                        return Err(wrong(
                            name,
                            "cluster_end",
                            at,
                            format!("is {}, less than {before} before it", ends[at]),
                        ));
                    }
                    before = ends[at];
                }
                if before as usize != slots.len() {
                    let at = head * dims["clusters"] + clusters.end.saturating_sub(1);
                    let text =
                        format!("ends clusters of request {request} at {before}, but it has {} slots", slots.len());
                    return Err(wrong(name, "cluster_end", at, text));
                }
            }
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let batch = Batch::of(dims, inputs)?;
        let scores: &Scores<'_> =
            &|query, rows| rows.map(|row| bf16::score(Metric::InnerProduct, query, row)).collect();
        let asked: Vec<Vec<u32>> = (0..batch.pairs()).map(|pair| batch.asked(pair, scores)).collect();
        batch.results(&asked)
    }

    /// Centroids, and the keys whose weights are computed, are read once for the heads of queries that share them, as far as the same keys
    /// are computed for them; here they count for each.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let Ok(batch) = Batch::of(dims, inputs) else { return Work::default() };
        let (hq, hkv, d) = (dims["hq"] as u64, dims["hkv"] as u64, dims["d"] as u64);
        let (mut rows, mut computed) = (0, 0);
        for (request, slots) in batch.slots_of.iter().enumerate() {
            let probe = Probe::of(slots.len(), batch.head, batch.window);
            let exact = (probe.places().count() + batch.fresh_of[request].len()) as u64;
            computed += hq * exact;
            rows += hq * (exact + batch.clusters_of[request].len() as u64);
        }
        let (slots, fresh, clusters) = (dims["slots"] as u64, dims["fresh"] as u64, dims["clusters"] as u64);
        let tables = hkv * (clusters + slots) + fresh + 3 * (dims["b"] as u64 + 1);
        let results = hkv * (slots + fresh) + dims["b"] as u64 * (hkv + hq);
        Work {
            flops: 2 * d * rows,
            dram_bytes: 2 * d * (hkv * clusters + computed + dims["b"] as u64 * hq) + 4 * (tables + results),
            ..Work::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::accept;
    use crate::tactic::mass;

    #[test]
    fn what_is_selected_has_the_mass_that_was_asked_for_and_is_little_more_than_has_to_be() {
        let (mut parts, mut asked, mut fewest) = (Vec::new(), 0, 0);
        for seed in 0..6 {
            let dims = Dims::defaults(DEF.axes).with("n", 1000).with("head", 300);
            let inputs = Select.sample("usual", &dims, seed).unwrap();
            let dims = accept(&Select, &dims, &inputs).unwrap();
            let (batch, found) = (Batch::of(&dims, &inputs).unwrap(), Select.reference(&dims, &inputs).unwrap());
            let (selected, count) = (found.slice::<i32>("selected").unwrap(), found.slice::<i32>("count").unwrap());
            let budget = found.slice::<i32>("budget").unwrap();
            let mut room = 0;
            for (request, head) in (0..dims["b"]).flat_map(|request| (0..dims["hkv"]).map(move |head| (request, head)))
            {
                let fresh = &batch.fresh[batch.fresh_of[request].clone()];
                let members = &batch.members[head * dims["slots"]..][batch.slots_of[request].clone()];
                let lines: Vec<i32> = fresh.iter().chain(members).copied().collect();
                let own = &selected[room..room + count[request * dims["hkv"] + head] as usize];
                for pair in (0..2).map(|query| request * dims["hq"] + head * 2 + query) {
                    let query = &batch.q[pair * dims["d"]..][..dims["d"]];
                    let score = |&line: &i32| bf16::score(Metric::InnerProduct, query, batch.key(line, head));
                    let mass = mass(&lines.iter().map(score).collect::<Vec<f32>>(), 0.125);
                    parts.push(mass.part(own.iter().map(|line| lines.iter().position(|x| x == line).unwrap())));
                    asked += budget[pair] as usize;
                    fewest += mass.fewest(0.9).len();
                    assert!(budget[pair] as usize <= own.len());
                }
                room += lines.len();
            }
        }
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        let reached = parts.iter().filter(|part| **part >= 0.9).count();
        assert!(mean > 0.9 && reached * 10 >= parts.len() * 8, "{mean}, {reached} of {parts:.2?}");
        assert!(asked * 2 <= fewest * 3, "{asked} where {fewest} would do");
    }

    #[test]
    fn clusters_that_do_not_make_up_the_slots_are_refused() {
        let dims = Dims::defaults(DEF.axes);
        let inputs = Select.sample("usual", &dims, 1).unwrap();
        let mut ends = inputs.slice::<i32>("cluster_end").unwrap().to_vec();
        ends[3] = ends[2] - 1;
        let shape = inputs.get("cluster_end").unwrap().shape().clone();
        let replaced = |ends: Vec<i32>| {
            let all = inputs.iter().map(|(name, tensor)| match name {
                "cluster_end" => (name, Tensor::from_vec(shape.clone(), ends.clone()).unwrap()),
                _ => (name, tensor.clone()),
            });
            all.collect::<Tensors>()
        };
        let error = accept(&Select, &dims, &replaced(ends.clone())).unwrap_err().to_string();
        assert!(error.contains("operand cluster_end at position 3 is") && error.contains("before it"), "{error}");
        ends[3] = ends[2];
        let last = accept(&Select, &dims, &inputs).unwrap()["clusters"] - 1;
        ends[last] += 1;
        let error = accept(&Select, &dims, &replaced(ends)).unwrap_err().to_string();
        assert!(error.contains("ends clusters of request 1 at"), "{error}");
    }
}
