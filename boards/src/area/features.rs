//! What of a machine the parts of an FPGA grow with.

use tandem_hw::Multipliers;
use tandem_isa::HwConfig;

use crate::board::{Board, Flow, Memory};
use crate::design::target;

/// Memories up to so many words are made of look-up tables.
const DISTRIBUTED: usize = 64;

/// Numbers that each resource is a sum of multiples of.
pub struct Features {
    /// Of look-up tables and of flip-flops.
    pub logic: Vec<f64>,
    /// Of multiplier blocks.
    pub dsp: Vec<f64>,
    /// Of block RAMs.
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
        let queue = config.insn_queue_depth().unwrap_or(0);
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
            usize::from(queue > 0),
            // LANE brings the operands of each further tap to every lane.
            (config.lane_taps() - 1) * lanes,
        ];
        let single = if halves { products.single.div_ceil(2) } else { products.single };
        let dsp = [1, single + products.shared / 2, config.alu_lanes()];
        let tiles = |bits: usize, words: usize| blocks(board.flow, bits, words);
        let bram = [
            1,
            tiles(32, config.uop_depth()),
            tiles(8 * config.inp_elem_bytes(), config.inp_depth()),
            tiles(8 * config.wgt_elem_bytes(), config.wgt_depth()),
            tiles(8 * config.acc_elem_bytes(), config.acc_depth()),
            tiles(8 * config.out_elem_bytes(), config.acc_depth()),
            tiles(128, queue),
            memory_tiles(board, config),
        ];
        let numbers = |list: &[usize]| list.iter().map(|&x| x as f64).collect();
        Features { logic: numbers(&logic), dsp: numbers(&dsp), bram: numbers(&bram) }
    }
}

/// Block RAMs of a memory inside the part that holds the tensors.
fn memory_tiles(board: &Board, config: &HwConfig) -> usize {
    match &board.memory {
        Memory::BlockRam { bytes } => blocks(board.flow, 8 * config.bus_bytes(), *bytes as usize / config.bus_bytes()),
        Memory::Sdram(_) | Memory::Spram | Memory::ProcessorDdr { .. } => 0,
    }
}

/// Block RAMs of a memory of so many words: as few as any of their forms needs.
pub fn blocks(flow: Flow, bits: usize, words: usize) -> usize {
    // Bits and words of a block.
    let forms: &[(usize, usize)] = match flow {
        Flow::Ecp5 => &[(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)],
        Flow::Ice40 => &[(16, 256), (8, 512), (4, 1024), (2, 2048)],
        Flow::Gowin => &[(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)],
        Flow::Vivado => &[(72, 512), (36, 1024), (18, 2048), (9, 4096), (4, 8192), (2, 16384), (1, 32768)],
    };
    if words <= DISTRIBUTED {
        return 0;
    }
    forms.iter().map(|(wide, deep)| bits.div_ceil(*wide) * words.div_ceil(*deep)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_takes_the_form_of_block_that_needs_the_fewest() {
        let of = |bits, words| blocks(Flow::Ecp5, bits, words);
        assert_eq!((of(36, 512), of(32, 2048), of(128, 512), of(64, 2048), of(8, 64)), (1, 4, 4, 8, 0));
        assert_eq!(blocks(Flow::Ice40, 32, 1024), 8);
    }
}
