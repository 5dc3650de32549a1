//! The errors of the importers.

use tandem_graph::{GraphError, TextError};

/// Why a file is not imported. Every message is one sentence: what is wrong, where, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Invalid: the bytes are no model that Tandem reads.
    #[error(
        "the file is no model ({0}); Tandem reads .tflite flatbuffers (\"TFL3\" at byte 4), .onnx protobufs, whole llama2.c \
         checkpoints and .graph text"
    )]
    NotAModel(String),
    /// Invalid: the file ends, or points outside itself, before the model is complete.
    #[error(
        "byte {offset}: the file has {len} bytes but {what} needs more; it is truncated or damaged, get a whole copy"
    )]
    Truncated {
        /// Where the missing bytes would begin.
        offset: usize,
        /// Length of the file.
        len: usize,
        /// What was being read.
        what: String,
    },
    /// Invalid: the file is complete but says something impossible.
    #[error("{place}: {problem}")]
    Malformed {
        /// Node, tensor or byte offset.
        place: String,
        /// The problem and the remedy.
        problem: String,
    },
    /// Unsupported: an operator, or a form of it, that the importer does not know.
    #[error("operator {operator} of node '{node}' is not supported: {why}")]
    Unsupported {
        /// Operator name as the model format spells it.
        operator: String,
        /// Node name, or the name of its first result.
        node: String,
        /// What exactly is missing and what is supported instead.
        why: String,
    },
    /// Unsupported: an operand that decides shapes is only known at run time.
    #[error(
        "operator {operator} of node '{node}' needs its operand '{operand}' at import because shapes are fixed; give \
         '{value}' as a constant"
    )]
    NotConstant {
        /// Operator name as the model format spells it.
        operator: String,
        /// Node name, or the name of its first result.
        node: String,
        /// What the operand says.
        operand: String,
        /// Name of the value to give.
        value: String,
    },
    /// Unsupported: a property of the whole model.
    #[error("{place}: {problem}")]
    UnsupportedModel {
        /// Where in the model.
        place: String,
        /// The property and the remedy.
        problem: String,
    },
    /// The imported graph breaks a rule.
    #[error("the imported graph is not valid: {0}")]
    Graph(#[from] GraphError),
    /// Invalid: a `.graph` text that does not parse.
    #[error(".graph text, {0}")]
    Text(#[from] TextError),
}

impl ImportError {
    /// An [`ImportError::Malformed`] from any texts.
    pub fn malformed(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ImportError::Malformed { place: brief(place.into()), problem: brief(problem.into()) }
    }

    /// An [`ImportError::UnsupportedModel`] from any texts.
    pub fn unsupported_model(place: impl Into<String>, problem: impl Into<String>) -> Self {
        ImportError::UnsupportedModel { place: brief(place.into()), problem: brief(problem.into()) }
    }

    /// An [`ImportError::Unsupported`] from any texts.
    pub fn unsupported(operator: impl Into<String>, node: impl Into<String>, why: impl Into<String>) -> Self {
        ImportError::Unsupported { operator: brief(operator.into()), node: brief(node.into()), why: why.into() }
    }
}

/// Names and lists come from the file and may be of any length; a message needs only their beginning.
fn brief(mut text: String) -> String {
    const LONGEST: usize = 600;
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push_str(" ..");
    }
    text
}
