//! The accelerator backend: compile, load once, then pack, run and unpack.

use crate::{Backend, Executable, RuntimeError, Work};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tandem_driver::{Counters, Device, Loaded};
use tandem_graph::Graph;
use tandem_isa::Program;
use tandem_jit::{Binding, compile};
use tandem_tensor::Tensor;

/// Longest wait for one launch. A simulator computes inside the wait, so this is far above any real run.
const LAUNCH_LIMIT: Duration = Duration::from_secs(600);

/// The accelerator on some bus. Segments of one plan share it.
pub struct VtaBackend {
    device: Arc<Mutex<Device>>,
    programs: Vec<Program>,
}

struct VtaSegment {
    device: Arc<Mutex<Device>>,
    loaded: Option<Loaded>,
    inputs: Vec<Binding>,
    outputs: Vec<Binding>,
    samples: usize,
}

impl VtaBackend {
    /// A backend on an open device.
    pub fn new(device: Device) -> Self {
        Self { device: Arc::new(Mutex::new(device)), programs: Vec::new() }
    }

    /// The programs compiled so far, in order.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }
}

/// The device, even if another thread panicked while it held it: every launch starts from programmed registers.
fn lock(device: &Mutex<Device>) -> MutexGuard<'_, Device> {
    device.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Backend for VtaBackend {
    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        let mut device = lock(&self.device);
        let compiled = compile(segment, device.config())?;
        let loaded = device.load(&compiled.program)?;
        self.programs.push(compiled.program);
        Ok(Box::new(VtaSegment {
            device: Arc::clone(&self.device),
            loaded: Some(loaded),
            inputs: compiled.inputs,
            outputs: compiled.outputs,
            samples: compiled.samples,
        }))
    }
}

impl Executable for VtaSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<(Vec<Vec<Tensor>>, Work), RuntimeError> {
        let mut device = lock(&self.device);
        let Some(loaded) = &self.loaded else {
            return Err(RuntimeError::Input("the segment has been unloaded".into()));
        };
        let mut work = Work { counters: Some(Counters::default()), bytes_copied: 0 };
        let mut results: Vec<Vec<Tensor>> = Vec::with_capacity(samples.len());
        for batch in samples.chunks(self.samples.max(1)) {
            for (k, binding) in self.inputs.iter().enumerate() {
                let column: Option<Vec<&Tensor>> = batch.iter().map(|sample| sample.get(k)).collect();
                let column =
                    column.ok_or_else(|| RuntimeError::Input(format!("input '{}' is missing", binding.name)))?;
                let bytes = binding.pack(&column)?;
                device.write(loaded, binding.section, 0, &bytes)?;
                work.bytes_copied += bytes.len() as u64;
            }
            let counters = device.run(loaded, LAUNCH_LIMIT)?;
            if let Some(sum) = &mut work.counters {
                *sum += counters;
            }
            let first = results.len();
            results.resize_with(first + batch.len(), Vec::new);
            for binding in &self.outputs {
                let bytes = device.read(loaded, binding.section, 0, binding.bytes())?;
                work.bytes_copied += bytes.len() as u64;
                for (result, tensor) in results[first..].iter_mut().zip(binding.unpack(&bytes, batch.len())?) {
                    result.push(tensor);
                }
            }
        }
        Ok((results, work))
    }
}

impl Drop for VtaSegment {
    fn drop(&mut self) {
        if let Some(loaded) = self.loaded.take() {
            // A device that fails here has nothing left to lose; the next use of it reports the fault.
            let _ = lock(&self.device).unload(loaded);
        }
    }
}
