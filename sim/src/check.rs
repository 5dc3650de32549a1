//! Finding races and reads of stale elements, whatever the interleaving.
//!
//! A missing token does not always lock up: often the program just gives the right answer in one interleaving and a wrong one in
//! another. The checker orders instructions by tokens alone. Every unit carries a vector clock of three counters; a push hands a
//! copy to the token, a pop takes the maximum with it. Two accesses to one element by two units, one of them a write, must be
//! ordered by these clocks.
//!
//! Each scratchpad has one unit that writes it and one that reads it across units (load and compute for INP and WGT, compute and
//! store for ACC), so two numbers per element are enough; DRAM has one writer and two readers.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use tandem_isa::{HwConfig, Insn, MemoryType, Requant, semantics};

use crate::loops::{Indices, Loops};
use crate::queue::{Progress, Stream, pops, pushes};
use crate::transfer::{Rows, scratchpad};
use crate::{Bases, SimError};

/// What to look for besides the errors that always stop a program. All of it costs time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Checks {
    /// Accesses of two units to one scratchpad element or DRAM word that no token orders, and a FINISH that does not wait.
    pub races: bool,
    /// Reads of scratchpad elements that nothing has written since the launch.
    pub uninitialised: bool,
}

/// A time: instructions begun by each unit.
type Clock = [u32; 3];

/// Bytes of DRAM tracked together: every element is a multiple of them.
const WORD: u64 = 4;
/// Words in a page of the DRAM table.
const PAGE_WORDS: u64 = 1024;

/// The last write and the last read of an element, as positions (counted from 1) in the queues of the units; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    write: u32,
    /// Reads by the unit that is not the writer.
    read: u32,
    /// DRAM only: reads by compute, which loads as well.
    read_compute: u32,
}

/// A memory whose accesses are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Uop,
    Inp,
    Wgt,
    Acc,
}

pub(crate) struct Checker {
    checks: Checks,
    clocks: [Clock; 3],
    tokens: [VecDeque<Clock>; 4],
    marks: [Vec<Mark>; 4],
    dram: HashMap<u64, Vec<Mark>>,
}

/// Where an instruction runs: its queue and its stream, for naming.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub stream: &'a Stream,
    pub queue: usize,
    pub insn: usize,
}

impl Checker {
    pub fn new(config: &HwConfig, checks: Checks) -> Checker {
        let marks = [config.uop_depth(), config.inp_depth(), config.wgt_depth(), config.acc_depth()];
        Checker {
            checks,
            clocks: [[0; 3]; 3],
            tokens: Default::default(),
            marks: marks.map(|depth| vec![Mark::default(); depth]),
            dram: HashMap::new(),
        }
    }

    /// Takes over the clocks of the tokens that an instruction pops, before it runs.
    pub fn begin(&mut self, here: Here, insn: &Insn, progress: &Progress) -> Result<(), SimError> {
        for fifo in pops(here.queue, insn.dep()) {
            if let Some(clock) = self.tokens[fifo].pop_front() {
                let mine = &mut self.clocks[here.queue];
                mine.iter_mut().zip(clock).for_each(|(mine, theirs)| *mine = theirs.max(*mine));
            }
        }
        self.clocks[here.queue][here.queue] = progress.next[here.queue] as u32 + 1;
        if self.checks.races && matches!(insn, Insn::Finish(_)) {
            return self.finish(here);
        }
        Ok(())
    }

    /// Hands clocks to the tokens that an instruction pushes, after it has run.
    pub fn end(&mut self, here: Here, insn: &Insn) {
        for fifo in pushes(here.queue, insn.dep()) {
            let clock = self.clocks[here.queue];
            self.tokens[fifo].push_back(clock);
        }
    }

