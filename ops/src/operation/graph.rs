//! Operators of graphs as instances of definitions.

use super::rounding;
use super::{activation, add, operation};
use crate::arith::{activation_range, add_params, weight_requants};
use crate::def::{Dims, Operation, Tensors};
use crate::{Act, Arith, BinaryKind, Conv, Op, OpError, Pool, PoolKind};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

/// An operator on operands of known types, as an instance of a definition.
pub struct Defined {
    /// The definition.
    pub operation: &'static dyn Operation,
    /// Its extents and choices.
    pub dims: Dims,
    /// Where the operand of each port comes from, in the order of the ports.
    pub sources: Vec<(&'static str, Source)>,
}

/// Where the operand of a port comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The elements of the operator's operand of that number, in the shape of the port. Definitions of codes know `i8` alone: codes
    /// of `u8` come less 128, as [`signed`] gives them.
    Operand(usize),
    /// This tensor, whatever the operands hold.
    Given(Tensor),
}

impl std::fmt::Debug for Defined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.operation.def().name, self.dims)
    }
}

/// Codes as the definitions know them: those of `u8` less 128; any other tensor as it is.
pub fn signed(tensor: &Tensor) -> Tensor {
    flipped(tensor, DType::U8, DType::I8)
}

/// A result of a definition as the graph knows it: of this type, whose codes of `u8` are 128 more.
///
/// # Errors
/// Invalid for another number of elements.
pub fn unsigned(tensor: &Tensor, ty: &TensorType) -> Result<Tensor, OpError> {
    let tensor = if ty.dtype == DType::U8 { flipped(tensor, DType::I8, DType::U8) } else { tensor.clone() };
    Ok(tensor.reshaped(ty.shape.clone())?)
}

fn flipped(tensor: &Tensor, from: DType, to: DType) -> Tensor {
    if tensor.dtype() != from {
        return tensor.clone();
    }
    let bytes: Vec<u8> = tensor.to_le_bytes().into_iter().map(|byte| byte ^ 0x80).collect();
    // As many bytes as the shape has elements.
    Tensor::from_le_bytes(to, tensor.shape().clone(), &bytes).unwrap_or_else(|_| tensor.clone())
}

impl Defined {
    /// The operands of the ports for operands of the operator.
    ///
    /// # Errors
    /// Invalid for an operand that is missing or has another number of elements.
    pub fn inputs(&self, operands: &[&Tensor]) -> Result<Tensors, OpError> {
        let ports = self.operation.def().inputs;
        let mut inputs = Tensors::new();
        for ((name, source), port) in self.sources.iter().zip(ports) {
            let tensor = match source {
                Source::Given(tensor) => tensor.clone(),
                Source::Operand(at) => {
                    let missing = || OpError::invalid(format!("operand {at} is missing"));
                    let shape: Vec<usize> = port.dims.iter().map(|dim| dim.extent(&self.dims)).collect();
                    signed(operands.get(*at).ok_or_else(missing)?).reshaped(shape)?
                }
            };
            inputs = inputs.with(name, tensor);
        }
        Ok(inputs)
    }
}

