//! The processor's side of a Zynq design: a block design with the processor, two interconnects and a reset generator.
//!
//! ```text
//!   processor --GP--> control --> M_AXIL --> registers of the core
//!   processor <--HP-- memory  <-- S_AXI  <-- memory bus of the core
//!   clock, reset --> core;  irq <-- core
//! ```
//!
//! The memory of the processor is set up by the boot loader of the board's own system, so that the block is not told about it.

use super::tcl::{Command, Word, command, text};
use super::versions;
use crate::board::Port;

/// A processor on the chip: what its block calls things.
pub struct Processor {
    /// The version of the block is a variable of the script, and not part of its name.
    versioned: bool,
    block: &'static str,
    settings: &'static [(&'static str, &'static str)],
    clock_setting: &'static str,
    clock: &'static str,
    reset: &'static str,
    control: &'static str,
    control_clock: &'static str,
    memory: &'static str,
    memory_clock: &'static str,
    irq: &'static str,
    space: &'static str,
    segment: &'static str,
    /// Interfaces to pins of the processor's own: port, type.
    fixed: &'static [(&'static str, &'static str)],
}

/// Zynq-7000.
pub const ZYNQ_7000: Processor = Processor {
    versioned: false,
    block: versions::ZYNQ_7000,
    settings: &[
        ("PCW_USE_M_AXI_GP0", "1"),
        ("PCW_USE_S_AXI_HP0", "1"),
        ("PCW_S_AXI_HP0_DATA_WIDTH", "64"),
        ("PCW_USE_FABRIC_INTERRUPT", "1"),
        ("PCW_IRQ_F2P_INTR", "1"),
    ],
    clock_setting: "PCW_FPGA0_PERIPHERAL_FREQMHZ",
    clock: "FCLK_CLK0",
    reset: "FCLK_RESET0_N",
    control: "M_AXI_GP0",
    control_clock: "M_AXI_GP0_ACLK",
    memory: "S_AXI_HP0",
    memory_clock: "S_AXI_HP0_ACLK",
    irq: "IRQ_F2P",
    space: "processor/Data",
    segment: "processor/S_AXI_HP0/HP0_DDR_LOWOCM",
    fixed: &[
        ("DDR", "xilinx.com:interface:ddrx_rtl:1.0"),
        ("FIXED_IO", "xilinx.com:display_processing_system7:fixedio_rtl:1.0"),
    ],
};

/// Zynq UltraScale+.
pub const ULTRASCALE: Processor = Processor {
    versioned: true,
    block: versions::ULTRASCALE_BLOCK,
    settings: &[
        ("PSU__USE__M_AXI_GP0", "1"),
        ("PSU__USE__M_AXI_GP1", "0"),
        ("PSU__USE__M_AXI_GP2", "0"),
        ("PSU__USE__S_AXI_GP2", "1"),
        // What the port has after power-up, so that no boot loader must know of it.
        ("PSU__SAXIGP2__DATA_WIDTH", "128"),
        ("PSU__USE__IRQ0", "1"),
        ("PSU__FPGA_PL0_ENABLE", "1"),
    ],
    clock_setting: "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
    clock: "pl_clk0",
    reset: "pl_resetn0",
    control: "M_AXI_HPM0_FPD",
    control_clock: "maxihpm0_fpd_aclk",
    memory: "S_AXI_HP0_FPD",
    memory_clock: "saxihp0_fpd_aclk",
    irq: "pl_ps_irq0",
    space: "processor/Data",
    segment: "processor/SAXIGP2/HP0_DDR_LOW",
    fixed: &[],
};

/// Ports of the processor's own pins on the top module, for the interfaces of `fixed`: name, bits.
pub const FIXED_PORTS: [(&str, u32); 21] = [
    ("DDR_addr", 15),
    ("DDR_ba", 3),
    ("DDR_cas_n", 1),
    ("DDR_ck_n", 1),
    ("DDR_ck_p", 1),
    ("DDR_cke", 1),
    ("DDR_cs_n", 1),
    ("DDR_dm", 4),
    ("DDR_dq", 32),
    ("DDR_dqs_n", 4),
    ("DDR_dqs_p", 4),
    ("DDR_odt", 1),
    ("DDR_ras_n", 1),
    ("DDR_reset_n", 1),
    ("DDR_we_n", 1),
    ("FIXED_IO_ddr_vrn", 1),
    ("FIXED_IO_ddr_vrp", 1),
    ("FIXED_IO_mio", 54),
    ("FIXED_IO_ps_clk", 1),
    ("FIXED_IO_ps_porb", 1),
    ("FIXED_IO_ps_srstb", 1),
];

