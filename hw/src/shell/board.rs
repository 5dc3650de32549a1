//! The board: the core and its shell, for any vendor, on one clock.
//!
//! | port of `board` | width | meaning |
//! |---|---|---|
//! | `clock`, `reset` | 1 | the clock; reset, active high, for at least a cycle |
//! | `uart_rx`, `uart_tx` | 1 | the serial line |
//! | `led` | as the board has | heartbeat, running, done or stopped by an error, host |

use tandem_isa::{HwConfig, Reg};
use tandem_rtl::{Module, Net};

use super::bridge::bridge;
use super::port::port;
use super::ram::{LOG_SPRAM_WORDS, block_ram, spram};
use super::uart::{receiver, transmitter};
use super::{Memory, Shell, ShellError};
use crate::size::Sizes;
use crate::{TOP, verilog};

/// The name of the module with the core and its shell.
pub const BOARD: &str = "board";

/// `TDM1`: who answers.
const MAGIC: u32 = 0x5444_4d31;
/// Version of the bridge and of the shell's words.
const VERSION: u32 = 0x0001_0000;
/// Cycles between two looks at a silent plain command, as a power of two.
const LOG_TICK: u32 = 20;
/// Bits of the counter whose highest bit is the heartbeat.
const HEARTBEAT_BITS: u32 = 24;
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

/// The core and its shell as one Verilog text; its top module is [`BOARD`].
///
/// # Errors
/// [`ShellError`] where the shell cannot be built, or does not go with the machine.
pub fn board_verilog(config: &HwConfig, shell: &Shell) -> Result<String, ShellError> {
    shell.check(config)?;
    let divisor = shell.divisor()?;
    let sizes = Sizes::new(config);
    let board = board(&sizes, shell, divisor);
    Ok(verilog(config) + "\n" + &board.verilog())
}

fn board(sizes: &Sizes, shell: &Shell, divisor: u32) -> Module {
    let m = Module::new(BOARD);
    let (no, yes) = (m.lit(0, 1), m.lit(1, 1));
    let log_bytes = shell.memory.bytes().trailing_zeros();
    let (bus, low) = (sizes.bus, sizes.log_bus_bytes);

    // The line and the bridge.
    let rx = m.instance("receiver", &receiver(divisor), &[("line", m.input("uart_rx", 1))]);
    let beats = m.reg("heartbeat", HEARTBEAT_BITS, 0);
    beats.set(beats.inc());
    let tick = beats.bits(0, LOG_TICK).all().named("tick");
    let (tx_ready, done, rdata) = (m.var("tx_ready", no), m.var("done", no), m.var("rdata", m.lit(0, 32)));
    let [failed, missing, unlock] = ["failed", "missing", "unlock"].map(|name| m.var(name, no));
    let host = m.instance(
        "host",
        &bridge(),
        &[
            ("rx_valid", rx.get("valid")),
            ("rx_data", rx.get("data")),
            ("tx_ready", tx_ready),
            ("done", done),
            ("rdata", rdata),
            ("failed", failed),
            ("missing", missing),
            ("tick", tick),
            ("unlock", unlock),
        ],
    );
    let pins = [("valid", host.get("tx_valid")), ("data", host.get("tx_data"))];
    let tx = m.instance("transmitter", &transmitter(divisor), &pins);
    tx_ready.set(tx.get("ready"));
    m.output("uart_tx", tx.get("line"));

    // Where a word lies: memory, the core's registers, the shell's own words.
    let (access, write) = (host.get("access"), host.get("write"));
    let (address, wdata) = (host.get("address"), host.get("wdata"));
    let high = address.bits(26, 4).all().named("is_high");
    let within = !address.bits(11, 15).any();
    let of_core = (access & high & within & !address.bit(10)).named("of_core");
    let of_shell = (access & high & within & address.bit(10)).named("of_shell");
    let of_memory = (access & !address.bits(log_bytes - 2, 32 - log_bytes).any()).named("of_memory");
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
    let [ready, wnext, mem_rvalid, mem_rlast] =
        ["mem_ready", "mem_wnext", "mem_rvalid", "mem_rlast"].map(|name| m.var(name, no));
    let mem_rdata = m.var("mem_rdata", m.lit(0, bus));
    let shared = m.instance(
        "shared",
        &port(sizes, log_bytes),
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
            ("mem_ready", ready),
            ("mem_wnext", wnext),
            ("mem_rvalid", mem_rvalid),
            ("mem_rdata", mem_rdata),
            ("mem_rlast", mem_rlast),
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
    let commands: [(&str, Net<'_>); 7] = [
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
            debug_assert_eq!(log_bytes - low, LOG_SPRAM_WORDS);
            m.instance("memory", &spram(), &commands)
        }
        Memory::BlockRam { .. } => m.instance("memory", &block_ram(bus, log_bytes - low), &commands),
    };
    ready.set(memory.get("ready"));
    wnext.set(memory.get("wnext"));
    mem_rvalid.set(memory.get("rvalid"));
    mem_rdata.set(memory.get("rdata"));
    mem_rlast.set(memory.get("rlast"));

    // The shell's own words.
    let refusals = m.reg("refusals", 16, 0);
    m.when(host.get("refused") & !refusals.all(), || refusals.set(refusals.inc()));
    let number = |value: u32| m.lit(value.into(), 32);
    let words = [
        number(MAGIC),
        number(VERSION),
        number(shell.memory.bytes() as u32),
        number(shell.clock_hz),
        number(shell.baud),
        refusals.zext(32),
        number(0),
        number(0),
    ];
    let own = m.cat(&words).named("own_words").pick(address.bits(0, 3), 32);
    let own = own & (!address.bits(3, 7).any()).repeat(32);
    unlock.set(of_shell & write & address.bits(0, 10).is(6) & wdata.bit(0));

    done.set(answered | shared.get("bridge_done") | of_shell | nowhere);
    missing.set(nowhere);
    failed.set((core.get("s_axil_bvalid") & core.get("s_axil_bresp").any()) | core.get("s_axil_rresp").any());
    rdata.set(of_memory.mux(shared.get("bridge_rdata"), of_core.mux(core.get("s_axil_rdata"), own)));

    // Lights.
    if shell.leds > 0 {
        let running = core.get("probe_running");
        let lights = [beats.sign(), running, core.get("irq"), host.get("active")];
        let lights: Vec<Net<'_>> = (0..shell.leds as usize).map(|led| lights.get(led).copied().unwrap_or(no)).collect();
        m.output("led", m.delay("lights", m.cat(&lights)));
    }
    // Registers of the machine lie in the first kilobyte of their window.
    debug_assert!(Reg::ALL.iter().all(|reg| reg.offset() < 1 << 12));
    m
}
