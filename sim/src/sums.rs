//! GEMM as sums: its loops in an order that suits a processor.
//!
//! GEMM adds products to accumulators and reads nothing that it writes. Additions wrap, so its executions may come in any order.
//! Its two loops, and those that its list of micro-ops amounts to, are axes:
//!
//! ```text
//! dst moves   wgt moves   the axis gives
//! no          any         terms:   products that are added to the same accumulators, which stay in registers meanwhile
//! yes         no          targets: accumulators that take the same weights, which are read once for several of them
//! yes         yes         turns:   one after the other
//! ```

use crate::loops::{Axis, Indices};

/// Terms at most that are listed; a longer sum takes several turns.
const TERMS: usize = 4096;

/// A row of ACC, and the row of INP that its first product reads, both from where a turn starts.
///
/// # Units
/// Rows of the batch: an element is `batch` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub acc: i32,
    pub inp: i32,
}

/// A product that every target takes: rows of INP from its first one, and elements of WGT from where a turn starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    pub inp: i32,
    pub wgt: i32,
}

/// Where a turn starts: a row of ACC, a row of INP and an element of WGT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub acc: i32,
    pub inp: i32,
    pub wgt: i32,
}

/// The sums of a GEMM, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    start: Start,
    targets: Vec<Target>,
    terms: Vec<Term>,
    turns: Vec<Step>,
    /// No two targets are the same row of ACC.
    distinct: bool,
    /// What the lists are made from.
    steps: Vec<Step>,
    /// For each row of ACC the number of the list that last had it; rows lie before and behind the first target.
    marks: Vec<u32>,
    lists: u32,
}

/// An axis: how often, and by how much each index moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    count: u32,
    dst: i32,
    src: i32,
    wgt: i32,
}

impl Step {
    fn between(from: &Indices, to: &Indices) -> Step {
        let distance = |from: u32, to: u32| to.wrapping_sub(from) as i32;
        Step {
            count: 1,
            dst: distance(from.dst, to.dst),
            src: distance(from.src, to.src),
            wgt: distance(from.wgt, to.wgt),
        }
    }

    /// Whether every micro-op of `to` lies so many steps behind its counterpart.
    fn leads(&self, from: &[Indices], to: &[Indices], steps: usize) -> bool {
        let far = |from: u32, step: i32| from.wrapping_add((step as u32).wrapping_mul(steps as u32));
        let leads = |(from, to): (&Indices, &Indices)| {
            far(from.dst, self.dst) == to.dst && far(from.src, self.src) == to.src && far(from.wgt, self.wgt) == to.wgt
        };
        from.iter().zip(to).all(leads)
    }
}

impl From<Axis> for Step {
    fn from(axis: Axis) -> Step {
        Step { count: axis.count, dst: axis.dst as i32, src: axis.src as i32, wgt: axis.wgt as i32 }
    }
}

impl Sums {
    /// Lists the sums of as many micro-ops as have a common form, and gives their number: all of them where they are a nest of
    /// loops. The outer loop takes `outer.count` turns from `first`; every index is inside its scratchpad, ACC has `depth`
    /// elements, and neither a loop nor the list of micro-ops is empty.
    pub fn list(
        &mut self,
        uops: &[Indices],
        first: u32,
        [outer, inner]: [Axis; 2],
        batch: usize,
        depth: usize,
    ) -> usize {
        let (head, rows) = (uops.first().copied().unwrap_or_default(), batch as i32);
        self.start = Start {
            acc: (head.dst + first * outer.dst) as i32 * rows,
            inp: (head.src + first * outer.src) as i32 * rows,
            wgt: (head.wgt + first * outer.wgt) as i32,
        };
        let same = uops.iter().take_while(|uop| uop.dst == head.dst);
        self.terms.clear();
        self.terms.extend(same.map(|uop| Step::between(&head, uop)).map(|s| Term { inp: s.src * rows, wgt: s.wgt }));
        self.steps.clear();
        let listed = nest(uops, self.terms.len(), &mut self.steps);
        self.steps.extend([Step::from(inner), Step::from(outer)]);
        self.targets.clear();
        self.targets.push(Target::default());
        self.turns.clear();
        for &step in self.steps.iter().filter(|step| step.count > 1) {
            let count = step.count as usize;
            let step = Step { dst: step.dst * rows, src: step.src * rows, ..step };
            if step.dst != 0 && step.wgt == 0 && self.targets.len() * count <= depth {
                repeat(&mut self.targets, count, |target, turn| Target {
                    acc: target.acc + turn * step.dst,
                    inp: target.inp + turn * step.src,
                });
            } else if step.dst == 0 && self.terms.len() * count <= TERMS {
                repeat(&mut self.terms, count, |term, turn| Term {
                    inp: term.inp + turn * step.src,
                    wgt: term.wgt + turn * step.wgt,
                });
            } else {
                self.turns.push(step);
            }
        }
        repeat(&mut self.targets, batch, |target, row| Target { acc: target.acc + row, inp: target.inp + row });
        self.distinct = self.targets.is_sorted_by(|a, b| a.acc < b.acc) || self.are_distinct(depth * batch);
        listed
    }

