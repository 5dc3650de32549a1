//! Gives registers that are never alive together one place.
//!
//! NVRTC writes a register once and uses thousands; a warp keeps 256 bytes for each. A register is alive from its first
//! to its last mention, stretched over every basic block in or out of which its value flows.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::op::{Inst, Op, Reg};

/// Basic blocks: the range of instructions and what follows.
struct Block {
    start: usize,
    end: usize,
    next: Vec<usize>,
}

/// A set of registers.
#[derive(Clone, PartialEq)]
struct Set(Vec<u64>);

impl Set {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, r: usize) {
        self.0[r / 64] |= 1 << (r % 64);
    }

    fn contains(&self, r: usize) -> bool {
        self.0[r / 64] >> (r % 64) & 1 == 1
    }

    fn each(&self) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(i, word)| (0..64).filter(move |b| word >> b & 1 == 1).map(move |b| i * 64 + b))
    }
}

/// Renumbers the registers of `code`. Those for which `pinned` is true keep a place of their own. Returns the new number
/// of each old register, and how many there are.
pub(super) fn allocate(code: &mut [Inst], pinned: &[bool]) -> (Vec<Reg>, usize) {
    let intervals = intervals(code, pinned.len());
    let mut map: Vec<Reg> = vec![0; pinned.len()];
    let mut next = 0;
    for (r, _) in pinned.iter().enumerate().filter(|(_, p)| **p) {
        map[r] = next;
        next += 1;
    }
    let mut order: Vec<usize> = (0..pinned.len()).filter(|r| !pinned[*r] && intervals[*r].is_some()).collect();
    order.sort_by_key(|r| intervals[*r]);
    let mut alive: BinaryHeap<Reverse<(usize, Reg)>> = BinaryHeap::new();
    for r in order {
        let Some((start, end)) = intervals[r] else { continue };
        // A place is free once its register has been mentioned for the last time, in an instruction before this one:
        // no instruction writes a place that it also reads for another register.
        let place = match alive.peek() {
            Some(Reverse((last, place))) if *last < start => {
                let place = *place;
                alive.pop();
                place
            }
            _ => {
                next += 1;
                next - 1
            }
        };
        map[r] = place;
        alive.push(Reverse((end, place)));
    }
    for inst in code {
        inst.op.each_register(&mut |r, _| *r = map[*r as usize]);
    }
    (map, next as usize)
}

/// First and last instruction at which each register is alive.
fn intervals(code: &mut [Inst], count: usize) -> Vec<Option<(usize, usize)>> {
    let blocks = blocks(code);
    let mut used = vec![Set::new(count); blocks.len()];
    let mut defined = vec![Set::new(count); blocks.len()];
    let mut out = vec![None; count];
    let mut extend = |r: usize, at: usize| {
        let (first, last) = out[r].unwrap_or((at, at));
        out[r] = Some((at.min(first), at.max(last)));
    };
    for (i, block) in blocks.iter().enumerate() {
        for (at, inst) in code.iter_mut().enumerate().take(block.end).skip(block.start) {
            // A write under a predicate leaves the old value to some lanes, which counts as a read.
            let partial = inst.guard.is_some();
            inst.op.each_register(&mut |r, written| {
                let r = *r as usize;
                extend(r, at);
                if (!written || partial) && !defined[i].contains(r) {
                    used[i].insert(r);
                }
                if written {
                    defined[i].insert(r);
                }
            });
        }
    }
    let mut live_in = used.clone();
    let mut changed = true;
    while changed {
        changed = false;
        for i in (0..blocks.len()).rev() {
            let mut live = used[i].clone();
            for next in &blocks[i].next {
                for (word, (other, own)) in live.0.iter_mut().zip(live_in[*next].0.iter().zip(&defined[i].0)) {
                    *word |= other & !own;
                }
            }
            if live != live_in[i] {
                live_in[i] = live;
                changed = true;
            }
        }
    }
    for (i, block) in blocks.iter().enumerate() {
        live_in[i].each().for_each(|r| extend(r, block.start));
        for next in &block.next {
            live_in[*next].each().for_each(|r| extend(r, block.end - 1));
        }
    }
    out
}

fn blocks(code: &[Inst]) -> Vec<Block> {
    let mut starts = BTreeSet::from([0]);
    for (i, inst) in code.iter().enumerate() {
        match &inst.op {
            Op::Branch { target } => starts.extend([*target as usize, i + 1]),
            Op::BranchTable { targets, .. } => starts.extend(targets.iter().map(|t| *t as usize).chain([i + 1])),
            Op::Exit | Op::Trap => starts.extend([i + 1]),
            _ => {}
        }
    }
    let starts: Vec<usize> = starts.into_iter().filter(|s| *s < code.len()).collect();
    let find = |at: usize| starts.binary_search(&at).ok();
    let mut out = Vec::with_capacity(starts.len());
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(code.len());
        let last = &code[end - 1];
        let mut next: Vec<usize> = match &last.op {
            Op::Branch { target } => find(*target as usize).into_iter().collect(),
            Op::BranchTable { targets, .. } => targets.iter().filter_map(|t| find(*t as usize)).collect(),
            _ => Vec::new(),
        };
        let leaves = matches!(last.op, Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit | Op::Trap);
        if !leaves || last.guard.is_some() {
            next.extend(find(end));
        }
        out.push(Block { start: *start, end, next });
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::Module;

    fn registers(body: &str) -> u32 {
        let text = format!(
            ".version 9.0\n.target sm_90a\n.visible .entry k(.param .u64 p)\n{{\n.reg .pred %p<9>;\n.reg .b32 %r<99>;\n\
             .reg .b64 %rd<9>;\nld.param.u64 %rd1, [p];\n{body}\nret;\n}}"
        );
        let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        module.kernel("k").map_or(0, |k| k.registers - k.constants.len() as u32)
    }

    #[test]
    fn a_chain_of_temporaries_takes_few_places() {
        let chain: String = (2..90).map(|i| format!("add.u32 %r{i}, %r{}, 1;\n", i - 1)).collect();
        let body = format!("mov.u32 %r1, %tid.x;\n{chain}st.global.u32 [%rd1], %r89;");
        // The sink, the address, and two or three numbers.
        assert!(registers(&body) <= 6, "{}", registers(&body));
    }

    #[test]
    fn a_value_that_a_loop_keeps_has_a_place_of_its_own() {
        // %r1 is mentioned for the last time before %r3 is written, but the loop reads it again.
        let body = "mov.u32 %r1, 5; mov.u32 %r4, 0; L: add.u32 %r2, %r1, %r4; mov.u32 %r3, %r2; add.u32 %r4, %r3, 1;
            setp.lt.u32 %p1, %r4, 100; @%p1 bra L; st.global.u32 [%rd1], %r4;";
        assert!(registers(body) >= 5, "{}", registers(body));
    }
}
