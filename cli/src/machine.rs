//! The devices of the command line, opened: what a model can run on.

use crate::backend;
use crate::hardware;
use crate::link::LinkKind;
use crate::options::{DeviceKind, DeviceOptions};
use crate::remote::Remote;
use crate::simulation::{self, PATIENCE, Simulation as SimulatedHardware};
use crate::tuning;
use anyhow::{Result, anyhow, bail};
use std::sync::Arc;
use std::time::Duration;
use tandem_driver::remote::{Clock, Connection, Served};
use tandem_driver::serial::TcpPort;
use tandem_driver::{Bus, Device as VtaDevice, RemoteBus};
use tandem_gpu::{Device as Gpu, Simulation};
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::tune::Tuned;
use tandem_plan::{Device, Segment};
use tandem_runtime::remote::{Kind, RemoteBackend};
use tandem_runtime::{Backend, Copied, CpuBackend, GpuBackend, Span, VtaBackend};
use tandem_sim::tsim::{DramModel, Model};

/// A copy to a GPU, as it is told and not measured.
const TOLD_LATENCY_S: f64 = 8e-6;
const TOLD_BYTES_PER_S: f64 = 50e9;

/// Everything that a model can run on.
pub struct Machine {
    /// In the order of the command line, and then the CPU.
    pub backends: Vec<Box<dyn Backend>>,
    /// What is known of the accelerators among them.
    pub accelerators: Vec<Accelerator>,
    /// What is known of the GPUs and CPUs of other machines among them.
    pub processors: Vec<Processor>,
    /// The links to devices of other machines.
    pub remotes: Vec<(Device, Remote)>,
    /// Names of all devices on the command line.
    names: Vec<(Device, String)>,
    /// Whether a device that fails is left to others.
    spared: bool,
    /// Schedules that a search has found.
    tuned: Arc<Tuned>,
    /// The memory for which others are searched.
    searched: Option<DramModel>,
}

/// An accelerator under way.
pub struct Accelerator {
    /// Which one of a plan.
    pub device: Device,
    /// The machine.
    pub config: HwConfig,
    /// The name of the machine on the command line.
    pub hw: String,
    /// Where its cycles come from.
    pub cycles: CycleSource,
    /// The simulated hardware, where the device is one.
    pub simulation: Option<SimulatedHardware>,
}

/// A GPU, or the CPU of another machine, under way.
pub struct Processor {
    /// Which one of a plan.
    pub device: Device,
    /// What it is, and where.
    pub name: String,
    /// Whether it is simulated, so that its times are projections.
    pub simulated: bool,
}

/// Where an accelerator's cycles come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleSource {
    /// The functional simulator estimates them.
    Estimated,
    /// Simulated hardware counts them.
    Simulated,
    /// Hardware counts them, and the time on this host's clock is its own.
    Hardware,
}

impl CycleSource {
    /// Whether they are counted and no estimate.
    pub fn is_counted(self) -> bool {
        self != CycleSource::Estimated
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            CycleSource::Estimated => "estimates of the functional simulator",
            CycleSource::Simulated => "those that the simulated hardware counted",
            CycleSource::Hardware => "those that the hardware counted",
        }
    }

    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            CycleSource::Estimated => "estimated",
            CycleSource::Simulated | CycleSource::Hardware => "counted",
        }
    }
}

impl Machine {
    /// Opens the devices.
    ///
    /// # Errors
    /// One sentence naming the device and what it lacks; a configuration that does not exist.
    pub fn open(options: &DeviceOptions) -> Result<Machine> {
        Machine::with(options, None)
    }

    /// Opens the devices; the hardware is simulated by this model.
    ///
    /// # Errors
    /// As [`Machine::open`].
    pub fn of_model(options: &DeviceOptions, model: &Arc<Model>) -> Result<Machine> {
        Machine::with(options, Some(model))
    }

