//! Matrix products: `gemm.bf16`, `gemm.f16`, `gemm.i8` and `gemm.f32`.

mod plan;

pub use plan::{Path, Plan, Problem, Wish};

pub(crate) use plan::{HOPPER, MMA, instances};

use crate::device::{Args, Buffer, Device, Launch, Swizzle, TensorMap};
use crate::elementwise::spread;
use crate::error::Result;
use crate::nvrtc::{Arch, Instance};
use crate::planned::{self, Operands, Planned, Steps};
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_tensor::DType;

pub(crate) const PLANS: &[Planned] = &[
    Planned { name: "gemm.bf16", least: Arch::Sm80, steps: definition },
    Planned { name: "gemm.f16", least: Arch::Sm80, steps: definition },
    Planned { name: "gemm.f32", least: Arch::Sm80, steps: definition },
    Planned { name: "gemm.i8", least: Arch::Sm80, steps: definition },
];

/// Operands of a product in the memory of a device.
pub(crate) struct Factors<'a> {
    /// `[m, k]`.
    pub(crate) a: &'a Buffer,
    /// `[n, k]`.
    pub(crate) b: &'a Buffer,
    /// `[m, n]`.
    pub(crate) out: &'a Buffer,
    /// What becomes of a sum.
    pub(crate) finish: Finish<'a>,
}

/// What becomes of a sum: the structure `Epilogue` of the kernels.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// `[n]`, added: binary32, or 32-bit integers for codes.
    pub(crate) bias: &'a Buffer,
    /// How a sum becomes a code, where results are codes.
    pub(crate) requant: Option<Requant<'a>>,
    /// An activation of other results, by its number in [`tandem_ops::ACTS`].
    pub(crate) act: usize,
}

impl Finish<'_> {
    pub(crate) fn args(&self) -> Args {
        let args = Args::new().buffer(self.bias);
        let (factors, requant) = match self.requant {
            Some(requant) => (requant.factors(), requant.args()),
            None => (Args::new().address(0).address(0), Args::new().i32(0).i32(0).i32(0).i32(0)),
        };
        args.block(&factors).block(&requant).i32(self.act as i32)
    }

    fn integers(&self) -> bool {
        self.requant.is_some_and(|requant| requant.rounding != Rounding::Float)
    }

    /// The kernel as it finishes sums like this.
    pub(crate) fn rounding(&self, instance: Instance) -> Instance {
        self.requant.map_or(instance.clone(), |requant| requant.rounding.of(instance))
    }
}

/// How kernels round sums of codes: by a scale in binary32, or by an integer and two roundings, of which the first takes off so many
/// bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Float,
    Integer { first: i32 },
}

impl Rounding {
    /// That of the choice of the definitions.
    pub(crate) fn chosen(dims: &Dims) -> Rounding {
        match dims["rounding"] {
            0 => Rounding::Float,
            1 => Rounding::Integer { first: 31 },
            _ => Rounding::Integer { first: 0 },
        }
    }

    /// The kernel that rounds so.
    pub(crate) fn of(self, instance: Instance) -> Instance {
        if self == Rounding::Float { instance } else { instance.define("ROUNDING", 1) }
    }
}

/// How a sum becomes a code: the structures `Factors` and `Requant` of the kernels.
#[derive(Clone, Copy)]
pub(crate) struct Requant<'a> {
    rounding: Rounding,
    /// `[n]`: scales in binary32, or integers.
    multiplier: &'a Buffer,
    /// `[n]`, empty for scales.
    shift: &'a Buffer,
    /// The code of zero, the lowest code and the highest.
    codes: [i32; 3],
}

