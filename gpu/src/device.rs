//! A device that runs kernels: a GPU under the CUDA driver, or the PTX simulator.
//!
//! Whatever the device, a launch is the same value, arguments are laid out the same way, and a failure is one of five errors.

mod cuda;
mod launch;
mod parameters;
mod pinned;
mod recording;
mod sim;

pub use launch::{Args, Launch, Swizzle, TensorMap};
pub use pinned::Pinned;
pub use recording::Recording;
pub use sim::Simulation;

use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Compiler, Instance};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tandem_ops::def::Grade;
use tandem_tensor::{DType, Shape, Tensor};

/// What plans need to know of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Name.
    pub name: String,
    /// Compute capability: (9, 0) for Hopper.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that one block may have.
    pub shared_per_block: u32,
    /// Bytes of the second-level cache.
    pub l2: u32,
}

impl Facts {
    /// An H200 with 132 multiprocessors.
    pub fn h200() -> Facts {
        Facts {
            name: "NVIDIA H200".into(),
            capability: (9, 0),
            multiprocessors: 132,
            shared_per_block: 227 * 1024,
            l2: 60 << 20,
        }
    }

    /// What a kernel is compiled for that needs at least `least`: machine code runs on devices of one generation alone. None where
    /// there is no such device.
    pub fn arch(&self, least: Arch) -> Option<Arch> {
        match self.capability {
            (9, 0) => Some(Arch::Sm90a),
            (8, _) if least == Arch::Sm80 => Some(Arch::Sm80),
            _ => None,
        }
    }

    /// How far a kernel goes here that needs at least `least`.
    pub fn grade(&self, least: Arch) -> Grade {
        match (self.arch(least), least) {
            (Some(_), _) => Grade::Native,
            (None, Arch::Sm80) => Grade::ReferenceOnly("the kernel is for compute capabilities 8 and 9.0"),
            (None, Arch::Sm90a) => Grade::ReferenceOnly("the kernel is for compute capability 9.0"),
        }
    }

    /// Streaming multiprocessors to share work among: one at least, whatever the device says.
    pub fn shares(&self) -> usize {
        self.multiprocessors.max(1) as usize
    }
}

/// What reports say of a GPU.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Details {
    /// The version of CUDA that the driver knows, as 13.0.
    pub driver_cuda: String,
    /// Its place, as `00000000:3B:00.0`, by which other tools know it.
    pub pci: String,
    /// Bytes of memory.
    pub memory: u64,
    /// The highest clock of the multiprocessors that the driver tells, in kilohertz.
    pub clock_khz: Option<u32>,
    /// The highest clock of the memory that the driver tells, in kilohertz.
    pub memory_clock_khz: Option<u32>,
}

/// A device. Clones share it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    facts: Facts,
    compiler: Arc<Compiler>,
    backend: Backend,
    functions: Mutex<HashMap<String, Function>>,
    texts: Mutex<BTreeMap<&'static str, Arc<str>>>,
    recorder: Mutex<Option<recording::Recorder>>,
}

enum Backend {
    Cuda(Arc<crate::sys::driver::Driver>),
    Sim(Box<sim::Simulator>),
}

/// A kernel that is ready to be launched on the device that it comes from.
#[derive(Clone)]
pub struct Function(Arc<Loaded>);

struct Loaded {
    instance: Instance,
    code: Code,
}

enum Code {
    Cuda(cuda::Code),
    Sim(sim::Code),
}

impl Function {
    /// What it was compiled from.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }
}

/// Elements in the memory of a device. Clones and parts share the memory, which is freed with the last of them.
#[derive(Clone)]
pub struct Buffer {
    device: Device,
    memory: Arc<Room>,
    address: u64,
    dtype: DType,
    elements: usize,
}

/// Memory of a device, freed at the end.
struct Room {
    device: Device,
    address: u64,
}

/// A point in the order of a device's work.
pub struct Event {
    device: Device,
    event: Option<cudarc::driver::CudaEvent>,
}

/// Launches that were recorded, to be repeated with the same arguments.
pub struct Graph {
    device: Device,
    recorded: Recorded,
}

enum Recorded {
    Cuda(cudarc::driver::CudaGraph),
    Sim(Vec<(Function, Launch)>),
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("backend", &self.backend_name()).field("facts", &self.0.facts).finish()
    }
}

