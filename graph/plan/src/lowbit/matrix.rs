//! Square matrices of `f64`, as far as the compensation of errors needs them.

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    size: usize,
    elements: Vec<f64>,
}

impl Matrix {
    pub fn zeros(size: usize) -> Matrix {
        Matrix { size, elements: vec![0.0; size * size] }
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.elements[row * self.size..][..self.size]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.elements[row * self.size..][..self.size]
    }

    /// Adds a part of the mean of the diagonal to the diagonal, or 1 where that is 0, so that the matrix has an inverse.
    pub fn damped(mut self, part: f64) -> Matrix {
        let mean = (0..self.size).map(|at| self.row(at)[at]).sum::<f64>() / self.size.max(1) as f64;
        let more = if mean > 0.0 { mean * part } else { 1.0 };
        (0..self.size).for_each(|at| self.row_mut(at)[at] += more);
        self
    }

    /// The upper triangle U with `Uᵀ U` the inverse of this matrix, which is symmetric with positive eigenvalues; `None` where it is not.
    ///
    /// With the rows and columns of the matrix reversed its Cholesky factor L is a lower triangle, whose inverse, reversed again, is U.
    pub fn inverse_root(&self) -> Option<Matrix> {
        let n = self.size;
        let mut lower = Matrix::zeros(n);
        for row in 0..n {
            for column in 0..=row {
                let known: f64 =
                    lower.row(row)[..column].iter().zip(&lower.row(column)[..column]).map(|(a, b)| a * b).sum();
                let rest = self.row(n - 1 - row)[n - 1 - column] - known;
                lower.row_mut(row)[column] = match row == column {
                    true if rest > 0.0 => rest.sqrt(),
                    true => return None,
                    false => rest / lower.row(column)[column],
                };
            }
        }
        let mut root = Matrix::zeros(n);
        for column in 0..n {
            let mut solved = vec![0.0; n];
            for row in column..n {
                let known: f64 = lower.row(row)[column..row].iter().zip(&solved[column..row]).map(|(a, b)| a * b).sum();
                let unit = if row == column { 1.0 } else { 0.0 };
                solved[row] = (unit - known) / lower.row(row)[row];
                root.row_mut(n - 1 - row)[n - 1 - column] = solved[row];
            }
        }
        Some(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::def::Random;

    #[test]
    fn the_root_of_the_inverse_is_an_upper_triangle_whose_square_undoes_the_matrix() {
        let mut random = Random::new(4);
        for n in [0, 1, 2, 7, 40] {
            let samples: Vec<Vec<f64>> = (0..2 * n).map(|_| (0..n).map(|_| random.normal()).collect()).collect();
            let mut matrix = Matrix::zeros(n);
            for sample in &samples {
                for i in 0..n {
                    (0..n).for_each(|j| matrix.row_mut(i)[j] += sample[i] * sample[j]);
                }
            }
            let matrix = matrix.damped(0.01);
            let root = matrix.inverse_root().unwrap();
            for i in 0..n {
                assert!(root.row(i)[..i].iter().all(|&x| x == 0.0));
                for j in 0..n {
                    // Row i of Uᵀ U times column j of the matrix.
                    let inverse = |l: usize| (0..n).map(|of| root.row(of)[i] * root.row(of)[l]).sum::<f64>();
                    let one: f64 = (0..n).map(|l| inverse(l) * matrix.row(l)[j]).sum();
                    assert!((one - f64::from(u8::from(i == j))).abs() < 1e-9, "{n}: {i} {j} {one}");
                }
            }
        }
        assert_eq!(Matrix::zeros(2).inverse_root(), None);
        assert!(Matrix::zeros(2).damped(0.01).inverse_root().is_some());
    }
}
