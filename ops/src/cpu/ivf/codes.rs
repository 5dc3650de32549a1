//! Scores of codes: exact integers, in whatever order is quick.
//!
//! A squared distance is the squares of both less twice their inner product. Sums may leave 32 bits on the way, where they wrap; the
//! score does not.

use super::{QUERIES, ROWS, Scorer};
use crate::cpu::Level;
use crate::ivf::Metric;

/// Queries, with zeros up to whole vectors of 64 codes.
pub(super) struct Codes {
    level: Level,
    metric: Metric,
    d: usize,
    padded: usize,
    queries: Vec<i8>,
    /// The sum of the squares of each query's codes.
    squares: Vec<i32>,
}

/// Codes of the widest vector register.
const WIDTH: usize = 64;

impl Codes {
    pub(super) fn new(level: Level, metric: Metric, d: usize, queries: &[i8]) -> Codes {
        let padded = d.next_multiple_of(WIDTH);
        let mut all = Vec::with_capacity(queries.len() / d.max(1) * padded);
        let mut squares = Vec::new();
        for query in queries.chunks(d.max(1)) {
            squares.push(query.iter().map(|&q| i32::from(q) * i32::from(q)).sum());
            all.extend_from_slice(query);
            all.resize(all.len().next_multiple_of(WIDTH), 0);
        }
        let mut codes = Codes { level, metric, d, padded, queries: all, squares };
        if level == Level::Avx512 {
            // Its products are of codes without a sign and codes with one: 128 more, which is taken off again.
            codes.queries.iter_mut().for_each(|q| *q ^= i8::MIN);
        }
        codes
    }

    fn query(&self, number: usize) -> &[i8] {
        &self.queries[number * self.padded..][..self.padded]
    }

    /// Inner products of a vector with queries, and with itself where distances need it.
    fn products<const Q: usize>(&self, vector: &[i8], queries: [&[i8]; Q]) -> ([i32; Q], i32) {
        let own = self.metric == Metric::SquaredL2;
        match self.level {
            // SAFETY: a level that the processor lacks is not chosen, and queries have at least as many codes as the vector.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Level::Avx512 => unsafe { super::x86::products_avx512(vector, queries, own) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Level::Avx2 => unsafe { super::x86::products_avx2(vector, queries, own) },
            _ => (queries.map(|query| dot(query, vector)), if own { dot(vector, vector) } else { 0 }),
        }
    }

    fn rows<const Q: usize>(&self, vectors: &[i8], numbers: [usize; Q], scores: &mut [[i32; ROWS]]) {
        let queries = numbers.map(|number| self.query(number));
        for (row, vector) in vectors.chunks_exact(self.d).enumerate() {
            let (products, square) = self.products(vector, queries);
            for ((scores, product), number) in scores.iter_mut().zip(products).zip(numbers) {
                scores[row] = match self.metric {
                    Metric::InnerProduct => product,
                    Metric::SquaredL2 => {
                        product.wrapping_mul(2).wrapping_sub(square).wrapping_sub(self.squares[number])
                    }
                };
            }
        }
    }
}

impl Scorer for Codes {
    type Value = i8;
    type Score = i32;

    fn score(&self, vectors: &[i8], queries: &[usize], scores: &mut [[i32; ROWS]]) {
        if self.d == 0 {
            return scores.iter_mut().for_each(|scores| scores.fill(0));
        }
        if let Ok(queries) = <[usize; QUERIES]>::try_from(queries) {
            return self.rows(vectors, queries, scores);
        }
        for (&number, scores) in queries.iter().zip(scores) {
            self.rows(vectors, [number], std::array::from_mut(scores));
        }
    }
}

/// The vector has as many codes as the query at most.
#[inline(always)]
fn dot(query: &[i8], vector: &[i8]) -> i32 {
    query.iter().zip(vector).map(|(&q, &x)| i32::from(q) * i32::from(x)).sum()
}
