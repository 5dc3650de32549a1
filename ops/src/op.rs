//! Operators as data.
//!
//! Each variant states its operands in order. `?` marks an operand that may be absent at the end of the list.

use serde::{Deserialize, Serialize};
use tandem_tensor::DType;

/// The rounding family of the integer kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arith {
    /// Family A: two roundings, as the TFLite reference kernels and TFLM.
    #[default]
    TfliteRef,
    /// Family B: one rounding, as XNNPACK (and, operator by operator, ONNX Runtime).
    Xnnpack,
}

impl Arith {
    /// The name on the command line: `tflref` or `xnnpack`.
    pub fn name(self) -> &'static str {
        match self {
            Arith::TfliteRef => "tflref",
            Arith::Xnnpack => "xnnpack",
        }
    }

    /// The family of that name.
    pub fn parse(name: &str) -> Option<Arith> {
        [Arith::TfliteRef, Arith::Xnnpack].into_iter().find(|a| a.name() == name)
    }
}

/// Activation fused behind an operator; for a quantised result it becomes a range of output codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Only the range of the output dtype.
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// min(max(x, -1), 1)
    ReluN1To1,
}

impl Act {
    /// The range of reals that the activation lets through.
    pub fn range(self) -> (f32, f32) {
        match self {
            Act::None => (f32::NEG_INFINITY, f32::INFINITY),
            Act::Relu => (0.0, f32::INFINITY),
            Act::Relu6 => (0.0, 6.0),
            Act::ReluN1To1 => (-1.0, 1.0),
        }
    }
}

/// Convolution over the spatial axes. One entry of each list per spatial axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Step of the window.
    pub stride: Vec<usize>,
    /// Distance between taps.
    pub dilation: Vec<usize>,
    /// Padding (before, after) with the code of zero.
    pub pad: Vec<(usize, usize)>,
    /// Channel groups; equal to the number of input channels for a depthwise convolution.
    pub groups: usize,
    /// Fused activation.
    pub act: Act,
}

/// Transposed convolution; weights are `[out, spatial.., in / groups]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose {
    /// Step between the windows that successive input pixels write.
    pub stride: Vec<usize>,
    /// Distance between taps.
    pub dilation: Vec<usize>,
    /// Rows and columns cut from the full result (before, after).
    pub pad: Vec<(usize, usize)>,
    /// Extra extent appended to the result after cutting.
    pub output_pad: Vec<usize>,
    /// Channel groups.
    pub groups: usize,
    /// Fused activation.
    pub act: Act,
}

/// What a pool computes over its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolKind {
    /// Largest element.
    Max,
    /// Mean of the elements; `Pool::count_include_pad` says whether padding counts.
    Average,
}

/// Pooling over the spatial axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Maximum or average.
    pub kind: PoolKind,
    /// Window.
    pub kernel: Vec<usize>,
    /// Step of the window.
    pub stride: Vec<usize>,
    /// Distance between taps.
    pub dilation: Vec<usize>,
    /// Padding (before, after); never an element of the result.
    pub pad: Vec<(usize, usize)>,
    /// Round the output extent up instead of down (ONNX `ceil_mode`).
    pub ceil: bool,
    /// Padding counts in the divisor of an average.
    pub count_include_pad: bool,
    /// Fused activation.
    pub act: Act,
}

/// Element-wise operators of two operands, which broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum BinaryKind {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// `x < 0 ? x * slope : x`; the second operand is the slope.
    PRelu,
    /// Squared difference.
    SquaredDifference,
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Element-wise operators of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum UnaryKind {
    Identity,
    Relu,
    Relu6,
    ReluN1To1,
    LeakyRelu {
        alpha: f32,
    },
    HardSwish,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Neg,
    Abs,
    Sign,
    Erf,
    Sin,
    Cos,
    Floor,
    Ceil,
    /// Half to even.
    Round,
    Not,
    Elu {
        alpha: f32,
    },
    Softplus,
    Gelu {
        tanh: bool,
    },
    /// `x * sigmoid(alpha * x)`
    Swish {
        alpha: f32,
    },
    /// Absent bounds are infinite.
    Clip {
        min: Option<f64>,
        max: Option<f64>,
    },
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    SumSquare,
    L1,
    L2,
    LogSumExp,
}

/// How padding gets its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PadMode {
    /// The operand `value?` (a scalar of the input's dtype), or the code of zero without it.
    Constant,
    Reflect,
    Symmetric,
    Edge,
    Wrap,
}

/// Interpolation of a resize.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ResizeMode {
    Nearest(NearestMode),
    Linear,
    Cubic { a: f32, exclude_outside: bool },
}

/// Which neighbour a nearest resize takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum NearestMode {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How an output coordinate maps to an input coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum CoordinateMode {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfCropAndResize,
}

