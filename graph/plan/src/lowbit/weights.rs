//! The weights of a layer as codes.

use super::grid::{BYTE, Grid};
use super::matrix::Matrix;
use super::{Form, Scheme};

/// How often all codes of a row are looked at again.
const SWEEPS: usize = 4;

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

/// The products of the channels that a layer reads, and the root of their inverse: by these an error of one weight is made good by
/// others.
#[derive(Clone, Debug)]
pub(super) struct Products {
    products: Matrix,
    root: Matrix,
}

impl Products {
    /// `None` where the products have no inverse.
    pub fn new(products: Matrix) -> Option<Products> {
        let root = products.inverse_root()?;
        Some(Products { products, root })
    }
}

/// What the codes at a place of a row may be.
#[derive(Clone, Copy, Debug)]
enum Ladder {
    Four(Grid),
    /// A byte and what it is worth.
    Eight(f64),
}

impl Ladder {
    fn code(self, x: f64) -> i32 {
        match self {
            Ladder::Four(grid) => grid.code(x),
            Ladder::Eight(unit) if unit > 0.0 => (x / unit).round_ties_even().clamp(-127.0, 127.0) as i32,
            Ladder::Eight(_) => 0,
        }
    }

    fn value(self, code: i32) -> f64 {
        match self {
            Ladder::Four(grid) => grid.value(code),
            Ladder::Eight(unit) => f64::from(code) * unit,
        }
    }
}

impl Codes {
    /// The codes of rows of weights, of which `inner` channels get four bits. With the products of the channels, errors are made good.
    pub fn new(form: &Form, rows: &[Vec<f64>], inner: usize, products: Option<&Products>) -> Codes {
        let mut codes = Codes::default();
        for row in rows {
            codes.add(form, row, inner, products);
        }
        codes
    }

    fn add(&mut self, form: &Form, weights: &[f64], inner: usize, products: Option<&Products>) {
        let magnitude = |list: &[f64]| list.iter().fold(0f64, |most, w| most.max(w.abs()));
        let mut row = weights.to_vec();
        let mut scale = if form.scheme == Scheme::W4A8 { (magnitude(&row) / BYTE) as f32 } else { 0.0 };
        let mut ladders = Vec::with_capacity(row.len());
        let mut codes = Vec::with_capacity(row.len());
        for at in 0..row.len() {
            // What is left of the error of a column when those behind it have done what they can.
            let left = |at: usize| products.map_or(1.0, |of| 1.0 / of.root.row(at)[at]);
            if at < inner && at % form.group == 0 {
                let end = inner.min(at + form.group);
                let costs: Vec<f64> = (at..end).map(|at| left(at).powi(2)).collect();
                let grid = Grid::best(form.scheme, &row[at..end], &costs, f64::from(scale));
                self.grids.push(grid);
                ladders.extend(std::iter::repeat_n(Ladder::Four(grid), end - at));
            } else if at == inner {
                if form.scheme != Scheme::W4A8 {
                    scale = (magnitude(&row[inner..]) / 127.0) as f32;
                }
                ladders.extend(std::iter::repeat_n(Ladder::Eight(f64::from(scale)), row.len() - inner));
            }
            let code = ladders[at].code(row[at]);
            codes.push(code);
            if let Some(of) = products {
                let error = (row[at] - ladders[at].value(code)) * left(at);
                let factors = &of.root.row(at)[at + 1..];
                row[at + 1..].iter_mut().zip(factors).for_each(|(w, factor)| *w -= error * factor);
            }
        }
        if let Some(of) = products {
            settle(weights, &ladders, &mut codes, &of.products);
        }
        self.four.extend(codes[..inner].iter().map(|&code| code as u8));
        self.eight.extend(codes[inner..].iter().map(|&code| code as i8));
        self.row_scales.push(scale);
    }
}

/// Moves one code after the other to where the error of the row's results is least while all others stay: `dᵀ P d` for the
/// differences `d` of values and weights. It never rises.
fn settle(weights: &[f64], ladders: &[Ladder], codes: &mut [i32], products: &Matrix) {
    let differences = codes.iter().zip(ladders).zip(weights).map(|((&code, ladder), w)| ladder.value(code) - w);
    // Half of the slope of the error along each weight.
    let mut slopes = vec![0.0; weights.len()];
    for (at, difference) in differences.enumerate() {
        slopes.iter_mut().zip(products.row(at)).for_each(|(slope, product)| *slope += difference * product);
    }
    for _ in 0..SWEEPS {
        let mut moved = false;
        for at in 0..weights.len() {
            let own = ladders[at].value(codes[at]);
            let code = ladders[at].code(own - slopes[at] / products.row(at)[at]);
            let step = ladders[at].value(code) - own;
            // Where the change of the error is lost in rounding, the code stays.
            if code != codes[at] && step * (2.0 * slopes[at] + step * products.row(at)[at]) < 0.0 {
                slopes.iter_mut().zip(products.row(at)).for_each(|(slope, product)| *slope += step * product);
                codes[at] = code;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}
