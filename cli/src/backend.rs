//! What computes definitions here, by name; and definitions and extents as the command line writes them.

use crate::options::HW;
use crate::schedule::ScheduleKind;
use crate::simulation::{self, PATIENCE, SimulationOptions, memory_words};
use crate::{hardware, tools};
use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use std::sync::Arc;
use tandem_gpu::{Cache, Compiler, Device, Facts, GpuError, Simulation};
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{AxisKind, Dims, Kernel, OpDef, Operation};
use tandem_ops::operations;
use tandem_runtime::VtaBackend;
use tandem_runtime::forms::{self, Core};
use tandem_sim::tsim::DramModel;

/// Elements that one operand or result may have.
const ELEMENTS: usize = 1 << 28;
/// The largest extent; products of three of them are numbers still.
const EXTENT: usize = 1 << 20;

/// Backends of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// The CPU kernels without SIMD instructions.
    CpuScalar,
    /// The CPU kernels with the best SIMD instructions that the processor has; `cpu` for short.
    #[value(alias = "cpu")]
    CpuSimd,
    /// The CUDA kernels, on the PTX simulator.
    Ptx,
    /// The CUDA kernels, on the GPU.
    Cuda,
    /// The FPGA forms, on the functional simulator of the core.
    Fsim,
    /// The FPGA forms, on the core's hardware, cycle by cycle.
    Tsim,
}

impl BackendKind {
    /// Those that check everything in minutes: all but simulated hardware, in the order of tables.
    pub const QUICK: [BackendKind; 5] =
        [BackendKind::CpuScalar, BackendKind::CpuSimd, BackendKind::Ptx, BackendKind::Cuda, BackendKind::Fsim];

    /// Whether it is an accelerator.
    pub fn is_core(self) -> bool {
        matches!(self, BackendKind::Fsim | BackendKind::Tsim)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::CpuScalar => "cpu-scalar",
            BackendKind::CpuSimd => "cpu-simd",
            BackendKind::Ptx => "ptx",
            BackendKind::Cuda => "cuda",
            BackendKind::Fsim => "fsim",
            BackendKind::Tsim => "tsim",
        }
    }
}

/// The accelerator of the backends fsim and tsim.
#[derive(Args, Clone, Debug, Default)]
pub struct CoreOptions {
    /// The accelerator of fsim and tsim: a preset (tiny, edge, vta, wide, batch) or a TOML file [default: vta].
    #[arg(long, value_name = "PRESET|FILE")]
    hw: Option<String>,
    /// The memory of tsim: ideal, zynq, or cycles, bits a cycle and bursts in flight [default: zynq].
    #[arg(long, value_parser = simulation::dram, value_name = "ideal|zynq|LATENCY,BITS,OUTSTANDING")]
    dram: Option<DramModel>,
    /// How products are cut for it. quick: by a formula; search: as is predicted to be fastest, with the memory of --dram.
    #[arg(long, value_enum, default_value = "quick")]
    schedule: ScheduleKind,
}

impl CoreOptions {
    /// Refuses what means nothing for these backends.
    ///
    /// # Errors
    /// One sentence naming the option.
    pub fn check(&self, kinds: &[BackendKind]) -> Result<()> {
        if self.hw.is_some() && !kinds.iter().any(|kind| kind.is_core()) {
            bail!("--hw is for the accelerator: give --device fsim or tsim with it, or leave it out");
        }
        if self.schedule != ScheduleKind::default() && !kinds.iter().any(|kind| kind.is_core()) {
            bail!("--schedule is for the accelerator: give --device fsim or tsim with it, or leave it out");
        }
        if self.dram.is_some() && !kinds.contains(&BackendKind::Tsim) {
            bail!("--dram is for the simulated hardware: give --device tsim with it, or leave it out");
        }
        Ok(())
    }

    /// Whether anything is asked of the accelerator.
    pub fn is_given(&self) -> bool {
        self.hw.is_some() || self.dram.is_some() || self.schedule != ScheduleKind::default()
    }

