//! `generate`: text from a language model.

mod command;

use command::{Folder, good, models, refused, stderr, stdout, tandem};
use serde_json::Value;
use std::path::Path;

fn files(folder: &Path) -> (String, String) {
    let path = |name: &str| folder.join("llm").join(name).display().to_string();
    (path("stories260K.bin"), path("tok512.bin"))
}

#[test]
fn every_device_gives_the_text_of_the_reference_program() {
    let Some(folder) = models() else { return };
    let (model, tokenizer) = files(&folder);
    let expected = std::fs::read_to_string(folder.join("llm/expected_greedy_256.txt")).unwrap();
    for device in ["cpu", "fsim", "fsim,cpu"] {
        let arguments = ["generate", &model, "--tokenizer", &tokenizer, "--steps", "256", "--device", device];
        let output = tandem(&arguments);
        assert_eq!(output.status.code(), Some(0), "{device}: {}", stderr(&output));
        assert_eq!(stdout(&output), expected, "{device}");
        assert!(stderr(&output).contains("256 steps, ") && stderr(&output).contains("dense"), "{device}");
    }
}

#[test]
fn the_json_has_the_text_and_what_it_took() {
    let Some(folder) = models() else { return };
    let (model, tokenizer) = files(&folder);
    let run = |more: &[&str]| -> Value {
        let arguments = ["generate", &model, "--tokenizer", &tokenizer, "--device", "cpu", "--format", "json"];
        serde_json::from_str(&good(&[&arguments[..], more].concat())).unwrap()
    };
    let value = run(&["--prompt", "Lily saw a", "--steps", "20"]);
    assert!(value["text"].as_str().unwrap().starts_with("Lily saw a"), "{value}");
    assert_eq!((value["tokens"].as_array().unwrap().len(), &value["steps"]), (20, &20.into()));
    assert!(value["tokens_per_second"].as_f64().unwrap() > 0.0);
    let [p50, p99] = ["p50", "p99"].map(|p| value["latency_percentiles_ms"][p].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99);
    let ops = value["segments"][0]["ops"].as_array().unwrap();
    assert!(value["segments"][0]["device"] == "cpu" && ops.contains(&"dense".into()));
    let drawn = |seed: &str| run(&["--steps", "20", "--temperature", "1", "--seed", seed])["text"].clone();
    assert!(drawn("1") == drawn("1") && drawn("1") != drawn("2"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(folder) = models() else { return };
    let (model, tokenizer) = files(&folder);
    let with = |model: &str, tokenizer: &str, more: &[&str], words: &[&str]| {
        refused(&[&["generate", model, "--tokenizer", tokenizer, "--device", "cpu"][..], more].concat(), words);
    };
    with(&model, &tokenizer, &["--steps", "513"], &["--steps 513", "512 at most"]);
    with(&model, &tokenizer, &["--steps", "3", "--prompt", "Once upon a time"], &["--prompt", "there are 3 steps"]);
    with(&tokenizer, &tokenizer, &[], &["tok512.bin: ", "header"]);
    with(&model, &model, &[], &["stories260K.bin: byte"]);
    let cut = Folder::new("generate_cut");
    let (weights, words) = (std::fs::read(&model).unwrap(), std::fs::read(&tokenizer).unwrap());
    let short = cut.file("short.bin", &weights[..weights.len() - 5]);
    with(&short, &tokenizer, &[], &["short.bin: byte", "truncated"]);
    // The last token of the tokenizer has a score, a length and some bytes.
    let last = (1..20).find(|n| words[words.len() - n - 4..][..4] == (*n as i32).to_le_bytes()).unwrap();
    let fewer = cut.file("fewer.bin", &words[..words.len() - last - 8]);
    with(&model, &fewer, &[], &["it has 511 tokens and the model has 512"]);
}

#[test]
fn a_checkpoint_is_a_model_for_the_other_verbs() {
    let Some(folder) = models() else { return };
    let (model, _) = files(&folder);
    let text = good(&["import", &model, "--dim", "context=32"]);
    assert!(text.contains("'layer4.values' f32[31,32]") && text.contains("layer4.attention.scores3"), "{text}");
}
