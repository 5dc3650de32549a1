//! What works lane by lane on ACC: ALU, REQUANT, LANE, and the clearing of GEMM.
//!
//! The order of the loops is kept, because an instruction may read what it wrote. Each function is instantiated per number of
//! lanes and per operation, so that the loop over lanes has neither.

use std::ops::Range;

use tandem_isa::{Alu, AluOpcode, Compat, HwConfig, Lane, Requant, RequantMode, RequantParam, Upstream, semantics};

use crate::loops::{Indices, Loops};

/// Calls a function with the number of lanes of an ACC element as its const argument.
macro_rules! with_lanes {
    ($lanes:expr, $function:ident($($argument:expr),*)) => {
        match $lanes {
            4 => $function::<4>($($argument),*),
            8 => $function::<8>($($argument),*),
            16 => $function::<16>($($argument),*),
            32 => $function::<32>($($argument),*),
            64 => $function::<64>($($argument),*),
            128 => $function::<128>($($argument),*),
            // Batch is 1, 2 or 4 and a block 4 to 32.
            _ => {}
        }
    };
}

/// The part of an instruction to run: some turns of the outer loop, and its decoded micro-ops.
#[derive(Clone)]
pub(crate) struct Part<'a> {
    pub loops: &'a Loops,
    pub outer: Range<u32>,
    pub uops: &'a [Indices],
}

/// Clears accumulators.
pub(crate) fn clear(part: &Part, acc: &mut [i32], lanes: usize) {
    with_lanes!(lanes, clear_lanes(part, acc));
}

/// Runs ALU.
pub(crate) fn alu(insn: &Alu, compat: &Compat, part: &Part, acc: &mut [i32], lanes: usize) {
    with_lanes!(lanes, alu_lanes(insn, compat, part, acc));
}

/// Runs REQUANT. `cleared` has a mark for every accumulator that is zero although `acc` shows what STORE sees.
pub(crate) fn requant(
    insn: &Requant,
    config: &HwConfig,
    part: &Part,
    inp: &[u8],
    acc: &mut [i32],
    cleared: &mut [bool],
) {
    let lanes = config.out_elem_bytes();
    if insn.clear || insn.from_inp {
        with_lanes!(lanes, requant_flagged(insn, config, part, inp, acc, cleared));
    } else {
        with_lanes!(lanes, requant_lanes(insn.mode, insn.saturate, part, acc));
    }
}

/// Copies the low byte of every accumulator that an instruction touched into the separate OUT buffer.
pub(crate) fn copy_out(part: &Part, acc: &[i32], out: &mut [u8], lanes: usize) {
    part.loops.each(part.outer.clone(), part.uops, |dst, _, _| {
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

fn clear_lanes<const L: usize>(part: &Part, acc: &mut [i32]) {
    let acc = acc.as_chunks_mut::<L>().0;
    part.loops.each(part.outer.clone(), part.uops, |dst, _, _| {
        if let Some(acc) = acc.get_mut(dst) {
            *acc = [0; L];
        }
    });
}

fn alu_lanes<const L: usize>(insn: &Alu, compat: &Compat, part: &Part, acc: &mut [i32]) {
    let acc = acc.as_chunks_mut::<L>().0;
    let other = compat.shift_amount != Upstream::Fsim && insn.alu_opcode == AluOpcode::Shr;
    if other || (insn.use_imm && compat.imm_reads_src()) {
        return alu_compat(insn, compat, part, acc);
    }
    let (imm, part) = (insn.use_imm.then_some(insn.imm), part.clone());
    match insn.alu_opcode {
        AluOpcode::Min => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Min, l, r)),
        AluOpcode::Max => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Max, l, r)),
        AluOpcode::Add => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Add, l, r)),
        AluOpcode::Shr => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Shr, l, r)),
        AluOpcode::Mul => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Mul, l, r)),
        AluOpcode::Rshr => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Rshr, l, r)),
        AluOpcode::Clamp => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Clamp, l, r)),
        AluOpcode::Mov => alu_each(imm, &part, acc, |l, r| semantics::alu(AluOpcode::Mov, l, r)),
    }
}

