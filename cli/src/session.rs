//! A model on its devices.

use crate::machine::{Accelerator, Machine};
use crate::options::{DeviceKind, DeviceOptions};
use crate::placing::Costs;
use crate::request::PlaceOptions;
use crate::{file, stdout, timeline};
use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::Arc;
use tandem_driver::Bus;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::JitError;
use tandem_plan::{Assignment, Choice, Device, Plan, assign, on_cpu, partition};
use tandem_runtime::{Executor, RuntimeError, Span, Timeline};
use tandem_sim::tsim::Model;
use tandem_tensor::Tensor;

/// A graph, its plan and the executor that runs it.
pub struct Session {
    /// The model.
    pub graph: Graph,
    /// Which device runs what.
    pub plan: Plan,
    /// Runs it.
    pub executor: Executor,
    /// The devices, without those that run.
    pub machine: Machine,
    /// Seconds of segments on devices whose times are projections.
    projected: HashMap<usize, f64>,
    /// How many times slower the host is taken to be.
    cpu_times: f64,
    /// The devices of the command line.
    options: DeviceOptions,
    /// Failures of devices that were told.
    told: usize,
}

/// Makes the plan of a graph for a machine, knowing the nodes that the compiler has refused.
type Planner<'a> = &'a dyn Fn(&Graph, &Machine, &HashMap<String, String>) -> Plan;

impl Session {
    /// Plans and compiles a graph. A list of devices is split as it is asked for; else the device has all that it can run.
    ///
    /// # Errors
    /// One sentence naming the segment, the option, or the tool that is missing; a configuration that does not exist.
    pub fn open(graph: Graph, options: &DeviceOptions, place: &PlaceOptions) -> Result<Session> {
        options.check()?;
        place.check(options.device.is_planned())?;
        if options.device.is_planned() {
            let placed = Costs::of(&graph, options, place)?.place(&graph, &place.request())?;
            return Ok(Session::planned(placed.plan, graph, options)?.slower(place.cpu_times));
        }
        Session::compile(graph, options, &greedy, &|| Machine::open(options))
    }

