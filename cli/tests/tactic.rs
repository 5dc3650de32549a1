//! `tactic`: what a language model keeps of its attention with few keys.

#[allow(dead_code, reason = "nothing here needs hardware")]
mod command;

use command::{Folder, good, json, models, refused};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_real_model_keeps_what_was_asked_for_with_few_keys() {
    let Some(models) = models() else { return };
    let model = models.join("llm/stories260K.bin").display().to_string();
    let folder = Folder::new("tactic");
    let plot = folder.path("curve.svg");
    let report = json(&["tactic", &model, "--steps", "16", "--target", "0.5,0.9", "--plot", &plot, "--format", "json"]);
    assert_eq!((number(&report["first_step"]), number(&report["steps"])), (496.0, 16.0));
    let targets = report["targets"].as_array().unwrap();
    for (row, target) in targets.iter().zip([0.5, 0.9]) {
        // 5 layers of 8 heads.
        assert_eq!(number(&row["heads"]), 16.0 * 5.0 * 8.0);
        let [mass, at_target, over] = ["mass", "heads_at_target", "asked_over_oracle"].map(|name| number(&row[name]));
        assert!((number(&row["target"]) - target).abs() < 1e-6 && mass > target && mass < 1.0, "{row}");
        assert!(at_target >= 0.9, "{row}");
        let [oracle, asked, group, keys] =
            ["keys_oracle", "keys_asked", "keys_of_group", "keys"].map(|name| number(&row[name]));
        assert!(0.9 * oracle < asked && asked <= group && group < keys && keys > 500.0, "{row}");
        let over_group = group / number(&row["keys_of_group_oracle"]);
        assert!((over_group - number(&row["group_over_oracle"])).abs() < 1e-9 && over_group <= 1.3, "{row}");
        assert!((asked / oracle - over).abs() < 1e-9 && over <= 1.3, "{row}");
    }
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(picture.contains("oracle") && picture.contains("Tactic"));
}

#[test]
fn a_given_text_is_read_and_what_is_too_short_is_refused() {
    let Some(models) = models() else { return };
    let model = models.join("llm/stories260K.bin").display().to_string();
    let folder = Folder::new("tactic-text");
    let story = folder
        .file("story.txt", "The dog saw a big bird and ran after it. Tom was scared and called his dog. ".repeat(4));
    let table = good(&["tactic", &model, "--text", &story, "--steps", "4", "--every", "2"]);
    assert!(table.contains("target") && table.contains("story.txt") && table.contains("oracle"), "{table}");
    refused(&["tactic", &model, "--text", &folder.file("short.txt", "Once.")], &["short.txt", "--steps"]);
    refused(&["tactic", &folder.file("no.bin", "x")], &["no.bin"]);
}