/// Resize of any axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// Output shape, all axes.
    pub shape: Vec<usize>,
    /// Scale of every axis (output / input), as the coordinate transform uses it.
    pub scale: Vec<f64>,
    /// Interpolation.
    pub mode: ResizeMode,
    /// Coordinate transform.
    pub coordinate: CoordinateMode,
    /// Low-pass filter when shrinking.
    pub antialias: bool,
    /// Region of interest (start, end) of every axis, normalised; only with `TfCropAndResize`.
    pub roi: Option<Vec<(f64, f64)>>,
    /// Value outside the input; only with `TfCropAndResize`.
    pub extrapolation: f64,
}

/// A recurrent layer with input, forget and output gates; it starts from a cell and a hidden state of zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lstm {
    /// The scale of the 16-bit cell state is 2 to this power.
    pub cell_exponent: i32,
    /// The cell state is clipped to this magnitude, a real number; 0 clips nothing.
    pub cell_clip: f32,
}

/// One operator of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Operands: x `[n, spatial.., c]`, w `[o, spatial.., c / groups]`, bias `[o]`?.
    Conv(Conv),
    /// Operands: x `[n, spatial.., c]`, w `[o, spatial.., c / groups]`, bias `[o]`?.
    ConvTranspose(ConvTranspose),
    /// `y[.., o] = sum_k x[.., k] * w[o, k] + bias[o]`. Operands: x `[.., k]`, w `[o, k]`, bias `[o]`?.
    Dense {
        /// Fused activation.
        act: Act,
    },
    /// Matrix product of the last two axes; leading axes broadcast; operands of rank 1 as in numpy. Operands: a, b.
    MatMul {
        /// The last two axes of a are swapped first.
        transpose_a: bool,
        /// The last two axes of b are swapped first.
        transpose_b: bool,
    },
    /// Operand: x `[n, spatial.., c]`. A maximum pool may have a second result: i64 positions in the flat
    /// channels-first input (ONNX `Indices`).
    Pool(Pool),
    /// Operands: a, b; broadcast.
    Binary {
        /// What is computed.
        kind: BinaryKind,
        /// Fused activation.
        act: Act,
    },
    /// Operand: x.
    Unary(UnaryKind),
    /// `exp(beta * x) / sum(exp(beta * x))` along an axis. Operand: x.
    Softmax {
        /// Axis, from the front.
        axis: usize,
        /// Factor of the exponent.
        beta: f32,
        /// Gives the logarithm instead.
        log: bool,
    },
    /// Operand: x.
    Reduce {
        /// What is computed.
        kind: ReduceKind,
        /// Axes, from the front, ascending.
        axes: Vec<usize>,
        /// Reduced axes stay with extent 1.
        keep_dims: bool,
    },
    /// Index of the largest (or smallest) element along an axis. Operand: x.
    ArgMax {
        /// Axis, from the front.
        axis: usize,
        /// The reduced axis stays with extent 1.
        keep_dims: bool,
        /// Of equal elements the last one wins.
        select_last: bool,
        /// Smallest instead of largest.
        min: bool,
        /// I32 or I64.
        dtype: DType,
    },
    /// Operands: x, value?. Amounts (before, after) for every axis; negative amounts cut.
    Pad {
        /// One pair an axis.
        amount: Vec<(i64, i64)>,
        /// Where the values come from.
        mode: PadMode,
    },
    /// Operands: one or more.
    Concat {
        /// Axis, from the front.
        axis: usize,
        /// Fused activation.
        act: Act,
    },
    /// `begin + step * i` for i in `0..size`, on every axis. Operand: x.
    Slice {
        /// First index of every axis.
        begin: Vec<usize>,
        /// Extent of the result on every axis.
        size: Vec<usize>,
        /// Step of every axis, never 0.
        step: Vec<i64>,
    },
    /// Same elements, another shape. Operand: x.
    Reshape {
        /// The new shape, fully known.
        shape: Vec<usize>,
    },
    /// Axis i of the result is axis `perm[i]` of the operand. Operand: x.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// Operand: x.
    Resize(Resize),
    /// Elements of x along an axis at integer indices (negative from the back). Operands: x, indices.
    Gather {
        /// Axis, from the front.
        axis: usize,
    },
    /// Broadcast to a shape. Operand: x.
    Expand {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Operands: condition, a, b; broadcast.
    Where,
    /// Conversion of numbers, as ONNX `Cast`. Operand: x.
    Cast {
        /// Target dtype.
        to: DType,
        /// Out-of-range floats saturate (ONNX `saturate`; only matters to 8-bit floats).
        saturate: bool,
    },
    /// Reals to codes of the result's quantisation. Operand: x float.
    Quantize,
    /// Codes to reals. Operand: x quantised.
    Dequantize,
    /// Codes of one quantisation to codes of another. Operand: x quantised.
    Requantize,
    /// Running sum along an axis. Operand: x.
    CumSum {
        /// Axis, from the front.
        axis: usize,
        /// Sum of the elements before, without the own one.
        exclusive: bool,
        /// From the back.
        reverse: bool,
    },
    /// Keeps the upper or lower triangle of the last two axes, zero elsewhere. Operand: x.
    Trilu {
        /// Diagonal.
        k: i64,
        /// Upper instead of lower triangle.
        upper: bool,
    },
    /// All hidden states of a recurrent layer, `[n, t, u]`. Operands: x `[n, t, i]`; weights `[u, i]` of the input, forget,
    /// cell and output gate; recurrent weights `[u, u]` and biases `[u]` of the same gates in the same order.
    Lstm(Lstm),
}

