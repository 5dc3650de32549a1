//! Rows of bytes, and reals as such.

use std::collections::BTreeSet;

/// One side of a product: rows that are multiplied with rows of the other side.
///
/// A row of reals is `unit Σ 256^i digits[i]`, with a power of two as its unit and digits of -128 to 127 each.
pub(super) struct Operand {
    pub rows: usize,
    pub depth: usize,
    /// The bytes `[digit][row][depth]`, the digit of least worth first.
    pub codes: Vec<i8>,
    /// Digits of an element.
    pub digits: usize,
    /// What a digit of worth 1 is worth in each row.
    units: Vec<f64>,
    /// What every element of a row is more than its digits say; only of the second side.
    offsets: Vec<f64>,
    /// The reals that digits were made of; none of bytes.
    reals: Vec<f64>,
    /// What digits leave of elements, by row and place.
    rests: Vec<(usize, usize, f64)>,
    /// The rows that have no digits, since they are not finite.
    broken: BTreeSet<usize>,
}

impl Operand {
    /// Bytes `[rows][depth]`, each worth itself.
    pub fn bytes(rows: usize, depth: usize, codes: Vec<i8>) -> Operand {
        Operand {
            rows,
            depth,
            codes,
            digits: 1,
            units: vec![1.0; rows],
            offsets: vec![0.0; rows],
            reals: Vec::new(),
            rests: Vec::new(),
            broken: BTreeSet::new(),
        }
    }

    /// The same with a number added to every element of each row.
    pub fn plus(self, offsets: Vec<f64>) -> Operand {
        Operand { offsets, ..self }
    }

    /// Numbers of bfloat16 `[rows][depth]` in two digits, with what these leave: nothing of numbers down to a hundredth of the largest
    /// of their row.
    pub fn exact(rows: usize, depth: usize, reals: Vec<f64>) -> Operand {
        let mut operand = Operand::rounded(rows, depth, reals, 2);
        for row in (0..rows).filter(|row| !operand.broken.contains(row)) {
            for at in 0..depth {
                let rest = operand.reals[row * depth + at] - operand.said(row, at);
                if rest != 0.0 {
                    operand.rests.push((row, at, rest));
                }
            }
        }
        operand
    }

    /// Reals `[rows][depth]` in so many digits, off by half a unit at most: with three, by 2^-23 of the largest of their row.
    pub fn rounded(rows: usize, depth: usize, reals: Vec<f64>, digits: usize) -> Operand {
        let mut codes = vec![0; digits * rows * depth];
        let (mut units, mut broken) = (vec![0.0; rows], BTreeSet::new());
        for row in 0..rows {
            let reals = &reals[row * depth..][..depth];
            if reals.iter().any(|x| !x.is_finite()) {
                broken.insert(row);
                continue;
            }
            units[row] = unit(reals, digits);
            if units[row] == 0.0 {
                continue;
            }
            for (at, x) in reals.iter().enumerate() {
                let mut left = (x / units[row]).round_ties_even() as i64;
                for digit in 0..digits {
                    let low = left as i8;
                    codes[(digit * rows + row) * depth + at] = low;
                    left = (left - i64::from(low)) >> 8;
                }
            }
        }
        Operand { codes, digits, units, reals, broken, ..Operand::bytes(rows, depth, Vec::new()) }
    }

    /// Rows of bytes.
    pub fn byte_rows(&self) -> usize {
        self.digits * self.rows
    }

    /// An element.
    pub fn value(&self, row: usize, at: usize) -> f64 {
        match self.reals.get(row * self.depth + at) {
            Some(&real) => real,
            None => self.said(row, at) + self.offsets[row],
        }
    }

    /// What the digits of an element say.
    fn said(&self, row: usize, at: usize) -> f64 {
        let code = |digit: usize| f64::from(self.codes[(digit * self.rows + row) * self.depth + at]);
        (0..self.digits).map(|digit| worth(digit) * code(digit)).sum::<f64>() * self.units[row]
    }

    /// The sum of what the digits of a row say.
    fn total(&self, row: usize) -> f64 {
        let codes = |digit: usize| &self.codes[(digit * self.rows + row) * self.depth..][..self.depth];
        let sum = |digit| worth(digit) * codes(digit).iter().map(|&code| i64::from(code)).sum::<i64>() as f64;
        (0..self.digits).map(sum).sum::<f64>() * self.units[row]
    }
}