    /// Calls back with the start of every turn, tiles of up to `most` targets that are different rows of ACC, and the terms.
    #[inline(always)]
    pub fn tiles(&self, most: usize, mut visit: impl FnMut(Start, &[Target], &[Term])) {
        // Tiles are of about the same size: in a small one every product waits for the one before.
        let tiles = self.targets.len().div_ceil(most).max(1);
        let width = if self.distinct { self.targets.len().div_ceil(tiles) } else { 1 };
        let mut start = self.start;
        // A list of micro-ops has at most 32 axes of more than one turn.
        let mut turns = [0; 34];
        loop {
            self.targets.chunks(width.max(1)).for_each(|targets| visit(start, targets, &self.terms));
            let moved = self.turns.iter().zip(&mut turns).any(|(step, turn)| {
                *turn += 1;
                let moved = *turn < step.count;
                let by = if moved { 1 } else { 1 - std::mem::take(turn) as i32 };
                start.acc += by * step.dst;
                start.inp += by * step.src;
                start.wgt += by * step.wgt;
                moved
            });
            if !moved {
                return;
            }
        }
    }

    fn are_distinct(&mut self, rows: usize) -> bool {
        if self.lists == u32::MAX || self.marks.len() != 2 * rows {
            self.marks = vec![0; 2 * rows];
            self.lists = 0;
        }
        self.lists += 1;
        self.targets.iter().all(|target| {
            let mark = self.marks.get_mut((target.acc + rows as i32) as usize);
            mark.is_some_and(|mark| std::mem::replace(mark, self.lists) != self.lists)
        })
    }
}

/// Appends so many turns of a list less one; `of` makes an entry of a turn from that of the first.
#[inline(always)]
fn repeat<T: Copy>(list: &mut Vec<T>, turns: usize, of: impl Fn(T, i32) -> T) {
    let first = list.len();
    list.reserve(first * (turns - 1));
    for turn in 1..turns as i32 {
        for at in 0..first {
            list.push(of(list[at], turn));
        }
    }
}