/// What a design asks of the processor.
pub struct Request {
    /// Hertz of the clock.
    pub clock_hz: u64,
    /// Address and bytes of the registers.
    pub registers: (u64, u64),
    /// Bytes of memory from address 0.
    pub memory_bytes: u64,
    /// Bits of the memory bus.
    pub bus_bits: u32,
}

impl Processor {
    /// Whether its pins are ports of the top module.
    pub fn has_fixed_ports(&self) -> bool {
        !self.fixed.is_empty()
    }

    /// The commands that make the block design `system`.
    pub fn block_design(&self, request: &Request) -> Vec<Command> {
        let hz = request.clock_hz.to_string();
        let mut commands = vec![
            command("create_bd_design").words(&["system"]).comment("The processor, its interconnects and its reset."),
            cell(self.processor_type(), "processor"),
            set_cell("processor", &self.cell_settings(request)),
            cell(text(versions::RESET), "reset"),
        ];
        for name in ["control", "memory"] {
            commands.push(cell(text(versions::INTERCONNECT), name));
            commands.push(set_cell(name, &[("NUM_SI", "1".to_owned()), ("NUM_MI", "1".to_owned())]));
        }
        let data = request.bus_bits.to_string();
        let master = [("PROTOCOL", "AXI4LITE"), ("ADDR_WIDTH", "32"), ("DATA_WIDTH", "32"), ("FREQ_HZ", &hz)];
        let slave = [
            ("PROTOCOL", "AXI4"),
            ("ADDR_WIDTH", "32"),
            ("DATA_WIDTH", data.as_str()),
            ("ID_WIDTH", "0"),
            ("MAX_BURST_LENGTH", "16"),
            ("SUPPORTS_NARROW_BURST", "0"),
            ("FREQ_HZ", &hz),
        ];
        commands.push(
            create_interface("Master", "xilinx.com:interface:aximm_rtl:1.0", "M_AXIL")
                .comment("What the core is wired to."),
        );
        commands.push(set_interface("M_AXIL", &master));
        commands.push(create_interface("Slave", "xilinx.com:interface:aximm_rtl:1.0", "S_AXI"));
        commands.push(set_interface("S_AXI", &slave));
        for (name, kind) in self.fixed {
            commands.push(create_interface("Master", kind, name));
        }
        commands.push(command("create_bd_port").words(&["-dir", "O", "-type", "clk", "clock"]));
        commands.push(set_port("clock", "ASSOCIATED_BUSIF", "M_AXIL:S_AXI"));
        commands.push(command("create_bd_port").words(&["-dir", "O", "-type", "rst", "reset"]));
        commands.push(set_port("reset", "POLARITY", "ACTIVE_HIGH"));
        commands.push(command("create_bd_port").words(&["-dir", "I", "-type", "intr", "irq"]));
        commands.push(set_port("irq", "SENSITIVITY", "LEVEL_HIGH"));
        commands.extend(self.connections());
        commands.extend(self.addresses(request));
        commands.push(command("validate_bd_design"));
        commands.push(command("save_bd_design"));
        commands
    }

    fn processor_type(&self) -> Word {
        if self.versioned {
            Word::Joined(vec![text(self.block), Word::Variable("processor")])
        } else {
            text(self.block)
        }
    }

    fn cell_settings(&self, request: &Request) -> Vec<(&'static str, String)> {
        let mut settings: Vec<_> = self.settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        settings.push((self.clock_setting, format!("{}", request.clock_hz as f64 / 1e6)));
        settings
    }