    fn open(&self, kind: BackendKind) -> Result<Backend> {
        let hw = self.hw.as_deref().unwrap_or(HW);
        let config = hardware::resolve(hw)?;
        let options = SimulationOptions { dram: self.dram, ..SimulationOptions::default() };
        let (device, machine) = if kind == BackendKind::Tsim {
            let (device, _) = options.device(options.model(&config)?)?;
            (device, format!("the simulated hardware of {hw}, {}", memory_words(&options.memory())))
        } else {
            (simulation::functional(&config)?, format!("the functional simulator of {hw}"))
        };
        let backend = VtaBackend::new(device).with_timeout(PATIENCE);
        let core = Arc::new(Core::new(match self.schedule.memory(options.memory()) {
            Some(memory) => backend.with_search(memory),
            None => backend,
        }));
        Ok(Backend {
            kind,
            kernels: forms::kernels(&core),
            device: None,
            core: Some((core, options.memory(), machine)),
        })
    }
}

/// A backend with its kernels.
pub struct Backend {
    /// Which.
    pub kind: BackendKind,
    kernels: Vec<Box<dyn Kernel>>,
    /// Where CUDA kernels run.
    device: Option<Device>,
    /// Where FPGA forms run, and what that is.
    core: Option<(Arc<Core>, DramModel, String)>,
}

impl Backend {
    /// The machine in words.
    pub fn machine(&self) -> String {
        if let Some((_, _, machine)) = &self.core {
            return machine.clone();
        }
        match &self.device {
            Some(device) if self.kind == BackendKind::Ptx => {
                let facts = device.facts();
                format!("the PTX simulator as {} with {} multiprocessors", facts.name, facts.multiprocessors)
            }
            Some(device) => device.facts().name.clone(),
            None => processor(),
        }
    }

    /// Where CUDA kernels run, or would: to ask for forms.
    pub fn into_device(self) -> Option<Device> {
        self.device
    }

    /// Where CUDA kernels run.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    /// Where FPGA forms run, and the memory that it has.
    pub fn core(&self) -> Option<(&Core, &DramModel)> {
        self.core.as_ref().map(|(core, memory, _)| (&**core, memory))
    }

    /// What the PTX simulator counted since the last call.
    pub fn take_stats(&self) -> Option<tandem_ptx::Stats> {
        self.device.as_ref()?.take_stats()
    }

    /// The kernel of a definition.
    pub fn kernel(&self, name: &str) -> Option<&dyn Kernel> {
        self.kernels.iter().find(|kernel| kernel.operation().def().name == name).map(|kernel| &**kernel)
    }
}

/// The kernels of a backend, to ask for grades: they need not be able to run here. Definitions grade FPGA forms themselves.
pub fn forms(kind: BackendKind) -> Backend {
    let kernels = match kind {
        BackendKind::CpuScalar => cpu::kernels(Level::Portable),
        BackendKind::CpuSimd => cpu::kernels(Level::best()),
        BackendKind::Ptx | BackendKind::Cuda => return forms_on(kind, Simulation::default().facts),
        BackendKind::Fsim | BackendKind::Tsim => Vec::new(),
    };
    Backend { kind, kernels, device: None, core: None }
}

/// The CUDA kernels for a device of these facts, to ask for grades.
pub fn forms_on(kind: BackendKind, facts: Facts) -> Backend {
    let none = Compiler::absent(GpuError::Unavailable("grades need no compiler".to_owned()));
    let device = Device::sim(Arc::new(none), Simulation { facts, ..Simulation::default() });
    Backend { kind, kernels: tandem_gpu::kernels(&device), device: Some(device), core: None }
}

