//! What works lane by lane on ACC: ALU, REQUANT, LANE, and the clearing of GEMM.
//!
//! The order of the loops is kept, because an instruction may read what it wrote. Each function is instantiated per number of
//! lanes, per operation and per kernel, so that the loop over lanes has none of them and uses the kernel's vectors.

use std::ops::Range;

use tandem_isa::{Alu, AluOpcode, Compat, HwConfig, Lane, Requant, RequantMode, Upstream, semantics};

use crate::cleared::Cleared;
use crate::gemm::{Kernel, Work};
use crate::loops::{Indices, Loops};

/// The part of an instruction to run: some turns of the outer loop, and its decoded micro-ops.
#[derive(Clone)]
pub(crate) struct Part<'a> {
    pub loops: &'a Loops,
    pub outer: Range<u32>,
    pub uops: &'a [Indices],
}

/// Runs a block with the first two indices of every execution of a part, in order. Where it is compiled for the vectors of a kernel,
/// so is the block, which does not hold for closures.
macro_rules! each {
    ($part:expr, |$dst:pat_param, $src:pat_param| $block:block) => {
        for y in $part.outer.clone() {
            for x in 0..$part.loops.inner.count {
                let turn = $part.loops.turn(y, x);
                for uop in $part.uops {
                    let ($dst, $src) = ((turn.dst + uop.dst) as usize, (turn.src + uop.src) as usize);
                    $block
                }
            }
        }
    };
}

/// A function on ACC elements of `L` lanes, as work for the vectors of a kernel.
trait OnLanes: Sized {
    fn on<const L: usize>(self, part: &Part, acc: &mut [[i32; L]]);
}

struct OnAcc<'a, F> {
    function: F,
    part: &'a Part<'a>,
    acc: &'a mut [i32],
    lanes: usize,
}

impl<F: OnLanes> Work for OnAcc<'_, F> {
    #[inline(always)]
    fn run(self) {
        let OnAcc { function, part, acc, lanes } = self;
        match lanes {
            4 => function.on::<4>(part, acc.as_chunks_mut().0),
            8 => function.on::<8>(part, acc.as_chunks_mut().0),
            16 => function.on::<16>(part, acc.as_chunks_mut().0),
            32 => function.on::<32>(part, acc.as_chunks_mut().0),
            64 => function.on::<64>(part, acc.as_chunks_mut().0),
            128 => function.on::<128>(part, acc.as_chunks_mut().0),
            // Batch is 1, 2 or 4 and a block 4 to 32.
            _ => {}
        }
    }
}

/// Clears accumulators.
pub(crate) fn clear(kernel: Kernel, part: &Part, acc: &mut [i32], lanes: usize) {
    kernel.run(OnAcc { function: Clear, part, acc, lanes });
}

/// Runs ALU.
pub(crate) fn alu(kernel: Kernel, insn: &Alu, compat: &Compat, part: &Part, acc: &mut [i32], lanes: usize) {
    kernel.run(OnAcc { function: InAlu { insn, compat }, part, acc, lanes });
}

/// Runs REQUANT, or of one that is fused what follows the sums.
pub(crate) fn requant(
    kernel: Kernel,
    insn: &Requant,
    config: &HwConfig,
    part: &Part,
    inp: &[u8],
    acc: &mut [i32],
    cleared: &mut Cleared,
) {
    let lanes = config.out_elem_bytes();
    kernel.run(OnAcc { function: InRequant { insn, config, inp, cleared }, part, acc, lanes });
}

/// Copies the low byte of every accumulator that an instruction touched into the separate OUT buffer.
pub(crate) fn copy_out(part: &Part, acc: &[i32], cleared: &Cleared, out: &mut [u8], lanes: usize) {
    part.loops.each(part.outer.clone(), part.uops, |dst, _, _| {
        if let (Some(kept), Some(out)) = (cleared.get(dst, lanes), out.get_mut(dst * lanes..(dst + 1) * lanes)) {
            return out.copy_from_slice(kept);
        }
        let range = dst * lanes..(dst + 1) * lanes;
        if let (Some(acc), Some(out)) = (acc.get(range.clone()), out.get_mut(range)) {
            out.iter_mut().zip(acc).for_each(|(out, &acc)| *out = semantics::truncate_out(acc) as u8);
        }
    });
}

