//! The tensor ALU as hardware computes what `tandem_isa::semantics` says, bit for bit.

use tandem_hw::alu::{self, ALU_LATENCY};
use tandem_isa::semantics::{self, RequantParam};
use tandem_isa::{AluOpcode, RequantMode};
use tandem_tests::block::{Block, Verilator};
use tandem_tests::random::Random;

const LANES: usize = 4;
const WORDS: [&str; 6] = ["left", "right", "bias", "multiplier", "shift", "post"];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Alu(AluOpcode),
    Requant(RequantMode, bool),
}

/// What enters in one cycle: the words of each lane in the order of [`WORDS`].
#[derive(Clone, Copy, Debug)]
struct Vector {
    operation: Operation,
    lanes: [[i32; 6]; LANES],
}

impl Vector {
    fn expected(&self) -> [i32; LANES] {
        self.lanes.map(|[left, right, bias, multiplier, shift, post]| match self.operation {
            Operation::Alu(opcode) => semantics::alu(opcode, left, right),
            Operation::Requant(mode, saturate) => {
                let param = RequantParam::from_words([bias, multiplier, shift, post]);
                semantics::requant(left, &param, mode, saturate)
            }
        })
    }

    fn apply(&self, block: &mut Block) {
        let (requant, opcode, mode, saturate) = match self.operation {
            Operation::Alu(opcode) => (0, opcode.code(), 3, 1),
            Operation::Requant(mode, saturate) => (1, 6, mode.code(), u32::from(saturate)),
        };
        for (port, value) in [("requant", requant), ("opcode", opcode), ("mode", mode), ("saturate", saturate)] {
            block.set(port, value.into());
        }
        for (at, port) in WORDS.iter().enumerate() {
            block.set_words(port, &self.lanes.map(|words| words[at] as u32));
        }
    }
}

/// Every operation, of a machine with the mode `float` or without it.
fn operations(float: bool) -> Vec<Operation> {
    let mut all: Vec<Operation> = AluOpcode::ALL.iter().copied().map(Operation::Alu).collect();
    for &mode in RequantMode::ALL.iter().filter(|&&mode| float || mode != RequantMode::Float) {
        all.extend([Operation::Requant(mode, false), Operation::Requant(mode, true)]);
    }
    all
}

/// A word that is often at an edge: near a power of two or small, of either sign.
fn word(random: &mut Random) -> i32 {
    let any = random.bits() as i32;
    match random.within(0, 6) {
        0 => any >> random.within(0, 32),
        1 => (1i32 << random.within(0, 32)).wrapping_add(random.within(0, 5) as i32 - 2),
        2 => (1i32 << random.within(0, 32)).wrapping_neg().wrapping_add(random.within(0, 5) as i32 - 2),
        3 => random.within(0, 200) as i32 - 100,
        4 => random.of(&[i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 1, 0, 1, -1, 31, 32, -31, -32, 62, 63]),
        _ => any,
    }
}

/// The bits of a multiplier of mode `float`: usual ones, and every kind of unusual one.
fn float_bits(random: &mut Random) -> i32 {
    let any = random.bits();
    let sign_and_fraction = any & 0x807f_ffff;
    let bits = match random.within(0, 8) {
        0 => any,
        // About as large as a scale, so that products have a fraction.
        1..=3 => sign_and_fraction | (90 + random.within(0, 45) as u32) << 23,
        // Few bits set, so that products are ties.
        4 => (any & 0x8060_0000) | (100 + random.within(0, 34) as u32) << 23,
        5 => random.of(&[0, 0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffff_ffff, 0x7f80_0001, 1]),
        6 => sign_and_fraction,
        _ => sign_and_fraction | (149 + random.within(0, 12) as u32) << 23,
    };
    bits as i32
}

fn lane(random: &mut Random, operation: Operation) -> [i32; 6] {
    let mut words = [0; 6].map(|_: i32| word(random));
    match operation {
        Operation::Alu(AluOpcode::Shr | AluOpcode::Rshr) if !random.once_in(4) => {
            words[1] = random.within(0, 72) as i32 - 36;
        }
        Operation::Alu(_) => {}
        Operation::Requant(mode, _) => {
            if mode == RequantMode::Float {
                words[3] = float_bits(random);
            }
            if !random.once_in(4) {
                words[4] = random.within(0, 140) as i32 - 70;
            }
            let most = random.of(&[1, 1, 1, 36, 36, 256]);
            words[5] = (random.bits() & 0x00ff_ffff | (random.within(0, most) as u32) << 24) as i32;
            if random.once_in(3) {
                words[2] = 0;
            }
            if random.once_in(4) && mode != RequantMode::Float {
                // A small product beside a shift that makes ties.
                words[0] = random.within(0, 64) as i32 - 32;
                words[3] = 1 << random.within(0, 31);
                words[4] = random.within(0, 34) as i32 - if mode == RequantMode::DoubleRounding { 31 } else { 0 };
            }
        }
    }
    words
}

