//! A SDR SDRAM chip, cycle by cycle: what it stores, and whether it was treated as its data sheet asks.
//!
//! The chip looks at the pins once a cycle ([`Model::step`]), in the middle between two edges of the controller's clock, and
//! answers with what the controller's input register sees at the next of these edges. Data of a read come `cas_latency +
//! capture_delay - 1` steps after the step that saw the command, so a register that takes `dq` at every edge holds them
//! `cas_latency + capture_delay` cycles after the command was on the pins.
//!
//! The first thing that was wrong is kept as a sentence, [`Model::violation`]; the model goes on as well as it can.

use tandem_hw::shell::Sdram;
use thiserror::Error;

/// Slots for data on their way, enough for every latency.
const SLOTS: u64 = 8;
/// Refreshes that may be late or early.
const POSTPONED: i32 = 8;
/// Refreshes that the chip needs before it is used.
const FIRST_REFRESHES: u64 = 2;
/// Before anything that happened.
const NEVER: i64 = -(1 << 48);
const PICOSECONDS: u64 = 1_000_000_000_000;
/// Bit of the address pins that asks for all banks, or for an automatic precharge.
const ALL: u32 = 1 << 10;

/// The controller's pins in one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pins {
    /// Clock enable.
    pub cke: bool,
    /// Chip select, active low.
    pub cs_n: bool,
    /// Row strobe, active low.
    pub ras_n: bool,
    /// Column strobe, active low.
    pub cas_n: bool,
    /// Write enable, active low.
    pub we_n: bool,
    /// Bank.
    pub ba: u32,
    /// Address.
    pub a: u32,
    /// Byte masks, a bit for each byte.
    pub dqm: u32,
    /// What the controller drives.
    pub dq_out: u32,
    /// Whether it drives.
    pub dq_oe: bool,
}

/// What the input register sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dq {
    /// The pins; those that nobody drives are noise.
    pub value: u32,
    /// The pins that the chip drives.
    pub driven: u32,
}

/// How many commands the chip has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cycles.
    pub cycles: u64,
    /// Activations.
    pub activates: u64,
    /// Precharges, those of all banks counted once.
    pub precharges: u64,
    /// Words read.
    pub reads: u64,
    /// Words written.
    pub writes: u64,
    /// Refreshes.
    pub refreshes: u64,
}

/// The first thing that a controller did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("SDRAM, cycle {cycle}: {rule}")]
pub struct Violation {
    /// The cycle, from 0.
    pub cycle: u64,
    /// What was wrong.
    pub rule: Rule,
}

/// What a controller can do wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rule {
    /// Too soon after something else.
    #[error("{command} in bank {bank} comes {elapsed} cycles after {after}, and {time} asks for {least}")]
    Early {
        /// The command.
        command: &'static str,
        /// Its bank.
        bank: u32,
        /// What it follows.
        after: &'static str,
        /// The time's name.
        time: &'static str,
        /// Cycles between the two.
        elapsed: i64,
        /// The least number of them.
        least: i64,
    },
    /// Too many refreshes are owed.
    #[error("{POSTPONED} refreshes are late and another one is due: the average of tREFI is not kept")]
    Refresh,
    /// A command in a bank without an open row.
    #[error("{command} in bank {bank}, which has no open row")]
    Closed {
        /// The command.
        command: &'static str,
        /// The bank.
        bank: u32,
    },
    /// A command that needs a closed bank.
    #[error("{command} while bank {bank} has an open row")]
    Open {
        /// The command.
        command: &'static str,
        /// The bank.
        bank: u32,
    },
    /// Initialisation out of order.
    #[error("{command} comes before {before} during initialisation")]
    Order {
        /// The command.
        command: &'static str,
        /// What has to come first.
        before: &'static str,
    },
    /// A mode that the model or the chip does not have.
    #[error("the mode register is set to {mode:#x} of bank {bank}, and {expected:#x} of bank 0 is expected")]
    Mode {
        /// The address pins.
        mode: u32,
        /// The bank pins.
        bank: u32,
        /// Burst length 1 and the CAS latency.
        expected: u32,
    },
    /// Two drivers.
    #[error("the controller drives dq while the SDRAM drives it")]
    Contention,
    /// No driver.
    #[error("WRITE in bank {bank} while the controller does not drive dq")]
    Floating {
        /// The bank.
        bank: u32,
    },
    /// A command that this controller should not use.
    #[error("{what} is not expected of this controller")]
    Unexpected {
        /// The command.
        what: &'static str,
    },
}