/// The instance of a definition that `op` is on operands and with a result of these types, in this family of integer arithmetic.
/// Leading axes count as rows, and a missing spatial axis as an extent of 1.
///
/// # Errors
/// The reason why there is none, as a phrase.
pub fn defined(op: &Op, arith: Arith, operands: &[&TensorType], result: &TensorType) -> Result<Defined, String> {
    let &x = operands.first().ok_or("it has no operand")?;
    if result.elements() == 0 || operands.iter().any(|ty| ty.elements() == 0) {
        return Err("an operand or the result is empty".into());
    }
    let codes = is_codes(x);
    let node = Node { op, arith, operands, x, result };
    let defined = match op {
        Op::Conv(conv) if codes => node.conv(conv)?,
        Op::Conv(conv) => node.float_conv(conv)?,
        Op::Dense { act } if codes => node.dense(*act)?,
        Op::Dense { act } => node.float_product(*act, true)?,
        Op::MatMul { transpose_a: false, transpose_b: true } if codes => node.product()?,
        Op::MatMul { transpose_a: false, transpose_b: true } => node.float_product(Act::None, false)?,
        Op::MatMul { .. } => return Err("the kernels multiply rows by rows: b has to be transposed, and a not".into()),
        Op::Pool(pool) if codes => node.pool(pool)?,
        Op::Binary { kind: BinaryKind::Add, act } if codes => node.add(*act)?,
        Op::Softmax { axis, beta, log } => node.softmax(*axis, *beta, *log)?,
        Op::Unary(kind) if x.dtype == DType::BF16 => {
            let kind = activation::KINDS.iter().position(|known| known == kind);
            let kind = kind.ok_or_else(|| format!("no kernel computes {} of bf16", op.name()))?;
            let mut made = Made::new("activation.bf16")?;
            made.set(&[("len", x.elements()), ("kind", kind)]);
            made.operand("x", 0)
        }
        _ => return Err(format!("no kernel computes {} of {}", op.name(), x.dtype)),
    };
    defined.finish()
}

/// An instance on its way.
struct Made {
    operation: &'static dyn Operation,
    dims: Dims,
    sources: Vec<(&'static str, Source)>,
}

impl Made {
    fn new(name: &str) -> Result<Made, String> {
        let operation = operation(name).ok_or_else(|| format!("there is no definition {name}"))?;
        Ok(Made { operation, dims: Dims::defaults(operation.def().axes), sources: Vec::new() })
    }

