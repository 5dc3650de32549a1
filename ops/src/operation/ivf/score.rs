//! Scores, to the last bit.
//!
//! Integers are exact in any order. Floats are summed in an order that is a part of the definition: element `i` of a vector is a
//! matter of lane `i % 32`; a lane begins at 0 and takes its elements in ascending order, each by one fused multiply-add; then
//! neighbours are added, and neighbours of these, down to one. Every step is that of binary32, rounded to nearest with ties to even,
//! subnormal numbers included; a zero has no sign in the end. Processors and GPUs compute it at their full rate: 32 lanes are two
//! registers of 16, or four threads of eight.

use half::bf16;
use tandem_tensor::{DType, Element};

/// Partial sums of a float score.
pub const LANES: usize = 32;

/// What a score is. Larger ones are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The sum of the products of the elements.
    InnerProduct,
    /// The squared distance, negated.
    SquaredL2,
}

impl Metric {
    /// Names, in the order of the choice `metric`.
    pub const NAMES: &'static [&'static str] = &["inner_product", "squared_l2"];

    /// That of a choice.
    pub fn of(choice: usize) -> Metric {
        if choice == 0 { Metric::InnerProduct } else { Metric::SquaredL2 }
    }
}

/// An element of vectors and queries.
pub trait Value: Element + Default + 'static {
    /// What their scores are.
    type Score: super::Score + Element;

    /// The score of a vector for a query of as many elements.
    fn score(metric: Metric, query: &[Self], vector: &[Self]) -> Self::Score;

    /// That of a number of a synthetic corpus, whose clusters are some units wide.
    fn of(x: f32) -> Self;

    /// What is hard to compute with, in place of a few of a sample's numbers.
    const EXTREMES: &'static [Self];
}

impl Value for i8 {
    type Score = i32;

    fn score(metric: Metric, query: &[i8], vector: &[i8]) -> i32 {
        let pairs = query.iter().zip(vector).map(|(&q, &x)| (i32::from(q), i32::from(x)));
        match metric {
            Metric::InnerProduct => pairs.map(|(q, x)| q * x).sum(),
            Metric::SquaredL2 => -pairs.map(|(q, x)| (q - x) * (q - x)).sum::<i32>(),
        }
    }

    fn of(x: f32) -> i8 {
        (x * 24.0).round_ties_even() as i8
    }

    const EXTREMES: &'static [i8] = &[i8::MIN, i8::MAX];
}

impl Value for f32 {
    type Score = f32;

    fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
        float_score(metric, query.iter().copied(), vector.iter().copied())
    }

    fn of(x: f32) -> f32 {
        x
    }

    const EXTREMES: &'static [f32] = &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -3e38, 1e-40, -1e-40, -0.0];
}

impl Value for bf16 {
    type Score = f32;

    fn score(metric: Metric, query: &[bf16], vector: &[bf16]) -> f32 {
        float_score(metric, query.iter().map(|x| x.to_f32()), vector.iter().map(|x| x.to_f32()))
    }

    fn of(x: f32) -> bf16 {
        bf16::from_f32(x)
    }

    const EXTREMES: &'static [bf16] = &[
        bf16::NAN,
        bf16::INFINITY,
        bf16::NEG_INFINITY,
        bf16::MAX,
        bf16::MIN,
        bf16::from_bits(0x0001),
        bf16::from_bits(0x8001),
        bf16::NEG_ZERO,
    ];
}

/// The score of floats, a lane after the other: the definition.
fn float_score(metric: Metric, query: impl Iterator<Item = f32>, vector: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0f32; LANES];
    for (i, (q, x)) in query.zip(vector).enumerate() {
        let lane = &mut lanes[i % LANES];
        *lane = match metric {
            Metric::InnerProduct => q.mul_add(x, *lane),
            Metric::SquaredL2 => (q - x).mul_add(q - x, *lane),
        };
    }
    let mut sums = lanes.to_vec();
    while sums.len() > 1 {
        sums = sums.as_chunks::<2>().0.iter().map(|[a, b]| a + b).collect();
    }
    match metric {
        Metric::InnerProduct => sums[0] + 0.0,
        Metric::SquaredL2 => 0.0 - sums[0],
    }
}

/// The elements that a dtype stands for, handed to what is written for any of them.
pub(crate) trait WithValue {
    /// What comes of it.
    type Out;

    /// Does it for these elements.
    fn with<V: Value>(self) -> Self::Out;
}

/// Calls it with the elements of a dtype; those of `f32` where no definition is of that dtype.
pub(crate) fn with_value<W: WithValue>(dtype: DType, what: W) -> W::Out {
    match dtype {
        DType::I8 => what.with::<i8>(),
        DType::BF16 => what.with::<bf16>(),
        _ => what.with::<f32>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::Random;

    #[test]
    fn scores_of_codes_at_their_extremes_stay_within_32_bits() {
        let (low, high) = (vec![i8::MIN; 32_768], vec![i8::MAX; 32_768]);
        assert_eq!(i8::score(Metric::InnerProduct, &low, &low), 1 << 29);
        assert_eq!(i8::score(Metric::SquaredL2, &low, &high), -255 * 255 * 32_768);
    }

    #[test]
    fn scores_of_floats_are_near_those_of_f64_and_follow_the_order_of_the_definition() {
        let mut random = Random::new(3);
        for d in [0, 1, 31, 32, 33, 100, 768] {
            let mut vector = || (0..d).map(|_| bf16::from_f64(random.normal())).collect::<Vec<_>>();
            let (q, x) = (vector(), vector());
            let pairs = || q.iter().zip(&x).map(|(q, x)| (q.to_f64(), x.to_f64()));
            let exact: f64 = pairs().map(|(q, x)| q * x).sum();
            let size: f64 = pairs().map(|(q, x)| (q * x).abs()).sum();
            let found = f64::from(bf16::score(Metric::InnerProduct, &q, &x));
            assert!((found - exact).abs() <= size * (d as f64 / 32.0 + 7.0) * 2f64.powi(-24), "{d}: {found} {exact}");
            let exact: f64 = pairs().map(|(q, x)| -(q - x) * (q - x)).sum();
            let found = f64::from(bf16::score(Metric::SquaredL2, &q, &x));
            assert!((found - exact).abs() <= exact.abs() * (d as f64 / 32.0 + 9.0) * 2f64.powi(-23), "{d}");
        }
        // 2^24 and 1 meet in lane 0, where 1 is lost, or in two lanes, of which a third takes 2^24 off first.
        let large = 2f32.powi(24);
        let mut q = vec![0f32; 64];
        (q[0], q[32], q[1]) = (large, 1.0, -large);
        assert_eq!(f32::score(Metric::InnerProduct, &q, &[1.0; 64]), 0.0);
        (q[32], q[2]) = (0.0, 1.0);
        assert_eq!(f32::score(Metric::InnerProduct, &q, &[1.0; 64]), 1.0);
        assert!(f32::score(Metric::InnerProduct, &[-0.0], &[1.0]).is_sign_positive());
        assert!(f32::score(Metric::SquaredL2, &[1.0], &[1.0]).is_sign_positive());
    }
}
