//! Counts of a run.

use std::collections::BTreeMap;

/// What a launch did, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions executed, one for a warp whatever its active lanes.
    pub warp_instructions: u64,
    /// The same by opcode with its modifiers.
    pub opcodes: BTreeMap<String, u64>,
    /// Loads, stores, atomics and `cp.async` of warps on global memory, one whatever the bytes of a lane.
    pub global_requests: u64,
    /// 32-byte sectors that these touched; four a request is what a fully coalesced 4-byte access needs.
    pub global_sectors: u64,
    /// Bytes that bulk and tensor copies moved to and from shared memory, a multicast once for each block.
    pub bulk_bytes: u64,
    /// Loads, stores, atomics, matrix loads and matrix stores of warps on shared memory.
    pub shared_requests: u64,
    /// Cycles of the 32 banks that these took; as many as requests where 4-byte accesses have no conflict.
    pub shared_wavefronts: u64,
    /// Multiplications of tensor instructions.
    pub tensor_multiplications: u64,
    /// Blocks that ran.
    pub blocks: u64,
}

impl Stats {
    /// Adds the counts of another launch.
    pub fn add(&mut self, other: &Self) {
        self.warp_instructions += other.warp_instructions;
        for (opcode, n) in &other.opcodes {
            *self.opcodes.entry(opcode.clone()).or_default() += n;
        }
        self.global_requests += other.global_requests;
        self.global_sectors += other.global_sectors;
        self.bulk_bytes += other.bulk_bytes;
        self.shared_requests += other.shared_requests;
        self.shared_wavefronts += other.shared_wavefronts;
        self.tensor_multiplications += other.tensor_multiplications;
        self.blocks += other.blocks;
    }
}
