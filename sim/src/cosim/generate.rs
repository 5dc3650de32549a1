//! Random programs that are legal by construction.

use std::fmt;

use tandem_isa::{Dep, Finish, HwConfig, Insn, MemoryType, Program, Queue};

use super::Random;
use super::image::Image;
use super::space::{Space, View};
use super::token::{serialise, set_flag};
use super::transfer::Maker;
use crate::loops::Loops;
use crate::transfer::Rows;

/// Cycles that a transfer is thought to take besides its beats.
const LATENCY: u64 = 40;

/// Makes cases for a configuration; the same configuration, seed and index give the same case.
#[derive(Clone, Debug)]
pub struct Generator {
    config: HwConfig,
    seed: u64,
    unread: bool,
}

/// How the units of a program overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Style {
    /// Every instruction waits for the one before it.
    Serial,
    /// Load, compute and store run at once on different contexts; one context makes them take turns.
    Decoupled {
        /// Parts of the scratchpads.
        contexts: u32,
    },
}

/// Programs that run one after the other on one device, without a reset between them.
///
/// The first writes whatever it reads. The others read what the ones before have left in the scratchpads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Number of the case.
    pub index: u64,
    /// How the units overlap, program by program.
    pub styles: Vec<Style>,
    /// The programs.
    pub programs: Vec<Program>,
}

/// A step of a double-buffered program: what each queue does for one tile.
#[derive(Default)]
struct Tile {
    load: Vec<Insn>,
    compute: Vec<Insn>,
    store: Vec<Insn>,
}

impl Generator {
    /// A generator for a configuration and a seed.
    pub fn new(config: &HwConfig, seed: u64) -> Generator {
        Generator { config: config.clone(), seed, unread: true }
    }

    /// Whether operands that an instruction does not read may lie outside their scratchpads; true to begin with. The machine
    /// ignores them, but upstream's other implementations may not.
    pub fn unread_operands_anywhere(self, unread: bool) -> Generator {
        Generator { unread, ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A case by its number.
    pub fn case(&self, index: u64) -> Case {
        let mut random = Random::stream(self.seed, index);
        let scale = [0, 0, 0, 0, 1, 1, 1, 2][random.below(8) as usize];
        let mut space = Space::draw(&self.config, &mut random, scale);
        let count = if random.once_in(4) { random.between(2, 3) } else { 1 };
        let (mut styles, mut programs) = (Vec::new(), Vec::new());
        for number in 0..count {
            let contexts = random.between(1, 4);
            let style = if random.flag() { Style::Serial } else { Style::Decoupled { contexts } };
            let mut random = Random(random.next());
            let image = Image::new(&self.config, &mut random);
            let mut maker =
                Maker { config: &self.config, random, space, image, unread: self.unread, large: scale == 2 };
            let insns = maker.insns(style, number == 0);
            styles.push(style);
            space = maker.space;
            programs.push(maker.image.program(&self.config, insns));
        }
        Case { index, styles, programs }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Style::Serial => write!(f, "serial"),
            Style::Decoupled { contexts: 1 } => write!(f, "decoupled, 1 context"),
            Style::Decoupled { contexts } => write!(f, "decoupled, {contexts} contexts"),
        }
    }
}

impl Maker<'_> {
    /// A program of a style; `fresh` where it must write all that it reads.
    fn insns(&mut self, style: Style, fresh: bool) -> Vec<Insn> {
        let budget = [1500, 1500, 1500, 4000, 4000, 4000, 8000, 16000][self.random.below(8) as usize];
        let mut insns = match style {
            Style::Serial => self.serial(fresh, budget),
            Style::Decoupled { contexts } => self.decoupled(contexts, fresh, budget),
        };
        self.sprinkle(&mut insns);
        insns
    }

    fn serial(&mut self, fresh: bool, budget: u64) -> Vec<Insn> {
        let view = self.space.view(0, 1);
        let mut insns = Vec::new();
        if fresh {
            for (memory, window) in
                [(MemoryType::Inp, view.inp), (MemoryType::Wgt, view.wgt), (MemoryType::Acc, view.acc)]
            {
                insns.extend(self.fill(memory, window));
            }
            insns.extend(self.params());
        }
        let (mut spent, mut step) = (0, 0);
        let most = self.random.between(10, 60) as usize + insns.len();
        while spent < budget && insns.len() < most {
            step += 1;
            let next = match self.random.below(20) {
                0..=2 => vec![self.load(MemoryType::Inp, view.inp, step)],
                3 => vec![self.load(MemoryType::Wgt, view.wgt, step)],
                5 if self.random.flag() => {
                    let queue = self.random.pick_queue();
                    vec![self.nop(queue)]
                }
                4 | 5 => vec![self.load(MemoryType::Acc, view.acc, step)],
                6 => {
                    let mut next = self.requants(&view);
                    next.push(self.store(view.acc, step));
                    next
                }
                7..=10 => {
                    let mut next = if self.random.once_in(4) { self.reveal(&view) } else { Vec::new() };
                    next.push(self.store(view.acc, step));
                    next
                }
                _ => self.arithmetic(&view),
            };
            spent += next.iter().map(|insn| cost(insn, self.config)).sum::<u64>();
            insns.extend(next);
        }
        if self.random.once_in(8) {
            self.flood(&mut insns);
        }
        insns.push(Finish::default().into());
        serialise(&insns)
    }

