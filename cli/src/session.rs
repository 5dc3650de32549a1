//! A model on its devices.

use crate::cycles::Cycles;
use crate::link::{Link, LinkKind};
use crate::options::{DeviceKind, DeviceOptions};
use crate::placing::{CLOCK_HZ, Costs};
use crate::remote::Remote;
use crate::simulation::Simulation;
use crate::{hardware, stdout};
use anyhow::{Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::remote::Clock;
use tandem_driver::serial::TcpPort;
use tandem_driver::{Bus, Device as VtaDevice, RemoteBus};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::JitError;
use tandem_plan::place::Request;
use tandem_plan::{Assignment, Choice, Device, Plan, assign, on_cpu, partition};
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
    /// The link to a device of another machine, where the device is one.
    pub remote: Option<Remote>,
    /// The name of the device on the command line.
    device: String,
    /// Failures of devices that were told.
    told: usize,
}

/// Makes the plan of a graph for a configuration of the accelerator, knowing the nodes that the compiler has refused.
type Planner<'a> = &'a dyn Fn(&Graph, &HwConfig, &HashMap<String, String>) -> Plan;

/// Everything that a model can run on.
struct Devices {
    backends: Vec<Box<dyn Backend>>,
    simulation: Option<Simulation>,
    remote: Option<Remote>,
    measured: bool,
}

impl Session {
    /// Plans and compiles a graph; for the least latency, where the options ask for that, at a clock of [`CLOCK_HZ`].
    ///
    /// # Errors
    /// One sentence naming the segment, the option, or the tool that is missing; a configuration that does not exist.
    pub fn open(graph: Graph, options: &DeviceOptions) -> Result<Session> {
        options.check()?;
        if options.device.planned {
            let placed = Costs::measure(&graph, options, CLOCK_HZ)?.place(&graph, &Request::default())?;
            return Session::planned(placed.plan, graph, options);
        }
        Session::with_model(graph, options, simulated(options)?)
    }