#[inline(always)]
fn alu_each<const L: usize>(imm: Option<i32>, part: &Part, acc: &mut [[i32; L]], op: impl Fn(i32, i32) -> i32) {
    let outer = part.outer.clone();
    match imm {
        Some(imm) => part.loops.each(outer, part.uops, |dst, _, _| {
            if let Some(acc) = acc.get_mut(dst) {
                acc.iter_mut().for_each(|lane| *lane = op(*lane, imm));
            }
        }),
        None => part.loops.each(outer, part.uops, |dst, src, _| {
            let Some(operand) = acc.get(src).copied() else { return };
            if let Some(acc) = acc.get_mut(dst) {
                acc.iter_mut().zip(operand).for_each(|(lane, operand)| *lane = op(*lane, operand));
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

fn requant_lanes<const L: usize>(mode: RequantMode, saturate: bool, part: &Part, acc: &mut [i32]) {
    let acc = acc.as_chunks_mut::<L>().0;
    match mode {
        RequantMode::DoubleRounding => {
            requant_each(part, acc, |v, p| semantics::requant(v, p, RequantMode::DoubleRounding, saturate));
        }
        RequantMode::SingleRounding => {
            requant_each(part, acc, |v, p| semantics::requant(v, p, RequantMode::SingleRounding, saturate));
        }
        RequantMode::HalfAway => {
            requant_each(part, acc, |v, p| semantics::requant(v, p, RequantMode::HalfAway, saturate));
        }
        RequantMode::Float => requant_each(part, acc, |v, p| semantics::requant(v, p, RequantMode::Float, saturate)),
    }
}

#[inline(always)]
fn requant_each<const L: usize>(part: &Part, acc: &mut [[i32; L]], op: impl Fn(i32, &RequantParam) -> i32) {
    part.loops.each(part.outer.clone(), part.uops, |dst, src, _| {
        let Some(&[bias, multiplier, shift, post]) = acc.get(src..src + 4).and_then(|p| p.first_chunk::<4>()) else {
            return;
        };
        let Some(acc) = acc.get_mut(dst) else { return };
        for (lane, value) in acc.iter_mut().enumerate() {
            let param = RequantParam::from_words([bias[lane], multiplier[lane], shift[lane], post[lane]]);
            *value = op(*value, &param);
        }
    });
}

/// REQUANT with its flags: values from INP, zeros left in ACC.
fn requant_flagged<const L: usize>(
    insn: &Requant,
    config: &HwConfig,
    part: &Part,
    inp: &[u8],
    acc: &mut [i32],
    cleared: &mut [bool],
) {
    let acc = acc.as_chunks_mut::<L>().0;
    part.loops.each(part.outer.clone(), part.uops, |dst, src, _| {
        let first = if insn.from_inp { insn.param as usize } else { src };
        let mut params = [[0; L]; 4];
        for (at, words) in (first..).zip(&mut params) {
            // What this instruction itself has cleared is zero.
            match (acc.get(at), cleared.get(at)) {
                (Some(held), Some(false)) => *words = *held,
                (Some(_), _) => {}
                (None, _) => return,
            }
        }
        let mut values = [0; L];
        if insn.from_inp {
            for (at, value) in values.iter_mut().enumerate() {
                let (b, lane) = (at / config.block_out(), at % config.block_out());
                let (element, lane) = semantics::lane_input(config, src, lane);
                let byte = inp.get((element * config.batch() + b) * config.block_in() + lane);
                *value = byte.map_or(0, |&byte| i32::from(byte as i8));
            }
        } else if cleared.get(dst) == Some(&false) {
            values = acc.get(dst).copied().unwrap_or(values);
        }
        let (Some(acc), Some(mark)) = (acc.get_mut(dst), cleared.get_mut(dst)) else { return };
        for (lane, value) in values.into_iter().enumerate() {
            let param = RequantParam::from_words(params.map(|words| words[lane]));
            acc[lane] = semantics::requant(value, &param, insn.mode, insn.saturate);
        }
        *mark = insn.clear;
    });
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
