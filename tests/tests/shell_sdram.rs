//! The SDRAM controller against a chip that checks every time: random traffic at several clocks and widths, and controllers that
//! are a cycle too quick.

use tandem_hw::shell::{Sdram, controller};
use tandem_sim::board::ChipPins;
use tandem_sim::sdram::{Command, Model, Violation};
use tandem_tests::block::{Block, Verilator};
use tandem_tests::random::Random;
use tandem_tests::sdram::NARROW;

/// The chip of Tang Nano 20K, but for the time from power to the first command.
const WIDE: Sdram =
    Sdram { data_bits: 32, row_bits: 11, column_bits: 8, cas_latency: 3, t_rc: 65_000, t_refi: 15_625_000, ..NARROW };

/// A chip so slow that each of its times is what a controller waits for.
const SLOW: Sdram = Sdram {
    t_rcd: 60_000,
    t_rp: 50_000,
    t_ras: 160_000,
    t_rc: 250_000,
    t_rfc: 120_000,
    t_wr: 70_000,
    t_mrd: 90_000,
    t_refi: 1_500_000,
    ..WIDE
};

/// A controller and its chip.
struct Bench {
    block: Block,
    chip: Model,
    cycles: u64,
    words: Vec<u8>,
    read: Vec<Vec<u32>>,
    lasts: usize,
}

impl Bench {
    fn new(verilator: &Verilator, built: &Sdram, real: &Sdram, clock_hz: u32, bus: u32) -> Bench {
        let block = Block::build(verilator, &controller(built, clock_hz, bus)).unwrap();
        let chip = Model::new(real, clock_hz);
        let mut words = vec![0; real.bytes() as usize];
        let bytes = real.data_bits as usize / 8;
        for (at, word) in words.chunks_mut(bytes).enumerate() {
            word.copy_from_slice(&chip.word(at).to_le_bytes()[..bytes]);
        }
        Bench { block, chip, cycles: 0, words, read: Vec::new(), lasts: 0 }
    }

    /// One cycle; whether a command and a word to write were taken in it.
    fn cycle(&mut self) -> Result<(bool, bool), Violation> {
        self.block.eval();
        let get = |name: &str| self.block.get(name);
        let flag = |name: &str| get(name) != 0;
        let pins = ChipPins {
            cke: flag("cke"),
            cs_n: flag("cs_n"),
            ras_n: flag("ras_n"),
            cas_n: flag("cas_n"),
            we_n: flag("we_n"),
            dq_oe: flag("dq_oe"),
            ba: get("ba") as u32,
            a: get("a") as u32,
            dqm: get("dqm") as u32,
            dq: get("dq_out") as u32,
        };
        let taken = (flag("ready"), flag("wnext"));
        if flag("rvalid") {
            self.lasts += usize::from(flag("rlast"));
            self.read.push(self.block.get_words("rdata"));
        }
        let answer = self.chip.step(&pins);
        self.block.clock();
        self.cycles += 1;
        self.block.set("dq_in", answer?.into());
        Ok(taken)
    }

    fn command(&mut self, write: bool, address: u64, beats: usize) -> Result<(), Violation> {
        self.block.set("write", write.into());
        self.block.set("address", address.into());
        self.block.set("beats", beats as u128);
        self.block.set("valid", 1);
        for _ in 0..100_000 {
            if self.cycle()?.0 {
                self.block.set("valid", 0);
                return Ok(());
            }
        }
        panic!("no command is taken");
    }

