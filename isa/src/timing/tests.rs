//! Programs whose cycles are worked out by hand from the blocks of the hardware.

use super::*;
use crate::parse;

fn program(text: &str) -> Program {
    parse(text).expect("the text of a program")
}

fn cycles(text: &str, memory: DramModel) -> u64 {
    let prediction = predict(&program(text), memory);
    assert!(prediction.complete, "{text}");
    for unit in prediction.units {
        assert_eq!(unit.total(), prediction.cycles, "{text}");
    }
    prediction.cycles
}

#[test]
fn the_shortest_program_takes_fetch_dispatch_and_rest() {
    // The request stands in cycle 1, its address goes in 2, two words come in 3 and 4. The lower one is held in 4, both move in
    // 5, the instruction is dispatched in 6, stands at the head of its queue in 8, where it begins, and finishes in 9. Everything
    // rests from 10 on, for eight cycles.
    assert_eq!(cycles(".preset edge\nfinish\n", DramModel::ideal()), 18);
    assert_eq!(cycles(".preset edge\nfinish\n", DramModel::zynq()), 18 + 39);
}

#[test]
fn gemm_takes_a_cycle_a_micro_op_and_its_pipelines() {
    // Dispatched in 6, begun in 8, `start` in 9; micro-ops fire from 13 on, the last of 40 in 52; the pipeline is empty from 58
    // on. FINISH, which waits for that, begins in 59 and ends in 60.
    let text = ".preset edge\ngemm reset uop=0..1 loop=4x10 dst=10,1 src=0,0 wgt=0,0\nfinish\n";
    assert_eq!(cycles(text, DramModel::ideal()), 61 + 8);
    assert_eq!(spans(&program(text), DramModel::ideal())[1], Span { begin: 59, finish: 60 });
}

#[test]
fn an_arithmetic_instruction_begins_behind_the_last_micro_op_of_the_one_before() {
    let reset = "gemm reset uop=0..1 loop=4x10 dst=10,1 src=0,0 wgt=0,0\n";
    let add = "alu.add uop=0..1 loop=1x1 dst=0,0 src=0,0 imm=1\n";
    let text = format!(".preset edge\n{reset}{add}finish\n");
    let spans = spans(&program(&text), DramModel::ideal());
    assert_eq!(spans[0], Span { begin: 8, finish: 53 });
    // One micro-op, fired in 59: its result is written 14 cycles later.
    assert_eq!(spans[1], Span { begin: 54, finish: 74 });
    assert_eq!(spans[2].begin, 75);
}

#[test]
fn a_store_waits_for_every_response() {
    // Begun in 8. Two elements of a word each: the first one is read in 10, taken in 11 and stands at the write engine in 12;
    // the address goes in 12, its burst is begun in 13, its words are offered in 14 and 15 and go in 15 and 16. The response
    // comes after the memory's latency, and is seen a cycle later.
    let text = ".preset edge\nstore.out sram=0 dram=0x0 size=1x2 stride=2\nfinish\n";
    for memory in [DramModel::ideal(), DramModel { latency: 7, ..DramModel::ideal() }] {
        let begin = 7 + u64::from(memory.latency);
        let end = begin + 8 + u64::from(memory.latency) + 1;
        assert_eq!(spans(&program(text), memory)[0], Span { begin, finish: end });
        assert_eq!(cycles(text, memory), end + 9);
    }
}

#[test]
fn a_program_whose_token_never_comes_is_not_complete() {
    let stuck = predict(&program(".preset edge\nnop.compute pop_prev\nfinish\n"), DramModel::ideal());
    assert!(!stuck.complete);
}

#[test]
fn a_limit_gives_up_exactly_beyond_it() {
    let program = program(".preset edge\nfinish\n");
    assert_eq!(predict_within(&program, DramModel::ideal(), 17), None);
    assert_eq!(predict_within(&program, DramModel::ideal(), 18), Some(predict(&program, DramModel::ideal())));
}