    fn connections(&self) -> Vec<Command> {
        let processor = |pin: &str| format!("processor/{pin}");
        let clock = processor(self.clock);
        let mut commands = Vec::new();
        let clocked = [
            processor(self.control_clock),
            processor(self.memory_clock),
            "control/aclk".to_owned(),
            "memory/aclk".to_owned(),
            "reset/slowest_sync_clk".to_owned(),
        ];
        for pin in &clocked {
            commands.push(net(pins(&clock), pins(pin)));
        }
        commands.push(net(pins(&clock), ports("clock")));
        commands.push(net(pins(&processor(self.reset)), pins("reset/ext_reset_in")));
        for pin in ["control/aresetn", "memory/aresetn"] {
            commands.push(net(pins("reset/interconnect_aresetn"), pins(pin)));
        }
        commands.push(net(pins("reset/peripheral_reset"), ports("reset")));
        commands.push(net(ports("irq"), pins(&processor(self.irq))));
        let pin = |name: &str| command("get_bd_intf_pins").words(&[name]);
        let port = |name: &str| command("get_bd_intf_ports").words(&[name]);
        let wire = |a, b| command("connect_bd_intf_net").call(a).call(b);
        commands.push(wire(pin(&processor(self.control)), pin("control/S00_AXI")));
        commands.push(wire(pin("control/M00_AXI"), port("M_AXIL")));
        commands.push(wire(port("S_AXI"), pin("memory/S00_AXI")));
        commands.push(wire(pin("memory/M00_AXI"), pin(&processor(self.memory))));
        for (name, _) in self.fixed {
            commands.push(wire(pin(&processor(name)), port(name)));
        }
        commands
    }

    fn addresses(&self, request: &Request) -> [Command; 2] {
        let segment = |offset: u64, bytes: u64, space: Command, segment: &str| {
            command("assign_bd_address")
                .words(&["-offset", &format!("{offset:#x}"), "-range", &format!("{bytes:#x}"), "-target_address_space"])
                .call(space)
                .call(command("get_bd_addr_segs").words(&[segment]))
        };
        let space = |name: &str| command("get_bd_addr_spaces").words(&[name]);
        let (base, bytes) = request.registers;
        [
            segment(base, bytes, space(self.space), "M_AXIL/Reg").comment("The addresses of address_map.json."),
            segment(0, request.memory_bytes, space("S_AXI"), self.segment),
        ]
    }
}

/// How a port of the core is called on the block design: `s_axil_araddr` is `M_AXIL_araddr` there.
pub fn system_port(core: &Port) -> Option<String> {
    if let Some(rest) = core.name.strip_prefix("s_axil_") {
        return Some(format!("M_AXIL_{rest}"));
    }
    if let Some(rest) = core.name.strip_prefix("m_axi_") {
        return Some(format!("S_AXI_{rest}"));
    }
    ["clock", "reset", "irq"].contains(&core.name.as_str()).then(|| core.name.clone())
}

fn cell(kind: Word, name: &str) -> Command {
    command("create_bd_cell").words(&["-type", "ip", "-vlnv"]).word(kind).words(&[name])
}

fn dictionary(settings: &[(&str, String)]) -> Word {
    Word::List(settings.iter().flat_map(|(key, value)| [format!("CONFIG.{key}"), value.clone()]).collect())
}

fn set_cell(name: &str, settings: &[(&'static str, String)]) -> Command {
    let target = command("get_bd_cells").words(&[name]);
    command("set_property").words(&["-dict"]).word(dictionary(settings)).call(target)
}

fn create_interface(mode: &str, kind: &str, name: &str) -> Command {
    command("create_bd_intf_port").words(&["-mode", mode, "-vlnv", kind, name])
}

fn set_interface(name: &str, settings: &[(&str, &str)]) -> Command {
    let settings: Vec<(&str, String)> = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let target = command("get_bd_intf_ports").words(&[name]);
    command("set_property").words(&["-dict"]).word(dictionary(&settings)).call(target)
}

fn set_port(name: &str, key: &str, value: &str) -> Command {
    command("set_property").words(&[&format!("CONFIG.{key}"), value]).call(ports(name))
}

fn net(from: Command, to: Command) -> Command {
    command("connect_bd_net").call(from).call(to)
}

fn pins(name: &str) -> Command {
    command("get_bd_pins").words(&[name])
}

fn ports(name: &str) -> Command {
    command("get_bd_ports").words(&[name])
}