/// A backend that runs here; the seed chooses the order of events where that is open.
///
/// # Errors
/// One sentence that says what is missing.
pub fn open(kind: BackendKind, seed: u64, core: &CoreOptions) -> Result<Backend> {
    let device = match kind {
        BackendKind::Fsim | BackendKind::Tsim => return core.open(kind),
        BackendKind::CpuScalar | BackendKind::CpuSimd => return Ok(forms(kind)),
        BackendKind::Ptx => Device::sim(compiler()?, Simulation::seeded(seed)),
        BackendKind::Cuda => Device::cuda(0, compiler()?)?,
    };
    Ok(Backend { kind, kernels: tandem_gpu::kernels(&device), device: Some(device), core: None })
}

/// How many GPUs there are.
pub fn gpus() -> usize {
    let none = Arc::new(Compiler::absent(GpuError::Unavailable("counting needs no compiler".to_owned())));
    (0..).take_while(|&index| Device::cuda(index, Arc::clone(&none)).is_ok()).count()
}

/// The processor's name, as the system tells it.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    line.unwrap_or(std::env::consts::ARCH).trim().to_owned()
}

/// NVRTC with its cache.
///
/// # Errors
/// One sentence saying what to do where there is none.
pub fn compiler() -> Result<Arc<Compiler>> {
    let missing = "NVRTC is missing: run `cargo x setup`, or name the folder of its wheel in TANDEM_TOOLS or a CUDA installation in CUDA_HOME";
    let libraries = tools::nvrtc().ok_or_else(|| anyhow!(missing))?;
    Ok(Arc::new(Compiler::open(&libraries, Some(Cache::new(tools::model_cache().join("kernels"))))?))
}

/// The definition of that name.
///
/// # Errors
/// With the names that are nearest.
pub fn operation(name: &str) -> Result<&'static dyn Operation> {
    if let Some(found) = tandem_ops::operation(name) {
        return Ok(found);
    }
    let all = operations();
    let family = name.split('.').next().unwrap_or_default();
    let names = all.iter().map(|operation| operation.def().name);
    let mut near: Vec<&str> = names.clone().filter(|other| other.split('.').next() == Some(family)).collect();
    if near.is_empty() {
        near = names.collect();
    }
    bail!("--op {name}: there is no such kernel; there are {}", near.join(", "))
}

/// Extents and choices written as `m=64,act=relu`; the others have their defaults.
///
/// # Errors
/// One sentence naming what is wrong and what may stand there.
pub fn dims(def: &'static OpDef, text: &str) -> Result<Dims> {
    let mut dims = Dims::defaults(def.axes);
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let wrong = |why: &str| anyhow!("--dims {part}: {why}");
        let (name, value) = part.trim().split_once('=').ok_or_else(|| wrong("write AXIS=EXTENT"))?;
        let axis = def.axes.iter().find(|axis| axis.name == name).ok_or_else(|| {
            let names: Vec<&str> = def.axes.iter().map(|axis| axis.name).collect();
            wrong(&format!("{} has no such axis; it has {}", def.name, names.join(", ")))
        })?;
        let chosen = match axis.kind {
            AxisKind::Choice(names) => names.iter().position(|other| *other == value),
            AxisKind::Drawn => bail!(wrong("it follows from the operands and cannot be chosen")),
            AxisKind::Extent | AxisKind::Number => None,
        };
        let most = if let AxisKind::Choice(names) = axis.kind { names.len().saturating_sub(1) } else { EXTENT };
        let number = || value.parse().ok().filter(|&n: &usize| n <= most);
        let extent = chosen.or_else(number).ok_or_else(|| match axis.kind {
            AxisKind::Choice(names) => wrong(&format!("use {}", names.join(", "))),
            _ => wrong(&format!("write a whole number up to {EXTENT}")),
        })?;
        dims.set(axis.name, extent);
    }
    def.constrain(&dims)?;
    // What one operand or result allocates has to fit into memory.
    for port in def.inputs.iter().chain(def.outputs) {
        let elements = port.dims.iter().fold(1usize, |n, dim| n.saturating_mul(dim.extent(&dims)));
        if elements > ELEMENTS {
            bail!(
                "--dims {text}: {} {} would have {elements} elements; the most are {ELEMENTS}",
                port.name,
                port.shape()
            );
        }
    }
    Ok(dims)
}
