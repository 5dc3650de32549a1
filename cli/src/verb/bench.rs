//! `tandem bench`: how near to a limit something runs.

mod gpu;
mod kernels;
pub mod peaks;
mod tuner;
mod vta;

use crate::Outcome;
use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Verb {
    /// Time kernels and tell which fraction of the machine's limit they reach, or count what they do on the PTX simulator.
    ///
    /// The limit of a kernel is the longer of two times: that of its arithmetic at the machine's peak, and that of its bytes, each
    /// operand and result once, at the machine's bandwidth. Both are measured in the same run, or for a GPU read from the file that
    /// --limits names; what is only told of a GPU is used where something cannot be measured, and is labelled so.
    Kernels(kernels::Options),
    /// Measure what a GPU can do at most: memory, tensor instructions, launches, the link to the host.
    Peaks(peaks::Options),
    /// Measure a GPU with one command: facts, peaks, conformance, every kernel, other libraries, targets; into one file.
    ///
    /// Exit code 1 when a comparison differs or a part failed. Targets that are missed are told and change no exit code.
    Gpu(gpu::Options),
    /// Compare how many trials searches for schedules need, on layers all of whose schedules were measured.
    Tuner(tuner::Options),
    /// Count the cycles of layers and networks on the accelerator's hardware, beside what it could do at most.
    ///
    /// Every layer is compiled alone and run once on the Verilated hardware, and its result is compared with that of the functional
    /// simulator; exit code 1 where one differs. The roof of a layer is the larger of two numbers of cycles: its multiply-accumulates at
    /// the array's rate (depthwise layers and pooling: at that of the lanes), and its bytes, each operand and result once, at the
    /// memory's rate. What is beyond the useful cycles is told by what the compute unit did instead. Cycles are simulated.
    Vta(vta::Options),
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Kernels(options) => kernels::run(options),
        Verb::Peaks(options) => peaks::run(options),
        Verb::Gpu(options) => gpu::run(options),
        Verb::Tuner(options) => tuner::run(options),
        Verb::Vta(options) => vta::run(options),
    }
}
