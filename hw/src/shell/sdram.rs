//! SDR SDRAM: a memory behind its controller, with the rows of all banks kept open.
//!
//! ```text
//!  command --> [ row, bank, column, words left ] --> look: is the row open? --> close --> open --> stream --> pins
//!  wdata   --> a part of 16 or 32 bits a cycle -----------------------------------------------------------> dq_out
//!  dq_in   --> [ input register ] --> [ parts of a word ] --> rdata
//!  timer   --> a refresh is due: between two commands, or while a word to write is waited for
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `valid`, `ready`, `write`, `address`, `beats` | 1, 1, 1, word address, 5 | a command of 1 to 16 words of 64 bits; it never crosses a multiple of 16 words |
//! | `wvalid`, `wdata`, `wstrb`, `wnext` | 1, 64, 8, 1 | a word to write, and that it is taken |
//! | `rvalid`, `rdata`, `rlast` | 1, 64, 1 | a word read; nobody can hold it up |
//! | `idle` | 1 | no command and no data are under way |
//! | `sdram_cke` ... `sdram_dqm`, `sdram_dq_out`, `sdram_dq_oe` | | the chip, all of them registers |
//! | `sdram_dq_in` | `data_bits` | what the chip drives |
//!
//! Byte addresses are, from the top: row, bank, column, byte; 128 bytes, the longest command, lie in one row. The chip works with
//! a burst length of 1 and gets a command for each of its words.
//!
//! | latency, in cycles, from the command taken | |
//! |---|---|
//! | first word read, row open | 4 + CAS latency + `capture_delay` + parts of a word |
//! | row closed | tRCD more |
//! | another row open | tRP + tRCD more, and what is left of tRAS and tWR |
//! | throughput in a row | a part a cycle; a command occupies the controller for 3 cycles more |
//!
//! A write goes out no sooner than a cycle after the input register has taken the last word of the reads before it. A part none
//! of whose bytes is written is no command at all, so chips whose dqm is tied low do where masks cover whole parts. Automatic
//! precharge is not used. Two activations are at least six cycles apart, so tRRD needs no counter.

use serde::{Deserialize, Serialize};
use tandem_rtl::{Fsm, MemoryStyle, Module, Net, clog2};
use thiserror::Error;

use crate::size::BURST_BITS;

/// Bits of a word of the port.
const WORD: u32 = 64;
/// Words of the longest command, as a power of two; it lies within an aligned block of as many.
const LOG_BURST: u32 = 4;
/// Bit of the address pins that makes a precharge one of all banks.
const ALL: u32 = 10;
/// Refreshes before the chip is used, at most 8.
const FIRST_REFRESHES: u32 = 8;

/// A SDR SDRAM chip and the least times that it asks for, in picoseconds; where boards carry different chips, the longest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdram {
    /// Data pins: 16 or 32.
    pub data_bits: u32,
    /// Bits of a row.
    pub row_bits: u32,
    /// Bits of a column.
    pub column_bits: u32,
    /// Bits of a bank.
    pub bank_bits: u32,
    /// Cycles from a read to its data: 2 or 3.
    pub cas_latency: u32,
    /// Cycles that data are on their way to the input register, beyond the CAS latency.
    ///
    /// Cycles are counted between rising edges of the core's clock. With a read on the pins from edge `t` on, the input register
    /// takes the data at edge `t + cas_latency + capture_delay`. The chip's clock is the core's, later by `phase` (half a cycle
    /// where it is inverted); its output is valid from tAC after one edge of that clock to tOH after the next, and `delay` is what
    /// the clock takes to the chip and the data take back. So
    ///
    /// * 0 needs `phase + tAC + delay + setup <= period`: inverted, up to about 50 MHz on an FPGA with `delay` = 4 ns;
    /// * 1 needs `phase + tAC + delay + setup <= 2 * period` and `phase + tOH + delay >= period + hold`: inverted, from about
    ///   80 MHz on.
    ///
    /// Between the two, a phase of a quarter of a cycle and 0 do.
    pub capture_delay: u32,
    /// From the activation of a row to a read or write in it.
    pub t_rcd: u32,
    /// From a precharge to the next activation of the bank.
    pub t_rp: u32,
    /// From the activation of a row to its precharge.
    pub t_ras: u32,
    /// Between two activations of a bank.
    pub t_rc: u32,
    /// From a refresh to the next command.
    pub t_rfc: u32,
    /// From the last word written to the precharge of the bank.
    pub t_wr: u32,
    /// From setting the mode register to the next command.
    pub t_mrd: u32,
    /// Between two refreshes, on average and at most.
    pub t_refi: u32,
    /// From stable power and clock to the first command.
    pub t_init: u32,
}

