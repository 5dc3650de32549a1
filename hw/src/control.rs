//! The register file: an AXI4-Lite slave with the registers of the instruction set, the counters, and the launch protocol.
//!
//! ```text
//!  AXI4-Lite --> [ registers ] --> launch --> fetch ... units --> finished --> quiet? tokens? --> DONE
//!                 CONTROL.RESET -> flush --> engines idle? --> core_reset       faults --------> ERROR
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `axil_*` | | the AXI4-Lite channels |
//! | `launch` | 1 | fetch begins |
//! | `halt` | 1 | an error stands: nothing new begins |
//! | `flush` | 1 | a reset waits until the engines are idle |
//! | `core_reset` | 1 | everything but the register file and the scratchpads is reset |
//! | `insn_addr`, `insn_count`, `*_base` | 32 | the writable registers |
//! | `finished` | 1 | FINISH has run |
//! | `fetch_complete`, `fetch_blocked` | 1 | the stream is dispatched; it waits for a queue |
//! | `idle_k`, `blocked_k`, `index_k` | 1, 1, 32 | unit k: nothing at hand; waits for a token; its instruction |
//! | `tokens_left` | 1 | a token queue holds a token |
//! | `reads_idle`, `writes_idle` | 1 | the engines have nothing under way |
//! | `fault_*`, `fetch_index` | | what went wrong, and where |
//! | `*_element`, `count_*` | 1 | events for the counters |
//! | `irq`, `failed` | 1 | DONE or ERROR; ERROR |
//! | `running` | 1 | between launch and DONE or ERROR |
//!
//! A read answers in two cycles, a write in two, and a reset when the bus transactions under way have ended. No output depends
//! on an input within a cycle. Counters stay at their maximum.

use tandem_isa::{BASE_ALIGN, ErrorCode, HwConfig, ISA_VERSION, MemoryType, Reg};
use tandem_rtl::{Module, Net};

use crate::size::Sizes;
use crate::target::Target;

/// Low bits of INSN_ADDR that read zero: a stream begins at a multiple of the widest bus word.
const INSN_ALIGN_BITS: u32 = 6;

/// Bits of the number of a register, as a power of two.
const LOG_REGISTERS: u32 = 5;

/// The block.
pub(crate) fn control(sizes: &Sizes) -> Module {
    let m = Module::new("control");
    describe(&m, sizes);
    m
}

/// The same block as `control_proof`, with what is to be proven of it, whatever the accelerator reports.
///
/// | property | |
/// |---|---|
/// | `write_answer_holds`, `read_answer_holds` | an answer stays, unchanged, until taken |
/// | `write_answer_asked`, `read_answer_asked` | nothing is answered that was not asked: a write has an address and data |
/// | `writes_counted`, `reads_counted` | a transaction has one answer and is kept until it has it |
/// | `write_answered`, `read_answered`, `reset_answered` | the answer comes in the next cycle, and to a reset when it is done |
/// | `launch_from_idle` | a launch lasts a cycle and comes while nothing runs, without an error and outside a reset |
/// | `done_or_error`, `running_alone` | of running, DONE and ERROR one at most |
/// | `registers_stay` | the writable registers stay while a program runs |
/// | `flush_asked` | a reset is under way only where it was asked for, until it is done |
/// | `reset_waits`, `reset_clears` | the accelerator is reset with both engines idle, which clears running, DONE and ERROR |
pub fn proof(config: &HwConfig) -> Module {
    let m = Module::new("control_proof");
    let c = describe(&m, &Sizes::new(config, &Target::default()));
    let count = |name: &str, more: Net<'_>, less: Net<'_>| {
        let open = m.reg(name, 2, 0);
        open.set(open + more.zext(2) - less.zext(2));
        open
    };
    let b_taken = (c.bvalid & c.bready).named("b_taken");
    let addresses = count("open_addresses", c.awvalid & !c.aw_held, b_taken);
    let values = count("open_values", c.wvalid & !c.w_held, b_taken);
    let r_taken = (c.rvalid & c.rready).named("r_taken");
    let reads = count("open_reads", c.arvalid & c.arready, r_taken);

    let stalled = m.delay("b_stalled", c.bvalid & !c.bready);
    m.assert_always("write_answer_holds", !stalled | (c.bvalid & c.bresp.eq(m.delay("bresp_before", c.bresp))));
    let stalled = m.delay("r_stalled", c.rvalid & !c.rready);
    m.assert_always("read_answer_holds", !stalled | (c.rvalid & c.rdata.eq(m.delay("rdata_before", c.rdata))));
    m.assert_always("write_answer_asked", !c.bvalid | (addresses.any() & values.any()));
    m.assert_always("read_answer_asked", !c.rvalid | reads.any());
    let right = addresses.eq(c.aw_held.zext(2) + c.bvalid.zext(2)) & values.eq(c.w_held.zext(2) + c.bvalid.zext(2));
    m.assert_always("writes_counted", right);
    m.assert_always("reads_counted", reads.eq(c.ar_held.zext(2) + c.rvalid.zext(2)) & !(c.ar_held & c.rvalid));
    let asked = m.delay("write_asked", c.aw_held & c.w_held & !c.bvalid & !c.resets);
    m.assert_always("write_answered", !asked | c.bvalid);
    let asked = m.delay("read_asked", c.ar_held);
    m.assert_always("read_answered", !asked | c.rvalid);
    let (asked, reset) = (m.delay("reset_asked", c.resets), m.delay("was_reset", c.core_reset));
    m.assert_always("reset_answered", !asked | c.bvalid.eq(reset));

    // The cycle after the block's own reset resets the accelerator too.
    let awake = m.reg("awake", 1, 0);
    awake.set_to(1);
    let ready = m.delay("ready_before", !(c.running | c.error | c.flush | c.core_reset));
    m.assert_always("launch_from_idle", !c.launch | (ready & c.running));
    m.assert_always("done_or_error", !(c.done & c.error));
    m.assert_always("running_alone", !(c.running & (c.done | c.error)));
    let ran = m.delay("ran", c.running);
    let registers = m.cat(&c.registers).named("registers");
    m.assert_always("registers_stay", !ran | registers.eq(m.delay("registers_before", registers)));
    m.assert_always("flush_asked", !(c.flush | (c.core_reset & awake)) | (c.resets & !(c.flush & c.core_reset)));
    let quiet = m.delay("was_quiet", c.reads_idle & c.writes_idle);
    m.assert_always("reset_waits", !(c.core_reset & awake) | quiet);
    m.assert_always("reset_clears", !reset | !(c.running | c.done | c.error | c.launch));
    m
}

