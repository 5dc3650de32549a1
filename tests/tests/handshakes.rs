//! Bursts, the engines of the memory bus, issue with its tokens, and the register port are proven, and the proofs fail where a
//! bug is planted.

use tandem_hw::{burst, control, issue, read_engine, token, write_engine};
use tandem_isa::HwConfig;
use tandem_rtl::Module;
use tandem_tests::proof::{Bug, Sby, Verdict, bug, covers};

const BURST: &[Bug] = &[
    bug("no_crossing", "wire [4:0] room = 5'h10 - {1'h0, at[3:0]}", "wire [4:0] room = 5'h10"),
    bug("length_right", "wire [4:0] length = last ? left[4:0] : room", "wire [4:0] length = room"),
    bug("consecutive", "at <= at + {4'h0, length}", "at <= at + 9'h10"),
    bug("whole_row", "left <= left - words", "left <= left - 7'h1"),
    bug("ends_with_row", "busy <= |beats", "busy <= |beats[6:1]"),
    bug("longest", "wire last = (~(|left[6:5])) & (left[4:0] <= room)", "wire last = 1'h1"),
    bug("output_holds", "if (taken) begin\n                at", "if (offers) begin\n                at"),
    bug("within_memory", "wire offers = busy & (~at[8])", "wire offers = busy"),
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
    bug("at_hand_right", "running <= 1'h1", "running <= 1'h0"),
    bug("begins_what_is_there", "wire n20 = head_valid & n19", "wire n20 = n19"),
    bug("pops_with_begin", "wire n49 = goes & head[3]", "wire n49 = goes"),
    bug("finishes_once", "wire ends = (running & done)", "wire ends = done"),
    bug("pushes_with_finish", "wire n51 = ends & insn_now[5]", "wire n51 = ends & insn_now[6]"),
    bug("blocked_right", "wire lacks_token = n20 & (", "wire lacks_token = head_valid & ("),
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
    bug("idle_right", "wire empty = head == tail", "wire empty = 1'h0"),
    bug("in_step", "tail <= tail + 3'h1", "tail <= tail + 3'h2"),
    bug("one_taken", "wire n63 = grant & turn_grant[1]", "wire n63 = grant"),
    bug("flush_drops", "wire n59 = n49 & n29", "wire n59 = n49"),
    bug("flush_takes", "wire ready = n49 & (flush | (", "wire ready = n49 & (("),
    bug("fault_right", "(word & axi_rresp[1]) & n29", "(word & axi_rresp[0]) & n29"),
    bug("right_ready", "wire ready = n49 & (flush | (|(client & wants)))", "wire ready = n49 & (flush | (|wants))"),
    bug("fault_client_right", "n75 = {client[2], client[1]}", "n75 = {client[1], client[2]}"),
    bug("got_is_position", "wire n66 = (n59 & client[1])", "wire n66 = (n59 & client[0])"),
    bug("watched_is_inside", "head <= head + 3'h1", "head <= head + 3'h2"),
    bug("watched_is_kept", "] <= turn_grant;", "] <= {turn_grant[1:0], turn_grant[2]};"),
    bug("watched_length", "turn_grant[1] ? request_beats_1", "turn_grant[1] ? request_beats_0"),
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
    bug("address_right", "address <= request_address", "address <= ~request_address"),
    bug("no_underflow", "if (n30 & axi_bvalid)", "if (n30)"),
    bug("few", "wlast <= n69", "wlast <= 1'h1"),
    bug("counts", "outstanding <= outstanding + 3'h1", "outstanding <= outstanding + 3'h2"),
    bug("in_step", "head <= head + 3'h1", "head <= head + 3'h2"),
    bug("partial_word", "wlast <= n69", "wlast <= 1'h0"),
    bug("beats_right", "beats <= request_beats", "beats <= 5'h0"),
    bug("lengths_right", "] <= beats", "] <= 5'h0"),
    bug("word_is_next", "wdata <= words_out_data[15:0]", "wdata <= ~words_out_data[15:0]"),
    bug("flush_pays", "& (words_out_valid | flush)", "& words_out_valid"),
    bug("burst_follows", "wire next = (~n59) & (n57 | (offer & n69))", "wire next = (~n59) & (offer & n69)"),
    bug("fault_right", "(axi_bvalid & axi_bresp[1])", "(axi_bvalid & axi_bresp[0])"),
    bug("begins_at_zero", "head <= head + 3'h1", "head <= head"),
    bug("watched_is_inside", "wlast <= n69", "wlast <= 1'h1"),
    bug("watched_is_kept", "] <= beats", "] <= beats ^ 5'h1"),
    bug("watched_left", "left <= length", "left <= length ^ 5'h1"),
];

