//! Arithmetic in f32 that loops over lanes are made of, without branches, so that compilers vectorise it.

use half::bf16;

/// Partial sums and maxima side by side.
pub(super) const LANES: usize = 16;

/// A bfloat16 as f32.
#[inline(always)]
pub(super) fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// To the nearest bfloat16, ties to even; a NaN stays one.
#[inline(always)]
pub(super) fn narrow(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16)
}

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
    fn every_bfloat16_comes_back_and_halves_go_to_even() {
        for bits in 0..=u16::MAX {
            let x = bf16::from_bits(bits);
            let back = narrow(widen(x));
            assert!(back.to_bits() == bits || x.is_nan() && back.is_nan(), "{bits:#x}");
            assert!(widen(x) == x.to_f32() || x.is_nan() && widen(x).is_nan(), "{bits:#x}");
        }
        for bits in (0..u32::MAX - 77_777).step_by(77_777) {
            let x = f32::from_bits(bits);
            assert!(narrow(x) == bf16::from_f32(x) || x.is_nan() && narrow(x).is_nan(), "{x}");
        }
    }

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
