// A machine with the ports of the accelerator that knows one program: it fetches, LOAD reads four beats from INP_BASE, compute
// adds one to each, STORE writes them to OUT_BASE, FINISH. It tests the harness, so it can also misbehave: see the mutants.

module tandem (
  input clock, input reset,
  input s_axil_awvalid, output reg s_axil_awready, input [11:0] s_axil_awaddr,
  input s_axil_wvalid, output reg s_axil_wready, input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb,
  output reg s_axil_bvalid, input s_axil_bready, output [1:0] s_axil_bresp,
  input s_axil_arvalid, output reg s_axil_arready, input [11:0] s_axil_araddr,
  output reg s_axil_rvalid, input s_axil_rready, output reg [31:0] s_axil_rdata, output [1:0] s_axil_rresp,
  output reg m_axi_arvalid, input m_axi_arready, output reg [31:0] m_axi_araddr, output reg [7:0] m_axi_arlen,
  output [2:0] m_axi_arsize, output [1:0] m_axi_arburst,
  input m_axi_rvalid, output reg m_axi_rready, input [63:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast,
  output reg m_axi_awvalid, input m_axi_awready, output reg [31:0] m_axi_awaddr, output [7:0] m_axi_awlen,
  output [2:0] m_axi_awsize, output [1:0] m_axi_awburst,
  output reg m_axi_wvalid, input m_axi_wready, output [63:0] m_axi_wdata, output [7:0] m_axi_wstrb, output m_axi_wlast,
  input m_axi_bvalid, output reg m_axi_bready, input [1:0] m_axi_bresp,
  output irq,
  output reg probe_load_begin, output reg probe_load_finish, output [31:0] probe_load_insn, output reg [2:0] probe_load_state,
  output reg probe_compute_begin, output reg probe_compute_finish, output reg [31:0] probe_compute_insn,
  output reg [2:0] probe_compute_state,
  output reg probe_store_begin, output reg probe_store_finish, output [31:0] probe_store_insn,
  output reg [2:0] probe_store_state,
  output reg [3:0] probe_push, output reg [3:0] probe_pop,
  output [63:0] probe_tokens, output [47:0] probe_queued,
  output reg probe_running, output reg [2:0] probe_fetch_state
);
  localparam IDLE = 0, FETCH = 1, FETCH_AR = 2, FETCH_R = 3, LOAD = 4, LOAD_AR = 5, LOAD_R = 6, COMPUTE = 7, ADD = 8, STORE = 9,
             STORE_AW = 10, STORE_W = 11, STORE_B = 12, FINISH = 13, END = 14, ABANDON = 15;
  // Misbehaviours, by the number of the mutant.
  localparam NO_TOKEN = 1, WRONG_SUM = 2, UNSTABLE_W = 3, STROBE_HOLE = 4, EARLY_LAST = 5, CROSS_PAGE = 6, STOPS = 7, DEAF = 8,
             DEADLOCK = 9;
  reg [3:0] state;
  reg done, error;
  reg [31:0] insn_count, insn_addr, inp_base, out_base, error_code, error_insn, cycles;
  reg [63:0] data [0:3];
  reg [1:0] at;
  reg [15:0] load_to_compute, compute_to_store;
  reg [7:0] wobble;
  integer mutant;

  initial begin
    mutant = 0;
    if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;
  end

  assign s_axil_bresp = 0;
  assign s_axil_rresp = 0;
  assign m_axi_arsize = 3;
  assign m_axi_arburst = 1;
  assign m_axi_awsize = 3;
  assign m_axi_awburst = 1;
  assign m_axi_awlen = 3;
  assign m_axi_wdata = mutant == UNSTABLE_W ? data[at] + {56'd0, wobble} : data[at];
  assign m_axi_wstrb = mutant == STROBE_HOLE ? 8'b11011111 : 8'hff;
  assign m_axi_wlast = at == (mutant == EARLY_LAST ? 2 : 3);
  assign irq = done | error;
  assign probe_load_insn = 0;
  assign probe_store_insn = 2;
  assign probe_tokens = {16'd0, compute_to_store, 16'd0, load_to_compute};
  assign probe_queued = 0;

  // Registers: both halves of a write may come first.
  reg have_address, have_data;
  reg [11:0] write_addr;
  reg [31:0] write_data;
  wire write = have_address & have_data & ~s_axil_bvalid;
  wire launch = write && write_addr == 0 && write_data[0] && !probe_running;
  wire abandon = write && write_addr == 0 && write_data[3];
  always @(posedge clock) begin
    s_axil_awready <= ~have_address & ~(s_axil_awready & s_axil_awvalid) & ~s_axil_bvalid;
    s_axil_wready <= ~have_data & ~(s_axil_wready & s_axil_wvalid) & ~s_axil_bvalid;
    if (s_axil_awready & s_axil_awvalid) begin have_address <= 1; write_addr <= s_axil_awaddr; end
    if (s_axil_wready & s_axil_wvalid) begin have_data <= 1; write_data <= s_axil_wdata; end
    if (write) begin
      have_address <= 0;
      have_data <= 0;
      s_axil_bvalid <= 1;
      if (!probe_running) case (write_addr)
        12'h08: insn_count <= write_data;
        12'h0c: insn_addr <= {write_data[31:6], 6'd0};
        12'h14: inp_base <= {write_data[31:12], 12'd0};
        12'h20: out_base <= {write_data[31:12], 12'd0};
        default: ;
      endcase
    end
    if (s_axil_bvalid & s_axil_bready) s_axil_bvalid <= 0;
    s_axil_arready <= ~s_axil_arready & ~s_axil_rvalid & s_axil_arvalid & (mutant != DEAF);
    if (s_axil_arready & s_axil_arvalid) begin
      s_axil_rvalid <= 1;
      case (s_axil_araddr)
        12'h00: s_axil_rdata <= {29'd0, error, done, probe_running};
        12'h04: s_axil_rdata <= cycles;
        12'h08: s_axil_rdata <= insn_count;
        12'h0c: s_axil_rdata <= insn_addr;
        12'h14: s_axil_rdata <= inp_base;
        12'h20: s_axil_rdata <= out_base;
        12'h28: s_axil_rdata <= `DIGEST;
        12'h2c: s_axil_rdata <= 32'h00010000;
        12'h50: s_axil_rdata <= error_code;
        12'h54: s_axil_rdata <= error_insn;
        default: s_axil_rdata <= 0;
      endcase
    end
    if (s_axil_rvalid & s_axil_rready) s_axil_rvalid <= 0;
    if (reset) begin
      have_address <= 0; have_data <= 0; s_axil_bvalid <= 0; s_axil_rvalid <= 0;
      s_axil_awready <= 0; s_axil_wready <= 0; s_axil_arready <= 0;
      insn_count <= 0; insn_addr <= 0; inp_base <= 0; out_base <= 0;
    end
  end

  always @(posedge clock) begin
    {probe_load_begin, probe_load_finish, probe_compute_begin, probe_compute_finish, probe_store_begin, probe_store_finish} <= 0;
    probe_push <= 0;
    probe_pop <= 0;
    wobble <= wobble + 1;
    if (probe_running) cycles <= cycles + 1;
    case (state)
      IDLE: if (launch) begin
        state <= FETCH; probe_running <= 1; done <= 0; error <= 0; error_code <= 0; error_insn <= 0; cycles <= 0;
        probe_fetch_state <= 1;
      end
      FETCH: begin
        m_axi_arvalid <= 1; m_axi_araddr <= insn_addr; m_axi_arlen <= {insn_count[6:0], 1'b0} - 8'd1;
        probe_fetch_state <= 4; state <= FETCH_AR;
      end
      FETCH_AR: if (m_axi_arready) begin m_axi_arvalid <= 0; m_axi_rready <= 1; state <= FETCH_R; end
      FETCH_R: if (m_axi_rvalid & m_axi_rlast) begin
        m_axi_rready <= 0; probe_fetch_state <= 0; state <= LOAD;
        if (m_axi_rresp != 0) begin error <= 1; error_code <= 7; error_insn <= 0; probe_running <= 0; state <= IDLE; end
      end
      LOAD: begin
        probe_load_begin <= 1; probe_load_state <= 1; probe_compute_state <= 2; probe_compute_insn <= 1; probe_store_state <= 2;
        m_axi_arvalid <= 1; m_axi_arlen <= 3;
        m_axi_araddr <= mutant == CROSS_PAGE ? inp_base + 4080 : inp_base;
        at <= 0; state <= LOAD_AR;
      end
      LOAD_AR: if (m_axi_arready) begin
        m_axi_arvalid <= 0; m_axi_rready <= 1; probe_load_state <= 4; state <= LOAD_R;
      end
      LOAD_R: if (m_axi_rvalid) begin
        data[at] <= m_axi_rdata; at <= at + 1;
        if (m_axi_rresp != 0) begin error_code <= 7; error_insn <= 0; end
        if (m_axi_rlast) begin
          m_axi_rready <= 0; probe_load_finish <= 1; probe_load_state <= 1;
          if (mutant != NO_TOKEN && mutant != DEADLOCK) begin probe_push[0] <= 1; load_to_compute <= 1; end
          state <= COMPUTE;
        end
      end
      COMPUTE: begin
        probe_load_state <= 0;
        if (error_code != 0) begin error <= 1; probe_running <= 0; state <= IDLE; probe_compute_state <= 0; probe_store_state <= 0; end
        else if (load_to_compute != 0) begin
          probe_compute_begin <= 1; probe_pop[0] <= 1; load_to_compute <= 0; probe_compute_state <= 1; state <= ADD;
        end
        else if (mutant == DEADLOCK && probe_load_state == 0) begin
          error <= 1; error_code <= 4; error_insn <= 1; probe_running <= 0; state <= IDLE;
        end
      end
      ADD: begin
        data[0] <= data[0] + 1; data[1] <= data[1] + 1; data[2] <= data[2] + 1; data[3] <= data[3] + (mutant == WRONG_SUM ? 2 : 1);
        probe_compute_finish <= 1; probe_push[2] <= 1; compute_to_store <= 1; state <= STORE;
        if (mutant == STOPS) $stop;
      end
      STORE: begin
        probe_compute_state <= 0;
        probe_store_begin <= 1; probe_pop[2] <= 1; compute_to_store <= 0; probe_store_state <= 1;
        m_axi_awvalid <= 1; m_axi_awaddr <= out_base; at <= 0; state <= STORE_AW;
      end
      STORE_AW: if (m_axi_awready) begin
        m_axi_awvalid <= 0; m_axi_wvalid <= 1; probe_store_state <= 5; state <= STORE_W;
      end
      STORE_W: if (m_axi_wready) begin
        at <= at + 1;
        if (at == 3) begin m_axi_wvalid <= 0; m_axi_bready <= 1; state <= STORE_B; end
      end
      STORE_B: if (m_axi_bvalid) begin
        m_axi_bready <= 0; probe_store_finish <= 1; probe_store_state <= 1; state <= FINISH;
      end
      FINISH: begin
        probe_store_state <= 0;
        probe_compute_begin <= 1; probe_compute_insn <= 3; probe_compute_state <= 1; state <= END;
      end
      END: begin
        if (probe_compute_begin) probe_compute_finish <= 1;
        else begin probe_compute_state <= 0; probe_running <= 0; done <= 1; state <= IDLE; end
      end
      default: ;
    endcase
    if (abandon) begin
      done <= 0; error <= 0;
      // Only where no transaction is open: this toy is abandoned when it is idle or waits for a token.
      if (state == COMPUTE) begin state <= IDLE; probe_running <= 0; probe_compute_state <= 0; probe_store_state <= 0; end
    end
    if (reset) begin
      state <= IDLE; done <= 0; error <= 0; probe_running <= 0; error_code <= 0; error_insn <= 0; cycles <= 0;
      m_axi_arvalid <= 0; m_axi_awvalid <= 0; m_axi_wvalid <= 0; m_axi_rready <= 0; m_axi_bready <= 0;
      load_to_compute <= 0; compute_to_store <= 0; wobble <= 0;
      probe_load_state <= 0; probe_compute_state <= 0; probe_store_state <= 0; probe_fetch_state <= 0; probe_compute_insn <= 0;
    end
  end
endmodule
