//! The machine without queues: an instruction after the other, and of each a word or a lane after the other.

use std::collections::HashMap;

use crate::{HwConfig, Insn, MemoryType, Requant};

use super::activity::{UnitCycles, UnitState};
use super::arithmetic::Loops;
use super::hardware::{
    PARAMETERS, REST, SEQUENCER, SEQUENTIAL_GEMM, SEQUENTIAL_ISSUE, SEQUENTIAL_PASSES, SEQUENTIAL_READ,
    SEQUENTIAL_WORDS, SEQUENTIAL_WRITE,
};
use super::machine::{pops, pushes, unit_of};
use super::transfer::Transfer;
use super::{Constants, Launch, Prediction, Span, serial};

/// Bytes of the words in which this machine moves everything.
const WORD_BYTES: u64 = 4;

/// Runs the instructions, and fills in the spans that there is room for. None beyond the limit.
pub(super) fn run(launch: &Launch<'_>, limit: u64, spans: &mut [Span]) -> Option<Prediction> {
    let Launch { config, insns, constants, setup, .. } = *launch;
    let deep = u64::from(setup.operand_registers);
    let mut machine = Sequential {
        config,
        constants,
        deep,
        latency: u64::from(setup.memory.clamped().latency),
        uops: vec![0; config.uop_depth()],
        parameters: vec![None; config.acc_depth()],
        waits: 0,
        known: HashMap::new(),
        words: [0; 2],
    };
    let (read_word, write_word) = (machine.read_word(), machine.latency);
    let (mut units, mut tokens) = ([UnitCycles::default(); 3], [0u32; 4]);
    // The fetch of the first instruction begins in the cycle behind the launch.
    let mut now = 1;
    let mut complete = !insns.is_empty();
    for (index, insn) in insns.iter().enumerate() {
        let unit = unit_of(insn);
        now += SEQUENTIAL_WORDS * read_word + SEQUENTIAL_ISSUE;
        machine.words[0] += SEQUENTIAL_WORDS;
        for fifo in pops(unit, insn.dep()).into_iter().flatten() {
            match tokens[fifo].checked_sub(1) {
                Some(left) => tokens[fifo] = left,
                None => complete = false,
            }
        }
        if !complete {
            break;
        }
        for fifo in pushes(unit, insn.dep()).into_iter().flatten() {
            tokens[fifo] += 1;
        }
        let before = machine.words;
        let Some(cycles) = machine.cycles(insn) else {
            complete = false;
            break;
        };
        let read = (machine.words[0] - before[0]) * (read_word - 1);
        let written = (machine.words[1] - before[1]) * write_word;
        units[unit].add(UnitState::ReadData, read);
        units[unit].add(UnitState::WriteChannel, written);
        // The cycle in which it begins is its own too.
        units[unit].add(UnitState::Busy, (1 + cycles).saturating_sub(read + written));
        if let Some(span) = spans.get_mut(index) {
            *span = Span { begin: now - 1, finish: now + cycles - 1 };
        }
        now += cycles;
        if now > limit {
            return None;
        }
    }
    let cycles = now + REST + 1;
    for unit in &mut units {
        let rest = cycles.saturating_sub(unit.total());
        unit.add(UnitState::Idle, rest);
    }
    let [read, written] = machine.words;
    let prediction = Prediction { cycles, units, complete, read_bursts: read, read_words: read, write_words: written };
    (cycles <= limit).then_some(prediction)
}

struct Sequential<'a> {
    config: &'a HwConfig,
    constants: &'a dyn Constants,
    /// 1 where the design has registers for operands.
    deep: u64,
    latency: u64,
    uops: Vec<u32>,
    /// Where in DRAM the content of each accumulator comes from, as far as it is constant.
    parameters: Vec<Option<u64>>,
    /// Cycles by which LANE with `max` begins late, because of the one before.
    waits: u64,
    /// Steps of a vector by the address of its shifts.
    known: HashMap<(u64, u32), u64>,
    /// Words read and written.
    words: [u64; 2],
}