/// The products `[rows of a][rows of b]` from the sums of their bytes, `[byte rows of a][byte rows of b]`. The host adds what digits
/// leave, and computes those of rows that are not finite.
pub(super) fn products(a: &Operand, b: &Operand, sums: &[i64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(a.rows * b.rows);
    for row in 0..a.rows {
        let total = a.total(row);
        for column in 0..b.rows {
            let mut sum = 0.0;
            for i in 0..a.digits {
                for j in 0..b.digits {
                    let at = (i * a.rows + row) * b.byte_rows() + j * b.rows + column;
                    sum += worth(i + j) * sums[at] as f64;
                }
            }
            out.push(sum * a.units[row] * b.units[column] + total * b.offsets[column]);
        }
    }
    for &(row, at, rest) in &a.rests {
        (0..b.rows).for_each(|column| out[row * b.rows + column] += rest * b.value(column, at));
    }
    for &(column, at, rest) in &b.rests {
        (0..a.rows).for_each(|row| out[row * b.rows + column] += a.said(row, at) * rest);
    }
    let mut redo = |row: usize, column: usize| {
        out[row * b.rows + column] = (0..a.depth).map(|at| a.value(row, at) * b.value(column, at)).sum();
    };
    for &row in &a.broken {
        (0..b.rows).for_each(|column| redo(row, column));
    }
    for &column in &b.broken {
        (0..a.rows).for_each(|row| redo(row, column));
    }
    out
}

/// What a digit is worth beside the first.
fn worth(digit: usize) -> f64 {
    256f64.powi(digit as i32)
}

/// The smallest power of two in units of which digits hold a row of finite numbers; 0 where all of them are.
fn unit(values: &[f64], digits: usize) -> f64 {
    let largest = values.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let most = 127.0 * (worth(digits) - 1.0) / 255.0;
    if largest == 0.0 {
        return 0.0;
    }
    let mut unit = 2f64.powi((largest / most).log2().floor() as i32);
    // The logarithm may be rounded, and so may be the number.
    while (largest / unit).round_ties_even() > most {
        unit *= 2.0;
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the core makes of the bytes.
    fn sums(a: &Operand, b: &Operand) -> Vec<i64> {
        let row = |operand: &Operand, row: usize| operand.codes[row * operand.depth..][..operand.depth].to_vec();
        let product = |at: usize| {
            let (a, b) = (row(a, at / b.byte_rows()), row(b, at % b.byte_rows()));
            a.iter().zip(&b).map(|(&x, &y)| i64::from(x) * i64::from(y)).sum()
        };
        (0..a.byte_rows() * b.byte_rows()).map(product).collect()
    }

    #[test]
    fn digits_hold_bfloat16_down_to_a_hundredth_of_the_largest() {
        let values = vec![255.0, -254.0, 166.0 / 64.0, 0.0, 1.0 / 64.0, 3.0 / 256.0];
        let operand = Operand::exact(1, values.len(), values.clone());
        assert_eq!(operand.units[0], 1.0 / 64.0);
        let found: Vec<f64> = (0..values.len()).map(|at| operand.said(0, at)).collect();
        assert_eq!(found[..5], values[..5]);
        assert_eq!(operand.rests, [(0, 5, -1.0 / 256.0)]);
    }

    #[test]
    fn the_largest_number_has_digits() {
        for digits in 1..=3 {
            let most = 127.0 * (worth(digits) - 1.0) / 255.0;
            for largest in [most, most + 0.49, most + 1.0, 1.0, 1e-40, f64::from(f32::MAX)] {
                let operand = Operand::rounded(1, 2, vec![largest, -largest], digits);
                let (unit, said) = (operand.units[0], [0, 1].map(|at| operand.said(0, at)));
                assert!((said[0] - largest).abs() <= unit / 2.0 && said[1] == -said[0], "{largest}: {said:?}");
                assert!(largest / unit > most / 2.0 - 1.0, "{largest} leaves bits unused");
            }
        }
    }

    #[test]
    fn what_digits_leave_is_added() {
        let a = Operand::exact(2, 2, vec![1.0, 1e-4, 3.0, -1.0]);
        let b = Operand::exact(2, 2, vec![2.0, 1.0, -1.0, 3e-5]);
        let found = products(&a, &b, &sums(&a, &b));
        let expected = [2.0 + 1e-4, -1.0 + 3e-9, 5.0, -3.0 - 3e-5];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        assert!(!a.rests.is_empty() && !b.rests.is_empty());
    }

    #[test]
    fn rows_that_are_not_finite_are_computed_apart() {
        let a = Operand::exact(3, 2, vec![1.0, 2.0, f64::INFINITY, 1.0, 0.0, 0.0]);
        let b = Operand::bytes(2, 2, vec![3, -1, 0, 5]);
        let found = products(&a, &b, &sums(&a, &b));
        assert_eq!((found[0], found[1], found[2]), (1.0, 10.0, f64::INFINITY));
        assert!(found[3].is_nan());
        assert_eq!(found[4..], [0.0, 0.0]);
        let b = b.plus(vec![2.0, -5.0]);
        let found = products(&a, &b, &sums(&a, &b));
        assert_eq!(found[..3], [7.0, -5.0, f64::INFINITY]);
        assert!(found[3] == f64::NEG_INFINITY && found[4..] == [0.0, 0.0], "{found:?}");
        // A number too small for digits is none the less no zero.
        for b in [Operand::exact(1, 2, vec![1e-6, 1.0]), Operand::rounded(1, 2, vec![1e-20, 1.0], 3)] {
            assert_eq!(products(&a, &b, &sums(&a, &b))[1], f64::INFINITY);
        }
    }
}