/// A chip or a clock that the controller cannot serve (Invalid).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SdramError {
    /// A number that is not one of those possible.
    #[error("the SDRAM has {name} = {value}, and the controller knows {possible}; change it in the board's memory")]
    Number {
        /// The number's name.
        name: &'static str,
        /// The number.
        value: u32,
        /// What it may be.
        possible: &'static str,
    },
    /// Refreshes too close together.
    #[error(
        "the SDRAM needs a refresh every {refi} cycles (t_refi) at {clock_hz} Hz, and the longest command with a refresh takes \
         {needed}; raise the clock"
    )]
    Refresh {
        /// Cycles between two refreshes.
        refi: u32,
        /// The clock.
        clock_hz: u32,
        /// The longest time without a refresh.
        needed: u32,
    },
}

/// The times in cycles.
struct Cycles {
    rcd: u32,
    rp: u32,
    /// From an activation to a precharge, for tRAS and tRC.
    ras: u32,
    rfc: u32,
    wr: u32,
    mrd: u32,
    refi: u32,
    init: u32,
}

impl Sdram {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.data_bits / 8) << (self.row_bits + self.column_bits + self.bank_bits)
    }

    /// Whether the controller can serve this chip at this clock.
    ///
    /// # Errors
    /// [`SdramError`] says what is out of range.
    pub fn check(&self, clock_hz: u32) -> Result<(), SdramError> {
        let numbers = [
            ("data_bits", self.data_bits, matches!(self.data_bits, 16 | 32), "16 and 32"),
            ("row_bits", self.row_bits, (11..=13).contains(&self.row_bits), "11 to 13"),
            ("column_bits", self.column_bits, (8..=10).contains(&self.column_bits), "8 to 10"),
            ("bank_bits", self.bank_bits, (1..=2).contains(&self.bank_bits), "1 and 2"),
            ("cas_latency", self.cas_latency, (2..=3).contains(&self.cas_latency), "2 and 3"),
            ("capture_delay", self.capture_delay, self.capture_delay <= 2, "0 to 2"),
        ];
        for (name, value, good, possible) in numbers {
            if !good {
                return Err(SdramError::Number { name, value, possible });
            }
        }
        let times = self.cycles(clock_hz);
        let parts = WORD / self.data_bits;
        // A command to the longest wait, and the refresh itself.
        let needed = (parts << LOG_BURST) + 8 + self.cas_latency + self.capture_delay + times.wr + times.ras;
        let needed = needed + 2 * times.rp + times.rcd + times.rfc;
        let refi = times.refi;
        if refi < needed { Err(SdramError::Refresh { refi, clock_hz, needed }) } else { Ok(()) }
    }

    fn cycles(&self, clock_hz: u32) -> Cycles {
        const PICOSECONDS: u64 = 1_000_000_000_000;
        let product = |time: u32| u64::from(time) * u64::from(clock_hz);
        let up = |time: u32| (product(time).div_ceil(PICOSECONDS) as u32).max(1);
        let rp = up(self.t_rp);
        Cycles {
            rcd: up(self.t_rcd),
            rp,
            ras: up(self.t_ras).max(up(self.t_rc).saturating_sub(rp)),
            rfc: up(self.t_rfc),
            wr: up(self.t_wr),
            mrd: up(self.t_mrd),
            refi: (product(self.t_refi) / PICOSECONDS) as u32,
            init: up(self.t_init),
        }
    }
}

/// The controller.
///
/// # Panics
/// Where [`Sdram::check`] finds fault.
pub fn sdram(chip: &Sdram, clock_hz: u32) -> Module {
    let m = Module::new("sdram_memory");
    describe(&m, chip, clock_hz, FIRST_REFRESHES);
    m
}

