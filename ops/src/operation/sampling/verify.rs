//! Tokens of a draft, verified against the probabilities of the model that they are a draft of.
//!
//! # Source
//! Y. Leviathan, M. Kalman, Y. Matias: Fast inference from transformers via speculative decoding. ICML 2023.

use super::weight::{grid, part};
use super::{RANDOM, ROWS, Stream, TOKENS, streams, with_random};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

const M: Dim = Dim::Axis("m");
const N: Dim = Dim::Axis("n");
const ONE_MORE: Dim = Dim::Plus("draft", 1);

static VERIFY: OpDef = OpDef {
    name: "speculative_verify.f32",
    summary: "accepts tokens of a draft with min(1, target / draft), and draws the next from max(target - draft, 0), or from target behind the last",
    axes: &[ROWS, Axis { name: "draft", kind: AxisKind::Extent, default: 4, doc: "tokens of a draft" }, TOKENS],
    inputs: &[
        Port {
            name: "draft_tokens",
            dtype: DType::I32,
            dims: &[M, Dim::Axis("draft")],
            doc: "tokens, drawn from draft",
        },
        Port {
            name: "draft_probs",
            dtype: DType::F32,
            dims: &[M, Dim::Axis("draft"), N],
            doc: "probabilities of the draft",
        },
        Port { name: "target_probs", dtype: DType::F32, dims: &[M, ONE_MORE, N], doc: "probabilities of the target" },
        RANDOM[0],
        RANDOM[1],
        RANDOM[2],
    ],
    outputs: &[
        Port { name: "accepted", dtype: DType::I32, dims: &[M], doc: "how many tokens of the draft are accepted" },
        Port {
            name: "tokens",
            dtype: DType::I32,
            dims: &[M, ONE_MORE],
            doc: "those, the one that is drawn, and -1 behind it",
        },
    ],
    holds: &[
        Constraint { text: "n <= 2^30", holds: |dims| dims["n"] <= 1 << 30 },
        Constraint { text: "draft < 2^16", holds: |dims| dims["draft"] < 1 << 16 },
    ],
    agree: Agree::Exact,
    fpga: Grade::ReferenceOnly("weights are compared by products of 64 bits, which the core lacks"),
};

/// A row: the tokens of a draft, their probabilities, and those of the target.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Tokens of the vocabulary.
    pub n: usize,
    /// The tokens.
    pub tokens: &'a [i32],
    /// As many rows of probabilities.
    pub draft: &'a [f32],
    /// One row more.
    pub target: &'a [f32],
}

impl<'a> Draft<'a> {
    /// How many tokens are accepted. The one at position i is, if u q < 2^32 p, of the grid's p and q and the first word u that its
    /// stream has for purpose 1 + i.
    pub fn accepted(&self, stream: Stream) -> usize {
        let accepted = self.tokens.iter().enumerate().take_while(|&(at, &token)| {
            let place = at * self.n + token as usize;
            let (p, q) = (u64::from(grid(self.target[place])), u64::from(grid(self.draft[place])));
            u64::from(stream.words(1 + at as u32)[0]) * q < p << 32
        });
        accepted.count()
    }

    /// The probabilities of a position, of the target and, unless it is behind the last, of the draft.
    pub fn position(&self, at: usize) -> (&'a [f32], Option<&'a [f32]>) {
        let range = at * self.n..(at + 1) * self.n;
        (&self.target[range.clone()], self.draft.get(range).filter(|_| at < self.tokens.len()))
    }
}

/// The rows.
///
/// # Errors
/// Invalid, where an operand is missing or of another dtype.
pub fn drafts<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Vec<Draft<'a>>, OpError> {
    let (m, length, n) = (dims["m"], dims["draft"], dims["n"]);
    let tokens = inputs.slice::<i32>("draft_tokens")?;
    let (draft, target) = (inputs.slice::<f32>("draft_probs")?, inputs.slice::<f32>("target_probs")?);
    let row = |row: usize| {
        let part = |length: usize| row * length..(row + 1) * length;
        let (tokens, draft) = (&tokens[part(length)], &draft[part(length * n)]);
        Draft { n, tokens, draft, target: &target[part((length + 1) * n)] }
    };
    Ok((0..m).map(row).collect())
}

/// The token that 64 random bits draw of what the target has and the draft has not: of all of the target, where that is nothing. -1,
/// where the target has nothing either.
fn draw(target: &[f32], draft: Option<&[f32]>, bits: u64) -> i32 {
    let target: Vec<u64> = target.iter().map(|&p| u64::from(grid(p))).collect();
    let residual: Vec<u64> = match draft {
        Some(draft) => target.iter().zip(draft).map(|(&p, &q)| p.saturating_sub(u64::from(grid(q)))).collect(),
        None => target.clone(),
    };
    let weights = if residual.iter().all(|&weight| weight == 0) { target } else { residual };
    let mut left = part(bits, weights.iter().sum());
    let token = weights.iter().position(|&weight| {
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    });
    token.map_or(-1, |token| token as i32)
}

