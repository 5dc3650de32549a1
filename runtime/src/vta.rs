//! The accelerator as a backend, on any bus.

use crate::backend::{Copied, SLOTS};
use crate::profile::median;
use crate::{Backend, Executable, Phased, RuntimeError, Taken};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tandem_driver::{Counters, Device as VtaDevice, Loaded};
use tandem_graph::{Graph, Node, NodeId};
use tandem_isa::timing::DramModel;
use tandem_isa::{HwConfig, Program};
use tandem_jit::tune::Tuned;
use tandem_jit::{Binding, Effort, JitError};
use tandem_plan::{Device, alone, extract};
use tandem_tensor::Tensor;

/// Time allowed for one run of a program, unless [`VtaBackend::with_timeout`] says otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Runs of a node that is measured at most, and the time after which no further one begins.
const RUNS: usize = 9;
const PATIENCE: Duration = Duration::from_millis(20);

/// A device with the compiler in front of it.
pub struct VtaBackend {
    index: usize,
    device: Arc<Shared>,
    config: HwConfig,
    timeout: Duration,
    tuned: Arc<Tuned>,
    /// The memory for which other schedules are searched.
    searched: Option<DramModel>,
}

/// A device that several segments use, maybe from several threads.
struct Shared {
    device: Mutex<VtaDevice>,
    /// Whether a run is between its start and its end.
    runs: Mutex<bool>,
    ended: Condvar,
}

impl VtaBackend {
    /// A backend on an open device, the first of a plan.
    pub fn new(device: VtaDevice) -> VtaBackend {
        let config = device.config().clone();
        let device = Shared { device: Mutex::new(device), runs: Mutex::new(false), ended: Condvar::new() };
        let tuned = Arc::default();
        VtaBackend { index: 0, device: Arc::new(device), config, timeout: TIMEOUT, tuned, searched: None }
    }

    /// The same as the accelerator of that index in a plan.
    pub fn with_index(self, index: usize) -> VtaBackend {
        VtaBackend { index, ..self }
    }

    /// The same with another time limit for one run of a program.
    pub fn with_timeout(self, timeout: Duration) -> VtaBackend {
        VtaBackend { timeout, ..self }
    }

    /// The same with schedules that a search has found, for the layers that they are of.
    pub fn with_tuned(self, tuned: Arc<Tuned>) -> VtaBackend {
        VtaBackend { tuned, ..self }
    }

    /// The same with the schedules, of layers that nothing else is known of, that are predicted to be fastest with a memory: it takes
    /// seconds a segment.
    pub fn with_search(self, memory: DramModel) -> VtaBackend {
        VtaBackend { searched: Some(memory), ..self }
    }

    /// The configuration of the device.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }
}

