//! Block RAMs that the memories of a machine take.

use tandem_hw::{MemoryShape, MemoryStyle};
use tandem_isa::HwConfig;

use crate::board::{Board, Flow, Memory};
use crate::design::target;

/// A form of a block: bits of a word, words, and bits that are written or left alone together.
type Form = (usize, usize, usize);

const ECP5: &[Form] = &[(36, 512, 9), (18, 1024, 9), (9, 2048, 9), (4, 4096, 4), (2, 8192, 2), (1, 16384, 1)];
const ICE40: &[Form] = &[(16, 256, 1), (8, 512, 8), (4, 1024, 4), (2, 2048, 2)];
const XILINX: &[Form] =
    &[(72, 512, 9), (36, 1024, 9), (18, 2048, 9), (9, 4096, 9), (4, 8192, 4), (2, 16384, 2), (1, 32768, 1)];

/// Block RAMs of a machine on a board, its tensors' memory included where that is inside the part.
pub fn block_rams(board: &Board, config: &HwConfig) -> usize {
    let own = tandem_hw::block_memories(config, &target(board, config));
    own.iter().chain(&tensors(board, config)).map(|memory| blocks(board.flow, memory)).sum()
}

/// The memory inside the part that holds the tensors.
fn tensors(board: &Board, config: &HwConfig) -> Option<MemoryShape> {
    let Memory::BlockRam { bytes } = board.memory else { return None };
    let lanes = config.bus_bytes();
    Some(MemoryShape {
        words: bytes as usize / lanes,
        width: 8 * lanes as u32,
        lanes: lanes as u32,
        reads: 1,
        style: MemoryStyle::Block,
    })
}

/// Block RAMs of a memory: as few as any form needs. A lane is made of whole enables, and each read port has a copy.
fn blocks(flow: Flow, memory: &MemoryShape) -> usize {
    let forms = match flow {
        Flow::Ecp5 | Flow::Gowin => ECP5,
        Flow::Ice40 => ICE40,
        Flow::Vivado => XILINX,
    };
    let lanes = memory.lanes.max(1) as usize;
    let of = |&(bits, words, enabled): &Form| {
        let enables = lanes * (memory.width as usize / lanes).div_ceil(enabled);
        (enables * enabled).div_ceil(bits) * memory.words.div_ceil(words)
    };
    memory.reads * forms.iter().map(of).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(words: usize, width: u32, lanes: u32, reads: usize) -> MemoryShape {
        MemoryShape { words, width, lanes, reads, style: MemoryStyle::Block }
    }

    #[test]
    fn a_memory_takes_the_form_of_block_that_needs_the_fewest() {
        let of = |memory: MemoryShape| blocks(Flow::Ecp5, &memory);
        assert_eq!([of(memory(512, 36, 1, 1)), of(memory(2048, 32, 1, 1)), of(memory(512, 128, 1, 1))], [1, 4, 4]);
        // Eight lanes of 64 bits are eight enables each, of which two are in a block.
        assert_eq!(of(memory(1024, 512, 8, 1)), 32);
        // A lane ends within a block where its enables do.
        assert_eq!(of(memory(64, 1024, 2, 1)), 29);
        assert_eq!(of(memory(2048, 256, 4, 2)), 64);
        assert_eq!(blocks(Flow::Ice40, &memory(1024, 32, 1, 1)), 8);
    }

    /// What synthesis made of the designs of the table, each with one block for the queue of bytes from its host.
    #[test]
    fn block_rams_are_those_that_synthesis_finds() {
        let board = crate::find("ulx3s-85f").unwrap();
        let table = super::super::Table::of(&board).unwrap();
        for design in &table.designs {
            let found = block_rams(&board, &design.config) as u64 + 1;
            assert_eq!(found, design.synthesised["BRAM"], "{:?}", design.config);
        }
    }
}
