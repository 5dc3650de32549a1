//! An operator as ONNX operators of the same meaning.
//!
//! Convolutions and pools are expressed on channels-first operands, everything else on operands in any order of axes.

use super::message::{float, int, ints, text};
use crate::onnx::proto::AttributeProto;
use crate::onnx::tensor::Elem;
use tandem_ops::{
    Act, Arith, BinaryKind, CoordinateMode, NearestMode, Op, PadMode, PoolKind, ReduceKind, Resize, ResizeMode,
    UnaryKind,
};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

/// What a step reads.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// An operand of the node.
    Operand(usize),
    /// The result of an earlier step.
    Step(usize),
    /// A constant that the node brings along, and what it is.
    Constant(&'static str, Tensor),
    /// An operand that is left out.
    Absent,
}

/// One ONNX node.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub op: &'static str,
    pub sources: Vec<Source>,
    pub attributes: Vec<AttributeProto>,
}

/// What is to be expressed: an operator on these operands.
pub(super) struct Task<'t> {
    pub op: &'t Op,
    pub arith: Arith,
    pub operands: &'t [TensorType],
    pub results: &'t [TensorType],
}

/// The steps, of which the last one makes the node's results; `None` where ONNX has no operators of this meaning.
pub(super) fn express(task: &Task<'_>) -> Option<Vec<Step>> {
    let mut steps = Steps::default();
    if task.operands.iter().chain(task.results).any(|ty| ty.quant.is_some()) {
        steps.codes(task)?;
    } else {
        steps.plain(task)?;
    }
    Some(steps.0)
}

#[derive(Default)]
struct Steps(Vec<Step>);

const X: Source = Source::Operand(0);

impl Steps {
    fn add(&mut self, op: &'static str, sources: Vec<Source>, attributes: Vec<AttributeProto>) -> Source {
        self.0.push(Step { op, sources, attributes });
        Source::Step(self.0.len() - 1)
    }

    fn simple(&mut self, op: &'static str, sources: Vec<Source>) -> Source {
        self.add(op, sources, Vec::new())
    }

    /// What carries codes to other places without a look at them, and what makes and reads them.
    fn codes(&mut self, task: &Task<'_>) -> Option<()> {
        let quant = |ty: &TensorType| ty.quant.clone();
        let (x, y) = (task.operands.first()?, task.results.first()?);
        match task.op {
            // The other family rounds half away from zero.
            Op::Quantize if task.arith == Arith::Xnnpack && x.dtype == DType::F32 => {
                let (scale, zero, axis) = parameters(y.quant.as_ref()?, y.dtype)?;
                self.add("QuantizeLinear", vec![X, scale, zero], axis);
            }
            Op::Dequantize if y.dtype == DType::F32 => {
                let (scale, zero, axis) = parameters(x.quant.as_ref()?, x.dtype)?;
                self.add("DequantizeLinear", vec![X, scale, zero], axis);
            }
            Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Expand { .. }
            | Op::Unary(UnaryKind::Identity)
            | Op::Concat { act: Act::None, .. }
                if task.operands.iter().all(|ty| quant(ty) == quant(y)) && y.quant.as_ref()?.is_per_tensor() =>
            {
                self.plain(task)?;
            }
            Op::Gather { .. } if quant(x) == quant(y) && y.quant.as_ref()?.is_per_tensor() => self.plain(task)?,
            _ => return None,
        }
        Some(())
    }

