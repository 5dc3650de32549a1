//! The SDRAM controller against the model of a chip: data, times, refreshes, and faults that the model has to name.

use tandem_hw::shell::Sdram;
use tandem_hw::shell::sdram::sdram;
use tandem_sim::sdram::{Model, Pins};
use tandem_tests::block::{Block, Verilator};
use tandem_tests::random::Random;

/// Words of the longest command.
const BURST: usize = 16;

/// A chip of 16 bits and four banks; its initialisation is short, for tests.
fn narrow() -> Sdram {
    Sdram {
        data_bits: 16,
        row_bits: 13,
        column_bits: 9,
        bank_bits: 2,
        cas_latency: 3,
        capture_delay: 0,
        t_rcd: 20_000,
        t_rp: 20_000,
        t_ras: 45_000,
        t_rc: 67_500,
        t_rfc: 70_000,
        t_wr: 15_000,
        t_mrd: 40_000,
        t_refi: 7_812_500,
        t_init: 2_000_000,
    }
}

/// A chip of 32 bits.
fn wide() -> Sdram {
    Sdram { data_bits: 32, row_bits: 11, column_bits: 8, t_rc: 65_000, t_refi: 15_625_000, ..narrow() }
}

/// A command and, for a write, its words with masks.
#[derive(Clone, Debug)]
struct Command {
    address: usize,
    beats: usize,
    words: Option<Vec<(u64, u8)>>,
}

struct Bench {
    block: Block,
    model: Model,
    /// The content as it should be, in words of 64 bits.
    expected: Vec<u64>,
    cycle: u64,
}

/// What a command gave.
struct Outcome {
    words: Vec<u64>,
    /// Cycles from the one in which the command was taken to the first and last word.
    first: u64,
    last: u64,
}

impl Bench {
    fn new(verilator: &Verilator, built: &Sdram, real: &Sdram, clock_hz: u32) -> Bench {
        let block = Block::build(verilator, &sdram(built, clock_hz)).unwrap();
        let words = (real.bytes() / 8) as usize;
        Bench { block, model: Model::new(real, clock_hz), expected: vec![0; words], cycle: 0 }
    }

    /// The chip sees the pins, and the controller gets a clock.
    fn clock(&mut self) {
        let block = &mut self.block;
        let [cke, cs_n, ras_n, cas_n, we_n, dq_oe] =
            ["cke", "cs_n", "ras_n", "cas_n", "we_n", "dq_oe"].map(|pin| block.get(&format!("sdram_{pin}")) != 0);
        let [ba, a, dqm, dq_out] = ["ba", "a", "dqm", "dq_out"].map(|pin| block.get(&format!("sdram_{pin}")) as u32);
        let dq = self.model.step(&Pins { cke, cs_n, ras_n, cas_n, we_n, ba, a, dqm, dq_out, dq_oe });
        let width = block.width("sdram_dq_in");
        block.set("sdram_dq_in", (dq.value & (u32::MAX >> (32 - width))).into());
        block.clock();
        self.cycle += 1;
    }

    /// Runs a command to its end. The words of a write come late once in `stall` cycles, if that is not 0.
    fn run(&mut self, command: &Command, random: &mut Random, stall: usize) -> Outcome {
        let writes = command.words.is_some();
        self.block.set("valid", 1);
        self.block.set("write", writes.into());
        self.block.set("address", command.address as u128);
        self.block.set("beats", command.beats as u128);
        self.block.set("wvalid", 0);
        self.block.eval();
        self.wait("ready");
        let taken = self.cycle;
        self.clock();
        self.block.set("valid", 0);
        let mut outcome = Outcome { words: Vec::new(), first: 0, last: 0 };
        if let Some(words) = &command.words {
            for &(word, strobe) in words {
                while stall > 0 && random.once_in(stall) {
                    self.block.set("wvalid", 0);
                    self.block.set("wdata", random.bits().into());
                    self.block.eval();
                    assert_eq!(self.block.get("wnext"), 0, "a word is taken that is not there");
                    self.clock();
                }
                self.block.set("wvalid", 1);
                self.block.set("wdata", word.into());
                self.block.set("wstrb", strobe.into());
                self.block.eval();
                self.wait("wnext");
                self.clock();
            }
            self.block.set("wvalid", 0);
            self.block.eval();
            for (at, &(word, strobe)) in words.iter().enumerate() {
                let mask =
                    (0..8).filter(|byte| strobe >> byte & 1 != 0).fold(0, |mask, byte| mask | 0xffu64 << (8 * byte));
                let kept = &mut self.expected[command.address + at];
                *kept = *kept & !mask | word & mask;
            }
            return outcome;
        }
        self.block.eval();
        while outcome.words.len() < command.beats {
            self.wait("rvalid");
            if outcome.words.is_empty() {
                outcome.first = self.cycle - taken;
            }
            outcome.words.push(self.block.get("rdata") as u64);
            let last = outcome.words.len() == command.beats;
            assert_eq!(self.block.get("rlast") != 0, last, "word {} of {}", outcome.words.len(), command.beats);
            outcome.last = self.cycle - taken;
            self.clock();
        }
        outcome
    }

