//! A whole board as its tools made it, driven over its serial line as a host drives a real one.

use crate::built::{Built, built};
use crate::{tools, verilated};
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use tandem_boards::{Board, shell};
use tandem_driver::serial::SerialBus;
use tandem_hw::shell::Shell;
use tandem_isa::HwConfig;
use tandem_sim::board::{BoardModel, BoardOptions, BoardPort, BoardSim, Cable, chip_of};
use tandem_sim::tsim::Variant;

/// The netlist of a board, ready to run.
pub struct Whole {
    /// What it is.
    pub built: Built,
    shell: Shell,
    model: Arc<BoardModel>,
}

impl Whole {
    /// Makes the bitstream, reads it back, and builds a model of what it holds.
    pub fn new(board: &Board, config: &HwConfig, seed: u64) -> Result<Whole> {
        let (built, shell) = (built(board, config, seed)?, shell(board)?);
        let (tools, cache) = (tools::find()?, tools::model_cache());
        let variant = Variant { netlist: true, ..Variant::default() };
        let model = verilated::with_bar(|progress| {
            BoardModel::build(&built.verilog, built.cells, &tools, &cache, variant, progress)
                .context("the model of the board")
        })?;
        Ok(Whole { built, shell, model })
    }

    /// The way to a board that has just been configured.
    pub fn bus(&self) -> Result<SerialBus<BoardPort>> {
        let how = BoardOptions::new(self.shell.clock_hz.into(), self.shell.baud.into());
        let board = BoardSim::new(Arc::clone(&self.model), how, chip_of(&self.shell))?;
        SerialBus::open(BoardPort::new(Cable::new(board))).map_err(|e| anyhow!("the board: {e}"))
    }
}