/// Least cycles, rounded up.
struct Least {
    rcd: i64,
    rp: i64,
    ras: i64,
    rc: i64,
    rfc: i64,
    wr: i64,
    mrd: i64,
    init: i64,
}

#[derive(Clone, Copy)]
struct Bank {
    row: Option<u32>,
    activated: i64,
    precharged: i64,
    written: i64,
}

/// The chip.
pub struct Model {
    chip: Sdram,
    least: Least,
    /// Picoseconds between two refreshes, times the clock.
    refresh_interval: u64,
    bytes: Vec<u8>,
    banks: Vec<Bank>,
    now: i64,
    enabled: Option<i64>,
    refreshed: i64,
    mode_set: i64,
    cleared: bool,
    ready: bool,
    /// Time since a refresh fell due, in the unit of `refresh_interval`, and refreshes owed.
    since_due: u64,
    owed: i32,
    /// Bit k: the chip drives k cycles from now.
    drives: u32,
    slots: [Dq; SLOTS as usize],
    noise: u32,
    counts: Counts,
    violation: Option<Violation>,
}

impl Model {
    /// A chip just powered up, filled with zeros, at a clock.
    pub fn new(chip: &Sdram, clock_hz: u32) -> Model {
        let least = |time: u32| (u64::from(time) * u64::from(clock_hz)).div_ceil(PICOSECONDS) as i64;
        let bank = Bank { row: None, activated: NEVER, precharged: NEVER, written: NEVER };
        Model {
            least: Least {
                rcd: least(chip.t_rcd),
                rp: least(chip.t_rp),
                ras: least(chip.t_ras),
                rc: least(chip.t_rc),
                rfc: least(chip.t_rfc),
                wr: least(chip.t_wr),
                mrd: least(chip.t_mrd),
                init: least(chip.t_init),
            },
            refresh_interval: u64::from(chip.t_refi) * u64::from(clock_hz),
            bytes: vec![0; chip.bytes() as usize],
            banks: vec![bank; 1 << chip.bank_bits],
            now: 0,
            enabled: None,
            refreshed: NEVER,
            mode_set: NEVER,
            cleared: false,
            ready: false,
            since_due: 0,
            owed: 0,
            drives: 0,
            slots: [Dq::default(); SLOTS as usize],
            noise: 0x2545_f491,
            counts: Counts::default(),
            violation: None,
            chip: chip.clone(),
        }
    }

    /// What was wrong first, if anything.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Commands so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The content in the order of byte addresses: row, bank, column, byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The content, to change it behind the controller's back.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// One cycle with these pins.
    pub fn step(&mut self, pins: &Pins) -> Dq {
        if pins.cke {
            self.enabled.get_or_insert(self.now);
            if !pins.cs_n {
                self.command(pins);
            }
        } else if self.enabled.is_some() {
            self.wrong(Rule::Unexpected { what: "a stopped clock (cke low)" });
        }
        if pins.dq_oe && self.drives & 1 != 0 {
            self.wrong(Rule::Contention);
        }
        // A mask stops the output of two clocks later.
        if pins.dqm != 0 {
            let slot = (self.now as u64 + 1 + u64::from(self.chip.capture_delay)) % SLOTS;
            self.slots[slot as usize].driven &= !spread(pins.dqm);
        }
        if self.ready {
            self.since_due += PICOSECONDS;
            if self.since_due >= self.refresh_interval {
                self.since_due -= self.refresh_interval;
                self.owed += 1;
                if self.owed > POSTPONED {
                    self.wrong(Rule::Refresh);
                }
            }
        }
        let out = std::mem::take(&mut self.slots[(self.now as u64 % SLOTS) as usize]);
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        self.drives >>= 1;
        self.now += 1;
        self.counts.cycles += 1;
        Dq { value: (out.value & out.driven) | (self.noise & !out.driven), driven: out.driven }
    }

