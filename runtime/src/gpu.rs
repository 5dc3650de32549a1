//! A GPU as a backend, or the simulator of its kernels.
//!
//! A node runs where it is an instance of a definition ([`tandem_ops::defined`]) that has kernels; a reshape is no work at all. All
//! values of a segment lie in one arena, in the places of [`tandem_graph::pass::memory`], and constants beside it. Codes of `u8` are
//! those of `i8` there: they change sides as they are copied.

use crate::backend::Copied;
use crate::profile::median;
use crate::{Backend, Executable, RuntimeError, Taken};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tandem_gpu::{Buffer, Device as Gpu, Limits, Operands, Steps};
use tandem_graph::pass::memory::{self, Options};
use tandem_graph::{Graph, Node, NodeId, ValueId};
use tandem_ops::def::{Grade, Tensors};
use tandem_ops::{Defined, Source, defined, signed, unsigned};
use tandem_plan::{Device, alone, extract};
use tandem_tensor::{DType, Tensor, TensorType};

/// Places in the arena, as an allocation of its own would have them.
const ALIGN: usize = 256;

/// What a kernel takes at least on a stream, for projections: the order of what `tandem bench peaks` measures as `launch`.
const LAUNCH: Duration = Duration::from_micros(3);

/// Runs of a node that is measured at most, and the time after which no further one begins.
const RUNS: usize = 9;
const PATIENCE: Duration = Duration::from_millis(20);

/// A GPU that runs the kernels of `tandem_gpu`.
pub struct GpuBackend {
    gpu: Gpu,
    index: usize,
    limits: Option<Limits>,
}

impl GpuBackend {
    /// A backend on a device, the first GPU of a plan. Projections are by the limits that are known of its name.
    pub fn new(gpu: Gpu) -> GpuBackend {
        let limits = Limits::of(&gpu.facts().name).ok();
        GpuBackend { gpu, index: 0, limits }
    }

    /// The same as the GPU of that index in a plan.
    pub fn with_index(self, index: usize) -> GpuBackend {
        GpuBackend { index, ..self }
    }

    /// The same with projections by these limits.
    pub fn with_limits(self, limits: Limits) -> GpuBackend {
        GpuBackend { limits: Some(limits), ..self }
    }

    /// The definition that a node is an instance of; `None` for one that moves nothing.
    ///
    /// # Errors
    /// The reason why it does not run here, as a phrase.
    fn instance(&self, graph: &Graph, node: &Node) -> Result<Option<Defined>, String> {
        let &[result] = node.outputs.as_slice() else { return Err("it has several results".into()) };
        if node.op.is_alias() {
            let constant = node.inputs.first().is_none_or(|&x| graph.constant(x).is_some());
            return if constant { Err("its operand is a constant".into()) } else { Ok(None) };
        }
        let operands: Vec<&TensorType> = node.inputs.iter().map(|&id| graph.ty(id)).collect();
        let instance = defined(&node.op, graph.arith, &operands, graph.ty(result))?;
        match tandem_gpu::grade(&self.gpu, instance.operation.def()) {
            Grade::Native | Grade::Split(_) => Ok(Some(instance)),
            Grade::ReferenceOnly(why) => Err(why.into()),
        }
    }

    fn load(&self, segment: &Graph) -> Result<GpuSegment, RuntimeError> {
        let (values, arena) = self.values(segment)?;
        let mut loading = Loading { gpu: &self.gpu, segment, values, constants: HashMap::new(), given: Vec::new() };
        let mut launches = Vec::new();
        for node in &segment.nodes {
            let unsupported = |why: String| {
                RuntimeError::Gpu(tandem_gpu::GpuError::Unsupported(format!("node '{}': {why}", node.name)))
            };
            if let Some(instance) = self.instance(segment, node).map_err(unsupported)? {
                let operands = loading.operands(node, &instance)?;
                let steps = tandem_gpu::steps(&self.gpu, instance.operation.def(), &instance.dims, &operands)?;
                let steps = steps.ok_or_else(|| unsupported("there is no kernel of the definition".into()))?;
                let fixed = node.inputs.iter().skip(1).all(|&id| segment.constant(id).is_some());
                if fixed {
                    steps.prepare(&self.gpu)?;
                }
                launches.push((steps, fixed));
            }
        }
        let place = |id: &ValueId| {
            let constant = segment.constant(*id).map(|tensor| Place::Constant(tensor.as_ref().clone()));
            let found = constant.or_else(|| loading.values.get(id).cloned().map(Place::Device));
            found.ok_or_else(|| RuntimeError::Invalid(format!("value {} of the segment is made by nobody", id.0)))
        };
        let ends = |ids: &[ValueId]| -> Result<Vec<End>, RuntimeError> {
            ids.iter().map(|id| Ok(End { ty: segment.ty(*id).clone(), place: place(id)? })).collect()
        };
        let (inputs, outputs) = (ends(&segment.inputs)?, ends(&segment.outputs)?);
        Ok(GpuSegment {
            gpu: self.gpu.clone(),
            copies: vec![Copied::default(); inputs.len() + outputs.len()],
            inputs,
            outputs,
            launches,
            _memory: loading.constants.into_values().chain(loading.given).chain(arena).collect(),
        })
    }

