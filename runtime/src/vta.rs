//! The accelerator as a backend, on any bus.

use crate::{Backend, Executable, RuntimeError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tandem_driver::{Counters, Device as VtaDevice, Loaded};
use tandem_graph::{Graph, Node};
use tandem_isa::HwConfig;
use tandem_jit::Binding;
use tandem_plan::Device;
use tandem_tensor::Tensor;

/// Time allowed for one run of a program, unless [`VtaBackend::with_timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

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

    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        let compiled = tandem_jit::compile(segment, &self.config)?;
        let loaded = lock(&self.device).load(&compiled.program)?;
        Ok(Box::new(VtaSegment {
            device: Arc::clone(&self.device),
            loaded: Some(loaded),
            inputs: compiled.inputs,
            outputs: compiled.outputs,
            samples: compiled.samples.max(1),
            timeout: self.timeout,
            counters: Counters::default(),
            copied: 0,
        }))
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
    copied: u64,
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

    fn bytes_copied(&self) -> u64 {
        self.copied
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
            let bytes = binding.pack(&tensors.ok_or_else(missing)?)?;
            device.write(loaded, binding.section, 0, &bytes)?;
            self.copied += bytes.len() as u64;
        }
        self.counters += device.run(loaded, self.timeout)?;
        let mut results: Vec<Vec<Tensor>> = group.iter().map(|_| Vec::with_capacity(self.outputs.len())).collect();
        for binding in &self.outputs {
            let bytes = device.read(loaded, binding.section, 0, binding.bytes())?;
            self.copied += bytes.len() as u64;
            for (result, tensor) in results.iter_mut().zip(binding.unpack(&bytes, group.len())?) {
                result.push(tensor);
            }
        }
        Ok(results)
    }
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
