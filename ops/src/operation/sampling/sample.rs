//! A token of every row of logits.

use super::{Filter, Kept, RANDOM, ROWS, Stream, TOKENS, with_random};
use crate::OpError;
use crate::def::{Agree, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use tandem_tensor::{DType, Tensor};

const M: &[Dim] = &[Dim::Axis("m")];
const LOGITS: &[Dim] = &[Dim::Axis("m"), Dim::Axis("n")];

static SAMPLE: OpDef = OpDef {
    name: "sample.f32",
    summary: "draws a token of softmax(logits / temperature), of those that top-k, then top-p, then min-p keep; -1 of a row without a logit above -inf",
    axes: &[ROWS, TOKENS],
    inputs: &[
        Port { name: "logits", dtype: DType::F32, dims: LOGITS, doc: "logits; a NaN is never drawn" },
        Port {
            name: "temperature",
            dtype: DType::F32,
            dims: M,
            doc: "divides the logits; 0: the largest, the first of several",
        },
        Port { name: "top_k", dtype: DType::I32, dims: M, doc: "how many of the largest are kept; 0: all" },
        Port { name: "top_p", dtype: DType::F32, dims: M, doc: "part of the mass that is kept at least, 0 to 1" },
        Port {
            name: "min_p",
            dtype: DType::F32,
            dims: M,
            doc: "least weight that is kept, as a part of the largest, 0 to 1",
        },
        RANDOM[0],
        RANDOM[1],
        RANDOM[2],
    ],
    outputs: &[Port { name: "token", dtype: DType::I32, dims: M, doc: "index of the token" }],
    // Sums of weights stay below 2^62.
    holds: &[Constraint { text: "n <= 2^30", holds: |dims| dims["n"] <= 1 << 30 }],
    agree: Agree::Exact,
    fpga: Grade::ReferenceOnly("weights are products of 32 bits and sums of 64, which the core lacks"),
};

/// The filter of every row.
///
/// # Errors
/// Invalid, where an operand is missing or of another dtype.
pub fn filters(inputs: &Tensors) -> Result<impl Iterator<Item = Filter> + '_, OpError> {
    let (temperature, top_k) = (inputs.slice::<f32>("temperature")?, inputs.slice::<i32>("top_k")?);
    let (top_p, min_p) = (inputs.slice::<f32>("top_p")?, inputs.slice::<f32>("min_p")?);
    let rows = temperature.iter().zip(top_k).zip(top_p).zip(min_p);
    Ok(rows.map(|(((&temperature, &top_k), &top_p), &min_p)| Filter { temperature, top_k, top_p, min_p }))
}

/// The random numbers of every row.
///
/// # Errors
/// Invalid, where an operand is missing or of another dtype.
pub fn streams(inputs: &Tensors) -> Result<impl Iterator<Item = Stream> + '_, OpError> {
    let (seed, streams, steps) = (inputs.scalar("seed")?, inputs.slice::<u64>("stream")?, inputs.slice("step")?);
    Ok(streams.iter().zip(steps).map(move |(&stream, &step)| Stream { seed, stream, step }))
}

