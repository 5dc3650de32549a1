//! The models of FPGA cells: yosys maps a description onto the cells, and the models make of them what the description says.

use tandem_sim::netlist::Family;
use tandem_tests::gates::{Bench, same};

const CYCLES: u64 = 6000;

/// A design, and the cells that it must be made of, by family.
struct Design {
    name: &'static str,
    verilog: String,
    cells: &'static [(Family, &'static [&'static str])],
}

use Family::{Ecp5, Gowin, Ice40};

/// Every flavour of register that the description of one can have.
fn registers() -> Design {
    let mut body = String::new();
    let mut number = 0;
    for edge in ["posedge", "negedge"] {
        for (value, name) in [("4'h0", "clear"), ("4'hf", "preset")] {
            for enable in ["", "if (go)"] {
                let q = format!("q[{}:{}]", 4 * number + 3, 4 * number);
                body.push_str(&format!(
                    "  always @({edge} clock) if (reset) {q} <= {value}; else {enable} {q} <= a[3:0];\n"
                ));
                number += 1;
                let q = format!("q[{}:{}]", 4 * number + 3, 4 * number);
                body.push_str(&format!(
                    "  // {name}\n  always @({edge} clock, posedge reset) if (reset) {q} <= {value}; else {enable} {q} <= a[7:4];\n"
                ));
                number += 1;
            }
        }
    }
    let verilog =
        format!("module registers(input clock, reset, go, input [7:0] a, output reg [63:0] q);\n{body}endmodule\n");
    let cells: &[(Family, &[&str])] = &[
        (Ecp5, &["TRELLIS_FF"]),
        (Ice40, &["SB_DFFESR", "SB_DFFNR", "SB_DFFNESS", "SB_DFFES"]),
        (Gowin, &["DFFRE", "DFFNPE"]),
    ];
    Design { name: "registers", verilog, cells }
}

fn logic() -> Design {
    let verilog = "
module logic_cells(input clock, reset, input [15:0] a, b, input [3:0] s, output [15:0] sum, difference, mux, shift,
                   output less, equal, wide, output reg [15:0] count);
  assign sum = a + b + s[0];
  assign difference = a - b;
  assign mux = s[3] ? (s[2] ? a : b) : s[1] ? a ^ b : a & ~b;
  assign shift = a >> s;
  assign less = $signed(a) < $signed(b);
  assign equal = a[9:0] == b[9:0];
  assign wide = ^{a, b, s};
  always @(posedge clock) if (reset) count <= 16'd0; else if (s[0]) count <= count + b; else count <= count - 16'd1;
endmodule
";
    let cells: &[(Family, &[&str])] = &[
        (Ecp5, &["LUT4", "CCU2C", "PFUMX"]),
        (Ice40, &["SB_LUT4", "SB_CARRY"]),
        (Gowin, &["LUT4", "ALU", "MUX2_LUT5"]),
    ];
    Design { name: "logic_cells", verilog: verilog.to_owned(), cells }
}

/// A memory with one port to write and one to read, with contents to begin with.
fn memory(
    name: &'static str,
    depth: u32,
    width: u32,
    lanes: u32,
    cells: &'static [(Family, &'static [&'static str])],
) -> Design {
    let (bits, lane) = (depth.trailing_zeros(), width / lanes);
    let verilog = format!(
        "
module {name}(input clock, reset, go, input [{top}:0] at, from, input [{lanes_top}:0] lanes, input [{data}:0] d, output reg [{data}:0] q);
  reg [{data}:0] words [0:{last}];
  integer i;
  initial for (i = 0; i < {depth}; i = i + 1) words[i] = i * 37 + (i << 11);
  always @(posedge clock) begin
    for (i = 0; i < {lanes}; i = i + 1) if (lanes[i] & ~reset) words[at][i * {lane} +: {lane}] <= d[i * {lane} +: {lane}];
    if (go) q <= words[from];
  end
endmodule
",
        top = bits - 1,
        lanes_top = lanes - 1,
        data = width - 1,
        last = depth - 1,
    );
    Design { name, verilog, cells }
}

/// Two ports that read and write. They never write the same word.
fn two_ports(name: &'static str, width: u32, old: bool, cells: &'static [(Family, &'static [&'static str])]) -> Design {
    let port = |side: &str, low: &str| {
        let write = format!("if (write_{side}) words[{{at_{side}, {low}}}] <= d_{side};");
        // Read before write, or what is written.
        let read = if old {
            format!("q_{side} <= words[{{at_{side}, {low}}}];")
        } else {
            format!("if (write_{side}) q_{side} <= d_{side}; else q_{side} <= words[{{at_{side}, {low}}}];")
        };
        format!("  always @(posedge clock) begin {write} {read} end\n")
    };
    let verilog = format!(
        "
module {name}(input clock, reset, write_a, write_b, input [8:0] at_a, at_b, input [{top}:0] d_a, d_b, output reg [{top}:0] q_a, q_b);
  reg [{top}:0] words [0:1023];
  integer i;
  initial for (i = 0; i < 1024; i = i + 1) words[i] = i * 5;
{}{}endmodule
",
        port("a", "1'b0"),
        port("b", "1'b1"),
        top = width - 1,
    );
    Design { name, verilog, cells }
}

fn small_memory() -> Design {
    let verilog = "
module small_memory(input clock, reset, go, input [3:0] at, from, input [5:0] d, output [5:0] q);
  (* ram_style = \"distributed\" *) reg [5:0] words [0:15];
  integer i;
  initial for (i = 0; i < 16; i = i + 1) words[i] = i * 7;
  always @(posedge clock) if (go) words[at] <= d;
  assign q = words[from];
endmodule
";
    let cells: &[(Family, &[&str])] = &[(Ecp5, &["TRELLIS_DPR16X4"]), (Gowin, &["RAM16SDP4"])];
    Design { name: "small_memory", verilog: verilog.to_owned(), cells }
}

fn multipliers() -> Design {
    let verilog = "
module multipliers(input clock, reset, input [17:0] a, b, output [35:0] whole, signed_whole, output [15:0] narrow, plain,
                   output reg [31:0] wide);
  assign whole = a * b;
  assign signed_whole = $signed(a) * $signed(b);
  assign narrow = $signed(a[7:0]) * $signed(b[7:0]);
  assign plain = a[7:0] * b[7:0];
  always @(posedge clock) wide <= $signed({a, b[17:4]}) * $signed({b, a[17:4]});
endmodule
";
    let cells: &[(Family, &[&str])] = &[(Ecp5, &["MULT18X18D"]), (Gowin, &["MULT9X9", "MULT18X18"])];
    Design { name: "multipliers", verilog: verilog.to_owned(), cells }
}

fn check(family: Family, designs: &[Design]) {
    let Some(bench) = Bench::find() else { return };
    for Design { name, verilog, cells } in designs {
        let (_, netlist) = bench.synthesise(verilog, name, family.command()).unwrap();
        let wanted = cells.iter().find(|(of, _)| *of == family).map_or(&[][..], |(_, cells)| cells);
        for kind in wanted {
            let kinds: std::collections::BTreeSet<&str> = netlist.cells.iter().map(|cell| cell.kind.as_str()).collect();
            assert!(netlist.count(kind) > 0, "{name} on {family} has no {kind}, only {kinds:?}");
        }
        let mut pair = bench.pair(verilog, "", &netlist, family, &netlist.verilog()).unwrap();
        same(pair.run(CYCLES)).unwrap_or_else(|error| panic!("{name} on {family}: {error}"));
    }
}

const BLOCK: &[(Family, &[&str])] = &[(Ecp5, &["DP16KD"]), (Ice40, &["SB_RAM40_4K"]), (Gowin, &["SDPX9B"])];
/// Of 18 bits and fewer, yosys takes a port that reads too on Gowin.
const HALF: &[(Family, &[&str])] = &[(Ecp5, &["DP16KD"]), (Ice40, &["SB_RAM40_4K"]), (Gowin, &["DPX9B"])];
const NARROW: &[(Family, &[&str])] = &[(Ecp5, &["DP16KD"]), (Ice40, &["SB_RAM40_4K"]), (Gowin, &["DPB"])];
const TWO: &[(Family, &[&str])] = &[(Ecp5, &["DP16KD"]), (Gowin, &["DPX9B"])];

fn memories() -> Vec<Design> {
    vec![
        memory("bytes_of_36", 512, 36, 4, BLOCK),
        memory("words_of_18", 1024, 18, 2, HALF),
        memory("words_of_9", 2048, 9, 1, HALF),
        memory("words_of_4", 4096, 4, 1, NARROW),
        memory("words_of_2", 8192, 2, 1, NARROW),
    ]
}

#[test]
fn the_cells_of_ecp5_do_what_yosys_maps_onto_them() {
    let mut designs = memories();
    designs.extend([registers(), logic(), small_memory(), multipliers()]);
    designs.extend([two_ports("two_ports_old", 18, true, TWO), two_ports("two_ports_new", 9, false, TWO)]);
    check(Ecp5, &designs);
}

#[test]
fn the_cells_of_ice40_do_what_yosys_maps_onto_them() {
    let mut designs = memories();
    designs.push(memory("words_of_16", 256, 16, 16, BLOCK));
    designs.extend([registers(), logic()]);
    check(Ice40, &designs);
}

#[test]
fn the_cells_of_gowin_do_what_yosys_maps_onto_them() {
    let mut designs = memories();
    designs.extend([registers(), logic(), small_memory(), multipliers()]);
    designs.push(two_ports("two_ports_new", 9, false, TWO));
    check(Gowin, &designs);
}

/// The pins of an `SB_MAC16` that are the same in every use below.
const MAC_PINS: &str = ".CLK(clock), .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0), .IRSTTOP(1'b0), .IRSTBOT(1'b0), \
    .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .ADDSUBTOP(1'b0), .ADDSUBBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0)";

#[test]
fn the_multiplier_of_ice40_gives_two_small_products_a_large_one_and_sums() {
    let Some(bench) = Bench::find() else { return };
    let ports = "input clock, reset, go, input [15:0] a, b, input [31:0] c, output [31:0] two, whole, sum";
    let instance = |name: &str, parameters: &str, pins: &str, out: &str| {
        format!("  SB_MAC16 #({parameters}) {name}({MAC_PINS}, {pins}, .O({out}));\n")
    };
    let none = ".C(16'b0), .D(16'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0), .CE(1'b1)";
    let both = ".A(a), .B(b)";
    let cells = format!(
        "module mac({ports});\n{}{}{}endmodule\n",
        instance(
            "two_products",
            ".MODE_8x8(1), .A_SIGNED(1), .B_SIGNED(1), .TOP_8x8_MULT_REG(1), .BOT_8x8_MULT_REG(1), .TOPOUTPUT_SELECT(2), \
             .BOTOUTPUT_SELECT(2)",
            &format!("{none}, {both}"),
            "two"
        ),
        instance(
            "one_product",
            ".A_SIGNED(1), .B_SIGNED(1), .A_REG(1), .B_REG(1), .TOP_8x8_MULT_REG(1), .BOT_8x8_MULT_REG(1), \
             .PIPELINE_16x16_MULT_REG1(1), .PIPELINE_16x16_MULT_REG2(1), .TOPOUTPUT_SELECT(3), .BOTOUTPUT_SELECT(3)",
            &format!("{none}, {both}"),
            "whole"
        ),
        instance(
            "accumulator",
            ".TOPOUTPUT_SELECT(1), .BOTOUTPUT_SELECT(1), .TOPADDSUB_LOWERINPUT(2), .BOTADDSUB_LOWERINPUT(2), \
             .TOPADDSUB_CARRYSELECT(2)",
            ".C(c[31:16]), .D(c[15:0]), .ORSTTOP(reset), .ORSTBOT(reset), .OLOADTOP(go), .OLOADBOT(go), .CE(b[0]), .A(a), .B(b)",
            "sum"
        )
    );
    let meaning = format!(
        "module mac({ports});
  reg signed [15:0] high, low;
  always @(posedge clock) begin
    high <= $signed(a[15:8]) * $signed(b[15:8]);
    low <= $signed(a[7:0]) * $signed(b[7:0]);
  end
  assign two = {{high, low}};
  reg signed [15:0] a1, b1;
  reg signed [31:0] product, later;
  always @(posedge clock) begin
    a1 <= a;
    b1 <= b;
    product <= a1 * b1;
    later <= product;
  end
  assign whole = later;
  reg [31:0] total;
  always @(posedge clock, posedge reset) if (reset) total <= 0; else if (b[0]) total <= go ? c : total + a * b;
  assign sum = total;
endmodule
"
    );
    let (_, netlist) = bench.synthesise(&cells, "mac", Ice40.command()).unwrap();
    assert_eq!(netlist.count("SB_MAC16"), 3);
    same(bench.pair(&meaning, "", &netlist, Ice40, &netlist.verilog()).unwrap().run(CYCLES)).unwrap();
}

#[test]
fn the_single_port_ram_of_ice40_keeps_what_is_written() {
    let Some(bench) = Bench::find() else { return };
    let ports = "input clock, reset, write, on, input [4:0] at, input [3:0] nibbles, input [15:0] d, output [15:0] q";
    let frame = |memory: &str| {
        format!(
            "module spram({ports});\n  wire [15:0] out;\n  reg known;\n  // What stands there after a write means nothing, and the \
             memory is written before it is read.\n  reg [5:0] begun;\n  wire filling = ~begun[5];\n  always @(posedge clock) begin\n    \
             known <= on & ~write & ~filling & ~reset;\n    begun <= reset ? 6'd0 : begun + filling;\n  end\n  wire [4:0] place = filling \
             ? begun[4:0] : at;\n  wire [3:0] mask = filling ? 4'hf : nibbles;\n  wire writes = write | filling, \
             works = on | filling;\n{memory}  assign q = known ? out : 16'h0;\nendmodule\n"
        )
    };
    let cells = frame(
        "  SB_SPRAM256KA ram(.ADDRESS({9'h155, place}), .DATAIN(d), .MASKWREN(mask), .WREN(writes), .CHIPSELECT(works), \
         .CLOCK(clock), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(out));\n",
    );
    let meaning = frame(
        "  reg [15:0] words [0:31];\n  reg [15:0] word;\n  integer i;\n  always @(posedge clock) if (works) begin\n    if (writes) \
         for (i = 0; i < 4; i = i + 1) if (mask[i]) words[place][4 * i +: 4] <= d[4 * i +: 4];\n    word <= words[place];\n  end\n  \
         assign out = word;\n",
    );
    let (_, netlist) = bench.synthesise(&cells, "spram", Ice40.command()).unwrap();
    assert_eq!(netlist.count("SB_SPRAM256KA"), 1);
    same(bench.pair(&meaning, "", &netlist, Ice40, &netlist.verilog()).unwrap().run(CYCLES)).unwrap();
}
