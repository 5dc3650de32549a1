//! Clusters of keys and the choice among them: the kernels of `kmeans.bf16` and `tactic_select.bf16`.
//!
//! Both are the definition with vectorised scores; keys of a head, or pairs of a request and a head of queries, are spread over the
//! threads. The rows of a choice lie anywhere in the cache and are gathered, a few at a time, into the first-level cache.

use super::Level;
use super::ivf::{Floats, QUERIES, ROWS, Scorer};
use crate::def::{Dims, Kernel, Operation, Tensors};
use crate::ivf::Metric;
use crate::tactic::{Batch, Keys, Scores, clustered};
use crate::{OpError, operation};
use half::bf16;
use rayon::prelude::*;

pub(super) fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    let clusters = operation("kmeans.bf16").map(|operation| Box::new(KMeans { operation, level }) as Box<dyn Kernel>);
    let select =
        operation("tactic_select.bf16").map(|operation| Box::new(Select { operation, level }) as Box<dyn Kernel>);
    clusters.into_iter().chain(select).collect()
}

struct KMeans {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for KMeans {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let level = self.level.or_portable();
        clustered(dims, inputs, |keys, centroids| nearest(level, keys, centroids))
    }
}

/// The number of the nearest centroid for every key, a few keys against a few centroids at a time.
fn nearest(level: Level, keys: &Keys, centroids: &[bf16]) -> Vec<usize> {
    let scorer = Floats::<bf16>::new(level, Metric::SquaredL2, keys.d, &keys.rows);
    let numbers: Vec<usize> = (0..keys.rows.len() / keys.d).collect();
    let of = |keys_here: &[usize]| {
        let mut best = [(f32::NEG_INFINITY, 0); QUERIES];
        for (at, centroids) in centroids.chunks(ROWS * keys.d).enumerate() {
            let mut scores = [[0f32; ROWS]; QUERIES];
            scorer.score(centroids, keys_here, &mut scores[..keys_here.len()]);
            for (best, scores) in best.iter_mut().zip(&scores) {
                for (row, &score) in scores.iter().take(centroids.len() / keys.d).enumerate() {
                    if score > best.0 {
                        *best = (score, at * ROWS + row);
                    }
                }
            }
        }
        best.map(|(_, cluster)| cluster)
    };
    numbers.par_chunks(QUERIES).flat_map_iter(|here| of(here).into_iter().take(here.len())).collect()
}

struct Select {
    operation: &'static dyn Operation,
    level: Level,
}

impl Kernel for Select {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (batch, level) = (Batch::of(dims, inputs)?, self.level.or_portable());
        let scores: &Scores<'_> = &move |query, rows| scores(level, query, rows);
        let asked: Vec<Vec<u32>> = (0..batch.pairs()).into_par_iter().map(|pair| batch.asked(pair, scores)).collect();
        batch.results(&asked)
    }
}

/// Scores of rows from anywhere for a query.
fn scores(level: Level, query: &[bf16], rows: &mut dyn Iterator<Item = &[bf16]>) -> Vec<f32> {
    let scorer = Floats::<bf16>::new(level, Metric::InnerProduct, query.len(), query);
    let (mut all, mut near) = (Vec::new(), Vec::with_capacity(ROWS * query.len()));
    loop {
        near.clear();
        (&mut *rows).take(ROWS).for_each(|row| near.extend_from_slice(row));
        if near.is_empty() {
            return all;
        }
        let mut scores = [[0f32; ROWS]];
        scorer.score(&near, &[0], &mut scores);
        all.extend_from_slice(&scores[0][..near.len() / query.len()]);
    }
}