/// The filter of a row of a sample of that name.
fn filter(name: &str, row: usize, n: usize, random: &mut Random) -> Filter {
    let drawn = Filter {
        temperature: 0.3 + 1.2 * random.unit() as f32,
        top_k: random.within(0, 2) as i32 * random.within(0, n + 2) as i32,
        top_p: if random.bits() & 1 == 0 { 1.0 } else { random.unit() as f32 },
        min_p: if random.bits() & 1 == 0 { 0.0 } else { 0.3 * random.unit() as f32 },
    };
    let none = Filter { temperature: drawn.temperature, ..Filter::NONE };
    match name {
        "greedy" | "greedy_ties" => Filter { temperature: [0.0, -0.0][row % 2], ..drawn },
        "unfiltered" | "infinite" => none,
        "top_k" | "ties_at_top_k" => Filter { top_k: 1 + (7 * row % n) as i32, ..none },
        "top_k_of_all" => Filter { top_k: [n as i32, n as i32 + 1, i32::MAX][row % 3], ..none },
        "top_p" | "ties_at_top_p" | "flat" => Filter { top_p: 0.05 + 0.9 * drawn.top_p * random.unit() as f32, ..none },
        "edges_of_parts" => {
            let edges = [0.0, f32::from_bits(1), 1.0 - f32::EPSILON / 2.0, 1.0];
            Filter { top_p: edges[row % 4], min_p: edges[row / 4 % 4], ..none }
        }
        "min_p" => Filter { min_p: random.unit() as f32, ..none },
        "hot_and_cold" => Filter { temperature: [1e-45, 1e-20, 1e3, f32::MAX][row % 4], ..drawn },
        _ => drawn,
    }
}

pub(super) struct Sampling;