/// Takes a list of micro-ops for a nest of loops around its first `size` ones, innermost first; gives how far that goes.
fn nest(uops: &[Indices], mut size: usize, steps: &mut Vec<Step>) -> usize {
    while let Some((from, head, next)) = uops.get(..size).and_then(|from| Some((from, from.first()?, uops.get(size)?)))
    {
        let step = Step::between(head, next);
        let turns = uops.chunks_exact(size).enumerate();
        let count = turns.take_while(|(turn, to)| step.leads(from, to, *turn)).count();
        if count < 2 {
            break;
        }
        steps.push(Step { count: count as u32, ..step });
        size *= count;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All executions of the sums, sorted.
    fn executions(sums: &Sums, most: usize) -> Vec<[i32; 3]> {
        let mut all = Vec::new();
        sums.tiles(most, |start, targets, terms| {
            assert!(targets.len() <= most);
            for target in targets {
                for term in terms {
                    let (acc, inp) = (start.acc + target.acc, start.inp + target.inp + term.inp);
                    all.push([acc, inp, start.wgt + term.wgt]);
                }
            }
        });
        all.sort_unstable();
        all
    }

    /// Lists until no micro-op is left; gives the executions and the numbers of micro-ops.
    fn list(mut uops: &[Indices], first: u32, axes: [Axis; 2], batch: u32) -> (Vec<[i32; 3]>, Vec<usize>) {
        let (mut sums, mut all, mut parts) = (Sums::default(), Vec::new(), Vec::new());
        while !uops.is_empty() {
            parts.push(sums.list(uops, first, axes, batch as usize, 1 << 11));
            all.extend(executions(&sums, 5));
            uops = &uops[parts[parts.len() - 1]..];
        }
        all.sort_unstable();
        (all, parts)
    }

    fn plain(uops: &[Indices], first: u32, [outer, inner]: [Axis; 2], batch: u32) -> Vec<[i32; 3]> {
        let mut all = Vec::new();
        for y in first..first + outer.count {
            for x in 0..inner.count {
                for uop in uops {
                    let index = |uop, outer, inner| uop + y * outer + x * inner;
                    let dst = index(uop.dst, outer.dst, inner.dst);
                    let src = index(uop.src, outer.src, inner.src);
                    let wgt = index(uop.wgt, outer.wgt, inner.wgt);
                    all.extend((0..batch).map(|row| [dst * batch + row, src * batch + row, wgt].map(|n| n as i32)));
                }
            }
        }
        all.sort_unstable();
        all
    }

    fn axis(count: u32, dst: u32, src: u32, wgt: u32) -> Axis {
        Axis { count, dst, src, wgt }
    }

    #[test]
    fn the_taps_of_a_convolution_are_terms_and_its_pixels_targets() {
        let taps: Vec<Indices> = (0..9).map(|tap| Indices { dst: 0, src: tap % 3 + tap / 3 * 16, wgt: tap }).collect();
        let mut sums = Sums::default();
        assert_eq!(sums.list(&taps, 0, [axis(14, 14, 16, 0), axis(14, 1, 1, 0)], 1, 2048), 9);
        assert_eq!((sums.targets.len(), sums.terms.len(), sums.turns.len(), sums.distinct), (196, 9, 0, true));
    }

    #[test]
    fn pixels_in_micro_ops_are_targets_in_either_order_and_channels_are_turns() {
        let tap = |tap: u32, pixel: u32| Indices { dst: pixel, src: tap + pixel, wgt: tap };
        let pixels_outside: Vec<Indices> = (0..63).map(|n| tap(n % 9, n / 9)).collect();
        let taps_outside: Vec<Indices> = (0..63).map(|n| tap(n / 7, n % 7)).collect();
        for uops in [pixels_outside, taps_outside] {
            let mut sums = Sums::default();
            assert_eq!(sums.list(&uops, 0, [axis(7, 7, 9, 0), axis(8, 49, 0, 9)], 1, 2048), 63);
            assert_eq!((sums.targets.len(), sums.terms.len(), sums.turns.len(), sums.distinct), (49, 9, 1, true));
        }
    }

    #[test]
    fn accumulators_that_two_executions_share_are_not_targets_of_one_tile() {
        let uops = [Indices::default()];
        let axes = [axis(4, 1, 5, 0), axis(4, 1, 1, 0)];
        let mut sums = Sums::default();
        sums.list(&uops, 0, axes, 2, 2048);
        assert!(!sums.distinct);
        sums.tiles(8, |_, targets, _| assert_eq!(targets.len(), 1));
        assert_eq!(list(&uops, 0, axes, 2).0, plain(&uops, 0, axes, 2));
    }

    #[test]
    fn every_execution_is_in_the_sums_once() {
        let mut random = crate::random::Random(5);
        let mut below = |n: u64| ((random.next() >> 33) % n) as u32;
        let mut whole = 0;
        for case in 0..2000 {
            let mut uops = vec![Indices { dst: below(9), src: below(9), wgt: below(9) }];
            for _ in 0..below(4) {
                let (count, listed) = (below(4) + 1, uops.clone());
                let step = [below(3), below(3), below(3)];
                for turn in 1..count {
                    uops.extend(listed.iter().map(|uop| Indices {
                        dst: uop.dst + turn * step[0],
                        src: uop.src + turn * step[1],
                        wgt: uop.wgt + turn * step[2],
                    }));
                }
            }
            // Some lists are nests of loops, others nearly, some backwards.
            if case % 4 == 0 {
                let at = below(uops.len() as u64) as usize;
                uops[at].src += 1;
            }
            if case % 3 == 0 {
                uops.reverse();
            }
            let mut axis = || axis(below(4) + 1, below(3), below(3), below(3));
            let (axes, first, batch) = ([axis(), axis()], below(3), 1 << below(3));
            let (all, parts) = list(&uops, first, axes, batch);
            assert_eq!(all, plain(&uops, first, axes, batch), "case {case}");
            whole += usize::from(parts.len() == 1);
        }
        assert!(whole > 1000, "{whole} lists in one piece");
    }
}
