//! The sequential machine: fetches an instruction, waits for its tokens, runs it to its end, and goes on to the next.
//!
//! ```text
//!            +--> instruction --> tokens --> walk ------> scratchpads        one word at a time
//!  memory ---+                          \--> loops --+--> array  --> ACC     GEMM, LANE: a micro-op a cycle
//!   port     +<-- ACC (STORE)                         \--> serial --> ACC     ALU, REQUANT: a lane at a time
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start`, `start_address`, `start_count` | 1, 32, 32 | a launch: where the stream is, and its length |
//! | `halt` | 1 | begin nothing more |
//! | `base_*` | 32 | base addresses |
//! | `axi_*` | | the AXI4 channels: bursts of one word |
//! | `complete`, `blocked` | 1 | nothing is left of the stream; an instruction waits |
//! | `reads_idle`, `writes_idle` | 1 | no burst is under way |
//! | `idle_k`, `blocked_k`, `index`, `state_k` | 1, 1, 32, 3 | unit k, as in `issue.rs` |
//! | `begin_k`, `finish_k`, `push`, `pop`, `counts`, `any_token` | 1, 1, 4, 4, 64, 1 | the events that the units would have |
//! | `finished`, `illegal`, `misplaced`, `fault_*` | | as in `control.rs` |
//! | `*_element`, `count_*` | 1 | for the counters |
//!
//! ACC is kept once, and STORE reads it: nothing else runs while it does. GEMM and LANE take a micro-op a cycle (LANE with `max`
//! and without `overwrite` four cycles), a word of DRAM its latency and four cycles.

use tandem_isa::MemoryType;
use tandem_rtl::{Memory, MemoryStyle, Module, Net};

use crate::fetch::{Decoded, decode};
use crate::size::{INSN_BITS, Sizes};
use crate::tokens::queues;

use super::array::array;
use super::loops::loops;
use super::serial::serial;
use super::walk::walk;

/// Bits of a token count.
const TOKEN_BITS: u32 = 8;

/// The block.
pub(crate) fn machine(sizes: &Sizes) -> Module {
    let m = Module::new("machine");
    let config = &sizes.config;
    let block = config.block_out() as u32;
    let (log_uop, log_inp) = (config.log_uop_depth(), config.log_inp_depth());
    let (log_wgt, log_acc) = (config.log_wgt_depth(), config.log_acc_depth());
    let bit = |name: &str| m.input(name, 1);
    let start = bit("start");
    let (start_address, start_count) = (m.input("start_address", 32), m.input("start_count", 32));
    let halt = bit("halt");
    let [uop_base, inp_base, wgt_base, acc_base, out_base] =
        ["uop", "inp", "wgt", "acc", "out"].map(|name| m.input(format!("base_{name}"), 32));
    let [arready, rvalid, rlast, awready, wready, bvalid] =
        ["arready", "rvalid", "rlast", "awready", "wready", "bvalid"].map(|name| bit(&format!("axi_{name}")));
    let [rresp, bresp] = ["rresp", "bresp"].map(|name| m.input(format!("axi_{name}"), 2));
    let rdata = m.input("axi_rdata", sizes.bus);
    let (yes, no) = (m.lit(1, 1), m.lit(0, 1));

    // The memory port: a word of 32 bits at a time.
    let reach = config.dram_bits() - 2;
    let port = m.fsm("port", &["rest", "address", "data", "send", "answer"]);
    let (reads, writes) = (m.var("reads_word", no), m.var("writes_word", no));
    let word_address = m.var("word_address", m.lit(0, reach));
    let (address_left, data_left) = (m.reg("address_left", 1, 0), m.reg("data_left", 1, 0));
    let place = word_address.bits(0, 1);
    let deep = sizes.target.operand_registers;
    let arrives = port.at("data") & rvalid & rlast;
    let (rdata, rresp, arrives) = match deep {
        true => (m.delay("rdata_late", rdata), m.delay("rresp_late", rresp), m.delay("arrives_late", arrives)),
        false => (rdata, rresp, arrives),
    };
    let (half, arrives) = (rdata.pick(place, 32).named("half"), arrives.named("arrives"));
    let written = (port.at("answer") & bvalid).named("written");
    m.when(port.at("rest") & !halt, || {
        m.when(reads, || port.go("address"));
        m.when(writes, || {
            address_left.set_to(1);
            data_left.set_to(1);
            port.go("send");
        });
    });
    m.when(port.at("address") & arready, || port.go("data"));
    m.when(arrives | written, || port.go("rest"));
    m.when(port.at("send") & awready, || address_left.set_to(0));
    m.when(port.at("send") & wready, || data_left.set_to(0));
    m.when(port.at("send") & (!address_left | awready) & (!data_left | wready), || port.go("answer"));
    // What was asked for has arrived in the cycle before; the asker looks at it then.
    let moved = m.delay("moved", arrives | written);
    let (pad_byte, fills) = (m.var("pad_byte", m.lit(0, 8)), m.var("fills", no));
    let word = m.data_reg("word", 32);
    m.when(fills, || word.set(pad_byte.repeat(4)));
    m.when(arrives, || word.set(half));

    // The instruction at hand.
    let phase = m.fsm("phase", &["idle", "fetch", "decode", "look", "wait", "work"]);
    let insn_parts: Vec<Net<'_>> = (0..4).map(|part| m.data_reg(format!("insn_{part}"), 32)).collect();
    let insn = m.cat(&insn_parts).named("insn");
    let (at, part) = (m.data_reg("fetch_address", reach + 1), m.reg("insn_part", 2, 0));
    let counted = config.dram_bits() - 3;
    let (left, index) = (m.reg("left", counted, 0), m.data_reg("insn_index", counted));
    let too_many =
        start_count.bits(counted, 32 - counted).any() | start_address.zext(33).bits(reach + 2, 31 - reach).any();
    let far = m.reg("stream_beyond", 1, 0);
    let fetching = phase.at("fetch").named("fetching");
    m.when(start, || {
        at.set(start_address.zext(33).bits(2, reach + 1));
        left.set(start_count.bits(0, counted));
        index.set_to(0);
        part.set_to(0);
        far.set(too_many);
        m.when(start_count.any() & !too_many, || phase.go("fetch"));
    });
    m.when(fetching, || {
        word_address.set(at.bits(0, reach));
        reads.set(!at.sign());
        m.when(at.sign(), || far.set_to(1));
    });
    m.when(fetching & arrives, || {
        for (number, held) in insn_parts.iter().enumerate() {
            m.when(part.is(number as u128), || held.set(half));
        }
        part.set(part.inc());
        at.set(at.inc());
        m.when(part.all(), || phase.go("decode"));
    });

    // Decoded in a cycle of its own, and looked at in the next one.
    let Decoded { target, illegal } = decode(&m, sizes, insn);
    let reasons: Vec<Net<'_>> =
        illegal.into_iter().enumerate().map(|(at, reason)| m.delay(format!("illegal_{at}"), reason)).collect();
    let illegal = m.any_of(&reasons).named("undecodable");
    let opcode = insn.bits(0, 3);
    let finish = opcode.is(3).named("is_finish");
    let waiting = phase.at("wait").named("waiting");
    let misplaced = (finish & !left.is(1)).named("misplaced_finish");
    // Looked at once: nothing changes while an instruction waits.
    let look = |name: &'static str, net| {
        let seen = m.data_reg(name, 1);
        m.when(phase.at("look"), || seen.set(net));
        seen
    };
    let (wrong, early) = (look("seen_illegal", illegal), look("seen_misplaced", misplaced & !illegal));
    m.when(phase.at("decode"), || phase.go("look"));
    m.when(phase.at("look"), || phase.go("wait"));
    let sound = (waiting & !wrong & !early).named("sound");
    let [pop_prev, pop_next, push_prev, push_next] = [3, 4, 5, 6].map(|flag| insn.bit(flag));
    let [on_load, on_compute, on_store] = target;
    // Token queues: 0 load to compute, 1 compute to load, 2 compute to store, 3 store to compute.
    let pops = [on_compute & pop_prev, on_load & pop_next, on_store & pop_prev, on_compute & pop_next];
    let pushes = [on_load & push_next, on_compute & push_prev, on_compute & push_next, on_store & push_prev];
    let (begins, finishes) = (m.var("begins_now", no), m.var("finishes_now", no));
    let names = [0, 1, 2, 3].map(|k| (format!("push_{k}"), format!("pop_{k}")));
    let mut pins = Vec::new();
    for (k, (push, pop)) in names.iter().enumerate() {
        // The next instruction looks at them only when it has been fetched.
        pins.push((push.as_str(), m.delay(format!("pushes_{k}"), finishes & pushes[k])));
        pins.push((pop.as_str(), m.delay(format!("pops_{k}"), begins & pops[k])));
    }
    let tokens = m.instance("tokens", &queues(TOKEN_BITS), &pins);
    let lacking: Vec<Net<'_>> = (0..4).map(|k| pops[k] & !tokens.get(&format!("available_{k}"))).collect();
    let crowded: Vec<Net<'_>> = (0..4).map(|k| pushes[k] & tokens.get(&format!("full_{k}"))).collect();
    let lacks_prev = look("lacks_prev", lacking[0] | lacking[2]);
    let (lacks, no_room) = (look("lacks", m.any_of(&lacking)), look("no_room", m.any_of(&crowded)));
    begins.set(sound & !lacks & !no_room & !halt);
    let first = m.delay("first", begins);
    let done = m.var("done", no);
    let working = phase.at("work").named("working");
    m.when(begins, || phase.go("work"));
    finishes.set(working & done & !halt);
    m.when(finishes, || {
        left.set(left.dec());
        m.when_else(left.is(1), || phase.go("idle"), || phase.go("fetch"));
    });

    // What is told of it leaves by registers, and its number with it.
    let finished = m.delay("finished_late", finishes);
    m.when(finished, || index.set(index.inc()));

    // What it is.
    let is = |code: u128, name: &str| opcode.is(code).named(name);
    let (loadpad, gemm) = (is(7, "is_loadpad"), is(2, "is_gemm"));
    let (store, alu) = (is(1, "is_store"), is(4, "is_alu"));
    let (requant, lane) = (is(5, "is_requant"), is(6, "is_lane"));
    let transfers = (opcode.is(0) | loadpad | store).named("transfers");
    let arithmetic = (gemm | alu | requant | lane).named("arithmetic");
    let quick = (gemm | lane).named("quick");
    let field = |form: &str, name: &str| sizes.field(insn, form, name);
    let memory_type = field("Load", "memory_type");
    let of = |wanted: MemoryType, name: &str| (memory_type.is(wanted.code().into()) & !store).named(name);
    let (is_uop, is_wgt) = (of(MemoryType::Uop, "is_uop"), of(MemoryType::Wgt, "is_wgt"));
    let (is_inp, is_acc8) = (of(MemoryType::Inp, "is_inp"), of(MemoryType::Acc8, "is_acc8"));
    let is_acc = of(MemoryType::Acc, "is_acc");

    // Transfers.
    let nothing =
        (transfers & (!field("Load", "x_size").any() | (store & !field("Store", "y_size").any()))).named("nothing");
    let words = |memory_type: MemoryType| (config.elem_bytes(memory_type) as u32 / 4).trailing_zeros();
    let lit = |kind: u128| m.lit(kind, 3);
    let kind = is_uop.mux(lit(0), is_wgt.mux(lit(1), is_inp.mux(lit(2), is_acc.mux(lit(3), lit(4)))));
    let pads = |name: &str| store.mux(m.lit(0, 4), field("Load", name));
    let base = is_uop.mux(uop_base, is_wgt.mux(wgt_base, is_inp.mux(inp_base, store.mux(out_base, acc_base))));
    let dram_base = loadpad.mux(field("LoadPad", "dram_base").zext(32), field("Load", "dram_base"));
    let walker = m.instance(
        "walker",
        &walk(sizes),
        &[
            ("start", first & transfers & !nothing),
            ("stores", store),
            ("narrow", is_acc8),
            ("kind", kind),
            ("base", base.bits(2, 30)),
            ("dram_base", dram_base),
            ("sram_base", field("Load", "sram_base")),
            ("y_size", field("Load", "y_size")),
            ("x_size", field("Load", "x_size")),
            ("x_stride", field("Load", "x_stride")),
            ("y_pad_0", pads("y_pad_0")),
            ("y_pad_1", pads("y_pad_1")),
            ("x_pad_0", pads("x_pad_0")),
            ("x_pad_1", pads("x_pad_1")),
            ("moved", moved),
        ],
    );
    fills.set(walker.get("fills"));
    m.when(loadpad, || pad_byte.set(field("LoadPad", "pad_value")));
    m.when(working & transfers, || {
        word_address.set(walker.get("address"));
        reads.set(walker.get("asks") & !moved & !store);
        writes.set(walker.get("asks") & !moved & store);
    });
    let (put, put_index, put_word) = (walker.get("put"), walker.get("index"), walker.get("word"));

    // Arithmetic.
    let reset = (gemm & field("Gemm", "reset")).named("resets");
    let use_imm = field("Alu", "use_imm");
    let (max, overwrite) = (field("Lane", "max"), (lane & field("Lane", "overwrite")).named("overwrites"));
    let source = log_acc.max(log_inp);
    // The fields of GEMM and LANE lie alike, and those of ALU and REQUANT.
    let factor = |name: &str, width: u32| quick.mux(field("Gemm", name).zext(width), field("Alu", name).zext(width));
    let uop_word = m.var("uop_word", m.lit(0, 32));
    let taken = m.var("taken", no);
    let walks = m.instance(
        "walks",
        &loops(sizes),
        &[
            ("start", first & arithmetic),
            ("uop_begin", field("Gemm", "uop_begin")),
            ("uop_end", field("Gemm", "uop_end")),
            ("iter_out", field("Gemm", "iter_out")),
            ("iter_in", field("Gemm", "iter_in")),
            ("dst_out", factor("dst_factor_out", log_acc)),
            ("dst_in", factor("dst_factor_in", log_acc)),
            ("src_out", factor("src_factor_out", source)),
            ("src_in", factor("src_factor_in", source)),
            ("wgt_out", field("Gemm", "wgt_factor_out")),
            ("wgt_in", field("Gemm", "wgt_factor_in")),
            ("is_gemm", gemm & !reset),
            ("is_lane", lane),
            ("is_requant", requant),
            ("reads_src", !reset & !(alu & use_imm)),
            ("reads_wgt", (gemm & !reset) | (lane & !max)),
            ("uop_word", uop_word),
            ("taken", taken),
        ],
    );
    let there = (walks.get("there") & !halt).named("uop_there");
    let (dst, src, wgt) = (walks.get("dst"), walks.get("src"), walks.get("wgt"));
    // Two passes of LANE with `max`, two or four cycles apart.
    let compares = (lane & max & !overwrite).named("compares");
    let log_apart = if deep { 2 } else { 1 };
    let beat = m.reg("beat", log_apart + 1, 0);
    m.when(there & compares, || beat.set(beat.inc()));
    let fire = (there & quick & !(compares & beat.bits(0, log_apart).any())).named("fires");
    let first_pass = (compares & !beat.bit(log_apart)).named("first_pass");
    let log_in = block.trailing_zeros();

    // ACC: one port to read, one to write.
    let acc = m.memory("acc", log_acc, block * 32, MemoryStyle::Block);
    let acc_element = m.var("acc_element_read", m.lit(0, block * 32));
    let inp_element = m.var("inp_element_read", m.lit(0, block * 8));
    let wgt_element = m.var("wgt_element_read", m.lit(0, block * block * 8));
    let gemm_array = m.instance(
        "gemm",
        &array(sizes),
        &[
            ("fire", fire),
            ("dst", dst),
            ("clear", reset),
            ("lane", lane),
            ("overwrite", overwrite),
            ("unit", lane & max),
            ("minus", first_pass),
            ("part", wgt.bits(0, log_in)),
            ("inp", inp_element),
            ("wgt", wgt_element),
            ("acc", acc_element),
        ],
    );
    let tensor_alu = m.instance(
        "tensor_alu",
        &serial(sizes),
        &[
            ("start", there & !quick),
            ("requant", requant),
            ("opcode", field("Alu", "alu_opcode")),
            ("mode", field("Requant", "mode")),
            ("saturate", field("Requant", "saturate")),
            ("use_imm", use_imm),
            ("imm", field("Alu", "imm").sext(32)),
            ("dst", dst),
            ("src", src.bits(0, log_acc)),
            ("acc", acc_element),
        ],
    );
    let slow_done = tensor_alu.get("done");
    taken.set(quick.mux(fire & !first_pass, slow_done) & there);

    let byte = word.pick(walker.get("byte_number"), 8);
    let put_data = is_acc8.mux(byte.sext(32), word).named("put_data");
    let (alu_write, gemm_write) = (tensor_alu.get("write"), gemm_array.get("write"));
    let single = alu_write.mux(tensor_alu.get("result"), put_data).named("single");
    let put_acc = (put & (is_acc | is_acc8)).named("puts_acc");
    // Which lane a word or a byte is.
    let log_lanes = block.trailing_zeros();
    let number =
        is_acc8.mux(m.cat(&[walker.get("byte_number"), put_word]).resize(log_lanes), put_word.resize(log_lanes));
    let number = alu_write.mux(tensor_alu.get("lane"), number).named("lane_number");
    let lanes: Vec<Net<'_>> = (0..block).map(|lane| (alu_write | put_acc) & number.is(lane.into())).collect();
    let enable = gemm_write | m.cat(&lanes);
    let acc_index =
        alu_write.mux(dst, put_acc.mux(put_index.bits(0, log_acc), gemm_array.get("write_index"))).named("acc_index");
    acc.write(enable, acc_index, (alu_write | put_acc).mux(single.repeat(block), gemm_array.get("result")));
    let gets = walker.get("gets");
    let read_index = gets.mux(
        put_index.bits(0, log_acc),
        tensor_alu.get("read").mux(tensor_alu.get("read_index"), gemm_array.get("acc_index")),
    );
    let acc_read = gets | tensor_alu.get("read") | gemm_array.get("acc_read");
    acc_element.set(acc.read("acc_q", acc_read, read_index));

    // The scratchpads that loads write.
    let operands = (fire & !reset).named("operands");
    let pad = Pad { m: &m, put, index: put_index, number: put_word, word };
    uop_word.set(pad.place("uop", is_uop, log_uop, 0).read("uop_q", walks.get("uop_read"), walks.get("uop_index")));
    inp_element.set(pad.place("inp", is_inp, log_inp, words(MemoryType::Inp)).read(
        "inp_q",
        operands,
        src.bits(0, log_inp),
    ));
    let wgt_index = lane.mux(wgt.bits(log_in, log_wgt), wgt.bits(0, log_wgt));
    wgt_element.set(pad.place("wgt", is_wgt, log_wgt, words(MemoryType::Wgt)).read("wgt_q", operands, wgt_index));

    // STORE sends the low bytes.
    let low: Vec<Net<'_>> = acc_element.lanes(block).into_iter().map(|lane| lane.bits(0, 8)).collect();
    let low = m.cat(&low).named("low_bytes");
    let out_words = block / 4;
    let sent = if out_words == 1 { low } else { low.pick(put_word.resize(out_words.trailing_zeros()), 32) };

    let busy = walker.get("busy") | walks.get("busy") | gemm_array.get("busy");
    let stuck = m.any_of(&[
        walker.get("overflow"),
        walker.get("out_of_reach"),
        walks.get("out_of_range"),
        walks.get("undecodable"),
    ]);
    done.set(!stuck & (nothing | finish | (!first & !busy)));

    m.output("axi_arvalid", port.at("address"));
    let bus_word = word_address.bits(1, reach - 1).zext(29);
    let bus_address = m.cat(&[m.lit(0, 3), bus_word]);
    m.output("axi_araddr", bus_address);
    m.output("axi_rready", port.at("data"));
    m.output("axi_awvalid", port.at("send") & address_left);
    m.output("axi_awaddr", bus_address);
    m.output("axi_wvalid", port.at("send") & data_left);
    m.output("axi_wdata", sent.repeat(2));
    m.output("axi_wstrb", m.cat(&[(!place).repeat(4), place.repeat(4)]));
    m.output("axi_bready", port.at("answer"));
    let reading = port.at("address") | port.at("data");
    m.output("reads_idle", !reading);
    m.output("writes_idle", !(port.at("send") | port.at("answer")));
    m.output("fault_read", arrives & rresp.bit(1));
    m.output("fault_read_client", fetching.mux(m.lit(0, 2), on_load.mux(m.lit(1, 2), m.lit(2, 2))));
    m.output("fault_write", written & bresp.bit(1));
    m.output("complete", !left.any());
    m.output("blocked", yes);
    m.output("illegal", waiting & wrong);
    m.output("misplaced", waiting & early);
    m.output("index", index.zext(32));
    let code = |value: u128| m.lit(value, 3);
    let detail = reading.mux(code(4), port.at("answer").mux(code(5), code(1)));
    let missing = lacks_prev.mux(code(2), lacks.mux(code(3), no_room.mux(code(7), code(1))));
    for (unit, name) in [on_load, on_compute, on_store].into_iter().zip(["load", "compute", "store"]) {
        let here = (unit & (sound | working)).named(&format!("at_{name}"));
        m.output(format!("idle_{name}"), !here);
        m.output(format!("blocked_{name}"), unit & sound & (lacks | no_room));
        m.output(format!("state_{name}"), here.mux(working.mux(detail, missing), code(0)));
        m.output(format!("begin_{name}"), m.delay(format!("begin_{name}_late"), begins & unit));
        m.output(format!("finish_{name}"), m.delay(format!("finish_{name}_late"), finishes & unit));
        let overflow = walker.get("overflow") | walks.get("out_of_range");
        m.output(format!("fault_overflow_{name}"), overflow & unit);
        m.output(format!("fault_reach_{name}"), walker.get("out_of_reach") & unit);
    }
    m.output("fault_reach_fetch", far);
    m.output("fault_uop", walks.get("undecodable"));
    m.output("push", tokens.get("push"));
    m.output("pop", tokens.get("pop"));
    let counts: Vec<Net<'_>> = tokens.get("counts").lanes(4).into_iter().map(|count| count.zext(16)).collect();
    m.output("counts", m.cat(&counts));
    m.output("any_token", tokens.get("left"));
    m.output("finished", m.delay("finished_all", finishes & finish));
    m.output("fetch_state", fetching.mux(code(4), (waiting | working).mux(code(7), code(0))));
    // It has no weights of 4 bits.
    let none = m.lit(0, 1);
    let kinds = [
        ("uop", is_uop),
        ("wgt", is_wgt),
        ("wgt4", none),
        ("inp", is_inp),
        ("acc", is_acc),
        ("acc8", is_acc8),
        ("out", store),
    ];
    for (name, kind) in kinds {
        m.output(format!("{name}_element"), walker.get("element") & kind);
    }
    m.output("count_gemm", taken & gemm & !reset);
    m.output("count_alu", taken & !quick);
    m.output("count_lane", taken & lane);
    m.output("count_write", taken);
    m
}

/// The write port of the scratchpads that loads write.
struct Pad<'m> {
    m: &'m Module,
    put: Net<'m>,
    index: Net<'m>,
    number: Net<'m>,
    word: Net<'m>,
}

impl<'m> Pad<'m> {
    /// A scratchpad that the words go to where `mine` is set.
    fn place(&self, name: &str, mine: Net<'m>, log_depth: u32, log_words: u32) -> Memory<'m> {
        let memory = self.m.memory(name, log_depth, 32 << log_words, MemoryStyle::Block);
        let put = self.put & mine;
        let lane = |lane: u32| self.number.bits(0, log_words).is(lane.into());
        let enable = match log_words {
            0 => put,
            _ => self.m.cat(&(0..1 << log_words).map(|number| put & lane(number)).collect::<Vec<_>>()),
        };
        memory.write(enable, self.index.bits(0, log_depth), self.word.repeat(1 << log_words));
        memory
    }
}

/// An instruction is fetched in the words of the memory port.
const _: () = assert!(INSN_BITS == 4 * 32);
