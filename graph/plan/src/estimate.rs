//! What a node takes on a device, from estimates that are corrected by measurements.
//!
//! An estimate comes from work over a device's peaks, or from the schedule of a compiler. It is off by what it does not know, which differs
//! by operator: the constant part of a launch, and the part of the peak that a kernel reaches. So the measured time of operators of one
//! kind is taken to be a line over their estimates, fitted to what was measured of that kind, by least squares of relative errors.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The kind of its operator.
    pub kind: String,
    /// What it was estimated to take.
    pub estimate: f64,
    /// What it took, in the same unit.
    pub measured: f64,
}

/// Estimates corrected by measurements of a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostModel {
    kinds: BTreeMap<String, Line>,
    /// For kinds that were not measured.
    all: Option<Line>,
}

/// `slope * estimate + offset`, neither of them below zero.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    offset: f64,
}

impl CostModel {
    /// Fitted to what was measured. What took no time tells nothing.
    pub fn fit<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> CostModel {
        let told =
            observations.into_iter().filter(|o| o.measured > 0.0 && o.measured.is_finite() && o.estimate.is_finite());
        let mut by_kind: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        let mut all: Vec<(f64, f64)> = Vec::new();
        for Observation { kind, estimate, measured } in told {
            by_kind.entry(kind.clone()).or_default().push((*estimate, *measured));
            all.push((*estimate, *measured));
        }
        let kinds = by_kind.into_iter().filter_map(|(kind, points)| Some((kind, Line::fit(&points)?))).collect();
        CostModel { kinds, all: Line::fit(&all) }
    }

    /// What a node of a kind takes by its estimate: by what was measured of the kind, or else of all kinds, or else as it is.
    pub fn predict(&self, kind: &str, estimate: f64) -> f64 {
        let line = self.kinds.get(kind).copied().or(self.all);
        line.map_or(estimate, |line| line.slope * estimate + line.offset)
    }

    /// For every observation what those predict of it that are not the same, by their indices.
    pub fn held_out(observations: &[Observation], same: impl Fn(usize, usize) -> bool) -> Vec<f64> {
        let predict = |(i, o): (usize, &Observation)| {
            let others = observations.iter().enumerate().filter(|&(j, _)| !same(i, j)).map(|(_, o)| o);
            CostModel::fit(others).predict(&o.kind, o.estimate)
        };
        observations.iter().enumerate().map(predict).collect()
    }
}

impl Line {
    /// The line through points of estimate and measurement with the least sum of squares of relative errors.
    fn fit(points: &[(f64, f64)]) -> Option<Line> {
        if points.is_empty() {
            return None;
        }
        // slope * (estimate / measured) + offset * (1 / measured) is to be 1.
        let rows = points.iter().map(|&(estimate, measured)| (estimate / measured, 1.0 / measured));
        let (mut xx, mut xy, mut yy, mut x, mut y) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (a, b) in rows {
            (xx, xy, yy, x, y) = (xx + a * a, xy + a * b, yy + b * b, x + a, y + b);
        }
        let determinant = xx * yy - xy * xy;
        let both = Line { slope: (x * yy - y * xy) / determinant, offset: (y * xx - x * xy) / determinant };
        // Points on one ray or of one estimate do not tell the two apart.
        let told = determinant > 1e-9 * xx * yy && both.slope >= 0.0 && both.offset >= 0.0;
        let slope = Line { slope: if xx > 0.0 { x / xx } else { 0.0 }, offset: 0.0 };
        let offset = Line { slope: 0.0, offset: y / yy };
        let error = |line: &Line| {
            let of = |&(estimate, measured): &(f64, f64)| (line.slope * estimate + line.offset) / measured - 1.0;
            points.iter().map(of).map(|relative| relative * relative).sum::<f64>()
        };
        let simple = if error(&slope) <= error(&offset) { slope } else { offset };
        Some(if told { both } else { simple })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(kind: &str, estimate: f64, measured: f64) -> Observation {
        Observation { kind: kind.to_owned(), estimate, measured }
    }

    #[test]
    fn each_kind_has_its_own_line() {
        let conv = |estimate: f64| observed("conv", estimate, 1.25 * estimate + 3.0);
        let add = |estimate: f64| observed("add", estimate, 4.0 * estimate);
        let all = [conv(10.0), conv(20.0), conv(400.0), add(1.0), add(7.0)];
        let model = CostModel::fit(&all);
        assert!((model.predict("conv", 1000.0) - 1253.0).abs() < 1e-6);
        assert!((model.predict("add", 3.0) - 12.0).abs() < 1e-9);
        for (predicted, observation) in CostModel::held_out(&all, |i, j| i == j).into_iter().zip(&all) {
            assert!((predicted - observation.measured).abs() < 1e-6, "{observation:?}: {predicted}");
        }
    }

    #[test]
    fn a_kind_that_was_not_measured_takes_after_all_and_nothing_leaves_the_estimate() {
        let model = CostModel::fit(&[observed("conv", 10.0, 20.0), observed("dense", 100.0, 200.0)]);
        assert!((model.predict("pool", 5.0) - 10.0).abs() < 1e-9);
        assert_eq!(CostModel::fit(&[]).predict("pool", 5.0), 5.0);
        assert_eq!(CostModel::fit(&[observed("pool", 5.0, 0.0)]).predict("pool", 5.0), 5.0);
    }

    #[test]
    fn no_prediction_is_negative() {
        // A falling line would be.
        let model =
            CostModel::fit(&[observed("conv", 1.0, 30.0), observed("conv", 2.0, 20.0), observed("conv", 3.0, 10.0)]);
        assert!(model.predict("conv", 100.0) >= 0.0 && model.predict("conv", 0.0) >= 0.0);
        // Estimates of zero leave a constant.
        let model = CostModel::fit(&[observed("add", 0.0, 2.0), observed("add", 0.0, 2.0)]);
        assert!((model.predict("add", 0.0) - 2.0).abs() < 1e-9);
    }
}