    fn plain(&mut self, task: &Task<'_>) -> Option<()> {
        let operand = |i: usize| task.operands.get(i);
        let (x, y) = (operand(0)?, task.results.first()?);
        let all = || (0..task.operands.len()).map(Source::Operand).collect::<Vec<_>>();
        match task.op {
            Op::Conv(c) if x.dtype.is_float() => {
                let mut attributes = window(&c.stride, &c.dilation, &c.pad);
                attributes.push(ints("kernel_shape", operand(1)?.shape.get(2..)?));
                attributes.push(int("group", c.groups as i64));
                let y = self.add("Conv", all(), attributes);
                self.activate(c.act, y, x.dtype)?;
            }
            Op::ConvTranspose(c) if x.dtype.is_float() && c.groups == 1 => {
                let mut attributes = window(&c.stride, &c.dilation, &c.pad);
                attributes.push(ints("kernel_shape", operand(1)?.shape.get(2..)?));
                attributes.push(ints("output_padding", &c.output_pad));
                let y = self.add("ConvTranspose", all(), attributes);
                self.activate(c.act, y, x.dtype)?;
            }
            Op::Dense { act } if x.dtype.is_float() => {
                let y = if x.shape.rank() == 2 {
                    self.add("Gemm", all(), vec![int("transB", 1)])
                } else {
                    let weights = self.add("Transpose", vec![Source::Operand(1)], vec![ints("perm", &[1, 0])]);
                    let product = self.simple("MatMul", vec![X, weights]);
                    let bias = task.operands.len() > 2;
                    if bias { self.simple("Add", vec![product, Source::Operand(2)]) } else { product }
                };
                self.activate(*act, y, x.dtype)?;
            }
            Op::MatMul { transpose_a, transpose_b } if x.dtype.is_float() => {
                let b = operand(1)?;
                if x.shape.rank() == 2 && b.shape.rank() == 2 {
                    let turn = [int("transA", i64::from(*transpose_a)), int("transB", i64::from(*transpose_b))];
                    self.add("Gemm", all(), turn.to_vec());
                } else {
                    let a = self.swapped(*transpose_a, 0, x);
                    let b = self.swapped(*transpose_b, 1, b);
                    self.simple("MatMul", vec![a, b]);
                }
            }
            Op::Pool(p) if x.dtype.is_float() => {
                let mut attributes = window(&p.stride, &p.dilation, &p.pad);
                attributes.push(ints("kernel_shape", &p.kernel));
                attributes.push(int("ceil_mode", i64::from(p.ceil)));
                // A second result must be that of the last step.
                if task.results.len() > 1 && p.act != Act::None {
                    return None;
                }
                let y = match p.kind {
                    PoolKind::Max => self.add("MaxPool", all(), attributes),
                    PoolKind::Average => {
                        attributes.push(int("count_include_pad", i64::from(p.count_include_pad)));
                        self.add("AveragePool", all(), attributes)
                    }
                };
                self.activate(p.act, y, x.dtype)?;
            }
            Op::Binary { kind, act } => {
                let y = self.binary(*kind, x, operand(1)?)?;
                self.activate(*act, y, x.dtype)?;
            }
            Op::Unary(kind) => self.unary(*kind, x.dtype)?,
            Op::Softmax { axis, beta, log } if x.dtype.is_float() => {
                let scaled = match *beta {
                    1.0 => X,
                    beta => self.simple("Mul", vec![X, scalar("beta", x.dtype, beta.into())?]),
                };
                let op = if *log { "LogSoftmax" } else { "Softmax" };
                self.add(op, vec![scaled], vec![int("axis", *axis as i64)]);
            }
            Op::Reduce { kind, axes, keep_dims } if !axes.is_empty() && x.dtype != DType::Bool => {
                let op = match kind {
                    ReduceKind::Sum => "ReduceSum",
                    ReduceKind::Mean => "ReduceMean",
                    ReduceKind::Max => "ReduceMax",
                    ReduceKind::Min => "ReduceMin",
                    ReduceKind::Prod => "ReduceProd",
                    ReduceKind::SumSquare => "ReduceSumSquare",
                    ReduceKind::L1 => "ReduceL1",
                    ReduceKind::L2 => "ReduceL2",
                    ReduceKind::LogSumExp => "ReduceLogSumExp",
                };
                self.add(op, vec![X, list("axes", axes)?], vec![int("keepdims", i64::from(*keep_dims))]);
            }
            Op::ArgMax { axis, keep_dims, select_last, min, dtype } => {
                let attributes = vec![
                    int("axis", *axis as i64),
                    int("keepdims", i64::from(*keep_dims)),
                    int("select_last_index", i64::from(*select_last)),
                ];
                let places = self.add(if *min { "ArgMin" } else { "ArgMax" }, vec![X], attributes);
                if *dtype != DType::I64 {
                    self.cast(places, *dtype);
                }
            }
            Op::Pad { amount, mode } => {
                let mode = match mode {
                    PadMode::Constant => "constant",
                    PadMode::Reflect => "reflect",
                    PadMode::Edge => "edge",
                    PadMode::Wrap => "wrap",
                    PadMode::Symmetric => return None,
                };
                let pads = amount.iter().map(|a| a.0).chain(amount.iter().map(|a| a.1)).collect();
                let mut sources = vec![X, numbers("pads", pads)?];
                sources.extend(operand(1).map(|_| Source::Operand(1)));
                self.add("Pad", sources, vec![text("mode", mode)]);
            }
            Op::Concat { axis, act } => {
                let y = self.add("Concat", all(), vec![int("axis", *axis as i64)]);
                self.activate(*act, y, x.dtype)?;
            }
            Op::Slice { begin, size, step } => {
                let ends = begin.iter().zip(size).zip(step).zip(&x.shape[..]).map(|(((&b, &s), &step), &extent)| {
                    let (b, s) = (b as i64, s as i64);
                    let last = b + step * (s - 1);
                    match (s, step > 0) {
                        (0, _) => b,
                        (_, true) => last + 1,
                        // One before the first element is written as an end far before it.
                        (_, false) if last == 0 => -(extent as i64) - 1,
                        (_, false) => last - 1,
                    }
                });
                let ends = numbers("ends", ends.collect())?;
                let axes = numbers("axes", (0..begin.len() as i64).collect())?;
                self.simple("Slice", vec![X, list("starts", begin)?, ends, axes, numbers("steps", step.clone())?]);
            }
            Op::Reshape { shape } => {
                self.add("Reshape", vec![X, list("shape", shape)?], vec![int("allowzero", 1)]);
            }
            Op::Transpose { perm } => {
                self.add("Transpose", vec![X], vec![ints("perm", perm)]);
            }
            Op::Resize(resize) => self.resize(resize, x)?,
            Op::Gather { axis } => {
                let indices = match operand(1)?.dtype {
                    DType::I32 | DType::I64 => Source::Operand(1),
                    _ => self.cast(Source::Operand(1), DType::I64),
                };
                self.add("Gather", vec![X, indices], vec![int("axis", *axis as i64)]);
            }
            Op::Expand { shape } => {
                self.simple("Expand", vec![X, list("shape", shape)?]);
            }
            Op::Where => {
                self.simple("Where", all());
            }
            Op::Cast { to, .. } => {
                self.cast(X, *to);
            }
            Op::CumSum { axis, exclusive, reverse } => {
                let attributes = [int("exclusive", i64::from(*exclusive)), int("reverse", i64::from(*reverse))];
                let axis = Source::Constant("axis", Tensor::scalar(*axis as i64));
                self.add("CumSum", vec![X, axis], attributes.to_vec());
            }
            Op::Trilu { k, upper } => {
                let k = Source::Constant("k", Tensor::scalar(*k));
                self.add("Trilu", vec![X, k], vec![int("upper", i64::from(*upper))]);
            }
            _ => return None,
        }
        // What broadcasts in one direction only, or not at all, must have the shape of the result by itself.
        let slope = matches!(task.op, Op::Binary { kind: BinaryKind::PRelu, .. });
        (!slope || x.shape == y.shape).then_some(())
    }

