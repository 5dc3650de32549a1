//! Products with low-rank adapters: `sgmv.shrink.bf16`, `sgmv.expand.bf16` and, of both in one launch, `sgmv.bf16`.
//!
//! # Form
//! A [`Plan`] is made on the host from segments and ranks, once for a batch; it holds for every layer, since the addresses of pages
//! and of tables are arguments of a launch. Clusters of up to eight blocks go through lists of items, see `sgmv.cu`: the blocks of
//! a cluster share the elements of the first product's sums and the columns of the second one. Their partial sums, of binary32, are
//! added in the order of the blocks in distributed shared memory; no float is added by an atomic, and a result has the same bits
//! in every run. On devices without clusters a block does an item alone.
//!
//! # Against the limits
//! What limits it are the weights of the distinct adapters, from memory. None of what follows is measured on a GPU: instructions,
//! sectors and bytes are counts of the simulator or of the plan, times are projected from 4.3 TB/s and a latency of some 0.7 us.
//!
//! - **Bytes.** 64 adapters of rank 16, one row each, `h1 = h2 = 4096`: 16.8 MB of weights, 3.9 us. The plan takes 64 clusters of
//!   four blocks, 256 of the 264 that 132 multiprocessors hold at once. A block reads 32 kB of A and as much of B: both are on their
//!   way at once, A to registers (a warp has all of its loads before its first product, 64 kB on a multiprocessor, where Little's law
//!   asks for 23 kB) and B to the second-level cache by prefetches, since it depends on nothing.
//! - **One launch.** Two launches of the same work would cost one more launch and a round through memory for v, some 2 us; a barrier
//!   of a cluster and reading four kilobytes of sums are expected to take less than half of that.
//! - **Instructions.** Weights go from memory to the operands of `mma.sync` without shared memory, 9.5 sectors a request, and up
//!   to sixteen rows cost as much as one. A batch of one row an adapter takes 104 instructions of PTX a kB, half of the 214 that a
//!   multiprocessor issues while memory moves a kB for it, and moves 1.07 times the bytes. So segments of one or two rows have no
//!   path of their own: plain arithmetic would take a conversion and a multiplication for every weight and row, 32 instructions a kB
//!   for each row before sums across lanes, for nothing that memory waits for.
//! - **Rows.** An item is of 64 rows (32 with ranks above 64, 16 above 128), whose warps read its weights once for each 16 rows, the
//!   second time from the first-level cache: 2.0 times the sectors of operands and results. Other items of the same adapter find
//!   them in the second-level cache. A segment per row of a popular adapter reads them for every row: rows are to be sorted.
//! - **Few adapters.** One adapter for all rows is one item for 64 rows: a cluster of eight blocks, 256 kB of weights and 1.6 MB of
//!   rows, whose time is that of a launch and some four latencies.

pub mod plan;

pub use plan::{Form, Plan, Problem, Resources, Segment};

use crate::device::{Args, Buffer, Device, Function, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_ops::sgmv::Batch;
use tandem_tensor::{DType, Tensor};

pub(crate) static SGMV: Source = Source { name: "sgmv.cu", text: include_str!("../../kernels/sgmv.cu") };

const THREADS: u32 = 256;
/// Elements of 16 bytes.
const WHOLE: usize = 8;
const FORMS: [(&str, Form); 3] =
    [("sgmv.shrink.bf16", Form::Shrink), ("sgmv.expand.bf16", Form::Expand), ("sgmv.bf16", Form::Fused)];

fn instance(form: Form, aligned: bool) -> Instance {
    Instance::new(&SGMV, "sgmv", Arch::Sm80).define("MODE", form as usize).define("ALIGNED", usize::from(aligned))
}

/// Every kernel of the family.
pub(crate) fn instances() -> Vec<Instance> {
    FORMS.iter().flat_map(|&(_, form)| [true, false].map(|aligned| instance(form, aligned))).collect()
}

/// A kernel of each definition.
pub(crate) fn kernels(device: &Device) -> impl Iterator<Item = Box<dyn Kernel>> {
    let kernel = |(name, form): (&str, Form)| {
        let operation = tandem_ops::operation(name)?;
        Some(Box::new(OnDevice { device: device.clone(), operation, form }) as Box<dyn Kernel>)
    };
    FORMS.into_iter().filter_map(kernel).collect::<Vec<_>>().into_iter()
}

/// Operands in device memory. Those that a form does not have are null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operands {
    /// `[n, h1]`.
    pub x: u64,
    /// The pool's first page: of the layer, where a pool has several.
    pub pool: u64,
    /// The page where each entry's column of A begins.
    pub a_index: u64,
    /// The page where each entry's row of B begins.
    pub b_index: u64,
    /// `[n, h2]`.
    pub y: u64,
    /// `[n, h2]`; may be `y` itself.
    pub out: u64,
    /// `[n, width]`.
    pub v: u64,
    /// Elements of a page.
    pub page: usize,
    /// Columns of v.
    pub width: usize,
}

