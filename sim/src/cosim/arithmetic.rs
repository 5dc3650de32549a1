//! Random arithmetic: two loops over micro-ops, all indices in their windows, results that later micro-ops need at once.

use tandem_isa::{Alu, AluOpcode, Dep, Gemm, Insn, Lane, Load, MemoryType, Requant, RequantMode, Uop};

use super::Random;
use super::space::{View, Window};
use super::transfer::Maker;

/// Micro-op executions of one instruction, at most.
const MOST_EXECUTIONS: u32 = 1500;

/// One of the three indices: where it may point and what its fields hold.
#[derive(Clone, Copy, Debug)]
struct Index {
    base: u32,
    /// Number of places.
    len: u32,
    /// Distance between two places.
    step: u32,
    uop_bits: u32,
    factor_bits: u32,
    /// Whether it is read or written at all.
    used: bool,
    /// Whether it is of ACC.
    in_acc: bool,
}

/// Drawn loops: sizes, factors and micro-ops.
#[derive(Clone, Debug, Default)]
struct Nest {
    uop_begin: u32,
    iter_out: u32,
    iter_in: u32,
    /// `dst`, `src`, `wgt`: outer and inner factor.
    factors: [[u32; 2]; 3],
    uops: Vec<Uop>,
}

impl Nest {
    fn uop_end(&self) -> u32 {
        self.uop_begin + self.uops.len() as u32
    }
}

/// Fills in the fields that all arithmetic instructions share.
macro_rules! nested {
    ($Name:ident, $nest:expr, $($field:ident: $value:expr),*) => {{
        let [[dst_factor_out, dst_factor_in], [src_factor_out, src_factor_in], _] = $nest.factors;
        $Name {
            dep: Dep::default(),
            uop_begin: $nest.uop_begin,
            uop_end: $nest.uop_end(),
            iter_out: $nest.iter_out,
            iter_in: $nest.iter_in,
            dst_factor_out,
            dst_factor_in,
            src_factor_out,
            src_factor_in,
            $($field: $value),*
        }
        .into()
    }};
}

