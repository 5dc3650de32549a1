//! Searches that learn nothing, or only which points were good: what a learning search is compared with.

use super::Space;
use super::search::{Strategy, unseen};
use tandem_ops::def::Random;

/// Points at random, none of them twice.
pub(super) struct Uniform;

/// Points in the order of the space.
#[derive(Default)]
pub(super) struct Grid(usize);

/// Points that cross and mutate the best ones.
#[derive(Default)]
pub(super) struct Genetic {
    /// Cycles and points, the best first.
    measured: Vec<(u64, usize)>,
    /// Points that were proposed.
    proposed: usize,
}

/// Points at random before the first ones are crossed.
const FOUNDERS: usize = 32;
/// The best points, which are crossed.
const PARENTS: usize = 16;
/// The chance of a knob of a child to change.
const MUTATION: f64 = 0.1;
/// Children that are tried for a place before it goes to a random point.
const TRIES: usize = 20;

impl Strategy for Uniform {
    fn propose(&mut self, space: &Space, seen: &[bool], count: usize, random: &mut Random) -> Vec<usize> {
        let mut batch = Vec::with_capacity(count);
        for _ in 0..count {
            batch.extend(unseen(space, seen, &batch, random));
        }
        batch
    }

    fn learn(&mut self, _: &Space, _: &[(usize, Option<u64>)]) {}
}

impl Strategy for Grid {
    fn propose(&mut self, space: &Space, seen: &[bool], count: usize, _: &mut Random) -> Vec<usize> {
        let mut batch = Vec::with_capacity(count);
        while batch.len() < count && self.0 < space.len() {
            if !seen[self.0] {
                batch.push(self.0);
            }
            self.0 += 1;
        }
        batch
    }

    fn learn(&mut self, _: &Space, _: &[(usize, Option<u64>)]) {}
}

impl Strategy for Genetic {
    fn propose(&mut self, space: &Space, seen: &[bool], count: usize, random: &mut Random) -> Vec<usize> {
        let mut batch = Vec::with_capacity(count);
        for _ in 0..count {
            let child = if self.proposed < FOUNDERS || self.measured.is_empty() {
                None
            } else {
                (0..TRIES).find_map(|_| {
                    let child = self.child(space, random)?;
                    (!seen[child] && !batch.contains(&child)).then_some(child)
                })
            };
            batch.extend(child.or_else(|| unseen(space, seen, &batch, random)));
            self.proposed += 1;
        }
        batch
    }

    fn learn(&mut self, _: &Space, results: &[(usize, Option<u64>)]) {
        self.measured.extend(results.iter().filter_map(|&(point, cycles)| Some((cycles?, point))));
        self.measured.sort_unstable();
    }
}

impl Genetic {
    /// A child of two of the best points; `None` where the space has none of its coordinates.
    fn child(&self, space: &Space, random: &mut Random) -> Option<usize> {
        let parents = &self.measured[..PARENTS.min(self.measured.len())];
        // The better one of two, so that the best have more children.
        let mut parent = || {
            let drawn = [0, 1].map(|_| random.within(0, parents.len()));
            space.coordinates(parents[drawn[0].min(drawn[1])].1).to_vec()
        };
        let (mother, father) = (parent(), parent());
        let crossed: Vec<u16> =
            mother.iter().zip(&father).map(|(a, b)| if random.bits() & 1 == 0 { *a } else { *b }).collect();
        let extents = space.extents();
        let mutated: Vec<u16> = crossed
            .iter()
            .zip(&extents)
            .map(|(&level, &extent)| if random.unit() < MUTATION { random.within(0, extent) as u16 } else { level })
            .collect();
        space.at(&mutated)
    }
}
