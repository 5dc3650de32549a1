//! The compute unit: loads of UOP, ACC and ACC8, and the control of all arithmetic.
//!
//! ```text
//!  queue --> issue --+--> loader ----> uop scratchpad, acc scratchpad
//!                    +--> sequencer -> gemm array, tensor ALU
//!                    +--> FINISH
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `head_*`, `available_*`, `full_*`, `halt` | | as in `issue.rs` |
//! | `uop_base`, `acc_base` | 32 | base addresses |
//! | `request_*`, `data_valid`, `data_ready` | | a client of the read engine |
//! | `write_uop`, `write_acc`, `narrow` | 1 | the write at hand goes there; it is of ACC8 |
//! | `write_pad`, `write_index`, `write_chunk`, `write_sub`, `pad_value` | | as in `loader.rs` |
//! | `uop_read`, `uop_index`, `uop_word` | | the UOP scratchpad |
//! | `fire_quick`, `fire_slow` | 1 | a micro-op for the GEMM array, for the tensor ALU |
//! | `dst`, `inp_index`, `by_vector`, `wgt_index`, `part` | | what it addresses |
//! | `read_inp`, `read_wgt` | 1 | it needs an input, a weight |
//! | `clear`, `lane`, `max`, `overwrite`, `more_taps` | 1, 2 | the GEMM array's mode |
//! | `fused`, `first`, `last` | 1 | REQUANT is fused with it, and the micro-op is the first, or the last, of a sum |
//! | `sum`, `sum_index` | 1, index | such a sum goes from the GEMM array to the tensor ALU |
//! | `src_read`, `src_index` | 1, index | the source port of ACC |
//! | `param_capture`, `param_which` | 1, 2 | a parameter vector is at that port now |
//! | `alu_requant`, `alu_opcode`, `alu_mode`, `alu_saturate` | 1, 3, 2, 1 | the tensor ALU's operation |
//! | `alu_from_inp`, `alu_clear` | 1 | its left operand is an input vector; its result goes to OUT, and zero to ACC |
//! | `use_imm`, `imm` | 1, 32 | its operand is this |
//! | `late_dst`, `alu_fused` | index, 1 | where its result goes that leaves in this cycle; it came as a sum |
//! | `uop_element`, `acc_element`, `acc8_element`, `count_gemm`, `count_alu`, `count_lane`, `count_write` | 1 | for the counters |
//! | `finished` | 1 | FINISH has run |
//! | `overflow`, `out_of_reach`, `undecodable` | 1 | faults of the instruction at hand |
//! | `begins`, `finishes`, `index`, `pop_*`, `push_*`, `state`, `blocked`, `idle` | | as in `issue.rs` |
//!
//! An instruction begins when the one before it has left every pipeline, or earlier where that changes nothing. What GEMM and
//! LANE have under way is written before the first micro-op of an arithmetic instruction behind them can read it, and what they
//! have read may be loaded over. What ALU and REQUANT have under way the sequencer knows, also when another ALU or REQUANT
//! begins. A store must find everything written.
//!
//! REQUANT with `fuse` is kept for the next GEMM or LANE. Its own time is that of a NOP. What ends in the tensor ALU behind a fused
//! instruction goes to OUT alone, so that another fused one may begin meanwhile, and no other GEMM or LANE.

use tandem_isa::MemoryType;
use tandem_rtl::Module;

use crate::issue;
use crate::load::{Placed, Transfer};
use crate::sequencer::sequencer;
use crate::size::Sizes;

