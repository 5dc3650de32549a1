//! The wrapper: what a family of FPGAs puts around the board's module. PLL, reset, pads, and the clock of the memory chip.
//!
//! ```text
//!  clock_in --> PLL --+--> clock --> [ board ] --> pins
//!                     +--> locked, after some cycles --> reset
//!  a later clock --> sdram_clk     sdram_dq --> [ registers on the falling edge, or none ] --> sdram_dq_in
//! ```
//!
//! | port of `top` | width | meaning |
//! |---|---|---|
//! | the oscillator's, such as `clock_in` | 1 | the clock from outside |
//! | `uart_rx`, `uart_tx` | 1 | the serial line |
//! | `led` | as the board has | as of `board`; inverted where a LED shines on a low pin |
//! | `sdram_clk`, `sdram_cke`, `sdram_cs_n`, `sdram_ras_n`, `sdram_cas_n`, `sdram_we_n`, `sdram_ba`, `sdram_a`, `sdram_dqm`, `sdram_dq` | as the chip has | but for those that are not wired |
//!
//! The chip's clock is later than the board's by a part of a cycle, half of one by inversion and others by an output of the PLL of
//! its own, so that what the board drives is stable when the chip samples it. A word that the chip drives in the cycle behind is
//! caught on the falling edge in the middle of the next cycle, and crosses to the board in half a cycle; or at the end of that
//! cycle, by the board's own registers. Which of the two, and which phase, follows from the clock and the delays of pads and
//! chip. Reset lasts until eight cycles after the PLL has locked.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{BOARD, Memory, Sdram, Shell, ShellError};

/// The name of the module that [`wrapper_verilog`] gives.
pub const WRAPPER: &str = "top";

/// A family of FPGAs, for what has no common description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Lattice ECP5.
    Ecp5,
    /// Lattice iCE40.
    Ice40,
    /// Gowin.
    Gowin,
    /// None in particular: no PLL, and the memory chip's clock comes out of fabric.
    Plain,
}

/// A PLL: the parameters of the family's primitive that its setting decides, by name and as Verilog writes them.
///
/// ECP5: EHXPLLL, of which CLKOP feeds back, CLKOS is the clock and CLKOS2 the memory chip's. iCE40: SB_PLL40_PAD with simple
/// feedback. Gowin: rPLL, of which CLKOUTP is the memory chip's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pll {
    /// Names and values, such as `("DIVF", "7'd63")`.
    pub parameters: Vec<(String, String)>,
}

/// The clock of a SDRAM chip, and when its words are caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdramClock {
    /// How much later its rising edge is than the board's: a multiple of 45, 45 to 315.
    pub phase_degrees: u32,
    /// The edge of the board's clock that catches a word.
    pub capture: Edge,
}

impl SdramClock {
    /// The board's clock, inverted: it needs no clock of the PLL's own.
    pub const INVERTED: SdramClock = SdramClock { phase_degrees: 180, capture: Edge::Falling };

    /// Whether it is a clock of the PLL's own.
    pub fn is_late(&self) -> bool {
        self.phase_degrees != SdramClock::INVERTED.phase_degrees
    }

    /// Whether there is such a phase: a multiple of 45 from 45 to 315.
    pub fn has_phase(&self) -> bool {
        self.phase_degrees.is_multiple_of(45) && (45..360).contains(&self.phase_degrees)
    }
}

/// An edge of the board's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// In the middle of the cycle.
    Falling,
    /// At its end.
    Rising,
}

/// How the board's module meets the pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// The port of the clock from outside.
    pub clock: String,
    /// Whether a LED shines when its pin is low.
    pub leds_active_low: bool,
    /// Ports that are not wired, such as `sdram_cke`.
    pub absent: BTreeSet<String>,
    /// The clock of the memory chip, where there is one.
    pub sdram_clock: SdramClock,
}