    /// The activation of a sum.
    fn activate(&mut self, act: Act, x: Source, dtype: DType) -> Option<()> {
        if act == Act::None {
            return Some(());
        }
        if !dtype.is_float() {
            return None;
        }
        match act {
            Act::None => {}
            Act::Relu => {
                self.simple("Relu", vec![x]);
            }
            Act::Relu6 => self.clip(x, dtype, Some(0.0), Some(6.0))?,
            Act::ReluN1To1 => self.clip(x, dtype, Some(-1.0), Some(1.0))?,
        }
        Some(())
    }

    fn clip(&mut self, x: Source, dtype: DType, min: Option<f64>, max: Option<f64>) -> Option<()> {
        let bound = |name, bound: Option<f64>| match bound {
            Some(bound) => scalar(name, dtype, bound),
            None => Some(Source::Absent),
        };
        let sources = vec![x, bound("min", min)?, bound("max", max)?];
        self.simple("Clip", sources);
        Some(())
    }

    fn cast(&mut self, x: Source, to: DType) -> Source {
        self.add("Cast", vec![x], vec![int("to", Elem::code(to).into())])
    }

    /// An operand with its last two axes swapped, where that is asked for.
    fn swapped(&mut self, swap: bool, operand: usize, ty: &TensorType) -> Source {
        let rank = ty.shape.rank();
        if !swap || rank < 2 {
            return Source::Operand(operand);
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 1, rank - 2);
        self.add("Transpose", vec![Source::Operand(operand)], vec![ints("perm", &perm)])
    }