    /// Checks and notes what a load touches.
    pub fn load(&mut self, here: Here, rows: &Rows, config: &HwConfig, bases: &Bases) -> Result<(), SimError> {
        let Ok(sram) = rows.sram(config) else { return Ok(()) };
        for (addr, len) in rows.dram(config, bases) {
            self.dram(here, addr, len, false)?;
        }
        let memory = match rows.memory_type {
            MemoryType::Uop => Memory::Uop,
            MemoryType::Inp => Memory::Inp,
            MemoryType::Wgt | MemoryType::Wgt4 => Memory::Wgt,
            _ => Memory::Acc,
        };
        sram.into_iter().try_for_each(|index| self.access(here, memory, index, true))
    }

    /// Checks and notes what a store touches.
    pub fn store(&mut self, here: Here, rows: &Rows, config: &HwConfig, bases: &Bases) -> Result<(), SimError> {
        let Ok(sram) = rows.sram(config) else { return Ok(()) };
        sram.into_iter().try_for_each(|index| self.access(here, Memory::Acc, index, false))?;
        for (addr, len) in rows.dram(config, bases) {
            self.dram(here, addr, len, true)?;
        }
        Ok(())
    }

    /// Checks and notes what a part of an arithmetic instruction touches.
    pub fn arithmetic(
        &mut self,
        here: Here,
        insn: &Insn,
        fuse: Option<&Requant>,
        loops: &Loops,
        outer: Range<u32>,
        uops: &[Indices],
        config: &HwConfig,
    ) -> Result<(), SimError> {
        if loops.executions() > 0 {
            for index in loops.uop_begin..loops.uop_end {
                self.access(here, Memory::Uop, index as usize, false)?;
            }
        }
        let mut problem = Ok(());
        let parts = (config.block_in() / config.block_out()).max(1);
        let elements = (config.block_out() / config.block_in()).max(1);
        let mut turn = (0..uops.len()).cycle();
        loops.each(outer, uops, |dst, src, wgt| {
            let at = turn.next().unwrap_or(0);
            let (begins, ends) = (fuse.is_some() && at == 0, at + 1 == uops.len());
            if problem.is_err() {
                return;
            }
            problem = (|| {
                match insn {
                    Insn::Gemm(i) if !i.reset => {
                        self.access(here, Memory::Inp, src, false)?;
                        self.access(here, Memory::Wgt, wgt, false)?;
                        if !begins {
                            self.access(here, Memory::Acc, dst, false)?;
                        }
                    }
                    Insn::Lane(i) => {
                        let first = src / parts * elements;
                        let last = first + elements + i.more_taps as usize;
                        (first..last).try_for_each(|index| self.access(here, Memory::Inp, index, false))?;
                        if !i.max {
                            let (element, _) = semantics::lane_weight(config, wgt, 0);
                            self.access(here, Memory::Wgt, element, false)?;
                        }
                        if !i.overwrite && !begins {
                            self.access(here, Memory::Acc, dst, false)?;
                        }
                    }
                    Insn::Alu(i) => {
                        if !i.use_imm {
                            self.access(here, Memory::Acc, src, false)?;
                        }
                        if i.alu_opcode != tandem_isa::AluOpcode::Mov {
                            self.access(here, Memory::Acc, dst, false)?;
                        }
                    }
                    Insn::Requant(i) if i.from_inp => {
                        let first = src / parts * elements;
                        (first..first + elements).try_for_each(|index| self.access(here, Memory::Inp, index, false))?;
                        let param = i.param as usize;
                        (param..param + 4).try_for_each(|index| self.access(here, Memory::Acc, index, false))?;
                    }
                    Insn::Requant(_) => {
                        (src..src + 4).try_for_each(|index| self.access(here, Memory::Acc, index, false))?;
                        self.access(here, Memory::Acc, dst, false)?;
                    }
                    _ => {}
                }
                if let Some(requant) = fuse.filter(|_| ends) {
                    let param = requant.param as usize;
                    (param..param + 4).try_for_each(|index| self.access(here, Memory::Acc, index, false))?;
                }
                self.access(here, Memory::Acc, dst, true)
            })();
        });
        problem
    }