/// Runs LANE.
pub(crate) fn lane(insn: &Lane, config: &HwConfig, part: &Part, inp: &[u8], wgt: &[u8], acc: &mut [i32]) {
    match config.block_out() {
        4 => lane_blocks::<4>(insn, config, part, inp, wgt, acc),
        8 => lane_blocks::<8>(insn, config, part, inp, wgt, acc),
        16 => lane_blocks::<16>(insn, config, part, inp, wgt, acc),
        32 => lane_blocks::<32>(insn, config, part, inp, wgt, acc),
        // A configuration has no other blocks.
        _ => {}
    }
}

struct Clear;

impl OnLanes for Clear {
    #[inline(always)]
    fn on<const L: usize>(self, part: &Part, acc: &mut [[i32; L]]) {
        each!(part, |dst, _| {
            let Some(acc) = acc.get_mut(dst) else { return };
            *acc = [0; L];
        });
    }
}

struct InAlu<'a> {
    insn: &'a Alu,
    compat: &'a Compat,
}

impl OnLanes for InAlu<'_> {
    #[inline(always)]
    fn on<const L: usize>(self, part: &Part, acc: &mut [[i32; L]]) {
        let InAlu { insn, compat } = self;
        let other = compat.shift_amount != Upstream::Fsim && insn.alu_opcode == AluOpcode::Shr;
        if other || (insn.use_imm && compat.imm_reads_src()) {
            return alu_compat(insn, compat, part, acc);
        }
        let imm = insn.use_imm.then_some(insn.imm);
        match insn.alu_opcode {
            AluOpcode::Min => alu_each(AluOpcode::Min, imm, part, acc),
            AluOpcode::Max => alu_each(AluOpcode::Max, imm, part, acc),
            AluOpcode::Add => alu_each(AluOpcode::Add, imm, part, acc),
            AluOpcode::Shr => alu_each(AluOpcode::Shr, imm, part, acc),
            AluOpcode::Mul => alu_each(AluOpcode::Mul, imm, part, acc),
            AluOpcode::Rshr => alu_each(AluOpcode::Rshr, imm, part, acc),
            AluOpcode::Clamp => alu_each(AluOpcode::Clamp, imm, part, acc),
            AluOpcode::Mov => alu_each(AluOpcode::Mov, imm, part, acc),
        }
    }
}

#[inline(always)]
fn alu_each<const L: usize>(opcode: AluOpcode, imm: Option<i32>, part: &Part, acc: &mut [[i32; L]]) {
    match imm {
        Some(imm) => each!(part, |dst, _| {
            let Some(acc) = acc.get_mut(dst) else { return };
            for lane in acc {
                *lane = semantics::alu(opcode, *lane, imm);
            }
        }),
        None => each!(part, |dst, src| {
            let Some(operand) = acc.get(src).copied() else { return };
            let Some(acc) = acc.get_mut(dst) else { return };
            for (lane, operand) in acc.iter_mut().zip(operand) {
                *lane = semantics::alu(opcode, *lane, operand);
            }
        }),
    }
}

/// ALU as one of upstream's other implementations does it.
fn alu_compat<const L: usize>(insn: &Alu, compat: &Compat, part: &Part, acc: &mut [[i32; L]]) {
    let imm = insn.use_imm.then_some(insn.imm);
    part.loops.each(part.outer.clone(), part.uops, |dst, src, _| {
        let (Some(source), Some(target)) = (acc.get(src).copied(), acc.get(dst).copied()) else { return };
        let left = if imm.is_some() && compat.imm_reads_src() { source } else { target };
        let mut result = [0; L];
        for (result, (left, source)) in result.iter_mut().zip(left.into_iter().zip(source)) {
            *result = compat.alu(insn.alu_opcode, left, imm.unwrap_or(source), imm);
        }
        if let Some(acc) = acc.get_mut(dst) {
            *acc = result;
        }
    });
}

/// REQUANT, with where its values come from and where its results go beside ACC.
struct InRequant<'a> {
    insn: &'a Requant,
    config: &'a HwConfig,
    inp: &'a [u8],
    cleared: &'a mut Cleared,
}

