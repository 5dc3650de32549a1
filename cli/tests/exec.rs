//! `asm`, `disasm`, `compile` and `exec`.

mod command;

use command::{Folder, digits, good, refused, stderr, tandem};

/// Loads 16 accumulators, adds 5, stores them as bytes: upstream instructions only.
const ADD: &str = "\
.preset vta
.section x acc 0x0 64
.section k uop 0x40 4
.uop 0,0,0
.section y output 0x80 16
load.uop sram=0 dram=0x10 size=1x1 stride=1
load.acc sram=0 dram=0x0 size=1x1 stride=1
alu.add uop=0..1 loop=1x1 dst=0,0 src=0,0 imm=5 push_next
store.out sram=0 dram=0x8 size=1x1 stride=1 pop_prev push_prev
finish pop_next
";

fn accumulators() -> Vec<u8> {
    (0..16i32).flat_map(|i| (i * 3).to_le_bytes()).collect()
}

fn sums() -> Vec<u8> {
    (0..16u8).map(|i| i * 3 + 5).collect()
}

#[test]
fn a_program_runs_with_memory_by_section_and_its_result_is_compared_and_dumped() {
    let folder = Folder::new("exec_text");
    let program = folder.file("add.vta", ADD);
    let x = format!("x={}", folder.file("x.bin", accumulators()));
    let right = format!("y={}", folder.file("right.bin", sums()));
    let saved = folder.path("saved.bin");
    let dump = format!("y={saved}");
    let text = good(&["exec", &program, "--mem", &x, "--expect", &right, "--dump", &dump, "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["instructions"], &value["alu_ops"], &value["mismatches"]), (&5.into(), &16.into(), &0.into()));
    assert_eq!(std::fs::read(saved).unwrap(), sums());

    let mut bytes = sums();
    bytes[7] = 0;
    let wrong = format!("0x80={}", folder.file("wrong.bin", bytes));
    let output = tandem(&["exec", &program, "--mem", &x, "--expect", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("byte 7 (address 0x87) is 0x1a, expected 0x00; 1 of 16 bytes differ"), "{text}");
}

#[test]
fn raw_words_run_with_absolute_addresses_under_the_upstream_profile() {
    let folder = Folder::new("exec_raw");
    let program = folder.file("add.vta", ADD);
    let words = folder.path("add.bin");
    good(&["asm", &program, "-o", &words]);
    assert_eq!(std::fs::read(&words).unwrap().len(), 5 * 16);
    let x = format!("0={}", folder.file("x.bin", accumulators()));
    let uops = format!("0x40={}", folder.file("uops.bin", [0u8; 4]));
    let right = format!("128={}", folder.file("right.bin", sums()));
    for seed in ["0", "1", "2"] {
        let arguments =
            ["exec", &words, "--hw", "vta-0.0.2", "--mem", &x, "--mem", &uops, "--expect", &right, "--seed", seed];
        good(&arguments);
    }
    let listing = good(&["disasm", &words, "--hw", "vta-0.0.2"]);
    assert!(listing.contains("alu.add") && listing.contains("imm=5"), "{listing}");
    let back = folder.file("back.vta", listing);
    let again = folder.path("again.bin");
    good(&["asm", &back, "-o", &again]);
    assert_eq!(std::fs::read(words).unwrap(), std::fs::read(again).unwrap());
}

#[test]
fn a_compiled_model_executes_from_its_text() {
    let folder = Folder::new("compiled");
    let program = folder.path("digits.vta");
    // Where there are several segments, the first line of the listing names the first of them.
    let text = good(&["compile", &digits("digits_int8.tflite"), "-o", &program]);
    let file = text.lines().find_map(|l| l.split_once(": ").filter(|(p, _)| p.ends_with(".vta"))).unwrap().0;
    assert!(good(&["exec", file]).contains("cycles estimate"));
}

#[test]
fn an_illegal_program_is_refused_with_line_and_column() {
    let folder = Folder::new("illegal");
    let line = |from: &str, to: &str| folder.file("bad.vta", ADD.replace(from, to));
    refused(&["exec", &line("sram=0 dram=0x8", "sram=99999999 dram=0x8")], &["bad.vta"]);
    refused(&["exec", &line("alu.add", "alu.frob")], &["bad.vta:8:1", "alu.X"]);
    refused(&["exec", &line("load.acc", "jump")], &["bad.vta:7:1", "jump"]);
    refused(&["exec", &line("dram=0x8 size=1x1", "dram=0x8 size=1x900")], &["bad.vta", "DRAM image"]);
    refused(&["exec", &line("finish pop_next\n", "")], &["FINISH"]);
    refused(&["exec", &line(".section y output 0x80 16", ".section y output 0x80 4294967000")], &["beyond"]);
    refused(&["asm", &line("imm=5", "imm=70000"), "-o", &folder.path("out.bin")], &["bad.vta", "imm"]);
}

#[test]
fn a_missing_token_is_an_error_that_names_instruction_and_queue() {
    let folder = Folder::new("tokens");
    let path = folder.file("lost.vta", ADD.replace("imm=5 push_next", "imm=5"));
    refused(&["exec", &path], &["deadlock", "store"]);
    let path = folder.file("surplus.vta", ADD.replace("finish pop_next", "finish"));
    refused(&["exec", &path], &["surplus token"]);
}

#[test]
fn words_that_are_no_instructions_are_refused() {
    let folder = Folder::new("words");
    let short = folder.file("short.bin", [0u8; 17]);
    refused(&["disasm", &short], &["short.bin", "16 bytes"]);
    let ones = folder.file("ones.bin", [0xffu8; 16]);
    refused(&["disasm", &ones], &["ones.bin", "instruction 0"]);
    refused(&["exec", &ones], &["ones.bin", "instruction 0"]);
}

#[test]
fn places_in_memory_that_make_no_sense_are_refused() {
    let folder = Folder::new("places");
    let program = folder.file("add.vta", ADD);
    let bytes = folder.file("x.bin", [0u8; 4]);
    for (place, words) in [("nowhere", "section"), ("0xfffffffffffffff0", "beyond"), ("4294967295", "beyond")] {
        refused(&["exec", &program, "--mem", &format!("{place}={bytes}")], &[words]);
    }
    refused(&["exec", &program, "--mem", "x"], &["ADDRESS=FILE"]);
    refused(&["exec", &program, "--dump", "0:99999999999=/nowhere/f"], &["beyond"]);
    refused(&["exec", &program, "--hw", "edge"], &["configuration"]);
}