/// `rows` distributions: softmax of normally distributed logits, or what the sample's name says.
fn distributions(name: &str, rows: usize, n: usize, random: &mut Random) -> Vec<f32> {
    let mut all = Vec::with_capacity(rows * n);
    for row in 0..rows {
        let one_hot = name == "one_hot" || name == "disjoint";
        let hot = if one_hot { random.within(0, n) } else { 0 };
        let logits: Vec<f64> = (0..n).map(|_| random.normal() * 2.0).collect();
        let exps: Vec<f64> = match name {
            _ if one_hot => (0..n).map(|token| f64::from(u8::from(token == hot))).collect(),
            "uniform" => vec![1.0; n],
            "no_mass" if row % 2 == 0 => vec![0.0; n],
            _ => logits.iter().map(|x| x.exp()).collect(),
        };
        let sum: f64 = exps.iter().sum();
        all.extend(exps.iter().map(|x| if sum > 0.0 { (x / sum) as f32 } else { 0.0 }));
    }
    all
}

pub(super) struct Verify;

impl Operation for Verify {
    fn def(&self) -> &'static OpDef {
        &VERIFY
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_rows", 0, 3, 20),
            ("empty_vocabulary", 3, 0, 0),
            ("no_draft", 5, 0, 70),
            ("one_token", 3, 4, 1),
            ("same_distribution", 6, 5, 90),
            ("one_hot", 9, 3, 5),
            ("disjoint", 6, 2, 40),
            ("uniform", 7, 3, 64),
            ("no_mass", 8, 2, 33),
            ("unlikely_draft", 10, 4, 111),
            ("ragged", 9, 3, 131),
            ("whole_vectors", 4, 2, 512),
            ("long_draft", 3, 40, 17),
            ("long", 2, 2, 9001),
        ];
        let names = ["m", "draft", "n"];
        let one = |(name, m, draft, n)| {
            let extents = [m, draft, n];
            Sample::new(&VERIFY, name, &std::array::from_fn::<_, 3, _>(|at| (names[at], extents[at])))
        };
        all.map(one).into()
    }

    /// Drafts of one token of a model's vocabulary: of longer ones only one position is read.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, n) = match size {
            Size::Simulator => (1, 16_032),
            Size::Processor => (64, 128_256),
            Size::Gpu => (256, 128_256),
        };
        vec![Sample::new(&VERIFY, "random", &[("m", m), ("draft", 1), ("n", n)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        VERIFY.constrain(dims)?;
        let (m, length, n) = (dims["m"], dims["draft"], dims["n"]);
        let mut random = Random::new(seed);
        let target = distributions(name, m * (length + 1), n, &mut random);
        let mut draft = Vec::with_capacity(m * length * n);
        if name == "same_distribution" {
            target.chunks_exact((length + 1) * n).for_each(|row| draft.extend_from_slice(&row[..length * n]));
        } else {
            draft = distributions(name, m * length, n, &mut random);
        }
        let mut token = |at: usize| {
            let drawn = draw(&draft[at * n..(at + 1) * n], None, random.bits());
            // What has no mass, and what a draft does not draw from its own distribution.
            if drawn < 0 || name == "unlikely_draft" { random.within(0, n) as i32 } else { drawn }
        };
        let tokens: Vec<i32> = if n == 0 { vec![0; m * length] } else { (0..m * length).map(&mut token).collect() };
        let inputs = Tensors::new()
            .with("draft_tokens", Tensor::from_vec([m, length], tokens)?)
            .with("draft_probs", Tensor::from_vec([m, length, n], draft)?)
            .with("target_probs", Tensor::from_vec([m, length + 1, n], target)?);
        with_random(inputs, &mut random, m)
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let refuse = |port: &str, at: usize, text: String| {
            Err(OpError::Invalid(format!("speculative_verify.f32: operand {port} at {at} is {text}")))
        };
        let tokens = inputs.slice::<i32>("draft_tokens")?;
        if let Some(at) = tokens.iter().position(|&token| token < 0 || token as usize >= dims["n"]) {
            return refuse("draft_tokens", at, format!("{}, which is no token of {}", tokens[at], dims["n"]));
        }
        for port in ["draft_probs", "target_probs"] {
            let probabilities = inputs.slice::<f32>(port)?;
            if let Some(at) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
                return refuse(port, at, format!("{}, not one of 0 to 1", probabilities[at]));
            }
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (m, length) = (dims["m"], dims["draft"]);
        let (mut counts, mut tokens) = (Vec::with_capacity(m), Vec::with_capacity(m * (length + 1)));
        for (row, stream) in drafts(dims, inputs)?.into_iter().zip(streams(inputs)?) {
            let accepted = row.accepted(stream);
            let (target, draft) = row.position(accepted);
            tokens.extend_from_slice(&row.tokens[..accepted]);
            tokens.push(draw(target, draft, stream.bits(1 + accepted as u32)));
            tokens.resize(tokens.len() + length - accepted, -1);
            counts.push(accepted as i32);
        }
        let tokens = Tensor::from_vec([m, length + 1], tokens)?;
        Ok(Tensors::new().with("accepted", Tensor::from_vec([m], counts)?).with("tokens", tokens))
    }

    /// Of a row, what is accepted, the probabilities of one position, and those of the tokens of the draft up to it.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let (m, length, n) = (dims["m"] as u64, dims["draft"] as u64, dims["n"] as u64);
        let bonus = match (drafts(dims, inputs), streams(inputs)) {
            (Ok(drafts), Ok(streams)) => {
                drafts.iter().zip(streams).filter(|(row, stream)| row.accepted(*stream) == row.tokens.len()).count()
                    as u64
            }
            _ => 0,
        };
        let elements = (2 * m - bonus) * n;
        let small = m * (12 + 12 * length + 4 * (length + 1) + 4);
        Work { flops: 2 * elements, int_ops: 2 * m * n, dram_bytes: 4 * elements + small, ..Work::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::accept;

    #[test]
    fn the_output_has_the_distribution_of_the_target() {
        let n = 7;
        let mut random = Random::new(3);
        for (kind, target_kind) in
            [("random", "random"), ("uniform", "random"), ("one_hot", "random"), ("random", "one_hot")]
        {
            let draft = distributions(kind, 1, n, &mut random);
            let target = distributions(target_kind, 2, n, &mut random);
            let rounds = 200_000;
            let (mut first, mut second, mut bonus) = (vec![0.0; n], vec![0.0; n], 0.0);
            for stream in 0..rounds {
                // The draft's own draw is of another seed.
                let tokens = [draw(&draft, None, Stream { seed: 1, stream, step: 0 }.bits(0))];
                let row = Draft { n, tokens: &tokens, draft: &draft, target: &target };
                let stream = Stream { seed: 2, stream, step: 0 };
                let accepted = row.accepted(stream);
                let (p, q) = row.position(accepted);
                let drawn = draw(p, q, stream.bits(1 + accepted as u32)) as usize;
                if accepted == 1 {
                    first[tokens[0] as usize] += 1.0;
                    second[drawn] += 1.0;
                    bonus += 1.0;
                } else {
                    first[drawn] += 1.0;
                }
            }
            for token in 0..n {
                // Five standard deviations.
                let near = |count: f64, of: f64, p: f32| {
                    let p = f64::from(p);
                    (count / of - p).abs() <= 5.0 * (p * (1.0 - p) / of).sqrt() + 1e-6
                };
                assert!(near(first[token], rounds as f64, target[token]), "{kind}: {first:?}, not {target:?}");
                assert!(bonus == 0.0 || near(second[token], bonus, target[n + token]), "{kind}: {second:?}");
            }
        }
    }

    #[test]
    fn a_draft_of_the_target_itself_is_accepted_whole() {
        let dims = Dims::defaults(VERIFY.axes).with("m", 40).with("draft", 5).with("n", 60);
        let inputs = Verify.sample("same_distribution", &dims, 3).unwrap();
        let outputs = Verify.reference(&dims, &inputs).unwrap();
        assert!(outputs.slice::<i32>("accepted").unwrap().iter().all(|&accepted| accepted == 5));
        assert!(outputs.slice::<i32>("tokens").unwrap().iter().all(|&token| (0..60).contains(&token)));
    }

    #[test]
    fn what_is_no_token_or_no_probability_is_refused_where_it_is() {
        let dims = Dims::defaults(VERIFY.axes).with("m", 1).with("draft", 2).with("n", 3);
        let inputs = Verify.sample("random", &dims, 1).unwrap();
        accept(&Verify, &dims, &inputs).unwrap();
        let refused =
            |port, tensor| accept(&Verify, &dims, &inputs.clone().with(port, tensor)).unwrap_err().to_string();
        let text = refused("draft_tokens", Tensor::from_vec([1, 2], vec![2i32, 3]).unwrap());
        assert!(text.contains("draft_tokens at 1 is 3, which is no token of 3"), "{text}");
        let text =
            refused("draft_probs", Tensor::from_vec([1, 2, 3], vec![0.0, 0.5, 0.5, 0.0, f32::NAN, 0.0]).unwrap());
        assert!(text.contains("draft_probs at 4 is NaN, not one of 0 to 1"), "{text}");
    }
}
