//! The board: the core and its shell, for any vendor, on one clock.
//!
//! | port of `board` | width | meaning |
//! |---|---|---|
//! | `clock`, `reset` | 1 | the clock; reset, active high, for at least a cycle |
//! | `uart_rx`, `uart_tx` | 1 | the serial line |
//! | `led` | as the board has | heartbeat, running, done, stopped by an error, host |
//! | `sdram_cke`, `sdram_cs_n`, `sdram_ras_n`, `sdram_cas_n`, `sdram_we_n`, `sdram_ba`, `sdram_a`, `sdram_dqm`, `sdram_dq_out`, `sdram_dq_oe`, `sdram_dq_in` | as the chip has | only with SDRAM, see `sdram.rs` |
//!
//! Every output is a register. A word of the core's registers or of memory that the bridge asks for takes a few cycles; see
//! `bridge.rs` and the memory's file.

use tandem_isa::{HwConfig, Reg};
use tandem_rtl::{Module, Net, Outputs};

use super::bridge::{Words, bridge};
use super::direct::direct;
use super::port::port;
use super::ram::{LOG_SPRAM_WORDS, RamKind, block_ram, spram};
use super::sdram::controller;
use super::uart::{receiver, transmitter};
use super::{Memory, Shell, ShellError};
use crate::size::Sizes;
use crate::{Multipliers, TOP, Target, cells, verilog_for};

/// The name of the module with the core and its shell.
pub const BOARD: &str = "board";

/// `TDM1`: who answers.
const MAGIC: u32 = 0x5444_4d31;
/// Version of the bridge and of the shell's words.
const VERSION: u32 = 0x0001_0000;
/// The shell's word with the number of frames refused.
const REFUSALS: usize = 5;
/// The shell's word that lets plain commands in again.
const UNLOCK: u128 = 6;
/// Cycles between two looks at a silent plain command, as a power of two.
const LOG_TICK: u32 = 20;
/// Bits of the counter whose highest bit is the heartbeat.
const HEARTBEAT_BITS: u32 = 24;
/// The outputs to a chip of SDRAM.
const SDRAM_PINS: [&str; 10] = ["cke", "cs_n", "ras_n", "cas_n", "we_n", "ba", "a", "dqm", "dq_out", "dq_oe"];
/// Outputs of the core that only a simulator looks at.
const PROBES: [&str; 17] = [
    "probe_load_begin",
    "probe_load_finish",
    "probe_load_insn",
    "probe_load_state",
    "probe_compute_begin",
    "probe_compute_finish",
    "probe_compute_insn",
    "probe_compute_state",
    "probe_store_begin",
    "probe_store_finish",
    "probe_store_insn",
    "probe_store_state",
    "probe_push",
    "probe_pop",
    "probe_tokens",
    "probe_queued",
    "probe_fetch_state",
];

/// The Verilog of the vendor's cells that [`board_verilog`] names, for a simulator; empty where it names none.
pub fn board_cells(target: &Target, shell: &Shell) -> &'static str {
    // SPRAM and multipliers: the two things that a shell and a core name are of the same family.
    let names = shell.memory == Memory::Spram || matches!(target.multipliers, Multipliers::Mac16 { .. });
    if names { cells::ICE40 } else { "" }
}

/// The core and its shell as one Verilog text; its top module is [`BOARD`].
///
/// # Errors
/// [`ShellError`] where the shell cannot be built, or does not go with the machine.
pub fn board_verilog(config: &HwConfig, target: &Target, shell: &Shell) -> Result<String, ShellError> {
    shell.check(config)?;
    let divisor = shell.divisor()?;
    let sizes = Sizes::new(config, target);
    let board = board(&sizes, shell, divisor);
    Ok(verilog_for(config, target) + "\n" + &board.verilog())
}

