//! What a random program works on: a window in every scratchpad, and what is known of its content.

use tandem_isa::{HwConfig, MemoryType, RequantMode, Uop};

use super::Random;

/// Consecutive elements of a scratchpad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub base: u32,
    pub len: u32,
}

/// The windows of a program. Everything in them has been written before it is read.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub uop: Window,
    pub inp: Window,
    pub wgt: Window,
    /// Accumulators without the sets of parameters.
    pub acc: Window,
    /// Sets of requantisation parameters, behind `acc`: where, and the mode that they suit.
    pub params: Vec<(u32, RequantMode)>,
    /// The content of the UOP scratchpad, as far as it is known.
    pub words: Vec<Option<u32>>,
}

/// The part of the space that belongs to one context of a double-buffered program.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub inp: Window,
    pub wgt: Window,
    pub acc: Window,
}

impl Window {
    pub fn end(self) -> u32 {
        self.base + self.len
    }

    /// One of `count` equal parts.
    pub fn part(self, index: u32, count: u32) -> Window {
        let len = self.len / count.max(1);
        Window { base: self.base + index * len, len }
    }

    /// A random place in a scratchpad, often at one of its ends.
    fn place(random: &mut Random, depth: u32, len: u32) -> Window {
        let len = len.min(depth);
        let base = match random.below(4) {
            0 => 0,
            1 => depth - len,
            _ => random.below(depth - len + 1),
        };
        Window { base, len }
    }
}

impl Space {
    /// Draws windows; `scale` 0 to 2 is how much there is to move.
    pub fn draw(config: &HwConfig, random: &mut Random, scale: usize) -> Space {
        let mut draw = |memory_type: MemoryType, bytes: [usize; 3], least: u32| {
            let (elem, depth) = (config.elem_bytes(memory_type), config.depth(memory_type) as u32);
            let most = (bytes.get(scale).copied().unwrap_or_default() / elem) as u32;
            let len = random.between(most / 2, most).max(least);
            Window::place(random, depth, len)
        };
        // LANE sees several INP elements as one vector where BLOCK_OUT is the larger block.
        let vectors = (config.block_out() / config.block_in()).max(1) as u32;
        let inp = draw(MemoryType::Inp, [512, 2048, 9000], 8.max(4 * vectors));
        let mut wgt = draw(MemoryType::Wgt, [1024, 4096, 12 << 10], 4);
        let all = draw(MemoryType::Acc, [2048, 4096, 12 << 10], 28);
        let uop = draw(MemoryType::Uop, [200, 400, 1600], 40);
        // Vectors of LANE have numbers beyond what a micro-op can say, except in the first weights.
        if random.flag() {
            wgt.base = random.below((config.wgt_depth() / config.block_in()) as u32).min(wgt.base);
        }
        let sets = random.between(1, 4);
        let acc = Window { base: all.base, len: all.len - 4 * sets };
        let params = (0..sets).map(|set| (acc.end() + 4 * set, RequantMode::default())).collect();
        Space { uop, inp, wgt, acc, params, words: vec![None; config.uop_depth()] }
    }

    /// The part of one of several contexts.
    pub fn view(&self, context: u32, contexts: u32) -> View {
        View {
            inp: self.inp.part(context, contexts),
            wgt: self.wgt.part(context, contexts),
            acc: self.acc.part(context, contexts),
        }
    }

    /// The micro-ops of a range, where all of them are known and legal.
    pub fn known(&self, config: &HwConfig, begin: u32, count: u32) -> Option<Vec<Uop>> {
        let words = self.words.get(begin as usize..(begin + count) as usize)?;
        words.iter().map(|word| word.and_then(|word| Uop::decode(word, config).ok())).collect()
    }
}
