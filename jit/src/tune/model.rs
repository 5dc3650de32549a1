//! Models that learn what schedules cost.

use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

/// Learns numbers from features.
pub trait CostModel {
    /// Learns from these rows and their numbers, and forgets what it knew.
    fn fit(&mut self, rows: &[&[f32]], numbers: &[f32]);

    /// The numbers that it expects of rows; 0 where it has learned nothing.
    fn predict(&self, rows: &[&[f32]]) -> Vec<f32>;
}

/// Gradient-boosted regression trees.
pub struct Boosted {
    trees: usize,
    depth: u16,
    fitted: Option<Fitted>,
}

type Fitted = XGRegressor<f32, f32, DenseMatrix<f32>, Vec<f32>>;

/// Rows that one another's trees see.
const SHARE: f64 = 0.8;
const RATE: f64 = 0.2;

impl Boosted {
    /// A model of so many trees of that depth.
    pub fn new(trees: usize, depth: u16) -> Boosted {
        Boosted { trees, depth, fitted: None }
    }
}

impl CostModel for Boosted {
    fn fit(&mut self, rows: &[&[f32]], numbers: &[f32]) {
        self.fitted = None;
        let Some(matrix) = matrix(rows) else { return };
        let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / numbers.len().max(1) as f64;
        let parameters = XGRegressorParameters::default()
            .with_n_estimators(self.trees)
            .with_max_depth(self.depth)
            .with_learning_rate(RATE)
            .with_subsample(SHARE)
            .with_base_score(mean);
        self.fitted = XGRegressor::fit(&matrix, &numbers.to_vec(), parameters).ok();
    }

    fn predict(&self, rows: &[&[f32]]) -> Vec<f32> {
        let predicted = self.fitted.as_ref().zip(matrix(rows)).and_then(|(fitted, rows)| fitted.predict(&rows).ok());
        predicted.unwrap_or_else(|| vec![0.0; rows.len()])
    }
}

/// Rows as the library has them; `None` of no rows.
fn matrix(rows: &[&[f32]]) -> Option<DenseMatrix<f32>> {
    let columns = rows.first().filter(|row| !row.is_empty())?.len();
    DenseMatrix::new(rows.len(), columns, rows.concat(), false).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::def::Random;

    #[test]
    fn trees_learn_a_product_of_steps_and_repeat_themselves() {
        let mut random = Random::new(3);
        let rows: Vec<Vec<f32>> = (0..300).map(|_| (0..5).map(|_| random.unit() as f32).collect()).collect();
        let number = |row: &Vec<f32>| (if row[0] > 0.5 { 2.0 } else { 1.0 }) * (1.0 + row[3]);
        let (train, test) = rows.split_at(200);
        let train: Vec<&[f32]> = train.iter().map(Vec::as_slice).collect();
        let numbers: Vec<f32> = rows[..200].iter().map(number).collect();
        let mut model = Boosted::new(60, 5);
        assert_eq!(model.predict(&train), vec![0.0; 200]);
        model.fit(&train, &numbers);
        let test: Vec<&[f32]> = test.iter().map(Vec::as_slice).collect();
        let predicted = model.predict(&test);
        let error: f32 = predicted.iter().zip(&rows[200..]).map(|(p, row)| (p - number(row)).abs()).sum();
        assert!(error / 100.0 < 0.1, "{}", error / 100.0);
        let mut again = Boosted::new(60, 5);
        again.fit(&train, &numbers);
        assert_eq!(again.predict(&test), predicted);
        model.fit(&[], &[]);
        assert_eq!(model.predict(&test), vec![0.0; 100]);
    }
}
