//! The blocks as the top sees them: their ports by name. Widths and behaviour come from the module of each.

use rust_hdl::prelude::*;

use crate::block::{Bus, leaf};

leaf! {
    /// The register file; see `control.rs`.
    Control {
        in
            axil_awvalid axil_awaddr axil_wvalid axil_wdata axil_wstrb axil_bready axil_arvalid axil_araddr
            axil_rready finished fetch_complete fetch_blocked idle_load idle_compute idle_store blocked_load
            blocked_compute blocked_store index_load index_compute index_store tokens_left reads_idle
            writes_idle fetch_index fault_illegal fault_misplaced fault_overflow_load fault_overflow_compute
            fault_overflow_store fault_reach_fetch fault_reach_load fault_reach_compute fault_reach_store fault_uop fault_read
            fault_read_client fault_write acc8_element acc_element inp_element wgt_element wgt4_element uop_element
            out_element count_write count_gemm count_alu count_lane;
        out
            axil_awready axil_wready axil_bvalid axil_bresp axil_arready axil_rvalid axil_rdata axil_rresp
            launch halt flush core_reset start_address start_count base_uop base_inp base_wgt base_acc base_out
            irq running failed;
    }
}

leaf! {
    /// Instruction fetch; see `fetch.rs`.
    Fetch {
        in
            start address count request_ready data_valid data ready_load ready_compute ready_store halt;
        out
            request_valid request_address request_beats to_load to_compute to_store entry at complete illegal
            misplaced out_of_reach blocked state data_ready;
    }
}

leaf! {
    /// An instruction queue; see `queue.rs`.
    InsnQueue {
        in
            in_valid in_data out_ready flush;
        out
            in_ready out_valid out_data level;
    }
}

leaf! {
    /// The token queues; see `tokens.rs`.
    Tokens {
        in
            push_0 push_1 push_2 push_3 pop_0 pop_1 pop_2 pop_3;
        out
            available_0 available_1 available_2 available_3 full_0 full_1 full_2 full_3 left push pop counts;
    }
}

leaf! {
    /// The load unit; see `load.rs`.
    Load {
        in
            head_valid head available_next full_next halt inp_base wgt_base request_ready data_valid;
        out
            request_valid request_address request_beats data_ready write_inp write_wgt write_pad write_index
            write_chunk write_sub write_four_bits pad_value inp_element wgt_element wgt4_element overflow out_of_reach head_ready begins
            finishes index pop_next push_next state blocked idle;
    }
}

leaf! {
    /// The compute unit; see `compute.rs`.
    Compute {
        in
            head_valid head available_prev available_next full_prev full_next halt uop_base acc_base
            request_ready data_valid uop_word sum sum_index;
        out
            request_valid request_address request_beats data_ready write_uop write_acc narrow write_pad
            write_index write_chunk write_sub pad_value uop_read uop_index fire_quick fire_slow dst inp_index
            by_vector wgt_index part read_inp read_wgt clear lane max overwrite more_taps fused first last src_read src_index
            param_capture param_which alu_requant alu_opcode alu_mode alu_saturate alu_from_inp alu_clear alu_fused use_imm imm
            late_dst uop_element
            acc_element acc8_element count_gemm count_alu count_lane count_write finished overflow out_of_reach
            undecodable head_ready begins finishes index pop_prev pop_next push_prev push_next state blocked
            idle;
    }
}

leaf! {
    /// The store unit; see `store.rs`.
    Store {
        in
            head_valid head available_prev full_prev halt out_base element request_ready data_ready written;
        out
            read read_index request_valid request_address request_beats data_valid data strobe out_element
            overflow out_of_reach head_ready begins finishes index pop_prev push_prev state blocked idle;
    }
}

leaf! {
    /// The GEMM array; see `gemm.rs`.
    Gemm {
        in
            fire dst clear lane max overwrite more_taps fused first last part inp vector wgt acc;
        out
            acc_read acc_index write write_index result write_out sum sum_index;
    }
}

leaf! {
    /// The tensor ALU; see `alu.rs`.
    TensorAlu {
        in
            valid requant opcode mode saturate left right bias multiplier shift post;
        out
            result_valid result;
    }
}

leaf! {
    /// What the tensor ALU works on; see `operand.rs`.
    Operand {
        in
            fire use_imm imm left right from_inp vector sum sum_value capture which;
        out
            valid left_now right_now bias multiplier shift post;
    }
}

leaf! {
    /// The UOP scratchpad; see `scratchpad.rs`.
    UopPad {
        in
            write write_pad write_index write_chunk write_sub bus_word pad_value read read_index;
        out
            word;
    }
}

leaf! {
    /// The INP scratchpad; see `scratchpad.rs`.
    InpPad {
        in
            write write_pad write_index write_chunk write_sub bus_word pad_value read by_vector more_taps read_index;
        out
            element vector;
    }
}

leaf! {
    /// The WGT scratchpad; see `scratchpad.rs`.
    WgtPad {
        in
            write write_pad write_index write_chunk write_sub bus_word pad_value four_bits read read_index;
        out
            element;
    }
}

leaf! {
    /// The ACC scratchpad; see `accumulator.rs`.
    AccPad {
        in
            write write_pad write_index write_chunk write_sub bus_word pad_value narrow gemm_write gemm_index
            gemm_result gemm_out alu_write alu_index alu_result alu_clear alu_fused gemm_read gemm_read_index alu_read
            alu_read_index src_read src_index;
        out
            left right out_lanes out_index out_data;
    }
}

leaf! {
    /// The OUT scratchpad; see `accumulator.rs`.
    OutPad {
        in
            write write_index write_data read read_index;
        out
            element;
    }
}

leaf! {
    /// The read engine; see `read_engine.rs`.
    Reads {
        in
            request_valid_0 request_address_0 request_beats_0 data_ready_0 request_valid_1 request_address_1
            request_beats_1 data_ready_1 request_valid_2 request_address_2 request_beats_2 data_ready_2 flush
            axi_arready axi_rvalid axi_rresp axi_rlast;
        out
            request_ready_0 data_valid_0 request_ready_1 data_valid_1 request_ready_2 data_valid_2 idle fault
            fault_client axi_arvalid axi_araddr axi_arlen axi_arsize axi_arburst axi_rready;
    }
}

leaf! {
    /// The write engine; see `write_engine.rs`.
    Writes {
        in
            request_valid request_address request_beats data_valid data strobe flush axi_awready axi_wready
            axi_bvalid axi_bresp;
        out
            request_ready data_ready idle fault axi_awvalid axi_awaddr axi_awlen axi_awsize axi_awburst
            axi_wvalid axi_wdata axi_wstrb axi_wlast axi_bready;
    }
}

leaf! {
    /// What the simulator watches; see below.
    Probes {
        in
            level_load level_compute level_store;
        out
            queued;
    }
}
