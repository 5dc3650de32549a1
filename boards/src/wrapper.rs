//! What stands between the pins and the module `board`: PLL, reset, the bidirectional data bus, the clock of a memory chip, LEDs
//! that shine when low.

use crate::TOP;
use crate::board::{Board, Direction, Flow, Memory, Port};
use crate::pll::Pll;
use crate::verilog::{Instance, Module};

/// The reset generator.
const START: &str = include_str!("start.v");

/// The top module with all that it instantiates but `board`, whose ports are those of [`inner_ports`].
pub fn wrapper(board: &Board) -> String {
    let inside = inner_ports(board);
    let outside = board.ports();
    let is_pin = |name: &str| outside.iter().any(|port| port.name == name);
    let mut module = Module { name: TOP.to_owned(), ports: outside.clone(), ..Module::default() };
    let mut wire = |name: &str, bits| module.wires.push((name.to_owned(), bits));
    for name in ["clock", "locked", "reset"] {
        wire(name, None);
    }
    let mut core = Instance::new("board", "board");
    for port in &inside {
        let name = port.name.as_str();
        let is_led = name == "led" && board.leds_active_low;
        if is_led || name.starts_with("sdram_dq_") {
            let inner = format!("{name}_inside");
            wire(&inner, port.bits);
            core = core.wire(name, inner);
        } else if is_pin(name) || ["clock", "reset"].contains(&name) {
            core = core.wire(name, name);
        } else {
            // An output that the board has not wired.
            core = core.wire(name, "");
        }
    }
    if board.leds_active_low && board.leds > 0 {
        module.assigns.push(("led".to_owned(), "~led_inside".to_owned()));
    }
    if let Memory::Sdram(sdram) = &board.memory {
        let drive = format!("sdram_dq_oe_inside ? sdram_dq_out_inside : {}'bz", sdram.data_bits);
        module.assigns.push(("sdram_dq".to_owned(), drive));
        module.assigns.push(("sdram_dq_in_inside".to_owned(), "sdram_dq".to_owned()));
        module.wires.push(("chip_clock".to_owned(), None));
        module.instances.push(chip_clock(board.flow));
    }
    clock(board, &mut module);
    let start = Instance::new("start", "start").wire("clock", "clock").wire("locked", "locked").wire("reset", "reset");
    module.instances.extend([start, core]);
    module.to_verilog() + "\n" + START
}

/// The ports of the module `board`: those of the top with a clock and a reset, and the data bus in three.
pub fn inner_ports(board: &Board) -> Vec<Port> {
    let port = |name: &str, direction, bits| Port { name: name.to_owned(), direction, bits };
    let mut ports = vec![port("clock", Direction::Input, None), port("reset", Direction::Input, None)];
    let whole = Board { absent_ports: Default::default(), oscillator: None, ..board.clone() };
    for outer in whole.ports() {
        match outer.name.as_str() {
            "sdram_clk" => {}
            "sdram_dq" => {
                ports.push(port("sdram_dq_out", Direction::Output, outer.bits));
                ports.push(port("sdram_dq_oe", Direction::Output, None));
                ports.push(port("sdram_dq_in", Direction::Input, outer.bits));
            }
            _ => ports.push(outer),
        }
    }
    ports
}

/// The clock, and that it is steady.
fn clock(board: &Board, module: &mut Module) {
    let input = board.oscillator.as_ref().map_or("1'b0", |oscillator| oscillator.port.as_str());
    let Some(pll) = &board.pll else {
        module.assigns.push(("clock".to_owned(), input.to_owned()));
        module.assigns.push(("locked".to_owned(), "1'b1".to_owned()));
        return;
    };
    let chip = matches!(board.memory, Memory::Sdram(_));
    let mut parameters = pll.parameters();
    if let Some(late) = board.sdram_clock.as_ref().filter(|_| chip) {
        parameters.extend(pll.late_parameters(late.phase_degrees));
    }
    let zero =
        |instance: Instance, names: &[&str], value: &str| names.iter().fold(instance, |i, name| i.wire(*name, value));
    let instance = match pll {
        Pll::Ecp5(_) => {
            module.wires.push(("feedback".to_owned(), None));
            let mut instance = Instance::new("EHXPLLL", "pll")
                .parameter("FEEDBK_PATH", "\"CLKOP\"")
                .parameter("CLKOP_ENABLE", "\"ENABLED\"")
                .parameter("CLKOS_ENABLE", "\"ENABLED\"")
                .wire("CLKI", input)
                .wire("CLKFB", "feedback")
                .wire("CLKOP", "feedback")
                .wire("CLKOS", "clock")
                .wire("LOCK", "locked");
            if chip {
                instance = instance.parameter("CLKOS2_ENABLE", "\"ENABLED\"").wire("CLKOS2", "chip_clock");
            }
            let idle = [
                "RST",
                "STDBY",
                "PHASESEL0",
                "PHASESEL1",
                "PHASEDIR",
                "PHASESTEP",
                "PHASELOADREG",
                "PLLWAKESYNC",
                "ENCLKOP",
                "ENCLKOS",
                "ENCLKOS2",
            ];
            zero(instance, &idle, "1'b0")
        }
        Pll::Ice40(_) => Instance::new("SB_PLL40_PAD", "pll")
            .parameter("FEEDBACK_PATH", "\"SIMPLE\"")
            .wire("PACKAGEPIN", input)
            .wire("PLLOUTGLOBAL", "clock")
            .wire("LOCK", "locked")
            .wire("RESETB", "1'b1")
            .wire("BYPASS", "1'b0"),
        Pll::Gowin(_) => {
            let mut instance = Instance::new("rPLL", "pll")
                .parameter("DEVICE", format!("\"{}\"", GOWIN_DEVICE))
                .wire("CLKIN", input)
                .wire("CLKOUT", "clock")
                .wire("LOCK", "locked");
            if chip {
                instance = instance.wire("CLKOUTP", "chip_clock");
            }
            let instance = zero(instance, &["RESET", "RESET_P", "CLKFB"], "1'b0");
            let instance = zero(instance, &["FBDSEL", "IDSEL", "ODSEL"], "6'd0");
            zero(instance, &["PSDA", "DUTYDA", "FDLY"], "4'd0")
        }
    };
    let instance = parameters.into_iter().fold(instance, |instance, (name, value)| instance.parameter(name, value));
    module.instances.push(instance);
}

/// What the rPLL wants to be told of its device.
const GOWIN_DEVICE: &str = "GW2AR-18C";

/// The clock of a memory chip leaves through a register of the pin, so that it leaves as the data do.
fn chip_clock(flow: Flow) -> Instance {
    match flow {
        Flow::Gowin => Instance::new("ODDR", "chip_clock_pin")
            .wire("D0", "1'b1")
            .wire("D1", "1'b0")
            .wire("TX", "1'b0")
            .wire("CLK", "chip_clock")
            .wire("Q0", "sdram_clk"),
        _ => Instance::new("ODDRX1F", "chip_clock_pin")
            .wire("D0", "1'b1")
            .wire("D1", "1'b0")
            .wire("SCLK", "chip_clock")
            .wire("RST", "1'b0")
            .wire("Q", "sdram_clk"),
    }
}
