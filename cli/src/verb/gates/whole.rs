//! A whole board as its tools made it, driven over its serial line as a host drives a real one.

use crate::board::chip;
use crate::built::{Built, built};
use crate::session::{self, bar};
use crate::{tools, verilated};
use anyhow::{Context, Result, anyhow};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_boards::{Board, shell};
use tandem_driver::Device;
use tandem_driver::serial::SerialBus;
use tandem_graph::Graph;
use tandem_hw::shell::Shell;
use tandem_isa::HwConfig;
use tandem_runtime::{Backend, CpuBackend, Executor, VtaBackend};
use tandem_sim::board::{BoardModel, BoardOptions, BoardPort, BoardSim, Cable};
use tandem_sim::tsim::Variant;
use tandem_tensor::Tensor;

/// Simulated time after which a program does not finish any more.
const PATIENCE: Duration = Duration::from_secs(600);

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
        let board = BoardSim::new(Arc::clone(&self.model), how, chip(&self.shell))?;
        SerialBus::open(BoardPort::new(Cable::new(board))).map_err(|e| anyhow!("the board: {e}"))
    }

    /// The outputs of a network, as much of it on the board as goes there.
    pub fn run(&self, graph: &Graph, config: &HwConfig, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>> {
        let mut executor = self.executor(graph, config)?;
        let bar = bar(samples.len());
        let mut outputs = Vec::with_capacity(samples.len());
        for sample in samples {
            let ran = executor.run(std::slice::from_ref(sample)).map_err(|e| anyhow!("{}: {e}", graph.name))?;
            outputs.extend(ran);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(outputs)
    }

    fn executor(&self, graph: &Graph, config: &HwConfig) -> Result<Executor> {
        let mut refused = HashMap::new();
        loop {
            let plan = session::plan(graph, &crate::options::DeviceKind::Fsim, config, &refused);
            let device = Device::open(Box::new(self.bus()?), config).map_err(|e| anyhow!("the board: {e}"))?;
            let vta = VtaBackend::new(device).with_timeout(PATIENCE);
            let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(CpuBackend), Box::new(vta)];
            match Executor::new(graph, &plan, &mut backends) {
                Ok(executor) => return Ok(executor),
                Err(error) => match session::refusal(&error) {
                    Some((node, reason)) if !refused.contains_key(&node) => {
                        refused.insert(node, reason);
                    }
                    _ => return Err(anyhow!("{}: {error}", graph.name)),
                },
            }
        }
    }
}
