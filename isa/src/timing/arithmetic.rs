//! GEMM, LANE, ALU and REQUANT: when micro-ops fire and when the pipelines are empty.

use crate::{HwConfig, Insn};

use super::hardware::{ALU_LATENCY, GEMM_LATENCY, PARAMETERS, SEQUENCER};

/// Executions of the tensor ALU that are followed one by one; those behind them are taken to go on at the same rate.
const FOLLOWED: u64 = 1 << 16;

/// The two nested loops over micro-ops, without what the timing does not depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loops {
    pub uop_begin: u32,
    pub uop_end: u32,
    pub iter_out: u32,
    pub iter_in: u32,
    pub dst: [u32; 2],
    pub src: [u32; 2],
}

/// What works on a micro-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// The GEMM array: GEMM and LANE, and where REQUANT is fused with them the accumulator from which its parameters stand.
    Array {
        /// That accumulator.
        fused: Option<u32>,
    },
    /// The tensor ALU, with its second operand in ACC or not.
    Alu {
        /// Whether it reads ACC at `src`.
        reads: bool,
    },
    /// The tensor ALU with parameters, which begin at an accumulator of their own where the values come from INP.
    Requant {
        /// That accumulator.
        parameters: Option<u32>,
    },
}

/// When the micro-ops of an instruction go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fired {
    /// The first cycle in which the sequencer has fired the last one and its operands are read.
    pub walked: u64,
    /// The first cycle in which every pipeline is empty.
    pub drained: u64,
    /// Cycles in which one waited for a result or for parameters.
    pub hazard: u64,
}

/// The arithmetic of a compute unit, and its micro-ops.
#[derive(Debug)]
pub(super) struct Arithmetic {
    uops: Vec<u32>,
    log_acc: u32,
    log_src: u32,
    /// Cycles from one micro-op of the tensor ALU to the next.
    turns: u64,
    /// Cycles behind the one in which a micro-op fires until its result is written.
    flight: u64,
    /// The same of the array.
    latency: u64,
    /// The first cycle in which no result of the tensor ALU for an accumulator is in flight.
    written: Vec<u64>,
    /// The first cycle in which the array, and the tensor ALU, are empty.
    array: u64,
    alu: u64,
}

impl Loops {
    /// Those of an instruction that has them, and what works on its micro-ops; `fuse` is the REQUANT that waits for GEMM or LANE,
    /// by its parameters.
    pub fn of(insn: &Insn, fuse: Option<u32>) -> Option<(Unit, Loops)> {
        macro_rules! loops {
            ($i:expr) => {
                Loops {
                    uop_begin: $i.uop_begin,
                    uop_end: $i.uop_end,
                    iter_out: $i.iter_out,
                    iter_in: $i.iter_in,
                    dst: [$i.dst_factor_out, $i.dst_factor_in],
                    src: [$i.src_factor_out, $i.src_factor_in],
                }
            };
        }
        Some(match insn {
            Insn::Gemm(i) => (Unit::Array { fused: fuse }, loops!(i)),
            Insn::Lane(i) => (Unit::Array { fused: fuse }, loops!(i)),
            Insn::Alu(i) => (Unit::Alu { reads: !i.use_imm }, loops!(i)),
            Insn::Requant(i) => (Unit::Requant { parameters: i.from_inp.then_some(i.param) }, loops!(i)),
            Insn::Load(_) | Insn::LoadPad(_) | Insn::Store(_) | Insn::Finish(_) => return None,
        })
    }

    /// Executions of micro-ops.
    pub fn executions(&self) -> u64 {
        u64::from(self.iter_out) * u64::from(self.iter_in) * u64::from(self.uop_end.saturating_sub(self.uop_begin))
    }
}

