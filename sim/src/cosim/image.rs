//! The DRAM image of a random program: micro-ops, data to load, and room for stores.

use tandem_isa::{HwConfig, MemoryType, Program, RequantMode, RequantParam, Role, Section};

use super::Random;

/// How a program's memory is divided, in bytes.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// For micro-ops; they come first.
    uops: usize,
    /// Data to load, behind the micro-ops. It begins with requantisation parameters.
    data: usize,
    /// For stores, behind the data.
    out: usize,
}

impl Room {
    fn of(config: &HwConfig) -> Room {
        match is_small(config) {
            true => Room { uops: 4 << 10, data: 12 << 10, out: 6 << 10 },
            false => Room { uops: 8 << 10, data: 88 << 10, out: 48 << 10 },
        }
    }
}

/// Whether the machine reaches so little memory that programs must be small, and cannot stay while others run.
pub(super) fn is_small(config: &HwConfig) -> bool {
    config.facts().dram_bits < 22
}

/// Sets of four accumulators with requantisation parameters.
const PARAM_SETS: u32 = 12;

/// The image while its program is made.
pub(super) struct Image {
    uops: Vec<u8>,
    data: Vec<u8>,
    out: Vec<u8>,
    stored: Vec<Stored>,
    room: Room,
}

/// Bytes that a store has written, and when.
#[derive(Clone, Copy, Debug)]
struct Stored {
    start: u64,
    end: u64,
    step: i64,
}

impl Image {
    pub fn new(config: &HwConfig, random: &mut Random) -> Image {
        let room = Room::of(config);
        let mut data = vec![0; room.data];
        for chunk in data.as_chunks_mut::<8>().0 {
            *chunk = random.next().to_le_bytes();
        }
        // Words of small magnitude now and then, so that shifts and clamps see more than extremes.
        for word in data.as_chunks_mut::<4>().0 {
            match random.below(6) {
                0 | 1 => *word = (random.below(2000) as i32 - 1000).to_le_bytes(),
                2 => *word = (random.below(200) as i32 - 100).to_le_bytes(),
                _ => {}
            }
        }
        let lanes = config.out_elem_bytes();
        for set in 0..PARAM_SETS {
            for lane in 0..lanes {
                let words = param(random, flavour(set), set >= 8).to_words();
                for (row, word) in words.into_iter().enumerate() {
                    let at = ((set as usize * 4 + row) * lanes + lane) * 4;
                    if let Some(to) = data.get_mut(at..at + 4) {
                        to.copy_from_slice(&word.to_le_bytes());
                    }
                }
            }
        }
        let fill = random.next();
        let out = (0..room.out).map(|at| (at as u64).wrapping_mul(fill | 1).to_le_bytes()[3]).collect();
        Image { uops: Vec::new(), data, out, stored: Vec::new(), room }
    }

    /// Puts micro-ops into the image; gives the DRAM index of the first. None where there is no room.
    pub fn push_uops(&mut self, words: &[u32]) -> Option<u32> {
        let at = self.uops.len();
        if at + words.len() * 4 > self.room.uops {
            return None;
        }
        self.uops.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        Some(at as u32 / 4)
    }

    /// First and one past the last element of the data, requantisation parameters included.
    pub fn data(config: &HwConfig, memory_type: MemoryType) -> (u32, u32) {
        let (elem, Room { uops, data, .. }) = (config.elem_bytes(memory_type), Room::of(config));
        ((uops / elem) as u32, ((uops + data) / elem) as u32)
    }

    /// First and one past the last element of the room for stores.
    pub fn out(config: &HwConfig) -> (u32, u32) {
        let (elem, Room { uops, data, out }) = (config.out_elem_bytes(), Room::of(config));
        (((uops + data) / elem) as u32, ((uops + data + out) / elem) as u32)
    }

    /// The first ACC element in DRAM of a random set of requantisation parameters, and the mode that it suits.
    pub fn param_set(config: &HwConfig, random: &mut Random) -> (u32, RequantMode) {
        let set = random.below(PARAM_SETS);
        let (first, _) = Image::data(config, MemoryType::Acc);
        (first + 4 * set, flavour(set))
    }

    /// Notes what a store writes.
    pub fn note(&mut self, start: u64, end: u64, step: i64) {
        self.stored.push(Stored { start, end, step });
    }