    fn set(&mut self, dims: &[(&'static str, usize)]) {
        dims.iter().for_each(|&(axis, extent)| self.dims.set(axis, extent));
    }

    fn operand(mut self, port: &'static str, at: usize) -> Made {
        self.sources.push((port, Source::Operand(at)));
        self
    }

    fn given(mut self, port: &'static str, tensor: Tensor) -> Made {
        self.sources.push((port, Source::Given(tensor)));
        self
    }

    fn scalars(self, scalars: &[(&'static str, i32)]) -> Made {
        scalars.iter().fold(self, |made, &(name, value)| made.given(name, Tensor::scalar(value)))
    }

    fn finish(mut self) -> Result<Defined, String> {
        let def = self.operation.def();
        let place = |name: &str| def.inputs.iter().position(|port| port.name == name);
        self.sources.sort_by_key(|(name, _)| place(name));
        let tensor = |(name, source): &(&'static str, Source)| match source {
            Source::Given(tensor) => Some((*name, tensor.clone())),
            Source::Operand(_) => None,
        };
        let given: Tensors = self.sources.iter().filter_map(tensor).collect();
        def.constrain(&self.dims).map_err(|error| error.to_string())?;
        self.operation.check(&self.dims, &given).map_err(|error| error.to_string())?;
        Ok(Defined { operation: self.operation, dims: self.dims, sources: self.sources })
    }
}

struct Node<'a> {
    op: &'a Op,
    arith: Arith,
    operands: &'a [&'a TensorType],
    x: &'a TensorType,
    result: &'a TensorType,
}

impl Node<'_> {
    /// The quantisation of the result of codes like those of x.
    fn output(&self) -> Result<&QuantParams, String> {
        match &self.result.quant {
            Some(quant) if quant.is_per_tensor() && self.result.dtype == self.x.dtype => Ok(quant),
            _ => Err("the result is not of codes like the operand's, with one scale".into()),
        }
    }

    /// The codes of the activation, and the zero point, as the definitions know them.
    fn range(&self, act: Act) -> Result<[(&'static str, i32); 3], String> {
        let (quant, least) = (self.output()?, offset(self.result));
        let (lo, hi) = activation_range(act, self.result.dtype, quant);
        Ok([("zero_point", quant.zero_point() - least), ("lo", lo - least), ("hi", hi - least)])
    }

    /// Bias, factors and zero points of a sum over weights, which are operand 1.
    fn weighted(&self, mut made: Made, act: Act, outputs: usize) -> Result<Made, String> {
        let w = self.weights()?;
        let wq = w.quant.as_ref().ok_or("the weights are not quantised")?;
        let zero = wq.zero_point.first().copied().unwrap_or(0);
        if !matches!(w.dtype, DType::I8 | DType::U8) || wq.zero_point.iter().any(|&other| other != zero) {
            return Err("the weights are not 8-bit codes with one zero point".into());
        }
        if wq.axis.is_some_and(|axis| axis != 0) {
            return Err("the weights' scales are not those of outputs".into());
        }
        let requants = weight_requants(self.op, self.arith, self.x, w, self.result).map_err(|e| e.to_string())?;
        let (choice, lists) = rounding::lists(&requants).ok_or("a scale is out of the range of the kernels")?;
        made.set(&[("rounding", choice)]);
        made = made.operand("weight", 1);
        made = match self.operands.get(2) {
            Some(bias) if bias.dtype == DType::I32 && bias.elements() == outputs => made.operand("bias", 2),
            Some(_) => return Err("the bias is not an i32 for each output".into()),
            None => made.given("bias", Tensor::zeros(DType::I32, [outputs])),
        };
        made = lists.iter().fold(made, |made, (name, list)| made.given(name, list.clone()));
        let input = self.x.quant.as_ref().map_or(0, QuantParams::zero_point) - offset(self.x);
        Ok(made
            .scalars(&[("input_zero_point", input), ("weight_zero_point", zero - offset(w))])
            .scalars(&self.range(act)?))
    }

    fn weights(&self) -> Result<&TensorType, String> {
        self.operands.get(1).copied().ok_or_else(|| "it has no weights".into())
    }

    fn conv(&self, conv: &Conv) -> Result<Made, String> {
        let (x, w) = (&self.x.shape, self.weights()?);
        if x.rank() > 4 {
            return Err("no kernel convolves over three axes".into());
        }
        let (channels, outputs) = (x.last().copied().unwrap_or(0), w.shape[0]);
        let mut made = if conv.groups == 1 {
            let mut made = Made::new("conv2d.i8")?;
            made.set(&[("o", outputs)]);
            made
        } else if conv.groups == channels {
            let mut made = Made::new("depthwise.i8")?;
            made.set(&[("multiplier", outputs / channels.max(1))]);
            made
        } else {
            return Err("no kernel convolves in groups of several channels".into());
        };
        made.set(&image(x));
        made.set(&window(taps(&w.shape), &conv.stride, &conv.dilation, &conv.pad));
        self.weighted(made.operand("x", 0), conv.act, outputs)
    }

    /// A dense layer is a convolution of images of one pixel.
    fn dense(&self, act: Act) -> Result<Made, String> {
        let w = self.weights()?;
        let (outputs, inner) = (w.shape[0], w.shape.last().copied().unwrap_or(1));
        let mut made = Made::new("conv2d.i8")?;
        let rows = self.x.elements() / inner.max(1);
        made.set(&[("n", rows), ("h", 1), ("w", 1), ("c", inner), ("o", outputs), ("kh", 1), ("kw", 1)]);
        self.weighted(made.operand("x", 0), act, outputs)
    }

    /// The product of two activations whose zeros have the code 0.
    fn product(&self) -> Result<Made, String> {
        let b = self.weights()?;
        let zero = |ty: &TensorType| ty.quant.as_ref().map(QuantParams::zero_point) == Some(0);
        if self.x.shape.rank() != 2 || b.shape.rank() != 2 || !is_codes(b) {
            return Err("no kernel multiplies stacks of matrices of codes".into());
        }
        if [self.x, b, self.result].iter().any(|ty| ty.dtype != DType::I8) || !zero(self.x) || !zero(b) {
            return Err("the kernels multiply codes of i8 whose zero points are 0".into());
        }
        let requant = weight_requants(self.op, self.arith, self.x, b, self.result).map_err(|e| e.to_string())?;
        let columns = b.shape[0];
        let requants = vec![requant[0]; columns];
        let (choice, lists) = rounding::lists(&requants).ok_or("the scale is out of the range of the kernels")?;
        let mut made = Made::new("gemm.i8")?;
        made.set(&[("m", self.x.shape[0]), ("k", self.x.shape[1]), ("n", columns), ("rounding", choice)]);
        let made = made.operand("a", 0).operand("b", 1).given("bias", Tensor::zeros(DType::I32, [columns]));
        let made = lists.iter().fold(made, |made, (name, list)| made.given(name, list.clone()));
        Ok(made.scalars(&[("zero_point", self.output()?.zero_point())]))
    }

    fn pool(&self, pool: &Pool) -> Result<Made, String> {
        if self.x.shape.rank() > 4 {
            return Err("no kernel pools over three axes".into());
        }
        if self.x.quant.as_ref() != Some(self.output()?) {
            return Err("its operand and its result are of two quantisations".into());
        }
        let average = pool.kind == PoolKind::Average;
        let mut made = Made::new(if average { "average_pool.i8" } else { "max_pool.i8" })?;
        made.set(&image(&self.x.shape));
        made.set(&window(&pool.kernel, &pool.stride, &pool.dilation, &pool.pad));
        made.set(&[("extent", pool.ceil.into())]);
        let range = self.range(pool.act)?;
        if average {
            made.set(&[("padding", pool.count_include_pad.into()), ("codes", (self.x.dtype == DType::U8).into())]);
        }
        Ok(made.operand("x", 0).scalars(if average { &range } else { &range[1..] }))
    }

    fn add(&self, act: Act) -> Result<Made, String> {
        let b = self.operands.get(1).copied().ok_or("it has one operand alone")?;
        if !is_codes(b) || b.shape != self.x.shape {
            return Err("the kernel adds codes of one shape".into());
        }
        let (Some(aq), Some(bq)) = (&self.x.quant, &b.quant) else { return Err("it is not quantised".into()) };
        let mut params = add_params(self.arith, aq, bq, self.output()?, self.result.dtype, act, false);
        params.a.zero_point -= offset(self.x);
        params.b.zero_point -= offset(b);
        let least = offset(self.result);
        params.zero_point -= least;
        params.lo -= least;
        params.hi -= least;
        let (rounding, scalars) = add::scalars(&params).ok_or("a scale is out of the range of the kernel")?;
        let mut made = Made::new("add.i8")?;
        made.set(&[("len", self.x.elements()), ("rounding", rounding)]);
        let made = made.operand("a", 0).operand("b", 1);
        Ok(scalars.iter().fold(made, |made, (name, scalar)| made.given(name, scalar.clone())))
    }

    fn softmax(&self, axis: usize, beta: f32, log: bool) -> Result<Made, String> {
        let name = match self.x.dtype {
            DType::F32 => "softmax.f32",
            DType::BF16 => "softmax.bf16",
            other => return Err(format!("no kernel computes softmax of {other}")),
        };
        if axis + 1 != self.x.shape.rank() {
            return Err("the kernel computes softmax along the last axis".into());
        }
        let n = self.x.shape[axis];
        let mut made = Made::new(name)?;
        made.set(&[("m", self.x.elements() / n.max(1)), ("n", n), ("log", log.into())]);
        Ok(made.operand("x", 0).given("beta", Tensor::scalar(beta)))
    }

    /// The convolution of floats whose window is one pixel, which is a product.
    fn float_conv(&self, conv: &Conv) -> Result<Made, String> {
        let kernel = taps(&self.weights()?.shape);
        let one = |list: &[usize]| list.iter().all(|&extent| extent == 1);
        let pointwise = one(kernel) && one(&conv.stride) && conv.pad.iter().all(|&pad| pad == (0, 0));
        if !pointwise || conv.groups != 1 {
            return Err(
                "no kernel convolves floats with a window of more than a pixel, a step, padding or groups".into()
            );
        }
        self.float_product(conv.act, true)
    }

    /// A product of rows and rows, with a bias where it is one of weights.
    fn float_product(&self, act: Act, weights: bool) -> Result<Made, String> {
        let (x, b) = (self.x, self.weights()?);
        let name = match x.dtype {
            DType::BF16 => "gemm.bf16",
            DType::F16 => "gemm.f16",
            DType::F32 => "gemm.f32",
            other => return Err(format!("no kernel multiplies matrices of {other}")),
        };
        if [b, self.result].iter().any(|ty| ty.quant.is_some() || ty.dtype != x.dtype) || x.quant.is_some() {
            return Err("its operands and its result are not of one type".into());
        }
        if !weights && (x.shape.rank() != 2 || b.shape.rank() != 2) {
            return Err("no kernel multiplies stacks of matrices".into());
        }
        let act = match act {
            Act::None => 0,
            Act::Relu => 1,
            other => return Err(format!("the kernel has no activation {other:?}")),
        };
        let (n, k) = (b.shape[0], x.shape.last().copied().unwrap_or(1));
        let mut made = Made::new(name)?;
        made.set(&[("m", x.elements() / k.max(1)), ("n", n), ("k", k), ("act", act)]);
        let made = made.operand("a", 0).operand("b", 1);
        match self.operands.get(2) {
            Some(bias) if bias.dtype == DType::F32 && bias.elements() == n => Ok(made.operand("bias", 2)),
            Some(_) => Err("the bias is not an f32 for each output".into()),
            None => Ok(made.given("bias", Tensor::zeros(DType::F32, [n]))),
        }
    }
}

/// Images of one or two spatial axes, channels last.
fn image(x: &Shape) -> [(&'static str, usize); 4] {
    let (h, w) = match x.rank() {
        4 => (x[1], x[2]),
        3 => (1, x[1]),
        _ => (1, 1),
    };
    [("n", x[0]), ("h", h), ("w", w), ("c", x.last().copied().unwrap_or(1))]
}

/// The spatial extents of weights.
fn taps(weights: &Shape) -> &[usize] {
    weights.get(1..weights.rank().saturating_sub(1)).unwrap_or_default()
}

/// A window over one or two axes.
fn window(
    kernel: &[usize],
    stride: &[usize],
    dilation: &[usize],
    pad: &[(usize, usize)],
) -> [(&'static str, usize); 10] {
    let along = |list: &[usize], back: usize| list.len().checked_sub(back).map_or(1, |at| list[at]);
    let pads = |back: usize| pad.len().checked_sub(back).map_or((0, 0), |at| pad[at]);
    let ((top, bottom), (left, right)) = (pads(2), pads(1));
    [
        ("kh", along(kernel, 2)),
        ("kw", along(kernel, 1)),
        ("stride_h", along(stride, 2)),
        ("stride_w", along(stride, 1)),
        ("dilation_h", along(dilation, 2)),
        ("dilation_w", along(dilation, 1)),
        ("pad_top", top),
        ("pad_bottom", bottom),
        ("pad_left", left),
        ("pad_right", right),
    ]
}

fn is_codes(ty: &TensorType) -> bool {
    matches!(ty.dtype, DType::I8 | DType::U8) && ty.quant.as_ref().is_some_and(QuantParams::is_per_tensor)
}

/// What codes of a type are less in the definitions.
fn offset(ty: &TensorType) -> i32 {
    if ty.dtype == DType::U8 { 128 } else { 0 }
}