    /// Puts more NOPs than a queue holds behind the longest arithmetic instruction, so that fetching has to stop in between.
    fn flood(&mut self, insns: &mut Vec<Insn>) {
        let executions = |insn: &Insn| Loops::of(insn).map_or(0, |loops| loops.executions());
        let Some((longest, _)) = insns.iter().enumerate().max_by_key(|(_, insn)| executions(insn)) else { return };
        let count = self.config.insn_queue_depth().unwrap_or(0) + self.random.below(100) as usize;
        let nops = std::iter::repeat_n(Insn::nop(Queue::Compute, Dep::default()), count);
        insns.splice(longest + 1..longest + 1, nops);
    }

    fn decoupled(&mut self, contexts: u32, fresh: bool, budget: u64) -> Vec<Insn> {
        let mut prologue = Tile::default();
        if fresh {
            let whole = self.space.view(0, 1);
            prologue.load = self.fill(MemoryType::Inp, whole.inp);
            prologue.load.extend(self.fill(MemoryType::Wgt, whole.wgt));
            prologue.compute = self.fill(MemoryType::Acc, whole.acc);
            prologue.compute.extend(self.params());
            self.hand_on(&mut prologue, false, false);
        }
        let mut tiles: Vec<Tile> = Vec::new();
        let (mut spent, most) = (0, self.random.between(2, 12));
        while spent < budget && (tiles.len() as u32) < most {
            let tile = self.tile(tiles.len() as u32, contexts);
            let all = tile.load.iter().chain(&tile.compute).chain(&tile.store);
            spent += all.map(|insn| cost(insn, self.config)).sum::<u64>();
            tiles.push(tile);
        }
        let count = tiles.len();
        for (number, tile) in tiles.iter_mut().enumerate() {
            self.hand_on(tile, number >= contexts as usize, number + (contexts as usize) < count);
            self.store_tokens(tile, number >= contexts as usize);
        }
        let mut insns = prologue.load;
        insns.append(&mut prologue.compute);
        self.interleave(&mut insns, tiles, contexts);
        // The tokens of the last stores.
        let left = count.min(contexts as usize);
        for number in 0..left {
            let last = number + 1 == left && self.random.flag();
            let mut insn = if last { Finish::default().into() } else { self.nop(Queue::Compute) };
            set_flag(&mut insn, 3, false);
            insns.push(insn);
            if last {
                return insns;
            }
        }
        insns.push(Finish::default().into());
        insns
    }

    /// The instructions of a tile, without tokens.
    fn tile(&mut self, number: u32, contexts: u32) -> Tile {
        let view: View = self.space.view(number % contexts, contexts);
        let (step, contexts) = (i64::from(number), i64::from(contexts));
        let mut tile = Tile::default();
        for _ in 0..self.random.between(1, 3) {
            // A store reaches the load unit through compute, each time by way of the tile that uses its context next.
            let insn = match self.random.below(8) {
                0..=4 => self.load(MemoryType::Inp, view.inp, step - 2 * contexts),
                5 | 6 => self.load(MemoryType::Wgt, view.wgt, step - 2 * contexts),
                _ => self.nop(Queue::Load),
            };
            tile.load.push(insn);
        }
        for _ in 0..self.random.between(1, 4) {
            let next = match self.random.below(8) {
                0 | 1 => vec![self.load(MemoryType::Acc, view.acc, step - contexts)],
                2 if self.random.flag() => vec![self.nop(Queue::Compute)],
                3 => self.requants(&view),
                4 if self.config.has_fused_requant() => self.fused(&view),
                _ => self.arithmetic(&view),
            };
            tile.compute.extend(next);
        }
        if self.random.once_in(4) {
            let next = self.reveal(&view);
            tile.compute.extend(next);
        }
        for _ in 0..self.random.between(1, 2) {
            let insn = if self.random.once_in(10) { self.nop(Queue::Store) } else { self.store(view.acc, step) };
            tile.store.push(insn);
        }
        tile
    }

