//! What a run cost.

use tandem_isa::{HwConfig, Insn, MemoryType, Queue};

use crate::loops::Loops;
use crate::transfer::Rows;

/// What a run moved and computed.
///
/// All counts depend on the instructions alone, so they are the same for every interleaving.
///
/// # Units
/// Bytes are DRAM bytes; operations are lane operations, padding lanes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SimCounters {
    /// Instructions run by the load, compute and store queue.
    pub instructions: [u64; 3],
    /// Bytes read into INP.
    pub inp_bytes: u64,
    /// Bytes read into WGT.
    pub wgt_bytes: u64,
    /// Bytes read into ACC, ACC8 included.
    pub acc_bytes: u64,
    /// Bytes read into UOP.
    pub uop_bytes: u64,
    /// Bytes written by stores.
    pub out_bytes: u64,
    /// Micro-op executions of GEMM without `reset`.
    pub gemm_uops: u64,
    /// Micro-op executions of GEMM with `reset`.
    pub reset_uops: u64,
    /// Micro-op executions of ALU.
    pub alu_uops: u64,
    /// Micro-op executions of REQUANT.
    pub requant_uops: u64,
    /// Micro-op executions of LANE.
    pub lane_uops: u64,
    /// Multiply-accumulates of GEMM: executions times batch, input and output lanes.
    pub macs: u64,
    /// Lane operations of LANE that multiply.
    pub lane_macs: u64,
    /// Lane operations of LANE that compare or copy.
    pub lane_max_ops: u64,
    /// Lane operations of ALU.
    pub alu_ops: u64,
    /// Lane operations of REQUANT.
    pub requant_ops: u64,
    /// The cycles from launch to done that hardware is predicted to take; see [`tandem_isa::timing`].
    pub cycles_estimate: u64,
}

impl SimCounters {
    /// Micro-op executions of all instructions.
    pub fn uops(&self) -> u64 {
        self.gemm_uops + self.reset_uops + self.alu_uops + self.requant_uops + self.lane_uops
    }

    /// ACC elements written by arithmetic.
    pub fn acc_writes(&self) -> u64 {
        self.uops()
    }

    /// Bytes read, of all memory types.
    pub fn bytes_loaded(&self) -> u64 {
        self.inp_bytes + self.wgt_bytes + self.acc_bytes + self.uop_bytes
    }

    /// Adds what an instruction does.
    pub(crate) fn count(&mut self, insn: &Insn, config: &HwConfig) {
        let queue = match insn.queue() {
            Queue::Load => 0,
            Queue::Compute => 1,
            Queue::Store => 2,
        };
        self.instructions[queue] += 1;
        let row = (config.batch() * config.block_out()) as u64;
        let uops = Loops::of(insn).map_or(0, |loops| loops.executions());
        match insn {
            Insn::Load(i) => self.count_load(&Rows::from(i), config),
            Insn::LoadPad(i) => self.count_load(&Rows::from(i), config),
            Insn::Store(i) => self.out_bytes += Rows::from(i).moved() * config.out_elem_bytes() as u64,
            Insn::Gemm(i) if i.reset => self.reset_uops += uops,
            Insn::Gemm(_) => {
                self.gemm_uops += uops;
                self.macs += uops * row * config.block_in() as u64;
            }
            Insn::Alu(_) => {
                self.alu_uops += uops;
                self.alu_ops += uops * row;
            }
            Insn::Requant(_) => {
                self.requant_uops += uops;
                self.requant_ops += uops * row;
            }
            Insn::Lane(i) => {
                self.lane_uops += uops;
                let ops = if i.max { &mut self.lane_max_ops } else { &mut self.lane_macs };
                *ops += uops * row;
            }
            Insn::Finish(_) => {}
        }
    }

    fn count_load(&mut self, rows: &Rows, config: &HwConfig) {
        let bytes = rows.moved() * config.elem_bytes(rows.memory_type) as u64;
        match rows.memory_type {
            MemoryType::Inp => self.inp_bytes += bytes,
            MemoryType::Wgt | MemoryType::Wgt4 => self.wgt_bytes += bytes,
            MemoryType::Uop => self.uop_bytes += bytes,
            MemoryType::Acc | MemoryType::Acc8 | MemoryType::Out | MemoryType::OutInp => self.acc_bytes += bytes,
        }
    }
}
