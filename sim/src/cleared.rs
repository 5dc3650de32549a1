//! Accumulators that REQUANT with `clear` has left: arithmetic finds zero there, STORE the result.
//!
//! `acc` keeps the result and a mark says that it is zero for everything but STORE. What touches a marked accumulator settles it
//! first: then `acc` itself is zero. Most instructions touch none, which a look at the range of their indices tells.

use std::ops::Range;

use crate::loops::{Indices, Loops};

/// The marks, one for each accumulator.
#[derive(Clone, Debug)]
pub(crate) struct Cleared(Vec<bool>);

impl Cleared {
    /// No mark on any of so many accumulators.
    pub fn new(depth: usize) -> Cleared {
        Cleared(vec![false; depth])
    }

    /// The marks, for an instruction that sets and reads them itself.
    pub fn marks(&mut self) -> &mut [bool] {
        &mut self.0
    }

    /// Forgets the marks on accumulators that a load writes.
    pub fn overwrite(&mut self, elements: impl IntoIterator<Item = usize>) {
        for index in elements {
            if let Some(mark) = self.0.get_mut(index) {
                *mark = false;
            }
        }
    }

    /// Makes zero of marked accumulators that the destinations of these loops name, and, where `sources` is so many, of those
    /// that so many from each source on are.
    pub fn settle(&mut self, loops: &Loops, uops: &[Indices], sources: usize, acc: &mut [i32], lanes: usize) {
        let dst = |uop: &Indices| uop.dst as usize;
        self.settle_each(loops, uops, dst, (loops.outer.dst, loops.inner.dst), 1, acc, lanes);
        if sources > 0 {
            let src = |uop: &Indices| uop.src as usize;
            self.settle_each(loops, uops, src, (loops.outer.src, loops.inner.src), sources, acc, lanes);
        }
    }

    /// Makes zero of marked accumulators in a range.
    pub fn settle_range(&mut self, range: Range<usize>, acc: &mut [i32], lanes: usize) {
        for at in range {
            if self.0.get(at) == Some(&true) {
                self.0[at] = false;
                if let Some(acc) = acc.get_mut(at * lanes..(at + 1) * lanes) {
                    acc.fill(0);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an index is a micro-op's field with two factors")]
    fn settle_each(
        &mut self,
        loops: &Loops,
        uops: &[Indices],
        index: impl Fn(&Indices) -> usize,
        (outer, inner): (u32, u32),
        count: usize,
        acc: &mut [i32],
        lanes: usize,
    ) {
        // Turns that do not move the index name nothing new.
        let turns = |count: u32, step: u32| if step == 0 { count.min(1) as usize } else { count as usize };
        let (outer_turns, inner_turns) = (turns(loops.outer.count, outer), turns(loops.inner.count, inner));
        let (Some(first), Some(last)) = (uops.iter().map(&index).min(), uops.iter().map(&index).max()) else { return };
        if outer_turns == 0 || inner_turns == 0 {
            return;
        }
        let last = last + (outer_turns - 1) * outer as usize + (inner_turns - 1) * inner as usize + count;
        let end = last.min(self.0.len());
        if !self.0.get(first..end).is_some_and(|marks| marks.contains(&true)) {
            return;
        }
        for y in 0..outer_turns {
            for x in 0..inner_turns {
                let offset = y * outer as usize + x * inner as usize;
                for uop in uops {
                    let at = index(uop) + offset;
                    self.settle_range(at..at + count, acc, lanes);
                }
            }
        }
    }
}
