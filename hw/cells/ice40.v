// Cells of Lattice iCE40 as yosys names them, in the behaviour that the data sheets give them after configuration: what a netlist
// needs to be simulated. Timing and power are left out. A use that is not modelled stops at elaboration, by an instance of a
// module that does not exist.

module SB_LUT4(output O, input I0, I1, I2, I3);
  parameter [15:0] LUT_INIT = 16'h0000;
  assign O = LUT_INIT[{I3, I2, I1, I0}];
endmodule

module SB_CARRY(output CO, input I0, I1, CI);
  assign CO = I0 & I1 | (I0 | I1) & CI;
endmodule

// Any of the registers: a clock edge, an enable, a set or a reset that waits for the clock or does not. What waits for the clock
// waits for the enable too.
module TANDEM_DFF(output reg Q, input C, E, R, D);
  parameter FALLING = 0;
  parameter ASYNC = 0;
  parameter VALUE = 1'b0;
  initial Q = 1'b0;
  generate
    if (FALLING && ASYNC) begin : falling_async
      always @(negedge C, posedge R) if (R) Q <= VALUE; else if (E) Q <= D;
    end else if (FALLING) begin : falling
      always @(negedge C) if (E) Q <= R ? VALUE : D;
    end else if (ASYNC) begin : rising_async
      always @(posedge C, posedge R) if (R) Q <= VALUE; else if (E) Q <= D;
    end else begin : rising
      always @(posedge C) if (E) Q <= R ? VALUE : D;
    end
  endgenerate
endmodule

module SB_DFF(output Q, input C, D);
  TANDEM_DFF dff(.Q(Q), .C(C), .E(1'b1), .R(1'b0), .D(D));
endmodule

