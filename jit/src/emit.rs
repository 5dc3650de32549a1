//! The instruction stream: tokens, the barrier between layers, and sections.
//!
//! Waiting is written as `pop`, held back and merged into the next instruction of the queue; signalling is written as
//! `push`, merged into the last instruction of the queue. A NOP carries a flag where no instruction can.

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

pub(crate) struct Emitter<'c> {
    config: &'c HwConfig,
    insns: Vec<Insn>,
    sections: Vec<Section>,
    uops: UopCache,
    /// Instructions whose `dram_base` counts from the start of the micro-op section, which is placed last.
    uop_loads: Vec<usize>,
    /// Last instruction of each queue.
    last: [Option<usize>; 3],
    /// Pops that wait for the next instruction of each queue.
    pending: [Dep; 3],
    /// Instructions that pushed a token compute -> load or store -> compute that nobody has popped yet.
    free_loads: VecDeque<usize>,
    free_tiles: VecDeque<usize>,
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
            last: [None; 3],
            pending: [Dep::default(); 3],
            free_loads: VecDeque::new(),
            free_tiles: VecDeque::new(),
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

    /// Begins the loads of group `index` of a layer with `contexts` halves of INP and WGT: waits until the group that used
    /// the same half has been computed.
    pub fn begin_load(&mut self, index: usize, contexts: usize) {
        if self.serial {
            self.barrier_after(index);
        } else if index >= contexts {
            self.pop(Queue::Load, Side::Next);
            self.free_loads.pop_front();
        }
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
        self.free_loads.push_back(pusher);
    }

    /// Begins output tile `index` of a layer with `contexts` parts of ACC: waits until the tile that used the same part has
    /// been stored.
    pub fn begin_tile(&mut self, index: usize, contexts: usize) {
        if self.serial {
            self.barrier_after(index);
        } else if index >= contexts {
            self.pop(Queue::Compute, Side::Next);
            self.free_tiles.pop_front();
        }
    }

    /// Orders part `index` of a layer behind everything before it; the first one is there already.
    fn barrier_after(&mut self, index: usize) {
        if index > 0 {
            self.barrier();
        }
    }

    /// Ends the computation of a tile and begins its store.
    pub fn begin_store(&mut self) {
        self.push(Queue::Compute, Side::Next);
        self.pop(Queue::Store, Side::Prev);
    }

    pub fn end_store(&mut self) {
        let pusher = self.push(Queue::Store, Side::Prev);
        self.free_tiles.push_back(pusher);
    }

    /// Orders everything before against everything after: the next load runs when the last store is done, and no token is
    /// left over.
    pub fn barrier(&mut self) {
        // Tokens that nobody waits for are not pushed: they are the youngest of their queue.
        for pusher in self.free_loads.drain(..) {
            self.insns[pusher].dep_mut().push_prev = false;
        }
        let last_store = self.free_tiles.pop_back();
        for pusher in self.free_tiles.drain(..) {
            self.insns[pusher].dep_mut().push_prev = false;
        }
        if last_store.is_some() {
            self.pop(Queue::Compute, Side::Next);
        }
        self.push(Queue::Compute, Side::Prev);
        self.pop(Queue::Load, Side::Next);
    }

    /// Closes the program.
    pub fn finish(mut self) -> Result<Program, JitError> {
        self.push(Queue::Load, Side::Next);
        self.pop(Queue::Compute, Side::Prev);
        self.flush(Queue::Compute);
        self.issue(Finish::default());
        let uops = std::mem::replace(&mut self.uops, UopCache::new(1)).into_dram();
        let mut data = Vec::with_capacity(uops.len() * 4);
        for uop in &uops {
            data.extend_from_slice(&uop.encode(self.config)?.to_le_bytes());
        }
        if !data.is_empty() {
            let base = self.constants("uops".into(), Role::Uop, data)?;
            for &i in &self.uop_loads {
                if let Insn::Load(load) = &mut self.insns[i] {
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
