//! `quantize --scheme`: a language model with weights of four bits.

#[allow(dead_code, reason = "nothing here needs hardware")]
mod command;

use command::{Folder, digits, good, json, models, refused, stderr, tandem};
use serde_json::Value;
use std::path::Path;
use tandem_tensor::read_npz;

/// A story that the model has not written.
const STORY: &str = "One day, a boy named Tom went to the park with his dog. The dog saw a big bird and ran after it. Tom was \
    scared and called his dog. The dog came back and they were happy. They went home and had a big lunch with mom and dad.";

fn model(folder: &Path) -> String {
    folder.join("llm/stories260K.bin").display().to_string()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn perplexities_are_measured_before_and_after_with_outliers_and_without() {
    let Some(models) = models() else { return };
    let folder = Folder::new("quantize-scheme");
    let (text, file) = (folder.file("story.txt", STORY), folder.path("layers.npz"));
    let arguments =
        ["--scheme", "w4a4", "--kv4", "--text", &text, "--calibration-tokens", "256", "-o", &file, "--format", "json"];
    let report = json(&[&["quantize", &model(&models)][..], &arguments].concat());
    let float = number(&report["float"]["perplexity"]);
    assert!(float > 2.0 && float < 8.0 && number(&report["tokens"]) > 60.0, "{report}");
    let [coded, with, with_codes, without] = [0, 1, 2, 3].map(|at| &report["schemes"][at]);
    assert_eq!((&coded["scheme"], &coded["kv4"], &with["kv4"]), (&"float".into(), &true.into(), &false.into()));
    assert_eq!((&with_codes["scheme"], &with_codes["kv4"]), (&"w4a4".into(), &true.into()));
    // Keys and values of four bits cost much where heads have eight elements, and are still the same model.
    for (row, beside) in [(coded, float), (with_codes, number(&with["perplexity"]))] {
        let ratio = number(&row["perplexity"]) / beside;
        assert!(ratio > 1.02 && ratio < 1.8, "{report}");
    }
    assert_eq!((&with["scheme"], number(&with["outliers"]), number(&without["outliers"])), (&"w4a4".into(), 16.0, 0.0));
    for row in [with, without] {
        let (bits, ratio) = (number(&row["bits_per_weight"]), number(&row["perplexity_over_float"]));
        assert!(bits > 4.0 && bits < 8.0 && ratio > 1.0 && ratio < 1.6, "{report}");
        assert!((number(&row["perplexity"]) / float - ratio).abs() < 1e-9);
    }
    // Every layer of every block, but neither the embedding nor the classifier.
    let tensors = read_npz(&std::fs::read(file).unwrap()).unwrap();
    let named = |end: &str| tensors.iter().filter(|(name, _)| name.ends_with(end)).count();
    assert_eq!((named(".order"), named(".b"), named(".b_scale"), named(".b8")), (35, 35, 35, 35));
    assert!(tensors.iter().all(|(name, _)| name.starts_with("layer")));
}

#[test]
fn what_a_scheme_cannot_take_is_refused() {
    let Some(models) = models() else { return };
    let folder = Folder::new("quantize-scheme-refused");
    let model = model(&models);
    let refuse =
        |more: &[&str], words: &[&str]| refused(&[&["quantize", &model, "--scheme", "w4a4"][..], more].concat(), words);
    refuse(&["--samples", "x.npy"], &["--samples", "--text"]);
    refuse(&["--text", &folder.file("empty.txt", "")], &["empty.txt"]);
    refuse(&["--tokenizer", &model], &["stories260K.bin"]);
    for (more, words) in [(["--group", "7"], "even"), (["--clip", "1.5"], "up to 1")] {
        let output = tandem(&[&["quantize", &model, "--scheme", "w4a4"][..], &more].concat());
        assert!(output.status.code() == Some(2) && stderr(&output).contains(words), "{more:?}");
    }
    refused(&["quantize", &digits("digits_int8.tflite"), "--scheme", "w4a4"], &["digits_int8.tflite"]);
    let alone = folder.file("alone.bin", std::fs::read(&model).unwrap());
    refused(&["quantize", &alone, "--scheme", "w4a16"], &["alone.bin", "--tokenizer"]);
    let output = tandem(&["quantize", &model]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--samples"));
}

#[test]
fn a_report_for_people_has_a_row_for_every_scheme() {
    let Some(models) = models() else { return };
    let folder = Folder::new("quantize-scheme-table");
    let text = folder.file("story.txt", &STORY[..120]);
    let arguments =
        ["--scheme", "w4a8,w4a16", "--kv4", "--text", &text, "--calibration-tokens", "128", "--outliers", "0"];
    let said = good(&[&["quantize", &model(&models)][..], &arguments].concat());
    for word in ["w4a8", "w4a16", "w4a16, kv4", "float, kv4", "perplexity", "bits a weight", "story.txt"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}