module SB_DFFSR(output Q, input C, R, D);
  TANDEM_DFF dff(.Q(Q), .C(C), .E(1'b1), .R(R), .D(D));
endmodule

module SB_DFFR(output Q, input C, R, D);
  TANDEM_DFF #(.ASYNC(1)) dff(.Q(Q), .C(C), .E(1'b1), .R(R), .D(D));
endmodule

module SB_DFFSS(output Q, input C, S, D);
  TANDEM_DFF #(.VALUE(1'b1)) dff(.Q(Q), .C(C), .E(1'b1), .R(S), .D(D));
endmodule

module SB_DFFS(output Q, input C, S, D);
  TANDEM_DFF #(.ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(1'b1), .R(S), .D(D));
endmodule

module SB_DFFE(output Q, input C, E, D);
  TANDEM_DFF dff(.Q(Q), .C(C), .E(E), .R(1'b0), .D(D));
endmodule

module SB_DFFESR(output Q, input C, E, R, D);
  TANDEM_DFF dff(.Q(Q), .C(C), .E(E), .R(R), .D(D));
endmodule

module SB_DFFER(output Q, input C, E, R, D);
  TANDEM_DFF #(.ASYNC(1)) dff(.Q(Q), .C(C), .E(E), .R(R), .D(D));
endmodule

module SB_DFFESS(output Q, input C, E, S, D);
  TANDEM_DFF #(.VALUE(1'b1)) dff(.Q(Q), .C(C), .E(E), .R(S), .D(D));
endmodule

module SB_DFFES(output Q, input C, E, S, D);
  TANDEM_DFF #(.ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(E), .R(S), .D(D));
endmodule

module SB_DFFN(output Q, input C, D);
  TANDEM_DFF #(.FALLING(1)) dff(.Q(Q), .C(C), .E(1'b1), .R(1'b0), .D(D));
endmodule

module SB_DFFNSR(output Q, input C, R, D);
  TANDEM_DFF #(.FALLING(1)) dff(.Q(Q), .C(C), .E(1'b1), .R(R), .D(D));
endmodule

module SB_DFFNR(output Q, input C, R, D);
  TANDEM_DFF #(.FALLING(1), .ASYNC(1)) dff(.Q(Q), .C(C), .E(1'b1), .R(R), .D(D));
endmodule

module SB_DFFNSS(output Q, input C, S, D);
  TANDEM_DFF #(.FALLING(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(1'b1), .R(S), .D(D));
endmodule

module SB_DFFNS(output Q, input C, S, D);
  TANDEM_DFF #(.FALLING(1), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(1'b1), .R(S), .D(D));
endmodule

module SB_DFFNE(output Q, input C, E, D);
  TANDEM_DFF #(.FALLING(1)) dff(.Q(Q), .C(C), .E(E), .R(1'b0), .D(D));
endmodule

module SB_DFFNESR(output Q, input C, E, R, D);
  TANDEM_DFF #(.FALLING(1)) dff(.Q(Q), .C(C), .E(E), .R(R), .D(D));
endmodule

module SB_DFFNER(output Q, input C, E, R, D);
  TANDEM_DFF #(.FALLING(1), .ASYNC(1)) dff(.Q(Q), .C(C), .E(E), .R(R), .D(D));
endmodule

module SB_DFFNESS(output Q, input C, E, S, D);
  TANDEM_DFF #(.FALLING(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(E), .R(S), .D(D));
endmodule

module SB_DFFNES(output Q, input C, E, S, D);
  TANDEM_DFF #(.FALLING(1), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(C), .E(E), .R(S), .D(D));
endmodule

// Where the bits of a narrow port of a block RAM lie in a row of 16: the pins that carry data, and the column that the upper
// address bits choose.
module TANDEM_ICE_COLUMNS(input [2:0] column, input [15:0] pins, output reg [15:0] row, chosen);
  parameter integer MODE = 0;
  integer at;
  always @* for (at = 0; at < 16; at = at + 1) begin
    case (MODE)
      0: begin
        row[at] = pins[at];
        chosen[at] = 1'b1;
      end
      1: begin
        row[at] = pins[at & 14];
        chosen[at] = at[0] == column[0];
      end
      2: begin
        row[at] = pins[at & 12 | 1];
        chosen[at] = at[1:0] == column[1:0];
      end
      default: begin
        row[at] = pins[at & 8 | 3];
        chosen[at] = at[2:0] == column;
      end
    endcase
  end
endmodule

// Block RAM of 4 kbit: rows of 16 bits, narrower ports see a column. A mask bit that is set keeps its bit, in rows only.
//
// Bits that are written while they are read are read as their inverse: no design may depend on them. Both ports have one clock in
// every design here.
module TANDEM_ICE_RAM(
  output reg [15:0] RDATA, input RCLK, RCLKE, RE, input [10:0] RADDR,
  input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter integer WRITE_MODE = 0;
  parameter integer READ_MODE = 0;
  parameter [4095:0] INIT = 4096'b0;
  parameter READ_FALLING = 0;
  parameter WRITE_FALLING = 0;
  reg [15:0] rows [0:255];
  integer at;
  initial for (at = 0; at < 256; at = at + 1) rows[at] = INIT[16 * at +: 16];
  wire [15:0] data, written, unused, column;
  TANDEM_ICE_COLUMNS #(.MODE(WRITE_MODE)) write(.column(WADDR[10:8]), .pins(WDATA), .row(data), .chosen(written));
  TANDEM_ICE_COLUMNS #(.MODE(READ_MODE)) read(.column(RADDR[10:8]), .pins(16'b0), .row(unused), .chosen(column));
  wire [15:0] mask = written & (WRITE_MODE == 0 ? ~MASK : 16'hffff);
  wire writes = WE & WCLKE;
  wire [15:0] old = rows[RADDR[7:0]];
  wire [15:0] seen = (old ^ (writes && WADDR[7:0] == RADDR[7:0] ? mask : 16'b0)) & column;
  reg [15:0] latch;
  initial latch = 16'b0;
  generate
    if (WRITE_FALLING) begin : write_falling
      always @(negedge WCLK) if (writes) rows[WADDR[7:0]] <= rows[WADDR[7:0]] & ~mask | data & mask;
    end else begin : write_rising
      always @(posedge WCLK) if (writes) rows[WADDR[7:0]] <= rows[WADDR[7:0]] & ~mask | data & mask;
    end
    if (READ_FALLING) begin : read_falling
      always @(negedge RCLK) if (RE & RCLKE) latch <= seen;
    end else begin : read_rising
      always @(posedge RCLK) if (RE & RCLKE) latch <= seen;
    end
  endgenerate
  always @* begin
    RDATA = 16'b0;
    case (READ_MODE)
      0: RDATA = latch;
      1: for (at = 0; at < 16; at = at + 2) RDATA[at] = |latch[at +: 2];
      2: for (at = 0; at < 16; at = at + 4) RDATA[at + 1] = |latch[at +: 4];
      default: for (at = 0; at < 16; at = at + 8) RDATA[at + 3] = |latch[at +: 8];
    endcase
  end
endmodule

module SB_RAM40_4K(
  output [15:0] RDATA, input RCLK, RCLKE, RE, input [10:0] RADDR,
  input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter WRITE_MODE = 0;
  parameter READ_MODE = 0;
  parameter [255:0] INIT_0 = 256'h0, INIT_1 = 256'h0, INIT_2 = 256'h0, INIT_3 = 256'h0;
  parameter [255:0] INIT_4 = 256'h0, INIT_5 = 256'h0, INIT_6 = 256'h0, INIT_7 = 256'h0;
  parameter [255:0] INIT_8 = 256'h0, INIT_9 = 256'h0, INIT_A = 256'h0, INIT_B = 256'h0;
  parameter [255:0] INIT_C = 256'h0, INIT_D = 256'h0, INIT_E = 256'h0, INIT_F = 256'h0;
  TANDEM_ICE_RAM #(
    .WRITE_MODE(WRITE_MODE), .READ_MODE(READ_MODE), .READ_FALLING(0), .WRITE_FALLING(0), .INIT({
      INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
      INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
    })
  ) ram(
    .RDATA(RDATA), .RCLK(RCLK), .RCLKE(RCLKE), .RE(RE), .RADDR(RADDR),
    .WCLK(WCLK), .WCLKE(WCLKE), .WE(WE), .WADDR(WADDR), .MASK(MASK), .WDATA(WDATA)
  );
endmodule

module SB_RAM40_4KNR(
  output [15:0] RDATA, input RCLKN, RCLKE, RE, input [10:0] RADDR,
  input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter WRITE_MODE = 0;
  parameter READ_MODE = 0;
  parameter [255:0] INIT_0 = 256'h0, INIT_1 = 256'h0, INIT_2 = 256'h0, INIT_3 = 256'h0;
  parameter [255:0] INIT_4 = 256'h0, INIT_5 = 256'h0, INIT_6 = 256'h0, INIT_7 = 256'h0;
  parameter [255:0] INIT_8 = 256'h0, INIT_9 = 256'h0, INIT_A = 256'h0, INIT_B = 256'h0;
  parameter [255:0] INIT_C = 256'h0, INIT_D = 256'h0, INIT_E = 256'h0, INIT_F = 256'h0;
  TANDEM_ICE_RAM #(
    .WRITE_MODE(WRITE_MODE), .READ_MODE(READ_MODE), .READ_FALLING(1), .WRITE_FALLING(0), .INIT({
      INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
      INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
    })
  ) ram(
    .RDATA(RDATA), .RCLK(RCLKN), .RCLKE(RCLKE), .RE(RE), .RADDR(RADDR),
    .WCLK(WCLK), .WCLKE(WCLKE), .WE(WE), .WADDR(WADDR), .MASK(MASK), .WDATA(WDATA)
  );
endmodule

module SB_RAM40_4KNW(
  output [15:0] RDATA, input RCLK, RCLKE, RE, input [10:0] RADDR,
  input WCLKN, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter WRITE_MODE = 0;
  parameter READ_MODE = 0;
  parameter [255:0] INIT_0 = 256'h0, INIT_1 = 256'h0, INIT_2 = 256'h0, INIT_3 = 256'h0;
  parameter [255:0] INIT_4 = 256'h0, INIT_5 = 256'h0, INIT_6 = 256'h0, INIT_7 = 256'h0;
  parameter [255:0] INIT_8 = 256'h0, INIT_9 = 256'h0, INIT_A = 256'h0, INIT_B = 256'h0;
  parameter [255:0] INIT_C = 256'h0, INIT_D = 256'h0, INIT_E = 256'h0, INIT_F = 256'h0;
  TANDEM_ICE_RAM #(
    .WRITE_MODE(WRITE_MODE), .READ_MODE(READ_MODE), .READ_FALLING(0), .WRITE_FALLING(1), .INIT({
      INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
      INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
    })
  ) ram(
    .RDATA(RDATA), .RCLK(RCLK), .RCLKE(RCLKE), .RE(RE), .RADDR(RADDR),
    .WCLK(WCLKN), .WCLKE(WCLKE), .WE(WE), .WADDR(WADDR), .MASK(MASK), .WDATA(WDATA)
  );
endmodule

module SB_RAM40_4KNRNW(
  output [15:0] RDATA, input RCLKN, RCLKE, RE, input [10:0] RADDR,
  input WCLKN, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  parameter WRITE_MODE = 0;
  parameter READ_MODE = 0;
  parameter [255:0] INIT_0 = 256'h0, INIT_1 = 256'h0, INIT_2 = 256'h0, INIT_3 = 256'h0;
  parameter [255:0] INIT_4 = 256'h0, INIT_5 = 256'h0, INIT_6 = 256'h0, INIT_7 = 256'h0;
  parameter [255:0] INIT_8 = 256'h0, INIT_9 = 256'h0, INIT_A = 256'h0, INIT_B = 256'h0;
  parameter [255:0] INIT_C = 256'h0, INIT_D = 256'h0, INIT_E = 256'h0, INIT_F = 256'h0;
  TANDEM_ICE_RAM #(
    .WRITE_MODE(WRITE_MODE), .READ_MODE(READ_MODE), .READ_FALLING(1), .WRITE_FALLING(1), .INIT({
      INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
      INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
    })
  ) ram(
    .RDATA(RDATA), .RCLK(RCLKN), .RCLKE(RCLKE), .RE(RE), .RADDR(RADDR),
    .WCLK(WCLKN), .WCLKE(WCLKE), .WE(WE), .WADDR(WADDR), .MASK(MASK), .WDATA(WDATA)
  );
endmodule

// Single-port RAM of 256 kbit. What stands at the output after a write is not defined: here it is what no reader expects.
module SB_SPRAM256KA(
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN, input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
  output reg [15:0] DATAOUT
);
  reg [15:0] words [0:16383];
  wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
  wire [15:0] old = words[ADDRESS];
  // POWEROFF is low where the power is off.
  wire alive = POWEROFF & ~SLEEP;
  always @(posedge CLOCK) begin
    if (!alive) DATAOUT <= 16'h0000;
    else if (STANDBY) DATAOUT <= ~DATAOUT;
    else if (CHIPSELECT && WREN) begin
      words[ADDRESS] <= old & ~mask | DATAIN & mask;
      DATAOUT <= ~old;
    end else if (CHIPSELECT) DATAOUT <= old;
  end
endmodule

// A register of the multiplier block; without it the value passes.
module TANDEM_MAC_REGISTER(input C, E, R, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  parameter integer WIDTH = 16;
  parameter PRESENT = 0;
  parameter FALLING = 0;
  generate
    if (!PRESENT) begin : absent
      assign Q = D;
    end else begin : present
      reg [WIDTH-1:0] value = {WIDTH{1'b0}};
      if (FALLING) begin : falling
        always @(negedge C, posedge R) if (R) value <= {WIDTH{1'b0}}; else if (E) value <= D;
      end else begin : rising
        always @(posedge C, posedge R) if (R) value <= {WIDTH{1'b0}}; else if (E) value <= D;
      end
      assign Q = value;
    end
  endgenerate
endmodule

// One half of the output stage: an adder or subtractor with its accumulator.
module TANDEM_MAC_HALF(
  input clock, enable, reset, hold, load, subtract, carry, input [15:0] loaded, product, whole, addend,
  output [15:0] out, output overflow
);
  parameter FALLING = 0;
  parameter [1:0] OUTPUT_SELECT = 0;
  parameter UPPER_IS_LOADED = 0;
  wire [15:0] held;
  wire [15:0] base = UPPER_IS_LOADED ? loaded : held;
  wire [16:0] sum = {1'b0, addend} + {1'b0, base ^ {16{subtract}}} + {16'b0, carry};
  assign overflow = sum[16];
  wire [15:0] next = load ? loaded : sum[15:0] ^ {16{subtract}};
  TANDEM_MAC_REGISTER #(.PRESENT(1), .FALLING(FALLING)) accumulator(
    .C(clock), .E(enable & ~hold), .R(reset), .D(next), .Q(held)
  );
  assign out = OUTPUT_SELECT == 0 ? next : OUTPUT_SELECT == 1 ? held : OUTPUT_SELECT == 2 ? product : whole;
endmodule

// Multiplier of 16 by 16 bits, or two of 8 by 8, each half with an adder. Letters name the registers of the block diagram in the
// technology library.
module SB_MAC16(
  input CLK, CE, input [15:0] C, A, B, D, input AHOLD, BHOLD, CHOLD, DHOLD, IRSTTOP, IRSTBOT, ORSTTOP, ORSTBOT, OLOADTOP, OLOADBOT,
  ADDSUBTOP, ADDSUBBOT, OHOLDTOP, OHOLDBOT, CI, ACCUMCI, SIGNEXTIN, output [31:0] O, output CO, ACCUMCO, SIGNEXTOUT
);
  parameter [0:0] NEG_TRIGGER = 0;
  parameter [0:0] C_REG = 0;
  parameter [0:0] A_REG = 0;
  parameter [0:0] B_REG = 0;
  parameter [0:0] D_REG = 0;
  parameter [0:0] TOP_8x8_MULT_REG = 0;
  parameter [0:0] BOT_8x8_MULT_REG = 0;
  parameter [0:0] PIPELINE_16x16_MULT_REG1 = 0;
  parameter [0:0] PIPELINE_16x16_MULT_REG2 = 0;
  parameter [1:0] TOPOUTPUT_SELECT = 0;
  parameter [1:0] TOPADDSUB_LOWERINPUT = 0;
  parameter [0:0] TOPADDSUB_UPPERINPUT = 0;
  parameter [1:0] TOPADDSUB_CARRYSELECT = 0;
  parameter [1:0] BOTOUTPUT_SELECT = 0;
  parameter [1:0] BOTADDSUB_LOWERINPUT = 0;
  parameter [0:0] BOTADDSUB_UPPERINPUT = 0;
  parameter [1:0] BOTADDSUB_CARRYSELECT = 0;
  parameter [0:0] MODE_8x8 = 0;
  parameter [0:0] A_SIGNED = 0;
  parameter [0:0] B_SIGNED = 0;
  wire [15:0] a, b, c, d, f, g, j, k;
  wire [31:0] h;
  TANDEM_MAC_REGISTER #(.PRESENT(A_REG), .FALLING(NEG_TRIGGER)) at_a(.C(CLK), .E(CE & ~AHOLD), .R(IRSTTOP), .D(A), .Q(a));
  TANDEM_MAC_REGISTER #(.PRESENT(B_REG), .FALLING(NEG_TRIGGER)) at_b(.C(CLK), .E(CE & ~BHOLD), .R(IRSTBOT), .D(B), .Q(b));
  TANDEM_MAC_REGISTER #(.PRESENT(C_REG), .FALLING(NEG_TRIGGER)) at_c(.C(CLK), .E(CE & ~CHOLD), .R(IRSTTOP), .D(C), .Q(c));
  TANDEM_MAC_REGISTER #(.PRESENT(D_REG), .FALLING(NEG_TRIGGER)) at_d(.C(CLK), .E(CE & ~DHOLD), .R(IRSTBOT), .D(D), .Q(d));
  // The low half of an operand is signed only where it is an operand of its own.
  wire low_signed_a = A_SIGNED & MODE_8x8, low_signed_b = B_SIGNED & MODE_8x8;
  wire signed [8:0] high_a = {A_SIGNED & a[15], a[15:8]}, high_b = {B_SIGNED & b[15], b[15:8]};
  wire signed [8:0] low_a = {low_signed_a & a[7], a[7:0]}, low_b = {low_signed_b & b[7], b[7:0]};
  wire signed [8:0] plain_a = {1'b0, a[7:0]}, plain_b = {1'b0, b[7:0]};
  wire signed [17:0] high = high_a * high_b, low = low_a * low_b, low_high = plain_a * high_b, high_low = high_a * plain_b;
  TANDEM_MAC_REGISTER #(.PRESENT(TOP_8x8_MULT_REG), .FALLING(NEG_TRIGGER)) at_f(
    .C(CLK), .E(CE), .R(IRSTTOP), .D(high[15:0]), .Q(f)
  );
  TANDEM_MAC_REGISTER #(.PRESENT(BOT_8x8_MULT_REG), .FALLING(NEG_TRIGGER)) at_g(
    .C(CLK), .E(CE), .R(IRSTBOT), .D(low[15:0]), .Q(g)
  );
  // The registers of the 16 by 16 product stand still where there are two products.
  TANDEM_MAC_REGISTER #(.PRESENT(PIPELINE_16x16_MULT_REG1), .FALLING(NEG_TRIGGER)) at_j(
    .C(CLK), .E(CE & ~MODE_8x8), .R(IRSTTOP), .D(low_high[15:0]), .Q(j)
  );
  TANDEM_MAC_REGISTER #(.PRESENT(PIPELINE_16x16_MULT_REG1), .FALLING(NEG_TRIGGER)) at_k(
    .C(CLK), .E(CE & ~MODE_8x8), .R(IRSTBOT), .D(high_low[15:0]), .Q(k)
  );
  wire [31:0] across = {{8{B_SIGNED & j[15]}}, j, 8'b0} + {{8{A_SIGNED & k[15]}}, k, 8'b0};
  wire [31:0] whole = {f, 16'b0} + {16'b0, g} + {8'b0, across[23:0]} + {across[31:24], 24'b0};
  TANDEM_MAC_REGISTER #(.WIDTH(32), .PRESENT(PIPELINE_16x16_MULT_REG2), .FALLING(NEG_TRIGGER)) at_h(
    .C(CLK), .E(CE & ~MODE_8x8), .R(IRSTBOT), .D(whole), .Q(h)
  );
  wire [15:0] low_addend = BOTADDSUB_LOWERINPUT == 0 ? b : BOTADDSUB_LOWERINPUT == 1 ? g : BOTADDSUB_LOWERINPUT == 2 ? h[15:0]
    : {16{SIGNEXTIN}};
  wire [15:0] high_addend = TOPADDSUB_LOWERINPUT == 0 ? a : TOPADDSUB_LOWERINPUT == 1 ? f : TOPADDSUB_LOWERINPUT == 2 ? h[31:16]
    : {16{low_addend[15]}};
  wire low_overflow, high_overflow;
  wire low_carry = BOTADDSUB_CARRYSELECT == 0 ? 1'b0 : BOTADDSUB_CARRYSELECT == 1 ? 1'b1
    : BOTADDSUB_CARRYSELECT == 2 ? ACCUMCI : CI;
  wire high_carry = TOPADDSUB_CARRYSELECT == 0 ? 1'b0 : TOPADDSUB_CARRYSELECT == 1 ? 1'b1
    : TOPADDSUB_CARRYSELECT == 2 ? low_overflow : low_overflow ^ ADDSUBBOT;
  TANDEM_MAC_HALF #(.FALLING(NEG_TRIGGER), .OUTPUT_SELECT(TOPOUTPUT_SELECT), .UPPER_IS_LOADED(TOPADDSUB_UPPERINPUT)) top(
    .clock(CLK), .enable(CE), .reset(ORSTTOP), .hold(OHOLDTOP), .load(OLOADTOP), .subtract(ADDSUBTOP), .carry(high_carry),
    .loaded(c), .product(f), .whole(h[31:16]), .addend(high_addend), .out(O[31:16]), .overflow(high_overflow)
  );
  TANDEM_MAC_HALF #(.FALLING(NEG_TRIGGER), .OUTPUT_SELECT(BOTOUTPUT_SELECT), .UPPER_IS_LOADED(BOTADDSUB_UPPERINPUT)) bottom(
    .clock(CLK), .enable(CE), .reset(ORSTBOT), .hold(OHOLDBOT), .load(OLOADBOT), .subtract(ADDSUBBOT), .carry(low_carry),
    .loaded(d), .product(g), .whole(h[15:0]), .addend(low_addend), .out(O[15:0]), .overflow(low_overflow)
  );
  assign ACCUMCO = high_overflow;
  assign CO = high_overflow ^ ADDSUBTOP;
  assign SIGNEXTOUT = high_addend[15];
endmodule

module SB_GB(input USER_SIGNAL_TO_GLOBAL_BUFFER, output GLOBAL_BUFFER_OUTPUT);
  assign GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
endmodule

// A pad: input plain or through a register, output plain, through a register, or none. Both clock edges at once are not modelled.
module SB_IO(
  inout PACKAGE_PIN,
  input LATCH_INPUT_VALUE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1,
  output D_IN_0, D_IN_1
);
  parameter [5:0] PIN_TYPE = 6'b000000;
  parameter [0:0] PULLUP = 1'b0;
  parameter [0:0] NEG_TRIGGER = 1'b0;
  parameter IO_STANDARD = "SB_LVCMOS";
  generate
    if (PIN_TYPE[1] || (PIN_TYPE[5:4] != 2'b00 && PIN_TYPE[3:2] == 2'b00) || PIN_TYPE[3:2] == 2'b11 || NEG_TRIGGER) begin : other
      TANDEM_NOT_MODELLED pin_type();
    end
  endgenerate
  reg in_register = 1'b0, out_register = 1'b0, enable_register = 1'b0;
  always @(posedge INPUT_CLK) if (CLOCK_ENABLE) in_register <= PACKAGE_PIN;
  always @(posedge OUTPUT_CLK) if (CLOCK_ENABLE) begin
    out_register <= D_OUT_0;
    enable_register <= OUTPUT_ENABLE;
  end
  assign D_IN_0 = PIN_TYPE[0] ? PACKAGE_PIN : in_register;
  assign D_IN_1 = 1'b0;
  wire out = PIN_TYPE[3] ? D_OUT_0 : out_register;
  generate
    if (PIN_TYPE[5:4] == 2'b01) begin : always_driven
      assign PACKAGE_PIN = out;
    end else if (PIN_TYPE[5:4] == 2'b10) begin : driven
      assign PACKAGE_PIN = OUTPUT_ENABLE ? out : 1'bz;
    end else if (PIN_TYPE[5:4] == 2'b11) begin : driven_later
      assign PACKAGE_PIN = enable_register ? out : 1'bz;
    end
  endgenerate
endmodule

// A phase-locked loop on a pad, without its arithmetic: the output is the input clock.
module SB_PLL40_PAD(
  input PACKAGEPIN, EXTFEEDBACK, BYPASS, RESETB, LATCHINPUTVALUE, SDI, SCLK, input [7:0] DYNAMICDELAY,
  output PLLOUTCORE, PLLOUTGLOBAL, LOCK, SDO
);
  parameter FEEDBACK_PATH = "SIMPLE", DELAY_ADJUSTMENT_MODE_FEEDBACK = "FIXED", DELAY_ADJUSTMENT_MODE_RELATIVE = "FIXED";
  parameter SHIFTREG_DIV_MODE = 1'b0, FDA_FEEDBACK = 4'b0, FDA_RELATIVE = 4'b0, PLLOUT_SELECT = "GENCLK";
  parameter DIVR = 4'b0, DIVF = 7'b0, DIVQ = 3'b0, FILTER_RANGE = 3'b0, ENABLE_ICEGATE = 1'b0, TEST_MODE = 1'b0;
  parameter EXTERNAL_DIVIDE_FACTOR = 1;
  assign {PLLOUTCORE, PLLOUTGLOBAL} = {2{PACKAGEPIN}};
  assign LOCK = RESETB;
endmodule