impl OnLanes for InRequant<'_> {
    #[inline(always)]
    fn on<const L: usize>(self, part: &Part, acc: &mut [[i32; L]]) {
        match (self.insn.mode, self.insn.saturate) {
            (RequantMode::DoubleRounding, true) => self.each(RequantMode::DoubleRounding, true, part, acc),
            (RequantMode::DoubleRounding, false) => self.each(RequantMode::DoubleRounding, false, part, acc),
            (RequantMode::SingleRounding, true) => self.each(RequantMode::SingleRounding, true, part, acc),
            (RequantMode::SingleRounding, false) => self.each(RequantMode::SingleRounding, false, part, acc),
            (RequantMode::HalfAway, true) => self.each(RequantMode::HalfAway, true, part, acc),
            (RequantMode::HalfAway, false) => self.each(RequantMode::HalfAway, false, part, acc),
            (RequantMode::Float, true) => self.each(RequantMode::Float, true, part, acc),
            (RequantMode::Float, false) => self.each(RequantMode::Float, false, part, acc),
        }
    }
}

impl InRequant<'_> {
    #[inline(always)]
    fn each<const L: usize>(self, mode: RequantMode, saturate: bool, part: &Part, acc: &mut [[i32; L]]) {
        let InRequant { insn, config, inp, cleared } = self;
        // Most instructions take the same parameters many times in a row.
        let (mut params, mut read) = (RequantParams::new(&[[0; L]; 4]), None);
        each!(part, |dst, src| {
            let first = if insn.from_inp || insn.fuse { insn.param as usize } else { src };
            if read != Some(first) {
                let Some(words) = acc.get(first..first + 4).and_then(|words| words.first_chunk()) else { return };
                (params, read) = (RequantParams::new(words), Some(first));
            }
            let Some(acc) = acc.get_mut(dst) else { return };
            let from_inp = insn.from_inp && !insn.fuse;
            let mut values = if from_inp { input_vector(config, inp, src) } else { *acc };
            for (lane, value) in values.iter_mut().enumerate() {
                let biased = semantics::shl(*value, params.pre_shift[lane]).wrapping_add(params.bias[lane]);
                *value = match mode {
                    RequantMode::DoubleRounding => params.narrow(params.double(biased, lane), saturate, lane),
                    RequantMode::SingleRounding => params.wide(params.single(biased, lane), saturate, lane),
                    RequantMode::HalfAway => params.wide(params.half_away(biased, lane), saturate, lane),
                    RequantMode::Float => {
                        params.narrow(semantics::float_rounding(biased, params.multiplier[lane]), saturate, lane)
                    }
                };
            }
            if insn.fuse {
                // ACC keeps the sum.
                cleared.keep(dst, &values.map(|value| semantics::truncate_out(value) as u8));
                continue;
            }
            if insn.clear {
                cleared.keep(dst, &values.map(|value| semantics::truncate_out(value) as u8));
                values = [0; L];
            }
            *acc = values;
            if (first..first + 4).contains(&dst) {
                read = None;
            }
        });
    }
}

/// An input vector as LANE sees it, of all batch rows.
#[inline(always)]
fn input_vector<const L: usize>(config: &HwConfig, inp: &[u8], vector: usize) -> [i32; L] {
    if config.batch() == 1 {
        let bytes = inp.as_chunks::<L>().0.get(vector).copied().unwrap_or([0; L]);
        return bytes.map(|byte| i32::from(byte as i8));
    }
    std::array::from_fn(|at| {
        let (b, lane) = (at / config.block_out(), at % config.block_out());
        let (element, lane) = semantics::lane_input(config, vector, lane);
        let byte = inp.get((element * config.batch() + b) * config.block_in() + lane);
        byte.map_or(0, |&byte| i32::from(byte as i8))
    })
}

/// The parameters of REQUANT for all lanes, as far as they can be computed before the values are known. The functions give what
/// those of [`semantics`] do, in a form without branches.
struct RequantParams<const L: usize> {
    pre_shift: [u32; L],
    bias: [i32; L],
    multiplier: [i32; L],
    /// Mode `double`: the shift to the left before, and that to the right behind, with the bits that the latter loses.
    left: [u32; L],
    right: [u32; L],
    lost: [i32; L],
    /// Modes `single` and `half_away`: the shift of the product, and half of the last bit that stays.
    shift: [u32; L],
    half: [i64; L],
    zero_point: [i32; L],
    /// The bounds less the zero point.
    lo: [i32; L],
    hi: [i32; L],
}

