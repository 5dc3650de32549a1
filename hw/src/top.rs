//! The accelerator: every block, and the wires between them.
//!
//! ```text
//!  AXI4-Lite --> control ------------------------- launch, halt, reset ---------------------------+
//!                                                                                                |
//!  AXI4 R,AR <-> reads --> fetch --> queue_load ----> load ----> inp, wgt ---+                   |
//!                   |         +----> queue_compute -> compute -> uop, acc    +-> gemm ------+    |
//!                   |         +----> queue_store ---> store         |  +-----+-> tensor_alu +--> acc --> out
//!                   +--> load, compute                  |           v                                   |
//!  AXI4 AW,W,B <---- writes <---------------------------+        tokens                                 |
//!                                                       ^-----------------------------------------------+
//! ```
//!
//! Ports: `s_axil_*`, an AXI4-Lite slave (`control.rs`); `m_axi_*`, an AXI4 master (`read_engine.rs`, `write_engine.rs`);
//! `irq`, DONE or ERROR; `probe_*`, for simulation: what each unit does, and which tokens move. No output depends on an
//! input within a cycle.

use std::collections::BTreeMap;

use rust_hdl::prelude::*;
use tandem_isa::RequantMode;
use tandem_rtl::Module;

use crate::block::Bus;
use crate::leaf::{
    AccPad, Compute, Control, Fetch, Gemm, InpPad, InsnQueue, Load, Operand, OutPad, Probes, Reads, Store, TensorAlu,
    Tokens, UopPad, WgtPad, Writes,
};
use crate::size::{INSN_BITS, Sizes};
use crate::{
    accumulator, alu, compute, control, fetch, gemm, load, operand, queue, read_engine, scratchpad, store, tokens,
    write_engine,
};

/// The top of the design.
#[derive(LogicBlock)]
pub(crate) struct Top {
    pub clock: Bus<In>,
    pub reset: Bus<In>,
    pub s_axil_awvalid: Bus<In>,
    pub s_axil_awaddr: Bus<In>,
    pub s_axil_wvalid: Bus<In>,
    pub s_axil_wdata: Bus<In>,
    pub s_axil_wstrb: Bus<In>,
    pub s_axil_bready: Bus<In>,
    pub s_axil_arvalid: Bus<In>,
    pub s_axil_araddr: Bus<In>,
    pub s_axil_rready: Bus<In>,
    pub m_axi_arready: Bus<In>,
    pub m_axi_rvalid: Bus<In>,
    pub m_axi_rdata: Bus<In>,
    pub m_axi_rresp: Bus<In>,
    pub m_axi_rlast: Bus<In>,
    pub m_axi_awready: Bus<In>,
    pub m_axi_wready: Bus<In>,
    pub m_axi_bvalid: Bus<In>,
    pub m_axi_bresp: Bus<In>,
    pub s_axil_awready: Bus<Out>,
    pub s_axil_wready: Bus<Out>,
    pub s_axil_bvalid: Bus<Out>,
    pub s_axil_bresp: Bus<Out>,
    pub s_axil_arready: Bus<Out>,
    pub s_axil_rvalid: Bus<Out>,
    pub s_axil_rdata: Bus<Out>,
    pub s_axil_rresp: Bus<Out>,
    pub m_axi_arvalid: Bus<Out>,
    pub m_axi_araddr: Bus<Out>,
    pub m_axi_arlen: Bus<Out>,
    pub m_axi_arsize: Bus<Out>,
    pub m_axi_arburst: Bus<Out>,
    pub m_axi_rready: Bus<Out>,
    pub m_axi_awvalid: Bus<Out>,
    pub m_axi_awaddr: Bus<Out>,
    pub m_axi_awlen: Bus<Out>,
    pub m_axi_awsize: Bus<Out>,
    pub m_axi_awburst: Bus<Out>,
    pub m_axi_wvalid: Bus<Out>,
    pub m_axi_wdata: Bus<Out>,
    pub m_axi_wstrb: Bus<Out>,
    pub m_axi_wlast: Bus<Out>,
    pub m_axi_bready: Bus<Out>,
    pub irq: Bus<Out>,
    pub probe_load_begin: Bus<Out>,
    pub probe_load_finish: Bus<Out>,
    pub probe_load_insn: Bus<Out>,
    pub probe_load_state: Bus<Out>,
    pub probe_compute_begin: Bus<Out>,
    pub probe_compute_finish: Bus<Out>,
    pub probe_compute_insn: Bus<Out>,
    pub probe_compute_state: Bus<Out>,
    pub probe_store_begin: Bus<Out>,
    pub probe_store_finish: Bus<Out>,
    pub probe_store_insn: Bus<Out>,
    pub probe_store_state: Bus<Out>,
    pub probe_push: Bus<Out>,
    pub probe_pop: Bus<Out>,
    pub probe_tokens: Bus<Out>,
    pub probe_queued: Bus<Out>,
    pub probe_running: Bus<Out>,
    pub probe_failed: Bus<Out>,
    pub probe_fetch_state: Bus<Out>,
    control: Control,
    fetch: Fetch,
    queue_load: InsnQueue,
    queue_compute: InsnQueue,
    queue_store: InsnQueue,
    tokens: Tokens,
    load: Load,
    compute: Compute,
    store: Store,
    gemm: Gemm,
    tensor_alu: TensorAlu,
    operand: Operand,
    uop: UopPad,
    inp: InpPad,
    wgt: WgtPad,
    acc: AccPad,
    out: OutPad,
    reads: Reads,
    writes: Writes,
    probes: Probes,
    _children: BTreeMap<String, String>,
}