/// The same controller as `sdram_proof`, with what is to be proven of its commands.
///
/// | property | |
/// |---|---|
/// | `opens_closed`, `accesses_open` | a row is opened in a bank without one, and words are moved in a bank with one |
/// | `all_closed` | refreshes and the mode register come while no bank has an open row |
/// | `drives_alone` | the controller drives the data pins with a write alone, and with no word read on its way |
/// | `in_step`, `state_known`, `bank_as_state` | what makes these inductive: the banks as the controller has them |
///
/// # Panics
/// Where [`Sdram::check`] finds fault.
pub fn proof(chip: &Sdram, clock_hz: u32) -> Module {
    let m = Module::new("sdram_proof");
    let p = describe(&m, chip, clock_hz, 1);
    let [ras, cas, we] = p.command.map(|pin| !pin);
    let activates = (ras & !cas & !we).named("activates");
    let precharges = (ras & !cas & we).named("precharges");
    let accesses = (!ras & cas).named("accesses");
    let to_all = (ras & cas).named("to_all");
    // The banks with an open row, as the commands have it.
    let banks = p.open.width();
    let seen = m.reg("seen_open", banks, 0);
    let this = m.cat(&(0..banks).map(|bank| p.ba.is(bank.into())).collect::<Vec<_>>()).named("pin_bank");
    let closed = this | p.a.bit(ALL).repeat(banks);
    let after = activates.mux(seen | this, precharges.mux(seen & !closed, seen)).named("seen_after");
    seen.set(after);
    let is_seen = (seen & this).any().named("is_seen");
    m.assert_always("opens_closed", !activates | !is_seen);
    m.assert_always("accesses_open", !accesses | is_seen);
    m.assert_always("all_closed", !to_all | !seen.any());
    m.assert_always("drives_alone", !p.oe | (accesses & we & !p.flight.any()));

    let at = |name: &str| p.state.at(name);
    m.assert_always("in_step", after.eq(p.open));
    m.assert_always("state_known", p.state.state().below(STATES.len() as u128));
    let closed = (!at("open") | !p.bank_open)
        & (!at("decide") | p.hit | p.other | !p.bank_open)
        & (!(at("start") | at("refresh") | at("mode")) | !p.open.any());
    let opened = (!at("stream") | p.bank_open) & (!at("decide") | !p.hit | p.bank_open);
    m.assert_always("bank_as_state", closed & opened);
    m
}

/// The states of the controller.
const STATES: &[&str] = &["start", "clear", "refresh", "mode", "rest", "look", "decide", "close", "open", "stream"];

/// What a proof speaks of.
struct Parts<'m> {
    /// ras_n, cas_n, we_n at the pins.
    command: [Net<'m>; 3],
    ba: Net<'m>,
    a: Net<'m>,
    oe: Net<'m>,
    /// The banks with an open row, as the controller has it.
    open: Net<'m>,
    bank_open: Net<'m>,
    hit: Net<'m>,
    other: Net<'m>,
    flight: Net<'m>,
    state: Fsm<'m>,
}

/// Counts down from what it is set to, to zero.
struct Countdown<'m> {
    left: Net<'m>,
}

impl<'m> Countdown<'m> {
    fn new(m: &'m Module, name: &str, most: u32) -> Self {
        let left = m.reg(name, clog2(most as usize + 1), 0);
        m.when(left.any(), || left.set(left.dec()));
        Countdown { left }
    }

    /// The next command comes so many cycles after the one of now.
    fn start(&self, cycles: u32) {
        self.left.set_to((cycles - 1).into());
    }

    fn runs(&self) -> Net<'m> {
        self.left.any()
    }
}

