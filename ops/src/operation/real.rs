//! Numbers of bfloat16 and of binary32, without branches, so that compilers vectorise it.

use half::bf16;

/// A bfloat16 as f32.
#[inline(always)]
pub(crate) fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// To the nearest bfloat16, ties to even; a NaN stays one.
#[inline(always)]
pub(crate) fn narrow(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16)
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
}
