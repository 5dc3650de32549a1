//! Label files: one line a sample, `file,classes,label`, without a header.

use anyhow::{Result, bail};

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
