//! Scores of floats, in the order of the definition: 32 lanes, each a chain of fused multiply-adds, and then sums of neighbours.

use super::{QUERIES, ROWS, Scorer};
use crate::cpu::Level;
use crate::cpu::real::widen;
use crate::cpu::vectorised::{Vectorised, vectorised_at};
use crate::ivf::{LANES, Metric};
use half::bf16;
use std::marker::PhantomData;

/// An element that is a number of binary32 without rounding.
pub(in crate::cpu) trait Widen: Copy + Default + Sync {
    fn widen(self) -> f32;
}

impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Widen for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        widen(self)
    }
}

/// Queries as numbers of binary32, with zeros up to whole lanes.
pub(in crate::cpu) struct Floats<T> {
    level: Level,
    metric: Metric,
    d: usize,
    padded: usize,
    queries: Vec<f32>,
    elements: PhantomData<T>,
}

impl<T: Widen> Floats<T> {
    pub(in crate::cpu) fn new(level: Level, metric: Metric, d: usize, queries: &[T]) -> Floats<T> {
        let padded = d.next_multiple_of(LANES);
        let mut all = Vec::with_capacity(queries.len() / d.max(1) * padded);
        for query in queries.chunks(d.max(1)) {
            all.extend(query.iter().map(|x| x.widen()));
            all.resize(all.len().next_multiple_of(LANES), 0.0);
        }
        Floats { level, metric, d, padded, queries: all, elements: PhantomData }
    }

    fn body<const Q: usize>(&self, vectors: &[T], queries: [&[f32]; Q], scores: &mut [[f32; ROWS]; Q]) {
        match self.metric {
            Metric::InnerProduct => {
                vectorised_at(self.level, Body::<T, Q, false> { d: self.d, vectors, queries, scores });
            }
            Metric::SquaredL2 => {
                vectorised_at(self.level, Body::<T, Q, true> { d: self.d, vectors, queries, scores });
            }
        }
    }
}

impl<T: Widen> Scorer for Floats<T> {
    type Value = T;
    type Score = f32;

    fn score(&self, vectors: &[T], queries: &[usize], scores: &mut [[f32; ROWS]]) {
        if self.d == 0 {
            return scores.iter_mut().for_each(|scores| scores.fill(0.0));
        }
        let query = |number: usize| &self.queries[number * self.padded..][..self.padded];
        match (queries, scores.first_chunk_mut::<QUERIES>()) {
            (&[a, b, c, d], Some(scores)) => self.body(vectors, [a, b, c, d].map(query), scores),
            // The last ones of a list are fewer: each takes the vectors from the cache once more.
            _ => {
                for (&number, scores) in queries.iter().zip(scores) {
                    self.body(vectors, [query(number)], std::array::from_mut(scores));
                }
            }
        }
    }
}

/// [`ROWS`] vectors at most for `Q` queries.
struct Body<'a, T, const Q: usize, const L2: bool> {
    d: usize,
    vectors: &'a [T],
    queries: [&'a [f32]; Q],
    scores: &'a mut [[f32; ROWS]; Q],
}

impl<T: Widen, const Q: usize, const L2: bool> Vectorised<()> for Body<'_, T, Q, L2> {
    #[inline(always)]
    fn run(self) {
        let Body { d, vectors, queries, scores } = self;
        let mut sums = [[[0f32; LANES]; ROWS]; Q];
        for (row, vector) in vectors.chunks_exact(d).enumerate() {
            let mut lanes = [[0f32; LANES]; Q];
            let (whole, rest) = vector.as_chunks::<LANES>();
            for (at, x) in whole.iter().enumerate() {
                add::<T, Q, L2>(&mut lanes, x, &queries, at);
            }
            if !rest.is_empty() {
                // Zeros add nothing, but perhaps the sign of a zero, which the score has not.
                let mut last = [T::default(); LANES];
                last[..rest.len()].copy_from_slice(rest);
                add::<T, Q, L2>(&mut lanes, &last, &queries, whole.len());
            }
            for (sums, lanes) in sums.iter_mut().zip(lanes) {
                sums[row] = lanes;
            }
        }
        for (sums, scores) in sums.iter().zip(scores) {
            let sums = neighbours(sums);
            *scores = sums.map(|sum| if L2 { 0.0 - sum } else { sum + 0.0 });
        }
    }
}

/// One element for each lane.
#[inline(always)]
fn add<T: Widen, const Q: usize, const L2: bool>(
    lanes: &mut [[f32; LANES]; Q],
    x: &[T; LANES],
    queries: &[&[f32]; Q],
    at: usize,
) {
    let mut wide = [0f32; LANES];
    for i in 0..LANES {
        wide[i] = x[i].widen();
    }
    for (lanes, query) in lanes.iter_mut().zip(queries) {
        let query = query[at * LANES..].first_chunk::<LANES>().expect("queries are whole lanes");
        let mut sums = *lanes;
        for i in 0..LANES {
            let (a, b) = if L2 { (query[i] - wide[i], query[i] - wide[i]) } else { (query[i], wide[i]) };
            sums[i] = a.mul_add(b, sums[i]);
        }
        *lanes = sums;
    }
}

/// The sum of each row's lanes, neighbours first.
#[inline(always)]
fn neighbours(lanes: &[[f32; LANES]; ROWS]) -> [f32; ROWS] {
    let mut a = [0f32; ROWS * 16];
    pairs(lanes.as_flattened(), &mut a);
    let mut b = [0f32; ROWS * 8];
    pairs(&a, &mut b);
    let mut a = [0f32; ROWS * 4];
    pairs(&b, &mut a);
    let mut b = [0f32; ROWS * 2];
    pairs(&a, &mut b);
    let mut a = [0f32; ROWS];
    pairs(&b, &mut a);
    a
}

#[inline(always)]
fn pairs(from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from.as_chunks::<2>().0).for_each(|(to, [a, b])| *to = a + b);
}
