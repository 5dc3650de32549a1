//! What place and route, and the bits themselves, make of small designs; and a miscompilation that a comparison finds.

use tandem_sim::netlist::{
    ECP5_SMALLEST, Family, bits_ice40, rebuild_ice40, round_trip_ecp5, route_ecp5, routed_verilog, structure_gowin,
};
use tandem_tests::gates::{Bench, same};
use tandem_tests::tool;

const CYCLES: u64 = 20_000;

/// Counters, a memory of each kind, a multiplier.
const ECP5_DESIGN: &str = "
module mixture(input clock, reset, go, input [7:0] a, output reg [15:0] y, output q);
  reg [7:0] count;
  reg signed [15:0] product;
  reg [35:0] ram [0:511], word;
  reg [8:0] at;
  reg [3:0] look_up [0:15], l;
  integer i;
  initial for (i = 0; i < 512; i = i + 1) ram[i] = i * 1027;
  always @(posedge clock) begin
    if (reset) begin count <= 0; at <= 0; end
    else if (go) begin count <= count + a; at <= at + 1; end
    product <= $signed(a) * $signed(count);
    if (go) ram[at] <= {product, product, a[3:0]};
    word <= ram[{a[0], count}];
    if (go | reset) look_up[reset ? a[3:0] : count[3:0]] <= reset ? 4'd0 : a[7:4];
    l <= reset ? 4'd0 : look_up[a[7:4]];
    y <= product ^ word[35:20] ^ {word[19:8], l} ^ {count, count};
  end
  assign q = ^y;
endmodule
";

#[test]
fn what_nextpnr_routes_for_ecp5_is_the_design_and_its_bits_survive_a_round_trip() {
    let Some(bench) = Bench::find() else { return };
    let cache = tool::cache().join("gates");
    let (json, netlist) = bench.synthesise(ECP5_DESIGN, "mixture", Family::Ecp5.command()).unwrap();
    let routed = route_ecp5(&bench.wheels, &json, ECP5_SMALLEST, 1, &cache).unwrap();
    let verilog = routed_verilog(&routed.json, "mixture").unwrap();
    for cell in ["\"CCU2\"", "\"DPRAM\"", "TRELLIS_RAMW", "DP16KD", "MULT18X18D", "UPPER", "TRELLIS_IO"] {
        assert!(verilog.contains(cell), "no {cell}");
    }
    same(bench.pair(ECP5_DESIGN, "", &netlist, Family::Ecp5, &verilog).unwrap().run(CYCLES)).unwrap();
    assert!(round_trip_ecp5(&bench.wheels, &routed.config, &cache).unwrap().len() > 10_000);
}

