//! Which points are worth measuring: simulated annealing on predicted costs, and batches that differ among themselves.

use super::Space;
use std::collections::HashMap;
use tandem_ops::def::Random;

/// Walks that run beside each other, and their steps.
const CHAINS: usize = 96;
const STEPS: usize = 40;
/// What a walk accepts at its beginning with a chance of 1/e, in logarithms of cycles.
const TEMPERATURE: f64 = 0.3;
/// Candidates for each place of a batch.
const CANDIDATES: usize = 6;
/// What a value of a knob that the batch does not have yet is worth, in logarithms of cycles.
const VARIETY: f32 = 0.01;

/// Points by their costs, the cheapest first: all that walks from `starts` and from random points have seen. The costs of the
/// points of a step are asked for together.
pub(super) fn anneal(
    space: &Space,
    starts: &[usize],
    random: &mut Random,
    mut costs: impl FnMut(&[usize]) -> Vec<f32>,
) -> Vec<(f32, usize)> {
    let mut known: HashMap<usize, f32> = HashMap::new();
    let mut costs = |points: &[usize]| -> Vec<f32> {
        let mut new: Vec<usize> = points.iter().copied().filter(|point| !known.contains_key(point)).collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            known.extend(new.iter().copied().zip(costs(&new)));
        }
        points.iter().map(|point| known.get(point).copied().unwrap_or(f32::INFINITY)).collect()
    };
    let mut at: Vec<usize> = starts.iter().copied().take(CHAINS).collect();
    at.resize_with(CHAINS, || random.within(0, space.len()));
    let mut cost = costs(&at);
    for step in 0..STEPS {
        let temperature = TEMPERATURE * (1.0 - step as f64 / STEPS as f64);
        let next: Vec<usize> = at.iter().map(|&point| space.neighbour(point, random)).collect();
        let proposed = costs(&next);
        for chain in 0..CHAINS {
            let worse = f64::from(proposed[chain] - cost[chain]);
            if worse <= 0.0 || random.unit() < (-worse / temperature).exp() {
                (at[chain], cost[chain]) = (next[chain], proposed[chain]);
            }
        }
    }
    let mut ranked: Vec<(f32, usize)> = known.into_iter().map(|(point, cost)| (cost, point)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked
}

/// A batch of cheap points that differ: each next one is the one whose cost, less what its new values of knobs are worth, is
/// least.
///
/// # Source
/// Chen et al., Learning to Optimize Tensor Programs, NeurIPS 2018, section 3.3.
pub(super) fn select(space: &Space, ranked: &[(f32, usize)], count: usize) -> Vec<usize> {
    let mut candidates: Vec<(f32, usize)> = ranked.iter().copied().take(CANDIDATES * count).collect();
    let mut seen: Vec<Vec<u16>> = vec![Vec::new(); space.extents().len()];
    let mut batch = Vec::with_capacity(count);
    while batch.len() < count && !candidates.is_empty() {
        let worth = |(cost, point): (f32, usize)| {
            let new = space.coordinates(point).iter().zip(&seen).filter(|(level, seen)| !seen.contains(level));
            cost - VARIETY * new.count() as f32
        };
        let best = (0..candidates.len()).min_by(|&a, &b| worth(candidates[a]).total_cmp(&worth(candidates[b])));
        let (_, point) = candidates.remove(best.unwrap_or(0));
        for (seen, &level) in seen.iter_mut().zip(space.coordinates(point)) {
            seen.push(level);
        }
        batch.push(point);
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::sample;

    #[test]
    fn annealing_finds_the_cheapest_points_and_repeats_itself() {
        let task = sample::task();
        let space = task.space();
        let cost = |point: usize| (task.estimate(&space.tiles()[point]) as f32).ln();
        let mut asked = 0;
        let run = |seed: u64, asked: &mut usize| {
            anneal(space, &[0], &mut Random::new(seed), |points| {
                *asked += points.len();
                points.iter().map(|&point| cost(point)).collect()
            })
        };
        let ranked = run(7, &mut asked);
        assert_eq!(asked, ranked.len());
        assert!(ranked.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        let best = (0..space.len()).map(cost).fold(f32::INFINITY, f32::min);
        assert!(ranked[0].0 < best + 0.02, "{} of {best}", ranked[0].0);
        assert_eq!(run(7, &mut asked), ranked);
        assert_ne!(run(8, &mut asked), ranked);
    }

    #[test]
    fn a_batch_holds_the_cheapest_point_and_others_that_differ() {
        let task = sample::task();
        let space = task.space();
        let ranked: Vec<(f32, usize)> = (0..200).map(|point| (point as f32 * 1e-4, point)).collect();
        let batch = select(space, &ranked, 8);
        assert_eq!((batch.len(), batch[0]), (8, 0));
        let values = |batch: &[usize]| -> usize {
            let count = |knob: usize| {
                let mut values: Vec<u16> = batch.iter().map(|&point| space.coordinates(point)[knob]).collect();
                values.sort_unstable();
                values.dedup();
                values.len()
            };
            (0..space.extents().len()).map(count).sum()
        };
        let cheapest: Vec<usize> = (0..8).collect();
        assert!(values(&batch) > values(&cheapest));
        assert_eq!(select(space, &ranked[..3], 8).len(), 3);
    }
}
