//! The core on a chip of its own, with so few pins that place-and-route has room for them, and the core's ports around it.
//!
//! ```text
//!  harness --tandem's ports--> [ shim: module tandem ] --pins--> [ chip: what was routed ]
//! ```
//!
//! The chip has every signal of the core that carries information: both buses, and the probes that tell events. What is constant
//! by the rules of the core's bus (sizes, burst types) is not there, and an instruction's number has as many bits as pins are
//! left. The shim gives the chip the ports of the core, so that it runs in the core's place.

use tandem_isa::HwConfig;

use std::fmt::Write;

/// The module to synthesise.
pub const CHIP: &str = "chip";
/// Pins of the largest package of the ECP5 family, `CABGA756`.
const PINS: u32 = 365;

/// A signal that goes through pins.
struct Pin {
    /// On the chip.
    name: &'static str,
    width: u32,
    output: bool,
    /// What the core's port is on the chip, or the chip's pin in the shim.
    inside: String,
    outside: String,
}

/// The chip's top module, to go with the core's Verilog.
pub fn chip_verilog(config: &HwConfig) -> String {
    let pins = pins(config);
    let mut text = format!("module {CHIP}(\n");
    let lines: Vec<String> = pins.iter().map(|pin| format!("  {}", declaration(pin))).collect();
    let _ = write!(text, "{}\n);\n", lines.join(",\n"));
    for unit in ["load", "compute", "store"] {
        let _ = writeln!(text, "  wire [31:0] {unit}_insn_whole;");
    }
    text.push_str("  wire [31:0] araddr_whole, awaddr_whole;\n  wire [7:0] arlen_whole, awlen_whole;\n");
    text.push_str("  tandem core(\n");
    let ports: Vec<String> = pins.iter().filter(|pin| !pin.inside.is_empty()).map(|pin| pin.inside.clone()).collect();
    let _ = write!(text, "    {}\n  );\n", ports.join(",\n    "));
    for (pin, whole) in
        [("araddr", "araddr_whole"), ("awaddr", "awaddr_whole"), ("arlen", "arlen_whole"), ("awlen", "awlen_whole")]
    {
        let _ = writeln!(text, "  assign {pin} = {whole}[{}:0];", width(&pins, pin) - 1);
    }
    for unit in ["load", "compute", "store"] {
        let _ = writeln!(
            text,
            "  assign {unit}_insn = {unit}_insn_whole[{}:0];",
            width(&pins, &format!("{unit}_insn")) - 1
        );
    }
    text.push_str("endmodule\n");
    text
}

