//! SDR SDRAM: the chip's facts, and its controller.
//!
//! ```text
//!  command --> [ bank, row, column, words left ] --> row open? --no--> PRECHARGE, ACTIVATE
//!                                                        | yes
//!  wdata --> a part of the word --> dq_out, dqm          v
//!  rdata <-- [ parts ] <-- [ dq_in ] <-- so many cycles after READ, a READ or WRITE a cycle
//!
//!  [ cycles until refresh ] --> due --> PRECHARGE of all banks, REFRESH
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `valid`, `ready`, `write`, `address`, `beats` | 1, 1, 1, bus word address, 5 | a command |
//! | `wvalid`, `wdata`, `wstrb`, `wnext` | 1, bus, bus / 8, 1 | a bus word to write, and that it is taken |
//! | `rvalid`, `rdata`, `rlast` | 1, bus, 1 | a bus word read; nobody can hold it up |
//! | `cke`, `cs_n`, `ras_n`, `cas_n`, `we_n`, `ba`, `a`, `dqm` | | the chip's pins, all of them registers |
//! | `dq_out`, `dq_oe`, `dq_in` | data, 1, data | the data pins; `dq_in` goes to a register at once |
//!
//! A command lies in one row; the machine's bursts do, because they end where as many bytes as the longest one begin again. Rows
//! stay open until their bank is needed for another one or refreshed. A byte address is, from the top: row, bank, column.
//!
//! Commands: the first READ or WRITE of a command leaves two cycles after it is taken where its row is open, then one a cycle; a
//! word read arrives CAS latency plus two cycles after its READ. The next command is taken in the cycle after the last READ or
//! WRITE; a WRITE waits until every word read has arrived, so that chip and board never drive the data pins in one cycle or in
//! adjacent ones.
//!
//! The chip's clock is the board's, later by a part of a cycle: the chip samples within the cycle in which the pins change, and a
//! word of its is caught in the cycle after the one in which it drives it (see `wrapper.rs`), as if both had one clock.

use serde::{Deserialize, Serialize};
use tandem_rtl::{MemoryStyle, Module, Net, clog2};

use crate::size::BURST_BITS;

/// Picoseconds of a second.
const SECOND: u64 = 1_000_000_000_000;
/// REFRESH commands before the mode register is set.
const FIRST_REFRESHES: u32 = 8;
/// The bit of `a` that makes a PRECHARGE one of all banks.
const ALL_BANKS: u32 = 10;

/// A SDR SDRAM chip: its shape, and its least times in picoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdram {
    /// Width of the data bus: 16 or 32.
    pub data_bits: u32,
    /// Bits of a row address, 11 to 13.
    pub row_bits: u32,
    /// Bits of a column address, 8 to 10.
    pub column_bits: u32,
    /// Bits of a bank address, 1 or 2.
    pub bank_bits: u32,
    /// Cycles from READ to its data, 2 or 3.
    pub cas_latency: u32,
    /// Whether the byte masks are wired; where they are not, words are written whole.
    pub masks: bool,
    /// ACTIVATE to READ or WRITE.
    pub t_rcd: u64,
    /// PRECHARGE to the next command of the bank.
    pub t_rp: u64,
    /// ACTIVATE to PRECHARGE.
    pub t_ras: u64,
    /// ACTIVATE to ACTIVATE of the same bank.
    pub t_rc: u64,
    /// REFRESH to the next command.
    pub t_rfc: u64,
    /// Last data written to PRECHARGE.
    pub t_wr: u64,
    /// Mode register set to the next command.
    pub t_mrd: u64,
    /// From one REFRESH to the next on average, at most.
    pub t_refi: u64,
    /// From power and clock to the first command.
    pub t_init: u64,
}

