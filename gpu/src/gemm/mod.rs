//! Matrix products: `gemm.bf16`, `gemm.f16`, `gemm.i8` and `gemm.f32`.

mod plan;

pub use plan::{Path, Plan, Problem, Wish};

pub(crate) use plan::{HOPPER, MMA, instances};

use crate::device::{Args, Buffer, Device, Function, Launch, Swizzle, TensorMap};
use crate::error::{GpuError, Result};
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_tensor::DType;

/// Operands in the memory of a device.
pub struct Operands<'a> {
    /// `[m, k]`.
    pub a: &'a Buffer,
    /// `[n, k]`.
    pub b: &'a Buffer,
    /// `[n]`: binary32, or 32-bit integers for codes.
    pub bias: &'a Buffer,
    /// What becomes of a sum.
    pub finish: Finish<'a>,
    /// `[m, n]`.
    pub out: &'a Buffer,
    /// At least [`Plan::partials`] elements of 32 bits, where there are any.
    pub partials: Option<&'a Buffer>,
}

/// What becomes of a sum.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// An activation, by its number in [`tandem_ops::ACTS`].
    Activate(usize),
    /// A code: times the scale of its column, rounded, moved and clamped.
    Requantise {
        /// `[n]`, binary32.
        scale: &'a Buffer,
        /// The code of zero.
        zero_point: i32,
        /// The lowest code.
        lo: i32,
        /// The highest code.
        hi: i32,
    },
}

impl Operands<'_> {
    /// The structure `Epilogue` of the kernels.
    fn epilogue(&self) -> Args {
        let args = Args::new().buffer(self.bias);
        match self.finish {
            Finish::Activate(act) => args.address(0).i32(0).i32(0).i32(0).i32(act as i32),
            Finish::Requantise { scale, zero_point, lo, hi } => {
                // Where these saturate, no integer of 32 bits is clamped on that side.
                let (lowest, highest) = (lo.saturating_sub(zero_point), hi.saturating_sub(zero_point));
                args.buffer(scale).i32(lowest).i32(highest).i32(zero_point).i32(0)
            }
        }
    }
}

/// A product whose kernels are ready, so that it can be launched many times.
pub struct Gemm {
    problem: Problem,
    plan: Plan,
    function: Option<Function>,
    reduction: Option<Function>,
}

impl Gemm {
    /// Makes the kernels of a plan ready.
    ///
    /// # Errors
    /// Those of [`Device::function`].
    pub fn new(device: &Device, problem: Problem, plan: Plan) -> Result<Gemm> {
        let ready = |instance: Option<_>| instance.map(|instance| device.function(&instance)).transpose();
        let (function, reduction) = (ready(plan.instance(problem.dtype))?, ready(plan.reduction(problem.dtype))?);
        Ok(Gemm { problem, plan, function, reduction })
    }

    /// Launches it on operands in device memory; it may still be running when this returns.
    ///
    /// # Errors
    /// Invalid for operands of other sizes; those of [`Device::launch`].
    pub fn launch(&self, device: &Device, operands: &Operands<'_>) -> Result<()> {
        self.launches(device, operands)?.iter().try_for_each(|(function, launch)| device.launch(function, launch))
    }

    /// The launches that it consists of, in their order.
    ///
    /// # Errors
    /// Invalid for operands of other sizes.
    pub fn launches(&self, device: &Device, operands: &Operands<'_>) -> Result<Vec<(Function, Launch)>> {
        let mut all = Vec::new();
        let Some(function) = &self.function else { return Ok(all) };
        self.check(operands)?;
        let Plan { path, tile_n, splits, grid, threads, cluster, shared, .. } = self.plan;
        let Problem { dtype, m, n, k } = self.problem;
        let block = [threads, 1, 1];
        let epilogue = |args: Args| args.block(&operands.epilogue());
        let extents = |args: Args| args.i32(m as i32).i32(n as i32);
        match path {
            Path::Nothing => {}
            Path::Simt => {
                let args = Args::new().buffer(operands.a).buffer(operands.b).buffer(operands.out);
                let args = extents(epilogue(args)).i32(k as i32);
                all.push((function.clone(), Launch::new(grid, block, args)));
            }
            Path::Mma | Path::Ragged => {
                let args = Args::new().buffer(operands.a).buffer(operands.b).buffer(operands.out);
                let args = extents(epilogue(args.optional(operands.partials))).i32(k as i32).i32(splits as i32);
                all.push((function.clone(), Launch::new(grid, block, args).shared(shared as u32)));
            }
            Path::Tma => {
                let size = dtype.bytes();
                let map = |buffer: &Buffer, rows: usize, columns: usize, box_rows: usize| {
                    device.tensor_map(&TensorMap {
                        dtype,
                        address: buffer.address(),
                        extents: &[columns as u64, rows as u64],
                        strides: &[(columns * size) as u64],
                        box_extents: &[(128 / size) as u32, box_rows as u32],
                        swizzle: Swizzle::Bytes128,
                    })
                };
                let args = Args::new()
                    .tensor_map(&map(operands.a, m, k, 128)?)
                    .tensor_map(&map(operands.b, n, k, tile_n / cluster)?)
                    .tensor_map(&map(operands.out, m, n, 64)?)
                    .optional(operands.partials);
                let args = extents(epilogue(args)).i32(k as i32).i32(splits as i32);
                let launch = Launch::new(grid, block, args).shared(shared as u32).cluster([cluster as u32, 1, 1]);
                all.push((function.clone(), launch));
            }
        }
        if let (Some(reduction), Some(partials)) = (&self.reduction, operands.partials) {
            let args = epilogue(Args::new().buffer(partials).buffer(operands.out));
            let args = extents(args).i32(splits as i32);
            let blocks = (m * n).div_ceil(256).min(8 * device.facts().multiprocessors.max(1) as usize);
            all.push((reduction.clone(), Launch::new([blocks as u32, 1, 1], [256, 1, 1], args)));
        }
        Ok(all)
    }

