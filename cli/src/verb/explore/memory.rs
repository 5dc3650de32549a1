//! The memory of a board as the simulated hardware knows memories: latency, width, and bursts in flight.

use tandem_boards::{Board, Memory, Sdram};
use tandem_sim::tsim::DramModel;

/// Picoseconds of a second.
const SECOND: f64 = 1e12;
/// Cycles from a request of the accelerator to the first command to a memory inside the part, and back from it.
const THERE: u32 = 2;
const BACK: u32 = 2;

/// The memory of a board at the board's clock.
///
/// A memory inside the part answers a word a cycle. An SDRAM chip moves its width a cycle and opens a row for most bursts; the
/// controller takes the next burst while the words of the last one come back. The memory beside a processor is that of a Zynq.
///
/// # Source
/// Times of the controllers in `hw/src/shell/sdram.rs` and `hw/src/shell/ram.rs`.
pub fn memory(board: &Board) -> DramModel {
    let inside =
        |width| DramModel { latency: THERE + BACK, bits_per_cycle: width, outstanding_reads: 1, outstanding_writes: 1 };
    match &board.memory {
        Memory::ProcessorDdr { .. } => DramModel::zynq(),
        Memory::Spram => inside(64),
        Memory::BlockRam { .. } => inside(DramModel::UNLIMITED),
        Memory::Sdram(sdram) => DramModel {
            latency: THERE + row(sdram, board.clock_hz) + sdram.cas_latency + BACK,
            bits_per_cycle: sdram.data_bits,
            outstanding_reads: 2,
            outstanding_writes: 1,
        },
    }
}

/// Cycles to open a row.
fn row(sdram: &Sdram, clock_hz: u64) -> u32 {
    let cycles = |time: u64| (time as f64 * clock_hz as f64 / SECOND).ceil() as u32;
    cycles(sdram.t_rcd_ps) + cycles(sdram.t_rp_ps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_has_the_width_and_the_latency_of_its_chip() {
        let of = |name: &str| memory(&tandem_boards::find(name).unwrap());
        let ulx3s = of("ulx3s-85f");
        assert_eq!((ulx3s.bits_per_cycle, ulx3s.latency), (16, 11));
        assert_eq!(of("colorlight-i5").bits_per_cycle, 32);
        assert_eq!(of("orangecrab-85f").bits_per_cycle, DramModel::UNLIMITED);
        assert_eq!(of("kv260"), DramModel::zynq());
    }
}
