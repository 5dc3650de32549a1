//! Which values share a quantisation, and which one each has.

use super::form::Form;
use super::range::Method;
use super::scale::activation;
use super::{Calibration, Choice};
use tandem_graph::{Graph, ValueId};
use tandem_tensor::{DType, QuantParams};

/// The quantisation of every float value that is no constant.
///
/// Values that an operator with [`Form::Shared`] joins form a group, whose range is that of all its members together. A group with
/// a value of a fixed quantisation takes it; two such groups are not joined, and the rewriter converts between them.
///
/// What is fed to the graph is data, whose range is part of the task and no matter of rare outliers: inputs keep all of their range
/// whatever the method.
pub(super) fn quantisations(
    graph: &Graph,
    choices: &[Choice],
    calibration: &Calibration,
    method: Method,
) -> Vec<Option<QuantParams>> {
    let mut groups = Groups { parent: (0..graph.values.len()).collect(), fixed: vec![None; graph.values.len()] };
    for (node, choice) in graph.nodes.iter().zip(choices) {
        if let (Ok(Form::Fixed(quant)), [y]) = (choice, node.outputs.as_slice()) {
            groups.fixed[y.0] = Some(quant.clone());
        }
    }
    for (node, choice) in graph.nodes.iter().zip(choices) {
        let (Ok(Form::Shared { operands, .. }), [y]) = (choice, node.outputs.as_slice()) else { continue };
        for &x in node.inputs.iter().take(operands.unwrap_or(usize::MAX)) {
            if graph.constant(x).is_none() {
                groups.join(x, *y);
            }
        }
    }
    let mut ranges = vec![(0f32, 0f32); graph.values.len()];
    for (i, value) in graph.values.iter().enumerate() {
        let Some(histogram) = calibration.of(ValueId(i)) else { continue };
        if value.ty.dtype != DType::F32 {
            continue;
        }
        let method = if graph.inputs.contains(&ValueId(i)) { Method::MinMax } else { method };
        let (low, high) = method.range(histogram);
        let range = &mut ranges[groups.root(i)];
        *range = (range.0.min(low), range.1.max(high));
    }
    (0..graph.values.len())
        .map(|i| {
            let value = &graph.values[i];
            let quantised = value.ty.dtype == DType::F32 && value.ty.quant.is_none() && value.constant.is_none();
            let root = groups.root(i);
            quantised.then(|| groups.fixed[root].clone().unwrap_or_else(|| activation(ranges[root].0, ranges[root].1)))
        })
        .collect()
}

struct Groups {
    parent: Vec<usize>,
    /// Of a root.
    fixed: Vec<Option<QuantParams>>,
}

impl Groups {
    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a.0), self.root(b.0));
        if a == b {
            return;
        }
        match (&self.fixed[a], &self.fixed[b]) {
            (Some(x), Some(y)) if x != y => {}
            (None, Some(_)) => self.parent[a] = b,
            _ => self.parent[b] = a,
        }
    }
}
