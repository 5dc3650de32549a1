//! Which values share a quantisation, and which one each has.

use super::form::Form;
use super::range::Method;
use super::scale::activation;
use super::{Calibration, Choice};
use tandem_graph::{Graph, ValueId};
use tandem_tensor::{DType, QuantParams};

/// The quantisation of every float value that is no constant.
///
/// Values that an operator with [`Form::Shared`] joins form a group, whose range is that of all its members together. What is made of
/// a value of a fixed quantisation alone has that too; beside other operands such a value stays out of the group, which covers its
/// range, and the rewriter converts it.
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
    // Values whose range a group covers although they are not in it.
    let mut covered: Vec<(ValueId, ValueId)> = Vec::new();
    for (node, choice) in graph.nodes.iter().zip(choices) {
        let (Ok(Form::Shared { operands, .. }), [y]) = (choice, node.outputs.as_slice()) else { continue };
        let shared = &node.inputs[..operands.unwrap_or(usize::MAX).min(node.inputs.len())];
        for &x in shared.iter().filter(|&&x| graph.constant(x).is_none()) {
            if shared.len() == 1 || groups.fixed(x).is_none() {
                groups.join(x, *y);
            } else {
                covered.push((x, *y));
            }
        }
    }
    let own: Vec<(f32, f32)> = (0..graph.values.len())
        .map(|i| {
            let id = ValueId(i);
            let method = if graph.inputs.contains(&id) { Method::MinMax } else { method };
            calibration.of(id).map_or((0.0, 0.0), |histogram| method.range(histogram))
        })
        .collect();
    let mut ranges = vec![(0f32, 0f32); graph.values.len()];
    let all = (0..graph.values.len()).map(|i| (i, i)).chain(covered.iter().map(|(x, y)| (x.0, y.0)));
    for (from, to) in all {
        let range = &mut ranges[groups.root(to)];
        *range = (range.0.min(own[from].0), range.1.max(own[from].1));
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

    fn fixed(&mut self, id: ValueId) -> Option<&QuantParams> {
        let root = self.root(id.0);
        self.fixed[root].as_ref()
    }

    /// Joins the group of a result, which has no fixed quantisation yet, to that of an operand.
    fn join(&mut self, x: ValueId, y: ValueId) {
        let (x, y) = (self.root(x.0), self.root(y.0));
        self.parent[y] = x;
    }
}
