//! The instruction stream: what waits for what, the tokens that say so, and sections.
//!
//! A schedule tells which parts of the scratchpads and of DRAM a load, a computation and a store touch. From that follows
//! what must wait, across layers too:
//!
//! ```text
//! a load waits for      the computations that read what it overwrites, and the stores that wrote what it reads
//! a computation for     its load, and the stores that read the accumulators it writes
//! a store for           its computation
//! ```
//!
//! A store is told of to a load through compute. Of several events of one unit only the last is waited for: it has a token,
//! the others have none. Waiting is written as `pop`, held back and merged into the next instruction of the queue; signalling
//! is written as `push`, merged into the last instruction of the queue. A NOP carries a flag where no instruction can.

use crate::JitError;
use crate::merge::merge;
use crate::nest::{Axis, Nest};
use crate::tile;
use crate::uop::UopCache;
use std::collections::VecDeque;
use std::ops::Range;
use tandem_isa::{
    Alu, Dep, Finish, Gemm, HwConfig, Insn, Lane, Load, MemoryType, Program, Queue, Requant, Role, Section, Uop,
};

/// Alignment of a section: whole elements of every memory, and whole words of the bus.
pub(crate) fn section_align(config: &HwConfig) -> u64 {
    let elements = [config.inp_elem_bytes(), config.wgt_elem_bytes(), config.acc_elem_bytes(), config.bus_bytes()];
    elements.into_iter().max().unwrap_or(1) as u64
}

/// A neighbour of a queue: LOAD comes before COMPUTE, COMPUTE before STORE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Prev,
    Next,
}

/// Parts of INP and WGT.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operands {
    pub inp: Range<usize>,
    pub wgt: Range<usize>,
}

/// A computed load group: the instruction that can tell load, what it has read, and the stores that compute knew to be done.
struct Group {
    pusher: usize,
    operands: Operands,
    stored: usize,
}

/// A store: its number, the instruction that can tell compute, and the accumulators it reads.
struct Stored {
    number: usize,
    pusher: usize,
    acc: Range<usize>,
}

pub(crate) struct Emitter<'c> {
    config: &'c HwConfig,
    insns: Vec<Insn>,
    sections: Vec<Section>,
    uops: UopCache,
    /// Instructions whose `dram_base` counts from the start of the micro-op section, which is placed last.
    uop_loads: Vec<usize>,
    /// How many of them come before each layer.
    layers: Vec<usize>,
    /// Last instruction of each queue.
    last: [Option<usize>; 3],
    /// Pops that wait for the next instruction of each queue.
    pending: [Dep; 3],
    /// Load groups that have been computed and that no load has waited for, oldest first.
    groups: VecDeque<Group>,
    /// The operands of the load group at hand.
    operands: Operands,
    /// Stores that compute has not waited for, oldest first.
    stores: VecDeque<Stored>,
    /// What the stores have written that no load is known to come behind, oldest first.
    written: VecDeque<(usize, Vec<Range<u64>>)>,
    /// All stores; of these, those that compute has waited for, and those that loads come behind.
    store_count: usize,
    stored_for_compute: usize,
    stored_for_load: usize,
    /// Whether everything waits for what came before it.
    serial: bool,
    /// Which accumulators are known to be zero behind the last instruction of compute.
    zero: Vec<bool>,
}

fn slot(queue: Queue) -> usize {
    match queue {
        Queue::Load => 0,
        Queue::Compute => 1,
        Queue::Store => 2,
    }
}

impl<'c> Emitter<'c> {
    pub fn new(config: &'c HwConfig, sections: Vec<Section>, serial: bool) -> Self {
        Self {
            config,
            insns: Vec::new(),
            sections,
            uops: UopCache::new(config.uop_depth()),
            uop_loads: Vec::new(),
            layers: Vec::new(),
            last: [None; 3],
            pending: [Dep::default(); 3],
            groups: VecDeque::new(),
            operands: Operands::default(),
            stores: VecDeque::new(),
            written: VecDeque::new(),
            store_count: 0,
            stored_for_compute: 0,
            stored_for_load: 0,
            serial,
            // An earlier run may have left anything.
            zero: vec![false; config.acc_depth()],
        }
    }