/// Whether the second instruction may begin while the first one's results are in the pipelines; `fused` tells whether the first
/// one's are requantised.
pub(super) fn overlaps(first: &Insn, fused: bool, second: &Insn) -> bool {
    let dep = first.dep();
    let keeps = matches!(second, Insn::Requant(i) if i.fuse);
    let (quick, slow) =
        (matches!(second, Insn::Gemm(_) | Insn::Lane(_)), matches!(second, Insn::Alu(_) | Insn::Requant(_)) && !keeps);
    match first {
        Insn::Gemm(_) | Insn::Lane(_) => !dep.push_next && (slow || keeps || (quick && !fused)),
        Insn::Requant(i) if i.fuse => !dep.push_next && (quick || slow),
        Insn::Alu(_) | Insn::Requant(_) => !dep.push_prev && !dep.push_next && slow,
        Insn::Load(_) | Insn::LoadPad(_) | Insn::Store(_) | Insn::Finish(_) => false,
    }
}

impl Arithmetic {
    pub fn new(config: &HwConfig, operand_registers: bool) -> Arithmetic {
        let turns = (config.out_elem_bytes() / config.alu_lanes()) as u64;
        // A vector that is worked on in parts is read a cycle later.
        let operand = if turns == 1 { 1 } else { 2 };
        Arithmetic {
            uops: vec![0; config.uop_depth()],
            log_acc: config.log_acc_depth(),
            log_src: config.log_src_depth(),
            turns,
            flight: operand + ALU_LATENCY + turns - 1,
            latency: GEMM_LATENCY + u64::from(operand_registers),
            written: vec![0; config.acc_depth()],
            array: 0,
            alu: 0,
        }
    }

    /// The micro-ops from entry `sram` on, to be written.
    pub fn uops_mut(&mut self, sram: usize, count: usize) -> Option<&mut [u32]> {
        self.uops.get_mut(sram..sram.checked_add(count)?)
    }

    /// When an instruction without micro-ops is done that starts in this cycle.
    pub fn rest(&self, start: u64) -> Fired {
        Fired { walked: start, drained: (start + 1).max(self.array).max(self.alu), hazard: 0 }
    }

    /// Follows the micro-ops of an instruction whose `start` is in this cycle.
    pub fn follow(&mut self, unit: Unit, loops: &Loops, start: u64) -> Fired {
        let count = loops.executions();
        let at_hand = start + SEQUENCER;
        let (mut walked, mut hazard) = (start + 1, 0);
        if let Unit::Array { fused } = unit {
            if count > 0 {
                (walked, hazard) = match fused {
                    None => (at_hand + count, 0),
                    Some(parameters) => self.sums(loops, parameters, at_hand),
                };
                self.array = walked + self.latency;
            }
        } else if count > 0 {
            let range = loops.uop_begin as usize..loops.uop_end as usize;
            let uops = std::mem::take(&mut self.uops);
            if let Some(list) = uops.get(range) {
                let (behind, waited) = self.one_by_one(unit, loops, list, at_hand, count);
                // The sequencer holds the fields until the last vector has been read in all its parts.
                (walked, hazard) = (behind + self.turns - 1, waited);
                self.alu = behind + self.flight;
            }
            self.uops = uops;
        }
        Fired { walked, drained: walked.max(self.array).max(self.alu), hazard }
    }

    /// Follows the micro-ops of a fused instruction turn by turn. Returns the cycle behind the one in which the last one fires, and
    /// the cycles in which one waited.
    fn sums(&mut self, loops: &Loops, parameters: u32, first: u64) -> (u64, u64) {
        let last_acc = (1u32 << self.log_acc) - 1;
        let range = loops.uop_begin as usize..loops.uop_end as usize;
        let list: Vec<u32> = self.uops.get(range).unwrap_or_default().iter().map(|word| word & last_acc).collect();
        let Some((&last, before)) = list.split_last() else { return (first, 0) };
        let is_parameter = |dst: u32| dst.wrapping_sub(parameters) & last_acc < PARAMETERS as u32;
        // The first cycle in which the array is empty, the micro-ops that have gone included.
        let (mut at_hand, mut empty, mut hazard, mut held) = (first, self.array, 0, false);
        for outer in 0..loops.iter_out {
            for inner in 0..loops.iter_in {
                let turn = outer.wrapping_mul(loops.dst[0]).wrapping_add(inner.wrapping_mul(loops.dst[1]));
                let dst = |dst: u32| dst.wrapping_add(turn) & last_acc;
                if !before.is_empty() {
                    at_hand += before.len() as u64;
                    empty = at_hand + self.latency;
                }
                held &= !before.iter().any(|&uop| is_parameter(dst(uop)));
                let mut fire = at_hand;
                if !held {
                    fire = at_hand.max(empty).max(self.settled(parameters & last_acc)) + PARAMETERS + 1;
                }
                held = !is_parameter(dst(last));
                hazard += fire - at_hand;
                at_hand = fire + 1;
                empty = at_hand + self.latency;
                // The tensor ALU takes the sum when it is written.
                self.alu = fire + self.latency - 1 + self.flight + 1;
                self.written[dst(last) as usize] = self.alu;
            }
        }
        (at_hand, hazard)
    }