    fn check(&self, operands: &Operands<'_>) -> Result<()> {
        let Problem { dtype, m, n, k } = self.problem;
        let sum = if dtype == DType::I8 { DType::I32 } else { DType::F32 };
        let mut needed = vec![
            ("a", Some(operands.a), dtype, m * k),
            ("b", Some(operands.b), dtype, n * k),
            ("bias", Some(operands.bias), sum, n),
            ("out", Some(operands.out), dtype, m * n),
        ];
        match operands.finish {
            Finish::Requantise { scale, .. } if dtype == DType::I8 => {
                needed.push(("scale", Some(scale), DType::F32, n))
            }
            Finish::Activate(act) if dtype != DType::I8 && act < tandem_ops::ACTS.len() => {}
            _ => return Err(GpuError::Invalid(format!("a product of {dtype} does not end that way"))),
        }
        if self.plan.splits > 1 {
            needed.push(("partials", operands.partials, sum, self.plan.partials(&self.problem)));
        }
        for (name, buffer, dtype, elements) in needed {
            match buffer {
                Some(buffer) if buffer.dtype() == dtype && buffer.len() >= elements => {}
                Some(buffer) => {
                    let text = format!("{name} has {} {}, not {elements} {dtype}", buffer.len(), buffer.dtype());
                    return Err(GpuError::Invalid(text));
                }
                None => return Err(GpuError::Invalid(format!("{name} is missing: {elements} {dtype}"))),
            }
        }
        Ok(())
    }
}

/// The kernel of a definition, whose plan follows a wish.
pub(crate) struct Product {
    device: Device,
    operation: &'static dyn Operation,
    wish: Wish,
}

impl Product {
    /// The kernel of the definition of that name.
    ///
    /// # Errors
    /// Invalid, where there is none.
    pub(crate) fn new(device: &Device, name: &str, wish: Wish) -> std::result::Result<Product, OpError> {
        let operation = tandem_ops::operation(name);
        let operation = operation.ok_or_else(|| OpError::Invalid(format!("there is no definition {name}")))?;
        Ok(Product { device: device.clone(), operation, wish })
    }
}

/// A kernel of each definition.
pub(crate) fn kernels(device: &Device) -> impl Iterator<Item = Box<dyn Kernel>> {
    let products = ["gemm.bf16", "gemm.f16", "gemm.f32", "gemm.i8"].into_iter();
    let products = products.filter_map(|name| Product::new(device, name, Wish::default()).ok());
    products.map(|product| Box::new(product) as Box<dyn Kernel>)
}

impl Kernel for Product {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        Grade::Native
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        run(&self.device, self.operation, dims, inputs, self.wish)
    }
}

/// Computes a definition's results with a plan that follows a wish.
///
/// # Errors
/// Those of [`Plan::with`], of the operands, and of the device.
pub fn run(
    device: &Device,
    operation: &'static dyn Operation,
    dims: &Dims,
    inputs: &Tensors,
    wish: Wish,
) -> std::result::Result<Tensors, OpError> {
    let port = &operation.def().outputs[0];
    let problem = Problem { dtype: port.dtype, m: dims["m"], n: dims["n"], k: dims["k"] };
    let plan = Plan::with(&problem, device.facts(), wish)?;
    if plan.path == Path::Nothing {
        return Ok(operation.def().empty_outputs(dims));
    }
    let upload = |name: &str| -> std::result::Result<Buffer, OpError> { Ok(device.upload(inputs.get(name)?)?) };
    let (a, b, bias) = (upload("a")?, upload("b")?, upload("bias")?);
    let out = device.alloc(problem.dtype, problem.m * problem.n)?;
    let sum = if problem.dtype == DType::I8 { DType::I32 } else { DType::F32 };
    let partials = match plan.partials(&problem) {
        0 => None,
        count => Some(device.alloc(sum, count)?),
    };
    let scale = (problem.dtype == DType::I8).then(|| upload("scale")).transpose()?;
    let finish = match &scale {
        None => Finish::Activate(dims["act"]),
        Some(scale) => {
            let zero_point: i32 = inputs.scalar("zero_point")?;
            let lo = if dims["act"] == 1 { zero_point.clamp(-128, 127) } else { -128 };
            Finish::Requantise { scale, zero_point, lo, hi: 127 }
        }
    };
    let gemm = Gemm::new(device, problem, plan)?;
    let operands = Operands { a: &a, b: &b, bias: &bias, finish, out: &out, partials: partials.as_ref() };
    gemm.launch(device, &operands)?;
    Ok(Tensors::new().with(port.name, out.download([problem.m, problem.n])?))
}
