//! A model on its devices.

use crate::cycles::Cycles;
use crate::options::{DeviceKind, DeviceOptions};
use crate::simulation::Simulation;
use crate::{hardware, stdout};
use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::{Bus, Device as VtaDevice};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::JitError;
use tandem_plan::{Device, Plan, on_cpu, partition};
use tandem_runtime::{Backend, CpuBackend, Executor, RuntimeError, VtaBackend};
use tandem_sim::tsim::Model;
use tandem_sim::{FsimBus, Options};
use tandem_tensor::Tensor;

/// Memory that a simulated device may grow to, in bytes.
pub const DRAM_LIMIT: u64 = 3 << 30;
/// Wall-clock time for one run of simulated hardware, whose own watchdog finds out when it hangs.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A graph, its plan and the executor that runs it.
pub struct Session {
    /// The model.
    pub graph: Graph,
    /// Which device runs what.
    pub plan: Plan,
    /// Runs it.
    pub executor: Executor,
    /// The accelerator.
    pub config: HwConfig,
    /// The name of the accelerator on the command line.
    pub hw: String,
    /// Whether cycles are counted by hardware, simulated or not, and are no estimate.
    pub measured: bool,
    /// The simulated hardware, where the device is one.
    pub simulation: Option<Simulation>,
}

/// Everything that a model can run on.
struct Devices {
    backends: Vec<Box<dyn Backend>>,
    simulation: Option<Simulation>,
    measured: bool,
}

impl Session {
    /// Plans and compiles a graph.
    ///
    /// # Errors
    /// One sentence naming the segment, the option, or the tool that is missing; a configuration that does not exist.
    pub fn open(graph: Graph, options: &DeviceOptions) -> Result<Session> {
        options.check()?;
        let model = simulated(options, &hardware::resolve(options.hw()?)?)?;
        Session::with_model(graph, options, model)
    }

    /// Plans and compiles a graph for a model of the hardware that is there already, or for another device.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn with_model(graph: Graph, options: &DeviceOptions, model: Option<Arc<Model>>) -> Result<Session> {
        let hw = options.hw()?;
        let config = match &model {
            Some(model) => model.config().clone(),
            None => hardware::resolve(hw)?,
        };
        let plan = |graph: &Graph, refused: &HashMap<String, String>| plan(graph, &options.device, &config, refused);
        Session::compile(graph, hw, &config, plan, || devices(options, &config, model.as_ref()))
    }

    /// Compiles a graph for a plan that was made elsewhere.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn planned(plan: Plan, graph: Graph, options: &DeviceOptions) -> Result<Session> {
        options.check()?;
        let hw = options.hw()?;
        let config = hardware::resolve(hw)?;
        let model = simulated(options, &config)?;
        Session::compile(graph, hw, &config, |_, _| plan.clone(), || devices(options, &config, model.as_ref()))
    }

    /// Plans and compiles a graph for hardware of this configuration and name on a bus, which is opened for each try.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn on_bus(
        graph: Graph,
        config: &HwConfig,
        name: &str,
        open: impl Fn() -> Result<Box<dyn Bus + Send>>,
    ) -> Result<Session> {
        let plan = |graph: &Graph, refused: &HashMap<String, String>| plan(graph, &DeviceKind::Tsim, config, refused);
        Session::compile(graph, name, config, plan, || {
            let device = VtaDevice::open(open()?, config).map_err(|e| anyhow!("{name}: {e}"))?;
            let vta = VtaBackend::new(device).with_timeout(PATIENCE);
            Ok(Devices { backends: vec![Box::new(CpuBackend), Box::new(vta)], simulation: None, measured: true })
        })
    }

    /// Plans and compiles until the compiler refuses nothing more.
    fn compile(
        graph: Graph,
        hw: &str,
        config: &HwConfig,
        plan: impl Fn(&Graph, &HashMap<String, String>) -> Plan,
        open: impl Fn() -> Result<Devices>,
    ) -> Result<Session> {
        let mut refused: HashMap<String, String> = HashMap::new();
        loop {
            let plan = plan(&graph, &refused);
            let Devices { mut backends, simulation, measured } = open()?;
            match Executor::new(&graph, &plan, &mut backends) {
                Ok(executor) => {
                    let (config, hw) = (config.clone(), hw.to_owned());
                    return Ok(Session { graph, plan, executor, config, hw, measured, simulation });
                }
                Err(error) => match refusal(&error) {
                    // What the compiler refuses only when it sees it goes to the CPU, as if it had said so before.
                    Some((node, reason)) if !refused.contains_key(&node) => {
                        refused.insert(node, reason);
                    }
                    _ => return Err(anyhow!("{}: {error}", graph.name)),
                },
            }
        }
    }

    /// The outputs of all samples, `batch` at a time, with a progress bar on a terminal.
    ///
    /// # Errors
    /// One sentence naming the segment that failed.
    pub fn run(&mut self, samples: &[Vec<Tensor>], batch: Option<usize>) -> Result<Vec<Vec<Tensor>>> {
        let batch = batch.unwrap_or_else(|| self.executor.samples()).max(1);
        let bar = bar(samples.len());
        let mut outputs = Vec::with_capacity(samples.len());
        let ran = samples.chunks(batch).try_for_each(|group| -> Result<()> {
            outputs.append(&mut self.executor.run(group).map_err(|e| anyhow!("{}: {e}", self.graph.name))?);
            bar.inc(group.len() as u64);
            Ok(())
        });
        bar.finish_and_clear();
        // What was recorded up to a failure shows how it came about.
        let finished = self.simulation.as_ref().map_or(Ok(()), Simulation::finish);
        ran.and(finished)?;
        Ok(outputs)
    }

    /// What the simulated hardware did, where the device is one.
    pub fn cycles(&self) -> Option<Cycles<'_>> {
        let profile = self.executor.profile();
        let asked: u64 = self.plan.segments.iter().filter(|s| s.device == Device::Vta).map(|s| s.macs).sum();
        Some(Cycles {
            simulation: self.simulation.as_ref()?,
            config: &self.config,
            counters: profile.counters(),
            samples: Some(profile.samples()),
            useful_macs: Some(asked * profile.samples()),
        })
    }
}