    /// Tokens between load and compute: compute waits for the loads of the tile, and where `again`, the loads wait until the
    /// tile that had the context before has been computed. With `more`, a later tile will wait for this one.
    fn hand_on(&mut self, tile: &mut Tile, again: bool, more: bool) {
        let reads = |insn: &Insn| match insn {
            Insn::Gemm(_) | Insn::Lane(_) => true,
            Insn::Requant(i) => i.from_inp,
            _ => false,
        };
        if tile.load.is_empty() {
            tile.load.push(self.nop(Queue::Load));
        }
        if tile.compute.is_empty() {
            tile.compute.push(self.nop(Queue::Compute));
        }
        let first = tile.load.iter().position(|insn| !insn.is_nop()).unwrap_or(0);
        if again {
            self.flag(&mut tile.load, 0, first, 1, false);
        }
        let last = tile.load.iter().rposition(|insn| !insn.is_nop()).unwrap_or(0);
        let end = tile.load.len() - 1;
        self.flag(&mut tile.load, last, end, 0, true);
        let end = tile.compute.len() - 1;
        let first = tile.compute.iter().position(reads).unwrap_or(end);
        self.flag(&mut tile.compute, 0, first, 0, false);
        if more {
            let last = tile.compute.iter().rposition(reads).unwrap_or(0);
            // A tile that reads nothing still hands on that it has waited for its loads and for the store before it.
            let popped = tile.compute.iter().position(|insn| insn.dep().pop_prev).unwrap_or(0);
            let stored = tile.compute.iter().position(|insn| !quiet(insn)).unwrap_or(end);
            self.flag(&mut tile.compute, last.max(popped).max(stored), end, 1, true);
        }
    }

    /// Tokens between compute and store.
    fn store_tokens(&mut self, tile: &mut Tile, again: bool) {
        let end = tile.compute.len() - 1;
        if again {
            let first = tile.compute.iter().position(|insn| !quiet(insn)).unwrap_or(end);
            self.flag(&mut tile.compute, 0, first, 3, false);
        }
        // The loads of the tile may read what its stores overwrite, so that those wait for them too.
        let popped = tile.compute.iter().rposition(|insn| insn.dep().pop_next || insn.dep().pop_prev).unwrap_or(0);
        let last = tile.compute.iter().rposition(|insn| !quiet(insn)).unwrap_or(0);
        self.flag(&mut tile.compute, last.max(popped), end, 2, true);
        let first = tile.store.iter().position(|insn| !insn.is_nop()).unwrap_or(0);
        self.flag(&mut tile.store, 0, first, 2, false);
        let last = tile
            .store
            .iter()
            .rposition(|insn| !insn.is_nop())
            .unwrap_or(0)
            .max(tile.store.iter().position(|insn| insn.dep().pop_prev).unwrap_or(0));
        let end = tile.store.len() - 1;
        self.flag(&mut tile.store, last, end, 3, true);
    }

    /// Sets a flag on one of the instructions `first..=last`.
    fn flag(&mut self, insns: &mut [Insn], first: usize, last: usize, fifo: usize, push: bool) {
        let at = first + self.random.below((last.saturating_sub(first) + 1) as u32) as usize;
        if let Some(insn) = insns.get_mut(at) {
            set_flag(insn, fifo, push);
        }
    }

    /// Puts tiles into one stream: loads come up to `contexts - 1` tiles early, stores as many late.
    fn interleave(&mut self, insns: &mut Vec<Insn>, mut tiles: Vec<Tile>, contexts: u32) {
        let (ahead, behind) = (self.random.below(contexts) as usize, self.random.below(contexts) as usize);
        for number in 0..tiles.len() + ahead + behind {
            if let Some(tile) = tiles.get_mut(number) {
                insns.append(&mut tile.load);
            }
            if let Some(tile) = number.checked_sub(ahead).and_then(|at| tiles.get_mut(at)) {
                insns.append(&mut tile.compute);
            }
            if let Some(tile) = number.checked_sub(ahead + behind).and_then(|at| tiles.get_mut(at)) {
                insns.append(&mut tile.store);
            }
        }
    }
}

impl Random {
    fn pick_queue(&mut self) -> Queue {
        Queue::ALL[self.below(3) as usize]
    }
}

/// Whether an instruction of the compute queue touches no accumulator.
fn quiet(insn: &Insn) -> bool {
    insn.is_nop() || matches!(insn, Insn::Load(load) if load.memory_type == MemoryType::Uop)
}

/// A guess of the cycles that hardware needs.
fn cost(insn: &Insn, config: &HwConfig) -> u64 {
    let rows = match insn {
        Insn::Load(i) => Rows::from(i),
        Insn::LoadPad(i) => Rows::from(i),
        Insn::Store(i) => Rows::from(i),
        _ => return LATENCY + Loops::of(insn).map_or(0, |loops| loops.executions()),
    };
    let row = u64::from(rows.x_size) * config.elem_bytes(rows.memory_type) as u64;
    LATENCY + if rows.is_nop() { 0 } else { u64::from(rows.y_size) * (row.div_ceil(config.bus_bytes() as u64) + 4) }
}
