//! Bursts, the engines of the memory bus, issue with its tokens, and the register port are proven, and the proofs fail where a
//! bug is planted.

use tandem_hw::{burst, control, issue, read_engine, write_engine};
use tandem_isa::HwConfig;
use tandem_rtl::Module;
use tandem_tests::proof::{Bug, Sby, Verdict, bug};

const BURST: &[Bug] = &[
    bug("no_crossing", "wire [4:0] room = 5'h10 - {1'h0, at[3:0]}", "wire [4:0] room = 5'h10"),
    bug("length_right", "wire [4:0] length = last ? left[4:0] : room", "wire [4:0] length = room"),
    bug("consecutive", "at <= at + {3'h0, length}", "at <= at + 8'h10"),
    bug("whole_row", "left <= left - n21", "left <= left - 7'h1"),
    bug("ends_with_row", "wire busy = |left", "wire busy = |left[6:1]"),
    bug("longest", "wire last = left <= {2'h0, room}", "wire last = 1'h1"),
    bug("output_holds", "if (n17) begin\n                at", "if (busy) begin\n                at"),
];

const ISSUE: &[Bug] = &[
    bug("begins_with_tokens", "wire lacks_prev = head[3] & (~available_prev)", "wire lacks_prev = 1'h0"),
    bug("begins_alone", "wire waits = n20 & (~halt)", "wire waits = n20"),
    bug("never_both", "wire n19 = ~running", "wire n19 = 1'h1"),
    bug("insn_holds", "insn_now <= head[127:0]", "insn_now <= {head[127:64], 64'h0}"),
    bug("finishes_when_done", "wire ends = (running & done)", "wire ends = running"),
    bug("starts_once", "started <= goes", "started <= head_valid"),
    bug("tokens_from_prev", ".pop_0(n49)", ".pop_0(1'h0)"),
    bug("tokens_to_prev", ".push_1(n51)", ".push_1(1'h0)"),
    bug("tokens_to_next", ".push_2(n52)", ".push_2(1'h0)"),
    bug("tokens_from_next", ".pop_3(n50)", ".pop_3(1'h0)"),
    bug("pushes_with_room", " | (insn_now[6] & full_next)", ""),
];

const READ: &[Bug] = &[
    bug("address_holds", "wire room = (n26 & (~full)) & n29", "wire room = (~full) & n29"),
    bug("at_most_all", "wire room = (n26 & (~full)) & n29", "wire room = n26 & n29"),
    bug("flush_grants_nothing", "wire room = (n26 & (~full)) & n29", "wire room = n26 & (~full)"),
    bug("right_client", "wire n62 = (n59 & client[0])", "wire n62 = (n59 & client[1])"),
    bug("exact_words", "wire ready = n49 & (flush | (|(client & wants)))", "wire ready = n49"),
    bug("ready_under_way", "wire ready = n49 & (flush", "wire ready = (flush"),
    bug("counts", "head <= head + 3'h1", "head <= head + 3'h2"),
    bug("address_right", "turn_grant[1] ? request_address_1", "turn_grant[1] ? request_address_0"),
];

const WRITE: &[Bug] = &[
    bug("address_holds", "((request_valid & n18) & room) & n21", "(request_valid & room) & n21"),
    bug("at_most_all", "((request_valid & n18) & room) & n21", "(request_valid & n18) & n21"),
    bug("flush_grants_nothing", "((request_valid & n18) & room) & n21", "(request_valid & n18) & room"),
    bug("word_holds", "wire free = n51 | axi_wready", "wire free = 1'h1"),
    bug("word_after_address", "wire next = (~n59) &", "wire next = 1'h1 &"),
    bug("last_on_last", "wlast <= n69", "wlast <= (left == 5'h2)"),
    bug("flush_writes_nothing", "(words_out_valid & n21) ? words_out_data[17:16] : 2'h0", "words_out_data[17:16]"),
    bug("no_word_lost", "take = (offer & words_out_valid) | stale", "take = words_out_valid"),
    bug("idle_right", "wire n80 = ((~n76) & (~words_out_valid)) & n51", "wire n80 = (~words_out_valid) & n51"),
];

const CONTROL: &[Bug] = &[
    bug("write_answer_holds", "if (b_taken) begin\n            bvalid", "if (bvalid) begin\n            bvalid"),
    bug("read_answer_holds", "if (n367) begin\n            rvalid", "if (rvalid) begin\n            rvalid"),
    bug("launch_from_idle", "& (~wvalue[3])) & (~is_error)", "& (~wvalue[3]))"),
];

fn prove(name: &str, module: &Module, bugs: &[Bug]) {
    let Some(sby) = Sby::find() else { return };
    assert_eq!(sby.prove(module).unwrap(), Verdict::Proven, "{name}");
    sby.refute(name, module, bugs);
}

#[test]
fn bursts_are_proven_and_broken_ones_refuted() {
    prove("broken_burst", &burst::proof(8, 7), BURST);
}

#[test]
fn issue_between_its_token_queues_is_proven_and_a_broken_one_refuted() {
    prove("broken_issue", &issue::proof(2), ISSUE);
}

#[test]
fn the_read_engine_is_proven_and_a_broken_one_refuted() {
    prove("broken_read", &read_engine::proof(2), READ);
}

#[test]
fn the_write_engine_is_proven_and_a_broken_one_refuted() {
    prove("broken_write", &write_engine::proof(2), WRITE);
}

#[test]
fn the_register_port_is_proven_and_a_broken_one_refuted() {
    prove("broken_control", &control::proof(&HwConfig::preset("tiny").unwrap()), CONTROL);
}