impl Maker<'_> {
    /// An arithmetic instruction on a view, behind the load of its micro-ops where it needs one. Nothing where the view has no
    /// room for what was drawn.
    pub fn arithmetic(&mut self, view: &View) -> Vec<Insn> {
        let kinds = if self.config.profile().has_extension() { 13 } else { 6 };
        let mut insns = match self.random.below(kinds) {
            0..=2 => self.alu(view),
            3..=5 => self.gemm(view),
            6 if self.config.has_requant_flags() => self.requant_inputs(view),
            6..=9 => self.requant(view),
            _ => self.lane(view),
        }
        .unwrap_or_default();
        if self.config.has_fused_requant() && self.random.once_in(3) {
            let fuse = self.fuse(view);
            insns.splice(0..0, fuse);
        }
        insns
    }

    /// Several sums in a row that are requantised as they end, by one set of parameters after the other.
    pub fn fused(&mut self, view: &View) -> Vec<Insn> {
        let mut insns = Vec::new();
        for _ in 0..self.random.between(2, 4) {
            insns.extend(self.fuse(view));
            let sums = if self.random.flag() { self.gemm(view) } else { self.lane(view) };
            insns.extend(sums.unwrap_or_default());
        }
        insns
    }

    /// REQUANT for the next GEMM or LANE, with parameters out of a set most of the time.
    fn fuse(&mut self, view: &View) -> Option<Insn> {
        let set = self.random.below(self.space.params.len() as u32) as usize;
        let (base, suited) = *self.space.params.get(set)?;
        let param = match self.random.below(8) {
            // Accumulators that the sums may write.
            0 if view.acc.len > 4 => view.acc.base + self.random.below(view.acc.len - 3),
            _ => base,
        };
        let mode = if self.random.once_in(4) { self.random.pick(RequantMode::ALL) } else { suited };
        let mode = if self.config.has_requant(mode) { mode } else { RequantMode::default() };
        Some(Requant { mode, saturate: !self.random.once_in(3), fuse: true, param, ..Requant::default() }.into())
    }

    /// Parameters, a requantisation by them, new parameters in the same place, and a requantisation by those.
    pub fn requants(&mut self, view: &View) -> Vec<Insn> {
        let mut insns = Vec::new();
        let set = self.random.below(self.space.params.len() as u32) as usize;
        for _ in 0..2 {
            insns.extend(self.params());
            if self.config.profile().has_extension() {
                insns.extend(self.requant_by(view, set).unwrap_or_default());
            }
        }
        insns
    }

    /// Shifts all accumulators of a view right: a store shows their low bytes alone.
    pub fn reveal(&mut self, view: &View) -> Vec<Insn> {
        let most = (1 << self.config.log_acc_depth()) - 1;
        let mut nest = Nest { iter_out: 1, iter_in: view.acc.len.min(most), ..Nest::default() };
        nest.uops = vec![Uop { dst: view.acc.base, ..Uop::default() }];
        nest.factors[0][1] = 1;
        let imm = self.random.pick(&[4, 8, 8, 16, 24]);
        let Some(load) = self.uop_load(&mut nest) else { return Vec::new() };
        let (alu_opcode, use_imm) = (AluOpcode::Shr, true);
        vec![load, nested!(Alu, nest, reset: false, alu_opcode: alu_opcode, use_imm: use_imm, imm: imm)]
    }

    fn gemm(&mut self, view: &View) -> Option<Vec<Insn>> {
        let c = self.config;
        let reset = self.random.once_in(5);
        let read = !(reset && self.unread);
        let dst = self.acc(view.acc);
        let src = Index { factor_bits: c.log_inp_depth(), used: read, ..index(view.inp, c.log_src_depth()) };
        let wgt = Index { used: read, ..index(view.wgt, c.log_wgt_depth()) };
        self.emit([dst, src, wgt], |nest| {
            let [_, _, [wgt_factor_out, wgt_factor_in]] = nest.factors;
            nested!(Gemm, nest, reset: reset, wgt_factor_out: wgt_factor_out, wgt_factor_in: wgt_factor_in)
        })
    }

    fn alu(&mut self, view: &View) -> Option<Vec<Insn>> {
        let random = &mut self.random;
        let opcodes = if self.config.profile().has_extension() { AluOpcode::ALL } else { &AluOpcode::ALL[..5] };
        let (alu_opcode, use_imm, reset) = (random.pick(opcodes), random.flag(), random.flag());
        let imm = match random.below(3) {
            0 => random.below(65536) as i32 - 32768,
            1 => random.below(80) as i32 - 40,
            _ => random.pick(&[0, 1, -1, 31, 32, -31, -32, 33, 32767, -32768]),
        };
        let dst = self.acc(view.acc);
        let src = Index { used: !(use_imm && self.unread), ..dst };
        self.emit(
            [dst, src, self.unused()],
            |nest| nested!(Alu, nest, reset: reset, alu_opcode: alu_opcode, use_imm: use_imm, imm: imm),
        )
    }

    fn requant(&mut self, view: &View) -> Option<Vec<Insn>> {
        let set = self.random.below(self.space.params.len() as u32) as usize;
        let params = Window { base: self.space.acc.end(), len: 4 * self.space.params.len() as u32 };
        let src = match self.random.below(8) {
            // Parameters out of accumulators that are being written, and that write themselves over.
            0 if view.acc.len > 4 => self.acc(Window { len: view.acc.len - 3, ..view.acc }),
            1 if view.acc.len > 4 => {
                let base = view.acc.base + self.random.below(view.acc.len - 3);
                let (src, dst) = (self.acc(Window { base, len: 1 }), self.acc(Window { base, len: 4 }));
                return self.requant_from(set, src, dst);
            }
            2 => self.acc(Window { len: params.len - 3, ..params }),
            3 => Index { len: params.len / 4, step: 4, ..self.acc(params) },
            _ => return self.requant_by(view, set),
        };
        self.requant_from(set, src, self.acc(view.acc))
    }

    /// Requantisation with one set of parameters.
    fn requant_by(&mut self, view: &View, set: usize) -> Option<Vec<Insn>> {
        let base = self.space.params.get(set)?.0;
        self.requant_from(set, self.acc(Window { base, len: 1 }), self.acc(view.acc))
    }

    /// Requantisation in the mode of a set most of the time, with parameters from anywhere.
    fn requant_from(&mut self, set: usize, src: Index, dst: Index) -> Option<Vec<Insn>> {
        let (_, suited) = *self.space.params.get(set)?;
        let mode = if self.random.once_in(4) { self.random.pick(RequantMode::ALL) } else { suited };
        let mode = if self.config.has_requant(mode) { mode } else { RequantMode::default() };
        let saturate = !self.random.once_in(3);
        let clear = self.config.has_requant_flags() && self.random.once_in(3);
        self.emit(
            [dst, src, self.unused()],
            |nest| nested!(Requant, nest, mode: mode, saturate: saturate, clear: clear, from_inp: false, param: 0, fuse: false),
        )
    }

    /// Requantisation of input vectors.
    fn requant_inputs(&mut self, view: &View) -> Option<Vec<Insn>> {
        let set = self.random.below(self.space.params.len() as u32) as usize;
        let (base, suited) = *self.space.params.get(set)?;
        let mode = if self.config.has_requant(suited) { suited } else { RequantMode::default() };
        // Parameters are those of a set, or what stands in accumulators that are being written.
        let param = if view.acc.len > 4 && self.random.once_in(4) {
            view.acc.base + self.random.below(view.acc.len - 3)
        } else {
            base
        };
        let (saturate, clear) = (!self.random.once_in(3), self.random.flag());
        let src = Index { factor_bits: self.config.log_acc_depth(), ..self.vectors(view) };
        self.emit(
            [self.acc(view.acc), src, self.unused()],
            |nest| nested!(Requant, nest, mode: mode, saturate: saturate, clear: clear, from_inp: true, param: param, fuse: false),
        )
    }

    /// The vectors of `block_out` lanes in a view's inputs.
    fn vectors(&self, view: &View) -> Index {
        let c = self.config;
        let (wide, narrow) = ((c.block_out() / c.block_in()) as u32, (c.block_in() / c.block_out()) as u32);
        let vectors = if wide > 1 {
            let base = view.inp.base.div_ceil(wide);
            Window { base, len: (view.inp.end() / wide).saturating_sub(base) }
        } else {
            Window { base: view.inp.base * narrow, len: view.inp.len * narrow }
        };
        Index { factor_bits: c.log_inp_depth(), ..index(vectors, c.log_src_depth()) }
    }

    fn lane(&mut self, view: &View) -> Option<Vec<Insn>> {
        let c = self.config;
        let (overwrite, max) = (self.random.flag(), self.random.once_in(3));
        let weights = Window { base: view.wgt.base * c.block_in() as u32, len: view.wgt.len * c.block_in() as u32 };
        let dst = self.acc(view.acc);
        let several = self.config.lane_taps() > 1 && !max && self.random.flag();
        let more_taps = if several { self.random.below(self.config.lane_taps() as u32) } else { 0 };
        let src = self.vectors(view);
        let src = Index { len: src.len.checked_sub(more_taps)?, ..src };
        let wgt = Index { used: !(max && self.unread), ..index(weights, c.log_wgt_depth()) };
        self.emit([dst, src, wgt], |nest| {
            let [_, _, [wgt_factor_out, wgt_factor_in]] = nest.factors;
            // Long loops are empty ones; the field is shorter than those of other instructions.
            let nest = Nest { iter_out: nest.iter_out % (1 << 12), ..nest.clone() };
            nested!(Lane, nest, overwrite: overwrite, max: max, more_taps: more_taps, wgt_factor_out: wgt_factor_out, wgt_factor_in: wgt_factor_in)
        })
    }

    fn acc(&self, window: Window) -> Index {
        Index { in_acc: true, ..index(window, self.config.log_acc_depth()) }
    }

    /// The weight index of an instruction that has no factors for it.
    fn unused(&self) -> Index {
        Index { used: false, ..index(Window { base: 0, len: 1 }, self.config.log_wgt_depth()) }
    }

    fn emit(&mut self, indices: [Index; 3], make: impl Fn(&Nest) -> Insn) -> Option<Vec<Insn>> {
        let mut nest = self.loops();
        if self.random.once_in(3) && self.reuse(&mut nest, &indices) {
            return Some(vec![make(&nest)]);
        }
        if !(self.random.once_in(6) && self.chain(&mut nest, &indices)) {
            self.factors(&mut nest, &indices)?;
        }
        if nest.uops.is_empty() {
            nest.uop_begin = self.random.below(self.config.uop_depth() as u32);
            return Some(vec![make(&nest)]);
        }
        let load = self.uop_load(&mut nest)?;
        Some(vec![load, make(&nest)])
    }

    /// Sizes of the loops; one of them may be empty.
    fn loops(&mut self) -> Nest {
        let random = &mut self.random;
        let long = random.once_in(8);
        let mut size = |long: bool, short: u32, most: u32| random.between(1, if long { most } else { short });
        let (mut iter_out, mut iter_in) = (size(long, 4, 12), size(long, 5, 40));
        let mut count = size(long || iter_out * iter_in < 3, 6, 18);
        while iter_out * iter_in * count > MOST_EXECUTIONS {
            iter_in = iter_in.div_ceil(2);
        }
        match random.below(36) {
            0 => iter_out = 0,
            1 => iter_in = 0,
            2 => count = 0,
            3 => (iter_out, iter_in) = (random.below(1 << 14), 0),
            4 => (iter_out, iter_in, count) = (random.below(1 << 14), random.below(1 << 14), 0),
            _ => {}
        }
        Nest { iter_out, iter_in, uops: vec![Uop::default(); count as usize], ..Nest::default() }
    }

    /// Micro-ops of which each reads what the one a certain distance before it writes, and nothing that is nearer. Not
    /// possible where they read another scratchpad than they write.
    fn chain(&mut self, nest: &mut Nest, [target, source, unused]: &[Index; 3]) -> bool {
        let distance = self.random.between(1, 16);
        let base = target.base.max(source.base);
        let room = (target.base + target.len).min(source.base + source.len).saturating_sub(base);
        let count = nest.uops.len() as u32;
        let turns = room.saturating_sub(distance).checked_div(count).unwrap_or(0);
        let same =
            source.used && source.in_acc && source.step == 1 && !unused.used && source.uop_bits == target.uop_bits;
        let most = 1 << target.factor_bits;
        if !same || turns == 0 || count * nest.iter_in.min(turns) >= most || nest.iter_in == 0 {
            return false;
        }
        nest.iter_in = nest.iter_in.min(turns);
        nest.factors = [[0, count], [0, count], [0, 0]];
        for (number, uop) in (base..).zip(&mut nest.uops) {
            *uop = Uop { dst: number + distance, src: number, wgt: 0 };
        }
        true
    }

    /// Draws factors and micro-ops for the sizes of a nest.
    fn factors(&mut self, nest: &mut Nest, indices: &[Index; 3]) -> Option<()> {
        let random = &mut self.random;
        let mut places = [0; 3];
        for (slot, index) in indices.iter().enumerate() {
            let most_factor = (1 << index.factor_bits) - 1;
            let mut room = index.len.checked_sub(1)?;
            let first = random.below(2) as usize;
            for axis in [first, 1 - first] {
                let turns = [nest.iter_out, nest.iter_in][axis].saturating_sub(1);
                let most = (room.checked_div(turns).unwrap_or(most_factor)).min(most_factor / index.step);
                let factor = match random.below(4) {
                    0 => 0,
                    1 => most.min(1),
                    2 => random.below(most.min(4) + 1),
                    _ => random.below(most + 1),
                };
                if index.used {
                    nest.factors[slot][axis] = factor * index.step;
                    room = room.saturating_sub(factor * turns);
                } else {
                    nest.factors[slot][axis] = random.below(most_factor + 1);
                }
            }
            let highest = (1u32 << index.uop_bits) - 1;
            places[slot] = room.min(highest.checked_sub(index.base)? / index.step) + 1;
        }
        self.uops(nest, indices, places);
        Some(())
    }

    /// Micro-ops of so many places an index, in patterns that make one need the result of another soon.
    fn uops(&mut self, nest: &mut Nest, indices: &[Index; 3], places: [u32; 3]) {
        let random = &mut self.random;
        let (pattern, period, close) = (random.below(5), random.between(1, 14), random.flag());
        let any = |random: &mut Random, slot: usize| {
            let (index, places) = (&indices[slot], places[slot]);
            if !index.used {
                return random.below(1 << index.uop_bits);
            }
            index.base + index.step * random.below(if close { places.min(6) } else { places })
        };
        let [target, source, _] = indices;
        let mut dsts: Vec<u32> = Vec::new();
        for (number, uop) in (0..).zip(&mut nest.uops) {
            let dst = match pattern {
                0 => target.base + number % period.min(places[0]),
                1 => target.base + number % places[0],
                _ => any(random, 0),
            };
            // What an earlier micro-op is still writing, where both index the same scratchpad.
            let earlier = dsts.len().checked_sub(period as usize).and_then(|at| dsts.get(at).copied());
            let chained = earlier.filter(|earlier| {
                let allowed = source.base..source.base + places[1];
                pattern == 2 && source.used && source.step == 1 && allowed.contains(earlier)
            });
            let src = chained.unwrap_or_else(|| any(random, 1));
            *uop = Uop { dst, src, wgt: any(random, 2) };
            dsts.push(dst);
        }
    }

    /// Takes micro-ops that an earlier instruction left, where the loops keep them inside the windows.
    fn reuse(&mut self, nest: &mut Nest, indices: &[Index; 3]) -> bool {
        let window = self.space.uop;
        let count = nest.uops.len() as u32;
        for _ in 0..6 {
            let begin = window.base + self.random.below(window.len - count.min(window.len) + 1);
            let Some(uops) = self.space.known(self.config, begin, count).filter(|uops| !uops.is_empty()) else {
                continue;
            };
            let mut tried = nest.clone();
            if self.factors(&mut tried, indices).is_none() {
                return false;
            }
            let inside = indices.iter().enumerate().all(|(slot, index)| {
                let reach = tried.factors[slot][0] * tried.iter_out.saturating_sub(1)
                    + tried.factors[slot][1] * tried.iter_in.saturating_sub(1);
                let allowed = index.base..=(index.base + (index.len - 1) * index.step).saturating_sub(reach);
                !index.used || uops.iter().all(|uop| allowed.contains(&[uop.dst, uop.src, uop.wgt][slot]))
            });
            if inside {
                *nest = Nest { uop_begin: begin, uops, ..tried };
                return true;
            }
        }
        false
    }

    /// Puts the micro-ops of a nest into the image and makes the load that fetches them.
    fn uop_load(&mut self, nest: &mut Nest) -> Option<Insn> {
        let words: Vec<u32> = nest.uops.iter().map(|uop| uop.encode(self.config)).collect::<Result<_, _>>().ok()?;
        let count = words.len() as u32;
        let window = self.space.uop;
        let room = window.len.checked_sub(count)?;
        nest.uop_begin = window.base + if self.random.once_in(6) { room } else { self.random.below(room + 1) };
        let (before, behind) = (nest.uop_begin - window.base, window.end() - nest.uop_end());
        let memory_type = MemoryType::Uop;
        let load = match self.random.below(4) {
            // Two rows with a gap in DRAM.
            0 if count.is_multiple_of(2) => {
                let x_size = count / 2;
                let x_stride = x_size + self.random.below(5);
                let mut spread = words.clone();
                let gap = (0..x_stride - x_size).map(|_| self.random.next() as u32);
                spread.splice(x_size as usize..x_size as usize, gap);
                let dram_base = self.image.push_uops(&spread)?;
                let (sram_base, y_size) = (nest.uop_begin, 2);
                Load { memory_type, sram_base, dram_base, y_size, x_size, x_stride, ..Load::default() }
            }
            // Zeros around them.
            1 => {
                let dram_base = self.image.push_uops(&words)?;
                let (x_pad_0, x_pad_1) = (self.random.below(before.min(15) + 1), self.random.below(behind.min(15) + 1));
                let sram_base = nest.uop_begin - x_pad_0;
                let (y_size, x_size, x_stride) = (1, count, self.random.below(1 << 16));
                for at in (sram_base..nest.uop_begin).chain(nest.uop_end()..nest.uop_end() + x_pad_1) {
                    if let Some(word) = self.space.words.get_mut(at as usize) {
                        *word = Some(0);
                    }
                }
                let size = Load { memory_type, sram_base, dram_base, y_size, x_size, x_stride, ..Load::default() };
                Load { x_pad_0, x_pad_1, ..size }
            }
            _ => {
                let (sram_base, dram_base) = (nest.uop_begin, self.image.push_uops(&words)?);
                let (y_size, x_size, x_stride) = (1, count, count);
                Load { memory_type, sram_base, dram_base, y_size, x_size, x_stride, ..Load::default() }
            }
        };
        for (at, word) in (nest.uop_begin as usize..).zip(words) {
            if let Some(slot) = self.space.words.get_mut(at) {
                *slot = Some(word);
            }
        }
        Some(load.into())
    }
}

/// An index whose fields are as wide as the depth of its scratchpad.
fn index(window: Window, bits: u32) -> Index {
    Index { base: window.base, len: window.len, step: 1, uop_bits: bits, factor_bits: bits, used: true, in_acc: false }
}
