//! What of a machine the parts of an FPGA grow with.

use tandem_hw::Multipliers;
use tandem_isa::HwConfig;

use super::block_ram::block_rams;
use crate::board::Board;
use crate::design::target;

/// Numbers that each resource is a sum of multiples of.
pub struct Features {
    /// Of look-up tables and of flip-flops.
    pub logic: Vec<f64>,
    /// Of multiplier blocks.
    pub dsp: Vec<f64>,
    /// Of block RAMs: those of the memories, and what is around them.
    pub bram: Vec<f64>,
}

impl Features {
    /// The numbers of a machine on a board.
    pub fn new(board: &Board, config: &HwConfig) -> Features {
        let macs = Board::macs(config) as usize;
        let lanes = config.batch() * config.block_out();
        let target = target(board, config);
        let products = target.products(config);
        let halves = matches!(target.multipliers, Multipliers::Mac16 { .. });
        let logs = config.log_uop_depth() + config.log_inp_depth() + config.log_wgt_depth() + config.log_acc_depth();
        let logic = [
            1,
            // The memory engine and the way of its words to the buffers.
            config.bus_bytes(),
            macs,
            // A product without a block is made of adders, and one that shares its block is taken apart.
            products.rows,
            products.shared,
            lanes,
            config.batch() * config.block_in(),
            config.alu_lanes(),
            // Addresses, and counters as wide.
            logs as usize,
            usize::from(config.insn_queue_depth().is_some()),
            // LANE brings the operands of each further tap to every lane.
            (config.lane_taps() - 1) * lanes,
        ];
        let single = if halves { products.single.div_ceil(2) } else { products.single };
        let dsp = [1, single + products.shared / 2, config.alu_lanes()];
        let bram = [1, block_rams(board, config)];
        let numbers = |list: &[usize]| list.iter().map(|&x| x as f64).collect();
        Features { logic: numbers(&logic), dsp: numbers(&dsp), bram: numbers(&bram) }
    }
}
