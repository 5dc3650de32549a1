//! The weights of a layer as codes.

use super::grid::{BYTE, Grid};
use super::matrix::Matrix;
use super::{Form, Scheme};

/// Codes of a layer, with input channels in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Codes {
    /// Codes of four bits, 0 to 15, a row an output channel.
    pub four: Vec<u8>,
    /// What they stand for, for each row and group.
    pub grids: Vec<Grid>,
    /// Codes of the last channels.
    pub eight: Vec<i8>,
    /// What these are worth, for each row; and what grids are multiples of, for the scheme that has such.
    pub row_scales: Vec<f32>,
}

impl Codes {
    /// The codes of rows of weights, of which `inner` channels get four bits. With the root of the inverse of the products of what the
    /// layer reads, the error of a column is made good by those behind it.
    pub fn new(form: &Form, rows: &[Vec<f64>], inner: usize, root: Option<&Matrix>) -> Codes {
        let mut codes = Codes::default();
        for row in rows {
            codes.add(form, row.clone(), inner, root);
        }
        codes
    }

    fn add(&mut self, form: &Form, mut row: Vec<f64>, inner: usize, root: Option<&Matrix>) {
        let magnitude = |list: &[f64]| list.iter().fold(0f64, |most, w| most.max(w.abs()));
        let mut scale = match form.scheme {
            Scheme::W4A8 => (magnitude(&row) / BYTE) as f32,
            _ => 0.0,
        };
        let mut grid = Grid { scale: 0.0, zero: 8 };
        for at in 0..row.len() {
            // What is left of the error of a column when those behind it have done what they can.
            let left = |at: usize| root.map_or(1.0, |root| 1.0 / root.row(at)[at]);
            let value = if at < inner {
                if at % form.group == 0 {
                    let end = inner.min(at + form.group);
                    let costs: Vec<f64> = (at..end).map(|at| left(at).powi(2)).collect();
                    grid = Grid::best(form.scheme, &row[at..end], &costs, f64::from(scale));
                    self.grids.push(grid);
                }
                let code = grid.code(row[at]);
                self.four.push(code as u8);
                grid.value(code)
            } else {
                if at == inner && form.scheme != Scheme::W4A8 {
                    scale = (magnitude(&row[inner..]) / 127.0) as f32;
                }
                let unit = f64::from(scale);
                let code = if unit > 0.0 { (row[at] / unit).round_ties_even().clamp(-127.0, 127.0) } else { 0.0 };
                self.eight.push(code as i8);
                code * unit
            };
            if let Some(root) = root {
                let error = (row[at] - value) * left(at);
                let factors = &root.row(at)[at + 1..];
                row[at + 1..].iter_mut().zip(factors).for_each(|(w, factor)| *w -= error * factor);
            }
        }
        self.row_scales.push(scale);
    }
}
