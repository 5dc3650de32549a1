//! Neighbours of one queue become one instruction.
//!
//! ```text
//! load.inp sram=0  dram=0xb00 size=25x1 stride=5 pop_next
//! load.inp sram=25 dram=0xb7d size=25x1 stride=5 push_next     load.inp sram=0 dram=0xb00 size=50x1 stride=5 pop_next push_next
//! gemm uop=1..5 loop=9x5 dst=5,1 src=24,2 wgt=0,0
//! gemm uop=5..9 loop=9x5 dst=5,1 src=24,2 wgt=0,0         -->  gemm uop=1..9 loop=9x5 dst=5,1 src=24,2 wgt=0,0
//! store.out sram=0 dram=0x0  size=3x5 stride=5
//! store.out sram=15 dram=0x19 size=3x5 stride=5                store.out sram=0 dram=0x0 size=2x15 stride=25
//! ```
//!
//! The later instruction moves to the place of the earlier one, and nothing else moves. It may do so because no flag stands
//! between the two: what the earlier one had to wait for is all that the later one had to wait for, and nobody was told in
//! between. Instructions of other queues that lie between them in the stream are ordered by tokens or not at all, so the new
//! stream is a legal order wherever the old one was, also on a machine that runs it in order.
//!
//! What REQUANT is fused with stays by itself. A NOP without flags goes. Transfers keep their order row by row. GEMM and LANE add (with wrap-around) or take a maximum, which gives the same sum in
//! any order; clearing does so too. What reads what it wrote (ALU, REQUANT, LANE that overwrites) is left as it is: for REQUANT
//! a list of micro-ops with different parameters would also be slower than its parts.

use tandem_isa::{Dep, Gemm, Insn, Lane, Load, LoadPad, MemoryType, Queue, Requant, Store};

/// Largest `y_size`, `x_size` and `x_stride`.
const LIMIT: u64 = 0xffff;

/// Merges neighbours of each queue.
///
/// The program must be one that dependence tokens alone order: every interleaving that they allow gives the same result.
pub fn merge(insns: &[Insn]) -> Vec<Insn> {
    let mut merged: Vec<Insn> = Vec::with_capacity(insns.len());
    let mut last: [Option<usize>; 3] = [None; 3];
    // Whether the last instruction of the compute queue waits for another to be fused with, or is that other.
    let (mut waits, mut fused) = (false, false);
    for insn in insns.iter().filter(|insn| !(insn.is_nop() && insn.dep() == Dep::default())) {
        let last = match insn.queue() {
            Queue::Load => &mut last[0],
            Queue::Compute => &mut last[1],
            Queue::Store => &mut last[2],
        };
        let compute = insn.queue() == Queue::Compute;
        if let Some(at) = *last
            && !(compute && fused)
            && let Some(both) = join(&merged[at], insn)
        {
            merged[at] = both;
            continue;
        }
        if compute {
            fused = waits && matches!(insn, Insn::Gemm(_) | Insn::Lane(_));
            waits = (waits && !fused) || matches!(insn, Insn::Requant(Requant { fuse: true, .. }));
        }
        *last = Some(merged.len());
        merged.push(*insn);
    }
    merged
}

/// One instruction that does what two of one queue do, where there is one.
fn join(first: &Insn, second: &Insn) -> Option<Insn> {
    let (a, b) = (first.dep(), second.dep());
    if a.push_prev || a.push_next || b.pop_prev || b.pop_next {
        return None;
    }
    let mut both = match (first, second) {
        (Insn::Load(a), Insn::Load(b)) => Rows::from(a).then(b.into())?.into_load(),
        (Insn::LoadPad(a), Insn::LoadPad(b)) => Rows::from(a).then(b.into())?.into_loadpad(),
        (Insn::Store(a), Insn::Store(b)) => Rows::from(a).then(b.into())?.into_store(),
        (Insn::Gemm(a), Insn::Gemm(b)) => gemm(a, b)?.into(),
        (Insn::Lane(a), Insn::Lane(b)) => lane(a, b)?.into(),
        _ => return None,
    };
    *both.dep_mut() = Dep { pop_prev: a.pop_prev, pop_next: a.pop_next, ..b };
    Some(both)
}