fn board(sizes: &Sizes, shell: &Shell, divisor: u32) -> Module {
    let m = Module::new(BOARD);
    let (no, yes) = (m.lit(0, 1), m.lit(1, 1));
    let log_bytes = shell.memory.bytes().trailing_zeros();
    let bus = sizes.bus;

    // The line and the bridge.
    let rx = m.instance("receiver", &receiver(divisor), &[("line", m.input("uart_rx", 1))]);
    let beats = m.reg("heartbeat", HEARTBEAT_BITS, 0);
    beats.set(beats.inc());
    let tick = (beats.bit(LOG_TICK) ^ m.delay("tick_before", beats.bit(LOG_TICK))).named("tick");
    let (tx_ready, done, core_data) = (m.var("tx_ready", no), m.var("done", no), m.var("core_data", m.lit(0, 32)));
    let memory_data = m.var("memory_data", m.lit(0, bus));
    let [failed, missing, own, from_core, unlock] =
        ["failed", "missing", "own", "from_core", "unlock"].map(|name| m.var(name, no));
    let mut constants = [0; 8];
    constants[..5].copy_from_slice(&[MAGIC, VERSION, shell.memory.bytes() as u32, shell.clock_hz, shell.baud]);
    let words = Words { constants, refusals: REFUSALS };
    let host = m.instance(
        "host",
        &bridge(bus, log_bytes, &words),
        &[
            ("rx_valid", rx.get("valid")),
            ("rx_data", rx.get("data")),
            ("tx_ready", tx_ready),
            ("done", done),
            ("failed", failed),
            ("missing", missing),
            ("own", own),
            ("from_core", from_core),
            ("tick", tick),
            ("unlock", unlock),
            ("core_data", core_data),
            ("memory_data", memory_data),
        ],
    );
    let pins = [("valid", host.get("tx_valid")), ("data", host.get("tx_data"))];
    let tx = m.instance("transmitter", &transmitter(divisor), &pins);
    tx_ready.set(tx.get("ready"));
    m.output("uart_tx", tx.get("line"));

    // Where a word lies: memory, the core's registers, the shell's own words.
    let (access, write) = (host.get("access"), host.get("write"));
    let (address, wdata) = (host.get("address"), host.get("wdata"));
    // An address has been there for a cycle when its word is asked for.
    let high = address.bits(26, 4).all().named("is_high");
    let within = (high & !address.bits(11, 15).any()).named("is_within");
    let here = |name: &str, net| (access & m.delay(name, net)).named(&format!("of_{name}"));
    let of_core = here("core_window", within & !address.bit(10));
    let of_shell = here("shell_window", within & address.bit(10));
    let of_memory = here("memory_window", !address.bits(log_bytes - 2, 32 - log_bytes).any());
    let nowhere = (access & !of_core & !of_shell & !of_memory).named("of_nothing");

    // The core.
    let axi_names = ["arready", "rvalid", "rlast", "awready", "wready", "bvalid"];
    let [arready, rvalid, rlast, awready, wready, bvalid] = axi_names.map(|name| m.var(format!("core_{name}"), no));
    let [rresp, bresp] = ["rresp", "bresp"].map(|name| m.var(format!("core_{name}"), m.lit(0, 2)));
    let core_rdata = m.var("core_rdata", m.lit(0, bus));
    // Address and data go together, each until it is taken; then the answer is awaited.
    let (sent_address, sent_data) = (m.reg("sent_address", 1, 0), m.reg("sent_data", 1, 0));
    let mut outputs: Vec<(&str, u32)> = PROBES.map(|name| (name, 0)).to_vec();
    outputs.extend([
        ("s_axil_awready", 1),
        ("s_axil_wready", 1),
        ("s_axil_bvalid", 1),
        ("s_axil_bresp", 2),
        ("s_axil_arready", 1),
        ("s_axil_rvalid", 1),
        ("s_axil_rdata", 32),
        ("s_axil_rresp", 2),
        ("m_axi_arvalid", 1),
        ("m_axi_araddr", 32),
        ("m_axi_arlen", 8),
        ("m_axi_arsize", 0),
        ("m_axi_arburst", 0),
        ("m_axi_rready", 1),
        ("m_axi_awvalid", 1),
        ("m_axi_awaddr", 32),
        ("m_axi_awlen", 8),
        ("m_axi_awsize", 0),
        ("m_axi_awburst", 0),
        ("m_axi_wvalid", 1),
        ("m_axi_wdata", bus),
        ("m_axi_wstrb", bus / 8),
        ("m_axi_wlast", 1),
        ("m_axi_bready", 1),
        ("probe_running", 1),
        ("probe_failed", 1),
        ("irq", 1),
    ]);
    let register = m.cat(&[m.lit(0, 2), address.bits(0, 10)]).named("register");
    let core = m.module(
        "core",
        TOP,
        &[
            ("s_axil_awvalid", of_core & write & !sent_address),
            ("s_axil_awaddr", register),
            ("s_axil_wvalid", of_core & write & !sent_data),
            ("s_axil_wdata", wdata),
            ("s_axil_wstrb", yes.repeat(4)),
            ("s_axil_bready", yes),
            ("s_axil_arvalid", of_core & !write & !sent_address),
            ("s_axil_araddr", register),
            ("s_axil_rready", yes),
            ("m_axi_arready", arready),
            ("m_axi_rvalid", rvalid),
            ("m_axi_rdata", core_rdata),
            ("m_axi_rresp", rresp),
            ("m_axi_rlast", rlast),
            ("m_axi_awready", awready),
            ("m_axi_wready", wready),
            ("m_axi_bvalid", bvalid),
            ("m_axi_bresp", bresp),
        ],
        &outputs,
    );
    let taken = write.mux(core.get("s_axil_awready"), core.get("s_axil_arready"));
    let answered = core.get("s_axil_bvalid") | core.get("s_axil_rvalid");
    m.when(of_core & taken, || sent_address.set_to(1));
    m.when(of_core & core.get("s_axil_wready"), || sent_data.set_to(1));
    m.when(answered, || {
        sent_address.set_to(0);
        sent_data.set_to(0);
    });

    // Memory.
    let shared = memory(
        &m,
        sizes,
        shell,
        log_bytes,
        &[
            ("axi_arvalid", core.get("m_axi_arvalid")),
            ("axi_araddr", core.get("m_axi_araddr")),
            ("axi_arlen", core.get("m_axi_arlen")),
            ("axi_rready", core.get("m_axi_rready")),
            ("axi_awvalid", core.get("m_axi_awvalid")),
            ("axi_awaddr", core.get("m_axi_awaddr")),
            ("axi_awlen", core.get("m_axi_awlen")),
            ("axi_wvalid", core.get("m_axi_wvalid")),
            ("axi_wdata", core.get("m_axi_wdata")),
            ("axi_wstrb", core.get("m_axi_wstrb")),
            ("axi_wlast", core.get("m_axi_wlast")),
            ("axi_bready", core.get("m_axi_bready")),
            ("bridge_access", of_memory),
            ("bridge_write", write),
            ("bridge_address", address.bits(0, log_bytes - 2)),
            ("bridge_wdata", wdata),
        ],
    );
    arready.set(shared.get("axi_arready"));
    rvalid.set(shared.get("axi_rvalid"));
    core_rdata.set(shared.get("axi_rdata"));
    rresp.set(shared.get("axi_rresp"));
    rlast.set(shared.get("axi_rlast"));
    awready.set(shared.get("axi_awready"));
    wready.set(shared.get("axi_wready"));
    bvalid.set(shared.get("axi_bvalid"));
    bresp.set(shared.get("axi_bresp"));

    unlock.set(of_shell & write & address.bits(0, 3).is(UNLOCK) & wdata.bit(0));
    done.set(answered | shared.get("bridge_done") | of_shell | nowhere);
    missing.set(nowhere);
    own.set(of_shell);
    from_core.set(of_core);
    // Only the upper bit of a response tells an error.
    failed.set(
        (core.get("s_axil_bvalid") & core.get("s_axil_bresp").bit(1))
            | (core.get("s_axil_rvalid") & core.get("s_axil_rresp").bit(1)),
    );
    core_data.set(core.get("s_axil_rdata"));
    memory_data.set(shared.get("bridge_rdata"));

    // Lights.
    if shell.leds > 0 {
        let running = core.get("probe_running");
        let failed = core.get("probe_failed");
        let lights = [beats.sign(), running, core.get("irq") & !failed, failed, host.get("active")];
        let lights: Vec<Net<'_>> = (0..shell.leds as usize).map(|led| lights.get(led).copied().unwrap_or(no)).collect();
        m.output("led", m.delay("lights", m.cat(&lights)));
    }
    // Registers of the machine lie in the first kilobyte of their window.
    debug_assert!(Reg::ALL.iter().all(|reg| reg.offset() < 1 << 12));
    m
}

