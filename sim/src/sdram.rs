//! A chip of SDR SDRAM that checks how it is used: every time, the state of its banks, its initialisation, refresh, and who
//! drives the data pins.
//!
//! One [`Model::step`] is one rising edge of the chip's clock. Its times are recomputed from the facts of the chip, not taken from
//! the controller. What a burst longer than a word or a precharge by itself would do is not modelled: they are refused.

use tandem_hw::shell::Sdram;
use thiserror::Error;

use crate::board::{Chip, ChipPins};

/// REFRESH commands that the chip wants before it is used.
const FIRST_REFRESHES: u32 = 8;
/// Refreshes that may be late: the one that is due, until the next one is.
const LATE: i32 = 1;
/// Refreshes that may be made ahead and count.
const AHEAD: i32 = -8;
/// Entries of the ring of words to come; more than the longest latency.
const RING: usize = 4;
const MAX_BANKS: usize = 4;
const SECOND: u64 = 1_000_000_000_000;

/// A command of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens a row.
    Activate,
    /// Reads a word.
    Read,
    /// Writes a word.
    Write,
    /// Closes a row, or all.
    Precharge,
    /// Refreshes a row of each bank.
    Refresh,
    /// Sets burst length and CAS latency.
    SetMode,
}

/// A rule of the chip that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A command came too early.
    #[error(
        "in cycle {cycle}, {command:?} of bank {bank} comes {passed} cycles after {before:?}; {time} of the chip asks for {needed}"
    )]
    TooSoon {
        /// The cycle.
        cycle: u64,
        /// The command.
        command: Command,
        /// Its bank.
        bank: usize,
        /// What came before.
        before: Command,
        /// Cycles between them.
        passed: u64,
        /// Cycles that must lie between them.
        needed: u64,
        /// The time in the data sheet.
        time: &'static str,
    },
    /// A command does not fit the state of a bank.
    #[error("in cycle {cycle}, {command:?} meets bank {bank}, whose row is {}", if *.open { "open" } else { "closed" })]
    Bank {
        /// The cycle.
        cycle: u64,
        /// The command.
        command: Command,
        /// The bank.
        bank: usize,
        /// Whether a row of it is open.
        open: bool,
    },
    /// The chip is not yet initialised for a command.
    #[error("in cycle {cycle}, {command:?} comes before the chip is initialised: {missing}")]
    Uninitialised {
        /// The cycle.
        cycle: u64,
        /// The command.
        command: Command,
        /// What has to come first.
        missing: &'static str,
    },
    /// Refreshes are late.
    #[error("in cycle {cycle}, {command:?} comes while {late} refreshes are due; t_refi of the chip allows for one")]
    Refresh {
        /// The cycle.
        cycle: u64,
        /// The command that uses the chip all the same.
        command: Command,
        /// Refreshes that are due.
        late: i32,
    },
    /// Both sides drive the data pins.
    #[error("in cycle {cycle}, the board drives the data pins, and the chip does so less than a cycle before or after")]
    Contention {
        /// The cycle.
        cycle: u64,
    },
    /// Something that the chip or this model does not know.
    #[error("in cycle {cycle}, {what}")]
    Unknown {
        /// The cycle.
        cycle: u64,
        /// What.
        what: &'static str,
    },
}

/// When something happened last in a bank, in cycles.
#[derive(Clone, Copy, Debug, Default)]
struct Bank {
    row: Option<u32>,
    activated: u64,
    precharged: u64,
    written: u64,
}

/// Cycles that must lie between commands.
#[derive(Clone, Copy, Debug)]
struct Times {
    rcd: u64,
    rp: u64,
    ras: u64,
    rc: u64,
    rfc: u64,
    wr: u64,
    mrd: u64,
    init: u64,
}

