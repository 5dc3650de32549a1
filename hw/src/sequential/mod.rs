//! The machine without queues: `insn_queue_depth = 0`. Small FPGAs have room for it.
//!
//! ```text
//!  AXI4-Lite --> control --> machine <--> AXI4
//! ```
//!
//! Instructions run one after another in the order of the stream, and everything that the units of the other machine have once
//! each is there once: the walker over rows, the memory port, ACC with one port to read. The register file, the decoder and the
//! token queues are the same, and so are the ports of the design. See `machine.rs`.

mod array;
mod loops;
mod machine;
mod serial;
mod walk;

use std::collections::BTreeMap;

use rust_hdl::prelude::*;
use tandem_rtl::Module;

pub(crate) use self::machine::machine;
use crate::block::{Bus, leaf};
use crate::control::control;
use crate::leaf::Control;
use crate::size::Sizes;

leaf! {
    /// Everything behind the register file; see `machine.rs`.
    Machine {
        in
            start start_address start_count halt base_uop base_inp base_wgt base_acc base_out axi_arready axi_rvalid axi_rlast
            axi_rdata axi_rresp axi_awready axi_wready axi_bvalid axi_bresp;
        out
            axi_arvalid axi_araddr axi_rready axi_awvalid axi_awaddr axi_wvalid axi_wdata axi_wstrb axi_bready
            reads_idle writes_idle fault_read fault_read_client fault_write complete blocked illegal misplaced index
            idle_load blocked_load state_load begin_load finish_load fault_overflow_load fault_reach_load
            idle_compute blocked_compute state_compute begin_compute finish_compute fault_overflow_compute
            fault_reach_compute idle_store blocked_store state_store begin_store finish_store fault_overflow_store
            fault_reach_store fault_reach_fetch fault_uop push pop counts any_token finished fetch_state uop_element wgt_element
            wgt4_element inp_element acc_element acc8_element out_element count_gemm count_alu count_lane count_write;
    }
}

leaf! {
    /// What never changes; see below.
    Constants {
        in;
        out
            arlen arsize arburst awlen awsize awburst wlast queued;
    }
}

/// The design: the ports of the other machine around the register file and the machine.
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
    machine: Machine,
    constants: Constants,
    _children: BTreeMap<String, String>,
}

