//! The bridge of a board at the two wires of its serial line: checked frames, what is no frame, plain commands.

use std::sync::Arc;

use tandem_hw::shell::{BOARD, Memory, Sdram, Shell, board_verilog};
use tandem_hw::{Target, cells};
use tandem_isa::{HwConfig, HwFacts, Reg};
use tandem_sim::board::{BoardModel, BoardOptions, BoardSim, Chip};
use tandem_sim::sdram::Model;
use tandem_sim::tsim::Variant;
use tandem_tests::block::Verilator;
use tandem_tests::random::Random;
use tandem_tests::sdram::NARROW;
use tandem_tests::tool;

const CLOCK: u32 = 24_000_000;
const BAUD: u32 = 3_000_000;
const BORDER: u8 = 0xc0;
const WRITE: u8 = 0x11;
const READ: u8 = 0x12;
const SHELL: u32 = 0xf000_1000 / 4;
const REGISTERS: u32 = 0xf000_0000 / 4;
const MEMORY_BYTES: u32 = 1 << 16;
const NOTHING: [u8; 0] = [];

/// The least machine, on a bus of 64 bits.
fn machine(sequential: bool, dram_bits: u32) -> HwConfig {
    let facts = HwFacts {
        name: None,
        uop_buffer_bytes: 512,
        inp_buffer_bytes: 1024,
        wgt_buffer_bytes: 2048,
        acc_buffer_bytes: 2048,
        dram_bits,
        alu_lanes: Some(1),
        float_requant: false,
        counters: false,
        ..HwConfig::preset("tiny").unwrap().facts().clone()
    };
    let facts = if sequential { HwFacts { insn_queue_depth: 0, ..facts } } else { facts };
    HwConfig::new(facts).unwrap()
}

/// The CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// What stands between two borders.
fn escaped(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![BORDER];
    for &byte in content {
        match byte {
            BORDER => bytes.extend([0xdb, 0xdc]),
            0xdb => bytes.extend([0xdb, 0xdd]),
            _ => bytes.push(byte),
        }
    }
    bytes.push(BORDER);
    bytes
}

fn with_crc(mut content: Vec<u8>) -> Vec<u8> {
    content.extend(crc32(&content).to_be_bytes());
    content
}

fn frame(kind: u8, seq: u8, count: usize, address: u32, words: &[u32]) -> Vec<u8> {
    let mut content = vec![kind, seq, count as u8];
    content.extend(address.to_be_bytes());
    content.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    escaped(&with_crc(content))
}

/// The contents of the chunks of a line, `None` where an escape is wrong.
fn chunks(line: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    for chunk in line.split(|&byte| byte == BORDER).filter(|chunk| !chunk.is_empty()) {
        let (mut content, mut bytes) = (Some(Vec::new()), chunk.iter());
        while let Some(&byte) = bytes.next() {
            let byte = match byte {
                0xdb => match bytes.next() {
                    Some(0xdc) => Some(BORDER),
                    Some(0xdd) => Some(0xdb),
                    _ => None,
                },
                other => Some(other),
            };
            content = content.zip(byte).map(|(mut content, byte)| {
                content.push(byte);
                content
            });
        }
        found.push(content);
    }
    found
}

/// Whether a chunk is a request: the rules of the protocol, written once more.
fn request(content: &Option<Vec<u8>>) -> Option<(u8, u8, usize, u32, Vec<u32>)> {
    let content = content.as_ref()?;
    let (head, sum) = content.split_at_checked(content.len().checked_sub(4)?)?;
    let (&[kind, seq, count, a, b, c, d], data) = head.split_first_chunk::<7>()?;
    let words: Vec<u32> =
        data.chunks(4).map(|word| word.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte))).collect();
    let expected = if kind == WRITE { 4 * usize::from(count) } else { 0 };
    let good = [WRITE, READ].contains(&kind) && (1..=64).contains(&count) && data.len() == expected;
    (good && crc32(head).to_be_bytes() == sum)
        .then(|| (kind, seq, count.into(), u32::from_be_bytes([a, b, c, d]), words))
}

