//! The memory port of a board is proven, and the proof fails where a bug is planted.

use tandem_hw::shell::port::proof;
use tandem_tests::proof::{Bug, Sby, Verdict, bug, covers};

const BUGS: &[Bug] = &[
    bug("words_have_room", "wire room = (free[2] | free[1])", "wire room = (|free)"),
    bug("free_counts", "+ {2'h0, leaves};", "+ {2'h0, axi_rready};"),
    bug("reads_counted", "if (reads_core & (~ended))", "if (reads_core)"),
    bug("promised_in_order", "& room) & in_order", "& room)"),
    bug("bridge_alone", "& (~bridge_had)) & no_reads", "& (~bridge_had))"),
    bug("one_at_a_time", "(can_read & (~write_is_next))", "1'h0"),
    bug("answer_holds", "if (axi_bready) begin\n            answers", "if (is_idle) begin\n            answers"),
    bug("answers_what_ended", "if (write_ends) begin", "if (word_taken) begin"),
];

#[test]
fn the_memory_port_is_proven_and_a_broken_one_refuted() {
    // Bugs are planted in a small one, where they show within a few cycles.
    let small = proof(10, 2);
    covers(&small, BUGS, &[]);
    let Some(sby) = Sby::find() else { return };
    for (at, module) in [&small, &proof(20, 5)].into_iter().enumerate() {
        let verdict = sby.prove_text(&format!("memory_port_{at}"), module.name(), &module.verilog()).unwrap();
        assert_eq!(verdict, Verdict::Proven, "size {at}");
    }
    sby.refute("broken_memory_port", &small, BUGS);
}
