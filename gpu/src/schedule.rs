//! Shares work among blocks that all run at once.
//!
//! A persistent kernel goes through lists that are made beforehand. Work is handed out in a given order, each piece to the block
//! that has least to do so far; so the most that a block has exceeds the mean by less than the largest piece.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Blocks with what each has to do so far.
#[derive(Clone, Debug)]
pub struct Balance {
    cheapest: BinaryHeap<Reverse<(u64, usize)>>,
    loads: Vec<u64>,
}

impl Balance {
    /// So many blocks, at least one, with nothing to do.
    pub fn new(blocks: usize) -> Balance {
        let blocks = blocks.max(1);
        Balance { cheapest: (0..blocks).map(|block| Reverse((0, block))).collect(), loads: vec![0; blocks] }
    }

    /// The block that gets work of this cost; among several with the same load, the first.
    pub fn assign(&mut self, cost: u64) -> usize {
        // There is at least one block, and none leaves the heap but here.
        let Some(Reverse((load, block))) = self.cheapest.pop() else { return 0 };
        let load = load.saturating_add(cost);
        self.loads[block] = load;
        self.cheapest.push(Reverse((load, block)));
        block
    }

    /// What each block has to do.
    pub fn loads(&self) -> &[u64] {
        &self.loads
    }
}

/// The largest load over the mean: 1 where all are equal, and where there is nothing to do.
pub fn imbalance(loads: &[u64]) -> f64 {
    let sum: u128 = loads.iter().map(|&load| u128::from(load)).sum();
    match loads.iter().max() {
        Some(&most) if sum > 0 => most as f64 * loads.len() as f64 / sum as f64,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::def::Random;

    #[test]
    fn no_block_has_more_than_the_mean_and_the_largest_piece() {
        let mut random = Random::new(1);
        for round in 0..300 {
            let blocks = random.within(1, 40);
            let mut balance = Balance::new(blocks);
            let costs: Vec<u64> = (0..random.within(0, 400)).map(|_| random.within(1, 1 + 50 * round) as u64).collect();
            let mut loads = vec![0; blocks];
            for &cost in &costs {
                let to = balance.assign(cost);
                assert_eq!(loads[to], *loads.iter().min().unwrap(), "{loads:?}");
                assert_eq!(loads.iter().position(|load| *load == loads[to]), Some(to), "not the first: {loads:?}");
                loads[to] += cost;
            }
            assert_eq!(balance.loads(), loads);
            let (sum, most) = (costs.iter().sum::<u64>(), costs.iter().max().copied().unwrap_or(0));
            let largest = loads.iter().max().unwrap();
            assert!(*largest as f64 <= sum as f64 / blocks as f64 + most as f64);
            assert!(imbalance(&loads) >= 1.0 - 1e-12 && imbalance(&loads) <= blocks as f64 + 1e-9);
        }
        assert_eq!(imbalance(&[]), 1.0);
        assert_eq!(imbalance(&[0, 0]), 1.0);
        assert_eq!(imbalance(&[3, 1]), 1.5);
        assert_eq!(Balance::new(0).assign(7), 0);
    }
}