    fn command(&mut self, pins: &Pins) {
        let bank = pins.ba & ((1 << self.chip.bank_bits) - 1);
        match (pins.ras_n, pins.cas_n, pins.we_n) {
            (true, true, true) => {}
            (false, true, true) => self.activate(bank, pins.a),
            (true, false, true) => self.read(bank, pins),
            (true, false, false) => self.write(bank, pins),
            (false, true, false) => self.precharge(bank, pins.a & ALL != 0),
            (false, false, true) => self.refresh(),
            (false, false, false) => self.set_mode(bank, pins.a),
            (true, true, false) => self.wrong(Rule::Unexpected { what: "BURST TERMINATE" }),
        }
    }

    fn activate(&mut self, bank: u32, a: u32) {
        let command = "ACTIVATE";
        self.settled(command, bank);
        self.initialised(command);
        let state = self.banks[bank as usize];
        if state.row.is_some() {
            self.wrong(Rule::Open { command, bank });
        }
        self.after(command, bank, "a precharge", state.precharged, "tRP", self.least.rp);
        self.after(command, bank, "the activation before", state.activated, "tRC", self.least.rc);
        let now = self.now;
        let state = &mut self.banks[bank as usize];
        state.row = Some(a & ((1 << self.chip.row_bits) - 1));
        state.activated = now;
        self.counts.activates += 1;
    }

    /// The place of a column in the content, if the bank has an open row.
    fn column(&mut self, command: &'static str, bank: u32, a: u32) -> Option<usize> {
        self.settled(command, bank);
        if a & ALL != 0 {
            self.wrong(Rule::Unexpected { what: "an automatic precharge (A10 set)" });
        }
        let state = self.banks[bank as usize];
        let Some(row) = state.row else {
            self.wrong(Rule::Closed { command, bank });
            return None;
        };
        self.after(command, bank, "the activation", state.activated, "tRCD", self.least.rcd);
        let (columns, banks) = (self.chip.column_bits, self.chip.bank_bits);
        let word = (((row as usize) << banks | bank as usize) << columns) | (a & ((1 << columns) - 1)) as usize;
        Some(word * (self.chip.data_bits / 8) as usize)
    }

    fn read(&mut self, bank: u32, pins: &Pins) {
        let Some(at) = self.column("READ", bank, pins.a) else { return };
        let width = (self.chip.data_bits / 8) as usize;
        let mut value = [0; 4];
        value[..width].copy_from_slice(&self.bytes[at..at + width]);
        let (latency, delay) = (self.chip.cas_latency, self.chip.capture_delay);
        let slot = (self.now as u64 + u64::from(latency + delay - 1)) % SLOTS;
        let driven = if width == 4 { u32::MAX } else { 0xffff };
        self.slots[slot as usize] = Dq { value: u32::from_le_bytes(value), driven };
        // From the chip's edge before the data are due to the one after, half cycles that touch two of the controller's.
        self.drives |= ((1 << (2 + delay)) - 1) << (latency - 1);
        self.counts.reads += 1;
    }

