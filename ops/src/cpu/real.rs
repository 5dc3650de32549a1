//! Arithmetic in f32 that loops over lanes are made of, without branches, so that compilers vectorise it.

pub(super) use crate::operation::real::{narrow, widen};

/// Partial sums and maxima side by side.
pub(super) const LANES: usize = 16;

/// The sum of `f` of all elements.
#[inline(always)]
pub(super) fn sum_of(list: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = list.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for block in blocks {
        for i in 0..LANES {
            sums[i] += f(block[i]);
        }
    }
    for (i, &x) in rest.iter().enumerate() {
        sums[i] += f(x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The largest element that is a number; -inf of none.
#[inline(always)]
pub(super) fn max_of(list: &[f32]) -> f32 {
    let (blocks, rest) = list.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut tops = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for i in 0..LANES {
            tops[i] = larger(tops[i], block[i]);
        }
    }
    tops.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_take_every_element_once() {
        for len in 0..70 {
            let list: Vec<f32> = (0..len).map(|i| i as f32 - 40.0).collect();
            assert_eq!(sum_of(&list, |x| 2.0 * x), list.iter().map(|x| 2.0 * x).sum::<f32>(), "{len}");
            assert_eq!(max_of(&list), list.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{len}");
        }
        assert_eq!(max_of(&[f32::NAN, -3.0, f32::NAN]), -3.0);
    }
}