/// The same loops over the micro-ops of both.
fn gemm(a: &Gemm, b: &Gemm) -> Option<Gemm> {
    let expected = Gemm { dep: b.dep, uop_begin: a.uop_end, uop_end: b.uop_end, ..*a };
    (*b == expected && a.uop_begin <= a.uop_end && b.uop_begin <= b.uop_end)
        .then_some(Gemm { uop_end: b.uop_end, ..*a })
}

fn lane(a: &Lane, b: &Lane) -> Option<Lane> {
    let expected = Lane { dep: b.dep, uop_begin: a.uop_end, uop_end: b.uop_end, ..*a };
    (*b == expected && !a.overwrite && a.uop_begin <= a.uop_end && b.uop_begin <= b.uop_end)
        .then_some(Lane { uop_end: b.uop_end, ..*a })
}

/// What LOAD, LOADPAD and STORE move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rows {
    memory_type: MemoryType,
    pad_value: i32,
    sram: u64,
    dram: u64,
    rows: u64,
    size: u64,
    stride: u64,
    above: u64,
    below: u64,
    left: u64,
    right: u64,
}

impl Rows {
    /// These rows and then those of `next`, as one transfer.
    fn then(self, next: Rows) -> Option<Rows> {
        let empty = |rows: &Rows| rows.rows == 0 || rows.size == 0;
        if (self.memory_type, self.pad_value) != (next.memory_type, next.pad_value) || empty(&self) || empty(&next) {
            return None;
        }
        let (flat, next_flat) = (self.flat(), next.flat());
        flat.zip(next_flat)
            .and_then(|(a, b)| a.longer(&b))
            .or_else(|| flat.zip(next_flat).and_then(|(a, b)| a.taller(&b)))
            .or_else(|| self.taller(&next))
            .or_else(|| self.taller(&next_flat?))
            .or_else(|| flat?.taller(&next))
    }

    /// Elements of a row in the scratchpad.
    fn width(&self) -> u64 {
        self.left + self.size + self.right
    }

    /// Rows that lie behind one another in DRAM, as a single one.
    fn flat(self) -> Option<Rows> {
        let padded = self.above + self.below + self.left + self.right > 0;
        let size = self.rows * self.size;
        let whole = self.rows == 1 || self.stride == self.size;
        (!padded && whole && size <= LIMIT).then_some(Rows { rows: 1, size, stride: size, ..self })
    }

    /// A single row that goes on in another.
    fn longer(&self, next: &Rows) -> Option<Rows> {
        let size = self.size + next.size;
        (next.sram == self.sram + self.size && next.dram == self.dram + self.size && size <= LIMIT).then_some(Rows {
            size,
            stride: size,
            ..*self
        })
    }

    /// Rows at a constant distance from one another.
    fn taller(&self, next: &Rows) -> Option<Rows> {
        let same = (self.size, self.left, self.right) == (next.size, next.left, next.right);
        let inside = self.below == 0 && next.above == 0;
        let follows = next.sram == self.sram + (self.above + self.rows) * self.width();
        let stride = if self.rows > 1 { self.stride } else { next.dram.checked_sub(self.dram)? };
        let distance = next.dram == self.dram + self.rows * stride && (next.rows == 1 || next.stride == stride);
        let rows = self.rows + next.rows;
        (same && inside && follows && distance && rows <= LIMIT && stride <= LIMIT).then_some(Rows {
            rows,
            stride,
            below: next.below,
            ..*self
        })
    }

