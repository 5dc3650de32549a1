//! Rows of bytes, and reals as such.

use std::collections::BTreeMap;

/// One side of a product: rows that are multiplied with rows of the other side.
///
/// A row of reals is `unit Σ 256^i digits[i]`, with a power of two as its unit and digits of -128 to 127 each. A number is off by half
/// a unit at most, and exact where its last bit is worth a unit or more: of bfloat16 in two digits, down to a hundredth of the
/// largest of the row.
pub(super) struct Operand {
    pub rows: usize,
    pub depth: usize,
    /// The bytes `[digit][row][depth]`, the digit of least weight first.
    pub codes: Vec<i8>,
    /// Digits of an element.
    pub digits: usize,
    /// What a digit of weight 1 is worth in each row.
    units: Vec<f64>,
    /// What every element of a row is more than its digits say; only of the second side.
    offsets: Vec<f64>,
    /// The rows that have no digits, since they are not finite.
    broken: BTreeMap<usize, Vec<f64>>,
}

impl Operand {
    /// Bytes `[rows][depth]`, each worth itself.
    pub fn bytes(rows: usize, depth: usize, codes: Vec<i8>) -> Operand {
        let (units, offsets) = (vec![1.0; rows], vec![0.0; rows]);
        Operand { rows, depth, codes, digits: 1, units, offsets, broken: BTreeMap::new() }
    }

    /// The same with a number added to every element of each row.
    pub fn plus(self, offsets: Vec<f64>) -> Operand {
        Operand { offsets, ..self }
    }

    /// Reals `[rows][depth]` in so many digits.
    pub fn reals(rows: usize, depth: usize, values: &[f64], digits: usize) -> Operand {
        let mut codes = vec![0; digits * rows * depth];
        let (mut units, mut broken) = (vec![0.0; rows], BTreeMap::new());
        for row in 0..rows {
            let values = &values[row * depth..][..depth];
            if values.iter().any(|x| !x.is_finite()) {
                broken.insert(row, values.to_vec());
                continue;
            }
            units[row] = unit(values, digits);
            if units[row] == 0.0 {
                continue;
            }
            for (at, x) in values.iter().enumerate() {
                let mut rest = (x / units[row]).round_ties_even() as i64;
                for digit in 0..digits {
                    let low = rest as i8;
                    codes[(digit * rows + row) * depth + at] = low;
                    rest = (rest - i64::from(low)) >> 8;
                }
            }
        }
        Operand { rows, depth, codes, digits, units, offsets: vec![0.0; rows], broken }
    }

    /// Rows of bytes.
    pub fn byte_rows(&self) -> usize {
        self.digits * self.rows
    }

    /// The elements of a row as they are multiplied.
    pub fn values(&self, row: usize) -> Vec<f64> {
        if let Some(values) = self.broken.get(&row) {
            return values.clone();
        }
        let of = |digit: usize, at: usize| f64::from(self.codes[(digit * self.rows + row) * self.depth + at]);
        let value = |at| (0..self.digits).map(|digit| weight(digit) * of(digit, at)).sum::<f64>() * self.units[row];
        (0..self.depth).map(|at| value(at) + self.offsets[row]).collect()
    }

    /// The sum of the elements of a row as its digits say them.
    fn total(&self, row: usize) -> f64 {
        let codes = |digit: usize| &self.codes[(digit * self.rows + row) * self.depth..][..self.depth];
        let sum = |digit| weight(digit) * codes(digit).iter().map(|&code| i64::from(code)).sum::<i64>() as f64;
        (0..self.digits).map(sum).sum::<f64>() * self.units[row]
    }
}

/// The products `[rows of a][rows of b]` from the sums of their bytes, `[byte rows of a][byte rows of b]`; of rows that are not
/// finite the host computes them.
pub(super) fn products(a: &Operand, b: &Operand, sums: &[i64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(a.rows * b.rows);
    for row in 0..a.rows {
        let total = a.total(row);
        for column in 0..b.rows {
            let mut sum = 0.0;
            for i in 0..a.digits {
                for j in 0..b.digits {
                    let at = (i * a.rows + row) * b.byte_rows() + j * b.rows + column;
                    sum += weight(i + j) * sums[at] as f64;
                }
            }
            out.push(sum * a.units[row] * b.units[column] + total * b.offsets[column]);
        }
    }
    let mut redo = |row: usize, column: usize| {
        out[row * b.rows + column] = a.values(row).iter().zip(b.values(column)).map(|(x, y)| x * y).sum();
    };
    for &row in a.broken.keys() {
        (0..b.rows).for_each(|column| redo(row, column));
    }
    for &column in b.broken.keys() {
        (0..a.rows).for_each(|row| redo(row, column));
    }
    out
}

/// What a digit is worth beside the first.
fn weight(digit: usize) -> f64 {
    256f64.powi(digit as i32)
}

/// The smallest power of two in units of which digits hold a row of finite numbers; 0 where all of them are.
fn unit(values: &[f64], digits: usize) -> f64 {
    let largest = values.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let most = 127.0 * (weight(digits) - 1.0) / 255.0;
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

    #[test]
    fn digits_hold_bfloat16_down_to_a_hundredth_of_the_largest() {
        let values = [255.0, -254.0, 166.0 / 64.0, 0.0, 1.0 / 64.0, -1.9921875, 1.0 / 512.0, 3.0 / 256.0];
        let operand = Operand::reals(1, values.len(), &values, 2);
        let found = operand.values(0);
        assert_eq!(found[..5], values[..5]);
        assert!(found.iter().zip(&values).all(|(a, b)| (a - b).abs() <= operand.units[0] / 2.0), "{found:?}");
        assert_eq!(operand.units[0], 1.0 / 64.0);
    }

    #[test]
    fn the_largest_number_has_digits() {
        for digits in 1..=3 {
            let most = 127.0 * (weight(digits) - 1.0) / 255.0;
            for largest in [most, most + 0.49, most + 1.0, 1.0, 1e-40, f64::from(f32::MAX)] {
                let operand = Operand::reals(1, 2, &[largest, -largest], digits);
                let unit = operand.units[0];
                let values = operand.values(0);
                assert!((values[0] - largest).abs() <= unit / 2.0 && values[1] == -values[0], "{largest}: {values:?}");
                assert!(largest / unit > most / 2.0 - 1.0, "{largest} leaves bits unused");
            }
        }
    }

    #[test]
    fn rows_that_are_not_finite_are_computed_apart() {
        let a = Operand::reals(3, 2, &[1.0, 2.0, f64::INFINITY, 1.0, 0.0, 0.0], 2);
        let b = Operand::bytes(2, 2, vec![3, -1, 0, 5]);
        let mut sums = vec![0i64; a.byte_rows() * b.rows];
        for (at, sum) in sums.iter_mut().enumerate() {
            let (row, column) = (at / b.rows, at % b.rows);
            *sum = (0..2).map(|k| i64::from(a.codes[row * 2 + k]) * i64::from(b.codes[column * 2 + k])).sum();
        }
        let found = products(&a, &b, &sums);
        assert_eq!((found[0], found[1], found[2]), (1.0, 10.0, f64::INFINITY));
        assert!(found[3].is_nan());
        assert_eq!(found[4..], [0.0, 0.0]);
        let found = products(&a, &b.plus(vec![2.0, -5.0]), &sums);
        assert_eq!(found[..3], [7.0, -5.0, f64::INFINITY]);
        assert!(found[3] == f64::NEG_INFINITY && found[4..] == [0.0, 0.0], "{found:?}");
    }
}