    fn write(&mut self, bank: u32, pins: &Pins) {
        let Some(at) = self.column("WRITE", bank, pins.a) else { return };
        if !pins.dq_oe {
            self.wrong(Rule::Floating { bank });
        }
        for byte in 0..(self.chip.data_bits / 8) as usize {
            if pins.dqm >> byte & 1 == 0 {
                self.bytes[at + byte] = (pins.dq_out >> (8 * byte)) as u8;
            }
        }
        self.banks[bank as usize].written = self.now;
        self.counts.writes += 1;
    }

    fn precharge(&mut self, bank: u32, all: bool) {
        let command = "PRECHARGE";
        self.settled(command, bank);
        self.cleared |= all;
        let chosen = if all { 0..self.banks.len() as u32 } else { bank..bank + 1 };
        for bank in chosen {
            let state = self.banks[bank as usize];
            // A bank without an open row takes no notice.
            if state.row.is_some() {
                self.after(command, bank, "the activation", state.activated, "tRAS", self.least.ras);
                self.after(command, bank, "the last write", state.written, "tWR", self.least.wr);
            }
            if state.row.is_some() || !self.ready {
                let now = self.now;
                let state = &mut self.banks[bank as usize];
                state.row = None;
                state.precharged = now;
            }
        }
        self.counts.precharges += 1;
    }

    fn refresh(&mut self) {
        self.all_closed("REFRESH");
        self.refreshed = self.now;
        self.owed = (self.owed - 1).max(-POSTPONED);
        self.counts.refreshes += 1;
    }

    fn set_mode(&mut self, bank: u32, a: u32) {
        self.all_closed("MODE REGISTER SET");
        let expected = self.chip.cas_latency << 4;
        if a != expected || bank != 0 {
            self.wrong(Rule::Mode { mode: a, bank, expected });
        }
        self.mode_set = self.now;
    }

    /// What a command to the whole chip asks for.
    fn all_closed(&mut self, command: &'static str) {
        self.settled(command, 0);
        if !self.cleared {
            self.wrong(Rule::Order { command, before: "a PRECHARGE of all banks" });
        }
        for bank in 0..self.banks.len() as u32 {
            let state = self.banks[bank as usize];
            if state.row.is_some() {
                self.wrong(Rule::Open { command, bank });
            }
            self.after(command, bank, "a precharge", state.precharged, "tRP", self.least.rp);
            self.after(command, bank, "the activation before", state.activated, "tRC", self.least.rc);
        }
    }

    /// What every command asks for.
    fn settled(&mut self, command: &'static str, bank: u32) {
        let enabled = self.enabled.unwrap_or(self.now);
        self.after(command, bank, "power and clock", enabled, "tINIT", self.least.init);
        self.after(command, bank, "a refresh", self.refreshed, "tRFC", self.least.rfc);
        self.after(command, bank, "setting the mode", self.mode_set, "tMRD", self.least.mrd);
    }

    fn initialised(&mut self, command: &'static str) {
        if self.ready {
            return;
        }
        if self.counts.refreshes < FIRST_REFRESHES {
            self.wrong(Rule::Order { command, before: "two REFRESHes" });
        }
        if self.mode_set == NEVER {
            self.wrong(Rule::Order { command, before: "MODE REGISTER SET" });
        }
        self.ready = true;
        (self.since_due, self.owed) = (0, 0);
    }

    fn after(
        &mut self,
        command: &'static str,
        bank: u32,
        after: &'static str,
        since: i64,
        time: &'static str,
        least: i64,
    ) {
        let elapsed = self.now - since;
        if elapsed < least {
            self.wrong(Rule::Early { command, bank, after, time, elapsed, least });
        }
    }

    #[cold]
    fn wrong(&mut self, rule: Rule) {
        let cycle = self.now as u64;
        self.violation.get_or_insert(Violation { cycle, rule });
    }
}

/// A bit for each byte as all bits of the byte.
fn spread(bytes: u32) -> u32 {
    (0..4).filter(|byte| bytes >> byte & 1 != 0).map(|byte| 0xff << (8 * byte)).sum()
}