const CONTROL: &[Bug] = &[
    bug("write_answer_holds", "if (b_taken) begin\n            bvalid", "if (bvalid) begin\n            bvalid"),
    bug("read_answer_holds", "if (r_taken) begin\n            rvalid", "if (rvalid) begin\n            rvalid"),
    bug("launch_from_idle", "& (~wvalue[3])) & (~is_error)", "& (~wvalue[3]))"),
    bug("write_answer_asked", "wire both = (aw_held & w_held) & no_reply", "wire both = aw_held & no_reply"),
    bug(
        "read_answer_asked",
        "if (r_taken) begin\n            rvalid <= 1'h0",
        "if (r_taken) begin\n            rvalid <= 1'h1",
    ),
    bug("writes_counted", "w_held <= 1'h0;\n            bvalid <= 1'h1", "bvalid <= 1'h1"),
    bug("reads_counted", "if ((axil_arvalid & no_address) & no_answer)", "if (axil_arvalid & no_address)"),
    bug("write_answered", "if (replies | (", "if ((replies & wfull) | ("),
    bug("read_answered", "rvalid <= 1'h1", "rvalid <= axil_arvalid"),
    bug("reset_answered", "if (replies | (asks_reset & resets_core))", "if (both)"),
    bug("done_or_error", "is_error <= 1'h1", "is_error <= 1'h1; is_done <= 1'h1"),
    bug("running_alone", "is_running <= 1'h0;\n            is_error <= 1'h1", "is_error <= 1'h1"),
    bug("registers_stay", "wire writes = (fully & (~is_running)) & no_flush", "wire writes = fully & no_flush"),
    bug("flush_asked", "if ((asks_reset & no_flush) & no_reset)", "if (no_flush & no_reset)"),
    bug("reset_waits", "wire flushed = (flushes & reads_idle) & writes_idle", "wire flushed = flushes & reads_idle"),
    bug("reset_clears", "if (resets_core) begin\n            is_running <= 1'h0;", "if (resets_core) begin"),
];

/// Sizes that stand in the design are proven; bugs are planted in the small one, where they show within a few cycles.
fn prove(name: &str, small: &Module, real: &[Module], bugs: &[Bug], exempt: &[&str]) {
    covers(small, bugs, exempt);
    let Some(sby) = Sby::find() else { return };
    for (at, module) in [small].into_iter().chain(real).enumerate() {
        let verdict = sby.prove_text(&format!("{name}_{at}"), module.name(), &module.verilog()).unwrap();
        assert_eq!(verdict, Verdict::Proven, "{name}, size {at}");
    }
    sby.refute(&format!("broken_{name}"), small, bugs);
}

#[test]
fn bursts_are_proven_and_broken_ones_refuted() {
    // Rows on a bus of 64 bits, and the stream of instructions on one of 128.
    prove("burst", &burst::proof(8, 7), &[burst::proof(29, 24), burst::proof(28, 36)], BURST, &[]);
}

#[test]
fn issue_between_its_token_queues_is_proven_and_a_broken_one_refuted() {
    prove("issue", &issue::proof(2), &[issue::proof(token::COUNT_BITS)], ISSUE, &[]);
}

#[test]
fn the_read_engine_is_proven_and_a_broken_one_refuted() {
    // The memory alone keeps its place within a burst.
    prove("read", &read_engine::proof(2), &[read_engine::proof(3)], READ, &["position_within"]);
}

#[test]
fn the_write_engine_is_proven_and_a_broken_one_refuted() {
    prove("write", &write_engine::proof(2), &[write_engine::proof(3)], WRITE, &[]);
}

#[test]
fn the_register_port_is_proven_and_a_broken_one_refuted() {
    let config = HwConfig::preset("tiny").unwrap();
    prove("control", &control::proof(&config), &[], CONTROL, &[]);
}
