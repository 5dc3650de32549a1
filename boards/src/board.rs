//! What is known of a board: the facts of its manifest, checked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tandem_hw::shell::{self, SdramClock};
use tandem_isa::HwConfig;

use crate::BoardError;
use crate::pll::Pll;

/// The tools that make a bitstream for a family of FPGAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// Lattice ECP5: yosys, nextpnr-ecp5, ecppack.
    Ecp5,
    /// Lattice iCE40: yosys, nextpnr-ice40, icepack.
    Ice40,
    /// Gowin GW2A: yosys, nextpnr-himbaechel-gowin, gowin_pack.
    Gowin,
    /// AMD: a project for Vivado, which is not run here.
    Vivado,
}

/// The clock that comes from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oscillator {
    /// The port of the top module.
    pub port: String,
    /// Hertz.
    pub hz: u64,
}

/// How a host talks to the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Host {
    /// A serial line.
    Uart {
        /// Bits a second.
        baud: u32,
        /// Where the line ends on the host's side.
        via: String,
    },
    /// The processor on the same chip, through AXI.
    Axi {
        /// Address of the registers.
        base: u64,
        /// Bytes of the window.
        bytes: u64,
    },
}

/// Where tensors lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Memory {
    /// SDR SDRAM with a controller of ours.
    Sdram(Sdram),
    /// The four single-port RAMs of an iCE40 UltraPlus.
    Spram,
    /// Block RAM of the FPGA.
    BlockRam {
        /// Bytes.
        bytes: u64,
    },
    /// The memory of the processor on the same chip, through a port of its interconnect.
    ProcessorDdr {
        /// Bytes.
        bytes: u64,
    },
}

/// A SDR SDRAM chip: shape and least times, in picoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdram {
    /// The chip, or the chips that are fitted in turn; times are the longest of them.
    pub chip: String,
    /// Width of the data bus: 16 or 32.
    pub data_bits: u32,
    /// Bits of a row address.
    pub row_bits: u32,
    /// Bits of a column address.
    pub column_bits: u32,
    /// Bits of a bank address.
    pub bank_bits: u32,
    /// Cycles from a read command to its data.
    pub cas_latency: u32,
    /// Row to column.
    pub t_rcd_ps: u64,
    /// Precharge.
    pub t_rp_ps: u64,
    /// Row active.
    pub t_ras_ps: u64,
    /// Row cycle.
    pub t_rc_ps: u64,
    /// Refresh cycle.
    pub t_rfc_ps: u64,
    /// Write recovery.
    pub t_wr_ps: u64,
    /// Mode register set to the next command.
    pub t_mrd_ps: u64,
    /// Between two refresh commands, at most.
    pub t_refi_ps: u64,
    /// From power to the first command.
    pub t_init_ps: u64,
}

/// What the part has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Look-up tables: of four inputs, of six for AMD; logic cells for iCE40.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Multiplier blocks.
    pub dsp: u64,
    /// Block RAMs.
    pub bram: u64,
    /// Single-port RAMs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spram: u64,
}

/// Arguments that a board adds to the tools' own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// For the synthesis command of yosys.
    #[serde(default)]
    pub synthesis: Vec<String>,
    /// For nextpnr.
    #[serde(default)]
    pub place_and_route: Vec<String>,
    /// For the packer.
    #[serde(default)]
    pub pack: Vec<String>,
}

/// A board, checked. See [`crate::find`] and [`crate::load`].
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// The word behind `--board`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The tools.
    pub flow: Flow,
    /// The part, as its maker writes it.
    pub part: String,
    /// The part, as nextpnr's option or argument names it; empty for Vivado.
    pub device: String,
    /// The package, as the tools name it.
    pub package: String,
    /// The speed grade, as the tools name it.
    pub speed: String,
    /// The clock from outside; `None` where a processor makes the clock.
    pub oscillator: Option<Oscillator>,
    /// Hertz of the clock of the accelerator, as the PLL makes it.
    pub clock_hz: u64,
    /// The setting of the PLL that makes it; `None` for Vivado.
    pub pll: Option<Pll>,
    /// Where tensors lie.
    pub memory: Memory,
    /// The clock of the SDRAM chip, for boards that have one.
    pub sdram_clock: Option<SdramClock>,
    /// How a host talks to it.
    pub host: Host,
    /// LEDs for the state.
    pub leds: u32,
    /// Whether a LED shines when its pin is low.
    pub leds_active_low: bool,
    /// Ports that other boards have and this one has not wired.
    pub absent_ports: BTreeSet<String>,
    /// The accelerator where the command line does not say.
    pub config: HwConfig,
    /// What the part has.
    pub budget: Budget,
    /// The part of a reported frequency that is believed.
    pub derate: f64,
    /// Name and text of the constraints file.
    pub constraints: (String, String),
    /// The board as openFPGALoader names it; `None` where it does not know it.
    pub loader: Option<String>,
    /// Arguments that the board adds.
    pub options: Options,
    /// The number of the interrupt on the processor of the same chip, where there is one.
    pub irq: Option<u32>,
    /// The text of its table of designs, where its folder has one; see [`crate::area::Table`].
    pub designs: Option<String>,
}