/// A board and its line.
struct Bench {
    board: BoardSim,
    seq: u8,
}

impl Bench {
    fn new(config: &HwConfig, memory: Memory, cells: &str, baud: u64, chip: Option<Box<dyn Chip>>) -> Option<Bench> {
        let tools = tool::verilator()?;
        let shell = Shell { clock_hz: CLOCK, baud: BAUD, leds: 5, memory };
        let verilog = board_verilog(config, &Target::default(), &shell).unwrap();
        let cache = tool::cache().join("models");
        let model = BoardModel::build(&verilog, cells, &tools, &cache, Variant::default(), &mut |_| {}).unwrap();
        let options = BoardOptions { scramble: Some(3), ..BoardOptions::new(CLOCK.into(), baud) };
        Some(Bench { board: BoardSim::new(Arc::clone(&model), options, chip).unwrap(), seq: 0 })
    }

    fn small() -> Option<Bench> {
        Bench::new(&machine(true, 16), Memory::BlockRam { bytes: MEMORY_BYTES }, "", BAUD.into(), None)
    }

    /// What comes back for these bytes until the line has been silent for a while.
    fn line(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.board.send(bytes);
        let mut quiet = 0;
        let mut received = Vec::new();
        while quiet < 4 {
            self.board.run(1000).unwrap();
            let new = self.board.received();
            quiet = if new.is_empty() && self.board.sending() == 0 && !self.board.receiving() { quiet + 1 } else { 0 };
            received.extend(new);
        }
        assert_eq!(self.board.framing_errors(), 0);
        received
    }

    /// The one reply to these bytes, without its CRC.
    fn reply(&mut self, bytes: &[u8]) -> Vec<u8> {
        let line = self.line(bytes);
        let replies = chunks(&line);
        let [Some(reply)] = replies.as_slice() else { panic!("{line:02x?} is not one reply") };
        let (content, sum) = reply.split_at(reply.len() - 4);
        assert_eq!(crc32(content).to_be_bytes(), sum, "{line:02x?}");
        content.to_vec()
    }

    fn next(&mut self) -> u8 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    fn write(&mut self, address: u32, words: &[u32]) {
        let seq = self.next();
        assert_eq!(self.reply(&frame(WRITE, seq, words.len(), address, words)), [WRITE | 0x80, seq, 0]);
    }

    fn read(&mut self, address: u32, count: usize) -> Vec<u32> {
        let seq = self.next();
        let reply = self.reply(&frame(READ, seq, count, address, &[]));
        let (head, data) = reply.split_at(3);
        assert_eq!(head, [READ | 0x80, seq, 0], "{reply:02x?}");
        assert_eq!(data.len(), 4 * count);
        data.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect()
    }
}

/// Words in which borders and escapes are frequent.
fn awkward(random: &mut Random, count: usize) -> Vec<u32> {
    let mut byte = || {
        let any = random.bits() as u8;
        random.of(&[BORDER, 0xdb, 0xdc, 0xdd, any, any])
    };
    (0..count).map(|_| u32::from_be_bytes([byte(), byte(), byte(), byte()])).collect()
}

#[test]
fn frames_read_what_frames_have_written() {
    let Some(mut bench) = Bench::small() else { return };
    let mut random = Random::new(1);
    let mut memory = vec![None; MEMORY_BYTES as usize / 4];
    for number in 0..60 {
        let count = random.of(&[1, 2, 63, 64, 5]);
        let end = memory.len() - count;
        let address = [0, end, random.within(0, end)][random.within(0, 3)];
        if number % 2 == 0 {
            let words = awkward(&mut random, count);
            bench.write(address as u32, &words);
            memory[address..address + count].iter_mut().zip(words).for_each(|(old, new)| *old = Some(new));
        } else {
            let words = bench.read(address as u32, count);
            for (word, known) in words.iter().zip(&memory[address..]) {
                assert!(known.is_none_or(|known| known == *word), "from word {address} on");
            }
        }
    }
}