    /// Plans and compiles a graph for a model of the hardware that is there already.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn with_model(graph: Graph, options: &DeviceOptions, model: &Arc<Model>) -> Result<Session> {
        Session::compile(graph, options, &greedy, &|| Machine::of_model(options, model))
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
        let options = DeviceOptions::default().on(DeviceKind::Tsim);
        Session::compile(graph, &options, &greedy, &|| Machine::on_bus(open()?, config, name))
    }

    /// The same on a host that is taken to be so many times slower, for times on the devices' own clocks.
    pub fn slower(self, cpu_times: f64) -> Session {
        Session { cpu_times, ..self }
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
        let planner = |graph: &Graph, _: &Machine, refused: &HashMap<String, String>| {
            if refused.is_empty() {
                return plan.clone();
            }
            let choices: Vec<Choice> = plan.assignments.iter().map(|assigned| choice(assigned, refused)).collect();
            assign(graph, &choices)
        };
        Session::compile(graph, options, &planner, &|| Machine::open(options))
    }

    /// Plans and compiles until the compiler refuses nothing more.
    fn compile(
        graph: Graph,
        options: &DeviceOptions,
        planner: Planner<'_>,
        open: &dyn Fn() -> Result<Machine>,
    ) -> Result<Session> {
        let mut refused: HashMap<String, String> = HashMap::new();
        let mut first = Some(open()?);
        loop {
            // The devices that told their configuration are the ones to use, unless the compiler needs another try.
            let mut machine = first.take().map_or_else(open, Ok)?;
            let plan = planner(&graph, &machine, &refused);
            machine.check_links()?;
            match Executor::new(&graph, &plan, &mut machine.backends) {
                Ok(executor) => {
                    let project = |(s, segment)| Some((s, machine.project(&graph, segment)?));
                    let projected = plan.segments.iter().enumerate().filter_map(project).collect();
                    let executor = executor.with_spares(machine.take_spares());
                    machine.remotes.iter_mut().for_each(|(_, remote)| remote.begin());
                    let options = options.clone();
                    return Ok(Session { graph, plan, executor, machine, projected, cpu_times: 1.0, options, told: 0 });
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

    /// The outputs of all samples, `batch` at a time and as many such requests under way as that, with a progress bar on a terminal.
    ///
    /// # Errors
    /// One sentence naming the segment that failed.
    pub fn run(&mut self, samples: &[Vec<Tensor>], batch: Option<usize>, in_flight: usize) -> Result<Vec<Vec<Tensor>>> {
        let batch = batch.unwrap_or_else(|| self.executor.samples()).max(1);
        let bar = bar(samples.len());
        let ran = if in_flight > 1 {
            let ran = self.executor.stream(samples, batch, in_flight, &mut |done| bar.inc(done as u64));
            self.tell(&bar);
            ran
        } else {
            let mut outputs = Vec::with_capacity(samples.len());
            let ran = samples.chunks(batch).try_for_each(|group| -> Result<(), RuntimeError> {
                outputs.append(&mut self.step(group, &bar)?);
                bar.inc(group.len() as u64);
                Ok(())
            });
            ran.map(|()| outputs)
        };
        bar.finish_and_clear();
        // What was recorded up to a failure shows how it came about.
        let finished = self.finish();
        let outputs = ran.map_err(|e| anyhow!("{}: {e}", self.graph.name))?;
        finished?;
        Ok(outputs)
    }

    /// The outputs of samples that the devices take at once. A device that fails is told once, and its work is done elsewhere.
    ///
    /// # Errors
    /// The segment that failed.
    pub fn step(&mut self, samples: &[Vec<Tensor>], bar: &ProgressBar) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let ran = self.executor.run(samples);
        self.tell(bar);
        ran
    }

    fn tell(&mut self, bar: &ProgressBar) {
        for failure in self.executor.failures().iter().skip(self.told) {
            self.told += 1;
            let name = self.machine.name(failure.device);
            bar.suspend(|| stdout::complain(&format!("warning: {name}: {failure}")));
        }
    }

    /// Writes the timeline and completes waveforms, where they were asked for.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(&self) -> Result<()> {
        for simulation in self.machine.accelerators.iter().filter_map(|accelerator| accelerator.simulation.as_ref()) {
            simulation.finish_waves()?;
        }
        if let Some(path) = &self.options.simulation.timeline {
            file::write(path, timeline::chrome(self)?.as_bytes())?;
        }
        Ok(())
    }

    /// The first accelerator, which reports are about.
    pub fn accelerator(&self) -> Option<&Accelerator> {
        self.machine.accelerators.first()
    }

    /// The name of the devices on the command line.
    pub fn device_name(&self) -> String {
        self.options.device.name()
    }

    /// The clock of simulated accelerators in hertz.
    pub fn clock_hz(&self) -> f64 {
        self.options.clock_hz()
    }

    /// All runs on one clock: simulated devices on their own, everything else on that of this host.
    pub fn timeline(&self) -> Option<Timeline> {
        let profile = self.executor.profile();
        profile.replay(&|span| self.seconds(span))
    }

    /// What a run of a segment took: bringing inputs there, computing, and bringing results back, in seconds. A simulated device
    /// computes on its own clock, or by a projection; everything else is of this host's, or of one so many times slower.
    pub fn seconds(&self, span: &Span) -> [f64; 3] {
        let device = self.executor.profile().segments.get(span.row).map_or(Device::Cpu, |segment| segment.device);
        if let Some(projected) = self.projected.get(&span.segment).filter(|_| self.machine.is_projected(device)) {
            return [0.0, projected * span.samples as f64, 0.0];
        }
        let [stage, compute, collect] = self.machine.seconds(device, span, self.clock_hz());
        let computing = if device == Device::Cpu { self.cpu_times } else { 1.0 };
        [stage * self.cpu_times, compute * computing, collect * self.cpu_times]
    }
}

/// The plan where one device has all that it can run.
fn greedy(graph: &Graph, machine: &Machine, refused: &HashMap<String, String>) -> Plan {
    let Some(backend) = machine.backends.iter().find(|backend| backend.device() != Device::Cpu) else {
        return on_cpu(graph, "--device cpu was asked for");
    };
    partition(graph, backend.device(), |node| match refused.get(&node.name) {
        Some(reason) => Err(reason.clone()),
        None => backend.supports(graph, node),
    })
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
