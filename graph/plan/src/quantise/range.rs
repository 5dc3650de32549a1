//! From what was observed to the range of reals that the codes shall cover.

use super::histogram::Histogram;
use serde::{Deserialize, Serialize};

/// How a range is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All that was observed.
    MinMax,
    /// From the quantile `1 - p / 100` to the quantile `p / 100`.
    Percentile(f64),
    /// The threshold at which the distribution of the codes diverges least from that of the reals.
    Kl,
}

/// Codes of an 8-bit value.
const LEVELS: usize = 256;
/// Bins for each code of the whole range, at most, when [`Method::Kl`] compares distributions.
const BINS_PER_CODE: usize = 4;
/// Bins between two thresholds that [`Method::Kl`] tries.
const STEP: usize = 8;
/// The largest share of the values that [`Method::Kl`] cuts off.
const MOST_CUT: f64 = 1e-3;
/// Share of a bin that the codes give nothing while the reals have something there.
const NOTHING: f64 = 1e-9;

impl Method {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::MinMax => "minmax",
            Method::Percentile(_) => "percentile",
            Method::Kl => "kl",
        }
    }

    /// The range of reals to cover, which contains zero; nothing but zero before the first element.
    pub fn range(self, histogram: &Histogram) -> (f32, f32) {
        let Some((min, max)) = histogram.extremes() else { return (0.0, 0.0) };
        let (low, high) = match self {
            Method::MinMax => (min, max),
            Method::Percentile(p) => {
                let share = (p / 100.0).clamp(0.5, 1.0);
                (histogram.quantile(1.0 - share).unwrap_or(min), histogram.quantile(share).unwrap_or(max))
            }
            Method::Kl => {
                let threshold = least_divergence(histogram);
                (min.max(-threshold), max.min(threshold))
            }
        };
        (low.min(0.0), high.max(0.0))
    }
}

/// The magnitude at which to cut both sides.
///
/// Bins are joined to a few for each code. Where one constant makes much of a distribution, as a channel does that an activation
/// holds at its bias, many fine bins for each code would tell of a loss within the code that nothing suffers from, and a cut that
/// takes half of the values away would seem cheaper. For the same reason a bound holds on what is cut off, which samples are often
/// too few to justify. A cut at the first threshold that is tried is tried again with finer bins.
///
/// # Source
/// The calibration by relative entropy of S. Migacz, "8-bit inference with TensorRT" (2017), here for codes with a zero point:
/// both sides are cut at one magnitude, and the codes are spread over what is left of both.
fn least_divergence(histogram: &Histogram) -> f32 {
    let (negative, positive) = histogram.sides();
    let used = |side: &[u64]| side.iter().rposition(|&n| n > 0).map_or(0, |i| i + 1);
    let mut limit = used(negative).max(used(positive));
    let least = least_cut(histogram);
    loop {
        let joined = limit.div_ceil(LEVELS * BINS_PER_CODE).max(1);
        let coarse = |side: &[u64]| side.chunks(joined).map(|bins| bins.iter().sum()).collect::<Vec<u64>>();
        let (below, above) = (coarse(negative), coarse(positive));
        let whole = limit.div_ceil(joined);
        // Fewer bins than codes would show no loss.
        let first = LEVELS.max(least.div_ceil(joined)).min(whole);
        let cuts = (first..whole).step_by(STEP).chain([whole]);
        let each = cuts.map(|cut| (divergence(&below, &above, cut), cut));
        let best = each.min_by(|(a, i), (b, k)| a.total_cmp(b).then(k.cmp(i)));
        let cut = best.map_or(whole, |(_, cut)| cut);
        if cut == whole || cut > first || first > LEVELS || joined == 1 {
            return ((cut * joined).min(limit) as f64 * histogram.width()) as f32;
        }
        limit = cut * joined;
    }
}

/// The bins on each side that hold all but a share of [`MOST_CUT`].
fn least_cut(histogram: &Histogram) -> usize {
    let (negative, positive) = histogram.sides();
    let most = (histogram.count() as f64 * MOST_CUT) as u64;
    let mut beyond = 0;
    for (i, (below, above)) in negative.iter().zip(positive).enumerate().rev() {
        beyond += below + above;
        if beyond > most {
            return i + 1;
        }
    }
    0
}

