//! Label files: one line a sample, `file,classes,label`, without a header.

use crate::options::InputOptions;
use crate::{file, input};
use anyhow::{Result, anyhow, bail};
use std::path::Path;
use tandem_graph::Graph;
use tandem_tensor::Tensor;

/// One labelled sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The file that the sample came from.
    pub file: String,
    /// Its class.
    pub class: usize,
}

/// Reads a label file.
///
/// # Errors
/// The line that is not of this form.
pub fn parse(text: &str) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let (Some(file), Some(class), true) = (fields.first(), fields.last(), fields.len() >= 2) else {
            bail!("line {}: '{line}' is not file,classes,label", i + 1);
        };
        let Ok(class) = class.parse() else {
            bail!("line {}: the label '{class}' is no class number; write file,classes,label without a header", i + 1);
        };
        labels.push(Label { file: (*file).to_owned(), class });
    }
    if labels.is_empty() {
        bail!("it has no lines; write one file,classes,label for every sample");
    }
    Ok(labels)
}

/// Samples with their labels, for a classifier.
pub struct Labelled {
    /// One tensor for every input of the model.
    pub samples: Vec<Vec<Tensor>>,
    /// One label a sample.
    pub truth: Vec<Label>,
    /// Number of classes, at least 2.
    pub classes: usize,
}

/// Reads the samples of a file, or those of a directory that the labels name, with the labels.
///
/// # Errors
/// One sentence naming the file, or what does not fit: numbers of samples, or a label the model has no class for.
pub fn load(
    graph: &Graph,
    inputs: &str,
    labels: &Path,
    options: &InputOptions,
    limit: Option<usize>,
) -> Result<Labelled> {
    let csv = labels.display();
    let mut truth = parse(&file::read_text(labels)?).map_err(|e| anyhow!("{csv}: {e}"))?;
    if let Some(limit) = limit {
        truth.truncate(limit);
    }
    let directory = Path::new(inputs);
    let samples = if directory.is_dir() {
        let names: Vec<String> = truth.iter().map(|l| l.file.clone()).collect();
        input::from_directory(graph, directory, &names, options)?
    } else {
        input::samples(graph, inputs, options, limit)?
    };
    if samples.len() != truth.len() {
        bail!("{csv}: it labels {} samples but {inputs} holds {}", truth.len(), samples.len());
    }
    let classes = match graph.outputs.first() {
        Some(&id) => graph.ty(id).elements(),
        None => 0,
    };
    if classes < 2 {
        bail!("the first output has {classes} elements; a classifier has one for each class");
    }
    if let Some((i, label)) = truth.iter().enumerate().find(|(_, l)| l.class >= classes) {
        bail!("{csv}: line {}: class {} is not below the model's {classes} classes", i + 1, label.class);
    }
    Ok(Labelled { samples, truth, classes })
}

/// The class that a classifier tells.
pub fn answer(outputs: &[Tensor]) -> Option<usize> {
    outputs.first().and_then(Tensor::argmax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_field_is_the_label_and_a_bad_line_is_named() {
        let labels = parse("a.bin,10,3\n\nb.bin, 10, 7\r\n").unwrap();
        assert_eq!(labels.iter().map(|l| l.class).collect::<Vec<_>>(), [3, 7]);
        assert!(parse("a.bin,10,x").unwrap_err().to_string().starts_with("line 1"));
        assert!(parse("a,1,1\nb").unwrap_err().to_string().starts_with("line 2"));
        assert!(parse("\n").is_err());
    }
}