impl<'a> Requant<'a> {
    /// Of operands of a definition with the choice `rounding`, and these codes: of zero, the lowest and the highest.
    pub(crate) fn new(dims: &Dims, operands: &'a Operands, codes: [i32; 3]) -> Result<Requant<'a>> {
        let rounding = Rounding::chosen(dims);
        let multiplier = if rounding == Rounding::Float { "scale" } else { "multiplier" };
        Ok(Requant { rounding, multiplier: operands.buffer(multiplier)?, shift: operands.buffer("shift")?, codes })
    }

    pub(crate) fn rounding(&self) -> Rounding {
        self.rounding
    }

    pub(crate) fn factors(&self) -> Args {
        Args::new().buffer(self.multiplier).buffer(self.shift)
    }

    pub(crate) fn args(&self) -> Args {
        let first = if let Rounding::Integer { first } = self.rounding { first } else { 0 };
        clamps(self.codes).i32(first)
    }
}

/// The lowest and the highest integer whose code is not clamped, and the code of zero, of the codes of zero, lowest and highest.
pub(crate) fn clamps([zero_point, lo, hi]: [i32; 3]) -> Args {
    // Where these saturate, no integer of 32 bits is clamped on that side.
    let [lowest, highest] = [lo, hi].map(|code| code.saturating_sub(zero_point));
    Args::new().i32(lowest).i32(highest).i32(zero_point)
}

/// The launches of a product with a plan that follows a wish.
///
/// # Errors
/// Those of [`Plan::with`] and of making kernels ready.
pub(crate) fn product(device: &Device, problem: &Problem, wish: Wish, factors: &Factors<'_>) -> Result<Steps> {
    let mut plan = Plan::with(problem, device.facts(), wish)?;
    // Rounding integers takes registers that the sums of a tile of 256 columns do not leave.
    if plan.path == Path::Tma && plan.tile_n == 256 && factors.finish.integers() {
        plan = Plan::with(problem, device.facts(), Wish { tile_n: Some(128), ..wish })?;
    }
    let mut steps = Steps::none();
    let Some(instance) = plan.instance(problem.dtype) else { return Ok(steps) };
    let Plan { path, tile_n, splits, grid, threads, cluster, shared, .. } = plan;
    let Problem { dtype, m, n, k } = *problem;
    let Factors { a, b, out, finish } = factors;
    let partials = match plan.partials(problem) {
        0 => None,
        count => Some(device.alloc(if dtype == DType::I8 { DType::I32 } else { DType::F32 }, count)?),
    };
    let plain = Args::new().buffer(a).buffer(b).buffer(out);
    let extents = |args: Args| args.block(&finish.args()).i32(m as i32).i32(n as i32).i32(k as i32);
    let args = match path {
        Path::Nothing | Path::Simt => extents(plain),
        Path::Vector => extents(plain).i32(k.is_multiple_of(4).into()),
        Path::Mma | Path::Ragged => extents(plain.optional(partials.as_ref())).i32(splits as i32),
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
                .tensor_map(&map(a, m, k, 128)?)
                .tensor_map(&map(b, n, k, tile_n / cluster)?)
                .tensor_map(&map(out, m, n, 64)?);
            extents(args.optional(partials.as_ref())).i32(splits as i32)
        }
    };
    let launch = Launch::new(grid, [threads, 1, 1], args).shared(shared as u32).cluster([cluster as u32, 1, 1]);
    let instance = if partials.is_some() { instance } else { finish.rounding(instance) };
    steps.step(device, &instance, launch)?;
    if let Some(partials) = partials {
        reduce(device, &mut steps, problem, partials, splits, factors)?;
    }
    Ok(steps)
}

/// One launch more, which adds the partial products that a split of the sum leaves.
pub(crate) fn reduce(
    device: &Device,
    steps: &mut Steps,
    &Problem { dtype, m, n, .. }: &Problem,
    partials: Buffer,
    splits: usize,
    factors: &Factors<'_>,
) -> Result<()> {
    let Some(instance) = plan::reduction(dtype) else { return Ok(()) };
    let args = Args::new().buffer(&partials).buffer(factors.out).block(&factors.finish.args());
    let args = args.i32(m as i32).i32(n as i32).i32(splits as i32);
    steps.step(device, &factors.finish.rounding(instance), spread(device, m * n, args))?;
    steps.keep(partials);
    Ok(())
}

fn definition(device: &Device, dims: &Dims, operands: &Operands) -> Result<Steps> {
    wished(device, dims, operands, Wish::default())
}

fn wished(device: &Device, dims: &Dims, operands: &Operands, wish: Wish) -> Result<Steps> {
    let [a, b, bias, out] = ["a", "b", "bias", "out"].map(|name| operands.buffer(name));
    let (a, b, bias, out) = (a?, b?, bias?, out?);
    let problem = Problem { dtype: out.dtype(), m: dims["m"], n: dims["n"], k: dims["k"] };
    let finish = match problem.dtype {
        DType::I8 => {
            let zero_point: i32 = operands.scalar("zero_point")?;
            let lo = if dims["act"] == 1 { zero_point.clamp(-128, 127) } else { -128 };
            let requant = Requant::new(dims, operands, [zero_point, lo, 127])?;
            Finish { bias, requant: Some(requant), act: 0 }
        }
        _ => Finish { bias, requant: None, act: dims["act"] },
    };
    product(device, &problem, wish, &Factors { a, b, out, finish })
}

/// The kernel of a definition, whose plan follows a wish.
pub struct Product {
    device: Device,
    operation: &'static dyn Operation,
    wish: Wish,
}

impl Product {
    /// The kernel of the definition of that name.
    ///
    /// # Errors
    /// Invalid, where it is none of a product.
    pub fn new(device: &Device, name: &str, wish: Wish) -> std::result::Result<Product, OpError> {
        let known = PLANS.iter().any(|plan| plan.name == name);
        let operation = tandem_ops::operation(name).filter(|_| known);
        let operation = operation.ok_or_else(|| OpError::Invalid(format!("{name} is no product of matrices")))?;
        Ok(Product { device: device.clone(), operation, wish })
    }
}

impl Kernel for Product {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        self.device.facts().grade(Arch::Sm80)
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let steps = |operands: &Operands| wished(&self.device, dims, operands, self.wish);
        planned::compute(&self.device, self.operation.def(), dims, inputs, steps)
    }
}
