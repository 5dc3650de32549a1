//! Products of centred codes: rows of activations times packed weights.

use super::simd::Place;
use super::stage::Stage;

/// Outputs that one packed block computes at once.
pub(super) const LANES: usize = 16;

/// A weight matrix `[n, k]` cut into blocks of [`LANES`] outputs. Within a block, two consecutive k of one output lie side by
/// side, and the outputs follow each other: the operand order of a multiply-and-add of 16-bit pairs.
pub(super) struct Packed {
    /// Number of outputs.
    pub(super) n: usize,
    /// Length of a sum, rounded up to an even number; activations have this row length.
    pub(super) k: usize,
    blocks: Vec<i16>,
}

impl Packed {
    /// Packs rows of length `k`, one for each output.
    pub(super) fn from_rows(rows: &[i16], n: usize, k: usize) -> Packed {
        let rows = &rows[..n * k];
        let even = k.next_multiple_of(2);
        let mut blocks = vec![0i16; n.div_ceil(LANES) * LANES * even];
        for (block, rows) in blocks.chunks_exact_mut((LANES * even).max(1)).zip(rows.chunks((LANES * k).max(1))) {
            for (lane, row) in rows.chunks_exact(k.max(1)).enumerate() {
                let (pairs, rest) = row.as_chunks::<2>();
                let (words, _) = block.as_chunks_mut::<{ 2 * LANES }>();
                for (word, pair) in words.iter_mut().zip(pairs) {
                    word[2 * lane] = pair[0];
                    word[2 * lane + 1] = pair[1];
                }
                if let ([last], Some(word)) = (rest, words.get_mut(pairs.len())) {
                    word[2 * lane] = *last;
                }
            }
        }
        Packed { n, k: even, blocks }
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.n.div_ceil(LANES)
    }

    /// The pairs of one block.
    #[inline(always)]
    pub(super) fn block(&self, index: usize) -> &[[i16; 2 * LANES]] {
        let size = LANES * self.k;
        self.blocks[index * size..(index + 1) * size].as_chunks().0
    }
}

/// Sums of `M` rows with one block. All sums wrap.
#[inline(always)]
pub(super) fn sums<const M: usize>(rows: [&[i16]; M], block: &[[i16; 2 * LANES]]) -> [[i32; LANES]; M] {
    let mut acc = [[0i32; LANES]; M];
    let rows = rows.map(|r| r.as_chunks::<2>().0);
    for (k, weights) in block.iter().enumerate() {
        for (acc, row) in acc.iter_mut().zip(&rows) {
            let [x0, x1] = row[k].map(i32::from);
            for (lane, sum) in acc.iter_mut().enumerate() {
                let product = x0 * i32::from(weights[2 * lane]) + x1 * i32::from(weights[2 * lane + 1]);
                *sum = sum.wrapping_add(product);
            }
        }
    }
    acc
}

/// Rows times packed weights through the output stage, with `sums` for `M` rows at a time.
#[inline(always)]
pub(super) fn product_by<const M: usize>(
    rows: &[i16],
    packed: &Packed,
    stage: &Stage,
    place: Place,
    out: &mut [u8],
    sums: impl Fn([&[i16]; M], &[[i16; 2 * LANES]]) -> [[i32; LANES]; M],
) {
    let k = packed.k;
    let count = rows.len().checked_div(k).unwrap_or(out.len() / place.stride);
    for block in 0..packed.len() {
        let weights = packed.block(block);
        let at = place.first + block * LANES;
        let lanes = LANES.min(packed.n - block * LANES);
        for begin in (0..count).step_by(M) {
            let acc = sums(
                std::array::from_fn(|r| {
                    let r = (begin + r).min(count - 1);
                    &rows[r * k..(r + 1) * k]
                }),
                weights,
            );
            for (r, acc) in acc.iter().enumerate().take(count - begin) {
                let codes = stage.block(at, acc);
                let out = &mut out[(begin + r) * place.stride + at..][..lanes];
                match out.as_mut_array::<LANES>() {
                    Some(out) => *out = codes,
                    None => out.copy_from_slice(&codes[..lanes]),
                }
            }
        }
    }
}

/// The sum of products of two rows of equal length. Wraps.
#[inline(always)]
pub(super) fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a) * i32::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_products_equal_plain_ones_whatever_the_sizes() {
        for (n, k) in [(1, 1), (3, 7), (16, 2), (17, 9), (40, 33)] {
            let rows: Vec<i16> = (0..n * k).map(|i| (i * 37 % 511) as i16 - 255).collect();
            let packed = Packed::from_rows(&rows, n, k);
            let mut x: Vec<i16> = (0..2 * packed.k).map(|i| (i * 53 % 511) as i16 - 255).collect();
            if k % 2 == 1 {
                // The padding of the weights is zero, whatever stands in that of the activations.
                x[k] = 99;
            }
            let (a, b) = x.split_at(packed.k);
            for block in 0..packed.len() {
                let acc = sums([a, b], packed.block(block));
                for (row, acc) in [a, b].into_iter().zip(acc) {
                    for (lane, sum) in acc.into_iter().enumerate() {
                        let o = block * LANES + lane;
                        let exact = if o < n { dot(&row[..k], &rows[o * k..(o + 1) * k]) } else { 0 };
                        assert_eq!(sum, exact);
                    }
                }
            }
        }
    }
}
