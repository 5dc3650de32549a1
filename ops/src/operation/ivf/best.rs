//! The order of candidates, and the `k` best of them whatever the order they come in.
//!
//! A candidate is one number of 64 bits, the smaller the better: its score turned round in the upper half, its id in the lower. So
//! the best of any parts are the best of the whole, and every backend that compares these numbers chooses the same.

/// What no candidate is: worse than all of them.
pub const NOTHING: u64 = u64::MAX;

/// A score, larger ones first.
pub trait Score: Copy + PartialEq + PartialOrd + Send + Sync + 'static {
    /// What stands where there is no candidate.
    const NOTHING: Self;

    /// The upper half of the candidate: the smaller the better. None for a NaN, which is no score.
    fn rank(self) -> Option<u32>;

    /// The score of a rank; zeros have no sign.
    fn of_rank(rank: u32) -> Self;
}

impl Score for i32 {
    const NOTHING: i32 = i32::MIN;

    #[inline(always)]
    fn rank(self) -> Option<u32> {
        Some(self as u32 ^ 0x7fff_ffff)
    }

    #[inline(always)]
    fn of_rank(rank: u32) -> i32 {
        (rank ^ 0x7fff_ffff) as i32
    }
}

impl Score for f32 {
    const NOTHING: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    fn rank(self) -> Option<u32> {
        // Adding 0 takes the sign off a zero.
        let bits = (self + 0.0).to_bits();
        let negative = bits >> 31 == 1;
        (!self.is_nan()).then_some(if negative { bits } else { bits ^ 0x7fff_ffff })
    }

    #[inline(always)]
    fn of_rank(rank: u32) -> f32 {
        f32::from_bits(if rank >> 31 == 1 { rank } else { rank ^ 0x7fff_ffff })
    }
}

/// The candidate of a score and an id; [`NOTHING`] for a NaN and for an id below 0.
#[inline(always)]
pub fn candidate<S: Score>(score: S, id: i32) -> u64 {
    match score.rank() {
        Some(rank) if id >= 0 => u64::from(rank) << 32 | u64::from(id as u32),
        _ => NOTHING,
    }
}

/// Score and id of a candidate; the score of nothing and -1 for [`NOTHING`].
pub fn score_and_id<S: Score>(candidate: u64) -> (S, i32) {
    match candidate {
        NOTHING => (S::NOTHING, -1),
        _ => (S::of_rank((candidate >> 32) as u32), candidate as u32 as i32),
    }
}

/// The `k` best candidates so far.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    /// Twice `k` at most, in no order.
    kept: Vec<u64>,
    /// What a candidate has to be better than.
    bound: u64,
}

impl Best {
    /// None yet, of `k` at most.
    pub fn new(k: usize) -> Best {
        // The best of none are none, better than which is nothing.
        Best { k, kept: Vec::new(), bound: if k == 0 { 0 } else { NOTHING } }
    }

    /// What a candidate has to be better than to be among them.
    #[inline(always)]
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// One more candidate.
    #[inline(always)]
    pub fn offer(&mut self, candidate: u64) {
        if candidate < self.bound {
            self.keep(candidate);
        }
    }

    fn keep(&mut self, candidate: u64) {
        self.kept.push(candidate);
        if self.kept.len() >= 2 * self.k {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() >= self.k && self.k > 0 {
            self.kept.select_nth_unstable(self.k - 1);
            self.kept.truncate(self.k);
            self.bound = self.kept[self.k - 1];
        }
    }

    /// Those of two: the best of all candidates that either was offered.
    pub fn merge(&mut self, other: &Best) {
        other.kept.iter().for_each(|&candidate| self.offer(candidate));
    }

    /// The candidates, best first.
    pub fn sorted(mut self) -> Vec<u64> {
        self.kept.sort_unstable();
        self.kept.truncate(self.k);
        self.kept
    }
}

/// Scores and ids of `k` for each query, with nothing where there are fewer.
pub(crate) fn results<S: Score>(best: Vec<Best>, k: usize) -> (Vec<S>, Vec<i32>) {
    let filled = best.into_iter().flat_map(|best| {
        let sorted = best.sorted();
        sorted.into_iter().chain(std::iter::repeat(NOTHING)).take(k)
    });
    filled.map(score_and_id::<S>).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn candidates_are_ordered_by_score_and_then_by_id() {
        let scores = [f32::INFINITY, 3e38, 1.0, 1e-40, 0.0, -1e-40, -1.0, -3e38, f32::NEG_INFINITY];
        let codes = [i32::MAX, 7, 1, 0, -1, -7, i32::MIN + 1, i32::MIN];
        let floats = scores.iter().flat_map(|&score| [0, 1, i32::MAX].map(|id| candidate(score, id)));
        let ints = codes.iter().flat_map(|&score| [0, 1, i32::MAX].map(|id| candidate(score, id)));
        for all in [floats.collect::<Vec<_>>(), ints.collect()] {
            assert!(all.is_sorted_by(|a, b| a < b) && all[all.len() - 1] < NOTHING, "{all:x?}");
        }
        assert_eq!(candidate(f32::NAN, 3), NOTHING);
        assert_eq!(candidate(1.0f32, -1), NOTHING);
        assert_eq!(candidate(-0.0f32, 3), candidate(0.0f32, 3));
        for score in scores {
            assert_eq!(score_and_id::<f32>(candidate(score, 5)), (score, 5));
        }
        for code in codes {
            assert_eq!(score_and_id::<i32>(candidate(code, 5)), (code, 5));
        }
        assert_eq!(score_and_id::<i32>(NOTHING), (i32::MIN, -1));
        assert_eq!(score_and_id::<f32>(NOTHING), (f32::NEG_INFINITY, -1));
    }

    #[test]
    fn the_best_are_the_first_of_all_sorted_whatever_the_order_and_the_split() {
        let mut random = Random::new(4);
        for round in 0..300 {
            let (k, count) = (random.within(0, 40), random.within(0, 300));
            // Few values, so that many are equal.
            let values = [5, 1 << 40][round % 2];
            let all: Vec<u64> = (0..count).map(|_| random.within(0, values) as u64).collect();
            let mut expected = all.clone();
            expected.sort_unstable();
            expected.truncate(k);
            let mut whole = Best::new(k);
            all.iter().for_each(|&candidate| whole.offer(candidate));
            assert_eq!(whole.sorted(), expected);
            let cut = random.within(0, count + 1);
            let mut parts = [Best::new(k), Best::new(k)];
            for (at, &candidate) in all.iter().enumerate() {
                parts[usize::from(at < cut)].offer(candidate);
            }
            let [mut first, second] = parts;
            first.merge(&second);
            assert_eq!(first.sorted(), expected);
        }
    }
}
