//! The verbs, one a file.

mod asm;
mod bench;
pub mod bitstream;
mod board;
mod compile;
mod cosim;
mod demo;
mod doctor;
mod eval;
mod exec;
mod explore;
mod flash;
mod gates;
mod generate;
mod graph;
mod hw;
mod ibp;
mod import;
mod isa;
mod kernels;
mod partition;
mod profile;
mod ptx;
mod quantize;
mod report;
mod run;
mod run_block;
mod serve_device;
mod tactic;
pub mod tune;
mod tune_worker;
mod verilog;

use crate::Outcome;
use anyhow::Result;
use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Run the built-in digit classifier on the simulated accelerator.
    Demo(demo::Options),
    /// Run a model on inputs.
    Run(run::Options),
    /// Measure a classifier's accuracy on labelled inputs.
    Eval(eval::Options),
    /// Continue a text with a language model, token by token.
    Generate(generate::Options),
    /// Measure how much of its attention a language model keeps when it attends to few keys.
    Tactic(tactic::Options),
    /// Find the best split of a model between devices, and say why.
    Partition(partition::Options),
    /// Write a page with what a model does on its devices: the split, rooflines, timelines, accuracy.
    Report(report::Options),
    /// Measure what every node takes on devices, and store it for plans.
    Profile(profile::Options),
    /// Search for the best schedules of layers on an accelerator.
    Tune(tune::Options),
    /// Measure schedules for a tuner on this or another machine.
    TuneWorker(tune_worker::Options),
    /// Import a model and write its graph, or show a summary.
    Import(import::Options),
    /// Quantise a float model to int8 on samples, and measure what it costs.
    Quantize(quantize::Options),
    /// Show, run or draw a graph.
    #[command(subcommand)]
    Graph(graph::Verb),
    /// Compile the accelerator's part of a model to assembly text.
    Compile(compile::Options),
    /// Assemble .vta text to instruction words.
    Asm(asm::AsmOptions),
    /// Disassemble instruction words to .vta text.
    Disasm(asm::DisasmOptions),
    /// Execute a program on a simulator or a board.
    Exec(exec::Options),
    /// Print the instruction set of a configuration.
    Isa(isa::Options),
    /// Show or check a hardware configuration.
    #[command(subcommand)]
    Hw(hw::Verb),
    /// Write the hardware of a configuration as Verilog.
    Verilog(verilog::Options),
    /// Make the bitstream of a board, or the project from which Vivado makes it.
    Bitstream(bitstream::Options),
    /// Search for the accelerators of a board that no other one beats for given models.
    Explore(explore::Options),
    /// Load a bitstream onto a board.
    Flash(flash::Options),
    /// Compare the hardware with the functional simulator on random programs.
    Cosim(cosim::Options),
    /// Run a block between streams, cycle by cycle, and compare what it gives with a reference.
    #[command(subcommand)]
    RunBlock(run_block::Verb),
    /// List boards, simulate one, or reach one from elsewhere.
    #[command(subcommand)]
    Board(board::Verb),
    /// Export a device to programs on other machines, which prove a token.
    ServeDevice(serve_device::Options),
    /// Prove that a netlist, after synthesis or after place and route, does what the hardware does.
    Gates(gates::Options),
    /// List the kernels with their grades on every backend, or compare implementations with their definitions.
    Kernels(kernels::Options),
    /// Pack matrices without loss, by bits of their columns that nearly never change.
    #[command(subcommand)]
    Ibp(ibp::Verb),
    /// Run CUDA kernels on the PTX simulator.
    #[command(subcommand)]
    Ptx(ptx::Verb),
    /// Measure how near to a limit something runs.
    #[command(subcommand)]
    Bench(bench::Verb),
    /// List the tools and libraries that were found, and what each enables.
    Doctor(doctor::Options),
}

impl Verb {
    /// Does it.
    ///
    /// # Errors
    /// One sentence: what, where, remedy.
    pub fn run(self) -> Result<Outcome> {
        match self {
            Verb::Demo(options) => demo::run(&options),
            Verb::Run(options) => run::run(&options),
            Verb::Eval(options) => eval::run(&options),
            Verb::Generate(options) => generate::run(&options),
            Verb::Tactic(options) => tactic::run(&options),
            Verb::Partition(options) => partition::run(&options),
            Verb::Report(options) => report::run(&options),
            Verb::Profile(options) => profile::run(&options),
            Verb::Tune(options) => tune::run(&options),
            Verb::TuneWorker(options) => tune_worker::run(&options),
            Verb::Import(options) => import::run(&options),
            Verb::Quantize(options) => quantize::run(&options),
            Verb::Graph(verb) => graph::run(&verb),
            Verb::Compile(options) => compile::run(&options),
            Verb::Asm(options) => asm::assemble(&options),
            Verb::Disasm(options) => asm::disassemble(&options),
            Verb::Exec(options) => exec::run(&options),
            Verb::Isa(options) => isa::run(&options),
            Verb::Hw(verb) => hw::run(&verb),
            Verb::Verilog(options) => verilog::run(&options),
            Verb::Bitstream(options) => bitstream::run(&options),
            Verb::Explore(options) => explore::run(&options),
            Verb::Flash(options) => flash::run(&options),
            Verb::Cosim(options) => cosim::run(&options),
            Verb::RunBlock(verb) => run_block::run(&verb),
            Verb::Board(verb) => board::run(&verb),
            Verb::ServeDevice(options) => serve_device::run(&options),
            Verb::Gates(options) => gates::run(&options),
            Verb::Kernels(options) => kernels::run(&options),
            Verb::Ibp(verb) => ibp::run(&verb),
            Verb::Ptx(verb) => ptx::run(&verb),
            Verb::Bench(verb) => bench::run(&verb),
            Verb::Doctor(options) => doctor::run(&options),
        }
    }
}
