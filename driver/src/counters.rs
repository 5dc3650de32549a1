//! What a run cost, as the device's counter registers report it.

use std::ops::{Add, AddAssign};

use tandem_isa::{HwConfig, Reg};

/// The counters of one run, or of several added up.
///
/// # Units
/// Bytes are DRAM bytes; `cycles` are device cycles (an estimate on the functional simulator). A device's registers have 32
/// bits; a counter that overflows stays at its maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counters {
    /// Instructions of the program.
    pub instructions: u64,
    /// Cycles from launch to done.
    pub cycles: u64,
    /// ACC elements written by arithmetic.
    pub acc_writes: u64,
    /// Bytes read from DRAM into INP.
    pub inp_bytes: u64,
    /// Bytes read from DRAM into WGT.
    pub wgt_bytes: u64,
    /// Bytes read from DRAM into ACC.
    pub acc_bytes: u64,
    /// Bytes read from DRAM into UOP.
    pub uop_bytes: u64,
    /// Bytes written to DRAM.
    pub out_bytes: u64,
    /// Micro-op executions of GEMM that multiply; clearing with `reset` does not count.
    pub gemm_uops: u64,
    /// Micro-op executions of ALU and REQUANT.
    pub alu_uops: u64,
    /// Micro-op executions of LANE.
    pub lane_uops: u64,
}

impl Counters {
    /// The registers read after a run, in order.
    pub const REGS: [Reg; 10] = [
        Reg::Cycles,
        Reg::AccWrites,
        Reg::InpBytes,
        Reg::WgtBytes,
        Reg::AccBytes,
        Reg::UopBytes,
        Reg::OutBytes,
        Reg::GemmUops,
        Reg::AluUops,
        Reg::LaneUops,
    ];

    /// The counters whose registers, in the order of [`Counters::REGS`], hold these values.
    pub fn from_regs(instructions: u64, values: [u32; 10]) -> Counters {
        let [cycles, acc_writes, inp_bytes, wgt_bytes, acc_bytes, uop_bytes, out_bytes, gemm_uops, alu_uops, lane_uops] =
            values.map(u64::from);
        Counters {
            instructions,
            cycles,
            acc_writes,
            inp_bytes,
            wgt_bytes,
            acc_bytes,
            uop_bytes,
            out_bytes,
            gemm_uops,
            alu_uops,
            lane_uops,
        }
    }

    /// Bytes read from DRAM, of all memory types.
    pub fn bytes_loaded(&self) -> u64 {
        self.inp_bytes + self.wgt_bytes + self.acc_bytes + self.uop_bytes
    }

    /// Bytes written to DRAM.
    pub fn bytes_stored(&self) -> u64 {
        self.out_bytes
    }

    /// Micro-op executions of all instructions.
    pub fn uops(&self) -> u64 {
        self.gemm_uops + self.alu_uops + self.lane_uops
    }

    /// Multiply-accumulates on the device's lanes, padding lanes included: GEMM's, and one per lane of a LANE micro-op
    /// (its maximum form counts alike).
    pub fn macs(&self, config: &HwConfig) -> u64 {
        let row = (config.batch() * config.block_out()) as u64;
        self.gemm_uops * row * config.block_in() as u64 + self.lane_uops * row
    }
}

impl Add for Counters {
    type Output = Counters;

    fn add(self, other: Counters) -> Counters {
        Counters {
            instructions: self.instructions + other.instructions,
            cycles: self.cycles + other.cycles,
            acc_writes: self.acc_writes + other.acc_writes,
            inp_bytes: self.inp_bytes + other.inp_bytes,
            wgt_bytes: self.wgt_bytes + other.wgt_bytes,
            acc_bytes: self.acc_bytes + other.acc_bytes,
            uop_bytes: self.uop_bytes + other.uop_bytes,
            out_bytes: self.out_bytes + other.out_bytes,
            gemm_uops: self.gemm_uops + other.gemm_uops,
            alu_uops: self.alu_uops + other.alu_uops,
            lane_uops: self.lane_uops + other.lane_uops,
        }
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        *self = *self + other;
    }
}
