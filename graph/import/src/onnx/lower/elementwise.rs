//! Operators that work element by element.

use super::{Item, Lower, Results, one};
use crate::ImportError;
use tandem_graph::ValueId;
use tandem_ops::{Act, BinaryKind, Op, UnaryKind};
use tandem_tensor::{DType, Shape};

pub(super) fn lower<'m>(l: &mut Lower<'m>, n: &Item<'m>) -> Option<Results> {
    if let Some(kind) = unary_kind(n) {
        return Some(n.input(0).and_then(|x| l.unary(kind, x)).and_then(one));
    }
    if let Some(kind) = binary_kind(n.op()) {
        return Some(binary(l, n, kind));
    }
    Some(match n.op() {
        "Identity" | "Dropout" => alias(l, n),
        "PRelu" => prelu(l, n),
        "Min" => variadic(l, n, BinaryKind::Min),
        "Max" => variadic(l, n, BinaryKind::Max),
        "Sum" => variadic(l, n, BinaryKind::Add),
        "Mean" => mean(l, n),
        "Clip" => clip(l, n),
        "Where" => select(l, n),
        "Mod" => modulo(l, n),
        "Swish" | "Mish" | "Softsign" | "Selu" | "Celu" | "ThresholdedRelu" | "Tan" => composed(l, n),
        _ => return None,
    })
}

fn unary_kind(n: &Item<'_>) -> Option<UnaryKind> {
    Some(match n.op() {
        "Relu" => UnaryKind::Relu,
        "LeakyRelu" => UnaryKind::LeakyRelu { alpha: n.float("alpha", 0.01) },
        "Elu" => UnaryKind::Elu { alpha: n.float("alpha", 1.0) },
        "HardSwish" => UnaryKind::HardSwish,
        "HardSigmoid" => UnaryKind::HardSigmoid { alpha: n.float("alpha", 0.2), beta: n.float("beta", 0.5) },
        "Sigmoid" => UnaryKind::Sigmoid,
        "Tanh" => UnaryKind::Tanh,
        "Softplus" => UnaryKind::Softplus,
        "Gelu" => UnaryKind::Gelu { tanh: n.text("approximate") == Some("tanh") },
        "Exp" => UnaryKind::Exp,
        "Log" => UnaryKind::Log,
        "Sqrt" => UnaryKind::Sqrt,
        "Reciprocal" => UnaryKind::Reciprocal,
        "Neg" => UnaryKind::Neg,
        "Abs" => UnaryKind::Abs,
        "Sign" => UnaryKind::Sign,
        "Erf" => UnaryKind::Erf,
        "Sin" => UnaryKind::Sin,
        "Cos" => UnaryKind::Cos,
        "Floor" => UnaryKind::Floor,
        "Ceil" => UnaryKind::Ceil,
        "Round" => UnaryKind::Round,
        "Not" => UnaryKind::Not,
        _ => return None,
    })
}

fn binary_kind(op: &str) -> Option<BinaryKind> {
    Some(match op {
        "Add" => BinaryKind::Add,
        "Sub" => BinaryKind::Sub,
        "Mul" => BinaryKind::Mul,
        "Div" => BinaryKind::Div,
        "Pow" => BinaryKind::Pow,
        "And" => BinaryKind::And,
        "Or" => BinaryKind::Or,
        "Xor" => BinaryKind::Xor,
        "Equal" => BinaryKind::Equal,
        "Less" => BinaryKind::Less,
        "LessOrEqual" => BinaryKind::LessEqual,
        "Greater" => BinaryKind::Greater,
        "GreaterOrEqual" => BinaryKind::GreaterEqual,
        _ => return None,
    })
}

fn binary(l: &mut Lower<'_>, n: &Item<'_>, kind: BinaryKind) -> Results {
    let (a, b) = (n.input(0)?, n.input(1)?);
    one(l.binary(kind, a, b)?)
}

/// `Identity`, and `Dropout` as inference does it: its mask is all true.
fn alias(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    if n.op() == "Identity" || !n.wants(1) {
        return one(x);
    }
    let shape = l.shape(x);
    let on = l.scalar(DType::Bool, 1.0)?;
    let mask = l.expand(on, shape)?;
    Ok(vec![Some(x), Some(mask)])
}

/// The slope broadcasts to x; a slope of one axis goes with the channels, as older exporters write it.
fn prelu(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (x, mut slope) = (n.input(0)?, n.input(1)?);
    let (shape, slopes) = (l.shape(x), l.shape(slope));
    let fits_last = slopes.last().is_some_and(|&s| s == 1 || shape.last() == Some(&s));
    if slopes.rank() == 1 && shape.rank() > 2 && !fits_last && shape.get(1) == slopes.first() {
        let mut wide = vec![1; shape.rank() - 1];
        wide[0] = slopes.elements();
        slope = l.reshape(slope, wide)?;
    }
    one(l.binary(BinaryKind::PRelu, x, slope)?)
}

fn variadic(l: &mut Lower<'_>, n: &Item<'_>, kind: BinaryKind) -> Results {
    let mut result = n.input(0)?;
    for i in 1..n.inputs.len() {
        result = l.binary(kind, result, n.input(i)?)?;
    }
    one(result)
}

fn mean(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let sum = variadic(l, n, BinaryKind::Add)?;
    let Some(&Some(sum)) = sum.first() else { return Ok(sum) };
    one(l.with_scalar(BinaryKind::Div, sum, n.inputs.len() as f64)?)
}