impl Sdram {
    /// Bytes of the chip.
    pub fn bytes(&self) -> u64 {
        u64::from(self.data_bits / 8) << (self.row_bits + self.column_bits + self.bank_bits)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> u64 {
        u64::from(self.data_bits / 8) << self.column_bits
    }

    /// What is wrong with the facts, if anything.
    pub fn problem(&self, clock_hz: u32) -> Option<String> {
        let ranges = [
            ("row_bits", self.row_bits, 11..=13),
            ("column_bits", self.column_bits, 8..=10),
            ("bank_bits", self.bank_bits, 1..=2),
            ("cas_latency", self.cas_latency, 2..=3),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                return Some(format!("{name} = {value}, which is not from {} to {}", range.start(), range.end()));
            }
        }
        if ![16, 32].contains(&self.data_bits) {
            return Some(format!("data_bits = {}, which is neither 16 nor 32", self.data_bits));
        }
        let times = [
            ("t_rcd", self.t_rcd),
            ("t_rp", self.t_rp),
            ("t_ras", self.t_ras),
            ("t_rc", self.t_rc),
            ("t_rfc", self.t_rfc),
            ("t_wr", self.t_wr),
            ("t_mrd", self.t_mrd),
        ];
        // A counter of a few bits, and no command waits as long as a refresh takes to come round.
        for (name, time) in times {
            if time > 1_000_000 {
                return Some(format!("{name} = {time} ps, which is more than 1 us"));
            }
        }
        let clock_hz = u64::from(clock_hz);
        if at_most(self.t_refi, clock_hz) < 128 {
            return Some(format!("t_refi = {} ps, which is less than 128 cycles of {clock_hz} Hz", self.t_refi));
        }
        (self.t_init > SECOND / 100).then(|| format!("t_init = {} ps, which is more than 10 ms", self.t_init))
    }

    fn cycles(&self, clock_hz: u32) -> Cycles {
        let of = |time| (u128::from(time).saturating_mul(u128::from(clock_hz))).div_ceil(SECOND.into()).max(1) as u64;
        let rp = of(self.t_rp);
        Cycles {
            rcd: of(self.t_rcd),
            rp,
            // A row that is closed no sooner than this is opened again after t_rc.
            ras: of(self.t_ras).max(of(self.t_rc).saturating_sub(rp)),
            rfc: of(self.t_rfc),
            wr: of(self.t_wr),
            mrd: of(self.t_mrd),
            refi: at_most(self.t_refi, clock_hz.into()),
            init: of(self.t_init),
        }
    }
}

/// Whole cycles within a time.
fn at_most(time: u64, clock_hz: u64) -> u64 {
    (u128::from(time) * u128::from(clock_hz) / u128::from(SECOND)) as u64
}

/// The times in cycles of the clock.
struct Cycles {
    rcd: u64,
    rp: u64,
    ras: u64,
    rfc: u64,
    wr: u64,
    mrd: u64,
    refi: u64,
    init: u64,
}

/// What goes to the chip in a cycle: `ras_n`, `cas_n`, `we_n`.
mod command {
    pub const NOTHING: u128 = 0b111;
    pub const ACTIVATE: u128 = 0b011;
    pub const READ: u128 = 0b101;
    pub const WRITE: u128 = 0b100;
    pub const PRECHARGE: u128 = 0b010;
    pub const REFRESH: u128 = 0b001;
    pub const SET_MODE: u128 = 0b000;
}

/// A counter that goes down to zero and stays there.
fn countdown<'m>(m: &'m Module, name: &str, longest: u64) -> Net<'m> {
    let counter = m.reg(name, clog2(longest as usize), 0);
    m.when(counter.any(), || counter.set(counter.dec()));
    counter
}