#[test]
fn the_shell_tells_what_it_is_and_registers_are_the_cores() {
    let config = machine(true, 16);
    let Some(mut bench) = Bench::small() else { return };
    assert_eq!(bench.read(SHELL, 8), [0x5444_4d31, 0x0001_0000, MEMORY_BYTES, CLOCK, BAUD, 0, 0, 0]);
    assert_eq!(bench.read(REGISTERS + Reg::ConfigDigest.offset() / 4, 1), [config.digest()]);
    let address = REGISTERS + Reg::InsnAddr.offset() / 4;
    bench.write(address, &[0x1200]);
    assert_eq!(bench.read(address, 1), [0x1200]);
    // The heartbeat and the host alone shine on an idle machine.
    assert_eq!(bench.board.leds() & 0b01110, 0);
}

#[test]
fn addresses_of_nothing_are_named_and_read_nothing() {
    let Some(mut bench) = Bench::small() else { return };
    let beyond = MEMORY_BYTES / 4;
    for address in [beyond, beyond - 1, 0x3fff_ffff, SHELL + 0x400, 0x2000_0000] {
        let count = if address == beyond - 1 { 2 } else { 1 };
        assert_eq!(bench.reply(&frame(READ, 9, count, address, &[])), [READ | 0x80, 9, 2], "{address:#x}");
        let words = vec![7; count];
        assert_eq!(bench.reply(&frame(WRITE, 10, count, address, &words)), [WRITE | 0x80, 10, 2], "{address:#x}");
    }
    bench.write(0, &[0x600d]);
    assert_eq!(bench.read(0, 1), [0x600d]);
}

#[test]
fn a_damaged_frame_writes_nothing_and_the_next_one_is_understood() {
    let Some(mut bench) = Bench::small() else { return };
    let mut random = Random::new(2);
    bench.write(0, &[0; 64]);
    let mut memory = bench.read(0, 64);
    let (mut refusals, mut executed) = (0, 0);
    for number in 0..250 {
        let count = random.within(1, 9);
        let (at, words) = (random.within(0, 56), awkward(&mut random, count));
        let seq = bench.next();
        let mut line = match random.once_in(5) {
            true => frame(READ, seq, count, at as u32, &[]),
            false => frame(WRITE, seq, count, at as u32, &words),
        };
        for _ in 0..random.within(1, 3) {
            let place = random.within(0, line.len());
            match random.within(0, 4) {
                0 => drop(line.remove(place)),
                1 => line.insert(place, line[place]),
                2 => line[place] ^= 1 << random.within(0, 8),
                _ => line.insert(place, random.bits() as u8),
            }
        }
        if number % 16 == 0 {
            // Well protected and wrong all the same.
            let content = random.of(&[
                vec![WRITE, seq, 0, 0, 0, 0, 0],
                vec![WRITE, seq, 65, 0, 0, 0, 0],
                vec![0x13, seq, 1, 0, 0, 0, 0],
                vec![READ, seq, 1, 0, 0, 0],
                vec![READ, seq, 1, 0, 0, 0, 0, 0],
                vec![WRITE, seq, 2, 0, 0, 0, 0, 1, 2, 3, 4],
            ]);
            line = escaped(&with_crc(content));
        }
        // Two borders after it end whatever it leaves open; before it the board is between frames.
        line.extend([BORDER; 2]);
        // While a chunk is answered, what follows is lost: a line that breaks into several says less than it could.
        let first = line.iter().position(|&byte| byte == BORDER).unwrap_or(line.len());
        let pieces = chunks(&line[first..]);
        let sent = line.clone();
        let answer = bench.line(&line);
        let replies = chunks(&answer);
        if pieces.len() == 1 {
            match request(&pieces[0]) {
                Some((kind, seq, count, address, words)) => {
                    executed += 1;
                    let begins = [kind | 0x80, seq];
                    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().starts_with(&begins)), "{sent:02x?}");
                    if kind == WRITE && (address as usize) < 64 {
                        memory[address as usize..][..count].copy_from_slice(&words);
                    }
                }
                None => {
                    refusals += 1;
                    let refused = with_crc(vec![0xff, 0, 0xee]);
                    assert_eq!(replies, [Some(refused)], "{sent:02x?}");
                }
            }
        }
        assert_eq!(bench.read(0, 64), memory, "after {sent:02x?}");
    }
    assert!(refusals > 100 && executed > 3, "{refusals} refused, {executed} executed");
    assert!(bench.read(SHELL + 5, 1)[0] >= refusals & 0xff);
}

