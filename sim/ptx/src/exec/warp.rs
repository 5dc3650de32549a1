//! The state of a warp.

use super::clock::Clock;
use super::copy::CopyState;
use super::wgmma::WgmmaState;
use crate::alu::{Lanes, WARP};
use crate::op::{Const, Pred, Reg};

/// Why lanes do not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Park {
    Run,
    /// At an instruction that other lanes of the warp must execute too.
    Together,
    /// At a barrier of the block, until its generation passes this one.
    Barrier {
        id: usize,
        generation: u64,
    },
    /// At the barrier of the cluster.
    Cluster {
        generation: u64,
    },
    /// At an `mbarrier` object of a block of the cluster, until its phase passes this one.
    Mbarrier {
        block: usize,
        addr: u32,
        phase: u64,
    },
}

/// Lanes that share a program counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    pub pc: u32,
    pub mask: u32,
    pub park: Park,
}

/// A warp.
#[derive(Clone, Debug)]
pub(crate) struct Warp {
    /// Index of its block in the cluster.
    pub block: usize,
    /// Index in its block.
    pub index: usize,
    /// Number by which clocks know it.
    pub party: usize,
    /// Lanes that exist.
    pub valid: u32,
    pub exited: u32,
    /// Sorted by program counter.
    pub splits: Vec<Split>,
    pub registers: Vec<Lanes>,
    pub predicates: Vec<u32>,
    /// The carry flag of each lane.
    pub carry: u32,
    /// Local memory, lane after lane.
    pub local: Vec<u8>,
    pub clock: Clock,
    pub copies: CopyState,
    pub wgmma: WgmmaState,
    /// Generation of the cluster's barrier at which lanes have arrived and not yet waited, and those lanes.
    pub cluster_arrived: (u64, u32),
    /// Number in the block of its first thread.
    pub first_thread: u32,
}

impl Warp {
    pub fn alive(&self) -> u32 {
        self.valid & !self.exited
    }

    pub fn done(&self) -> bool {
        self.alive() == 0
    }

    pub fn read(&self, r: Reg) -> &Lanes {
        &self.registers[r as usize]
    }

    pub fn lane(&self, r: Reg, lane: usize) -> u64 {
        self.registers[r as usize][lane]
    }

    pub fn set(&mut self, r: Reg, lane: usize, value: u64) {
        self.registers[r as usize][lane] = value;
    }

    /// Writes the lanes of `mask`.
    pub fn write(&mut self, r: Reg, values: &Lanes, mask: u32) {
        let to = &mut self.registers[r as usize];
        if mask == u32::MAX {
            *to = *values;
            return;
        }
        for lane in lanes(mask) {
            to[lane] = values[lane];
        }
    }

    pub fn predicate(&self, (p, negated): (Pred, bool)) -> u32 {
        let bits = self.predicates[p as usize];
        if negated { !bits } else { bits }
    }

    pub fn set_predicate(&mut self, p: Pred, bits: u32, mask: u32) {
        let to = &mut self.predicates[p as usize];
        *to = *to & !mask | bits & mask;
    }

    /// The value of a register that must be the same in all lanes of `mask`, that of the first.
    pub fn uniform(&self, r: Reg, mask: u32) -> u64 {
        self.lane(r, mask.trailing_zeros() as usize % WARP)
    }

    pub fn set_constants(&mut self, constants: &[(u32, Const)], value: impl Fn(Const) -> u64) {
        for (r, constant) in constants {
            self.registers[*r as usize] = [value(*constant); WARP];
        }
    }
}

/// The lanes of a mask.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        Some(lane)
    })
}
