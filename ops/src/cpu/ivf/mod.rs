//! Retrieval: the kernels of `ivf_scan.*` and `topk_merge.*`.
//!
//! Threads draw stretches of lists. A few vectors at a time are scored for all queries that probe the list while they are in the
//! first-level cache, and each score is compared with the bound of its query, so that no list of scores is ever stored or sorted.
//! Every thread keeps the best of each query that it met; since candidates have an order without ties, the best of all threads do
//! not depend on who drew what. With one query the memory is the limit, with many the multiply-adds.

mod codes;
mod floats;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use floats::Floats;

use super::Level;
use super::share::share;
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::ivf::{Best, Metric, Score, candidate, results};
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tandem_tensor::{DType, Element, Tensor};

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let scans = ["ivf_scan.i8", "ivf_scan.bf16", "ivf_scan.f32"].into_iter().filter_map(operation);
    let scans = scans.map(|operation| Box::new(Scan { operation, level }) as Box<dyn Kernel>);
    let merges = ["topk_merge.i32", "topk_merge.f32"].into_iter().filter_map(operation);
    scans.chain(merges.map(|operation| Box::new(Merge { operation }) as Box<dyn Kernel>)).collect()
}

/// Vectors that are scored at a time.
pub(super) const ROWS: usize = 16;
/// Queries that are scored at a time.
pub(super) const QUERIES: usize = 4;
/// Bytes of vectors that a thread draws at least, where a list has as many.
const DRAW: usize = 1 << 18;

/// Scores of a few vectors for a few queries, as a level computes them.
pub(super) trait Scorer: Sync {
    /// Elements of vectors.
    type Value: Copy + Sync;
    /// Of each pair.
    type Score: Score;

    /// Scores of the vectors, `d` elements each and [`ROWS`] at most, for the queries of these numbers, of which there are as many as
    /// `scores` has rows.
    fn score(&self, vectors: &[Self::Value], queries: &[usize], scores: &mut [[Self::Score; ROWS]]);
}

struct Scan {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Scan {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (d, metric, level) = (dims["d"], Metric::of(dims["metric"]), self.level.or_portable());
        match self.operation.def().inputs[0].dtype {
            DType::I8 => {
                let scorer = codes::Codes::new(level, metric, d, inputs.slice("queries")?);
                scan(dims, inputs, inputs.slice("vectors")?, &scorer)
            }
            DType::BF16 => {
                let scorer = Floats::<bf16>::new(level, metric, d, inputs.slice("queries")?);
                scan(dims, inputs, inputs.slice("vectors")?, &scorer)
            }
            _ => {
                let scorer = Floats::<f32>::new(level, metric, d, inputs.slice("queries")?);
                scan(dims, inputs, inputs.slice("vectors")?, &scorer)
            }
        }
    }
}

/// A stretch of a list's vectors, and where its queries stand among those of all lists.
struct Stretch {
    vectors: Range<usize>,
    queries: Range<usize>,
}

/// The stretches of all lists that are probed, and the queries of all lists.
fn stretches(dims: &Dims, inputs: &Tensors, bytes: usize) -> Result<(Vec<Stretch>, Vec<usize>), OpError> {
    let lists = inputs.slice::<i32>("list_begin")?;
    let (begins, probe) = (inputs.slice::<i32>("probe_begin")?, inputs.slice::<i32>("probe")?);
    let mut of = vec![Vec::new(); dims["lists"]];
    for (query, pair) in begins.windows(2).enumerate() {
        probe[pair[0] as usize..pair[1] as usize].iter().for_each(|&list| of[list as usize].push(query));
    }
    let length = (DRAW / bytes.max(1)).next_multiple_of(ROWS).max(ROWS);
    let (mut all, mut queries) = (Vec::new(), Vec::new());
    for (list, own) in of.iter().enumerate().filter(|(_, own)| !own.is_empty()) {
        let at = queries.len()..queries.len() + own.len();
        queries.extend_from_slice(own);
        let (begin, end) = (lists[list] as usize, lists[list + 1] as usize);
        let cut = (begin..end).step_by(length).map(|first| first..end.min(first + length));
        all.extend(cut.map(|vectors| Stretch { vectors, queries: at.clone() }));
    }
    Ok((all, queries))
}

fn scan<S: Scorer>(dims: &Dims, inputs: &Tensors, vectors: &[S::Value], scorer: &S) -> Result<Tensors, OpError>
where
    S::Score: Element,
{
    let (q, d, k) = (dims["q"], dims["d"], dims["k"]);
    let ids = inputs.slice::<i32>("ids")?;
    let (all, queries) = stretches(dims, inputs, d * size_of::<S::Value>())?;
    let best = Mutex::new(vec![Best::new(k); q]);
    share(all.len(), 1, |draws| {
        let mut own: Vec<Option<Best>> = vec![None; q];
        for stretch in draws.flat_map(|drawn| &all[drawn]) {
            let queries = &queries[stretch.queries.clone()];
            queries.iter().for_each(|&query| _ = own[query].get_or_insert_with(|| Best::new(k)));
            for begin in stretch.vectors.clone().step_by(ROWS) {
                let rows = begin..stretch.vectors.end.min(begin + ROWS);
                let (vectors, ids) = (&vectors[rows.start * d..rows.end * d], &ids[rows]);
                for queries in queries.chunks(QUERIES) {
                    let mut scores = [[S::Score::NOTHING; ROWS]; QUERIES];
                    scorer.score(vectors, queries, &mut scores[..queries.len()]);
                    for (scores, &query) in scores.iter().zip(queries) {
                        if let Some(best) = &mut own[query] {
                            scores.iter().zip(ids).for_each(|(&score, &id)| best.offer(candidate(score, id)));
                        }
                    }
                }
            }
        }
        let mut best = best.lock().unwrap_or_else(PoisonError::into_inner);
        best.iter_mut().zip(&own).for_each(|(best, own)| {
            if let Some(own) = own {
                best.merge(own);
            }
        });
    });
    let (scores, best) = results::<S::Score>(best.into_inner().unwrap_or_else(PoisonError::into_inner), k);
    Ok(Tensors::new().with("scores", Tensor::from_vec([q, k], scores)?).with("best", Tensor::from_vec([q, k], best)?))
}

struct Merge {
    operation: &'static dyn Operation,
}

impl Kernel for Merge {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        match self.operation.def().inputs[0].dtype {
            DType::I32 => merge::<i32>(dims, inputs),
            _ => merge::<f32>(dims, inputs),
        }
    }
}

fn merge<S: Score + Element>(dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
    let [parts, q, m, k] = ["parts", "q", "m", "k"].map(|axis| dims[axis]);
    let (scores, ids) = (inputs.slice::<S>("part_scores")?, inputs.slice::<i32>("part_best")?);
    let of_query = |query| {
        let mut best = Best::new(k);
        for part in 0..parts {
            let at = (part * q + query) * m;
            let entries = scores[at..at + m].iter().zip(&ids[at..at + m]);
            entries.for_each(|(&score, &id)| best.offer(candidate(score, id)));
        }
        best
    };
    let (scores, best) = results::<S>((0..q).into_par_iter().map(of_query).collect(), k);
    Ok(Tensors::new().with("scores", Tensor::from_vec([q, k], scores)?).with("best", Tensor::from_vec([q, k], best)?))
}
