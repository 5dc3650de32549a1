//! Pareto fronts: which of several points no other one beats in everything. Smaller is better in every objective.

use std::cmp::Ordering;

/// Whether `a` is nowhere worse than `b`, and somewhere better.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

/// The rank of each point: 0 on the front, 1 on the front of those that are left without it, and so on.
pub fn ranks(points: &[Vec<f64>]) -> Vec<usize> {
    let mut ranks = vec![usize::MAX; points.len()];
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut rank = 0;
    while !left.is_empty() {
        let beaten = |&p: &usize| left.iter().any(|&q| dominates(&points[q], &points[p]));
        let (rest, front): (Vec<usize>, Vec<usize>) = left.iter().partition(|p| beaten(p));
        // Numbers that cannot be compared beat nobody; each round has a front all the same.
        front.iter().for_each(|&p| ranks[p] = rank);
        left = rest;
        rank += 1;
    }
    ranks
}

/// The points that no other one dominates.
pub fn front(points: &[Vec<f64>]) -> Vec<usize> {
    let free = |p: &usize| !points.iter().any(|q| dominates(q, &points[*p]));
    (0..points.len()).filter(free).collect()
}

/// How much room each of `members` has to its neighbours, over all objectives: the ends of each have all room there is.
///
/// # Source
/// Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II, 2002: crowding distance.
pub fn room(points: &[Vec<f64>], members: &[usize]) -> Vec<f64> {
    let mut room = vec![0.0; members.len()];
    let objectives = members.first().map_or(0, |&p| points[p].len());
    let columns = (0..objectives).map(|objective| members.iter().map(|&p| points[p][objective]).collect::<Vec<f64>>());
    for values in columns {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else { continue };
        let span = values[last] - values[first];
        room[first] = f64::INFINITY;
        room[last] = f64::INFINITY;
        for three in order.windows(3) {
            if span > 0.0 {
                room[three[1]] += (values[three[2]] - values[three[0]]) / span;
            }
        }
    }
    room
}

/// All points, the best first: by rank, and within a rank those with more room.
pub fn order(points: &[Vec<f64>]) -> Vec<usize> {
    let ranks = ranks(points);
    let mut keys = vec![(0, 0.0); points.len()];
    for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
        let members: Vec<usize> = (0..points.len()).filter(|&p| ranks[p] == rank).collect();
        for (&member, room) in members.iter().zip(room(points, &members)) {
            keys[member] = (rank, room);
        }
    }
    let mut order: Vec<usize> = (0..points.len()).collect();
    let better = |&a: &usize, &b: &usize| -> Ordering {
        keys[a].0.cmp(&keys[b].0).then(keys[b].1.total_cmp(&keys[a].1)).then(a.cmp(&b))
    };
    order.sort_by(better);
    order
}

/// The weighted geometric mean of a point's objectives, each as a multiple of the least of all points.
///
/// # Units
/// None: 1 is a point that is the best in everything that has a weight.
pub fn score(points: &[Vec<f64>], weights: &[f64], point: usize) -> f64 {
    let least = |objective: usize| points.iter().map(|p| p[objective]).fold(f64::INFINITY, f64::min);
    let total: f64 = weights.iter().sum();
    let logs = weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(|(objective, weight)| {
        // What takes nothing at all is as good as what takes one.
        weight * (points[point][objective].max(1e-12) / least(objective).max(1e-12)).ln()
    });
    if total > 0.0 { (logs.sum::<f64>() / total).exp() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(list: &[[f64; 2]]) -> Vec<Vec<f64>> {
        list.iter().map(|point| point.to_vec()).collect()
    }

    #[test]
    fn a_point_that_is_worse_in_everything_is_behind_the_front() {
        let all = points(&[[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [5.0, 5.0], [2.0, 2.0]]);
        assert_eq!(front(&all), [0, 1, 2, 5]);
        assert_eq!(ranks(&all), [0, 0, 0, 1, 2, 0]);
        assert!(dominates(&[1.0, 1.0], &[1.0, 2.0]) && !dominates(&[1.0, 1.0], &[1.0, 1.0]));
        assert!(front(&[]).is_empty() && order(&[]).is_empty());
    }

    #[test]
    fn ends_and_lonely_points_come_first_within_a_rank() {
        let all = points(&[[0.0, 10.0], [1.0, 9.0], [1.1, 8.9], [5.0, 5.0], [10.0, 0.0], [11.0, 11.0]]);
        let order = order(&all);
        assert_eq!(order[5], 5);
        assert_eq!(order[..3], [0, 4, 3]);
    }

    #[test]
    fn a_score_is_the_geometric_mean_of_multiples_of_the_best() {
        let all = points(&[[1.0, 8.0], [4.0, 2.0]]);
        assert!((score(&all, &[1.0, 1.0], 0) - 2.0).abs() < 1e-12);
        assert!((score(&all, &[1.0, 0.0], 0) - 1.0).abs() < 1e-12);
        assert!((score(&all, &[0.0, 0.0], 1) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn no_point_of_a_front_beats_another_and_every_other_point_is_beaten(
            list in proptest::collection::vec((0u8..9, 0u8..9, 0u8..9), 0..40)
        ) {
            let all: Vec<Vec<f64>> = list.iter().map(|&(a, b, c)| [a, b, c].map(f64::from).to_vec()).collect();
            let front = front(&all);
            for p in 0..all.len() {
                let beaten = front.iter().any(|&q| dominates(&all[q], &all[p]));
                prop_assert_eq!(front.contains(&p), !beaten);
            }
            let ranks = ranks(&all);
            prop_assert!(front.iter().all(|&p| ranks[p] == 0));
            let mut sorted = order(&all);
            prop_assert!(sorted.windows(2).all(|two| ranks[two[0]] <= ranks[two[1]]));
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..all.len()).collect::<Vec<_>>());
        }
    }
}