    /// The places of all values in an arena, and the arena; none where there is no value.
    fn values(&self, segment: &Graph) -> Result<(HashMap<ValueId, Buffer>, Option<Buffer>), RuntimeError> {
        let plan = memory::plan(segment, &Options { align: ALIGN, in_place: false, interface: true });
        if plan.peak == 0 {
            return Ok((HashMap::new(), None));
        }
        let arena = self.gpu.alloc(DType::I8, plan.peak)?;
        let mut values = HashMap::new();
        for buffer in &plan.buffers {
            for &id in &buffer.values {
                let ty = segment.ty(id);
                values.insert(id, arena.part(buffer.offset, on_device(ty.dtype), ty.elements())?);
            }
        }
        Ok((values, Some(arena)))
    }

    fn measure_node(&self, node: &Graph) -> Result<Taken, RuntimeError> {
        let mut segment = self.load(node)?;
        let inputs = node.zero_inputs();
        segment.run_one(&inputs)?;
        let (mut walls, mut runs) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while walls.is_empty() || walls.len() < RUNS && start.elapsed() < PATIENCE {
            let copies = segment.copies.clone();
            segment.run_one(&inputs)?;
            runs.push(segment.copies.iter().zip(&copies).map(|(now, before)| now.since(before, 1)).collect::<Vec<_>>());
            let begin = Instant::now();
            segment.launch()?;
            segment.gpu.synchronise()?;
            walls.push(begin.elapsed());
        }
        let mut copies = runs.last().cloned().unwrap_or_default();
        for (at, copied) in copies.iter_mut().enumerate() {
            copied.wall = median(runs.iter().map(|run| run[at].wall).collect()).unwrap_or_default();
        }
        Ok(Taken { wall: median(walls).unwrap_or_default(), cycles: None, copies })
    }
}

impl Backend for GpuBackend {
    fn device(&self) -> Device {
        Device::Gpu(self.index)
    }

    fn supports(&self, graph: &Graph, node: &Node) -> Result<(), String> {
        self.instance(graph, node).map(|_| ())
    }

    /// Every node as a segment of its own; the first run does not count. Times are of this host: on the simulator they say nothing
    /// of a GPU, which [`Backend::project`] does.
    fn measure(&mut self, graph: &Graph, done: &mut dyn FnMut()) -> Result<Vec<Result<Taken, String>>, RuntimeError> {
        let mut all = Vec::with_capacity(graph.nodes.len());
        for (n, node) in graph.nodes.iter().enumerate() {
            all.push(match self.supports(graph, node) {
                Ok(()) => Ok(self.measure_node(&extract(graph, &alone(graph, NodeId(n))))?),
                Err(reason) => Err(reason),
            });
            done();
        }
        Ok(all)
    }

    /// What a node would take on the device at the least, projected: the work of its definition at the limits of the device, by
    /// arithmetic or by memory, whichever takes longer, and one launch. `None` where it does not run here, or no limits are known.
    ///
    /// It is no measurement: kernels do not reach the limits, and some nodes take more than one launch.
    fn project(&self, graph: &Graph, node: &Node) -> Option<Duration> {
        let limits = self.limits.as_ref()?;
        let Some(instance) = self.instance(graph, node).ok()? else { return Some(Duration::ZERO) };
        // The work of these definitions follows from extents alone.
        let work = instance.operation.work(&instance.dims, &Tensors::new());
        let flops = match graph.ty(*node.inputs.first()?).dtype {
            DType::BF16 | DType::F16 => limits.bf16_flops,
            _ => limits.f32_flops,
        };
        let parts = [
            work.dram_bytes as f64 / limits.memory_bytes,
            work.int_ops as f64 / limits.int8_ops,
            work.flops as f64 / flops,
        ];
        Some(LAUNCH + Duration::from_secs_f64(parts.into_iter().fold(0.0, f64::max)))
    }

    fn compile(&mut self, segment: &Graph) -> Result<Box<dyn Executable>, RuntimeError> {
        Ok(Box::new(self.load(segment)?))
    }
}

/// The element type that values have on the device.
fn on_device(dtype: DType) -> DType {
    if dtype == DType::U8 { DType::I8 } else { dtype }
}

/// A segment on its way to the device.
struct Loading<'a> {
    gpu: &'a Gpu,
    segment: &'a Graph,
    /// Inputs, and what nodes make.
    values: HashMap<ValueId, Buffer>,
    constants: HashMap<ValueId, Buffer>,
    /// What instances bring themselves.
    given: Vec<Buffer>,
}

