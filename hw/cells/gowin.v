// Cells of Gowin GW2A as yosys names them, in the behaviour that the data sheets give them after configuration: what a netlist
// needs to be simulated. Timing, power and the global reset are left out. A use that is not modelled stops at elaboration, by an
// instance of a module that does not exist.

module VCC(output V);
  assign V = 1'b1;
endmodule

module GND(output G);
  assign G = 1'b0;
endmodule

module LUT1(output F, input I0);
  parameter [1:0] INIT = 2'h0;
  assign F = INIT[I0];
endmodule

module LUT2(output F, input I0, I1);
  parameter [3:0] INIT = 4'h0;
  assign F = INIT[{I1, I0}];
endmodule

module LUT3(output F, input I0, I1, I2);
  parameter [7:0] INIT = 8'h00;
  assign F = INIT[{I2, I1, I0}];
endmodule

module LUT4(output F, input I0, I1, I2, I3);
  parameter [15:0] INIT = 16'h0000;
  assign F = INIT[{I3, I2, I1, I0}];
endmodule

module MUX2(output O, input I0, I1, S0);
  assign O = S0 ? I1 : I0;
endmodule

module MUX2_LUT5(output O, input I0, I1, S0);
  assign O = S0 ? I1 : I0;
endmodule

module MUX2_LUT6(output O, input I0, I1, S0);
  assign O = S0 ? I1 : I0;
endmodule

module MUX2_LUT7(output O, input I0, I1, S0);
  assign O = S0 ? I1 : I0;
endmodule

module MUX2_LUT8(output O, input I0, I1, S0);
  assign O = S0 ? I1 : I0;
endmodule

// Any of the registers: a clock edge, an enable, a set or a reset that waits for the clock or does not, and that comes before the
// enable.
module TANDEM_DFF(output reg Q, input C, E, R, D);
  parameter FALLING = 0;
  parameter ASYNC = 0;
  parameter VALUE = 1'b0;
  parameter START = 1'b0;
  initial Q = START;
  generate
    if (FALLING && ASYNC) begin : falling_async
      always @(negedge C, posedge R) if (R) Q <= VALUE; else if (E) Q <= D;
    end else if (FALLING) begin : falling
      always @(negedge C) if (R) Q <= VALUE; else if (E) Q <= D;
    end else if (ASYNC) begin : rising_async
      always @(posedge C, posedge R) if (R) Q <= VALUE; else if (E) Q <= D;
    end else begin : rising
      always @(posedge C) if (R) Q <= VALUE; else if (E) Q <= D;
    end
  endgenerate
endmodule

module DFF(output Q, input D, CLK);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(1'b0), .D(D));
endmodule

module DFFE(output Q, input D, CLK, CE);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT)) dff(.Q(Q), .C(CLK), .E(CE), .R(1'b0), .D(D));
endmodule

module DFFS(output Q, input D, CLK, SET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(SET), .D(D));
endmodule

module DFFSE(output Q, input D, CLK, CE, SET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(CE), .R(SET), .D(D));
endmodule

module DFFR(output Q, input D, CLK, RESET);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(RESET), .D(D));
endmodule

module DFFRE(output Q, input D, CLK, CE, RESET);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT)) dff(.Q(Q), .C(CLK), .E(CE), .R(RESET), .D(D));
endmodule

module DFFP(output Q, input D, CLK, PRESET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(PRESET), .D(D));
endmodule

module DFFPE(output Q, input D, CLK, CE, PRESET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(CE), .R(PRESET), .D(D));
endmodule

module DFFC(output Q, input D, CLK, CLEAR);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .ASYNC(1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(CLEAR), .D(D));
endmodule

module DFFCE(output Q, input D, CLK, CE, CLEAR);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .ASYNC(1)) dff(.Q(Q), .C(CLK), .E(CE), .R(CLEAR), .D(D));
endmodule

module DFFN(output Q, input D, CLK);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(1'b0), .D(D));
endmodule

module DFFNE(output Q, input D, CLK, CE);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1)) dff(.Q(Q), .C(CLK), .E(CE), .R(1'b0), .D(D));
endmodule

module DFFNS(output Q, input D, CLK, SET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(SET), .D(D));
endmodule

module DFFNSE(output Q, input D, CLK, CE, SET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(CE), .R(SET), .D(D));
endmodule

module DFFNR(output Q, input D, CLK, RESET);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(RESET), .D(D));
endmodule

module DFFNRE(output Q, input D, CLK, CE, RESET);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1)) dff(.Q(Q), .C(CLK), .E(CE), .R(RESET), .D(D));
endmodule

module DFFNP(output Q, input D, CLK, PRESET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(PRESET), .D(D));
endmodule

module DFFNPE(output Q, input D, CLK, CE, PRESET);
  parameter [0:0] INIT = 1'b1;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .ASYNC(1), .VALUE(1'b1)) dff(.Q(Q), .C(CLK), .E(CE), .R(PRESET), .D(D));
endmodule

