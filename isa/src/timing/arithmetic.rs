//! GEMM, LANE, ALU and REQUANT: when micro-ops fire and when the pipelines are empty.

use std::collections::HashMap;

use crate::{HwConfig, Insn};

use super::hardware::{ALU_LATENCY, GEMM_LATENCY, PARAMETERS, SEQUENCER};

/// Executions of the tensor ALU that are followed one by one; those behind them are taken to go on at the same rate.
const FOLLOWED: u64 = 1 << 16;

/// The two nested loops over micro-ops, without what the timing does not depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Loops {
    pub uop_begin: u32,
    pub uop_end: u32,
    pub iter_out: u32,
    pub iter_in: u32,
    pub dst: [u32; 2],
    pub src: [u32; 2],
}

/// What works on a micro-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    /// The GEMM array: GEMM and LANE.
    Array,
    /// The tensor ALU, with its second operand in ACC or not.
    Alu {
        /// Whether it reads ACC at `src`.
        reads: bool,
    },
    /// The tensor ALU with parameters.
    Requant,
}

/// What an instruction takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Cycles from `start` to the one in which it is done.
    pub cycles: u64,
    /// Cycles in which a micro-op waited for a result or for parameters.
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
    /// When each accumulator was last written to by a micro-op of the tensor ALU, on a clock that only these micro-ops see.
    fired: Vec<u64>,
    clock: u64,
    known: HashMap<(Unit, Loops, Box<[u32]>), Taken>,
}

impl Loops {
    /// Those of an instruction that has them, and what works on its micro-ops.
    pub fn of(insn: &Insn) -> Option<(Unit, Loops)> {
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
            Insn::Gemm(i) => (Unit::Array, loops!(i)),
            Insn::Lane(i) => (Unit::Array, loops!(i)),
            Insn::Alu(i) => (Unit::Alu { reads: !i.use_imm }, loops!(i)),
            Insn::Requant(i) => (Unit::Requant, loops!(i)),
            Insn::Load(_) | Insn::LoadPad(_) | Insn::Store(_) | Insn::Finish(_) => return None,
        })
    }

    /// Executions of micro-ops.
    pub fn executions(&self) -> u64 {
        u64::from(self.iter_out) * u64::from(self.iter_in) * u64::from(self.uop_end.saturating_sub(self.uop_begin))
    }
}

impl Arithmetic {
    pub fn new(config: &HwConfig) -> Arithmetic {
        let turns = (config.out_elem_bytes() / config.alu_lanes()) as u64;
        // A vector that is worked on in parts is read a cycle later.
        let operand = if turns == 1 { 1 } else { 2 };
        Arithmetic {
            uops: vec![0; config.uop_depth()],
            log_acc: config.log_acc_depth(),
            log_src: config.log_src_depth(),
            turns,
            flight: operand + ALU_LATENCY + turns - 1,
            fired: vec![0; config.acc_depth()],
            clock: 0,
            known: HashMap::new(),
        }
    }

    /// The micro-ops from entry `sram` on, to be written.
    pub fn uops_mut(&mut self, sram: usize, count: usize) -> Option<&mut [u32]> {
        self.uops.get_mut(sram..sram.checked_add(count)?)
    }

    /// What an instruction takes.
    pub fn take(&mut self, unit: Unit, loops: &Loops) -> Taken {
        let count = loops.executions();
        if count == 0 {
            return Taken { cycles: 1, hazard: 0 };
        }
        if unit == Unit::Array {
            return Taken { cycles: SEQUENCER + count - 1 + GEMM_LATENCY + 1, hazard: 0 };
        }
        let range = loops.uop_begin as usize..loops.uop_end as usize;
        let Some(uops) = self.uops.get(range) else { return Taken { cycles: SEQUENCER, hazard: 0 } };
        let key = (unit, *loops, Box::from(uops));
        if let Some(&taken) = self.known.get(&key) {
            return taken;
        }
        let taken = self.follow(unit, loops, &key.2, count);
        self.known.insert(key, taken);
        taken
    }

    /// Follows the micro-ops through the tensor ALU one by one.
    fn follow(&mut self, unit: Unit, loops: &Loops, uops: &[u32], count: u64) -> Taken {
        let depth = (1u32 << self.log_acc) - 1;
        let parameters = PARAMETERS as u32;
        let (reads, requant) = match unit {
            Unit::Alu { reads } => (reads, false),
            Unit::Requant | Unit::Array => (true, true),
        };
        // Everything before is out of the pipeline.
        let start = self.clock + self.flight + 1;
        let mut at_hand = start + SEQUENCER;
        let (mut free, mut empty, mut hazard, mut held) = (0, 0, 0, None);
        let (mut followed, mut half) = (0, (0, 0));
        let followed_at_most = count.min(FOLLOWED);
        'all: for outer in 0..loops.iter_out {
            for inner in 0..loops.iter_in {
                let step = |by: [u32; 2]| outer.wrapping_mul(by[0]).wrapping_add(inner.wrapping_mul(by[1]));
                let (dst_step, src_step) = (step(loops.dst), step(loops.src));
                for &word in uops {
                    let dst = (word & depth).wrapping_add(dst_step) & depth;
                    let src = (word >> self.log_acc & ((1 << self.log_src) - 1)).wrapping_add(src_step) & depth;
                    let mut fire = at_hand.max(self.met(dst));
                    if reads {
                        fire = fire.max(self.met(src));
                    }
                    if requant && held != Some(src) {
                        // Read when the pipeline is empty, a vector after the other.
                        let read = at_hand.max(empty).max(free);
                        let turns = self.turns;
                        fire = fire.max(read + ((PARAMETERS - 1) * turns + 2).max(PARAMETERS * turns));
                        held = Some(src);
                    }
                    hazard += fire - at_hand;
                    fire = fire.max(free);
                    self.fired[dst as usize] = fire;
                    if requant && held.is_some_and(|held| dst.wrapping_sub(held) & depth < parameters) {
                        held = None;
                    }
                    (free, empty, at_hand) = (fire + self.turns, fire + self.flight + 1, fire + 1);
                    followed += 1;
                    if followed == followed_at_most / 2 {
                        half = (fire, hazard);
                    }
                    if followed == followed_at_most {
                        break 'all;
                    }
                }
            }
        }
        self.clock = empty;
        let mut cycles = empty - start;
        if count > followed {
            let behind = |whole: u64, half: u64| {
                let rest = u128::from(whole - half) * u128::from(count - followed) / u128::from(followed / 2);
                u64::try_from(rest).unwrap_or(u64::MAX / 4)
            };
            cycles += behind(at_hand - 1, half.0);
            hazard += behind(hazard, half.1);
        }
        Taken { cycles, hazard }
    }

    /// The first cycle in which no result for an accumulator is in flight.
    fn met(&self, index: u32) -> u64 {
        match self.fired.get(index as usize) {
            Some(&fired) if fired > 0 => fired + self.flight + 1,
            _ => 0,
        }
    }
}