    /// Writes words, whose valid bytes are those of the strobes, with pauses.
    fn write(
        &mut self,
        address: u64,
        data: &[(Vec<u32>, u128)],
        random: &mut Random,
        pause: usize,
    ) -> Result<(), Violation> {
        self.command(true, address, data.len())?;
        for (beat, (words, strobe)) in data.iter().enumerate() {
            for _ in 0..random.within(0, pause) {
                self.cycle()?;
            }
            self.block.set_words("wdata", words);
            self.block.set("wstrb", *strobe);
            self.block.set("wvalid", 1);
            let mut tries = 0;
            while !self.cycle()?.1 {
                tries += 1;
                assert!(tries < 1000, "no word is taken");
            }
            self.block.set("wvalid", 0);
            let base = (address as usize + beat) * words.len() * 4;
            for (at, byte) in words.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
                if strobe >> at & 1 != 0 {
                    self.words[base + at] = byte;
                }
            }
        }
        Ok(())
    }

    /// The words that stand at an address.
    fn expected(&self, address: u64, beats: usize, bus: u32) -> Vec<Vec<u32>> {
        let bytes = bus as usize / 8;
        let at = address as usize * bytes;
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        self.words[at..at + beats * bytes].chunks(bytes).map(|beat| beat.chunks(4).map(word).collect()).collect()
    }
}

/// Traffic in a few rows of every bank, so that rows are hit, missed and shared; every word read is compared.
fn traffic(bench: &mut Bench, facts: &Sdram, bus: u32, seed: u64, commands: usize) -> Result<(), Violation> {
    let mut random = Random::new(seed);
    let row_words = facts.row_bytes() as usize * 8 / bus as usize;
    let rows = (facts.bytes() / facts.row_bytes()) as usize;
    let part = facts.data_bits / 8;
    let (mut pending, mut beats_read, mut reads) = (Vec::new(), 0, 0);
    for number in 0..commands {
        let any = random.within(1, 17);
        let beats = random.of(&[1, 1, 2, 16, any]).min(row_words);
        let row = [random.within(0, 6), rows - 1 - random.within(0, 3), random.within(0, rows)][random.within(0, 3)];
        let address = (row * row_words + random.within(0, row_words - beats + 1)) as u64;
        let pause = [0, 0, 4][number % 3];
        if random.once_in(2) {
            let data: Vec<(Vec<u32>, u128)> = (0..beats)
                .map(|_| {
                    let words = (0..bus / 32).map(|_| random.bits()).collect();
                    let all = (1u128 << (bus / 8)) - 1;
                    let strobe = if random.once_in(3) { all } else { u128::from(random.bits()) & all };
                    // Without masks words are written whole or not at all.
                    let whole = (1u128 << part) - 1;
                    let parts =
                        (0..bus / 8 / part).map(|at| ((strobe >> (at * part) & 1) * whole) << (at * part)).sum();
                    (words, if facts.masks { strobe } else { parts })
                })
                .collect();
            // What was read so far was read before this is written.
            bench.write(address, &data, &mut random, pause)?;
        } else {
            bench.command(false, address, beats)?;
            pending.extend(bench.expected(address, beats, bus));
            beats_read += beats;
            reads += 1;
        }
        let idle = if random.once_in(4) { random.within(0, 60) } else { 0 };
        for _ in 0..idle {
            bench.cycle()?;
        }
    }
    for _ in 0..200 {
        bench.cycle()?;
    }
    assert_eq!((bench.read.len(), bench.lasts), (beats_read, reads), "words and ends of reads");
    assert!(bench.read == pending, "what was read is not what was written");
    Ok(())
}

