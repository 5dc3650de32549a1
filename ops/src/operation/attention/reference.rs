//! Results in `f64`, a row and a head at a time, from the scores of every position that the row sees.

use super::{Batch, Request, Row, choice};
use crate::OpError;
use crate::def::{Dims, OpDef, Tensors};
use tandem_tensor::Tensor;

/// What operands and choices say of scores, in `f64`.
struct Rule<'a> {
    logits: &'static str,
    soft_cap: f64,
    bias: f64,
    slopes: Vec<f64>,
    mask: Option<&'a [u8]>,
}

impl Rule<'_> {
    fn new<'a>(def: &OpDef, dims: &Dims, inputs: &'a Tensors) -> Result<Rule<'a>, OpError> {
        let scalar = |name: &str| inputs.find(name).map_or(0.0, |tensor| tensor.to_f64()[0]);
        let custom = choice(def, dims, "mask") == "custom";
        Ok(Rule {
            logits: choice(def, dims, "logits"),
            soft_cap: scalar("soft_cap"),
            bias: scalar("bias"),
            slopes: inputs.find("slopes").map_or(Vec::new(), Tensor::to_f64),
            mask: if custom { Some(inputs.slice("mask")?) } else { None },
        })
    }

    fn sees(&self, batch: &Batch<'_>, request: &Request, row: usize, position: usize) -> bool {
        let place = (row + request.kv) as i64 - request.rows.len() as i64;
        let behind = place - position as i64;
        let bit = row * request.kv + position;
        (!batch.span.causal || behind >= 0)
            && batch.span.window.is_none_or(|window| behind < window as i64)
            && self.mask.is_none_or(|mask| mask[request.mask + bit / 8] >> (bit % 8) & 1 == 1)
    }

    fn logit(&self, x: f64, request: &Request, row: usize, position: usize, head: usize) -> f64 {
        match self.logits {
            "soft_cap" => self.soft_cap * (x / self.soft_cap).tanh(),
            "alibi" => {
                let place = (row + request.kv) as f64 - request.rows.len() as f64;
                x + self.slopes[head] * (position as f64 - place)
            }
            "sigmoid" => 1.0 / (1.0 + (-(x + self.bias)).exp()),
            _ => x,
        }
    }
}

/// `o` and `lse` of a row that attends to all levels together.
pub(super) fn reference(def: &OpDef, dims: &Dims, inputs: &Tensors, levels: &[Batch<'_>]) -> Result<Tensors, OpError> {
    let rule = Rule::new(def, dims, inputs)?;
    let Some(Batch { rows, q_heads, d, .. }) = levels.first().cloned() else { return Ok(def.empty_outputs(dims)) };
    let group = levels[0].group();
    let (mut o, mut lse) = (vec![0.0; rows * q_heads * d], vec![f64::NEG_INFINITY; rows * q_heads]);
    for row in 0..rows {
        for head in 0..q_heads {
            let mut seen: Vec<(f64, Row<'_>)> = Vec::new();
            for batch in levels {
                let q: Vec<f64> = batch.q[(row * q_heads + head) * d..][..d].iter().map(|x| x.to_f64()).collect();
                let own = |request: &&Request| request.rows.contains(&row) && request.heads.contains(&(head / group));
                for request in batch.requests.iter().filter(own) {
                    let at = row - request.rows.start;
                    for position in (0..request.kv).filter(|&position| rule.sees(batch, request, at, position)) {
                        let line = batch.store.line_of(request, position);
                        let k = batch.store.key(line, head / group, d);
                        let mut dot = 0.0;
                        k.each(|at, k| dot += q[at] * f64::from(k));
                        let x = rule.logit(dot * f64::from(batch.scale), request, at, position, head);
                        seen.push((x, batch.store.value(line, head / group, d)));
                    }
                }
            }
            let out = &mut o[(row * q_heads + head) * d..][..d];
            lse[row * q_heads + head] = weigh(&mut seen, rule.logits != "sigmoid", out);
        }
    }
    Ok(Tensors::new()
        .with("o", Tensor::from_f64(def.outputs[0].dtype, [rows, q_heads, d], &o)?)
        .with("lse", Tensor::from_f64(def.outputs[1].dtype, [rows, q_heads], &lse)?))
}

/// Adds values by their scores' weights and returns the logarithm of the sum of weights.
fn weigh(seen: &mut [(f64, Row<'_>)], softmax: bool, out: &mut [f64]) -> f64 {
    let mut total = 1.0;
    let mut largest = 0.0;
    if softmax {
        // A NaN among the scores is one of the weights, whatever the largest is.
        largest = seen.iter().map(|&(x, _)| x).fold(f64::NEG_INFINITY, f64::max);
        // Where no weight is left there is nothing to subtract from.
        let base = if largest == f64::NEG_INFINITY { 0.0 } else { largest };
        seen.iter_mut().for_each(|(x, _)| *x = (*x - base).exp());
        total = seen.iter().map(|&(x, _)| x).sum();
        if total == 0.0 {
            return f64::NEG_INFINITY;
        }
        largest = base;
    }
    for (weight, value) in seen.iter() {
        value.each(|at, v| out[at] += weight * f64::from(v));
    }
    out.iter_mut().for_each(|x| *x /= total);
    if softmax { (total.ln() + largest) * std::f64::consts::LOG2_E } else { 0.0 }
}
