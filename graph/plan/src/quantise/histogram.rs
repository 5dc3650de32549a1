//! What the elements of a value were, as a histogram whose range grows.
//!
//! The range is always a power of two, `2^exponent` on both sides of zero, with [`BINS`] bins a side. A larger element doubles
//! the range and joins neighbouring bins, so that every bin edge is an edge at any later time too: the counts do not depend on
//! the order of the elements, and histograms of parts of the samples add up to that of the whole.

/// Bins on each side of zero.
pub const BINS: usize = 4096;

/// The smallest range: smaller elements all fall into the first bins.
const MIN_EXPONENT: i32 = -100;

/// Counts of elements by value. Zeros are counted apart: they have a code of their own whatever the scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    exponent: i32,
    zeros: u64,
    /// Bin i of a side counts magnitudes in `(i * width, (i + 1) * width]`.
    negative: Vec<u64>,
    positive: Vec<u64>,
    min: f32,
    max: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            exponent: MIN_EXPONENT,
            zeros: 0,
            negative: vec![0; BINS],
            positive: vec![0; BINS],
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Histogram {
    /// Counts elements. Gives the position of the first one that is not finite, and then counts nothing.
    pub fn add(&mut self, elements: &[f32]) -> Option<usize> {
        let (mut min, mut max) = (self.min, self.max);
        for (i, &x) in elements.iter().enumerate() {
            if !x.is_finite() {
                return Some(i);
            }
            min = min.min(x);
            max = max.max(x);
        }
        if elements.is_empty() {
            return None;
        }
        (self.min, self.max) = (min, max);
        self.grow_to(exponent_of(min.abs().max(max.abs())));
        let per_width = self.width().recip();
        for &x in elements {
            // Exact: the width is a power of two.
            let bin = ((f64::from(x).abs() * per_width).ceil() as usize).saturating_sub(1).min(BINS - 1);
            match x {
                0.0 => self.zeros += 1,
                _ if x < 0.0 => self.negative[bin] += 1,
                _ => self.positive[bin] += 1,
            }
        }
        None
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        let mut other = other.clone();
        self.grow_to(other.exponent);
        other.grow_to(self.exponent);
        let add = |a: &mut Vec<u64>, b: &[u64]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.negative, &other.negative);
        add(&mut self.positive, &other.positive);
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Number of elements.
    pub fn count(&self) -> u64 {
        self.zeros + self.negative.iter().chain(&self.positive).sum::<u64>()
    }

    /// The smallest and the largest element; `None` before the first.
    pub fn extremes(&self) -> Option<(f32, f32)> {
        (self.min <= self.max).then_some((self.min, self.max))
    }

    /// The value that a share of the elements does not exceed, to the width of a bin and never beyond the extremes. `None`
    /// before the first element.
    pub fn quantile(&self, share: f64) -> Option<f32> {
        let (min, max) = self.extremes()?;
        // Less what the product may be rounded up by.
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64 * (1.0 - 1e-12);
        let width = self.width();
        let edge = |x: f64| (x as f32).clamp(min, max);
        let mut seen = 0u64;
        for (i, &n) in self.negative.iter().enumerate().rev() {
            seen += n;
            if n > 0 && seen as f64 >= wanted {
                return Some(edge(-(i as f64) * width));
            }
        }
        seen += self.zeros;
        if self.zeros > 0 && seen as f64 >= wanted {
            return Some(edge(0.0));
        }
        for (i, &n) in self.positive.iter().enumerate() {
            seen += n;
            if n > 0 && seen as f64 >= wanted {
                return Some(edge((i + 1) as f64 * width));
            }
        }
        Some(max)
    }

    /// Width of a bin.
    pub(super) fn width(&self) -> f64 {
        2f64.powi(self.exponent) / BINS as f64
    }

    /// Counts below and above zero, from zero outwards.
    pub(super) fn sides(&self) -> (&[u64], &[u64]) {
        (&self.negative, &self.positive)
    }

    fn grow_to(&mut self, exponent: i32) {
        let doublings = (exponent - self.exponent).max(0) as u32;
        if doublings == 0 {
            return;
        }
        for side in [&mut self.negative, &mut self.positive] {
            let mut wider = vec![0u64; BINS];
            for (i, &n) in side.iter().enumerate().filter(|(_, n)| **n > 0) {
                wider[i.checked_shr(doublings).unwrap_or(0)] += n;
            }
            *side = wider;
        }
        self.exponent = exponent;
    }
}

/// The smallest exponent whose power of two reaches a magnitude.
fn exponent_of(magnitude: f32) -> i32 {
    let mut exponent = MIN_EXPONENT.max(f64::from(magnitude).log2().ceil() as i32);
    // The logarithm may be rounded to either side of a whole number.
    while exponent > MIN_EXPONENT && 2f64.powi(exponent - 1) >= f64::from(magnitude) {
        exponent -= 1;
    }
    while 2f64.powi(exponent) < f64::from(magnitude) {
        exponent += 1;
    }
    exponent
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_element_is_counted_on_its_side() {
        let mut h = Histogram::default();
        assert_eq!(h.extremes(), None);
        assert_eq!(h.add(&[0.0, -0.0, 1.0, -2.0, 1e-40, 0.5]), None);
        assert_eq!((h.count(), h.zeros, h.extremes()), (6, 2, Some((-2.0, 1.0))));
        assert_eq!((h.negative[BINS - 1], h.positive[BINS / 2 - 1], h.positive[0]), (1, 1, 1));
    }

    #[test]
    fn an_element_that_is_not_finite_is_named_and_nothing_is_counted() {
        let mut h = Histogram::default();
        assert_eq!(h.add(&[1.0, f32::NAN]), Some(1));
        assert_eq!(h.add(&[f32::INFINITY]), Some(0));
        assert_eq!(h, Histogram::default());
    }

    #[test]
    fn quantiles_of_a_ramp_lie_on_it() {
        let mut h = Histogram::default();
        h.add(&(-1000..=1000).map(|i| i as f32).collect::<Vec<_>>());
        for (share, expected) in
            [(0.0, -1000.0), (0.25, -500.0), (0.5, 0.0), (0.75, 500.0), (0.999, 998.0), (1.0, 1000.0)]
        {
            let found = h.quantile(share).unwrap();
            assert!((found - expected).abs() <= 1.3, "{share}: {found}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_counts_do_not_depend_on_the_order_nor_on_the_parts(
            parts in prop::collection::vec(prop::collection::vec(-1e6f32..1e6, 0..50), 1..6),
            scale in -30i32..30,
        ) {
            let parts: Vec<Vec<f32>> =
                parts.iter().enumerate().map(|(k, p)| p.iter().map(|x| x * 2f32.powi(scale * (k as i32 % 3))).collect()).collect();
            let mut whole = Histogram::default();
            whole.add(&parts.concat());
            let mut backwards = Histogram::default();
            for part in parts.iter().rev() {
                let mut own = Histogram::default();
                own.add(part);
                backwards.merge(&own);
            }
            prop_assert_eq!(whole, backwards);
        }
    }
}
