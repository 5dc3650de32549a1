//! Element-wise operators, reductions and conversions.

use super::lower::Ctx;
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op, ReduceKind, UnaryKind};
use tandem_tensor::{DType, Tensor};

type Lowered = Result<(), ImportError>;

fn unary(ctx: &mut Ctx<'_, '_>, kind: UnaryKind) -> Lowered {
    let x = ctx.input(0)?;
    ctx.emit(Op::Unary(kind), &[x])
}

fn binary(ctx: &mut Ctx<'_, '_>, kind: BinaryKind, act: Act) -> Lowered {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    ctx.emit(Op::Binary { kind, act }, &[a, b])
}

/// Functions that only name an element-wise operator.
macro_rules! elementwise {
    (unary $($name:ident = $kind:expr;)*) => {$(
        pub(crate) fn $name(ctx: &mut Ctx<'_, '_>) -> Lowered { unary(ctx, $kind) }
    )*};
    (binary $($name:ident = $kind:ident;)*) => {$(
        pub(crate) fn $name(ctx: &mut Ctx<'_, '_>) -> Lowered { binary(ctx, BinaryKind::$kind, Act::None) }
    )*};
    (fused $($name:ident = $kind:ident;)*) => {$(
        pub(crate) fn $name(ctx: &mut Ctx<'_, '_>) -> Lowered {
            let act = ctx.act(0)?;
            binary(ctx, BinaryKind::$kind, act)
        }
    )*};
    (reduce $($name:ident = $kind:ident;)*) => {$(
        pub(crate) fn $name(ctx: &mut Ctx<'_, '_>) -> Lowered { reduce(ctx, ReduceKind::$kind) }
    )*};
}

elementwise! { unary
    relu = UnaryKind::Relu;
    relu6 = UnaryKind::Relu6;
    relu_n1_to_1 = UnaryKind::ReluN1To1;
    relu_0_to_1 = UnaryKind::Clip { min: Some(0.0), max: Some(1.0) };
    hard_swish = UnaryKind::HardSwish;
    logistic = UnaryKind::Sigmoid;
    tanh = UnaryKind::Tanh;
    exp = UnaryKind::Exp;
    log = UnaryKind::Log;
    sqrt = UnaryKind::Sqrt;
    rsqrt = UnaryKind::Rsqrt;
    abs = UnaryKind::Abs;
    neg = UnaryKind::Neg;
    sin = UnaryKind::Sin;
    cos = UnaryKind::Cos;
    floor = UnaryKind::Floor;
    ceil = UnaryKind::Ceil;
    round = UnaryKind::Round;
    sign = UnaryKind::Sign;
    elu = UnaryKind::Elu { alpha: 1.0 };
    logical_not = UnaryKind::Not;
}

elementwise! { binary
    minimum = Min;
    maximum = Max;
    pow = Pow;
    prelu = PRelu;
    squared_difference = SquaredDifference;
    equal = Equal;
    not_equal = NotEqual;
    less = Less;
    less_equal = LessEqual;
    greater = Greater;
    greater_equal = GreaterEqual;
    logical_and = And;
    logical_or = Or;
}

elementwise! { fused
    add = Add;
    sub = Sub;
    mul = Mul;
    div = Div;
}

elementwise! { reduce
    mean = Mean;
    sum = Sum;
    reduce_max = Max;
    reduce_min = Min;
    reduce_prod = Prod;
}

pub(crate) fn leaky_relu(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let alpha = ctx.option_f32(0)?;
    unary(ctx, UnaryKind::LeakyRelu { alpha })
}

pub(crate) fn gelu(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let tanh = ctx.option_bool(0)?;
    unary(ctx, UnaryKind::Gelu { tanh })
}

pub(crate) fn square(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    ctx.emit(Op::Binary { kind: BinaryKind::Mul, act: Act::None }, &[x, x])
}

/// The operands a, b and their real quotient.
fn quotient(ctx: &mut Ctx<'_, '_>) -> Result<[ValueId; 3], ImportError> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    if ctx.ty(a).dtype != DType::F32 {
        return Err(ctx.refuse(format!("{} operands are not supported, only f32", ctx.ty(a).dtype)));
    }
    let div = Op::Binary { kind: BinaryKind::Div, act: Act::None };
    let quotient = ctx.temp("quotient", div, &[a, b], a)?;
    Ok([a, b, quotient])
}

pub(crate) fn floor_div(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let [_, _, quotient] = quotient(ctx)?;
    ctx.emit(Op::Unary(UnaryKind::Floor), &[quotient])
}

pub(crate) fn floor_mod(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let [a, b, quotient] = quotient(ctx)?;
    let floor = ctx.temp("floor", Op::Unary(UnaryKind::Floor), &[quotient], a)?;
    let mul = Op::Binary { kind: BinaryKind::Mul, act: Act::None };
    let whole = ctx.temp("whole", mul, &[floor, b], a)?;
    ctx.emit(Op::Binary { kind: BinaryKind::Sub, act: Act::None }, &[a, whole])
}

