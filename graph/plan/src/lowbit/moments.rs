//! What a layer reads: sums of products of its channels, and their largest magnitudes.

use super::matrix::Matrix;

#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// Σ x xᵀ over rows.
    products: Matrix,
    largest: Vec<f32>,
}

impl Moments {
    pub fn new(channels: usize) -> Moments {
        Moments { products: Matrix::zeros(channels), largest: vec![0.0; channels] }
    }

    /// Adds rows of one element a channel; the element that is not finite, if there is one.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), f32> {
        let k = self.largest.len();
        for row in rows.chunks_exact(k.max(1)) {
            if let Some(&bad) = row.iter().find(|x| !x.is_finite()) {
                return Err(bad);
            }
            self.largest.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.abs()));
            for (at, &x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                let x = f64::from(x);
                self.products.row_mut(at).iter_mut().zip(row).for_each(|(sum, &y)| *sum += x * f64::from(y));
            }
        }
        Ok(())
    }

    /// The channels by their largest magnitudes, the largest last; by number where these are equal.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.largest.len()).collect();
        order.sort_by(|&a, &b| self.largest[a].total_cmp(&self.largest[b]));
        order
    }

    /// The sums of products of the channels in this order.
    pub fn products(&self, order: &[usize]) -> Matrix {
        let mut out = Matrix::zeros(order.len());
        for (at, &channel) in order.iter().enumerate() {
            let row = self.products.row(channel);
            out.row_mut(at).iter_mut().zip(order).for_each(|(place, &other)| *place = row[other]);
        }
        out
    }
}