/// The block.
pub fn compute(sizes: &Sizes) -> Module {
    let m = Module::new("compute");
    let config = &sizes.config;
    let unit = issue::place(&m, sizes, &["prev", "next"]);
    let uop_base = m.input("uop_base", 32);
    let acc_base = m.input("acc_base", 32);
    let request_ready = m.input("request_ready", 1);
    let data_valid = m.input("data_valid", 1);
    let uop_word = m.input("uop_word", 32);
    let (sum, sum_index) = (m.input("sum", 1), m.input("sum_index", config.log_acc_depth()));

    let insn = unit.get("insn");
    let opcode = insn.bits(0, 3);
    let is = |code: u128, name: &str| opcode.is(code).named(name);
    let (load, loadpad, gemm) = (is(0, "is_load"), is(7, "is_loadpad"), is(2, "is_gemm"));
    let (finish, alu) = (is(3, "is_finish"), is(4, "is_alu"));
    let (requant, lane) = (is(5, "is_requant"), is(6, "is_lane"));
    let loads = (load | loadpad).named("loads");
    let arithmetic = (gemm | alu | requant | lane).named("arithmetic");
    let start = unit.get("start");

    // REQUANT that the next GEMM or LANE is fused with: as it was asked for, and as it is for the one at hand. The latter changes
    // when the sums of the one before have reached the tensor ALU.
    let fuses = config.has_fused_requant();
    let quick = (gemm | lane).named("quick");
    let keeps = if fuses { (requant & sizes.field(insn, "Requant", "fuse")).named("keeps") } else { m.lit(0, 1) };
    let asked = m.cat(&[
        sizes.field(insn, "Requant", "param"),
        sizes.field(insn, "Requant", "mode"),
        sizes.field(insn, "Requant", "saturate"),
    ]);
    let (fused, fuse) = if fuses {
        let (waits, kept) = (m.reg("fuse_waits", 1, 0), m.data_reg("fuse_kept", asked.width()));
        m.when(unit.get("finishes") & (quick | finish), || waits.set_to(0));
        m.when(unit.get("finishes") & keeps, || {
            waits.set_to(1);
            kept.set(asked);
        });
        let takes = m.delay("fuse_takes", m.delay("fuse_taking", start & quick));
        let (fused, fuse) = (m.reg("fused_now", 1, 0), m.data_reg("fuse_now", asked.width()));
        m.when(takes, || fused.set(waits));
        m.when(takes & waits, || fuse.set(kept));
        (fused & quick, fuse)
    } else {
        (m.lit(0, 1), asked)
    };
    let (log_acc, source) = (config.log_acc_depth(), config.log_acc_depth().max(config.log_inp_depth()));

    // Loads.
    let nothing = (loads & !sizes.field(insn, "Load", "x_size").any()).named("nothing");
    let memory_type = sizes.field(insn, "Load", "memory_type");
    let of = |wanted: MemoryType| memory_type.is(wanted.code().into());
    let (is_uop, is_acc8) = (of(MemoryType::Uop).named("is_uop"), of(MemoryType::Acc8).named("is_acc8"));
    let transfer = Transfer {
        types: &[MemoryType::Acc, MemoryType::Uop, MemoryType::Acc8],
        kind: m.cat(&[is_uop, is_acc8]),
        base: is_uop.mux(uop_base, acc_base),
        start: start & loads & !nothing,
        request_ready,
        data_valid,
    };
    let Placed { loader: moved, pad_value, out_of_reach } = transfer.place(&m, "compute_rows", sizes, insn);

    // Arithmetic.
    let reset = (gemm & sizes.field(insn, "Gemm", "reset")).named("resets");
    let use_imm = sizes.field(insn, "Alu", "use_imm");
    let max = sizes.field(insn, "Lane", "max");
    // Decoding refuses both flags where the machine has neither.
    let from_inp = (requant & sizes.field(insn, "Requant", "from_inp")).named("from_inp");
    let by_vector = (lane | from_inp).named("reads_vectors");
    // The fields of GEMM and LANE lie alike, and those of ALU and REQUANT.
    let factor = |name: &str, width: u32| {
        quick.mux(sizes.field(insn, "Gemm", name).zext(width), sizes.field(insn, "Alu", name).zext(width))
    };
    // Where LANE has no more taps than one, its field is as long as the others.
    let all_turns = sizes.field(insn, "Gemm", "iter_out");
    let lane_turns = sizes.field(insn, "Lane", "iter_out").zext(all_turns.width());
    let iter_out = if config.lane_taps() > 1 { lane.mux(lane_turns, all_turns) } else { all_turns };
    let more_taps = sizes.field(insn, "Lane", "more_taps") & lane.repeat(2);
    let fires = m.instance(
        "sequencer",
        &sequencer(sizes),
        &[
            ("start", start & arithmetic & !keeps),
            ("uop_begin", sizes.field(insn, "Gemm", "uop_begin")),
            ("uop_end", sizes.field(insn, "Gemm", "uop_end")),
            ("iter_out", iter_out),
            ("iter_in", sizes.field(insn, "Gemm", "iter_in")),
            ("dst_out", factor("dst_factor_out", log_acc)),
            ("dst_in", factor("dst_factor_in", log_acc)),
            ("src_out", factor("src_factor_out", source)),
            ("src_in", factor("src_factor_in", source)),
            ("wgt_out", sizes.field(insn, "Gemm", "wgt_factor_out")),
            ("wgt_in", sizes.field(insn, "Gemm", "wgt_factor_in")),
            ("is_gemm", gemm & !reset),
            ("reads_src", !reset & !(alu & use_imm)),
            ("reads_wgt", (gemm & !reset) | (lane & !max)),
            ("is_lane", lane),
            ("by_vector", by_vector),
            ("more_taps", more_taps),
            ("param", quick.mux(fuse.bits(0, log_acc), sizes.field(insn, "Requant", "param"))),
            ("clears", requant & sizes.field(insn, "Requant", "clear")),
            ("fused", fused),
            ("sum", sum),
            ("sum_dst", sum_index),
            ("is_requant", requant),
            ("slow", alu | requant),
            ("uop_word", uop_word),
        ],
    );
    let fire = fires.get("fire");
    let (fire_quick, fire_slow) = ((fire & quick).named("fires_quick"), (fire & !quick).named("fires_slow"));
    let (src, wgt) = (fires.get("src"), fires.get("wgt"));

    let stuck = m.any_of(&[moved.get("overflow"), out_of_reach, fires.get("out_of_range"), fires.get("undecodable")]);
    let next = |codes: &[u128]| {
        let opcode = unit.next.bits(0, 3);
        unit.next_valid & m.any_of(&codes.iter().map(|&code| opcode.is(code)).collect::<Vec<_>>())
    };
    let (push_prev, push_next) = (insn.bit(5), insn.bit(6));
    let next_keeps = if fuses { next(&[5]) & sizes.field(unit.next, "Requant", "fuse") } else { m.lit(0, 1) };
    let (next_quick, next_slow) = (next(&[2, 6]), next(&[4, 5]) & !next_keeps);
    let behind_quick = next_slow | next_keeps | (next_quick & !fused);
    let quick_early = quick & !push_next & behind_quick;
    let slow_early = arithmetic & !quick & !keeps & !push_prev & !push_next & next_slow;
    let early = ((quick_early | slow_early) & !fires.get("walking")).named("early");
    let kept = keeps & !push_next & (next_quick | next_slow);
    let over = nothing | finish | kept | (!start & !moved.get("busy") & (early | !fires.get("busy")));
    unit.done.set(!stuck & over);
    m.when(moved.get("waiting"), || unit.detail.set_to(4));
    m.when(fires.get("hazard"), || unit.detail.set_to(6));

    for port in ["request_valid", "request_address", "request_beats", "data_ready"] {
        m.output(port, moved.get(port));
    }
    m.output("write_uop", moved.get("write") & is_uop);
    m.output("write_acc", moved.get("write") & !is_uop);
    m.output("narrow", is_acc8);
    for port in ["write_pad", "write_index", "write_chunk", "write_sub"] {
        m.output(port, moved.get(port));
    }
    m.output("pad_value", pad_value);
    m.output("uop_read", fires.get("uop_read"));
    m.output("uop_index", fires.get("uop_index"));
    m.output("fire_quick", fire_quick);
    m.output("fire_slow", fire_slow);
    m.output("dst", fires.get("dst"));
    let inp_bits = config.log_inp_depth() + sizes.inp_parts.trailing_zeros();
    m.output("inp_index", src.bits(0, inp_bits));
    m.output("by_vector", by_vector);
    let log_in = config.block_in().trailing_zeros();
    let element = wgt.bits(log_in, config.log_wgt_depth());
    m.output("wgt_index", lane.mux(element, wgt.bits(0, config.log_wgt_depth())));
    m.output("part", wgt.bits(0, log_in));
    m.output("read_inp", (fire_quick & !reset) | (fire & from_inp));
    m.output("read_wgt", fire_quick & !reset & !(lane & max));
    m.output("clear", reset);
    m.output("lane", lane);
    m.output("max", max);
    m.output("more_taps", more_taps);
    m.output("overwrite", sizes.field(insn, "Lane", "overwrite"));
    m.output("fused", fused);
    m.output("first", fires.get("first"));
    m.output("last", fires.get("last"));
    let param_read = fires.get("param_read");
    m.output("src_read", param_read | (fire & alu & !use_imm));
    let src_acc = src.bits(0, log_acc);
    m.output("src_index", param_read.mux(fires.get("param_index"), src_acc));
    m.output("param_capture", fires.get("param_capture"));
    m.output("param_which", fires.get("param_which"));
    let (mode, saturate) = (sizes.field(insn, "Requant", "mode"), sizes.field(insn, "Requant", "saturate"));
    let (is_requant, mode, saturate) = if fuses {
        let summed = m.delay("summed", sum);
        (requant | summed, summed.mux(fuse.bits(log_acc, 2), mode), summed.mux(fuse.bit(log_acc + 2), saturate))
    } else {
        (requant, mode, saturate)
    };
    m.output("alu_requant", is_requant);
    m.output("alu_opcode", sizes.field(insn, "Alu", "alu_opcode"));
    m.output("alu_mode", mode);
    m.output("alu_saturate", saturate);
    m.output("alu_from_inp", from_inp);
    m.output("alu_clear", fires.get("late_clear"));
    m.output("alu_fused", fires.get("late_fused"));
    m.output("use_imm", use_imm);
    m.output("imm", sizes.field(insn, "Alu", "imm").sext(32));
    m.output("late_dst", fires.get("late_dst"));
    m.output("uop_element", moved.get("element") & is_uop);
    m.output("acc_element", moved.get("element") & !is_uop & !is_acc8);
    m.output("acc8_element", moved.get("element") & is_acc8);
    m.output("count_gemm", fire & gemm & !reset);
    m.output("count_alu", fire_slow);
    m.output("count_lane", fire & lane);
    m.output("count_write", fire);
    m.output("finished", unit.get("finishes") & finish);
    m.output("overflow", moved.get("overflow") | fires.get("out_of_range"));
    m.output("out_of_reach", out_of_reach);
    m.output("undecodable", fires.get("undecodable"));
    unit.pass_on(&m);
    m
}
