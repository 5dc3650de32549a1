//! Which keys have a part of the mass, told from a few of their weights.

use crate::sampling::Filter;
use crate::sampling::weight::ONE;
use std::ops::Range;

/// Keys that the curve is evaluated for at a time.
pub const CHUNK: usize = 16;

/// Where in an order of keys weights are computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Keys of the order.
    pub slots: usize,
    /// The first ones, all of which are computed.
    pub head: usize,
    /// Two windows behind them; none where the head is everything.
    pub windows: Option<[Range<usize>; 2]>,
}

/// What is chosen: some of the keys that were computed, and a stretch of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Numbers of computed weights, the heaviest first.
    pub computed: Vec<usize>,
    /// All places of the order before this one, those in the head and in windows left out.
    pub end: usize,
}

impl Probe {
    /// A head and two windows of a size, about a tenth and six tenths into the order. Everything is the head where that is no more.
    pub fn of(slots: usize, head: usize, window: usize) -> Probe {
        if slots <= head.saturating_add(2 * window) {
            return Probe { slots, head: slots, windows: None };
        }
        let first = (slots / 10).saturating_sub(window / 2).clamp(head, slots - 2 * window);
        let second = (slots * 3 / 5).saturating_sub(window / 2).clamp(first + window, slots - window);
        Probe { slots, head, windows: Some([first, second].map(|begin| begin..begin + window)) }
    }

    /// Places in the order whose weights are computed: of the head, and of the windows.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.head).chain(self.windows.iter().flatten().flat_map(Clone::clone))
    }

    /// Where chunks behind the head begin and end, and how many of their keys are in no window.
    fn chunks(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        (self.head..self.slots).step_by(CHUNK).map(|begin| {
            let chunk = begin..self.slots.min(begin + CHUNK);
            let within =
                |window: &Range<usize>| chunk.end.min(window.end).saturating_sub(chunk.start.max(window.start));
            let known: usize = self.windows.iter().flatten().map(within).sum();
            (chunk.clone(), chunk.len() - known)
        })
    }

    /// The keys that have `target` of all weights: the heaviest of those that were computed, ties by number, and where all of them are
    /// not enough, those of the order as far as the curve says, a whole chunk at a time. All keys, where nothing has a weight.
    /// `weights` are those of keys that are in no order, and behind them those of [`Probe::places`].
    pub fn choose(&self, weights: &[u32], target: f32) -> Choice {
        let outside = weights.len() - self.places().count();
        let tail = self.windows.as_ref().map(|[a, b]| {
            let (first, second) = weights[outside + self.head..].split_at(a.len());
            Tail::fit([(a.clone(), sum(first)), (b.clone(), sum(second))])
        });
        let told = |chunk: &Range<usize>| tail.map_or(0, |tail| u64::from(tail.weight(chunk.start)));
        let rest: u64 = self.chunks().map(|(chunk, unknown)| unknown as u64 * told(&chunk)).sum();
        let all = sum(weights) + rest;
        let Some(least) = least(all, target) else {
            return Choice { computed: (0..weights.len()).collect(), end: self.slots };
        };
        let (computed, mut mass) = heaviest(weights, least);
        if mass >= least {
            return Choice { computed, end: 0 };
        }
        for (chunk, unknown) in self.chunks() {
            mass += unknown as u64 * told(&chunk);
            if mass >= least {
                return Choice { computed, end: chunk.end };
            }
        }
        Choice { computed, end: self.slots }
    }
}

/// The least mass that is `target` of all of it; `None` where that is all of it.
pub(super) fn least(all: u64, target: f32) -> Option<u64> {
    Filter { top_p: target, ..Filter::NONE }.mass(all)
}

/// The numbers of the heaviest weights until they have a mass, ties by number, with the mass that they have: all of them, where that is less.
pub(super) fn heaviest(weights: &[u32], least: u64) -> (Vec<usize>, u64) {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(weights[at]), at));
    let mut mass = 0;
    let taken = order.iter().take_while(|&&at| {
        let before = mass;
        mass += if before < least { u64::from(weights[at]) } else { 0 };
        before < least
    });
    order.truncate(taken.count());
    (order, mass)
}

fn sum(weights: &[u32]) -> u64 {
    weights.iter().map(|&weight| u64::from(weight)).sum()
}

/// A power law of weights, `y = c x^-e`, where `x` counts keys of an order from 1.
///
/// A number of binary32, taken as the integer that its bits are, is its logarithm to base 2 in units of 2^-23, but for a constant and at
/// most 0.086: a straight line from one power of two to the next. So the law is a line between two integers, and exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    x1: i64,
    x2: i64,
    y2: i64,
    /// What the weight falls by between the two.
    fall: i64,
}

impl Tail {
    /// The law through the mean weights of two windows, of which the second lies behind the first. A law that would rise is flat, as high
    /// as the second window. A mean is 1 at least. Its operations are those of binary32, each rounded by itself.
    pub fn fit(windows: [(Range<usize>, u64); 2]) -> Tail {
        let [(x1, y1), (x2, y2)] = windows.map(|(window, sum)| {
            let len = window.len() as f32;
            let mean = sum as f32 / len;
            (bits(window.start as f32 + (len + 1.0) * 0.5), bits(if mean > 1.0 { mean } else { 1.0 }))
        });
        Tail { x1, x2, y2, fall: (y1 - y2).max(0) }
    }