#[test]
fn a_write_that_is_sent_again_is_answered_and_not_executed_again() {
    let Some(mut bench) = Bench::small() else { return };
    // Letting plain commands in can be seen to happen: the next good frame shuts them out.
    let unlock = frame(WRITE, 77, 1, SHELL + 6, &[1]);
    let plain = |value: u8| [1, 1, 0, 0, 0, 0, 0, 0, 0, value];
    let answer = [WRITE | 0x80, 77, 0];
    bench.write(0, &[1]);
    assert_eq!(bench.reply(&unlock), answer);
    assert_eq!(bench.line(&plain(2)), NOTHING);
    assert_eq!(bench.line(&[2, 1, 0, 0, 0, 0]), [0, 0, 0, 2]);
    assert_eq!(bench.reply(&unlock), answer, "the same once more");
    assert_eq!(bench.line(&plain(3)), NOTHING);
    assert_eq!(bench.reply(&unlock), answer, "and once more");
    // A refused frame between them changes nothing.
    assert_eq!(bench.reply(&[BORDER, 1, BORDER]), [0xff, 0, 0xee]);
    assert_eq!(bench.reply(&unlock), answer);
    assert_eq!(bench.line(&plain(4)), NOTHING);
    assert_eq!(bench.read(0, 1), [2]);
    // After a read it is a new one; so is one with another number or other words.
    assert_eq!(bench.reply(&unlock), answer);
    assert_eq!(bench.line(&plain(5)), NOTHING);
    assert_eq!(bench.line(&[2, 1, 0, 0, 0, 0]), [0, 0, 0, 5]);
    assert_eq!(bench.reply(&frame(WRITE, 78, 1, SHELL + 6, &[1])), [WRITE | 0x80, 78, 0]);
    assert_eq!(bench.line(&plain(6)), NOTHING);
    assert_eq!(bench.reply(&frame(WRITE, 78, 1, SHELL + 6, &[3])), [WRITE | 0x80, 78, 0]);
    assert_eq!(bench.line(&plain(7)), NOTHING);
    assert_eq!(bench.line(&[2, 1, 0, 0, 0, 0]), [0, 0, 0, 7]);
    // The status of a failed write is told again.
    let lost = frame(WRITE, 79, 1, 0x2000_0000, &[1]);
    assert_eq!(bench.reply(&lost), [WRITE | 0x80, 79, 2]);
    assert_eq!(bench.reply(&lost), [WRITE | 0x80, 79, 2]);
}

#[test]
fn plain_commands_write_and_read_until_a_frame_comes() {
    let Some(mut bench) = Bench::small() else { return };
    assert_eq!(bench.line(&[2, 2, 0x3c, 0, 4, 0]), [0x54, 0x44, 0x4d, 0x31, 0, 1, 0, 0]);
    // Words that look like borders and commands, and as many as there can be.
    let mut random = Random::new(4);
    let words = awkward(&mut random, 255);
    let data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    assert_eq!(bench.line(&[vec![1, 255, 0, 0, 0x12, 0x34], data.clone()].concat()), NOTHING);
    assert_eq!(bench.line(&[2, 255, 0, 0, 0x12, 0x34]), data);
    // The same address again and again.
    assert_eq!(bench.line(&[3, 2, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]), NOTHING);
    assert_eq!(bench.line(&[4, 3, 0, 0, 0, 8]), [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8]);
    // Bytes that begin nothing, and a command of no words.
    assert_eq!(bench.line(&[0, 5, 9, 0x55, 2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 8]), [5, 6, 7, 8]);
    // A command that stops in the middle is forgotten, not the one that comes much later.
    for cut in [&[1, 2, 0, 0][..], &[1, 2, 0, 0, 0, 8, 9, 9, 9, 9, 9], &[4]] {
        assert_eq!(bench.line(cut), NOTHING);
        bench.board.run(1 << 22).unwrap();
    }
    assert_eq!(bench.line(&[2, 1, 0, 0, 0, 8]), [9; 4], "its first word was complete");
    assert_eq!(bench.read(0x1234, 3), words[..3]);
    assert_eq!(bench.line(&[4, 1, 0, 0, 0, 8]), NOTHING, "shut out");
    bench.write(SHELL + 6, &[1]);
    assert_eq!(bench.line(&[4, 1, 0, 0, 0, 8]), [9, 9, 9, 9]);
}