impl Backend for VtaBackend {
    fn device(&self) -> Device {
        Device::Vta(self.index)
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
    /// Runs a segment that is not kept, and tells what the device counted.
    pub(crate) fn run_once(
        &self,
        segment: &Graph,
        samples: &[Vec<Tensor>],
    ) -> Result<(Vec<Vec<Tensor>>, Counters), RuntimeError> {
        let mut segment = self.load(segment)?;
        let results = segment.run(samples)?;
        Ok((results, segment.counters))
    }

    fn load(&self, segment: &Graph) -> Result<VtaSegment, RuntimeError> {
        let mut options = self.tuned.options(segment, &self.config);
        if let Some(memory) = self.searched {
            options = tandem_jit::search(segment, &self.config, memory, &options, &Effort::default())?;
        }
        let compiled = tandem_jit::compile_with(segment, &self.config, &options)?;
        let loaded = self.device.lock().load(&compiled.program)?;
        Ok(VtaSegment {
            device: Arc::clone(&self.device),
            program: compiled.program,
            slots: [Slot { loaded: Some(loaded), ..Slot::default() }, Slot::default(), Slot::default()],
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
    device: Arc<Shared>,
    program: Program,
    slots: [Slot; SLOTS],
    inputs: Vec<Binding>,
    outputs: Vec<Binding>,
    samples: usize,
    timeout: Duration,
    counters: Counters,
    /// For every input, and then for every output.
    copies: Vec<Copied>,
}

/// The program in the device's memory, once for each run that can be under way.
#[derive(Default)]
struct Slot {
    /// Those behind the first come when so many runs are to be under way.
    loaded: Option<Loaded>,
    /// Samples that are staged.
    samples: usize,
    runs: bool,
}

impl Executable for VtaSegment {
    fn samples(&self) -> usize {
        self.samples
    }

    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let mut results: Vec<Vec<Tensor>> = Vec::with_capacity(samples.len());
        for group in samples.chunks(self.samples) {
            self.stage(0, group)?;
            self.start(0)?;
            self.wait(0)?;
            results.append(&mut self.collect(0)?);
        }
        Ok(results)
    }

    /// A device without room for the program once more has fewer runs under way.
    fn slots(&mut self, most: usize) -> usize {
        for slot in self.slots.iter_mut().take(most).filter(|slot| slot.loaded.is_none()) {
            match self.device.lock().load(&self.program) {
                Ok(loaded) => slot.loaded = Some(loaded),
                Err(_) => break,
            }
        }
        self.slots.iter().take_while(|slot| slot.loaded.is_some()).count().min(most)
    }

    fn phased(&mut self) -> Option<&mut dyn Phased> {
        Some(self)
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

impl Phased for VtaSegment {
    fn stage(&mut self, slot: usize, samples: &[Vec<Tensor>]) -> Result<(), RuntimeError> {
        let slot = &mut self.slots[slot % SLOTS];
        let loaded = slot.loaded.as_ref().ok_or_else(empty)?;
        for (i, binding) in self.inputs.iter().enumerate() {
            let tensors: Option<Vec<&Tensor>> = samples.iter().map(|sample| sample.get(i)).collect();
            let missing = || RuntimeError::Invalid(format!("a sample has no tensor for input {i} of the segment"));
            let begin = Instant::now();
            let bytes = binding.pack(&tensors.ok_or_else(missing)?)?;
            self.device.lock().write(loaded, binding.section, 0, &bytes)?;
            self.copies[i].add(copy(bytes.len(), samples.len(), begin));
        }
        slot.samples = samples.len();
        Ok(())
    }

    fn start(&mut self, slot: usize) -> Result<(), RuntimeError> {
        let slot = &mut self.slots[slot % SLOTS];
        let loaded = slot.loaded.as_ref().ok_or_else(empty)?;
        self.device.enter();
        slot.runs = true;
        self.device.lock().start(loaded).inspect_err(|_| slot.leave(&self.device))?;
        Ok(())
    }

    fn wait(&mut self, slot: usize) -> Result<Option<u64>, RuntimeError> {
        let slot = &mut self.slots[slot % SLOTS];
        let loaded = slot.loaded.as_ref().ok_or_else(empty)?;
        let waited = self.device.lock().wait(loaded, self.timeout);
        slot.leave(&self.device);
        let counters = waited?;
        self.counters += counters;
        Ok(Some(counters.cycles))
    }

    fn collect(&mut self, slot: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let slot = &mut self.slots[slot % SLOTS];
        let count = std::mem::take(&mut slot.samples);
        let loaded = slot.loaded.as_ref().ok_or_else(empty)?;
        let mut results: Vec<Vec<Tensor>> = (0..count).map(|_| Vec::with_capacity(self.outputs.len())).collect();
        for (i, binding) in self.outputs.iter().enumerate() {
            let begin = Instant::now();
            let bytes = self.device.lock().read(loaded, binding.section, 0, binding.bytes())?;
            for (result, tensor) in results.iter_mut().zip(binding.unpack(&bytes, count)?) {
                result.push(tensor);
            }
            self.copies[self.inputs.len() + i].add(copy(bytes.len(), count, begin));
        }
        Ok(results)
    }
}

fn empty() -> RuntimeError {
    RuntimeError::Invalid("the slot of the device holds no program".to_owned())
}

fn copy(bytes: usize, tensors: usize, begin: Instant) -> Copied {
    Copied { bytes: bytes as u64, count: tensors as u64, wall: begin.elapsed() }
}

impl Slot {
    /// Lets the next run in.
    fn leave(&mut self, device: &Shared) {
        if std::mem::take(&mut self.runs) {
            device.leave();
        }
    }
}

impl Drop for VtaSegment {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(loaded) = slot.loaded.take() {
                // The memory of a device that fails here is lost with the device; there is nobody to tell.
                let _ = self.device.lock().unload(loaded);
            }
            slot.leave(&self.device);
        }
    }
}

impl Shared {
    /// A panic of another thread that holds the lock leaves a device that reports its own state.
    fn lock(&self) -> MutexGuard<'_, VtaDevice> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing runs, and keeps others from starting anything.
    fn enter(&self) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.ended.wait_while(runs, |runs| *runs);
        *free.unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn leave(&self) {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.ended.notify_one();
    }
}