    /// The accelerator of this configuration and name on a bus.
    ///
    /// # Errors
    /// As [`Machine::open`].
    pub fn on_bus(bus: Box<dyn Bus + Send>, config: &HwConfig, name: &str) -> Result<Machine> {
        let mut machine = Machine::empty();
        let device = VtaDevice::open(bus, config).map_err(|e| anyhow!("{name}: {e}"))?;
        machine.add(name, name, device, CycleSource::Simulated, true);
        Ok(machine.with_cpu())
    }

    fn empty() -> Machine {
        Machine {
            backends: Vec::new(),
            accelerators: Vec::new(),
            processors: Vec::new(),
            remotes: Vec::new(),
            names: Vec::new(),
            spared: false,
            tuned: Arc::default(),
            searched: None,
        }
    }

    fn with(options: &DeviceOptions, model: Option<&Arc<Model>>) -> Result<Machine> {
        let mut machine = Machine::empty();
        if let Some(path) = &options.tuned {
            machine.tuned = Arc::new(tuning::log::tuned(path)?);
        }
        machine.searched = options.schedule.memory(options.simulation.memory());
        for kind in options.device.kinds() {
            match kind {
                DeviceKind::Cpu => {}
                DeviceKind::Fsim => machine.add_fsim(options)?,
                DeviceKind::Tsim => machine.add_tsim(options, model)?,
                DeviceKind::Link(link) => machine.add_link(options, link)?,
                DeviceKind::Cuda(index) => machine.add_cuda(options, *index)?,
                DeviceKind::Ptx => machine.add_ptx()?,
            }
        }
        Ok(machine.with_cpu())
    }

    fn with_cpu(mut self) -> Machine {
        self.backends.push(Box::new(CpuBackend));
        self.names.push((Device::Cpu, DeviceKind::Cpu.name()));
        self
    }

    fn add_fsim(&mut self, options: &DeviceOptions) -> Result<()> {
        let hw = options.hw(&DeviceKind::Fsim)?;
        let config = hardware::resolve(hw)?;
        let device = simulation::functional(&config)?;
        self.add(&DeviceKind::Fsim.name(), hw, device, CycleSource::Estimated, false);
        Ok(())
    }

    fn add_tsim(&mut self, options: &DeviceOptions, model: Option<&Arc<Model>>) -> Result<()> {
        let hw = options.hw(&DeviceKind::Tsim)?;
        let model = match model {
            Some(model) => Arc::clone(model),
            None => options.simulation.model(&hardware::resolve(hw)?)?,
        };
        let (device, simulation) = options.simulation.device(model)?;
        self.add(&DeviceKind::Tsim.name(), hw, device, CycleSource::Simulated, true);
        if let Some(accelerator) = self.accelerators.last_mut() {
            accelerator.simulation = Some(simulation);
        }
        Ok(())
    }

