//! `graph passes`, `graph memory`, `graph groups`, and passes before a run.

mod command;

use command::{Folder, digits, good, refused, stderr, stdout, tandem};
use serde_json::Value;

/// Padding before a convolution, an activation behind it, and what nobody reads.
const GRAPH: &str = r#"graph "small" tflref
input %0 "x" i8[1,3,3,1] quant 0.5:-1
value %1 "padded" i8[1,5,5,1] quant 0.5:-1
node "padded" %1 = {"Pad":{"amount":[[0,0],[1,1],[1,1],[0,0]],"mode":"Constant"}} %0
constant %2 "w" i8[1,3,3,1] quant 0.25:0 = 1 -2 3 -4 5 -6 7 -8 9
value %3 "sum" i8[1,3,3,1] quant 1:3
node "conv" %3 = {"Conv":{"stride":[1,1],"dilation":[1,1],"pad":[[0,0],[0,0]],"groups":1,"act":"None"}} %1 %2
value %4 "y" i8[1,3,3,1] quant 1:3
node "relu" %4 = {"Unary":"Relu"} %3
value %5 "unused" i8[1,3,3,1] quant 1:3
node "unused" %5 = {"Unary":"Tanh"} %4
output %4
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn passes_are_told_apart_and_the_graph_after_them_is_a_model() {
    let folder = Folder::new("passes");
    let (model, after) = (folder.file("small.graph", GRAPH), folder.path("after.graph"));
    let value = json(&good(&["graph", "passes", &model, "-o", &after, "--format", "json"]));
    assert_eq!(value["nodes"], 1);
    let fuse = value["passes"].as_array().unwrap().iter().find(|p| p["pass"] == "fuse").unwrap();
    assert_eq!((&fuse["before"], &fuse["after"], &fuse["changed"]), (&3.into(), &1.into(), &1.into()));
    assert_eq!(good(&["graph", "show", &model, "--pass", "exact"]), std::fs::read_to_string(&after).unwrap());
    let table = good(&["graph", "passes", &model, "--pass", "fuse"]);
    assert!(table.contains("fuse") && !table.contains("cse"), "{table}");
    let output = tandem(&["graph", "passes", &model, "-o", "-"]);
    assert!(stdout(&output).starts_with("graph \"small\"") && stderr(&output).contains("simplify"));
}

#[test]
fn a_run_gives_the_same_codes_with_and_without_passes() {
    let folder = Folder::new("with_and_without");
    let model = folder.file("small.graph", GRAPH);
    let input = folder.file("x.bin", [0u8, 1, 250, 3, 128, 5, 6, 127, 8]);
    let plain = folder.path("plain.bin");
    let base = ["run", &model, "--input", &input];
    let without = good(&[&base[..], &["--pass", "none", "--save-output", &plain, "--format", "json"]].concat());
    let with = good(&[&base[..], &["--expect", &plain, "--format", "json"]].concat());
    assert_eq!(json(&without)["outputs"], json(&with)["outputs"]);
    // The accelerator pads as it loads, so that nothing is left for the CPU.
    let devices =
        |text: &str| json(text)["segments"].as_array().unwrap().iter().map(|s| s["device"].clone()).collect::<Vec<_>>();
    assert_eq!((devices(&without), devices(&with)), (vec!["cpu".into(), "vta".into()], vec![Value::from("vta")]));
}

#[test]
fn an_unknown_pass_is_refused_with_the_names_that_there_are() {
    let output = tandem(&["graph", "show", &digits("digits_int8.tflite"), "--pass", "flod"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("fold"), "{}", stderr(&output));
    refused(&["graph", "memory", "no.tflite"], &["no.tflite"]);
}

#[test]
fn a_memory_plan_is_a_table_numbers_and_a_picture() {
    let folder = Folder::new("memory");
    let (model, plot) = (digits("digits_int8.tflite"), folder.path("plot.svg"));
    assert!(good(&["graph", "memory", &model, "--plot", &plot]).contains("without reuse"));
    let svg = std::fs::read_to_string(&plot).unwrap();
    let value = json(&good(&["graph", "memory", &model, "--format", "json"]));
    assert_eq!(svg.matches("<rect").count(), value["buffers"].as_array().unwrap().len());
    let bytes = |value: &Value, key: &str| value[key].as_u64().unwrap();
    assert!(bytes(&value, "bound_bytes") <= bytes(&value, "peak_bytes"));
    assert!(bytes(&value, "peak_bytes") < bytes(&value, "sum_bytes"));
    let apart =
        json(&good(&["graph", "memory", &model, "--no-in-place", "--no-interface", "--groups", "--format", "json"]));
    assert!(bytes(&apart, "sum_bytes") < bytes(&value, "sum_bytes"));
}

#[test]
fn groups_hold_every_node_once() {
    let model = digits("digits_int8.tflite");
    let value = json(&good(&["graph", "groups", &model, "--format", "json"]));
    let listed: usize = value["groups"].as_array().unwrap().iter().map(|g| g["nodes"].as_array().unwrap().len()).sum();
    assert_eq!(value["nodes"], listed);
    assert!(good(&["graph", "groups", &model]).contains("out-fusable"));
}
