//! The text form of a graph.

use crate::Graph;

/// Where and why a text is not a graph.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what is expected.
    pub problem: String,
}

/// Parses the text form.
///
/// # Errors
/// [`TextError`] with the line.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let _ = text;
    Err(TextError { line: 1, problem: "unread".into() })
}