/// The wrapper as Verilog: a module [`WRAPPER`] around a module [`BOARD`], whose text is not part of it. Without a PLL the clock
/// from outside is the board's.
///
/// # Errors
/// [`ShellError::Pins`] where the pins do not go with the shell or the family.
pub fn wrapper_verilog(vendor: Vendor, pll: Option<&Pll>, shell: &Shell, pins: &Pins) -> Result<String, ShellError> {
    let sdram = match &shell.memory {
        Memory::Sdram(sdram) => Some(sdram),
        Memory::Spram | Memory::BlockRam { .. } => None,
    };
    check(vendor, pll, sdram, pins)?;
    let late = sdram.is_some() && pins.sdram_clock.is_late();
    let mut ports = Ports { absent: &pins.absent, header: Vec::new(), inner: Vec::new() };
    ports.header.push(format!("input wire {}", pins.clock));
    ports.add("input", "uart_rx", 1, "uart_rx");
    ports.add("output", "uart_tx", 1, "uart_tx");
    if shell.leds > 0 {
        ports.add("output", "led", shell.leds, "light");
    }
    if let Some(sdram) = sdram {
        ports.header.push("output wire sdram_clk".to_owned());
        for (name, width) in outputs(sdram) {
            ports.add("output", name, width, name);
        }
        ports.header.push(format!("inout wire [{}:0] sdram_dq", sdram.data_bits - 1));
        for (pin, net) in [("dq_out", "dq_out"), ("dq_oe", "dq_oe"), ("dq_in", "caught")] {
            ports.inner.push(format!(".sdram_{pin}({net})"));
        }
    }

    let mut text = format!("module {WRAPPER} (\n    {}\n);\n", ports.header.join(",\n    "));
    text += "    wire clock;\n    wire locked;\n";
    text += &clock(vendor, pll, &pins.clock, late);
    text += "    reg [1:0] locks = 2'd0;\n    reg [3:0] started = 4'd0;\n    always @(posedge clock) begin\n";
    text += "        locks <= {locks[0], locked};\n        if (!locks[1]) started <= 4'd0;\n";
    text += "        else if (!started[3]) started <= started + 4'd1;\n    end\n";
    if shell.leds > 0 {
        let invert = if pins.leds_active_low { "~" } else { "" };
        let _ = writeln!(text, "    wire [{}:0] light;\n    assign led = {invert}light;", shell.leds - 1);
    }
    if let Some(sdram) = sdram {
        let high = sdram.data_bits - 1;
        let _ = writeln!(text, "    wire [{high}:0] dq_out;\n    wire dq_oe;");
        let _ = writeln!(text, "    assign sdram_dq = dq_oe ? dq_out : {}'bz;", sdram.data_bits);
        let _ = match pins.sdram_clock.capture {
            Edge::Falling => {
                writeln!(text, "    reg [{high}:0] caught;\n    always @(negedge clock) caught <= sdram_dq;")
            }
            Edge::Rising => writeln!(text, "    wire [{high}:0] caught = sdram_dq;"),
        };
        text += &chip_clock(vendor, late);
    }
    let inner = ports.inner.join(",\n        ");
    let _ = writeln!(
        text,
        "    {BOARD} shell (\n        .clock(clock),\n        .reset(~started[3]),\n        {inner}\n    );\nendmodule"
    );
    Ok(text)
}

/// Ports of the wrapper, and how they are connected to the board.
struct Ports<'a> {
    absent: &'a BTreeSet<String>,
    header: Vec<String>,
    inner: Vec<String>,
}

impl Ports<'_> {
    /// A port of both with the net between them.
    fn add(&mut self, direction: &str, name: &str, width: u32, net: &str) {
        if self.absent.contains(name) {
            self.inner.push(format!(".{name}()"));
            return;
        }
        // A board of one LED or one bank bit has vectors of one bit.
        let vector = ["led", "sdram_ba"].contains(&name) || width > 1;
        let range = if vector { format!("[{}:0] ", width - 1) } else { String::new() };
        self.header.push(format!("{direction} wire {range}{name}"));
        self.inner.push(format!(".{name}({net})"));
    }
}

/// The chip's pins that the board alone drives.
fn outputs(sdram: &Sdram) -> [(&'static str, u32); 8] {
    [
        ("sdram_cke", 1),
        ("sdram_cs_n", 1),
        ("sdram_ras_n", 1),
        ("sdram_cas_n", 1),
        ("sdram_we_n", 1),
        ("sdram_ba", sdram.bank_bits),
        ("sdram_a", sdram.row_bits),
        ("sdram_dqm", sdram.data_bits / 8),
    ]
}

fn check(vendor: Vendor, pll: Option<&Pll>, sdram: Option<&Sdram>, pins: &Pins) -> Result<(), ShellError> {
    let wrong = |problem: String| Err(ShellError::Pins { problem });
    let is_name = pins.clock.starts_with(|c: char| c.is_ascii_alphabetic())
        && pins.clock.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return wrong(format!("the clock's port is called `{}`, which is no name in Verilog", pins.clock));
    }
    if vendor == Vendor::Plain && pll.is_some() {
        return wrong("there is a PLL, and the family is not said".to_owned());
    }
    let optional = ["sdram_cke", "sdram_cs_n", "sdram_dqm"];
    if let Some(name) = pins.absent.iter().find(|name| !optional.contains(&name.as_str())) {
        return wrong(format!("{name} is not wired; only {} may be absent", optional.join(", ")));
    }
    let phase = pins.sdram_clock.phase_degrees;
    if sdram.is_some() && !pins.sdram_clock.has_phase() {
        return wrong(format!(
            "the memory chip's clock is {phase} degrees late, which is no multiple of 45 from 45 to 315"
        ));
    }
    if sdram.is_some()
        && pins.sdram_clock.is_late()
        && (pll.is_none() || ![Vendor::Ecp5, Vendor::Gowin].contains(&vendor))
    {
        return wrong(format!(
            "the memory chip's clock is {phase} degrees late, and there is no PLL that makes another than 180"
        ));
    }
    if sdram.is_some_and(|sdram| sdram.masks) && pins.absent.contains("sdram_dqm") {
        return wrong("sdram_dqm is not wired, and the SDRAM says masks = true".to_owned());
    }
    Ok(())
}