/// The memory behind its port; gives the port's outputs.
fn memory<'m>(m: &'m Module, sizes: &Sizes, shell: &Shell, log_bytes: u32, pins: &[(&str, Net<'m>)]) -> Outputs<'m> {
    let (bus, words) = (sizes.bus, log_bytes - sizes.log_bus_bytes);
    let kind = match &shell.memory {
        Memory::Spram => RamKind::Spram,
        _ => RamKind::Block,
    };
    let single = sizes.config.insn_queue_depth().is_none();
    if single && !matches!(shell.memory, Memory::Sdram(_)) {
        return m.instance("shared", &direct(sizes, log_bytes, kind), pins);
    }
    let no = m.lit(0, 1);
    let [ready, wnext, rvalid, rlast] =
        ["mem_ready", "mem_wnext", "mem_rvalid", "mem_rlast"].map(|name| m.var(name, no));
    let rdata = m.var("mem_rdata", m.lit(0, bus));
    let mut pins = pins.to_vec();
    pins.extend([
        ("mem_ready", ready),
        ("mem_wnext", wnext),
        ("mem_rvalid", rvalid),
        ("mem_rdata", rdata),
        ("mem_rlast", rlast),
    ]);
    let shared = m.instance("shared", &port(sizes, log_bytes), &pins);
    let mut commands: Vec<(&str, Net<'_>)> = vec![
        ("valid", shared.get("mem_valid")),
        ("write", shared.get("mem_write")),
        ("address", shared.get("mem_address")),
        ("beats", shared.get("mem_beats")),
        ("wvalid", shared.get("mem_wvalid")),
        ("wdata", shared.get("mem_wdata")),
        ("wstrb", shared.get("mem_wstrb")),
    ];
    let memory = match &shell.memory {
        Memory::Spram => {
            debug_assert_eq!(words, LOG_SPRAM_WORDS);
            m.instance("memory", &spram(), &commands)
        }
        Memory::BlockRam { .. } => m.instance("memory", &block_ram(bus, words), &commands),
        Memory::Sdram(sdram) => {
            commands.push(("dq_in", m.input("sdram_dq_in", sdram.data_bits)));
            let memory = m.instance("memory", &controller(sdram, shell.clock_hz, bus), &commands);
            for pin in SDRAM_PINS {
                m.output(format!("sdram_{pin}"), memory.get(pin));
            }
            memory
        }
    };
    ready.set(memory.get("ready"));
    wnext.set(memory.get("wnext"));
    rvalid.set(memory.get("rvalid"));
    rdata.set(memory.get("rdata"));
    rlast.set(memory.get("rlast"));
    shared
}
