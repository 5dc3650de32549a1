//! A small design with the ports of a board: the whole flow in seconds, to see that tools, constraints and PLL are right.

use std::fmt::Write;

use crate::TOP;
use crate::board::{Board, Direction};
use crate::pll::Pll;

/// The design as one text; its top module is [`TOP`], with the ports of [`Board::ports`]. A multiplier, a memory and a counter drive
/// every output; the counter begins with `seed`, so that designs differ.
pub fn trial_design(board: &Board, seed: u32) -> String {
    let mut text = String::new();
    let width = |bits: Option<u32>| bits.map_or_else(String::new, |bits| format!("[{}:0] ", bits - 1));
    let ports: Vec<String> = board
        .ports()
        .iter()
        .map(|port| {
            let direction = match port.direction {
                Direction::Input => "input",
                Direction::Output => "output",
                Direction::Inout => "inout",
            };
            format!("  {direction} wire {}{}", width(port.bits), port.name)
        })
        .collect();
    let has = |name: &str| board.ports().iter().any(|port| port.name == name);
    let _ = writeln!(text, "module {TOP}(\n{}\n);", ports.join(",\n"));
    text.push_str("  wire clock, locked;\n");
    text.push_str(&pll(board));
    text.push_str("  reg [3:0] start = 4'd0;\n");
    text.push_str("  always @(posedge clock) if (!start[3] && locked) start <= start + 4'd1;\n");
    text.push_str("  wire [31:0] state;\n  wire [31:0] seen;\n");
    let rx = if has("uart_rx") { "uart_rx" } else { "1'b1" };
    let _ = writeln!(text, "  board board(.clock(clock), .reset(!start[3]), .in({rx}), .seen(seen), .state(state));");
    for port in board.ports() {
        match (port.direction, port.name.as_str()) {
            (Direction::Output, "sdram_clk") => text.push_str("  assign sdram_clk = ~clock;\n"),
            (Direction::Output, "led") if board.leds_active_low => text.push_str("  assign led = ~state;\n"),
            (Direction::Output, name) => {
                let _ = writeln!(text, "  assign {name} = state;");
            }
            (Direction::Inout, name) => {
                let _ = writeln!(text, "  assign {name} = state[31] ? state : {}'bz;", port.bits.unwrap_or(1));
            }
            (Direction::Input, _) => {}
        }
    }
    let seen = if has("sdram_dq") { "sdram_dq" } else { "32'd0" };
    let _ = writeln!(text, "  assign seen = {seen};\nendmodule");
    let _ = write!(
        text,
        "module board(input wire clock, input wire reset, input wire in, input wire [31:0] seen, output wire [31:0] state);\n  \
         core core(.clock(clock), .reset(reset), .in(in), .seen(seen), .state(state));\nendmodule\n\
         module core(input wire clock, input wire reset, input wire in, input wire [31:0] seen, output wire [31:0] state);\n  \
         wire [31:0] count;\n  \
         control control(.clock(clock), .reset(reset), .in(in), .count(count));\n  \
         gemm gemm(.clock(clock), .a(count[7:0]), .b(count[15:8]), .seen(seen), .sum(state));\nendmodule\n\
         module control(input wire clock, input wire reset, input wire in, output reg [31:0] count);\n  \
         always @(posedge clock) if (reset) count <= 32'd{}; else count <= count + {{31'd0, in}} + 32'd1;\nendmodule\n\
         module gemm(input wire clock, input wire signed [7:0] a, input wire signed [7:0] b, input wire [31:0] seen, \
         output reg [31:0] sum);\n  \
         reg signed [15:0] product;\n  reg [31:0] memory [0:255];\n  reg [31:0] read;\n  reg [31:0] early;\n  reg [31:0] part;\n  \
         always @(posedge clock) begin\n    product <= a * b;\n    memory[a] <= sum;\n    read <= memory[b];\n    \
         early <= seen;\n    part <= early + {{16'd0, product}};\n    sum <= read + part;\n  end\nendmodule\n",
        seed
    );
    text
}

fn pll(board: &Board) -> String {
    let input = board.oscillator.as_ref().map_or("1'b0", |oscillator| oscillator.port.as_str());
    let Some(pll) = &board.pll else {
        return format!("  assign clock = {input};\n  assign locked = 1'b1;\n");
    };
    let parameters = pll.parameters().into_iter().map(|(name, value)| format!(".{name}({value})"));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    match pll {
        Pll::Ecp5(_) => format!(
            "  wire feedback;\n  EHXPLLL #(.FEEDBK_PATH(\"CLKOP\"), .CLKOP_ENABLE(\"ENABLED\"), .CLKOS_ENABLE(\"ENABLED\"), \
             .CLKOP_FPHASE(0), .CLKOS_FPHASE(0), {parameters}) \
             pll(.CLKI({input}), .CLKFB(feedback), .CLKOP(feedback), .CLKOS(clock), .LOCK(locked), \
             .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b0), .PHASESTEP(1'b0), \
             .PHASELOADREG(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .ENCLKOS(1'b0));\n"
        ),
        Pll::Ice40(_) => format!(
            "  SB_PLL40_PAD #(.FEEDBACK_PATH(\"SIMPLE\"), {parameters}) \
             pll(.PACKAGEPIN({input}), .PLLOUTGLOBAL(clock), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0));\n"
        ),
        Pll::Gowin(_) => format!(
            "  rPLL #(.DEVICE(\"GW2AR-18C\"), {parameters}) \
             pll(.CLKIN({input}), .CLKOUT(clock), .LOCK(locked), .RESET(1'b0), .RESET_P(1'b0), .CLKFB(1'b0), .FBDSEL(6'd0), \
             .IDSEL(6'd0), .ODSEL(6'd0), .PSDA(4'd0), .DUTYDA(4'd0), .FDLY(4'd0));\n"
        ),
    }
}