fn check(facts: &Sdram, clock_hz: u32, bus: u32) {
    let Some(verilator) = Verilator::find() else { return };
    let mut bench = Bench::new(&verilator, facts, facts, clock_hz, bus);
    traffic(&mut bench, facts, bus, u64::from(clock_hz), 1500).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn sixteen_bits_at_60_mhz() {
    check(&NARROW, 60_000_000, 64);
}

#[test]
fn sixteen_bits_at_24_mhz_with_a_latency_of_two_and_two_banks() {
    check(&Sdram { cas_latency: 2, bank_bits: 1, ..NARROW }, 24_000_000, 64);
}

#[test]
fn sixteen_bits_on_a_broad_bus_at_133_mhz_from_power_on() {
    check(&Sdram { t_init: 200_000_000, ..NARROW }, 133_000_000, 256);
}

#[test]
fn thirty_two_bits_at_100_mhz() {
    check(&WIDE, 100_285_714, 64);
}

#[test]
fn thirty_two_bits_without_masks_at_60_mhz() {
    check(&Sdram { masks: false, ..WIDE }, 60_000_000, 64);
}

#[test]
fn a_slow_chip_on_a_bus_of_128_bits() {
    check(&SLOW, 100_000_000, 128);
}

#[test]
fn rows_that_are_open_stream_a_word_a_cycle() {
    let Some(verilator) = Verilator::find() else { return };
    for (facts, clock_hz, words) in [(NARROW, 60_000_000, 4), (WIDE, 100_285_714, 2)] {
        let mut bench = Bench::new(&verilator, &facts, &facts, clock_hz as u32, 64);
        let mut random = Random::new(1);
        let data: Vec<_> = (0..16).map(|at| (vec![at, !at], 0xff)).collect();
        bench.write(0, &data, &mut random, 0).unwrap();
        let begin = bench.cycles;
        for _ in 0..100 {
            bench.command(false, 0, 16).unwrap();
        }
        // Two cycles between commands, and a refresh with its ACTIVATE now and then.
        let (cycles, useful) = (bench.cycles - begin, 99 * 16 * words);
        let refreshes = cycles * 1_000_000 / (facts.t_refi * clock_hz / 1_000_000) + 1;
        assert!(cycles <= useful + 99 * 2 + refreshes * 20 + 20, "{cycles} cycles for {useful} words");
    }
}

#[test]
fn a_controller_that_is_a_cycle_too_quick_is_found_out_by_name() {
    let Some(verilator) = Verilator::find() else { return };
    let cycle = 10_000;
    // Where a row may be closed long before its bank may be opened again, t_rc says when; else t_ras does.
    let equal = Sdram { t_rc: SLOW.t_ras + SLOW.t_rp, ..SLOW };
    let cases = [
        ("t_rcd", SLOW, Sdram { t_rcd: SLOW.t_rcd - cycle, ..SLOW }),
        (
            "t_rp",
            equal.clone(),
            Sdram { t_rp: SLOW.t_rp - cycle, t_rc: equal.t_rc, t_ras: equal.t_ras + cycle, ..SLOW },
        ),
        ("t_ras", equal.clone(), Sdram { t_ras: SLOW.t_ras - cycle, t_rc: equal.t_rc - cycle, ..SLOW }),
        ("t_rc", SLOW, Sdram { t_rc: SLOW.t_rc - cycle, ..SLOW }),
        ("t_rfc", SLOW, Sdram { t_rfc: SLOW.t_rfc - cycle, ..SLOW }),
        ("t_wr", equal.clone(), Sdram { t_wr: SLOW.t_wr - cycle, t_rc: 0, ..equal.clone() }),
        ("t_mrd", SLOW, Sdram { t_mrd: SLOW.t_mrd - cycle, ..SLOW }),
    ];
    for (name, real, built) in cases {
        let mut bench = Bench::new(&verilator, &built, &real, 100_000_000, 64);
        match traffic(&mut bench, &real, 64, 3, 1500) {
            Err(Violation::TooSoon { time, passed, needed, .. }) => {
                assert_eq!((time, passed + 1), (name, needed), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let late = Sdram { t_refi: SLOW.t_refi + cycle, ..SLOW };
    let mut bench = Bench::new(&verilator, &late, &SLOW, 100_000_000, 64);
    let found = traffic(&mut bench, &SLOW, 64, 3, 10_000);
    assert!(matches!(found, Err(Violation::Refresh { late: 2, .. })), "{found:?}");
    // The clock is enabled a cycle after reset, and the first command passes two registers.
    let hasty = Sdram { t_init: SLOW.t_init - 4 * cycle, ..SLOW };
    let mut bench = Bench::new(&verilator, &hasty, &SLOW, 100_000_000, 64);
    let found = traffic(&mut bench, &SLOW, 64, 3, 1);
    assert!(matches!(found, Err(Violation::Uninitialised { command: Command::Precharge, .. })), "{found:?}");
    let quick = Sdram { cas_latency: 2, ..SLOW };
    let mut bench = Bench::new(&verilator, &quick, &SLOW, 100_000_000, 64);
    let found = traffic(&mut bench, &SLOW, 64, 3, 1);
    assert!(matches!(found, Err(Violation::Unknown { .. })), "{found:?}");
}