impl Top {
    pub fn new(sizes: &Sizes) -> Top {
        let bus = sizes.bus;
        let float = sizes.config.has_requant(RequantMode::Float);
        let (log_depth, _) = sizes.insn_queue();
        let insns = insn_queue(sizes);
        let mut children = BTreeMap::new();
        let mut keep = |module: Module| {
            for (name, text) in module.children() {
                let old = children.insert(name.clone(), text.clone());
                assert!(old.is_none_or(|old| old == text), "two different modules are called {name}");
            }
            module
        };
        let mut top = Top {
            clock: Bus::new(1),
            reset: Bus::new(1),
            s_axil_awvalid: Bus::new(1),
            s_axil_awaddr: Bus::new(12),
            s_axil_wvalid: Bus::new(1),
            s_axil_wdata: Bus::new(32),
            s_axil_wstrb: Bus::new(4),
            s_axil_bready: Bus::new(1),
            s_axil_arvalid: Bus::new(1),
            s_axil_araddr: Bus::new(12),
            s_axil_rready: Bus::new(1),
            m_axi_arready: Bus::new(1),
            m_axi_rvalid: Bus::new(1),
            m_axi_rdata: Bus::new(bus),
            m_axi_rresp: Bus::new(2),
            m_axi_rlast: Bus::new(1),
            m_axi_awready: Bus::new(1),
            m_axi_wready: Bus::new(1),
            m_axi_bvalid: Bus::new(1),
            m_axi_bresp: Bus::new(2),
            s_axil_awready: Bus::new(1),
            s_axil_wready: Bus::new(1),
            s_axil_bvalid: Bus::new(1),
            s_axil_bresp: Bus::new(2),
            s_axil_arready: Bus::new(1),
            s_axil_rvalid: Bus::new(1),
            s_axil_rdata: Bus::new(32),
            s_axil_rresp: Bus::new(2),
            m_axi_arvalid: Bus::new(1),
            m_axi_araddr: Bus::new(32),
            m_axi_arlen: Bus::new(8),
            m_axi_arsize: Bus::new(3),
            m_axi_arburst: Bus::new(2),
            m_axi_rready: Bus::new(1),
            m_axi_awvalid: Bus::new(1),
            m_axi_awaddr: Bus::new(32),
            m_axi_awlen: Bus::new(8),
            m_axi_awsize: Bus::new(3),
            m_axi_awburst: Bus::new(2),
            m_axi_wvalid: Bus::new(1),
            m_axi_wdata: Bus::new(bus),
            m_axi_wstrb: Bus::new(bus / 8),
            m_axi_wlast: Bus::new(1),
            m_axi_bready: Bus::new(1),
            irq: Bus::new(1),
            probe_load_begin: Bus::new(1),
            probe_load_finish: Bus::new(1),
            probe_load_insn: Bus::new(32),
            probe_load_state: Bus::new(3),
            probe_compute_begin: Bus::new(1),
            probe_compute_finish: Bus::new(1),
            probe_compute_insn: Bus::new(32),
            probe_compute_state: Bus::new(3),
            probe_store_begin: Bus::new(1),
            probe_store_finish: Bus::new(1),
            probe_store_insn: Bus::new(32),
            probe_store_state: Bus::new(3),
            probe_push: Bus::new(4),
            probe_pop: Bus::new(4),
            probe_tokens: Bus::new(64),
            probe_queued: Bus::new(48),
            probe_running: Bus::new(1),
            probe_failed: Bus::new(1),
            probe_fetch_state: Bus::new(3),
            control: Control::new(&keep(control::control(sizes))),
            fetch: Fetch::new(&keep(fetch::fetch(sizes))),
            queue_load: InsnQueue::new(&insns),
            queue_compute: InsnQueue::new(&insns),
            queue_store: InsnQueue::new(&insns),
            tokens: Tokens::new(&keep(tokens::tokens())),
            load: Load::new(&keep(load::load(sizes))),
            compute: Compute::new(&keep(compute::compute(sizes))),
            store: Store::new(&keep(store::store(sizes))),
            gemm: Gemm::new(&keep(gemm::gemm(sizes))),
            tensor_alu: TensorAlu::new(&keep(alu::array(sizes.lanes / sizes.turns, float))),
            operand: Operand::new(&keep(operand::operand(sizes))),
            uop: UopPad::new(&keep(scratchpad::uop(sizes))),
            inp: InpPad::new(&keep(scratchpad::inp(sizes))),
            wgt: WgtPad::new(&keep(scratchpad::wgt(sizes))),
            acc: AccPad::new(&keep(accumulator::acc(sizes))),
            out: OutPad::new(&keep(accumulator::out(sizes))),
            reads: Reads::new(&keep(read_engine::read_engine(sizes))),
            writes: Writes::new(&keep(write_engine::write_engine(sizes))),
            probes: Probes::new(&keep(probes(log_depth + 1))),
            _children: BTreeMap::new(),
        };
        top._children = children;
        top
    }