impl Op {
    /// Where the operator keeps the activation that it applies to its sums, if it has one.
    pub fn act_mut(&mut self) -> Option<&mut Act> {
        Some(match self {
            Op::Conv(c) => &mut c.act,
            Op::ConvTranspose(c) => &mut c.act,
            Op::Pool(p) => &mut p.act,
            Op::Dense { act } | Op::Concat { act, .. } => act,
            Op::Binary { kind: BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul, act } => act,
            _ => return None,
        })
    }

    /// True for operators whose result has the bytes of the operand in the same order, so that both may be the same memory.
    pub fn is_alias(&self) -> bool {
        matches!(self, Op::Reshape { .. } | Op::Unary(UnaryKind::Identity))
    }

    /// The operator's name in tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "conv",
            Op::ConvTranspose(_) => "conv_transpose",
            Op::Dense { .. } => "dense",
            Op::MatMul { .. } => "matmul",
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Op::Pool(Pool { kind: PoolKind::Average, .. }) => "average_pool",
            Op::Binary { kind, .. } => match kind {
                BinaryKind::Add => "add",
                BinaryKind::Sub => "sub",
                BinaryKind::Mul => "mul",
                BinaryKind::Div => "div",
                BinaryKind::Pow => "pow",
                BinaryKind::Min => "minimum",
                BinaryKind::Max => "maximum",
                BinaryKind::PRelu => "prelu",
                BinaryKind::SquaredDifference => "squared_difference",
                BinaryKind::And => "and",
                BinaryKind::Or => "or",
                BinaryKind::Xor => "xor",
                BinaryKind::Equal => "equal",
                BinaryKind::NotEqual => "not_equal",
                BinaryKind::Less => "less",
                BinaryKind::LessEqual => "less_equal",
                BinaryKind::Greater => "greater",
                BinaryKind::GreaterEqual => "greater_equal",
            },
            Op::Unary(kind) => match kind {
                UnaryKind::Identity => "identity",
                UnaryKind::Relu => "relu",
                UnaryKind::Relu6 => "relu6",
                UnaryKind::ReluN1To1 => "relu_n1_to_1",
                UnaryKind::LeakyRelu { .. } => "leaky_relu",
                UnaryKind::HardSwish => "hard_swish",
                UnaryKind::HardSigmoid { .. } => "hard_sigmoid",
                UnaryKind::Sigmoid => "sigmoid",
                UnaryKind::Tanh => "tanh",
                UnaryKind::Exp => "exp",
                UnaryKind::Log => "log",
                UnaryKind::Sqrt => "sqrt",
                UnaryKind::Rsqrt => "rsqrt",
                UnaryKind::Reciprocal => "reciprocal",
                UnaryKind::Neg => "neg",
                UnaryKind::Abs => "abs",
                UnaryKind::Sign => "sign",
                UnaryKind::Erf => "erf",
                UnaryKind::Sin => "sin",
                UnaryKind::Cos => "cos",
                UnaryKind::Floor => "floor",
                UnaryKind::Ceil => "ceil",
                UnaryKind::Round => "round",
                UnaryKind::Not => "not",
                UnaryKind::Elu { .. } => "elu",
                UnaryKind::Softplus => "softplus",
                UnaryKind::Gelu { .. } => "gelu",
                UnaryKind::Swish { .. } => "swish",
                UnaryKind::Clip { .. } => "clip",
            },
            Op::Softmax { log: false, .. } => "softmax",
            Op::Softmax { log: true, .. } => "log_softmax",
            Op::Reduce { kind, .. } => match kind {
                ReduceKind::Sum => "reduce_sum",
                ReduceKind::Mean => "mean",
                ReduceKind::Max => "reduce_max",
                ReduceKind::Min => "reduce_min",
                ReduceKind::Prod => "reduce_prod",
                ReduceKind::SumSquare => "reduce_sum_square",
                ReduceKind::L1 => "reduce_l1",
                ReduceKind::L2 => "reduce_l2",
                ReduceKind::LogSumExp => "reduce_log_sum_exp",
            },
            Op::ArgMax { min: false, .. } => "argmax",
            Op::ArgMax { min: true, .. } => "argmin",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Resize(_) => "resize",
            Op::Gather { .. } => "gather",
            Op::Expand { .. } => "expand",
            Op::Where => "where",
            Op::Cast { .. } => "cast",
            Op::Quantize => "quantize",
            Op::Dequantize => "dequantize",
            Op::Requantize => "requantize",
            Op::CumSum { .. } => "cumsum",
            Op::Trilu { .. } => "trilu",
            Op::Lstm(_) => "lstm",
        }
    }
}