/// The chip.
#[derive(Clone, Debug)]
pub struct Model {
    facts: Sdram,
    times: Times,
    now: u64,
    /// The cycle in which the clock was enabled.
    awake: Option<u64>,
    banks: [Bank; MAX_BANKS],
    refreshed: u64,
    mode_set: u64,
    closed_all: bool,
    first_refreshes: u32,
    ready: bool,
    /// Time since a refresh fell due, in picoseconds times the clock's frequency, and that between two.
    elapsed: u64,
    interval: u64,
    late: i32,
    words: Vec<u32>,
    /// Words to drive after coming edges.
    ring: [Option<u32>; RING],
    /// The mask of the edge before, and whether the chip drove after the two edges before.
    mask: u32,
    drove: [bool; 2],
}

/// Long ago: before every time that is asked for.
const NEVER: u64 = 1 << 40;

impl Model {
    /// A chip that has just got power, at a clock of so many hertz. Its words hold anything.
    pub fn new(facts: &Sdram, clock_hz: u32) -> Model {
        let hz = u128::from(clock_hz);
        let cycles = |time: u64| (u128::from(time) * hz).div_ceil(u128::from(SECOND)) as u64;
        let times = Times {
            rcd: cycles(facts.t_rcd),
            rp: cycles(facts.t_rp),
            ras: cycles(facts.t_ras),
            rc: cycles(facts.t_rc),
            rfc: cycles(facts.t_rfc),
            wr: cycles(facts.t_wr),
            mrd: cycles(facts.t_mrd),
            init: cycles(facts.t_init),
        };
        let words = (facts.bytes() / u64::from(facts.data_bits / 8)) as usize;
        Model {
            facts: facts.clone(),
            times,
            now: NEVER,
            awake: None,
            banks: [Bank::default(); MAX_BANKS],
            refreshed: 0,
            mode_set: 0,
            closed_all: false,
            first_refreshes: 0,
            ready: false,
            elapsed: 0,
            interval: facts.t_refi.saturating_mul(u64::from(clock_hz)),
            late: 0,
            words: vec![0; words],
            ring: [None; RING],
            mask: 0,
            drove: [false; 2],
        }
    }

    /// One rising edge of the clock; gives what the data pins carry until the next edge, which is where the board samples them.
    ///
    /// # Errors
    /// The first rule that the edge breaks. The model goes on as if the rule did not exist.
    pub fn step(&mut self, pins: &ChipPins) -> Result<u32, Violation> {
        self.now += 1;
        self.elapsed += SECOND;
        if self.elapsed >= self.interval {
            self.elapsed -= self.interval;
            self.late += 1;
        }
        let result = if pins.cke {
            self.awake.get_or_insert(self.now);
            self.command(pins)
        } else {
            Ok(())
        };
        let slot = (self.now as usize) % RING;
        let driven = self.ring[slot].take();
        let drives = driven.is_some();
        let contends = pins.dq_oe && (drives || self.drove[0] || self.drove[1]);
        self.drove = [drives, self.drove[0]];
        let noise = (self.now as u32).wrapping_mul(0x9e37_79b9) ^ 0x5a5a_5a5a;
        let hidden = self.bytes(self.mask);
        self.mask = pins.dqm;
        let data = driven.map_or(noise, |data| data & !hidden | noise & hidden);
        result?;
        if contends {
            return Err(Violation::Contention { cycle: self.cycle() });
        }
        Ok(data & self.all())
    }

    /// The word at a number of words from the start, as the board counts: row, bank, column.
    pub fn word(&self, at: usize) -> u32 {
        (self.words[at] ^ scramble(at)) & self.all()
    }

    /// Edges so far.
    pub fn cycle(&self) -> u64 {
        self.now - NEVER
    }

    fn command(&mut self, pins: &ChipPins) -> Result<(), Violation> {
        if pins.cs_n {
            return Ok(());
        }
        let bank = pins.ba as usize & ((1 << self.facts.bank_bits) - 1);
        let all = pins.a >> 10 & 1 != 0;
        match (pins.ras_n, pins.cas_n, pins.we_n) {
            (true, true, true) => Ok(()),
            (false, true, true) => self.activate(bank, pins.a),
            (true, false, true) => self.read(bank, pins),
            (true, false, false) => self.write(bank, pins),
            (false, true, false) => self.precharge(bank, all),
            (false, false, true) => self.refresh(),
            (false, false, false) => self.set_mode(pins.a),
            (true, true, false) => self.unknown("a burst is to end, and there are no bursts"),
        }
    }

