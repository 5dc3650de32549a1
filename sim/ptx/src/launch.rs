//! What to run and how.

use crate::module::Module;

/// When asynchronous work is done, and in which order warps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Asynchrony {
    /// At the latest moment that the ISA allows, or at a random one; warps and blocks in random order.
    #[default]
    Late,
    /// At once; warps and blocks in order.
    Eager,
}

/// How a launch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When asynchronous work is done.
    pub asynchrony: Asynchrony,
    /// Seed of every random choice: equal seeds give equal runs.
    pub seed: u64,
    /// Whether accesses to shared memory that nothing orders are faults, those of the async proxy too, and the exit of a
    /// block whose memory is still in use.
    pub races: bool,
    /// Whether a load, an atomic or a bulk store that reads shared bytes never written is a fault; if not it reads poison.
    /// Matrix loads, `wgmma` and bulk copies between blocks read poison either way.
    pub uninitialised: bool,
    /// Warp instructions after which the launch is taken to hang.
    pub max_instructions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            asynchrony: Asynchrony::Late,
            seed: 1,
            races: true,
            uninitialised: true,
            max_instructions: 1_000_000_000,
        }
    }
}

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The module that holds the kernel.
    pub module: &'a Module,
    /// The kernel's name.
    pub kernel: &'a str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z; at most 1024.
    pub block: [u32; 3],
    /// Blocks of a cluster in x, y, z; all 1 for none.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// Whether all blocks must run at the same time.
    pub cooperative: bool,
    /// The parameters, laid out as [`Kernel::params`](crate::Kernel::params) says.
    pub params: &'a [u8],
}