impl<const L: usize> RequantParams<L> {
    #[inline(always)]
    fn new([bias, multiplier, shift, post]: &[[i32; L]; 4]) -> Self {
        let right = shift.map(|shift| (-shift.clamp(-31, 31)).max(0) as u32);
        let wide = shift.map(|shift| shift.clamp(0, 62) as u32);
        let byte = |at: u32| post.map(|post| post << (24 - 8 * at) >> 24);
        let zero_point = byte(0);
        let less_zero = |bound: [i32; L]| std::array::from_fn(|lane| bound[lane] - zero_point[lane]);
        RequantParams {
            pre_shift: post.map(|post| post as u32 >> 24),
            bias: *bias,
            multiplier: *multiplier,
            left: shift.map(|shift| shift.clamp(0, 31) as u32),
            lost: right.map(|right| ((1u32 << right) - 1) as i32),
            right,
            half: wide.map(|wide| (1i64 << wide) >> 1),
            shift: wide,
            zero_point,
            lo: less_zero(byte(1)),
            hi: less_zero(byte(2)),
        }
    }

    #[inline(always)]
    fn product(&self, value: i32, lane: usize) -> i64 {
        i64::from(value) * i64::from(self.multiplier[lane])
    }

    #[inline(always)]
    fn double(&self, value: i32, lane: usize) -> i32 {
        let product = self.product(value.wrapping_shl(self.left[lane]), lane);
        let high = ((product + (1 << 30)) >> 31) as i32;
        // Of all products that of the two least numbers alone is out of range: 2^31 becomes the number below it.
        let high = high.wrapping_sub(i32::from(high == i32::MIN));
        let lost = self.lost[lane];
        let up = high & lost > (lost >> 1) + i32::from(high < 0);
        (high >> self.right[lane]) + i32::from(up)
    }

    #[inline(always)]
    fn single(&self, value: i32, lane: usize) -> i64 {
        (self.product(value, lane) + self.half[lane]) >> self.shift[lane]
    }

    #[inline(always)]
    fn half_away(&self, value: i32, lane: usize) -> i64 {
        let product = self.product(value, lane);
        let magnitude = (product.abs() + self.half[lane]) >> self.shift[lane];
        if product < 0 { -magnitude } else { magnitude }
    }

    /// Adds the zero point and keeps the bounds where the instruction says so, in an order that cannot overflow.
    #[inline(always)]
    fn narrow(&self, rounded: i32, saturate: bool, lane: usize) -> i32 {
        if !saturate {
            return rounded;
        }
        rounded.max(self.lo[lane]).min(self.hi[lane]) + self.zero_point[lane]
    }

    #[inline(always)]
    fn wide(&self, rounded: i64, saturate: bool, lane: usize) -> i32 {
        if !saturate {
            return rounded as i32;
        }
        rounded.max(self.lo[lane].into()).min(self.hi[lane].into()) as i32 + self.zero_point[lane]
    }
}

fn lane_blocks<const BO: usize>(insn: &Lane, config: &HwConfig, part: &Part, inp: &[u8], wgt: &[u8], acc: &mut [i32]) {
    if insn.more_taps > 0 {
        return lane_taps::<BO>(insn, config, part, inp, wgt, acc);
    }
    match (insn.max, insn.overwrite) {
        (false, false) => {
            lane_each::<BO>(config, part, inp, wgt, acc, |a, i, w| semantics::lane(a, i, w, false, false))
        }
        (false, true) => lane_each::<BO>(config, part, inp, wgt, acc, |a, i, w| semantics::lane(a, i, w, false, true)),
        (true, false) => lane_each::<BO>(config, part, inp, wgt, acc, |a, i, w| semantics::lane(a, i, w, true, false)),
        (true, true) => lane_each::<BO>(config, part, inp, wgt, acc, |a, i, w| semantics::lane(a, i, w, true, true)),
    }
}

/// LANE with several taps, which only a machine of equal blocks has: a vector is an element.
fn lane_taps<const BO: usize>(insn: &Lane, config: &HwConfig, part: &Part, inp: &[u8], wgt: &[u8], acc: &mut [i32]) {
    let batch = config.batch();
    let (inputs, weights) = (inp.as_chunks::<BO>().0, wgt.as_chunks::<BO>().0);
    let acc = acc.as_chunks_mut::<BO>().0;
    part.loops.each(part.outer.clone(), part.uops, |dst, src, w| {
        for b in 0..batch {
            let mut sum = [0i32; BO];
            for tap in 0..=insn.more_taps as usize {
                // Weight vectors follow one another within an element.
                let w = w / BO * BO + (w + tap) % BO;
                let (Some(row), Some(weights)) = (inputs.get((src + tap) * batch + b), weights.get(w)) else { return };
                for ((sum, input), weight) in sum.iter_mut().zip(row).zip(weights) {
                    *sum += i32::from(*input as i8) * i32::from(*weight as i8);
                }
            }
            let Some(acc) = acc.get_mut(dst * batch + b) else { return };
            for (acc, sum) in acc.iter_mut().zip(sum) {
                *acc = if insn.overwrite { sum } else { acc.wrapping_add(sum) };
            }
        }
    });
}