    /// A range of elements that stores up to a step have written and later ones have not touched, at most `most` long.
    pub fn stored(&self, random: &mut Random, elem: u64, horizon: i64, most: u32) -> Option<(u32, u32)> {
        let known: Vec<&Stored> = self.stored.iter().filter(|s| s.step <= horizon).collect();
        let range = known.get(random.below(known.len() as u32) as usize)?;
        let (first, end) = (range.start.div_ceil(elem), range.end / elem);
        let count = (end.saturating_sub(first)).min(u64::from(most));
        let clash = self.stored.iter().any(|s| s.step > horizon && s.start < range.end && range.start < s.end);
        (count > 0 && !clash).then_some((first as u32, count as u32))
    }

    /// The program of this image.
    pub fn program(self, config: &HwConfig, insns: Vec<tandem_isa::Insn>) -> Program {
        let section = |name: &str, role, offset: usize, data: Vec<u8>| Section {
            name: name.to_owned(),
            role,
            offset: offset as u32,
            size: data.len() as u32,
            data,
        };
        Program {
            config: config.clone(),
            sections: vec![
                section("uops", Role::Uop, 0, self.uops),
                section("data", Role::Const, self.room.uops, self.data),
                section("out", Role::Output, self.room.uops + self.room.data, self.out),
            ],
            insns,
        }
    }
}

/// The mode that a set of parameters suits.
fn flavour(set: u32) -> RequantMode {
    RequantMode::ALL.get(set as usize % 4).copied().unwrap_or_default()
}

/// One lane of parameters: as a quantised network has them, or at the edges of what the fields hold.
fn param(random: &mut Random, mode: RequantMode, extreme: bool) -> RequantParam {
    let edges = [0, 1, -1, i32::MIN, i32::MAX, i32::MIN + 1, 1 << 30, -(1 << 30)];
    let any = |random: &mut Random| if random.flag() { random.pick(&edges) } else { random.next() as i32 };
    let multiplier = match (mode, extreme) {
        (RequantMode::Float, false) => {
            // A power of two now and then: only then is a result often halfway between two integers.
            let fraction = if random.flag() { 0.0 } else { random.below(100) as f32 / 100.0 };
            (2f32.powi(-(random.below(16) as i32)) * (1.0 + fraction)).to_bits() as i32
        }
        (RequantMode::Float, true) => {
            let values = [
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                0.0,
                -0.0,
                -0.75,
                f32::MIN_POSITIVE / 4.0,
                f32::from_bits(1),
                f32::MAX,
                f32::MIN,
                1.0,
                0.5,
                1e-9,
                2.5e9,
            ];
            if random.once_in(4) { random.next() as i32 } else { random.pick(&values).to_bits() as i32 }
        }
        (_, false) if random.flag() => 1 << 30,
        (_, false) => (1 << 30) + random.below(1 << 30) as i32,
        (_, true) => any(random),
    };
    let shift = match (mode, extreme) {
        (RequantMode::DoubleRounding, false) => 2 - random.below(14) as i32,
        (RequantMode::SingleRounding | RequantMode::HalfAway, false) => random.between(29, 41) as i32,
        (RequantMode::DoubleRounding, true) if random.flag() => random.between(0, 66) as i32 - 33,
        (_, true) if random.flag() => random.between(0, 66) as i32 - 2,
        _ => any(random),
    };
    let byte = |random: &mut Random| random.next() as i8;
    if extreme && random.once_in(3) {
        // Every odd accumulator becomes the least value.
        let multiplier = if random.flag() { i32::MIN } else { random.pick(&edges) };
        let shift = random.below(3) as i32 - 1;
        let (zero_point, lo, hi) = (byte(random), i8::MIN, i8::MAX);
        return RequantParam { bias: 0, multiplier, shift, zero_point, lo, hi, pre_shift: 31 };
    }
    if extreme {
        let pre_shift = if random.flag() { random.below(33) as u8 } else { random.next() as u8 };
        let (bias, zero_point) = (any(random), byte(random));
        return RequantParam { bias, multiplier, shift, zero_point, lo: byte(random), hi: byte(random), pre_shift };
    }
    let pre_shift = if random.once_in(3) { random.below(8) as u8 } else { 0 };
    let bias = if random.flag() { random.below(64) as i32 - 32 } else { random.below(1 << 14) as i32 - (1 << 13) };
    let zero_point = byte(random);
    let lo = if random.flag() { i8::MIN } else { zero_point };
    RequantParam { bias, multiplier, shift, zero_point, lo, hi: i8::MAX, pre_shift }
}