    fn wait(&mut self, port: &str) {
        let since = self.cycle;
        while self.block.get(port) == 0 {
            assert!(self.cycle - since < 100_000, "{port} does not come");
            self.clock();
        }
    }

    fn rest(&mut self, cycles: usize) {
        for _ in 0..cycles {
            self.clock();
        }
    }

    /// A command that likes to come back to a few rows.
    fn random(&self, random: &mut Random) -> Command {
        let words = self.expected.len();
        let beats = if random.once_in(2) { 1 } else { random.within(1, BURST + 1) };
        let within = random.within(0, BURST + 1 - beats);
        // A row has 128 words in every bank of every chip here.
        let row = random.of(&[0, 1, 2, 5, 7, words / 512 - 1, words / 512 / 2]);
        let block = random.within(0, 512 / BURST);
        let address = row * 512 + block * BURST + within;
        let words = random.once_in(2).then(|| {
            let word = |random: &mut Random| u64::from(random.bits()) << 32 | u64::from(random.bits());
            (0..beats).map(|_| (word(random), if random.once_in(2) { 0xff } else { random.bits() as u8 })).collect()
        });
        Command { address, beats, words }
    }

    /// Commands at random; the words read have to be those written.
    fn traffic(&mut self, commands: usize, random: &mut Random) {
        for _ in 0..commands {
            let command = self.random(random);
            let outcome = self.run(&command, random, 6);
            if command.words.is_none() {
                let expected = &self.expected[command.address..command.address + command.beats];
                assert_eq!(outcome.words, expected, "{command:?}");
            }
            if random.once_in(4) {
                let cycles = random.within(0, 40);
                self.rest(cycles);
            }
        }
        // What was written last is still on its way to the chip.
        self.wait("idle");
        self.rest(2);
    }

    /// Whether refreshes come at the rate that the chip asks for, and no oftener.
    fn refreshes_right(&self, real: &Sdram, clock_hz: u32) {
        let counts = self.model.counts();
        let interval = f64::from(real.t_refi) * 1e-12 * f64::from(clock_hz);
        let asked = counts.cycles as f64 / interval;
        // Eight more to begin with, and the interval is a whole number of cycles.
        let given = counts.refreshes as f64 - 8.0;
        assert!((given - asked).abs() <= 2.0 + asked * 0.02, "{given} refreshes where {asked} are asked for");
    }
}

#[test]
fn data_of_random_traffic_are_right_and_no_time_is_violated() {
    let Some(verilator) = Verilator::find() else { return };
    let mut seed = 0;
    for chip in [narrow(), wide()] {
        for (clock_hz, cas_latency, capture_delay) in
            [(24_000_000, 2, 0), (60_000_000, 3, 0), (100_000_000, 2, 1), (133_000_000, 3, 1)]
        {
            seed += 1;
            let chip = Sdram { cas_latency, capture_delay, ..chip.clone() };
            let mut bench = Bench::new(&verilator, &chip, &chip, clock_hz);
            bench.traffic(500, &mut Random::new(seed));
            let what = format!("{} bits, {clock_hz} Hz, CAS {cas_latency}", chip.data_bits);
            assert_eq!(bench.model.violation(), None, "{what}");
            bench.refreshes_right(&chip, clock_hz);
            let counts = bench.model.counts();
            assert!(counts.refreshes > 20 && counts.activates > 100, "{what}: {counts:?}");
            let content = bench.model.bytes().chunks_exact(8);
            assert!(
                content.zip(&bench.expected).all(|(bytes, word)| bytes == word.to_le_bytes()),
                "{what}: the content of the chip"
            );
        }
    }
}

#[test]
fn an_open_row_streams_a_part_a_cycle() {
    let Some(verilator) = Verilator::find() else { return };
    for (chip, parts) in [(narrow(), 4), (wide(), 2)] {
        let mut bench = Bench::new(&verilator, &chip, &chip, 100_000_000);
        let random = &mut Random::new(1);
        let mut read = |bench: &mut Bench, address| {
            let outcome = bench.run(&Command { address, beats: BURST, words: None }, random, 0);
            (outcome.first, outcome.last)
        };
        read(&mut bench, 0);
        let (latency, words) = (4 + u64::from(chip.cas_latency) + parts, 15 * parts);
        assert_eq!(read(&mut bench, 16), (latency, latency + words), "row open");
        // Another bank, and then another row of it.
        let row = 1024 / 8;
        assert_eq!(read(&mut bench, row), (latency + 2, latency + 2 + words), "row closed");
        assert_eq!(read(&mut bench, row + 4 * row), (latency + 4, latency + 4 + words), "another row open");
        assert_eq!(bench.model.violation(), None);
    }
}