impl Flow {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Flow::Ecp5 => "ecp5",
            Flow::Ice40 => "ice40",
            Flow::Gowin => "gowin",
            Flow::Vivado => "vivado",
        }
    }

    /// Whether a bitstream can be made with the tools of `cargo x setup`.
    pub fn is_open(self) -> bool {
        self != Flow::Vivado
    }

    /// The ending of a bitstream's name.
    pub fn extension(self) -> &'static str {
        match self {
            Flow::Ecp5 | Flow::Vivado => "bit",
            Flow::Ice40 => "bin",
            Flow::Gowin => "fs",
        }
    }
}

impl Sdram {
    /// Bytes of the chip.
    pub fn bytes(&self) -> u64 {
        u64::from(self.data_bits / 8) << (self.row_bits + self.column_bits + self.bank_bits)
    }

    /// The chip as the controller wants to know it; `masks` says whether its byte masks are wired.
    pub fn chip(&self, masks: bool) -> shell::Sdram {
        shell::Sdram {
            data_bits: self.data_bits,
            row_bits: self.row_bits,
            column_bits: self.column_bits,
            bank_bits: self.bank_bits,
            cas_latency: self.cas_latency,
            masks,
            t_rcd: self.t_rcd_ps,
            t_rp: self.t_rp_ps,
            t_ras: self.t_ras_ps,
            t_rc: self.t_rc_ps,
            t_rfc: self.t_rfc_ps,
            t_wr: self.t_wr_ps,
            t_mrd: self.t_mrd_ps,
            t_refi: self.t_refi_ps,
            t_init: self.t_init_ps,
        }
    }
}

impl Memory {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Memory::Sdram(sdram) => sdram.bytes(),
            Memory::Spram => 4 * 32 * 1024,
            Memory::BlockRam { bytes } | Memory::ProcessorDdr { bytes } => *bytes,
        }
    }

    /// What it is, in words.
    pub fn describe(&self) -> String {
        let bytes = self.bytes();
        let size = match bytes {
            0..0x10_0000 => format!("{} KiB", bytes >> 10),
            0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
            _ => format!("{} GiB", bytes >> 30),
        };
        let kind = match self {
            Memory::Sdram(sdram) => return format!("{size} SDRAM x{}", sdram.data_bits),
            Memory::Spram => "SPRAM",
            Memory::BlockRam { .. } => "block RAM",
            Memory::ProcessorDdr { .. } => "shared DDR",
        };
        format!("{size} {kind}")
    }
}

impl Host {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Host::Uart { baud, .. } => format!("UART, {} Mbaud", f64::from(*baud) / 1e6),
            Host::Axi { base, .. } => format!("AXI at {base:#x}"),
        }
    }
}

impl Board {
    /// Multiply-accumulates a cycle of a configuration.
    pub fn macs(config: &HwConfig) -> u64 {
        (config.batch() * config.block_in() * config.block_out()) as u64
    }

    /// Operations a second, in 10^9, that a configuration can do at this board's clock: two for each MAC in each cycle.
    pub fn peak_gops(&self, config: &HwConfig) -> f64 {
        2.0 * Board::macs(config) as f64 * self.clock_hz as f64 / 1e9
    }

    /// The ports of the top module: name, and width where it is a vector.
    pub fn ports(&self) -> Vec<Port> {
        let mut ports = Vec::new();
        let mut add = |name: &str, direction, bits| {
            if !self.absent_ports.contains(name) {
                ports.push(Port { name: name.to_owned(), direction, bits });
            }
        };
        if let Some(oscillator) = &self.oscillator {
            add(&oscillator.port, Direction::Input, None);
        }
        if matches!(self.host, Host::Uart { .. }) {
            add("uart_rx", Direction::Input, None);
            add("uart_tx", Direction::Output, None);
        }
        if self.leds > 0 {
            add("led", Direction::Output, Some(self.leds));
        }
        if let Memory::Sdram(sdram) = &self.memory {
            for name in ["clk", "cke", "cs_n", "ras_n", "cas_n", "we_n"] {
                add(&format!("sdram_{name}"), Direction::Output, None);
            }
            add("sdram_ba", Direction::Output, Some(sdram.bank_bits));
            add("sdram_a", Direction::Output, Some(sdram.row_bits));
            add("sdram_dqm", Direction::Output, Some(sdram.data_bits / 8));
            add("sdram_dq", Direction::Inout, Some(sdram.data_bits));
        }
        ports
    }

    pub(crate) fn refused(&self, what: impl Into<String>) -> BoardError {
        BoardError::Refused { board: self.name.clone(), what: what.into() }
    }
}

/// The direction of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the FPGA.
    Input,
    /// Out of it.
    Output,
    /// Both.
    Inout,
}

/// A port of the top module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, the same in the constraints file.
    pub name: String,
    /// Its direction.
    pub direction: Direction,
    /// Its width, for a vector.
    pub bits: Option<u32>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
