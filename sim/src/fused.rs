//! GEMM and LANE with REQUANT fused to them: sums that are requantised for OUT as they end.
//!
//! ```text
//! a turn of the loops:  acc[d] = first product, acc[d] += the others;  out[d] = requant(acc[d])
//! ```
//!
//! Most instructions have one accumulator a turn, another one in each, and their parameters elsewhere. Then all sums may come
//! first and all results behind them; else every micro-op has its turn.

use tandem_isa::semantics::{self, RequantParam};
use tandem_isa::{HwConfig, Insn, Lane, Requant};

use crate::cleared::Cleared;
use crate::gemm::{GemmCall, Kernel, Packed};
use crate::lanes::{self, Part};
use crate::loops::{Axis, Indices, Loops};
use crate::sums::Sums;

/// GEMM or LANE, with the REQUANT that came before it, and what they work on.
pub(crate) struct Fused<'a> {
    pub insn: &'a Insn,
    pub requant: &'a Requant,
    pub config: &'a HwConfig,
    pub kernel: Kernel,
    pub inp: &'a [u8],
    pub wgt: &'a [u8],
    pub packed: &'a Packed,
    pub acc: &'a mut [i32],
    pub cleared: &'a mut Cleared,
    pub sums: &'a mut Sums,
}

impl Fused<'_> {
    /// Runs a part that has micro-ops.
    pub fn run(&mut self, part: &Part) {
        let Some(last) = part.uops.last().copied() else { return };
        if self.is_plain(part) {
            self.sum(part);
            self.finish(&Part { uops: &[last], ..part.clone() });
            return;
        }
        for outer in part.outer.clone() {
            for inner in 0..part.loops.inner.count {
                let turn = part.loops.turn(outer, inner);
                let at = |uop: &Indices| Indices {
                    dst: uop.dst + turn.dst,
                    src: uop.src + turn.src,
                    wgt: uop.wgt + turn.wgt,
                };
                self.one_turn(&part.uops.iter().map(at).collect::<Vec<_>>());
            }
        }
    }

    /// Whether each turn has an accumulator of its own and none of them is a parameter.
    fn is_plain(&self, part: &Part) -> bool {
        let Loops { outer, inner, .. } = part.loops;
        let dst = part.uops.first().map_or(0, |uop| uop.dst);
        let turns = part.outer.len() as u32;
        let apart = |long: &Axis, long_turns: u32, short: &Axis, short_turns: u32| {
            (short_turns < 2 || short.dst > 0)
                && (long_turns < 2 || long.dst > short.dst * short_turns.saturating_sub(1))
        };
        let one = part.uops.iter().all(|uop| uop.dst == dst);
        let distinct = apart(outer, turns, inner, inner.count) || apart(inner, inner.count, outer, turns);
        let end = dst + part.outer.end.saturating_sub(1) * outer.dst + inner.count.saturating_sub(1) * inner.dst;
        one && distinct && (end < self.requant.param || dst >= self.requant.param + 4)
    }

    /// The sums of all turns.
    fn sum(&mut self, part: &Part) {
        let lanes = self.config.out_elem_bytes();
        match self.insn {
            Insn::Gemm(i) => {
                lanes::clear(self.kernel, &Part { uops: &part.uops[..1], ..part.clone() }, self.acc, lanes);
                if !i.reset {
                    self.products(part);
                }
            }
            Insn::Lane(i) => {
                let (first, others) = part.uops.split_at(1);
                for (uops, overwrite) in [(first, true), (others, i.overwrite)] {
                    let (insn, part) = (Lane { overwrite, ..*i }, Part { uops, ..part.clone() });
                    lanes::lane(&insn, self.config, &part, self.inp, self.wgt, self.acc);
                }
            }
            _ => {}
        }
    }

    /// The results of all turns; the part has the last micro-op.
    fn finish(&mut self, part: &Part) {
        lanes::requant(self.kernel, self.requant, self.config, part, self.inp, self.acc, self.cleared);
    }

    /// The micro-ops of a turn, one after the other.
    fn one_turn(&mut self, uops: &[Indices]) {
        let (lanes, first) = (self.config.out_elem_bytes(), self.requant.param as usize);
        let once = Axis { count: 1, ..Axis::default() };
        let loops = Loops { outer: once, inner: once, ..Loops::default() };
        for (at, uop) in uops.iter().enumerate() {
            let part = Part { loops: &loops, outer: 0..1, uops: std::slice::from_ref(uop) };
            let dst = uop.dst as usize;
            let range = dst * lanes..(dst + 1) * lanes;
            let words = self.acc.get(first * lanes..(first + 4) * lanes).unwrap_or_default().to_vec();
            // OUT keeps what it has.
            if !self.cleared.any(dst..dst + 1) {
                let held: Vec<u8> = self.acc[range.clone()].iter().map(|&acc| low_byte(acc)).collect();
                self.cleared.keep_bytes(dst, &held);
            }
            if at == 0 {
                self.sum(&part);
            } else {
                self.add(&part);
            }
            if at + 1 == uops.len() {
                let result = |(lane, &sum): (usize, &i32)| {
                    let words = std::array::from_fn(|word| words.get(word * lanes + lane).copied().unwrap_or(0));
                    let param = RequantParam::from_words(words);
                    low_byte(semantics::requant(sum, &param, self.requant.mode, self.requant.saturate))
                };
                let bytes: Vec<u8> = self.acc[range].iter().enumerate().map(result).collect();
                self.cleared.keep_bytes(dst, &bytes);
            }
        }
    }

    /// Adds products of one turn to their accumulators.
    fn add(&mut self, part: &Part) {
        match self.insn {
            Insn::Gemm(i) if i.reset => lanes::clear(self.kernel, part, self.acc, self.config.out_elem_bytes()),
            Insn::Gemm(_) => self.products(part),
            Insn::Lane(i) => lanes::lane(i, self.config, part, self.inp, self.wgt, self.acc),
            _ => {}
        }
    }

    fn products(&mut self, part: &Part) {
        let outer = Axis { count: part.outer.len() as u32, ..part.loops.outer };
        let (uops, first, inner, batch) = (part.uops, part.outer.start, part.loops.inner, self.config.batch());
        let (packed, acc, sums) = (self.packed, &mut *self.acc, &mut *self.sums);
        GemmCall { uops, first, outer, inner, batch, packed, acc, sums }.run(self.kernel);
    }
}

fn low_byte(acc: i32) -> u8 {
    semantics::truncate_out(acc) as u8
}
