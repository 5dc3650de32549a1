//! What REQUANT with `clear` leaves, zero in ACC and in OUT a result that is not what ACC holds, and REQUANT with `fuse`, which
//! leaves the sum in ACC.
//!
//! OUT is otherwise the low bytes of ACC, so that it need not be kept. Of such an accumulator a mark says that STORE takes
//! what is kept here; whatever else writes the accumulator takes the mark away. Most instructions write no marked one, which a look
//! at the range of their indices tells.

use std::ops::Range;

use crate::loops::{Indices, Loops};

/// The marks, and the bytes of marked accumulators.
#[derive(Clone, Debug)]
pub(crate) struct Cleared {
    marks: Vec<bool>,
    bytes: Vec<u8>,
}

impl Cleared {
    /// No mark on any of so many accumulators of so many lanes.
    pub fn new(depth: usize, lanes: usize) -> Cleared {
        Cleared { marks: vec![false; depth], bytes: vec![0; depth * lanes] }
    }

    /// Keeps the bytes of an accumulator that has become zero.
    #[inline]
    pub fn keep<const L: usize>(&mut self, index: usize, bytes: &[u8; L]) {
        if let (Some(mark), Some(kept)) = (self.marks.get_mut(index), self.bytes.as_chunks_mut().0.get_mut(index)) {
            (*mark, *kept) = (true, *bytes);
        }
    }

    /// The same, for any number of lanes.
    pub fn keep_bytes(&mut self, index: usize, bytes: &[u8]) {
        let range = index * bytes.len()..(index + 1) * bytes.len();
        if let (Some(mark), Some(kept)) = (self.marks.get_mut(index), self.bytes.get_mut(range)) {
            *mark = true;
            kept.copy_from_slice(bytes);
        }
    }

    /// Whether one of these accumulators is marked.
    pub fn any(&self, elements: Range<usize>) -> bool {
        self.marks.get(elements).is_some_and(|marks| marks.contains(&true))
    }

    /// The bytes of an accumulator, where it is marked.
    pub fn get(&self, index: usize, lanes: usize) -> Option<&[u8]> {
        self.marks.get(index).filter(|&&mark| mark)?;
        self.bytes.get(index * lanes..(index + 1) * lanes)
    }

    /// Takes away the marks of accumulators that a load writes.
    pub fn release(&mut self, elements: Range<usize>) {
        if let Some(marks) = self.marks.get_mut(elements) {
            marks.fill(false);
        }
    }

    /// Takes away the marks of the accumulators that these loops write.
    pub fn release_targets(&mut self, loops: &Loops, uops: &[Indices]) {
        // Turns that do not move the index name nothing new.
        let turns = |count: u32, step: u32| if step == 0 { count.min(1) as usize } else { count as usize };
        let (outer, inner) = (loops.outer.dst as usize, loops.inner.dst as usize);
        let (outer_turns, inner_turns) =
            (turns(loops.outer.count, loops.outer.dst), turns(loops.inner.count, loops.inner.dst));
        let targets = || uops.iter().map(|uop| uop.dst as usize);
        let (Some(first), Some(last)) = (targets().min(), targets().max()) else { return };
        if outer_turns == 0 || inner_turns == 0 {
            return;
        }
        let end = last + (outer_turns - 1) * outer + (inner_turns - 1) * inner + 1;
        if !self.any(first..end.min(self.marks.len())) {
            return;
        }
        for y in 0..outer_turns {
            for x in 0..inner_turns {
                for target in targets() {
                    self.release(target + y * outer + x * inner..target + y * outer + x * inner + 1);
                }
            }
        }
    }
}
