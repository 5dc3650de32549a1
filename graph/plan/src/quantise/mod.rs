//! Post-training quantisation: a float graph and samples to a graph of int8.
//!
//! 1. [`fold()`] brings the graph to fewer and larger operators.
//! 2. [`Calibration`] runs it on samples and counts what every value is.
//! 3. [`quantise`] chooses scales from the counts and rewrites the graph. What has no integer form stays float between a
//!    dequantisation and a quantisation, with a reason.
//! 4. [`Comparison`] runs both on samples and measures the error of every layer, and how often the answer is right.
//!
//! The graph has the operators, types and scales of an imported int8 model: activations int8 with one scale and zero point, weights
//! int8 with a scale for each output channel, biases int32 in units of their product, and the rules of one scale that the integer
//! kernels have.
//!
//! # Source
//! Integer arithmetic and scales: B. Jacob et al., "Quantization and training of neural networks for efficient
//! integer-arithmetic-only inference" (2018), and the quantisation specification of TFLite.

mod calibrate;
mod compare;
mod fold;
mod form;
mod group;
mod histogram;
mod range;
mod report;
mod rewrite;
#[cfg(test)]
pub(crate) mod sample;
mod scale;
#[cfg(test)]
mod tests;

pub use calibrate::Calibration;
pub use compare::{Comparison, Outputs};
pub use fold::fold;
pub use histogram::Histogram;
pub use range::Method;
pub use report::{Accuracy, LayerError, Report};

use form::{Form, form};
use serde::{Deserialize, Serialize};
use tandem_graph::{Graph, GraphError, ValueId};

/// A form, or why there is none.
type Choice = Result<Form, String>;

/// What the inputs and outputs of a quantised graph are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ends {
    /// As those of the float graph: inputs are quantised and outputs dequantised within the graph.
    #[default]
    Float,
    /// Codes, as those of a model for microcontrollers; an output that an operator in floats makes stays float.
    Int8,
}

/// A node that stays float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatNode {
    /// Its name.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why, as a phrase.
    pub reason: String,
}

/// A quantised graph and how it belongs to the float one.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// The graph.
    pub graph: Graph,
    /// Values of the folded float graph, and the same values as codes in this graph.
    pub codes: Vec<(ValueId, ValueId)>,
    /// What stays float.
    pub float_nodes: Vec<FloatNode>,
}

/// Why a graph cannot be quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// Unsupported: there is nothing to gain.
    #[error("{0}")]
    Nothing(String),
    /// Invalid: samples or weights with a number that has no code.
    #[error(
        "value '{value}' holds {element}, which has no code; quantise a model whose values are finite, on ordinary samples"
    )]
    NotFinite {
        /// Name of the value.
        value: String,
        /// What it holds.
        element: f32,
    },
    /// Invalid: the calibration is of another graph, or saw no samples.
    #[error("the calibration saw {0}; calibrate on the folded graph with at least one sample")]
    Calibration(String),
    /// Fault: a node whose operands do not fit its form.
    #[error("'{node}' cannot be rewritten to integers, although its operator can; this is a defect of the quantiser")]
    Lost {
        /// The node or value.
        node: String,
    },
    /// A graph that breaks a rule, or samples that do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The int8 form of a folded float graph, with ranges chosen from its calibration.
///
/// # Errors
/// [`QuantiseError`].
pub fn quantise(
    folded: &Graph,
    calibration: &Calibration,
    method: Method,
    ends: Ends,
) -> Result<Quantised, QuantiseError> {
    if calibration.samples() == 0 {
        return Err(QuantiseError::Calibration("no samples".into()));
    }
    let choices = choices(folded);
    if !choices.iter().any(|c| matches!(c, Ok(Form::Weighted | Form::Any))) {
        let first = choices.iter().find_map(|c| c.as_ref().err());
        let why =
            first.map_or_else(|| "it computes nothing".to_owned(), |reason| format!("of the first one, {reason}"));
        return Err(QuantiseError::Nothing(format!(
            "no operator of '{}' can become an integer one ({why}); give a float model",
            folded.name
        )));
    }
    let quants = group::quantisations(folded, &choices, calibration, method);
    rewrite::rewrite(folded, &choices, &quants, ends)
}

/// Which nodes become integer ones. What only moves the values of operators in floats stays with them.
fn choices(graph: &Graph) -> Vec<Choice> {
    let producers = graph.producers();
    let mut choices: Vec<Choice> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let choice = form(graph, node);
        let in_floats = |id: &ValueId| {
            graph.constant(*id).is_some()
                || producers[id.0].is_some_and(|n| choices.get(n.0).is_some_and(Result::is_err))
        };
        choices.push(match choice {
            Ok(Form::Shared { moves: true, .. }) if node.inputs.iter().all(in_floats) => {
                Err("what it moves is float".to_owned())
            }
            choice => choice,
        });
    }
    choices
}