#[inline(always)]
fn lane_each<const BO: usize>(
    config: &HwConfig,
    part: &Part,
    inp: &[u8],
    wgt: &[u8],
    acc: &mut [i32],
    op: impl Fn(i32, i8, i8) -> i32,
) {
    let (batch, block_in) = (config.batch(), config.block_in());
    let weights = wgt.as_chunks::<BO>().0;
    let acc = acc.as_chunks_mut::<BO>().0;
    // With batch 1 a vector is consecutive bytes; otherwise it is cut from the batch rows of one or more elements.
    let run = BO.min(block_in);
    part.loops.each(part.outer.clone(), part.uops, |dst, src, w| {
        // With `max` no weight is read, so that its index may be anything; otherwise it has been checked.
        let weights = weights.get(w).unwrap_or(&[0; BO]);
        for b in 0..batch {
            let mut row = [0; BO];
            if batch == 1 {
                let Some(bytes) = inp.as_chunks::<BO>().0.get(src) else { return };
                row = *bytes;
            } else {
                for (part, lanes) in row.chunks_exact_mut(run).enumerate() {
                    let (element, lane) = semantics::lane_input(config, src, part * run);
                    let start = (element * batch + b) * block_in + lane;
                    let Some(bytes) = inp.get(start..start + run) else { return };
                    lanes.copy_from_slice(bytes);
                }
            }
            let Some(acc) = acc.get_mut(dst * batch + b) else { return };
            for ((acc, input), weight) in acc.iter_mut().zip(row).zip(weights) {
                *acc = op(*acc, input as i8, *weight as i8);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::Axis;
    use crate::random::Random;
    use tandem_isa::RequantParam;

    /// Numbers of every magnitude, and those at the ends.
    fn number(random: &mut Random) -> i32 {
        let shift = random.below(32);
        match random.below(8) {
            0 => [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX][random.below(6) as usize],
            _ => random.next() as i32 >> shift,
        }
    }

    #[test]
    fn every_kernel_requantises_as_the_semantics_say() {
        const LANES: usize = 16;
        let config = HwConfig::preset("vta").expect("a preset of as many lanes");
        let mut random = Random(3);
        let modes =
            [RequantMode::DoubleRounding, RequantMode::SingleRounding, RequantMode::HalfAway, RequantMode::Float];
        // Twelve elements and two sets of parameters behind them, the second of which is overwritten in the end.
        let loops = Loops {
            uop_begin: 0,
            uop_end: 1,
            outer: Axis { count: 2, dst: 6, src: 4, wgt: 0 },
            inner: Axis { count: 8, dst: 1, src: 0, wgt: 0 },
        };
        let uops = [Indices { dst: 4, src: 12, wgt: 0 }];
        for case in 0..4000 {
            let mut before: Vec<i32> = (0..20 * LANES).map(|_| number(&mut random)).collect();
            for lane in 0..LANES * 2 {
                let shift = &mut before[(14 + lane / LANES * 4) * LANES + lane % LANES];
                if case % 2 == 0 {
                    *shift = random.below(80) as i32 - 40;
                }
            }
            let (mode, saturate) = (modes[case % 4], case % 8 < 4);
            let mut expected = before.clone();
            loops.each(0..2, &uops, |dst, src, _| {
                for lane in 0..LANES {
                    let words = [0, 1, 2, 3].map(|row| expected[(src + row) * LANES + lane]);
                    let value = &mut expected[dst * LANES + lane];
                    *value = semantics::requant(*value, &RequantParam::from_words(words), mode, saturate);
                }
            });
            let insn = Requant { mode, saturate, ..Requant::default() };
            let part = Part { loops: &loops, outer: 0..2, uops: &uops };
            for kernel in Kernel::available() {
                let mut acc = before.clone();
                let mut cleared = Cleared::new(20, LANES);
                requant(kernel, &insn, &config, &part, &[], &mut acc, &mut cleared);
                assert_eq!(acc, expected, "case {case} of {mode:?}, {kernel:?}");
            }
        }
    }
}