pub(crate) fn add_n(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let add = Op::Binary { kind: BinaryKind::Add, act: Act::None };
    let mut sum = ctx.input(0)?;
    if ctx.ty(sum).is_quantized() {
        return Err(ctx.refuse("quantised operands are not supported; use ADD"));
    }
    let n = ctx.inputs();
    for i in 1..n {
        let x = ctx.input(i)?;
        if i + 1 == n {
            return ctx.emit(add, &[sum, x]);
        }
        sum = ctx.temp(&format!("sum of {}", i + 1), add.clone(), &[sum, x], sum)?;
    }
    ctx.emit(Op::Unary(UnaryKind::Identity), &[sum])
}

pub(crate) fn l2_normalization(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    if ctx.ty(x).dtype != DType::F32 {
        return Err(ctx.refuse(format!("{} operands are not supported, only f32", ctx.ty(x).dtype)));
    }
    let last = ctx.axis(x, -1)?;
    let squares = Op::Reduce { kind: ReduceKind::SumSquare, axes: vec![last], keep_dims: true };
    let squares = ctx.temp("squares", squares, &[x], x)?;
    let least = ctx.temp_constant("least", Tensor::scalar(1e-6f32));
    let bounded = Op::Binary { kind: BinaryKind::Max, act: Act::None };
    let bounded = ctx.temp("bounded", bounded, &[squares, least], x)?;
    let norm = ctx.temp("norm", Op::Unary(UnaryKind::Sqrt), &[bounded], x)?;
    let act = ctx.act(0)?;
    ctx.emit(Op::Binary { kind: BinaryKind::Div, act }, &[x, norm])
}

fn last_axis_softmax(ctx: &mut Ctx<'_, '_>, beta: f32, log: bool) -> Lowered {
    let x = ctx.input(0)?;
    let axis = ctx.axis(x, -1)?;
    ctx.emit(Op::Softmax { axis, beta, log }, &[x])
}

pub(crate) fn softmax(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let beta = ctx.option_f32(0)?;
    last_axis_softmax(ctx, beta, false)
}

pub(crate) fn log_softmax(ctx: &mut Ctx<'_, '_>) -> Lowered {
    last_axis_softmax(ctx, 1.0, true)
}

fn reduce(ctx: &mut Ctx<'_, '_>, kind: ReduceKind) -> Lowered {
    let x = ctx.input(0)?;
    let mut axes = Vec::new();
    for axis in ctx.ints(1)? {
        axes.push(ctx.axis(x, axis)?);
    }
    axes.sort_unstable();
    axes.dedup();
    let keep_dims = ctx.option_bool(0)?;
    ctx.emit(Op::Reduce { kind, axes, keep_dims }, &[x])
}

fn arg_extreme(ctx: &mut Ctx<'_, '_>, min: bool) -> Lowered {
    let x = ctx.input(0)?;
    let axis = match ctx.ints(1)?.as_slice() {
        &[axis] => ctx.axis(x, axis)?,
        other => return Err(ctx.malformed(format!("it needs one axis but has {}", other.len()))),
    };
    let (dtype, ..) = ctx.declared(0)?;
    ctx.emit(Op::ArgMax { axis, keep_dims: false, select_last: false, min, dtype }, &[x])
}

pub(crate) fn arg_max(ctx: &mut Ctx<'_, '_>) -> Lowered {
    arg_extreme(ctx, false)
}

pub(crate) fn arg_min(ctx: &mut Ctx<'_, '_>) -> Lowered {
    arg_extreme(ctx, true)
}

pub(crate) fn cumsum(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let axis = match ctx.ints(1)?.as_slice() {
        &[axis] => ctx.axis(x, axis)?,
        other => return Err(ctx.malformed(format!("it needs one axis but has {}", other.len()))),
    };
    let (exclusive, reverse) = (ctx.option_bool(0)?, ctx.option_bool(1)?);
    ctx.emit(Op::CumSum { axis, exclusive, reverse }, &[x])
}

pub(crate) fn select(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let (mut condition, a, b) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let (rank, of) = (ctx.ty(a).shape.rank(), ctx.ty(condition).shape.clone());
    // The older SELECT chooses whole rows when the condition has one axis.
    if ctx.op.kind == "SELECT" && of.rank() == 1 && rank > 1 {
        let mut shape = vec![1; rank];
        if let (Some(first), Some(&rows)) = (shape.first_mut(), of.first()) {
            *first = rows;
        }
        condition = ctx.temp("condition", Op::Reshape { shape }, &[condition], condition)?;
    }
    ctx.emit(Op::Where, &[condition, a, b])
}

pub(crate) fn cast(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let (to, ..) = ctx.declared(0)?;
    ctx.emit(Op::Cast { to, saturate: true }, &[x])
}

pub(crate) fn quantize(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let op = if ctx.ty(x).dtype.is_float() { Op::Quantize } else { Op::Requantize };
    let (dtype, quant, _) = ctx.declared(0)?;
    if quant.is_none() {
        return Err(ctx.malformed(format!("its {dtype} result has no scale; convert the model again")));
    }
    ctx.emit(op, &[x])
}

pub(crate) fn dequantize(ctx: &mut Ctx<'_, '_>) -> Lowered {
    let x = ctx.input(0)?;
    let ty = ctx.ty(x);
    if ty.dtype.is_float() {
        let (to, ..) = ctx.declared(0)?;
        return ctx.emit(Op::Cast { to, saturate: true }, &[x]);
    }
    if ty.quant.is_none() {
        return Err(ctx.malformed(format!("its {} operand has no scale; convert the model again", ty.dtype)));
    }
    ctx.emit(Op::Dequantize, &[x])
}