    fn binary(&mut self, kind: BinaryKind, a: &TensorType, b: &TensorType) -> Option<Source> {
        let sources = vec![X, Source::Operand(1)];
        let boolean = a.dtype == DType::Bool && b.dtype == DType::Bool;
        let op = match kind {
            BinaryKind::Add => "Add",
            BinaryKind::Sub => "Sub",
            BinaryKind::Mul => "Mul",
            BinaryKind::Div => "Div",
            BinaryKind::Pow => "Pow",
            BinaryKind::Min => "Min",
            BinaryKind::Max => "Max",
            BinaryKind::PRelu => "PRelu",
            BinaryKind::And if boolean => "And",
            BinaryKind::Or if boolean => "Or",
            BinaryKind::Xor if boolean => "Xor",
            BinaryKind::And | BinaryKind::Or | BinaryKind::Xor => return None,
            BinaryKind::Equal => "Equal",
            BinaryKind::Less => "Less",
            BinaryKind::LessEqual => "LessOrEqual",
            BinaryKind::Greater => "Greater",
            BinaryKind::GreaterEqual => "GreaterOrEqual",
            BinaryKind::NotEqual => {
                let equal = self.simple("Equal", sources);
                return Some(self.simple("Not", vec![equal]));
            }
            BinaryKind::SquaredDifference => {
                let difference = self.simple("Sub", sources);
                return Some(self.simple("Mul", vec![difference.clone(), difference]));
            }
        };
        Some(self.simple(op, sources))
    }

    fn unary(&mut self, kind: UnaryKind, dtype: DType) -> Option<()> {
        let one = |name, value: f32| vec![float(name, value)];
        let (op, attributes) = match kind {
            UnaryKind::Identity => ("Identity", Vec::new()),
            UnaryKind::Relu => ("Relu", Vec::new()),
            UnaryKind::Relu6 => return self.activate(Act::Relu6, X, dtype),
            UnaryKind::ReluN1To1 => return self.activate(Act::ReluN1To1, X, dtype),
            UnaryKind::LeakyRelu { alpha } => ("LeakyRelu", one("alpha", alpha)),
            UnaryKind::HardSwish => ("HardSwish", Vec::new()),
            UnaryKind::HardSigmoid { alpha, beta } => ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]),
            UnaryKind::Sigmoid => ("Sigmoid", Vec::new()),
            UnaryKind::Tanh => ("Tanh", Vec::new()),
            UnaryKind::Exp => ("Exp", Vec::new()),
            UnaryKind::Log => ("Log", Vec::new()),
            UnaryKind::Sqrt => ("Sqrt", Vec::new()),
            UnaryKind::Rsqrt => {
                let root = self.simple("Sqrt", vec![X]);
                self.simple("Reciprocal", vec![root]);
                return Some(());
            }
            UnaryKind::Reciprocal => ("Reciprocal", Vec::new()),
            UnaryKind::Neg => ("Neg", Vec::new()),
            UnaryKind::Abs => ("Abs", Vec::new()),
            UnaryKind::Sign => ("Sign", Vec::new()),
            UnaryKind::Erf => ("Erf", Vec::new()),
            UnaryKind::Sin => ("Sin", Vec::new()),
            UnaryKind::Cos => ("Cos", Vec::new()),
            UnaryKind::Floor => ("Floor", Vec::new()),
            UnaryKind::Ceil => ("Ceil", Vec::new()),
            UnaryKind::Round => ("Round", Vec::new()),
            UnaryKind::Not => ("Not", Vec::new()),
            UnaryKind::Elu { alpha } => ("Elu", one("alpha", alpha)),
            UnaryKind::Softplus => ("Softplus", Vec::new()),
            UnaryKind::Gelu { tanh } => ("Gelu", vec![text("approximate", if tanh { "tanh" } else { "none" })]),
            UnaryKind::Swish { alpha } => {
                let inner = match alpha {
                    1.0 => X,
                    alpha => self.simple("Mul", vec![X, scalar("alpha", dtype, alpha.into())?]),
                };
                let gate = self.simple("Sigmoid", vec![inner]);
                self.simple("Mul", vec![X, gate]);
                return Some(());
            }
            UnaryKind::Clip { min, max } => return self.clip(X, dtype, min, max),
        };
        self.add(op, vec![X], attributes);
        Some(())
    }

    fn resize(&mut self, r: &Resize, x: &TensorType) -> Option<()> {
        let mut attributes = vec![int("antialias", i64::from(r.antialias))];
        let coordinate = match r.coordinate {
            CoordinateMode::HalfPixel => "half_pixel",
            CoordinateMode::HalfPixelSymmetric => "half_pixel_symmetric",
            CoordinateMode::PytorchHalfPixel => "pytorch_half_pixel",
            CoordinateMode::AlignCorners => "align_corners",
            CoordinateMode::Asymmetric => "asymmetric",
            CoordinateMode::TfCropAndResize => "tf_crop_and_resize",
        };
        attributes.push(text("coordinate_transformation_mode", coordinate));
        let mode = match r.mode {
            ResizeMode::Nearest(nearest) => {
                let nearest = match nearest {
                    NearestMode::RoundPreferFloor => "round_prefer_floor",
                    NearestMode::RoundPreferCeil => "round_prefer_ceil",
                    NearestMode::Floor => "floor",
                    NearestMode::Ceil => "ceil",
                };
                attributes.push(text("nearest_mode", nearest));
                "nearest"
            }
            ResizeMode::Linear => "linear",
            ResizeMode::Cubic { a, exclude_outside } => {
                attributes.push(float("cubic_coeff_a", a));
                attributes.push(int("exclude_outside", i64::from(exclude_outside)));
                "cubic"
            }
        };
        attributes.push(text("mode", mode));
        let region = match &r.roi {
            Some(roi) => {
                attributes.push(float("extrapolation_value", r.extrapolation as f32));
                reals("roi", roi.iter().map(|r| r.0).chain(roi.iter().map(|r| r.1)))?
            }
            None => Source::Absent,
        };
        // Either the sizes say the scales or the scales the sizes.
        let axes = || r.shape.iter().zip(&x.shape[..]).zip(&r.scale);
        let sources = if axes().all(|((&to, &from), &scale)| to as f64 / from as f64 == scale) {
            vec![X, region, Source::Absent, list("sizes", &r.shape)?]
        } else if axes().all(|((&to, &from), &scale)| (from as f32 * scale as f32).floor() as usize == to) {
            vec![X, region, reals("scales", r.scale.iter().copied())?]
        } else {
            return None;
        };
        self.add("Resize", sources, attributes);
        Some(())
    }
}