    fn add_link(&mut self, options: &DeviceOptions, link: &LinkKind) -> Result<()> {
        self.spared |= matches!(link, LinkKind::Remote(_)) || options.device.is_planned();
        if let LinkKind::Remote(address) = link {
            let connection = link.connect(address, &options.link)?;
            return match connection.served().service {
                Served::BACKEND => self.add_backend(link, connection),
                _ => self.add_remote(options, link, connection),
            };
        }
        let kind = DeviceKind::Link(link.clone());
        let hw = options.hw(&kind)?;
        let config = hardware::resolve(hw)?;
        let way = link.open(&options.link)?;
        let cycles = if way.is_clocked() { CycleSource::Hardware } else { CycleSource::Estimated };
        let device = VtaDevice::open(way.into_bus(), &config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
        self.add(&link.name(), hw, device, cycles, false);
        Ok(())
    }

    /// An accelerator of another machine tells its configuration.
    fn add_remote(&mut self, options: &DeviceOptions, link: &LinkKind, connection: Connection<TcpPort>) -> Result<()> {
        let bus = remote_bus(options, link, connection)?;
        let (config, clock) = (bus.facts().config.clone(), bus.facts().clock);
        let remote = Remote::new(bus.link(), bus.monitor());
        let own = || config.name().map_or_else(|| bus.facts().name.clone(), str::to_owned);
        let hw = options.hw.clone().unwrap_or_else(own);
        let cycles = match clock {
            Clock::Estimated => CycleSource::Estimated,
            Clock::Simulated => CycleSource::Simulated,
            Clock::Real => CycleSource::Hardware,
        };
        let device = VtaDevice::open(bus, &config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
        self.add(&link.name(), &hw, device, cycles, clock == Clock::Simulated);
        let device = self.accelerators.last().map(|accelerator| (accelerator.device, remote));
        self.remotes.extend(device);
        Ok(())
    }

    /// A GPU of another machine, or its CPU.
    fn add_backend(&mut self, link: &LinkKind, connection: Connection<TcpPort>) -> Result<()> {
        let backend = RemoteBackend::on(connection).map_err(|e| anyhow!("{}: {e}", link.name()))?;
        let facts = backend.facts();
        let (is_cpu, simulated) = (facts.kind == Kind::Cpu, facts.kind == Kind::SimulatedGpu);
        let index = self.processors.iter().filter(|other| matches!(other.device, Device::FarCpu(_)) == is_cpu).count();
        let device = if is_cpu { Device::FarCpu(index) } else { Device::Gpu(index) };
        let name = format!("{}, {} of {}", facts.model, facts.name, link.name());
        self.processors.push(Processor { device, name, simulated });
        self.remotes.push((device, Remote::new(backend.link(), backend.monitor())));
        self.backends.push(Box::new(backend.with_device(device)));
        self.names.push((device, link.name()));
        Ok(())
    }

    fn add_cuda(&mut self, options: &DeviceOptions, index: usize) -> Result<()> {
        self.spared |= options.device.is_planned();
        let gpu = Gpu::cuda(index, backend::compiler()?)?;
        self.add_gpu(&DeviceKind::Cuda(index), gpu, false);
        Ok(())
    }

    fn add_ptx(&mut self) -> Result<()> {
        let gpu = Gpu::sim(backend::compiler()?, Simulation::default());
        self.add_gpu(&DeviceKind::Ptx, gpu, true);
        Ok(())
    }

    fn add_gpu(&mut self, kind: &DeviceKind, gpu: Gpu, simulated: bool) {
        let index = self.processors.iter().filter(|other| matches!(other.device, Device::Gpu(_))).count();
        let device = Device::Gpu(index);
        self.processors.push(Processor { device, name: gpu.facts().name.clone(), simulated });
        self.backends.push(Box::new(GpuBackend::new(gpu).with_index(index)));
        self.names.push((device, kind.name()));
    }

    fn add(&mut self, name: &str, hw: &str, device: VtaDevice, cycles: CycleSource, patient: bool) {
        let (config, index) = (device.config().clone(), self.accelerators.len());
        let vta = VtaBackend::new(device).with_index(index).with_tuned(Arc::clone(&self.tuned));
        let vta = match self.searched {
            Some(memory) => vta.with_search(memory),
            None => vta,
        };
        self.backends.push(Box::new(if patient { vta.with_timeout(PATIENCE) } else { vta }));
        let device = Device::Vta(index);
        let hw = hw.to_owned();
        self.accelerators.push(Accelerator { device, config, hw, cycles, simulation: None });
        let name = numbered(name, self.names.iter().map(|(_, other)| other.as_str()));
        self.names.push((device, name));
    }

    /// The name of a device on the command line; `fsim#2` for the second of that name.
    pub fn name(&self, device: Device) -> String {
        let known = self.names.iter().find(|(other, _)| *other == device);
        known.map_or_else(|| device.word(), |(_, name)| name.clone())
    }

    /// The names of all devices.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The accelerator of a plan.
    pub fn accelerator(&self, device: Device) -> Option<&Accelerator> {
        self.accelerators.iter().find(|accelerator| accelerator.device == device)
    }

    /// Whether a device's times are projections.
    pub fn is_projected(&self, device: Device) -> bool {
        self.processors.iter().any(|processor| processor.device == device && processor.simulated)
    }

    /// What a segment would take on a device whose times are projections, copies included, in seconds. `None` on any other device.
    pub fn project(&self, graph: &Graph, segment: &Segment) -> Option<f64> {
        let backend = self.backends.iter().find(|backend| backend.device() == segment.device)?;
        let nodes = segment.nodes.iter().filter_map(|n| graph.nodes.get(n.0));
        let computing: Duration = nodes.filter_map(|node| backend.project(graph, node)).sum();
        let moved = segment.inputs.iter().chain(&segment.outputs);
        let moved = moved.map(|&id| self.told_copy(segment.device, graph.ty(id).bytes()).wall);
        self.is_projected(segment.device).then(|| (computing + moved.sum::<Duration>()).as_secs_f64())
    }

    /// A copy between this host and a GPU over PCI Express 5.0 x16, as it is told: some microseconds for the call, and about 50 GB/s.
    /// Where the device is of another machine the link is added, as it was measured when the connection began: half a round trip,
    /// which what comes back shares with what goes there, and its bytes.
    pub fn told_copy(&self, device: Device, bytes: usize) -> Copied {
        let way = self
            .remote(device)
            .map(Remote::link)
            .map_or(0.0, |link| link.latency_s / 2.0 + bytes as f64 / link.bytes_per_s);
        let wall = Duration::from_secs_f64(TOLD_LATENCY_S + bytes as f64 / TOLD_BYTES_PER_S + way);
        Copied { bytes: bytes as u64, count: 1, wall }
    }

    /// The link to a device, where it is of another machine.
    pub fn remote(&self, device: Device) -> Option<&Remote> {
        self.remotes.iter().find(|(other, _)| *other == device).map(|(_, remote)| remote)
    }

    /// Refuses to go on without a device of another machine whose connection was lost before anything ran on it.
    ///
    /// # Errors
    /// One sentence naming the device.
    pub fn check_links(&self) -> Result<()> {
        match self.remotes.iter().find_map(|(device, remote)| Some((device, remote.lost()?))) {
            Some((device, why)) => bail!("{}: the connection is lost: {why}", self.name(*device)),
            None => Ok(()),
        }
    }

    /// What takes over the work of devices that fail. A simulation that fails is to be looked at; hardware may go for reasons that
    /// nobody here can change.
    pub fn take_spares(&mut self) -> Vec<Box<dyn Backend>> {
        if self.spared { std::mem::take(&mut self.backends) } else { Vec::new() }
    }

    /// What a run of a segment takes on a device: bringing inputs there, computing, and bringing results back, in seconds. A
    /// simulated device computes on its own clock; everything else is of this host's.
    pub fn seconds(&self, device: Device, span: &Span, clock_hz: f64) -> [f64; 3] {
        let phases = &span.phases;
        let [stage, wall, collect] =
            [phases.stage, phases.compute, phases.collect].map(|part| part.length().as_secs_f64());
        let simulated = |accelerator: &&Accelerator| accelerator.cycles != CycleSource::Hardware;
        let compute = match (self.accelerator(device).filter(simulated), phases.cycles) {
            (Some(_), Some(cycles)) => cycles as f64 / clock_hz,
            _ => wall,
        };
        [stage, compute, collect]
    }
}

/// The name of a device beside others: `fsim#2` for the second `fsim`.
pub fn numbered<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> String {
    match others.filter(|other| other.split('#').next() == Some(name)).count() {
        0 => name.to_owned(),
        taken => format!("{name}#{}", taken + 1),
    }
}

/// The bus of an accelerator of another machine, whose configuration is the one of the options where they name one.
fn remote_bus(
    options: &DeviceOptions,
    link: &LinkKind,
    connection: Connection<TcpPort>,
) -> Result<Box<RemoteBus<TcpPort>>> {
    let name = link.name();
    let bus = Box::new(RemoteBus::on(connection).map_err(|e| anyhow!("{name}: {e}"))?);
    if let Some(hw) = &options.hw {
        let (asked, found) = (hardware::resolve(hw)?.digest(), bus.facts().config.digest());
        if asked != found {
            bail!("{name}: its device has configuration {found:#010x} and --hw {hw} is {asked:#010x}; leave --hw out");
        }
    }
    Ok(bus)
}