fn clip(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let bounds = if l.opset < 11 {
        let bound = |name: &str| n.attribute(name).and_then(|a| a.f).map(f64::from);
        [bound("min"), bound("max")]
    } else {
        let mut bounds = [None, None];
        for (i, bound) in bounds.iter_mut().enumerate() {
            let Some(id) = n.optional(i + 1) else { continue };
            match l.builder.graph.constant(id).map(|t| t.to_f64()).as_deref() {
                Some(&[value]) => *bound = Some(value),
                _ => return clip_dynamically(l, n, x),
            }
        }
        bounds
    };
    let [min, max] = bounds;
    let integer = l.dtype(x).is_integer();
    if integer {
        return clip_dynamically(l, n, x);
    }
    one(l.unary(clip_kind(min, max), x)?)
}

/// The bounds that everybody knows by name get that name.
fn clip_kind(min: Option<f64>, max: Option<f64>) -> UnaryKind {
    match (min, max) {
        (Some(0.0), Some(6.0)) => UnaryKind::Relu6,
        (Some(0.0), None) => UnaryKind::Relu,
        (Some(-1.0), Some(1.0)) => UnaryKind::ReluN1To1,
        (min, max) => UnaryKind::Clip { min, max },
    }
}

fn clip_dynamically(l: &mut Lower<'_>, n: &Item<'_>, x: ValueId) -> Results {
    let mut y = x;
    for (i, kind) in [(1, BinaryKind::Max), (2, BinaryKind::Min)] {
        if let Some(bound) = n.optional(i) {
            let bound = l.reshape(bound, Shape::default())?;
            y = l.binary(kind, y, bound)?;
        }
    }
    one(y)
}

fn select(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (condition, a, b) = (n.input(0)?, n.input(1)?, n.input(2)?);
    one(l.select(condition, a, b)?)
}

/// `a - floor(a / b) * b`, or with the sign of a (`fmod`) the quotient cut off.
fn modulo(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let (a, b) = (n.input(0)?, n.input(1)?);
    if !l.dtype(a).is_float() {
        // Integer quotients are cut off; a remainder of the other sign moves by one divisor.
        let quotient = l.binary(BinaryKind::Div, a, b)?;
        let whole = l.binary(BinaryKind::Mul, quotient, b)?;
        let rest = l.binary(BinaryKind::Sub, a, whole)?;
        if n.flag("fmod") {
            return one(rest);
        }
        let zero = l.scalar(l.dtype(a), 0.0)?;
        let negative_rest = l.binary(BinaryKind::Less, rest, zero)?;
        let negative_divisor = l.binary(BinaryKind::Less, b, zero)?;
        let differ = l.binary(BinaryKind::Xor, negative_rest, negative_divisor)?;
        let some = l.binary(BinaryKind::Equal, rest, zero)?;
        let none = l.unary(UnaryKind::Not, some)?;
        let move_it = l.emit(Op::Binary { kind: BinaryKind::And, act: Act::None }, &[differ, none], DType::Bool)?;
        let moved = l.binary(BinaryKind::Add, rest, b)?;
        return one(l.select(move_it, moved, rest)?);
    }
    let quotient = l.binary(BinaryKind::Div, a, b)?;
    let floor = l.unary(UnaryKind::Floor, quotient)?;
    let whole = if n.flag("fmod") {
        let ceil = l.unary(UnaryKind::Ceil, quotient)?;
        let zero = l.scalar(l.dtype(a), 0.0)?;
        let negative = l.binary(BinaryKind::Less, quotient, zero)?;
        l.select(negative, ceil, floor)?
    } else {
        floor
    };
    let whole = l.binary(BinaryKind::Mul, whole, b)?;
    one(l.binary(BinaryKind::Sub, a, whole)?)
}

fn composed(l: &mut Lower<'_>, n: &Item<'_>) -> Results {
    let x = n.input(0)?;
    let result: Result<ValueId, ImportError> = match n.op() {
        "Swish" => l.unary(UnaryKind::Swish { alpha: n.float("alpha", 1.0) }, x),
        "Mish" => {
            let s = l.unary(UnaryKind::Softplus, x)?;
            let t = l.unary(UnaryKind::Tanh, s)?;
            l.binary(BinaryKind::Mul, x, t)
        }
        "Softsign" => {
            let a = l.unary(UnaryKind::Abs, x)?;
            let d = l.with_scalar(BinaryKind::Add, a, 1.0)?;
            l.binary(BinaryKind::Div, x, d)
        }
        "Selu" => {
            let e = l.unary(UnaryKind::Elu { alpha: n.float("alpha", 1.673_263_2) }, x)?;
            l.with_scalar(BinaryKind::Mul, e, n.float("gamma", 1.050_701).into())
        }
        "Celu" => {
            // alpha * elu(x / alpha) with the unit slope of elu on either side.
            let alpha = f64::from(n.float("alpha", 1.0));
            let scaled = l.with_scalar(BinaryKind::Div, x, alpha)?;
            let e = l.unary(UnaryKind::Elu { alpha: 1.0 }, scaled)?;
            l.with_scalar(BinaryKind::Mul, e, alpha)
        }
        "ThresholdedRelu" => {
            let alpha = l.scalar(l.dtype(x), n.float("alpha", 1.0).into())?;
            let above = l.binary(BinaryKind::Greater, x, alpha)?;
            let zero = l.scalar(l.dtype(x), 0.0)?;
            l.select(above, x, zero)
        }
        _ => {
            let (s, c) = (l.unary(UnaryKind::Sin, x)?, l.unary(UnaryKind::Cos, x)?);
            l.binary(BinaryKind::Div, s, c)
        }
    };
    one(result?)
}