impl Top {
    pub fn new(sizes: &Sizes) -> Top {
        let bus = sizes.bus;
        let (control, machine) = (control(sizes), machine(sizes));
        let children = machine.children();
        Top {
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
            control: Control::new(&control),
            machine: Machine::new(&machine),
            constants: Constants::new(&constants()),
            _children: children,
        }
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
        self.machine.clock.next = self.clock.val();
        self.machine.reset.next = self.control.core_reset.val();
        self.constants.clock.next = self.clock.val();
        self.constants.reset.next = self.reset.val();
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
        self.machine.axi_arready.next = self.m_axi_arready.val();
        self.machine.axi_rlast.next = self.m_axi_rlast.val();
        self.machine.axi_rvalid.next = self.m_axi_rvalid.val();
        self.machine.axi_rdata.next = self.m_axi_rdata.val();
        self.machine.axi_rresp.next = self.m_axi_rresp.val();
        self.machine.axi_awready.next = self.m_axi_awready.val();
        self.machine.axi_wready.next = self.m_axi_wready.val();
        self.machine.axi_bvalid.next = self.m_axi_bvalid.val();
        self.machine.axi_bresp.next = self.m_axi_bresp.val();
        self.m_axi_arvalid.next = self.machine.axi_arvalid.val();
        self.m_axi_araddr.next = self.machine.axi_araddr.val();
        self.m_axi_rready.next = self.machine.axi_rready.val();
        self.m_axi_awvalid.next = self.machine.axi_awvalid.val();
        self.m_axi_awaddr.next = self.machine.axi_awaddr.val();
        self.m_axi_wvalid.next = self.machine.axi_wvalid.val();
        self.m_axi_wdata.next = self.machine.axi_wdata.val();
        self.m_axi_wstrb.next = self.machine.axi_wstrb.val();
        self.m_axi_bready.next = self.machine.axi_bready.val();
        self.m_axi_arlen.next = self.constants.arlen.val();
        self.m_axi_arsize.next = self.constants.arsize.val();
        self.m_axi_arburst.next = self.constants.arburst.val();
        self.m_axi_awlen.next = self.constants.awlen.val();
        self.m_axi_awsize.next = self.constants.awsize.val();
        self.m_axi_awburst.next = self.constants.awburst.val();
        self.m_axi_wlast.next = self.constants.wlast.val();
        self.irq.next = self.control.irq.val();
        // Launch, reset and faults.
        self.machine.start.next = self.control.launch.val();
        self.machine.start_address.next = self.control.start_address.val();
        self.machine.start_count.next = self.control.start_count.val();
        self.machine.halt.next = self.control.halt.val();
        self.machine.base_uop.next = self.control.base_uop.val();
        self.machine.base_inp.next = self.control.base_inp.val();
        self.machine.base_wgt.next = self.control.base_wgt.val();
        self.machine.base_acc.next = self.control.base_acc.val();
        self.machine.base_out.next = self.control.base_out.val();
        self.control.finished.next = self.machine.finished.val();
        self.control.fetch_complete.next = self.machine.complete.val();
        self.control.fetch_blocked.next = self.machine.blocked.val();
        self.control.idle_load.next = self.machine.idle_load.val();
        self.control.blocked_load.next = self.machine.blocked_load.val();
        self.control.index_load.next = self.machine.index.val();
        self.control.fault_overflow_load.next = self.machine.fault_overflow_load.val();
        self.control.fault_reach_load.next = self.machine.fault_reach_load.val();
        self.control.idle_compute.next = self.machine.idle_compute.val();
        self.control.blocked_compute.next = self.machine.blocked_compute.val();
        self.control.index_compute.next = self.machine.index.val();
        self.control.fault_overflow_compute.next = self.machine.fault_overflow_compute.val();
        self.control.fault_reach_compute.next = self.machine.fault_reach_compute.val();
        self.control.idle_store.next = self.machine.idle_store.val();
        self.control.blocked_store.next = self.machine.blocked_store.val();
        self.control.index_store.next = self.machine.index.val();
        self.control.fault_overflow_store.next = self.machine.fault_overflow_store.val();
        self.control.fault_reach_store.next = self.machine.fault_reach_store.val();
        self.control.fault_reach_fetch.next = self.machine.fault_reach_fetch.val();
        self.control.tokens_left.next = self.machine.any_token.val();
        self.control.reads_idle.next = self.machine.reads_idle.val();
        self.control.writes_idle.next = self.machine.writes_idle.val();
        self.control.fetch_index.next = self.machine.index.val();
        self.control.fault_illegal.next = self.machine.illegal.val();
        self.control.fault_misplaced.next = self.machine.misplaced.val();
        self.control.fault_uop.next = self.machine.fault_uop.val();
        self.control.fault_read.next = self.machine.fault_read.val();
        self.control.fault_read_client.next = self.machine.fault_read_client.val();
        self.control.fault_write.next = self.machine.fault_write.val();
        self.control.acc8_element.next = self.machine.acc8_element.val();
        self.control.acc_element.next = self.machine.acc_element.val();
        self.control.inp_element.next = self.machine.inp_element.val();
        self.control.wgt_element.next = self.machine.wgt_element.val();
        self.control.wgt4_element.next = self.machine.wgt4_element.val();
        self.control.uop_element.next = self.machine.uop_element.val();
        self.control.out_element.next = self.machine.out_element.val();
        self.control.count_write.next = self.machine.count_write.val();
        self.control.count_gemm.next = self.machine.count_gemm.val();
        self.control.count_alu.next = self.machine.count_alu.val();
        self.control.count_lane.next = self.machine.count_lane.val();
        // Probes.
        self.probe_load_begin.next = self.machine.begin_load.val();
        self.probe_load_finish.next = self.machine.finish_load.val();
        self.probe_load_insn.next = self.machine.index.val();
        self.probe_load_state.next = self.machine.state_load.val();
        self.probe_compute_begin.next = self.machine.begin_compute.val();
        self.probe_compute_finish.next = self.machine.finish_compute.val();
        self.probe_compute_insn.next = self.machine.index.val();
        self.probe_compute_state.next = self.machine.state_compute.val();
        self.probe_store_begin.next = self.machine.begin_store.val();
        self.probe_store_finish.next = self.machine.finish_store.val();
        self.probe_store_insn.next = self.machine.index.val();
        self.probe_store_state.next = self.machine.state_store.val();
        self.probe_push.next = self.machine.push.val();
        self.probe_pop.next = self.machine.pop.val();
        self.probe_tokens.next = self.machine.counts.val();
        self.probe_queued.next = self.constants.queued.val();
        self.probe_running.next = self.control.running.val();
        self.probe_failed.next = self.control.failed.val();
        self.probe_fetch_state.next = self.machine.fetch_state.val();
    }
}

/// What never changes: bursts of one word, and queues that are not there.
fn constants() -> Module {
    let m = Module::new("constants");
    m.output("arlen", m.lit(0, 8));
    m.output("arsize", m.lit(3, 3));
    m.output("arburst", m.lit(1, 2));
    m.output("awlen", m.lit(0, 8));
    m.output("awsize", m.lit(3, 3));
    m.output("awburst", m.lit(1, 2));
    m.output("wlast", m.lit(1, 1));
    m.output("queued", m.lit(0, 48));
    m
}