    /// What each of [`CHUNK`] keys weighs, whose first has `first` before it: the law in their middle, rounded down, [`ONE`] at most.
    pub fn weight(&self, first: usize) -> u32 {
        let x = bits(first as f32 + (CHUNK as f32 + 1.0) * 0.5);
        let y = self.y2 + self.fall * (self.x2 - x) / (self.x2 - self.x1);
        f32::from_bits(y.clamp(0, bits(ONE as f32)) as u32) as u32
    }
}

fn bits(x: f32) -> i64 {
    i64::from(x.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_behind_the_head_and_behind_each_other() {
        for slots in 0..400 {
            for (head, window) in [(0, 1), (0, 16), (20, 8), (300, 3), (1000, 4)] {
                let probe = Probe::of(slots, head, window);
                let places: Vec<usize> = probe.places().collect();
                assert!(places.is_sorted_by(|a, b| a < b) && places.last().is_none_or(|&last| last < slots));
                match &probe.windows {
                    None => assert_eq!(probe.head, slots),
                    Some([a, b]) => {
                        assert_eq!((probe.head, a.len(), b.len()), (head, window, window));
                        assert_eq!(places.len(), head + 2 * window);
                    }
                }
                let unknown: usize = probe.chunks().map(|(_, unknown)| unknown).sum();
                assert_eq!(places.len() + unknown, slots);
            }
        }
        assert_eq!(Probe::of(10_000, 200, 100).windows, Some([950..1050, 5950..6050]));
    }

    #[test]
    fn what_follows_a_power_law_is_told_to_a_few_keys_of_a_hundred() {
        for (exponent, slots) in [(1.0, 5_000), (0.7, 20_000), (1.5, 60_000), (0.0, 3_000)] {
            let weight = |place: usize| (1e9 * (place as f64 + 1.0).powf(-exponent)) as u32;
            let probe = Probe::of(slots, 100, 32);
            let weights: Vec<u32> = probe.places().map(weight).collect();
            let all: u64 = (0..slots).map(|place| u64::from(weight(place))).sum();
            for target in [0.5, 0.9, 0.99] {
                let choice = probe.choose(&weights, target);
                let taken = probe.places().count();
                let chosen = choice.computed.iter().map(|&at| u64::from(weights[at])).sum::<u64>();
                let told = (probe.head..choice.end).filter(|place| !probe.places().any(|known| known == *place));
                let mass = (chosen + told.map(|place| u64::from(weight(place))).sum::<u64>()) as f64 / all as f64;
                assert!((mass - f64::from(target)).abs() < 0.03, "{exponent} {slots} {target}: {mass} by {taken}");
            }
        }
    }

    #[test]
    fn the_law_goes_through_both_windows_and_never_rises() {
        // Near powers of two, between which the line of bits is straight: a quarter for twice the place.
        let tail = Tail::fit([(120..136, 16 << 20), (504..520, 16 << 16)]);
        assert_eq!([tail.weight(120), tail.weight(504)], [1 << 20, 1 << 16]);
        for (first, weight) in [(248, 1 << 18), (1016, 1 << 14)] {
            assert!(tail.weight(first).abs_diff(weight) * 100 < weight, "{first}: {}", tail.weight(first));
        }
        let rising = Tail::fit([(10..14, 40), (200..204, 400)]);
        assert_eq!((rising.weight(10), rising.weight(300)), (100, 100));
        // Nothing at all weighs as little as can be, and what is beyond the first window no more than the heaviest key.
        assert_eq!(Tail::fit([(10..14, 0), (200..204, 0)]).weight(50), 1);
        assert_eq!(Tail::fit([(5000..5001, 1 << 31), (5001..5002, 1)]).weight(0), ONE);
    }

    #[test]
    fn the_heaviest_are_taken_and_ends_of_the_target_have_an_answer() {
        let probe = Probe::of(4, 10, 4);
        let choose = |weights: &[u32], target| probe.choose(weights, target);
        // One key outside, and four of the order.
        assert_eq!(choose(&[5, 1, 9, 9, 2], 0.6), Choice { computed: vec![2, 3], end: 0 });
        assert_eq!(choose(&[5, 1, 9, 9, 2], 0.8).computed, [2, 3, 0]);
        assert_eq!(choose(&[5, 1, 9, 9, 2], 0.0).computed, [2]);
        assert_eq!(choose(&[5, 1, 9, 9, 2], 1.0), Choice { computed: (0..5).collect(), end: 4 });
        assert_eq!(choose(&[0; 5], 0.9), Choice { computed: (0..5).collect(), end: 4 });
        assert_eq!(Probe::of(0, 5, 2).choose(&[], 0.5), Choice { computed: vec![], end: 0 });
        // All alike: half of them, in whole chunks.
        let probe = Probe::of(400, 10, 4);
        let choice = probe.choose(&[1000; 18], 0.5);
        assert_eq!((choice.computed.len(), choice.end), (18, 202));
    }
}