/// Carries, registers of unlike kinds, block RAM, single-port RAM, a multiplier and a phase-locked loop.
const ICE40_DESIGN: &str = "
module mixture(input clock, reset, go, input [7:0] a, output reg [15:0] y, output q);
  wire tick;
  clocks c(.from(clock), .tick(tick));
  reg [7:0] count;
  reg [8:0] at;
  reg signed [15:0] low, high;
  reg [15:0] ram [0:255], word;
  reg [3:0] n;
  reg up, was_go, was_reset;
  wire [31:0] products;
  wire [15:0] held;
  integer i;
  initial for (i = 0; i < 256; i = i + 1) ram[i] = i * 331;
  multiplier m(.clock(tick), .a({a, count}), .b({count, a}), .products(products));
  memory s(.clock(tick), .go(go), .at({9'h1ff, at[4:0]}), .d({count, a}), .q(held));
  always @(posedge tick) begin
    if (reset) begin count <= 0; at <= 0; up <= 1; end
    else if (go) begin count <= count + a; at <= at + 1; up <= ^a; end
    {high, low} <= products;
    if (go) ram[at[7:0]] <= {a, count};
    word <= ram[count];
    was_go <= go;
    y <= low ^ high ^ word ^ {count, count} ^ (was_go ? 16'h0 : held) ^ {12'b0, n};
  end
  always @(negedge tick, posedge reset) if (reset) n <= 5; else if (go) n <= n + a[3:0];
  assign q = ^y ^ up;
endmodule
";
/// The blocks as the chip has them.
const ICE40_BLOCKS: &str = "
module clocks(input from, output tick);
  SB_PLL40_PAD #(.FEEDBACK_PATH(\"SIMPLE\"), .DIVR(0), .DIVF(63), .DIVQ(5), .FILTER_RANGE(1)) pll(
    .PACKAGEPIN(from), .PLLOUTGLOBAL(tick), .RESETB(1'b1), .BYPASS(1'b0));
endmodule
module multiplier(input clock, input [15:0] a, b, output [31:0] products);
  SB_MAC16 #(.MODE_8x8(1), .A_SIGNED(1), .B_SIGNED(1), .TOPOUTPUT_SELECT(2), .BOTOUTPUT_SELECT(2), .TOP_8x8_MULT_REG(1),
             .BOT_8x8_MULT_REG(1)) mac(
    .CLK(clock), .CE(1'b1), .A(a), .B(b), .C(16'b0), .D(16'b0), .AHOLD(1'b0), .BHOLD(1'b0), .CHOLD(1'b0), .DHOLD(1'b0),
    .IRSTTOP(1'b0), .IRSTBOT(1'b0), .ORSTTOP(1'b0), .ORSTBOT(1'b0), .OLOADTOP(1'b0), .OLOADBOT(1'b0), .ADDSUBTOP(1'b0),
    .ADDSUBBOT(1'b0), .OHOLDTOP(1'b0), .OHOLDBOT(1'b0), .CI(1'b0), .ACCUMCI(1'b0), .SIGNEXTIN(1'b0), .O(products));
endmodule
module memory(input clock, go, input [13:0] at, input [15:0] d, output [15:0] q);
  SB_SPRAM256KA ram(.ADDRESS(at), .DATAIN(d), .MASKWREN(4'hf), .WREN(go), .CHIPSELECT(1'b1), .CLOCK(clock), .STANDBY(1'b0),
                    .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(q));
endmodule
";
/// What they mean.
const ICE40_MEANING: &str = "
module clocks(input from, output tick);
  assign tick = from;
endmodule
module multiplier(input clock, input [15:0] a, b, output reg [31:0] products);
  wire signed [15:0] high = $signed(a[15:8]) * $signed(b[15:8]), low = $signed(a[7:0]) * $signed(b[7:0]);
  always @(posedge clock) products <= {high, low};
endmodule
module memory(input clock, go, input [13:0] at, input [15:0] d, output reg [15:0] q);
  reg [15:0] words [0:16383];
  always @(posedge clock) begin if (go) words[at] <= d; q <= words[at]; end
endmodule
";

/// Pins of package SG48.
fn pins() -> String {
    let pins = [2, 3, 4, 6, 9, 10, 11, 12, 13, 18, 19, 20, 21, 23, 25, 26, 27, 28, 31, 32, 34, 36, 37, 38, 42, 43, 44];
    let mut names = vec!["reset".to_owned(), "go".to_owned()];
    names.extend((0..8).map(|bit| format!("a[{bit}]")).chain((0..16).map(|bit| format!("y[{bit}]"))));
    names.push("q".to_owned());
    let lines = names.iter().zip(pins).map(|(name, pin)| format!("set_io {name} {pin}\n"));
    // An option, as board files have it.
    format!("set_io -nowarn clock 35 # 12 MHz\n{}", lines.collect::<String>())
}

#[test]
fn the_bits_of_an_ice40_are_the_design_and_one_bit_more_is_not() {
    let Some(bench) = Bench::find() else { return };
    let cache = tool::cache().join("gates");
    let design = format!("{ICE40_DESIGN}{ICE40_BLOCKS}");
    let (json, netlist) = bench.synthesise(&design, "mixture", Family::Ice40.command()).unwrap();
    let asc = bits_ice40(&bench.wheels, &json, &pins(), 1, &cache).unwrap();
    let rebuilt = rebuild_ice40(&bench.wheels, &asc, &pins(), "mixture").unwrap();
    for cell in ["SB_MAC16", "SB_SPRAM256KA", "TANDEM_ICE_RAM", "SB_PLL40_PAD"] {
        assert_eq!(rebuilt.count(cell), 1, "{cell}");
    }
    let meaning = format!("{ICE40_DESIGN}{ICE40_MEANING}");
    let compare = |text: &str| bench.pair(&meaning, "", &netlist, Family::Ice40, text).unwrap().run(CYCLES);
    same(compare(&rebuilt.verilog())).unwrap();

    let broken = rebuild_ice40(&bench.wheels, &flip(&asc), &pins(), "mixture").unwrap();
    assert_ne!(broken, rebuilt);
    assert_ne!(compare(&broken.verilog()), None, "a flipped bit is not found");
}

/// The unpacked bits with the register left out of the first logic cell that has one.
fn flip(asc: &str) -> String {
    // In a logic tile, bit 9 of cell 0 stands in row 0 and column 45: it puts the register behind the look-up table.
    let mut lines: Vec<String> = asc.lines().map(str::to_owned).collect();
    let at = (0..lines.len().saturating_sub(1))
        .find(|&at| lines[at].starts_with(".logic_tile") && lines[at + 1].as_bytes().get(45) == Some(&b'1'))
        .expect("a register in cell 0 of a tile");
    lines[at + 1].replace_range(45..46, "0");
    lines.join("\n")
}

#[test]
fn the_bits_of_a_gowin_chip_hold_the_blocks_that_were_placed() {
    let Some(bench) = Bench::find() else { return };
    let (json, _) = bench.synthesise(ECP5_DESIGN, "mixture", Family::Gowin.command()).unwrap();
    let pins = [
        15, 16, 17, 18, 19, 20, 25, 26, 27, 28, 29, 30, 31, 41, 42, 48, 49, 51, 52, 53, 54, 55, 56, 71, 72, 73, 74, 75,
    ];
    let mut names = vec!["clock".to_owned(), "reset".to_owned(), "go".to_owned()];
    names.extend((0..8).map(|bit| format!("a[{bit}]")).chain((0..16).map(|bit| format!("y[{bit}]"))));
    names.push("q".to_owned());
    let cst: String = (names.iter().zip([4].into_iter().chain(pins)))
        .map(|(name, pin)| format!("IO_LOC \"{name}\" {pin};\n"))
        .collect();
    let found = structure_gowin(&bench.wheels, &json, &cst, &tool::cache().join("gates")).unwrap();
    for kind in &found {
        assert!(kind.placed > 0 && kind.placed == kind.found, "{found:?}");
    }
}

/// Two products and their sum, all registered: `synth_ice40 -dsp` leaves one of the products out.
const PRODUCTS: &str = "
module products(input clock, reset, input signed [7:0] a, b, c, d, output reg signed [16:0] s);
  reg signed [15:0] p, q;
  always @(posedge clock) begin
    p <= a * b;
    q <= c * d;
    s <= p + q;
  end
endmodule
";

#[test]
fn the_multipliers_that_synth_ice40_dsp_leaves_out_are_missed() {
    let Some(bench) = Bench::find() else { return };
    assert_eq!(bench.differ(PRODUCTS, "products", Family::Ice40, CYCLES).unwrap(), None);
    let (_, netlist) = bench.synthesise(PRODUCTS, "products", "synth_ice40 -device u -dsp").unwrap();
    let found = bench.pair(PRODUCTS, "", &netlist, Family::Ice40, &netlist.verilog()).unwrap().run(CYCLES);
    assert!(
        found.is_some(),
        "this yosys may no longer miscompile: then -dsp can be used, and this test has done its work"
    );
}
