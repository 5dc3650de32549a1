//! Products of 8-bit codes: rows of activations times packed weights, through the output stage.
//!
//! `acc[m, n] = sum over k of (x[m, k] - zx) (w[n, k] - zw[n])`, in 32 bits that wrap. Two forms of the operands compute it. With
//! AVX-512 VNNI ([`Quad`](pack::Quad)), activations are bytes without sign and weights bytes with one; four products go to a sum at
//! once, and what the zero points make of the sum is folded into the bias. Elsewhere ([`Pair`](pack::Pair)), both are centred in 16
//! bits and two products go to a sum at once.
//!
//! Activations are read where they lie: a row of a product is a list of segments of equal length, relative to a base. For a matrix
//! that is the row; for a convolution, the rows of a window in a padded image, so that patches are never gathered.

#[cfg(target_arch = "x86_64")]
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod factor;
mod multiply;
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod row;
mod source;
mod sum;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use epilogue::interleaved;
#[cfg(target_arch = "x86_64")]
pub(crate) use factor::Factor as Twice;
#[cfg(target_arch = "x86_64")]
pub(crate) use multiply::SMALL;
pub(crate) use multiply::{multiply, place_product, product};
pub(crate) use pack::{Aligned, Codes, Form, Weights};
pub(crate) use source::{Layout, Matrix, Source, convert, pitch};
pub(crate) use sum::{Doubled, Factor, Side};
pub(crate) use tile::{Place, heights};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::by_height;

/// Outputs that one vector of sums holds.
pub(crate) const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::Requant;
    use crate::cpu::Level;
    use crate::def::Random;
    use crate::quantized::stage::Stage;

    /// The product by definition, through the requantiser.
    fn exact(
        (x, zx): (&[i32], i32),
        (w, zw): (&[i32], &[i32]),
        [n, k]: [usize; 2],
        code: impl Fn(usize, i32) -> i32,
    ) -> Vec<u8> {
        let row = |x: &[i32], column: usize| {
            let zero = zw[column % zw.len()];
            let products = x.iter().zip(&w[column * k..][..k]).map(|(x, w)| (x - zx) * (w - zero));
            code(column, products.fold(0, i32::wrapping_add)) as u8
        };
        if k == 0 {
            return Vec::new();
        }
        x.chunks_exact(k).flat_map(|x| (0..n).map(move |column| row(x, column))).collect()
    }

    #[test]
    fn products_are_exact_for_all_signs_and_zero_points_at_every_level() {
        let modes = [
            Requant::DoubleRounding { multiplier: 1_518_500_250, shift: -12 },
            Requant::DoubleRounding { multiplier: 1 << 30, shift: 0 },
            Requant::Float { scale: 0.000_13 },
            Requant::Float { scale: -0.002 },
            Requant::Float { scale: 3.0e6 },
            Requant::HalfAway { multiplier: 1_518_500_250, shift: 43 },
            Requant::SingleRounding { multiplier: 1, shift: 9 },
        ];
        let mut random = Random::new(5);
        let shapes = [[1, 1, 1], [13, 16, 5], [7, 64, 64], [25, 70, 33], [50, 130, 97], [3, 200, 260]];
        // One row: panels in pairs, an odd one, narrow ones, and rows that are no whole steps.
        let rows = [[1, 256, 96], [1, 200, 132], [1, 8, 128], [1, 45, 20], [1, 70, 33]];
        for (index, [m, n, k]) in shapes.into_iter().chain(rows).enumerate() {
            for (case, requant) in modes.into_iter().enumerate() {
                let (signed_x, signed_w) = (case % 2 == 0, (case + index) % 3 != 0);
                let bytes =
                    |random: &mut Random, len: usize| (0..len).map(|_| random.bits() as u8).collect::<Vec<u8>>();
                let (x, w) = (bytes(&mut random, m * k), bytes(&mut random, n * k));
                let number = |signed: bool| move |&b: &u8| if signed { i32::from(b as i8) } else { i32::from(b) };
                let (x_numbers, w_numbers): (Vec<i32>, Vec<i32>) =
                    (x.iter().map(number(signed_x)).collect(), w.iter().map(number(signed_w)).collect());
                let zx = number(signed_x)(&(random.bits() as u8));
                let count = if case % 3 == 0 { n } else { 1 };
                let mut zw: Vec<i32> = (0..count).map(|_| number(signed_w)(&(random.bits() as u8))).collect();
                // The shorter way for one row needs weights without zero points, which as stored have a sign.
                if m == 1 && k > 1 {
                    zw.fill(if signed_w { 0 } else { 128 });
                }
                let (zero_point, range) = if signed_x { (-7, (-100, 120)) } else { (130, (3, 250)) };
                let expected = exact((&x_numbers, zx), (&w_numbers, &zw), [n, k], |_, acc| {
                    requant.code(acc.wrapping_add(77), zero_point, range.0, range.1)
                });
                for level in Level::ALL.into_iter().filter(|level| level.available()) {
                    let zero = (zx as u8) ^ if signed_x { 0x80 } else { 0 };
                    let codes = Codes { bytes: &w, signed: signed_w };
                    let weights = Weights::new(level, codes, &zw, n, Layout::plain(k), zero);
                    let mut stage = Stage::of(vec![77; n], vec![requant; n], zero_point, range);
                    stage.fold(0, weights.fold());
                    let codes = Codes { bytes: &x, signed: signed_x };
                    let out = product(&weights, &Matrix { codes, zero, rows: m, k }, &stage);
                    assert!(out == expected, "{level} {m} {n} {k} {requant:?} {signed_x} {signed_w}");
                }
            }
        }
    }
}
