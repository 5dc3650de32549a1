//! An estimate of the cycles a program takes: token-accurate, with fixed latencies.
//!
//! ```text
//! begin(i) = max(end of the previous instruction of the queue, times of the tokens popped)
//! end(i)   = begin(i) + fixed + micro-op executions                                  (arithmetic)
//! end(i)   = max(begin(i) + dram_latency, memory port free) + sum over rows of ceil(bytes / bus)     (loads and stores)
//! ```
//!
//! The three units share one memory port, which serves them in the order in which they ask. Instruction fetch is free. The
//! estimate depends on the instructions alone, not on data and not on the interleaving a simulation took.

use std::collections::VecDeque;

use tandem_isa::{HwConfig, Insn};

use crate::loops::Loops;
use crate::queue::{Progress, Stream, pops, pushes};
use crate::transfer::Rows;

/// The constants of the estimate.
///
/// # Units
/// Cycles of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// From the request of a load or a store to its first beat.
    pub dram_latency: u32,
    /// Of every instruction: decoding, filling and draining the pipeline.
    pub fixed: u32,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { dram_latency: 40, fixed: 4 }
    }
}

impl Timing {
    /// Cycles from launch until every unit is done; where the program deadlocks, until nothing moves any more.
    pub(crate) fn estimate(&self, stream: &Stream, config: &HwConfig) -> u64 {
        let mut progress = Progress::default();
        let mut token_times: [VecDeque<u64>; 4] = Default::default();
        let mut unit_free = [0u64; 3];
        let mut port_free = 0u64;
        // The unit that can begin first goes first: later requests then cannot overtake it at the memory port.
        while let Some((begin, queue)) =
            (0..3).filter_map(|q| Some((begin(stream, &progress, &token_times, &unit_free, q)?, q))).min()
        {
            let Some((_, insn)) = stream.head(&progress, queue) else { break };
            for fifo in pops(queue, insn.dep()) {
                token_times[fifo].pop_front();
                progress.tokens[fifo] -= 1;
            }
            let end = match transfer_beats(insn, config) {
                Some(0) => begin + 1,
                Some(beats) => {
                    let first = (begin + u64::from(self.dram_latency)).max(port_free);
                    port_free = first + beats;
                    port_free
                }
                None => begin + u64::from(self.fixed) + Loops::of(insn).map_or(0, |loops| loops.executions()),
            };
            for fifo in pushes(queue, insn.dep()) {
                token_times[fifo].push_back(end);
                progress.tokens[fifo] += 1;
            }
            unit_free[queue] = end;
            progress.next[queue] += 1;
        }
        unit_free.into_iter().max().unwrap_or(0)
    }
}

/// When a queue can begin its next instruction, where its tokens have been pushed.
fn begin(
    stream: &Stream,
    progress: &Progress,
    token_times: &[VecDeque<u64>; 4],
    unit_free: &[u64; 3],
    queue: usize,
) -> Option<u64> {
    let (_, insn) = stream.head(progress, queue)?;
    pops(queue, insn.dep())
        .try_fold(unit_free[queue], |begin, fifo| token_times[fifo].front().map(|&time| begin.max(time)))
}

/// Cycles that a load or a store occupies the memory port; 0 for a NOP, none for arithmetic.
fn transfer_beats(insn: &Insn, config: &HwConfig) -> Option<u64> {
    let rows = match insn {
        Insn::Load(i) => Rows::from(i),
        Insn::LoadPad(i) => Rows::from(i),
        Insn::Store(i) => Rows::from(i),
        Insn::Gemm(_) | Insn::Finish(_) | Insn::Alu(_) | Insn::Requant(_) | Insn::Lane(_) => return None,
    };
    let row_bytes = u64::from(rows.x_size) * config.elem_bytes(rows.memory_type) as u64;
    Some(u64::from(rows.y_size) * row_bytes.div_ceil(config.bus_bytes() as u64))
}
