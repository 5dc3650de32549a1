module top(
  output wire [1:0] led,
  inout wire [14:0] DDR_addr,
  inout wire [2:0] DDR_ba,
  inout wire DDR_cas_n,
  inout wire DDR_ck_n,
  inout wire DDR_ck_p,
  inout wire DDR_cke,
  inout wire DDR_cs_n,
  inout wire [3:0] DDR_dm,
  inout wire [31:0] DDR_dq,
  inout wire [3:0] DDR_dqs_n,
  inout wire [3:0] DDR_dqs_p,
  inout wire DDR_odt,
  inout wire DDR_ras_n,
  inout wire DDR_reset_n,
  inout wire DDR_we_n,
  inout wire FIXED_IO_ddr_vrn,
  inout wire FIXED_IO_ddr_vrp,
  inout wire [53:0] FIXED_IO_mio,
  inout wire FIXED_IO_ps_clk,
  inout wire FIXED_IO_ps_porb,
  inout wire FIXED_IO_ps_srstb
);
  wire clock;
  wire reset;
  wire s_axil_awvalid;
  wire [31:0] s_axil_awaddr;
  wire s_axil_wvalid;
  wire [31:0] s_axil_wdata;
  wire [3:0] s_axil_wstrb;
  wire s_axil_bready;
  wire s_axil_arvalid;
  wire [31:0] s_axil_araddr;
  wire s_axil_rready;
  wire m_axi_arready;
  wire m_axi_rvalid;
  wire [63:0] m_axi_rdata;
  wire [1:0] m_axi_rresp;
  wire m_axi_rlast;
  wire m_axi_awready;
  wire m_axi_wready;
  wire m_axi_bvalid;
  wire [1:0] m_axi_bresp;
  wire s_axil_awready;
  wire s_axil_wready;
  wire s_axil_bvalid;
  wire [1:0] s_axil_bresp;
  wire s_axil_arready;
  wire s_axil_rvalid;
  wire [31:0] s_axil_rdata;
  wire [1:0] s_axil_rresp;
  wire m_axi_arvalid;
  wire [31:0] m_axi_araddr;
  wire [7:0] m_axi_arlen;
  wire [2:0] m_axi_arsize;
  wire [1:0] m_axi_arburst;
  wire m_axi_rready;
  wire m_axi_awvalid;
  wire [31:0] m_axi_awaddr;
  wire [7:0] m_axi_awlen;
  wire [2:0] m_axi_awsize;
  wire [1:0] m_axi_awburst;
  wire m_axi_wvalid;
  wire [63:0] m_axi_wdata;
  wire [7:0] m_axi_wstrb;
  wire m_axi_wlast;
  wire m_axi_bready;
  wire irq;
  wire probe_running;
  system system(
    .DDR_addr(DDR_addr),
    .DDR_ba(DDR_ba),
    .DDR_cas_n(DDR_cas_n),
    .DDR_ck_n(DDR_ck_n),
    .DDR_ck_p(DDR_ck_p),
    .DDR_cke(DDR_cke),
    .DDR_cs_n(DDR_cs_n),
    .DDR_dm(DDR_dm),
    .DDR_dq(DDR_dq),
    .DDR_dqs_n(DDR_dqs_n),
    .DDR_dqs_p(DDR_dqs_p),
    .DDR_odt(DDR_odt),
    .DDR_ras_n(DDR_ras_n),
    .DDR_reset_n(DDR_reset_n),
    .DDR_we_n(DDR_we_n),
    .FIXED_IO_ddr_vrn(FIXED_IO_ddr_vrn),
    .FIXED_IO_ddr_vrp(FIXED_IO_ddr_vrp),
    .FIXED_IO_mio(FIXED_IO_mio),
    .FIXED_IO_ps_clk(FIXED_IO_ps_clk),
    .FIXED_IO_ps_porb(FIXED_IO_ps_porb),
    .FIXED_IO_ps_srstb(FIXED_IO_ps_srstb),
    .clock(clock),
    .reset(reset),
    .M_AXIL_awvalid(s_axil_awvalid),
    .M_AXIL_awaddr(s_axil_awaddr),
    .M_AXIL_wvalid(s_axil_wvalid),
    .M_AXIL_wdata(s_axil_wdata),
    .M_AXIL_wstrb(s_axil_wstrb),
    .M_AXIL_bready(s_axil_bready),
    .M_AXIL_arvalid(s_axil_arvalid),
    .M_AXIL_araddr(s_axil_araddr),
    .M_AXIL_rready(s_axil_rready),
    .S_AXI_arready(m_axi_arready),
    .S_AXI_rvalid(m_axi_rvalid),
    .S_AXI_rdata(m_axi_rdata),
    .S_AXI_rresp(m_axi_rresp),
    .S_AXI_rlast(m_axi_rlast),
    .S_AXI_awready(m_axi_awready),
    .S_AXI_wready(m_axi_wready),
    .S_AXI_bvalid(m_axi_bvalid),
    .S_AXI_bresp(m_axi_bresp),
    .M_AXIL_awready(s_axil_awready),
    .M_AXIL_wready(s_axil_wready),
    .M_AXIL_bvalid(s_axil_bvalid),
    .M_AXIL_bresp(s_axil_bresp),
    .M_AXIL_arready(s_axil_arready),
    .M_AXIL_rvalid(s_axil_rvalid),
    .M_AXIL_rdata(s_axil_rdata),
    .M_AXIL_rresp(s_axil_rresp),
    .S_AXI_arvalid(m_axi_arvalid),
    .S_AXI_araddr(m_axi_araddr),
    .S_AXI_arlen(m_axi_arlen),
    .S_AXI_arsize(m_axi_arsize),
    .S_AXI_arburst(m_axi_arburst),
    .S_AXI_rready(m_axi_rready),
    .S_AXI_awvalid(m_axi_awvalid),
    .S_AXI_awaddr(m_axi_awaddr),
    .S_AXI_awlen(m_axi_awlen),
    .S_AXI_awsize(m_axi_awsize),
    .S_AXI_awburst(m_axi_awburst),
    .S_AXI_wvalid(m_axi_wvalid),
    .S_AXI_wdata(m_axi_wdata),
    .S_AXI_wstrb(m_axi_wstrb),
    .S_AXI_wlast(m_axi_wlast),
    .S_AXI_bready(m_axi_bready),
    .irq(irq),
    .S_AXI_arcache(4'b0011),
    .S_AXI_awcache(4'b0011),
    .S_AXI_arprot(3'b000),
    .S_AXI_awprot(3'b000),
    .S_AXI_arlock(1'b0),
    .S_AXI_awlock(1'b0),
    .S_AXI_arqos(4'b0000),
    .S_AXI_awqos(4'b0000)
  );
  tandem core(
    .clock(clock),
    .reset(reset),
    .s_axil_awvalid(s_axil_awvalid),
    .s_axil_awaddr(s_axil_awaddr[11:0]),
    .s_axil_wvalid(s_axil_wvalid),
    .s_axil_wdata(s_axil_wdata),
    .s_axil_wstrb(s_axil_wstrb),
    .s_axil_bready(s_axil_bready),
    .s_axil_arvalid(s_axil_arvalid),
    .s_axil_araddr(s_axil_araddr[11:0]),
    .s_axil_rready(s_axil_rready),
    .m_axi_arready(m_axi_arready),
    .m_axi_rvalid(m_axi_rvalid),
    .m_axi_rdata(m_axi_rdata),
    .m_axi_rresp(m_axi_rresp),
    .m_axi_rlast(m_axi_rlast),
    .m_axi_awready(m_axi_awready),
    .m_axi_wready(m_axi_wready),
    .m_axi_bvalid(m_axi_bvalid),
    .m_axi_bresp(m_axi_bresp),
    .s_axil_awready(s_axil_awready),
    .s_axil_wready(s_axil_wready),
    .s_axil_bvalid(s_axil_bvalid),
    .s_axil_bresp(s_axil_bresp),
    .s_axil_arready(s_axil_arready),
    .s_axil_rvalid(s_axil_rvalid),
    .s_axil_rdata(s_axil_rdata),
    .s_axil_rresp(s_axil_rresp),
    .m_axi_arvalid(m_axi_arvalid),
    .m_axi_araddr(m_axi_araddr),
    .m_axi_arlen(m_axi_arlen),
    .m_axi_arsize(m_axi_arsize),
    .m_axi_arburst(m_axi_arburst),
    .m_axi_rready(m_axi_rready),
    .m_axi_awvalid(m_axi_awvalid),
    .m_axi_awaddr(m_axi_awaddr),
    .m_axi_awlen(m_axi_awlen),
    .m_axi_awsize(m_axi_awsize),
    .m_axi_awburst(m_axi_awburst),
    .m_axi_wvalid(m_axi_wvalid),
    .m_axi_wdata(m_axi_wdata),
    .m_axi_wstrb(m_axi_wstrb),
    .m_axi_wlast(m_axi_wlast),
    .m_axi_bready(m_axi_bready),
    .irq(irq),
    .probe_running(probe_running)
  );
  assign led = {irq, probe_running};
endmodule
