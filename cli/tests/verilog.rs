//! `tandem verilog` and `tandem doctor`.

mod command;

use command::{Folder, good, refused, stderr, stdout, tandem_with};
use serde_json::Value;

#[test]
fn a_design_is_written_with_its_waivers_and_its_configuration() {
    let folder = Folder::new("verilog");
    let (out, again) = (folder.path("new/design"), folder.path("again"));
    let text = good(&["verilog", "--hw", "edge", "-o", &out]);
    assert!(text.contains("tandem_gemm") && text.contains("top module tandem, configuration edge"), "{text}");
    let read = |name: &str| std::fs::read_to_string(format!("{out}/{name}")).unwrap();
    assert!(read("tandem.v").contains("module tandem"));
    assert!(read("tandem.vlt").contains("`verilator_config"));
    let mut names: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["hw.toml", "tandem.v", "tandem.vlt"]);
    // The configuration that lies beside a design makes the same design, and an old design is replaced.
    good(&["verilog", "--hw", "tiny", "-o", &again]);
    good(&["verilog", "--hw", &format!("{out}/hw.toml"), "-o", &again]);
    assert_eq!(std::fs::read_to_string(format!("{again}/tandem.v")).unwrap(), read("tandem.v"));
}

#[test]
fn a_folder_that_cannot_be_and_a_configuration_that_does_not_fit_are_refused() {
    let folder = Folder::new("verilog-bad");
    let file = folder.file("file", "x");
    refused(&["verilog", "--hw", "tiny", "-o", &file], &["file", "give a folder"]);
    refused(&["verilog", "--hw", "huge", "-o", &folder.path("d")], &["huge", "presets are"]);
    let base = "batch = 1\nblock_in = 16\nblock_out = 16\nuop_buffer_bytes = 32768\ninp_buffer_bytes = 32768\n\
                wgt_buffer_bytes = 262144\nacc_buffer_bytes = 131072\nbus_bits = 64\n";
    let wide = folder.file("wide.toml", base.replace("131072", "1048576"));
    for verb in [&["verilog", "-o", "unused"][..], &["demo", "--device", "tsim"], &["cosim"]] {
        refused(&[verb, &["--hw", &wide]].concat(), &["wide.toml", "bits", "too many"]);
    }
    let bus = folder.file("bus.toml", base.replace("bus_bits = 64", "bus_bits = 1024"));
    refused(&["verilog", "--hw", &bus, "-o", "unused"], &["bus.toml", "bus_bits", "1024"]);
    assert!(!std::path::Path::new("unused").exists());
}

#[test]
fn doctor_says_what_to_do_about_a_missing_tool() {
    let folder = Folder::new("doctor");
    let (empty, here) = (folder.path(""), [("PATH", ""), ("CXX", "")]);
    let variables = [&here[..], &[("TANDEM_TOOLS", empty.as_str())]].concat();
    let output = tandem_with(&variables, &["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let findings = value["findings"].as_array().unwrap();
    for (name, remedy) in
        [("verilator", "cargo x setup"), ("yosys", "cargo x setup"), ("z3", "cargo x setup"), ("C++ compiler", "CXX")]
    {
        let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(finding["found"], false, "{name}");
        assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
    }
}