fn describe<'m>(m: &'m Module, chip: &Sdram, clock_hz: u32, first_refreshes: u32) -> Parts<'m> {
    let checked = chip.check(clock_hz);
    assert!(checked.is_ok(), "{checked:?}");
    let times = chip.cycles(clock_hz);
    let (data_bits, rows, columns, banks) = (chip.data_bits, chip.row_bits, chip.column_bits, chip.bank_bits);
    let (parts, bytes) = (WORD / data_bits, data_bits / 8);
    let log_parts = parts.trailing_zeros();
    let word_columns = columns - log_parts;
    let (valid, write) = (m.input("valid", 1), m.input("write", 1));
    let (address, beats) = (m.input("address", rows + banks + word_columns), m.input("beats", BURST_BITS));
    let (wvalid, wdata, wstrb) = (m.input("wvalid", 1), m.input("wdata", WORD), m.input("wstrb", WORD / 8));
    let dq_in = m.input("sdram_dq_in", data_bits);
    let no = m.lit(0, 1);

    let state = m.fsm("state", STATES);
    let at = |name: &str| state.at(name).named(&format!("at_{name}"));

    // The timer measures the time to the first command, then the one between two refreshes.
    let timer_bits = clog2(times.init.max(times.refi) as usize + 1) + 1;
    let timer = m.reg("timer", timer_bits, times.init.into());
    let due = m.reg("due", 1, 0);
    let tick = timer.sign().named("tick");
    timer.set(tick.mux(m.lit((times.refi - 2).into(), timer_bits), timer.dec()));

    // The next command waits for the one before; a precharge waits for tRAS and tWR of any bank.
    let hold = Countdown::new(m, "hold", times.rcd.max(times.rp).max(times.rfc).max(times.mrd));
    let (since_open, since_write) =
        (Countdown::new(m, "since_open", times.ras), Countdown::new(m, "since_write", times.wr));
    let free = (!hold.runs()).named("is_free");
    let closable = (free & !since_open.runs() & !since_write.runs()).named("closable");

    // The command at hand.
    let (active, writes) = (m.reg("active", 1, 0), m.data_reg("writes", 1));
    let (row, bank) = (m.data_reg("row", rows), m.data_reg("bank", banks));
    let (column, left) = (m.data_reg("column", columns), m.data_reg("left", BURST_BITS));
    let ready = (at("rest") & !due).named("is_ready");
    let taken = (ready & valid).named("taken");
    m.when(ready, || {
        writes.set(write);
        row.set(address.bits(word_columns + banks, rows));
        bank.set(address.bits(word_columns, banks));
        column.set(m.cat(&[m.lit(0, log_parts), address.bits(0, word_columns)]));
        left.set(beats);
    });
    m.when(taken, || {
        active.set_to(1);
        state.go("look");
    });

    // The open rows.
    let open = m.reg("is_open", 1 << banks, 0);
    let open_rows = m.memory("open_rows", banks, rows, MemoryStyle::Distributed);
    let this_bank = m.cat(&(0..1 << banks).map(|number| bank.is(number)).collect::<Vec<_>>()).named("this_bank");
    let (hit, other) = (m.data_reg("hit", 1), m.data_reg("other", 1));
    let bank_open = (open & this_bank).any().named("bank_open");
    let same = open_rows.read_now("open_row", bank).eq(row).named("same_row");
    m.when(at("look"), || {
        hit.set(bank_open & same);
        other.set(bank_open & !same);
        state.go("decide");
    });
    m.when(at("decide"), || {
        state.go("open");
        m.when(hit, || state.go("stream"));
        m.when(other, || state.go("close"));
    });

    // Reads on their way: bit 0 while on the pins, the last while in the input register.
    let depth = chip.cas_latency + chip.capture_delay + 1;
    let (flight, flight_last) = (m.reg("flight", depth, 0), m.data_reg("flight_last", depth));
    let part = column.bits(0, log_parts);
    let part_last = part.all().named("part_last");
    let streams = (at("stream") & free).named("streams");
    let reads_part = (streams & !writes).named("reads_part");
    let writes_part = (streams & writes & wvalid & !flight.any()).named("writes_part");
    let strobe = wstrb.pick(part, bytes).named("strobe");
    let moves = (reads_part | writes_part).named("moves");
    let last = (part_last & left.is(1)).named("is_last");
    m.when(moves, || {
        let low = LOG_BURST + log_parts;
        column.set(m.cat(&[column.bits(0, low).inc(), column.bits(low, columns - low)]));
        m.when(part_last, || left.set(left.dec()));
        m.when(last, || {
            active.set_to(0);
            state.go("rest");
        });
    });
    // A word that does not come must not keep the refresh away.
    m.when(at("stream") & writes & !wvalid & due, || state.go("clear"));
    m.when(at("rest") & due, || state.go("clear"));

    // Commands: ras, cas, we.
    let setup = m.reg("setup", 4, (16 - first_refreshes).into());
    let starting = setup.sign().named("starting");
    let command = |active: Net<'m>, name: &str| active.named(name);
    let clears = command(at("clear") & closable, "clears");
    let refreshes = command(at("refresh") & free, "refreshes");
    let sets_mode = command(at("mode") & free, "sets_mode");
    let closes = command(at("close") & closable, "closes");
    let opens = command(at("open") & free, "opens");
    let writes_data = command(writes_part & strobe.any(), "writes_data");
    m.when(at("start") & tick, || state.go("clear"));
    m.when(clears, || {
        open.set_to(0);
        hold.start(times.rp);
        state.go("refresh");
    });
    m.when(refreshes, || {
        due.set_to(0);
        hold.start(times.rfc);
        m.when_else(active, || state.go("look"), || state.go("rest"));
        m.when(starting, || {
            setup.set(setup.inc());
            m.when_else(setup.all(), || state.go("mode"), || state.go("refresh"));
        });
    });
    m.when(sets_mode, || {
        hold.start(times.mrd);
        state.go("rest");
    });
    m.when(closes, || {
        open.set(open & !this_bank);
        hold.start(times.rp);
        state.go("open");
    });
    m.when(opens, || {
        open.set(open | this_bank);
        hold.start(times.rcd);
        since_open.start(times.ras);
        state.go("stream");
    });
    open_rows.write(opens, bank, row);
    m.when(writes_data, || since_write.start(times.wr));
    m.when(tick & !starting, || due.set_to(1));

    // Pins.
    let pin = |name: &str, reset: u128, next: Net<'m>| {
        let pin = m.reg(format!("pin_{name}"), next.width(), reset);
        pin.set(next);
        m.output(format!("sdram_{name}"), pin);
        pin
    };
    let data_pin = |name: &str, next: Net<'m>| {
        let pin = m.data_reg(format!("pin_{name}"), next.width());
        pin.set(next);
        m.output(format!("sdram_{name}"), pin);
        pin
    };
    pin("cke", 0, !no);
    pin("cs_n", 1, no);
    let ras = opens | clears | closes | refreshes | sets_mode;
    let cas = reads_part | writes_data | refreshes | sets_mode;
    let we = writes_data | clears | closes | sets_mode;
    let [ras_n, cas_n, we_n] =
        [("ras_n", ras), ("cas_n", cas), ("we_n", we)].map(|(name, active)| pin(name, 1, !active));
    let ba = data_pin("ba", bank & (!at("mode")).repeat(banks));
    let pins = rows;
    let column_pins = m.cat(&[column, at("clear").repeat(1)]);
    let column_pins = if columns < ALL { m.cat(&[column, m.lit(0, ALL - columns), at("clear")]) } else { column_pins };
    let column_pins = column_pins.zext(pins).named("column_pins");
    let mode = m.lit((chip.cas_latency << 4).into(), pins);
    let a = data_pin("a", at("mode").mux(mode, at("open").mux(row, column_pins)));
    pin("dqm", (1 << bytes) - 1, (!strobe & writes_data.repeat(bytes)) | starting.repeat(bytes));
    data_pin("dq_out", wdata.pick(part, data_bits));
    let oe = pin("dq_oe", 0, writes_data);

    // Data read.
    let captured = m.data_reg("captured", data_bits);
    captured.set(dq_in);
    flight.set(m.cat(&[reads_part, flight.bits(0, depth - 1)]));
    flight_last.set(m.cat(&[last, flight_last.bits(0, depth - 1)]));
    let arrives = flight.sign().named("arrives");
    let word = m.data_reg("word", WORD);
    let got = m.reg("got", log_parts, 0);
    m.when(arrives, || {
        word.set(m.cat(&[word.bits(data_bits, WORD - data_bits), captured]));
        got.set(got.inc());
    });
    let rvalid = m.delay("word_complete", arrives & got.all());
    let rlast = m.delay("word_last", flight_last.sign());

    m.output("ready", ready);
    m.output("wnext", writes_part & part_last);
    m.output("rvalid", rvalid);
    m.output("rdata", word);
    m.output("rlast", rlast & rvalid);
    m.output("idle", at("rest") & !flight.any() & !rvalid);
    Parts { command: [ras_n, cas_n, we_n], ba, a, oe, open, bank_open, hit, other, flight, state }
}
