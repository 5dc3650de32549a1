//! Sixteen rows of 32-bit words become sixteen columns: how weights are packed.
#![allow(unsafe_code)]

/// Words that a block has along both of its sides.
pub(crate) const SIDE: usize = 16;

/// Writes word w of row r to place r of line w, for [`SIDE`] rows and lines, with the bits of `flip` inverted. Rows lie `pitch`
/// elements apart, lines `step` lines apart. False, and nothing done, where the processor has no instructions for it.
///
/// # Panics
/// Where rows or lines reach beyond their slices, or a line is not of 64 bytes.
pub(crate) fn transpose<X: Copy, L: Copy>(rows: &[X], pitch: usize, lines: &mut [L], step: usize, flip: u32) -> bool {
    #[cfg(target_arch = "x86_64")]
    if super::Level::Avx512.available() {
        let size = size_of::<X>();
        assert!(size_of::<L>() == 4 * SIDE && (SIDE - 1) * pitch * size + 4 * SIDE <= size_of_val(rows));
        assert!((SIDE - 1) * step < lines.len());
        // SAFETY: the processor has the features, and both blocks are inside their slices, whose elements are plain numbers.
        unsafe { x86::transpose(rows.as_ptr().cast(), pitch * size, lines.as_mut_ptr().cast(), 4 * SIDE * step, flip) };
        return true;
    }
    let _ = (rows, pitch, lines, step, flip);
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::SIDE;
    use std::arch::x86_64::*;

    /// # Safety
    /// [`SIDE`] rows and lines of 64 bytes, at these distances in bytes, can be read and written.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn transpose(rows: *const u8, pitch: usize, lines: *mut u8, step: usize, flip: u32) {
        let flip = _mm512_set1_epi32(flip as i32);
        // SAFETY: the caller's.
        let r: [__m512i; SIDE] = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(rows.add(i * pitch).cast()) });
        // Pairs of rows by word, then fours by two words; every quarter of a register holds words of its own quarter of a row.
        let pairs: [__m512i; SIDE] = std::array::from_fn(|i| {
            let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
            if i % 2 == 0 { _mm512_unpacklo_epi32(a, b) } else { _mm512_unpackhi_epi32(a, b) }
        });
        let fours: [__m512i; SIDE] = std::array::from_fn(|i| {
            let at = i / 4 * 4 + i % 4 / 2;
            let (a, b) = (pairs[at], pairs[at + 2]);
            if i % 2 == 0 { _mm512_unpacklo_epi64(a, b) } else { _mm512_unpackhi_epi64(a, b) }
        });
        for word in 0..4 {
            let (a, b, c, d) = (fours[word], fours[4 + word], fours[8 + word], fours[12 + word]);
            let (low_ab, high_ab) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (low_cd, high_cd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            let columns = [
                _mm512_shuffle_i32x4::<0x88>(low_ab, low_cd),
                _mm512_shuffle_i32x4::<0x88>(high_ab, high_cd),
                _mm512_shuffle_i32x4::<0xdd>(low_ab, low_cd),
                _mm512_shuffle_i32x4::<0xdd>(high_ab, high_cd),
            ];
            for (quarter, column) in columns.into_iter().enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    let to = lines.add((4 * quarter + word) * step).cast();
                    _mm512_storeu_si512(to, _mm512_xor_si512(column, flip));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let rows: Vec<u16> = (0..16 * 40).collect();
        let mut lines = vec![[0u16; 32]; 31];
        if !transpose(&rows, 40, &mut lines, 2, 0x8000_0001) {
            return;
        }
        for (w, line) in lines.iter().enumerate() {
            for (r, pair) in line.as_chunks::<2>().0.iter().enumerate() {
                let at = r * 40 + w;
                let expected = if w % 2 == 0 { [rows[at] ^ 1, rows[at + 1] ^ 0x8000] } else { [0, 0] };
                assert_eq!(*pair, expected, "word {w} of row {r}");
            }
        }
    }
}
