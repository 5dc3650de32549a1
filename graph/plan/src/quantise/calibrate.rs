//! What the values of a graph are on samples.

use super::QuantiseError;
use super::histogram::Histogram;
use tandem_graph::{Graph, Interpreter, ValueId};
use tandem_tensor::{DType, Tensor};

/// A histogram for each float value of a graph. Calibrations of parts of the samples [`merge`](Calibration::merge) to that of
/// all of them, in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    histograms: Vec<Option<Histogram>>,
    samples: usize,
}

impl Calibration {
    /// Nothing seen yet of a graph that [`fold`](super::fold()) gave.
    pub fn new(graph: &Graph) -> Calibration {
        let observed = |value: &tandem_graph::Value| value.ty.dtype == DType::F32 && value.constant.is_none();
        let histograms = graph.values.iter().map(|v| observed(v).then(Histogram::default)).collect();
        Calibration { histograms, samples: 0 }
    }

    /// Runs the reference interpreter on a sample and counts what it sees.
    ///
    /// # Errors
    /// A sample that does not fit, an operator that refuses, a value that is not finite.
    pub fn observe(&mut self, graph: &Graph, sample: &[Tensor]) -> Result<(), QuantiseError> {
        let mut bad = None;
        let mut count = |this: &mut Self, id: ValueId, tensor: &Tensor| {
            let Some(Some(histogram)) = this.histograms.get_mut(id.0) else { return };
            if let Ok(elements) = tensor.as_slice::<f32>()
                && let Some(at) = histogram.add(elements)
                && bad.is_none()
            {
                let value = elements.get(at).copied().unwrap_or(f32::NAN);
                bad = Some(QuantiseError::NotFinite { value: graph.value(id).name.clone(), element: value });
            }
        };
        for (&id, tensor) in graph.inputs.iter().zip(sample) {
            count(self, id, tensor);
        }
        Interpreter::new(graph).run_observed(sample, |n, results| {
            for (&id, tensor) in graph.nodes[n.0].outputs.iter().zip(results) {
                count(self, id, tensor);
            }
        })?;
        self.samples += 1;
        bad.map_or(Ok(()), Err)
    }

    /// Adds what another calibration of the same graph saw.
    pub fn merge(&mut self, other: &Calibration) {
        for (mine, theirs) in self.histograms.iter_mut().zip(&other.histograms) {
            if let (Some(mine), Some(theirs)) = (mine, theirs) {
                mine.merge(theirs);
            }
        }
        self.samples += other.samples;
    }

    /// What was seen of a value.
    pub fn of(&self, id: ValueId) -> Option<&Histogram> {
        self.histograms.get(id.0)?.as_ref()
    }

    /// Number of samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }
}
