//! How far predictions are off.

/// Mean and largest absolute value.
pub fn mean_and_worst(errors: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = errors.clone().count().max(1) as f64;
    (errors.clone().map(f64::abs).sum::<f64>() / count, errors.map(f64::abs).fold(0.0, f64::max))
}
