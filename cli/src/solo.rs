//! A graph alone on the simulated hardware: compiled, run once on codes from a seed, and compared with the functional simulator.

use crate::bottleneck::{Account, Roofs, Work, memory_cycles};
use crate::simulation::DRAM_LIMIT;
use crate::simulation::SimulationOptions;
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::{Bus, Counters, Device};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::{Compiled, JitError};
use tandem_ops::def::Random;
use tandem_sim::tsim::{Activity, DramModel, Model, Timeline, TsimBus, TsimMonitor, TsimOptions};
use tandem_sim::{FsimBus, Options};
use tandem_tensor::{DType, Data, Tensor};

/// The hardware that graphs are run on, one after the other; each begins behind a reset.
pub struct Solo {
    model: Arc<Model>,
    options: TsimOptions,
}

/// A graph that is compiled for the hardware, with its inputs and what the functional simulator makes of them.
pub struct Prepared {
    compiled: Compiled,
    /// As they lie in device memory.
    inputs: Vec<Vec<u8>>,
    expected: Vec<Vec<u8>>,
    work: Vec<Work>,
}

/// What a run did.
pub struct Ran {
    /// What the units did.
    pub activity: Activity,
    /// What the registers counted.
    pub counters: Counters,
    /// Bytes of the results that are not those of the functional simulator, and bytes of the results.
    pub mismatches: (usize, usize),
    /// What each unit did and when, where it was recorded.
    timeline: Timeline,
}

impl Solo {
    /// The hardware of a configuration, built where it is not in the cache, with the memory and the stress of the options.
    ///
    /// # Errors
    /// One sentence: a tool that is missing, or where the log of a failed build is.
    pub fn open(config: &HwConfig, options: &SimulationOptions) -> Result<Solo> {
        let model = SimulationOptions { waves: None, ..options.clone() }.model(config)?;
        let defaults = TsimOptions::default();
        let options = TsimOptions {
            dram: options.memory(),
            stress: options.stress,
            watchdog_cycles: options.watchdog.unwrap_or(defaults.watchdog_cycles),
            dram_limit: DRAM_LIMIT,
            ..defaults
        };
        Ok(Solo { model, options })
    }

    /// The machine.
    pub fn config(&self) -> &HwConfig {
        self.model.config()
    }

    /// The memory.
    pub fn memory(&self) -> &DramModel {
        &self.options.dram
    }

    /// Compiles a graph and runs it on the functional simulator, on codes from a seed. `Err` within is why the accelerator does not run
    /// it.
    ///
    /// # Errors
    /// One sentence: what the compiler or the functional simulator refuses.
    pub fn prepare(
        &self,
        graph: &Graph,
        schedule: &tandem_jit::Options,
        seed: u64,
    ) -> Result<Result<Prepared, String>> {
        let config = self.config();
        let compiled = match tandem_jit::compile_with(graph, config, schedule) {
            Ok(compiled) => compiled,
            Err(JitError::Unsupported { reason, .. }) => return Ok(Err(reason)),
            Err(error) => return Err(anyhow!("{}: {error}", graph.name)),
        };
        let samples = compiled.samples.max(1);
        let mut random = Random::new(seed);
        let mut inputs = Vec::with_capacity(compiled.inputs.len());
        for (binding, &id) in compiled.inputs.iter().zip(&graph.inputs) {
            let ty = graph.ty(id);
            let drawn: Vec<Tensor> = (0..samples).map(|_| codes(&mut random, ty.dtype, &ty.shape)).collect();
            inputs.push(binding.pack(&drawn.iter().collect::<Vec<_>>())?);
        }
        let work = graph.nodes.iter().map(|node| Work::of(graph, node, samples as u64)).collect();
        let mut prepared = Prepared { compiled, inputs, expected: Vec::new(), work };
        let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
        let (_, outputs) = prepared.on(Box::new(bus), config).context("the functional simulator")?;
        prepared.expected = outputs;
        Ok(Ok(prepared))
    }