/// Scale and zero point, and the attribute of their axis.
fn parameters(quant: &QuantParams, dtype: DType) -> Option<(Source, Source, Vec<AttributeProto>)> {
    let [scale, zero] = quantisation(quant, dtype)?;
    let axis = quant.axis.map(|axis| int("axis", axis as i64)).into_iter().collect();
    Some((Source::Constant("scale", scale), Source::Constant("zero_point", zero), axis))
}

/// Scale and zero point of codes of a dtype: scalars, or lists along the axis.
pub(super) fn quantisation(quant: &QuantParams, dtype: DType) -> Option<[Tensor; 2]> {
    let shape = if quant.axis.is_some() { Shape::from([quant.scale.len()]) } else { Shape::default() };
    let scale = Tensor::from_vec(shape.clone(), quant.scale.clone()).ok()?;
    let zeros: Vec<f64> = quant.zero_point.iter().map(|&z| f64::from(z)).collect();
    Some([scale, Tensor::from_f64(dtype, shape, &zeros).ok()?])
}

fn window(stride: &[usize], dilation: &[usize], pad: &[(usize, usize)]) -> Vec<AttributeProto> {
    let pads: Vec<usize> = pad.iter().map(|p| p.0).chain(pad.iter().map(|p| p.1)).collect();
    vec![ints("strides", stride), ints("dilations", dilation), ints("pads", &pads)]
}

fn scalar(name: &'static str, dtype: DType, value: f64) -> Option<Source> {
    Some(Source::Constant(name, Tensor::from_f64(dtype, Shape::default(), &[value]).ok()?))
}

fn list(name: &'static str, extents: &[usize]) -> Option<Source> {
    numbers(name, extents.iter().map(|&e| e as i64).collect())
}

fn numbers(name: &'static str, numbers: Vec<i64>) -> Option<Source> {
    Some(Source::Constant(name, Tensor::from_vec([numbers.len()], numbers).ok()?))
}

fn reals(name: &'static str, numbers: impl Iterator<Item = f64>) -> Option<Source> {
    let numbers: Vec<f32> = numbers.map(|n| n as f32).collect();
    Some(Source::Constant(name, Tensor::from_vec([numbers.len()], numbers).ok()?))
}
