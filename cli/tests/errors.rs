//! Bad input: one sentence naming file, place and remedy, exit code 2, no panic.

mod command;

use command::{Folder, digits, refused, stderr, tandem};

fn model() -> String {
    digits("digits_int8.tflite")
}

fn inputs() -> String {
    digits("inputs_i8.bin")
}

#[test]
fn a_missing_file_is_named() {
    refused(&["run", "no-such.tflite", "--input", "x.bin"], &["no-such.tflite", "no such file"]);
    refused(&["run", &model(), "--input", "no-such.bin"], &["no-such.bin", "no such file"]);
    refused(&["eval", &model(), "--inputs", &inputs(), "--labels", "no.csv"], &["no.csv"]);
    refused(&["exec", "no.vta"], &["no.vta"]);
    refused(&["run", "/", "--input", "x.bin"], &["directory"]);
}

#[test]
fn a_truncated_model_is_refused_wherever_it_is_cut() {
    let folder = Folder::new("truncated");
    let whole = std::fs::read(model()).unwrap();
    for len in [0, 3, 8, 40, whole.len() / 3, whole.len() / 2] {
        let path = folder.file("cut.tflite", &whole[..len]);
        refused(&["run", &path, "--input", &inputs()], &["cut.tflite"]);
        refused(&["import", &path], &["cut.tflite"]);
    }
}

#[test]
fn a_file_that_is_no_model_says_what_models_are() {
    let folder = Folder::new("mislabelled");
    let path = folder.file("picture.tflite", std::fs::read(digits("samples/digit_0011_label_1.png")).unwrap());
    refused(&["import", &path], &["picture.tflite"]);
    let text = folder.file("bad.graph", "graph \"g\" tflref\nvalue %0 \"x\" i8[2147483648,2147483648]\noutput %0\n");
    refused(&["graph", "show", &text], &["bad.graph"]);
}

#[test]
fn an_input_of_the_wrong_size_says_how_many_bytes_are_expected() {
    let folder = Folder::new("size");
    let path = folder.file("x.bin", [0u8; 65]);
    refused(&["run", &model(), "--input", &path], &["x.bin", "65 bytes", "multiple of 64 bytes"]);
    let empty = folder.file("empty.bin", []);
    refused(&["run", &model(), "--input", &empty], &["0 bytes", "64"]);
    let nan = folder.file("nan.bin", f32::NAN.to_le_bytes().repeat(64));
    refused(&["run", &model(), "--input", &nan, "--input-dtype", "f32"], &["nan.bin", "element 0", "NaN"]);
    let short = folder.file("short.bin", [0u8; 9]);
    refused(&["run", &model(), "--input", &inputs(), "--limit", "1", "--expect", &short], &["short.bin", "10 bytes"]);
}

#[test]
fn arrays_and_pictures_that_do_not_fit_are_refused() {
    let folder = Folder::new("arrays");
    let bad = folder.file("bad.npy", b"\x93NUMPY\x01\x00\xff\xff");
    refused(&["run", &model(), "--input", &bad], &["bad.npy"]);
    let picture = folder.file("bad.png", b"\x89PNG\r\n\x1a\n and no more");
    refused(&["run", &model(), "--input", &picture], &["bad.png", "decode"]);
    let png = digits("samples/digit_0011_label_1.png");
    refused(&["run", &model(), "--input", &png, "--normalize", "unit"], &["--normalize", "float"]);
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    refused(&["run", &model(), "--input", &inputs(), "--hw", "huge"], &["huge", "tiny, edge, vta, wide, batch"]);
    refused(&["isa", "--hw", "huge"], &["huge"]);
}

#[test]
fn a_bad_configuration_names_the_field_and_the_bits() {
    let folder = Folder::new("hardware");
    let show = |name: &str, text: &str| folder.file(name, text);
    let base = "batch = 1\nblock_in = 16\nblock_out = 16\nuop_buffer_bytes = 32768\ninp_buffer_bytes = 32768\nwgt_buffer_bytes = 262144\nacc_buffer_bytes = 131072\nbus_bits = 64\n";
    let path = show("unknown.toml", &format!("{base}colour = 3\n"));
    refused(&["hw", "check", &path], &["unknown.toml", "colour"]);
    let path = show("three.toml", &base.replace("block_in = 16", "block_in = 3"));
    refused(&["hw", "check", &path], &["block_in", "3"]);
    let path = show("wide.toml", &base.replace("131072", "1048576"));
    refused(&["hw", "check", &path], &["bits", "too many"]);
    let path = show("text.toml", "batch = = 1\n");
    refused(&["hw", "show", &path], &["text.toml", "line 1"]);
    let path = show("good.toml", base);
    assert_eq!(tandem(&["hw", "check", &path]).status.code(), Some(0));
}

#[test]
fn numbers_that_are_none_are_refused_by_the_options() {
    for wrong in ["nan,1", "0,0", "1", "inf,1", "0.5,-1", "fast"] {
        let output = tandem(&["run", &model(), "--input", &inputs(), "--normalize", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).starts_with("error: invalid value"), "{wrong}");
    }
    for wrong in ["0", "-1", "x"] {
        let output = tandem(&["run", &model(), "--input", &inputs(), &format!("--limit={wrong}")]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn labels_that_do_not_fit_are_refused_with_their_line() {
    let folder = Folder::new("labels");
    let check = |name: &str, text: &str, words: &[&str]| {
        let path = folder.file(name, text);
        refused(&["eval", &model(), "--inputs", &inputs(), "--labels", &path], words);
    };
    check("header.csv", "file,classes,label\na,10,1\n", &["header.csv", "line 1", "header"]);
    check("few.csv", "a,10,1\n", &["few.csv", "1 samples", "360"]);
    check("class.csv", &"a,10,10\n".repeat(360), &["class.csv", "line 1", "class 10"]);
    check("empty.csv", "", &["empty.csv"]);
}

#[test]
fn an_unknown_tensor_to_cut_at_lists_the_outputs() {
    refused(&["import", &model(), "--cut-at", "nowhere"], &["nowhere", "probability"]);
}

#[test]
fn a_device_without_the_extension_runs_everything_on_the_cpu_and_says_why() {
    let output = tandem(&["run", &model(), "--input", &inputs(), "--limit", "2", "--hw", "vta-0.0.2"]);
    let text = command::stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(text.contains("0.00 % of the") && text.contains("nothing ran on the VTA"), "{text}");
    refused(&["compile", &model(), "--hw", "vta-0.0.2", "-o", "unused.vta"], &["runs no part"]);
}

#[test]
fn a_netlist_that_cannot_be_made_says_which_can() {
    let route = ["gates", "--family", "ice40", "--level", "route", "--hw", "tiny"];
    refused(&route, &["--level route", "no chip of ice40 has the pins", "--level synth"]);
    let output = tandem(&["gates", "--family", "spartan"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no family of FPGAs: use ecp5, ice40 or gowin"), "{}", stderr(&output));
    let output = tandem(&["gates", "--family", "ecp5", "--model", "m.tflite"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--input"), "{}", stderr(&output));
}