    pub fn config(&self) -> &'c HwConfig {
        self.config
    }

    /// Adds a section of constants and returns its offset in bytes.
    pub fn constants(&mut self, name: String, role: Role, data: Vec<u8>) -> Result<u32, JitError> {
        let offset = next_offset(&self.sections, section_align(self.config));
        let end = offset + data.len() as u64;
        if end > u64::from(u32::MAX) {
            return Err(JitError::Exhausted { bytes: end, limit: u64::from(u32::MAX) });
        }
        self.sections.push(Section { name, role, offset: offset as u32, size: data.len() as u32, data });
        Ok(offset as u32)
    }

    /// Begins a layer.
    pub fn begin_layer(&mut self) {
        self.layers.push(self.uop_loads.len());
    }

    /// Makes one instruction of the loads of micro-ops of each layer, where all micro-ops stay in the scratchpad.
    fn join_uop_loads(&mut self) {
        self.layers.push(self.uop_loads.len());
        for layer in self.layers.windows(2) {
            let loads = &self.uop_loads[layer[0]..layer[1]];
            let count: u32 =
                loads.iter().map(|&at| if let Insn::Load(load) = self.insns[at] { load.x_size } else { 0 }).sum();
            for (number, &at) in loads.iter().enumerate() {
                if number > 0 {
                    self.insns[at] = Insn::nop(Queue::Compute, self.insns[at].dep());
                } else if let Insn::Load(load) = &mut self.insns[at] {
                    (load.x_size, load.x_stride) = (count, count);
                }
            }
        }
    }

    /// Appends an instruction with the pops that its queue holds.
    pub fn issue(&mut self, insn: impl Into<Insn>) {
        let mut insn = insn.into();
        let queue = slot(insn.queue());
        let held = std::mem::take(&mut self.pending[queue]);
        let dep = insn.dep_mut();
        dep.pop_prev |= held.pop_prev;
        dep.pop_next |= held.pop_next;
        self.last[queue] = Some(self.insns.len());
        self.insns.push(insn);
    }

    /// Makes the next instruction of `queue` wait for a token from its neighbour.
    pub fn pop(&mut self, queue: Queue, from: Side) {
        let held = self.pending[slot(queue)];
        if (from == Side::Prev && held.pop_prev) || (from == Side::Next && held.pop_next) {
            self.flush(queue);
        }
        let held = &mut self.pending[slot(queue)];
        match from {
            Side::Prev => held.pop_prev = true,
            Side::Next => held.pop_next = true,
        }
    }

    /// Makes the last instruction of `queue` send a token to its neighbour, and returns its index.
    pub fn push(&mut self, queue: Queue, to: Side) -> usize {
        self.flush(queue);
        let taken = |dep: Dep| match to {
            Side::Prev => dep.push_prev,
            Side::Next => dep.push_next,
        };
        let last = match self.last[slot(queue)] {
            Some(i) if !taken(self.insns[i].dep()) => i,
            _ => {
                self.issue(Insn::nop(queue, Dep::default()));
                self.insns.len() - 1
            }
        };
        let dep = self.insns[last].dep_mut();
        match to {
            Side::Prev => dep.push_prev = true,
            Side::Next => dep.push_next = true,
        }
        last
    }

    /// Gives held pops an instruction of their own.
    fn flush(&mut self, queue: Queue) {
        if self.pending[slot(queue)] != Dep::default() {
            self.issue(Insn::nop(queue, Dep::default()));
        }
    }

    /// Makes a kernel resident, loading it where needed, and returns its first scratchpad entry.
    pub fn kernel(&mut self, kernel: &[Uop]) -> u32 {
        let placed = self.uops.place(kernel);
        if let Some(position) = placed.load_from {
            self.uop_loads.push(self.insns.len());
            self.issue(Load {
                memory_type: MemoryType::Uop,
                sram_base: placed.sram,
                dram_base: position,
                y_size: 1,
                x_size: kernel.len() as u32,
                x_stride: kernel.len() as u32,
                ..Load::default()
            });
        }
        placed.sram
    }

    /// Issues instructions with their micro-op kernels. Kernels are made resident together, as many as the scratchpad
    /// holds, so that one LOAD serves several instructions.
    pub fn issue_all(&mut self, steps: Vec<(Vec<Uop>, Insn)>) {
        let mut begin = 0;
        while begin < steps.len() {
            let (mut end, mut kernel) = (begin, Vec::new());
            while end < steps.len() && (end == begin || kernel.len() + steps[end].0.len() <= self.config.uop_depth()) {
                kernel.extend_from_slice(&steps[end].0);
                end += 1;
            }
            let mut uop = self.kernel(&kernel);
            for (uops, insn) in &steps[begin..end] {
                let next = uop + uops.len() as u32;
                let mut insn = *insn;
                match &mut insn {
                    Insn::Requant(Requant { fuse: true, .. }) => {}
                    Insn::Gemm(Gemm { uop_begin, uop_end, .. })
                    | Insn::Lane(Lane { uop_begin, uop_end, .. })
                    | Insn::Alu(Alu { uop_begin, uop_end, .. })
                    | Insn::Requant(Requant { uop_begin, uop_end, .. }) => (*uop_begin, *uop_end) = (uop, next),
                    Insn::Load(_) | Insn::LoadPad(_) | Insn::Store(_) | Insn::Finish(_) => {}
                }
                self.issue(insn);
                uop = next;
            }
            begin = end;
        }
    }

    /// Issues `insn` over the loop nest of `axes`, whose sources lie in ACC or are not read.
    pub fn issue_nest(&mut self, base: Uop, axes: &[Axis], insn: impl Into<Insn>) {
        let steps = Nest::new(self.config, self.config.acc_depth(), base, axes, &[]).steps(self.config, insn);
        self.issue_all(steps);
    }

    /// Most parts into which a schedule that fills one while another is computed divides the scratchpads.
    pub fn contexts(&self) -> usize {
        if self.serial { 1 } else { tile::contexts(self.config) }
    }

    /// Makes zero of accumulators that are not known to be.
    pub fn make_zero(&mut self, range: Range<usize>) {
        let known = &self.zero[range.clone()];
        let Some(first) = known.iter().position(|&zero| !zero) else { return };
        let last = known.iter().rposition(|&zero| !zero).unwrap_or(first);
        let (first, count) = (range.start + first, last - first + 1);
        let base = Uop { dst: first as u32, src: 0, wgt: 0 };
        self.issue_nest(base, &[Axis::new(count, 1, 0, 0)], Gemm { reset: true, ..Gemm::default() });
        self.know_zero(range, true);
    }

    /// Notes what instructions leave in accumulators: zero, or something else.
    pub fn know_zero(&mut self, range: Range<usize>, zero: bool) {
        self.zero[range].fill(zero);
    }

    /// Begins the loads of a group that is computed from `operands`: waits until what is read from DRAM has been stored and
    /// what is overwritten has been computed.
    pub fn begin_load(&mut self, operands: Operands, loads: &Operands, reads: &[Range<u64>]) {
        let overlaps = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        let mut last = self
            .groups
            .iter()
            .rposition(|group| overlaps(&group.operands.inp, &loads.inp) || overlaps(&group.operands.wgt, &loads.wgt));
        let meets =
            |ranges: &[Range<u64>]| ranges.iter().any(|a| reads.iter().any(|b| a.start < b.end && b.start < a.end));
        let mut wanted =
            self.written.iter().rev().find(|(_, ranges)| meets(ranges)).map_or(0, |(number, _)| number + 1);
        if self.serial {
            last = self.groups.len().checked_sub(1);
            wanted = self.store_count;
        }
        if wanted > self.stored_for_load {
            if self.groups.back().is_none_or(|group| group.stored < wanted) {
                self.wait_for_stores(wanted);
                let pusher = self.push(Queue::Compute, Side::Prev);
                let stored = self.stored_for_compute;
                self.groups.push_back(Group { pusher, operands: Operands::default(), stored });
            }
            last = last.max(self.groups.iter().position(|group| group.stored >= wanted));
        }
        if let Some(last) = last {
            for earlier in self.groups.drain(..last) {
                self.insns[earlier.pusher].dep_mut().push_prev = false;
            }
            if let Some(group) = self.groups.pop_front() {
                self.stored_for_load = self.stored_for_load.max(group.stored);
            }
            self.pop(Queue::Load, Side::Next);
            self.written.retain(|&(number, _)| number >= self.stored_for_load);
        }
        self.operands = operands;
    }

    pub fn end_load(&mut self) {
        self.push(Queue::Load, Side::Next);
    }

    /// Begins the computation of a load group.
    pub fn begin_group(&mut self) {
        self.pop(Queue::Compute, Side::Prev);
    }

    pub fn end_group(&mut self) {
        let pusher = self.push(Queue::Compute, Side::Prev);
        let operands = std::mem::take(&mut self.operands);
        self.groups.push_back(Group { pusher, operands, stored: self.stored_for_compute });
    }

    /// Waits until accumulators that are to be written have been stored.
    pub fn claim(&mut self, acc: &Range<usize>) {
        let reads = |store: &&Stored| self.serial || (store.acc.start < acc.end && acc.start < store.acc.end);
        if let Some(store) = self.stores.iter().rev().find(reads) {
            self.wait_for_stores(store.number + 1);
        }
    }

    /// Makes compute wait until so many stores are done.
    fn wait_for_stores(&mut self, count: usize) {
        if count <= self.stored_for_compute {
            return;
        }
        while let Some(store) = self.stores.pop_front() {
            if store.number + 1 == count {
                break;
            }
            self.insns[store.pusher].dep_mut().push_prev = false;
        }
        self.stored_for_compute = count;
        self.pop(Queue::Compute, Side::Next);
    }

    /// Ends the computation of a tile and begins its store.
    pub fn begin_store(&mut self) {
        self.push(Queue::Compute, Side::Next);
        self.pop(Queue::Store, Side::Prev);
    }

    /// Ends a store of these accumulators to these bytes of DRAM.
    pub fn end_store(&mut self, acc: Range<usize>, writes: Vec<Range<u64>>) {
        let pusher = self.push(Queue::Store, Side::Prev);
        self.stores.push_back(Stored { number: self.store_count, pusher, acc });
        self.written.push_back((self.store_count, writes));
        self.store_count += 1;
    }

    /// Tiles of output so far: neighbours lie in different parts of ACC, across layers too.
    pub fn tiles(&self) -> usize {
        self.store_count
    }

    /// Closes the program.
    pub fn finish(mut self) -> Result<Program, JitError> {
        self.wait_for_stores(self.store_count);
        // Tokens that nobody waits for are not pushed.
        for group in std::mem::take(&mut self.groups) {
            self.insns[group.pusher].dep_mut().push_prev = false;
        }
        self.push(Queue::Load, Side::Next);
        self.pop(Queue::Compute, Side::Prev);
        self.flush(Queue::Compute);
        self.issue(Finish::default());
        if self.uops.holds_all() {
            self.join_uop_loads();
        }
        let uops = std::mem::replace(&mut self.uops, UopCache::new(1)).into_dram();
        let mut data = Vec::with_capacity(uops.len() * 4);
        for uop in &uops {
            data.extend_from_slice(&uop.encode(self.config)?.to_le_bytes());
        }
        if !data.is_empty() {
            let base = self.constants("uops".into(), Role::Uop, data)?;
            for &i in &self.uop_loads {
                if let Insn::Load(load) = &mut self.insns[i]
                    && load.x_size > 0
                {
                    load.dram_base += base / 4;
                }
            }
        }
        let insns = merge(&self.insns);
        for insn in &insns {
            insn.encode(self.config)?;
        }
        Ok(Program { config: self.config.clone(), sections: self.sections, insns })
    }
}

/// First free offset behind these sections.
pub(crate) fn next_offset(sections: &[Section], align: u64) -> u64 {
    sections.iter().map(|s| s.end()).max().unwrap_or(0).next_multiple_of(align)
}