    fn into_load(self) -> Insn {
        Load {
            dep: Dep::default(),
            memory_type: self.memory_type,
            sram_base: self.sram as u32,
            dram_base: self.dram as u32,
            y_size: self.rows as u32,
            x_size: self.size as u32,
            x_stride: self.stride as u32,
            y_pad_0: self.above as u32,
            y_pad_1: self.below as u32,
            x_pad_0: self.left as u32,
            x_pad_1: self.right as u32,
        }
        .into()
    }

    fn into_loadpad(self) -> Insn {
        LoadPad {
            dep: Dep::default(),
            memory_type: self.memory_type,
            sram_base: self.sram as u32,
            dram_base: self.dram as u32,
            pad_value: self.pad_value,
            y_size: self.rows as u32,
            x_size: self.size as u32,
            x_stride: self.stride as u32,
            y_pad_0: self.above as u32,
            y_pad_1: self.below as u32,
            x_pad_0: self.left as u32,
            x_pad_1: self.right as u32,
        }
        .into()
    }

    fn into_store(self) -> Insn {
        Store {
            dep: Dep::default(),
            memory_type: self.memory_type,
            sram_base: self.sram as u32,
            dram_base: self.dram as u32,
            y_size: self.rows as u32,
            x_size: self.size as u32,
            x_stride: self.stride as u32,
        }
        .into()
    }
}

impl From<&Load> for Rows {
    fn from(i: &Load) -> Rows {
        Rows {
            memory_type: i.memory_type,
            pad_value: 0,
            sram: i.sram_base.into(),
            dram: i.dram_base.into(),
            rows: i.y_size.into(),
            size: i.x_size.into(),
            stride: i.x_stride.into(),
            above: i.y_pad_0.into(),
            below: i.y_pad_1.into(),
            left: i.x_pad_0.into(),
            right: i.x_pad_1.into(),
        }
    }
}

impl From<&LoadPad> for Rows {
    fn from(i: &LoadPad) -> Rows {
        Rows {
            memory_type: i.memory_type,
            pad_value: i.pad_value,
            sram: i.sram_base.into(),
            dram: i.dram_base.into(),
            rows: i.y_size.into(),
            size: i.x_size.into(),
            stride: i.x_stride.into(),
            above: i.y_pad_0.into(),
            below: i.y_pad_1.into(),
            left: i.x_pad_0.into(),
            right: i.x_pad_1.into(),
        }
    }
}

