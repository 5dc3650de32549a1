//! The error of text that is not PTX, or is PTX beyond what the simulator runs.

use thiserror::Error;

/// Why a text could not be made a [`Module`](crate::Module).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("PTX line {line}: {message}{}", if text.is_empty() { String::new() } else { format!(", in `{text}`") })]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: u32,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The instruction or directive it is about; empty where no single one is.
    pub text: String,
}

impl ParseError {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), text: String::new() }
    }

    pub(crate) fn within(mut self, text: &str) -> Self {
        if self.text.is_empty() {
            text.clone_into(&mut self.text);
        }
        self
    }
}
