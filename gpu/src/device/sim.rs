//! The PTX simulator as a device.

use super::parameters::fits;
use super::{Facts, Function, Launch, Swizzle, TensorMap, locked};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Compiled, Instance};
use std::sync::Mutex;
use tandem_ptx::{AccessError, Memory, Module, Options, Param, Stats};

/// How the simulator behaves.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// What it pretends to be. Fewer multiprocessors make persistent kernels take more turns.
    pub facts: Facts,
    /// How launches run; the seed is that of the first launch, and every other launch gets another one from it.
    pub options: Options,
}

impl Default for Simulation {
    /// An H200 of four multiprocessors, with late asynchrony.
    fn default() -> Simulation {
        Simulation { facts: Facts { multiprocessors: 4, ..Facts::h200() }, options: Options::default() }
    }
}

impl Simulation {
    /// The default with this seed.
    pub fn seeded(seed: u64) -> Simulation {
        Simulation { options: Options { seed, ..Options::default() }, ..Simulation::default() }
    }
}

pub(super) struct Simulator {
    simulation: Simulation,
    state: Mutex<State>,
}

struct State {
    memory: Memory,
    launches: u64,
    stats: Stats,
    /// Where launches go instead of being run, while a graph is captured.
    captured: Option<Vec<(Function, Launch)>>,
}

pub(super) struct Code {
    module: Module,
    parameters: Vec<(usize, usize)>,
}

impl Code {
    pub(super) fn parse(compiled: &Compiled, instance: &Instance) -> Result<Code> {
        let module = Module::parse(&compiled.ptx)
            .map_err(|error| GpuError::Unsupported(format!("the simulator cannot run {}: {error}", instance.id())))?;
        let kernel = module
            .kernel(instance.kernel)
            .ok_or_else(|| GpuError::Fault(format!("the PTX of {} has no kernel of its name", instance.id())))?;
        let place = |parameter: &Param| (parameter.offset as usize, parameter.size as usize);
        let parameters = kernel.params().iter().map(place).collect();
        Ok(Code { module, parameters })
    }
}

impl Simulator {
    pub(super) fn new(simulation: Simulation) -> Simulator {
        let state = State { memory: Memory::new(), launches: 0, stats: Stats::default(), captured: None };
        Simulator { simulation, state: Mutex::new(state) }
    }

    pub(super) fn alloc(&self, bytes: usize) -> Result<u64> {
        match locked(&self.state).memory.alloc(bytes as u64) {
            0 => Err(GpuError::Exhausted(format!("the simulator has no room for {bytes} bytes"))),
            address => Ok(address),
        }
    }

    pub(super) fn free(&self, address: u64) {
        // Only buffers free, each once, so that this does not fail.
        let _ = locked(&self.state).memory.free(address);
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        locked(&self.state).memory.write(address, bytes).map_err(fault)
    }

    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        locked(&self.state).memory.read(address, bytes).map_err(fault)
    }

    pub(super) fn take_stats(&self) -> Stats {
        std::mem::take(&mut locked(&self.state).stats)
    }

    pub(super) fn capture(&self, record: impl FnOnce() -> Result<()>) -> Result<Vec<(Function, Launch)>> {
        {
            let captured = &mut locked(&self.state).captured;
            if captured.is_some() {
                let text = "a graph is being captured on this device already; end that capture before another begins";
                return Err(GpuError::Invalid(text.into()));
            }
            *captured = Some(Vec::new());
        }
        let done = record();
        let captured = locked(&self.state).captured.take().unwrap_or_default();
        done.map(|()| captured)
    }

    pub(super) fn launch(&self, code: &Code, function: &Function, launch: &Launch) -> Result<()> {
        fits(&code.parameters, launch)?;
        let mut state = locked(&self.state);
        let state = &mut *state;
        if let Some(captured) = &mut state.captured {
            captured.push((function.clone(), launch.clone()));
            return Ok(());
        }
        let instance = function.instance();
        let run = tandem_ptx::Launch {
            module: &code.module,
            kernel: instance.kernel,
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            dynamic_shared: launch.shared,
            cooperative: false,
            params: launch.args.bytes(),
        };
        let seed = self.simulation.options.seed.wrapping_add(state.launches.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        state.launches += 1;
        let options = Options { seed, ..self.simulation.options };
        let stats = tandem_ptx::run(&mut state.memory, &run, &options)
            .map_err(|error| GpuError::Fault(format!("{}: {error}", instance.id())))?;
        state.stats.add(&stats);
        Ok(())
    }
}

fn fault(error: AccessError) -> GpuError {
    GpuError::Fault(error.to_string())
}

pub(super) fn tensor_map(map: &TensorMap<'_>) -> Result<[u8; 128]> {
    let swizzle = match map.swizzle {
        Swizzle::None => tandem_ptx::Swizzle::None,
        Swizzle::Bytes32 => tandem_ptx::Swizzle::B32,
        Swizzle::Bytes64 => tandem_ptx::Swizzle::B64,
        Swizzle::Bytes128 => tandem_ptx::Swizzle::B128,
    };
    let (size, rank) = (map.dtype.bytes() as u32, map.extents.len() as u32);
    tandem_ptx::TensorMap::tiled(size, rank, map.address, map.extents, map.strides, map.box_extents, swizzle)
        .map_err(|error| GpuError::Invalid(error.to_string()))
}