    fn activate(&mut self, bank: usize, row: u32) -> Result<(), Violation> {
        let command = Command::Activate;
        let found =
            self.used(command).and(self.settled(command, bank)).and(self.is(command, bank, false)).and_then(|()| {
                let Bank { activated, precharged, .. } = self.banks[bank];
                self.after(command, bank, Command::Precharge, precharged, self.times.rp, "t_rp")?;
                self.after(command, bank, Command::Activate, activated, self.times.rc, "t_rc")
            });
        self.banks[bank].row = Some(row & ((1 << self.facts.row_bits) - 1));
        self.banks[bank].activated = self.now;
        found
    }

    fn read(&mut self, bank: usize, pins: &ChipPins) -> Result<(), Violation> {
        self.open(Command::Read, bank, pins)?;
        let word = self.word(self.place(bank, pins.a));
        let slot = (self.now as usize + self.facts.cas_latency as usize - 1) % RING;
        self.ring[slot] = Some(word);
        Ok(())
    }

    fn write(&mut self, bank: usize, pins: &ChipPins) -> Result<(), Violation> {
        let found = self.open(Command::Write, bank, pins);
        let (at, hidden) = (self.place(bank, pins.a), self.bytes(pins.dqm));
        let old = self.word(at);
        self.words[at] = (old & hidden | pins.dq & !hidden) ^ scramble(at);
        self.banks[bank].written = self.now;
        found?;
        if pins.dq_oe { Ok(()) } else { self.unknown("a word is written, and the board does not drive the data pins") }
    }

    fn precharge(&mut self, bank: usize, all: bool) -> Result<(), Violation> {
        let command = Command::Precharge;
        let mut found = self.settled(command, bank);
        if self.awake.is_some_and(|awake| self.now - awake < self.times.init) && !self.closed_all {
            found = found.and(Err(Violation::Uninitialised {
                cycle: self.cycle(),
                command,
                missing: "t_init has not passed since power came",
            }));
        }
        if !self.closed_all && !all {
            found = found.and(self.uninitialised(command, "a PRECHARGE of all banks comes first"));
        }
        self.closed_all |= all;
        for at in 0..1 << self.facts.bank_bits {
            if !all && at != bank {
                continue;
            }
            let Bank { row, activated, written, .. } = self.banks[at];
            if row.is_some() {
                found = found
                    .and(self.after(command, at, Command::Activate, activated, self.times.ras, "t_ras"))
                    .and(self.after(command, at, Command::Write, written, self.times.wr, "t_wr"));
            }
            if row.is_some() || !self.ready {
                self.banks[at].precharged = self.now;
            }
            self.banks[at].row = None;
        }
        found
    }

    fn refresh(&mut self) -> Result<(), Violation> {
        let found = self.quiet(Command::Refresh);
        self.refreshed = self.now;
        self.first_refreshes += u32::from(self.first_refreshes < FIRST_REFRESHES);
        self.late = (self.late - 1).max(AHEAD);
        found
    }

    fn set_mode(&mut self, mode: u32) -> Result<(), Violation> {
        let command = Command::SetMode;
        let mut found = self.quiet(command);
        if self.first_refreshes < FIRST_REFRESHES {
            found = found.and(self.uninitialised(command, "8 refreshes come first"));
        }
        if mode & 0xf != 0 || mode >> 7 & 3 != 0 {
            found = found.and(self.unknown("a mode with bursts is set"));
        }
        if mode >> 4 & 7 != self.facts.cas_latency {
            found = found.and(self.unknown("a CAS latency is set that the chip has not at this clock"));
        }
        self.mode_set = self.now;
        self.ready = true;
        (self.late, self.elapsed) = (0, 0);
        found
    }