#[test]
fn refreshes_go_on_while_nothing_or_a_word_to_write_comes() {
    let Some(verilator) = Verilator::find() else { return };
    let chip = wide();
    let mut bench = Bench::new(&verilator, &chip, &chip, 50_000_000);
    bench.rest(50_000);
    assert_eq!(bench.model.violation(), None);
    // A write of two words whose second does not come for a long time, in the row that was open before.
    bench.block.set("valid", 1);
    bench.block.set("write", 1);
    bench.block.set("address", 6);
    bench.block.set("beats", 2);
    bench.block.set("wvalid", 1);
    bench.block.set("wstrb", 0xff);
    bench.block.set("wdata", 11);
    bench.block.eval();
    bench.wait("ready");
    bench.clock();
    bench.block.set("valid", 0);
    bench.block.eval();
    bench.wait("wnext");
    bench.clock();
    bench.block.set("wvalid", 0);
    bench.rest(50_000);
    bench.block.set("wvalid", 1);
    bench.block.set("wdata", 12);
    bench.block.eval();
    bench.wait("wnext");
    bench.clock();
    bench.block.set("wvalid", 0);
    bench.rest(20);
    assert_eq!(bench.block.get("idle"), 1);
    assert_eq!(bench.model.violation(), None);
    bench.refreshes_right(&chip, 50_000_000);
    let word = |at: usize| u64::from_le_bytes(bench.model.bytes()[8 * at..8 * at + 8].try_into().unwrap());
    assert_eq!((word(6), word(7)), (11, 12));
}

#[test]
fn parts_without_a_byte_to_write_are_no_commands() {
    let Some(verilator) = Verilator::find() else { return };
    let chip = wide();
    let mut bench = Bench::new(&verilator, &chip, &chip, 60_000_000);
    let random = &mut Random::new(5);
    let word = 0x1122_3344_5566_7788;
    bench.run(&Command { address: 3, beats: 1, words: Some(vec![(word, 0xf0)]) }, random, 0);
    bench.run(&Command { address: 4, beats: 2, words: Some(vec![(word, 0), (word, 0x0f)]) }, random, 0);
    bench.rest(20);
    assert_eq!(bench.model.counts().writes, 2);
    assert_eq!(bench.model.violation(), None);
}

/// A controller built for one chip and connected to another; what the model says of it.
fn fault(verilator: &Verilator, built: &Sdram, real: &Sdram) -> String {
    let mut bench = Bench::new(verilator, built, real, 100_000_000);
    let mut random = Random::new(9);
    for _ in 0..3_000 {
        if bench.model.violation().is_some() {
            break;
        }
        let command = bench.random(&mut random);
        bench.run(&command, &mut random, 0);
    }
    bench.model.violation().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn a_controller_with_a_time_too_short_is_found_out_by_name() {
    let Some(verilator) = Verilator::find() else { return };
    // Long times, where the controller's own steps take as long as those of a real chip.
    let real = Sdram { t_wr: 80_000, t_ras: 120_000, t_rc: 140_000, t_mrd: 80_000, ..wide() };
    let faults = [
        ("tRCD", Sdram { t_rcd: 10_000, ..real.clone() }, real.clone()),
        ("tRP", Sdram { t_rp: 10_000, ..real.clone() }, real.clone()),
        ("tRAS", Sdram { t_ras: 50_000, t_rc: 60_000, ..real.clone() }, real.clone()),
        ("tRC", real.clone(), Sdram { t_rc: 200_000, ..real.clone() }),
        ("tRFC", Sdram { t_rfc: 60_000, ..real.clone() }, real.clone()),
        ("tWR", Sdram { t_wr: 20_000, ..real.clone() }, real.clone()),
        ("tMRD", Sdram { t_mrd: 10_000, ..real.clone() }, real.clone()),
        ("tREFI", Sdram { t_refi: 20_000_000, ..real.clone() }, real.clone()),
        ("tINIT", Sdram { t_init: 1_900_000, ..real.clone() }, real.clone()),
        ("0x20", Sdram { cas_latency: 2, ..real.clone() }, real.clone()),
    ];
    assert_eq!(fault(&verilator, &real, &real), "");
    for (name, built, real) in faults {
        let said = fault(&verilator, &built, &real);
        assert!(said.split([' ', ':']).any(|word| word == name), "{name}: {said:?}");
    }
}