impl Device {
    /// A GPU of this machine, counted from 0.
    ///
    /// # Errors
    /// Unavailable, where there is no driver or no such device.
    pub fn cuda(index: usize, compiler: Arc<Compiler>) -> Result<Device> {
        Device::with_driver(None, index, compiler)
    }

    /// A device of the driver in that file, which has the functions of `libcuda`.
    ///
    /// # Errors
    /// As [`Device::cuda`].
    pub fn cuda_of(driver: &Path, index: usize, compiler: Arc<Compiler>) -> Result<Device> {
        Device::with_driver(Some(driver), index, compiler)
    }

    fn with_driver(driver: Option<&Path>, index: usize, compiler: Arc<Compiler>) -> Result<Device> {
        let driver = crate::sys::driver::Driver::open(driver, index)?;
        let facts = cuda::facts(&driver)?;
        Ok(Device::new(facts, compiler, Backend::Cuda(Arc::new(driver))))
    }

    /// The simulator, which runs the same kernels from their PTX.
    pub fn sim(compiler: Arc<Compiler>, simulation: Simulation) -> Device {
        let facts = simulation.facts.clone();
        Device::new(facts, compiler, Backend::Sim(Box::new(sim::Simulator::new(simulation))))
    }

    fn new(facts: Facts, compiler: Arc<Compiler>, backend: Backend) -> Device {
        let (functions, texts, recorder) = (Mutex::default(), Mutex::default(), Mutex::default());
        Device(Arc::new(Inner { facts, compiler, backend, functions, texts, recorder }))
    }