/// A module `tandem` with the core's ports around the chip.
pub fn chip_shim(config: &HwConfig) -> String {
    let pins = pins(config);
    let (bus, log_bytes) = (config.bus_bytes() * 8, config.bus_bytes().trailing_zeros());
    let names: Vec<String> = pins.iter().map(|pin| format!(".{}({})", pin.name, pin.outside)).collect();
    format!(
        "module tandem(
  input clock, reset, s_axil_awvalid, s_axil_wvalid, s_axil_bready, s_axil_arvalid, s_axil_rready,
  input [11:0] s_axil_awaddr, s_axil_araddr, input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb,
  input m_axi_arready, m_axi_rvalid, m_axi_rlast, m_axi_awready, m_axi_wready, m_axi_bvalid,
  input [{data}:0] m_axi_rdata, input [1:0] m_axi_rresp, m_axi_bresp,
  output s_axil_awready, s_axil_wready, s_axil_bvalid, s_axil_arready, s_axil_rvalid,
  output [1:0] s_axil_bresp, s_axil_rresp, output [31:0] s_axil_rdata,
  output m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_bready,
  output [31:0] m_axi_araddr, m_axi_awaddr, output [7:0] m_axi_arlen, m_axi_awlen, output [2:0] m_axi_arsize, m_axi_awsize,
  output [1:0] m_axi_arburst, m_axi_awburst, output [{data}:0] m_axi_wdata, output [{strobe}:0] m_axi_wstrb,
  output irq, probe_load_begin, probe_load_finish, probe_compute_begin, probe_compute_finish, probe_store_begin,
  output probe_store_finish, probe_running, output [31:0] probe_load_insn, probe_compute_insn, probe_store_insn,
  output [2:0] probe_load_state, probe_compute_state, probe_store_state, probe_fetch_state,
  output [3:0] probe_push, probe_pop, output [63:0] probe_tokens, output [47:0] probe_queued
);
  assign {{m_axi_arsize, m_axi_awsize}} = {{2{{3'd{log_bytes}}}}};
  assign {{m_axi_arburst, m_axi_awburst}} = 4'b0101;
  assign {{probe_load_state, probe_compute_state, probe_store_state, probe_fetch_state}} = 12'b0;
  assign {{probe_tokens, probe_queued}} = 112'b0;
{unused}  {CHIP} chip(
    {pins}
  );
endmodule
",
        data = bus - 1,
        strobe = bus / 8 - 1,
        unused = unused(&pins),
        pins = names.join(",\n    "),
    )
}

/// The upper bits of what has more bits on the core than on the chip.
fn unused(pins: &[Pin]) -> String {
    let whole = [
        ("araddr", "m_axi_araddr", 32),
        ("awaddr", "m_axi_awaddr", 32),
        ("arlen", "m_axi_arlen", 8),
        ("awlen", "m_axi_awlen", 8),
        ("load_insn", "probe_load_insn", 32),
        ("compute_insn", "probe_compute_insn", 32),
        ("store_insn", "probe_store_insn", 32),
    ];
    let above = whole.into_iter().filter_map(|(pin, port, bits)| {
        let width = width(pins, pin);
        (width < bits).then(|| format!("  assign {port}[{}:{width}] = {}'b0;\n", bits - 1, bits - width))
    });
    above.collect()
}

fn width(pins: &[Pin], name: &str) -> u32 {
    pins.iter().find(|pin| pin.name == name).map_or(1, |pin| pin.width)
}

fn declaration(pin: &Pin) -> String {
    let way = if pin.output { "output" } else { "input" };
    match pin.width {
        1 => format!("{way} {}", pin.name),
        width => format!("{way} [{}:0] {}", width - 1, pin.name),
    }
}

fn pins(config: &HwConfig) -> Vec<Pin> {
    let bus = config.bus_bytes() as u32 * 8;
    let address = config.facts().dram_bits;
    // Ports of the core that go straight through: pin, width, port.
    let input = |name: &'static str, width: u32, port: &str| Pin {
        name,
        width,
        output: false,
        inside: format!(".{port}({name})"),
        outside: port.to_owned(),
    };
    let output = |name, width, port: &str| Pin { output: true, ..input(name, width, port) };
    // Of a wider port of the core the lower bits.
    let lower = |name: &'static str, width: u32, port: &str| Pin {
        name,
        width,
        output: true,
        inside: format!(".{port}({name}_whole)"),
        outside: format!("{port}[{}:0]", width - 1),
    };
    let mut pins = vec![
        input("clock", 1, "clock"),
        input("reset", 1, "reset"),
        input("write_valid", 1, "s_axil_awvalid"),
        // The host does one thing at a time.
        Pin {
            inside: ".s_axil_awaddr(register_addr), .s_axil_araddr(register_addr), .s_axil_wstrb(4'b1111)".to_owned(),
            outside: "s_axil_awvalid ? s_axil_awaddr : s_axil_araddr".to_owned(),
            ..input("register_addr", 12, "")
        },
        input("write_data_valid", 1, "s_axil_wvalid"),
        input("write_data", 32, "s_axil_wdata"),
        input("write_taken", 1, "s_axil_bready"),
        input("read_valid", 1, "s_axil_arvalid"),
        input("read_taken", 1, "s_axil_rready"),
        input("arready", 1, "m_axi_arready"),
        input("rvalid", 1, "m_axi_rvalid"),
        input("rdata", bus, "m_axi_rdata"),
        Pin {
            inside: ".m_axi_rresp({2{rfault}})".to_owned(),
            outside: "m_axi_rresp[1]".to_owned(),
            ..input("rfault", 1, "")
        },
        input("rlast", 1, "m_axi_rlast"),
        input("awready", 1, "m_axi_awready"),
        input("wready", 1, "m_axi_wready"),
        input("bvalid", 1, "m_axi_bvalid"),
        Pin {
            inside: ".m_axi_bresp({2{bfault}})".to_owned(),
            outside: "m_axi_bresp[1]".to_owned(),
            ..input("bfault", 1, "")
        },
        output("write_ready", 1, "s_axil_awready"),
        output("write_data_ready", 1, "s_axil_wready"),
        output("write_done", 1, "s_axil_bvalid"),
        output("write_resp", 2, "s_axil_bresp"),
        output("read_ready", 1, "s_axil_arready"),
        output("read_done", 1, "s_axil_rvalid"),
        output("read_data", 32, "s_axil_rdata"),
        output("read_resp", 2, "s_axil_rresp"),
        output("arvalid", 1, "m_axi_arvalid"),
        lower("araddr", address, "m_axi_araddr"),
        lower("arlen", 4, "m_axi_arlen"),
        output("rready", 1, "m_axi_rready"),
        output("awvalid", 1, "m_axi_awvalid"),
        lower("awaddr", address, "m_axi_awaddr"),
        lower("awlen", 4, "m_axi_awlen"),
        output("wvalid", 1, "m_axi_wvalid"),
        output("wdata", bus, "m_axi_wdata"),
        output("wstrb", bus / 8, "m_axi_wstrb"),
        output("wlast", 1, "m_axi_wlast"),
        output("bready", 1, "m_axi_bready"),
        output("irq", 1, "irq"),
        output("running", 1, "probe_running"),
        output("load_begin", 1, "probe_load_begin"),
        output("load_finish", 1, "probe_load_finish"),
        output("compute_begin", 1, "probe_compute_begin"),
        output("compute_finish", 1, "probe_compute_finish"),
        output("store_begin", 1, "probe_store_begin"),
        output("store_finish", 1, "probe_store_finish"),
        output("push", 4, "probe_push"),
        output("pop", 4, "probe_pop"),
    ];
    let taken: u32 = pins.iter().map(|pin| pin.width).sum();
    // A bus too wide for the package is refused by place-and-route.
    let each = (PINS.saturating_sub(taken) / 3).clamp(1, 32);
    pins.push(lower("load_insn", each, "probe_load_insn"));
    pins.push(lower("compute_insn", each, "probe_compute_insn"));
    pins.push(lower("store_insn", each, "probe_store_insn"));
    pins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chip_of_a_narrow_machine_fits_the_largest_package_and_tells_every_event() {
        for name in ["tiny", "edge"] {
            let pins = pins(&HwConfig::preset(name).unwrap());
            let taken: u32 = pins.iter().map(|pin| pin.width).sum();
            assert!(taken <= PINS, "{taken} pins");
            // Programs of co-simulation have fewer instructions than this.
            assert!(width(&pins, "load_insn") >= 10);
        }
    }
}