#[test]
fn a_host_two_percent_off_is_understood() {
    let memory = || Memory::BlockRam { bytes: MEMORY_BYTES };
    for baud in [2_940_000, 3_060_000] {
        let Some(mut bench) = Bench::new(&machine(true, 16), memory(), "", baud, None) else { return };
        let words = awkward(&mut Random::new(baud), 64);
        bench.write(3, &words);
        assert_eq!(bench.read(3, 64), words, "{baud}");
    }
}

#[test]
fn single_port_ram_is_memory() {
    let Some(mut bench) = Bench::new(&machine(true, 17), Memory::Spram, cells::ICE40, BAUD.into(), None) else {
        return;
    };
    assert_eq!(bench.read(SHELL + 2, 1), [128 << 10]);
    let words = awkward(&mut Random::new(5), 64);
    for address in [0, 1, (128 << 10) / 4 - 64] {
        bench.write(address, &words);
        assert_eq!(bench.read(address, 64), words);
    }
    bench.write(2, &[1]);
    assert_eq!(bench.read(1, 3), [words[0], 1, words[2]]);
}

/// A small chip of SDRAM, as far as its addresses go.
fn chip() -> Sdram {
    Sdram { row_bits: 11, column_bits: 8, t_refi: 15_625_000, t_init: 100_000_000, ..NARROW }
}

#[test]
fn sdram_is_memory() {
    let (chip, config) = (chip(), machine(false, 22));
    let model = Box::new(Model::new(&chip, CLOCK));
    let Some(mut bench) = Bench::new(&config, Memory::Sdram(chip), "", BAUD.into(), Some(model)) else { return };
    // A request that comes while the chip wakes up waits.
    assert_eq!(bench.read(SHELL + 2, 1), [4 << 20]);
    let mut random = Random::new(6);
    for address in [0, 1, 127, 128, (4 << 20) / 4 - 64] {
        let words = awkward(&mut random, 64);
        bench.write(address, &words);
        assert_eq!(bench.read(address, 64), words);
    }
    assert_eq!(bench.reply(&frame(READ, 200, 1, (4 << 20) / 4, &[])), [READ | 0x80, 200, 2]);
}

#[test]
fn the_linter_finds_nothing() {
    let Some(verilator) = Verilator::find() else { return };
    let sequential = machine(true, 22);
    let boards = [
        (machine(true, 17), Memory::Spram),
        (machine(false, 22), Memory::Spram),
        (sequential.clone(), Memory::BlockRam { bytes: 1 << 14 }),
        (machine(false, 22), Memory::BlockRam { bytes: 1 << 14 }),
        (sequential, Memory::Sdram(chip())),
        (machine(false, 22), Memory::Sdram(Sdram { masks: false, ..chip() })),
    ];
    for (config, memory) in boards {
        let what = format!("{memory:?}");
        let shell = Shell { clock_hz: CLOCK, baud: BAUD, leds: 5, memory };
        let verilog = board_verilog(&config, &Target::default(), &shell).unwrap() + cells::ICE40;
        // Outputs of the core that only a simulator looks at are open on purpose, and the text has more cells than are used.
        let options = ["-Wno-PINCONNECTEMPTY", "-Wno-MULTITOP"];
        assert_eq!(verilator.lint(BOARD, &verilog, &options).unwrap(), "", "{what}");
    }
}