module DFFNC(output Q, input D, CLK, CLEAR);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .ASYNC(1)) dff(.Q(Q), .C(CLK), .E(1'b1), .R(CLEAR), .D(D));
endmodule

module DFFNCE(output Q, input D, CLK, CE, CLEAR);
  parameter [0:0] INIT = 1'b0;
  TANDEM_DFF #(.START(INIT), .FALLING(1), .ASYNC(1)) dff(.Q(Q), .C(CLK), .E(CE), .R(CLEAR), .D(D));
endmodule

// One bit of a carry chain: the carry passes where `through`, else it is `made`.
module ALU(output SUM, COUT, input I0, I1, I3, CIN);
  parameter integer ALU_MODE = 0;
  reg through, made;
  always @* begin
    case (ALU_MODE)
      0: {through, made} = {I0 ^ I1, I0};
      1: {through, made} = {I0 ^ ~I1, I0};
      2: {through, made} = {I0 ^ I1 ^ ~I3, I0};
      3: {through, made} = {I0 ^ ~I1, 1'b1};
      4: {through, made} = {I0 ^ ~I1, I0};
      5: {through, made} = {~I0 ^ I1, I1};
      6: {through, made} = {I0, 1'b0};
      7: {through, made} = {~I0, 1'b1};
      8: {through, made} = {I0 ^ ~I3, I0};
      default: {through, made} = {I0 & I1 ^ I3, I0 & I1};
    endcase
  end
  assign SUM = through ^ CIN;
  assign COUT = through ? CIN : made;
endmodule

module RAM16SDP1(output DO, input DI, input [3:0] WAD, RAD, input WRE, CLK);
  parameter [15:0] INIT_0 = 16'h0000;
  reg [15:0] column_0;
  initial begin column_0 = INIT_0; end
  always @(posedge CLK) if (WRE) begin
    column_0[WAD] <= DI;
  end
  assign DO = column_0[RAD];
endmodule

module RAM16SDP2(output [1:0] DO, input [1:0] DI, input [3:0] WAD, RAD, input WRE, CLK);
  parameter [15:0] INIT_0 = 16'h0000;
  parameter [15:0] INIT_1 = 16'h0000;
  reg [15:0] column_0, column_1;
  initial begin column_0 = INIT_0; column_1 = INIT_1; end
  always @(posedge CLK) if (WRE) begin
    column_0[WAD] <= DI[0];
    column_1[WAD] <= DI[1];
  end
  assign DO[0] = column_0[RAD];
  assign DO[1] = column_1[RAD];
endmodule

module RAM16SDP4(output [3:0] DO, input [3:0] DI, input [3:0] WAD, RAD, input WRE, CLK);
  parameter [15:0] INIT_0 = 16'h0000;
  parameter [15:0] INIT_1 = 16'h0000;
  parameter [15:0] INIT_2 = 16'h0000;
  parameter [15:0] INIT_3 = 16'h0000;
  reg [15:0] column_0, column_1, column_2, column_3;
  initial begin column_0 = INIT_0; column_1 = INIT_1; column_2 = INIT_2; column_3 = INIT_3; end
  always @(posedge CLK) if (WRE) begin
    column_0[WAD] <= DI[0];
    column_1[WAD] <= DI[1];
    column_2[WAD] <= DI[2];
    column_3[WAD] <= DI[3];
  end
  assign DO[0] = column_0[RAD];
  assign DO[1] = column_1[RAD];
  assign DO[2] = column_2[RAD];
  assign DO[3] = column_3[RAD];
endmodule

// One side of a block RAM whose words have four bytes: where and what it reads or writes. The low address bits that a port of more
// than one byte does not need choose the bytes that it writes.
module TANDEM_BSRAM_PORT(input [13:0] AD, input [35:0] DI, output [8:0] word, output reg [35:0] data, mask,
                         input [35:0] read, output reg [35:0] out);
  parameter integer BYTE = 9;
  parameter integer WIDTH = 36;
  assign word = AD[13:5];
  wire [35:0] ones = (36'd1 << BYTE) - 36'd1;
  wire [5:0] offset = WIDTH >= 4 * BYTE ? 6'd0 : WIDTH >= 2 * BYTE ? {5'b0, AD[4]} * (6'd2 * BYTE[5:0])
    : WIDTH >= BYTE ? {4'b0, AD[4:3]} * BYTE[5:0] : {1'b0, AD[4:0]};
  integer at;
  always @* begin
    mask = 36'b0;
    if (WIDTH >= 2 * BYTE) begin
      for (at = 0; at < WIDTH / BYTE; at = at + 1) if (AD[at]) mask = mask | ones << (at * BYTE);
    end else mask = (36'd1 << WIDTH) - 36'd1;
    mask = mask << offset;
    data = DI << offset;
    out = read >> offset & ((WIDTH == 36 ? 36'd0 : 36'd1 << WIDTH) - 36'd1);
  end
endmodule

// What stands behind a block RAM's read port: the latch that a clock fills, and the register behind it.
module TANDEM_BSRAM_OUT(input CLK, RESET, OCE, fill, input [35:0] value, output [35:0] Q);
  parameter RESET_MODE = "SYNC";
  parameter [0:0] PIPELINED = 1'b0;
  reg [35:0] latch = 36'b0, register = 36'b0;
  generate
    if (RESET_MODE == "ASYNC") begin : async
      always @(posedge CLK, posedge RESET) if (RESET) latch <= 36'b0; else if (fill) latch <= value;
      always @(posedge CLK, posedge RESET) if (RESET) register <= 36'b0; else if (OCE) register <= latch;
    end else begin : sync
      always @(posedge CLK) if (RESET) latch <= 36'b0; else if (fill) latch <= value;
      always @(posedge CLK) if (RESET) register <= 36'b0; else if (OCE) register <= latch;
    end
  endgenerate
  assign Q = PIPELINED ? register : latch;
endmodule

// Block RAM with two ports, bytes of 8 or 9 bits.
//
// Bits that one port writes while the other reads them are read as their inverse: no design may depend on them. Both ports have
// one clock in every design here.
module TANDEM_BSRAM(
  input CLKA, CEA, OCEA, RESETA, WREA, CLKB, CEB, OCEB, RESETB, WREB, chosen_a, chosen_b, input [13:0] ADA, ADB,
  input [35:0] DIA, DIB, output [35:0] DOA, DOB
);
  parameter integer BYTE = 9;
  parameter integer WIDTH_A = 36;
  parameter integer WIDTH_B = 36;
  parameter TWO_WRITERS = 0;
  parameter [0:0] PIPELINED_A = 1'b0;
  parameter [0:0] PIPELINED_B = 1'b0;
  parameter [1:0] WRITE_MODE_A = 2'b00;
  parameter [1:0] WRITE_MODE_B = 2'b00;
  parameter RESET_MODE = "SYNC";
  parameter [18431:0] INIT = 18432'b0;
  reg [35:0] words [0:511];
  integer at;
  initial for (at = 0; at < 512; at = at + 1) words[at] = INIT[at * 4 * BYTE +: 4 * BYTE];
  wire [8:0] word_a, word_b;
  wire [35:0] data_a, data_b, mask_a, mask_b, out_a, out_b, old_a = words[word_a], old_b = words[word_b];
  wire [35:0] new_a = old_a & ~mask_a | data_a & mask_a, new_b = old_b & ~mask_b | data_b & mask_b;
  wire write_a = CEA & WREA & chosen_a, write_b = CEB & WREB & chosen_b, meet = word_a == word_b;
  // 0 keeps the output while it writes, 1 shows what it writes, 2 what was there before.
  wire read_a = CEA & chosen_a & (~WREA | WRITE_MODE_A != 0), read_b = CEB & chosen_b & (~WREB | WRITE_MODE_B != 0);
  wire [35:0] seen_a = write_a && WRITE_MODE_A == 1 ? new_a : old_a, seen_b = write_b && WRITE_MODE_B == 1 ? new_b : old_b;
  TANDEM_BSRAM_PORT #(.BYTE(BYTE), .WIDTH(WIDTH_A)) a(
    .AD(ADA), .DI(DIA), .word(word_a), .data(data_a), .mask(mask_a), .read(write_b && meet ? seen_a ^ mask_b : seen_a), .out(out_a)
  );
  TANDEM_BSRAM_PORT #(.BYTE(BYTE), .WIDTH(WIDTH_B)) b(
    .AD(ADB), .DI(DIB), .word(word_b), .data(data_b), .mask(mask_b), .read(write_a && meet ? seen_b ^ mask_a : seen_b), .out(out_b)
  );
  TANDEM_BSRAM_OUT #(.RESET_MODE(RESET_MODE), .PIPELINED(PIPELINED_A)) at_a(
    .CLK(CLKA), .RESET(RESETA), .OCE(OCEA), .fill(read_a), .value(out_a), .Q(DOA)
  );
  TANDEM_BSRAM_OUT #(.RESET_MODE(RESET_MODE), .PIPELINED(PIPELINED_B)) at_b(
    .CLK(CLKB), .RESET(RESETB), .OCE(OCEB), .fill(read_b), .value(out_b), .Q(DOB)
  );
  // With two ports that write, each writes its own bits and leaves the others of the word to the other port.
  integer bit_a, bit_b;
  generate
    if (TWO_WRITERS) begin : two_writers
      always @(posedge CLKA) if (write_a)
        for (bit_a = 0; bit_a < 36; bit_a = bit_a + 1) if (mask_a[bit_a]) words[word_a][bit_a] <= data_a[bit_a];
      always @(posedge CLKB) if (write_b)
        for (bit_b = 0; bit_b < 36; bit_b = bit_b + 1) if (mask_b[bit_b]) words[word_b][bit_b] <= data_b[bit_b];
    end else begin : one_writer
      always @(posedge CLKA) if (write_a) words[word_a] <= new_a;
    end
  endgenerate
endmodule

module SDPX9B(
  input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB, input [13:0] ADA, ADB, input [2:0] BLKSELA, BLKSELB, input [35:0] DI,
  output [35:0] DO
);
  parameter READ_MODE = 1'b0;
  parameter BIT_WIDTH_0 = 36;
  parameter BIT_WIDTH_1 = 36;
  parameter BLK_SEL_0 = 3'b000;
  parameter BLK_SEL_1 = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [287:0] INIT_RAM_00 = 288'h0, INIT_RAM_01 = 288'h0, INIT_RAM_02 = 288'h0, INIT_RAM_03 = 288'h0;
  parameter [287:0] INIT_RAM_04 = 288'h0, INIT_RAM_05 = 288'h0, INIT_RAM_06 = 288'h0, INIT_RAM_07 = 288'h0;
  parameter [287:0] INIT_RAM_08 = 288'h0, INIT_RAM_09 = 288'h0, INIT_RAM_0A = 288'h0, INIT_RAM_0B = 288'h0;
  parameter [287:0] INIT_RAM_0C = 288'h0, INIT_RAM_0D = 288'h0, INIT_RAM_0E = 288'h0, INIT_RAM_0F = 288'h0;
  parameter [287:0] INIT_RAM_10 = 288'h0, INIT_RAM_11 = 288'h0, INIT_RAM_12 = 288'h0, INIT_RAM_13 = 288'h0;
  parameter [287:0] INIT_RAM_14 = 288'h0, INIT_RAM_15 = 288'h0, INIT_RAM_16 = 288'h0, INIT_RAM_17 = 288'h0;
  parameter [287:0] INIT_RAM_18 = 288'h0, INIT_RAM_19 = 288'h0, INIT_RAM_1A = 288'h0, INIT_RAM_1B = 288'h0;
  parameter [287:0] INIT_RAM_1C = 288'h0, INIT_RAM_1D = 288'h0, INIT_RAM_1E = 288'h0, INIT_RAM_1F = 288'h0;
  parameter [287:0] INIT_RAM_20 = 288'h0, INIT_RAM_21 = 288'h0, INIT_RAM_22 = 288'h0, INIT_RAM_23 = 288'h0;
  parameter [287:0] INIT_RAM_24 = 288'h0, INIT_RAM_25 = 288'h0, INIT_RAM_26 = 288'h0, INIT_RAM_27 = 288'h0;
  parameter [287:0] INIT_RAM_28 = 288'h0, INIT_RAM_29 = 288'h0, INIT_RAM_2A = 288'h0, INIT_RAM_2B = 288'h0;
  parameter [287:0] INIT_RAM_2C = 288'h0, INIT_RAM_2D = 288'h0, INIT_RAM_2E = 288'h0, INIT_RAM_2F = 288'h0;
  parameter [287:0] INIT_RAM_30 = 288'h0, INIT_RAM_31 = 288'h0, INIT_RAM_32 = 288'h0, INIT_RAM_33 = 288'h0;
  parameter [287:0] INIT_RAM_34 = 288'h0, INIT_RAM_35 = 288'h0, INIT_RAM_36 = 288'h0, INIT_RAM_37 = 288'h0;
  parameter [287:0] INIT_RAM_38 = 288'h0, INIT_RAM_39 = 288'h0, INIT_RAM_3A = 288'h0, INIT_RAM_3B = 288'h0;
  parameter [287:0] INIT_RAM_3C = 288'h0, INIT_RAM_3D = 288'h0, INIT_RAM_3E = 288'h0, INIT_RAM_3F = 288'h0;
  wire [35:0] unused, out;
  TANDEM_BSRAM #(
    .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINED_B(READ_MODE), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLKA), .CEA(CEA), .OCEA(1'b0), .RESETA(1'b0), .WREA(1'b1), .CLKB(CLKB), .CEB(CEB), .OCEB(OCE), .RESETB(RESETB),
    .WREB(1'b0), .chosen_a(BLKSELA == BLK_SEL_0), .chosen_b(BLKSELB == BLK_SEL_1), .ADA(ADA), .ADB(ADB),
    .DIA(DI), .DIB(36'b0), .DOA(unused), .DOB(out)
  );
  assign DO = out;
endmodule

module SDPB(
  input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB, input [13:0] ADA, ADB, input [2:0] BLKSELA, BLKSELB, input [31:0] DI,
  output [31:0] DO
);
  parameter READ_MODE = 1'b0;
  parameter BIT_WIDTH_0 = 32;
  parameter BIT_WIDTH_1 = 32;
  parameter BLK_SEL_0 = 3'b000;
  parameter BLK_SEL_1 = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [255:0] INIT_RAM_00 = 256'h0, INIT_RAM_01 = 256'h0, INIT_RAM_02 = 256'h0, INIT_RAM_03 = 256'h0;
  parameter [255:0] INIT_RAM_04 = 256'h0, INIT_RAM_05 = 256'h0, INIT_RAM_06 = 256'h0, INIT_RAM_07 = 256'h0;
  parameter [255:0] INIT_RAM_08 = 256'h0, INIT_RAM_09 = 256'h0, INIT_RAM_0A = 256'h0, INIT_RAM_0B = 256'h0;
  parameter [255:0] INIT_RAM_0C = 256'h0, INIT_RAM_0D = 256'h0, INIT_RAM_0E = 256'h0, INIT_RAM_0F = 256'h0;
  parameter [255:0] INIT_RAM_10 = 256'h0, INIT_RAM_11 = 256'h0, INIT_RAM_12 = 256'h0, INIT_RAM_13 = 256'h0;
  parameter [255:0] INIT_RAM_14 = 256'h0, INIT_RAM_15 = 256'h0, INIT_RAM_16 = 256'h0, INIT_RAM_17 = 256'h0;
  parameter [255:0] INIT_RAM_18 = 256'h0, INIT_RAM_19 = 256'h0, INIT_RAM_1A = 256'h0, INIT_RAM_1B = 256'h0;
  parameter [255:0] INIT_RAM_1C = 256'h0, INIT_RAM_1D = 256'h0, INIT_RAM_1E = 256'h0, INIT_RAM_1F = 256'h0;
  parameter [255:0] INIT_RAM_20 = 256'h0, INIT_RAM_21 = 256'h0, INIT_RAM_22 = 256'h0, INIT_RAM_23 = 256'h0;
  parameter [255:0] INIT_RAM_24 = 256'h0, INIT_RAM_25 = 256'h0, INIT_RAM_26 = 256'h0, INIT_RAM_27 = 256'h0;
  parameter [255:0] INIT_RAM_28 = 256'h0, INIT_RAM_29 = 256'h0, INIT_RAM_2A = 256'h0, INIT_RAM_2B = 256'h0;
  parameter [255:0] INIT_RAM_2C = 256'h0, INIT_RAM_2D = 256'h0, INIT_RAM_2E = 256'h0, INIT_RAM_2F = 256'h0;
  parameter [255:0] INIT_RAM_30 = 256'h0, INIT_RAM_31 = 256'h0, INIT_RAM_32 = 256'h0, INIT_RAM_33 = 256'h0;
  parameter [255:0] INIT_RAM_34 = 256'h0, INIT_RAM_35 = 256'h0, INIT_RAM_36 = 256'h0, INIT_RAM_37 = 256'h0;
  parameter [255:0] INIT_RAM_38 = 256'h0, INIT_RAM_39 = 256'h0, INIT_RAM_3A = 256'h0, INIT_RAM_3B = 256'h0;
  parameter [255:0] INIT_RAM_3C = 256'h0, INIT_RAM_3D = 256'h0, INIT_RAM_3E = 256'h0, INIT_RAM_3F = 256'h0;
  wire [35:0] unused, out;
  TANDEM_BSRAM #(
    .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .PIPELINED_B(READ_MODE), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLKA), .CEA(CEA), .OCEA(1'b0), .RESETA(1'b0), .WREA(1'b1), .CLKB(CLKB), .CEB(CEB), .OCEB(OCE), .RESETB(RESETB),
    .WREB(1'b0), .chosen_a(BLKSELA == BLK_SEL_0), .chosen_b(BLKSELB == BLK_SEL_1), .ADA(ADA), .ADB(ADB),
    .DIA({4'b0, DI}), .DIB(36'b0), .DOA(unused), .DOB(out)
  );
  assign DO = out[31:0];
endmodule

module DPX9B(
  input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB, input [13:0] ADA, ADB, input [2:0] BLKSELA, BLKSELB,
  input [17:0] DIA, DIB, output [17:0] DOA, DOB
);
  parameter READ_MODE0 = 1'b0;
  parameter READ_MODE1 = 1'b0;
  parameter WRITE_MODE0 = 2'b00;
  parameter WRITE_MODE1 = 2'b00;
  parameter BIT_WIDTH_0 = 18;
  parameter BIT_WIDTH_1 = 18;
  parameter BLK_SEL_0 = 3'b000;
  parameter BLK_SEL_1 = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [287:0] INIT_RAM_00 = 288'h0, INIT_RAM_01 = 288'h0, INIT_RAM_02 = 288'h0, INIT_RAM_03 = 288'h0;
  parameter [287:0] INIT_RAM_04 = 288'h0, INIT_RAM_05 = 288'h0, INIT_RAM_06 = 288'h0, INIT_RAM_07 = 288'h0;
  parameter [287:0] INIT_RAM_08 = 288'h0, INIT_RAM_09 = 288'h0, INIT_RAM_0A = 288'h0, INIT_RAM_0B = 288'h0;
  parameter [287:0] INIT_RAM_0C = 288'h0, INIT_RAM_0D = 288'h0, INIT_RAM_0E = 288'h0, INIT_RAM_0F = 288'h0;
  parameter [287:0] INIT_RAM_10 = 288'h0, INIT_RAM_11 = 288'h0, INIT_RAM_12 = 288'h0, INIT_RAM_13 = 288'h0;
  parameter [287:0] INIT_RAM_14 = 288'h0, INIT_RAM_15 = 288'h0, INIT_RAM_16 = 288'h0, INIT_RAM_17 = 288'h0;
  parameter [287:0] INIT_RAM_18 = 288'h0, INIT_RAM_19 = 288'h0, INIT_RAM_1A = 288'h0, INIT_RAM_1B = 288'h0;
  parameter [287:0] INIT_RAM_1C = 288'h0, INIT_RAM_1D = 288'h0, INIT_RAM_1E = 288'h0, INIT_RAM_1F = 288'h0;
  parameter [287:0] INIT_RAM_20 = 288'h0, INIT_RAM_21 = 288'h0, INIT_RAM_22 = 288'h0, INIT_RAM_23 = 288'h0;
  parameter [287:0] INIT_RAM_24 = 288'h0, INIT_RAM_25 = 288'h0, INIT_RAM_26 = 288'h0, INIT_RAM_27 = 288'h0;
  parameter [287:0] INIT_RAM_28 = 288'h0, INIT_RAM_29 = 288'h0, INIT_RAM_2A = 288'h0, INIT_RAM_2B = 288'h0;
  parameter [287:0] INIT_RAM_2C = 288'h0, INIT_RAM_2D = 288'h0, INIT_RAM_2E = 288'h0, INIT_RAM_2F = 288'h0;
  parameter [287:0] INIT_RAM_30 = 288'h0, INIT_RAM_31 = 288'h0, INIT_RAM_32 = 288'h0, INIT_RAM_33 = 288'h0;
  parameter [287:0] INIT_RAM_34 = 288'h0, INIT_RAM_35 = 288'h0, INIT_RAM_36 = 288'h0, INIT_RAM_37 = 288'h0;
  parameter [287:0] INIT_RAM_38 = 288'h0, INIT_RAM_39 = 288'h0, INIT_RAM_3A = 288'h0, INIT_RAM_3B = 288'h0;
  parameter [287:0] INIT_RAM_3C = 288'h0, INIT_RAM_3D = 288'h0, INIT_RAM_3E = 288'h0, INIT_RAM_3F = 288'h0;
  wire [35:0] out_a, out_b;
  TANDEM_BSRAM #(
    .BYTE(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .TWO_WRITERS(1), .PIPELINED_A(READ_MODE0), .PIPELINED_B(READ_MODE1),
    .WRITE_MODE_A(WRITE_MODE0), .WRITE_MODE_B(WRITE_MODE1), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLKA), .CEA(CEA), .OCEA(OCEA), .RESETA(RESETA), .WREA(WREA), .CLKB(CLKB), .CEB(CEB), .OCEB(OCEB), .RESETB(RESETB),
    .WREB(WREB), .chosen_a(BLKSELA == BLK_SEL_0), .chosen_b(BLKSELB == BLK_SEL_1), .ADA(ADA), .ADB(ADB),
    .DIA({18'b0, DIA}), .DIB({18'b0, DIB}), .DOA(out_a), .DOB(out_b)
  );
  assign DOA = out_a[17:0];
  assign DOB = out_b[17:0];
endmodule

module DPB(
  input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB, input [13:0] ADA, ADB, input [2:0] BLKSELA, BLKSELB,
  input [15:0] DIA, DIB, output [15:0] DOA, DOB
);
  parameter READ_MODE0 = 1'b0;
  parameter READ_MODE1 = 1'b0;
  parameter WRITE_MODE0 = 2'b00;
  parameter WRITE_MODE1 = 2'b00;
  parameter BIT_WIDTH_0 = 16;
  parameter BIT_WIDTH_1 = 16;
  parameter BLK_SEL_0 = 3'b000;
  parameter BLK_SEL_1 = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [255:0] INIT_RAM_00 = 256'h0, INIT_RAM_01 = 256'h0, INIT_RAM_02 = 256'h0, INIT_RAM_03 = 256'h0;
  parameter [255:0] INIT_RAM_04 = 256'h0, INIT_RAM_05 = 256'h0, INIT_RAM_06 = 256'h0, INIT_RAM_07 = 256'h0;
  parameter [255:0] INIT_RAM_08 = 256'h0, INIT_RAM_09 = 256'h0, INIT_RAM_0A = 256'h0, INIT_RAM_0B = 256'h0;
  parameter [255:0] INIT_RAM_0C = 256'h0, INIT_RAM_0D = 256'h0, INIT_RAM_0E = 256'h0, INIT_RAM_0F = 256'h0;
  parameter [255:0] INIT_RAM_10 = 256'h0, INIT_RAM_11 = 256'h0, INIT_RAM_12 = 256'h0, INIT_RAM_13 = 256'h0;
  parameter [255:0] INIT_RAM_14 = 256'h0, INIT_RAM_15 = 256'h0, INIT_RAM_16 = 256'h0, INIT_RAM_17 = 256'h0;
  parameter [255:0] INIT_RAM_18 = 256'h0, INIT_RAM_19 = 256'h0, INIT_RAM_1A = 256'h0, INIT_RAM_1B = 256'h0;
  parameter [255:0] INIT_RAM_1C = 256'h0, INIT_RAM_1D = 256'h0, INIT_RAM_1E = 256'h0, INIT_RAM_1F = 256'h0;
  parameter [255:0] INIT_RAM_20 = 256'h0, INIT_RAM_21 = 256'h0, INIT_RAM_22 = 256'h0, INIT_RAM_23 = 256'h0;
  parameter [255:0] INIT_RAM_24 = 256'h0, INIT_RAM_25 = 256'h0, INIT_RAM_26 = 256'h0, INIT_RAM_27 = 256'h0;
  parameter [255:0] INIT_RAM_28 = 256'h0, INIT_RAM_29 = 256'h0, INIT_RAM_2A = 256'h0, INIT_RAM_2B = 256'h0;
  parameter [255:0] INIT_RAM_2C = 256'h0, INIT_RAM_2D = 256'h0, INIT_RAM_2E = 256'h0, INIT_RAM_2F = 256'h0;
  parameter [255:0] INIT_RAM_30 = 256'h0, INIT_RAM_31 = 256'h0, INIT_RAM_32 = 256'h0, INIT_RAM_33 = 256'h0;
  parameter [255:0] INIT_RAM_34 = 256'h0, INIT_RAM_35 = 256'h0, INIT_RAM_36 = 256'h0, INIT_RAM_37 = 256'h0;
  parameter [255:0] INIT_RAM_38 = 256'h0, INIT_RAM_39 = 256'h0, INIT_RAM_3A = 256'h0, INIT_RAM_3B = 256'h0;
  parameter [255:0] INIT_RAM_3C = 256'h0, INIT_RAM_3D = 256'h0, INIT_RAM_3E = 256'h0, INIT_RAM_3F = 256'h0;
  wire [35:0] out_a, out_b;
  TANDEM_BSRAM #(
    .BYTE(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .TWO_WRITERS(1), .PIPELINED_A(READ_MODE0), .PIPELINED_B(READ_MODE1),
    .WRITE_MODE_A(WRITE_MODE0), .WRITE_MODE_B(WRITE_MODE1), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLKA), .CEA(CEA), .OCEA(OCEA), .RESETA(RESETA), .WREA(WREA), .CLKB(CLKB), .CEB(CEB), .OCEB(OCEB), .RESETB(RESETB),
    .WREB(WREB), .chosen_a(BLKSELA == BLK_SEL_0), .chosen_b(BLKSELB == BLK_SEL_1), .ADA(ADA), .ADB(ADB),
    .DIA({20'b0, DIA}), .DIB({20'b0, DIB}), .DOA(out_a), .DOB(out_b)
  );
  assign DOA = out_a[15:0];
  assign DOB = out_b[15:0];
endmodule

module SPX9(
  input CLK, CE, OCE, RESET, WRE, input [13:0] AD, input [2:0] BLKSEL, input [35:0] DI, output [35:0] DO
);
  parameter READ_MODE = 1'b0;
  parameter WRITE_MODE = 2'b00;
  parameter BIT_WIDTH = 36;
  parameter BLK_SEL = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [287:0] INIT_RAM_00 = 288'h0, INIT_RAM_01 = 288'h0, INIT_RAM_02 = 288'h0, INIT_RAM_03 = 288'h0;
  parameter [287:0] INIT_RAM_04 = 288'h0, INIT_RAM_05 = 288'h0, INIT_RAM_06 = 288'h0, INIT_RAM_07 = 288'h0;
  parameter [287:0] INIT_RAM_08 = 288'h0, INIT_RAM_09 = 288'h0, INIT_RAM_0A = 288'h0, INIT_RAM_0B = 288'h0;
  parameter [287:0] INIT_RAM_0C = 288'h0, INIT_RAM_0D = 288'h0, INIT_RAM_0E = 288'h0, INIT_RAM_0F = 288'h0;
  parameter [287:0] INIT_RAM_10 = 288'h0, INIT_RAM_11 = 288'h0, INIT_RAM_12 = 288'h0, INIT_RAM_13 = 288'h0;
  parameter [287:0] INIT_RAM_14 = 288'h0, INIT_RAM_15 = 288'h0, INIT_RAM_16 = 288'h0, INIT_RAM_17 = 288'h0;
  parameter [287:0] INIT_RAM_18 = 288'h0, INIT_RAM_19 = 288'h0, INIT_RAM_1A = 288'h0, INIT_RAM_1B = 288'h0;
  parameter [287:0] INIT_RAM_1C = 288'h0, INIT_RAM_1D = 288'h0, INIT_RAM_1E = 288'h0, INIT_RAM_1F = 288'h0;
  parameter [287:0] INIT_RAM_20 = 288'h0, INIT_RAM_21 = 288'h0, INIT_RAM_22 = 288'h0, INIT_RAM_23 = 288'h0;
  parameter [287:0] INIT_RAM_24 = 288'h0, INIT_RAM_25 = 288'h0, INIT_RAM_26 = 288'h0, INIT_RAM_27 = 288'h0;
  parameter [287:0] INIT_RAM_28 = 288'h0, INIT_RAM_29 = 288'h0, INIT_RAM_2A = 288'h0, INIT_RAM_2B = 288'h0;
  parameter [287:0] INIT_RAM_2C = 288'h0, INIT_RAM_2D = 288'h0, INIT_RAM_2E = 288'h0, INIT_RAM_2F = 288'h0;
  parameter [287:0] INIT_RAM_30 = 288'h0, INIT_RAM_31 = 288'h0, INIT_RAM_32 = 288'h0, INIT_RAM_33 = 288'h0;
  parameter [287:0] INIT_RAM_34 = 288'h0, INIT_RAM_35 = 288'h0, INIT_RAM_36 = 288'h0, INIT_RAM_37 = 288'h0;
  parameter [287:0] INIT_RAM_38 = 288'h0, INIT_RAM_39 = 288'h0, INIT_RAM_3A = 288'h0, INIT_RAM_3B = 288'h0;
  parameter [287:0] INIT_RAM_3C = 288'h0, INIT_RAM_3D = 288'h0, INIT_RAM_3E = 288'h0, INIT_RAM_3F = 288'h0;
  wire [35:0] out, unused;
  TANDEM_BSRAM #(
    .BYTE(9), .WIDTH_A(BIT_WIDTH), .PIPELINED_A(READ_MODE), .WRITE_MODE_A(WRITE_MODE), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLK), .CEA(CE), .OCEA(OCE), .RESETA(RESET), .WREA(WRE), .CLKB(CLK), .CEB(1'b0), .OCEB(1'b0), .RESETB(1'b0),
    .WREB(1'b0), .chosen_a(BLKSEL == BLK_SEL), .chosen_b(1'b0), .ADA(AD), .ADB(14'b0), .DIA(DI), .DIB(36'b0), .DOA(out),
    .DOB(unused)
  );
  assign DO = out;
endmodule

module SP(
  input CLK, CE, OCE, RESET, WRE, input [13:0] AD, input [2:0] BLKSEL, input [31:0] DI, output [31:0] DO
);
  parameter READ_MODE = 1'b0;
  parameter WRITE_MODE = 2'b00;
  parameter BIT_WIDTH = 32;
  parameter BLK_SEL = 3'b000;
  parameter RESET_MODE = "SYNC";
  parameter [255:0] INIT_RAM_00 = 256'h0, INIT_RAM_01 = 256'h0, INIT_RAM_02 = 256'h0, INIT_RAM_03 = 256'h0;
  parameter [255:0] INIT_RAM_04 = 256'h0, INIT_RAM_05 = 256'h0, INIT_RAM_06 = 256'h0, INIT_RAM_07 = 256'h0;
  parameter [255:0] INIT_RAM_08 = 256'h0, INIT_RAM_09 = 256'h0, INIT_RAM_0A = 256'h0, INIT_RAM_0B = 256'h0;
  parameter [255:0] INIT_RAM_0C = 256'h0, INIT_RAM_0D = 256'h0, INIT_RAM_0E = 256'h0, INIT_RAM_0F = 256'h0;
  parameter [255:0] INIT_RAM_10 = 256'h0, INIT_RAM_11 = 256'h0, INIT_RAM_12 = 256'h0, INIT_RAM_13 = 256'h0;
  parameter [255:0] INIT_RAM_14 = 256'h0, INIT_RAM_15 = 256'h0, INIT_RAM_16 = 256'h0, INIT_RAM_17 = 256'h0;
  parameter [255:0] INIT_RAM_18 = 256'h0, INIT_RAM_19 = 256'h0, INIT_RAM_1A = 256'h0, INIT_RAM_1B = 256'h0;
  parameter [255:0] INIT_RAM_1C = 256'h0, INIT_RAM_1D = 256'h0, INIT_RAM_1E = 256'h0, INIT_RAM_1F = 256'h0;
  parameter [255:0] INIT_RAM_20 = 256'h0, INIT_RAM_21 = 256'h0, INIT_RAM_22 = 256'h0, INIT_RAM_23 = 256'h0;
  parameter [255:0] INIT_RAM_24 = 256'h0, INIT_RAM_25 = 256'h0, INIT_RAM_26 = 256'h0, INIT_RAM_27 = 256'h0;
  parameter [255:0] INIT_RAM_28 = 256'h0, INIT_RAM_29 = 256'h0, INIT_RAM_2A = 256'h0, INIT_RAM_2B = 256'h0;
  parameter [255:0] INIT_RAM_2C = 256'h0, INIT_RAM_2D = 256'h0, INIT_RAM_2E = 256'h0, INIT_RAM_2F = 256'h0;
  parameter [255:0] INIT_RAM_30 = 256'h0, INIT_RAM_31 = 256'h0, INIT_RAM_32 = 256'h0, INIT_RAM_33 = 256'h0;
  parameter [255:0] INIT_RAM_34 = 256'h0, INIT_RAM_35 = 256'h0, INIT_RAM_36 = 256'h0, INIT_RAM_37 = 256'h0;
  parameter [255:0] INIT_RAM_38 = 256'h0, INIT_RAM_39 = 256'h0, INIT_RAM_3A = 256'h0, INIT_RAM_3B = 256'h0;
  parameter [255:0] INIT_RAM_3C = 256'h0, INIT_RAM_3D = 256'h0, INIT_RAM_3E = 256'h0, INIT_RAM_3F = 256'h0;
  wire [35:0] out, unused;
  TANDEM_BSRAM #(
    .BYTE(8), .WIDTH_A(BIT_WIDTH), .PIPELINED_A(READ_MODE), .WRITE_MODE_A(WRITE_MODE), .RESET_MODE(RESET_MODE), .INIT({
      INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38,
      INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30,
      INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28,
      INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20,
      INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18,
      INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10,
      INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08,
      INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00
    })
  ) ram(
    .CLKA(CLK), .CEA(CE), .OCEA(OCE), .RESETA(RESET), .WREA(WRE), .CLKB(CLK), .CEB(1'b0), .OCEB(1'b0), .RESETB(1'b0),
    .WREB(1'b0), .chosen_a(BLKSEL == BLK_SEL), .chosen_b(1'b0), .ADA(AD), .ADB(14'b0), .DIA({4'b0, DI}), .DIB(36'b0), .DOA(out),
    .DOB(unused)
  );
  assign DO = out[31:0];
endmodule

// A register of a multiplier; without it the value passes.
module TANDEM_DSP_REGISTER(input CLK, CE, RESET, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  parameter integer WIDTH = 18;
  parameter [0:0] PRESENT = 1'b0;
  parameter RESET_MODE = "SYNC";
  generate
    if (!PRESENT) begin : absent
      assign Q = D;
    end else begin : present
      reg [WIDTH-1:0] value = {WIDTH{1'b0}};
      if (RESET_MODE == "ASYNC") begin : async
        always @(posedge CLK, posedge RESET) if (RESET) value <= {WIDTH{1'b0}}; else if (CE) value <= D;
      end else begin : sync
        always @(posedge CLK) if (RESET) value <= {WIDTH{1'b0}}; else if (CE) value <= D;
      end
      assign Q = value;
    end
  endgenerate
endmodule

// A multiplier of any width with its registers.
module TANDEM_MULT(input CLK, CE, RESET, ASIGN, BSIGN, input [WIDTH-1:0] A, B, output [2*WIDTH-1:0] DOUT);
  parameter integer WIDTH = 18;
  parameter [0:0] AREG = 1'b0;
  parameter [0:0] BREG = 1'b0;
  parameter [0:0] ASIGN_REG = 1'b0;
  parameter [0:0] BSIGN_REG = 1'b0;
  parameter [0:0] PIPE_REG = 1'b0;
  parameter [0:0] OUT_REG = 1'b0;
  parameter RESET_MODE = "SYNC";
  wire [WIDTH-1:0] a, b;
  wire sign_a, sign_b;
  TANDEM_DSP_REGISTER #(.WIDTH(WIDTH), .PRESENT(AREG), .RESET_MODE(RESET_MODE)) at_a(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(A), .Q(a)
  );
  TANDEM_DSP_REGISTER #(.WIDTH(WIDTH), .PRESENT(BREG), .RESET_MODE(RESET_MODE)) at_b(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(B), .Q(b)
  );
  TANDEM_DSP_REGISTER #(.WIDTH(1), .PRESENT(ASIGN_REG), .RESET_MODE(RESET_MODE)) at_sign_a(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(ASIGN), .Q(sign_a)
  );
  TANDEM_DSP_REGISTER #(.WIDTH(1), .PRESENT(BSIGN_REG), .RESET_MODE(RESET_MODE)) at_sign_b(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(BSIGN), .Q(sign_b)
  );
  wire signed [WIDTH:0] signed_a = {sign_a & a[WIDTH-1], a}, signed_b = {sign_b & b[WIDTH-1], b};
  wire signed [2*WIDTH+1:0] whole = signed_a * signed_b;
  wire [2*WIDTH-1:0] product;
  TANDEM_DSP_REGISTER #(.WIDTH(2*WIDTH), .PRESENT(PIPE_REG), .RESET_MODE(RESET_MODE)) at_product(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(whole[2*WIDTH-1:0]), .Q(product)
  );
  TANDEM_DSP_REGISTER #(.WIDTH(2*WIDTH), .PRESENT(OUT_REG), .RESET_MODE(RESET_MODE)) at_out(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(product), .Q(DOUT)
  );
endmodule

// The cascade of operands is not modelled.
module MULT9X9(
  input [8:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET, output [17:0] DOUT, output [8:0] SOA, SOB
);
  parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0, ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, SOA_REG = 1'b0;
  parameter MULT_RESET_MODE = "SYNC";
  TANDEM_MULT #(
    .WIDTH(9), .AREG(AREG), .BREG(BREG), .ASIGN_REG(ASIGN_REG), .BSIGN_REG(BSIGN_REG), .PIPE_REG(PIPE_REG), .OUT_REG(OUT_REG),
    .RESET_MODE(MULT_RESET_MODE)
  ) mult(.CLK(CLK), .CE(CE), .RESET(RESET), .ASIGN(ASIGN), .BSIGN(BSIGN), .A(A), .B(B), .DOUT(DOUT));
endmodule

// The cascade of operands is not modelled.
module MULT18X18(
  input [17:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET, output [35:0] DOUT, output [17:0] SOA, SOB
);
  parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0, ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, SOA_REG = 1'b0;
  parameter MULT_RESET_MODE = "SYNC";
  TANDEM_MULT #(
    .WIDTH(18), .AREG(AREG), .BREG(BREG), .ASIGN_REG(ASIGN_REG), .BSIGN_REG(BSIGN_REG), .PIPE_REG(PIPE_REG), .OUT_REG(OUT_REG),
    .RESET_MODE(MULT_RESET_MODE)
  ) mult(.CLK(CLK), .CE(CE), .RESET(RESET), .ASIGN(ASIGN), .BSIGN(BSIGN), .A(A), .B(B), .DOUT(DOUT));
endmodule

module MULT36X36(input [35:0] A, B, input ASIGN, BSIGN, CE, CLK, RESET, output [71:0] DOUT);
  parameter AREG = 1'b0, BREG = 1'b0, OUT0_REG = 1'b0, OUT1_REG = 1'b0, PIPE_REG = 1'b0, ASIGN_REG = 1'b0, BSIGN_REG = 1'b0;
  parameter MULT_RESET_MODE = "SYNC";
  wire [71:0] product;
  TANDEM_MULT #(
    .WIDTH(36), .AREG(AREG), .BREG(BREG), .ASIGN_REG(ASIGN_REG), .BSIGN_REG(BSIGN_REG), .PIPE_REG(PIPE_REG), .OUT_REG(1'b0),
    .RESET_MODE(MULT_RESET_MODE)
  ) mult(.CLK(CLK), .CE(CE), .RESET(RESET), .ASIGN(ASIGN), .BSIGN(BSIGN), .A(A), .B(B), .DOUT(product));
  // The low and the high part of the product have registers of their own.
  TANDEM_DSP_REGISTER #(.WIDTH(18), .PRESENT(OUT0_REG), .RESET_MODE(MULT_RESET_MODE)) at_low(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(product[17:0]), .Q(DOUT[17:0])
  );
  TANDEM_DSP_REGISTER #(.WIDTH(54), .PRESENT(OUT1_REG), .RESET_MODE(MULT_RESET_MODE)) at_high(
    .CLK(CLK), .CE(CE), .RESET(RESET), .D(product[71:18]), .Q(DOUT[71:18])
  );
endmodule

module IBUF(output O, input I);
  assign O = I;
endmodule

module OBUF(output O, input I);
  assign O = I;
endmodule

module TBUF(output O, input I, OEN);
  assign O = OEN ? 1'bz : I;
endmodule

module IOBUF(output O, inout IO, input I, OEN);
  assign IO = OEN ? 1'bz : I;
  assign O = IO;
endmodule

// A pad's output that shows one bit in the first half of a cycle and another in the second.
module ODDR(input D0, D1, TX, CLK, output Q0, Q1);
  parameter TXCLK_POL = 1'b0;
  parameter INIT = 1'b0;
  reg first = INIT, second = INIT, off = 1'b0;
  always @(posedge CLK) begin
    first <= D0;
    second <= D1;
    off <= TX;
  end
  assign Q0 = CLK ? first : second;
  assign Q1 = off;
endmodule

// A phase-locked loop, without its arithmetic: every output is the input clock.
module rPLL(
  input CLKIN, CLKFB, RESET, RESET_P, input [5:0] FBDSEL, IDSEL, ODSEL, input [3:0] PSDA, FDLY, DUTYDA,
  output CLKOUT, LOCK, CLKOUTP, CLKOUTD, CLKOUTD3
);
  parameter FCLKIN = "100.0", DYN_IDIV_SEL = "false", IDIV_SEL = 0, DYN_FBDIV_SEL = "false", FBDIV_SEL = 0;
  parameter DYN_ODIV_SEL = "false", ODIV_SEL = 8, PSDA_SEL = "0000", DYN_DA_EN = "false", DUTYDA_SEL = "1000";
  parameter CLKOUT_FT_DIR = 1'b1, CLKOUTP_FT_DIR = 1'b1, CLKOUT_DLY_STEP = 0, CLKOUTP_DLY_STEP = 0, CLKFB_SEL = "internal";
  parameter CLKOUT_BYPASS = "false", CLKOUTP_BYPASS = "false", CLKOUTD_BYPASS = "false", DYN_SDIV_SEL = 2;
  parameter CLKOUTD_SRC = "CLKOUT", CLKOUTD3_SRC = "CLKOUT", DEVICE = "GW2A-18";
  assign {CLKOUT, CLKOUTP, CLKOUTD, CLKOUTD3} = {4{CLKIN}};
  assign LOCK = ~(RESET | RESET_P);
endmodule