impl From<&Store> for Rows {
    fn from(i: &Store) -> Rows {
        Rows {
            memory_type: i.memory_type,
            sram: i.sram_base.into(),
            dram: i.dram_base.into(),
            rows: i.y_size.into(),
            size: i.x_size.into(),
            stride: i.x_stride.into(),
            ..Rows::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_isa::{Alu, Requant};

    fn load(sram_base: u32, dram_base: u32, y_size: u32, x_size: u32, x_stride: u32) -> Load {
        Load { memory_type: MemoryType::Inp, sram_base, dram_base, y_size, x_size, x_stride, ..Load::default() }
    }

    fn store(sram_base: u32, dram_base: u32, y_size: u32, x_size: u32, x_stride: u32) -> Store {
        Store { memory_type: MemoryType::Out, sram_base, dram_base, y_size, x_size, x_stride, ..Store::default() }
    }

    fn gemm(uop_begin: u32, uop_end: u32) -> Gemm {
        Gemm { uop_begin, uop_end, iter_out: 9, iter_in: 5, dst_factor_in: 1, ..Gemm::default() }
    }

    #[track_caller]
    fn joins(insns: &[Insn], expected: impl Into<Insn>) {
        assert_eq!(merge(insns), [expected.into()]);
    }

    #[track_caller]
    fn stays(first: impl Into<Insn>, second: impl Into<Insn>) {
        let insns = [first.into(), second.into()];
        assert_eq!(merge(&insns), insns);
    }

    #[test]
    fn what_goes_on_in_both_memories_is_one_row() {
        let singles: Vec<Insn> = (0..16).map(|k| load(k, 0xb00 + k, 1, 1, 1).into()).collect();
        joins(&singles, load(0, 0xb00, 1, 16, 16));
        joins(&[load(0, 0, 2, 5, 5).into(), load(10, 10, 1, 3, 9).into()], load(0, 0, 1, 13, 13));
        joins(&[store(0, 7, 1, 4, 4).into(), store(4, 11, 1, 2, 2).into()], store(0, 7, 1, 6, 6));
    }

    #[test]
    fn rows_at_a_constant_distance_are_one_transfer() {
        let columns: Vec<Insn> = (0..8).map(|k| load(25 * k, 0xb00 + 125 * k, 25, 1, 5).into()).collect();
        joins(&columns, load(0, 0xb00, 200, 1, 5));
        let planes: Vec<Insn> = (0..4).map(|k| store(45 * k, 0x300 + 125 * k, 9, 5, 5).into()).collect();
        joins(&planes, store(0, 0x300, 4, 45, 125));
        let padded = |sram_base, dram_base, y_size, y_pad_0, y_pad_1| {
            let rows = load(sram_base, dram_base, y_size, 5, 7);
            Load { y_pad_0, y_pad_1, x_pad_0: 1, x_pad_1: 2, ..rows }
        };
        joins(&[padded(0, 0, 2, 3, 0).into(), padded(40, 14, 1, 0, 1).into()], padded(0, 0, 3, 3, 1));
    }

    #[test]
    fn loadpad_joins_with_the_same_value_only() {
        let rows = |sram_base, dram_base, pad_value| LoadPad {
            memory_type: MemoryType::Inp,
            sram_base,
            dram_base,
            pad_value,
            y_size: 1,
            x_size: 4,
            x_stride: 4,
            x_pad_0: 1,
            ..LoadPad::default()
        };
        joins(&[rows(0, 0, 3).into(), rows(5, 9, 3).into()], LoadPad { y_size: 2, x_stride: 9, ..rows(0, 0, 3) });
        stays(rows(0, 0, 3), rows(5, 9, 4));
    }

    #[test]
    fn adjacent_micro_ops_of_one_loop_nest_are_one_instruction() {
        joins(&[gemm(1, 5).into(), gemm(5, 9).into(), gemm(9, 10).into()], gemm(1, 10));
        let clear = |a, b| Gemm { reset: true, ..gemm(a, b) };
        joins(&[clear(0, 1).into(), clear(1, 2).into()], clear(0, 2));
        let lane = |uop_begin, uop_end| Lane { uop_begin, uop_end, iter_out: 3, iter_in: 3, ..Lane::default() };
        joins(&[lane(0, 4).into(), lane(4, 8).into()], lane(0, 8));
        stays(Lane { overwrite: true, ..lane(0, 4) }, Lane { overwrite: true, ..lane(4, 8) });
        stays(Lane { overwrite: true, ..lane(0, 4) }, lane(4, 8));
        stays(Lane { max: true, ..lane(0, 4) }, lane(4, 8));
        stays(gemm(0, 4), gemm(5, 8));
        stays(gemm(0, 4), gemm(0, 4));
        stays(gemm(0, 4), Gemm { iter_in: 6, ..gemm(4, 8) });
        stays(gemm(0, 4), Gemm { wgt_factor_in: 1, ..gemm(4, 8) });
        stays(clear(0, 4), gemm(4, 8));
    }

    #[test]
    fn what_reads_its_own_results_stays() {
        let alu = |uop_begin, uop_end| Alu { uop_begin, uop_end, iter_out: 1, iter_in: 1, ..Alu::default() };
        stays(alu(0, 1), alu(1, 2));
        let requant =
            |uop_begin, uop_end| Requant { uop_begin, uop_end, iter_out: 1, iter_in: 8, ..Requant::default() };
        stays(requant(0, 1), requant(1, 2));
    }

    #[test]
    fn flags_stay_at_the_outer_ends_and_keep_apart_what_they_stand_between() {
        let pop = Dep { pop_prev: true, pop_next: true, ..Dep::default() };
        let push = Dep { push_prev: true, push_next: true, ..Dep::default() };
        let both = Dep { pop_prev: true, pop_next: true, push_prev: true, push_next: true };
        let with = |dep, begin, end| Gemm { dep, ..gemm(begin, end) };
        joins(&[with(pop, 0, 1).into(), with(push, 1, 2).into()], with(both, 0, 2));
        stays(with(push, 0, 1), gemm(1, 2));
        stays(gemm(0, 1), with(pop, 1, 2));
        for k in 0..4 {
            let dep = Dep::from_bits(1 << k);
            let inner = if k < 2 { [Dep::default(), dep] } else { [dep, Dep::default()] };
            stays(with(inner[0], 0, 1), with(inner[1], 1, 2));
        }
    }

    #[test]
    fn other_queues_between_do_not_matter_but_the_same_queue_does() {
        let (a, b) = (load(0, 0, 1, 4, 4), load(4, 4, 1, 4, 4));
        assert_eq!(merge(&[a.into(), gemm(0, 1).into(), b.into()]), [load(0, 0, 1, 8, 8).into(), gemm(0, 1).into()]);
        let insns = [gemm(0, 1).into(), Load { memory_type: MemoryType::Uop, ..a }.into(), gemm(1, 2).into()];
        assert_eq!(merge(&insns), insns);
    }

    #[test]
    fn transfers_that_do_not_continue_stay() {
        stays(load(0, 0, 1, 4, 4), load(5, 4, 1, 4, 4));
        stays(load(0, 8, 1, 4, 4), load(4, 4, 1, 4, 4));
        stays(load(0, 0, 2, 4, 9), load(8, 19, 1, 4, 4));
        stays(load(0, 0, 2, 4, 9), load(8, 18, 2, 4, 8));
        stays(load(0, 0, 1, 4, 4), load(4, 9, 1, 5, 5));
        stays(load(0, 0, 1, 4, 4), Load { memory_type: MemoryType::Wgt, ..load(4, 4, 1, 4, 4) });
        stays(load(0, 0, 1, 4, 4), Load { x_pad_0: 1, ..load(4, 4, 1, 4, 4) });
        stays(Load { y_pad_1: 1, ..load(0, 0, 1, 4, 4) }, load(8, 4, 1, 4, 4));
        stays(load(0, 0, 1, 4, 4), Load { y_pad_0: 1, ..load(4, 4, 1, 4, 4) });
        stays(store(0, 0, 1, 4, 4), Store { memory_type: MemoryType::OutInp, ..store(4, 4, 1, 4, 4) });
        // Padding alone, and a NOP that carries a flag.
        stays(Load { y_pad_0: 1, ..load(0, 0, 0, 4, 4) }, load(4, 0, 1, 4, 4));
        stays(load(0, 0, 1, 4, 4), Insn::nop(Queue::Load, Dep { push_next: true, ..Dep::default() }));
    }

    #[test]
    fn fields_do_not_overflow() {
        stays(load(0, 0, 1, 65_535, 65_535), load(65_535, 65_535 + 70_000, 1, 1, 1));
        stays(load(0, 0, 65_535, 1, 2), load(65_535, 131_070, 1, 1, 1));
        stays(load(0, 0, 1, 4, 4), load(4, 65_536, 1, 4, 4));
        joins(&[load(0, 0, 1, 4, 4).into(), load(4, 65_535, 1, 4, 4).into()], load(0, 0, 2, 4, 65_535));
        // Too long for one row, but not for two.
        joins(
            &[load(0, 0, 1, 40_000, 1).into(), load(40_000, 40_000, 1, 40_000, 1).into()],
            load(0, 0, 2, 40_000, 40_000),
        );
    }

    #[test]
    fn a_nop_without_flags_goes() {
        let insns = [Insn::nop(Queue::Store, Dep::default()), gemm(0, 1).into()];
        joins(&insns, gemm(0, 1));
    }
}
