//! The two nested loops over micro-ops that GEMM, ALU, REQUANT and LANE share.

use std::ops::Range;

use tandem_isa::{HwConfig, Insn, Uop};

use crate::Fault;

/// One loop: how often, and by how much each index moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Axis {
    pub count: u32,
    pub dst: u32,
    pub src: u32,
    pub wgt: u32,
}

/// The loops of an instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loops {
    pub uop_begin: u32,
    pub uop_end: u32,
    pub outer: Axis,
    pub inner: Axis,
}

/// The indices of a decoded micro-op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indices {
    pub dst: u32,
    pub src: u32,
    pub wgt: u32,
}

/// The exclusive upper bounds of the three indices, with what they count; `tail` more elements are touched behind `src`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub dst: usize,
    pub src: (&'static str, &'static str, usize),
    pub wgt: Option<(&'static str, usize)>,
    pub tail: u64,
}

/// How [`Uop`] words split under a configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UopLayout {
    dst: u32,
    src: u32,
    wgt: u32,
}

macro_rules! loops_of {
    ($i:expr, $wgt_out:expr, $wgt_in:expr) => {
        Loops {
            uop_begin: $i.uop_begin,
            uop_end: $i.uop_end,
            outer: Axis { count: $i.iter_out, dst: $i.dst_factor_out, src: $i.src_factor_out, wgt: $wgt_out },
            inner: Axis { count: $i.iter_in, dst: $i.dst_factor_in, src: $i.src_factor_in, wgt: $wgt_in },
        }
    };
}

impl Loops {
    /// The loops of an instruction that has them.
    pub fn of(insn: &Insn) -> Option<Loops> {
        Some(match insn {
            Insn::Gemm(i) => loops_of!(i, i.wgt_factor_out, i.wgt_factor_in),
            Insn::Lane(i) => loops_of!(i, i.wgt_factor_out, i.wgt_factor_in),
            Insn::Alu(i) => loops_of!(i, 0, 0),
            // Nothing of it runs by itself.
            Insn::Requant(i) if i.fuse => Loops::default(),
            Insn::Requant(i) => loops_of!(i, 0, 0),
            Insn::Load(_) | Insn::Store(_) | Insn::Finish(_) | Insn::LoadPad(_) => return None,
        })
    }

    /// Micro-op executions in one turn of the outer loop.
    pub fn per_outer(&self) -> u64 {
        u64::from(self.inner.count) * u64::from(self.uop_end.saturating_sub(self.uop_begin))
    }

    /// Micro-op executions.
    pub fn executions(&self) -> u64 {
        u64::from(self.outer.count) * self.per_outer()
    }

    /// Decodes the micro-ops and checks the highest indices that the loops reach. All factors are unsigned, so these are the
    /// indices of the last turn of both loops. Nothing is checked where nothing runs.
    pub fn resolve(
        &self,
        uops: &[u32],
        layout: UopLayout,
        config: &HwConfig,
        bounds: &Bounds,
        resolved: &mut Vec<Indices>,
    ) -> Result<(), Fault> {
        resolved.clear();
        if self.executions() == 0 {
            return Ok(());
        }
        let range = self.uop_begin as usize..self.uop_end as usize;
        let words = uops.get(range).ok_or(Fault::Sram {
            memory: "UOP",
            unit: "element",
            index: u64::from(self.uop_end) - 1,
            depth: uops.len() as u64,
        })?;
        let mut last = Indices::default();
        for (offset, &word) in words.iter().enumerate() {
            let uop =
                layout.split(word).ok_or_else(|| layout.refuse(word, self.uop_begin as usize + offset, config))?;
            last.dst = last.dst.max(uop.dst);
            last.src = last.src.max(uop.src);
            last.wgt = last.wgt.max(uop.wgt);
            resolved.push(uop);
        }
        let reach = |first: u32, outer: u32, inner: u32| {
            u64::from(first)
                + u64::from(self.outer.count - 1) * u64::from(outer)
                + u64::from(self.inner.count - 1) * u64::from(inner)
        };
        check("ACC", "element", reach(last.dst, self.outer.dst, self.inner.dst), bounds.dst)?;
        let (memory, unit, depth) = bounds.src;
        check(memory, unit, reach(last.src, self.outer.src, self.inner.src) + bounds.tail, depth)?;
        match bounds.wgt {
            Some((unit, depth)) => check("WGT", unit, reach(last.wgt, self.outer.wgt, self.inner.wgt), depth),
            None => Ok(()),
        }
    }

    /// What a turn of the outer and one of the inner loop add to the indices of a micro-op.
    #[inline(always)]
    pub fn turn(&self, outer: u32, inner: u32) -> Indices {
        Indices {
            dst: outer * self.outer.dst + inner * self.inner.dst,
            src: outer * self.outer.src + inner * self.inner.src,
            wgt: outer * self.outer.wgt + inner * self.inner.wgt,
        }
    }

    /// Calls back with the indices of every execution of a part of the outer loop, in order.
    #[inline]
    pub fn each(&self, outer: Range<u32>, uops: &[Indices], mut visit: impl FnMut(usize, usize, usize)) {
        for y in outer {
            for x in 0..self.inner.count {
                let turn = self.turn(y, x);
                for uop in uops {
                    let index = |index: u32, turn: u32| index as usize + turn as usize;
                    visit(index(uop.dst, turn.dst), index(uop.src, turn.src), index(uop.wgt, turn.wgt));
                }
            }
        }
    }
}

impl UopLayout {
    pub fn new(config: &HwConfig) -> UopLayout {
        UopLayout { dst: config.log_acc_depth(), src: config.log_src_depth(), wgt: config.log_wgt_depth() }
    }

    #[inline]
    fn split(self, word: u32) -> Option<Indices> {
        let word = u64::from(word);
        let field = |lo: u32, width: u32| (word >> lo & ((1 << width) - 1)) as u32;
        let used = self.dst + self.src + self.wgt;
        (word >> used == 0).then(|| Indices {
            dst: field(0, self.dst),
            src: field(self.dst, self.src),
            wgt: field(self.dst + self.src, self.wgt),
        })
    }

    #[cold]
    fn refuse(self, word: u32, index: usize, config: &HwConfig) -> Fault {
        let source = match Uop::decode(word, config) {
            Err(source) => source,
            Ok(_) => tandem_isa::IsaError::UopReserved { word, hi: 31, lo: self.dst + self.src + self.wgt },
        };
        Fault::Uop { index: index as u64, source }
    }
}

fn check(memory: &'static str, unit: &'static str, index: u64, depth: usize) -> Result<(), Fault> {
    if index < depth as u64 { Ok(()) } else { Err(Fault::Sram { memory, unit, index, depth: depth as u64 }) }
}