    fn finish(&self, here: Here) -> Result<(), SimError> {
        for other in [0, 2] {
            let last = here.stream.queues[other].iter().enumerate().rev().find(|&(_, &insn)| {
                // A NOP touches nothing, so nobody needs to wait for it.
                here.stream.insns.get(insn as usize).is_some_and(|insn| !insn.is_nop())
            });
            if let Some((position, &insn)) = last
                && self.clocks[here.queue][other] < position as u32 + 1
            {
                let (finish, other) = (here.stream.place(here.insn), here.stream.place(insn as usize));
                return Err(SimError::Unfinished { finish, other });
            }
        }
        Ok(())
    }

    fn access(&mut self, here: Here, memory: Memory, index: usize, write: bool) -> Result<(), SimError> {
        let (name, table, writer, reader) = match memory {
            Memory::Uop => (scratchpad(MemoryType::Uop), 0, 1, 1),
            Memory::Inp => (scratchpad(MemoryType::Inp), 1, 0, 1),
            Memory::Wgt => (scratchpad(MemoryType::Wgt), 2, 0, 1),
            Memory::Acc => (scratchpad(MemoryType::Acc), 3, 1, 2),
        };
        let clock = self.clocks[here.queue];
        let Some(mark) = self.marks[table].get_mut(index) else { return Ok(()) };
        let seen = *mark;
        let now = clock[here.queue];
        if write {
            mark.write = now;
        } else if here.queue != writer {
            mark.read = now;
        }
        if !write && self.checks.uninitialised && seen.write == 0 {
            return Err(SimError::Uninitialised {
                at: here.stream.place(here.insn),
                memory: name,
                index: index as u64,
            });
        }
        if !self.checks.races {
            return Ok(());
        }
        if write && seen.read > clock[reader] {
            return Err(race(here, name, index as u64, (reader, seen.read, false), true));
        }
        if !write && here.queue != writer && seen.write > clock[writer] {
            return Err(race(here, name, index as u64, (writer, seen.write, true), false));
        }
        Ok(())
    }

    fn dram(&mut self, here: Here, addr: u64, len: usize, write: bool) -> Result<(), SimError> {
        if !self.checks.races {
            return Ok(());
        }
        let clock = self.clocks[here.queue];
        let now = clock[here.queue];
        for word in addr / WORD..(addr + len as u64).div_ceil(WORD) {
            let page = self.dram.entry(word / PAGE_WORDS).or_insert_with(|| vec![Mark::default(); PAGE_WORDS as usize]);
            let Some(mark) = page.get_mut((word % PAGE_WORDS) as usize) else { continue };
            let seen = *mark;
            match (write, here.queue) {
                (true, _) => mark.write = now,
                (false, 1) => mark.read_compute = now,
                (false, _) => mark.read = now,
            }
            let other = if write && seen.read > clock[0] {
                Some((0, seen.read, false))
            } else if write && seen.read_compute > clock[1] {
                Some((1, seen.read_compute, false))
            } else if !write && seen.write > clock[2] {
                Some((2, seen.write, true))
            } else {
                None
            };
            if let Some(other) = other {
                return Err(race(here, "DRAM address", word * WORD, other, write));
            }
        }
        Ok(())
    }
}

/// `other` is the queue, the position in it counted from 1, and whether it wrote.
#[cold]
fn race(here: Here, memory: &'static str, index: u64, other: (usize, u32, bool), write: bool) -> SimError {
    let (queue, position, other_wrote) = other;
    let insn = here.stream.queues[queue].get(position.saturating_sub(1) as usize).copied().unwrap_or_default();
    let access = |write| if write { "writes" } else { "reads" };
    SimError::Race {
        memory,
        index,
        first: here.stream.place(insn as usize),
        first_access: access(other_wrote),
        second: here.stream.place(here.insn),
        second_access: access(write),
    }
}
