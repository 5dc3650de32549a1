//! The exact rule that the estimate stands for: the fewest keys that have a part of the mass.

use super::estimate::{heaviest, least};
use crate::sampling::weight::{deficit, units, weight};

/// What a softmax makes of the scores of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mass {
    weights: Vec<u32>,
    all: u64,
}

/// The mass of scores that a softmax multiplies by `scale`.
pub fn mass(scores: &[f32], scale: f32) -> Mass {
    let (top, units) = (crate::sampling::top(scores), units(scale));
    let weights: Vec<u32> = scores.iter().map(|&score| weight(deficit(top, score, units))).collect();
    let all = weights.iter().map(|&weight| u64::from(weight)).sum();
    Mass { weights, all }
}

impl Mass {
    /// The fewest keys that have `target` of the mass, the heaviest first, ties by number.
    pub fn fewest(&self, target: f32) -> Vec<usize> {
        heaviest(&self.weights, least(self.all, target).unwrap_or(u64::MAX)).0
    }

    /// The part of the mass that these keys have, each of which is counted as often as it comes; 0 of no mass.
    pub fn part(&self, keys: impl IntoIterator<Item = usize>) -> f64 {
        let sum: u64 = keys.into_iter().map(|key| u64::from(self.weights[key])).sum();
        sum as f64 / self.all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn the_fewest_keys_reach_the_target_and_one_less_does_not() {
        let mut random = Random::new(5);
        for n in [1, 2, 30, 700] {
            let scores: Vec<f32> = (0..n).map(|_| 3.0 * random.normal() as f32).collect();
            let mass = mass(&scores, 0.7);
            for target in [0.1, 0.5, 0.9] {
                let fewest = mass.fewest(target);
                assert!(fewest.is_sorted_by(|&a, &b| scores[a] >= scores[b]));
                assert!(mass.part(fewest.iter().copied()) >= f64::from(target), "{n} {target}");
                assert!(mass.part(fewest[1..].iter().copied()) < f64::from(target), "{n} {target}");
            }
            assert_eq!((mass.fewest(1.0).len(), mass.part(0..n)), (n, 1.0));
        }
        let nothing = mass(&[], 1.0);
        assert_eq!((nothing.fewest(0.9).len(), nothing.part([])), (0, 0.0));
    }
}
