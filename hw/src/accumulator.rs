//! The ACC scratchpad and its byte-wide shadow OUT.
//!
//! ```text
//!  load (ACC, ACC8) --+                        +--> [ ACC ] --> left  (destination port: GEMM or the tensor ALU)
//!  GEMM result -------+--> lanes, index, data -+--> [ ACC ] --> right (source port: operands and parameters)
//!  tensor ALU result -+                        +--> low bytes --> OUT, which STORE reads
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `write`, `write_pad`, `write_index`, `write_chunk`, `write_sub`, `bus_word`, `pad_value` | | a load's write, as in `scratchpad.rs` |
//! | `narrow` | 1 | the load is of ACC8: bytes, sign-extended |
//! | `gemm_write`, `gemm_index`, `gemm_result` | 1, index, element | the GEMM array's write; zero where there is none |
//! | `gemm_out` | 1 | it is for OUT too |
//! | `alu_write`, `alu_index`, `alu_result` | 1, index, alu_lanes * 32 | the tensor ALU's write: the next part of the vector |
//! | `alu_clear` | 1 | it is for OUT alone, and ACC becomes zero |
//! | `alu_fused` | 1 | it is for OUT alone, and ACC is the GEMM array's |
//! | `gemm_read`, `gemm_read_index` | 1, index | the GEMM array reads the destination port |
//! | `alu_read`, `alu_read_index` | 1, index | the tensor ALU does |
//! | `src_read`, `src_index` | 1, index | the source port |
//! | `left`, `right` | element | what was read in the cycle before |
//! | `out_lanes`, `out_index`, `out_data` | lanes, index, lanes * 8 | the same write for OUT (in block `out`) |
//!
//! Loads and arithmetic are instructions of the same in-order unit, so there is one writer at a time. A load is written a cycle
//! late, which no instruction behind it is early enough to see. Latency one cycle; two
//! reads and a write a cycle, for which the memory is kept twice.

use tandem_isa::MemoryType;
use tandem_rtl::{MemoryStyle, Module, Net};

use crate::scratchpad::{LoadPort, spread};
use crate::size::Sizes;

/// Lanes in which ACC and OUT are written: a bus word's worth of accumulators, or a turn's of the tensor ALU, or the element.
pub(crate) fn write_lanes(sizes: &Sizes) -> u32 {
    sizes.turns.max(1 << sizes.element(MemoryType::Acc).log_chunks)
}

/// ACC.
pub fn acc(sizes: &Sizes) -> Module {
    let m = Module::new("acc_scratchpad");
    describe(&m, sizes);
    m
}