/// Sends vectors, each after a gap that `gap` chooses, and compares everything that comes out, in every cycle.
fn check(block: &mut Block, vectors: impl Iterator<Item = Vector>, mut gap: impl FnMut() -> usize) -> usize {
    let (mut vectors, mut count, mut wait) = (vectors.peekable(), 0, 0);
    let mut under_way: std::collections::VecDeque<Option<Vector>> = vec![None; ALU_LATENCY as usize].into();
    block.set("valid", 0);
    while vectors.peek().is_some() || under_way.iter().any(Option::is_some) {
        let enters = if wait == 0 { vectors.next() } else { None };
        wait = if wait == 0 { gap() } else { wait - 1 };
        block.set("valid", enters.is_some().into());
        if let Some(vector) = &enters {
            vector.apply(block);
        }
        under_way.push_back(enters);
        block.clock();
        under_way.pop_front();
        let leaves = under_way[0];
        assert_eq!(block.get("result_valid") == 1, leaves.is_some(), "after {count} vectors");
        if let Some(vector) = leaves {
            let result = block.get_words("result");
            let expected = vector.expected().map(|lane| lane as u32);
            assert_eq!(result, expected, "{vector:x?}");
            count += 1;
        }
    }
    count
}

fn computes(float: bool) {
    let Some(verilator) = Verilator::find() else { return };
    let mut block = Block::build(&verilator, &alu::array(LANES as u32, float)).unwrap();
    let (operations, mut random, mut gaps) = (operations(float), Random::new(1), Random::new(2));
    let vectors = (0..100_000).map(|at| {
        let operation = operations[at % operations.len()];
        Vector { operation, lanes: [(); LANES].map(|()| lane(&mut random, operation)) }
    });
    // Long runs back to back, and stretches full of gaps.
    let mut sent = 0;
    let gap = || {
        sent += 1;
        if sent % 1000 < 700 { 0 } else { gaps.within(0, 4) }
    };
    assert_eq!(check(&mut block, vectors, gap), 100_000);
}

#[test]
fn the_tensor_alu_computes_what_the_semantics_say() {
    computes(true);
}

#[test]
fn a_tensor_alu_without_float_computes_the_same_in_the_other_modes() {
    computes(false);
}

#[test]
fn every_extreme_meets_every_extreme() {
    let Some(verilator) = Verilator::find() else { return };
    let mut block = Block::build(&verilator, &alu::array(LANES as u32, true)).unwrap();
    let words = [i32::MIN, i32::MIN + 1, -65536, -33, -32, -31, -2, -1, 0, 1, 2, 31, 32, 62, 63, 1 << 30, i32::MAX];
    let floats =
        [0x3f00_0000u32, 0xbf00_0000, 0x4e80_0000, 0xce80_0000, 0x4f00_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0001];
    let mut lanes: Vec<(Operation, [i32; 6])> = Vec::new();
    for operation in operations(true) {
        for left in words {
            match operation {
                Operation::Alu(_) => lanes.extend(words.map(|right| (operation, [left, right, 7, 7, 7, 7]))),
                Operation::Requant(RequantMode::Float, _) => {
                    let post = i32::from_le_bytes([3, 0x80, 0x7f, 0]);
                    let multipliers = floats.map(|bits| bits as i32).into_iter().chain(words);
                    lanes.extend(multipliers.map(|multiplier| (operation, [left, 9, 0, multiplier, 9, post])));
                }
                Operation::Requant(..) => {
                    for multiplier in words {
                        for shift in words {
                            let post = i32::from_le_bytes([0xf0, 0x90, 0x70, 0]);
                            lanes.push((operation, [left, 9, 0, multiplier, shift, post]));
                        }
                    }
                }
            }
        }
    }
    lanes.sort_by_key(|(operation, _)| format!("{operation:?}"));
    let vectors: Vec<Vector> = lanes
        .chunk_by(|a, b| format!("{:?}", a.0) == format!("{:?}", b.0))
        .flat_map(|same| same.chunks(LANES))
        .map(|chunk| Vector {
            operation: chunk[0].0,
            lanes: std::array::from_fn(|at| chunk.get(at).unwrap_or(&chunk[0]).1),
        })
        .collect();
    let count = vectors.len();
    assert_eq!(check(&mut block, vectors.into_iter(), || 0), count);
}

#[test]
fn registers_of_a_level_hold_while_nothing_passes() {
    let Some(verilator) = Verilator::find() else { return };
    let mut block = Block::build(&verilator, &alu::array(LANES as u32, true)).unwrap();
    let vector = Vector { operation: Operation::Alu(AluOpcode::Add), lanes: [[40, 2, 0, 0, 0, 0]; LANES] };
    assert_eq!(check(&mut block, [vector].into_iter(), || 0), 1);
    let mut random = Random::new(3);
    block.set("valid", 0);
    for _ in 0..3 * ALU_LATENCY {
        WORDS.iter().for_each(|port| block.set_words(port, &[(); LANES].map(|()| random.bits())));
        block.clock();
        assert_eq!(block.get("result_valid"), 0);
        assert_eq!(block.get_words("result"), [42; LANES]);
    }
    // What was on its way when reset came is lost.
    block.set("valid", 1);
    vector.apply(&mut block);
    block.clock();
    block.set("valid", 0);
    block.reset();
    for _ in 0..2 * ALU_LATENCY {
        block.clock();
        assert_eq!(block.get("result_valid"), 0);
    }
}

#[test]
fn the_tensor_alu_passes_the_linter() {
    let Some(verilator) = Verilator::find() else { return };
    for float in [false, true] {
        let module = alu::array(2, float);
        assert_eq!(verilator.lint(module.name(), &module.verilog(), &[]).unwrap(), "");
    }
}