/// A plan in device memory with its kernel, ready to be launched for every layer, and captured.
pub struct Sgmv {
    plan: Plan,
    h: [usize; 2],
    words: Buffer,
    function: Function,
}

impl Sgmv {
    /// Makes the plan of a problem and its kernel ready. `aligned`: whether all rows and pages are whole 16 bytes, at multiples of 16.
    ///
    /// # Errors
    /// Those of [`Plan::new`] and of [`Device::function`]; Exhausted, where the device has no room.
    pub fn new(device: &Device, problem: &Problem, aligned: bool) -> Result<Sgmv> {
        let plan = Plan::new(problem, Resources::of(device.facts()))?;
        let words = plan.words();
        let words = Tensor::from_vec([words.len()], words).map_err(|error| GpuError::Invalid(error.to_string()))?;
        let function = device.function(&instance(problem.form, aligned))?;
        Ok(Sgmv { h: [problem.h1, problem.h2], words: device.upload(&words)?, function, plan })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Launches it; it may still be running when this returns.
    ///
    /// # Errors
    /// Unsupported for pages or columns beyond 31 bits; those of [`Device::launch`].
    pub fn launch(&self, device: &Device, operands: &Operands) -> Result<()> {
        let plan = &self.plan;
        if plan.items.is_empty() {
            return Ok(());
        }
        let numbers = [operands.page, operands.width.saturating_mul(64)];
        if numbers.iter().any(|&number| number > i32::MAX as usize) {
            let text = format!("pages of {} elements, or {} columns of v", operands.page, operands.width);
            return Err(GpuError::Unsupported(format!("{text}, are beyond 31 bits")));
        }
        let pointers = [operands.x, operands.pool, operands.a_index, operands.b_index, self.words.address()];
        let members = pointers.into_iter().fold(Args::new(), Args::address).address(self.words.at(plan.items_at()));
        let members = members.address(operands.y).address(operands.out).address(operands.v);
        let numbers = [self.h[0], self.h[1], operands.page, operands.width, plan.cluster, plan.pairs];
        let members = numbers.into_iter().fold(members, |members, number| members.i32(number as i32));
        let blocks = (plan.clusters() * plan.cluster) as u32;
        let launch = Launch::new([blocks, 1, 1], [THREADS, 1, 1], Args::new().block(&members));
        let launch = launch.shared(plan.shared() as u32).cluster([plan.cluster as u32, 1, 1]);
        device.launch(&self.function, &launch)
    }
}

struct OnDevice {
    device: Device,
    operation: &'static dyn Operation,
    form: Form,
}

impl Kernel for OnDevice {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        self.device.facts().grade(Arch::Sm80)
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let def = self.operation.def();
        let problem = Problem::of(self.form, &Batch::of(dims, inputs)?);
        let output = def.outputs.first().map(|port| (port.name, def.output_type(port, dims)));
        let Some((name, ty)) = output else { return Ok(Tensors::new()) };
        if ty.elements() == 0 {
            return Ok(def.empty_outputs(dims));
        }
        let aligned = [problem.h1, problem.h2, dims["page"]].iter().all(|extent| extent.is_multiple_of(WHOLE));
        let sgmv = Sgmv::new(&self.device, &problem, aligned)?;
        let upload = |port: &str| inputs.find(port).map(|tensor| self.device.upload(tensor)).transpose();
        let ports = ["x", "pool", "a_index", "b_index", "y", "v"].map(upload);
        let [x, pool, a_index, b_index, y, v] = ports;
        let [x, pool, a_index, b_index, y, v] = [x?, pool?, a_index?, b_index?, y?, v?];
        let result = self.device.alloc(ty.dtype, ty.elements())?;
        let at = |buffer: &Option<Buffer>| buffer.as_ref().map_or(0, Buffer::address);
        let shrink = ty.dtype == DType::F32;
        let operands = Operands {
            x: at(&x),
            pool: at(&pool),
            a_index: at(&a_index),
            b_index: at(&b_index),
            y: at(&y),
            out: if shrink { 0 } else { result.address() },
            v: if shrink { result.address() } else { at(&v) },
            page: dims["page"],
            width: dims["rank"],
        };
        sgmv.launch(&self.device, &operands)?;
        Ok(Tensors::new().with(name, result.download(ty.shape)?))
    }
}