fn describe<'m>(m: &'m Module, sizes: &Sizes) {
    let load = LoadPort::declare(m, sizes);
    let narrow = m.input("narrow", 1);
    let (lanes, log_depth) = (sizes.lanes, sizes.config.log_acc_depth());
    let bits = lanes * 32;
    let gemm_write = m.input("gemm_write", 1);
    let gemm_index = m.input("gemm_index", log_depth);
    let gemm_result = m.input("gemm_result", bits);
    let alu_write = m.input("alu_write", 1);
    let alu_index = m.input("alu_index", log_depth);
    let alu_result = m.input("alu_result", bits / sizes.turns);
    let alu_clear = m.input("alu_clear", 1);
    let (gemm_out, alu_fused) = (m.input("gemm_out", 1), m.input("alu_fused", 1));
    let gemm_read = m.input("gemm_read", 1);
    let gemm_read_index = m.input("gemm_read_index", log_depth);
    let alu_read = m.input("alu_read", 1);
    let alu_read_index = m.input("alu_read_index", log_depth);
    let src_read = m.input("src_read", 1);
    let src_index = m.input("src_index", log_depth);

    // Bytes: a bus word fills four times its width. Padding is bytes too.
    let (acc_elem, acc8_elem) = (sizes.element(MemoryType::Acc), sizes.element(MemoryType::Acc8));
    let (wide_enable, wide_data) = load.words(m, acc_elem);
    let (byte_enable, byte_data) = load.element(m, acc8_elem);
    let byte = |(at, byte): (usize, Net<'m>)| byte.named(&format!("byte_{at}")).sext(32);
    let extended: Vec<Net<'_>> = byte_data.lanes(lanes).into_iter().enumerate().map(byte).collect();
    let write_lanes = write_lanes(sizes);
    let bytes = narrow | load.pad;
    let chosen = bytes.mux(m.cat(&extended), wide_data);
    let load_lanes = narrow.mux(spread(m, byte_enable, write_lanes), spread(m, wide_enable, write_lanes));
    // A load's write waits a cycle; the word is zero where there is none.
    let loaded = m.data_reg("loaded", bits);
    m.when_else(load.write, || loaded.set(chosen), || loaded.set_to(0));
    let loaded_lanes = m.reg("loaded_lanes", write_lanes, 0);
    loaded_lanes.set(load_lanes);
    let load_index = m.data_reg("load_index", log_depth);
    m.when(load.write, || load_index.set(load.index.bits(0, log_depth)));

    // The tensor ALU writes the vector turn by turn.
    let (every, turns) = (m.lit(1, 1).repeat(write_lanes), sizes.turns);
    let alu_lanes = if turns == 1 {
        every
    } else {
        let turn = m.reg("turn", turns.trailing_zeros(), 0);
        m.when(alu_write, || turn.set(turn.inc()));
        let now: Vec<Net<'_>> = (0..turns).map(|at| turn.is(at.into())).collect();
        spread(m, m.cat(&now), write_lanes)
    };
    let fuses = sizes.config.has_fused_requant();
    let from_alu = if fuses { (alu_write & !alu_fused).named("from_alu") } else { alu_write };
    let enable = gemm_write.mux(every, from_alu.mux(alu_lanes, loaded_lanes)).named("enable");
    let index = gemm_write.mux(gemm_index, from_alu.mux(alu_index, load_index)).named("index");
    let computed = (alu_write.repeat(bits) & alu_result.repeat(turns)).named("computed");
    let memory = m.memory("store", log_depth, bits, MemoryStyle::Block);
    let kept = (computed & (from_alu & !alu_clear).repeat(bits)).named("kept");
    memory.write(enable, index, gemm_result | kept | loaded);
    let read_index = gemm_read.mux(gemm_read_index, alu_read_index);
    m.output("left", memory.read("q_left", gemm_read | alu_read, read_index));
    m.output("right", memory.read("q_right", src_read, src_index));

    // OUT has no sum whose result follows, and the result while ACC has the next sum.
    let (out_enable, out_index, summed) = if fuses {
        let enable = gemm_out.mux(every, alu_write.mux(alu_lanes, loaded_lanes));
        let index = gemm_out.mux(gemm_index, alu_write.mux(alu_index, load_index));
        (enable.named("out_enable"), index.named("out_at"), gemm_out.repeat(bits) & gemm_result)
    } else {
        (enable, index, gemm_result)
    };
    let data = (summed | computed | loaded).named("data");
    let bytes: Vec<Net<'_>> = data.lanes(lanes).into_iter().map(|lane| lane.bits(0, 8)).collect();
    m.output("out_lanes", out_enable);
    m.output("out_index", out_index);
    m.output("out_data", m.cat(&bytes));
}

/// OUT: the low bytes of every accumulator, for STORE.
///
/// | port | width | meaning |
/// |---|---|---|
/// | `write`, `write_index`, `write_data` | lanes, index, lanes * 8 | what ACC is written with |
/// | `read`, `read_index`, `element` | 1, index, lanes * 8 | STORE's port: a cycle's latency |
pub fn out(sizes: &Sizes) -> Module {
    let m = Module::new("out_scratchpad");
    let log_depth = sizes.config.log_acc_depth();
    let write = m.input("write", write_lanes(sizes));
    let write_index = m.input("write_index", log_depth);
    let write_data = m.input("write_data", sizes.lanes * 8);
    let read = m.input("read", 1);
    let read_index = m.input("read_index", log_depth);
    let memory = m.memory("store", log_depth, sizes.lanes * 8, MemoryStyle::Block);
    memory.write(write, write_index, write_data);
    m.output("element", memory.read("q", read, read_index));
    m
}