/// The values of the block that a proof speaks of.
struct Parts<'m> {
    awvalid: Net<'m>,
    wvalid: Net<'m>,
    bvalid: Net<'m>,
    bready: Net<'m>,
    bresp: Net<'m>,
    arvalid: Net<'m>,
    arready: Net<'m>,
    rvalid: Net<'m>,
    rready: Net<'m>,
    rdata: Net<'m>,
    aw_held: Net<'m>,
    w_held: Net<'m>,
    ar_held: Net<'m>,
    resets: Net<'m>,
    launch: Net<'m>,
    running: Net<'m>,
    done: Net<'m>,
    error: Net<'m>,
    flush: Net<'m>,
    core_reset: Net<'m>,
    reads_idle: Net<'m>,
    writes_idle: Net<'m>,
    registers: Vec<Net<'m>>,
}

fn describe<'m>(m: &'m Module, sizes: &Sizes) -> Parts<'m> {
    let config = &sizes.config;
    let (yes, no) = (m.lit(1, 1), m.lit(0, 1));
    let bit = |name: &str| m.input(name, 1);
    let (awvalid, awaddr) = (bit("axil_awvalid"), m.input("axil_awaddr", 12));
    let (wvalid, wdata, wstrb) = (bit("axil_wvalid"), m.input("axil_wdata", 32), m.input("axil_wstrb", 4));
    let bready = bit("axil_bready");
    let (arvalid, araddr) = (bit("axil_arvalid"), m.input("axil_araddr", 12));
    let rready = bit("axil_rready");
    let finished = bit("finished");
    let fetch_complete = bit("fetch_complete");
    let fetch_blocked = bit("fetch_blocked");
    let units = ["load", "compute", "store"];
    let idle = units.map(|unit| m.input(format!("idle_{unit}"), 1));
    let blocked = units.map(|unit| m.input(format!("blocked_{unit}"), 1));
    let index = units.map(|unit| m.input(format!("index_{unit}"), 32));
    let tokens_left = bit("tokens_left");
    let (reads_idle, writes_idle) = (bit("reads_idle"), bit("writes_idle"));
    let fetch_index = m.input("fetch_index", 32);
    let (illegal, misplaced) = (bit("fault_illegal"), bit("fault_misplaced"));
    let reach_fetch = bit("fault_reach_fetch");
    let overflow = units.map(|unit| m.input(format!("fault_overflow_{unit}"), 1));
    let reach = units.map(|unit| m.input(format!("fault_reach_{unit}"), 1));
    let uop = bit("fault_uop");
    // The instruction is still at hand in the cycle behind its last word.
    let read_fault = m.delay("read_failed", bit("fault_read"));
    let read_client = m.delay("read_failed_for", m.input("fault_read_client", 2));
    let write_fault = m.delay("write_failed", bit("fault_write"));

    // The states of a launch.
    let running = m.reg("is_running", 1, 0);
    let done = m.reg("is_done", 1, 0);
    let error = m.reg("is_error", 1, 0);
    let error_code = m.reg("error_code", 4, 0);
    let error_insn = m.reg("error_insn", 32, 0);
    let seen_finish = m.reg("seen_finish", 1, 0);
    let launch = m.reg("launches", 1, 0);
    let flush = m.reg("flushes", 1, 0);
    let core_reset = m.reg("resets_core", 1, 1);

    // Writes: address and data may come in any order.
    let aw_held = m.reg("aw_held", 1, 0);
    let w_held = m.reg("w_held", 1, 0);
    let waddr = m.data_reg("waddr", 12);
    let wvalue = m.data_reg("wvalue", 32);
    let wfull = m.data_reg("wfull", 1);
    let bvalid = m.reg("bvalid", 1, 0);
    let bresp = m.data_reg("bresp", 1);
    m.when(awvalid & !aw_held, || {
        aw_held.set_to(1);
        waddr.set(awaddr);
    });
    m.when(wvalid & !w_held, || {
        w_held.set_to(1);
        wvalue.set(wdata);
        wfull.set(wstrb.all());
    });
    let no_reply = (!bvalid).named("no_reply");
    let both = (aw_held & w_held & no_reply).named("both");
    let write_to = |reg: Reg| waddr.is(reg.offset().into());
    let fully = (both & wfull).named("fully");
    let resets = (fully & write_to(Reg::Control) & wvalue.bit(3)).named("asks_reset");
    let flushed = (flush & reads_idle & writes_idle).named("flushed");
    m.when(bvalid & bready, || bvalid.set_to(0));
    // The answer to a reset comes when it is done.
    let replies = (both & !resets).named("replies");
    m.when(replies | (resets & core_reset), || {
        aw_held.set_to(0);
        w_held.set_to(0);
        bvalid.set_to(1);
        bresp.set(!wfull);
    });
    core_reset.set(flushed & !core_reset);
    let (no_flush, no_reset) = ((!flush).named("no_flush"), (!core_reset).named("no_reset"));
    m.when(resets & no_flush & no_reset, || flush.set_to(1));
    m.when(flushed, || flush.set_to(0));

    let write = (fully & !running & no_flush).named("writes");
    let register = |reg: Reg, low: u32| {
        let width = 32 - low - config.written_bits(reg).leading_zeros();
        let held = m.reg(reg.name().to_ascii_lowercase(), width, 0);
        m.when(write & write_to(reg), || held.set(wvalue.bits(low, width)));
        if low == 0 {
            held.zext(32)
        } else {
            m.cat(&[m.lit(0, low), held]).zext(32).named(&format!("{}_full", reg.name().to_ascii_lowercase()))
        }
    };
    let insn_count = register(Reg::InsnCount, 0);
    let insn_addr = register(Reg::InsnAddr, INSN_ALIGN_BITS);
    let base_bits = BASE_ALIGN.trailing_zeros();
    let bases = [Reg::UopBase, Reg::InpBase, Reg::WgtBase, Reg::AccBase, Reg::OutBase];
    let bases = bases.map(|reg| (reg, register(reg, base_bits)));
    let starts = (write & write_to(Reg::Control) & wvalue.bit(0) & !wvalue.bit(3) & !error).named("starts");
    launch.set(starts);
    m.when(starts, || {
        running.set_to(1);
        done.set_to(0);
        seen_finish.set_to(0);
    });

    // Faults, the first one that shows: its code, and where the number of its instruction comes from.
    let code = |code: ErrorCode| m.lit(code.code().into(), 4);
    let fail = m.var("fail", no);
    let fail_code = m.var("fail_code", m.lit(0, 4));
    let fail_source = m.var("fail_source", m.lit(0, 3));
    let (of_fetch, last, earliest) = (3, 4, 5);
    let fault = |condition: Net<'_>, kind: ErrorCode, source: u128| {
        m.when(condition, || {
            fail.set(yes);
            fail_code.set(code(kind));
            fail_source.set_to(source);
        });
    };
    let at_hand = [0, 1, 2].map(|unit| m.delay(format!("index_{}_before", units[unit]), index[unit]));
    let quiet = (m.all_of(&idle) & writes_idle & reads_idle).named("quiet");
    let at_rest = (fetch_complete & quiet).named("at_rest");
    // The units look idle for a moment between dispatch and queue, so rest must last.
    let rest = m.reg("rest", 3, 0);
    m.when_else(at_rest & running & !launch, || m.when(!rest.all(), || rest.set(rest.inc())), || rest.set_to(0));
    let rested = (rest.all() & at_rest).named("rested");
    let stopped: Vec<Net<'_>> = (0..3).map(|unit| idle[unit] | blocked[unit]).collect();
    let starved = m.all_of(&stopped) & m.any_of(&blocked) & (fetch_complete | fetch_blocked);
    let dead = m.reg("dead", 3, 0);
    let starved = (starved & reads_idle & writes_idle & running & !launch).named("starved");
    m.when_else(starved, || m.when(!dead.all(), || dead.set(dead.inc())), || dead.set_to(0));
    let first_blocked = if config.insn_queue_depth().is_none() {
        // There is one instruction at hand, whichever unit it is of.
        index[0]
    } else {
        let key = |unit: usize| blocked[unit].mux(at_hand[unit], m.lit(0xffff_ffff, 32));
        let (a, b, c) = (key(0).named("key_load"), key(1).named("key_compute"), key(2).named("key_store"));
        // A deadlock stands for several cycles before it counts as one, so there is time to compare one by one.
        let key = m.data_reg("key_first", 32);
        let first = m.data_reg("first_blocked", 32);
        m.when(dead.any(), || {
            key.set(a.lt(b).mux(a, b));
            first.set(key.lt(c).mux(key, c));
        });
        first
    };
    fault(rested & !seen_finish, ErrorCode::NoFinish, last);
    fault(rested & seen_finish & tokens_left, ErrorCode::SurplusToken, last);
    fault(dead.all() & starved, ErrorCode::Deadlock, earliest);
    fault(write_fault, ErrorCode::BusFault, 2);
    for (client, source) in [of_fetch, 0, 1].into_iter().enumerate() {
        fault(read_fault & read_client.is(client as u128), ErrorCode::BusFault, source);
    }
    for unit in 0..3 {
        fault(reach[unit], ErrorCode::DramRange, unit as u128);
        fault(overflow[unit], ErrorCode::SramRange, unit as u128);
    }
    fault(uop, ErrorCode::IllegalInsn, 1);
    fault(reach_fetch, ErrorCode::DramRange, of_fetch);
    fault(misplaced, ErrorCode::NoFinish, of_fetch);
    fault(illegal, ErrorCode::IllegalInsn, of_fetch);
    // What failed is known a cycle later, and the instructions that were at hand then too.
    let failed = m.delay("fails_now", fail & running);
    let (failed_code, failed_source) = (m.data_reg("failing_code", 4), m.data_reg("failing_source", 3));
    m.when(fail, || {
        failed_code.set(fail_code);
        failed_source.set(fail_source);
    });
    let [of_load, of_compute, of_store] = at_hand;
    let of_fetch = m.delay("fetch_index_before", fetch_index);
    let sources = [of_load, of_compute, of_store, of_fetch, insn_count.dec(), first_blocked];
    m.when(finished, || seen_finish.set_to(1));
    m.when(running & failed, || {
        running.set_to(0);
        error.set_to(1);
        error_code.set(failed_code);
        error_insn.set(m.choose(failed_source, &sources));
    });
    m.when(running & rested & seen_finish & !tokens_left & !failed, || {
        running.set_to(0);
        done.set_to(1);
    });
    m.when(core_reset, || {
        running.set_to(0);
        done.set_to(0);
        error.set_to(0);
        error_code.set_to(0);
        error_insn.set_to(0);
        seen_finish.set_to(0);
    });

    // Counters.
    // What happens is counted a cycle later.
    let event = |name: String| {
        let port = m.input(name.as_str(), 1);
        if config.has_counters() { m.delay(format!("{name}_before"), port) } else { port }
    };
    let counter = |reg: Reg, step: Net<'_>| {
        if reg != Reg::Cycles && !config.has_counters() {
            return (reg, m.lit(0, 32));
        }
        let count = m.reg(reg.name().to_ascii_lowercase(), 32, 0);
        let sum = (count.zext(33) + step.zext(33)).named(&format!("{}_sum", reg.name().to_ascii_lowercase()));
        m.when(step.any(), || count.set(sum.bit(32).mux(m.lit(0xffff_ffff, 32), sum.bits(0, 32))));
        m.when(starts, || count.set_to(0));
        (reg, count)
    };
    let elements = |name: &str, memory_type: MemoryType| {
        let log = sizes.element(memory_type).log_bytes;
        m.cat(&[m.lit(0, log), event(format!("{name}_element"))])
    };
    let acc8 = elements("acc8", MemoryType::Acc8);
    let acc_wide = elements("acc", MemoryType::Acc);
    let (wgt, wgt4) = (elements("wgt", MemoryType::Wgt), elements("wgt4", MemoryType::Wgt4));
    let counters = [
        counter(Reg::Cycles, running),
        counter(Reg::AccWrites, event("count_write".to_owned())),
        counter(Reg::InpBytes, elements("inp", MemoryType::Inp)),
        counter(Reg::WgtBytes, wgt | wgt4.zext(wgt.width())),
        counter(Reg::AccBytes, acc_wide | acc8.zext(acc_wide.width())),
        counter(Reg::UopBytes, elements("uop", MemoryType::Uop)),
        counter(Reg::OutBytes, elements("out", MemoryType::Out)),
        counter(Reg::GemmUops, event("count_gemm".to_owned())),
        counter(Reg::AluUops, event("count_alu".to_owned())),
        counter(Reg::LaneUops, event("count_lane".to_owned())),
    ];

    // Reads.
    let ar_held = m.reg("ar_held", 1, 0);
    let raddr = m.data_reg("raddr", 12);
    let rvalid = m.reg("rvalid", 1, 0);
    let rdata = m.data_reg("rdata", 32);
    let no_address = (!ar_held).named("no_address");
    let no_answer = (!rvalid).named("no_answer");
    m.when(arvalid & no_address & no_answer, || {
        ar_held.set_to(1);
        raddr.set(araddr);
    });
    let status = m.cat(&[running | launch, done, error, m.lit(0, 29)]);
    let mut values = vec![
        (Reg::Control, status),
        (Reg::InsnCount, insn_count),
        (Reg::InsnAddr, insn_addr),
        (Reg::ConfigDigest, m.lit(sizes.config.digest().into(), 32)),
        (Reg::IsaVersion, m.lit(ISA_VERSION.into(), 32)),
        (Reg::ErrorCode, error_code.zext(32)),
        (Reg::ErrorInsn, error_insn),
    ];
    values.extend(bases);
    values.extend(counters);
    // By the number of the word; whatever is not a register reads 0.
    let word = |number: u32| {
        let found = values.iter().find(|(reg, _)| reg.offset() == 4 * number);
        found.map_or(m.lit(0, 32), |(_, value)| *value)
    };
    let words: Vec<Net<'_>> = (0..1 << LOG_REGISTERS).map(word).collect();
    let elsewhere = raddr.bits(2 + LOG_REGISTERS, 10 - LOG_REGISTERS).any() | raddr.bits(0, 2).any();
    let value = m.cat(&words).named("words").pick(raddr.bits(2, LOG_REGISTERS), 32) & (!elsewhere).repeat(32);
    m.when(ar_held, || {
        ar_held.set_to(0);
        rvalid.set_to(1);
        rdata.set(value);
    });
    m.when(rvalid & rready, || rvalid.set_to(0));

    m.output("axil_awready", !aw_held);
    m.output("axil_wready", !w_held);
    m.output("axil_bvalid", bvalid);
    m.output("axil_bresp", m.cat(&[no, bresp]));
    let arready = !ar_held & !rvalid;
    m.output("axil_arready", arready);
    m.output("axil_rvalid", rvalid);
    m.output("axil_rdata", rdata);
    m.output("axil_rresp", m.lit(0, 2));
    m.output("launch", launch);
    m.output("halt", error | flush);
    m.output("flush", flush);
    m.output("core_reset", core_reset);
    m.output("start_address", insn_addr);
    m.output("start_count", insn_count);
    for ((_, base), name) in bases.iter().zip(["uop", "inp", "wgt", "acc", "out"]) {
        m.output(format!("base_{name}"), *base);
    }
    m.output("irq", done | error);
    m.output("failed", error);
    m.output("running", running);
    let mut registers = vec![insn_addr, insn_count];
    registers.extend(bases.map(|(_, base)| base));
    Parts {
        awvalid,
        wvalid,
        bvalid,
        bready,
        bresp,
        arvalid,
        arready,
        rvalid,
        rready,
        rdata,
        aw_held,
        w_held,
        ar_held,
        resets,
        launch,
        running,
        done,
        error,
        flush,
        core_reset,
        reads_idle,
        writes_idle,
        registers,
    }
}