/// The controller.
pub fn controller(sdram: &Sdram, clock_hz: u32, bus: u32) -> Module {
    let m = Module::new("sdram_memory");
    let t = sdram.cycles(clock_hz);
    let (data, banks) = (sdram.data_bits, sdram.bank_bits);
    let parts = bus / data;
    let log_parts = parts.trailing_zeros();
    let address_bits = sdram.row_bits + banks + sdram.column_bits - log_parts;
    let (valid, write) = (m.input("valid", 1), m.input("write", 1));
    let (address, beats) = (m.input("address", address_bits), m.input("beats", BURST_BITS));
    let (wvalid, wdata, wstrb) = (m.input("wvalid", 1), m.input("wdata", bus), m.input("wstrb", bus / 8));
    let (no, yes) = (m.lit(0, 1), m.lit(1, 1));

    // The pins.
    let asked = m.var("asked", m.lit(command::NOTHING, 3));
    let select = m.var("selected_bank", m.lit(0, banks));
    let lines = m.var("address_lines", m.lit(0, sdram.row_bits));
    let starting = m.reg("starting", 1, 1);
    let mask = m.var("mask", starting.repeat(data / 8));
    let drives = m.var("drives", no);
    let pins = m.reg("pins", 3, command::NOTHING);
    pins.set(asked);
    let quiet = m.reg("quiet", 1, 1);
    quiet.set(no);
    let awake = m.reg("awake", 1, 0);
    awake.set(yes);
    m.output("cke", awake);
    m.output("cs_n", quiet);
    for (bit, name) in ["we_n", "cas_n", "ras_n"].into_iter().enumerate() {
        m.output(name, pins.bit(bit as u32));
    }
    m.output("ba", register(&m, "bank_pins", select));
    m.output("a", register(&m, "address_pins", lines));
    m.output("dqm", register(&m, "mask_pins", mask));
    m.output("dq_oe", m.delay("drive_pins", drives));
    let caught = register(&m, "caught", m.input("dq_in", data));

    // Times: until any command, until a row may be closed, until something is due.
    let longest = [t.rcd, t.rp, t.rfc, t.mrd].into_iter().max().unwrap_or(1);
    let wait = countdown(&m, "wait_time", longest);
    let since_open = countdown(&m, "open_time", t.ras);
    let since_write = countdown(&m, "write_time", t.wr);
    let may = (!wait.any()).named("may");
    let may_close = (may & !since_open.any() & !since_write.any()).named("may_close");
    let slow_bits = clog2(t.init.max(t.refi) as usize + 1);
    let slow = m.reg("slow", slow_bits, t.init.into());
    let round = (!slow.any()).named("round");
    slow.set(round.mux(m.lit(u128::from(t.refi) - 1, slow_bits), slow.dec()));
    let due = m.reg("due", 1, 0);
    let after = |counter: Net<'_>, cycles: u64| counter.set_to(u128::from(cycles) - 1);

    // The command at hand.
    let state = m.fsm("state", &["power", "close", "refresh", "mode", "idle", "look", "work"]);
    let (bank, row) = (m.data_reg("bank", banks), m.data_reg("row", sdram.row_bits));
    let (column, writes) = (m.data_reg("column", sdram.column_bits), m.data_reg("writes", 1));
    let left = m.data_reg("left", BURST_BITS + log_parts);
    let (hit, open) = (m.data_reg("hit", 1), m.data_reg("open", 1));
    let (opened, first) = (m.reg("opened", 1 << banks, 0), m.reg("refreshes", 3, 0));
    let rows = m.memory("rows", banks, sdram.row_bits, MemoryStyle::Distributed);
    let this_bank = m.cat(&(0..1 << banks).map(|at| bank.is(at)).collect::<Vec<_>>()).named("this_bank");
    select.set(bank);
    lines.set(row);

    m.when(state.at("power") & round, || state.go("close"));
    m.when(state.at("close") & may_close, || {
        asked.set_to(command::PRECHARGE);
        lines.set_to(1 << ALL_BANKS);
        opened.set_to(0);
        after(wait, t.rp);
        state.go("refresh");
    });
    m.when(state.at("refresh") & may, || {
        asked.set_to(command::REFRESH);
        due.set_to(0);
        after(wait, t.rfc);
        first.set(first.inc());
        m.when_else(
            starting,
            || m.when(first.is(u128::from(FIRST_REFRESHES) - 1), || state.go("mode")),
            || state.go("idle"),
        );
    });
    m.when(state.at("mode") & may, || {
        asked.set_to(command::SET_MODE);
        // A word a command, and the CAS latency.
        lines.set_to(u128::from(sdram.cas_latency) << 4);
        select.set_to(0);
        after(wait, t.mrd);
        starting.set_to(0);
        state.go("idle");
    });
    m.when(round & !state.at("power"), || due.set_to(1));
    let idle = state.at("idle").named("is_idle");
    let ready = (idle & !due).named("is_ready");
    m.when(idle & due, || m.when_else(opened.any(), || state.go("close"), || state.go("refresh")));
    m.when(idle, || {
        let low = sdram.column_bits - log_parts;
        column.set(m.cat(&[m.lit(0, log_parts), address.bits(0, low)]));
        bank.set(address.bits(low, banks));
        row.set(address.bits(low + banks, sdram.row_bits));
        left.set(m.cat(&[m.lit(0, log_parts), beats]));
        writes.set(write);
        m.when(ready & valid, || state.go("look"));
    });
    let stored_row = rows.read_now("stored_row", bank);
    m.when(state.at("look"), || {
        open.set((opened & this_bank).any());
        hit.set((opened & this_bank).any() & row.eq(stored_row));
        state.go("work");
    });
    let work = state.at("work").named("working");
    m.when(work & !hit & open & may_close, || {
        asked.set_to(command::PRECHARGE);
        lines.set_to(0);
        open.set_to(0);
        after(wait, t.rp);
    });
    let activates = (work & !hit & !open & may).named("activates");
    m.when(activates, || {
        asked.set_to(command::ACTIVATE);
        opened.set(opened | this_bank);
        open.set_to(1);
        hit.set_to(1);
        after(wait, t.rcd);
        after(since_open, t.ras);
    });
    rows.write(activates, bank, row);

    // Words. Where no READ is under way, the data pins are the board's.
    let stages = sdram.cas_latency + 2;
    let flight = m.reg("flight", stages, 0);
    let last_flight = m.data_reg("last_flight", stages);
    let goes = (work & hit & may).named("goes");
    let reads = (goes & !writes).named("reads");
    // No READ will be under way in this cycle.
    let landed = m.reg("landed", 1, 1);
    let puts = (goes & writes & wvalid & landed).named("puts");
    let last = left.is(1).named("last");
    let part = column.bits(0, log_parts).named("part");
    let strobe = wstrb.pick(part, data / 8).named("part_strobe");
    m.when(reads | puts, || {
        column.set(column.inc());
        left.set(left.dec());
        m.when(last, || state.go("idle"));
    });
    m.when(goes, || lines.set(column.zext(sdram.row_bits)));
    m.when(reads, || asked.set_to(command::READ));
    let written = if sdram.masks { puts } else { puts & strobe.any() };
    m.when(written, || {
        asked.set_to(command::WRITE);
        drives.set_to(1);
        mask.set(!strobe);
        after(since_write, t.wr);
    });
    m.output("dq_out", register(&m, "data_pins", wdata.pick(part, data)));
    m.output("ready", ready);
    m.output("wnext", puts & part.all());

    flight.set(m.cat(&[reads, flight.bits(0, stages - 1)]));
    landed.set(!(reads | flight.bits(0, stages - 1).any()));
    last_flight.set(m.cat(&[last, last_flight.bits(0, stages - 1)]));
    let arrives = flight.sign().named("arrives");
    let got = m.reg("got", log_parts, 0);
    let before = m.data_reg("parts_before", bus - data);
    m.when(arrives, || {
        got.set(got.inc());
        before.set(m.cat(&[before, caught]).bits(data, bus - data));
    });
    m.output("rvalid", arrives & got.all());
    m.output("rdata", m.cat(&[before, caught]));
    m.output("rlast", last_flight.sign());
    m
}

/// A register without a value after reset.
fn register<'m>(m: &'m Module, name: &str, net: Net<'m>) -> Net<'m> {
    let reg = m.data_reg(name, net.width());
    reg.set(net);
    reg
}