    /// What plans need to know of it.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// `cuda`, or `ptx` for the simulator.
    pub fn backend_name(&self) -> &'static str {
        match &self.0.backend {
            Backend::Cuda(_) => "cuda",
            Backend::Sim(_) => "ptx",
        }
    }

    /// Compiles that file with another text from now on; what was made ready before stays.
    pub fn replace_source(&self, name: &'static str, text: &str) {
        locked(&self.0.texts).insert(name, text.into());
        locked(&self.0.functions).retain(|_, function| function.instance().source.name != name);
    }

    /// Makes a kernel ready; the second time it is there already.
    ///
    /// # Errors
    /// Invalid with the compiler's log; Unsupported for an architecture that the device does not have.
    pub fn function(&self, instance: &Instance) -> Result<Function> {
        let arch = self.0.facts.arch(instance.arch).ok_or_else(|| {
            let (major, minor) = self.0.facts.capability;
            let id = instance.id();
            GpuError::Unsupported(format!(
                "{id} does not run on compute capability {major}.{minor} of {}",
                self.0.facts.name
            ))
        })?;
        let instance = &Instance { arch, ..instance.clone() };
        let id = instance.id();
        if let Some(function) = locked(&self.0.functions).get(&id) {
            return Ok(function.clone());
        }
        let text = locked(&self.0.texts).get(instance.source.name).cloned();
        let text = text.as_deref().unwrap_or(instance.source.text);
        let compiled = self.0.compiler.compile_text(instance, text)?;
        let code = match &self.0.backend {
            Backend::Cuda(driver) => Code::Cuda(cuda::Code::load(driver, &compiled, instance.kernel)?),
            Backend::Sim(_) => Code::Sim(sim::Code::parse(&compiled, instance)?),
        };
        let function = Function(Arc::new(Loaded { instance: instance.clone(), code }));
        locked(&self.0.functions).insert(id, function.clone());
        Ok(function)
    }

    /// Room for elements, whose values are undefined.
    ///
    /// # Errors
    /// Exhausted, where there is no such room.
    pub fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        let bytes = elements.checked_mul(dtype.bytes()).filter(|&bytes| bytes <= isize::MAX as usize);
        let bytes =
            bytes.ok_or_else(|| GpuError::Exhausted(format!("{elements} elements of {dtype} fit no device")))?;
        // A kernel may be handed an empty operand; its address must still be one.
        let address = match &self.0.backend {
            Backend::Cuda(driver) => driver.alloc(bytes.max(1))?,
            Backend::Sim(simulator) => simulator.alloc(bytes.max(1))?,
        };
        let memory = Arc::new(Room { device: self.clone(), address });
        Ok(Buffer { device: self.clone(), memory, address, dtype, elements })
    }

    /// Room for elements that are zero.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn zeros(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        let buffer = self.alloc(dtype, elements)?;
        buffer.zero()?;
        Ok(buffer)
    }

    /// The elements of a tensor in the device's memory.
    ///
    /// # Errors
    /// As [`Device::alloc`].
    pub fn upload(&self, tensor: &Tensor) -> Result<Buffer> {
        let buffer = self.alloc(tensor.dtype(), tensor.len())?;
        buffer.write(&tensor.to_le_bytes())?;
        Ok(buffer)
    }

    /// Launches a kernel; it may still be running when this returns.
    ///
    /// # Errors
    /// Invalid, where extents or arguments are not the kernel's; Fault, where it or one before it failed.
    pub fn launch(&self, function: &Function, launch: &Launch) -> Result<()> {
        launch.check(&function.0.instance, &self.0.facts)?;
        match (&self.0.backend, &function.0.code) {
            (Backend::Cuda(driver), Code::Cuda(code)) => code.launch(driver, launch),
            (Backend::Sim(simulator), Code::Sim(code)) => simulator.launch(code, function, launch),
            _ => Err(GpuError::Invalid(format!("{} is a function of another device", function.0.instance.id()))),
        }?;
        if let Some(recorder) = &mut *locked(&self.0.recorder) {
            recorder.launched(function, launch);
        }
        Ok(())
    }

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// Fault, where some of it failed.
    pub fn synchronise(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Cuda(driver) => driver.synchronise(),
            Backend::Sim(_) => Ok(()),
        }
    }

    /// The descriptor of a tensor for TMA.
    ///
    /// # Errors
    /// Invalid, where the hardware's rules of alignment and size are broken.
    pub fn tensor_map(&self, map: &TensorMap<'_>) -> Result<[u8; 128]> {
        map.check()?;
        match &self.0.backend {
            Backend::Cuda(driver) => cuda::tensor_map(driver, map),
            Backend::Sim(_) => sim::tensor_map(map),
        }
    }

    /// Records the launches of a closure, which are not executed then. Buffers have to live as long as the graph is used.
    ///
    /// # Errors
    /// The closure's, or the device's.
    pub fn capture(&self, record: impl FnOnce(&Device) -> Result<()>) -> Result<Graph> {
        let recorded = match &self.0.backend {
            Backend::Cuda(driver) => {
                driver.begin_capture()?;
                let done = record(self);
                let graph = driver.end_capture();
                done?;
                Recorded::Cuda(graph?)
            }
            Backend::Sim(simulator) => Recorded::Sim(simulator.capture(|| record(self))?),
        };
        Ok(Graph { device: self.clone(), recorded })
    }

    /// A point behind all that was asked for so far.
    ///
    /// # Errors
    /// The device's.
    pub fn record(&self) -> Result<Event> {
        let event = match &self.0.backend {
            Backend::Cuda(driver) => Some(driver.record()?),
            Backend::Sim(_) => None,
        };
        Ok(Event { device: self.clone(), event })
    }

    /// What the simulator has counted since this was asked last; nothing on a GPU.
    pub fn take_stats(&self) -> Option<tandem_ptx::Stats> {
        match &self.0.backend {
            Backend::Cuda(_) => None,
            Backend::Sim(simulator) => Some(simulator.take_stats()),
        }
    }

    /// What reports say of it; nothing of the simulator.
    ///
    /// # Errors
    /// The driver's.
    pub fn details(&self) -> Result<Option<Details>> {
        match &self.0.backend {
            Backend::Cuda(driver) => cuda::details(driver).map(Some),
            Backend::Sim(_) => Ok(None),
        }
    }

    fn same(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Buffer {
    /// The address on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The address of an element.
    pub fn at(&self, element: usize) -> u64 {
        self.address + (element * self.dtype.bytes()) as u64
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// So many elements from a byte of this buffer on, in the same memory.
    ///
    /// # Errors
    /// Invalid, where they do not lie in the buffer.
    pub fn part(&self, byte: usize, dtype: DType, elements: usize) -> Result<Buffer> {
        let end = elements.checked_mul(dtype.bytes()).and_then(|bytes| bytes.checked_add(byte));
        if end.is_none_or(|end| end > self.bytes()) {
            let text = format!(
                "{elements} elements of {dtype} from byte {byte} on are not in a buffer of {} bytes",
                self.bytes()
            );
            return Err(GpuError::Invalid(text));
        }
        let memory = Arc::clone(&self.memory);
        Ok(Buffer { device: self.device.clone(), memory, address: self.address + byte as u64, dtype, elements })
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Invalid for another number of bytes; the device's.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.bytes() {
            let text = format!("{} bytes do not fill a buffer of {}", bytes.len(), self.bytes());
            return Err(GpuError::Invalid(text));
        }
        match &self.device.0.backend {
            _ if bytes.is_empty() => Ok(()),
            Backend::Cuda(driver) => driver.write(self.address, bytes),
            Backend::Sim(simulator) => simulator.write(self.address, bytes),
        }
    }

    /// Sets all bytes to zero.
    ///
    /// # Errors
    /// The device's.
    pub fn zero(&self) -> Result<()> {
        match &self.device.0.backend {
            _ if self.is_empty() => Ok(()),
            Backend::Cuda(driver) => driver.zero(self.address, self.bytes()),
            Backend::Sim(simulator) => simulator.write(self.address, &vec![0; self.bytes()]),
        }
    }

    /// The elements as a tensor, once all work that was asked for before is done.
    ///
    /// # Errors
    /// Invalid for a shape with another number of elements; Fault, where the work failed.
    pub fn download(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let mut bytes = vec![0; self.bytes()];
        match &self.device.0.backend {
            _ if bytes.is_empty() => {}
            Backend::Cuda(driver) => driver.read(self.address, &mut bytes)?,
            Backend::Sim(simulator) => simulator.read(self.address, &mut bytes)?,
        }
        Tensor::from_le_bytes(self.dtype, shape, &bytes).map_err(|error| GpuError::Invalid(error.to_string()))
    }

    fn bytes(&self) -> usize {
        self.elements * self.dtype.bytes()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.device.free(self.address);
    }
}

impl Event {
    /// Milliseconds from this event to a later one; none on the simulator, which has no clock.
    ///
    /// # Errors
    /// Invalid for an event of another device; Fault, where the work between them failed.
    pub fn elapsed_ms(&self, end: &Event) -> Result<Option<f32>> {
        if !self.device.same(&end.device) {
            return Err(GpuError::Invalid("the two events are of two devices".into()));
        }
        match (&self.device.0.backend, &self.event, &end.event) {
            (Backend::Cuda(driver), Some(begin), Some(end)) => driver.elapsed_ms(begin, end).map(Some),
            _ => Ok(None),
        }
    }
}

impl Graph {
    /// Runs the recorded launches in their order.
    ///
    /// # Errors
    /// As [`Device::launch`].
    pub fn launch(&self) -> Result<()> {
        match (&self.recorded, &self.device.0.backend) {
            (Recorded::Cuda(graph), Backend::Cuda(driver)) => driver.launch_graph(graph),
            (Recorded::Sim(all), _) => {
                all.iter().try_for_each(|(function, launch)| self.device.launch(function, launch))
            }
            _ => Err(GpuError::Invalid("the graph is of another device".into())),
        }
    }
}

/// The value of a lock, also after a panic of another thread: what is kept is whole between two statements.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_is_of_the_generation_of_the_device() {
        let of = |capability| Facts { capability, ..Facts::h200() };
        assert_eq!(of((9, 0)).arch(Arch::Sm80), Some(Arch::Sm90a));
        assert_eq!(of((8, 6)).arch(Arch::Sm80), Some(Arch::Sm80));
        for capability in [(7, 5), (8, 9), (10, 0)] {
            assert_eq!(of(capability).arch(Arch::Sm90a), None);
        }
        assert_eq!(of((12, 0)).arch(Arch::Sm80), None);
        assert_eq!(of((8, 0)).grade(Arch::Sm80), Grade::Native);
        for (capability, least) in [((8, 0), Arch::Sm90a), ((7, 5), Arch::Sm80), ((12, 0), Arch::Sm90a)] {
            assert!(matches!(of(capability).grade(least), Grade::ReferenceOnly(_)));
        }
    }
}
