//! What measures a schedule: the simulated hardware, whose results are compared with the reference, or a prediction.

use super::job::{Parsed, Subject, Taken};
use crate::simulation::DRAM_LIMIT;
use crate::verilated;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::time::Duration;
use tandem_driver::{Device, Loaded};
use tandem_graph::{Graph, interpret};
use tandem_isa::{HwConfig, timing};
use tandem_jit::tune::{Oracle, Workload};
use tandem_jit::{Compiled, Tile, compile_with};
use tandem_ops::def::Random;
use tandem_sim::tsim::{DramModel, TsimBus, TsimOptions, Variant};
use tandem_tensor::{Data, Tensor};

/// Wall-clock time for one run; a simulation that hangs is found out by its own watchdog.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The seed of the samples that results are compared on.
const SEED: u64 = 1;

/// Measures schedules of a layer on a machine.
pub struct Meter {
    graph: Graph,
    config: HwConfig,
    dram: DramModel,
    /// None for predictions.
    hardware: Option<Hardware>,
}

/// The simulated hardware, with samples and what the reference makes of them.
struct Hardware {
    device: Device,
    samples: Vec<Vec<Tensor>>,
    expected: Vec<Vec<Tensor>>,
}

impl Meter {
    /// Opens what measures a layer.
    ///
    /// # Errors
    /// A layer that cannot be tuned, a tool that is missing, a build that fails.
    pub fn open(subject: &Subject) -> Result<Meter> {
        let Parsed { graph, config, dram, oracle } = subject.parse()?;
        let [node] = &graph.nodes[..] else { bail!("a layer to measure has {} nodes", graph.nodes.len()) };
        let workload = Workload::of(&graph, &config).remove(0).map_err(|e| anyhow!("node '{}': {e}", node.name))?;
        workload.with_context(|| format!("node '{}' has no tiles to choose", node.name))?;
        let hardware = match oracle {
            Oracle::Analytic => None,
            Oracle::Tsim => {
                let model = verilated::model(&config, None, Variant::default())?;
                let options = TsimOptions { dram, dram_limit: DRAM_LIMIT, ..TsimOptions::default() };
                let bus = TsimBus::new(model, options).context("the simulated hardware")?;
                let device = Device::open(Box::new(bus), &config).context("the simulated hardware")?;
                let (samples, expected) = samples(&graph, config.batch())?;
                Some(Hardware { device, samples, expected })
            }
        };
        Ok(Meter { graph, config, dram, hardware })
    }

    /// The cycles of a schedule.
    pub fn measure(&mut self, tile: &Tile) -> Taken {
        match self.cycles(tile) {
            Ok(cycles) => Taken::Cycles(cycles),
            Err(error) => Taken::Failed(format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }

    fn cycles(&mut self, tile: &Tile) -> Result<u64> {
        match &mut self.hardware {
            Some(hardware) => hardware.run(&compile(&self.graph, &self.config, tile)?),
            None => predict(&self.graph, &self.config, self.dram, tile),
        }
    }
}

/// The cycles that a layer with a schedule is predicted to take: its program, event by event.
///
/// # Errors
/// What the compiler refuses.
pub fn predict(graph: &Graph, config: &HwConfig, dram: DramModel, tile: &Tile) -> Result<u64> {
    Ok(timing::predict(&compile(graph, config, tile)?.program, dram).cycles)
}

/// The program of a layer with a schedule.
fn compile(graph: &Graph, config: &HwConfig, tile: &Tile) -> Result<Compiled> {
    let tiles: BTreeMap<String, Tile> = graph.nodes.iter().map(|node| (node.name.clone(), *tile)).collect();
    Ok(compile_with(graph, config, &tandem_jit::Options { tiles, ..tandem_jit::Options::default() })?)
}

impl Hardware {
    /// Runs a program, compares its results with the reference, and gives its cycles.
    fn run(&mut self, compiled: &Compiled) -> Result<u64> {
        let loaded = self.device.load(&compiled.program)?;
        let ran = self.run_loaded(compiled, &loaded);
        self.device.unload(loaded)?;
        ran
    }

    fn run_loaded(&mut self, compiled: &Compiled, loaded: &Loaded) -> Result<u64> {
        let count = compiled.samples.min(self.samples.len());
        for (index, binding) in compiled.inputs.iter().enumerate() {
            let tensors: Vec<&Tensor> = self.samples[..count].iter().map(|sample| &sample[index]).collect();
            self.device.write(loaded, binding.section, 0, &binding.pack(&tensors)?)?;
        }
        let cycles = self.device.run(loaded, PATIENCE)?.cycles;
        for (index, binding) in compiled.outputs.iter().enumerate() {
            let found = binding.unpack(&self.device.read(loaded, binding.section, 0, binding.bytes())?, count)?;
            if found.iter().zip(&self.expected).any(|(found, expected)| *found != expected[index]) {
                bail!(
                    "its results are not those of the reference, which is a defect of the compiler or of the machine"
                );
            }
        }
        Ok(cycles)
    }
}

/// The tensors of a graph's inputs, or of its outputs.
type Sample = Vec<Tensor>;

/// Samples of random codes, and what the reference makes of them.
fn samples(graph: &Graph, count: usize) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let mut random = Random::new(SEED);
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let zeros = graph.zero_inputs();
        let codes = zeros.iter().map(|zeros| random_codes(zeros, &mut random)).collect::<Result<Vec<_>>>()?;
        samples.push(codes);
    }
    let expected = samples.iter().map(|sample| interpret(graph, sample)).collect::<Result<Vec<_>, _>>();
    Ok((samples, expected.map_err(|e| anyhow!("a layer to measure: {e}"))?))
}

/// A tensor of the same type with random codes.
fn random_codes(zeros: &Tensor, random: &mut Random) -> Result<Tensor> {
    let data = match zeros.data() {
        Data::I8(codes) => Data::I8(codes.iter().map(|_| random.bits() as i8).collect()),
        Data::U8(codes) => Data::U8(codes.iter().map(|_| random.bits() as u8).collect()),
        _ => bail!("a layer to measure has an input that is not of 8 bits"),
    };
    Ok(Tensor::new(zeros.shape().clone(), data)?)
}
