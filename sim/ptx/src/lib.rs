//! Runs the PTX of CUDA kernels on the CPU: the interface, to be filled.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// A parsed module.
#[derive(Debug)]
pub struct Module;

/// A kernel of a module.
#[derive(Debug)]
pub struct Kernel;

/// Why a text is no module.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

/// Global memory of a device.
#[derive(Debug, Default)]
pub struct Memory;

/// How launches are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// When asynchronous work is done.
    pub asynchrony: Asynchrony,
    /// Chooses every order that is free.
    pub seed: u64,
    /// Whether races in shared memory are faults.
    pub races: bool,
    /// A launch that needs more is a fault.
    pub max_instructions: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { asynchrony: Asynchrony::Late, seed: 0, races: true, max_instructions: 1 << 40 }
    }
}

/// When asynchronous work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asynchrony {
    /// As late as is allowed.
    Late,
    /// At once.
    Eager,
}

/// One launch.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The module.
    pub module: &'a Module,
    /// Name of the kernel.
    pub kernel: &'a str,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// All blocks at once.
    pub cooperative: bool,
    /// Laid out as the kernel's parameters.
    pub params: &'a [u8],
}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Requests to global memory.
    pub global_requests: u64,
    /// Their sectors of 32 bytes.
    pub global_sectors: u64,
    /// Bytes of bulk copies.
    pub bulk_bytes: u64,
    /// Requests to shared memory.
    pub shared_requests: u64,
    /// Their wavefronts.
    pub shared_wavefronts: u64,
    /// Instructions of warps.
    pub warp_instructions: u64,
    /// By opcode.
    pub opcodes: BTreeMap<String, u64>,
}

/// Descriptors of TMA.
#[derive(Debug)]
pub struct TensorMap;

impl TensorMap {
    /// The simulator's own encoding.
    ///
    /// # Errors
    /// Always, as yet.
    pub fn tiled(
        _size: usize,
        _address: u64,
        _extents: &[u64],
        _strides: &[u64],
        _box_extents: &[u32],
        _swizzle: u32,
    ) -> Result<[u8; 128], Fault> {
        Err(Fault("the simulator has no tensor maps yet".into()))
    }
}

impl Module {
    /// Parses a text.
    ///
    /// # Errors
    /// Always, as yet.
    pub fn parse(_: &str) -> Result<Module, ParseError> {
        Err(ParseError("the simulator parses nothing yet".into()))
    }
}

impl Memory {
    /// An empty memory.
    pub fn new() -> Memory {
        Memory
    }
    /// Allocates.
    pub fn alloc(&mut self, _: usize) -> u64 {
        256
    }
    /// Frees.
    pub fn free(&mut self, _: u64) {}
    /// Writes.
    ///
    /// # Errors
    /// Never, as yet.
    pub fn write(&mut self, _: u64, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    /// Reads.
    ///
    /// # Errors
    /// Never, as yet.
    pub fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Ok(())
    }
}

/// Runs a launch.
///
/// # Errors
/// Always, as yet.
pub fn run(_: &mut Memory, _: &Launch<'_>, _: &Options) -> Result<Stats, Fault> {
    Err(Fault("the simulator runs nothing yet".into()))
}