impl Loading<'_> {
    fn operands(&mut self, node: &Node, instance: &Defined) -> Result<Operands, RuntimeError> {
        let (mut buffers, mut scalars) = (Vec::new(), Tensors::new());
        for (port, source) in &instance.sources {
            match source {
                Source::Given(tensor) if tensor.shape().rank() == 0 => scalars = scalars.with(port, tensor.clone()),
                Source::Given(tensor) => {
                    let buffer = self.gpu.upload(tensor)?;
                    self.given.push(buffer.clone());
                    buffers.push((*port, buffer));
                }
                Source::Operand(at) => {
                    let id = node.inputs.get(*at).copied();
                    let missing = || RuntimeError::Invalid(format!("node '{}' has no operand {at}", node.name));
                    buffers.push((*port, self.operand(id.ok_or_else(missing)?)?));
                }
            }
        }
        let outputs = instance.operation.def().outputs;
        for (port, &id) in outputs.iter().zip(&node.outputs) {
            buffers.push((port.name, self.value(id)?));
        }
        Ok(Operands::of(buffers, scalars))
    }

    fn operand(&mut self, id: ValueId) -> Result<Buffer, RuntimeError> {
        let Some(tensor) = self.segment.constant(id) else { return self.value(id) };
        if let Some(buffer) = self.constants.get(&id) {
            return Ok(buffer.clone());
        }
        let buffer = self.gpu.upload(&signed(tensor))?;
        self.constants.insert(id, buffer.clone());
        Ok(buffer)
    }

    fn value(&self, id: ValueId) -> Result<Buffer, RuntimeError> {
        let missing = || RuntimeError::Invalid(format!("value {} of the segment is made by nobody", id.0));
        self.values.get(&id).cloned().ok_or_else(missing)
    }
}

/// An input or an output of a segment.
struct End {
    ty: TensorType,
    place: Place,
}

enum Place {
    Device(Buffer),
    Constant(Tensor),
}

/// A segment whose values, constants and launches are on the device.
struct GpuSegment {
    gpu: Gpu,
    inputs: Vec<End>,
    outputs: Vec<End>,
    /// The launches of every node, and whether what they make of weights alone is there already.
    launches: Vec<(Steps, bool)>,
    /// What the launches read and write: they hold addresses alone.
    _memory: Vec<Buffer>,
    /// For every input, and then for every output.
    copies: Vec<Copied>,
}

impl GpuSegment {
    fn launch(&self) -> Result<(), RuntimeError> {
        let gpu = &self.gpu;
        let one = |(steps, prepared): &(Steps, bool)| {
            if *prepared { steps.launch_prepared(gpu) } else { steps.launch(gpu) }
        };
        Ok(self.launches.iter().try_for_each(one)?)
    }

    fn run_one(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        if inputs.len() != self.inputs.len() {
            let text =
                format!("a sample has {} tensors, but the segment has {} inputs", inputs.len(), self.inputs.len());
            return Err(RuntimeError::Invalid(text));
        }
        for (at, (end, tensor)) in self.inputs.iter().zip(inputs).enumerate() {
            if tensor.dtype() != end.ty.dtype || tensor.shape() != &end.ty.shape {
                let (dtype, shape, ty) = (tensor.dtype(), tensor.shape(), &end.ty);
                return Err(RuntimeError::Invalid(format!("input {at} of the segment is {dtype}{shape}, not {ty}")));
            }
            if let Place::Device(buffer) = &end.place {
                let begin = Instant::now();
                let bytes = signed(tensor).to_le_bytes();
                buffer.write(&bytes)?;
                self.copies[at].add(copy(bytes.len(), begin));
            }
        }
        self.launch()?;
        // The wait for the kernels is no part of the copies.
        self.gpu.synchronise()?;
        let mut results = Vec::with_capacity(self.outputs.len());
        for (at, end) in self.outputs.iter().enumerate() {
            results.push(match &end.place {
                Place::Constant(tensor) => tensor.clone(),
                Place::Device(buffer) => {
                    let begin = Instant::now();
                    let failed = |error: tandem_ops::OpError| RuntimeError::Invalid(error.to_string());
                    let tensor = unsigned(&buffer.download(end.ty.shape.clone())?, &end.ty).map_err(failed)?;
                    self.copies[self.inputs.len() + at].add(copy(end.ty.bytes(), begin));
                    tensor
                }
            });
        }
        Ok(results)
    }
}

impl Executable for GpuSegment {
    fn run(&mut self, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        samples.iter().map(|inputs| self.run_one(inputs)).collect()
    }

    fn copied(&self) -> Copied {
        self.copies.iter().fold(Copied::default(), |mut sum, &copied| {
            sum.add(copied);
            sum
        })
    }
}

fn copy(bytes: usize, begin: Instant) -> Copied {
    Copied { bytes: bytes as u64, count: 1, wall: begin.elapsed() }
}
