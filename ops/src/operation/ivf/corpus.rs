//! A synthetic corpus: a mixture of normal distributions whose clusters have sizes as of Zipf's law, and queries that drift.
//!
//! A query is near a vector of the corpus; what it becomes when a model rewrites it lies `drift` cluster radii away. So the lists of
//! the rewritten query are, for a small drift, mostly those of the original one, which is what a look-ahead lives on.

use crate::def::Random;

/// Centres and sizes of clusters; the vectors themselves are drawn from these.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// Elements of a vector.
    pub d: usize,
    /// Centres, `[lists, d]`.
    pub centroids: Vec<f32>,
    /// Vectors of each cluster.
    pub sizes: Vec<usize>,
}

/// A query before and after it is rewritten, `[queries, d]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Queries {
    /// What a look-ahead goes by.
    pub original: Vec<f32>,
    /// What is searched for.
    pub rewritten: Vec<f32>,
}

/// Standard deviation of a cluster's elements, where that of the centres is 1.
const RADIUS: f32 = 0.5;

impl Corpus {
    /// `n` vectors in `lists` clusters; the cluster of rank `r` has a share as `1 / r^skew`. No vectors without a list.
    pub fn new(n: usize, d: usize, lists: usize, skew: f64, random: &mut Random) -> Corpus {
        let centroids = (0..lists * d).map(|_| noise(random)).collect();
        let mut ranks: Vec<usize> = (1..=lists).collect();
        random.shuffle(&mut ranks);
        let weights: Vec<f64> = ranks.iter().map(|&rank| (rank as f64).powf(-skew)).collect();
        let sum: f64 = weights.iter().sum();
        // Sizes are differences of rounded sums, so that they make up n exactly.
        let mut before = 0.0;
        let mut at = 0;
        let sizes = weights.iter().enumerate().map(|(list, weight)| {
            before += weight;
            let end = if list + 1 == lists { n } else { ((before / sum * n as f64).round() as usize).clamp(at, n) };
            std::mem::replace(&mut at, end).abs_diff(end)
        });
        Corpus { d, sizes: sizes.collect(), centroids }
    }

    /// Hands out the vectors, cluster after cluster, each as an element of `d` after the other.
    pub fn each(&self, random: &mut Random, mut to: impl FnMut(f32)) {
        for (list, &size) in self.sizes.iter().enumerate() {
            let centre = self.centroid(list);
            for _ in 0..size {
                centre.iter().for_each(|centre| to(centre + RADIUS * noise(random)));
            }
        }
    }

    /// Queries near vectors of the corpus, and what becomes of them `drift` radii away. They are of the first cluster where there are no
    /// vectors, and about the origin where there are no clusters.
    pub fn queries(&self, count: usize, drift: f64, random: &mut Random) -> Queries {
        let total: usize = self.sizes.iter().sum();
        let mut queries = Queries { original: Vec::new(), rewritten: Vec::new() };
        for _ in 0..count {
            let mut at = random.within(0, total);
            let list = self.sizes.iter().position(|&size| {
                let here = at < size;
                at = at.saturating_sub(size);
                here
            });
            let none = vec![0.0; self.d];
            let centre = if self.sizes.is_empty() { &none[..] } else { self.centroid(list.unwrap_or(0)) };
            for &centre in centre {
                let x = centre + RADIUS * noise(random);
                queries.original.push(x);
                queries.rewritten.push(x + drift as f32 * RADIUS * noise(random));
            }
        }
        queries
    }

    /// How near each centre is to each query, `[queries, lists]`: the squared distances, negated. It is what lists are chosen by.
    pub fn centroid_scores(&self, queries: &[f32]) -> Vec<f32> {
        let distance = |query: &[f32], list| {
            let pairs = query.iter().zip(self.centroid(list));
            pairs.map(|(q, x)| (q - x) * (q - x)).sum::<f32>()
        };
        let queries = queries.chunks_exact(self.d.max(1));
        queries.flat_map(|query| (0..self.sizes.len()).map(move |list| -distance(query, list))).collect()
    }

    fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.d..][..self.d]
    }
}

/// The lists of the `count` highest scores, best first, ties by the lower list. A NaN is the lowest score.
pub fn nearest(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Zeros have no sign here.
    let score = |list: usize| if scores[list].is_nan() { f32::NEG_INFINITY } else { scores[list] + 0.0 };
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
    order.truncate(count);
    order
}

/// A number of mean 0 and deviation 1 that is nearly of the normal distribution: the sum of four uniform ones, which is quick to draw.
fn noise(random: &mut Random) -> f32 {
    let bits = random.bits();
    let sum: u32 = [0, 16, 32, 48].map(|at| (bits >> at) as u32 & 0xffff).iter().sum();
    // Four numbers of 0..2^16 have the mean 2^17 and the deviation 2^16 / sqrt(3).
    (sum as f32 - 131_070.0) * (1.732_050_8 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_make_up_the_corpus_and_follow_the_law_of_zipf() {
        let mut random = Random::new(1);
        for (n, lists, skew) in [(0, 5, 1.0), (1, 1, 1.0), (3, 9, 1.0), (10_000, 64, 1.0), (10_000, 64, 0.0)] {
            let corpus = Corpus::new(n, 4, lists, skew, &mut random);
            assert_eq!((corpus.sizes.iter().sum::<usize>(), corpus.sizes.len()), (n, lists));
        }
        let mut sizes = Corpus::new(100_000, 1, 100, 1.0, &mut random).sizes;
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let sum: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for (at, &size) in sizes.iter().enumerate() {
            assert!((size as f64 - 100_000.0 / sum / (at + 1) as f64).abs() < 2.0, "{at}: {size}");
        }
        let none = Corpus::new(0, 3, 0, 1.0, &mut random);
        assert_eq!(none.queries(2, 0.0, &mut random).original.len(), 6);
    }

    #[test]
    fn noise_has_mean_zero_and_deviation_one() {
        let mut random = Random::new(2);
        let all: Vec<f64> = (0..100_000).map(|_| f64::from(noise(&mut random))).collect();
        let mean = all.iter().sum::<f64>() / 1e5;
        let variance = all.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn a_larger_drift_leaves_fewer_lists_in_common() {
        let mut random = Random::new(5);
        let corpus = Corpus::new(5000, 32, 100, 1.0, &mut random);
        let common = |drift: f64, random: &mut Random| {
            let queries = corpus.queries(50, drift, random);
            let of = |queries: &[f32]| {
                let scores = corpus.centroid_scores(queries);
                scores.chunks_exact(100).map(|scores| nearest(scores, 10)).collect::<Vec<_>>()
            };
            let pairs = of(&queries.original).into_iter().zip(of(&queries.rewritten));
            pairs.map(|(a, b)| a.iter().filter(|list| b.contains(list)).count()).sum::<usize>()
        };
        let all = [0.0, 0.5, 4.0].map(|drift| common(drift, &mut random));
        assert!(all[0] == 500 && all[1] > all[2] && all[1] < 500, "{all:?}");
    }

    #[test]
    fn the_nearest_lists_are_those_of_the_highest_scores_and_ties_go_to_the_lower_list() {
        assert_eq!(nearest(&[1.0, f32::NAN, 3.0, 1.0, f32::NEG_INFINITY], 9), [2, 0, 3, 1, 4]);
        assert_eq!(nearest(&[1.0, 2.0], 1), [1]);
    }
}
