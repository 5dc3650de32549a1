// Cells of Lattice ECP5 as yosys and nextpnr name them, in the behaviour that the data sheets give them after configuration:
// what a netlist needs to be simulated. Timing, power and the global reset are left out. A use that is not modelled stops
// at elaboration, by an instance of a module that does not exist.

module LUT4(input A, B, C, D, output Z);
  parameter [15:0] INIT = 16'h0000;
  assign Z = INIT[{D, C, B, A}];
endmodule

module PFUMX(input ALUT, BLUT, C0, output Z);
  assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21(input D0, D1, SD, output Z);
  assign Z = SD ? D1 : D0;
endmodule

module INV(input A, output Z);
  assign Z = ~A;
endmodule

module VHI(output Z);
  assign Z = 1'b1;
endmodule

module VLO(output Z);
  assign Z = 1'b0;
endmodule

// One bit of a carry chain: a LUT4 that tells propagate, the half of it that D and C do not reach that tells generate.
module TANDEM_CARRY_BIT(input A, B, C, D, CI, output S, CO);
  parameter [15:0] INIT = 16'h0000;
  parameter INJECT1 = "YES";
  localparam CUT = INJECT1 == "YES";
  wire propagate = INIT[{D, C, B, A}];
  wire generated = CUT ? 1'b0 : INIT[{2'b00, B, A}];
  assign S = propagate ^ (CUT ? 1'b0 : CI);
  assign CO = propagate ? CI : generated;
endmodule

module CCU2C(input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";
  wire carry;
  TANDEM_CARRY_BIT #(.INIT(INIT0), .INJECT1(INJECT1_0)) low(.A(A0), .B(B0), .C(C0), .D(D0), .CI(CIN), .S(S0), .CO(carry));
  TANDEM_CARRY_BIT #(.INIT(INIT1), .INJECT1(INJECT1_1)) high(.A(A1), .B(B1), .C(C1), .D(D1), .CI(carry), .S(S1), .CO(COUT));
endmodule

// `SD` is a parameter of nextpnr: "0" takes data from M.
module TRELLIS_FF(input CLK, LSR, CE, DI, M, output reg Q);
  parameter GSR = "ENABLED";
  parameter CEMUX = "1";
  parameter CLKMUX = "CLK";
  parameter LSRMUX = "LSR";
  parameter SRMODE = "LSR_OVER_CE";
  parameter REGSET = "RESET";
  parameter LSRMODE = "LSR";
  parameter SD = "1";
  localparam VALUE = REGSET == "SET";
  wire enable = CEMUX == "1" ? 1'b1 : CEMUX == "0" ? 1'b0 : CEMUX == "INV" ? ~CE : CE;
  wire clear = LSRMUX == "0" ? 1'b0 : LSRMUX == "1" ? 1'b1 : LSRMUX == "INV" ? ~LSR : LSR;
  wire data = SD == "0" ? M : DI;
  initial Q = VALUE;
  generate
    if (LSRMODE == "PRLD") begin : preload
      TANDEM_NOT_MODELLED preload_from_m();
    end
    if (CLKMUX == "0" || CLKMUX == "1") begin : still
    end else if (CLKMUX == "INV" && SRMODE == "ASYNC") begin : falling_async
      always @(negedge CLK, posedge clear) if (clear) Q <= VALUE; else if (enable) Q <= data;
    end else if (CLKMUX == "INV") begin : falling
      always @(negedge CLK) if (clear && (enable || SRMODE == "LSR_OVER_CE")) Q <= VALUE; else if (enable) Q <= data;
    end else if (SRMODE == "ASYNC") begin : rising_async
      always @(posedge CLK, posedge clear) if (clear) Q <= VALUE; else if (enable) Q <= data;
    end else begin : rising
      always @(posedge CLK) if (clear && (enable || SRMODE == "LSR_OVER_CE")) Q <= VALUE; else if (enable) Q <= data;
    end
  endgenerate
endmodule

// RAM of 16 words of four bits in look-up tables: read at once, written by a clock.
module TRELLIS_DPR16X4(input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
  parameter WCKMUX = "WCK";
  parameter WREMUX = "WRE";
  parameter [63:0] INITVAL = 64'h0;
  reg [3:0] words [0:15];
  integer at;
  initial for (at = 0; at < 16; at = at + 1) words[at] = INITVAL[4 * at +: 4];
  wire write = WREMUX == "1" ? 1'b1 : WREMUX == "0" ? 1'b0 : WREMUX == "INV" ? ~WRE : WRE;
  generate
    if (WCKMUX == "INV") begin : falling
      always @(negedge WCK) if (write) words[WAD] <= DI;
    end else begin : rising
      always @(posedge WCK) if (write) words[WAD] <= DI;
    end
  endgenerate
  assign DO = words[RAD];
endmodule

// One side of a block RAM: where and what it reads or writes, in words of 18 bits, the lower one at an even address where the
// port has 36 bits. Ports of fewer than nine bits see eight bits of each nine.
module TANDEM_EBR_PORT(input [13:0] AD, input [35:0] DI, output [9:0] word, output reg [35:0] data, output reg [35:0] mask,
                       input [35:0] read, output reg [35:0] out);
  parameter integer WIDTH = 18;
  assign word = WIDTH == 36 ? {AD[13:5], 1'b0} : AD[13:4];
  integer at;
  wire [4:0] nine = AD[3] ? 5'd9 : 5'd0;
  always @* begin
    data = 36'b0;
    mask = 36'b0;
    out = 36'b0;
    case (WIDTH)
      36: begin
        data = DI;
        mask = {{9{AD[3]}}, {9{AD[2]}}, {9{AD[1]}}, {9{AD[0]}}};
        out = read;
      end
      18: begin
        data = {18'b0, DI[17:0]};
        mask = {18'b0, {9{AD[1]}}, {9{AD[0]}}};
        out = {18'b0, read[17:0]};
      end
      9: begin
        data = {18'b0, DI[8:0], DI[8:0]};
        mask = 36'h1ff << nine;
        out = {27'b0, read[nine +: 9]};
      end
      4: begin
        data = {32'b0, DI[3:0]} << (nine + {AD[2], 2'b00});
        mask = 36'hf << (nine + {AD[2], 2'b00});
        out = {32'b0, read[nine + {AD[2], 2'b00} +: 4]};
      end
      2: begin
        data = {34'b0, DI[1:0]} << (nine + {AD[2:1], 1'b0});
        mask = 36'h3 << (nine + {AD[2:1], 1'b0});
        out = {34'b0, read[nine + {AD[2:1], 1'b0} +: 2]};
      end
      default: begin
        data = {35'b0, DI[0]} << (nine + AD[2:0]);
        mask = 36'h1 << (nine + AD[2:0]);
        out = {35'b0, read[nine + AD[2:0]]};
      end
    endcase
  end
endmodule

// What stands behind a block RAM's read port: the latch that a clock fills, and the register that a second clock fills.
module TANDEM_EBR_OUT(input CLK, RST, OCE, fill, input [35:0] value, output [35:0] Q);
  parameter FALLING = 0;
  parameter RESETMODE = "SYNC";
  parameter REGMODE = "NOREG";
  wire clock = FALLING ? ~CLK : CLK;
  reg [35:0] latch = 36'b0, register = 36'b0;
  generate
    if (RESETMODE == "ASYNC") begin : async
      always @(posedge clock, posedge RST) if (RST) latch <= 36'b0; else if (fill) latch <= value;
      always @(posedge clock, posedge RST) if (RST) register <= 36'b0; else if (OCE) register <= latch;
    end else begin : sync
      always @(posedge clock) if (RST) latch <= 36'b0; else if (fill) latch <= value;
      always @(posedge clock) if (RST) register <= 36'b0; else if (OCE) register <= latch;
    end
  endgenerate
  assign Q = REGMODE == "OUTREG" ? register : latch;
endmodule

// Block RAM of 18 kbit. With 36 bits, port A writes and port B reads, and both pairs of data pins belong to either. The low address
// bits that a port of 18 or 36 bits does not need choose the bytes that it writes.
//
// Bits that one port writes while the other reads them are read as their inverse: no design may depend on them. Both ports have
// one clock in every design here; with two of them this happens too often, never too rarely.
module DP16KD(
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
  DIA0, ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0, CEA, OCEA, CLKA, WEA,
  RSTA, CSA2, CSA1, CSA0, output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6,
  DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
  DIB0, ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0, CEB, OCEB, CLKB, WEB,
  RSTB, CSB2, CSB1, CSB0, output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6,
  DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter integer DATA_WIDTH_A = 18;
  parameter integer DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter INIT_DATA = "STATIC";
  parameter WID = 0;

  parameter [319:0] INITVAL_00 = 320'h0;
  parameter [319:0] INITVAL_01 = 320'h0;
  parameter [319:0] INITVAL_02 = 320'h0;
  parameter [319:0] INITVAL_03 = 320'h0;
  parameter [319:0] INITVAL_04 = 320'h0;
  parameter [319:0] INITVAL_05 = 320'h0;
  parameter [319:0] INITVAL_06 = 320'h0;
  parameter [319:0] INITVAL_07 = 320'h0;
  parameter [319:0] INITVAL_08 = 320'h0;
  parameter [319:0] INITVAL_09 = 320'h0;
  parameter [319:0] INITVAL_0A = 320'h0;
  parameter [319:0] INITVAL_0B = 320'h0;
  parameter [319:0] INITVAL_0C = 320'h0;
  parameter [319:0] INITVAL_0D = 320'h0;
  parameter [319:0] INITVAL_0E = 320'h0;
  parameter [319:0] INITVAL_0F = 320'h0;
  parameter [319:0] INITVAL_10 = 320'h0;
  parameter [319:0] INITVAL_11 = 320'h0;
  parameter [319:0] INITVAL_12 = 320'h0;
  parameter [319:0] INITVAL_13 = 320'h0;
  parameter [319:0] INITVAL_14 = 320'h0;
  parameter [319:0] INITVAL_15 = 320'h0;
  parameter [319:0] INITVAL_16 = 320'h0;
  parameter [319:0] INITVAL_17 = 320'h0;
  parameter [319:0] INITVAL_18 = 320'h0;
  parameter [319:0] INITVAL_19 = 320'h0;
  parameter [319:0] INITVAL_1A = 320'h0;
  parameter [319:0] INITVAL_1B = 320'h0;
  parameter [319:0] INITVAL_1C = 320'h0;
  parameter [319:0] INITVAL_1D = 320'h0;
  parameter [319:0] INITVAL_1E = 320'h0;
  parameter [319:0] INITVAL_1F = 320'h0;
  parameter [319:0] INITVAL_20 = 320'h0;
  parameter [319:0] INITVAL_21 = 320'h0;
  parameter [319:0] INITVAL_22 = 320'h0;
  parameter [319:0] INITVAL_23 = 320'h0;
  parameter [319:0] INITVAL_24 = 320'h0;
  parameter [319:0] INITVAL_25 = 320'h0;
  parameter [319:0] INITVAL_26 = 320'h0;
  parameter [319:0] INITVAL_27 = 320'h0;
  parameter [319:0] INITVAL_28 = 320'h0;
  parameter [319:0] INITVAL_29 = 320'h0;
  parameter [319:0] INITVAL_2A = 320'h0;
  parameter [319:0] INITVAL_2B = 320'h0;
  parameter [319:0] INITVAL_2C = 320'h0;
  parameter [319:0] INITVAL_2D = 320'h0;
  parameter [319:0] INITVAL_2E = 320'h0;
  parameter [319:0] INITVAL_2F = 320'h0;
  parameter [319:0] INITVAL_30 = 320'h0;
  parameter [319:0] INITVAL_31 = 320'h0;
  parameter [319:0] INITVAL_32 = 320'h0;
  parameter [319:0] INITVAL_33 = 320'h0;
  parameter [319:0] INITVAL_34 = 320'h0;
  parameter [319:0] INITVAL_35 = 320'h0;
  parameter [319:0] INITVAL_36 = 320'h0;
  parameter [319:0] INITVAL_37 = 320'h0;
  parameter [319:0] INITVAL_38 = 320'h0;
  parameter [319:0] INITVAL_39 = 320'h0;
  parameter [319:0] INITVAL_3A = 320'h0;
  parameter [319:0] INITVAL_3B = 320'h0;
  parameter [319:0] INITVAL_3C = 320'h0;
  parameter [319:0] INITVAL_3D = 320'h0;
  parameter [319:0] INITVAL_3E = 320'h0;
  parameter [319:0] INITVAL_3F = 320'h0;
  localparam [20479:0] INIT = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37,
    INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
    INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25,
    INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
    INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13,
    INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
    INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
    INITVAL_00
  };

  localparam WIDE = DATA_WIDTH_A == 36 || DATA_WIDTH_B == 36;
  localparam OLD_A = WRITEMODE_A == "READBEFOREWRITE", NEW_A = WRITEMODE_A == "WRITETHROUGH";
  localparam OLD_B = WRITEMODE_B == "READBEFOREWRITE", NEW_B = WRITEMODE_B == "WRITETHROUGH";
  generate
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") begin : decode
      TANDEM_NOT_MODELLED chip_select();
    end
  endgenerate

  reg [17:0] words [0:1023];
  integer at;
  // Sixteen words of 18 bits stand in each parameter, in fields of 20.
  initial for (at = 0; at < 1024; at = at + 1) words[at] = INIT[20 * at +: 18];

  wire [17:0] low_a = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1,
    DIA0
  }, low_b = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1,
    DIB0
  };
  wire [13:0] address_a = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  }, address_b = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire chosen_a = {CSA2, CSA1, CSA0} == 3'b000, chosen_b = {CSB2, CSB1, CSB0} == 3'b000;
  wire write_a = CEA & WEA & chosen_a, write_b = CEB & WEB & chosen_b & ~WIDE;
  wire read_a = CEA & (~WEA | OLD_A | NEW_A) & chosen_a & ~WIDE, read_b = CEB & (~WEB | OLD_B | NEW_B) & chosen_b;

  wire [9:0] word_a, word_b;
  wire [35:0] data_a, data_b, mask_a, mask_b, out_a, out_b;
  wire [35:0] old_a = {words[word_a | 10'd1], words[word_a]}, old_b = {words[word_b | 10'd1], words[word_b]};
  wire [35:0] new_a = old_a & ~mask_a | data_a & mask_a, new_b = old_b & ~mask_b | data_b & mask_b;
  wire [35:0] seen_a = write_a & NEW_A ? new_a : old_a, seen_b = write_b & NEW_B ? new_b : old_b;
  // What the other port writes of the words that this one sees. Only a port of 36 bits sees two.
  wire [35:0] spread_a = DATA_WIDTH_B == 36 && word_a[0] ? {mask_a[17:0], 18'b0} : mask_a;
  wire [35:0] met_by_b = DATA_WIDTH_A == 36 && word_b[0] ? {18'b0, mask_a[35:18]} : spread_a;
  wire near = WIDE ? word_a[9:1] == word_b[9:1] : word_a == word_b;
  wire [35:0] view_a = write_b & near ? seen_a ^ mask_b : seen_a, view_b = write_a & near ? seen_b ^ met_by_b : seen_b;
  TANDEM_EBR_PORT #(.WIDTH(DATA_WIDTH_A)) a(
    .AD(address_a), .DI({WIDE ? low_b : 18'b0, low_a}), .word(word_a), .data(data_a), .mask(mask_a), .read(view_a), .out(out_a)
  );
  TANDEM_EBR_PORT #(.WIDTH(DATA_WIDTH_B)) b(
    .AD(address_b), .DI({18'b0, low_b}), .word(word_b), .data(data_b), .mask(mask_b), .read(view_b), .out(out_b)
  );
  wire [35:0] q_a, q_b;
  TANDEM_EBR_OUT #(.FALLING(CLKAMUX == "INV"), .RESETMODE(RESETMODE), .REGMODE(REGMODE_A)) at_a(
    .CLK(CLKA), .RST(RSTA), .OCE(OCEA), .fill(read_a), .value(out_a), .Q(q_a)
  );
  TANDEM_EBR_OUT #(.FALLING(CLKBMUX == "INV"), .RESETMODE(RESETMODE), .REGMODE(REGMODE_B)) at_b(
    .CLK(CLKB), .RST(RSTB), .OCE(OCEB), .fill(read_b), .value(out_b), .Q(q_b)
  );
  wire clock_a = CLKAMUX == "INV" ? ~CLKA : CLKA, clock_b = CLKBMUX == "INV" ? ~CLKB : CLKB;
  // With two ports that write, each writes its own bits and leaves the others of the word to the other port.
  integer bit_a, bit_b;
  generate
    if (WIDE) begin : one_writer
      always @(posedge clock_a) if (write_a) begin
        words[word_a] <= new_a[17:0];
        if (DATA_WIDTH_A == 36) words[word_a | 10'd1] <= new_a[35:18];
      end
    end else begin : two_writers
      always @(posedge clock_a) if (write_a)
        for (bit_a = 0; bit_a < 18; bit_a = bit_a + 1) if (mask_a[bit_a]) words[word_a][bit_a] <= data_a[bit_a];
      always @(posedge clock_b) if (write_b)
        for (bit_b = 0; bit_b < 18; bit_b = bit_b + 1) if (mask_b[bit_b]) words[word_b][bit_b] <= data_b[bit_b];
    end
  endgenerate
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1,
    DOB0
  } = DATA_WIDTH_B == 36 ? q_b[35:18] : q_b[17:0];
  assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1,
    DOA0
  } = DATA_WIDTH_B == 36 ? q_b[17:0] : q_a[17:0];
endmodule

// A register of a multiplier: which clock, enable and reset it takes, or none of them.
module TANDEM_DSP_REGISTER(input [3:0] CLK, CE, RST, input [WIDTH-1:0] D, output [WIDTH-1:0] Q);
  parameter integer WIDTH = 18;
  parameter FROM_CLK = "NONE";
  parameter FROM_CE = "CE0";
  parameter FROM_RST = "RST0";
  parameter RESETMODE = "SYNC";
  generate
    if (FROM_CLK == "NONE") begin : absent
      assign Q = D;
    end else begin : present
      localparam integer CLOCK = FROM_CLK == "CLK3" ? 3 : FROM_CLK == "CLK2" ? 2 : FROM_CLK == "CLK1" ? 1 : 0;
      localparam integer ENABLE = FROM_CE == "CE3" ? 3 : FROM_CE == "CE2" ? 2 : FROM_CE == "CE1" ? 1 : 0;
      localparam integer CLEAR = FROM_RST == "RST3" ? 3 : FROM_RST == "RST2" ? 2 : FROM_RST == "RST1" ? 1 : 0;
      wire clock = CLK[CLOCK], clear = RST[CLEAR], enable = CE[ENABLE];
      reg [WIDTH-1:0] value = {WIDTH{1'b0}};
      if (RESETMODE == "ASYNC") begin : async
        always @(posedge clock, posedge clear) if (clear) value <= {WIDTH{1'b0}}; else if (enable) value <= D;
      end else begin : sync
        always @(posedge clock) if (clear) value <= {WIDTH{1'b0}}; else if (enable) value <= D;
      end
      assign Q = value;
    end
  endgenerate
endmodule

// Multiplier of 18 by 18 bits with its registers. Cascades and the C input are not modelled.
module MULT18X18D(
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0, B17, B16, B15, B14, B13, B12,
  B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0, C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4,
  C3, C2, C1, C0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1,
  RST0, SRIA17, SRIA16, SRIA15, SRIA14, SRIA13, SRIA12, SRIA11, SRIA10, SRIA9, SRIA8, SRIA7, SRIA6, SRIA5, SRIA4,
  SRIA3, SRIA2, SRIA1, SRIA0, SRIB17, SRIB16, SRIB15, SRIB14, SRIB13, SRIB12, SRIB11, SRIB10, SRIB9, SRIB8, SRIB7,
  SRIB6, SRIB5, SRIB4, SRIB3, SRIB2, SRIB1, SRIB0, output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24,
  P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0,
  SIGNEDP, SROA17, SROA16, SROA15, SROA14, SROA13, SROA12, SROA11, SROA10, SROA9, SROA8, SROA7, SROA6, SROA5, SROA4,
  SROA3, SROA2, SROA1, SROA0, SROB17, SROB16, SROB15, SROB14, SROB13, SROB12, SROB11, SROB10, SROB9, SROB8, SROB7,
  SROB6, SROB5, SROB4, SROB3, SROB2, SROB1, SROB0, ROA17, ROA16, ROA15, ROA14, ROA13, ROA12, ROA11, ROA10, ROA9,
  ROA8, ROA7, ROA6, ROA5, ROA4, ROA3, ROA2, ROA1, ROA0, ROB17, ROB16, ROB15, ROB14, ROB13, ROB12, ROB11, ROB10, ROB9,
  ROB8, ROB7, ROB6, ROB5, ROB4, ROB3, ROB2, ROB1, ROB0, ROC17, ROC16, ROC15, ROC14, ROC13, ROC12, ROC11, ROC10, ROC9,
  ROC8, ROC7, ROC6, ROC5, ROC4, ROC3, ROC2, ROC1, ROC0
);

  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0";
  parameter REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTB_CE = "CE0";
  parameter REG_INPUTB_RST = "RST0";
  parameter REG_INPUTC_CLK = "NONE";
  parameter REG_INPUTC_CE = "CE0";
  parameter REG_INPUTC_RST = "RST0";
  parameter REG_PIPELINE_CLK = "NONE";
  parameter REG_PIPELINE_CE = "CE0";
  parameter REG_PIPELINE_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE";
  parameter REG_OUTPUT_CE = "CE0";
  parameter REG_OUTPUT_RST = "RST0";
  parameter CLK0_DIV = "ENABLED";
  parameter CLK1_DIV = "ENABLED";
  parameter CLK2_DIV = "ENABLED";
  parameter CLK3_DIV = "ENABLED";
  parameter HIGHSPEED_CLK = "NONE";
  parameter GSR = "ENABLED";
  parameter CAS_MATCH_REG = "FALSE";
  parameter SOURCEB_MODE = "B_SHIFT";
  parameter MULT_BYPASS = "DISABLED";
  parameter RESETMODE = "SYNC";
  generate
    if (MULT_BYPASS != "DISABLED") begin : bypass
      TANDEM_NOT_MODELLED bypass();
    end
  endgenerate
  wire [3:0] clocks = {CLK3, CLK2, CLK1, CLK0}, enables = {CE3, CE2, CE1, CE0}, resets = {RST3, RST2, RST1, RST0};
  wire [18:0] a, b;
  wire [35:0] product, out;
  TANDEM_DSP_REGISTER #(
    .WIDTH(19), .FROM_CLK(REG_INPUTA_CLK), .FROM_CE(REG_INPUTA_CE), .FROM_RST(REG_INPUTA_RST), .RESETMODE(RESETMODE)
  ) at_a(
    .CLK(clocks), .CE(enables), .RST(resets), .Q(a), .D({
      SIGNEDA, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    })
  );
  TANDEM_DSP_REGISTER #(
    .WIDTH(19), .FROM_CLK(REG_INPUTB_CLK), .FROM_CE(REG_INPUTB_CE), .FROM_RST(REG_INPUTB_RST), .RESETMODE(RESETMODE)
  ) at_b(
    .CLK(clocks), .CE(enables), .RST(resets), .Q(b), .D({
      SIGNEDB, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    })
  );
  // The 19th bit tells whether the operand is signed.
  wire signed [18:0] signed_a = {a[18] & a[17], a[17:0]}, signed_b = {b[18] & b[17], b[17:0]};
  wire signed [37:0] whole = signed_a * signed_b;
  TANDEM_DSP_REGISTER #(
    .WIDTH(36), .FROM_CLK(REG_PIPELINE_CLK), .FROM_CE(REG_PIPELINE_CE), .FROM_RST(REG_PIPELINE_RST), .RESETMODE(RESETMODE)
  ) at_product(.CLK(clocks), .CE(enables), .RST(resets), .D(whole[35:0]), .Q(product));
  TANDEM_DSP_REGISTER #(
    .WIDTH(36), .FROM_CLK(REG_OUTPUT_CLK), .FROM_CE(REG_OUTPUT_CE), .FROM_RST(REG_OUTPUT_RST), .RESETMODE(RESETMODE)
  ) at_out(.CLK(clocks), .CE(enables), .RST(resets), .D(product), .Q(out));
  assign {
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14,
    P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
  } = out;
endmodule

// A pad. With `T` high the output driver is off.
module TRELLIS_IO(inout B, input I, T, output O);
  parameter DIR = "INPUT";
  generate
    if (DIR == "INPUT") begin : input_pad
      assign O = B;
    end else if (DIR == "OUTPUT") begin : output_pad
      assign B = I;
      assign O = I;
    end else begin : both
      assign B = T ? 1'bz : I;
      assign O = B;
    end
  endgenerate
endmodule

// What place and route makes of LUT4, PFUMX, L6MUX21, CCU2C and TRELLIS_DPR16X4: one look-up table of a slice. `UPPER` is not a
// parameter of nextpnr: it tells that the multiplexer joins two others and not two look-up tables.
module TRELLIS_COMB(
  input A, B, C, D, M, FCI, F1, FXA, FXB, WD, WAD0, WAD1, WAD2, WAD3, WRE, WCK, DI0, DI1, output F, FCO, OFX
);
  parameter MODE = "LOGIC";
  parameter [15:0] INITVAL = 16'h0000;
  parameter CCU2_INJECT1 = "NO";
  parameter WREMUX = "WRE";
  parameter WCKMUX = "WCK";
  parameter UPPER = 0;
  generate
    if (MODE == "CCU2") begin : carry
      TANDEM_CARRY_BIT #(.INIT(INITVAL), .INJECT1(CCU2_INJECT1)) half(.A(A), .B(B), .C(C), .D(D), .CI(FCI), .S(F), .CO(FCO));
    end else if (MODE == "DPRAM") begin : ram
      reg [15:0] bits = INITVAL;
      wire write = WREMUX == "1" ? 1'b1 : WREMUX == "0" ? 1'b0 : WREMUX == "INV" ? ~WRE : WRE;
      if (WCKMUX == "INV") begin : falling
        always @(negedge WCK) if (write) bits[{WAD3, WAD2, WAD1, WAD0}] <= WD;
      end else begin : rising
        always @(posedge WCK) if (write) bits[{WAD3, WAD2, WAD1, WAD0}] <= WD;
      end
      assign F = bits[{A, C, B, D}];
      assign FCO = 1'b0;
    end else if (MODE == "LOGIC") begin : logic_table
      assign F = INITVAL[{D, C, B, A}];
      assign FCO = 1'b0;
    end else begin : other
      TANDEM_NOT_MODELLED mode();
    end
  endgenerate
  assign OFX = UPPER ? (M ? FXB : FXA) : (M ? F1 : F);
endmodule

// Address and data on their way to the look-up tables that are written.
module TRELLIS_RAMW(
  input A0, B0, C0, D0, A1, B1, C1, D1, output WDO0, WDO1, WDO2, WDO3, WADO0, WADO1, WADO2, WADO3
);
  assign {WADO3, WADO2, WADO1, WADO0} = {A0, C0, B0, D0};
  assign {WDO3, WDO2, WDO1, WDO0} = {B1, D1, A1, C1};
endmodule

// A gate before a clock network.
module DCCA(input CLKI, CE, output CLKO);
  assign CLKO = CLKI & CE;
endmodule

// A phase-locked loop, without its arithmetic: every output is the input clock.
module EHXPLLL(
  input CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY, PLLWAKESYNC, RST, ENCLKOP, ENCLKOS, ENCLKOS2,
  ENCLKOS3, output CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK, INTLOCK, REFCLK, CLKINTFB
);
  parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOS_DIV = 8, CLKOS2_DIV = 8, CLKOS3_DIV = 8;
  parameter CLKOP_ENABLE = "ENABLED", CLKOS_ENABLE = "DISABLED", CLKOS2_ENABLE = "DISABLED", CLKOS3_ENABLE = "DISABLED";
  parameter CLKOP_CPHASE = 0, CLKOS_CPHASE = 0, CLKOS2_CPHASE = 0, CLKOS3_CPHASE = 0;
  parameter CLKOP_FPHASE = 0, CLKOS_FPHASE = 0, CLKOS2_FPHASE = 0, CLKOS3_FPHASE = 0;
  parameter FEEDBK_PATH = "CLKOP", CLKOP_TRIM_POL = "RISING", CLKOP_TRIM_DELAY = 0, CLKOS_TRIM_POL = "RISING", CLKOS_TRIM_DELAY = 0;
  parameter OUTDIVIDER_MUXA = "DIVA", OUTDIVIDER_MUXB = "DIVB", OUTDIVIDER_MUXC = "DIVC", OUTDIVIDER_MUXD = "DIVD";
  parameter PLL_LOCK_MODE = 0, PLL_LOCK_DELAY = 200, STDBY_ENABLE = "DISABLED", REFIN_RESET = "DISABLED", SYNC_ENABLE = "DISABLED";
  parameter INT_LOCK_STICKY = "ENABLED", DPHASE_SOURCE = "DISABLED", PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED";
  assign {CLKOP, CLKOS, CLKOS2, CLKOS3, REFCLK, CLKINTFB} = {6{CLKI}};
  assign {LOCK, INTLOCK} = {2{~(RST && PLLRST_ENA == "ENABLED")}};
endmodule

// A pad's output that shows one bit in the first half of a cycle and another in the second.
module ODDRX1F(input D0, D1, SCLK, RST, output Q);
  parameter GSR = "ENABLED";
  reg first = 1'b0, second = 1'b0;
  always @(posedge SCLK) begin
    first <= D0 & ~RST;
    second <= D1 & ~RST;
  end
  assign Q = SCLK ? first : second;
endmodule

// A driver that can be off, which yosys leaves to place-and-route.
module \$_TBUF_ (input A, E, output Y);
  assign Y = E ? A : 1'bz;
endmodule
