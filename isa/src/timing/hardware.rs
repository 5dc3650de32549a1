//! The hardware's own numbers that the prediction needs: depths of pipelines, of queues, and what bounds its bursts.
//!
//! Everything that a change of the hardware may change is here or in the rules of `arithmetic.rs`; `tests` compares the
//! predictions with the Verilated hardware.

/// Bus words of the longest burst; a burst ends at a multiple of it.
pub const BURST_WORDS: u64 = 16;
/// Bursts that may be under way in each direction.
pub const BURSTS_UNDER_WAY: usize = 8;
/// Bus words that the instruction fetch holds or has asked for.
pub const FETCH_WORDS: u64 = 32;
/// Bus words that wait for the write channel.
pub const WRITE_WORDS: usize = 32;
/// The deepest instruction queue that answers after one cycle; a deeper one lies in block RAM, which takes two and whose read
/// register holds one instruction more.
pub const SHALLOW_QUEUE: usize = 32;
/// Cycles from the dispatch of an instruction to its place at the head of an empty queue, in block RAM.
pub const QUEUE_LATENCY: u64 = 2;
/// Cycles of `start` and of everything before an instruction's work: it begins, and works from the second cycle behind.
pub const START: u64 = 1;
/// Cycles from `start` to the first padding or data element that a load can take.
pub const LOAD_SETUP: u64 = 2;
/// Cycles from `start` to the first burst that a transfer asks for.
pub const FIRST_BURST: u64 = 2;
/// Cycles from `start` to the first element that a store sends.
pub const STORE_SETUP: u64 = 2;
/// Cycles from the grant of a burst to the next one's request: within a row, and behind its end.
pub const NEXT_BURST: u64 = 1;
/// See [`NEXT_BURST`].
pub const NEXT_ROW: u64 = 2;
/// Cycles from `start` to the first micro-op that may fire.
pub const SEQUENCER: u64 = 4;
/// Cycles from a micro-op of GEMM or LANE to the write of its result.
pub const GEMM_LATENCY: u64 = 5;
/// Cycles of the tensor ALU from operands to result.
pub const ALU_LATENCY: u64 = 13;
/// Vectors of parameters that REQUANT reads.
pub const PARAMETERS: u64 = 4;
/// Cycles for which everything rests before a launch is done.
pub const REST: u64 = 7;
/// Words of an instruction that the machine without queues reads one by one.
pub const SEQUENTIAL_WORDS: u64 = 4;
/// Cycles of a word that it reads beside the memory's.
pub const SEQUENTIAL_READ: u64 = 2;
/// Cycles of a word that it writes beside the memory's.
pub const SEQUENTIAL_WRITE: u64 = 4;
/// Cycles between the last word of an instruction and its work: it is decoded, looked at, and begins.
pub const SEQUENTIAL_ISSUE: u64 = 3;
/// Cycles from a micro-op of its GEMM array to the last one in which it is in the pipeline.
pub const SEQUENTIAL_GEMM: u64 = 3;
/// Cycles between the two passes of its LANE with `max`.
pub const SEQUENTIAL_PASSES: u64 = 2;