impl Operation for Sampling {
    fn def(&self) -> &'static OpDef {
        &SAMPLE
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_rows", 0, 50),
            ("empty_vocabulary", 3, 0),
            ("one_token", 4, 1),
            ("two_tokens", 9, 2),
            ("greedy", 6, 300),
            ("greedy_ties", 6, 300),
            ("unfiltered", 12, 111),
            ("top_k", 20, 111),
            ("top_k_of_all", 6, 65),
            ("ties_at_top_k", 20, 140),
            ("top_p", 20, 257),
            ("ties_at_top_p", 20, 140),
            ("flat", 9, 600),
            ("edges_of_parts", 16, 77),
            ("min_p", 12, 200),
            ("hot_and_cold", 12, 130),
            ("all_masked", 4, 90),
            ("partly_masked", 8, 333),
            ("nan_and_inf", 9, 50),
            ("infinite", 6, 100),
            ("large", 6, 128),
            ("ragged", 5, 1031),
            ("whole_vectors", 4, 4096),
            ("long", 3, 20_003),
        ];
        all.map(|(name, m, n)| Sample::new(&SAMPLE, name, &[("m", m), ("n", n)])).into()
    }

    /// Rows of a model's vocabulary, without filters and with all of them.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, n) = match size {
            Size::Simulator => (1, 16_032),
            Size::Processor => (128, 128_256),
            Size::Gpu => (512, 128_256),
        };
        ["unfiltered", "top_k", "top_p", "random"].map(|name| Sample::new(&SAMPLE, name, &[("m", m), ("n", n)])).into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        SAMPLE.constrain(dims)?;
        let (m, n) = (dims["m"], dims["n"]);
        let mut random = Random::new(seed);
        let deviation = if name == "large" { 1e38 } else { 2.0 };
        let mut logits: Vec<f32> = (0..m * n).map(|_| (random.normal() * deviation) as f32).collect();
        for (row, logits) in logits.chunks_exact_mut(n.max(1)).enumerate() {
            match name {
                "greedy_ties" | "ties_at_top_k" | "ties_at_top_p" => logits.iter_mut().for_each(|x| *x = x.round()),
                "flat" => logits.fill(row as f32),
                "all_masked" => logits.fill([f32::NEG_INFINITY, f32::NAN][row % 2]),
                "partly_masked" => logits[..row * n / m].fill(f32::NEG_INFINITY),
                "nan_and_inf" => {
                    let kinds = [f32::NAN, -f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
                    (0..=row).for_each(|i| logits[random.within(0, n)] = kinds[i % 4]);
                }
                "infinite" => (0..3).for_each(|_| logits[random.within(0, n)] = f32::INFINITY),
                _ => {}
            }
        }
        let filters: Vec<Filter> = (0..m).map(|row| filter(name, row, n.max(1), &mut random)).collect();
        let reals = |of: fn(&Filter) -> f32| Tensor::from_vec([m], filters.iter().map(of).collect::<Vec<f32>>());
        let inputs = Tensors::new()
            .with("logits", Tensor::from_vec([m, n], logits)?)
            .with("temperature", reals(|filter| filter.temperature)?)
            .with("top_k", Tensor::from_vec([m], filters.iter().map(|filter| filter.top_k).collect::<Vec<i32>>())?)
            .with("top_p", reals(|filter| filter.top_p)?)
            .with("min_p", reals(|filter| filter.min_p)?);
        with_random(inputs, &mut random, m)
    }

    fn check(&self, _: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let wrong = filters(inputs)?.enumerate().find_map(|(row, filter)| Some((row, filter.wrong()?)));
        wrong.map_or(Ok(()), |(row, (port, text))| {
            Err(OpError::Invalid(format!("sample.f32: operand {port} at row {row} {text}")))
        })
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, n) = (dims["m"], dims["n"]);
        let logits = inputs.slice::<f32>("logits")?;
        let rows = filters(inputs)?.zip(streams(inputs)?).enumerate();
        let tokens =
            rows.map(|(row, (filter, stream))| Kept::of(&logits[row * n..(row + 1) * n], &filter).draw(stream.bits(0)));
        Ok(Tensors::new().with("token", Tensor::from_vec([m], tokens.collect::<Vec<i32>>())?))
    }

    /// A maximum, a difference and a product, and the integers of a weight.
    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (m, elements) = (dims["m"] as u64, (dims["m"] * dims["n"]) as u64);
        Work { flops: 3 * elements, int_ops: 13 * elements, dram_bytes: 4 * elements + 32 * m, ..Work::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::weight::{ONE, deficit, weight};
    use super::*;
    use crate::def::accept;
    use std::collections::BTreeMap;

    fn logits(random: &mut Random, n: usize) -> Vec<f32> {
        // Halves, so that there are ties.
        (0..n).map(|_| (random.normal() * 6.0).round() as f32 / 2.0).collect()
    }

    fn kept(logits: &[f32], filter: &Filter) -> Vec<i32> {
        Kept::of(logits, filter).weights().map(|(token, _)| token).collect()
    }

    /// Tokens by logit, the largest first, and of equal ones the first.
    fn order(logits: &[f32]) -> Vec<i32> {
        let mut order: Vec<i32> = (0..logits.len() as i32).collect();
        order.sort_by(|&a, &b| logits[b as usize].partial_cmp(&logits[a as usize]).unwrap());
        order
    }

    #[test]
    fn top_k_keeps_so_many_and_of_equal_ones_the_first() {
        let mut random = Random::new(1);
        for _ in 0..300 {
            let n = random.within(1, 200);
            let (logits, k) = (logits(&mut random, n), random.within(1, n + 3));
            let mut first = order(&logits);
            first.truncate(k);
            first.sort_unstable();
            assert_eq!(kept(&logits, &Filter { top_k: k as i32, ..Filter::NONE }), first);
        }
        assert_eq!(kept(&[1.0, 2.0], &Filter::NONE), [0, 1]);
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_has_the_mass() {
        let mut random = Random::new(2);
        for round in 0..300 {
            let n = random.within(1, 200);
            let (logits, p) = (logits(&mut random, n), random.unit() as f32);
            let top_k = (round % 2 * random.within(1, n + 1)) as i32;
            let filter = Filter { top_k, temperature: 0.2 + random.unit() as f32, ..Filter::NONE };
            let all: BTreeMap<i32, u64> = Kept::of(&logits, &filter).weights().collect();
            let mass: u64 = all.values().sum();
            let enough = |mass_of: u64| mass_of as f64 >= f64::from(p) * mass as f64;
            let mut found: Vec<i32> = kept(&logits, &Filter { top_p: p, ..filter });
            let mut first = order(&logits);
            first.truncate(found.len());
            let of = |tokens: &[i32]| tokens.iter().map(|token| all[token]).sum::<u64>();
            assert!(enough(of(&first)), "{first:?} {p}");
            // Units of 2^-32 are rounded up: what is left out by one token has less than p and that.
            assert!(of(&first[..first.len() - 1]) as f64 <= (f64::from(p) + 3e-10) * mass as f64);
            first.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, first);
        }
        assert_eq!(kept(&[0.0, 5.0, 5.0], &Filter { top_p: 0.0, ..Filter::NONE }), [1]);
    }

    #[test]
    fn min_p_keeps_what_is_near_the_largest() {
        let mut random = Random::new(3);
        for _ in 0..300 {
            let n = random.within(1, 100);
            let (logits, filter) =
                (logits(&mut random, n), Filter { min_p: random.unit() as f32, temperature: 0.7, ..Filter::NONE });
            let (top, scale) = (super::super::top(&logits), filter.scale());
            let near =
                |logit: f32| f64::from(weight(deficit(top, logit, scale))) >= f64::from(filter.min_p) * f64::from(ONE);
            let expected: Vec<i32> =
                (0..).zip(&logits).filter(|&(_, &logit)| near(logit)).map(|(token, _)| token).collect();
            assert!(!expected.is_empty());
            assert_eq!(kept(&logits, &filter), expected);
        }
    }

    /// The cosine of the angle between frequencies and probabilities.
    fn cosine(counts: &[f64], exact: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(counts, exact) / (dot(counts, counts) * dot(exact, exact)).sqrt()
    }

    #[test]
    fn frequencies_are_the_softmax_of_what_is_kept() {
        for (n, deviation, draws) in [(111, 1.0, 100_000), (32_000, 2.0, 1_500_000)] {
            let mut random = Random::new(n as u64);
            let logits: Vec<f32> = (0..n).map(|_| (random.normal() * deviation) as f32).collect();
            let filters = [
                Filter::NONE,
                Filter { top_k: 50, temperature: 0.8, ..Filter::NONE },
                Filter { top_p: 0.7, ..Filter::NONE },
            ];
            for filter in filters {
                let kept = Kept::of(&logits, &filter);
                let mut exact = vec![0.0; n];
                for (token, _) in kept.weights() {
                    exact[token as usize] = (f64::from(logits[token as usize]) / f64::from(filter.temperature)).exp();
                }
                let mut counts = vec![0.0; n];
                for stream in 0..draws {
                    counts[kept.draw(Stream { seed: 7, stream, step: 0 }.bits(0)) as usize] += 1.0;
                }
                let cosine = cosine(&counts, &exact);
                assert!(cosine > 0.99, "{n} {filter:?}: {cosine}");
            }
        }
    }

    #[test]
    fn temperature_0_takes_the_largest_whatever_else_is_asked() {
        let mut random = Random::new(5);
        for seed in 0..200 {
            let logits = logits(&mut random, 40);
            let filter = Filter { temperature: 0.0, top_k: 9, top_p: 0.9, min_p: 0.1 };
            let drawn = Kept::of(&logits, &filter).draw(Stream { seed, stream: 0, step: 0 }.bits(0));
            assert_eq!(drawn, order(&logits)[0]);
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_row_and_port() {
        let dims = Dims::defaults(SAMPLE.axes).with("m", 3).with("n", 8);
        let inputs = Sampling.sample("random", &dims, 1).unwrap();
        for (port, x) in
            [("temperature", -1.0), ("temperature", f32::NAN), ("top_p", 1.5), ("min_p", -0.1), ("top_p", f32::NAN)]
        {
            let bad = inputs.clone().with(port, Tensor::from_vec([3], vec![0.5, x, 0.5]).unwrap());
            let error = accept(&Sampling, &dims, &bad).unwrap_err().to_string();
            assert!(error.contains(&format!("operand {port} at row 1 is {x}")), "{error}");
        }
        let bad = inputs.with("top_k", Tensor::from_vec([3], vec![0, 0, -4]).unwrap());
        assert!(accept(&Sampling, &dims, &bad).unwrap_err().to_string().contains("operand top_k at row 2 is -4"));
    }
}