    /// READ and WRITE need an open row.
    fn open(&mut self, command: Command, bank: usize, pins: &ChipPins) -> Result<(), Violation> {
        self.used(command)?;
        self.settled(command, bank)?;
        self.is(command, bank, true)?;
        self.after(command, bank, Command::Activate, self.banks[bank].activated, self.times.rcd, "t_rcd")?;
        if pins.a >> self.facts.column_bits != 0 {
            return self.unknown("a column does not exist, or its row is to close by itself");
        }
        Ok(())
    }

    /// REFRESH and the setting of the mode need every row closed.
    fn quiet(&self, command: Command) -> Result<(), Violation> {
        if !self.closed_all {
            return self.uninitialised(command, "a PRECHARGE of all banks comes first");
        }
        for bank in 0..1 << self.facts.bank_bits {
            self.is(command, bank, false)?;
            let Bank { activated, precharged, .. } = self.banks[bank];
            self.after(command, bank, Command::Precharge, precharged, self.times.rp, "t_rp")?;
            self.after(command, bank, Command::Activate, activated, self.times.rc, "t_rc")?;
        }
        self.settled(command, 0)
    }

    /// What every command needs.
    fn settled(&self, command: Command, bank: usize) -> Result<(), Violation> {
        self.after(command, bank, Command::Refresh, self.refreshed, self.times.rfc, "t_rfc")?;
        self.after(command, bank, Command::SetMode, self.mode_set, self.times.mrd, "t_mrd")
    }

    /// What every use needs.
    fn used(&mut self, command: Command) -> Result<(), Violation> {
        if !self.ready {
            return self.uninitialised(command, "its mode is set first");
        }
        if self.late > LATE {
            let late = std::mem::take(&mut self.late);
            return Err(Violation::Refresh { cycle: self.cycle(), command, late });
        }
        Ok(())
    }

    fn is(&self, command: Command, bank: usize, open: bool) -> Result<(), Violation> {
        match self.banks[bank].row.is_some() == open {
            true => Ok(()),
            false => Err(Violation::Bank { cycle: self.cycle(), command, bank, open: !open }),
        }
    }

    fn after(
        &self,
        command: Command,
        bank: usize,
        before: Command,
        at: u64,
        needed: u64,
        time: &'static str,
    ) -> Result<(), Violation> {
        let passed = self.now - at;
        if passed >= needed {
            return Ok(());
        }
        Err(Violation::TooSoon { cycle: self.cycle(), command, bank, before, passed, needed, time })
    }

    fn uninitialised(&self, command: Command, missing: &'static str) -> Result<(), Violation> {
        Err(Violation::Uninitialised { cycle: self.cycle(), command, missing })
    }

    fn unknown(&self, what: &'static str) -> Result<(), Violation> {
        Err(Violation::Unknown { cycle: self.cycle(), what })
    }

    fn place(&self, bank: usize, column: u32) -> usize {
        let row = self.banks[bank].row.unwrap_or(0) as usize;
        let columns = self.facts.column_bits;
        (row << self.facts.bank_bits | bank) << columns | column as usize & ((1 << columns) - 1)
    }

    /// The bits of the bytes that a mask hides.
    fn bytes(&self, mask: u32) -> u32 {
        (0..self.facts.data_bits / 8)
            .filter(|byte| mask >> byte & 1 != 0)
            .fold(0, |bits, byte| bits | 0xff << (8 * byte))
    }

    fn all(&self) -> u32 {
        u32::MAX >> (32 - self.facts.data_bits)
    }
}

/// What is in a word that nobody has written.
fn scramble(at: usize) -> u32 {
    (at as u32).wrapping_add(1).wrapping_mul(0x85eb_ca6b)
}

impl Chip for Model {
    fn edge(&mut self, pins: &ChipPins) -> Result<u32, String> {
        self.step(pins).map_err(|violation| format!("the memory chip is misused: {violation}"))
    }
}