/// The relative entropy of the reals, cut at a bin, to what the codes make of them.
fn divergence(negative: &[u64], positive: &[u64], cut: usize) -> f64 {
    // In ascending order of values; a side without values has no part in the range.
    let used = |side: &[u64]| side.iter().rposition(|&n| n > 0).map_or(0, |i| i + 1);
    let (negative, positive) = (&negative[..used(negative)], &positive[..used(positive)]);
    let inside: Vec<u64> = negative.iter().take(cut).rev().chain(positive.iter().take(cut)).copied().collect();
    let outside = |side: &[u64]| side.iter().skip(cut).sum::<u64>();
    let (below, above) = (outside(negative), outside(positive));
    let (bins, total) = (inside.len(), inside.iter().sum::<u64>());
    if total == 0 || bins == 0 {
        return f64::INFINITY;
    }
    let all = (total + below + above) as f64;
    let mut sum = 0.0;
    for level in 0..LEVELS.min(bins) {
        let (begin, end) = (level * bins / LEVELS.min(bins), (level + 1) * bins / LEVELS.min(bins));
        let group = &inside[begin..end];
        let used = group.iter().filter(|&&n| n > 0).count();
        let each = group.iter().sum::<u64>() as f64 / used.max(1) as f64 / total as f64;
        for (i, &n) in group.iter().enumerate() {
            let bin = begin + i;
            // What is cut off becomes the outermost value.
            let more = if bin == 0 { below } else { 0 } + if bin == bins - 1 { above } else { 0 };
            let real = (n + more) as f64 / all;
            if real > 0.0 {
                sum += real * (real / if n > 0 { each } else { NOTHING }).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: impl IntoIterator<Item = f32>) -> Histogram {
        let mut h = Histogram::default();
        h.add(&elements.into_iter().collect::<Vec<_>>());
        h
    }

    /// Values of a normal distribution at evenly spaced quantiles, by the sum of twelve uniform numbers.
    fn bell(count: u32) -> Vec<f32> {
        let mut seed = 1u32;
        let mut uniform = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    #[test]
    fn a_range_always_contains_zero() {
        for method in [Method::MinMax, Method::Percentile(99.0), Method::Kl] {
            let (low, high) = method.range(&of([3.0, 4.0, 5.0]));
            assert!(low == 0.0 && high > 0.0, "{method:?}: {low} {high}");
            let (low, high) = method.range(&of([-3.0, -4.0]));
            assert!(low < 0.0 && high == 0.0, "{method:?}: {low} {high}");
            assert_eq!(method.range(&Histogram::default()), (0.0, 0.0));
            assert_eq!(method.range(&of([0.0; 9])), (0.0, 0.0));
        }
    }

    #[test]
    fn the_percentile_leaves_out_what_lies_beyond_it() {
        let mut values: Vec<f32> = (1..=9990).map(|i| i as f32 / 9990.0).collect();
        values.extend([50.0; 10]);
        let h = of(values);
        assert_eq!(Method::MinMax.range(&h), (0.0, 50.0));
        let (_, high) = Method::Percentile(99.9).range(&h);
        assert!((0.99..1.03).contains(&high), "{high}");
        assert_eq!(Method::Percentile(100.0).range(&h).1, 50.0);
    }

    #[test]
    fn relative_entropy_keeps_an_even_distribution_whole() {
        let (low, high) = Method::Kl.range(&of((-5000..=5000).map(|i| i as f32 / 5000.0)));
        assert_eq!((low, high), (-1.0, 1.0));
        assert_eq!(Method::Kl.range(&of((1..=5000).map(|i| i as f32 / 5000.0))), (0.0, 1.0));
    }

    #[test]
    fn relative_entropy_cuts_a_far_outlier_off() {
        let mut values = bell(200_000);
        values.push(100.0);
        let h = of(values);
        let (low, high) = Method::Kl.range(&h);
        let (min, _) = Method::MinMax.range(&h);
        assert!((2.5..12.0).contains(&high), "{high}");
        assert!(low >= min && low <= -2.5, "{low}");
    }

    #[test]
    fn the_divergence_of_an_uncut_even_distribution_is_zero() {
        let side = vec![7u64; 1024];
        assert!(divergence(&side, &side, 1024).abs() < 1e-12);
        assert!(divergence(&side, &side, 512) > 0.1);
        assert_eq!(divergence(&[], &[], 16), f64::INFINITY);
    }
}
