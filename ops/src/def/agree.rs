//! When a result counts as equal to the reference.

use tandem_tensor::Tensor;

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agree {
    /// Every bit.
    Exact,
    /// Errors beside the reference: the root mean square of all beside its own, and each one beside its element, or the root
    /// mean square of its row along the last axis, or that of all, whichever is largest. NaNs and infinities have to be where the
    /// reference has them.
    Relative {
        /// Root mean square of the errors.
        rms: f64,
        /// The largest error.
        max: f64,
    },
}

/// How far a result is from the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// Root mean square of the errors, over that of the reference.
    pub rms: f64,
    /// The largest error, over the largest of its element of the reference, the root mean square of its row and that of all.
    pub max: f64,
    /// Elements that differ in a way that no tolerance allows: any difference under [`Agree::Exact`], else a NaN or an infinity
    /// on one side only. A wrong shape or dtype counts as all elements, and at least one.
    pub wrong: usize,
    /// The first element that is wrong, or the one with the largest error.
    pub at: usize,
}

impl Agree {
    /// Compares a result with the reference.
    pub fn compare(&self, found: &Tensor, expected: &Tensor) -> Agreement {
        if found.dtype() != expected.dtype() || found.shape() != expected.shape() {
            return Agreement { wrong: expected.len().max(1), ..Agreement::default() };
        }
        let mut result = Agreement::default();
        let mut wrong = |at: usize| {
            if result.wrong == 0 {
                result.at = at;
            }
            result.wrong += 1;
        };
        if *self == Agree::Exact {
            let size = found.dtype().bytes();
            let (found, expected) = (found.to_le_bytes(), expected.to_le_bytes());
            let pairs = found.chunks_exact(size).zip(expected.chunks_exact(size));
            pairs.enumerate().filter(|(_, (a, b))| a != b).for_each(|(at, _)| wrong(at));
            return result;
        }
        let shape = expected.shape();
        let (found, expected) = (found.to_f64(), expected.to_f64());
        let (mut errors, mut squares, mut count) = (0.0, 0.0, 0usize);
        for (at, (&a, &b)) in found.iter().zip(&expected).enumerate() {
            if a.is_finite() && b.is_finite() {
                errors += (a - b) * (a - b);
                squares += b * b;
                count += 1;
            } else if !(a == b || a.is_nan() && b.is_nan()) {
                wrong(at);
            }
        }
        // An all-zero reference has no scale of its own: errors count as they are.
        let scale = if squares > 0.0 { (squares / count as f64).sqrt() } else { 1.0 };
        result.rms = (errors / count.max(1) as f64).sqrt() / scale;
        let width = shape.last().copied().unwrap_or(1).max(1);
        for (row, (found, expected)) in found.chunks(width).zip(expected.chunks(width)).enumerate() {
            // Elements of a row are sums of as many terms of the same size, which another row's need not be.
            let scale = scale.max(root_mean_square(expected));
            for (column, (a, b)) in found.iter().zip(expected).enumerate() {
                let error = (a - b).abs() / b.abs().max(scale);
                if a.is_finite() && b.is_finite() && error > result.max {
                    result.max = error;
                    if result.wrong == 0 {
                        result.at = row * width + column;
                    }
                }
            }
        }
        result
    }

    /// Whether that is near enough.
    pub fn allows(&self, agreement: &Agreement) -> bool {
        agreement.wrong == 0
            && match *self {
                Agree::Exact => true,
                Agree::Relative { rms, max } => agreement.rms <= rms && agreement.max <= max,
            }
    }
}

/// That of the finite ones; 0 without any.
fn root_mean_square(values: &[f64]) -> f64 {
    let finite = values.iter().filter(|value| value.is_finite());
    let (sum, count) = finite.fold((0.0, 0usize), |(sum, count), value| (sum + value * value, count + 1));
    (sum / count.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reals(values: &[f32]) -> Tensor {
        Tensor::from_vec([values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn errors_are_measured_against_the_reference() {
        let rule = Agree::Relative { rms: 1e-3, max: 1e-2 };
        let expected = reals(&[3.0, -4.0, f32::INFINITY, f32::NAN]);
        let near = rule.compare(&reals(&[3.0, -4.001, f32::INFINITY, f32::NAN]), &expected);
        assert!(rule.allows(&near) && near.rms > 0.0 && near.at == 1, "{near:?}");
        assert!(!rule.allows(&rule.compare(&reals(&[3.0, -4.1, f32::INFINITY, f32::NAN]), &expected)));
        for bad in
            [[3.0, -4.0, 1e30, f32::NAN], [3.0, f32::NAN, f32::INFINITY, f32::NAN], [3.0, -4.0, f32::INFINITY, 0.0]]
        {
            let found = rule.compare(&reals(&bad), &expected);
            assert_eq!(found.wrong, 1, "{bad:?}");
            assert!(!rule.allows(&found));
        }
        assert!(!rule.allows(&rule.compare(&reals(&[3.0]), &expected)));
    }

    #[test]
    fn a_large_element_is_measured_against_itself_and_a_small_one_against_all() {
        let rule = Agree::Relative { rms: 1.0, max: 1e-2 };
        let expected: Vec<f32> = (0..100).map(|i| if i == 7 { 1000.0 } else { 0.0 }).collect();
        let with = |at: usize, value: f32| {
            let mut found = expected.clone();
            found[at] = value;
            rule.compare(&reals(&found), &reals(&expected))
        };
        let large = with(7, 1005.0);
        assert!(rule.allows(&large) && (large.max - 5e-3).abs() < 1e-9 && large.at == 7, "{large:?}");
        let small = with(8, 0.5);
        assert!(rule.allows(&small) && (small.max - 5e-3).abs() < 1e-9 && small.at == 8, "{small:?}");
        assert!(!rule.allows(&with(8, 5.0)) && !rule.allows(&with(7, 1020.0)));
    }

    #[test]
    fn an_element_of_a_large_row_is_measured_against_its_row() {
        let rule = Agree::Relative { rms: 1.0, max: 1e-2 };
        // One row of four of hundreds, the others zero: the whole has a root mean square of 50.
        let rows = |first: [f32; 4]| {
            let values = first.into_iter().chain([0.0; 12]).collect();
            Tensor::from_vec([4, 4], values).unwrap()
        };
        let expected = rows([100.0, -100.0, 100.0, 0.0]);
        let near = rule.compare(&rows([100.0, -100.0, 100.0, 0.7]), &expected);
        assert!(rule.allows(&near) && (near.max - 0.7 / 7500f64.sqrt()).abs() < 1e-6 && near.at == 3, "{near:?}");
        let mut found = expected.to_f64();
        found[9] = 0.7;
        let found = Tensor::from_vec([4, 4], found.into_iter().map(|x| x as f32).collect()).unwrap();
        assert!(!rule.allows(&rule.compare(&found, &expected)));
    }

    #[test]
    fn exact_means_every_bit() {
        let found = Agree::Exact.compare(&reals(&[0.0, 1.0]), &reals(&[-0.0, 1.0]));
        assert_eq!((found.wrong, found.at), (1, 0));
        assert!(Agree::Exact.allows(&Agree::Exact.compare(&reals(&[]), &reals(&[]))));
        let (none, one) = (Tensor::zeros(tandem_tensor::DType::I8, [0]), Tensor::zeros(tandem_tensor::DType::U8, [0]));
        assert!(!Agree::Exact.allows(&Agree::Exact.compare(&none, &one)));
    }
}
