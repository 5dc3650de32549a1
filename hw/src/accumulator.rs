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
//! | `gemm_write`, `gemm_index`, `gemm_result` | 1, index, element | the GEMM array's write |
//! | `alu_write`, `alu_index`, `alu_result` | 1, index, element | the tensor ALU's write |
//! | `gemm_read`, `gemm_read_index` | 1, index | the GEMM array reads the destination port |
//! | `alu_read`, `alu_read_index` | 1, index | the tensor ALU does |
//! | `src_read`, `src_index` | 1, index | the source port |
//! | `left`, `right` | element | what was read in the cycle before |
//! | `out_lanes`, `out_index`, `out_data` | lanes, index, lanes * 8 | the same write for OUT (in block `out`) |
//!
//! Loads and arithmetic are instructions of the same in-order unit, so there is one writer at a time. Latency one cycle; two
//! reads and a write a cycle, for which the memory is kept twice.

use tandem_isa::MemoryType;
use tandem_rtl::{MemoryStyle, Module, Net};

use crate::scratchpad::LoadPort;
use crate::size::Sizes;

/// Lanes in which ACC and OUT are written: a bus word's worth of accumulators, or the element.
pub(crate) fn write_lanes(sizes: &Sizes) -> u32 {
    1 << sizes.element(MemoryType::Acc).log_chunks
}

/// ACC.
pub fn acc(sizes: &Sizes) -> Module {
    let m = Module::new("acc_scratchpad");
    let load = LoadPort::declare(&m, sizes);
    let narrow = m.input("narrow", 1);
    let (lanes, log_depth) = (sizes.lanes, sizes.config.log_acc_depth());
    let bits = lanes * 32;
    let gemm_write = m.input("gemm_write", 1);
    let gemm_index = m.input("gemm_index", log_depth);
    let gemm_result = m.input("gemm_result", bits);
    let alu_write = m.input("alu_write", 1);
    let alu_index = m.input("alu_index", log_depth);
    let alu_result = m.input("alu_result", bits);
    let gemm_read = m.input("gemm_read", 1);
    let gemm_read_index = m.input("gemm_read_index", log_depth);
    let alu_read = m.input("alu_read", 1);
    let alu_read_index = m.input("alu_read_index", log_depth);
    let src_read = m.input("src_read", 1);
    let src_index = m.input("src_index", log_depth);

    // Bytes: a bus word fills four times its width.
    let (acc_elem, acc8_elem) = (sizes.element(MemoryType::Acc), sizes.element(MemoryType::Acc8));
    let (wide_enable, wide_data) = load.element(&m, acc_elem);
    let (byte_enable, byte_data) = load.element(&m, acc8_elem);
    let extended: Vec<Net<'_>> = byte_data.lanes(lanes).into_iter().map(|byte| byte.sext(32)).collect();
    let write_lanes = write_lanes(sizes);
    // A chunk of bytes covers several lanes of the write port.
    let per_byte_chunk = write_lanes / byte_enable.width().min(write_lanes);
    let byte_lanes: Vec<Net<'_>> =
        byte_enable.lanes(byte_enable.width()).into_iter().map(|lane| lane.repeat(per_byte_chunk)).collect();
    let pad_lanes = load.pad_value.sext(32).repeat(lanes);
    let loaded = narrow.mux(m.cat(&extended), wide_data);
    let loaded = load.pad.mux(pad_lanes, loaded).named("loaded");
    let load_lanes = narrow.mux(m.cat(&byte_lanes), wide_enable);

    let computed = (gemm_write | alu_write).named("computed");
    let enable = computed.mux(m.lit(1, 1).repeat(write_lanes), load_lanes).named("enable");
    let index = gemm_write.mux(gemm_index, alu_write.mux(alu_index, load.index.bits(0, log_depth))).named("index");
    let data = gemm_write.mux(gemm_result, alu_write.mux(alu_result, loaded)).named("data");
    let memory = m.memory("store", log_depth, bits, MemoryStyle::Block);
    memory.write(enable, index, data);
    let read_index = gemm_read.mux(gemm_read_index, alu_read_index);
    m.output("left", memory.read("q_left", gemm_read | alu_read, read_index));
    m.output("right", memory.read("q_right", src_read, src_index));

    let bytes: Vec<Net<'_>> = data.lanes(lanes).into_iter().map(|lane| lane.bits(0, 8)).collect();
    m.output("out_lanes", enable);
    m.output("out_index", index);
    m.output("out_data", m.cat(&bytes));
    m
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

/// The parameters of REQUANT at hand.
///
/// | port | width | meaning |
/// |---|---|---|
/// | `capture`, `which`, `word` | 1, 2, lanes * 32 | takes a vector: bias, multiplier, shift, post |
/// | `bias`, `multiplier`, `shift`, `post` | lanes * 32 | the vectors |
pub fn parameters(sizes: &Sizes) -> Module {
    let m = Module::new("parameters");
    let bits = sizes.lanes * 32;
    let capture = m.input("capture", 1);
    let which = m.input("which", 2);
    let word = m.input("word", bits);
    for (at, name) in ["bias", "multiplier", "shift", "post"].into_iter().enumerate() {
        let held = m.data_reg(format!("{name}_held"), bits);
        m.when(capture & which.is(at as u128), || held.set(word));
        m.output(name, held);
    }
    m
}
