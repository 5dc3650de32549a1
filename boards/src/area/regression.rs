//! Least squares for few samples: relative errors count, and a small penalty keeps coefficients apart that the samples do not.

/// Passes over the coefficients; each pass is exact in one coefficient after another, and far fewer would do.
const SWEEPS: usize = 4000;
/// Below this relative change of a coefficient nothing moves any more.
const STILL: f64 = 1e-10;

/// How well a fit foretells samples that it has not seen: each is left out in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Error {
    /// The mean of what was foretold over what was found, minus one, without its sign.
    pub mean: f64,
    /// The largest of them.
    pub worst: f64,
    /// Samples.
    pub samples: usize,
}

/// What a coefficient may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Any number.
    Any,
    /// Nothing takes a negative part of an FPGA.
    NotNegative,
}

/// The coefficients of `values` in the columns of `rows`: those with the least sum of squares of relative errors plus `ridge` times
/// the squares of the coefficients, each in units of its column. A value of zero counts with its absolute error.
///
/// Rows are as long as the first; there may be fewer of them than columns.
pub fn fit(rows: &[Vec<f64>], values: &[f64], sign: Sign, ridge: f64) -> Vec<f64> {
    let columns = rows.first().map_or(0, Vec::len);
    let weight: Vec<f64> = values.iter().map(|value| 1.0 / value.abs().max(1.0)).collect();
    let scaled = |row: usize, column: usize| rows[row][column] * weight[row];
    let norms: Vec<f64> =
        (0..columns).map(|column| (0..rows.len()).map(|row| scaled(row, column).powi(2)).sum::<f64>().sqrt()).collect();
    // In units of its column's length every coefficient is punished alike.
    let matrix: Vec<Vec<f64>> = (0..rows.len())
        .map(|row| {
            (0..columns)
                .map(|column| if norms[column] > 0.0 { scaled(row, column) / norms[column] } else { 0.0 })
                .collect()
        })
        .collect();
    let mut left: Vec<f64> = values.iter().zip(&weight).map(|(value, weight)| value * weight).collect();
    let mut found = vec![0.0; columns];
    for _ in 0..SWEEPS {
        let mut moved: f64 = 0.0;
        for column in (0..columns).filter(|&column| norms[column] > 0.0) {
            let along: f64 = matrix.iter().zip(&left).map(|(row, left)| row[column] * left).sum();
            let best = (along + found[column]) / (1.0 + ridge);
            let best = if sign == Sign::NotNegative { best.max(0.0) } else { best };
            let step = best - found[column];
            found[column] = best;
            moved = moved.max(step.abs() / best.abs().max(1.0));
            for (row, left) in matrix.iter().zip(&mut left) {
                *left -= row[column] * step;
            }
        }
        if moved < STILL {
            break;
        }
    }
    found.iter().zip(&norms).map(|(found, norm)| if *norm > 0.0 { found / norm } else { 0.0 }).collect()
}

/// What coefficients foretell of a row.
pub fn foretell(coefficients: &[f64], row: &[f64]) -> f64 {
    coefficients.iter().zip(row).map(|(coefficient, x)| coefficient * x).sum()
}

/// How well fits of all samples but one foretell that one. `value` is what a fitted number stands for.
pub fn leave_one_out(rows: &[Vec<f64>], values: &[f64], sign: Sign, ridge: f64, value: impl Fn(f64) -> f64) -> Error {
    let mut errors = Vec::new();
    for left in 0..rows.len() {
        let without = |row: &usize| *row != left;
        let others: Vec<Vec<f64>> = (0..rows.len()).filter(without).map(|row| rows[row].clone()).collect();
        let known: Vec<f64> = (0..rows.len()).filter(without).map(|row| values[row]).collect();
        let found = value(foretell(&fit(&others, &known, sign, ridge), &rows[left]));
        errors.push(relative(found, value(values[left])));
    }
    let samples = errors.len();
    let mean = if samples == 0 { 0.0 } else { errors.iter().sum::<f64>() / samples as f64 };
    Error { mean, worst: errors.into_iter().fold(0.0, f64::max), samples }
}

/// How far a number is from what was found, as a part of it.
pub fn relative(foretold: f64, found: f64) -> f64 {
    (foretold - found).abs() / found.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(sign: Sign) -> Vec<f64> {
        let rows: Vec<Vec<f64>> = (0..12).map(|i| vec![1.0, f64::from(i % 4), f64::from(i / 4)]).collect();
        let values: Vec<f64> = rows.iter().map(|row| 500.0 + 30.0 * row[1] - 7.0 * row[2]).collect();
        fit(&rows, &values, sign, 0.0)
    }

    #[test]
    fn what_is_linear_is_found_again() {
        let found = plane(Sign::Any);
        for (found, true_value) in found.iter().zip([500.0, 30.0, -7.0]) {
            assert!((found - true_value).abs() < 1e-4, "{found} for {true_value}");
        }
    }

    #[test]
    fn a_coefficient_that_may_not_be_negative_is_zero_instead() {
        let found = plane(Sign::NotNegative);
        assert!(found[2] == 0.0 && found[0] > 480.0, "{found:?}");
    }

    #[test]
    fn columns_that_nothing_tells_apart_share_what_they_explain() {
        let rows: Vec<Vec<f64>> = (1..5).map(|i| vec![f64::from(i), f64::from(i), 0.0]).collect();
        let values: Vec<f64> = rows.iter().map(|row| 4.0 * row[0]).collect();
        let found = fit(&rows, &values, Sign::NotNegative, 1e-2);
        assert!((found[0] - found[1]).abs() < 1e-6 && (found[0] - 2.0).abs() < 0.02 && found[2] == 0.0, "{found:?}");
    }

    #[test]
    fn a_sample_that_is_left_out_tells_the_error() {
        let rows: Vec<Vec<f64>> = (1..6).map(|i| vec![f64::from(i)]).collect();
        let exact: Vec<f64> = rows.iter().map(|row| 100.0 * row[0]).collect();
        let error = leave_one_out(&rows, &exact, Sign::Any, 0.0, |x| x);
        assert!(error.samples == 5 && error.worst < 1e-9, "{error:?}");
        let mut bent = exact.clone();
        bent[4] *= 2.0;
        assert!(leave_one_out(&rows, &bent, Sign::Any, 0.0, |x| x).worst > 0.4);
        assert_eq!(leave_one_out(&[], &[], Sign::Any, 0.0, |x| x), Error::default());
    }
}
