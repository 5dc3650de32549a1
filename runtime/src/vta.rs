//! The accelerator as a backend, on any bus.

use crate::backend::Copied;
use crate::profile::median;
use crate::{Backend, Executable, RuntimeError, Taken};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tandem_driver::{Counters, Device as VtaDevice, Loaded};
use tandem_graph::{Graph, Node, NodeId};
use tandem_isa::HwConfig;
use tandem_jit::{Binding, JitError};
use tandem_plan::{Device, alone, extract};
use tandem_tensor::Tensor;

/// Time allowed for one run of a program, unless [`VtaBackend::with_timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Runs of a node that is measured at most, and the time after which no further one begins.
const RUNS: usize = 9;
const PATIENCE: Duration = Duration::from_millis(20);

/// A device with the compiler in front of it.
pub struct VtaBackend {
    device: Arc<Mutex<VtaDevice>>,
    config: HwConfig,
    timeout: Duration,
}

impl VtaBackend {
    /// A backend on an open device.
    pub fn new(device: VtaDevice) -> VtaBackend {
        let config = device.config().clone();
        VtaBackend { device: Arc::new(Mutex::new(device)), config, timeout: TIMEOUT }
    }

    /// The same with another time limit for one run of a program.
    pub fn with_timeout(self, timeout: Duration) -> VtaBackend {
        VtaBackend { timeout, ..self }
    }

    /// The configuration of the device.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }
}

impl Backend for VtaBackend {
    fn device(&self) -> Device {
        Device::Vta
    }

    fn supports(&self, graph: &Graph, node: &Node) -> Result<(), String> {
        tandem_jit::supports(graph, node, &self.config)
    }

    /// Every node as a program of its own; the first run, which brings its instructions and weights to their places, does not count.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let mut all = Vec::with_capacity(graph.nodes.len());
        for (n, node) in graph.nodes.iter().enumerate() {
            all.push(match self.supports(graph, node) {
                Ok(()) => match self.measure_node(&extract(graph, &alone(graph, NodeId(n)))) {
                    Ok(taken) => Ok(taken),
                    Err(RuntimeError::Compile(JitError::Unsupported { reason, .. })) => Err(reason),
                    Err(error) => return Err(error),
                },
                Err(reason) => Err(reason),
            });
            done();
        }
        Ok(all)
    }

    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        Ok(Box::new(self.load(segment)?))
    }
}

impl VtaBackend {
    fn load(&self, segment: &Graph) -> Result<VtaSegment, RuntimeError> {
        let compiled = tandem_jit::compile(segment, &self.config)?;
        let loaded = lock(&self.device).load(&compiled.program)?;
        Ok(VtaSegment {
            device: Arc::clone(&self.device),
            loaded: Some(loaded),
            copies: vec![Copied::default(); compiled.inputs.len() + compiled.outputs.len()],
            inputs: compiled.inputs,
            outputs: compiled.outputs,
            samples: compiled.samples.max(1),
            timeout: self.timeout,
            counters: Counters::default(),
        })
    }

    fn measure_node(&mut self, node: &Graph) -> Result<Taken, RuntimeError> {
        let mut segment = self.load(node)?;
        let group = vec![node.zero_inputs(); segment.samples];
        let samples = segment.samples as u32;
        segment.run(&group)?;
        let mut runs: Vec<Taken> = Vec::new();
        let start = Instant::now();
        while runs.is_empty() || runs.len() < RUNS && start.elapsed() < PATIENCE {
            let (cycles, copies) = (segment.counters.cycles, segment.copies.clone());
            let begin = Instant::now();
            segment.run(&group)?;
            runs.push(Taken {
                wall: begin.elapsed() / samples,
                cycles: Some((segment.counters.cycles - cycles) / u64::from(samples)),
                copies: segment.copies.iter().zip(&copies).map(|(now, before)| now.since(before, samples)).collect(),
            });
        }
        // Cycles and bytes are those of every run; times are not.
        let mut taken = runs.last().cloned().unwrap_or_default();
        taken.wall = median(runs.iter().map(|run| run.wall).collect()).unwrap_or_default();
        for (at, copied) in taken.copies.iter_mut().enumerate() {
            let walls = runs.iter().filter_map(|run| run.copies.get(at)).map(|copied| copied.wall);
            copied.wall = median(walls.collect()).unwrap_or_default();
        }
        Ok(taken)
    }
}

struct VtaSegment {
    device: Arc<Mutex<VtaDevice>>,
    /// Present until the segment is dropped.
    loaded: Option<Loaded>,
    inputs: Vec<Binding>,
    outputs: Vec<Binding>,
    samples: usize,
    timeout: Duration,
    counters: Counters,
    /// For every input, and then for every output.
    copies: Vec<Copied>,
}

impl Executable for VtaSegment {
    fn samples(&self) -> usize {
        self.samples
    }

    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let mut results: Vec<Vec<Tensor>> = Vec::with_capacity(samples.len());
        for group in samples.chunks(self.samples) {
            results.append(&mut self.run_group(group)?);
        }
        Ok(results)
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.counters)
    }

    fn copied(&self) -> Copied {
        self.copies.iter().fold(Copied::default(), |mut sum, &copied| {
            sum.add(copied);
            sum
        })
    }
}

impl VtaSegment {
    fn run_group(&mut self, group: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let unloaded = || RuntimeError::Invalid("the program is not on the device any more".to_owned());
        let loaded = self.loaded.as_ref().ok_or_else(unloaded)?;
        let mut device = lock(&self.device);
        for (i, binding) in self.inputs.iter().enumerate() {
            let tensors: Option<Vec<&Tensor>> = group.iter().map(|sample| sample.get(i)).collect();
            let missing = || RuntimeError::Invalid(format!("a sample has no tensor for input {i} of the segment"));
            let begin = Instant::now();
            let bytes = binding.pack(&tensors.ok_or_else(missing)?)?;
            device.write(loaded, binding.section, 0, &bytes)?;
            self.copies[i].add(copy(bytes.len(), group.len(), begin));
        }
        self.counters += device.run(loaded, self.timeout)?;
        let mut results: Vec<Vec<Tensor>> = group.iter().map(|_| Vec::with_capacity(self.outputs.len())).collect();
        for (i, binding) in self.outputs.iter().enumerate() {
            let begin = Instant::now();
            let bytes = device.read(loaded, binding.section, 0, binding.bytes())?;
            for (result, tensor) in results.iter_mut().zip(binding.unpack(&bytes, group.len())?) {
                result.push(tensor);
            }
            self.copies[self.inputs.len() + i].add(copy(bytes.len(), group.len(), begin));
        }
        Ok(results)
    }
}

fn copy(bytes: usize, tensors: usize, begin: Instant) -> Copied {
    Copied { bytes: bytes as u64, count: tensors as u64, wall: begin.elapsed() }
}

impl Drop for VtaSegment {
    fn drop(&mut self) {
        if let Some(loaded) = self.loaded.take() {
            // The memory of a device that fails here is lost with the device; there is nobody to tell.
            let _ = lock(&self.device).unload(loaded);
        }
    }
}

/// A panic of another thread that holds the lock leaves a device that reports its own state.
fn lock(device: &Mutex<VtaDevice>) -> MutexGuard<'_, VtaDevice> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}