impl Sequential<'_> {
    /// Cycles from the one behind the beginning to the one in which the instruction is done; none if it never is.
    fn cycles(&mut self, insn: &Insn) -> Option<u64> {
        if let Some((_, loops)) = Loops::of(insn, None) {
            return Some(self.arithmetic(insn, &loops));
        }
        let Some(transfer) = Transfer::of(insn, self.config) else { return Some(1) };
        if transfer.overflows(self.config) {
            return None;
        }
        let stores = matches!(insn, Insn::Store(_));
        if stores && transfer.rows == 0 {
            return Some(1);
        }
        let narrow = transfer.memory_type == MemoryType::Acc8;
        self.note(&transfer, stores);
        let rows = transfer.above + transfer.rows + transfer.below;
        let columns = transfer.row_length();
        let words = transfer.elem_bytes / WORD_BYTES;
        let moved = transfer.rows * transfer.columns * words;
        let padded = rows * columns * words - moved;
        self.words[usize::from(stores)] += moved;
        let put = if narrow { 4 } else { 1 };
        let word = if stores { self.latency + SEQUENTIAL_WRITE } else { self.read_word() + 1 };
        // Three parts of the rows, and of the columns of each; a cycle for every row and every element.
        let walk = (rows + 3) + rows * (columns + 3);
        Some(1 + walk + moved * (word + put) + padded * (1 + put) + 1)
    }

    /// What a load brings into the scratchpads.
    fn note(&mut self, transfer: &Transfer, stores: bool) {
        for row in 0..transfer.rows {
            let sram = (transfer.sram + (transfer.above + row) * transfer.row_length() + transfer.left) as usize;
            let address = transfer.address + row * transfer.stride;
            let columns = transfer.columns as usize;
            match transfer.memory_type {
                MemoryType::Uop => {
                    let bytes = self.constants.constants(MemoryType::Uop, address, transfer.row_bytes() as usize);
                    let (Some(uops), Some(bytes)) = (self.uops.get_mut(sram..sram + columns), bytes) else { return };
                    for (uop, word) in uops.iter_mut().zip(bytes.chunks_exact(4)) {
                        *uop = word.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte));
                    }
                }
                MemoryType::Acc if !stores => {
                    let Some(held) = self.parameters.get_mut(sram..sram + columns) else { return };
                    let addresses = (0..).map(|k| Some(address + k * transfer.elem_bytes));
                    held.iter_mut().zip(addresses).for_each(|(held, address)| *held = address);
                }
                _ => return,
            }
        }
    }

    fn arithmetic(&mut self, insn: &Insn, loops: &Loops) -> u64 {
        let count = loops.executions();
        if count == 0 {
            return 2;
        }
        let lanes = self.config.out_elem_bytes() as u64;
        let first = SEQUENCER;
        let array = SEQUENTIAL_GEMM + 2 * self.deep + 2;
        // A step takes two cycles where operands have registers.
        let step = 1 + self.deep;
        match insn {
            Insn::Lane(lane) if lane.max && !lane.overwrite => {
                // Each is compared and then written, so many cycles apart, and as many before the next one.
                let apart = SEQUENTIAL_PASSES * step;
                let waited = std::mem::replace(&mut self.waits, apart - 1);
                first + waited + 2 * apart * (count - 1) + apart + array
            }
            Insn::Alu(alu) => {
                let operand = if alu.use_imm { alu.imm.into() } else { 0 };
                first + step * count * serial::alu(alu, operand, lanes) + 1
            }
            Insn::Requant(requant) => {
                let range = loops.uop_begin as usize..loops.uop_end as usize;
                let uops: Vec<u32> = self.uops.get(range).unwrap_or_default().to_vec();
                let mut steps = 0;
                let (log_acc, log_src) = (self.config.log_acc_depth(), self.config.log_src_depth());
                for uop in uops {
                    let src = uop >> log_acc & ((1 << log_src) - 1);
                    // What does not move has the same parameters throughout.
                    let [outer, inner] = [(loops.iter_out, loops.src[0]), (loops.iter_in, loops.src[1])];
                    let turns = |(iterations, step): (u32, u32)| if step == 0 { 1 } else { iterations };
                    let (outers, inners) = (turns(outer), turns(inner));
                    let each = u64::from(loops.iter_out / outers) * u64::from(loops.iter_in / inners);
                    for y in 0..outers {
                        for x in 0..inners {
                            let at = src.wrapping_add(y.wrapping_mul(outer.1)).wrapping_add(x.wrapping_mul(inner.1));
                            steps += each * self.vector(requant, at, lanes);
                        }
                    }
                }
                first + step * (steps + serial::taken(requant, lanes * count)) + 1
            }
            _ => first + count - 1 + array,
        }
    }

    /// Cycles from asking for a word to asking for the next one.
    fn read_word(&self) -> u64 {
        self.latency + SEQUENTIAL_READ + self.deep
    }

    /// Steps of a vector whose parameters begin at an accumulator.
    fn vector(&mut self, insn: &Requant, parameters: u32, lanes: u64) -> u64 {
        let place = |number: u32| self.parameters.get((parameters + number) as usize).copied().flatten();
        let [Some(shift_at), Some(post_at)] = [place(2), place(PARAMETERS as u32 - 1)] else {
            return lanes * serial::requant(insn, 0, 0);
        };
        let key = (shift_at, insn.mode.code() << 1 | u32::from(insn.saturate));
        if let Some(&steps) = self.known.get(&key) {
            return steps;
        }
        let bytes = lanes as usize * 4;
        let words = |at: u64| self.constants.constants(MemoryType::Acc, at, bytes);
        let steps = match [words(shift_at), words(post_at)] {
            [Some(shifts), Some(posts)] => {
                let word = |four: &[u8]| four.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte));
                let each = shifts.chunks_exact(4).zip(posts.chunks_exact(4));
                each.map(|(shift, post)| serial::requant(insn, word(shift) as i32, word(post))).sum()
            }
            _ => lanes * serial::requant(insn, 0, 0),
        };
        self.known.insert(key, steps);
        steps
    }
}