/// The plan of a graph for a device.
pub fn plan(graph: &Graph, device: &DeviceKind, config: &HwConfig, refused: &HashMap<String, String>) -> Plan {
    match device {
        DeviceKind::Cpu => on_cpu(graph, "--device cpu was asked for"),
        DeviceKind::Fsim | DeviceKind::Tsim | DeviceKind::Link(_) => {
            partition(graph, |node| match refused.get(&node.name) {
                Some(reason) => Err(reason.clone()),
                None => tandem_jit::supports(graph, node, config),
            })
        }
    }
}

/// The node and the reason of a compiler's refusal.
pub fn refusal(error: &RuntimeError) -> Option<(String, String)> {
    match error {
        RuntimeError::Segment { source, .. } => refusal(source),
        RuntimeError::Compile(JitError::Unsupported { node, reason, .. }) => Some((node.clone(), reason.clone())),
        _ => None,
    }
}

/// A progress bar for several samples; it stays hidden where stderr is no terminal.
pub fn bar(samples: usize) -> ProgressBar {
    if samples < 2 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(samples as u64);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} samples, {eta} left") {
        Ok(style) => bar.set_style(style),
        Err(e) => stdout::complain(&format!("note: no progress bar ({e})")),
    }
    bar
}

/// The model of the simulated hardware, where the device is one.
fn simulated(options: &DeviceOptions, config: &HwConfig) -> Result<Option<Arc<Model>>> {
    match options.device {
        DeviceKind::Tsim => Ok(Some(options.simulation.model(config)?)),
        DeviceKind::Fsim | DeviceKind::Link(_) | DeviceKind::Cpu => Ok(None),
    }
}

/// What a model can run on, and whether the accelerator's cycles are counted by hardware, simulated or not, and are no estimate.
///
/// # Errors
/// As [`Session::open`].
pub fn backends(options: &DeviceOptions, config: &HwConfig) -> Result<(Vec<Box<dyn Backend>>, bool)> {
    let model = simulated(options, config)?;
    let Devices { backends, measured, .. } = devices(options, config, model.as_ref())?;
    Ok((backends, measured))
}

fn devices(options: &DeviceOptions, config: &HwConfig, model: Option<&Arc<Model>>) -> Result<Devices> {
    let mut devices = Devices { backends: vec![Box::new(CpuBackend)], simulation: None, measured: false };
    if let Some(model) = model {
        let (bus, simulation) = options.simulation.open(Arc::clone(model), false, DRAM_LIMIT)?;
        let device = VtaDevice::open(Box::new(bus), config).map_err(|e| anyhow!("the simulated hardware: {e}"))?;
        devices.backends.push(Box::new(VtaBackend::new(device).with_timeout(PATIENCE)));
        (devices.simulation, devices.measured) = (Some(simulation), true);
    } else if options.device == DeviceKind::Fsim {
        let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
        let device = VtaDevice::open(Box::new(bus), config).map_err(|e| anyhow!("the functional simulator: {e}"))?;
        devices.backends.push(Box::new(VtaBackend::new(device)));
    } else if let DeviceKind::Link(link) = &options.device {
        let way = link.open(&options.link)?;
        devices.measured = way.is_clocked();
        let device = VtaDevice::open(way.into_bus(), config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
        devices.backends.push(Box::new(VtaBackend::new(device)));
    }
    Ok(devices)
}
