//! Queues, token counters and arbiters are proven, and the proofs fail where a bug is planted.

use tandem_hw::{arbiter, queue, token};
use tandem_rtl::MemoryStyle;
use tandem_tests::proof::{Bug, Sby, Verdict, bug, covers};

const BLOCK_QUEUE: &[Bug] = &[
    bug("no_overflow", "wire room = ~stored[2]", "wire room = 1'h1"),
    bug("no_underflow", "wire fetch = (|stored) &", "wire fetch ="),
    bug("accepts", "wire room = ~stored[2]", "wire room = ~stored[1]"),
    bug("delivers", "wire fetch = (|stored) &", "wire fetch = (|stored[2:1]) &"),
    bug("order", "output_word <= storage[head[1:0]]", "output_word <= storage[head[1:0] ^ 2'h1]"),
    bug("level_counts", "tail <= tail + 3'h1", "tail <= tail + 3'h2"),
    bug("output_holds", "wire fetch = (|stored) & (n13 | out_ready)", "wire fetch = |stored"),
    bug("flush_empties", "if (flush) begin\n            output_full <=", "if (1'h0) begin\n            output_full <="),
    bug("watched_is_inside", "if (push) begin\n            tail", "if (push & (~fetch)) begin\n            tail"),
    bug("watched_is_kept", "[n10] <= in_data", "[n10] <= ~in_data"),
];

const DISTRIBUTED_QUEUE: &[Bug] = &[
    bug("no_overflow", "wire room = ~stored[2]", "wire room = 1'h1"),
    bug("no_underflow", "wire some = |stored", "wire some = 1'h1"),
    bug("accepts", "wire room = ~stored[2]", "wire room = ~stored[1]"),
    bug("delivers", "wire some = |stored", "wire some = |stored[2:1]"),
    bug("order", "oldest_word = storage[head[1:0]]", "oldest_word = storage[head[1:0] ^ 2'h1]"),
    bug("level_counts", "tail <= tail + 3'h1", "tail <= tail + 3'h2"),
    bug("output_holds", "wire fetch = some & out_ready", "wire fetch = some"),
    bug("flush_empties", "if (flush) begin\n            head <=", "if (1'h0) begin\n            head <="),
    bug("watched_is_inside", "if (push) begin\n            tail", "if (push & (~fetch)) begin\n            tail"),
    bug("watched_is_kept", "[n10] <= in_data", "[n10] <= ~in_data"),
];

const TOKENS: &[Bug] = &[
    bug("conserved", "if (more & (~less))", "if (more)"),
    bug("available_right", "wire some = |tokens", "wire some = |tokens[2:1]"),
    bug("full_right", "wire most = &tokens", "wire most = &tokens[2:1]"),
    bug("no_wrap", "wire more = push & (~most)", "wire more = push"),
    bug(
        "flush_empties",
        "if (flush) begin\n            tokens <= 3'h0",
        "if (flush) begin\n            tokens <= 3'h1",
    ),
];

const ARBITER: &[Bug] = &[
    bug("one_grant", "wire [3:0] lowest_upper = upper & (4'h0 - upper)", "wire [3:0] lowest_upper = upper"),
    bug("only_requested", "? lowest_upper : lowest_of_all", "? lowest_upper : 4'h1"),
    bug("busy", "? lowest_upper : lowest_of_all", "? lowest_upper : 4'h0"),
    bug("grant_holds", "held <= n16", "held <= 1'h0"),
    bug("no_starvation_3", "after <= ~(chosen | n18)", "after <= 4'hf"),
    bug("progress_3", "after <= ~(chosen | n18)", "after <= 4'hf"),
    bug("after_is_upper", "after <= ~(chosen | n18)", "after <= chosen | n18"),
    bug("kept_in_turn_2", "((|upper) ? lowest_upper : lowest_of_all)", "lowest_of_all"),
];

#[test]
fn queues_over_block_ram_are_proven() {
    let Some(sby) = Sby::find() else { return };
    for (width, log_depth) in [(1, 1), (3, 2), (2, 3)] {
        let module = queue::proof(width, log_depth, MemoryStyle::Block);
        let name = format!("block_queue_{width}_{log_depth}");
        assert_eq!(sby.prove_text(&name, module.name(), &module.verilog()).unwrap(), Verdict::Proven, "{name}");
    }
}

#[test]
fn queues_over_look_up_tables_are_proven() {
    let Some(sby) = Sby::find() else { return };
    for (width, log_depth) in [(1, 1), (3, 2), (2, 3)] {
        let module = queue::proof(width, log_depth, MemoryStyle::Distributed);
        let name = format!("distributed_queue_{width}_{log_depth}");
        assert_eq!(sby.prove_text(&name, module.name(), &module.verilog()).unwrap(), Verdict::Proven, "{name}");
    }
}

#[test]
fn token_counters_are_proven() {
    let Some(sby) = Sby::find() else { return };
    for bits in [3, token::COUNT_BITS] {
        let module = token::proof(bits);
        let name = format!("tokens_{bits}");
        assert_eq!(sby.prove_text(&name, module.name(), &module.verilog()).unwrap(), Verdict::Proven, "{name}");
    }
}

#[test]
fn arbiters_are_proven() {
    let Some(sby) = Sby::find() else { return };
    for requesters in [2, 3, 4, 5] {
        let module = arbiter::proof(requesters);
        let name = format!("arbiter_{requesters}");
        assert_eq!(sby.prove_text(&name, module.name(), &module.verilog()).unwrap(), Verdict::Proven, "{name}");
    }
}

#[test]
fn a_broken_queue_over_block_ram_is_refuted_for_every_property() {
    let module = queue::proof(3, 2, MemoryStyle::Block);
    covers(&module, BLOCK_QUEUE, &[]);
    let Some(sby) = Sby::find() else { return };
    sby.refute("broken_block_queue", &module, BLOCK_QUEUE);
}

#[test]
fn a_broken_queue_over_look_up_tables_is_refuted_for_every_property() {
    let module = queue::proof(3, 2, MemoryStyle::Distributed);
    covers(&module, DISTRIBUTED_QUEUE, &[]);
    let Some(sby) = Sby::find() else { return };
    sby.refute("broken_distributed_queue", &module, DISTRIBUTED_QUEUE);
}

#[test]
fn a_broken_token_counter_is_refuted_for_every_property() {
    let module = token::proof(3);
    covers(&module, TOKENS, &[]);
    let Some(sby) = Sby::find() else { return };
    sby.refute("broken_tokens", &module, TOKENS);
}

#[test]
fn a_broken_arbiter_is_refuted_for_every_property() {
    let module = arbiter::proof(4);
    covers(&module, ARBITER, &["idle_"]);
    let Some(sby) = Sby::find() else { return };
    sby.refute("broken_arbiter", &module, ARBITER);
}