    /// What the blocks instantiate, as Verilog.
    pub fn children(&self) -> String {
        self._children.values().map(|child| format!("{child}\n")).collect()
    }
}

impl Logic for Top {
    #[hdl_gen]
    fn update(&mut self) {
        self.control.clock.next = self.clock.val();
        self.control.reset.next = self.reset.val();
        self.fetch.clock.next = self.clock.val();
        self.fetch.reset.next = self.control.core_reset.val();
        self.queue_load.clock.next = self.clock.val();
        self.queue_load.reset.next = self.control.core_reset.val();
        self.queue_compute.clock.next = self.clock.val();
        self.queue_compute.reset.next = self.control.core_reset.val();
        self.queue_store.clock.next = self.clock.val();
        self.queue_store.reset.next = self.control.core_reset.val();
        self.tokens.clock.next = self.clock.val();
        self.tokens.reset.next = self.control.core_reset.val();
        self.load.clock.next = self.clock.val();
        self.load.reset.next = self.control.core_reset.val();
        self.compute.clock.next = self.clock.val();
        self.compute.reset.next = self.control.core_reset.val();
        self.store.clock.next = self.clock.val();
        self.store.reset.next = self.control.core_reset.val();
        self.gemm.clock.next = self.clock.val();
        self.gemm.reset.next = self.control.core_reset.val();
        self.tensor_alu.clock.next = self.clock.val();
        self.tensor_alu.reset.next = self.control.core_reset.val();
        self.operand.clock.next = self.clock.val();
        self.operand.reset.next = self.control.core_reset.val();
        self.uop.clock.next = self.clock.val();
        self.uop.reset.next = self.control.core_reset.val();
        self.inp.clock.next = self.clock.val();
        self.inp.reset.next = self.control.core_reset.val();
        self.wgt.clock.next = self.clock.val();
        self.wgt.reset.next = self.control.core_reset.val();
        self.acc.clock.next = self.clock.val();
        self.acc.reset.next = self.control.core_reset.val();
        self.out.clock.next = self.clock.val();
        self.out.reset.next = self.control.core_reset.val();
        self.reads.clock.next = self.clock.val();
        self.reads.reset.next = self.control.core_reset.val();
        self.writes.clock.next = self.clock.val();
        self.writes.reset.next = self.control.core_reset.val();
        self.probes.clock.next = self.clock.val();
        self.probes.reset.next = self.control.core_reset.val();
        self.control.axil_awvalid.next = self.s_axil_awvalid.val();
        self.control.axil_awaddr.next = self.s_axil_awaddr.val();
        self.control.axil_wvalid.next = self.s_axil_wvalid.val();
        self.control.axil_wdata.next = self.s_axil_wdata.val();
        self.control.axil_wstrb.next = self.s_axil_wstrb.val();
        self.control.axil_bready.next = self.s_axil_bready.val();
        self.control.axil_arvalid.next = self.s_axil_arvalid.val();
        self.control.axil_araddr.next = self.s_axil_araddr.val();
        self.control.axil_rready.next = self.s_axil_rready.val();
        self.s_axil_awready.next = self.control.axil_awready.val();
        self.s_axil_wready.next = self.control.axil_wready.val();
        self.s_axil_bvalid.next = self.control.axil_bvalid.val();
        self.s_axil_bresp.next = self.control.axil_bresp.val();
        self.s_axil_arready.next = self.control.axil_arready.val();
        self.s_axil_rvalid.next = self.control.axil_rvalid.val();
        self.s_axil_rdata.next = self.control.axil_rdata.val();
        self.s_axil_rresp.next = self.control.axil_rresp.val();
        self.m_axi_arvalid.next = self.reads.axi_arvalid.val();
        self.m_axi_araddr.next = self.reads.axi_araddr.val();
        self.m_axi_arlen.next = self.reads.axi_arlen.val();
        self.m_axi_arsize.next = self.reads.axi_arsize.val();
        self.m_axi_arburst.next = self.reads.axi_arburst.val();
        self.m_axi_rready.next = self.reads.axi_rready.val();
        self.m_axi_awvalid.next = self.writes.axi_awvalid.val();
        self.m_axi_awaddr.next = self.writes.axi_awaddr.val();
        self.m_axi_awlen.next = self.writes.axi_awlen.val();
        self.m_axi_awsize.next = self.writes.axi_awsize.val();
        self.m_axi_awburst.next = self.writes.axi_awburst.val();
        self.m_axi_wvalid.next = self.writes.axi_wvalid.val();
        self.m_axi_wdata.next = self.writes.axi_wdata.val();
        self.m_axi_wstrb.next = self.writes.axi_wstrb.val();
        self.m_axi_wlast.next = self.writes.axi_wlast.val();
        self.m_axi_bready.next = self.writes.axi_bready.val();
        self.reads.axi_arready.next = self.m_axi_arready.val();
        self.reads.axi_rvalid.next = self.m_axi_rvalid.val();
        self.reads.axi_rresp.next = self.m_axi_rresp.val();
        self.reads.axi_rlast.next = self.m_axi_rlast.val();
        self.writes.axi_awready.next = self.m_axi_awready.val();
        self.writes.axi_wready.next = self.m_axi_wready.val();
        self.writes.axi_bvalid.next = self.m_axi_bvalid.val();
        self.writes.axi_bresp.next = self.m_axi_bresp.val();
        self.irq.next = self.control.irq.val();
        // Launch, reset and faults.
        self.control.finished.next = self.compute.finished.val();
        self.control.fetch_complete.next = self.fetch.complete.val();
        self.control.fetch_blocked.next = self.fetch.blocked.val();
        self.control.idle_load.next = self.load.idle.val();
        self.control.blocked_load.next = self.load.blocked.val();
        self.control.index_load.next = self.load.index.val();
        self.control.fault_overflow_load.next = self.load.overflow.val();
        self.control.fault_reach_load.next = self.load.out_of_reach.val();
        self.control.idle_compute.next = self.compute.idle.val();
        self.control.blocked_compute.next = self.compute.blocked.val();
        self.control.index_compute.next = self.compute.index.val();
        self.control.fault_overflow_compute.next = self.compute.overflow.val();
        self.control.fault_reach_compute.next = self.compute.out_of_reach.val();
        self.control.idle_store.next = self.store.idle.val();
        self.control.blocked_store.next = self.store.blocked.val();
        self.control.index_store.next = self.store.index.val();
        self.control.fault_overflow_store.next = self.store.overflow.val();
        self.control.fault_reach_store.next = self.store.out_of_reach.val();
        self.control.tokens_left.next = self.tokens.left.val();
        self.control.reads_idle.next = self.reads.idle.val();
        self.control.writes_idle.next = self.writes.idle.val();
        self.control.fetch_index.next = self.fetch.at.val();
        self.control.fault_illegal.next = self.fetch.illegal.val();
        self.control.fault_misplaced.next = self.fetch.misplaced.val();
        self.control.fault_reach_fetch.next = self.fetch.out_of_reach.val();
        self.control.fault_uop.next = self.compute.undecodable.val();
        self.control.fault_read.next = self.reads.fault.val();
        self.control.fault_read_client.next = self.reads.fault_client.val();
        self.control.fault_write.next = self.writes.fault.val();
        self.control.acc8_element.next = self.compute.acc8_element.val();
        self.control.acc_element.next = self.compute.acc_element.val();
        self.control.uop_element.next = self.compute.uop_element.val();
        self.control.inp_element.next = self.load.inp_element.val();
        self.control.wgt_element.next = self.load.wgt_element.val();
        self.control.wgt4_element.next = self.load.wgt4_element.val();
        self.control.out_element.next = self.store.out_element.val();
        self.control.count_write.next = self.compute.count_write.val();
        self.control.count_gemm.next = self.compute.count_gemm.val();
        self.control.count_alu.next = self.compute.count_alu.val();
        self.control.count_lane.next = self.compute.count_lane.val();
        // Fetch and the instruction queues.
        self.fetch.start.next = self.control.launch.val();
        self.fetch.address.next = self.control.start_address.val();
        self.fetch.count.next = self.control.start_count.val();
        self.fetch.halt.next = self.control.halt.val();
        self.fetch.ready_load.next = self.queue_load.in_ready.val();
        self.queue_load.in_valid.next = self.fetch.to_load.val();
        self.queue_load.in_data.next = self.fetch.entry.val();
        self.queue_load.flush.next = self.control.core_reset.val();
        self.queue_load.out_ready.next = self.load.head_ready.val();
        self.load.head_valid.next = self.queue_load.out_valid.val();
        self.load.head.next = self.queue_load.out_data.val();
        self.load.halt.next = self.control.halt.val();
        self.probes.level_load.next = self.queue_load.level.val();
        self.fetch.ready_compute.next = self.queue_compute.in_ready.val();
        self.queue_compute.in_valid.next = self.fetch.to_compute.val();
        self.queue_compute.in_data.next = self.fetch.entry.val();
        self.queue_compute.flush.next = self.control.core_reset.val();
        self.queue_compute.out_ready.next = self.compute.head_ready.val();
        self.compute.head_valid.next = self.queue_compute.out_valid.val();
        self.compute.head.next = self.queue_compute.out_data.val();
        self.compute.halt.next = self.control.halt.val();
        self.probes.level_compute.next = self.queue_compute.level.val();
        self.fetch.ready_store.next = self.queue_store.in_ready.val();
        self.queue_store.in_valid.next = self.fetch.to_store.val();
        self.queue_store.in_data.next = self.fetch.entry.val();
        self.queue_store.flush.next = self.control.core_reset.val();
        self.queue_store.out_ready.next = self.store.head_ready.val();
        self.store.head_valid.next = self.queue_store.out_valid.val();
        self.store.head.next = self.queue_store.out_data.val();
        self.store.halt.next = self.control.halt.val();
        self.probes.level_store.next = self.queue_store.level.val();
        // Tokens: 0 load to compute, 1 compute to load, 2 compute to store, 3 store to compute.
        self.tokens.push_0.next = self.load.push_next.val();
        self.tokens.pop_0.next = self.compute.pop_prev.val();
        self.compute.available_prev.next = self.tokens.available_0.val();
        self.load.full_next.next = self.tokens.full_0.val();
        self.tokens.push_1.next = self.compute.push_prev.val();
        self.tokens.pop_1.next = self.load.pop_next.val();
        self.load.available_next.next = self.tokens.available_1.val();
        self.compute.full_prev.next = self.tokens.full_1.val();
        self.tokens.push_2.next = self.compute.push_next.val();
        self.tokens.pop_2.next = self.store.pop_prev.val();
        self.store.available_prev.next = self.tokens.available_2.val();
        self.compute.full_next.next = self.tokens.full_2.val();
        self.tokens.push_3.next = self.store.push_prev.val();
        self.tokens.pop_3.next = self.compute.pop_next.val();
        self.compute.available_next.next = self.tokens.available_3.val();
        self.store.full_prev.next = self.tokens.full_3.val();
        // Base addresses.
        self.load.inp_base.next = self.control.base_inp.val();
        self.load.wgt_base.next = self.control.base_wgt.val();
        self.compute.uop_base.next = self.control.base_uop.val();
        self.compute.acc_base.next = self.control.base_acc.val();
        self.store.out_base.next = self.control.base_out.val();
        // Reads: client 0 is fetch, 1 load, 2 compute.
        self.reads.request_valid_0.next = self.fetch.request_valid.val();
        self.reads.request_address_0.next = self.fetch.request_address.val();
        self.reads.request_beats_0.next = self.fetch.request_beats.val();
        self.fetch.request_ready.next = self.reads.request_ready_0.val();
        self.fetch.data_valid.next = self.reads.data_valid_0.val();
        self.reads.request_valid_1.next = self.load.request_valid.val();
        self.reads.request_address_1.next = self.load.request_address.val();
        self.reads.request_beats_1.next = self.load.request_beats.val();
        self.load.request_ready.next = self.reads.request_ready_1.val();
        self.load.data_valid.next = self.reads.data_valid_1.val();
        self.reads.data_ready_1.next = self.load.data_ready.val();
        self.reads.request_valid_2.next = self.compute.request_valid.val();
        self.reads.request_address_2.next = self.compute.request_address.val();
        self.reads.request_beats_2.next = self.compute.request_beats.val();
        self.compute.request_ready.next = self.reads.request_ready_2.val();
        self.compute.data_valid.next = self.reads.data_valid_2.val();
        self.reads.data_ready_2.next = self.compute.data_ready.val();
        self.reads.data_ready_0.next = self.fetch.data_ready.val();
        self.fetch.data.next = self.m_axi_rdata.val();
        self.reads.flush.next = self.control.flush.val();
        // Loads into the scratchpads.
        self.inp.write.next = self.load.write_inp.val();
        self.inp.write_pad.next = self.load.write_pad.val();
        self.inp.write_index.next = self.load.write_index.val();
        self.inp.write_chunk.next = self.load.write_chunk.val();
        self.inp.write_sub.next = self.load.write_sub.val();
        self.inp.pad_value.next = self.load.pad_value.val();
        self.inp.bus_word.next = self.m_axi_rdata.val();
        self.wgt.write.next = self.load.write_wgt.val();
        self.wgt.write_pad.next = self.load.write_pad.val();
        self.wgt.write_index.next = self.load.write_index.val();
        self.wgt.write_chunk.next = self.load.write_chunk.val();
        self.wgt.write_sub.next = self.load.write_sub.val();
        self.wgt.four_bits.next = self.load.write_four_bits.val();
        self.wgt.pad_value.next = self.load.pad_value.val();
        self.wgt.bus_word.next = self.m_axi_rdata.val();
        self.uop.write.next = self.compute.write_uop.val();
        self.uop.write_pad.next = self.compute.write_pad.val();
        self.uop.write_index.next = self.compute.write_index.val();
        self.uop.write_chunk.next = self.compute.write_chunk.val();
        self.uop.write_sub.next = self.compute.write_sub.val();
        self.uop.pad_value.next = self.compute.pad_value.val();
        self.uop.bus_word.next = self.m_axi_rdata.val();
        self.acc.write.next = self.compute.write_acc.val();
        self.acc.write_pad.next = self.compute.write_pad.val();
        self.acc.write_index.next = self.compute.write_index.val();
        self.acc.write_chunk.next = self.compute.write_chunk.val();
        self.acc.write_sub.next = self.compute.write_sub.val();
        self.acc.pad_value.next = self.compute.pad_value.val();
        self.acc.bus_word.next = self.m_axi_rdata.val();
        self.acc.narrow.next = self.compute.narrow.val();
        // Arithmetic: operands.
        self.uop.read.next = self.compute.uop_read.val();
        self.uop.read_index.next = self.compute.uop_index.val();
        self.compute.uop_word.next = self.uop.word.val();
        self.inp.read.next = self.compute.read_inp.val();
        self.inp.read_index.next = self.compute.inp_index.val();
        self.inp.by_vector.next = self.compute.by_vector.val();
        self.inp.more_taps.next = self.compute.more_taps.val();
        self.wgt.read.next = self.compute.read_wgt.val();
        self.wgt.read_index.next = self.compute.wgt_index.val();
        self.acc.gemm_read.next = self.gemm.acc_read.val();
        self.acc.gemm_read_index.next = self.gemm.acc_index.val();
        self.acc.alu_read.next = self.compute.fire_slow.val();
        self.acc.alu_read_index.next = self.compute.dst.val();
        self.acc.src_read.next = self.compute.src_read.val();
        self.acc.src_index.next = self.compute.src_index.val();
        // The GEMM array.
        self.gemm.fire.next = self.compute.fire_quick.val();
        self.gemm.dst.next = self.compute.dst.val();
        self.gemm.clear.next = self.compute.clear.val();
        self.gemm.lane.next = self.compute.lane.val();
        self.gemm.max.next = self.compute.max.val();
        self.gemm.overwrite.next = self.compute.overwrite.val();
        self.gemm.more_taps.next = self.compute.more_taps.val();
        self.gemm.fused.next = self.compute.fused.val();
        self.gemm.first.next = self.compute.first.val();
        self.gemm.last.next = self.compute.last.val();
        self.compute.sum.next = self.gemm.sum.val();
        self.compute.sum_index.next = self.gemm.sum_index.val();
        self.gemm.part.next = self.compute.part.val();
        self.gemm.inp.next = self.inp.element.val();
        self.gemm.vector.next = self.inp.vector.val();
        self.gemm.wgt.next = self.wgt.element.val();
        self.gemm.acc.next = self.acc.left.val();
        self.acc.gemm_write.next = self.gemm.write.val();
        self.acc.gemm_index.next = self.gemm.write_index.val();
        self.acc.gemm_result.next = self.gemm.result.val();
        self.acc.gemm_out.next = self.gemm.write_out.val();
        // The tensor ALU.
        self.operand.fire.next = self.compute.fire_slow.val();
        self.operand.use_imm.next = self.compute.use_imm.val();
        self.operand.imm.next = self.compute.imm.val();
        self.operand.left.next = self.acc.left.val();
        self.operand.right.next = self.acc.right.val();
        self.operand.from_inp.next = self.compute.alu_from_inp.val();
        self.operand.vector.next = self.inp.vector.val();
        self.operand.sum.next = self.gemm.sum.val();
        self.operand.sum_value.next = self.gemm.result.val();
        self.operand.capture.next = self.compute.param_capture.val();
        self.operand.which.next = self.compute.param_which.val();
        self.tensor_alu.valid.next = self.operand.valid.val();
        self.tensor_alu.requant.next = self.compute.alu_requant.val();
        self.tensor_alu.opcode.next = self.compute.alu_opcode.val();
        self.tensor_alu.mode.next = self.compute.alu_mode.val();
        self.tensor_alu.saturate.next = self.compute.alu_saturate.val();
        self.tensor_alu.left.next = self.operand.left_now.val();
        self.tensor_alu.right.next = self.operand.right_now.val();
        self.tensor_alu.bias.next = self.operand.bias.val();
        self.tensor_alu.multiplier.next = self.operand.multiplier.val();
        self.tensor_alu.shift.next = self.operand.shift.val();
        self.tensor_alu.post.next = self.operand.post.val();
        self.acc.alu_write.next = self.tensor_alu.result_valid.val();
        self.acc.alu_index.next = self.compute.late_dst.val();
        self.acc.alu_result.next = self.tensor_alu.result.val();
        self.acc.alu_clear.next = self.compute.alu_clear.val();
        self.acc.alu_fused.next = self.compute.alu_fused.val();
        // OUT, the store unit and the write engine.
        self.out.write.next = self.acc.out_lanes.val();
        self.out.write_index.next = self.acc.out_index.val();
        self.out.write_data.next = self.acc.out_data.val();
        self.out.read.next = self.store.read.val();
        self.out.read_index.next = self.store.read_index.val();
        self.store.element.next = self.out.element.val();
        self.writes.request_valid.next = self.store.request_valid.val();
        self.writes.request_address.next = self.store.request_address.val();
        self.writes.request_beats.next = self.store.request_beats.val();
        self.store.request_ready.next = self.writes.request_ready.val();
        self.writes.data_valid.next = self.store.data_valid.val();
        self.writes.data.next = self.store.data.val();
        self.writes.strobe.next = self.store.strobe.val();
        self.store.data_ready.next = self.writes.data_ready.val();
        self.store.written.next = self.writes.idle.val();
        self.writes.flush.next = self.control.flush.val();
        // Probes.
        self.probe_load_begin.next = self.load.begins.val();
        self.probe_load_finish.next = self.load.finishes.val();
        self.probe_load_insn.next = self.load.index.val();
        self.probe_load_state.next = self.load.state.val();
        self.probe_compute_begin.next = self.compute.begins.val();
        self.probe_compute_finish.next = self.compute.finishes.val();
        self.probe_compute_insn.next = self.compute.index.val();
        self.probe_compute_state.next = self.compute.state.val();
        self.probe_store_begin.next = self.store.begins.val();
        self.probe_store_finish.next = self.store.finishes.val();
        self.probe_store_insn.next = self.store.index.val();
        self.probe_store_state.next = self.store.state.val();
        self.probe_push.next = self.tokens.push.val();
        self.probe_pop.next = self.tokens.pop.val();
        self.probe_tokens.next = self.tokens.counts.val();
        self.probe_queued.next = self.probes.queued.val();
        self.probe_running.next = self.control.running.val();
        self.probe_failed.next = self.control.failed.val();
        self.probe_fetch_state.next = self.fetch.state.val();
    }
}

/// The levels of the instruction queues side by side.
fn probes(width: u32) -> Module {
    let m = Module::new("probes");
    let levels = ["level_load", "level_compute", "level_store"].map(|name| m.input(name, width).zext(16));
    m.output("queued", m.cat(&levels));
    m
}

/// A queue of instructions and the indices that they were fetched with.
pub(crate) fn insn_queue(sizes: &Sizes) -> Module {
    let (log_depth, style) = sizes.insn_queue();
    queue::queue("insn_queue", INSN_BITS + sizes.index, log_depth, style)
}