    /// Follows the micro-ops of the tensor ALU. Returns the cycle behind the one in which the last one fires, and the cycles
    /// in which one waited.
    fn one_by_one(&mut self, unit: Unit, loops: &Loops, uops: &[u32], first: u64, count: u64) -> (u64, u64) {
        let last_acc = (1u32 << self.log_acc) - 1;
        let (log_acc, src_mask) = (self.log_acc, (1u32 << self.log_src) - 1);
        let (reads, requant) = match unit {
            Unit::Alu { reads } => (reads, None),
            Unit::Requant { parameters } => (parameters.is_none(), Some(parameters)),
            Unit::Array { .. } => (false, None),
        };
        let read_time = ((PARAMETERS - 1) * self.turns + 2).max(PARAMETERS * self.turns);
        let (mut at_hand, mut free, mut hazard, mut held) = (first, 0, 0, None);
        let (mut followed, mut half) = (0, (first, 0));
        let most = count.min(FOLLOWED);
        'all: for outer in 0..loops.iter_out {
            for inner in 0..loops.iter_in {
                let step = |by: [u32; 2]| outer.wrapping_mul(by[0]).wrapping_add(inner.wrapping_mul(by[1]));
                let (dst_step, src_step) = (step(loops.dst), step(loops.src));
                for &word in uops {
                    let dst = word.wrapping_add(dst_step) & last_acc;
                    let src = (word >> log_acc & src_mask).wrapping_add(src_step) & last_acc;
                    let mut fire = at_hand.max(self.written[dst as usize]);
                    if reads {
                        fire = fire.max(self.written[src as usize]);
                    }
                    if let Some(parameters) = requant {
                        let base = parameters.unwrap_or(src) & last_acc;
                        if held != Some(base) {
                            fire = fire.max(at_hand.max(free).max(self.settled(base)) + read_time);
                            held = Some(base);
                        }
                        // A result that lands among the parameters makes them stale.
                        if dst.wrapping_sub(base) & last_acc < PARAMETERS as u32 {
                            held = None;
                        }
                    }
                    hazard += fire - at_hand;
                    fire = fire.max(free);
                    self.alu = fire + self.flight + 1;
                    self.written[dst as usize] = self.alu;
                    (free, at_hand) = (fire + self.turns, fire + 1);
                    followed += 1;
                    if followed == most / 2 {
                        half = (at_hand, hazard);
                    }
                    if followed == most {
                        break 'all;
                    }
                }
            }
        }
        let behind = |whole: u64, half: u64| {
            let rest = u128::from(whole - half) * u128::from(count - followed) / u128::from((followed / 2).max(1));
            u64::try_from(rest).unwrap_or(u64::MAX / 4)
        };
        match count > followed {
            true => (at_hand + behind(at_hand, half.0), hazard + behind(hazard, half.1)),
            false => (at_hand, hazard),
        }
    }

    /// The first cycle in which nothing is in flight that may be among the parameters from `base` on.
    fn settled(&self, base: u32) -> u64 {
        if !u64::from(base).is_multiple_of(PARAMETERS) {
            return self.alu;
        }
        let parameters = self.written.iter().skip(base as usize).take(PARAMETERS as usize);
        parameters.copied().max().unwrap_or(0)
    }
}
