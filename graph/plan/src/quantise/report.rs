//! What quantisation cost.

use super::{Comparison, Ends, FloatNode, Method};
use serde::{Deserialize, Serialize};
use tandem_graph::Graph;

/// How often the largest output was the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Labelled samples.
    pub samples: usize,
    /// Right answers of the float graph.
    pub float_correct: usize,
    /// Right answers of the int8 graph.
    pub int8_correct: usize,
}

/// The error of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// The node.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Signal to noise in decibels that the layer alone would give, on exact operands; absent where it is exact.
    pub own_sqnr_db: Option<f64>,
    /// Signal to noise in decibels of its result in the int8 graph, errors of earlier layers included.
    pub sqnr_db: Option<f64>,
    /// Scale of its result.
    pub scale: f32,
    /// Zero point of its result.
    pub zero_point: i32,
}

/// What was measured of a float graph and its int8 form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// How ranges were chosen.
    pub method: Method,
    /// Rounding family of the integer kernels.
    pub arith: String,
    /// What the inputs and outputs are.
    pub ends: Ends,
    /// Samples that ranges were chosen from: the first ones.
    pub calibration_samples: usize,
    /// Samples measured.
    pub samples: usize,
    /// Share of samples on which both graphs have the same largest element in the first output.
    pub agreement: Option<f64>,
    /// On all labelled samples.
    pub accuracy: Option<Accuracy>,
    /// On those that ranges were not chosen from, where there are any.
    pub held_out: Option<Accuracy>,
    /// Signal to noise of the first output in decibels; absent where it is exact.
    pub output_sqnr_db: Option<f64>,
    /// The layers, those that lose most by themselves first.
    pub layers: Vec<LayerError>,
    /// What stays float.
    pub float_nodes: Vec<FloatNode>,
    /// Bytes of the constants of the float graph.
    pub float_bytes: usize,
    /// Bytes of the constants of the int8 graph.
    pub int8_bytes: usize,
}

impl Accuracy {
    /// Share of right answers of the float graph.
    pub fn float(&self) -> f64 {
        self.float_correct as f64 / self.samples.max(1) as f64
    }

    /// Share of right answers of the int8 graph.
    pub fn int8(&self) -> f64 {
        self.int8_correct as f64 / self.samples.max(1) as f64
    }

    /// Percentage points that the int8 graph loses; negative where it gains.
    pub fn loss(&self) -> f64 {
        (self.float() - self.int8()) * 100.0
    }

    fn of(answers: &[[Option<usize>; 2]], labels: &[usize]) -> Option<Accuracy> {
        let right = |k: usize| answers.iter().zip(labels).filter(|(a, l)| a[k] == Some(**l)).count();
        let samples = answers.len().min(labels.len());
        (samples > 0).then(|| Accuracy { samples, float_correct: right(0), int8_correct: right(1) })
    }
}

impl Report {
    /// The report of a comparison. `labels` are the classes of its samples, in order, the first `calibration_samples` of which
    /// were calibrated on.
    pub fn new(
        comparison: &Comparison<'_>,
        labels: Option<&[usize]>,
        calibration_samples: usize,
        method: Method,
        ends: Ends,
    ) -> Report {
        let (folded, quantised) = (comparison.folded, comparison.quantised);
        let answers = &comparison.answers;
        let rest = calibration_samples.min(answers.len());
        // One element has no largest.
        let classes = folded.outputs.first().map_or(0, |&id| folded.ty(id).elements());
        let same = answers.iter().filter(|[a, b]| a == b).count();
        let mut layers: Vec<LayerError> = comparison
            .layers
            .iter()
            .zip(&comparison.errors)
            .map(|(&(n, _), errors)| {
                let node = &quantised.graph.nodes[n];
                let quant = &quantised.graph.ty(node.outputs[0]).quant;
                LayerError {
                    node: node.name.clone(),
                    op: node.op.name().to_owned(),
                    own_sqnr_db: errors.own.decibels(),
                    sqnr_db: errors.accumulated.decibels(),
                    scale: quant.as_ref().map_or(0.0, |q| q.scale()),
                    zero_point: quant.as_ref().map_or(0, |q| q.zero_point()),
                }
            })
            .collect();
        let key = |l: &LayerError| l.own_sqnr_db.unwrap_or(f64::INFINITY);
        layers.sort_by(|a, b| key(a).total_cmp(&key(b)));
        Report {
            model: folded.name.clone(),
            method,
            arith: folded.arith.name().to_owned(),
            ends,
            calibration_samples,
            samples: answers.len(),
            agreement: (classes > 1 && !answers.is_empty()).then(|| same as f64 / answers.len() as f64),
            accuracy: labels.and_then(|l| Accuracy::of(answers, l)),
            held_out: labels
                .filter(|_| rest < answers.len())
                .and_then(|l| Accuracy::of(&answers[rest..], l.get(rest..)?)),
            output_sqnr_db: comparison.output.decibels(),
            layers,
            float_nodes: quantised.float_nodes.clone(),
            float_bytes: bytes(folded),
            int8_bytes: bytes(&quantised.graph),
        }
    }
}

fn bytes(graph: &Graph) -> usize {
    graph.values.iter().filter(|v| v.constant.is_some()).map(|v| v.ty.bytes()).sum()
}
