//! The emitted design under Verilator's linter, with the repository's waivers and nothing else switched off.

use std::path::Path;

use tandem_isa::{HwConfig, HwFacts};
use tandem_sim::tsim::Tools;
use tandem_tests::tool;

const WAIVERS: &str = include_str!("../../hw/lint/waivers.vlt");
/// Random configurations beside the presets.
const SEEDS: u64 = 12;

/// What the linter says about a text; nothing where it is clean.
fn lint(tools: &Tools, name: &str, verilog: &str) -> String {
    let folder = tool::cache().join("lint").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tandem.vlt"), WAIVERS).unwrap();
    std::fs::write(folder.join("tandem.v"), verilog).unwrap();
    let mut command = tools.verilate();
    command.current_dir(&folder);
    command.args(["--lint-only", "-Wall", "-Werror-WIDTHEXPAND", "-Werror-WIDTHTRUNC", "--top-module", "tandem"]);
    let output = command.args(["tandem.vlt", "tandem.v"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let clean = said.lines().all(|line| !line.starts_with('%'));
    assert_eq!(output.status.success(), clean, "{name}: {said}");
    if clean { String::new() } else { said }
}

/// A legal configuration from these sizes.
fn config(batch: u32, block_in: u32, block_out: u32, bus_bits: u32) -> HwConfig {
    let text = format!(
        "batch = {batch}\nblock_in = {block_in}\nblock_out = {block_out}\nuop_buffer_bytes = 4096\n\
         inp_buffer_bytes = {}\nwgt_buffer_bytes = {}\nacc_buffer_bytes = {}\nbus_bits = {bus_bits}\n",
        (batch * block_in) << 8,
        (block_in * block_out) << 8,
        (batch * block_out * 4) << 9,
    );
    HwConfig::from_toml(&text).unwrap_or_else(|e| panic!("{batch}x{block_in}x{block_out}: {e}"))
}

#[test]
fn the_design_of_every_preset_is_clean() {
    let Some(tools) = tool::verilator() else { return };
    for preset in HwConfig::presets() {
        let verilog = tandem_hw::verilog(&HwConfig::preset(preset).unwrap());
        assert_eq!(lint(&tools, preset, &verilog), "", "{preset}");
    }
}

#[test]
fn the_designs_of_odd_configurations_are_clean() {
    let Some(tools) = tool::verilator() else { return };
    let odd = [config(4, 32, 4, 512), config(4, 4, 32, 64), config(1, 4, 8, 512), config(2, 8, 4, 256)];
    for (number, config) in odd.into_iter().chain((0..SEEDS).map(HwConfig::sample)).enumerate() {
        let said = lint(&tools, &format!("odd-{number}"), &tandem_hw::verilog(&config));
        assert_eq!(said, "", "{}", config.to_toml());
    }
}

#[test]
fn the_designs_without_queues_are_clean() {
    let Some(tools) = tool::verilator() else { return };
    for block in [4, 8] {
        let facts = config(1, block, block, 64).facts().clone();
        let facts = HwFacts {
            insn_queue_depth: 0,
            alu_lanes: Some(1),
            float_requant: false,
            dram_bits: 17,
            counters: false,
            ..facts
        };
        let config = HwConfig::new(facts).unwrap();
        assert_eq!(lint(&tools, &format!("sequential-{block}"), &tandem_hw::verilog(&config)), "");
    }
}

#[test]
fn the_designs_that_leave_something_out_are_clean() {
    let Some(tools) = tool::verilator() else { return };
    let sizes = [config(1, 8, 8, 64), config(2, 4, 8, 128), config(1, 16, 4, 64)];
    for (number, config) in sizes.into_iter().enumerate() {
        let facts = HwFacts {
            insn_queue_depth: 16 << number,
            alu_lanes: Some(1 << number),
            float_requant: false,
            dram_bits: 20 + number as u32,
            counters: false,
            ..config.facts().clone()
        };
        let config = HwConfig::new(facts).unwrap();
        assert_eq!(lint(&tools, &format!("less-{number}"), &tandem_hw::verilog(&config)), "", "{}", config.to_toml());
    }
}

#[test]
fn the_waivers_hide_no_wrong_width_and_no_other_unused_signal() {
    let Some(tools) = tool::verilator() else { return };
    let verilog = tandem_hw::verilog(&HwConfig::preset("tiny").unwrap());
    let top = verilog.find("module tandem(").unwrap();
    let (before, after) = verilog.split_at(top + verilog[top..].find("endmodule").unwrap());
    let with = |name: &str, line: &str| lint(&tools, name, &format!("{before}    {line}\n{after}"));
    assert!(with("narrow", "wire [3:0] stray = probe_tokens;").contains("WIDTHTRUNC"));
    assert!(with("broad", "wire [127:0] stray = probe_tokens;").contains("WIDTHEXPAND"));
    assert!(with("unused", "wire stray = probe_running;").contains("UNUSEDSIGNAL"));
    assert!(with("latch", "reg stray; always @(*) if (probe_running) stray = 1;").contains("LATCH"));
}

#[test]
fn every_waiver_has_a_reason_above_it() {
    let lines: Vec<&str> = WAIVERS.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("lint_off")) {
        let above = lines.iter().take(number).rev().find(|line| !line.starts_with("lint_off"));
        assert!(above.is_some_and(|line| line.starts_with("// ")), "line {}: {line}", number + 1);
        assert!(line.contains("-file \"*tandem.v\""), "line {}: it is for other files too", number + 1);
        assert!(
            line.contains("DECLFILENAME") || line.contains("-match"),
            "line {}: it is for every signal",
            number + 1
        );
    }
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("../hw/lint/waivers.vlt").is_file());
}