    /// Plans and compiles a graph for a model of the hardware that is there already, or for another device.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn with_model(graph: Graph, options: &DeviceOptions, model: Option<Arc<Model>>) -> Result<Session> {
        Session::with_planner(graph, options, model, &|graph, config, refused| {
            plan(graph, &options.device.kind, config, refused)
        })
    }

    /// Compiles a graph for a plan that was made elsewhere.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn planned(plan: Plan, graph: Graph, options: &DeviceOptions) -> Result<Session> {
        options.check()?;
        // What the compiler refuses only when it sees it goes to the CPU.
        let choice = |assigned: &Assignment, refused: &HashMap<String, String>| match refused.get(&assigned.node) {
            Some(reason) => Choice { device: Device::Cpu, reason: reason.clone() },
            None => Choice { device: assigned.device, reason: assigned.reason.clone() },
        };
        Session::with_planner(graph, options, simulated(options)?, &|graph, _, refused| {
            if refused.is_empty() {
                return plan.clone();
            }
            let choices: Vec<Choice> = plan.assignments.iter().map(|assigned| choice(assigned, refused)).collect();
            assign(graph, &choices)
        })
    }

    fn with_planner(
        graph: Graph,
        options: &DeviceOptions,
        model: Option<Arc<Model>>,
        planner: Planner<'_>,
    ) -> Result<Session> {
        if let DeviceKind::Link(link @ LinkKind::Remote(_)) = &options.device.kind {
            return Session::remote(graph, options, link, planner);
        }
        let hw = options.hw()?;
        let config = match &model {
            Some(model) => model.config().clone(),
            None => hardware::resolve(hw)?,
        };
        Session::compile(graph, hw, &options.device.kind, &config, planner, || {
            devices(options, &config, model.as_ref())
        })
    }

    /// Plans and compiles a graph for a device of another machine, which tells its configuration.
    fn remote(graph: Graph, options: &DeviceOptions, link: &LinkKind, planner: Planner<'_>) -> Result<Session> {
        let bus = remote_bus(options, link)?;
        let config = bus.facts().config.clone();
        let own = || config.name().map_or_else(|| bus.facts().name.clone(), str::to_owned);
        let hw = options.hw.clone().unwrap_or_else(own);
        // The connection that told the configuration is the one to use, unless the compiler needs another try.
        let first = Cell::new(Some(bus));
        Session::compile(graph, &hw, &options.device.kind, &config, planner, || {
            let bus = first.take().map_or_else(|| remote_bus(options, link), Ok)?;
            remote_devices(bus, &config, link)
        })
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
        let planner: Planner<'_> = &|graph, config, refused| plan(graph, &DeviceKind::Tsim, config, refused);
        Session::compile(graph, name, &DeviceKind::Tsim, config, planner, || {
            let device = VtaDevice::open(open()?, config).map_err(|e| anyhow!("{name}: {e}"))?;
            let vta = VtaBackend::new(device).with_timeout(PATIENCE);
            let backends: Vec<Box<dyn Backend>> = vec![Box::new(CpuBackend), Box::new(vta)];
            Ok(Devices { backends, simulation: None, remote: None, measured: true })
        })
    }

    /// Plans and compiles until the compiler refuses nothing more.
    fn compile(
        graph: Graph,
        hw: &str,
        device: &DeviceKind,
        config: &HwConfig,
        planner: Planner<'_>,
        open: impl Fn() -> Result<Devices>,
    ) -> Result<Session> {
        let mut refused: HashMap<String, String> = HashMap::new();
        loop {
            let plan = planner(&graph, config, &refused);
            let Devices { mut backends, simulation, mut remote, measured } = open()?;
            match Executor::new(&graph, &plan, &mut backends) {
                Ok(executor) => {
                    let (config, hw, device) = (config.clone(), hw.to_owned(), device.name());
                    // A device here that fails is to be looked at. One elsewhere may go for reasons that nobody here can change.
                    let executor =
                        if remote.is_some() { executor.with_fallback(Box::new(CpuBackend)) } else { executor };
                    remote.iter_mut().for_each(Remote::begin);
                    let told = 0;
                    return Ok(Session {
                        graph,
                        plan,
                        executor,
                        config,
                        hw,
                        measured,
                        simulation,
                        remote,
                        device,
                        told,
                    });
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
            outputs.append(&mut self.step(group, &bar).map_err(|e| anyhow!("{}: {e}", self.graph.name))?);
            bar.inc(group.len() as u64);
            Ok(())
        });
        bar.finish_and_clear();
        // What was recorded up to a failure shows how it came about.
        let finished = self.simulation.as_ref().map_or(Ok(()), Simulation::finish);
        ran.and(finished)?;
        Ok(outputs)
    }

    /// The outputs of samples that the devices take at once. A device that fails is told once, and its work is done elsewhere.
    ///
    /// # Errors
    /// The segment that failed.
    pub fn step(&mut self, samples: &[Vec<Tensor>], bar: &ProgressBar) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let ran = self.executor.run(samples);
        for failure in self.executor.failures().iter().skip(self.told) {
            self.told += 1;
            bar.suspend(|| stdout::complain(&format!("warning: {}: {failure}", self.device)));
        }
        ran
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
fn simulated(options: &DeviceOptions) -> Result<Option<Arc<Model>>> {
    match options.device.kind {
        DeviceKind::Tsim => Ok(Some(options.simulation.model(&hardware::resolve(options.hw()?)?)?)),
        DeviceKind::Fsim | DeviceKind::Link(_) | DeviceKind::Cpu => Ok(None),
    }
}

/// What a model can run on, and whether the accelerator's cycles are counted by hardware, simulated or not, and are no estimate.
///
/// # Errors
/// As [`Session::open`].
pub fn backends(options: &DeviceOptions) -> Result<(Vec<Box<dyn Backend>>, bool)> {
    options.check()?;
    let Devices { backends, measured, .. } = match &options.device.kind {
        DeviceKind::Link(link @ LinkKind::Remote(_)) => {
            let bus = remote_bus(options, link)?;
            let config = bus.facts().config.clone();
            remote_devices(bus, &config, link)?
        }
        _ => {
            let model = simulated(options)?;
            let config = hardware::resolve(options.hw()?)?;
            devices(options, &config, model.as_ref())?
        }
    };
    Ok((backends, measured))
}

/// A connection to a device of another machine, whose configuration is the one of the options where they name one.
fn remote_bus(options: &DeviceOptions, link: &LinkKind) -> Result<Box<RemoteBus<TcpPort>>> {
    let name = link.name();
    let Link::Remote(bus) = link.open(&options.link)? else { bail!("{name}: it is no device of another machine") };
    if let Some(hw) = &options.hw {
        let (asked, found) = (hardware::resolve(hw)?.digest(), bus.facts().config.digest());
        if asked != found {
            bail!("{name}: its device has configuration {found:#010x} and --hw {hw} is {asked:#010x}; leave --hw out");
        }
    }
    Ok(bus)
}

fn remote_devices(bus: Box<RemoteBus<TcpPort>>, config: &HwConfig, link: &LinkKind) -> Result<Devices> {
    let (remote, clock) = (Remote::of(&bus), bus.facts().clock);
    let device = VtaDevice::open(bus, config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
    let vta = VtaBackend::new(device);
    let vta = if clock == Clock::Simulated { vta.with_timeout(PATIENCE) } else { vta };
    Ok(Devices {
        backends: vec![Box::new(CpuBackend), Box::new(vta)],
        simulation: None,
        remote: Some(remote),
        measured: clock != Clock::Estimated,
    })
}

fn devices(options: &DeviceOptions, config: &HwConfig, model: Option<&Arc<Model>>) -> Result<Devices> {
    let backends: Vec<Box<dyn Backend>> = vec![Box::new(CpuBackend)];
    let mut devices = Devices { backends, simulation: None, remote: None, measured: false };
    if let Some(model) = model {
        let (bus, simulation) = options.simulation.open(Arc::clone(model), false, DRAM_LIMIT)?;
        let device = VtaDevice::open(Box::new(bus), config).map_err(|e| anyhow!("the simulated hardware: {e}"))?;
        devices.backends.push(Box::new(VtaBackend::new(device).with_timeout(PATIENCE)));
        (devices.simulation, devices.measured) = (Some(simulation), true);
    } else if options.device.kind == DeviceKind::Fsim {
        let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
        let device = VtaDevice::open(Box::new(bus), config).map_err(|e| anyhow!("the functional simulator: {e}"))?;
        devices.backends.push(Box::new(VtaBackend::new(device)));
    } else if let DeviceKind::Link(link) = &options.device.kind {
        let way = link.open(&options.link)?;
        devices.measured = way.is_clocked();
        let device = VtaDevice::open(way.into_bus(), config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
        devices.backends.push(Box::new(VtaBackend::new(device)));
    }
    Ok(devices)
}