    /// Runs it once with the memory of the options, and records what becomes of its cycles.
    ///
    /// # Errors
    /// One sentence: how the hardware misbehaved.
    pub fn run(&self, prepared: &Prepared) -> Result<Ran> {
        self.simulate(prepared, TsimOptions { timeline: true, ..self.options.clone() })
    }

    /// Runs it once with another memory, and records nothing.
    ///
    /// # Errors
    /// As [`Solo::run`].
    pub fn run_with(&self, prepared: &Prepared, dram: DramModel) -> Result<Ran> {
        self.simulate(prepared, TsimOptions { dram, ..self.options.clone() })
    }

    fn simulate(&self, prepared: &Prepared, options: TsimOptions) -> Result<Ran> {
        let bus = TsimBus::new(Arc::clone(&self.model), options).context("the simulated hardware")?;
        let monitor: TsimMonitor = bus.monitor();
        let (counters, outputs) = prepared.on(Box::new(bus), self.config()).context("the simulated hardware")?;
        let pairs = || outputs.iter().flatten().zip(prepared.expected.iter().flatten());
        let mismatches = (pairs().filter(|(found, expected)| found != expected).count(), pairs().count());
        Ok(Ran { activity: monitor.activity(), counters, mismatches, timeline: monitor.timeline() })
    }
}

impl Prepared {
    /// Samples of a run.
    pub fn samples(&self) -> usize {
        self.compiled.samples.max(1)
    }

    /// What its nodes ask for together.
    pub fn work(&self) -> Work {
        self.work.iter().fold(Work { on_lanes: true, ..Work::default() }, |sum, work| Work {
            macs: sum.macs + work.macs,
            element_ops: sum.element_ops + work.element_ops,
            read_bytes: sum.read_bytes + work.read_bytes,
            write_bytes: sum.write_bytes + work.write_bytes,
            on_lanes: sum.on_lanes && work.on_lanes,
        })
    }
}

impl Ran {
    /// What the hardware needs at the least for what was run, which is a single node.
    pub fn roofs(&self, prepared: &Prepared, solo: &Solo) -> Roofs {
        Roofs::of(&prepared.work(), &self.counters, solo.config(), solo.memory())
    }

    /// Where the cycles went, of which these roofs are the useful ones.
    pub fn account(&self, roofs: &Roofs, solo: &Solo) -> Account {
        let (read, written) = (self.activity.read_bytes, self.activity.write_bytes);
        let traffic = memory_cycles(read, written, solo.config(), solo.memory());
        Account::of(roofs, &self.timeline, &self.counters, traffic)
    }
}

impl Prepared {
    /// Runs it once on a bus: what was counted, and the outputs as they lie in device memory.
    fn on(&self, bus: Box<dyn Bus + Send>, config: &HwConfig) -> Result<(Counters, Vec<Vec<u8>>)> {
        let mut device = Device::open(bus, config)?;
        let loaded = device.load(&self.compiled.program)?;
        for (binding, bytes) in self.compiled.inputs.iter().zip(&self.inputs) {
            device.write(&loaded, binding.section, 0, bytes)?;
        }
        // Simulators have watchdogs of their own.
        let counters = device.run(&loaded, Duration::MAX)?;
        let outputs = self.compiled.outputs.iter().map(|binding| {
            let read = device.read(&loaded, binding.section, 0, binding.bytes());
            Ok(read?)
        });
        let outputs = outputs.collect::<Result<_>>()?;
        device.unload(loaded)?;
        Ok((counters, outputs))
    }
}

/// Codes that are all equally likely.
fn codes(random: &mut Random, dtype: DType, shape: &tandem_tensor::Shape) -> Tensor {
    let codes = random.codes(shape.clone());
    match (dtype, codes.data()) {
        (DType::U8, Data::I8(signed)) => {
            let unsigned = Data::U8(signed.iter().map(|&code| code as u8).collect());
            Tensor::new(shape.clone(), unsigned).unwrap_or(codes)
        }
        _ => codes,
    }
}