/// What makes `clock` and `locked`, and where it is wanted `late`, the clock of the memory chip.
fn clock(vendor: Vendor, pll: Option<&Pll>, input: &str, late: bool) -> String {
    let Some(pll) = pll else {
        return format!("    assign clock = {input};\n    assign locked = 1'b1;\n");
    };
    let (cell, mut parameters, mut pins): (_, Vec<(&str, &str)>, _) = match vendor {
        Vendor::Ecp5 => (
            "EHXPLLL",
            vec![
                ("FEEDBK_PATH", "\"CLKOP\""),
                ("CLKOP_ENABLE", "\"ENABLED\""),
                ("CLKOS_ENABLE", "\"ENABLED\""),
                ("CLKOP_FPHASE", "0"),
                ("CLKOS_FPHASE", "0"),
            ],
            format!(
                ".CLKI({input}), .CLKFB(feedback), .CLKOP(feedback), .CLKOS(clock), .LOCK(locked), .RST(1'b0), .STDBY(1'b0), \
                 .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b0), .PHASESTEP(1'b0), .PHASELOADREG(1'b0), \
                 .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .ENCLKOS(1'b0)"
            ),
        ),
        Vendor::Ice40 => (
            "SB_PLL40_PAD",
            vec![("FEEDBACK_PATH", "\"SIMPLE\"")],
            format!(".PACKAGEPIN({input}), .PLLOUTGLOBAL(clock), .LOCK(locked), .RESETB(1'b1), .BYPASS(1'b0)"),
        ),
        Vendor::Gowin | Vendor::Plain => (
            "rPLL",
            vec![("DEVICE", "\"GW2AR-18C\"")],
            format!(
                ".CLKIN({input}), .CLKOUT(clock), .LOCK(locked), .RESET(1'b0), .RESET_P(1'b0), .CLKFB(1'b0), .FBDSEL(6'd0), \
                 .IDSEL(6'd0), .ODSEL(6'd0), .PSDA(4'd0), .DUTYDA(4'd0), .FDLY(4'd0)"
            ),
        ),
    };
    match vendor {
        Vendor::Ecp5 if late => {
            parameters.push(("CLKOS2_ENABLE", "\"ENABLED\""));
            pins += ", .CLKOS2(late), .ENCLKOS2(1'b0)";
        }
        Vendor::Gowin if late => pins += ", .CLKOUTP(late)",
        _ => {}
    }
    // What the setting says wins.
    parameters.retain(|(name, _)| pll.parameters.iter().all(|(given, _)| given != name));
    parameters.extend(pll.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!(".{name}({value})")).collect();
    let feedback = if vendor == Vendor::Ecp5 { "    wire feedback;\n" } else { "" };
    let wire = if late { "    wire late;\n" } else { "" };
    format!("{feedback}{wire}    {cell} #({}) pll ({pins});\n", parameters.join(", "))
}

/// The memory chip's clock on a pin, through the register of the pin where there is one, so that it leaves as data would: the
/// later clock, or the inverted one.
fn chip_clock(vendor: Vendor, late: bool) -> String {
    let (clock, first, second) = if late { ("late", "1'b1", "1'b0") } else { ("clock", "1'b0", "1'b1") };
    match vendor {
        Vendor::Ecp5 => {
            format!(
                "    ODDRX1F chip_clock (.SCLK({clock}), .RST(1'b0), .D0({first}), .D1({second}), .Q(sdram_clk));\n"
            )
        }
        Vendor::Gowin => format!(
            "    ODDR chip_clock (.CLK({clock}), .TX(1'b0), .D0({first}), .D1({second}), .Q0(sdram_clk), .Q1());\n"
        ),
        Vendor::Ice40 | Vendor::Plain => "    assign sdram_clk = ~clock;\n".to_owned(),
    }
}
